package rotation

import (
	"testing"
	"time"

	"github.com/claviger-dev/claviger/internal/interval"
)

func TestWhatPeopleAskForByAnnotation(t *testing.T) { decide(t, requestDecisions()) }

func TestARequestByAClockThatIsAheadIsAnsweredOnce(t *testing.T) {
	asked := Step{Action: RollBack, Version: 2, Answers: in(time.Minute)}
	for name, tc := range map[string]struct{ now, want time.Time }{
		"from before the question": {noon, in(time.Minute)},
		"at its very moment":       {in(time.Minute), in(time.Minute)},
		"after it":                 {in(time.Hour), in(time.Hour)},
	} {
		if got := GivenUpAt(asked, tc.now); !got.Equal(tc.want) {
			t.Errorf("an answer %s counts from %s, want %s", name, got, tc.want)
		}
	}
}

func requestDecisions() []decision {
	condemned := func(ago_ time.Duration) func(*facts) {
		return func(f *facts) { f.Credential.CompromisedAt = ago(ago_) }
	}
	asked := func(f *facts) { f.Credential.RollbackRequestedAt = ago(time.Minute) }
	// bothLive is working with version 2 published an hour ago and version 1 in its overlap.
	bothLive := func(f *facts) {
		v := served(2, time.Hour)
		v.Replaces = true
		f.Versions = append(f.Versions, v)
		f.Target.Published, f.Target.PublishedAt = 2, ago(time.Hour)
	}
	// given up is bothLive after version 2 was given up for version 1.
	givenUp := both(bothLive, asked, func(f *facts) { f.Versions[1].Failed, f.Versions[1].FailedAt = true, ago(time.Second) })
	restored := both(givenUp, func(f *facts) {
		f.Target.Published, f.Target.PublishedAt = 1, ago(time.Second)
		f.Versions[1].Terminating = true
	})
	overlap := "version 2 stays valid until " + text(ago(time.Second).Add(time.Second).Add(2*days)) + " at least"
	return []decision{
		{
			"what was declared compromised gets a successor at once, without windows, slots and a verdict", both(condemned(time.Minute), func(f *facts) {
				f.Account.VerdictDone, f.Account.SlotFree = false, false
				f.policy.Windows = never()
			}),
			Step{
				Action: CreateIntent, Version: 2, Replaces: 1, Cause: "version 1 was declared compromised", Answers: ago(time.Minute),
				Needs: FactCredential | FactIssuer | FactGuard,
			},
		},
		{
			"it needs no policy", both(condemned(time.Minute), func(f *facts) { f.policy.RotateAfter = interval.Unlimited() }),
			Step{
				Action: CreateIntent, Version: 2, Replaces: 1, Cause: "version 1 was declared compromised", Answers: ago(time.Minute),
				Needs: FactCredential | FactIssuer | FactGuard,
			},
		},
		{
			"what was made since is not compromised (C5)", both(condemned(11*days), func(f *facts) { f.policy.RotateAfter = interval.Unlimited() }),
			Step{Action: Wait},
		},
		{
			"a declaration in the future is ignored until then", func(f *facts) {
				f.Credential.CompromisedAt, f.policy.RotateAfter = in(time.Hour), interval.Unlimited()
			},
			Step{
				Action: Wait, Until: in(time.Hour - 5*time.Minute),
				Problem: stalled("RequestInFuture", "compromised-at is "+text(in(time.Hour))+", more than five minutes ahead: it is ignored until then"),
			},
		},
		{
			"once the successor is published the compromised version is retired without overlap", both(bothLive, condemned(2*time.Hour)),
			Step{Action: Retire, Version: 1, Cause: "declared compromised, and its successor is published"},
		},
		{
			"a compromised predecessor that was deleted is revoked without overlap", both(bothLive, condemned(2*time.Hour), func(f *facts) {
				f.Versions[0].Terminating = true
			}),
			Step{Action: Revoke, Version: 1, Needs: FactGuard | FactTarget},
		},
		{
			"the overlap stays if the published version is compromised as well", both(bothLive, condemned(time.Minute)),
			Step{
				Action: CreateIntent, Version: 3, Replaces: 2, Cause: "version 2 was declared compromised", Answers: ago(time.Minute),
				Needs: FactCredential | FactIssuer | FactGuard,
			},
		},
		{
			"a version under way that is compromised too is given up", both(renewing(func(v *Version) { v.IntentAt, v.ClaimUntil = ago(time.Hour), noon }), condemned(time.Minute)),
			Step{Action: Fail, Version: 2, Cause: "declared compromised before it was published", Needs: FactTarget},
		},
		{
			"an emergency does not wait because an earlier version failed", both(condemned(time.Minute), func(f *facts) {
				v := made(2)
				v.IntentAt, v.Failed, v.FailedAt, v.Failures, v.Terminating, v.Revoked, v.RevokedNoted = ago(time.Hour), true, ago(2*time.Minute), 5, true, true, true
				f.Versions = append(f.Versions, v)
			}),
			Step{
				Action: CreateIntent, Version: 3, Replaces: 1, Cause: "version 1 was declared compromised", Answers: ago(time.Minute), Failures: 5,
				Needs: FactCredential | FactIssuer | FactGuard,
			},
		},
		{
			"it is revoked without a successor only on a word of its own (M17)", both(condemned(time.Minute), func(f *facts) { f.Credential.RevokeAnyway = true }),
			Step{Action: Retire, Version: 1, Cause: "declared compromised, to be revoked even without a successor"},
		},
		{
			"and then upstream, although the Secret holds it", both(condemned(time.Minute), func(f *facts) {
				f.Credential.RevokeAnyway, f.Versions[0].Terminating = true, true
			}),
			Step{Action: Revoke, Version: 1, Needs: FactGuard | FactTarget},
		},

		{
			"a rollback gives the published version up first (H14)", both(bothLive, asked),
			Step{Action: RollBack, Version: 2, Answers: ago(time.Minute), Needs: FactTarget | FactCredential, Cause: "rolled back to version 1 on request"},
		},
		{
			"it does not wait for the claim of the published version", both(bothLive, asked, func(f *facts) { f.Versions[1].ClaimUntil = in(time.Second) }),
			Step{Action: RollBack, Version: 2, Answers: ago(time.Minute), Needs: FactTarget | FactCredential, Cause: "rolled back to version 1 on request"},
		},
		{"then the one before is chosen", givenUp, Step{Action: MarkRepublish, Version: 1, Needs: FactTarget}},
		{
			"and published", both(givenUp, func(f *facts) { f.Versions[0].MarkedNow, f.Versions[0].RepublishAt = true, noon }),
			Step{Action: Publish, Version: 1, Needs: FactTarget | FactCredential, Cause: "rolled back on request"},
		},
		{
			"the bad version keeps an overlap of its own, and renewal by routine waits for it", both(restored, func(f *facts) {
				f.policy.RotateAfter = interval.FromDuration(3 * days)
			}),
			Step{Action: Wait, Until: ago(time.Second).Add(2 * days), Notice: stuck("Overlap", overlap)},
		},
		{
			"a version that was given up before somebody asked is no answer", both(bothLive, asked, func(f *facts) {
				v := served(3, 50*time.Minute)
				v.Failed, v.FailedAt, v.Terminating, v.Revoked, v.RevokedNoted, v.OncePublished = true, ago(40*time.Minute), true, true, true, false
				f.Versions = append(f.Versions, v)
			}),
			Step{Action: RollBack, Version: 2, Answers: ago(time.Minute), Needs: FactTarget | FactCredential, Cause: "rolled back to version 1 on request"},
		},
		{
			"what was declared compromised and deleted is kept without that word while it is published", both(condemned(time.Minute), func(f *facts) {
				f.Versions[0].Terminating, f.Account.Terminating = true, true
			}),
			Step{Action: Wait, Problem: stalled("IssuerNotReady", "the issuer is being deleted and issues nothing new")},
		},
		{
			"a rollback that was answered does not fire again (C5)", both(restored, func(f *facts) {
				f.Target.PublishedAt = ago(3 * days)
				f.Versions[1].FailedAt, f.Credential.RollbackRequestedAt = ago(3*days), ago(3*days+time.Minute)
				f.Versions[1].Revoked, f.Versions[1].RevokedNoted = true, true
			}),
			Step{Action: Wait, Until: renewal(), Notice: stuck("RolledBack", "version 2 was rolled back on request; version 1 is in use")},
		},
		{
			"without an earlier version that lives it is refused", both(asked, func(f *facts) { f.policy.RotateAfter = interval.Unlimited() }),
			Step{Action: Wait, Problem: stuck("RollbackImpossible", "no earlier version is left that lives: version 1 stays")},
		},
		{
			"nothing is rolled back to what was declared compromised", both(bothLive, asked, condemned(90*time.Minute), func(f *facts) { f.Operator.ObserveOnly = true }),
			Step{
				Action: Wait, Until: ago(time.Hour).Add(time.Second + 2*days), Problem: stuck("RollbackImpossible", "version 1 was declared compromised: version 2 stays"),
				Notice: stuck("Overlap", "version 1 stays valid until "+text(ago(time.Hour).Add(time.Second+2*days))+" at least"),
			},
		},
		{
			"in an upstream that takes no more the oldest version makes room for a successor that cannot wait (H11)", both(bothLive, func(f *facts) {
				f.caps.MaxLive, f.Account.Live, f.Versions[1].Terminating = 2, 2, true
			}),
			Step{Action: Retire, Version: 1, BreaksHold: true, Cause: "the upstream takes no more, and a successor cannot wait: version 2 was deleted while it is published"},
		},
		{
			"and is revoked at once", both(bothLive, func(f *facts) {
				f.caps.MaxLive, f.Account.Live, f.Credential.CompromisedAt = 2, 2, ago(time.Minute)
				f.Versions[0].Terminating, f.Versions[0].Answers = true, noon
			}),
			Step{Action: Revoke, Version: 1, Needs: FactGuard | FactTarget},
		},
		{
			"who only asked for a rotation waits for the overlap", both(bothLive, func(f *facts) {
				f.caps.MaxLive, f.Account.Live, f.Credential.RotateRequestedAt = 2, 2, noon
			}),
			Step{
				Action: Wait, Until: in(fullRetry), Problem: stuck("UpstreamFull", "the upstream holds 2 credentials there and takes 2: 1 of them are older versions that are revoked when their overlap has passed"),
				Notice: stuck("Overlap", "version 1 stays valid until "+text(ago(time.Hour).Add(time.Second+2*days))+" at least"),
			},
		},
		{
			"an adopted version comes first where one is named", func(f *facts) {
				f.Versions, f.Target, f.Credential.Adopts = nil, Target{}, true
			},
			Step{Action: CreateIntent, Version: 1, Cause: "adopted", Adopts: true, Needs: FactCredential | FactIssuer | FactGuard | FactTarget},
		},
		{
			"the Secret that is named as the one to adopt is taken over", func(f *facts) {
				v := made(1)
				v.Answered, v.Accepted, v.Adopted = true, true, true
				f.Versions, f.Target, f.Credential.Adopts, f.Credential.AdoptsTarget = []Version{v}, Target{Exists: true}, true, true
			},
			Step{Action: Publish, Version: 1, Needs: FactTarget | FactCredential},
		},
		{
			"another one is not", func(f *facts) {
				f.Versions, f.Target, f.Credential.Adopts = nil, Target{Exists: true}, true
			},
			Step{Action: Wait, Until: in(foreignRetry), Problem: stalled("SecretNotOurs", "the Secret that spec.secret.name names exists and belongs to somebody else: "+
				"delete or rename it, or make a new credential with another secret.name")},
		},
		{
			"what was adopted and never served is let go and not revoked", func(f *facts) {
				v := made(1)
				v.Answered, v.Adopted, v.Terminating, v.Failed = true, true, true, true
				f.Versions, f.Target, f.Credential.Deleting = []Version{v}, Target{}, true
			},
			Step{Action: Release, Version: 1},
		},
		{
			"if the earlier version vanished in the middle a successor is due at once", both(givenUp, func(f *facts) { f.Versions = f.Versions[1:] }),
			Step{
				Action: CreateIntent, Version: 3, Replaces: 2, Cause: "version 2 was rolled back, and no earlier one is left",
				Needs: FactCredential | FactIssuer | FactGuard,
			},
		},
		{
			"whoever asks for a rotation after a rollback gets one at once", both(restored, func(f *facts) {
				f.Credential.RotateRequestedAt = noon
			}),
			Step{
				Action: CreateIntent, Version: 3, Replaces: 1, Cause: "requested", Answers: noon,
				Needs: FactCredential | FactIssuer | FactGuard,
			},
		},
	}
}

// never is a window that is not open at noon.
func never() interval.Windows {
	w, err := interval.ParseWindow("0 2 1 1 *", "1h", "UTC")
	if err != nil {
		return nil
	}
	return interval.Windows{w}
}
