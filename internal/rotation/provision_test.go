package rotation

import (
	"testing"
	"time"

	"github.com/claviger-dev/claviger/internal/approval"
)

func TestWhatIsDoneAboutAManagedPlace(t *testing.T) { decide(t, placeDecisions()) }

// placeDecisions are about containers that are made for one credential.
func placeDecisions() []decision {
	const needs = FactCredential | FactIssuer | FactGuard
	const whole = needs | FactPlace
	place := func(p Place) func(*facts) {
		return func(f *facts) {
			f.Place = p
			f.Place.Managed = true
		}
	}
	empty := func(f *facts) { f.Versions, f.Target = nil, Target{} }
	unseen := func(f *facts) { f.Fresh = everything &^ FactPlace }
	make1 := Step{Action: Provision, Cause: "first issue", Needs: whole}
	first := Step{Action: CreateIntent, Version: 1, Cause: "first issue", Needs: needs | FactPlace | FactTarget}
	look := Step{Action: Look, Needs: FactPlace}
	asks := func(o ...approval.Operation) func(*facts) {
		return func(f *facts) {
			f.Credential.Generation = 7
			f.Consent.Demands = []Demand{{Reference: strict, Operations: o}}
		}
	}
	heard := func(about approval.Subject, state approval.State) func(*facts) {
		return func(f *facts) {
			f.Consent.Asked = []Asked{{Name: "billing.asked", Reference: strict, Digest: about.Digest(), State: state, Until: in(days)}}
		}
	}
	issue := approval.Subject{CredentialUID: "uid", Generation: 7, Operation: approval.Issue}
	renew := approval.Subject{CredentialUID: "uid", Generation: 7, Operation: approval.Renew, Nonce: "one"}
	widen := approval.Subject{CredentialUID: "uid", Generation: 7, Operation: approval.Issue, Nonce: "one"}
	busy := func(p *Place) {
		p.Hidden, p.HiddenUntil = stuck("Provisioning", "the platform works on the service instance"), in(5*time.Second)
	}
	failed := func(p *Place) {
		p.Trouble, p.NotBefore = stalled("ProvisioningFailed", "no such role"), in(time.Minute)
	}
	with := func(p Place, changes ...func(*Place)) func(*facts) {
		for _, change := range changes {
			change(&p)
		}
		return place(p)
	}
	noted := func(f *facts) { f.Versions[0].Nonce = "one" }
	doubted, stands, differs := Place{Doubted: true}, Place{Doubted: true, Exists: true, Usable: true}, Place{Doubted: true, Exists: true, Usable: true, Differs: true}
	const changed, gone = "what the managed instance may do was changed", "the managed instance is not there"
	change := Step{Action: Provision, Cause: changed, Needs: whole}
	const way = "; to leave it where it is, set deletion of the managed instance to Keep"
	deleted := func(f *facts) { f.Credential.Deleting, f.Versions, f.Target = true, nil, Target{} }
	leaves := Place{Leaves: true, Exists: true, Usable: true}
	end := Step{Action: Deprovision, Cause: "the credential is deleted", Needs: FactCredential | FactGuard | FactPlace}
	letGo := Step{Action: RemoveFinalizer}
	absent := Place{Leaves: true, AbsentSince: ago(30 * time.Second)}
	return []decision{
		{"nothing is made before the finalizer is there to remember it", both(empty, place(doubted), func(f *facts) { f.Credential.Finalized = false }), Step{Action: AddFinalizer, Needs: FactCredential}},
		{"nor before the issuer is held", both(empty, place(doubted), func(f *facts) { f.Account.Held = false }), Step{Action: HoldIssuer, Needs: FactIssuer}},
		{"a place is looked for before it is made", both(empty, place(doubted), unseen), look},
		{"it is made before the version", both(empty, place(doubted)), make1},
		{"what failed to be made is made again", both(empty, place(Place{Doubted: true, Exists: true, Differs: true})), make1},
		{"what is there is enough for a version", both(empty, place(stands)), first},
		{"so is what differs: the change has its own time", both(empty, place(differs)), first},
		{"what is there is looked at for every version", both(empty, place(Place{Usable: true}), unseen), look},
		{"what cannot be looked at is waited for", both(empty, unseen, with(doubted, func(p *Place) {
			p.Hidden, p.HiddenUntil = stalled("InstanceTaken", "somebody else's"), in(5*time.Second)
		})), Step{Action: Wait, Until: in(5 * time.Second), Problem: stalled("InstanceTaken", "somebody else's")}},
		{"for a while nobody needs to know why", both(empty, unseen, with(doubted, func(p *Place) { p.HiddenUntil = in(5 * time.Second) })), Step{Action: Wait, Until: in(5 * time.Second)}},
		{"that the upstream works on it is no trouble", both(empty, unseen, with(doubted, busy)), Step{
			Action: Wait, Until: in(5 * time.Second), Notice: stuck("Provisioning", "the platform works on the service instance"),
		}},
		{"until then, and no longer", both(empty, unseen, with(doubted, busy, func(p *Place) { p.HiddenUntil = noon })), look},
		{"a refusal is not asked for again at once", both(empty, with(doubted, failed)), Step{
			Action: Wait, Until: in(time.Minute), Problem: stalled("ProvisioningFailed", "no such role"),
		}},
		{"but when its time has come", both(empty, with(doubted, failed, func(p *Place) { p.NotBefore = noon })), make1},
		{"a version does not wait for a change that is refused", both(empty, with(differs, failed)), first},
		{"people are asked before anything is made", both(empty, place(doubted), asks(approval.Issue)), Step{
			Action: AskApproval, Cause: "first issue", Ask: &Ask{Reference: strict, Subject: issue}, Needs: FactCredential | FactConsent,
		}},
		{"when they have agreed it is made", both(empty, place(doubted), asks(approval.Issue), heard(issue, approval.Approved)), Step{
			Action: Provision, Cause: "first issue", Needs: whole | FactConsent, Agreed: 7,
		}},
		{"a credential without a place of its own has none made", empty, Step{Action: CreateIntent, Version: 1, Cause: "first issue", Needs: needs | FactTarget}},

		{"what is known to be as wanted is not looked at", place(Place{}), idle()},
		{"what is not is looked at", both(place(doubted), unseen), look},
		{"whatever an earlier look has shown", both(place(stands), unseen), look},
		{"and left as it is if it is as wanted", place(stands), idle()},
		{"it is changed while its keys are in use", place(differs), change},
		{"it is made anew if somebody has deleted it", place(doubted), Step{Action: Provision, Cause: gone, Needs: whole}},
		{"nothing is made as long as no first version can be", both(place(doubted), empty, func(f *facts) { f.policy.Problem = stalled("PolicyNotFound", "no policy") }), Step{
			Action: Wait, Problem: stalled("PolicyNotFound", "no policy"),
		}},
		{"an observer changes nothing, and has no trouble by that", both(place(differs), func(f *facts) { f.Operator.ObserveOnly = true }), Step{Action: Wait, Until: renewal(), Notice: observing()}},
		{"without an account it waits", both(place(differs), func(f *facts) { f.Account.Problem = stalled("LoginFailed", "who are you") }), Step{
			Action: Wait, Until: renewal(), Problem: stalled("LoginFailed", "who are you"),
		}},
		{"nothing is changed for a suspended credential", both(place(differs), func(f *facts) { f.Credential.Suspended = true }), Step{
			Action: Wait, Problem: stuck("Suspended", "spec.suspend is true: nothing is written here or upstream until it is false"),
		}},
		{"a change waits for the finalizer of a credential that came back", both(place(differs), func(f *facts) { f.Credential.Finalized = false }), Step{Action: AddFinalizer, Needs: FactCredential}},
		{"and for its issuer", both(place(differs), func(f *facts) { f.Account.Held = false }), Step{Action: HoldIssuer, Needs: FactIssuer}},
		{"a change waits until it can be looked at", both(unseen, with(differs, busy)), Step{
			Action: Wait, Until: in(5 * time.Second), Notice: stuck("Provisioning", "the platform works on the service instance"),
		}},
		{"a change that is refused is told, and everything else goes on", with(differs, failed), Step{
			Action: Wait, Until: in(time.Minute), Problem: stalled("ProvisioningFailed", "no such role"),
		}},
		{"a predecessor is retired meanwhile", both(overlapping, with(differs, failed)), Step{Action: Retire, Version: 1, Routine: true, Cause: "its overlap has passed"}},
		{"nothing is changed where nothing protects the journal", both(place(differs), func(f *facts) { f.Operator.GuardInForce = false }), Step{
			Action: Wait, Until: in(guardRetry), Problem: stalled("GuardNotInForce", "the admission policies that protect the journal are not in force here: "),
		}},
		{"whether they do is asked first", both(place(differs), func(f *facts) { f.Fresh, f.Operator.GuardInForce = everything&^FactGuard, false }), Step{Action: Look, Needs: FactGuard}},
		{"people who agree to renewals agree to the change", both(place(differs), noted, asks(approval.Issue, approval.Renew)), Step{
			Action: AskApproval, Cause: changed, Replaces: 1, Ask: &Ask{Reference: strict, Subject: renew, Follows: 1}, Needs: FactCredential | FactConsent,
		}},
		{"people who agree to the first version alone agree to it as well", both(place(differs), noted, asks(approval.Issue)), Step{
			Action: AskApproval, Cause: changed, Replaces: 1, Ask: &Ask{Reference: strict, Subject: widen, Follows: 1}, Needs: FactCredential | FactConsent,
		}},
		{"a no to the change is final", both(place(differs), noted, asks(approval.Renew), heard(renew, approval.Rejected)), Step{
			Action: Wait, Until: renewal(), Problem: stalled("ApprovalRejected", "request billing.asked was rejected: nothing is done until the spec changes or somebody requests a rotation anew"),
		}},
		{"a yes is acted on", both(place(differs), noted, asks(approval.Renew), heard(renew, approval.Approved)), Step{
			Action: Provision, Cause: changed, Needs: whole | FactConsent, Agreed: 7,
		}},

		{"a place that stays is not looked at in the end", both(deleted, place(Place{Exists: true, Usable: true})), letGo},
		{"one that goes is looked at last", both(deleted, place(leaves), unseen), look},
		{"and deleted when nothing lives in it", both(deleted, place(leaves)), end},
		{"not before the last version is gone", both(place(leaves), func(f *facts) { f.Credential.Deleting, f.Versions[0].Terminating = true, true }), Step{Action: Revoke, Version: 1, Needs: FactGuard}},
		{"what is to live on lives in it", both(deleted, place(leaves), func(f *facts) { f.Credential.Retain = true }), letGo},
		{"so does what was abandoned", both(deleted, place(leaves), func(f *facts) { f.Credential.AbandonAll = true }), letGo},
		{"even a single version", both(deleted, place(leaves), func(f *facts) { f.Credential.Abandon = 3 }), letGo},
		{"without our finalizer nothing was ever made", both(deleted, place(leaves), func(f *facts) { f.Credential.Finalized = false }), Step{Action: Wait}},
		{"what this process has seen go is not looked for again", both(deleted, place(Place{Leaves: true, Ended: true}), unseen), letGo},
		{"what is not there may still come", both(deleted, place(absent)), Step{
			Action: Wait, Until: in(30 * time.Second),
			Problem: stuck("Deleting", "the managed instance is not there, and is looked for again at 2026-03-04T12:00:30Z, because a call for it may still be under way"),
		}},
		{"when no call can be under way it is gone", both(deleted, place(Place{Leaves: true, AbsentSince: ago(time.Minute)})), letGo},
		{"which a look of now must show", both(deleted, unseen, place(Place{Leaves: true, AbsentSince: ago(time.Minute)})), look},
		{"an observer deletes nothing", both(deleted, place(leaves), func(f *facts) { f.Operator.ObserveOnly = true }), Step{Action: Wait, Problem: observing()}},
		{"without an account it is said how to leave it", both(deleted, place(leaves), func(f *facts) { f.Account.Problem = stalled("LoginFailed", "who are you.") }), Step{
			Action: Wait, Problem: stalled("LoginFailed", "the managed instance waits to be deleted: who are you"+way),
		}},
		{"while the clock jumps nothing is deleted", both(deleted, place(leaves), func(f *facts) { f.Operator.ClockSteady = false }), Step{
			Action: Wait, Until: in(clockRetry), Problem: clockSkew(),
		}},
		{"a deletion under way is waited for", both(deleted, unseen, with(leaves, busy)), Step{
			Action: Wait, Until: in(5 * time.Second), Problem: stuck("Provisioning", "the platform works on the service instance"),
		}},
		{"one that was refused is not repeated at once", both(deleted, with(leaves, failed)), Step{
			Action: Wait, Until: in(time.Minute), Problem: stalled("ProvisioningFailed", "no such role"),
		}},
		{"nothing is deleted where nothing protects the journal", both(deleted, place(leaves), func(f *facts) { f.Operator.GuardInForce = false }), Step{
			Action: Wait, Until: in(guardRetry), Problem: stalled("GuardNotInForce", "the admission policies that protect the journal are not in force here: "),
		}},
		{"a journal without its credential leaves the place alone", both(deleted, place(leaves), func(f *facts) {
			f.Credential.Exists, f.Credential.GoneSince = false, ago(2*days)
		}), Step{Action: Wait}},
	}
}
