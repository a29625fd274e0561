package rotation

import (
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
	tellReplacement,
	writeAnswers,
	refuseStrangeJournals,
	respectSuspension,
	askDeletion,
	rollBack,
	sacrifice,
	finishRetirements,
	adoptRetained,
	refuseForeignSecrets,
	refuseBadSpec,
	lookAtDrift,
	lookBehind,
	putBack,
	carryOn,
	keepCopies,
	confirmDoubts,
	noteFirstPublication,
	tendPlace,
	succeed,
	showPrevious,
	roll,
	forgetEnded,
	retirePredecessors,
	renderAgain,
	announceExpiry,
}

// end is the way of a credential that is being deleted.
var end = []rule{
	writeAnswers,
	respectSuspension,
	abandon,
	refuseStrangeJournals,
	waitForReturn,
	holdForApproval,
	holdMassDeletion,
	holdForIssuers,
	holdForDeliveries,
	holdWhileInUse,
	retireAll,
	retainTerminating,
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

// refuseBadSpec stops where nothing could be rendered or made. What is published
// stays as it is.
func refuseBadSpec(s *situation) *Step {
	if s.Credential.Problem != nil {
		s.wake(s.Credential.ProblemUntil)
		return s.stop(s.Credential.Problem)
	}
	return nil
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
