package crash

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/apiconnectsim"
	"github.com/claviger-dev/claviger/internal/canary"
	"github.com/claviger-dev/claviger/internal/interval"
	"github.com/claviger-dev/claviger/internal/operatortest"
	"github.com/claviger-dev/claviger/internal/simkit"
)

const (
	// glance is the pause between two looks at something that is waited for.
	glance = 200 * time.Millisecond
	// toRest is how long the last scenes and the last revocations may take: two claims
	// of dead processes after each other, of 50 s each, and some work.
	toRest = 150 * time.Second
)

// The login of the sample world that may do everything.
const (
	loginRealm    = "provider/default-idp-2"
	loginUser     = "svc-rotator"
	loginPassword = "rotator-password"
)

// stage is an API Connect, some namespaces and the cast that acts in them.
type stage struct {
	t     testing.TB
	world *operatortest.World
	sim   *apiconnectsim.Sim
	// ctx ends with the test, curtain when the cast is to finish its scene and rest.
	ctx     context.Context
	curtain context.Context
	rest    context.CancelFunc

	acting  sync.WaitGroup
	calling sync.WaitGroup
	hangUp  context.CancelFunc
	callers context.Context

	mu         sync.Mutex
	namespaces []string
	operators  []*operatortest.Operator
	cast       []*actor
	// faults are broken promises, in the words of whoever saw them.
	faults []string
	calls  int
	// overlaps are those of the namespaces.
	overlaps map[string]time.Duration
	// blinded counts calls that failed for want of a look at the Secret.
	blinded int
	// shown is how often a previous version was seen beside the published one.
	shown int
	// namedSeen is how often a Secret of a single version was.
	namedSeen int
	// abandoned are client ids that live on upstream on an administrator's word.
	abandoned map[string]bool
}

// newWorld starts a control plane that is stopped with the test.
func newWorld(t testing.TB) *operatortest.World {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	canaries := &canary.Canaries{}
	// What only the simulator knows counts, too: tokens, and answers that were lost.
	canaries.Mark("value that a simulator made up", simkit.Marker)
	world, err := operatortest.Start(ctx, operatortest.Options{
		Binary: binary, Canaries: canaries, Controllers: []string{"deployment-controller", "replicaset-controller"},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := world.Stop(); err != nil {
			t.Error(err)
		}
	})
	return world
}

// newStage sets an empty stage with an API Connect of its own, whose gateway learns late.
func newStage(t testing.TB, world *operatortest.World) *stage {
	t.Helper()
	behaviour := apiconnectsim.Usual()
	behaviour.Propagation = apiconnectsim.Between(100*time.Millisecond, 600*time.Millisecond)
	sim := apiconnectsim.New(apiconnectsim.Options{Seed: apiconnectsim.Sample(), Behaviour: &behaviour})
	if err := sim.Start(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &stage{t: t, world: world, sim: sim, ctx: ctx, abandoned: map[string]bool{}, overlaps: map[string]time.Duration{}}
	s.curtain, s.rest = context.WithCancel(ctx)
	s.callers, s.hangUp = context.WithCancel(ctx)
	t.Cleanup(func() {
		if t.Failed() {
			s.explain()
		}
		cancel()
		for _, o := range s.operators {
			// One that was killed already is gone, and that is all that is wanted.
			if err := o.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
				t.Error(err)
			}
		}
		s.acting.Wait()
		s.calling.Wait()
		if err := sim.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// namespace makes one with a login, an issuer and a policy that renews on request only.
func (s *stage) namespace(name string, overlap v1alpha1.Interval, verify time.Duration) string {
	s.t.Helper()
	lasts, err := interval.Parse(string(overlap))
	if err != nil {
		s.t.Fatal(err)
	}
	ns := name + "-" + strings.ToLower(rand.Text()[:6])
	policy := &v1alpha1.RotationPolicy{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "policy"},
		Spec: v1alpha1.RotationPolicySpec{
			Selector: &metav1.LabelSelector{}, RotateAfter: "Unlimited", Overlap: overlap,
			Verify: v1alpha1.VerifyPolicy{Timeout: &metav1.Duration{Duration: verify}},
			Uptake: &v1alpha1.UptakePolicy{Margin: &metav1.Duration{}}, // workloads are restarted at once
		},
	}
	for _, o := range []client.Object{
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns}},
		&corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "apic-login"},
			StringData: map[string]string{
				"username": loginUser, "password": loginPassword, "client_id": "toolkit", "client_secret": "toolkit-secret",
			},
		},
		policy,
		s.issuer(ns, "apic"),
	} {
		if err := s.world.Client.Create(s.ctx, o); err != nil {
			s.t.Fatal(err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.namespaces = append(s.namespaces, ns)
	s.overlaps[ns] = lasts.Min()
	return ns
}

func (s *stage) issuer(ns, name string) *v1alpha1.CredentialIssuer {
	return &v1alpha1.CredentialIssuer{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name},
		Spec: v1alpha1.CredentialIssuerSpec{
			RateLimit: v1alpha1.RateLimit{PerSecond: 100, Burst: 100},
			IBMAPIConnect: &v1alpha1.IBMAPIConnectIssuer{
				URL: s.sim.URL(), GatewayURL: s.sim.GatewayURL(), CABundle: string(s.sim.CA()),
				ProviderOrg: "acme", Catalog: "production",
				Login: v1alpha1.IBMAPIConnectLogin{Realm: loginRealm, SecretRef: v1alpha1.SecretReference{Name: "apic-login"}},
			},
		},
	}
}

// app makes an application upstream. Each actor has one of its own, so that the ledger
// tells whose every entry is.
func (s *stage) app(name string) apiconnectsim.Path {
	s.t.Helper()
	path := apiconnectsim.Path{Org: "acme", Catalog: "production", ConsumerOrg: "retail", App: name}
	if _, err := s.sim.Add(path); err != nil {
		s.t.Fatal(err)
	}
	return path
}

// fault notes a broken promise.
func (s *stage) fault(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faultLocked(format, args...)
}

func (s *stage) faultLocked(format string, args ...any) {
	s.faults = append(s.faults, time.Now().Format(time.TimeOnly)+" "+fmt.Sprintf(format, args...))
}

// operator runs one that is not armed.
func (s *stage) operator(flags ...string) *operatortest.Operator {
	s.t.Helper()
	o, err := s.world.Run(s.ctx, flags...)
	if err != nil {
		s.t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.operators = append(s.operators, o)
	return o
}

// kill ends an operator as a failing machine does.
func (s *stage) kill(o *operatortest.Operator) {
	s.t.Helper()
	if err := o.Kill(); err != nil {
		s.t.Fatalf("the operator was gone before it was killed: %v", err)
	}
}

// eventually waits until look says nothing. What it said last is why the test fails.
func (s *stage) eventually(within time.Duration, what string, look func() string) {
	s.t.Helper()
	deadline := time.NewTimer(within)
	defer deadline.Stop()
	again := time.NewTicker(glance)
	defer again.Stop()
	for {
		lack := look()
		if lack == "" {
			return
		}
		select {
		case <-again.C:
		case <-deadline.C:
			s.t.Fatalf("%s: after %s: %s\nthe cast:\n%s", what, within, lack, s.standing())
		}
	}
}

// step does what an actor does, within a bounded time.
func (s *stage) step(what string, do func() bool) {
	s.t.Helper()
	done := make(chan bool, 1)
	s.acting.Go(func() { done <- do() })
	timer := time.NewTimer(hit)
	defer timer.Stop()
	select {
	case ok := <-done:
		if !ok {
			s.t.Fatalf("%s: it was broken off", what)
		}
	case <-timer.C:
		s.t.Fatalf("%s: it is not done after %s; the cast:\n%s", what, hit, s.standing())
	}
}

// progress waits until the cast has played so many scenes more.
func (s *stage) progress(scenes int) {
	s.t.Helper()
	sum := func() int {
		s.mu.Lock()
		defer s.mu.Unlock()
		n := 0
		for _, a := range s.cast {
			a.mu.Lock()
			n += a.scenes
			a.mu.Unlock()
		}
		return n
	}
	want := sum() + scenes
	s.eventually(hit, "the play goes on", func() string {
		if got := sum(); got < want {
			return fmt.Sprintf("%d of %d scenes were played", got, want)
		}
		return ""
	})
}

// next waits for the next event of a type.
func (s *stage) next(kind string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.ctx, hit)
	defer cancel()
	if _, err := s.sim.Events().Wait(ctx, s.sim.Events().Last(), func(e simkit.Event) bool { return e.Type == kind }); err != nil {
		s.t.Fatalf("nothing is %s: %v; the cast:\n%s", kind, err, s.standing())
	}
}

// throughout fails if look says something before the time is over.
func (s *stage) throughout(duration time.Duration, look func() string) {
	s.t.Helper()
	deadline := time.NewTimer(duration)
	defer deadline.Stop()
	again := time.NewTicker(glance)
	defer again.Stop()
	for {
		if wrong := look(); wrong != "" {
			s.t.Fatal(wrong)
		}
		select {
		case <-again.C:
		case <-deadline.C:
			return
		}
	}
}

// end lets the cast finish and the operator that runs bring everything to rest, and
// judges what is left. Then everything is deleted, and nothing may be left at all.
func (s *stage) end() {
	s.t.Helper()
	s.rest()
	left := make(chan struct{})
	go func() { s.acting.Wait(); close(left) }()
	s.eventually(toRest, "the last scenes", func() string {
		select {
		case <-left:
			return ""
		default:
			return "they are not over"
		}
	})
	s.eventually(toRest, "at rest", s.unrest)
	s.judgeQuiet()
	s.judge()
	s.judgeLeaks()
	s.hangUp()
	s.calling.Wait()
	s.judgeCallers()
	s.leave()
}

// leave deletes the namespaces; nothing may keep them. Only what was to be retained, or
// was abandoned, lives on upstream.
func (s *stage) leave() {
	s.t.Helper()
	mayLive := map[string]bool{}
	for _, record := range s.sim.Ledger().Live() {
		mayLive[record.Attrs["clientId"]] = s.isKept(record.Attrs["app"])
	}
	for id := range s.abandoned {
		mayLive[id] = true
	}
	for _, ns := range s.namespaces {
		if err := s.world.Client.Delete(s.ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns}}); err != nil {
			s.t.Error(err)
		}
	}
	s.eventually(toRest, "the namespaces end", func() string {
		for _, ns := range s.namespaces {
			err := s.world.Client.Get(s.ctx, client.ObjectKey{Name: ns}, &corev1.Namespace{})
			if !apierrors.IsNotFound(err) {
				return fmt.Sprintf("namespace %s is still there (%v); %s", ns, err, s.remains(ns))
			}
		}
		return ""
	})
	for _, record := range s.sim.Ledger().Live() {
		if id := record.Attrs["clientId"]; !mayLive[id] {
			s.t.Errorf("client id %s of app %s outlived its namespace", id, record.Attrs["app"])
		}
		delete(mayLive, record.Attrs["clientId"])
	}
	for id, may := range mayLive {
		if may {
			s.t.Errorf("client id %s was revoked, and it was to live on", id)
		}
	}
}

// isKept reports whether the actor of an app wants its versions retained.
func (s *stage) isKept(app string) bool {
	return slices.ContainsFunc(s.cast, func(a *actor) bool { return a.app.App == app && a.keeps })
}

func (s *stage) remains(ns string) string {
	out, err := s.world.Plane.Kubectl(s.ctx, "--namespace", ns, "get", "apicred,credissuer,secrets", "--output",
		"custom-columns=KIND:.kind,NAME:.metadata.name,DELETED:.metadata.deletionTimestamp,FINALIZERS:.metadata.finalizers")
	if err != nil {
		return err.Error()
	}
	return out
}

// standing says what every actor is waiting for.
func (s *stage) standing() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b strings.Builder
	for _, a := range s.cast {
		fmt.Fprintf(&b, "  %s\n", a.standing())
	}
	return b.String()
}

// explain shows what a failed test leaves.
func (s *stage) explain() {
	s.t.Logf("the cast:\n%s", s.standing())
	for _, ns := range s.namespaces {
		out, err := s.world.Plane.Kubectl(s.ctx, "--namespace", ns, "get", "apicred", "--output", "yaml")
		s.t.Logf("credentials of %s (%v):\n%s", ns, err, clip(out, 6000))
		out, err = s.world.Plane.Kubectl(s.ctx, "--namespace", ns, "get", "credissuer", "--output",
			"custom-columns=NAME:.metadata.name,DELETED:.metadata.deletionTimestamp,FINALIZERS:.metadata.finalizers,CONDITIONS:.status.conditions")
		s.t.Logf("issuers of %s (%v):\n%s", ns, err, clip(out, 6000))
		out, err = s.world.Plane.Kubectl(s.ctx, "--namespace", ns, "get", "secrets", "--output",
			"custom-columns=NAME:.metadata.name,DELETED:.metadata.deletionTimestamp,FINALIZERS:.metadata.finalizers,ANNOTATIONS:.metadata.annotations")
		s.t.Logf("Secrets of %s (%v):\n%s", ns, err, clip(out, 8000))
	}
	for _, e := range s.sim.Ledger().Entries(0) {
		s.t.Logf("ledger: %s %s %s of %s", e.Time.Format("15:04:05.000"), e.Action, e.Attrs["clientId"], e.Attrs["app"])
	}
	for i, o := range s.operators {
		s.t.Logf("operator %d:\n%s", i+1, s.story(o))
	}
}

// story is what an operator did in the stage's namespaces, a line for each step.
func (s *stage) story(o *operatortest.Operator) string {
	text, err := o.Log()
	if err != nil {
		return err.Error()
	}
	var b strings.Builder
	for line := range strings.SplitSeq(text, "\n") {
		var said struct {
			TS, Msg, Namespace, Name, Action, Cause, Error string
			Version                                        int64
		}
		if json.Unmarshal([]byte(line), &said) != nil || !slices.Contains(s.namespaces, said.Namespace) {
			continue
		}
		fmt.Fprintf(&b, "  %s %s/%s %s %s v%d %s %s\n", said.TS, said.Namespace, said.Name, said.Msg, said.Action, said.Version, said.Cause, said.Error)
	}
	return clip(b.String(), 100000)
}

func clip(text string, most int) string { return text[max(0, len(text)-most):] }
