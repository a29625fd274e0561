package rotationtest

import (
	"time"

	"github.com/claviger-dev/claviger/internal/approval"
	"github.com/claviger-dev/claviger/internal/interval"
	"github.com/claviger-dev/claviger/internal/rotation"
)

var never = interval.Unlimited()

// Variant is a kind of world: what the upstream is like, and what the policy wants.
type Variant struct {
	Name         string
	Capabilities rotation.Capabilities
	Policy       rotation.Policy
	Class        Class
	// Renewals is how many versions are renewed by age or expiry, 0 for all.
	Renewals int64
	// Life is how long the upstream takes what it has made; 0 for ever.
	Life time.Duration
	// Previous: the target shows the version before the published one as well.
	Previous bool
	// Dimensions are made anew for every world.
	Dimensions []func() Dimension
}

// windowsEvery is the period of the windows of a variant that has some.
const windowsEvery = 20 * time.Minute

// of is what the planner is told of an upstream of a class that does everything else.
func of(class Class) rotation.Capabilities {
	return rotation.Capabilities{
		RepeatHarmless: class <= ReadableUnique, Repeatable: class <= Readable, Addressable: class != GrantOnly,
		Verifies: true, Overlap: true, Settle: time.Minute,
	}
}

func with(change func(*rotation.Capabilities)) rotation.Capabilities {
	c := of(WriteAhead)
	change(&c)
	return c
}

var onRequest = rotation.Policy{RotateAfter: never, Overlap: interval.FromDuration(10 * time.Minute), VerifyTimeout: time.Minute}

// Plain is the upstream that most are like, and a policy that renews on request only.
func Plain() *Variant {
	return &Variant{Name: "write-ahead, on request", Capabilities: of(WriteAhead), Policy: onRequest}
}

// Variants are all kinds of worlds that are searched.
func Variants() []*Variant {
	byAge := rotation.Policy{RotateAfter: interval.FromDuration(14 * time.Minute), Overlap: interval.FromDuration(5 * time.Minute), VerifyTimeout: time.Minute}
	windows := byAge
	if w, err := interval.ParseWindow("*/20 * * * *", "10m", "UTC"); err == nil {
		windows.Windows = interval.Windows{w}
	}
	rarely := onRequest
	rarely.Windows = windows.Windows
	return append([]*Variant{
		Plain(),
		{Name: "by age", Capabilities: of(WriteAhead), Policy: byAge, Renewals: 1},
		{Name: "by age, in windows", Capabilities: of(WriteAhead), Policy: windows, Renewals: 1},
		{Name: "nothing can be verified", Capabilities: with(func(c *rotation.Capabilities) { c.Verifies = false }), Policy: onRequest},
		{Name: "readable, unique names", Class: ReadableUnique, Capabilities: of(ReadableUnique), Policy: onRequest},
		{Name: "readable, names not unique", Class: Readable, Capabilities: of(Readable), Policy: onRequest},
		{Name: "shown once", Class: ShownOnce, Capabilities: of(ShownOnce), Policy: onRequest},
		{Name: "grant-only or blind", Class: GrantOnly, Capabilities: of(GrantOnly), Policy: onRequest},
		{Name: "made here, and ended by the upstream", Capabilities: of(WriteAhead), Policy: onRequest, Life: 16 * time.Minute, Renewals: 2},
		{Name: "shown once, and ended by the upstream", Class: ShownOnce, Capabilities: of(ShownOnce), Policy: onRequest, Life: 16 * time.Minute, Renewals: 2},
		{Name: "one version at a time", Capabilities: with(func(c *rotation.Capabilities) { c.MaxLive = 1 }), Policy: onRequest},
		{Name: "an end that no window waits for", Class: ShownOnce, Capabilities: of(ShownOnce), Policy: rarely, Life: 16 * time.Minute, Renewals: 2},
		{Name: "two versions at a time", Capabilities: with(func(c *rotation.Capabilities) { c.MaxLive = 2 }), Policy: onRequest},
		{Name: "five versions at a time", Capabilities: with(func(c *rotation.Capabilities) { c.MaxLive = 5 }), Policy: onRequest},
		{Name: "pods are waited for", Capabilities: of(WriteAhead), Policy: withUptake(true), Dimensions: []func() Dimension{newWorkload}},
		{Name: "an issuer logs in with it", Capabilities: of(WriteAhead), Policy: onRequest, Dimensions: []func() Dimension{newLogin}},
		{Name: "it is delivered elsewhere", Capabilities: of(WriteAhead), Policy: onRequest, Dimensions: []func() Dimension{newDelivery}},
		Restarting(),
		Named(),
		{Name: "a workload names a version", Capabilities: of(WriteAhead), Policy: Named().Policy, Dimensions: []func() Dimension{newBusyCopies}},
		{Name: "people agree to the first version", Capabilities: of(WriteAhead), Policy: onRequest, Dimensions: []func() Dimension{asking(approval.Issue)}},
		{Name: "people agree to renewals", Class: ShownOnce, Capabilities: of(ShownOnce), Policy: onRequest, Dimensions: []func() Dimension{asking(approval.Renew)}},
		{Name: "people agree to the deletion", Class: ReadableUnique, Capabilities: of(ReadableUnique), Policy: onRequest, Dimensions: []func() Dimension{asking(approval.Delete)}},
		{Name: "the previous version is shown", Capabilities: of(WriteAhead), Policy: onRequest, Previous: true},
		{Name: "the previous version is shown until the upstream ends it", Class: ShownOnce, Capabilities: of(ShownOnce), Policy: onRequest, Life: 16 * time.Minute, Renewals: 2, Previous: true},
		{Name: "in an instance of its own", Class: ReadableUnique, Capabilities: of(ReadableUnique), Policy: onRequest, Dimensions: []func() Dimension{newEstate}},
		{Name: "in an instance of its own that stays, and people agree to renewals", Class: ReadableUnique, Capabilities: of(ReadableUnique), Policy: onRequest, Dimensions: []func() Dimension{newLeasehold, asking(approval.Renew)}},
	}, Replacing()...)
}

// withUptake is a policy that waits for pods.
func withUptake(hold bool) rotation.Policy {
	p := onRequest
	p.Uptake = rotation.Uptake{Consumers: true, Margin: uptakeMargin, Deadline: uptakeDeadline, Hold: hold}
	return p
}

// Named is Plain where versions have Secrets of their own, under a policy that gives pods a moment
// and ends with no deadline what they refer to.
func Named() *Variant {
	p := onRequest
	p.Uptake = rotation.Uptake{Margin: uptakeMargin, Deadline: uptakeDeadline, Hold: true}
	return &Variant{Name: "versions have Secrets of their own", Capabilities: of(WriteAhead), Policy: p, Dimensions: []func() Dimension{newCopies}}
}

// Restarting is Plain with a workload, and restarts alone protect what its pod holds.
func Restarting() *Variant {
	p := onRequest
	p.Uptake.Margin = uptakeMargin
	return &Variant{Name: "workloads are restarted", Capabilities: of(WriteAhead), Policy: p, Dimensions: []func() Dimension{newDeployment}}
}

// impossible is the reason with which a life of this kind must end; empty if it can go
// well.
func (v *Variant) impossible(w *World) string {
	switch open := v.open(w); {
	case w.Exists && w.Target.Exists && w.Target.uid != w.uid && !w.accepts(w.Target.Holds):
		return "SecretNotOurs" // what an earlier credential has left, and nothing that could be adopted
	case !v.Capabilities.Addressable && w.failures() >= 3:
		return "TooManyAttempts"
	case v.refuses(w, open):
		return "ReplaceNotAllowed"
	case v.Capabilities.MaxLive == 1 && open && w.live() >= 1:
		return "UpstreamFull"
	case v.Capabilities.MaxLive > 0 && w.live() >= v.Capabilities.MaxLive && (w.stuck() || w.behind()):
		return "UpstreamFull"
	}
	return ""
}

// stuck: the version that is published, or was last, was deleted by hand. It is kept, because to revoke it before
// its successor is published would leave workloads with nothing, and nothing else of ours is
// left that could make room for one (hazard H11).
func (w *World) stuck() bool {
	for i := range w.Journal {
		if r := &w.Journal[i]; w.mine(r) && r.Terminating && r.served && (r.Material == w.Target.Holds || w.Target.Holds == 0) && w.Upstream[r.Material].Live {
			return true
		}
	}
	return false
}

// behind: what the target holds lives, and a restore has left no trace of it in the journal.
func (w *World) behind() bool {
	return w.Upstream[w.Target.Holds].Live && w.byNonce(w.Upstream[w.Target.Holds].Nonce) == nil
}

// open: a request is not answered.
func (v *Variant) open(w *World) bool {
	if w.RequestedAt.IsZero() && w.CompromisedAt.IsZero() {
		return false
	}
	for i := range w.Journal {
		if r := &w.Journal[i]; w.mine(r) && (!r.IntentAt.Before(later(w.RequestedAt, w.CompromisedAt)) || !r.Answers.Before(later(w.RequestedAt, w.CompromisedAt))) {
			return false
		}
	}
	return true
}

// failures counts those in a row.
func (w *World) failures() int {
	for i := len(w.Journal) - 1; i >= 0; i-- {
		if r := &w.Journal[i]; w.mine(r) {
			if r.failedAt.IsZero() {
				return 0
			}
			return r.Failures
		}
	}
	return 0
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
