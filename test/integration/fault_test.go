package integration

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/apiconnectsim"
	"github.com/claviger-dev/claviger/internal/journal"
	"github.com/claviger-dev/claviger/internal/simkit"
)

// Whatever goes wrong once with the call that makes a credential, in the end there is
// one.
func TestAFailureWhileIssuingMakesOneCredential(t *testing.T) {
	t.Parallel()
	refuse := func(status int) simkit.Fault { return simkit.Fault{Action: simkit.Refuse, Status: status} }
	lost := simkit.AfterCommit
	for _, test := range []struct {
		name  string
		fault simkit.Fault
		// repeated: the upstream had committed and refused the repetition.
		repeated bool
		// pause is how long the operator must wait before it tries again.
		pause time.Duration
	}{
		{"500 before the commit", refuse(500), false, 0},
		{"503 that asks for a pause, in seconds", simkit.Fault{Action: simkit.Refuse, Status: 503, RetryAfter: simkit.Duration(4 * time.Second)}, false, 4 * time.Second},
		{"429 that asks for a pause, as a date", simkit.Fault{Action: simkit.ThrottleCall, RetryAfter: simkit.Duration(4 * time.Second), RetryAfterForm: simkit.RetryAfterDate}, false, 3 * time.Second},
		{"429 that names no time", simkit.Fault{Action: simkit.ThrottleCall, RetryAfterForm: simkit.RetryAfterNone}, false, 0},
		{"a page of a proxy with 502", simkit.Fault{Action: simkit.HTML}, false, 0},
		{"a connection cut before the commit", simkit.Fault{Action: simkit.Cut}, false, 0},
		{"a connection cut after the commit", simkit.Fault{Action: simkit.Cut, Point: lost}, true, 0},
		{"half an answer", simkit.Fault{Action: simkit.Truncate, Point: lost}, true, 0},
		{"a page of a proxy with 504 after the commit", simkit.Fault{Action: simkit.HTML, Status: 504, Point: lost}, true, 0},
		{"500 after the commit", simkit.Fault{Action: simkit.Refuse, Status: 500, Point: lost}, true, 0},
		{"429 after the commit", simkit.Fault{Action: simkit.ThrottleCall, Point: lost}, true, 0},
		{"an answer after five seconds", simkit.Fault{Action: simkit.Delay, Delay: simkit.Duration(5 * time.Second)}, false, 0},
		{"an answer later than any call may take", simkit.Fault{Action: simkit.Delay, Delay: simkit.Duration(25 * time.Second), Point: lost}, true, 0},
		{"three failures in a row", simkit.Fault{Action: simkit.Refuse, Status: 503, Count: 3}, false, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			x := newTenant(t, shared)
			test.fault.Operation = "credential.create"
			x.fault(test.fault)
			since := x.sim.Events().Last()
			x.create(x.issuer())
			x.create(x.credential())
			x.eventually(75*time.Second, func() string {
				return lacks(x.get("billing").Status.Conditions, v1alpha1.ConditionReady, published, nil)
			})
			x.awaitIdle(1)
			if got := len(x.sim.Ledger().Issued()); got != 1 {
				t.Errorf("%d credentials were issued", got)
			}
			if got := len(x.sim.Faults().List()); got != 0 {
				t.Fatalf("the fault never struck: it proves nothing")
			}
			duplicates := 0
			for _, e := range x.sim.Ledger().Entries(0) {
				if e.Action == simkit.EventDuplicate {
					duplicates++
				}
			}
			if want := map[bool]int{true: 1, false: 0}[test.repeated]; duplicates != want {
				t.Errorf("%d repetitions were refused by the upstream, want %d", duplicates, want)
			}
			if test.pause > 0 {
				wantPause(x, since, test.pause)
			}
		})
	}
}

// wantPause compares the time of the fault with that of the commit.
func wantPause(x *tenant, since int64, pause time.Duration) {
	x.t.Helper()
	var struck, issued time.Time
	for _, e := range x.sim.Events().Since(since) {
		switch e.Type {
		case simkit.EventFault:
			struck = e.Time
		case simkit.EventIssued:
			issued = e.Time
		}
	}
	if got := issued.Sub(struck); got < pause {
		x.t.Errorf("it was tried again after %s, the upstream asked for %s", got, pause)
	}
}

// The platform's word is not enough: the Secret changes only when the gateway takes the
// new credential.
func TestPublicationWaitsForTheGateway(t *testing.T) {
	t.Parallel()
	x := newTenant(t, shared)
	const delay = 4 * time.Second
	if err := x.sim.Adjust(func(b *apiconnectsim.Behaviour) { b.Propagation = apiconnectsim.Exactly(delay) }); err != nil {
		t.Fatal(err)
	}
	x.create(x.issuer())
	x.create(x.policy("Unlimited", "3s"))
	x.create(x.credential())
	x.await(soon, v1alpha1.ConditionReady, state{"False", v1alpha1.ReasonVerifying}, "401", "or not yet")
	if x.target("billing-api") != nil {
		t.Error("the Secret was written before the gateway takes it")
	}
	since := x.mark()
	x.awaitReady("billing")
	workload := x.call(0)
	x.request(time.Now())
	x.awaitVersion(soon, 2)
	x.awaitIdle(1)
	x.wantNoFailure(workload)
	for i, at := range x.publications(since) {
		issued := x.sim.Ledger().Issued()[i]
		if at.Before(issued.IssuedAt.Add(delay)) {
			t.Errorf("version %d was published %s after its issue; the gateway takes it after %s", i+1, at.Sub(issued.IssuedAt), delay)
		}
	}
	// Waiting costs the platform one call, not one a try.
	if got := x.calls("credential.verify-secret"); got != 2 {
		t.Errorf("the platform was asked %d times about two versions", got)
	}
}

// Material that is never accepted is given up after verify.timeout, revoked, and tried
// anew after a pause, under a number that was never used; the Secret keeps what works.
func TestMaterialThatIsNeverAcceptedIsGivenUp(t *testing.T) {
	t.Parallel()
	x := newTenant(t, shared)
	x.ready(x.policy("10s", "3s", func(p *v1alpha1.RotationPolicy) {
		timeout := hour
		timeout.Duration = 3 * time.Second
		p.Spec.Verify.Timeout = &timeout
	}))
	workload := x.call(0)
	propagate := func(d time.Duration) {
		if err := x.sim.Adjust(func(b *apiconnectsim.Behaviour) { b.Propagation = apiconnectsim.Exactly(d) }); err != nil {
			t.Fatal(err)
		}
	}
	propagate(time.Hour)
	x.await(75*time.Second, v1alpha1.ConditionAttention, state{"True", v1alpha1.ReasonBackingOff}, "version 2 was given up", "the next one is made at")
	x.await(soon, v1alpha1.ConditionReady, published, "version 1")
	x.awaitIdle(1)
	if got := x.sim.Ledger().Issued(); len(got) != 2 || !got[0].Live() || got[1].Live() {
		t.Fatalf("want version 1 alive and version 2 revoked: %+v", got)
	}
	c := x.get("billing")
	tombstone := journal.VersionSecretName("billing", string(c.UID), 2)
	if v := x.versions(); len(v) != 2 || v[1].Name != tombstone || v[1].Annotations[journal.AnnotationFailures] != "1" {
		t.Errorf("the failed version must stay as a tombstone: %d versions", len(v))
	}
	wantStates(t, c, map[int64]v1alpha1.VersionState{1: v1alpha1.VersionPublished, 2: v1alpha1.VersionFailed})

	propagate(0)
	x.awaitVersion(90*time.Second, 3)
	update(x, "policy", &v1alpha1.RotationPolicy{}, func(p *v1alpha1.RotationPolicy) { p.Spec.RotateAfter = "Unlimited" })
	x.await(soon, v1alpha1.ConditionAttention, state{})
	x.awaitIdle(1)
	x.wantNoFailure(workload)
	if got := len(x.sim.Ledger().Issued()); got != 3 {
		t.Errorf("%d credentials were issued", got)
	}
	// Version 2 was revoked at once; its Secret held the number until version 3 was made.
	wantEvents(t, []string{"Issued", "VersionFailed", "Renewed", "Revoked", "Revoked"}, slices.DeleteFunc(x.reasons("APIClientCredential", "billing"),
		func(reason string) bool { return reason == "RotationOverdue" })) // with ages of seconds it comes at any moment
}

func wantStates(t *testing.T, c *v1alpha1.APIClientCredential, want map[int64]v1alpha1.VersionState) {
	t.Helper()
	got := map[int64]v1alpha1.VersionState{}
	for _, v := range c.Status.Versions {
		got[v.Number] = v.State
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("states of the versions (-want +got):\n%s", diff)
	}
}

// wantEvents compares events without those that stand beside others of one moment.
func wantEvents(t *testing.T, want, got []string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

// Hazard H4: what cannot be reached has not refused anything. A version that cannot be
// verified waits, for longer than verify.timeout and any claim, and is never revoked.
func TestAnUnreachableGatewayRevokesNothing(t *testing.T) {
	t.Parallel()
	x := newTenant(t, shared)
	x.ready(x.policy("Unlimited", "3s", func(p *v1alpha1.RotationPolicy) {
		timeout := hour
		timeout.Duration = 2 * time.Second
		p.Spec.Verify.Timeout = &timeout
	}))
	x.fault(simkit.Fault{Operation: "gateway.call", Match: map[string]string{"agent": "claviger/*"}, Action: simkit.Refuse, Status: 503, Count: -1})
	workload := x.call(0)
	x.request(time.Now())
	x.await(soon, v1alpha1.ConditionAttention, state{"True", v1alpha1.ReasonVerifyUnreachable}, "version 2", "503")
	// A claim runs for 50 seconds; without one the operator would be free to give up.
	x.throughout(60*time.Second, func() string {
		if len(x.sim.Ledger().Revoked()) > 0 {
			return "something was revoked although nothing was refused"
		}
		if got := len(x.sim.Ledger().Issued()); got > 2 {
			return fmt.Sprintf("%d credentials were issued", got)
		}
		return ""
	})
	x.await(soon, v1alpha1.ConditionReady, published, "version 1")
	x.sim.Faults().Remove("")
	x.awaitVersion(45*time.Second, 2)
	x.awaitIdle(1)
	x.wantNoFailure(workload)
}

// A list that is shorter than the truth, or empty, proves nothing (hazard C4).
func TestAListThatLiesCostsNothing(t *testing.T) {
	t.Parallel()
	x := newTenant(t, shared)
	x.ready(x.policy("Unlimited", "3s"))
	none := 0
	if err := x.sim.Adjust(func(b *apiconnectsim.Behaviour) { b.ShortLists = &none }); err != nil {
		t.Fatal(err)
	}
	workload := x.call(0)
	x.request(time.Now())
	x.awaitVersion(soon, 2)
	x.awaitIdle(1)
	x.throughout(2*sweepInterval, func() string {
		if got := len(x.sim.Ledger().Issued()); got != 2 {
			return fmt.Sprintf("%d credentials were issued because of a list", got)
		}
		return ""
	})
	x.await(soon, v1alpha1.ConditionReady, published)
	x.wantNoFailure(workload)
}
