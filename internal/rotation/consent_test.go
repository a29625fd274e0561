package rotation

import (
	"testing"
	"time"

	"github.com/claviger-dev/claviger/internal/approval"
	"github.com/claviger-dev/claviger/internal/interval"
)

func TestWhatWaitsForPeople(t *testing.T) { decide(t, consentDecisions(t)) }

func TestDeletionsWaitForPeople(t *testing.T) { decide(t, deletionDecisions()) }

// deletionDecisions are about deletions that people have to agree to.
func deletionDecisions() []decision {
	asks := func(f *facts) {
		f.Credential.Generation, f.Versions[0].Nonce = 7, "one"
		f.Consent.Demands = []Demand{{Reference: strict, Operations: []approval.Operation{approval.Delete}}}
	}
	deleted := func(f *facts) { f.Credential.Deleting, f.Credential.Generation = true, 8 }
	requested := func(f *facts) { f.Credential.DeletionRequestedAt = ago(time.Hour) }
	about := approval.Subject{CredentialUID: "uid", Operation: approval.Delete, Request: ago(time.Hour)}
	unannounced := approval.Subject{CredentialUID: "uid", Operation: approval.Delete}
	heard := func(about approval.Subject, state approval.State) func(*facts) {
		return func(f *facts) {
			f.Consent.Asked = append(f.Consent.Asked, Asked{Name: "billing.delete", Reference: strict, Digest: about.Digest(), State: state, Until: in(days)})
		}
	}
	const asking = FactCredential | FactConsent
	ask := func(cause string, about approval.Subject) Step {
		return Step{Action: AskApproval, Cause: cause, Replaces: 1, Ask: &Ask{Reference: strict, Subject: about, Follows: 1}, Needs: asking}
	}
	retire := Step{Action: Retire, Version: 1, Cause: "the credential is deleted"}
	waits := Step{Action: Wait, Until: in(days), Notice: &Problem{
		Reason: "ApprovalPending", Message: "the deletion waits for people: request billing.delete of RotationPolicy strict, until 2026-03-05T12:00:00Z",
	}}
	byHand := func(f *facts) { f.Versions[0].Terminating = true }
	return []decision{
		{"nobody is asked about a deletion that nobody wants", both(asks, func(f *facts) { f.policy.RotateAfter = interval.Unlimited() }), Step{Action: Wait}},
		{"a deletion is asked about when it is requested", both(asks, requested), ask("its deletion was requested", about)},
		{"what was asked goes on as before", both(asks, requested, heard(about, approval.Pending)), Step{Action: Wait, Until: in(days)}},
		{"so does what nobody may delete", both(asks, requested, heard(about, approval.Rejected), func(f *facts) { f.policy.RotateAfter = interval.Unlimited() }), Step{Action: Wait}},
		{"people are asked even if a successor cannot be made", both(asks, requested, func(f *facts) { f.Credential.Problem = stalled("TemplateError", "no") }), ask("its deletion was requested", about)},
		{"a deletion that was not requested is asked about as well", both(asks, deleted), ask("the credential is deleted", unannounced)},
		{"it waits", both(asks, deleted, requested, heard(about, approval.Pending)), waits},
		{"what is retained waits, too", both(asks, deleted, requested, heard(about, approval.Pending), func(f *facts) { f.Credential.Retain = true }), waits},
		{"what is in use is not revoked meanwhile, though its version Secret was deleted", both(asks, deleted, requested, heard(about, approval.Pending), byHand), waits},
		{"what was retired before goes on being revoked", both(overlapping, asks, deleted, requested, heard(about, approval.Pending), byHand, func(f *facts) {
			f.Target.PublishedAt = ago(40 * days)
		}), Step{Action: Revoke, Version: 1, Needs: FactTarget | FactGuard}},
		{"people have agreed", both(asks, deleted, requested, heard(about, approval.Approved)), retire},
		{"what they agreed to is held if too many are deleted at once", both(asks, deleted, requested, heard(about, approval.Approved), func(f *facts) {
			f.Account.Total, f.Account.Leaving, f.Credential.DeletedAt = 8, 6, ago(time.Hour)
		}), heldAsMass("5")},
		{"that they have is looked at live", both(asks, deleted, requested, heard(about, approval.Approved), func(f *facts) { f.Fresh = everything &^ FactConsent }), Step{Action: Look, Needs: FactConsent}},
		{"what they agreed to when it was requested before is another deletion", both(asks, deleted, requested, heard(unannounced, approval.Approved)), ask("the credential is deleted", about)},
		{"a no is final", both(asks, deleted, requested, heard(about, approval.Rejected)), Step{Action: Wait, Problem: stalled("ApprovalRejected",
			"request billing.delete was rejected: nothing is done until somebody requests the deletion anew")}},
		{"no word is believed that anybody could have written (C8.4)", both(asks, deleted, requested, heard(about, approval.Approved), func(f *facts) { f.Consent.Doubt = "a policy does not exist" }), Step{
			Action: Wait, Until: in(guardRetry), Problem: stalled("ApprovalUnavailable", "approval is demanded and no decision can be believed: a policy does not exist"),
		}},
		{"a demand for versions is none for their end", both(asks, deleted, func(f *facts) { f.Consent.Demands[0].Operations = []approval.Operation{approval.Issue, approval.Renew} }), retire},
		{"nobody can be asked in a namespace that is being deleted (C8.11)", both(asks, deleted, func(f *facts) { f.Credential.NamespaceEnding = true }), retire},
		{"what was declared compromised waits for nobody (C8.10)", both(asks, deleted, func(f *facts) { f.Credential.CompromisedAt = ago(time.Hour) }), retire},
		{"nobody is asked about the end of what never began", both(asks, deleted, func(f *facts) { f.Target, f.Versions = Target{}, nil }), Step{Action: RemoveFinalizer}},
		{"an administrator's way out waits for nobody", both(asks, deleted, func(f *facts) { f.Credential.AbandonAll = true }), Step{Action: Retire, Version: 1, Cause: "abandoned"}},
	}
}

func TestADeletionMayBegin(t *testing.T) {
	about := approval.Subject{CredentialUID: "uid", Operation: approval.Delete, Request: ago(time.Hour)}
	says := func(who approval.Reference, state approval.State) Asked {
		return Asked{Reference: who, Digest: about.Digest(), State: state, Recorded: true}
	}
	unrecorded := says(strict, approval.Approved)
	unrecorded.Recorded = false
	for name, test := range map[string]struct {
		asked []Asked
		want  DeletionApproval
	}{
		"when people were asked":                    {nil, DeletionNeeded},
		"not before all were":                       {[]Asked{says(strict, approval.Approved)}, DeletionNeeded},
		"not before all have agreed":                {[]Asked{says(strict, approval.Approved), says(shared, approval.Pending)}, DeletionPending},
		"not when one has said no":                  {[]Asked{says(strict, approval.Rejected), says(shared, approval.Approved)}, DeletionRejected},
		"not before it is on record":                {[]Asked{unrecorded, says(shared, approval.Approved)}, DeletionPending},
		"when all have agreed":                      {[]Asked{says(strict, approval.Approved), says(shared, approval.Approved)}, DeletionApproved},
		"when nobody answered, they are asked anew": {[]Asked{says(strict, approval.Expired), says(shared, approval.Approved)}, DeletionNeeded},
	} {
		t.Run(name, func(t *testing.T) {
			o := Observed{Credential: Credential{UID: "uid", DeletionRequestedAt: ago(time.Hour)}}
			o.Consent.Asked = test.asked
			for _, who := range []approval.Reference{strict, shared} {
				o.Consent.Demands = append(o.Consent.Demands, Demand{Reference: who, Operations: []approval.Operation{approval.Delete}})
			}
			if got := o.Deletion(noon); got != test.want {
				t.Errorf("it is %q, want %q", got, test.want)
			}
		})
	}
}

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
		{"a request that is too far ahead is not what people are asked about", both(old, asks, func(f *facts) { f.Credential.RotateRequestedAt = in(time.Hour) }), ask(strict, renewal)},
		{"who has to answer first is waited for", both(old, asks, both2, heard(strict, renewal, approval.Pending), heard(shared, renewal, approval.Pending, func(a *Asked) { a.Until = in(time.Hour) })), Step{
			Action: Wait, Until: in(time.Hour), Notice: &Problem{Reason: "ApprovalPending", Message: "a successor waits for people: " + one +
				"; request billing.shared of ClusterCredentialIssuer shared, until 2026-03-04T13:00:00Z"},
		}},
		{"a time to answer that never ends comes last", both(old, asks, both2, heard(strict, renewal, approval.Pending), heard(shared, renewal, approval.Pending, func(a *Asked) { a.Until = time.Time{} })), Step{
			Action: Wait, Until: in(days), Notice: &Problem{Reason: "ApprovalPending", Message: "a successor waits for people: " + one +
				"; request billing.shared of ClusterCredentialIssuer shared"},
		}},
		{"another beginning is another question", both(asks, func(f *facts) {
			v := made(3)
			v.Failed, v.FailedAt, v.Failures, v.Terminating, v.Revoked, v.RevokedNoted = true, ago(days), 1, true, true, true
			f.Target, f.Versions = Target{}, []Version{v}
		}, heard(strict, beginning, approval.Approved)), Step{
			Action: AskApproval, Cause: "no version is left that could be published", Needs: consentFacts,
			Ask: &Ask{Reference: strict, Subject: approval.Subject{CredentialUID: "uid", Generation: 7, Operation: approval.Issue, Nonce: "after 2"}},
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
