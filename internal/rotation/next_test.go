package rotation

import (
	"testing"
	"time"

	"github.com/claviger-dev/claviger/internal/interval"
)

// idle is the step of working: nothing, until version 1 is renewed.
func idle() Step { return Step{Action: Wait, Until: renewal()} }

func TestWhatIsKeptAndRepaired(t *testing.T) { decide(t, keepDecisions()) }

// keepDecisions are about journals, retirements under way, the target and what was
// retained.
func keepDecisions() []decision {
	moved := stalled("ClusterMoved", "another cluster's")
	noAccount := stalled("LoginFailed", "who are you")
	revoking := stuck("Retiring", "version 1 is being revoked")
	terminating := both(overlapping, func(f *facts) { f.Versions[0].Terminating = true })
	behind := func(f *facts) { f.Target.Published, f.Target.Unknown = 0, 3 }
	asked := func(stalled bool, why string) *Problem {
		return &Problem{Reason: "JournalBehind", Stalled: stalled, Message: "the Secret bears version 3, which the journal does not know: version 1 is put back only if the upstream accepts it; " + why}
	}
	publishedNow := func(f *facts) { f.Target.PublishedAt = noon }
	deletedTarget := func(f *facts) { f.Target = Target{} }
	overlappingDeleted := both(overlapping, deletedTarget, func(f *facts) { f.Versions[1].OncePublished = false })
	return []decision{
		{"a credential that works waits for its renewal", nil, idle()},
		{
			"a journal of another cluster is only looked at, whatever is due", both(terminating, func(f *facts) { f.Versions[1].Problem = moved }),
			Step{Action: Wait, Problem: moved},
		},
		{
			"nothing is done for a suspended credential, not even a promised revocation", both(terminating, func(f *facts) { f.Credential.Suspended = true }),
			Step{Action: Wait, Problem: stuck("Suspended", "spec.suspend is true: nothing is written here or upstream until it is false")},
		},

		{"a version that failed is retired", renewing(func(v *Version) { v.Failed = true }), Step{Action: Retire, Version: 2, Cause: "given up"}},
		{"a retired version is revoked", terminating, Step{Action: Revoke, Version: 1, Needs: FactGuard | FactTarget}},
		{
			"what the target holds is looked at before a revocation (C4)", both(terminating, func(f *facts) { f.Fresh = FactGuard }),
			Step{Action: Look, Version: 1, Needs: FactTarget},
		},
		{
			"a version that was deleted while it is published is not revoked but followed", func(f *facts) { f.Versions[0].Terminating = true },
			Step{Action: CreateIntent, Version: 2, Cause: "version 1 was deleted while it is published", Replaces: 1, Needs: FactCredential | FactIssuer | FactGuard},
		},
		{
			"a deleted version whose successor is deleted too is not revoked before a third is published",
			both(terminating, func(f *facts) { f.Versions[1].Terminating = true }),
			Step{Action: CreateIntent, Version: 3, Cause: "version 2 was deleted while it is published", Replaces: 2, Needs: FactCredential | FactIssuer | FactGuard},
		},
		{
			"a deleted version is not revoked while nobody knows what the target holds",
			both(terminating, deletedTarget, func(f *facts) { f.Target.Terminating, f.Target.Exists, f.Target.Ours = true, true, true }),
			Step{Action: Wait, Until: in(5 * time.Second), Problem: stuck("SecretNotOurs",
				"the Secret was deleted and a finalizer of somebody else still holds it; it is written anew when it is gone")},
		},
		{"a failed version is revoked although nothing is published", func(f *facts) {
			f.Target = Target{}
			f.Versions = []Version{{Number: 1, Failed: true, Terminating: true, Held: true}}
		}, Step{Action: Revoke, Version: 1, Needs: FactGuard | FactTarget}},
		{
			"a failed version that the target holds all the same is not revoked", func(f *facts) { f.Versions[0].Failed, f.Versions[0].Terminating = true, true },
			Step{Action: CreateIntent, Version: 2, Cause: "version 1 was deleted while it is published", Replaces: 1, Needs: FactCredential | FactIssuer | FactGuard},
		},
		{
			"unless the upstream is full: then the older one would keep the third from being made (H11)",
			both(terminating, func(f *facts) { f.Versions[1].Terminating, f.caps.MaxLive, f.Account.Live = true, 2, 2 }),
			Step{Action: Revoke, Version: 1, Needs: FactGuard | FactTarget},
		},
		{
			"where there is room for the third, the older one is kept", both(terminating, func(f *facts) { f.Versions[1].Terminating, f.caps.MaxLive, f.Account.Live = true, 3, 2 }),
			Step{Action: CreateIntent, Version: 3, Cause: "version 2 was deleted while it is published", Replaces: 2, Needs: FactCredential | FactIssuer | FactGuard | FactContainer},
		},
		{
			"whether there is room is looked at first", both(terminating, func(f *facts) {
				f.Versions[1].Terminating, f.caps.MaxLive, f.Account.Live, f.Fresh = true, 2, 2, everything&^FactContainer
			}),
			Step{Action: Look, Version: 3, Needs: FactContainer},
		},
		{"a published version that was deleted is kept, even if there is no room for another one", func(f *facts) {
			f.Versions[0].Terminating, f.caps.MaxLive, f.Account.Live = true, 1, 1
		}, Step{Action: Wait, Until: in(time.Minute), Problem: stalled("UpstreamFull", "the upstream holds 1 credentials there and takes 1: "+
			"version 1 was deleted and is revoked when another one is published, for which there must be room; remove one that nobody uses")}},
		{"so is one that served, after its Secret was deleted too", both(deletedTarget, func(f *facts) {
			f.Versions[0].Terminating, f.caps.MaxLive, f.Account.Live = true, 1, 1
		}), Step{Action: Wait, Until: in(time.Minute), Problem: stalled("UpstreamFull", "the upstream holds 1 credentials there and takes 1: "+
			"version 1 was deleted and is revoked when another one is published, for which there must be room; remove one that nobody uses")}},
		{"one that never served makes room for its successor", both(deletedTarget, func(f *facts) {
			f.Versions[0].Terminating, f.Versions[0].OncePublished, f.caps.MaxLive, f.Account.Live = true, false, 1, 1
		}), Step{Action: Revoke, Version: 1, Needs: FactGuard | FactTarget}},
		{"a version that was deleted by hand keeps its overlap", both(terminating, publishedNow), Step{
			Action: Wait, Until: in(2*days + time.Second),
			Notice: stuck("Overlap", "version 1 stays valid until 2026-03-06T12:00:01Z at least"),
		}},
		{
			"it keeps its overlap where the upstream has room for ever, however urgent the next one is",
			both(terminating, publishedNow, func(f *facts) { f.Versions[1].ExpiresAt = in(time.Hour) }),
			Step{
				Action: CreateIntent, Version: 3, Replaces: 2, Cause: "version 2 expires at " + text(in(time.Hour)),
				Needs: FactCredential | FactIssuer | FactGuard,
			},
		},
		{"it keeps an overlap whose beginning nobody knows", both(terminating, func(f *facts) { f.Target.PublishedAt = time.Time{} }), Step{
			Action: Wait, Until: renewalOf2(),
			Notice: stuck("Overlap", "version 1 stays valid: when its overlap began is not known until the Secret is written again"),
		}},
		{
			"nobody holds what was never published", both(terminating, publishedNow, func(f *facts) { f.Versions[0].OncePublished = false }),
			Step{Action: Revoke, Version: 1, Needs: FactGuard | FactTarget},
		},
		{
			"nobody needs what is refused", both(terminating, publishedNow, func(f *facts) { f.Versions[0].Refused = true }),
			Step{Action: Revoke, Version: 1, Needs: FactGuard | FactTarget},
		},
		{
			"nobody needs what failed", both(terminating, publishedNow, func(f *facts) { f.Versions[0].Failed, f.Versions[0].OncePublished = true, false }),
			Step{Action: Revoke, Version: 1, Needs: FactGuard | FactTarget},
		},
		{"a call that published its version is not under way any more", both(terminating, func(f *facts) {
			f.Versions[0].FirstClaim, f.Versions[0].ClaimUntil = true, in(time.Second)
		}), Step{Action: Revoke, Version: 1, Needs: FactGuard | FactTarget}},
		{"a revoked version is released", both(terminating, func(f *facts) { f.Versions[0].Revoked = true }), Step{Action: Release, Version: 1}},
		{
			"the newest version stays as the high-water mark of numbers (C3)",
			renewing(func(v *Version) { v.Terminating, v.Revoked = true, true }),
			Step{Action: NoteRevoked, Version: 2},
		},
		{
			"a high-water mark that is noted stays and rests",
			renewing(func(v *Version) { v.Terminating, v.Revoked, v.RevokedNoted = true, true, true }), idle(),
		},
		{"a revoked version stays while the one that follows it is under way", both(terminating, func(f *facts) {
			f.Versions[0].Revoked, f.Versions[0].RevokedNoted, f.Versions[1] = true, true, made(2)
			f.Versions = append([]Version{served(0, 20*days)}, f.Versions...)
			f.Target.Published = 0
		}), Step{Action: Issue, Version: 2}},
		{
			"an observer revokes nothing and says so", both(terminating, func(f *facts) { f.Operator.ObserveOnly = true }),
			Step{Action: Wait, Until: renewalOf2(), Problem: observing()},
		},
		{
			"a revocation waits for the account", both(terminating, func(f *facts) { f.Account.Problem = noAccount }),
			Step{Action: Wait, Until: renewalOf2(), Problem: stalled("LoginFailed", "version 1 waits to be revoked: who are you"), Notice: revoking},
		},
		{
			"a revocation waits until no other process can be creating the version (C2)",
			both(terminating, func(f *facts) { f.Versions[0].ClaimUntil = in(time.Second) }),
			Step{
				Action: Wait, Until: in(time.Second), Notice: revoking,
				Problem: stuck("WaitingForClaim", "version 1 is revoked when no earlier call for it can be under way any more"),
			},
		},
		{
			"a claim that ends now is over", both(terminating, func(f *facts) { f.Versions[0].ClaimUntil = noon }),
			Step{Action: Revoke, Version: 1, Needs: FactGuard | FactTarget},
		},
		{"the own claim, which nobody held before, does not delay a revocation", both(terminating, func(f *facts) {
			f.Versions[0].ClaimMine, f.Versions[0].FirstClaim, f.Versions[0].ClaimUntil = true, true, in(time.Hour)
		}), Step{Action: Revoke, Version: 1, Needs: FactGuard | FactTarget}},
		{"the one from whom a claim was taken over may still be calling (C2)", both(terminating, func(f *facts) {
			f.Versions[0].ClaimMine, f.Versions[0].ClaimUntil = true, in(time.Second)
		}), Step{
			Action: Wait, Until: in(time.Second), Notice: revoking,
			Problem: stuck("WaitingForClaim", "version 1 is revoked when no earlier call for it can be under way any more"),
		}},
		{"that what it follows has vanished does not prove that a version was made (C2)", both(terminating, func(f *facts) {
			f.Versions[0].FirstClaim, f.Versions[0].Replaces, f.Versions[0].ClaimUntil = true, true, in(time.Second)
		}), Step{
			Action: Wait, Until: in(time.Second), Notice: revoking,
			Problem: stuck("WaitingForClaim", "version 1 is revoked when no earlier call for it can be under way any more"),
		}},
		{"a revocation that failed is tried again later", both(terminating, func(f *facts) {
			f.Versions[0].NotBefore, f.Versions[0].Trouble = in(time.Minute), stuck("UpstreamUnreachable", "no route")
		}), Step{Action: Wait, Until: in(time.Minute), Problem: stuck("UpstreamUnreachable", "no route"), Notice: revoking}},
		{"nothing is revoked on the word of a journal that nobody guards (H7)", both(terminating, func(f *facts) {
			f.Operator.GuardInForce, f.Operator.GuardMessage = false, "no binding"
		}), Step{
			Action: Wait, Until: in(10 * time.Second), Notice: revoking,
			Problem: stalled("GuardNotInForce", "the admission policies that protect the journal are not in force here: no binding"),
		}},

		{
			"somebody else's Secret is left alone and looked at again", func(f *facts) { f.Target.Ours = false },
			Step{Action: Wait, Until: in(30 * time.Second), Problem: stalled("SecretNotOurs", "the Secret that spec.secret.name names exists and belongs to "+
				"somebody else: delete or rename it, or make a new credential with another secret.name")},
		},
		{
			"a Secret that an earlier credential let go is looked at first", func(f *facts) { f.Target.Ours, f.Target.Retained, f.Fresh = false, true, 0 },
			Step{Action: Look, Needs: FactTarget},
		},
		{"a spec that cannot be served stops what is new and leaves what is published", both(overlapping, func(f *facts) {
			f.Credential.Problem = stalled("InvalidTemplate", "no such function")
		}), Step{Action: Wait, Problem: stalled("InvalidTemplate", "no such function")}},
		{"a target that somebody wrote to is read", func(f *facts) { f.Target.Drift, f.Fresh = true, 0 }, Step{Action: Look, Needs: FactTarget}},

		{
			"a deleted target is put back without asking the upstream", both(deletedTarget, func(f *facts) { f.Account.Problem = noAccount }),
			Step{Action: Publish, Version: 1, Needs: FactTarget | FactCredential, Cause: "the Secret was deleted or edited"},
		},
		{
			"an observer puts a target back", both(deletedTarget, func(f *facts) { f.Operator.ObserveOnly = true }),
			Step{Action: Publish, Version: 1, Needs: FactTarget | FactCredential, Cause: "the Secret was deleted or edited"},
		},
		{
			"a target that is newer than the cached journal is read with the journal (C6)", both(behind, func(f *facts) { f.Fresh = FactTarget }),
			Step{Action: Look, Needs: FactJournal},
		},
		{"where the journal is behind, the upstream is asked before anything is put back (C6)", behind, Step{Action: Verify, Version: 1}},
		{
			"what it accepts is put back", both(behind, func(f *facts) { f.Versions[0].Accepted = true }),
			Step{Action: Publish, Version: 1, Needs: FactTarget | FactCredential, Cause: "the Secret was deleted or edited"},
		},
		{"an old copy of the Secret is no sign of that, and is replaced at once", both(overlapping, func(f *facts) {
			f.Target.Published, f.Target.Unknown, f.Account.Problem = 0, 2, noAccount
		}), Step{Action: Publish, Version: 2, Needs: FactTarget | FactCredential, Cause: "the Secret was deleted or edited"}},
		{"what it refuses is followed by a version with a number of its own (C3)", both(behind, func(f *facts) { f.Versions[0].Refused = true }), Step{
			Action: CreateIntent, Version: 4, Cause: "the Secret bears version 3, which the journal does not know, and no earlier one can be put back",
			Needs: FactCredential | FactIssuer | FactGuard | FactTarget | FactJournal,
		}},
		{"so it is where no upstream can be asked", both(behind, func(f *facts) { f.caps.Verifies = false }), Step{
			Action: CreateIntent, Version: 4, Cause: "the Secret bears version 3, which the journal does not know, and no earlier one can be put back",
			Needs: FactCredential | FactIssuer | FactGuard | FactTarget | FactJournal,
		}},
		{
			"a successor that is under way is waited for there", both(behind, renewing(func(v *Version) { v.Number = 4 }), func(f *facts) { f.caps.Verifies = false }),
			Step{Action: Issue, Version: 4},
		},
		{"a journal that lost everything begins with a number of its own (C3)", both(behind, func(f *facts) { f.Versions = nil }), Step{
			Action: CreateIntent, Version: 4, Cause: "first issue", Needs: FactCredential | FactIssuer | FactGuard | FactTarget | FactJournal,
		}},
		{
			"while the account cannot be called, a newer target stays as it is", both(behind, func(f *facts) { f.Account.Problem = noAccount }),
			Step{Action: Wait, Problem: asked(true, "who are you")},
		},
		{
			"an observer leaves a newer target as it is", both(behind, func(f *facts) { f.Operator.ObserveOnly = true }),
			Step{Action: Wait, Problem: asked(false, observing().Message)},
		},
		{
			"a look that comes later says what it is for", both(behind, func(f *facts) { f.Versions[0].NotBefore = in(time.Minute) }),
			Step{Action: Wait, Until: in(time.Minute), Problem: stuck("JournalBehind",
				"the Secret bears version 3, which the journal does not know: version 1 is put back only if the upstream accepts it")},
		},
		{"an answer that did not come is waited for", both(behind, func(f *facts) {
			f.Versions[0].NotBefore, f.Versions[0].Trouble = in(time.Minute), stuck("UpstreamUnreachable", "no route")
		}), Step{Action: Wait, Until: in(time.Minute), Problem: asked(false, "no route")}},
		{"a version on its way is given up where the journal is behind and no upstream can be asked", both(behind, renewing(func(v *Version) {
			v.Answered, v.ClaimMine, v.ClaimUntil = true, false, ago(time.Minute)
		}), func(f *facts) { f.caps.Verifies = false }), Step{
			Action: Fail, Version: 2, Needs: FactTarget,
			Cause: "the Secret bears version 3, so this one may have been revoked since, and this upstream cannot be asked",
		}},
		{"a version on its way that was accepted is published all the same", both(behind, renewing(func(v *Version) {
			v.Answered, v.Accepted = true, true
		})), Step{Action: Publish, Version: 2, Needs: FactTarget | FactCredential}},

		{"an older version is marked before it is put back (3.3)", overlappingDeleted, Step{Action: MarkRepublish, Version: 1, Needs: FactTarget}},
		{
			"a marked version is put back", both(overlappingDeleted, func(f *facts) { f.Versions[0].MarkedNow, f.Versions[0].RepublishAt = true, noon }),
			Step{Action: Publish, Version: 1, Needs: FactTarget | FactCredential, Cause: "the Secret was deleted or edited"},
		},
		{"a mark that just suffices is used", both(overlappingDeleted, func(f *facts) {
			f.Versions[0].MarkedNow, f.Versions[0].RepublishAt = true, ago(ClaimTime-CallTime-1)
		}), Step{Action: Publish, Version: 1, Needs: FactTarget | FactCredential, Cause: "the Secret was deleted or edited"}},
		{"a mark that is about to end is set anew", both(overlappingDeleted, func(f *facts) {
			f.Versions[0].MarkedNow, f.Versions[0].RepublishAt = true, ago(ClaimTime-CallTime)
		}), Step{Action: MarkRepublish, Version: 1, Needs: FactTarget}},
		{
			"a mark of an earlier pass is set anew", both(overlappingDeleted, func(f *facts) { f.Versions[0].RepublishAt = noon }),
			Step{Action: MarkRepublish, Version: 1, Needs: FactTarget},
		},
		{"the newest version is published instead if this process has seen it accepted", both(overlappingDeleted, func(f *facts) {
			f.Versions[1].Answered, f.Versions[1].Accepted, f.Versions[1].ClaimMine, f.Versions[1].ClaimUntil = true, true, true, in(ClaimTime)
		}), Step{Action: Publish, Version: 2, Needs: FactTarget | FactCredential}},
		{
			"the bytes of an older version are replaced by those of the newest that served", both(overlapping, func(f *facts) { f.Target.Published = 1 }),
			Step{Action: Publish, Version: 2, Needs: FactTarget | FactCredential, Cause: "the Secret was deleted or edited"},
		},
		{
			"a version that is refused is not put back but followed", both(deletedTarget, func(f *facts) { f.Versions[0].Refused = true }),
			Step{
				Action: CreateIntent, Version: 2, Cause: "no version is left that could be published",
				Needs: FactCredential | FactIssuer | FactGuard | FactTarget,
			},
		},
		{"a person who went back from a refused version is not overruled", both(overlapping, func(f *facts) {
			f.Target.Published, f.Versions[1].Refused = 1, true
		}), idle()},
		{"a target that is being deleted is not written", both(overlapping, func(f *facts) {
			f.Target = Target{Exists: true, Ours: true, Terminating: true, Stale: true, Published: 2, PublishedAt: ago(time.Hour)}
			f.Versions = f.Versions[1:]
		}), Step{Action: Wait, Until: in(5 * time.Second), Problem: stuck("SecretNotOurs",
			"the Secret was deleted and a finalizer of somebody else still holds it; it is written anew when it is gone")}},
	}
}

func TestWhatWasRetainedIsAdopted(t *testing.T) { decide(t, adoptDecisions()) }

// adoptDecisions are about versions that an earlier credential left alive.
func adoptDecisions() []decision {
	trouble := stuck("VerifyUnreachable", "no route")
	retained := func(change func(*facts)) func(*facts) {
		return func(f *facts) {
			f.Versions, f.Target, f.Retained = nil, Target{}, []Version{served(3, days)}
			if change != nil {
				change(f)
			}
		}
	}
	return []decision{
		{"a retained version is adopted before anything is issued", retained(nil), Step{Action: Adopt, Version: 3, Needs: FactCredential | FactGuard}},
		{
			"the credential is held before a version is adopted", retained(func(f *facts) { f.Credential.Finalized = false }),
			Step{Action: AddFinalizer, Needs: FactCredential},
		},
		{"the issuer is held before a version is adopted", retained(func(f *facts) { f.Account.Held = false }), Step{Action: HoldIssuer, Needs: FactIssuer}},
		{
			"a retained version of another cluster is only looked at", retained(func(f *facts) { f.Retained[0].Problem = trouble }),
			Step{Action: Wait, Problem: trouble},
		},
		{"an adoption waits for the account", retained(func(f *facts) { f.Account.Problem = trouble }), Step{Action: Wait, Problem: trouble}},
		{
			"an adoption that failed is tried again later", retained(func(f *facts) { f.Retained[0].NotBefore, f.Retained[0].Trouble = in(time.Minute), trouble }),
			Step{Action: Wait, Until: in(time.Minute), Problem: trouble},
		},
		{
			"nothing is adopted from a journal that nobody guards", retained(func(f *facts) { f.Operator.GuardInForce = false }),
			Step{Action: Wait, Until: in(10 * time.Second), Problem: stalled("GuardNotInForce",
				"the admission policies that protect the journal are not in force here: ")},
		},
	}
}

func TestAVersionOnItsWay(t *testing.T) { decide(t, wayDecisions()) }

// wayDecisions are about a version between its intent and its first publication.
func wayDecisions() []decision {
	noAccount := stalled("LoginFailed", "who are you")
	noRoute := stuck("UpstreamUnreachable", "no route")
	issuing := stuck("Issuing", "version 2 is being made upstream")
	claim := stuck("WaitingForClaim", "whether version 2 was made is decided when no call for it can be under way any more")
	refused := func(since time.Duration, noted bool, change func(*Version)) func(*facts) {
		return renewing(func(v *Version) {
			v.Answered, v.Refused, v.Refusal, v.RefusedSince, v.RefusedNoted = true, true, "unknown client", ago(since), noted
			v.NotBefore, v.ClaimUntil = in(Patience(since)), noon
			if change != nil {
				change(v)
			}
		})
	}
	verifying := stuck("Verifying", "version 2 is not accepted yet: unknown client")
	accepted := func(change func(*Version)) func(*facts) {
		return renewing(func(v *Version) {
			v.Answered, v.Accepted = true, true
			if change != nil {
				change(v)
			}
		})
	}
	blocking := func(change func(*facts)) func(*facts) { return both(renewing(nil), change) }
	return []decision{
		{"an intent is issued under its claim", renewing(nil), Step{Action: Issue, Version: 2}},
		{
			"another process's claim is taken over at once where a repeat does no harm", renewing(func(v *Version) { v.ClaimMine = false }),
			Step{Action: Claim, Version: 2},
		},
		{"a call must end before the claim does (C2)", renewing(func(v *Version) { v.ClaimUntil = in(CallTime) }), Step{Action: Claim, Version: 2}},
		{"a call that just ends before the claim is made", renewing(func(v *Version) { v.ClaimUntil = in(CallTime + 1) }), Step{Action: Issue, Version: 2}},
		{
			"where a repeat does harm a claim is taken over after its end and the settle time", both(
				renewing(func(v *Version) { v.Unsure, v.ClaimMine, v.ClaimUntil = true, false, in(time.Second) }), func(f *facts) { f.caps.RepeatHarmless = false }),
			Step{Action: Wait, Until: in(time.Second + time.Minute), Problem: claim, Notice: issuing},
		},
		{
			"the settle time ends at its end", both(
				renewing(func(v *Version) { v.Unsure, v.ClaimMine, v.ClaimUntil = true, false, ago(time.Minute) }), func(f *facts) { f.caps.RepeatHarmless = false }),
			Step{Action: Claim, Version: 2},
		},
		{
			"a create that failed is repeated later", renewing(func(v *Version) { v.NotBefore, v.Trouble = in(time.Second), noRoute }),
			Step{Action: Wait, Until: in(time.Second), Problem: noRoute, Notice: issuing},
		},
		{"nothing is issued without an account", blocking(func(f *facts) { f.Account.Problem = noAccount }), Step{Action: Wait, Problem: noAccount}},
		{
			"an issuer that is being deleted issues nothing", blocking(func(f *facts) { f.Account.Terminating = true }),
			Step{Action: Wait, Problem: stalled("IssuerNotReady", "the issuer is being deleted and issues nothing new")},
		},
		{
			"nothing is issued while the clock jumps, and the clock is looked at again (H19)", blocking(func(f *facts) { f.Operator.ClockSteady = false }),
			Step{Action: Wait, Until: in(30 * time.Second), Problem: clockSkew()},
		},
		{"an observer issues nothing", blocking(func(f *facts) { f.Operator.ObserveOnly = true }), Step{Action: Wait, Problem: observing()}},
		{
			"a version that the upstream can never make is given up", renewing(func(v *Version) { v.Condemned, v.ClaimUntil = "the id is taken", noon }),
			Step{Action: Fail, Version: 2, Cause: "the id is taken", Needs: FactTarget},
		},
		{
			"people who have said no are not asked again", renewing(func(v *Version) {
				v.Declined, v.ClaimUntil, v.IntentAt, v.NotBefore, v.Trouble = true, noon, ago(time.Minute), in(time.Minute), stalled("UpstreamRefused", "no")
			}),
			Step{Action: Wait, Until: in(time.Minute), Problem: stalled("UpstreamRefused", "no"), Notice: issuing},
		},
		{
			"but when somebody requests a rotation anew", both(renewing(func(v *Version) { v.Declined, v.ClaimUntil, v.IntentAt = true, noon, ago(time.Minute) }), func(f *facts) {
				f.Credential.RotateRequestedAt = noon
			}),
			Step{Action: Fail, Version: 2, Cause: "people of the upstream have said no, and a rotation was requested since", Needs: FactTarget},
		},
		{
			"and not by a request that is older than the version", both(renewing(func(v *Version) {
				v.Declined, v.ClaimUntil, v.IntentAt, v.NotBefore, v.Trouble = true, noon, ago(time.Minute), in(time.Minute), stalled("UpstreamRefused", "no")
			}), func(f *facts) { f.Credential.RotateRequestedAt = ago(time.Hour) }),
			Step{Action: Wait, Until: in(time.Minute), Problem: stalled("UpstreamRefused", "no"), Notice: issuing},
		},
		{
			"nor by one that lies far ahead", both(renewing(func(v *Version) {
				v.Declined, v.ClaimUntil, v.IntentAt, v.NotBefore, v.Trouble = true, noon, ago(time.Minute), in(time.Minute), stalled("UpstreamRefused", "no")
			}), func(f *facts) { f.Credential.RotateRequestedAt = in(time.Hour) }),
			Step{Action: Wait, Until: in(time.Minute), Problem: stalled("UpstreamRefused", "no"), Notice: issuing},
		},
		{
			"and not by the request that they have answered", both(renewing(func(v *Version) {
				v.Declined, v.ClaimUntil, v.IntentAt, v.Answers, v.NotBefore, v.Trouble = true, noon, ago(time.Minute), noon, in(time.Minute), stalled("UpstreamRefused", "no")
			}), func(f *facts) { f.Credential.RotateRequestedAt = noon }),
			Step{Action: Wait, Until: in(time.Minute), Problem: stalled("UpstreamRefused", "no"), Notice: issuing},
		},

		{"an issued version is verified", renewing(func(v *Version) { v.Answered = true }), Step{Action: Verify, Version: 2}},
		{"early refusals are patience", refused(4*time.Second, false, nil), Step{Action: Wait, Until: in(time.Second), Notice: verifying}},
		{"refused material is tried again", refused(4*time.Second, false, func(v *Version) { v.NotBefore = noon }), Step{Action: Verify, Version: 2}},
		{"a refusal of ten seconds is noted", refused(10*time.Second, false, nil), Step{Action: NoteRefusal, Version: 2}},
		{"a refusal is noted once", refused(time.Minute, true, nil), Step{Action: Wait, Until: in(15 * time.Second), Notice: verifying}},
		{
			"a version is not given up a moment before its time", refused(10*time.Minute-1, true, nil),
			Step{Action: Wait, Until: in(30 * time.Second), Notice: verifying},
		},
		{
			"a version is given up when it was refused for the whole time", refused(10*time.Minute, true, nil),
			Step{Action: Fail, Version: 2, Cause: "refused for 10m0s: unknown client", Needs: FactTarget},
		},
		{
			"the target is looked at before a version is given up", both(refused(10*time.Minute, true, nil), func(f *facts) { f.Fresh = 0 }),
			Step{Action: Look, Version: 2, Needs: FactTarget},
		},
		{"a version is not given up while a claim runs: its holder may be publishing it", refused(10*time.Minute, true, func(v *Version) {
			v.ClaimMine, v.ClaimUntil = false, in(time.Second)
		}), Step{
			Action: Wait, Until: in(time.Second),
			Notice: stuck("Verifying", "version 2 is given up: refused for 10m0s: unknown client"),
		}},
		{
			"an old refusal is asked again before a version is given up", refused(time.Hour, true, func(v *Version) { v.NotBefore = noon }),
			Step{Action: Verify, Version: 2},
		},
		{
			"an outage after early refusals gives nothing up (H4)", refused(time.Hour, true, func(v *Version) { v.Trouble = noRoute }),
			Step{Action: Wait, Until: in(30 * time.Second), Problem: noRoute, Notice: verifying},
		},
		{
			"an upstream that cannot be asked is asked later (H4)", renewing(func(v *Version) { v.Answered, v.NotBefore, v.Trouble = true, in(time.Second), noRoute }),
			Step{Action: Wait, Until: in(time.Second), Problem: noRoute, Notice: stuck("Verifying", "version 2 is not accepted yet")},
		},

		{"an accepted version is published", accepted(nil), Step{Action: Publish, Version: 2, Needs: FactTarget | FactCredential}},
		{
			"the target and the credential are read before a publication", both(accepted(nil), func(f *facts) { f.Fresh = FactGuard }),
			Step{Action: Look, Version: 2, Needs: FactTarget | FactCredential},
		},
		{"who publishes holds the claim", accepted(func(v *Version) { v.ClaimMine = false }), Step{Action: Claim, Version: 2}},
		{
			"a publication that the API server refused is tried again later", accepted(func(v *Version) { v.NotBefore, v.Trouble = in(time.Minute), noRoute }),
			Step{Action: Wait, Until: in(time.Minute), Problem: noRoute},
		},
		{
			"what cannot be verified is published when it was issued", both(renewing(func(v *Version) { v.Answered = true }), func(f *facts) { f.caps.Verifies = false }),
			Step{Action: Publish, Version: 2, Needs: FactTarget | FactCredential},
		},
		{
			"an accepted version is published without an account", both(accepted(nil), func(f *facts) { f.Account.Problem = noAccount }),
			Step{Action: Publish, Version: 2, Needs: FactTarget | FactCredential},
		},
		{"a version whose first version of all it is, too", func(f *facts) {
			f.Target, f.Versions = Target{}, []Version{made(1)}
			f.Versions[0].Answered, f.Versions[0].Accepted = true, true
		}, Step{Action: Publish, Version: 1, Needs: FactTarget | FactCredential}},
		{
			"nothing is moved while a target is being deleted", both(accepted(nil), func(f *facts) { f.Target.Terminating = true }),
			Step{Action: Wait, Until: in(5 * time.Second), Problem: stuck("SecretNotOurs",
				"the Secret was deleted and a finalizer of somebody else still holds it; it is written anew when it is gone")},
		},
		{
			"nothing new is begun while a version is under way, however due", both(
				refused(4*time.Second, false, nil), func(f *facts) { f.Versions[0].Refused, f.Credential.RotateRequestedAt = true, noon }),
			Step{Action: Wait, Until: in(time.Second), Notice: verifying},
		},
	}
}

func TestWhatIsPublished(t *testing.T) { decide(t, retireDecisions(t)) }

// retireDecisions are about the published version and its predecessors.
func retireDecisions(t *testing.T) []decision {
	t.Helper()
	noRoute := stuck("VerifyUnreachable", "no route")
	doubted := func(change func(*facts)) func(*facts) {
		return func(f *facts) {
			overlapping(f)
			f.Versions[1].Doubt = "the listing lacks it"
			if change != nil {
				change(f)
			}
		}
	}
	held := stuck("Overlap", "version 1 stays valid until version 2 is known to be accepted")
	overlap := func(until time.Time) *Problem {
		return stuck("Overlap", "version 1 stays valid until "+text(until)+" at least")
	}
	since := func(publishedAt time.Time) func(*facts) {
		return both(overlapping, func(f *facts) { f.Target.PublishedAt = publishedAt })
	}
	retire := Step{Action: Retire, Version: 1, Routine: true, Cause: "its overlap has passed"}
	// The API server cuts the time of publication down to the second.
	grain := time.Second
	return []decision{
		{"a published version that the listing lacks is verified (C4)", doubted(nil), Step{Action: Verify, Version: 2}},
		{"a doubt is looked into later if the upstream could not be asked, and nothing is retired meanwhile", doubted(func(f *facts) {
			f.Versions[1].NotBefore, f.Versions[1].Trouble = in(time.Minute), noRoute
		}), Step{Action: Wait, Until: in(time.Minute), Problem: noRoute, Notice: held}},
		{
			"a doubt that nobody can look into keeps the predecessor and says so", doubted(func(f *facts) { f.caps.Verifies = false }),
			Step{Action: Wait, Until: renewalOf2(), Notice: held},
		},
		{"an observer looks into no doubt", doubted(func(f *facts) { f.Operator.ObserveOnly = true }), Step{Action: Wait, Until: renewalOf2(), Notice: held}},
		{"a published version that is refused is asked again while its successor cannot be made", both(overlapping, func(f *facts) {
			f.Versions[1].Refused, f.Versions[1].NotBefore = true, noon
		}), Step{Action: Verify, Version: 2}},
		{
			"the first publication is noted where nothing else proves it", func(f *facts) { f.Versions[0].OncePublished = false },
			Step{Action: NotePublished, Version: 1},
		},
		{
			"what a deleted version has been is not noted any more", func(f *facts) { f.Versions[0].OncePublished, f.Versions[0].Terminating = false, true },
			Step{Action: CreateIntent, Version: 2, Cause: "version 1 was deleted while it is published", Replaces: 1, Needs: FactCredential | FactIssuer | FactGuard},
		},
		{"nothing is noted or retired on the word of a target that somebody wrote to", both(overlapping, func(f *facts) {
			f.Target.Drift, f.Versions[1].OncePublished, f.Versions[1].Replaces = true, false, false
		}), Step{Action: Wait, Until: renewalOf2()}},
		{"a successor's publication is proven by its predecessor's end", both(overlapping, func(f *facts) {
			f.Versions[1].OncePublished, f.Target.PublishedAt = false, noon
		}), Step{Action: Wait, Until: in(2*days + grain), Notice: overlap(in(2*days + grain))}},

		{"a predecessor is retired when its overlap has passed", overlapping, retire},
		{"a predecessor is retired at the end of its overlap", since(ago(2*days + grain)), retire},
		{"a predecessor is not retired a moment earlier", since(ago(2*days + grain - 1)), Step{Action: Wait, Until: in(1), Notice: overlap(in(1))}},
		{
			"an overlap that nobody knows the beginning of has not ended", since(time.Time{}),
			Step{Action: Wait, Until: renewalOf2(), Notice: stuck("Overlap", "version 1 stays valid: when its overlap began is not known until the Secret is written again")},
		},
		{
			"an overlap without end never ends", both(overlapping, func(f *facts) { f.policy.Overlap = f.policy.RotateAfter; f.Target.PublishedAt = ago(20 * days) }),
			Step{Action: Wait, Until: in(10*days + grain), Notice: overlap(in(10*days + grain))},
		},
		{
			"a mark to put a predecessor back holds it as long as a claim (3.3)", both(overlapping, func(f *facts) { f.Versions[0].RepublishAt = ago(ClaimTime - 1) }),
			Step{Action: Wait, Until: in(1), Notice: overlap(in(1))},
		},
		{"a mark that ended does not hold a predecessor", both(overlapping, func(f *facts) { f.Versions[0].RepublishAt = ago(ClaimTime) }), retire},
		{
			"an observer retires nothing", both(overlapping, func(f *facts) { f.Operator.ObserveOnly = true }),
			Step{Action: Wait, Until: renewalOf2(), Notice: observing()},
		},
		{
			"a retirement waits for the account", both(overlapping, func(f *facts) { f.Account.Problem = noRoute }),
			Step{Action: Wait, Until: renewalOf2(), Problem: noRoute, Notice: overlap(ago(days - grain))},
		},
		{
			"nothing is retired while the clock jumps (H19)", both(overlapping, func(f *facts) { f.Operator.ClockSteady = false }),
			Step{Action: Wait, Until: in(30 * time.Second), Problem: clockSkew(), Notice: overlap(ago(days - grain))},
		},
		{
			"nothing is retired before the first look at the issuer (3.11)", both(overlapping, func(f *facts) { f.Account.VerdictDone = false }),
			Step{Action: Wait, Until: renewalOf2(), Notice: waitingForVerdict()},
		},
		{
			"a retirement waits for its window (H15)", both(overlapping, func(f *facts) { f.policy.Windows = window(t, "0 2 * * SAT", "4h") }),
			Step{Action: Wait, Until: time.Date(2026, 3, 7, 2, 0, 0, 0, time.UTC), Notice: stuck("WaitingForWindow",
				"version 1 is revoked in the window that opens at 2026-03-07T02:00:00Z")},
		},
		{
			"an overlap that ends between windows is told to last until the next one", both(since(noon), func(f *facts) { f.policy.Windows = window(t, "0 2 * * SAT", "4h") }),
			Step{Action: Wait, Until: in(2*days + grain), Notice: stuck("Overlap", "version 1 stays valid until 2026-03-07T02:00:00Z at least")},
		},
		{
			"where no window ever opens, until it ends", both(since(noon), func(f *facts) { f.policy.Windows = interval.Windows{{}} }),
			Step{Action: Wait, Until: in(2*days + grain), Notice: overlap(in(2*days + grain))},
		},
		{"a retirement happens in its window", both(overlapping, func(f *facts) { f.policy.Windows = window(t, "0 2 * * WED", "11h") }), retire},
		{"a renewal that waits does not keep a predecessor from being retired", both(overlapping, func(f *facts) {
			f.Versions[1].IntentAt, f.Account.SlotFree = ago(40*days), false
		}), retire},
		{"a version under way does not keep a predecessor from being retired", both(overlapping, func(f *facts) {
			v := made(3)
			v.Answered, v.Refused, v.Refusal, v.RefusedSince, v.NotBefore = true, true, "unknown client", noon, in(time.Second)
			f.Versions = append(f.Versions, v)
		}), retire},
		{"of two predecessors one waits and one is retired", both(overlapping, func(f *facts) {
			f.Versions = append([]Version{served(0, 20*days)}, f.Versions...)
			f.Versions[0].RepublishAt = noon
		}), retire},
		{
			"a changed template is rendered", func(f *facts) { f.Target.Stale = true },
			Step{Action: Publish, Version: 1, Needs: FactTarget | FactCredential, Cause: "the template changed"},
		},
	}
}
