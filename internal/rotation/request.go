package rotation

import (
	"fmt"
	"time"
)

// What people ask for by annotations with a time. A request is answered by the journal,
// never by the status, so that a lost status repeats nothing (hazard C5).

// open reports whether a time is that of a request: set, and not further ahead than clocks
// differ.
func (s *situation) open(t time.Time) bool {
	return !t.IsZero() && !t.After(s.now.Add(requestAhead))
}

// noteEarly tells of requests that lie in the future and are ignored until then.
func (s *situation) noteEarly() {
	for _, r := range []struct {
		annotation string
		at         time.Time
	}{
		{"compromised-at", s.Credential.CompromisedAt},
		{"rollback-requested-at", s.Credential.RollbackRequestedAt},
		{"rotate-requested-at", s.Credential.RotateRequestedAt},
	} {
		if r.at.After(s.now.Add(requestAhead)) {
			s.note(&Problem{Reason: "RequestInFuture", Stalled: true, Message: fmt.Sprintf(
				"%s is %s, more than five minutes ahead: it is ignored until then", r.annotation, text(r.at))}, nil, r.at.Add(-requestAhead))
		}
	}
}

// compromised: the version existed when somebody declared compromised what existed, and was
// not made because of that.
func (s *situation) compromised(v *Version) bool {
	t := s.Credential.CompromisedAt
	return s.open(t) && v.IntentAt.Before(t) && v.Answers.Before(t)
}

// askedAnew: somebody requests a rotation who knows what became of this version. Nobody else
// has those asked again who have said no.
func (s *situation) askedAnew(v *Version) bool {
	t := s.Credential.RotateRequestedAt
	return s.open(t) && v.IntentAt.Before(t) && v.Answers.Before(t)
}

// rolledBack: the version had served when somebody asked for the one before it.
func (v *Version) rolledBack() bool { return v.Failed && v.OncePublished }

// rollBack gives the published version up for the one before it, while that one lives. The
// bad one is marked before the good one is published: a crash in between would otherwise
// undo it (hazard H14).
func rollBack(s *situation) *Step {
	t := s.Credential.RollbackRequestedAt
	current := s.published()
	if !s.open(t) || current == nil || current.Failed || current.Terminating {
		return nil
	}
	if !s.unanswered(t) {
		return nil
	}
	before := s.lastGoodBefore(current)
	switch {
	case before == nil:
		s.note(&Problem{Reason: "RollbackImpossible", Message: fmt.Sprintf(
			"no earlier version is left that lives: version %d stays", current.Number)}, nil, time.Time{})
		return nil
	case s.compromised(before):
		s.note(&Problem{Reason: "RollbackImpossible", Message: fmt.Sprintf(
			"version %d was declared compromised: version %d stays", before.Number, current.Number)}, nil, time.Time{})
		return nil
	}
	// A claim that still runs need not be waited for: who holds it has published, and could do so
	// again only over a target that nobody has written since.
	return &Step{Action: RollBack, Version: current.Number, Answers: t, Needs: FactTarget | FactCredential, Cause: fmt.Sprintf(
		"rolled back to version %d on request", before.Number)}
}

// GivenUpAt is when a version counts as given up by a step that rolls back. The clock of who
// asked may be ahead of ours: an answer from before its question would be none, and one
// version after the other would be given up until that moment has come.
func GivenUpAt(step Step, now time.Time) time.Time {
	if step.Answers.After(now) {
		return step.Answers
	}
	return now
}

// unanswered: nothing has been made or given up since somebody asked for the version before.
func (s *situation) unanswered(t time.Time) bool {
	for i := range s.Versions {
		if v := &s.Versions[i]; !v.IntentAt.Before(t) || v.Failed && !v.FailedAt.Before(t) {
			return false
		}
	}
	return true
}

// lastGoodBefore is the newest version before v that has served and may serve again.
func (s *situation) lastGoodBefore(v *Version) *Version {
	for i := len(s.Versions) - 1; i >= 0; i-- {
		if older := &s.Versions[i]; older.Number < v.Number && older.live() && older.OncePublished && !older.Refused && s.endedBy(older) == nil {
			return older
		}
	}
	return nil
}

// sacrifice revokes what was declared compromised although nothing can take its place, on an
// administrator's word (M17): workloads fail from then on.
func sacrifice(s *situation) *Step {
	if !s.Credential.RevokeAnyway {
		return nil
	}
	for i := range s.Versions {
		if v := &s.Versions[i]; v.live() && s.compromised(v) && s.now.After(v.ClaimUntil) {
			return &Step{Action: Retire, Version: v.Number, Cause: "declared compromised, to be revoked even without a successor"}
		}
	}
	return nil
}
