package rotation

import (
	"fmt"
	"time"
)

// maxLostGrants is how many versions in a row may be begun at an upstream where one that
// was lost cannot be found. Then a person has to look (hazard H3).
const maxLostGrants = 3

// writeAnswers stands before everything else: an answer that only this process knows is
// the one thing that a crash can lose for good (hazard H5).
func writeAnswers(s *situation) *Step {
	for i := range s.Versions {
		v := &s.Versions[i]
		switch {
		case !v.Unwritten:
		case v.ClaimMine:
			return &Step{Action: WriteAnswer, Version: v.Number}
		case s.now.Before(v.NotBefore):
			s.note(v.Trouble, nil, v.NotBefore)
		default:
			return &Step{Action: Disown, Version: v.Number}
		}
	}
	return nil
}

// lost decides what becomes of a version whose call may have reached the upstream while its
// answer reached nobody. Nothing is concluded before no call can be under way any more and
// its effect would be seen (hazard C4).
func (s *situation) lost(v *Version, notice *Problem) *Step {
	if s.expendable(v) {
		return s.fail(v, fmt.Sprintf("the upstream's answer was lost, and with it whether version %d still works", v.InPlaceOf))
	}
	settled := v.ClaimUntil.Add(s.caps.Settle)
	if s.now.Before(settled) {
		s.note(&Problem{Reason: "WaitingForClaim", Message: fmt.Sprintf(
			"whether version %d was made is decided when no call for it can be under way any more", v.Number)}, notice, settled)
		return nil
	}
	if s.caps.Repeatable {
		return &Step{Action: Claim, Version: v.Number}
	}
	cause := "the upstream's answer was lost; what it may have made is looked for and revoked"
	if !s.caps.Addressable {
		cause = "the upstream's answer was lost, and what it may have made cannot be found"
	}
	return s.fail(v, cause)
}

// unmade: no call was made for a version that nothing would name to the upstream, as this
// process knows that made its intent. After a restart nobody knows it any more. And of an
// account that cannot be called nobody knows what it can.
func (s *situation) unmade(v *Version) bool {
	mine := v.ClaimMine && v.FirstClaim && !v.Begun && !v.OncePublished
	return mine && s.Account.Problem == nil && !s.caps.Addressable && !v.Answered && !v.Unsure
}

// shared: another version is the same upstream object, so ending this one would end that one
// (invariant 11).
func (s *situation) shared(v *Version) bool {
	for i := range s.Versions {
		other := &s.Versions[i]
		// What was answered with is no version of its own: it goes, and the object stays.
		if other != v && !other.Ineffective && v.Identity != "" && other.Identity == v.Identity && !other.Revoked && (other.live() || other.Number == s.Target.Published) {
			return true
		}
	}
	return false
}

// Gone decides what a proven absence says: that the version is ended, if its answer is
// known; after an unknown outcome only if it was absent for as long as it takes to settle,
// because a call may still arrive.
func Gone(v Version, c Capabilities, now time.Time) bool {
	return !v.Unsure || !v.AbsentSince.IsZero() && !now.Before(v.AbsentSince.Add(c.Settle))
}

// ExpiresBy is the time by which a successor must have been issued, from the upstream's own
// end of the version; zero if it never ends.
func ExpiresBy(p Policy, v *Version) time.Time {
	if v.ExpiresAt.IsZero() {
		return time.Time{}
	}
	life := v.ExpiresAt.Sub(v.IntentAt)
	if p.RenewBefore.IsZero() {
		return v.ExpiresAt.Add(-life / 3)
	}
	// An upstream that grants less than the policy reckons with must not be asked for one
	// version after the other.
	return v.ExpiresAt.Add(-min(p.RenewBefore.Max(), life/2))
}
