package rotation

import (
	"fmt"
	"time"

	"github.com/claviger-dev/claviger/internal/rollout"
)

// Rollout is how workloads are restarted.
type Rollout struct {
	// Pause is the time between the end of one restart and the next one.
	Pause time.Duration
	// Timeout is how long a restart may take where no controller says that it fails.
	Timeout time.Duration
	// Coalesce is how long a restart waits for other credentials of the workload.
	Coalesce time.Duration
}

// Workloads are those that the credential restarts, in order, as they were seen last.
type Workloads struct {
	// Known: they were looked at since the present publication.
	Known bool
	All   []rollout.Workload
	// Free: the namespace's limit of restarts leaves room.
	Free bool
	// Again is when another look may show something else.
	Again time.Time
}

// Wave is the move of workloads to what is published. The API server cuts the times of
// creation down to the second, too, so a restart begins with one.
func Wave(t Target, p Policy) rollout.Wave {
	published := Publication("", t, p)
	begins := published.At.Add(published.Margin)
	if whole := begins.Truncate(time.Second); whole.Before(begins) {
		begins = whole.Add(time.Second)
	}
	wave := rollout.Wave{Begins: begins, Pause: p.Rollout.Pause, Timeout: p.Rollout.Timeout, AtOnce: t.Hasty}
	if t.Hasty {
		wave.Pause = 0
	}
	return wave
}

// rolls: workloads have to be restarted for the published version and are not all done.
func (o *Observed) rolls() *Version {
	if !o.Credential.Rolls {
		return nil
	}
	for i := range o.Versions {
		if v := &o.Versions[i]; v.Number == o.Target.Published && v.live() && v.Wave != "" && !v.RolledOut {
			return v
		}
	}
	return nil
}

// awaitRollout reports whether a predecessor has to wait for workloads. What is compromised
// does not wait, and what the target never held is in no pod (invariant 3).
func (s *situation) awaitRollout(v *Version) bool {
	return v.OncePublished && !s.compromised(v) && s.rolls() != nil
}

// noteRollout says that a version would be retired if all workloads were restarted. Why
// they are not is said by roll.
func (s *situation) noteRollout(v *Version) {
	s.note(nil, &Problem{Reason: "RollingOut", Message: fmt.Sprintf(
		"version %d stays valid until the workloads are restarted for version %d", v.Number, s.Target.Published)}, time.Time{})
}

// roll restarts the workloads of what is published, one after the other.
func roll(s *situation) *Step {
	v := s.rolls()
	switch {
	case v == nil, !v.trusted(), s.Target.Drift, s.Target.PublishedAt.IsZero(), s.Operator.ObserveOnly:
		return nil
	case !s.Operator.ClockSteady:
		s.noteRolling(v, "workloads are restarted when the API server's clock is steady", s.now.Add(clockRetry))
		return nil
	}
	wave := Wave(s.Target, s.policy)
	if s.now.Before(wave.Begins) {
		s.noteRolling(v, "the workloads are restarted from "+text(wave.Begins)+" on", wave.Begins)
		return nil
	}
	if !s.Fresh.Has(FactWorkloads) {
		return &Step{Action: Look, Needs: FactWorkloads, Version: v.Number}
	}
	workloads, free := s.Workloads.All, s.Workloads.Free
	if s.urgent(v) {
		// Who holds what is compromised, or was ended, fails until it is restarted.
		workloads, free = atOnce(workloads), true
	}
	decision := rollout.Next(workloads, wave, free, s.now)
	switch decision.Do {
	case rollout.Note:
		return &Step{Action: NoteRollout, Version: v.Number, Workload: workloads[decision.Workload].String()}
	case rollout.Finish:
		return &Step{Action: NoteRollout, Version: v.Number}
	case rollout.Restart:
		return s.restart(v, workloads[decision.Workload].String())
	case rollout.Nothing:
	}
	until := decision.Until
	if until.IsZero() || s.Workloads.Again.Before(until) {
		until = s.Workloads.Again
	}
	if decision.Held {
		s.note(nil, &Problem{Reason: "RolloutHeld", Message: fmt.Sprintf("version %d is not rolled out: %s", v.Number, decision.Why)}, until)
		return nil
	}
	s.noteRolling(v, decision.Why, until)
	return nil
}

func (s *situation) noteRolling(v *Version, why string, until time.Time) {
	s.note(nil, &Problem{Reason: "RollingOut", Message: fmt.Sprintf("version %d is being rolled out: %s", v.Number, why)}, until)
}

// restart returns the step, unless it has to wait for the policy's window.
func (s *situation) restart(v *Version, workload string) *Step {
	if !s.policy.Windows.Open(s.now) && s.patient(v) {
		next, _ := s.policy.Windows.Next(s.now)
		s.note(nil, &Problem{Reason: "WaitingForWindow", Message: fmt.Sprintf(
			"%s is restarted for version %d in the window that opens at %s", workload, v.Number, text(next))}, next)
		return nil
	}
	return &Step{Action: Restart, Version: v.Number, Workload: workload, Routine: !s.urgent(v), Needs: FactCredential | FactTarget}
}

// patient: nobody has asked for the version, and what came before it does not end before
// the next window opens. So its rollout is routine, and windows bind it (hazard H15).
func (s *situation) patient(v *Version) bool {
	if !v.Answers.IsZero() || !v.RepublishAt.IsZero() || s.Target.Hasty {
		return false
	}
	next, ok := s.policy.Windows.Next(s.now)
	for i := range s.Versions {
		older := &s.Versions[i]
		if ok && older.Number < v.Number && !older.Revoked && !older.ExpiresAt.IsZero() && older.ExpiresAt.Before(next) {
			return false
		}
	}
	return true
}

// urgent: the version takes the place of what was declared compromised, or has ended what
// workloads hold.
func (s *situation) urgent(v *Version) bool {
	t := s.Credential.CompromisedAt
	return s.Target.Hasty || s.open(t) && !v.Answers.Before(t)
}

// atOnce are workloads that wait for no other credential.
func atOnce(all []rollout.Workload) []rollout.Workload {
	now := make([]rollout.Workload, len(all))
	for i, w := range all {
		w.Together = time.Time{}
		now[i] = w
	}
	return now
}

// RolloutStalled tells which workload keeps a rollout from getting on, and what to do; nil if
// none does.
func RolloutStalled(o Observed, p Policy, now time.Time) *Problem {
	v := o.rolls()
	if v == nil || !o.Workloads.Known || o.Target.PublishedAt.IsZero() {
		return nil
	}
	decision := rollout.Next(o.Workloads.All, Wave(o.Target, p), o.Workloads.Free, now)
	if !decision.Held {
		return nil
	}
	return &Problem{Reason: "RolloutHeld", Message: fmt.Sprintf("version %d is not rolled out: %s", v.Number, decision.Why)}
}
