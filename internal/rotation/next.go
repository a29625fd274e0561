package rotation

import (
	"fmt"
	"time"
)

// situation is an observation being judged. Rules that only wait leave a note and
// let the next rule speak, so that a renewal that waits for a window never keeps a
// predecessor from being retired.
type situation struct {
	Observed
	policy Policy
	caps   Capabilities
	now    time.Time

	problem *Problem
	notice  *Problem
	until   time.Time
}

// rule returns a step, or nil to let the next one speak.
type rule func(*situation) *Step

// keep is the life of a credential that is wanted, in order of urgency.
var keep = []rule{
	refuseStrangeJournals,
	respectSuspension,
	finishRetirements,
	adoptRetained,
	refuseForeignSecrets,
	refuseBadSpec,
	lookAtDrift,
	putBack,
	carryOn,
	confirmDoubts,
	noteFirstPublication,
	succeed,
	retirePredecessors,
	renderAgain,
}

// end is the way of a credential that is being deleted.
var end = []rule{
	respectSuspension,
	abandon,
	refuseStrangeJournals,
	waitForReturn,
	retireAll,
	finishRetirements,
	retainCurrent,
	letGo,
}

// Next decides the next step. Its answer depends on its arguments alone.
func Next(o Observed, p Policy, c Capabilities, now time.Time) Step {
	s := &situation{Observed: o, policy: p, caps: c, now: now}
	rules := keep
	if s.ending() {
		rules = end
	}
	for _, r := range rules {
		step := r(s)
		if step == nil {
			continue
		}
		if missing := step.Needs &^ o.Fresh; missing != 0 {
			return Step{Action: Look, Needs: missing, Version: step.Version}
		}
		return *step
	}
	return Step{Action: Wait, Until: s.until, Problem: s.problem, Notice: s.notice}
}

func (s *situation) ending() bool { return s.Credential.Deleting || !s.Credential.Exists }

// note leaves word of something that has to wait. The first problem and the first
// notice stand: rules speak in order of urgency.
func (s *situation) note(problem, notice *Problem, until time.Time) {
	if s.problem == nil {
		s.problem = problem
	}
	if s.notice == nil {
		s.notice = notice
	}
	s.wake(until)
}

func (s *situation) wake(until time.Time) {
	if until.IsZero() {
		return
	}
	if s.until.IsZero() || until.Before(s.until) {
		s.until = until
	}
}

func (s *situation) stop(problem *Problem) *Step {
	s.note(problem, nil, time.Time{})
	return &Step{Action: Wait, Until: s.until, Problem: s.problem, Notice: s.notice}
}

func (s *situation) newest() *Version {
	if len(s.Versions) == 0 {
		return nil
	}
	return &s.Versions[len(s.Versions)-1]
}

func (s *situation) published() *Version {
	for i := range s.Versions {
		if s.Versions[i].Number == s.Target.Published {
			return &s.Versions[i]
		}
	}
	return nil
}

func refuseStrangeJournals(s *situation) *Step {
	for i := range s.Versions {
		if p := s.Versions[i].Problem; p != nil {
			return s.stop(p)
		}
	}
	return nil
}

func respectSuspension(s *situation) *Step {
	if s.Credential.Suspended {
		return s.stop(&Problem{Reason: "Suspended", Message: "spec.suspend is true: nothing is written here or upstream until it is false"})
	}
	return nil
}

// finishRetirements carries out what a deleted version Secret has promised.
func finishRetirements(s *situation) *Step {
	for i := range s.Versions {
		v := &s.Versions[i]
		if v.Failed && !v.Terminating {
			return &Step{Action: Retire, Version: v.Number, Cause: "never accepted"}
		}
		if !v.Terminating {
			continue
		}
		tombstone := !s.ending() && s.evidence(v)
		switch {
		case v.Revoked && !tombstone:
			return &Step{Action: Release, Version: v.Number}
		case v.Revoked && !v.RevokedNoted:
			return &Step{Action: NoteRevoked, Version: v.Number}
		case v.Revoked:
			continue
		case !s.ending() && !s.dispensable(v):
			// Revoking it now would leave workloads with a dead credential. Its
			// successor is due at once instead.
			continue
		case !s.ending() && s.overlaps(v):
			s.note(nil, &Problem{Reason: "Overlap", Message: fmt.Sprintf(
				"version %d stays valid until %s at least", v.Number, text(s.retiresAt(v)))}, s.retiresAt(v))
			continue
		}
		if step := s.revoke(v); step != nil {
			return step
		}
	}
	return nil
}

// evidence: the Secret of a version that is gone upstream still says something. The
// newest one's is the high-water mark of numbers until its successor exists (hazard
// C3). And a version that is under way counts as published as soon as the one that
// it follows has vanished, so nothing vanishes before.
func (s *situation) evidence(v *Version) bool {
	next := s.inFlight()
	return v == s.newest() || next != nil && next.Replaces
}

// dispensable: no workload needs the version, because it was never accepted or
// because the target holds another one that lives (invariant 3).
func (s *situation) dispensable(v *Version) bool {
	if v.Number == s.Target.Published {
		return false
	}
	current := s.published()
	return v.Failed || current != nil && current.live()
}

// overlaps: workloads may still hold the version, although its Secret was deleted by
// hand and a successor is published.
func (s *situation) overlaps(v *Version) bool {
	return v.OncePublished && !v.Failed && !v.Refused && s.now.Before(s.retiresAt(v))
}

// mayBeUnderWay: another process may still be calling the upstream to create the
// version. Not if the only one that ever might has published it: it had its answer.
func (s *situation) mayBeUnderWay(v *Version) bool {
	answered := v.FirstClaim && v.OncePublished
	return !v.ClaimMine && !answered && s.now.Before(v.ClaimUntil)
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
	case s.mayBeUnderWay(v):
		// Another process may still be creating it: a create that commits after our
		// revoke would live for ever.
		s.note(&Problem{Reason: "WaitingForClaim", Message: fmt.Sprintf(
			"version %d is revoked when no earlier call for it can be under way any more", v.Number)}, notice, v.ClaimUntil)
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
		return &Step{Action: Revoke, Version: v.Number, Needs: needs}
	}
	return nil
}

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

func refuseForeignSecrets(s *situation) *Step {
	if s.Target.Retained && !s.Target.Ours && !s.Fresh.Has(FactTarget) {
		return &Step{Action: Look, Needs: FactTarget}
	}
	if s.Target.Exists && !s.Target.Ours {
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

// refuseBadSpec stops where nothing could be rendered or made. What is published
// stays as it is.
func refuseBadSpec(s *situation) *Step {
	if s.Credential.Problem != nil {
		return s.stop(s.Credential.Problem)
	}
	return nil
}

func lookAtDrift(s *situation) *Step {
	if s.Target.Drift && !s.Fresh.Has(FactTarget) {
		return &Step{Action: Look, Needs: FactTarget}
	}
	return nil
}

// putBack repairs a target that is missing, was edited, or was given the bytes of
// an older version, from what is known to be good. It needs no upstream: a workload
// must not wait for a gateway (hazard 2.5).
func putBack(s *situation) *Step {
	candidate, current := s.lastGood(), s.published()
	if candidate == nil || s.Target.Terminating || current != nil && current.Number >= candidate.Number {
		return nil
	}
	if newest := s.newest(); newest != candidate && newest.live() && newest.Accepted {
		return nil // carryOn publishes the newest, which this process has just proven
	}
	if candidate != s.newest() && !s.marked(candidate) {
		return &Step{Action: MarkRepublish, Version: candidate.Number, Needs: FactTarget}
	}
	return &Step{Action: Publish, Version: candidate.Number, Needs: FactTarget | FactCredential, Cause: "the Secret was deleted or edited"}
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
	if s.now.Before(v.ClaimUntil) {
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
	if s.claimed(v) {
		return &Step{Action: Issue, Version: v.Number}
	}
	if takeover := v.ClaimUntil.Add(s.caps.Settle); !s.caps.RepeatHarmless && s.now.Before(takeover) {
		s.note(&Problem{Reason: "WaitingForClaim", Message: fmt.Sprintf(
			"whether version %d was made is decided when no call for it can be under way any more", v.Number)}, notice, takeover)
		return nil
	}
	return &Step{Action: Claim, Version: v.Number}
}

func (s *situation) verify(v *Version) *Step {
	if v.Refused {
		refusedFor := s.now.Sub(v.RefusedSince)
		// Only a refusal of this moment counts. An outage after an early refusal says
		// nothing about the material (hazard H4), and since an old one another process
		// may have seen it accepted.
		fresh := v.Trouble == nil && s.now.Before(v.NotBefore)
		if fresh && refusedFor >= s.policy.VerifyTimeout {
			return s.fail(v, "refused for "+s.policy.VerifyTimeout.String()+": "+v.Refusal)
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

// noteFirstPublication makes durable what no successor proves yet. Without it a
// deleted Secret could be put back only after the upstream was asked.
func noteFirstPublication(s *situation) *Step {
	v := s.published()
	if v == nil || v.OncePublished || v.Replaces || v.Terminating || s.Target.Drift {
		return nil
	}
	return &Step{Action: NotePublished, Version: v.Number}
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
		if step := s.retire(v); step != nil {
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
	case s.Target.PublishedAt.IsZero():
		// Our managedFields entry was wiped. Until it is written again nobody knows
		// when the overlap began, so it has not ended.
		s.note(nil, &Problem{Reason: "Overlap", Message: fmt.Sprintf(
			"version %d stays valid: when its overlap began is not known until the Secret is written again", v.Number)}, time.Time{})
	case s.now.Before(at):
		s.note(nil, overlap, at)
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

// renderAgain writes a changed template. While an overlap runs this moves the
// time of publication, which errs late.
func renderAgain(s *situation) *Step {
	v := s.published()
	if v == nil || !s.Target.Stale || s.Target.Drift || s.Target.Terminating || v.Terminating {
		return nil
	}
	return &Step{Action: Publish, Version: v.Number, Needs: FactTarget | FactCredential, Cause: "the template changed"}
}

func observing() *Problem {
	return &Problem{Reason: "Observing", Message: "the operator runs with --observe-only and writes nothing upstream"}
}

func clockSkew() *Problem {
	return &Problem{Reason: "ClockSkew", Message: "the API server's time jumped by more than two minutes: nothing is issued or retired until it is steady"}
}

func waitingForVerdict() *Problem {
	return &Problem{Reason: "WaitingForVerdict", Message: "the operator has just started and looks at the issuer first"}
}

func (s *situation) guardless() *Problem {
	return &Problem{Reason: "GuardNotInForce", Stalled: true, Message: "the admission policies that protect the journal are not in force here: " + s.Operator.GuardMessage}
}
