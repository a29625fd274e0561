package rotation

import "time"

// Plan is what will happen if nobody changes anything, for status and people.
type Plan struct {
	// RenewsAt is when a successor will be made by routine; zero means never.
	RenewsAt time.Time
	// Retires maps the numbers of older versions to the time at which each is
	// revoked at the earliest.
	Retires map[int64]time.Time
}

// Timeline projects the routine future, windows included. It is made from the same
// rules as Next: what it says is due, Next begins.
func Timeline(o Observed, p Policy, now time.Time) Plan {
	s := &situation{Observed: o, policy: p, now: now}
	plan := Plan{Retires: map[int64]time.Time{}}
	current := s.published()
	if current == nil {
		return plan
	}
	if !p.RotateAfter.IsUnlimited() && p.Problem == nil {
		plan.RenewsAt = inWindow(p, dueAt(p, o.Credential.UID, current.IntentAt), now)
	}
	if !current.ExpiresAt.IsZero() {
		if at, _ := expiryRenewal(p, current, now); plan.RenewsAt.IsZero() || at.Before(plan.RenewsAt) {
			plan.RenewsAt = at
		}
	}
	for i := range s.Versions {
		v := &s.Versions[i]
		if v.live() && v.Number < current.Number && !o.Target.PublishedAt.IsZero() {
			plan.Retires[v.Number] = inWindow(p, s.retiresAt(v), now)
		}
	}
	return plan
}

// OverdueAt is when the published version should have been gone: its age and the overlap of a
// successor have passed. Zero if nothing is due by age.
func OverdueAt(o Observed, p Policy) time.Time {
	s := &situation{Observed: o, policy: p}
	current := s.published()
	if current == nil || p.RotateAfter.IsUnlimited() || p.Problem != nil {
		return time.Time{}
	}
	return p.Overlap.AddTo(p.RotateAfter.AddTo(current.IntentAt))
}

// inWindow is the first moment from at on that lies in a window. What was due in a
// window that has closed since waits for the next one; otherwise a time in the past
// says that it is overdue.
func inWindow(p Policy, at, now time.Time) time.Time {
	if at.Before(now) && !p.Windows.Open(now) {
		at = now
	}
	if next, ok := p.Windows.Next(at); ok {
		return next
	}
	return at
}
