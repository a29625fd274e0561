package rotation

import (
	"testing"
	"time"
)

func TestWhenASuccessorIsMade(t *testing.T) { decide(t, succeedDecisions(t)) }

const intentFacts = FactCredential | FactIssuer | FactGuard

// succeedDecisions are about what is due, and what keeps it from beginning.
func succeedDecisions(t *testing.T) []decision {
	t.Helper()
	noAccount := stalled("LoginFailed", "who are you")
	noPolicy := stalled("PolicyNotFound", "no such policy")
	first := func(f *facts) { f.Target, f.Versions = Target{}, nil }
	aged := func(age time.Duration) func(*facts) { return func(f *facts) { f.Versions[0].IntentAt = ago(age) } }
	old := aged(40 * days)
	lead := renewal().Sub(ago(10 * days)) // 30 days less the jitter
	refused := func(f *facts) {
		f.Versions[0].Refused, f.Versions[0].Refusal, f.Versions[0].NotBefore = true, "unknown client", in(time.Second)
	}
	refusedNow := in(time.Second) // when the refused version is asked again
	renew := Step{Action: CreateIntent, Version: 2, Cause: "older than 30d", Routine: true, Replaces: 1, Needs: intentFacts}
	requested := func(at time.Time) func(*facts) { return func(f *facts) { f.Credential.RotateRequestedAt = at } }
	onRequest := func(at time.Time) Step {
		return Step{Action: CreateIntent, Version: 2, Cause: "requested", Answers: at, Replaces: 1, Needs: intentFacts}
	}
	saturday := func(f *facts) { f.policy.Windows = window(t, "0 2 * * SAT", "4h") }
	failed := func(failures int, since time.Duration) func(*facts) {
		return renewing(func(v *Version) {
			v.Failed, v.FailedAt, v.Failures = true, ago(since), failures
			v.Terminating, v.Revoked, v.RevokedNoted = true, true, true
		})
	}
	full := func(live int) func(*facts) { return func(f *facts) { f.caps.MaxLive, f.Account.Live = 2, live } }
	return []decision{
		{"failures before a version that works are forgotten", both(requested(noon), func(f *facts) { f.Versions[0].Failures = 3 }), onRequest(noon)},
		{"a request that is newer than a failed attempt waits for its pause", both(failed(1, 30*time.Second), func(f *facts) { f.Versions[1].IntentAt = ago(time.Hour) }, requested(ago(time.Minute))), Step{
			Action: Wait, Until: in(30 * time.Second),
			Problem: stuck("BackingOff", "version 2 was given up; the next one is made at 2026-03-04T12:00:30Z, after failure 1 in a row"),
		}},
		{"what was rolled back long ago is followed by routine", both(old, failed(1, 3*days), func(f *facts) { f.Versions[1].OncePublished = true }), Step{
			Action: CreateIntent, Version: 3, Cause: "older than 30d", Routine: true, Replaces: 1, Failures: 1, Needs: intentFacts,
		}},
		{"where the upstream is full, one that ends soon has its predecessor go early", both(overlapping, full(2), func(f *facts) {
			f.Target.PublishedAt, f.Versions[1].ExpiresAt = noon, in(time.Hour)
		}), Step{
			Action: Retire, Version: 1, BreaksHold: true,
			Cause: "the upstream takes no more, and a successor cannot wait: version 2 expires at 2026-03-04T13:00:00Z",
		}},
		{"a predecessor that is being revoked already is not retired again for that", both(overlapping, full(2), func(f *facts) {
			f.Target.PublishedAt, f.Versions[1].ExpiresAt = noon, in(time.Hour)
			f.Versions[0].Terminating, f.Versions[0].Refused = true, true
			f.Versions[0].NotBefore, f.Versions[0].Trouble = in(time.Minute), stuck("UpstreamUnreachable", "no route")
		}), Step{
			Action: Wait, Until: in(time.Minute), Problem: stuck("UpstreamUnreachable", "no route"), Notice: stuck("Retiring", "version 1 is being revoked"),
		}},
		{"a full upstream where nothing is published says that nothing leaves", func(f *facts) {
			f.Target.Published, f.Target.Unknown, f.caps.Verifies, f.caps.MaxLive, f.Account.Live = 0, 3, false, 1, 1
		}, Step{
			Action: Wait, Until: in(time.Minute),
			Problem: stalled("UpstreamFull", "the upstream holds 1 credentials there and takes 1: none of them will be revoked by itself; remove one that nobody uses"),
		}},
		{"a first version is made", first, Step{Action: CreateIntent, Version: 1, Cause: "first issue", Needs: intentFacts | FactTarget}},
		{
			"a first version waits for no window, slot or verdict (H15)", both(first, saturday, func(f *facts) { f.Account.SlotFree, f.Account.VerdictDone = false, false }),
			Step{Action: CreateIntent, Version: 1, Cause: "first issue", Needs: intentFacts | FactTarget},
		},
		{
			"whether a Secret stands in the way is looked at before the first issue", both(first, func(f *facts) { f.Fresh = everything &^ FactTarget }),
			Step{Action: Look, Version: 1, Needs: FactTarget},
		},
		{"a target of ours that holds nothing known makes us read the journal, lest numbers begin again (C3)", both(first, func(f *facts) {
			f.Target.Exists, f.Target.Ours, f.Fresh = true, true, everything&^FactJournal
		}), Step{Action: Look, Version: 1, Needs: FactJournal}},
		{
			"the credential is held before the first intent (C1)", both(first, func(f *facts) { f.Credential.Finalized = false }),
			Step{Action: AddFinalizer, Needs: FactCredential},
		},
		{"the issuer is held before the first intent (C9)", both(first, func(f *facts) { f.Account.Held = false }), Step{Action: HoldIssuer, Needs: FactIssuer}},
		{
			"no first version is made under a policy that does not exist", both(first, func(f *facts) { f.policy.Problem = noPolicy }),
			Step{Action: Wait, Problem: noPolicy},
		},
		{
			"a version is made after the last one was lost", func(f *facts) { f.Target, f.Versions[0].Terminating = Target{}, true },
			Step{Action: CreateIntent, Version: 2, Cause: "no version is left that could be published", Needs: intentFacts | FactTarget},
		},

		{"a version is renewed at its age", old, renew},
		{"a version is renewed at its age less the jitter", aged(lead), renew},
		{"a version is not renewed a moment earlier", aged(lead - 1), Step{Action: Wait, Until: in(1)}},
		{"nothing is due by age without a policy (2.6)", both(old, func(f *facts) { f.policy.RotateAfter = unlimited }), Step{Action: Wait}},
		{"nothing is renewed by a policy that is not accepted", both(old, func(f *facts) { f.policy.Problem = noPolicy }), Step{Action: Wait}},
		{"credential, issuer and guard are read before an intent", both(old, func(f *facts) { f.Fresh = 0 }), Step{Action: Look, Version: 2, Needs: intentFacts}},
		{"a renewal waits for its window (H15)", both(old, saturday), Step{
			Action: Wait, Until: time.Date(2026, 3, 7, 2, 0, 0, 0, time.UTC),
			Notice: stuck("WaitingForWindow", "a renewal is due and waits for the window that opens at 2026-03-07T02:00:00Z"),
		}},
		{"a renewal waits for its slot (H10)", both(old, func(f *facts) { f.Account.SlotFree = false }), Step{
			Action: Wait, Until: in(5 * time.Second),
			Notice: stuck("Queued", "a renewal is due; other credentials of the issuer are renewed first"),
		}},
		{
			"a renewal waits for the first look at the issuer (3.11)", both(old, func(f *facts) { f.Account.VerdictDone = false }),
			Step{Action: Wait, Notice: waitingForVerdict()},
		},
		{"an observer renews nothing and does not complain", both(old, func(f *facts) { f.Operator.ObserveOnly = true }), Step{Action: Wait, Notice: observing()}},
		{"a renewal without an account is a problem", both(old, func(f *facts) { f.Account.Problem = noAccount }), Step{Action: Wait, Problem: noAccount}},
		{"a renewal that could not begin is tried again later", both(old, func(f *facts) {
			f.Credential.NotBefore, f.Credential.Trouble = in(time.Minute), stalled("SecretRefused", "quota")
		}), Step{Action: Wait, Until: in(time.Minute), Problem: stalled("SecretRefused", "quota")}},
		{
			"nothing is begun while the clock jumps, and the clock is looked at again (H19)", both(old, func(f *facts) { f.Operator.ClockSteady = false }),
			Step{Action: Wait, Until: in(30 * time.Second), Problem: clockSkew()},
		},
		{
			"nothing is begun in a journal that nobody guards (H7)", both(old, func(f *facts) { f.Operator.GuardInForce = false }),
			Step{Action: Wait, Until: in(10 * time.Second), Problem: stalled("GuardNotInForce", "the admission policies that protect the journal are not in force here: ")},
		},

		{"a published version that is refused is followed, window or not", both(refused, saturday), Step{
			Action: CreateIntent, Version: 2,
			Cause: "version 1 is refused by the upstream: unknown client", Replaces: 1, Needs: intentFacts,
		}},
		{
			"what is refused is followed under a policy that is not accepted", both(refused, func(f *facts) { f.policy.Problem = noPolicy }),
			Step{Action: CreateIntent, Version: 2, Cause: "version 1 is refused by the upstream: unknown client", Replaces: 1, Needs: intentFacts},
		},
		{"an observer that should act complains", both(refused, func(f *facts) { f.Operator.ObserveOnly = true }), Step{Action: Wait, Problem: observing()}},

		{"a request is answered without a window", both(requested(noon), saturday), onRequest(noon)},
		{"a request is answered without a policy", both(requested(noon), func(f *facts) { f.policy.RotateAfter = unlimited }), onRequest(noon)},
		{"a request five minutes ahead is answered", requested(in(5 * time.Minute)), onRequest(in(5 * time.Minute))},
		{"a request that is further ahead is refused until then (C5)", requested(in(5*time.Minute + 1)), Step{
			Action: Wait, Until: in(1),
			Problem: stalled("RequestInFuture", "rotate-requested-at is 2026-03-04T12:05:00Z, more than five minutes ahead: it is ignored until then"),
		}},
		{"a request is answered by a version that is as young (C5)", requested(ago(10 * days)), idle()},
		{"a request is open a moment later", requested(ago(10*days - 1)), onRequest(ago(10*days - 1))},
		{
			"a request is answered by a version that records it, however old", both(requested(ago(time.Hour)), func(f *facts) { f.Versions[0].Answers = ago(time.Hour) }),
			idle(),
		},
		{"a request is answered by a version that failed (C5)", both(requested(ago(time.Hour)), failed(1, time.Minute), func(f *facts) {
			f.Versions[1].Answers = ago(time.Hour)
		}), Step{Action: Wait, Until: renewal(), Problem: stuck("VersionFailed",
			"version 2 was given up, and its event says why; version 1 stays. When the cause is gone, request a rotation anew")}},
		{"a repair answers the open request as well", both(refused, requested(noon)), Step{
			Action: CreateIntent, Version: 2, Answers: noon,
			Cause: "version 1 is refused by the upstream: unknown client", Replaces: 1, Needs: intentFacts,
		}},

		{
			"a version that failed is followed after a minute, and the failures are counted on (H3)", both(refused, failed(1, time.Minute)),
			Step{Action: CreateIntent, Version: 3, Cause: "version 1 is refused by the upstream: unknown client", Replaces: 1, Failures: 1, Needs: intentFacts},
		},
		{"a version that failed is not followed a moment earlier", both(refused, failed(1, time.Minute-1)), Step{
			Action: Wait, Until: in(1),
			Problem: stuck("BackingOff", "version 2 was given up; the next one is made at 2026-03-04T12:00:00Z, after failure 1 in a row"),
		}},
		{"the tenth failure in a row waits for six hours", both(old, failed(10, 5*time.Hour)), Step{
			Action: Wait, Until: in(time.Hour),
			Problem: stuck("BackingOff", "version 2 was given up; the next one is made at 2026-03-04T13:00:00Z, after failure 10 in a row"),
		}},

		{
			"the container is counted where it has a limit", both(old, full(1), func(f *facts) { f.Fresh = everything &^ FactContainer }),
			Step{Action: Look, Version: 2, Needs: FactContainer},
		},
		{"a version is made where there is room", both(old, full(1)), Step{
			Action: CreateIntent, Version: 2, Cause: "older than 30d", Routine: true, Replaces: 1,
			Needs: intentFacts | FactContainer,
		}},
		{"nothing is begun that the container would refuse (F18)", both(old, full(2)), Step{
			Action: Wait, Until: in(time.Minute),
			Problem: stalled("UpstreamFull", "the upstream holds 2 credentials there and takes 2: none of them will be revoked by itself; remove one that nobody uses"),
		}},
		{"a full container is no trouble while an overlap ends", both(overlapping, full(2), func(f *facts) {
			f.Target.PublishedAt, f.Versions[1].IntentAt = noon, ago(40*days)
		}), Step{
			Action: Wait, Until: in(time.Minute),
			Problem: stuck("UpstreamFull", "the upstream holds 2 credentials there and takes 2: 1 of them are older versions that are revoked when their overlap has passed"),
			Notice:  stuck("Overlap", "version 1 stays valid until 2026-03-06T12:00:01Z at least"),
		}},
		{"a full container whose published version is refused needs a person (H11)", both(overlapping, full(2), func(f *facts) {
			f.Versions[1].Refused, f.Versions[1].NotBefore = true, refusedNow
		}), Step{
			Action: Wait, Until: refusedNow,
			Problem: stalled("UpstreamFull", "the upstream holds 2 credentials there and takes 2: none of them will be revoked by itself; remove one that nobody uses"),
			Notice:  stuck("Overlap", "version 1 stays valid until version 2 is known to be accepted"),
		}},
	}
}
