package rotation

import (
	"testing"
	"time"
)

func TestHowACredentialEnds(t *testing.T) { decide(t, endDecisions()) }

// endDecisions are about a credential that is being deleted, or is gone.
func endDecisions() []decision {
	deleted := func(f *facts) { f.Credential.Deleting = true }
	retained := both(deleted, func(f *facts) { f.Credential.Retain = true })
	gone := func(since time.Duration) func(*facts) {
		return func(f *facts) { f.Credential.Exists, f.Credential.GoneSince, f.Target = false, ago(since), Target{} }
	}
	terminating := func(f *facts) { f.Versions[0].Terminating = true }
	empty := func(f *facts) { f.Versions = nil }
	ending := stuck("Deleting", "1 version(s) are still to be revoked upstream")
	retire := Step{Action: Retire, Version: 1, Cause: "the credential is deleted"}
	noAccount := stalled("LoginFailed", "who are you")
	unreadable := func(f *facts) {
		f.Versions[0].Number, f.Versions[0].Problem = 0, stalled("JournalUnreadable", "number")
	}
	return []decision{
		{"every version of a deleted credential is retired, the published one too", deleted, retire},
		{
			"a suspended credential is not ended", both(deleted, func(f *facts) { f.Credential.Suspended = true }),
			Step{Action: Wait, Problem: stuck("Suspended", "spec.suspend is true: nothing is written here or upstream until it is false")},
		},
		{"a retired version is revoked, whatever the target holds", both(deleted, terminating), Step{Action: Revoke, Version: 1, Needs: FactGuard}},
		{
			"an issuer that is being deleted revokes what is asked of it", both(deleted, terminating, func(f *facts) { f.Account.Terminating = true }),
			Step{Action: Revoke, Version: 1, Needs: FactGuard},
		},
		{
			"the newest version needs no tombstone any more", both(deleted, terminating, func(f *facts) { f.Versions[0].Revoked = true }),
			Step{Action: Release, Version: 1},
		},
		{
			"a deletion without an account waits and says how to let go", both(deleted, terminating, func(f *facts) { f.Account.Problem = noAccount }),
			Step{Action: Wait, Problem: stalled("LoginFailed", "version 1 waits to be revoked: who are you"+wayOut), Notice: stuck("Retiring", "version 1 is being revoked")},
		},
		{"a deletion that waits says how many versions are left and how to let them go", both(deleted, terminating, func(f *facts) {
			f.Versions[0].NotBefore = in(time.Minute)
		}), Step{Action: Wait, Until: in(time.Minute), Problem: stuck("Deleting", ending.Message+wayOut), Notice: stuck("Retiring", "version 1 is being revoked")}},
		{"one version that waits does not keep another from being revoked", both(overlapping, deleted, terminating, func(f *facts) {
			f.Versions[0].NotBefore, f.Versions[0].Trouble, f.Versions[1].Terminating = in(time.Minute), noAccount, true
		}), Step{Action: Revoke, Version: 2, Needs: FactGuard}},
		{"an observer ends nothing", both(deleted, func(f *facts) { f.Operator.ObserveOnly = true }), Step{Action: Wait, Problem: observing()}},
		{"a version under way is retired too", both(renewing(nil), deleted, terminating), Step{Action: Retire, Version: 2, Cause: "the credential is deleted"}},

		{
			"the journal and the target are read before a credential is let go", both(deleted, empty, func(f *facts) { f.Fresh = 0 }),
			Step{Action: Look, Needs: FactJournal | FactTarget},
		},
		{"the target goes when no version is left", both(deleted, empty), Step{Action: DeleteTarget}},
		{"somebody else's Secret stays", both(deleted, empty, func(f *facts) { f.Target.Ours = false }), Step{Action: RemoveFinalizer}},
		{"a target that goes already is not deleted again", both(deleted, empty, func(f *facts) { f.Target.Terminating = true }), Step{Action: RemoveFinalizer}},
		{"the credential is let go last", both(deleted, empty, func(f *facts) { f.Target = Target{} }), Step{Action: RemoveFinalizer}},
		{
			"a credential that somebody else still holds rests", both(deleted, empty, func(f *facts) { f.Target, f.Credential.Finalized = Target{}, false }),
			Step{Action: Wait},
		},

		{"a retained version is labelled and let go", retained, Step{Action: Retain, Version: 1}},
		{"under Retain a predecessor that a workload may hold stays too", both(overlapping, retained), Step{Action: Retain, Version: 1}},
		{
			"under Retain a version that was never published goes", both(renewing(func(v *Version) { v.ClaimUntil = ago(FactTime) }), retained),
			Step{Action: Retire, Version: 2, Cause: "the credential is deleted", Needs: FactTarget},
		},
		{"what the target holds is read before a version goes under Retain", both(renewing(func(v *Version) { v.ClaimUntil = ago(FactTime) }), retained, func(f *facts) {
			f.Fresh = everything &^ FactTarget
		}), Step{Action: Look, Version: 2, Needs: FactTarget}},
		{"a version that another process may be publishing does not go yet", both(renewing(func(v *Version) { v.ClaimUntil = ago(FactTime - 1) }), retained, func(f *facts) {
			f.Versions[0].Held = false
		}), Step{Action: Wait, Until: in(1), Problem: stuck("WaitingForClaim", "whether version 2 is kept is decided when it cannot be published any more")}},
		{
			"a failed version goes at once", both(renewing(func(v *Version) { v.Failed = true }), retained),
			Step{Action: Retire, Version: 2, Cause: "the credential is deleted", Needs: FactTarget},
		},
		{"under Retain an edited target does not make its version unpublished", both(renewing(nil), retained, func(f *facts) {
			f.Target.Published, f.Versions = 0, f.Versions[1:]
		}), Step{Action: Retain, Version: 2}},
		{"a version that was let go is not taken back when the target is let go after it", both(retained, func(f *facts) {
			f.Versions[0].Held, f.Versions[0].OncePublished, f.Target.Ours, f.Target.Published = false, false, false, 0
		}), Step{Action: RemoveFinalizer}},
		{"a version that goes with its namespace is let go before it is revoked", both(retained, terminating), Step{Action: Retain, Version: 1, Needs: FactTarget}},
		{"what was let go of a namespace that goes is not revoked after all", both(retained, terminating, func(f *facts) {
			f.Versions[0].Held = false
		}), Step{Action: RetainTarget}},
		{"so is the published one while its successor is under way", both(renewing(nil), retained, terminating, func(f *facts) {
			f.Versions[1].Terminating = true
		}), Step{Action: Retain, Version: 1, Needs: FactTarget}},
		{"a predecessor that was deleted may have been retired and is revoked", both(overlapping, retained, terminating, func(f *facts) {
			f.Versions[1].Held = false
		}), Step{Action: Revoke, Version: 1, Needs: FactGuard}},
		{
			"a version that is revoked already is not kept", both(retained, terminating, func(f *facts) { f.Versions[0].Revoked = true }),
			Step{Action: Release, Version: 1},
		},
		{
			"a version that failed is not kept", both(retained, terminating, func(f *facts) { f.Versions[0].Failed = true }),
			Step{Action: Revoke, Version: 1, Needs: FactGuard},
		},
		{
			"under Retain the newest is let go last, or a retired one would look like it and live for ever",
			both(overlapping, retained, terminating, func(f *facts) {
				f.Versions[0].ClaimUntil, f.Versions[0].FirstClaim = in(time.Minute), false
			}),
			Step{
				Action: Wait, Until: in(time.Minute), Problem: stuck("WaitingForClaim", "version 1 is revoked when no earlier call for it can be under way any more"),
				Notice: stuck("Retiring", "version 1 is being revoked"),
			},
		},
		{"without Retain a version that goes with its namespace is revoked", both(deleted, terminating), Step{Action: Revoke, Version: 1, Needs: FactGuard}},
		{"a retained target is labelled and stays", both(retained, empty), Step{Action: RetainTarget}},

		{"a journal of another cluster is not ended", both(deleted, func(f *facts) { f.Versions[0].Problem = noAccount }), Step{Action: Wait, Problem: noAccount}},
		{"an abandoned version is deleted first", both(deleted, func(f *facts) { f.Credential.Abandon = 1 }), Step{Action: Retire, Version: 1, Cause: "abandoned"}},
		{"an abandoned version is let go without asking anybody", both(deleted, terminating, func(f *facts) {
			f.Credential.AbandonAll, f.Account.Problem, f.Versions[0].Problem = true, noAccount, noAccount
		}), Step{Action: Abandon, Version: 1}},
		{"only the version that is named is abandoned", both(overlapping, deleted, terminating, func(f *facts) {
			f.Credential.Abandon, f.Versions[1].Terminating = 2, true
		}), Step{Action: Abandon, Version: 2}},
		{
			"a version whose number cannot be read is not abandoned by nobody's word", both(deleted, unreadable),
			Step{Action: Wait, Problem: stalled("JournalUnreadable", "number")},
		},
		{
			"a version whose number cannot be read is abandoned with all", both(deleted, unreadable, func(f *facts) { f.Credential.AbandonAll = true }),
			Step{Action: Retire, Cause: "abandoned"},
		},
		{"nothing is abandoned for a credential that is kept", func(f *facts) { f.Credential.AbandonAll = true }, idle()},

		{"a vanished credential may come back", gone(days - 1), Step{Action: Wait, Until: in(1)}},
		{"a vanished credential is ended when it did not come back", gone(days), retire},
		{"what was deleted before is revoked meanwhile", both(gone(0), terminating), Step{Action: Revoke, Version: 1, Needs: FactGuard}},
		{
			"a revocation that waits retires nothing else before the time", both(overlapping, gone(0), terminating, func(f *facts) { f.Account.Problem = noAccount }),
			Step{
				Action: Wait, Until: in(days), Problem: stalled("LoginFailed", "version 1 waits to be revoked: who are you"),
				Notice: stuck("Retiring", "version 1 is being revoked"),
			},
		},
		{"a vanished credential that retained takes nothing for unused", both(overlapping, gone(days), func(f *facts) {
			f.Credential.Retain, f.Versions = true, f.Versions[1:]
			f.Versions[0].OncePublished = false
		}), Step{Action: Retain, Version: 2}},
		{"a vanished credential is done when nothing is left", both(gone(days), empty), Step{Action: Wait}},
		{"a vanished credential waits for what cannot be revoked", both(gone(days), terminating, func(f *facts) {
			f.Versions[0].NotBefore = in(time.Minute)
		}), Step{Action: Wait, Until: in(time.Minute), Problem: ending, Notice: stuck("Retiring", "version 1 is being revoked")}},
	}
}
