package rotation

import (
	"fmt"
	"time"
)

// adoptRetained takes over what an earlier credential of the same name left alive,
// before anything is issued: its workloads go on with what they hold.
func adoptRetained(s *situation) *Step {
	if len(s.Retained) == 0 {
		return nil
	}
	v := &s.Retained[0]
	switch {
	case v.Problem != nil:
		return s.stop(v.Problem)
	case s.blocked() != nil:
		return s.stop(s.blocked())
	case s.now.Before(v.NotBefore):
		s.note(v.Trouble, nil, v.NotBefore)
		return s.stop(nil)
	case !s.Credential.Finalized:
		return &Step{Action: AddFinalizer, Needs: FactCredential}
	case !s.Account.Held:
		return &Step{Action: HoldIssuer, Needs: FactIssuer}
	case s.Fresh.Has(FactGuard) && !s.Operator.GuardInForce:
		s.wake(s.now.Add(guardRetry))
		return s.stop(s.guardless())
	}
	return &Step{Action: Adopt, Version: v.Number, Needs: FactCredential | FactGuard}
}

// inFlight is the newest version on its way to its first publication.
func (s *situation) inFlight() *Version {
	v := s.newest()
	if v == nil || !v.live() || v.Number == s.Target.Published || v.OncePublished {
		return nil
	}
	return v
}

// carryOn moves the version that was begun. Nothing is begun while one is under
// way, so there is never more than one.
func carryOn(s *situation) *Step {
	v := s.inFlight()
	if v == nil || s.Target.Terminating {
		return nil
	}
	if v.Condemned != "" {
		return s.fail(v, v.Condemned)
	}
	if s.compromised(v) {
		return s.fail(v, "declared compromised before it was published")
	}
	if v.Declined && s.askedAnew(v) {
		return s.fail(v, "people of the upstream have said no, and a rotation was requested since")
	}
	if v.Ineffective {
		return s.fail(v, "the upstream answered with the credential that is published already: that is no rotation")
	}
	if s.ahead(v) && v.Answered && !s.caps.Verifies {
		return s.fail(v, fmt.Sprintf("the Secret bears version %d, so this one may have been revoked since, and this upstream cannot be asked", s.Target.Unknown))
	}
	if v.Answered && (v.Accepted || !s.caps.Verifies) {
		switch {
		case s.now.Before(v.NotBefore):
			s.note(v.Trouble, nil, v.NotBefore)
			return nil
		case !s.claimed(v):
			return &Step{Action: Claim, Version: v.Number}
		}
		return &Step{Action: Publish, Version: v.Number, Needs: FactTarget | FactCredential}
	}
	if blocked := s.blocked(); blocked != nil {
		s.note(blocked, nil, time.Time{})
		return nil
	}
	if !v.Answered {
		if s.outdated(v) {
			return s.fail(v, "the spec changed after people had agreed to it")
		}
		return s.issue(v)
	}
	return s.verify(v)
}

// claimed: this process may act on the version, and will still be allowed to when
// the longest call has ended.
func (s *situation) claimed(v *Version) bool {
	return v.ClaimMine && s.now.Add(CallTime).Before(v.ClaimUntil)
}

// fail gives a version up, but only when no claim runs: whoever holds one may be
// about to publish the version, and publishes only while it runs. So one process
// never revokes what another is publishing. Nor what another has published and the
// cache does not show yet: the target is read live.
func (s *situation) fail(v *Version, cause string) *Step {
	if s.now.Before(v.ClaimUntil) && !s.hopeless(v) {
		s.note(nil, &Problem{Reason: "Verifying", Message: fmt.Sprintf("version %d is given up: %s", v.Number, cause)}, v.ClaimUntil)
		return nil
	}
	return &Step{Action: Fail, Version: v.Number, Cause: cause, Needs: FactTarget}
}

// blocked says why the upstream may not be called for something new.
func (s *situation) blocked() *Problem {
	switch {
	case s.Operator.ObserveOnly:
		return observing()
	case s.Account.Problem != nil:
		return s.Account.Problem
	case s.Account.Terminating:
		return &Problem{Reason: "IssuerNotReady", Stalled: true, Message: "the issuer is being deleted and issues nothing new"}
	case !s.Operator.ClockSteady:
		s.wake(s.now.Add(clockRetry))
		return clockSkew()
	}
	return nil
}

func (s *situation) issue(v *Version) *Step {
	notice := &Problem{Reason: "Issuing", Message: fmt.Sprintf("version %d is being made upstream", v.Number)}
	if s.now.Before(v.NotBefore) {
		s.note(v.Trouble, notice, v.NotBefore)
		return nil
	}
	// What was never called, what the upstream has begun, and what a repeat does not double
	// may be called, and be taken over, at once.
	harmless := !v.Unsure || v.Begun || s.caps.RepeatHarmless
	switch {
	case s.claimed(v) && (harmless || !v.Lost):
		step := &Step{Action: Issue, Version: v.Number}
		if v.Agreed != 0 {
			step.Needs = FactCredential
		}
		if v.InPlaceOf != 0 {
			step.Needs, step.Replaces = FactCredential|FactTarget, s.gives(v)
		}
		return step
	case harmless:
		return &Step{Action: Claim, Version: v.Number}
	}
	return s.lost(v, notice)
}

func (s *situation) verify(v *Version) *Step {
	if v.Refused {
		refusedFor := s.now.Sub(v.RefusedSince)
		// Only a refusal of this moment counts. An outage after an early refusal says
		// nothing about the material (hazard H4), and since an old one another process
		// may have seen it accepted.
		fresh := v.Trouble == nil && s.now.Before(v.NotBefore)
		if patience := max(s.policy.VerifyTimeout, v.Patience); fresh && refusedFor >= patience {
			return s.fail(v, "refused for "+patience.String()+": "+v.Refusal)
		}
		if !v.RefusedNoted && refusedFor >= refusalNoted {
			return &Step{Action: NoteRefusal, Version: v.Number}
		}
	}
	if s.now.Before(v.NotBefore) {
		message := fmt.Sprintf("version %d is not accepted yet", v.Number)
		if v.Refused {
			message += ": " + v.Refusal
		}
		s.note(v.Trouble, &Problem{Reason: "Verifying", Message: message}, v.NotBefore)
		return nil
	}
	return &Step{Action: Verify, Version: v.Number}
}

// confirmDoubts asks the upstream about the published version itself: a listing
// that lacks it is a signal, only a refused login is proof (hazard C4). And a
// refusal is not proof for ever: until a successor is under way it is asked again.
func confirmDoubts(s *situation) *Step {
	v := s.published()
	if v == nil || v.Terminating || v.trusted() || v.Refused && s.inFlight() != nil {
		return nil
	}
	if !s.caps.Verifies || s.Operator.ObserveOnly || s.Account.Problem != nil {
		return nil
	}
	if s.now.Before(v.NotBefore) {
		s.note(v.Trouble, nil, v.NotBefore)
		return nil
	}
	return &Step{Action: Verify, Version: v.Number}
}
