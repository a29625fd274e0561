package integration

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/apiconnectsim"
	"github.com/claviger-dev/claviger/internal/journal"
	"github.com/claviger-dev/claviger/internal/operatortest"
	"github.com/claviger-dev/claviger/internal/simkit"
)

// soon is how long anything may take that waits for nothing but a busy machine.
const soon = time.Minute

// namespaceEnds is how long a namespace may take to go: its controller deletes one kind
// after the other, and looks again after pauses that grow.
const namespaceEnds = 3 * time.Minute

const realm = "provider/default-idp-2"

// billing is where the credential of most tests lives in the simulator.
var billing = apiconnectsim.Path{Org: "acme", Catalog: "production", ConsumerOrg: "retail", App: "billing"}

// tenant is a namespace and an API Connect of its own: faults, ledger and counters of
// one test are no other test's.
type tenant struct {
	t     testing.TB
	world *operatortest.World
	ns    string
	sim   *apiconnectsim.Sim
	// ctx ends with the test, after its cleanups.
	ctx      context.Context
	password string
	// since is where its life begins in the audit log.
	since operatortest.Mark
}

// newTenant makes a namespace with the login Secret of an account upstream, and no
// issuer yet.
func newTenant(t testing.TB, world *operatortest.World) *tenant {
	t.Helper()
	name := namespaceName(t)
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{testLabel: ""}}}
	if err := world.Client.Create(t.Context(), namespace); err != nil {
		t.Fatal(err)
	}
	return settleIn(t, world, name)
}

// settleIn makes a tenant of a namespace that exists.
func settleIn(t testing.TB, world *operatortest.World, name string) *tenant {
	t.Helper()
	x := &tenant{t: t, world: world, ns: name, ctx: context.Background(), password: secret("password")}
	x.startSim()
	x.since = x.mark()
	t.Cleanup(x.leave)
	x.create(x.login("apic-login", x.password))
	return x
}

func (x *tenant) startSim() {
	x.t.Helper()
	seed := apiconnectsim.Sample()
	seed.Logins = append(seed.Logins, apiconnectsim.Login{Username: "claviger", Password: x.password, Realm: realm})
	x.sim = apiconnectsim.New(apiconnectsim.Options{Seed: seed})
	if err := x.sim.Start(); err != nil {
		x.t.Fatal(err)
	}
}

// leave lets everything end that the test left behind, so that its remains don't keep
// the operator busy while other tests run. The simulator goes on until then.
func (x *tenant) leave() {
	if err := canaries.FindInObjects(x.ctx, x.world.Client, client.InNamespace(x.ns)); err != nil {
		x.t.Error(err)
	}
	if !x.t.Failed() { // what failed has stopped half-way
		if err := x.world.LintStatus(x.ctx, x.ns, x.since); err != nil {
			x.t.Error(err)
		}
	}
	if x.t.Failed() {
		x.explain()
	}
	x.sim.Faults().Remove("")
	x.sim.Faults().Release("", false)
	ctx, cancel := context.WithTimeout(x.ctx, soon)
	defer cancel()
	if err := x.world.Client.Delete(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: x.ns}}); err != nil {
		if !apierrors.IsNotFound(err) {
			x.t.Error(err)
		}
	}
	closeLater(x.sim)
}

// simulators are closed when the operator has no more use for them.
var simulators struct {
	sync.Mutex
	left []io.Closer
}

func closeLater(sim io.Closer) {
	simulators.Lock()
	defer simulators.Unlock()
	simulators.left = append(simulators.left, sim)
}

// settle waits until every namespace of the tests is gone, in whatever state its test
// has left it: none may hang on a finalizer.
func settle(ctx context.Context, world *operatortest.World) error {
	left := &corev1.NamespaceList{}
	err := wait.PollUntilContextTimeout(ctx, time.Second, namespaceEnds, true, func(ctx context.Context) (bool, error) {
		err := world.Client.List(ctx, left, client.HasLabels{testLabel})
		return len(left.Items) == 0, err
	})
	var names []string
	for _, ns := range left.Items {
		names = append(names, ns.Name)
	}
	if err != nil {
		return fmt.Errorf("namespaces that do not end: %v: %w", names, err)
	}
	simulators.Lock()
	defer simulators.Unlock()
	var errs []error
	for _, sim := range simulators.left {
		errs = append(errs, sim.Close())
	}
	return errors.Join(errs...)
}

// testLabel is on every namespace of a test.
const testLabel = "integration-test"

func namespaceName(t testing.TB) string {
	name := strings.ToLower(strings.TrimPrefix(t.Name(), "Test"))
	name = strings.Trim(strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, name), "-")
	return strings.Trim(name[:min(len(name), 50)], "-") + "-" + strings.ToLower(rand.Text()[:6])
}

func (x *tenant) login(name, password string) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: x.ns, Name: name},
		StringData: map[string]string{
			"username": "claviger", "password": password, "client_id": "toolkit", "client_secret": "toolkit-secret",
		},
	}
}

// issuer is an account of this tenant's upstream.
func (x *tenant) issuer(changes ...func(*v1alpha1.CredentialIssuer)) *v1alpha1.CredentialIssuer {
	issuer := &v1alpha1.CredentialIssuer{
		ObjectMeta: metav1.ObjectMeta{Namespace: x.ns, Name: "apic"},
		Spec: v1alpha1.CredentialIssuerSpec{
			RateLimit: v1alpha1.RateLimit{PerSecond: 100, Burst: 100},
			IBMAPIConnect: &v1alpha1.IBMAPIConnectIssuer{
				URL: x.sim.URL(), GatewayURL: x.sim.GatewayURL(), CABundle: string(x.sim.CA()),
				ProviderOrg: billing.Org, Catalog: billing.Catalog,
				Login: v1alpha1.IBMAPIConnectLogin{Realm: realm, SecretRef: v1alpha1.SecretReference{Name: "apic-login"}},
			},
		},
	}
	for _, change := range changes {
		change(issuer)
	}
	return issuer
}

// credential asks for a credential of the app billing in the Secret billing-api, proven
// by a call through the gateway.
func (x *tenant) credential(changes ...func(*v1alpha1.APIClientCredential)) *v1alpha1.APIClientCredential {
	c := &v1alpha1.APIClientCredential{
		ObjectMeta: metav1.ObjectMeta{Namespace: x.ns, Name: "billing", Labels: map[string]string{"tier": "production"}},
		Spec: v1alpha1.APIClientCredentialSpec{
			IssuerRef: v1alpha1.IssuerReference{Name: "apic"},
			IBMAPIConnect: &v1alpha1.IBMAPIConnectCredential{
				ConsumerOrg: billing.ConsumerOrg, App: billing.App, Probe: &v1alpha1.IBMAPIConnectProbe{Path: "/orders/v1/health"},
			},
			Secret: v1alpha1.TargetSecret{Name: "billing-api"},
		},
	}
	for _, change := range changes {
		change(c)
	}
	return c
}

// policy renews every credential of the namespace.
func (x *tenant) policy(rotateAfter, overlap v1alpha1.Interval, changes ...func(*v1alpha1.RotationPolicy)) *v1alpha1.RotationPolicy {
	p := &v1alpha1.RotationPolicy{
		ObjectMeta: metav1.ObjectMeta{Namespace: x.ns, Name: "policy"},
		Spec:       v1alpha1.RotationPolicySpec{Selector: &metav1.LabelSelector{}, RotateAfter: rotateAfter, Overlap: overlap},
	}
	for _, change := range changes {
		change(p)
	}
	return p
}

// ready makes an issuer, perhaps a policy, and a credential, and waits until the
// credential is ready.
func (x *tenant) ready(policy *v1alpha1.RotationPolicy, changes ...func(*v1alpha1.APIClientCredential)) *v1alpha1.APIClientCredential {
	x.t.Helper()
	x.create(x.issuer())
	if policy != nil {
		x.create(policy)
	}
	c := x.create(x.credential(changes...))
	x.awaitReady(c.GetName())
	return x.get(c.GetName())
}

func (x *tenant) create(o client.Object) client.Object {
	x.t.Helper()
	if err := x.world.Client.Create(x.ctx, o); err != nil {
		x.t.Fatalf("create %T %s: %v", o, o.GetName(), err)
	}
	return o
}

func (x *tenant) delete(o client.Object, options ...client.DeleteOption) {
	x.t.Helper()
	if err := x.world.Client.Delete(x.ctx, o, options...); err != nil {
		x.t.Fatalf("delete %T %s: %v", o, o.GetName(), err)
	}
}

// update changes an object as a person does, and again if the operator was faster.
func update[T client.Object](x *tenant, name string, object T, change func(T)) T {
	x.t.Helper()
	for {
		if err := x.world.Client.Get(x.ctx, x.key(name), object); err != nil {
			x.t.Fatal(err)
		}
		change(object)
		err := x.world.Client.Update(x.ctx, object)
		if err == nil {
			return object
		}
		if !apierrors.IsConflict(err) {
			x.t.Fatal(err)
		}
	}
}

func (x *tenant) key(name string) client.ObjectKey {
	return client.ObjectKey{Namespace: x.ns, Name: name}
}

// change edits the credential billing.
func (x *tenant) change(change func(*v1alpha1.APIClientCredential)) *v1alpha1.APIClientCredential {
	x.t.Helper()
	return update(x, "billing", &v1alpha1.APIClientCredential{}, change)
}

// request asks for a rotation at a time and returns the time as it was written.
func (x *tenant) request(at time.Time) string {
	x.t.Helper()
	text := at.UTC().Format(time.RFC3339Nano) // a second later than a version of the same second
	x.annotate(v1alpha1.AnnotationRotateRequestedAt, text)
	return text
}

func (x *tenant) annotate(key, value string) {
	x.t.Helper()
	x.change(func(c *v1alpha1.APIClientCredential) {
		metav1.SetMetaDataAnnotation(&c.ObjectMeta, key, value)
	})
}

func (x *tenant) get(name string) *v1alpha1.APIClientCredential {
	x.t.Helper()
	c := &v1alpha1.APIClientCredential{}
	if err := x.world.Client.Get(x.ctx, x.key(name), c); err != nil {
		x.t.Fatal(err)
	}
	return c
}

// awaitWords waits until the credential or its issuer says all of this.
func (x *tenant) awaitWords(words ...string) {
	x.t.Helper()
	x.eventually(soon, func() string {
		issuer := &v1alpha1.CredentialIssuer{}
		if err := x.world.Client.Get(x.ctx, x.key("apic"), issuer); err != nil {
			return err.Error()
		}
		said := x.told("billing") + describe(issuer.Status.Conditions)
		for _, part := range words {
			if !strings.Contains(said, part) {
				return fmt.Sprintf("nobody says %q:\n%s", part, said)
			}
		}
		return ""
	})
}

// told is what a credential says of itself, for whoever tells why something is not as wanted. It
// may be gone by then, which fails nothing.
func (x *tenant) told(name string) string {
	c := &v1alpha1.APIClientCredential{}
	if err := x.world.Client.Get(x.ctx, x.key(name), c); err != nil {
		return err.Error()
	}
	return describe(c.Status.Conditions)
}

// target reads the Secret that workloads mount; nil if there is none.
func (x *tenant) target(name string) *corev1.Secret {
	x.t.Helper()
	s := &corev1.Secret{}
	err := x.world.Client.Get(x.ctx, x.key(name), s)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		x.t.Fatal(err)
	}
	return s
}

// versions reads the version Secrets, oldest first.
func (x *tenant) versions() []corev1.Secret {
	x.t.Helper()
	list := &corev1.SecretList{}
	if err := x.world.Client.List(x.ctx, list, client.InNamespace(x.ns), client.MatchingLabels{journal.LabelRole: journal.RoleVersion}); err != nil {
		x.t.Fatal(err)
	}
	slices.SortFunc(list.Items, func(a, b corev1.Secret) int { return cmp.Compare(numberOf(a), numberOf(b)) })
	return list.Items
}

func (x *tenant) versionsOf(c *v1alpha1.APIClientCredential) []corev1.Secret {
	x.t.Helper()
	return slices.DeleteFunc(x.versions(), func(s corev1.Secret) bool {
		return s.Labels[journal.LabelCredentialUID] != string(c.UID)
	})
}

func base64Of(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }

func numberOf(s corev1.Secret) int {
	n, _ := strconv.Atoi(s.Annotations[journal.AnnotationNumber]) // 0 is no version's number
	return n
}

// eventually waits until look says nothing. What it said last is why the test fails.
func (x *tenant) eventually(within time.Duration, look func() string) {
	x.t.Helper()
	deadline := time.NewTimer(within)
	defer deadline.Stop()
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	for {
		lack := look()
		if lack == "" {
			return
		}
		select {
		case <-again.C:
		case <-deadline.C:
			x.t.Fatalf("after %s: %s", within, lack)
		}
	}
}

// throughout fails if look says something before the time is over.
func (x *tenant) throughout(duration time.Duration, look func() string) {
	x.t.Helper()
	deadline := time.NewTimer(duration)
	defer deadline.Stop()
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	for {
		if fault := look(); fault != "" {
			x.t.Fatal(fault)
		}
		select {
		case <-again.C:
		case <-deadline.C:
			return
		}
	}
}

// state is a condition as a test compares it.
type state struct {
	Status metav1.ConditionStatus
	Reason string
}

func stateOf(conditions []metav1.Condition, kind string) state {
	if c := meta.FindStatusCondition(conditions, kind); c != nil {
		return state{c.Status, c.Reason}
	}
	return state{}
}

// await waits until a condition of the credential billing is as wanted and its message
// holds every one of these parts. An empty state waits until the condition is gone.
func (x *tenant) await(within time.Duration, kind string, want state, parts ...string) {
	x.t.Helper()
	x.eventually(within, func() string {
		return lacks(x.get("billing").Status.Conditions, kind, want, parts)
	})
}

func (x *tenant) awaitIssuer(within time.Duration, want state, parts ...string) {
	x.t.Helper()
	x.eventually(within, func() string {
		issuer := &v1alpha1.CredentialIssuer{}
		if err := x.world.Client.Get(x.ctx, x.key("apic"), issuer); err != nil {
			return err.Error()
		}
		return lacks(issuer.Status.Conditions, v1alpha1.ConditionReady, want, parts)
	})
}

func lacks(conditions []metav1.Condition, kind string, want state, parts []string) string {
	if diff := gocmp.Diff(want, stateOf(conditions, kind)); diff != "" {
		return fmt.Sprintf("condition %s (-want +got):\n%s\nall conditions:\n%s", kind, diff, describe(conditions))
	}
	c := meta.FindStatusCondition(conditions, kind)
	for _, part := range parts {
		if !strings.Contains(c.Message, part) {
			return fmt.Sprintf("the message of %s does not say %q: %s", kind, part, c.Message)
		}
	}
	return ""
}

func describe(conditions []metav1.Condition) string {
	var b strings.Builder
	for _, c := range conditions {
		fmt.Fprintf(&b, "  %s=%s %s: %s\n", c.Type, c.Status, c.Reason, c.Message)
	}
	return b.String()
}

// published is the Ready of a credential that works.
var published = state{metav1.ConditionTrue, v1alpha1.ReasonPublished}

func (x *tenant) awaitReady(name string) {
	x.t.Helper()
	x.eventually(soon, func() string {
		c := x.get(name)
		if c.Status.ObservedGeneration != c.Generation {
			return "the status is not about the present spec"
		}
		return lacks(c.Status.Conditions, v1alpha1.ConditionReady, published, nil)
	})
}

// awaitVersion waits until the Secret holds a version.
func (x *tenant) awaitVersion(within time.Duration, number int64) {
	x.t.Helper()
	x.eventually(within, func() string {
		s := x.target("billing-api")
		if s == nil {
			return "there is no Secret"
		}
		if got := s.Annotations[journal.AnnotationVersion]; got != fmt.Sprint(number) {
			return fmt.Sprintf("the Secret holds version %s, not %d; %s", got, number, x.told("billing"))
		}
		return ""
	})
}

// awaitGone waits until an object is gone.
func (x *tenant) awaitGone(within time.Duration, o client.Object) {
	x.t.Helper()
	x.eventually(within, func() string {
		err := x.world.Client.Get(x.ctx, client.ObjectKeyFromObject(o), o)
		if apierrors.IsNotFound(err) {
			return ""
		}
		if c, ok := o.(*v1alpha1.APIClientCredential); ok {
			return "the credential is still there:\n" + describe(c.Status.Conditions)
		}
		return fmt.Sprintf("%T %s is still there, held by %v (%v)", o, o.GetName(), o.GetFinalizers(), err)
	})
}

// awaitIdle waits until nothing is under way and ledger and journal agree.
func (x *tenant) awaitIdle(live int) {
	x.t.Helper()
	x.eventually(2*soon, func() string {
		if got := len(x.sim.Ledger().Live()); got != live {
			return fmt.Sprintf("%d credentials live upstream, want %d", got, live)
		}
		return x.disagreement()
	})
}

// disagreement says how ledger and journal differ: what lives upstream must be exactly
// what version Secrets stand for that were not revoked.
func (x *tenant) disagreement() string {
	x.t.Helper()
	upstream, here := []string{}, []string{}
	for _, record := range x.sim.Ledger().Live() {
		upstream = append(upstream, record.Attrs["clientId"])
	}
	for _, s := range x.versions() {
		if s.Annotations[journal.AnnotationRevokedAt] == "" {
			here = append(here, s.Annotations[journal.AnnotationMark])
		}
	}
	slices.Sort(upstream)
	slices.Sort(here)
	if diff := gocmp.Diff(here, upstream); diff != "" {
		return "journal and ledger differ (-journal +ledger):\n" + diff
	}
	return ""
}

// fault sets a fault in the tenant's upstream.
func (x *tenant) fault(f simkit.Fault) string {
	x.t.Helper()
	id, err := x.sim.Faults().Add(f)
	if err != nil {
		x.t.Fatal(err)
	}
	return id
}

// hold makes a call of the operator stand still and returns a function that waits until
// one does.
func (x *tenant) hold(operation string, point simkit.Point) (held func() string) {
	x.t.Helper()
	since := x.sim.Events().Last()
	x.fault(simkit.Fault{Operation: operation, Point: point, Action: simkit.Hold, Match: map[string]string{"agent": "claviger/*"}})
	return func() string {
		x.t.Helper()
		ctx, cancel := context.WithTimeout(x.ctx, 2*soon)
		defer cancel()
		event, err := x.sim.Events().Wait(ctx, since, func(e simkit.Event) bool {
			return e.Type == simkit.EventHeld && e.Operation == operation && e.Attrs["point"] == string(point)
		})
		if err != nil {
			x.t.Fatalf("no %s came to be held: %v", operation, err)
		}
		return event.Attrs["hold"]
	}
}

// calls counts the calls of an operation by the operator: exact, or a prefix and "*".
func (x *tenant) calls(operation string) int {
	total := 0
	for _, n := range x.sim.Calls().List() {
		prefix, all := strings.CutSuffix(operation, "*")
		if strings.HasPrefix(n.Agent, "claviger/") && (n.Operation == operation || all && strings.HasPrefix(n.Operation, prefix)) {
			total += n.Calls
		}
	}
	return total
}

// platformCalls counts everything that the operator ever sent to the management side.
func (x *tenant) platformCalls() int { return x.calls("*") - x.calls("gateway.call") }

// reasons are those of the events about an object, in the order of their happening.
func (x *tenant) reasons(kind, name string) []string {
	x.t.Helper()
	list := &eventsv1.EventList{}
	if err := x.world.Client.List(x.ctx, list, client.InNamespace(x.ns)); err != nil {
		x.t.Fatal(err)
	}
	slices.SortStableFunc(list.Items, func(a, b eventsv1.Event) int { return a.EventTime.Compare(b.EventTime.Time) })
	var reasons []string
	for _, e := range list.Items {
		if e.Regarding.Kind == kind && e.Regarding.Name == name {
			reasons = append(reasons, e.Reason)
		}
	}
	return reasons
}

// mark is the present end of the audit log.
func (x *tenant) mark() operatortest.Mark {
	x.t.Helper()
	m, err := x.world.Now()
	if err != nil {
		x.t.Fatal(err)
	}
	return m
}

// writes are the operator's writes in this namespace since a mark, without events and
// without the counts on issuers and policies, which belong to nobody's rotation.
func (x *tenant) writes(since operatortest.Mark) []string {
	x.t.Helper()
	requests, err := x.world.Requests(since, x.ns)
	if err != nil {
		x.t.Fatal(err)
	}
	var writes []string
	for _, r := range requests {
		if r.Write() && r.Resource != "events" && r.Resource != "credentialissuers/status" && r.Resource != "rotationpolicies/status" {
			writes = append(writes, r.String())
		}
	}
	return writes
}

// apply hands manifests to kubectl.
func (x *tenant) apply(manifests string) error {
	x.t.Helper()
	file := filepath.Join(x.t.TempDir(), "manifests.yaml")
	if err := os.WriteFile(file, []byte(manifests), 0o600); err != nil {
		x.t.Fatal(err)
	}
	_, err := x.world.Plane.Kubectl(x.ctx, "apply", "--namespace", x.ns, "--filename", file)
	return err
}

func (x *tenant) kubectl(args ...string) string {
	x.t.Helper()
	out, err := x.world.Plane.Kubectl(x.ctx, append([]string{"--namespace", x.ns}, args...)...)
	if err != nil {
		x.t.Fatal(err)
	}
	return out
}

// logNoise is what every line of the log repeats.
var logNoise = regexp.MustCompile(`"(controller|controllerGroup|controllerKind|namespace|reconcileID|apiVersion)":"[^"]*",?|"[A-Z]\w+":\{[^}]*\},`)

// explain shows what a failed test leaves: the objects, the upstream's ledger and what
// the operator said about the namespace.
func (x *tenant) explain() {
	out, err := x.world.Plane.Kubectl(x.ctx, "--namespace", x.ns, "get", "apicred,credissuer,rotpol", "--output", "yaml")
	x.t.Logf("objects (%v):\n%s", err, out)
	out, err = x.world.Plane.Kubectl(x.ctx, "--namespace", x.ns, "get", "secrets", "--output",
		"custom-columns=NAME:.metadata.name,DELETED:.metadata.deletionTimestamp,FINALIZERS:.metadata.finalizers,ANNOTATIONS:.metadata.annotations")
	x.t.Logf("Secrets (%v):\n%s", err, out)
	for _, e := range x.sim.Ledger().Entries(0) {
		x.t.Logf("ledger: %s %s %s by %s (%s)", e.Time.Format(time.TimeOnly), e.Action, e.Attrs["clientId"], e.By.Agent, e.How)
	}
	text, err := x.world.Log()
	if err != nil {
		x.t.Log(err)
	}
	var lines []string
	for line := range strings.SplitSeq(text, "\n") {
		if strings.Contains(line, x.ns) {
			lines = append(lines, logNoise.ReplaceAllString(line, ""))
		}
	}
	x.t.Logf("the operator's log:\n%s", strings.Join(lines[max(0, len(lines)-60):], "\n"))
}
