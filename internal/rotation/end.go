package rotation

import (
	"fmt"
	"time"
)

// wayOut is for who cannot wait until the upstream can be told.
const wayOut = "; to let it go without being revoked, an administrator sets the annotation credentials.claviger.dev/abandon-upstream to its number or to all"

// abandon lets versions go on an administrator's word. It stands before every
// check: it is the way out when nothing else works.
func abandon(s *situation) *Step {
	for i := range s.Versions {
		v := &s.Versions[i]
		// A version whose number cannot be read has number 0, and so has an annotation
		// that is not there: the two must not meet.
		named := v.Number != 0 && v.Number == s.Credential.Abandon
		if !s.Credential.AbandonAll && !named {
			continue
		}
		if !v.Terminating {
			return &Step{Action: Retire, Version: v.Number, Cause: "abandoned"}
		}
		return &Step{Action: Abandon, Version: v.Number}
	}
	return nil
}

// waitForReturn gives a credential that vanished around its finalizer time to come
// back: restores bring Secrets before the objects that own them. A version that is
// already deleted is finished all the same.
func waitForReturn(s *situation) *Step {
	if s.Credential.Exists {
		return nil
	}
	until := s.Credential.GoneSince.Add(s.Operator.OrphanAge)
	if !s.now.Before(until) {
		return nil
	}
	s.wake(until)
	if step := finishRetirements(s); step != nil {
		return step
	}
	return s.stop(nil)
}

// retireAll deletes the version Secrets that are not kept.
func retireAll(s *situation) *Step {
	for i := range s.Versions {
		v := &s.Versions[i]
		if v.Terminating || s.keeps(v) {
			continue
		}
		if s.Operator.ObserveOnly {
			s.note(observing(), nil, time.Time{})
			return nil
		}
		step := &Step{Action: Retire, Version: v.Number, Cause: "the credential is deleted"}
		if !s.Credential.Retain {
			return step
		}
		// What is retired cannot be kept any more, so it must be certain that the
		// version was not published, and is not being published at this moment.
		if certain := v.ClaimUntil.Add(FactTime); s.now.Before(certain) && !v.Failed {
			s.note(&Problem{Reason: "WaitingForClaim", Message: fmt.Sprintf(
				"whether version %d is kept is decided when it cannot be published any more", v.Number)}, nil, certain)
			continue
		}
		step.Needs = FactTarget
		return step
	}
	return nil
}

// keeps: under Retain everything that a workload may hold stays alive. A version
// that was never published is nobody's and goes.
func (s *situation) keeps(v *Version) bool {
	if !s.Credential.Retain || v.Failed {
		return false
	}
	// What this pass has let go stays so, though the target is let go after it and then
	// says nothing any more.
	if !v.Held || v != s.newest() || v.OncePublished || v.Number == s.Target.Published {
		return true
	}
	// Whether the newest was published is known only from a target that holds
	// another one, and not at all once the credential is gone, because nobody knows
	// then which Secret it published to.
	return !s.Credential.Exists || v.Replaces && s.published() == nil
}

// retainTerminating keeps the promise of Retain when the namespace goes: its
// controller deletes version Secrets, often before we come to them, and says nothing
// by that about what is to live upstream. An older version that the target does not
// hold may have been retired before, so it is revoked.
func retainTerminating(s *situation) *Step {
	for i := range s.Versions {
		v := &s.Versions[i]
		needed := v == s.newest() || v.Number == s.Target.Published
		if needed && v.Terminating && !v.Revoked && v.Held && s.keeps(v) && !s.olderEnds(v) {
			return &Step{Action: Retain, Version: v.Number, Needs: FactTarget}
		}
	}
	return nil
}

// olderEnds: a version before v is still to be revoked. v is let go after it, because
// without v it would be the newest, look like the one in use, and live for ever.
func (s *situation) olderEnds(v *Version) bool {
	for i := range s.Versions {
		if older := &s.Versions[i]; older.Number < v.Number && older.Number != s.Target.Published && older.Terminating && older.Held && !older.Revoked {
			return true
		}
	}
	return false
}

func retainCurrent(s *situation) *Step {
	for i := range s.Versions {
		if v := &s.Versions[i]; !v.Terminating && s.keeps(v) && v.Held && !s.olderEnds(v) {
			return &Step{Action: Retain, Version: v.Number}
		}
	}
	return nil
}

// letGo ends the credential when nothing is left that needs it.
func letGo(s *situation) *Step {
	left := 0
	for i := range s.Versions {
		if s.Versions[i].Held {
			left++
		}
	}
	if left > 0 {
		way := ""
		if s.Credential.Exists {
			way = wayOut
		}
		s.note(&Problem{Reason: "Deleting", Message: fmt.Sprintf(
			"%d version(s) are still to be revoked upstream", left) + way}, nil, time.Time{})
		return nil
	}
	if !s.Credential.Exists {
		return nil
	}
	if !s.Fresh.Has(FactJournal | FactTarget) {
		return &Step{Action: Look, Needs: FactJournal | FactTarget}
	}
	if s.Target.Strays && !s.Credential.Retain {
		return &Step{Action: WithdrawCopy}
	}
	if s.Target.Exists && s.Target.Ours && !s.Target.Terminating {
		if s.Credential.Retain {
			return &Step{Action: RetainTarget}
		}
		return &Step{Action: DeleteTarget}
	}
	if step, done := s.clearPlace(); !done {
		return step
	}
	if s.Credential.Finalized {
		return &Step{Action: RemoveFinalizer}
	}
	return nil
}
