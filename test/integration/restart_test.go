package integration

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/operatortest"
	"github.com/claviger-dev/claviger/internal/simkit"
)

// What stops the operator, or changes what all namespaces have in common, happens in a
// world of its own, one thing after the other.
func TestInterruptions(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), 9*time.Minute)
	t.Cleanup(cancel)
	world, err := operatortest.Start(ctx, operatortest.Options{Binary: binary, Canaries: canaries})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := world.Stop(); err != nil {
			t.Error(err)
		}
	})
	i := &interruptions{t: t, ctx: ctx, world: world}
	t.Run("nothing is lost or made twice when the operator is killed at the worst moments", i.kill)
	t.Run("what is compromised goes ahead of all that waits", i.hasten)
	t.Run("a restart writes nothing and answers no request again", i.restart)
	t.Run("an operator that is told to stop finishes the call under way", i.stopInACall)
	t.Run("an API server that goes away for a while costs nothing", i.upgrade)
	t.Run("an operator that only observes writes nothing upstream", i.observe)
	t.Run("what was released can be deleted without the operator", i.release)
	t.Run("without the guard of the journal nothing is issued or revoked", i.unguard)
}

type interruptions struct {
	t     *testing.T
	ctx   context.Context
	world *operatortest.World
	now   *operatortest.Operator
}

// run replaces the operator that is gone.
func (i *interruptions) run(t *testing.T, flags ...string) {
	t.Helper()
	var err error
	if i.now, err = i.world.Run(i.ctx, append([]string{"--sweep-interval=" + sweepInterval.String()}, flags...)...); err != nil {
		t.Fatal(err)
	}
}

func (i *interruptions) stop(t *testing.T) {
	t.Helper()
	if err := i.now.Stop(); err != nil {
		t.Fatal(err)
	}
}

// kill waits until one credential stands still at each of the worst moments, and then
// kills the operator once.
func (i *interruptions) kill(t *testing.T) {
	i.run(t)
	moments := []*moment{
		{name: "intent durable, call not committed", operation: "credential.create", point: simkit.BeforeCommit},
		{name: "credential made, answer lost", operation: "credential.create", point: simkit.AfterCommit, duplicates: 1},
		{name: "successor made, answer lost", operation: "credential.create", point: simkit.AfterCommit, version: 2, duplicates: 1},
		{name: "successor proven, not published", operation: "gateway.call", point: simkit.AfterCommit, version: 2, duplicates: 1},
		{name: "version Secret deleted, not revoked", operation: "credential.delete", point: simkit.BeforeCommit, version: 2},
		{name: "revoked, answer lost", operation: "credential.delete", point: simkit.AfterCommit, version: 2},
	}
	for _, m := range moments {
		m.begin(t, i.world)
	}
	replaced := beginReplacement(t, i.world)
	for _, m := range moments {
		m.held()
	}
	replaced.held()
	if err := i.now.Kill(); err != nil {
		t.Fatal(err)
	}
	for _, m := range moments {
		if m.operation == "credential.delete" && m.x.versions()[0].DeletionTimestamp == nil {
			t.Errorf("%s: the version was about to be revoked and its Secret is not deleted", m.name)
		}
	}
	i.run(t)
	for _, m := range moments {
		m.end(t)
	}
	replaced.end()
	i.stop(t)
}

// hasten has one worker, and a queue before it. What is declared compromised last is renewed next.
func (i *interruptions) hasten(t *testing.T) {
	i.run(t, "--workers=1")
	x := newTenant(t, i.world)
	x.ready(x.policy("Unlimited", "1h"))
	const others = 8
	other := func(n int) string { return fmt.Sprint("other-", n) }
	for n := range others {
		x.create(x.credential(func(c *v1alpha1.APIClientCredential) { c.Name, c.Spec.Secret.Name = other(n), other(n) }))
	}
	for n := range others {
		x.awaitReady(other(n))
	}
	before := len(x.sim.Ledger().Issued())
	// At least: what is under way may be queued once more.
	waits := func(rank string, want int) {
		x.eventually(soon, func() string {
			metrics, err := i.now.Metrics(x.ctx)
			if err != nil {
				return err.Error()
			}
			line, depth := fmt.Sprintf(`workqueue_depth{controller="credential",name="credential",priority="%s"} `, rank), 0
			if _, rest, found := strings.Cut(metrics, line); found {
				_, _ = fmt.Sscan(rest, &depth) // nothing is none
			}
			if depth < want {
				return fmt.Sprintf("%d wait with priority %s, want %d", depth, rank, want)
			}
			return ""
		})
	}
	held := x.hold("credential.create", simkit.BeforeCommit)
	ask := func(n int) {
		update(x, other(n), &v1alpha1.APIClientCredential{}, func(c *v1alpha1.APIClientCredential) {
			c.Annotations = map[string]string{v1alpha1.AnnotationRotateRequestedAt: time.Now().UTC().Format(time.RFC3339Nano)}
		})
	}
	ask(0)
	busy := held()
	for n := 1; n < others; n++ {
		ask(n)
	}
	waits("50", others-1)
	x.annotate(v1alpha1.AnnotationCompromisedAt, time.Now().Add(time.Second).UTC().Format(time.RFC3339))
	waits("100", 1)
	x.sim.Faults().Release(busy, false)
	for n := range others {
		x.eventually(soon, func() string {
			if got := x.get(other(n)).Status.Version; got != 2 {
				return fmt.Sprintf("%s holds version %d", other(n), got)
			}
			return ""
		})
	}
	x.awaitVersion(soon, 2)
	renewed := string(x.target("billing-api").Data["client_id"])
	if issued := x.sim.Ledger().Issued(); len(issued) != before+others+1 || issued[before+1].Attrs["clientId"] != renewed {
		t.Errorf("of %d that were issued after the request the compromised one was not the first after the one under way", len(issued)-before)
	}
	i.stop(t)
}

// moment is one at which the operator is killed.
type moment struct {
	name      string
	operation string
	point     simkit.Point
	// version that is under way; 0 means the first.
	version int64
	// duplicates is how many creates the upstream refuses afterwards. An operator that
	// does not know whether a version was made sends the same bytes again.
	duplicates int

	x        *tenant
	workload *caller
	held     func() string
}

func (m *moment) begin(t *testing.T, world *operatortest.World) {
	m.x = newTenant(t, world)
	if m.version == 0 {
		m.version = 1
		m.held = m.x.hold(m.operation, m.point)
		m.x.create(m.x.issuer())
		m.x.create(m.x.credential())
		return
	}
	m.x.ready(m.x.policy("Unlimited", "3s"))
	m.workload = m.x.call(0)
	m.held = m.x.hold(m.operation, m.point)
	m.x.request(time.Now())
}

func (m *moment) end(t *testing.T) {
	t.Helper()
	// A version that is to be revoked waits until no earlier call for it can be under
	// way: its claim runs for 50 seconds.
	m.x.awaitVersion(75*time.Second, m.version)
	m.x.await(soon, v1alpha1.ConditionReady, published)
	m.x.awaitIdle(1)
	if got := int64(len(m.x.sim.Ledger().Issued())); got != m.version {
		t.Errorf("%s: %d credentials were issued for %d versions", m.name, got, m.version)
	}
	duplicates := 0
	for _, e := range m.x.sim.Ledger().Entries(0) {
		if e.Action == simkit.EventDuplicate {
			duplicates++
		}
	}
	if duplicates != m.duplicates {
		t.Errorf("%s: %d creates were repeated, want %d", m.name, duplicates, m.duplicates)
	}
	if m.workload != nil {
		m.x.wantNoFailure(m.workload)
	}
}

func (i *interruptions) restart(t *testing.T) {
	i.run(t)
	rested, asked := newTenant(t, i.world), newTenant(t, i.world)
	rested.ready(rested.policy("90d", "10d"))
	asked.ready(asked.policy("Unlimited", "2s"))
	asked.request(time.Now())
	asked.awaitVersion(soon, 2)
	asked.awaitIdle(1)
	delivered := beginDelivery(t, i.world)
	rested.awaitRest()
	i.stop(t)

	asked.wipeStatus() // as a restored backup does (hazard C5)
	lost := delivered.now()
	lost.Status = v1alpha1.CloudIntegrationTenantStatus{}
	if err := i.world.Client.Status().Update(i.ctx, lost); err != nil {
		t.Fatal(err)
	}
	since, calls := rested.mark(), rested.callsByOperation()
	i.run(t)
	asked.await(soon, v1alpha1.ConditionReady, published, "version 2")
	delivered.endDelivery()
	i.idleMinute(t, asked)
	if got := len(asked.sim.Ledger().Issued()); got != 2 {
		t.Error("a request was answered again after a restart without its status")
	}
	if unrest := rested.unrest(since); unrest != "" {
		t.Error(unrest)
	}
	rested.wantOnlySweeps(calls)
	i.stop(t)
}

// idleMinute: invariant 9, by the API server's own figures. Nobody but the operator could
// write here now, and its account and its user agent are both looked for.
func (i *interruptions) idleMinute(t *testing.T, x *tenant) {
	t.Helper()
	// What earlier parts left behind is revoked while their namespaces end.
	x.eventually(2*soon, func() string {
		list := &corev1.NamespaceList{}
		if err := i.world.Client.List(i.ctx, list); err != nil {
			return err.Error()
		}
		for _, namespace := range list.Items {
			if namespace.DeletionTimestamp != nil {
				return "namespace " + namespace.Name + " still ends"
			}
		}
		return ""
	})
	const counted = 10 * time.Second
	began, rest := x.mark(), time.Now().Add(counted)
	x.eventually(soon, func() string {
		writes, err := i.world.Writes(began)
		if err != nil {
			return err.Error()
		}
		if len(writes) > 0 {
			began, rest = x.mark(), time.Now().Add(counted)
			return fmt.Sprintf("the operator still writes: %v", writes)
		}
		policy := &v1alpha1.RotationPolicy{}
		if err := i.world.Client.Get(i.ctx, x.key("policy"), policy); err != nil {
			return err.Error()
		}
		// Counts are written later than what they count.
		if policy.Status.NotReady != 0 || time.Now().Before(rest) {
			return "the policy may still count the credential whose status was wiped"
		}
		return ""
	})
	before, err := i.world.Figures(i.ctx)
	if err != nil {
		t.Fatal(err)
	}
	if before["POST secrets"] == 0 || before["PATCH apiclientcredentials/status"] == 0 {
		t.Errorf("the figures do not count what an operator writes: %v", before)
	}
	began = x.mark()
	x.throughout(time.Minute, func() string { return "" })
	after, err := i.world.Figures(i.ctx)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("writes in an idle minute, by the API server's metrics (-before +after):\n%s", diff)
	}
	writes, err := i.world.Writes(began)
	if err != nil {
		t.Fatal(err)
	}
	if len(writes) > 0 {
		t.Errorf("writes in an idle minute, by the API server's audit log: %v", writes)
	}
}

// stopInACall: hazard H5. A call that was sent is not cancelled by a shutdown.
func (i *interruptions) stopInACall(t *testing.T) {
	i.run(t)
	x := newTenant(t, i.world)
	held := x.hold("credential.create", simkit.BeforeCommit)
	x.create(x.issuer())
	x.create(x.credential())
	id := held()
	stopped := make(chan error, 1)
	go func() { stopped <- i.now.Stop() }()
	x.throughout(3*time.Second, func() string {
		select {
		case err := <-stopped:
			stopped <- err
			return "the operator stopped in the middle of a call"
		default:
		}
		if len(x.sim.Faults().Held()) == 0 {
			return "the call was cancelled"
		}
		return ""
	})
	x.sim.Faults().Release(id, false)
	if err := <-stopped; err != nil {
		t.Fatal(err)
	}
	if got := len(x.sim.Ledger().Live()); got != 1 {
		t.Errorf("%d credentials live after the call that was under way", got)
	}
	i.run(t)
	x.awaitReady("billing")
	x.awaitIdle(1)
	if got := len(x.sim.Ledger().Issued()); got != 1 {
		t.Errorf("%d credentials were issued", got)
	}
	i.stop(t)
}

// upgrade: the upstream commits while the API server is away.
func (i *interruptions) upgrade(t *testing.T) {
	i.run(t)
	x := newTenant(t, i.world)
	x.ready(x.policy("Unlimited", "3s"))
	held := x.hold("credential.create", simkit.AfterCommit)
	x.request(time.Now())
	id := held()
	if err := i.world.Plane.StopAPIServer(); err != nil {
		t.Fatal(err)
	}
	x.sim.Faults().Release(id, false)
	x.throughout(3*time.Second, func() string {
		if len(x.sim.Ledger().Revoked()) > 0 {
			return "something was revoked while the API server was away"
		}
		return ""
	})
	if err := i.world.Plane.StartAPIServer(); err != nil {
		t.Fatal(err)
	}
	x.awaitVersion(2*soon, 2)
	x.awaitIdle(1)
	if got := len(x.sim.Ledger().Issued()); got != 2 {
		t.Errorf("%d credentials were issued for two versions", got)
	}
	i.stop(t)
}

func (i *interruptions) observe(t *testing.T) {
	i.run(t)
	x := newTenant(t, i.world)
	c := x.ready(x.policy("Unlimited", "3s"))
	doomed := newTenant(t, i.world)
	d := doomed.ready(nil)
	x.awaitIdle(1)
	i.stop(t)

	i.run(t, "--observe-only")
	changes := func(x *tenant) int {
		return x.calls("credential.create") + x.calls("credential.delete") + x.calls("credential.update")
	}
	before, doomedBefore := changes(x), changes(doomed)
	x.request(time.Now())
	x.await(soon, v1alpha1.ConditionAttention, state{"True", v1alpha1.ReasonObserving}, "--observe-only")
	x.await(soon, v1alpha1.ConditionReady, published)
	fresh := newTenant(t, i.world)
	fresh.create(fresh.issuer())
	fresh.create(fresh.credential())
	fresh.await(soon, v1alpha1.ConditionReady, state{"False", v1alpha1.ReasonObserving})
	doomed.delete(d)
	doomed.await(soon, v1alpha1.ConditionReady, state{"False", v1alpha1.ReasonObserving})
	x.throughout(3*time.Second, func() string {
		if changes(x) != before || changes(doomed) != doomedBefore || changes(fresh) != 0 {
			return "an operator that only observes changed something upstream"
		}
		if len(doomed.versions()) != 1 {
			return "a version was let go"
		}
		return ""
	})
	i.stop(t)

	i.run(t)
	x.awaitVersion(soon, 2)
	x.awaitIdle(1)
	fresh.awaitReady("billing")
	doomed.awaitGone(75*time.Second, d)
	if live := doomed.sim.Ledger().Live(); len(live) > 0 {
		t.Errorf("%d credentials live on", len(live))
	}
	x.delete(c)
	x.awaitGone(75*time.Second, c)
	i.stop(t)
}

// release: hazard 3.7. Before an uninstallation nothing may hang on finalizers that
// nobody serves any more, and what stays valid upstream is named.
func (i *interruptions) release(t *testing.T) {
	i.run(t)
	x := newTenant(t, i.world)
	c := x.ready(nil)
	x.awaitIdle(1)
	i.stop(t)

	alive := x.sim.Ledger().Live()[0].Attrs["name"]
	for _, dryRun := range []bool{true, false} {
		args := []string{"--namespace=" + x.ns}
		if dryRun {
			args = append(args, "--dry-run")
		}
		out, err := i.world.Subcommand(i.ctx, "release", args...)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(out, alive) || !strings.Contains(out, "1 versions stay valid upstream") {
			t.Errorf("it does not say what stays valid upstream (dry run: %t):\n%s", dryRun, out)
		}
		if err := canaries.Find("what release prints", out); err != nil {
			t.Error(err)
		}
		if held := len(x.versions()[0].Finalizers) > 0; held != dryRun {
			t.Errorf("dry run: %t, and the version Secret is held: %t", dryRun, held)
		}
	}
	if s := x.target("billing-api"); s == nil || !x.sim.Accepts(string(s.Data["client_id"]), string(s.Data["client_secret"])) {
		t.Error("the workload's Secret does not work any more")
	}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: x.ns}}
	x.delete(ns)
	x.awaitGone(namespaceEnds, c)
	x.awaitGone(namespaceEnds, ns)
	if got := len(x.sim.Ledger().Live()); got != 1 {
		t.Errorf("%d credentials live, want the one that was released", got)
	}
}

// unguard: hazard H7. Who can forge a version can have somebody else's object revoked.
func (i *interruptions) unguard(t *testing.T) {
	i.run(t)
	old := newTenant(t, i.world)
	c := old.ready(nil)
	old.awaitIdle(1)
	i.stop(t)

	binding := &admissionv1.ValidatingAdmissionPolicyBinding{ObjectMeta: metav1.ObjectMeta{Name: "claviger-journal"}}
	old.delete(binding)
	i.awaitGuard(old, false)
	i.run(t)
	fresh := newTenant(t, i.world)
	fresh.create(fresh.issuer())
	fresh.create(fresh.credential())
	fresh.await(soon, v1alpha1.ConditionReady, state{"False", v1alpha1.ReasonGuardNotInForce}, "claviger-journal does not exist", "apply config/admission")
	kstatus(fresh)
	old.delete(c)
	old.await(soon, v1alpha1.ConditionReady, state{"False", v1alpha1.ReasonGuardNotInForce}, "claviger-journal")
	old.throughout(3*time.Second, func() string {
		if len(fresh.sim.Ledger().Issued()) > 0 {
			return "a credential was issued although nobody guards its journal"
		}
		if len(old.sim.Ledger().Revoked()) > 0 {
			return "a credential was revoked on the word of an unguarded journal"
		}
		return ""
	})

	if _, err := i.world.Plane.Kubectl(i.ctx, "apply", "--server-side", "--kustomize", filepath.Join("..", "..", "config", "admission")); err != nil {
		t.Fatal(err)
	}
	i.awaitGuard(old, true)
	fresh.awaitReady("billing")
	fresh.awaitIdle(1)
	old.awaitGone(75*time.Second, c)
	if live := old.sim.Ledger().Live(); len(live) > 0 {
		t.Errorf("%d credentials live on", len(live))
	}
	i.stop(t)
}

// awaitGuard waits until the API server refuses a forged version Secret to everybody, or
// no longer does: it learns of policies with a delay.
func (i *interruptions) awaitGuard(x *tenant, on bool) {
	x.t.Helper()
	x.eventually(soon, func() string {
		inForce, err := i.world.Guarded(i.ctx)
		if err != nil {
			return err.Error()
		}
		if inForce != on {
			return "the API server has not noticed yet"
		}
		return ""
	})
}
