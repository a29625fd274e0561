package admission

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/claviger-dev/claviger/internal/journal"
)

// answering plays the API server for tests of what the Guard remembers. What a real one
// answers is the subject of the other file.
type answering struct {
	client.Client
	mu       sync.Mutex
	probes   map[string]int // by namespace
	reads    int
	refusal  error // the answer to probes
	readFail error
	hold     chan struct{} // if set, probes wait for it
}

func (a *answering) Create(_ context.Context, o client.Object, options ...client.CreateOption) error {
	a.mu.Lock()
	hold, refusal := a.hold, a.refusal
	a.probes[o.GetNamespace()]++
	a.mu.Unlock()
	var applied client.CreateOptions
	if applied.ApplyOptions(options); len(applied.DryRun) != 1 || applied.DryRun[0] != metav1.DryRunAll {
		return errors.New("the probe was no dry run")
	}
	if hold != nil {
		<-hold
	}
	return refusal
}

func (a *answering) Get(_ context.Context, key client.ObjectKey, o client.Object, _ ...client.GetOption) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.reads++
	if a.readFail != nil {
		return a.readFail
	}
	shipped, err := readShipped()
	if err != nil {
		return err
	}
	for _, s := range shipped {
		if s.GetName() == key.Name && specOf(s) != nil && sameKind(s, o) {
			return copyInto(s, o)
		}
	}
	return errors.New("unknown object " + key.Name)
}

func (a *answering) count(namespace string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.probes[namespace]
}

func (a *answering) set(change func(*answering)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	change(a)
}

// invalid is an answer with code 422.
func invalid(message string) error {
	return &apierrors.StatusError{ErrStatus: metav1.Status{Status: metav1.StatusFailure, Code: 422, Reason: metav1.StatusReasonInvalid, Message: message}}
}

var refused = invalid("Secret \"claviger-probe-\" is invalid: ValidatingAdmissionPolicy '" + journalPolicy + "' with binding '" + journalPolicy + "' denied request: " + probeRefusal)

func newGuard(t *testing.T, a *answering) (*Guard, *clocktesting.FakePassiveClock) {
	t.Helper()
	a.probes = map[string]int{}
	clock := clocktesting.NewFakePassiveClock(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	guard, err := NewGuard(a, a, clock, true)
	if err != nil {
		t.Fatal(err)
	}
	return guard, clock
}

func requireInForce(t *testing.T, g *Guard, namespace string, want bool) string {
	t.Helper()
	ok, message := g.InForce(t.Context(), namespace)
	if ok != want || ok == (message != "") {
		t.Fatalf("in force in %s: %v (%q), want %v", namespace, ok, message, want)
	}
	return message
}

func TestAProofCountsForTenMinutesInItsNamespace(t *testing.T) {
	a := &answering{refusal: refused}
	g, clock := newGuard(t, a)
	requireInForce(t, g, "payments", true)
	reads := a.reads
	if reads != len(g.shipped) {
		t.Fatalf("%d of %d policies and bindings were read", reads, len(g.shipped))
	}
	clock.SetTime(clock.Now().Add(proofLifetime - time.Nanosecond))
	requireInForce(t, g, "payments", true)
	if a.count("payments") != 1 || a.reads != reads {
		t.Errorf("within its life a proof was sought again: %d probes, %d reads", a.count("payments"), a.reads)
	}
	requireInForce(t, g, "shipping", true)
	if a.count("shipping") != 1 || a.reads != reads {
		t.Errorf("another namespace needs a probe of its own and no second comparison: %d probes, %d reads", a.count("shipping"), a.reads)
	}
	clock.SetTime(clock.Now().Add(time.Nanosecond))
	requireInForce(t, g, "payments", true)
	if a.count("payments") != 2 || a.reads != 2*reads {
		t.Errorf("after its life a proof was not renewed: %d probes, %d reads", a.count("payments"), a.reads)
	}
}

func TestUnderRolesAloneTheProbeDecides(t *testing.T) {
	a := &answering{refusal: refused}
	g, _ := newGuard(t, a)
	g.policies = false
	requireInForce(t, g, "payments", true)
	if a.reads != 0 || a.count("payments") != 1 {
		t.Errorf("%d reads of policies and %d probes, instead of none and one", a.reads, a.count("payments"))
	}
	a.set(func(a *answering) { a.refusal = nil })
	requireInForce(t, g, "shipping", false)
}

func TestADoubtCountsForFiveSeconds(t *testing.T) {
	a := &answering{}
	g, clock := newGuard(t, a)
	requireInForce(t, g, "payments", false)
	a.set(func(a *answering) { a.refusal = refused })
	clock.SetTime(clock.Now().Add(doubtLifetime - time.Nanosecond))
	requireInForce(t, g, "payments", false)
	clock.SetTime(clock.Now().Add(time.Nanosecond))
	requireInForce(t, g, "payments", true)
	if a.count("payments") != 2 {
		t.Errorf("%d probes instead of 2", a.count("payments"))
	}
}

func TestWithoutTheContentNothingIsProbed(t *testing.T) {
	a := &answering{refusal: refused, readFail: errors.New("no route")}
	g, clock := newGuard(t, a)
	message := requireInForce(t, g, "payments", false)
	if !strings.Contains(message, "no route") || a.count("payments") != 0 {
		t.Errorf("%q after %d probes", message, a.count("payments"))
	}
	a.set(func(a *answering) { a.readFail = nil })
	clock.SetTime(clock.Now().Add(doubtLifetime))
	requireInForce(t, g, "payments", true)
}

func TestThoseWhoAskAtTheSameTimeShareOneProbe(t *testing.T) {
	a := &answering{refusal: refused, hold: make(chan struct{})}
	g, _ := newGuard(t, a)
	gone, leave := context.WithCancel(t.Context())
	leave()
	if ok, message := g.InForce(gone, "payments"); ok || message == "" {
		t.Errorf("a caller without time is told %v, %q", ok, message)
	}
	var callers sync.WaitGroup
	answers := make(chan bool, 50)
	for range cap(answers) {
		callers.Go(func() {
			ok, _ := g.InForce(t.Context(), "payments")
			answers <- ok
		})
	}
	close(a.hold)
	callers.Wait()
	close(answers)
	for ok := range answers {
		if !ok {
			t.Error("the caller that left was taken for an answer to the others")
		}
	}
	if a.count("payments") != 1 {
		t.Errorf("%d probes instead of one", a.count("payments"))
	}
}

func TestAnswersForNamespacesOfThePastAreForgotten(t *testing.T) {
	a := &answering{refusal: refused}
	g, clock := newGuard(t, a)
	for _, namespace := range []string{"a", "b", "c"} {
		requireInForce(t, g, namespace, true)
	}
	clock.SetTime(clock.Now().Add(proofLifetime))
	requireInForce(t, g, "d", true)
	if len(g.answers) != 2 { // of the content and of d
		t.Errorf("%d answers are kept", len(g.answers))
	}
}

func TestOnlyThePolicysOwnAnswerIsAProof(t *testing.T) {
	for name, test := range map[string]struct {
		answer error
		proof  bool
	}{
		"the policy's own answer":                         {refused, true},
		"acceptance":                                      {nil, false},
		"the same text under another code":                {apierrors.NewForbidden(corev1.Resource("secrets"), "x", refused), false},
		"another sentence of the same policy":             {invalid("ValidatingAdmissionPolicy '" + journalPolicy + "' with binding 'x' denied request: needs a right"), false},
		"the sentence from another policy":                {invalid("ValidatingAdmissionPolicy 'other' with binding 'x' denied request: " + probeRefusal), false},
		"the sentence from a policy whose name is longer": {invalid("ValidatingAdmissionPolicy 'not-" + journalPolicy + "' with binding 'x' denied request: " + probeRefusal), false},
		"a webhook that quotes it":                        {invalid("denied by webhook: " + probeRefusal), false},
		"no answer":                                       {context.DeadlineExceeded, false},
	} {
		t.Run(name, func(t *testing.T) {
			g, _ := newGuard(t, &answering{refusal: test.answer})
			requireInForce(t, g, "payments", test.proof)
		})
	}
}

func TestMessagesStayTheSameWhileTheCauseDoes(t *testing.T) {
	forbidden := func(name string) error {
		return apierrors.NewForbidden(corev1.Resource("secrets"), name, errors.New("quota of secrets is used up"))
	}
	g1, _ := newGuard(t, &answering{refusal: forbidden("claviger-probe-x7k2p")})
	g2, _ := newGuard(t, &answering{refusal: forbidden("claviger-probe-b9m4q")})
	one, two := requireInForce(t, g1, "payments", false), requireInForce(t, g2, "payments", false)
	if one != two || !strings.Contains(one, "quota of secrets is used up") {
		t.Errorf("%q and %q", one, two)
	}
}

// TestThePolicyGuardsWhatTheJournalWrites: words that stand in Go and in YAML.
func TestThePolicyGuardsWhatTheJournalWrites(t *testing.T) {
	shipped, err := readShipped()
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range shipped {
		p, ok := asPolicy(o)
		if !ok || p.Name != journalPolicy {
			continue
		}
		if condition := p.Spec.MatchConditions[0].Expression; !strings.Contains(condition, "'"+string(journal.SecretType)+"'") {
			t.Errorf("it matches %s", condition)
		}
		first := p.Spec.Validations[0]
		if first.Message != probeRefusal || !strings.Contains(first.Expression, "'"+journal.AnnotationProbe+"'") {
			t.Errorf("its first validation is %s: %s", first.Expression, first.Message)
		}
		return
	}
	t.Error("there is no such policy")
}
