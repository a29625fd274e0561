package rotation

import (
	"testing"
	"time"

	"github.com/claviger-dev/claviger/internal/interval"
)

func TestAnswersThatWereLostOrAreNotWrittenYet(t *testing.T) { decide(t, answerDecisions()) }

// Classes by what a lost answer costs there.
func readable(f *facts)  { f.caps.RepeatHarmless = false }
func shownOnce(f *facts) { f.caps.RepeatHarmless, f.caps.Repeatable = false, false }
func grantOnly(f *facts) {
	f.caps.RepeatHarmless, f.caps.Repeatable, f.caps.Addressable = false, false, false
}

// unanswered is a renewal whose call was sent by a process that is gone, and can be under way
// no more.
func unanswered(v *Version) { v.Unsure, v.ClaimMine, v.ClaimUntil = true, false, ago(time.Minute) }

// retiring is a renewal that was deleted before it was ever accepted.
func retiring(change func(*Version)) func(*facts) {
	return func(f *facts) {
		v := made(2)
		v.Terminating, v.Failed, v.FailedAt, v.Failures = true, true, ago(time.Minute), 1
		change(&v)
		f.Versions = append(f.Versions, v)
	}
}

func answerDecisions() []decision {
	noRoute := stuck("UpstreamUnreachable", "no route to host")
	const lostCause = "the upstream's answer was lost; what it may have made is looked for and revoked"
	const blindCause = "the upstream's answer was lost, and what it may have made cannot be found"
	expires := func(at time.Duration) func(*facts) {
		return func(f *facts) { f.Versions[0].ExpiresAt, f.policy.RotateAfter = in(at), interval.Unlimited() }
	}
	return []decision{
		{
			"an answer that only this process knows is written before anything else (H5)", both(
				renewing(func(v *Version) { v.Unwritten = true }), func(f *facts) { f.Credential.Suspended = true }),
			Step{Action: WriteAnswer, Version: 2},
		},
		{
			"an answer to a claim that another process has taken over is disowned (C2)",
			renewing(func(v *Version) { v.Unwritten, v.ClaimMine = true, false }),
			Step{Action: Disown, Version: 2},
		},
		{
			"what cannot be disowned at the moment is tried again later", both(renewing(func(v *Version) {
				v.Unwritten, v.ClaimMine, v.NotBefore, v.Trouble = true, false, in(time.Second), noRoute
			}), func(f *facts) { f.Credential.Suspended = true }),
			Step{
				Action: Wait, Until: in(time.Second), Problem: noRoute,
			},
		},
		{
			"where a repeat makes a second object the claim is taken over after it settled (C2)", both(readable, renewing(unanswered)),
			Step{Action: Claim, Version: 2},
		},
		{
			"under the new claim it is called again", both(readable, renewing(func(v *Version) { v.Unsure = true })),
			Step{Action: Issue, Version: 2},
		},
		{
			"a call whose answer was lost is not repeated under the same claim", both(readable, renewing(func(v *Version) { v.Unsure, v.Lost = true, true })),
			Step{
				Action: Wait, Until: in(ClaimTime + time.Minute),
				Problem: stuck("WaitingForClaim", "whether version 2 was made is decided when no call for it can be under way any more"),
				Notice:  stuck("Issuing", "version 2 is being made upstream"),
			},
		},
		{
			"what the upstream has begun is taken over at once", both(shownOnce, renewing(func(v *Version) { v.Unsure, v.Begun, v.ClaimMine = true, true, false })),
			Step{Action: Claim, Version: 2},
		},
		{
			"an intent that was never called is taken up at once", both(shownOnce, renewing(func(v *Version) { v.ClaimUntil = ago(time.Second) })),
			Step{Action: Claim, Version: 2},
		},
		{
			"a secret that was shown once and is lost is given up", both(shownOnce, renewing(unanswered)),
			Step{Action: Fail, Version: 2, Cause: lostCause, Needs: FactTarget},
		},
		{
			"a grant that is lost is given up", both(grantOnly, renewing(unanswered)),
			Step{Action: Fail, Version: 2, Cause: blindCause, Needs: FactTarget},
		},
		{
			"a grant that is lost and cannot be found is written down and let go (H17)", both(grantOnly, retiring(unanswered)),
			Step{Action: Suspect, Version: 2, Cause: "its answer was lost, and this upstream cannot be searched"},
		},
		{
			"a grant is not let go while a call for it may be under way", both(grantOnly, retiring(func(v *Version) { v.Unsure, v.ClaimUntil = true, ago(time.Second) })),
			Step{
				Action: Wait, Until: ago(time.Second).Add(time.Minute),
				Problem: stuck("WaitingForClaim", "version 2 is let go when no call for it can be under way any more"),
				Notice:  stuck("Retiring", "version 2 is being revoked"),
			},
		},
		{
			"after a call without an answer a later answer is no reason to revoke at once: that call may still arrive (C4)",
			retiring(func(v *Version) { v.Answered, v.FirstClaim, v.Lost, v.ClaimUntil = true, true, true, noon }),
			Step{
				Action: Wait, Until: in(time.Minute), Notice: stuck("Retiring", "version 2 is being revoked"),
				Problem: stuck("WaitingForClaim", "version 2 is revoked when no earlier call for it can be under way any more"),
			},
		},
		{
			"what was answered with the published credential is not another version of it (C7)", func(f *facts) {
				v := made(2)
				v.Answered, v.Ineffective, v.Identity, v.ClaimUntil = true, true, "one", noon
				f.Versions = append(f.Versions, v)
				f.Versions[0].Identity, f.Versions[0].Terminating = "one", true
			},
			Step{Action: Fail, Version: 2, Needs: FactTarget, Cause: "the upstream answered with the credential that is published already: that is no rotation"},
		},
		{
			"a grant that was answered is revoked", both(grantOnly, retiring(func(v *Version) { v.Answered, v.FirstClaim = true, true })),
			Step{Action: Revoke, Version: 2, Needs: FactGuard | FactTarget},
		},
		{
			"three lost grants in a row are enough until somebody asks (H3)", both(grantOnly, retiring(func(v *Version) {
				v.Failures, v.FailedAt, v.Revoked, v.RevokedNoted = 3, ago(24*time.Hour), true, true
			}), func(f *facts) { f.policy.RotateAfter = interval.FromDuration(days) }),
			Step{
				Action:  Wait,
				Problem: stalled("TooManyAttempts", "3 versions in a row were given up, and this upstream cannot be searched for what they left: request a rotation when the cause is gone"),
			},
		},
		{
			"an answer with the published credential is no rotation (C7)", renewing(func(v *Version) { v.Answered, v.Ineffective, v.ClaimUntil = true, true, noon }),
			Step{
				Action: Fail, Version: 2, Needs: FactTarget,
				Cause: "the upstream answered with the credential that is published already: that is no rotation",
			},
		},
		{
			"what is the published version's object as well is noted and never revoked (C7)", both(
				func(f *facts) { f.Versions[0].Identity = "same" }, retiring(func(v *Version) { v.Answered, v.Identity = true, "same" })),
			Step{Action: NoteRevoked, Version: 2},
		},
		{
			"what the published version is as well is not revoked, though that one was deleted by hand (C7)", both(
				func(f *facts) { f.Versions[0].Identity, f.Versions[0].Terminating = "same", true }, retiring(func(v *Version) { v.Answered, v.Identity = true, "same" })),
			Step{Action: NoteRevoked, Version: 2},
		},
		{
			"nor what one is that is under way (C7)", both(retiring(func(v *Version) { v.Answered, v.Identity = true, "same" }), func(f *facts) {
				v := made(3)
				v.Identity = "same"
				f.Versions = append(f.Versions, v)
			}),
			Step{Action: NoteRevoked, Version: 2},
		},
		{
			"what two versions are that are both given up is revoked", both(retiring(func(v *Version) { v.Answered, v.Identity = true, "same" }), func(f *facts) {
				f.Versions[1].ClaimUntil = noon
				v := f.Versions[1]
				v.Number = 3
				f.Versions = append(f.Versions, v)
			}),
			Step{Action: Revoke, Version: 2, Needs: FactGuard | FactTarget},
		},
		{
			"a version that the upstream will end is renewed when a third of its life is left", expires(4 * days),
			Step{
				Action: CreateIntent, Version: 2, Replaces: 1, Cause: "version 1 expires at " + text(in(4*days)),
				Needs: FactCredential | FactIssuer | FactGuard,
			},
		},
		{"it is not renewed before", expires(6 * days), Step{Action: Wait, Until: in(6*days - 16*days/3)}},
		{
			"a policy says how long before the end", both(expires(4*days), func(f *facts) { f.policy.RenewBefore = interval.FromDuration(3 * days) }),
			Step{Action: Wait, Until: in(days)},
		},
		{
			"an end that is nearer than the policy reckons with does not renew without a pause", both(expires(4*days), func(f *facts) {
				f.Versions[0].IntentAt = ago(time.Hour)
				f.policy.RenewBefore = interval.FromDuration(30 * days)
			}),
			Step{Action: Wait, Until: in(4*days - (4*days+time.Hour)/2)},
		},
		{"a window that opens early enough is waited for", both(expires(4*days), within("0 2 * * THU")), Step{
			Action: Wait, Until: at("2026-03-05T02:00:00Z"),
			Notice: stuck("WaitingForWindow", "a renewal is due and waits for the window that opens at 2026-03-05T02:00:00Z"),
		}},
		{
			"one that opens too late is not", both(expires(4*days), within("0 2 * * SAT")),
			Step{
				Action: CreateIntent, Version: 2, Replaces: 1, Cause: "version 1 expires at " + text(in(4*days)),
				Needs: FactCredential | FactIssuer | FactGuard,
			},
		},
		{"which is said early", both(expires(6*days), within("0 2 * * MON")), Step{
			Action: Wait, Until: in(6*days - 16*days/3), Problem: stuck("WindowTooLate", "version 1 expires at "+text(in(6*days))+
				" and no window opens early enough: it is renewed at "+text(in(6*days-16*days/3))+", outside of the windows. Add a window or lengthen renewBefore"),
		}},
		{"and not where one opens early enough", both(expires(6*days), within("0 2 * * SAT")), Step{Action: Wait, Until: in(6*days - 16*days/3)}},
		{"windows are kept until the end if the policy says so", both(expires(4*days), within("0 2 * * SAT"), keeping), Step{
			Action: Wait, Until: at("2026-03-07T02:00:00Z"),
			Notice: stuck("WaitingForWindow", "a renewal is due and waits for the window that opens at 2026-03-07T02:00:00Z"),
		}},
		{"and beyond it, which is said early", both(expires(6*days), within("0 2 * * WED"), keeping), Step{
			Action: Wait, Until: in(6*days - 16*days/3), Problem: stuck("WindowTooLate", "version 1 expires at "+text(in(6*days))+
				" and is renewed at 2026-03-11T02:00:00Z, when the next window opens: workloads fail in between. "+
				"Add a window, lengthen renewBefore, or let expiringOutsideWindows be Renew"),
		}},
	}
}

func at(s string) time.Time {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		panic(err)
	}
	return t
}

func keeping(f *facts) { f.policy.KeepsWindows = true }

// within has a policy with a window of four hours.
func within(schedule string) func(*facts) {
	w, err := interval.ParseWindow(schedule, "4h", "UTC")
	if err != nil {
		panic(err)
	}
	return func(f *facts) { f.policy.Windows = interval.Windows{w} }
}

func TestAbsenceIsBelievedTheSecondTimeAfterAnUnknownOutcome(t *testing.T) {
	caps := working().caps
	for when, c := range map[string]struct {
		version Version
		want    bool
	}{
		"the answer is known, so what is not there was ended (C4)": {Version{}, true},
		"nobody knows, and it is absent for the first time (C4)":   {Version{Unsure: true}, false},
		"nobody knows, and a call may still arrive (C4)":           {Version{Unsure: true, AbsentSince: ago(caps.Settle - 1)}, false},
		"nobody knows, and it was absent for the time to settle":   {Version{Unsure: true, AbsentSince: ago(caps.Settle)}, true},
	} {
		if got := Gone(c.version, caps, noon); got != c.want {
			t.Errorf("%s: gone is %t", when, got)
		}
	}
}
