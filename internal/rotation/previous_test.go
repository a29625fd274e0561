package rotation

import (
	"testing"
	"time"
)

func TestThePreviousVersionIsShownWhileItLives(t *testing.T) { decide(t, previousDecisions()) }

func previousDecisions() []decision {
	// shows is a credential in its overlap, of which version 2 was published an hour ago.
	shows := func(change func(*facts)) func(*facts) {
		return func(f *facts) {
			overlapping(f)
			f.Target.PublishedAt = ago(time.Hour)
			f.Versions[1].IntentAt = ago(2 * time.Hour)
			f.Credential.ShowsPrevious = true
			if change != nil {
				change(f)
			}
		}
	}
	// dying is shows with version 1 deleted by hand, which is refused upstream and so has no overlap.
	dying := func(change func(*facts)) func(*facts) {
		return shows(func(f *facts) {
			f.Versions[0].Terminating, f.Versions[0].Refused = true, true
			f.Target.Previous = 1
			if change != nil {
				change(f)
			}
		})
	}
	show := func(number int64) Step { return Step{Action: ShowPrevious, Version: number, Needs: FactTarget} }
	overlap := Step{Action: Wait, Until: ago(time.Hour).Add(time.Second).Add(2 * days), Notice: &Problem{
		Reason: "Overlap", Message: "version 1 stays valid until " + text(ago(time.Hour).Add(time.Second).Add(2*days)) + " at least",
	}}
	return []decision{
		{"the predecessor is shown in its overlap", shows(nil), show(1)},
		{"what is shown already is left", shows(func(f *facts) { f.Target.Previous = 1 }), overlap},
		{"what is shown as another template has it is written anew", shows(func(f *facts) { f.Target.Previous, f.Target.PreviousStale = 1, true }), show(1)},
		{"what nobody knows is replaced", shows(func(f *facts) { f.Target.Previous = -1 }), show(1)},
		{"nothing is shown to who did not ask", shows(func(f *facts) { f.Credential.ShowsPrevious = false }), overlap},
		{"who does not ask any more has it taken away", shows(func(f *facts) { f.Credential.ShowsPrevious, f.Target.Previous = false, 1 }), show(0)},
		{"a predecessor that the upstream refuses is not shown", shows(func(f *facts) { f.Target.Previous, f.Versions[0].Refused = 1, true }), show(0)},
		{"one that has expired is not shown", shows(func(f *facts) { f.Target.Previous, f.Versions[0].ExpiresAt = 1, noon }), show(0)},
		{"one that cannot be rendered is not shown", shows(func(f *facts) { f.Target.Previous, f.Versions[0].Unshowable = 1, true }), show(0)},
		{"one that was never published is not shown", shows(func(f *facts) { f.Target.Previous, f.Versions[0].OncePublished = 1, false }), show(0)},
		{"a Secret that somebody edits is looked at first", shows(func(f *facts) { f.Target.Drift, f.Fresh = true, everything&^FactTarget }), Step{Action: Look, Needs: FactTarget}},
		{"before a version is revoked it is taken away", dying(nil), Step{Action: HidePrevious, Version: 1, Needs: FactTarget}},
		{
			"even if it is not shown, so that no other process shows it", dying(func(f *facts) { f.Target.Previous = 0 }),
			Step{Action: HidePrevious, Version: 1, Needs: FactTarget},
		},
		{
			"then it is revoked", dying(func(f *facts) { f.Target.Previous, f.Target.Hidden = 0, 1 }),
			Step{Action: Revoke, Version: 1, Needs: FactGuard | FactTarget},
		},
		{
			"what was never published is revoked at once", dying(func(f *facts) { f.Target.Previous, f.Versions[0].OncePublished, f.Versions[0].Failed = 0, false, true }),
			Step{Action: Revoke, Version: 1, Needs: FactGuard | FactTarget},
		},
		{
			"without the wish and with nothing shown it is revoked at once", dying(func(f *facts) { f.Target.Previous, f.Credential.ShowsPrevious = 0, false }),
			Step{Action: Revoke, Version: 1, Needs: FactGuard | FactTarget},
		},
		{
			"an older version is not shown while another one waits to be revoked", dying(func(f *facts) {
				older := f.Versions[0]
				older.Terminating, older.Refused = false, false
				f.Versions = append([]Version{older}, f.Versions...)
				f.Versions[1].Number, f.Versions[2].Number, f.Target.Published = 2, 3, 3
				f.Target.Previous, f.Target.Hidden = 0, 2
				f.Versions[1].NotBefore = in(time.Minute)
			}),
			Step{Action: Wait, Until: in(time.Minute), Notice: &Problem{Reason: "Retiring", Message: "version 2 is being revoked"}},
		},
		{
			"it is shown again when that one is revoked", dying(func(f *facts) {
				older := f.Versions[0]
				older.Terminating, older.Refused = false, false
				f.Versions = append([]Version{older}, f.Versions...)
				f.Versions[1].Number, f.Versions[2].Number, f.Target.Published = 2, 3, 3
				f.Versions[1].Revoked, f.Versions[1].Held = true, false
				f.Target.Previous, f.Target.Hidden = 0, 2
			}),
			show(1),
		},
		{
			"nothing is shown beside a version that is not there", shows(func(f *facts) {
				f.Versions, f.Target.Published = f.Versions[:1], 0
				f.Versions[0].Refused, f.Account.Problem = true, stuck("UpstreamUnreachable", "no route")
			}),
			Step{Action: Wait, Problem: stuck("UpstreamUnreachable", "no route")},
		},
		{
			"on deletion nothing is taken away: the Secret goes as a whole", dying(func(f *facts) { f.Credential.Deleting, f.Versions[1].Terminating = true, true }),
			Step{Action: Revoke, Version: 1, Needs: FactGuard},
		},
	}
}
