package rotation

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger-dev/claviger/internal/uptake"
)

func TestWhatHappensToTheSecretsOfSingleVersions(t *testing.T) { decide(t, copyDecisions()) }

// versioned is overlapping where both versions have Secrets of their own, and some refer to the
// first one.
func versioned(refers uptake.References) func(*facts) {
	return both(overlapping, func(f *facts) {
		f.Credential.Versioned = true
		f.policy.Uptake = Uptake{Margin: time.Minute, Deadline: 4 * days, Hold: true}
		for i := range f.Versions {
			f.Versions[i].Copied = true
		}
		f.Consumers = Consumers{Known: true, Again: in(looks), Began: noon, References: map[int64]uptake.References{1: refers, 2: {Pods: []string{"new"}}}}
	})
}

var (
	nobody = uptake.References{}
	onePod = uptake.References{Pods: []string{"old"}}
	aCron  = uptake.References{Templates: []string{"CronJob/report"}}
)

func copyDecisions() []decision {
	waiting := Step{Action: Wait, Until: in(looks), Notice: stuck("WaitingForReferences", "version 1 stays valid while something refers to its own Secret; status.consumers says what")}
	retire := Step{Action: Retire, Version: 1, Routine: true, Cause: "its overlap has passed"}
	revoke := Step{Action: Revoke, Version: 1, Needs: FactGuard | FactTarget}
	write := Step{Action: PublishCopy, Version: 2, Needs: FactCopies | FactCredential}
	unseen := func(f *facts) { f.Fresh &^= FactConsumers }
	unread := func(f *facts) { f.Fresh &^= FactCopies }
	retired := func(f *facts) { f.Versions[0].Terminating = true }
	gone := func(ago time.Duration) func(*facts) {
		return func(f *facts) { f.Versions[0].Copied, f.Versions[0].CopyGoneSince = false, in(-ago) }
	}
	missing := func(f *facts) {
		f.Versions[1].Copied, f.Versions[1].ClaimMine, f.Versions[1].ClaimUntil = false, true, in(ClaimTime)
	}
	unclaimed := func(f *facts) { f.Versions[1].ClaimUntil = noon }
	goneNow := stuck("Retiring", "version 1 is being revoked: its own Secret is gone, and pods that started a moment ago are waited for")
	overdue := func(f *facts) { f.policy.Uptake.Deadline = 3 * days }
	compromised := func(f *facts) { f.Credential.CompromisedAt = ago(4 * days) }
	revoked := func(f *facts) { f.Versions[0].Revoked = true }
	deleting := func(f *facts) { f.Credential.Deleting, f.Versions = true, f.Versions[:1] }
	return []decision{
		{"a version that is published gets a Secret of its own", both(versioned(nobody), missing), write},
		{"what it may be written over is read first", both(versioned(nobody), missing, unread), Step{Action: Look, Needs: FactCopies, Version: 2}},
		{"whoever has no claim on it marks it, so that nobody retires it meanwhile", both(versioned(nobody), missing, unclaimed), Step{Action: MarkRepublish, Version: 2, Needs: FactCopies}},
		{"then it is written", both(versioned(nobody), missing, unclaimed, func(f *facts) { f.Versions[1].MarkedNow, f.Versions[1].RepublishAt = true, noon }), write},
		{"a predecessor's that somebody deleted is written again", both(versioned(nobody), func(f *facts) { f.Versions[0].Copied = false }), Step{Action: MarkRepublish, Version: 1, Needs: FactCopies}},
		{"nobody asks for one without the mode", both(versioned(nobody), missing, func(f *facts) { f.Credential.Versioned = false }), retire},
		{"a version that was never published gets none", both(versioned(onePod), renewing(nil), func(f *facts) { f.Versions[2].Number, f.Versions[2].Accepted = 3, true }), Step{Action: Issue, Version: 3}},
		{"a retired one gets none", both(versioned(nobody), retired, gone(time.Hour)), revoke},
		{"nor one that is refused", both(versioned(nobody), func(f *facts) { f.Versions[0].Copied, f.Versions[0].Refused = false, true }), retire},
		{"nor one that is compromised", both(versioned(nobody), compromised, func(f *facts) { f.Versions[0].Copied = false }), Step{Action: Retire, Version: 1, Cause: "declared compromised, and its successor is published"}},
		{"nothing is written while somebody else's edit of the target is looked into", both(versioned(nobody), missing, func(f *facts) {
			f.Target.Drift = true
		}), Step{Action: Wait, Until: renewalOf2()}},
		{"one whose name is taken is said, and is tried again", both(versioned(onePod), missing, func(f *facts) {
			f.Versions[1].CopyTrouble, f.Versions[1].CopyNotBefore = stalled("SecretNotOurs", "taken"), in(time.Second)
		}), Step{Action: Wait, Until: in(time.Second), Problem: stalled("SecretNotOurs", "taken"), Notice: waiting.Notice}},

		{"when its time has come", both(versioned(onePod), missing, func(f *facts) {
			f.Versions[1].CopyTrouble, f.Versions[1].CopyNotBefore = stalled("SecretNotOurs", "taken"), noon
		}), write},

		{"a predecessor that nothing names is retired", versioned(nobody), retire},
		{"one that a pod names is not", versioned(onePod), waiting},
		{"nor one that a template names", versioned(aCron), waiting},
		{"who refers to it is looked at", both(versioned(nobody), unseen), Step{Action: Look, Needs: FactConsumers, Version: 1}},
		{"when the deadline has passed it is held", both(versioned(aCron), overdue), waiting},
		{"or retired, as the policy says", both(versioned(aCron), overdue, func(f *facts) { f.policy.Uptake.Hold = false }), retire},
		{"but not before", both(versioned(aCron), func(f *facts) { f.policy.Uptake.Hold = false }), waiting},

		{"before it is revoked its Secret is withdrawn", both(versioned(nobody), retired), Step{Action: WithdrawCopy, Version: 1}},
		{"it is read first", both(versioned(nobody), retired, unread), Step{Action: Look, Needs: FactCopies, Version: 1}},
		{"not while a pod names it", both(versioned(onePod), retired), waiting},
		{"nor a template", both(versioned(aCron), retired), waiting},
		{"nor while somebody may be writing it", both(versioned(nobody), retired, func(f *facts) { f.Versions[0].RepublishAt = ago(time.Second) }), Step{
			Action: Wait, Until: ago(time.Second).Add(ClaimTime), Notice: stuck("Overlap", "version 1 stays valid until "+text(ago(time.Second).Add(ClaimTime))+" at least"),
		}},
		{"nor within a claim", both(versioned(nobody), retired, func(f *facts) { f.Versions[0].ClaimUntil = in(time.Second) }), Step{
			Action: Wait, Until: in(time.Second), Notice: stuck("Retiring", "version 1 is being revoked: its own Secret goes when nobody can be writing it any more"),
		}},
		{"its own claim keeps nobody from it", both(versioned(nobody), retired, func(f *facts) { f.Versions[0].ClaimMine, f.Versions[0].ClaimUntil = true, in(time.Second) }), Step{Action: WithdrawCopy, Version: 1}},
		{"when it is gone, pods that may have found it are waited for", both(versioned(nobody), retired, gone(10*time.Second)), Step{
			Action: Wait, Until: in(50 * time.Second), Notice: goneNow,
		}},
		{"with a list that is younger", both(versioned(nobody), retired, gone(time.Minute)), revoke},
		{"an older list proves nothing", both(versioned(nobody), retired, gone(time.Minute), func(f *facts) { f.Consumers.Began = ago(time.Second) }), Step{Action: Wait, Until: in(time.Second), Notice: goneNow}},
		{"one that is back is withdrawn again", both(versioned(nobody), retired, func(f *facts) { f.Versions[0].CopyGoneSince = noon }), Step{Action: WithdrawCopy, Version: 1}},
		{"one that was deleted and is held by somebody else is waited for", both(versioned(nobody), retired, func(f *facts) { f.Versions[0].CopyHeld = true }), Step{
			Action: Wait, Until: in(5 * time.Second), Notice: stuck("Retiring", "version 1 is being revoked: its own Secret was deleted and a finalizer of somebody else still holds it"),
		}},
		{"that it is gone is read first, for the cache may lack it", both(versioned(onePod), retired, unread, gone(0), func(f *facts) { f.Versions[0].CopyGoneSince = time.Time{} }), Step{Action: Look, Needs: FactCopies, Version: 1}},
		{"and not again", both(versioned(onePod), retired, gone(0), func(f *facts) { f.Versions[0].CopyGoneSince = time.Time{} }), waiting},
		{"one that is there is not looked for while a pod names it", both(versioned(onePod), retired, unread), waiting},
		{"a pod that did find it keeps the version", both(versioned(onePod), retired, gone(time.Hour)), waiting},
		{"a template does not: its pods would find nothing", both(versioned(aCron), retired, gone(time.Hour)), revoke},
		{"a Secret that was left from another mode is withdrawn, too", both(versioned(nobody), retired, func(f *facts) { f.Credential.Versioned = false }), Step{Action: WithdrawCopy, Version: 1}},
		{"where there never was one nothing is read", both(versioned(nobody), retired, unread, unseen, gone(0), func(f *facts) { f.Credential.Versioned = false }), revoke},
		{"what is compromised waits for nobody", both(versioned(onePod), retired, compromised, unseen, func(f *facts) { f.Versions[0].ClaimUntil = in(time.Second) }), Step{Action: WithdrawCopy, Version: 1}},
		{"and is revoked when its Secret is gone", both(versioned(onePod), retired, compromised, unseen, gone(0), func(f *facts) { f.Versions[0].RepublishAt = noon }), revoke},
		{"it is forgotten when nobody can have written its Secret again", both(versioned(nobody), retired, compromised, revoked, gone(0), func(f *facts) { f.Versions[0].ClaimUntil = in(time.Second) }), Step{
			Action: Wait, Until: in(time.Second), Notice: stuck("Retiring", "version 1 is being revoked: its own Secret goes when nobody can be writing it any more"),
		}},
		{"a Secret that somebody wrote again is withdrawn again", both(versioned(nobody), retired, compromised, revoked), Step{Action: WithdrawCopy, Version: 1}},
		{"then it is forgotten", both(versioned(nobody), retired, compromised, revoked, gone(0)), Step{Action: Release, Version: 1}},

		{"with its credential a version's Secret goes at once", both(versioned(onePod), retired, deleting, unseen), Step{Action: WithdrawCopy, Version: 1}},
		{"and the version after it", both(versioned(onePod), retired, deleting, unseen, gone(0)), Step{Action: Revoke, Version: 1, Needs: FactGuard}},
		{"Secrets of versions that no journal knows go last", both(versioned(nobody), deleting, func(f *facts) { f.Versions, f.Target.Strays = nil, true }), Step{Action: WithdrawCopy}},
		{"under Retain they stay", both(versioned(nobody), deleting, func(f *facts) { f.Versions, f.Target.Strays, f.Credential.Retain = nil, true, true }), Step{Action: RetainTarget}},
	}
}

func TestWhoRefersToAnEarlierVersionIsBehind(t *testing.T) {
	c := Consumers{Known: true, Names: []string{"reader", "sleeper", "writer"}, Behind: []string{"sleeper"}, Current: 7}
	references := map[int64]uptake.References{
		1: {Pods: []string{"old"}, Templates: []string{"CronJob/report"}},
		2: {Pods: []string{"new", "sleeper"}, Templates: []string{"Deployment/shop"}},
	}
	c.Refer(references, 2)
	want := Consumers{Known: true, Names: []string{"new", "old", "reader", "sleeper", "writer"}, Behind: []string{"sleeper"}, Current: 3, References: references}
	if diff := cmp.Diff(want, c); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"CronJob/report", "old", "sleeper"}, c.Laggards(2)); diff != "" {
		t.Error(diff)
	}
}

func TestUptakeStalledNamesWhatRefersToAVersion(t *testing.T) {
	late := func(f *facts) { f.policy.Uptake.Deadline = 3 * days }
	said := func(who, kept string) *Problem {
		return stuck("UptakeDeadlinePassed", "version 1 is referred to by its own Secret since before version 2 was published: "+who+"; "+kept)
	}
	all := uptake.References{Pods: []string{"old"}, Templates: []string{"CronJob/report"}}
	for _, c := range []struct {
		when  string
		given func(*facts)
		want  *Problem
	}{
		{"before the deadline", versioned(onePod), nil},
		{"after it", both(versioned(all), late), said("CronJob/report, old", "it stays valid until nothing does")},
		{"after it, with Retire", both(versioned(onePod), late, func(f *facts) { f.policy.Uptake.Hold = false }), said("old", "it is revoked all the same, as the policy says")},
		{"only a template", both(versioned(aCron), late), said("CronJob/report", "it stays valid until nothing does")},
		{"nobody refers to it", both(versioned(nobody), late), nil},
		{"nobody has looked", both(versioned(onePod), late, func(f *facts) { f.Consumers.Known = false }), nil},
		{"when the version was published is not known", both(versioned(onePod), late, func(f *facts) { f.Target.PublishedAt = time.Time{} }), nil},
	} {
		t.Run(c.when, func(t *testing.T) {
			f := working()
			c.given(f)
			if diff := cmp.Diff(c.want, UptakeStalled(f.Observed, f.policy, noon)); diff != "" {
				t.Errorf("condition (-want +got):\n%s", diff)
			}
		})
	}
}
