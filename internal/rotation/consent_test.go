package rotation

import (
	"testing"
	"time"

	"github.com/claviger-dev/claviger/internal/approval"
)

func TestWhatWaitsForPeople(t *testing.T) { decide(t, consentDecisions(t)) }

var strict, shared = approval.Reference{Kind: "RotationPolicy", Name: "strict"}, approval.Reference{Kind: "ClusterCredentialIssuer", Name: "shared"}

// consentDecisions are about what people have to agree to.
func consentDecisions(t *testing.T) []decision {
	t.Helper()
	asksAbout := func(operations ...approval.Operation) func(*facts) {
		return func(f *facts) {
			f.Credential.Generation, f.Versions[0].Nonce = 7, "one"
			f.Consent.Demands = append(f.Consent.Demands, Demand{Reference: strict, Operations: operations})
		}
	}
	asks := asksAbout(approval.Issue, approval.Renew)
	both2 := func(f *facts) {
		f.Consent.Demands = append(f.Consent.Demands, Demand{Reference: shared, Operations: []approval.Operation{approval.Renew}})
	}
	old := func(f *facts) { f.Versions[0].IntentAt = ago(40 * days) }
	first := func(f *facts) { f.Target, f.Versions = Target{}, nil }
	renewal := approval.Subject{CredentialUID: "uid", Generation: 7, Operation: approval.Renew, Nonce: "one"}
	later := renewal
	later.Round = 1
	beginning := approval.Subject{CredentialUID: "uid", Generation: 7, Operation: approval.Issue}
	heard := func(who approval.Reference, about approval.Subject, state approval.State, change ...func(*Asked)) func(*facts) {
		return func(f *facts) {
			a := Asked{Name: "billing." + who.Name, Reference: who, Digest: about.Digest(), Round: about.Round, State: state, Until: in(days)}
			for _, c := range change {
				c(&a)
			}
			f.Consent.Asked = append(f.Consent.Asked, a)
		}
	}
	const consentFacts = FactCredential | FactConsent
	ask := func(who approval.Reference, about approval.Subject) Step {
		return Step{Action: AskApproval, Cause: "older than 30d", Routine: true, Replaces: 1, Ask: &Ask{Reference: who, Subject: about, Follows: 1}, Needs: consentFacts}
	}
	waits := func(words string) Step {
		return Step{Action: Wait, Until: in(days), Notice: &Problem{Reason: "ApprovalPending", Message: "a successor waits for people: " + words}}
	}
	const one = "request billing.strict of RotationPolicy strict, until 2026-03-05T12:00:00Z"
	renew := Step{Action: CreateIntent, Version: 2, Cause: "older than 30d", Routine: true, Replaces: 1, Agreed: 7, Needs: intentFacts | FactConsent}
	saturday := func(f *facts) { f.policy.Windows = window(t, "0 2 * * SAT", "4h") }
	unmet := func(f *facts) { f.Consent.Demands[0].Problem = "who asked is not known" }
	doubt := func(f *facts) { f.Consent.Doubt = "a policy does not exist" }
	return []decision{
		{"people are asked before a renewal", both(old, asks), ask(strict, renewal)},
		{"that nobody was asked is looked at live", both(old, asks, func(f *facts) { f.Fresh = 0 }), Step{Action: Look, Needs: consentFacts}},
		{"what nobody demands is asked of nobody", both(old, asksAbout(approval.Issue)), Step{
			Action: CreateIntent, Version: 2, Cause: "older than 30d", Routine: true, Replaces: 1, Needs: intentFacts,
		}},
		{"people are waited for, from the cache", both(old, asks, heard(strict, renewal, approval.Pending), func(f *facts) { f.Fresh = 0 }), waits(one)},
		{"those who are missing are named", both(old, asks, heard(strict, renewal, approval.Pending, func(a *Asked) { a.Missing = []string{"alice", "bob"} })), waits(
			"request billing.strict of RotationPolicy strict, answers of alice, bob are missing, until 2026-03-05T12:00:00Z")},
		{"those who must say it anew are told", both(old, asks, heard(strict, renewal, approval.Pending, func(a *Asked) { a.Unproven = 1 })), waits(
			"request billing.strict of RotationPolicy strict, 1 approval(s) from before the admission policies were surely in force must be given anew, until 2026-03-05T12:00:00Z")},
		{"people have agreed", both(old, asks, heard(strict, renewal, approval.Approved)), renew},
		{"that they have is looked at live before the intent", both(old, asks, heard(strict, renewal, approval.Approved), func(f *facts) { f.Fresh = everything &^ FactConsent }), Step{
			Action: Look, Version: 2, Needs: FactConsent,
		}},
		{"the demand of one is not met by the other's approvers (C8.1)", both(old, asks, both2, heard(strict, renewal, approval.Approved)), ask(shared, renewal)},
		{"every demand is met by itself (C8.2)", both(old, asks, both2, heard(strict, renewal, approval.Approved), heard(shared, renewal, approval.Pending)), waits(
			"request billing.shared of ClusterCredentialIssuer shared, until 2026-03-05T12:00:00Z")},
		{"what people agreed to before the spec changed is not done (C8.9)", both(old, asks, heard(strict, approval.Subject{
			CredentialUID: "uid", Generation: 6, Operation: approval.Renew, Nonce: "one",
		}, approval.Approved)), ask(strict, renewal)},
		{"nor what they agreed to for another credential of the name", both(old, asks, heard(strict, approval.Subject{
			CredentialUID: "uid of another", Generation: 7, Operation: approval.Renew, Nonce: "one",
		}, approval.Approved)), ask(strict, renewal)},
		{"nor for an earlier version", both(old, asks, heard(strict, approval.Subject{
			CredentialUID: "uid", Generation: 7, Operation: approval.Renew, Nonce: "zero",
		}, approval.Approved)), ask(strict, renewal)},
		{"a no is final", both(old, asks, heard(strict, renewal, approval.Rejected)), Step{Action: Wait, Problem: stalled("ApprovalRejected",
			"request billing.strict was rejected: nothing is done until the spec changes or somebody requests a rotation anew")}},
		{"one no is enough", both(old, asks, both2, heard(strict, renewal, approval.Approved), heard(shared, renewal, approval.Rejected)), Step{Action: Wait, Problem: stalled("ApprovalRejected",
			"request billing.shared was rejected: nothing is done until the spec changes or somebody requests a rotation anew")}},
		{"who requests anew after a no is asked about that", both(old, asks, heard(strict, renewal, approval.Rejected), func(f *facts) { f.Credential.RotateRequestedAt = ago(time.Hour) }), Step{
			Action: AskApproval, Cause: "requested", Replaces: 1, Needs: consentFacts, Ask: &Ask{Reference: strict, Follows: 1, Subject: approval.Subject{
				CredentialUID: "uid", Generation: 7, Operation: approval.Renew, Nonce: "one", Request: ago(time.Hour),
			}},
		}},
		{"people are asked again when nobody answered", both(old, asks, heard(strict, renewal, approval.Expired)), ask(strict, later)},
		{"also when the time ended since the answers were read", both(old, asks, heard(strict, renewal, approval.Pending, func(a *Asked) { a.Until = noon })), ask(strict, later)},
		{"the last round counts", both(old, asks, heard(strict, later, approval.Approved), heard(strict, renewal, approval.Expired)), renew},
		{"people are asked ahead of a window", both(old, asks, saturday), ask(strict, renewal)},
		{"what they agreed to waits for it", both(old, asks, saturday, heard(strict, renewal, approval.Approved)), Step{
			Action: Wait, Until: time.Date(2026, 3, 7, 2, 0, 0, 0, time.UTC),
			Notice: &Problem{Reason: "WaitingForWindow", Message: "a renewal is due and waits for the window that opens at 2026-03-07T02:00:00Z"},
		}},
		{"nobody is asked what could not be done", both(old, asks, func(f *facts) { f.Account.Problem = stalled("LoginFailed", "who are you") }), Step{
			Action: Wait, Problem: stalled("LoginFailed", "who are you"),
		}},
		{"a demand that nobody can meet stops (C8.5)", both(old, asks, unmet), Step{Action: Wait, Problem: stalled("ApprovalUnavailable",
			"RotationPolicy strict demands approval and it cannot be given: who asked is not known")}},
		{"no word is believed that anybody could have written (C8.4)", both(old, asks, heard(strict, renewal, approval.Approved), doubt), Step{
			Action: Wait, Until: in(guardRetry), Problem: stalled("ApprovalUnavailable", "approval is demanded and no decision can be believed: a policy does not exist"),
		}},
		{"what was declared compromised waits for nobody (C8.10)", both(asks, func(f *facts) { f.Credential.CompromisedAt = ago(time.Hour) }), Step{
			Action: CreateIntent, Version: 2, Cause: "version 1 was declared compromised", Answers: ago(time.Hour), Replaces: 1, Needs: intentFacts,
		}},
		{"people are asked before the first version", both(asks, first), Step{
			Action: AskApproval, Cause: "first issue", Ask: &Ask{Reference: strict, Subject: beginning}, Needs: consentFacts,
		}},
		{"attempts that fail in a row are one operation", both(asks, func(f *facts) {
			v := made(1)
			v.Failed, v.FailedAt, v.Failures, v.Terminating, v.Revoked, v.RevokedNoted = true, ago(days), 1, true, true, true
			f.Target, f.Versions = Target{}, []Version{v}
		}, heard(strict, beginning, approval.Approved)), Step{
			Action: CreateIntent, Version: 2, Failures: 1, Cause: "no version is left that could be published", Agreed: 7, Needs: intentFacts | FactConsent | FactTarget,
		}},
		{"a version whose spec changed after people had agreed is given up (C8.9)", both(asks, renewing(func(v *Version) { v.Agreed, v.ClaimUntil = 6, ago(time.Second) })), Step{
			Action: Fail, Version: 2, Cause: "the spec changed after people had agreed to it", Needs: FactTarget,
		}},
		{"the spec is read live before what people agreed to is made", both(asks, renewing(func(v *Version) { v.Agreed = 7 }), func(f *facts) { f.Fresh = everything &^ FactCredential }), Step{
			Action: Look, Version: 2, Needs: FactCredential,
		}},
	}
}
