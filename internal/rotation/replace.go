package rotation

import (
	"fmt"
	"time"
)

// Some upstreams renew a credential in place: what makes the new one ends the old one, so
// workloads fail from then on until they have the new one. It is done only where a policy
// says so, and then made as short as can be. That a version is to take the place of another
// one is in its intent, before the call; so everybody who finds it knows that the other one may
// be dead.

// ended: a successor has taken its place upstream.
func (v *Version) ended() bool { return !v.EndedAt.IsZero() }

// endedBy is a version that was given up after it had ended v, or may have; nil if there is none.
// Whoever holds v needs another successor, whoever asked for the first one. That no call was
// made only the process knows that made none, so it is no difference.
func (s *situation) endedBy(v *Version) *Version {
	for i := range s.Versions {
		if later := &s.Versions[i]; !later.live() && later.InPlaceOf == v.Number {
			return later
		}
	}
	return nil
}

// how says what a version that was given up has done to another one.
func (v *Version) how(before *Version) string {
	if v.ReplacedAt.IsZero() {
		return fmt.Sprintf("version %d was to replace version %d in place and may have ended it: no answer tells", v.Number, before.Number)
	}
	return fmt.Sprintf("version %d has ended version %d, and was given up", v.Number, before.Number)
}

// withoutOverlap refuses to end what works where nobody has agreed that workloads may fail.
func (s *situation) withoutOverlap() *Problem {
	current := s.published()
	if s.caps.Overlap || s.policy.Replace || current == nil || current.Refused {
		return nil
	}
	return &Problem{Reason: "ReplaceNotAllowed", Stalled: true, Message: fmt.Sprintf(
		"this upstream ends version %d with the making of the next one, so that workloads fail until they have it: "+
			"a policy with strategy: Replace must apply that says so", current.Number)}
}

// inPlace decides whether the successor of the published version takes its place. After an
// attempt that was given up it never does: what is used to renew may be used up. Nor may that be
// in foreign hands. And what somebody names by a Secret of its own must live until he has moved on.
func (s *situation) inPlace(current *Version) bool {
	switch {
	case !s.caps.InPlace || !s.policy.Replace:
		return false
	case !s.caps.Overlap:
		return true // nothing else can be done
	}
	return current == s.newest() && current.live() && !current.Refused && !s.compromised(current) && !s.Credential.Versioned
}

// gives is the number of the version that the upstream is told to end with v; 0 if v is to be an
// object of its own because something has happened since it was begun.
func (s *situation) gives(v *Version) int64 {
	current := s.published()
	if !s.caps.Overlap {
		return v.InPlaceOf
	}
	if !s.policy.Replace || current == nil || current.Number != v.InPlaceOf || !current.live() || current.Refused || s.compromised(current) {
		return 0
	}
	return v.InPlaceOf
}

// expendable: a version whose answer was lost need not be waited for. What it may have made is
// nobody's, and the next one does not depend on it; but what workloads hold may be dead.
func (s *situation) expendable(v *Version) bool {
	return v.InPlaceOf != 0 && s.caps.Overlap && !s.caps.Repeatable
}

// hopeless: the version is this process's own to publish, and will never be.
func (s *situation) hopeless(v *Version) bool { return s.expendable(v) && v.ClaimMine && v.Lost }

// forgetEnded lets go of what a published successor has ended: it needs no overlap, because
// nothing is left of it that anybody could use.
func forgetEnded(s *situation) *Step {
	current := s.published()
	if current == nil || current.ended() || s.Target.Drift || s.Operator.ObserveOnly {
		return nil
	}
	for i := range s.Versions {
		if v := &s.Versions[i]; v.ended() && !v.Terminating && !v.Failed {
			return &Step{Action: Retire, Version: v.Number, Cause: fmt.Sprintf("version %d has taken its place upstream", v.EndedBy)}
		}
	}
	return nil
}

// tellReplacement says that workloads hold what was ended in place, or may have been, and what
// they need.
func tellReplacement(s *situation) *Step {
	s.note(nil, s.replacement(), time.Time{})
	return nil
}

// uncalled: this process alone might have made a call for the version, and has made none.
func (v *Version) uncalled() bool {
	return v.live() && v.ReplacedAt.IsZero() && v.ClaimMine && v.FirstClaim && !v.Unsure
}

func (s *situation) replacement() *Problem {
	current := s.published()
	if current == nil {
		return nil
	}
	if v := s.rolls(); v != nil && s.Target.Hasty {
		return v.replaced()
	}
	for i := range s.Versions {
		v := &s.Versions[i]
		switch {
		case v.InPlaceOf != current.Number, v.uncalled():
		case v.ReplacedAt.IsZero():
			return &Problem{Reason: "ReplacementUnknown", Message: fmt.Sprintf(
				"%s. The Secret holds version %d until there is another one", v.how(current), current.Number)}
		default:
			return v.replaced()
		}
	}
	return nil
}

func (v *Version) replaced() *Problem {
	return &Problem{Reason: "Replaced", Message: fmt.Sprintf(
		"version %d replaced the one before it in place at %s: what workloads hold is refused until they have version %d", v.Number, text(v.ReplacedAt), v.Number)}
}
