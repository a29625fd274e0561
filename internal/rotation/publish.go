package rotation

import (
	"fmt"
	"time"
)

func refuseForeignSecrets(s *situation) *Step {
	if s.Target.Retained && !s.Target.Ours && !s.Fresh.Has(FactTarget) {
		return &Step{Action: Look, Needs: FactTarget}
	}
	if s.Target.Exists && !s.Target.Ours && !s.adoptsTarget() {
		// Nobody tells us when somebody else's Secret goes away.
		s.wake(s.now.Add(foreignRetry))
		return s.stop(&Problem{Reason: "SecretNotOurs", Stalled: true, Message: "the Secret that spec.secret.name names exists and belongs to somebody else: " +
			"delete or rename it, or make a new credential with another secret.name"})
	}
	if s.Target.Exists && s.Target.Terminating {
		s.note(&Problem{Reason: "SecretNotOurs", Message: "the Secret was deleted and a finalizer of somebody else still holds it; " +
			"it is written anew when it is gone"}, nil, s.now.Add(targetRetry))
	}
	return nil
}

// adoptsTarget: the target is somebody's own Secret, named as the one to be taken over, and
// nothing was ever published into it.
func (s *situation) adoptsTarget() bool {
	return s.Credential.AdoptsTarget && len(s.Versions) <= 1 && s.lastGood() == nil
}

func lookAtDrift(s *situation) *Step {
	if s.Target.Drift && !s.Fresh.Has(FactTarget) {
		return &Step{Action: Look, Needs: FactTarget}
	}
	return nil
}

// ahead: the target bears a version that is newer than v and that the journal does not know.
func (s *situation) ahead(v *Version) bool { return v.Number < s.Target.Unknown }

// lookBehind: the target seems to be ahead of the journal. Most often only the cache lacks
// the version, so both are read before anything is put back.
func lookBehind(s *situation) *Step {
	needs := FactTarget | FactJournal
	if v := s.lastGood(); v != nil && s.ahead(v) && !s.Fresh.Has(needs) {
		return &Step{Action: Look, Needs: needs}
	}
	return nil
}

// putBack repairs a target that is missing, was edited, or was given the bytes of
// an older version, from what is known to be good. It needs no upstream: a workload
// must not wait for a gateway (hazard 2.5).
func putBack(s *situation) *Step {
	candidate, current := s.restorable(), s.published()
	if candidate == nil || s.Target.Terminating || current != nil && current.Number >= candidate.Number && !current.Failed {
		return nil
	}
	if newest := s.newest(); newest != candidate && newest.live() && newest.Accepted {
		return nil // carryOn publishes the newest, which this process has just proven
	}
	if s.ahead(candidate) && !candidate.Accepted {
		return s.askFirst(candidate)
	}
	if candidate != s.newest() && !s.marked(candidate) {
		step := &Step{Action: MarkRepublish, Version: candidate.Number, Needs: FactTarget}
		if givenUp := s.givenUp(candidate); givenUp != nil && s.Credential.Rolls {
			step.Replaces, step.Rolls = givenUp.Number, true
		}
		return step
	}
	cause := "the Secret was deleted or edited"
	if current != nil && current.Failed {
		cause = "rolled back on request"
	}
	return &Step{Action: Publish, Version: candidate.Number, Needs: FactTarget | FactCredential, Cause: cause}
}

// restorable is the version that may be put back: the last good one, unless the target is
// ahead of it and the upstream judges no material.
func (s *situation) restorable() *Version {
	v := s.lastGood()
	if v != nil && s.ahead(v) && !s.caps.Verifies {
		return nil
	}
	return v
}

// askFirst has the upstream accept a version before it is put in the place of a newer one
// that the journal does not know: it may have been revoked since, and what the Secret holds
// may work (hazard C6).
func (s *situation) askFirst(v *Version) *Step {
	var why *Problem
	var until time.Time
	switch {
	case s.Operator.ObserveOnly:
		why = observing()
	case s.Account.Problem != nil:
		why = s.Account.Problem
	case s.now.Before(v.NotBefore):
		why, until = v.Trouble, v.NotBefore
	default:
		return &Step{Action: Verify, Version: v.Number}
	}
	p := &Problem{Reason: "JournalBehind", Message: fmt.Sprintf(
		"the Secret bears version %d, which the journal does not know: version %d is put back only if the upstream accepts it", s.Target.Unknown, v.Number)}
	if why != nil {
		p.Message, p.Stalled = p.Message+"; "+why.Message, why.Stalled
	}
	s.note(p, nil, until)
	return nil
}

// givenUp is the newest version after v that has served and was rolled back, so that pods may
// use it; nil if there is none.
func (s *situation) givenUp(v *Version) *Version {
	for i := len(s.Versions) - 1; i >= 0; i-- {
		if later := &s.Versions[i]; later.Number > v.Number && later.rolledBack() {
			return later
		}
	}
	return nil
}

// marked: this pass chose the version to be put back, and nobody retires it before
// the target is written.
func (s *situation) marked(v *Version) bool {
	return v.MarkedNow && s.now.Add(CallTime).Before(v.RepublishAt.Add(ClaimTime))
}

// lastGood is the newest version that has served and may serve again. One that is
// known to be refused may not (invariant 1).
func (s *situation) lastGood() *Version {
	for i := len(s.Versions) - 1; i >= 0; i-- {
		if v := &s.Versions[i]; v.live() && v.OncePublished && !v.Refused {
			return v
		}
	}
	return nil
}

// noteFirstPublication makes durable what no successor proves yet. Without it a
// deleted Secret could be put back only after the upstream was asked.
func noteFirstPublication(s *situation) *Step {
	v := s.published()
	if v == nil || v.OncePublished || v.Replaces || v.Terminating || s.Target.Drift {
		return nil
	}
	return &Step{Action: NotePublished, Version: v.Number}
}

// renderAgain writes a changed template. While an overlap runs this moves the
// time of publication, which errs late.
func renderAgain(s *situation) *Step {
	v := s.published()
	if v == nil || !s.Target.Stale || s.Target.Drift || s.Target.Terminating || v.Terminating {
		return nil
	}
	return &Step{Action: Publish, Version: v.Number, Needs: FactTarget | FactCredential, Cause: "the template changed"}
}
