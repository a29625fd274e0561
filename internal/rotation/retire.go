package rotation

import (
	"fmt"
	"time"
)

// finishRetirements carries out what a deleted version Secret has promised.
func finishRetirements(s *situation) *Step {
	for i := range s.Versions {
		v := &s.Versions[i]
		if v.Failed && !v.Terminating && v.Number != s.Target.Published {
			return &Step{Action: Retire, Version: v.Number, Cause: "given up"}
		}
		if !v.Terminating || !v.Held {
			continue // not deleted, or let go in this pass and nothing of ours any more
		}
		tombstone := !s.ending() && s.evidence(v)
		over := s.nothingLeft(v)
		switch {
		case over && !tombstone:
			if step, waits := s.endCopy(v); step != nil {
				return step
			} else if waits {
				continue
			}
			return &Step{Action: Release, Version: v.Number}
		case over && !v.RevokedNoted:
			return &Step{Action: NoteRevoked, Version: v.Number}
		case over:
			continue
		}
		if look, waits := s.awaitWorkloads(v); look != nil {
			return look
		} else if waits {
			continue
		}
		if step, waits := s.endCopy(v); step != nil {
			return step
		} else if waits {
			continue
		}
		if step := s.revoke(v); step != nil {
			return step
		}
	}
	return nil
}

// nothingLeft: nothing of the version is left upstream that is ours to end. What a successor has ended
// with it must not be named there again, because the two may be one thing. What another version is
// as well is forgotten here and lives on there. And what was adopted and never served here is not
// ours.
func (s *situation) nothingLeft(v *Version) bool {
	return v.Revoked || v.ended() || s.unmade(v) || s.shared(v) || v.Adopted && !v.OncePublished && v.Number != s.Target.Published
}

// awaitWorkloads tells whether workloads may still need a version that is to be revoked, and
// what is to be looked at to know.
func (s *situation) awaitWorkloads(v *Version) (look *Step, waits bool) {
	switch {
	case s.ending():
		return nil, s.serves(v) || s.feeds(v) // pods are waited for before anything is retired
	case !s.dispensable(v):
		// Revoking it now would leave workloads with a dead credential. Its successor is
		// due at once instead.
		return nil, true
	case s.overlaps(v):
		s.noteOverlap(v, text(s.retiresAt(v)))
		return nil, true
	case s.awaitRollout(v):
		s.noteRollout(v)
		return nil, true
	}
	if s.awaitLogins(v) {
		s.noteLogins(v)
		return nil, true
	}
	if s.awaitDeliveries(v) {
		s.noteDeliveries(v)
		return nil, true
	}
	if look, waits = s.awaitUptake(v); look != nil {
		return look, waits
	} else if waits {
		s.noteUptake(v)
		return nil, true
	}
	if look, waits = s.awaitReferences(v); look == nil && waits {
		s.noteReferences(v)
	}
	return look, waits
}

// evidence: the Secret of a version that is gone upstream still says something. The
// newest one's is the high-water mark of numbers until its successor exists (hazard
// C3). And a version that is under way counts as published as soon as the one that
// it follows has vanished, so nothing vanishes before. And what has ended another version
// says so for as long as that one could be taken for one that lives.
func (s *situation) evidence(v *Version) bool {
	next := s.inFlight()
	return v == s.newest() || next != nil && next.Replaces || v.InPlaceOf != 0
}

// dispensable: no workload needs the version, because it was never accepted or
// because the target holds another one that lives (invariant 3). And what
// keeps its own successor from being made goes if it is older than a published one that was
// deleted as well, or was never published (hazard H11).
func (s *situation) dispensable(v *Version) bool {
	if s.Credential.RevokeAnyway && s.compromised(v) {
		return true
	}
	if v.Number == s.Target.Published {
		return false
	}
	current := s.published()
	switch {
	case v.Failed:
		return true
	case current == nil:
		return s.full() && !v.OncePublished
	}
	return current.live() || s.full() && s.makesRoom(v)
}

// full: the container takes no more. It is known where a successor was about to be begun.
func (s *situation) full() bool {
	return s.caps.MaxLive > 0 && s.Fresh.Has(FactContainer) && s.Account.Live >= s.caps.MaxLive
}

// overlaps: workloads may still hold the version, although its Secret was deleted by
// hand and a successor is published.
func (s *situation) overlaps(v *Version) bool {
	return v.OncePublished && !v.Refused && !s.compromised(v) && !s.makesRoom(v) && (s.Target.PublishedAt.IsZero() || s.now.Before(s.retiresAt(v)))
}

// makesRoom: the version was retired so that a successor finds room which cannot wait.
func (s *situation) makesRoom(v *Version) bool {
	if s.caps.MaxLive == 0 || s.inFlight() != nil || v.Number >= s.Target.Published {
		return false
	}
	d := s.due()
	return d != nil && d.urgent
}

// noteOverlap says how long a version stays valid. If our managedFields entry was
// wiped, nobody knows until it is written again when the overlap began: so it has
// not ended.
func (s *situation) noteOverlap(v *Version, until string) {
	if s.Target.PublishedAt.IsZero() {
		s.note(nil, &Problem{Reason: "Overlap", Message: fmt.Sprintf(
			"version %d stays valid: when its overlap began is not known until the Secret is written again", v.Number)}, time.Time{})
		return
	}
	s.note(nil, &Problem{Reason: "Overlap", Message: fmt.Sprintf("version %d stays valid until %s at least", v.Number, until)}, s.retiresAt(v))
}

// underWayUntil is how long a call to create the version may still be carried out: what
// commits after our revoke would live for ever. Zero if there is no such call: the only
// process that ever might call has had its answer, or has published the version. The target
// says so; that the version which it follows has vanished does not, because a process that
// did not know of it may have let that one go.
func (s *situation) underWayUntil(v *Version) time.Time {
	answered := v.FirstClaim && (v.Number == s.Target.Published || v.OncePublished && !v.Replaces)
	switch {
	case v.Lost:
		return v.ClaimUntil.Add(s.caps.Settle) // a later call was answered, and that one was not
	case v.FirstClaim && v.ClaimMine, answered:
		return time.Time{}
	}
	// Where a repeat does no harm a claim is taken over while the one before it runs. It
	// ends before the later one does.
	return v.ClaimUntil
}

// revoke returns the step, or notes what it waits for.
func (s *situation) revoke(v *Version) *Step {
	notice := &Problem{Reason: "Retiring", Message: fmt.Sprintf("version %d is being revoked", v.Number)}
	switch {
	case s.Operator.ObserveOnly:
		s.note(observing(), nil, time.Time{})
	case s.Account.Problem != nil:
		message := fmt.Sprintf("version %d waits to be revoked: %s", v.Number, s.Account.Problem.Message)
		if s.ending() && s.Credential.Exists && s.Account.Problem.Stalled {
			message += wayOut
		}
		s.note(&Problem{Reason: s.Account.Problem.Reason, Stalled: s.Account.Problem.Stalled, Message: message}, notice, time.Time{})
	case s.now.Before(s.underWayUntil(v)):
		s.note(&Problem{Reason: "WaitingForClaim", Message: fmt.Sprintf(
			"version %d is revoked when no earlier call for it can be under way any more", v.Number)}, notice, s.underWayUntil(v))
	case !s.caps.Addressable && !v.Answered && s.now.Before(v.ClaimUntil.Add(s.caps.Settle)):
		s.note(&Problem{Reason: "WaitingForClaim", Message: fmt.Sprintf(
			"version %d is let go when no call for it can be under way any more", v.Number)}, notice, v.ClaimUntil.Add(s.caps.Settle))
	case !s.caps.Addressable && !v.Answered && v.Unsure:
		return &Step{Action: Suspect, Version: v.Number, Cause: "its answer was lost, and this upstream cannot be searched"}
	case s.now.Before(v.NotBefore):
		s.note(v.Trouble, notice, v.NotBefore)
	default:
		needs := FactGuard
		if !s.ending() {
			needs |= FactTarget
		}
		if s.Fresh.Has(FactGuard) && !s.Operator.GuardInForce {
			s.note(s.guardless(), notice, s.now.Add(guardRetry))
			return nil
		}
		if step := s.hide(v); step != nil {
			return step
		}
		return &Step{Action: Revoke, Version: v.Number, Needs: needs}
	}
	return nil
}

// retirePredecessors ends versions whose overlap has passed.
func retirePredecessors(s *situation) *Step {
	current := s.published()
	if current == nil || !current.live() || s.Target.Drift {
		return nil
	}
	for i := range s.Versions {
		v := &s.Versions[i]
		if v == current || !v.live() || v.Number > current.Number {
			continue
		}
		if !current.trusted() {
			s.note(nil, &Problem{Reason: "Overlap", Message: fmt.Sprintf(
				"version %d stays valid until version %d is known to be accepted", v.Number, current.Number)}, time.Time{})
			continue
		}
		if s.awaitRollout(v) {
			s.noteRollout(v)
			continue
		}
		look, waits := s.awaitUptake(v)
		if look != nil {
			return look
		}
		look, referred := s.awaitReferences(v)
		if look != nil {
			return look
		}
		switch step := s.retire(v); {
		case step != nil && s.awaitLogins(v):
			s.noteLogins(v)
		case step != nil && s.awaitDeliveries(v):
			s.noteDeliveries(v)
		case step != nil && waits:
			s.noteUptake(v)
		case step != nil && referred:
			s.noteReferences(v)
		case step != nil:
			return step
		}
	}
	return nil
}

// retiresAt is when a predecessor may be retired at the earliest. A mark to put it
// back holds it like a claim: who set the mark writes the target while it runs
// (hazard 3.3).
func (s *situation) retiresAt(v *Version) time.Time {
	// The API server cuts the times of managedFields down to the second: counted from
	// the end of it, the overlap errs only late.
	at := s.policy.Overlap.AddTo(s.Target.PublishedAt.Add(publishedGrain))
	if mark := v.RepublishAt.Add(ClaimTime); mark.After(at) {
		return mark
	}
	return at
}

func (s *situation) retire(v *Version) *Step {
	at := s.retiresAt(v)
	overlap := &Problem{Reason: "Overlap", Message: fmt.Sprintf(
		"version %d stays valid until %s at least", v.Number, stamp(s.policy.Windows, at))}
	switch {
	case s.compromised(v) && !s.compromised(s.published()) && !s.Operator.ObserveOnly && !s.now.Before(v.RepublishAt.Add(ClaimTime)):
		return &Step{Action: Retire, Version: v.Number, Cause: "declared compromised, and its successor is published"}
	case s.Target.PublishedAt.IsZero(), s.now.Before(at):
		s.noteOverlap(v, stamp(s.policy.Windows, at))
	case s.Operator.ObserveOnly:
		s.note(nil, observing(), time.Time{})
	case s.Account.Problem != nil:
		s.note(s.Account.Problem, overlap, time.Time{})
	case !s.Operator.ClockSteady:
		s.note(clockSkew(), overlap, s.now.Add(clockRetry))
	case !s.Account.VerdictDone:
		s.note(nil, waitingForVerdict(), time.Time{})
	case !s.policy.Windows.Open(s.now):
		next, _ := s.policy.Windows.Next(s.now)
		s.note(nil, &Problem{Reason: "WaitingForWindow", Message: fmt.Sprintf(
			"version %d is revoked in the window that opens at %s", v.Number, text(next))}, next)
	default:
		return &Step{Action: Retire, Version: v.Number, Routine: true, Cause: "its overlap has passed"}
	}
	return nil
}
