package rotation

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestWhatWaitsForPods(t *testing.T) { decide(t, uptakeDecisions()) }

const looks = 5 * time.Minute

// watching is overlapping under a policy that waits for pods; the deadline passed a day ago
// or, with Hold, so long ago that only pods matter.
func watching(behind ...string) func(*facts) {
	return both(overlapping, func(f *facts) {
		f.policy.Uptake = Uptake{Consumers: true, Margin: time.Minute, Deadline: 4 * days}
		f.Consumers = Consumers{Known: true, Current: 1, Behind: behind, Names: append(behind, "new"), Again: in(looks)}
	})
}

func uptakeDecisions() []decision {
	waiting := Step{Action: Wait, Until: in(looks), Notice: stuck("WaitingForUptake",
		"version 1 stays valid while pods may use it: those that were created before version 2 was published, and a moment after")}
	retire := Step{Action: Retire, Version: 1, Routine: true, Cause: "its overlap has passed"}
	unseen := func(f *facts) { f.Fresh &^= FactConsumers }
	late := func(f *facts) { f.policy.Uptake.Deadline = 3 * days }
	young := func(f *facts) { f.Target.PublishedAt = ago(30 * time.Second) }
	byHand := func(f *facts) { f.Versions[0].Terminating = true }
	deleted := both(watching(), func(f *facts) {
		f.Credential.Deleting, f.Credential.Protected = true, true
		f.Versions = f.Versions[1:]
	})
	inUse := func(f *facts) {
		f.Consumers.Names = []string{"billing-1", "billing-2"}
		f.Consumers.Behind = []string{"billing-1"}
	}
	unused := func(f *facts) { f.Consumers = Consumers{Known: true, Again: in(looks)} }
	end := Step{Action: Retire, Version: 2, Cause: "the credential is deleted"}
	return []decision{
		{"a predecessor that no pod uses is retired when its overlap has passed", watching(), retire},
		{"one that a pod may use is not (F10)", watching("old"), waiting},
		{"the pods are looked at before it is retired", both(watching(), unseen), Step{Action: Look, Needs: FactConsumers, Version: 1}},
		{
			"and not before a look could prove anything", both(watching(), unseen, young),
			Step{Action: Wait, Until: ago(30 * time.Second).Add(time.Minute + time.Second), Notice: stuck("Overlap", "version 1 stays valid until "+text(ago(30*time.Second).Add(2*days+time.Second))+" at least")},
		},
		{"after the deadline a predecessor that pods may use is held", both(watching("old"), late, func(f *facts) { f.policy.Uptake.Hold = true }), Step{
			Action: Wait, Until: in(looks), Notice: stuck("UptakeDeadlinePassed", "version 1 stays valid though the deadline of its uptake passed at "+text(noon)+": pods may use it"),
		}},
		{"or retired, as the policy says", both(watching("old"), late), retire},
		{
			"pods never shorten an overlap", both(watching(), func(f *facts) { f.Target.PublishedAt = ago(days) }),
			Step{Action: Wait, Until: ago(days).Add(2*days + time.Second), Notice: stuck("Overlap", "version 1 stays valid until "+text(ago(days).Add(2*days+time.Second))+" at least")},
		},
		{
			"what is compromised does not wait for pods", both(watching("old"), unseen, func(f *facts) { f.Credential.CompromisedAt = ago(4 * days) }),
			Step{Action: Retire, Version: 1, Cause: "declared compromised, and its successor is published"},
		},
		{"without the mode nobody looks at pods", both(watching("old"), unseen, func(f *facts) { f.policy.Uptake.Consumers = false }), retire},
		{"a version that was deleted by hand waits for pods, too", both(watching("old"), byHand), waiting},
		{"and they are looked at first", both(watching("old"), byHand, unseen), Step{Action: Look, Needs: FactConsumers, Version: 1}},
		{"then it is revoked", both(watching(), byHand), Step{Action: Revoke, Version: 1, Needs: FactGuard | FactTarget}},

		{"a deleted credential that no pod uses ends (H8)", both(deleted, unused), end},
		{"the pods are looked at first", both(deleted, unused, unseen), Step{Action: Look, Needs: FactConsumers}},
		{"one that pods use stays, whichever version they use (H8)", both(deleted, inUse), Step{
			Action: Wait, Until: in(looks), Problem: stuck("InUse", "2 pod(s) use the Secret, so nothing is revoked; end them, or set spec.protection to None: billing-1, billing-2"),
		}},
		{"without protection it ends", both(deleted, inUse, unseen, func(f *facts) { f.Credential.Protected = false }), end},
		{"what was retired before goes on being revoked", both(deleted, inUse, unseen, func(f *facts) {
			v := served(1, 10*days)
			v.Terminating = true
			f.Versions = append([]Version{v}, f.Versions...)
		}), Step{Action: Revoke, Version: 1, Needs: FactGuard}},
		{"an administrator can let it go all the same", both(deleted, inUse, unseen, func(f *facts) { f.Credential.AbandonAll = true }), Step{Action: Retire, Version: 2, Cause: "abandoned"}},
		{"under Retain nothing that pods use ends, so nothing waits", both(deleted, inUse, unseen, func(f *facts) { f.Credential.Retain = true }), Step{Action: Retain, Version: 2}},
	}
}

func TestUptakeStalledNamesTheLaggards(t *testing.T) {
	said := func(kept string) *Problem {
		return stuck("UptakeDeadlinePassed", "pods that may use version 1 since before version 2 was published: old; "+kept)
	}
	for _, c := range []struct {
		when  string
		given func(*facts)
		want  *Problem
	}{
		{"before the deadline", watching("old"), nil},
		{"after it, with Hold", both(watching("old"), func(f *facts) { f.policy.Uptake.Deadline, f.policy.Uptake.Hold = 3*days, true }), said("it stays valid until they are gone")},
		{"after it, with Retire", both(watching("old"), func(f *facts) { f.policy.Uptake.Deadline = 3 * days }), said("it is revoked all the same, as the policy says")},
		{"a workload never replaces its pods (M14)", both(watching("old"), func(f *facts) {
			f.policy.Uptake.Deadline, f.Consumers.Stuck = 3*days, []string{"Deployment/billing (it is paused: resume it)"}
		}), said("it is revoked all the same, as the policy says; these do not replace their pods by themselves: Deployment/billing (it is paused: resume it)")},
		{"nobody is behind", both(watching(), func(f *facts) { f.policy.Uptake.Deadline = 3 * days }), nil},
		{"nobody has looked since the publication", both(watching("old"), func(f *facts) { f.policy.Uptake.Deadline, f.Consumers.Known = 3*days, false }), nil},
		{"no predecessor is left", both(watching("old"), func(f *facts) { f.policy.Uptake.Deadline, f.Versions = 3*days, f.Versions[1:] }), nil},
		{"the predecessor was never published", both(watching("old"), func(f *facts) { f.policy.Uptake.Deadline, f.Versions[0].OncePublished = 3*days, false }), nil},
		{"the predecessor was deleted by hand", both(watching("old"), func(f *facts) { f.policy.Uptake.Deadline, f.Versions[0].Terminating = 3*days, true }), nil},
		{"the mode is Clock", both(watching("old"), func(f *facts) { f.policy.Uptake = Uptake{Deadline: 3 * days} }), nil},
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
