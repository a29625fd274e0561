package integration

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/apiconnectsim"
	"github.com/claviger-dev/claviger/internal/journal"
	"github.com/claviger-dev/claviger/internal/operatortest"
	"github.com/claviger-dev/claviger/internal/simkit"
)

// The main promise: rotation after rotation by policy, and no workload notices, not even
// one that sees the Secret late.
func TestRotationByPolicyFailsNoCall(t *testing.T) {
	t.Parallel()
	x := newTenant(t, shared)
	if err := x.sim.Adjust(func(b *apiconnectsim.Behaviour) {
		b.Propagation = apiconnectsim.Between(500*time.Millisecond, 2*time.Second)
	}); err != nil {
		t.Fatal(err)
	}
	const overlap = 6 * time.Second
	since := x.mark()
	x.ready(x.policy("16s", "6s"))
	prompt, late := x.call(0), x.call(overlap-2*time.Second)
	x.awaitVersion(3*soon, 4)
	update(x, "policy", &v1alpha1.RotationPolicy{}, func(p *v1alpha1.RotationPolicy) { p.Spec.RotateAfter = "Unlimited" })
	x.awaitIdle(1)
	x.wantNoFailure(prompt)
	x.wantNoFailure(late)

	records, publications := x.sim.Ledger().Issued(), x.publications(since)
	if len(records) != 4 || len(publications) != 4 {
		t.Fatalf("%d credentials were issued and %d published for four versions", len(records), len(publications))
	}
	for i, r := range records[:3] {
		successor := publications[i+1]
		if r.RevokedAt.Before(successor.Add(overlap)) {
			t.Errorf("version %d was revoked at %s, its successor was published at %s: the overlap is %s", i+1, r.RevokedAt, successor, overlap)
		}
		if late := r.RevokedAt.Sub(successor.Add(overlap)); late > soon {
			t.Errorf("version %d was revoked %s after its overlap had passed", i+1, late)
		}
	}
	if !records[3].Live() {
		t.Error("the newest version was revoked")
	}
	x.await(soon, v1alpha1.ConditionRotating, state{})
}

// A workload that notices nothing proves something only if it could notice: here the
// upstream kills the predecessor as soon as it sees the successor.
func TestAWorkloadNoticesARotationWithoutOverlap(t *testing.T) {
	t.Parallel()
	x := newTenant(t, shared)
	x.ready(x.policy("Unlimited", "5s"))
	late := x.call(2 * time.Second)
	if err := x.sim.Adjust(func(b *apiconnectsim.Behaviour) { b.RevokePredecessor = true }); err != nil {
		t.Fatal(err)
	}
	x.request(time.Now())
	x.awaitVersion(soon, 2)
	x.awaitIdle(1)
	x.throughout(3*time.Second, func() string { return "" })
	if calls, refused := late.stop(); len(refused) == 0 {
		t.Errorf("none of %d calls failed: the judge is blind", calls)
	}
}

// publications are when the API server was asked to write the Secret: each was
// published later than that.
func (x *tenant) publications(since operatortest.Mark) []time.Time {
	x.t.Helper()
	requests, err := x.world.Requests(since, x.ns)
	if err != nil {
		x.t.Fatal(err)
	}
	var times []time.Time
	for _, r := range requests {
		if r.Resource == "secrets" && r.Name == "billing-api" && (r.Verb == "create" || r.Verb == "update") && r.Status < 300 {
			times = append(times, r.Received)
		}
	}
	return times
}

// What one rotation costs, and in which order: the intent before the call, the Secret
// before the status, the deletion before the revocation.
func TestOneRotationWritesSixTimesAndCallsFourTimes(t *testing.T) {
	t.Parallel()
	x := newTenant(t, shared)
	x.ready(x.policy("Unlimited", "5s"))
	c := x.get("billing")
	x.awaitIdle(1)
	statuses := x.watchStatus()
	since, events := x.mark(), x.sim.Events().Last()
	before := map[string]int{}
	for _, n := range x.sim.Calls().List() {
		before[n.Operation] += n.Calls
	}

	x.request(time.Now())
	x.awaitVersion(soon, 2)
	x.await(soon, v1alpha1.ConditionRotating, state{"True", v1alpha1.ReasonOverlap}, "version 1 stays valid until ")
	x.awaitIdle(1)
	x.await(soon, v1alpha1.ConditionRotating, state{})

	name := func(n int) string { return journal.VersionSecretName("billing", string(c.UID), int64(n)) }
	want := []string{
		"create secrets " + name(2),
		"update secrets billing-api",
		"patch apiclientcredentials/status billing",
		"delete secrets " + name(1),
		"patch secrets " + name(1),
		"patch apiclientcredentials/status billing",
	}
	x.eventually(soon, func() string {
		if diff := cmp.Diff(want, x.writes(since)); diff != "" {
			return fmt.Sprintf("writes of a rotation (-want +got):\n%s\nstatuses: %s", diff, statuses())
		}
		return ""
	})
	calls := map[string]int{}
	for _, n := range x.sim.Calls().List() {
		if made := n.Calls - before[n.Operation]; made > 0 && n.Operation != "credential.list-catalog" {
			calls[n.Operation] += made
		}
	}
	wantCalls := map[string]int{
		"credential.create": 1, "credential.verify-secret": 1, "gateway.call": 1, "credential.get": 1, "credential.delete": 1,
	}
	if diff := cmp.Diff(wantCalls, calls); diff != "" {
		t.Errorf("upstream calls of a rotation, the sweep apart (-want +got):\n%s", diff)
	}
	var story []string
	for _, e := range x.sim.Events().Since(events) {
		if slices.Contains([]string{simkit.EventIssued, simkit.EventRevoked, apiconnectsim.EventAccepted}, e.Type) {
			story = append(story, e.Type)
		}
	}
	if diff := cmp.Diff([]string{simkit.EventIssued, apiconnectsim.EventAccepted, simkit.EventRevoked}, story); diff != "" {
		t.Errorf("what the upstream saw (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"Issued", "Renewed", "Revoked"}, x.reasons("APIClientCredential", "billing")); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	got := x.get("billing").Status
	if got.Version != 2 || len(got.Versions) != 1 || got.Versions[0].State != v1alpha1.VersionPublished {
		t.Errorf("status after the rotation: version %d of %+v", got.Version, got.Versions)
	}
}

// Two credentials of one app, one Secret each: what one does is no concern of the other.
func TestCredentialsOfOneAppRotateApart(t *testing.T) {
	t.Parallel()
	x := newTenant(t, shared)
	x.ready(x.policy("Unlimited", "3s"))
	other := x.create(x.credential(func(c *v1alpha1.APIClientCredential) {
		c.Name, c.Spec.Secret.Name = "reporting", "reporting-api"
	}))
	x.awaitReady(other.GetName())
	before := x.target("reporting-api")

	x.request(time.Now())
	x.awaitVersion(soon, 2)
	x.awaitIdle(2)
	if diff := cmp.Diff(before, x.target("reporting-api")); diff != "" {
		t.Errorf("the other credential's Secret changed (-before +after):\n%s", diff)
	}
	if !x.sim.Accepts(string(before.Data["client_id"]), string(before.Data["client_secret"])) {
		t.Error("the other credential was revoked")
	}
}

// The policy that a credential names wins over one that selects it, and two that select
// it are told apart by age, with a word about it.
func TestTheOldestOfTwoPoliciesApplies(t *testing.T) {
	t.Parallel()
	x := newTenant(t, shared)
	x.create(x.policy("90d", "10d", func(p *v1alpha1.RotationPolicy) { p.Name = "zeta" }))
	x.ready(nil)
	if got := x.get("billing").Status.Policy; got != "RotationPolicy/zeta" {
		t.Fatalf("the policy is %s", got)
	}
	// Creation times have a grain of a second; at the same age the name decides.
	x.eventually(soon, func() string {
		p := &v1alpha1.RotationPolicy{}
		if err := x.world.Client.Get(x.ctx, x.key("zeta"), p); err != nil {
			return err.Error()
		}
		if time.Since(p.CreationTimestamp.Time) < 1100*time.Millisecond {
			return "the older policy is not a second old"
		}
		return ""
	})
	x.create(x.policy("30d", "3d", func(p *v1alpha1.RotationPolicy) { p.Name = "alpha" }))
	x.await(soon, v1alpha1.ConditionPolicyAmbiguous, state{"True", v1alpha1.ReasonPoliciesOverlap}, "zeta", "alpha")
	x.await(soon, v1alpha1.ConditionReady, published)
	if got := x.get("billing").Status.Policy; got != "RotationPolicy/zeta" {
		t.Errorf("a younger policy took over: %s", got)
	}
	x.change(func(c *v1alpha1.APIClientCredential) {
		c.Spec.PolicyRef = &v1alpha1.PolicyReference{Name: "alpha"}
	})
	x.await(soon, v1alpha1.ConditionPolicyAmbiguous, state{})
	if got := x.get("billing").Status.Policy; got != "RotationPolicy/alpha" {
		t.Errorf("the named policy does not apply: %s", got)
	}
	if got := len(x.sim.Ledger().Issued()); got != 1 {
		t.Errorf("%d credentials were issued: policies changed, nothing was due", got)
	}
}

// A renewal that is due waits for its window and says so; a request does not wait.
func TestARoutineRenewalWaitsForItsWindow(t *testing.T) {
	t.Parallel()
	x := newTenant(t, shared)
	// A window that opens half a year from now, whenever the test runs.
	far := time.Now().UTC().AddDate(0, 6, 0)
	x.ready(x.policy("5s", "2s", func(p *v1alpha1.RotationPolicy) {
		p.Spec.Windows = []v1alpha1.Window{{
			Schedule: fmt.Sprintf("0 0 1 %d *", int(far.Month())), Duration: hour, TimeZone: "UTC",
		}}
	}))
	x.await(soon, v1alpha1.ConditionRotating, state{"True", v1alpha1.ReasonWaitingForWindow}, fmt.Sprintf("%d-%02d-01T00:00:00Z", far.Year(), far.Month()))
	x.await(soon, v1alpha1.ConditionReady, published)
	if got := len(x.sim.Ledger().Issued()); got != 1 {
		t.Errorf("%d credentials were issued outside the window", got)
	}
	x.request(time.Now())
	x.awaitVersion(soon, 2)
	x.await(soon, v1alpha1.ConditionRotating, state{"True", v1alpha1.ReasonWaitingForWindow})
	if got := len(x.sim.Ledger().Live()); got != 2 {
		t.Errorf("%d credentials live: the retirement is routine and waits for the window too", got)
	}
}

// watchStatus returns a function that shows every status that the credential billing
// had since.
func (x *tenant) watchStatus() (seen func() string) {
	x.t.Helper()
	w, err := x.world.Client.Watch(x.ctx, &v1alpha1.APIClientCredentialList{}, client.InNamespace(x.ns))
	if err != nil {
		x.t.Fatal(err)
	}
	x.t.Cleanup(w.Stop)
	var mu sync.Mutex
	var all strings.Builder
	go func() {
		for e := range w.ResultChan() {
			if c, ok := e.Object.(*v1alpha1.APIClientCredential); ok && c.Name == "billing" {
				mu.Lock()
				fmt.Fprintf(&all, "\n%s %+v", c.ResourceVersion, c.Status)
				mu.Unlock()
			}
		}
	}()
	return func() string {
		mu.Lock()
		defer mu.Unlock()
		return all.String()
	}
}
