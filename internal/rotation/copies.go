package rotation

import (
	"fmt"
	"slices"
	"time"

	"github.com/claviger-dev/claviger/internal/uptake"
)

// A copy is a Secret of a version's own: written once, never changed, and named after the
// version, so that Git can refer to it. The target stays what it is, and serialises everything
// as ever; copies follow it. Who refers to one holds that version for as long as he does.

// keepCopies gives every version that has served, and lives, a Secret of its own. One that
// somebody deleted is written again without asking the upstream, as the target is: pods refer
// to it.
func keepCopies(s *situation) *Step {
	if !s.Credential.Versioned || !s.Target.Ours || s.Target.Drift {
		return nil
	}
	for i := range s.Versions {
		v := &s.Versions[i]
		served := v.OncePublished || v.Number == s.Target.Published
		if v.Copied || !served || !v.live() || v.Refused || s.compromised(v) {
			continue
		}
		switch {
		case v.CopyTrouble != nil && s.now.Before(v.CopyNotBefore):
			s.note(v.CopyTrouble, nil, v.CopyNotBefore)
			continue
		case !s.claimed(v) && !s.marked(v):
			// Whoever withdraws a copy waits until no claim and no mark runs, so that nobody who
			// stood still meanwhile writes it again.
			return &Step{Action: MarkRepublish, Version: v.Number, Needs: FactCopies}
		}
		return &Step{Action: PublishCopy, Version: v.Number, Needs: FactCopies | FactCredential}
	}
	return nil
}

// named: pods may refer to the version by a Secret of its own.
func (s *situation) named(v *Version) bool {
	return v.Copied || s.Credential.Versioned && v.OncePublished
}

// endCopy withdraws the version's own Secret before the version is revoked, and again before it
// is forgotten. waits: it is too early to go on.
func (s *situation) endCopy(v *Version) (step *Step, waits bool) {
	if !s.named(v) {
		return nil, false
	}
	dire := s.compromised(v) && !v.Revoked // what is compromised is revoked at once, and looked after then
	until := v.RepublishAt.Add(ClaimTime)
	if !v.ClaimMine {
		until = lastOf(until, v.ClaimUntil)
	}
	if s.now.Before(until) && !dire {
		s.note(nil, &Problem{Reason: "Retiring", Message: fmt.Sprintf(
			"version %d is being revoked: its own Secret goes when nobody can be writing it any more", v.Number)}, until)
		return nil, true
	}
	if !s.Fresh.Has(FactCopies) {
		return &Step{Action: Look, Needs: FactCopies, Version: v.Number}, true
	}
	switch {
	case v.Copied && v.CopyHeld:
		s.note(nil, &Problem{Reason: "Retiring", Message: fmt.Sprintf(
			"version %d is being revoked: its own Secret was deleted and a finalizer of somebody else still holds it", v.Number)}, s.now.Add(targetRetry))
		return nil, true
	case v.Copied:
		return &Step{Action: WithdrawCopy, Version: v.Number}, true
	}
	return nil, false
}

// awaitReferences reports whether a version has to wait for those who refer to its own Secret,
// and asks for a look at them. A name is proof: neither the age of a pod nor a declaration
// counts. Templates count while there is a Secret that their pods would find.
func (s *situation) awaitReferences(v *Version) (look *Step, waits bool) {
	if !s.named(v) || s.compromised(v) {
		return nil, false
	}
	if !s.Fresh.Has(FactConsumers) {
		return &Step{Action: Look, Needs: FactConsumers, Version: v.Number}, true
	}
	if v.Terminating && !v.Copied && v.CopyGoneSince.IsZero() && !s.Fresh.Has(FactCopies) {
		return &Step{Action: Look, Needs: FactCopies, Version: v.Number}, true // only the cache lacks it
	}
	// The kubelet of a pod that came a moment ago may have had the Secret in its cache. So a list
	// must be younger than the last pod that can have found it.
	if settled := v.CopyGoneSince.Add(s.policy.Uptake.Margin); v.Terminating && !v.Copied && s.Consumers.Began.Before(settled) {
		s.note(nil, &Problem{Reason: "Retiring", Message: fmt.Sprintf(
			"version %d is being revoked: its own Secret is gone, and pods that started a moment ago are waited for", v.Number)}, lastOf(settled, s.now.Add(time.Second)))
		return nil, true
	}
	if len(s.references(v)) == 0 {
		return nil, false
	}
	s.wake(s.Consumers.Again)
	return nil, !UptakeOverdue(s.Target, s.policy, s.now) || s.policy.Uptake.Hold
}

// noteReferences says that a version would be retired if nobody referred to it.
func (s *situation) noteReferences(v *Version) {
	s.note(nil, &Problem{Reason: "WaitingForReferences", Message: fmt.Sprintf(
		"version %d stays valid while something refers to its own Secret; status.consumers says what", v.Number)}, time.Time{})
}

// references are those who hold the version by its own Secret.
func (s *situation) references(v *Version) []string {
	r := s.Consumers.References[v.Number]
	if v.Terminating && !v.Copied {
		return r.Pods
	}
	return slices.Concat(r.Templates, r.Pods)
}

// Laggards are the names of all who may use anything earlier than what is published.
func (c *Consumers) Laggards(published int64) []string {
	all := slices.Clone(c.Behind)
	for number, r := range c.References {
		if number != published {
			all = append(append(all, r.Pods...), r.Templates...)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Refer adds those who refer to single versions, by number, and counts anew who uses what is
// published.
func (c *Consumers) Refer(references map[int64]uptake.References, published int64) {
	c.References, c.Names = references, slices.Clone(c.Names)
	for _, r := range references {
		c.Names = append(c.Names, r.Pods...)
	}
	slices.Sort(c.Names)
	c.Names = slices.Compact(c.Names)
	behind := c.Laggards(published)
	c.Current = 0
	for _, name := range c.Names {
		if !slices.Contains(behind, name) {
			c.Current++
		}
	}
}

// referencesStalled tells who still refers to an earlier version's own Secret when the policy's
// deadline has passed; nil if nobody does.
func referencesStalled(o Observed, p Policy, now time.Time) *Problem {
	if !o.Consumers.Known || !UptakeOverdue(o.Target, p, now) {
		return nil
	}
	kept := "it is revoked all the same, as the policy says"
	if p.Uptake.Hold {
		kept = "it stays valid until nothing does"
	}
	for i := range o.Versions {
		v := &o.Versions[i]
		r := o.Consumers.References[v.Number]
		if v.Number == o.Target.Published || len(r.Pods)+len(r.Templates) == 0 {
			continue
		}
		return &Problem{Reason: "UptakeDeadlinePassed", Message: fmt.Sprintf(
			"version %d is referred to by its own Secret since before version %d was published: %s; %s",
			v.Number, o.Target.Published, uptake.Names(slices.Concat(r.Templates, r.Pods)), kept)}
	}
	return nil
}
