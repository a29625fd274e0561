package integration

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/journal"
)

// What was declared compromised is replaced and revoked at once: without overlap, window and
// queue, and once.
func TestACompromisedCredentialIsReplacedAndRevokedAtOnce(t *testing.T) {
	t.Parallel()
	x := newTenant(t, shared)
	shut := v1alpha1.Window{Schedule: "0 2 29 2 *", Duration: hour, TimeZone: "UTC"}
	x.ready(x.policy("90d", "10d", func(p *v1alpha1.RotationPolicy) { p.Spec.Windows = []v1alpha1.Window{shut} }))
	at := time.Now().UTC().Format(time.RFC3339Nano)
	x.annotate(v1alpha1.AnnotationCompromisedAt, at)
	x.awaitVersion(soon, 2)
	x.awaitIdle(1)
	x.await(soon, v1alpha1.ConditionReady, published)

	x.wipeStatus()
	x.nudge("once more")
	x.throughout(3*time.Second, func() string {
		if len(x.sim.Ledger().Issued()) != 2 {
			return "the declaration was answered again"
		}
		return ""
	})
}

func TestAWholeFleetIsDeclaredCompromisedOnItsPolicy(t *testing.T) {
	t.Parallel()
	x := newTenant(t, shared)
	p := x.policy("Unlimited", "10d")
	x.ready(p)
	update(x, p.Name, &v1alpha1.RotationPolicy{}, func(p *v1alpha1.RotationPolicy) {
		p.Annotations = map[string]string{v1alpha1.AnnotationCompromisedAt: time.Now().UTC().Format(time.RFC3339Nano)}
	})
	x.awaitVersion(soon, 2)
	x.awaitIdle(1)
}

// The version before is published again while it lives, the bad one is revoked after its
// overlap, and no call fails meanwhile.
func TestARollbackPublishesTheVersionBefore(t *testing.T) {
	t.Parallel()
	x := newTenant(t, shared)
	x.ready(x.policy("Unlimited", "8s"))
	first := x.target("billing-api").Data
	x.request(time.Now())
	x.awaitVersion(soon, 2)
	caller := x.call(2 * time.Second)
	x.annotate(v1alpha1.AnnotationRollbackRequestedAt, time.Now().UTC().Format(time.RFC3339Nano))
	x.awaitVersion(soon, 1)
	if diff := cmp.Diff(first, x.target("billing-api").Data); diff != "" {
		t.Errorf("the Secret (-version 1 +now):\n%s", diff)
	}
	x.eventually(2*soon, func() string {
		if live := x.sim.Ledger().Live(); len(live) != 1 {
			return "the version that was rolled back lives"
		}
		return ""
	})
	x.wantNoFailure(caller)
	if events := x.reasons("APIClientCredential", "billing"); !slices.Contains(events, v1alpha1.ReasonRolledBack) {
		t.Errorf("events: %v", events)
	}

	x.annotate(v1alpha1.AnnotationRollbackRequestedAt, time.Now().UTC().Format(time.RFC3339Nano))
	x.await(soon, v1alpha1.ConditionAttention, state{"True", v1alpha1.ReasonRollbackImpossible}, "no earlier version is left")
	x.request(time.Now())
	x.awaitVersion(soon, 3)
}

// One request gives up one version, although the clock of who asks is ahead and its time is
// still to come when everything has been done.
func TestARollbackByAClockThatIsAheadGivesUpOneVersion(t *testing.T) {
	t.Parallel()
	x := newTenant(t, shared)
	x.ready(x.policy("Unlimited", "1h"))
	for version := range int64(2) {
		x.request(time.Now())
		x.awaitVersion(soon, version+2)
	}
	x.annotate(v1alpha1.AnnotationRollbackRequestedAt, time.Now().Add(4*time.Minute).UTC().Format(time.RFC3339Nano))
	x.awaitVersion(soon, 2)
	x.throughout(3*time.Second, func() string {
		if got := x.target("billing-api").Annotations[journal.AnnotationVersion]; got != "2" {
			return "version " + got + " is published"
		}
		return ""
	})
	x.awaitIdle(3)
}
