// Package scale measures what the operator costs, on a real API server and with a
// simulator that answers at once. It asserts nothing about time: the figures are
// counted from the API server's own audit log and from the simulator, not from the
// operator, and reported for people to compare.
package scale

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/apiconnectsim"
	"github.com/claviger-dev/claviger/internal/operatortest"
)

const (
	namespace = "fleet"
	// patience bounds every phase.
	patience = 10 * time.Minute
	idle     = time.Minute
)

// fleetSize is 500 unless CLAVIGER_BENCH_CREDENTIALS says otherwise.
func fleetSize(b *testing.B) int {
	text := os.Getenv("CLAVIGER_BENCH_CREDENTIALS")
	if text == "" {
		return 500
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		b.Fatalf("CLAVIGER_BENCH_CREDENTIALS=%q is no number of credentials", text)
	}
	return n
}

// fleet is a world with an operator and many credentials of one app.
type fleet struct {
	*testing.B
	world    *operatortest.World
	operator *operatortest.Operator
	// seen are the credentials as a watch shows them: to list them all five times a second would
	// be more work for the API server than what is measured.
	seen client.Reader
	sim  *apiconnectsim.Sim
	size int
}

// phase is what one cost: the time, and the writes for each credential by verb and resource.
type phase struct {
	took   time.Duration
	writes map[string]int
}

func BenchmarkFleet(b *testing.B) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	log.SetLogger(logr.Discard()) // the watch would speak between the figures
	f := &fleet{B: b, size: fleetSize(b)}
	f.start(ctx)
	for range b.N {
		issue := f.measure(ctx, "issue", func() { f.create(ctx) }, f.allAt(1))
		rotation := f.measure(ctx, "rotation", func() { f.requestRotation(ctx) }, f.allPublished(2))
		f.measure(ctx, "retirement", func() {}, f.allAt(2))
		f.settle(ctx)
		f.measure(ctx, "idle-minute", func() {}, func(ctx context.Context) (bool, error) {
			return true, pause(ctx, idle)
		})
		f.reportMemory(ctx)
		f.newcomers(ctx)
		f.settle(ctx)
		f.restart(ctx)
		f.failOver(ctx)
		f.must(f.operator.Stop())
		f.bare(ctx, "issue", issue)
		f.bare(ctx, "rotation", rotation)
		f.deleteAll(ctx, bareNamespace)
		f.run(ctx)
		f.deleteAll(ctx, namespace)
		f.must(pause(ctx, time.Second)) // deletions are agreed to up to a second
		f.agree(ctx)
		f.await(ctx, func(context.Context) (bool, error) { return len(f.sim.Ledger().Live()) == 0, nil })
	}
}

// overlap is longer than a rotation of all, so that retirements are measured by themselves.
func (f *fleet) overlap() v1alpha1.Interval {
	return v1alpha1.Interval(fmt.Sprintf("%ds", 15+f.size/40))
}

// report says a figure at once: with ten thousand credentials the end is half an hour away.
func (f *fleet) report(value float64, unit string) {
	f.ReportMetric(value, unit)
	fmt.Fprintf(os.Stderr, "%s %.4g %s\n", time.Now().Format(time.TimeOnly), value, unit)
}

func (f *fleet) must(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

func (f *fleet) start(ctx context.Context) {
	binary := filepath.Join(f.TempDir(), "claviger")
	build := exec.CommandContext(ctx, "go", "build", "-o", binary, "github.com/claviger-dev/claviger")
	if out, err := build.CombinedOutput(); err != nil {
		f.Fatalf("build the operator: %v: %s", err, out)
	}
	world, err := operatortest.Start(ctx, operatortest.Options{Binary: binary, Measured: true})
	f.must(err)
	f.world = world
	f.Cleanup(func() { f.must(world.Stop()) })
	f.watch()
	f.sim = apiconnectsim.New(apiconnectsim.Options{Seed: apiconnectsim.Seed{
		Toolkits: []apiconnectsim.Toolkit{{ClientID: "toolkit", ClientSecret: "toolkit-secret"}},
		Logins:   []apiconnectsim.Login{{Username: "rotator", Password: "rotator-password", Realm: "provider/default-idp-2"}},
		Orgs: []apiconnectsim.SeedOrg{{Name: "acme", Catalogs: []apiconnectsim.SeedCatalog{{Name: "production", ConsumerOrgs: []apiconnectsim.SeedConsumerOrg{
			{Name: "retail", Apps: []apiconnectsim.SeedApp{{Name: "fleet"}}},
		}}}}},
	}})
	f.must(f.sim.Start())
	f.Cleanup(func() { f.must(f.sim.Close()) })
	for _, o := range f.surroundings() {
		f.must(world.Client.Create(ctx, o))
	}
	f.run(ctx)
	issuer := &v1alpha1.CredentialIssuer{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "apic"}}
	f.await(ctx, func(ctx context.Context) (bool, error) {
		err := world.Client.Get(ctx, client.ObjectKeyFromObject(issuer), issuer)
		return meta.IsStatusConditionTrue(issuer.Status.Conditions, v1alpha1.ConditionReady), err
	})
}

// watch follows the credentials until the benchmark ends.
func (f *fleet) watch() {
	seen, err := cache.New(f.world.Plane.Config(), cache.Options{Scheme: f.world.Client.Scheme(), DefaultNamespaces: map[string]cache.Config{namespace: {}}})
	f.must(err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- seen.Start(ctx) }()
	f.Cleanup(func() {
		cancel()
		f.must(<-ended)
	})
	f.seen = seen
}

func (f *fleet) surroundings() []client.Object {
	in := func(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: namespace, Name: name} }
	return []client.Object{
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}},
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: bareNamespace}},
		&corev1.Secret{ObjectMeta: in("login"), StringData: map[string]string{
			"username": "rotator", "password": "rotator-password", "client_id": "toolkit", "client_secret": "toolkit-secret",
		}},
		&v1alpha1.RotationPolicy{ObjectMeta: in("policy"), Spec: v1alpha1.RotationPolicySpec{
			Selector: &metav1.LabelSelector{}, RotateAfter: "90d", Overlap: f.overlap(),
		}},
		&v1alpha1.CredentialIssuer{ObjectMeta: in("apic"), Spec: v1alpha1.CredentialIssuerSpec{
			RateLimit: v1alpha1.RateLimit{PerSecond: 10000, Burst: 10000},
			IBMAPIConnect: &v1alpha1.IBMAPIConnectIssuer{
				URL: f.sim.URL(), ProviderOrg: "acme", Catalog: "production", CABundle: string(f.sim.CA()),
				Login: v1alpha1.IBMAPIConnectLogin{Realm: "provider/default-idp-2", SecretRef: v1alpha1.SecretReference{Name: "login"}},
			},
		}},
	}
}

func (f *fleet) create(ctx context.Context) {
	var group errgroup.Group
	group.SetLimit(concurrency)
	for i := range f.size {
		group.Go(func() error { return f.world.Client.Create(ctx, credential(fmt.Sprintf("credential-%05d", i))) })
	}
	f.must(group.Wait())
}

func credential(name string) *v1alpha1.APIClientCredential {
	return &v1alpha1.APIClientCredential{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: v1alpha1.APIClientCredentialSpec{
			IssuerRef:     v1alpha1.IssuerReference{Name: "apic"},
			IBMAPIConnect: &v1alpha1.IBMAPIConnectCredential{ConsumerOrg: "retail", App: "fleet"},
			Secret:        v1alpha1.TargetSecret{Name: name},
		},
	}
}

func (f *fleet) requestRotation(ctx context.Context) {
	patch := client.RawPatch("application/merge-patch+json", fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%q}}}`,
		v1alpha1.AnnotationRotateRequestedAt, time.Now().UTC().Format(time.RFC3339Nano)))
	var group errgroup.Group
	group.SetLimit(concurrency)
	for i := range f.size {
		o := &v1alpha1.APIClientCredential{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: fmt.Sprintf("credential-%05d", i)}}
		group.Go(func() error { return f.world.Client.Patch(ctx, o, patch) })
	}
	f.must(group.Wait())
}

// allPublished waits until every credential has published the version.
func (f *fleet) allPublished(version int64) wait.ConditionWithContextFunc {
	return f.all(func(s *v1alpha1.APIClientCredentialStatus) bool { return s.Version == version })
}

// allAt waits until every credential has published the version and has no other.
func (f *fleet) allAt(version int64) wait.ConditionWithContextFunc {
	return f.all(func(s *v1alpha1.APIClientCredentialStatus) bool { return s.Version == version && len(s.Versions) == 1 })
}

func (f *fleet) all(done func(*v1alpha1.APIClientCredentialStatus) bool) wait.ConditionWithContextFunc {
	return func(ctx context.Context) (bool, error) {
		list := &v1alpha1.APIClientCredentialList{}
		whole := &client.ListOptions{Namespace: namespace, UnsafeDisableDeepCopy: new(true)}
		if err := f.seen.List(ctx, list, whole); err != nil || len(list.Items) < f.size {
			return false, err
		}
		for i := range list.Items {
			if !done(&list.Items[i].Status) {
				return false, nil
			}
		}
		return true, nil
	}
}

func (f *fleet) await(ctx context.Context, done wait.ConditionWithContextFunc) {
	f.Helper()
	f.must(wait.PollUntilContextTimeout(ctx, 200*time.Millisecond, patience, true, done))
}

// measure counts what one phase costs, for each credential; an idle phase is counted
// as a whole.
func (f *fleet) measure(ctx context.Context, name string, begin func(), done wait.ConditionWithContextFunc) phase {
	mark, err := f.world.Now()
	f.must(err)
	used := f.usage(ctx)
	calls, begun := f.sim.Calls().Total("*"), time.Now()
	begin()
	f.await(ctx, done)
	took := time.Since(begun)
	use := f.usage(ctx)
	requests, err := f.world.Requests(mark, namespace)
	f.must(err)
	count := tally(requests)
	per := float64(f.size)
	if strings.HasPrefix(name, "idle") {
		per = 1
	} else {
		f.report(per/took.Seconds(), name+"s/s")
	}
	f.report(float64(count.writes)/per, "writes/"+name)
	f.report(float64(count.events)/per, "events/"+name)
	f.report(float64(count.gets)/per, "gets/"+name)
	f.report(float64(f.sim.Calls().Total("*")-calls)/per, "calls/"+name)
	f.report(1000*(use.operatorCPU-used.operatorCPU)/per, "operator-cpu-ms/"+name)
	f.report(1000*(use.serverCPU-used.serverCPU)/per, "apiserver-cpu-ms/"+name)
	f.Logf("%s of %d in %s: %s", name, f.size, took.Round(time.Millisecond), count)
	writes := map[string]int{}
	for kind, n := range count.byKind {
		// Counts on the policy and the issuer are written for all together.
		if each := (n + f.size/2) / f.size; each > 0 {
			writes[kind] = each
		}
	}
	writes["create events"] = (count.events + f.size/2) / f.size
	return phase{took: took, writes: writes}
}

// deleteAll deletes the credentials of a namespace, one by one: the API server ends a request for
// ten thousand of them after a minute.
func (f *fleet) deleteAll(ctx context.Context, namespace string) {
	list := &v1alpha1.APIClientCredentialList{}
	f.must(f.world.Client.List(ctx, list, client.InNamespace(namespace)))
	for i := range list.Items {
		f.must(client.IgnoreNotFound(f.world.Client.Delete(ctx, &list.Items[i])))
	}
}

// settle waits until the operator has written nothing for half a minute and a bit:
// the counts on policies and issuers follow at most every 30 seconds.
func (f *fleet) settle(ctx context.Context) {
	const quiet = 40 * time.Second
	for {
		mark, err := f.world.Now()
		f.must(err)
		f.must(pause(ctx, quiet))
		requests, err := f.world.Requests(mark, namespace)
		f.must(err)
		if tally(requests).writes == 0 {
			return
		}
	}
}

// counts of one phase.
type counts struct {
	writes, conflicts, events, gets int
	byKind                          map[string]int
}

func (c counts) String() string {
	return fmt.Sprintf("%d writes (%d lost a race), %d events, %d live reads; %v", c.writes, c.conflicts, c.events, c.gets, c.byKind)
}

func tally(requests []operatortest.Request) counts {
	c := counts{byKind: map[string]int{}}
	for _, r := range requests {
		switch {
		case r.Resource == "events":
			c.events++
		case r.Write():
			c.writes++
			c.byKind[r.Verb+" "+r.Resource]++
			if r.Status == 409 {
				c.conflicts++
			}
		case r.Verb == "get":
			c.gets++
		}
	}
	return c
}
