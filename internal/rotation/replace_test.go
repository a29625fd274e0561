package rotation

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger-dev/claviger/internal/rollout"
)

func TestWhatIsRenewedInPlace(t *testing.T) { decide(t, replaceDecisions()) }

// refreshing is an upstream that makes grants and can renew one in place, under a policy that
// lets it.
func refreshing(f *facts) {
	f.caps.RepeatHarmless, f.caps.Repeatable, f.caps.Addressable, f.caps.InPlace = false, false, false, true
	f.policy.Replace = true
	f.Versions[0].Answered = true
}

// exclusive is an upstream without overlap.
func exclusive(f *facts) { f.caps.Overlap, f.caps.InPlace, f.policy.Replace = false, true, true }

// replacing is working with version 2 under way, which is to take the place of version 1.
func replacing(change func(*Version)) func(*facts) {
	return both(refreshing, renewing(func(v *Version) {
		v.InPlaceOf, v.FirstClaim = 1, true
		if change != nil {
			change(v)
		}
	}))
}

// replacedBy2 is replacing with the answer that version 1 has ended.
func replacedBy2(change func(*Version)) func(*facts) {
	return both(replacing(func(v *Version) {
		v.Answered, v.ReplacedAt = true, noon
		if change != nil {
			change(v)
		}
	}), func(f *facts) { f.Versions[0].EndedAt, f.Versions[0].EndedBy = noon, 2 })
}

// givenUp2 gives version 2 up, a second ago.
func givenUp2(f *facts) {
	v := &f.Versions[1]
	v.Failed, v.Terminating, v.Revoked, v.RevokedNoted, v.FailedAt, v.Failures = true, true, true, true, ago(time.Second), 1
}

// published2 publishes version 2, a moment ago.
func published2(f *facts) {
	f.Versions[1].Accepted = true
	f.Target.Published, f.Target.PublishedAt, f.Target.Hasty = 2, noon, true
}

func replaceDecisions() []decision {
	asked := func(f *facts) { f.Credential.RotateRequestedAt = noon }
	begin := func(inPlace bool) Step {
		return Step{
			Action: CreateIntent, Version: 2, Replaces: 1, InPlace: inPlace, Cause: "requested", Answers: noon, Needs: FactCredential | FactIssuer | FactGuard,
		}
	}
	refused := Step{Action: Wait, Problem: stalled("ReplaceNotAllowed", "this upstream ends version 1 with the making of the next one, so that workloads "+
		"fail until they have it: a policy with strategy: Replace must apply that says so")}
	issue := func(replaces int64) Step {
		return Step{Action: Issue, Version: 2, Replaces: replaces, Needs: FactCredential | FactTarget}
	}
	unknown := "version 2 was to replace version 1 in place and may have ended it: no answer tells"
	dead := "version 2 has ended version 1, and was given up"
	another := func(cause string) Step {
		return Step{Action: CreateIntent, Version: 3, Replaces: 1, Cause: cause, Failures: 1, Needs: FactCredential | FactIssuer | FactGuard}
	}
	said := stuck("Replaced", "version 2 replaced the one before it in place at "+text(noon)+": what workloads hold is refused until they have version 2")
	notKnown := stuck("ReplacementUnknown", unknown+". The Secret holds version 1 until there is another one")
	lost := func(v *Version) { v.Unsure, v.Lost = true, true }
	fail := Step{Action: Fail, Version: 2, Needs: FactTarget, Cause: "the upstream's answer was lost, and with it whether version 1 still works"}
	restarts := func(f *facts) {
		f.Credential.Rolls, f.Versions[0].Wave = true, "2.abc"
		f.policy.Rollout, f.policy.Uptake.Margin = Rollout{Pause: time.Hour, Timeout: time.Hour}, time.Minute
		f.Target.PublishedAt = ago(time.Second)
		f.Workloads = Workloads{Known: true, Again: in(time.Second), All: []rollout.Workload{
			{Kind: "Deployment", Name: "api", Wanted: 1, Marked: true, NotedAt: noon, Watched: true},
			{Kind: "Deployment", Name: "batch", Wanted: 1, Together: in(time.Minute)},
		}}
	}
	gone1 := func(f *facts) { f.Versions, f.Versions[1].OncePublished = f.Versions[1:], true }
	ended1 := func(f *facts) { f.Versions[0].Terminating = true }
	given := func(f *facts) {
		f.Versions = append(f.Versions, served(3, time.Hour))
		f.Target.Published, f.Target.PublishedAt = 3, ago(time.Hour)
	}
	return []decision{
		{"a successor takes the place of what is published where the policy says so", both(refreshing, asked), begin(true)},
		{"not where it does not", both(refreshing, asked, func(f *facts) { f.policy.Replace = false }), begin(false)},
		{"nor where the upstream cannot", both(refreshing, asked, func(f *facts) { f.caps.InPlace = false }), begin(false)},
		{"nor where versions have Secrets of their own, which somebody names", both(refreshing, asked, func(f *facts) {
			f.Credential.Versioned, f.Versions[0].Copied = true, true
		}), begin(false)},
		{"the first version takes the place of none", both(refreshing, func(f *facts) { f.Versions, f.Target = nil, Target{} }), Step{
			Action: CreateIntent, Version: 1, Cause: "first issue", Needs: FactCredential | FactIssuer | FactGuard | FactTarget,
		}},
		{"what may be in foreign hands is not used to renew", both(refreshing, func(f *facts) { f.Credential.CompromisedAt = noon }), Step{
			Action: CreateIntent, Version: 2, Replaces: 1, Cause: "version 1 was declared compromised", Answers: noon, Needs: FactCredential | FactIssuer | FactGuard,
		}},
		{"nor is what the upstream refuses", both(refreshing, func(f *facts) {
			f.Versions[0].Refused, f.Versions[0].Refusal, f.Versions[0].NotBefore = true, "unknown token", in(time.Second)
		}), Step{
			Action: CreateIntent, Version: 2, Replaces: 1, Cause: "version 1 is refused by the upstream: unknown token", Needs: FactCredential | FactIssuer | FactGuard,
		}},
		{"nor what somebody has deleted", both(refreshing, ended1), Step{
			Action: CreateIntent, Version: 2, Replaces: 1, Cause: "version 1 was deleted while it is published", Needs: FactCredential | FactIssuer | FactGuard,
		}},
		{"what nothing names to the upstream, and was never sent, is not named to it", both(refreshing, renewing(func(v *Version) {
			v.Terminating, v.FirstClaim = true, true
		})), Step{Action: NoteRevoked, Version: 2}},
		{"whoever takes a claim over does not know what was sent before", both(refreshing, renewing(func(v *Version) {
			v.Terminating, v.ClaimMine, v.FirstClaim, v.ClaimUntil = true, true, false, ago(time.Hour)
		})), Step{Action: Revoke, Version: 2, Needs: FactGuard | FactTarget}},
		{"nor does anybody who sees the first claim of another process", both(refreshing, renewing(func(v *Version) {
			v.Terminating, v.ClaimMine, v.FirstClaim, v.ClaimUntil = true, false, true, ago(time.Hour)
		})), Step{Action: Revoke, Version: 2, Needs: FactGuard | FactTarget}},
		{"what the upstream has begun is named to it", both(refreshing, renewing(func(v *Version) {
			v.Terminating, v.ClaimMine, v.FirstClaim, v.Begun, v.ClaimUntil = true, true, true, true, ago(time.Hour)
		})), Step{Action: Revoke, Version: 2, Needs: FactGuard | FactTarget}},
		{"of an account that cannot be called nobody knows what it can, so nothing is let go", both(refreshing, renewing(func(v *Version) {
			v.Terminating, v.FirstClaim = true, true
		}), func(f *facts) { f.Account.Problem = stuck("UpstreamUnreachable", "no route") }), Step{
			Action: Wait, Until: renewal(), Problem: stuck("UpstreamUnreachable", "version 2 waits to be revoked: no route"), Notice: stuck("Retiring", "version 2 is being revoked"),
		}},
		{"what has served is named to the upstream", both(refreshing, overlapping, func(f *facts) {
			f.Versions[0].Terminating, f.Versions[0].Answered, f.Versions[0].ClaimMine, f.Versions[0].FirstClaim = true, false, true, true
		}), Step{Action: Revoke, Version: 1, Needs: FactGuard | FactTarget}},
		{"an attempt that was given up makes the next one an object of its own", both(refreshing, asked, renewing(func(v *Version) {
			v.IntentAt = ago(time.Hour)
		}), givenUp2, func(f *facts) { f.Versions[1].FailedAt = ago(time.Hour) }), Step{
			Action: CreateIntent, Version: 3, Replaces: 1, Cause: "requested", Answers: noon, Failures: 1, Needs: FactCredential | FactIssuer | FactGuard,
		}},

		{"an upstream without overlap is refused where the policy does not say so", both(exclusive, asked, func(f *facts) { f.policy.Replace = false }), refused},
		{"a first issue is not", both(exclusive, func(f *facts) { f.Versions, f.Target, f.policy.Replace = nil, Target{}, false }), Step{
			Action: CreateIntent, Version: 1, Cause: "first issue", Needs: FactCredential | FactIssuer | FactGuard | FactTarget,
		}},
		{"nor one after what is refused already", both(exclusive, func(f *facts) {
			f.Versions[0].Refused, f.Versions[0].Refusal, f.Versions[0].NotBefore, f.policy.Replace = true, "unknown token", in(time.Second), false
		}), Step{
			Action: CreateIntent, Version: 2, Replaces: 1, Cause: "version 1 is refused by the upstream: unknown token", Needs: FactCredential | FactIssuer | FactGuard,
		}},
		{"where it says so the successor takes the place, and there is no other way", both(exclusive, func(f *facts) { f.Credential.CompromisedAt = noon }), Step{
			Action: CreateIntent, Version: 2, Replaces: 1, InPlace: true, Cause: "version 1 was declared compromised", Answers: noon, Needs: FactCredential | FactIssuer | FactGuard,
		}},

		{"the upstream is told what to end", replacing(nil), issue(1)},
		{"not if the policy has changed since", both(replacing(nil), func(f *facts) { f.policy.Replace = false }), issue(0)},
		{"nor if it was refused since", both(replacing(nil), func(f *facts) { f.Versions[0].Refused = true }), issue(0)},
		{"nor if it was deleted since", both(replacing(nil), ended1), issue(0)},
		{"nor if it was declared compromised, and the version answers that", both(replacing(func(v *Version) { v.Answers = noon }), func(f *facts) {
			f.Credential.CompromisedAt = noon
		}), issue(0)},
		{"nor if it is not what the Secret holds", replacing(func(v *Version) { v.InPlaceOf = 7 }), issue(0)},
		{"nor if the Secret is gone", both(replacing(nil), func(f *facts) {
			f.Target, f.Versions[0].MarkedNow, f.Versions[0].RepublishAt, f.Versions[1].Accepted = Target{}, true, noon, true
		}), issue(0)},
		{"without overlap the upstream is always told", both(replacing(nil), exclusive, func(f *facts) { f.policy.Replace = false }), issue(1)},
		{"an object of its own needs no look", both(refreshing, renewing(nil)), Step{Action: Issue, Version: 2}},

		{"while nothing was sent nothing is said", both(replacing(func(v *Version) { v.NotBefore = in(time.Minute) })), Step{
			Action: Wait, Until: in(time.Minute), Notice: stuck("Issuing", "version 2 is being made upstream"),
		}},
		{"another process may have sent it", both(replacing(func(v *Version) { v.NotBefore, v.FirstClaim = in(time.Minute), false })), Step{
			Action: Wait, Until: in(time.Minute), Notice: notKnown,
		}},
		{"so may the one that holds the claim", both(replacing(func(v *Version) { v.NotBefore, v.ClaimMine = in(time.Minute), false })), Step{
			Action: Wait, Until: in(time.Minute), Notice: notKnown,
		}},
		{"a version whose answer was lost is given up at once", replacing(lost), fail},
		{"not while another process holds the claim", replacing(func(v *Version) { lost(v); v.ClaimMine = false }), Step{
			Action: Wait, Until: in(ClaimTime), Notice: notKnown,
		}},
		{"nor by who does not know what became of the call", replacing(func(v *Version) { v.Unsure = true; v.ClaimUntil = in(time.Second) }), Step{
			Action: Wait, Until: in(time.Second), Notice: notKnown,
		}},
		{"when the claim has run out nothing more is waited for", replacing(func(v *Version) { v.Unsure, v.ClaimMine, v.ClaimUntil = true, false, noon }), fail},
		{"without overlap it is, because a late call would end the next one", both(replacing(lost), func(f *facts) { f.caps.Overlap = false }), Step{
			Action: Wait, Until: in(ClaimTime + time.Minute), Notice: notKnown,
			Problem: stuck("WaitingForClaim", "whether version 2 was made is decided when no call for it can be under way any more"),
		}},
		{"what can be asked for again is", both(replacing(func(v *Version) { lost(v); v.ClaimUntil = ago(time.Minute) }), func(f *facts) { f.caps.Repeatable = true }), Step{
			Action: Claim, Version: 2,
		}},
		{"an object of its own whose answer was lost is not given up before its time", both(refreshing, renewing(lost)), Step{
			Action: Wait, Until: in(ClaimTime + time.Minute), Notice: stuck("Issuing", "version 2 is being made upstream"),
			Problem: stuck("WaitingForClaim", "whether version 2 was made is decided when no call for it can be under way any more"),
		}},
		{"then another one is made at once, which depends on nothing", both(replacing(lost), givenUp2), another(unknown)},
		{"also where nobody knows any more that nothing was sent", both(replacing(nil), givenUp2), another(unknown)},
		{"so it is after one that was refused", both(replacedBy2(nil), givenUp2), another(dead)},
		{"and where the successor was deleted by hand", both(replacedBy2(nil), func(f *facts) {
			f.Versions[1].Terminating, f.Versions[1].Revoked, f.Versions[1].RevokedNoted = true, true, true
		}), Step{Action: CreateIntent, Version: 3, Replaces: 1, Cause: dead, Needs: FactCredential | FactIssuer | FactGuard}},
		{"the next attempt after that backs off", both(replacedBy2(nil), givenUp2, func(f *facts) {
			v := made(3)
			v.Failed, v.Terminating, v.Revoked, v.RevokedNoted, v.FailedAt, v.Failures = true, true, true, true, noon, 2
			f.Versions = append(f.Versions, v)
		}), Step{
			Action: Wait, Until: in(2 * time.Minute), Notice: said,
			Problem: stuck("BackingOff", "version 3 was given up; the next one is made at "+text(in(2*time.Minute))+", after failure 2 in a row"),
		}},
		{"who gave another place up has to wait", both(replacing(nil), givenUp2, asked, func(f *facts) {
			f.Versions[1].InPlaceOf, f.Versions[1].IntentAt = 0, ago(time.Hour)
		}), Step{
			Action: Wait, Until: in(59 * time.Second),
			Problem: stuck("BackingOff", "version 2 was given up; the next one is made at "+text(in(59*time.Second))+", after failure 1 in a row"),
		}},

		{"while the Secret holds what has ended it is said", replacedBy2(func(v *Version) { v.NotBefore = in(time.Second) }), Step{Action: Wait, Until: in(time.Second), Notice: said}},
		{"also where the credential is suspended", both(replacedBy2(nil), func(f *facts) { f.Credential.Suspended = true }), Step{
			Action: Wait, Notice: said, Problem: stuck("Suspended", "spec.suspend is true: nothing is written here or upstream until it is false"),
		}},
		{"what has ended is not put back", both(replacedBy2(func(v *Version) { v.NotBefore = in(time.Second) }), func(f *facts) { f.Target = Target{} }), Step{
			Action: Wait, Until: in(time.Second), Notice: stuck("Verifying", "version 2 is not accepted yet"),
		}},
		{"nor is it shown beside the published version", both(replacedBy2(nil), published2, func(f *facts) {
			f.Credential.ShowsPrevious, f.Target.Previous, f.Operator.ObserveOnly = true, 1, true
		}), Step{Action: ShowPrevious, Needs: FactTarget}},
		{"what may have ended is not, either", both(replacing(lost), givenUp2, given, func(f *facts) {
			f.Credential.ShowsPrevious, f.Target.Previous = true, 1
		}), Step{Action: ShowPrevious, Needs: FactTarget}},
		{"an older one that lives is shown, though what came between has ended", both(replacedBy2(nil), published2, ended1, func(f *facts) {
			f.Versions = append([]Version{served(0, 20*days)}, f.Versions...)
			f.Credential.ShowsPrevious, f.Target.Previous, f.Versions[1].Copied, f.Versions[1].CopyHeld = true, -1, true, true
		}), Step{Action: ShowPrevious, Version: 0, Needs: FactTarget}},
		{"nobody is rolled back to what has ended", both(replacedBy2(nil), published2, ended1, func(f *facts) {
			f.Credential.RollbackRequestedAt, f.Versions[0].Held = in(time.Second), false
		}), Step{
			Action: Wait, Until: renewal().Add(10 * days), Problem: stuck("RollbackImpossible", "no earlier version is left that lives: version 2 stays"),
		}},
		{"nor to what may have", both(replacing(lost), givenUp2, given, func(f *facts) { f.Credential.RollbackRequestedAt = in(time.Second) }), Step{
			Action: Wait, Until: ago(time.Hour).Add(time.Second).Add(2 * days), Problem: stuck("RollbackImpossible", "no earlier version is left that lives: version 3 stays"),
			Notice: stuck("Overlap", "version 1 stays valid until "+text(ago(time.Hour).Add(time.Second).Add(2*days))+" at least"),
		}},

		{"what has ended is let go as soon as its successor is published", both(replacedBy2(nil), published2), Step{
			Action: Retire, Version: 1, Cause: "version 2 has taken its place upstream",
		}},
		{"not by who only observes", both(replacedBy2(nil), published2, func(f *facts) { f.Operator.ObserveOnly = true }), Step{Action: Wait, Until: renewal().Add(10 * days)}},
		{"nor while somebody else writes the Secret", both(replacedBy2(nil), published2, func(f *facts) { f.Target.Drift = true }), Step{Action: Wait, Until: renewal().Add(10 * days)}},
		{"nor while the Secret is gone", both(replacedBy2(func(v *Version) { v.NotBefore = in(time.Second) }), func(f *facts) { f.Target = Target{} }), Step{
			Action: Wait, Until: in(time.Second), Notice: stuck("Verifying", "version 2 is not accepted yet"),
		}},
		{"it is never named to the upstream again", both(replacedBy2(nil), published2, ended1), Step{Action: Release, Version: 1}},
		{"it stays while the one that follows it is under way", both(replacedBy2(func(v *Version) { v.NotBefore = in(time.Second) }), ended1), Step{
			Action: NoteRevoked, Version: 1,
		}},
		{"whoever has ended it says so until it is forgotten", both(replacedBy2(nil), givenUp2, given, func(f *facts) {
			f.Versions[0].Terminating, f.Versions[0].Copied, f.Versions[0].CopyHeld = true, true, true
		}), Step{Action: Wait, Until: in(targetRetry), Notice: stuck("Retiring", "version 1 is being revoked: its own Secret was deleted and a finalizer of somebody else still holds it")}},
		{"then it goes as well", both(replacedBy2(nil), givenUp2, given, func(f *facts) {
			f.Versions = f.Versions[1:]
			f.Versions[0].InPlaceOf = 0
		}), Step{Action: Release, Version: 2}},
		{"what may have ended keeps its overlap", both(replacing(lost), givenUp2, given), Step{
			Action: Wait, Until: ago(time.Hour).Add(time.Second).Add(2 * days),
			Notice: stuck("Overlap", "version 1 stays valid until "+text(ago(time.Hour).Add(time.Second).Add(2*days))+" at least"),
		}},

		{"all workloads are restarted at once, without margin, pause and window", both(replacedBy2(nil), published2, gone1, restarts, func(f *facts) {
			f.policy.Windows, f.Workloads.Free = never(), false
		}), Step{Action: Restart, Version: 2, Workload: "Deployment/batch", Needs: FactCredential | FactTarget}},
		{"until they are it is said", both(replacedBy2(nil), published2, gone1, restarts, func(f *facts) {
			f.Workloads.All = f.Workloads.All[:1]
		}), Step{Action: Wait, Until: in(time.Second), Notice: said}},
		{"when they are nothing more is", both(replacedBy2(nil), published2, gone1, restarts, func(f *facts) { f.Versions[0].RolledOut = true }), Step{
			Action: Wait, Until: renewal().Add(10 * days),
		}},
		{"a version that has ended nothing is rolled out in the usual way", both(replacing(func(v *Version) { v.Answered = true }), published2, gone1, restarts, func(f *facts) {
			f.Target.Hasty = false
		}), Step{Action: Wait, Until: in(time.Minute), Notice: stuck("RollingOut", "version 2 is being rolled out: the workloads are restarted from "+text(in(time.Minute))+" on")}},
	}
}

func TestWhatWasReplacedIsAnEmergencyWhileTheSecretHoldsIt(t *testing.T) {
	for when, c := range map[string]struct {
		given func(*facts)
		want  Urgency
	}{
		"its successor is being verified": {replacedBy2(nil), Emergency},
		"its successor was given up":      {both(replacing(nil), givenUp2), Emergency},
		"its successor was not called":    {replacing(nil), ByRoutine},
		"its successor is published":      {both(replacedBy2(nil), published2), ByRoutine},
	} {
		f := working()
		c.given(f)
		if got := UrgencyOf(f.Observed, noon); got != c.want {
			t.Errorf("%s: %d, want %d", when, got, c.want)
		}
	}
}

func TestAHastyWaveHasNeitherMarginNorPause(t *testing.T) {
	p := Policy{Uptake: Uptake{Margin: time.Minute}, Rollout: Rollout{Pause: time.Hour, Timeout: 2 * time.Hour}}
	for hasty, want := range map[bool]rollout.Wave{
		true:  {Begins: in(time.Second), Timeout: 2 * time.Hour, AtOnce: true},
		false: {Begins: in(61 * time.Second), Pause: time.Hour, Timeout: 2 * time.Hour},
	} {
		if diff := cmp.Diff(want, Wave(Target{PublishedAt: noon, Hasty: hasty}, p)); diff != "" {
			t.Errorf("hasty %v (-want +got):\n%s", hasty, diff)
		}
	}
}
