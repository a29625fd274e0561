package rotation

import (
	"fmt"
	"time"

	"github.com/claviger-dev/claviger/internal/uptake"
)

// Uptake says whether workloads are watched before a predecessor is retired.
type Uptake struct {
	// Consumers: a predecessor is not retired while a pod may use it. Otherwise the overlap
	// alone decides.
	Consumers bool
	// Margin is how much younger than the publication a pod must be.
	Margin time.Duration
	// Deadline counts from publication; AfterDeadline, Hold keeps the predecessor all the same.
	Deadline time.Duration
	Hold     bool
}

// Consumers are the pods that use the target, as they were seen last.
type Consumers struct {
	// Known: they were looked at since the present publication.
	Known bool
	// Current pods use what is published; those that are Behind may use something earlier.
	Current int
	Behind  []string
	// Names are those of all of them.
	Names []string
	// Stuck are workloads that make such pods and never replace them by themselves, with why:
	// known only when the deadline has passed.
	Stuck []string
	// References are those who use a Secret of a single version, by its number.
	References map[int64]uptake.References
	// Began is when the look at them began.
	Began time.Time
	// Again is when another look may show something else.
	Again time.Time
}

// Publication is what pods should have taken up.
func Publication(secret string, t Target, p Policy) uptake.Publication {
	// The API server cuts the times of managedFields down to the second.
	margin := p.Uptake.Margin
	if t.Hasty {
		margin = 0 // a pod that might read the old one fails at once, and so does who waits
	}
	return uptake.Publication{Secret: secret, At: t.PublishedAt.Add(publishedGrain), Margin: margin}
}

// awaitUptake reports whether a predecessor has to wait for pods, and asks for a look at
// them. Consumers only lengthen an overlap (hazard H1). What is compromised does not wait,
// and what the target never held is in no pod.
func (s *situation) awaitUptake(v *Version) (look *Step, waits bool) {
	if !s.policy.Uptake.Consumers || !v.OncePublished || s.compromised(v) || s.Target.PublishedAt.IsZero() {
		return nil, false
	}
	published := Publication("", s.Target, s.policy)
	if settled := published.At.Add(published.Margin); s.now.Before(settled) {
		s.wake(settled)
		return nil, true
	}
	if !s.Fresh.Has(FactConsumers) {
		return &Step{Action: Look, Needs: FactConsumers, Version: v.Number}, true
	}
	if len(s.Consumers.Behind) == 0 {
		return nil, false
	}
	s.wake(s.Consumers.Again)
	return nil, !UptakeOverdue(s.Target, s.policy, s.now) || s.policy.Uptake.Hold
}

func uptakeDeadline(t Target, p Policy) time.Time { return t.PublishedAt.Add(p.Uptake.Deadline) }

// UptakeOverdue reports whether pods should have taken up what is published by now.
func UptakeOverdue(t Target, p Policy, now time.Time) bool {
	return !t.PublishedAt.IsZero() && !now.Before(uptakeDeadline(t, p))
}

// noteUptake says that a version would be retired if no pod used it.
func (s *situation) noteUptake(v *Version) {
	if deadline := uptakeDeadline(s.Target, s.policy); !s.now.Before(deadline) {
		s.note(nil, &Problem{Reason: "UptakeDeadlinePassed", Message: fmt.Sprintf(
			"version %d stays valid though the deadline of its uptake passed at %s: pods may use it", v.Number, text(deadline))}, time.Time{})
		return
	}
	s.note(nil, &Problem{Reason: "WaitingForUptake", Message: fmt.Sprintf(
		"version %d stays valid while pods may use it: those that were created before version %d was published, and a moment after", v.Number, s.Target.Published)}, time.Time{})
}

// UptakeStalled tells that pods still use an earlier version when the policy's deadline has
// passed; nil if none does, or if no earlier version is left.
func UptakeStalled(o Observed, p Policy, now time.Time) *Problem {
	if stalled := referencesStalled(o, p, now); stalled != nil {
		return stalled
	}
	c := o.Consumers
	if !p.Uptake.Consumers || !c.Known || len(c.Behind) == 0 || !UptakeOverdue(o.Target, p, now) {
		return nil
	}
	for i := range o.Versions {
		if v := &o.Versions[i]; v.live() && v.OncePublished && v.Number < o.Target.Published {
			kept := "it is revoked all the same, as the policy says"
			if p.Uptake.Hold {
				kept = "it stays valid until they are gone"
			}
			message := fmt.Sprintf("pods that may use version %d since before version %d was published: %s; %s", v.Number, o.Target.Published, uptake.Names(c.Behind), kept)
			if len(c.Stuck) > 0 {
				message += "; these do not replace their pods by themselves: " + uptake.Names(c.Stuck)
			}
			return &Problem{Reason: "UptakeDeadlinePassed", Message: message}
		}
	}
	return nil
}

// holdWhileInUse keeps a deleted credential alive for the pods that use it (hazard H8). What
// was retired before goes on being revoked. In a namespace that is being deleted the pods
// end as well, so this only puts things into their order.
func holdWhileInUse(s *situation) *Step {
	c := s.Credential
	current := s.published()
	if !c.Exists || !c.Protected || c.Retain || current == nil || !current.live() || !s.Target.Ours {
		return nil
	}
	if step := finishRetirements(s); step != nil {
		return step
	}
	if !s.Fresh.Has(FactConsumers) {
		return &Step{Action: Look, Needs: FactConsumers}
	}
	using := len(s.Consumers.Names)
	if using == 0 {
		return nil
	}
	s.wake(s.Consumers.Again)
	return s.stop(&Problem{Reason: "InUse", Message: fmt.Sprintf(
		"%d pod(s) use the Secret, so nothing is revoked; end them, or set spec.protection to None: %s", using, uptake.Names(s.Consumers.Names))})
}
