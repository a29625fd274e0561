package rotation

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger-dev/claviger/internal/interval"
	"github.com/claviger-dev/claviger/internal/rollout"
)

func TestWhatIsRestarted(t *testing.T) { decide(t, rolloutDecisions(t)) }

// rolling is overlapping with version 2, for which two Deployments have to be restarted; the
// changes are those of the first one.
func rolling(changes ...func(*rollout.Workload)) func(*facts) {
	return both(overlapping, func(f *facts) {
		f.Credential.Rolls = true
		f.Versions[1].Wave = "2.aa"
		f.policy.Rollout = Rollout{Pause: time.Minute, Timeout: 10 * time.Minute}
		f.policy.Uptake.Margin = time.Minute
		f.Workloads = Workloads{Known: true, Free: true, Again: in(looks), All: []rollout.Workload{untouched("api"), untouched("web")}}
		for _, change := range changes {
			change(&f.Workloads.All[0])
		}
	})
}

func untouched(name string) rollout.Workload {
	return rollout.Workload{Kind: "Deployment", Name: name, CreatedAt: ago(100 * days), Seen: true, Wanted: 1, Total: 1, Updated: 1, Available: 1, Watched: true}
}

func marked(w *rollout.Workload)   { w.Marked, w.Updated = true, 0 }
func noted(w *rollout.Workload)    { marked(w); w.NotedAt = ago(time.Minute) }
func paused(w *rollout.Workload)   { noted(w); w.Never = "it is paused: resume it" }
func together(w *rollout.Workload) { w.Together = in(time.Minute) }

func allDone(f *facts) {
	for i := range f.Workloads.All {
		w := &f.Workloads.All[i]
		w.Marked, w.NotedAt, w.DoneSince = true, ago(days), ago(days)
	}
}

func rolloutDecisions(t *testing.T) []decision {
	t.Helper()
	const live = FactCredential | FactTarget
	wait := func(reason, message string, until time.Time) Step {
		return Step{Action: Wait, Until: until, Notice: stuck(reason, message)}
	}
	restart := Step{Action: Restart, Version: 2, Workload: "Deployment/api", Routine: true, Needs: live}
	retire := Step{Action: Retire, Version: 1, Routine: true, Cause: "its overlap has passed"}
	unseen := func(f *facts) { f.Fresh &^= FactWorkloads }
	full := func(f *facts) { f.Workloads.Free = false }
	closed := func(f *facts) { f.policy.Windows = window(t, "0 18 * * *", "1h") }
	evening := in(6 * time.Hour)
	young := func(f *facts) { f.Target.PublishedAt = ago(30 * time.Second) }
	byHand := func(f *facts) { f.Versions[0].Terminating = true }
	compromised := func(f *facts) {
		f.Credential.CompromisedAt, f.Versions[1].Answers = ago(4*days), ago(4*days)
		f.Versions = f.Versions[1:] // what was compromised went at once
	}
	return []decision{
		{"a workload is restarted for a new version", rolling(), restart},
		{"it is looked at first", both(rolling(), unseen), Step{Action: Look, Needs: FactWorkloads, Version: 2}},
		{
			"not before new pods are certain to read it", both(rolling(), unseen, young),
			wait("RollingOut", "version 2 is being rolled out: the workloads are restarted from "+text(in(31*time.Second))+" on", in(31*time.Second)),
		},
		{"that it was restarted is written down", rolling(marked), Step{Action: NoteRollout, Version: 2, Workload: "Deployment/api"}},
		{
			"the next one waits, and so does what pods may use, though its overlap has passed", rolling(noted),
			wait("RollingOut", "version 2 is being rolled out: Deployment/api is being restarted", in(looks)),
		},
		{
			"one that is paused holds the rest (M14)", rolling(paused),
			wait("RolloutHeld", "version 2 is not rolled out: Deployment/api does not replace its pods by itself (it is paused: resume it)", in(looks)),
		},
		{"when all are done it is written down", both(rolling(), allDone), Step{Action: NoteRollout, Version: 2}},
		{"then the predecessor is retired", both(rolling(), func(f *facts) { f.Versions[1].RolledOut = true }), retire},
		{"a credential that names no workloads any more waits for none", both(rolling(), func(f *facts) { f.Credential.Rolls = false }), retire},
		{"nor does one that named none when the version was begun", both(rolling(), func(f *facts) { f.Versions[1].Wave = "" }), retire},
		{"a version that the upstream refuses is not rolled out", both(rolling(), func(f *facts) {
			f.Versions[1].Refused, f.Versions[1].Refusal, f.Versions[1].NotBefore = true, "unknown client", in(looks)
			f.Versions = append(f.Versions, made(3))
			f.Versions[2].NotBefore = in(days)
		}), wait("Issuing", "version 3 is being made upstream", in(days))},
		{"nor one of which a look at the Secret must tell first", both(rolling(), func(f *facts) { f.Target.Drift, f.Fresh = true, f.Fresh&^FactTarget }), Step{Action: Look, Needs: FactTarget}},
		{"nor one whose Secret somebody else wrote", both(rolling(), func(f *facts) { f.Target.Drift = true }), Step{Action: Wait, Until: renewalOf2()}},
		{"nor one whose publication has no time", both(rolling(), func(f *facts) { f.Target.PublishedAt = time.Time{} }), Step{
			Action: Wait, Until: renewalOf2(), Notice: stuck("RollingOut", "version 1 stays valid until the workloads are restarted for version 2"),
		}},
		{"an operator that only observes restarts nothing", both(rolling(), func(f *facts) { f.Operator.ObserveOnly = true }), Step{
			Action: Wait, Until: renewalOf2(), Notice: stuck("RollingOut", "version 1 stays valid until the workloads are restarted for version 2"),
		}},
		{"nor does one whose clock jumps", both(rolling(), func(f *facts) { f.Operator.ClockSteady = false }), Step{
			Action: Wait, Until: in(clockRetry), Notice: stuck("RollingOut", "version 2 is being rolled out: workloads are restarted when the API server's clock is steady"),
		}},

		{"a restart waits for the window", both(rolling(), closed), wait("WaitingForWindow", "Deployment/api is restarted for version 2 in the window that opens at "+text(evening), evening)},
		{"not if somebody asked for the version", both(rolling(), closed, func(f *facts) { f.Versions[1].Answers = ago(3 * days) }), restart},
		{"nor after a rollback", both(rolling(), closed, func(f *facts) { f.Versions[1].RepublishAt = ago(3 * days) }), restart},
		{"nor if the predecessor ends before it opens (H15)", both(rolling(), closed, func(f *facts) { f.Versions[0].ExpiresAt = in(5 * time.Hour) }), restart},
		{
			"if it ends later there is time", both(rolling(), closed, func(f *facts) { f.Versions[0].ExpiresAt = in(7 * time.Hour) }),
			wait("WaitingForWindow", "Deployment/api is restarted for version 2 in the window that opens at "+text(evening), evening),
		},
		{"a predecessor that is gone does not hurry it", both(rolling(), closed, func(f *facts) {
			f.Versions[0].Terminating, f.Versions[0].Revoked, f.Versions[0].RevokedNoted, f.Versions[0].ExpiresAt = true, true, true, in(5*time.Hour)
			f.Versions[0].Held = false
		}), wait("WaitingForWindow", "Deployment/api is restarted for version 2 in the window that opens at "+text(evening), evening)},
		{"nor does the version's own end", both(rolling(), closed, func(f *facts) {
			f.Versions[1].ExpiresAt, f.policy.RenewBefore = in(5*time.Hour), interval.FromDuration(time.Hour)
		}), Step{
			Action: Wait, Until: in(4 * time.Hour),
			Problem: stuck("WindowTooLate", "version 2 expires at "+text(in(5*time.Hour))+" and no window opens early enough: it is renewed at "+text(in(4*time.Hour))+
				", outside of the windows. Add a window or lengthen renewBefore"),
			Notice: stuck("WaitingForWindow", "Deployment/api is restarted for version 2 in the window that opens at "+text(evening)),
		}},
		{
			"other credentials of the workload are waited for (H10)", rolling(together),
			wait("RollingOut", "version 2 is being rolled out: Deployment/api is restarted by "+text(in(time.Minute))+", once for all its credentials", in(time.Minute)),
		},
		{
			"so is room in the namespace", both(rolling(), full),
			wait("RollingOut", "version 2 is being rolled out: Deployment/api waits for restarts of other workloads of the namespace", in(looks)),
		},
		{"an emergency waits for nobody", both(rolling(together), full, closed, compromised), Step{Action: Restart, Version: 2, Workload: "Deployment/api", Needs: live}},

		{"a version that was deleted by hand waits for workloads, too", both(rolling(noted), byHand), Step{
			Action: Wait, Until: in(looks), Notice: stuck("RollingOut", "version 1 stays valid until the workloads are restarted for version 2"),
		}},
		{"what is compromised does not", both(rolling(noted), func(f *facts) { f.Credential.CompromisedAt = ago(4 * days) }), Step{
			Action: Retire, Version: 1, Cause: "declared compromised, and its successor is published",
		}},
		{"pods are waited for when the workloads are done", both(rolling(), func(f *facts) {
			f.Versions[1].RolledOut = true
			f.policy.Uptake = Uptake{Consumers: true, Margin: time.Minute, Deadline: 4 * days}
			f.Fresh &^= FactConsumers
		}), Step{Action: Look, Needs: FactConsumers, Version: 1}},

		{"a version is begun as one to be rolled out", func(f *facts) {
			f.Credential.Rolls, f.Credential.RotateRequestedAt = true, noon
		}, Step{Action: CreateIntent, Version: 2, Cause: "requested", Answers: noon, Replaces: 1, Rolls: true, Needs: FactCredential | FactIssuer | FactGuard}},
		{"the first one is not: no pod uses anything yet", func(f *facts) {
			f.Credential.Rolls, f.Versions, f.Target = true, nil, Target{}
		}, Step{Action: CreateIntent, Version: 1, Cause: "first issue", Needs: FactCredential | FactIssuer | FactGuard | FactTarget}},
		{"what is put back in a rollback is, since pods may use what was given up", both(rolling(), func(f *facts) {
			f.Versions[1].Failed, f.Versions[1].FailedAt = true, noon
		}), Step{Action: MarkRepublish, Version: 1, Needs: FactTarget, Replaces: 2, Rolls: true}},
		{"what is put back because the Secret is gone is not", both(rolling(), func(f *facts) {
			f.Versions = append(f.Versions, made(3))
			f.Target = Target{}
		}), Step{Action: MarkRepublish, Version: 2, Needs: FactTarget}},
	}
}

func TestRolloutStalledNamesTheWorkload(t *testing.T) {
	said := stuck("RolloutHeld", "version 2 is not rolled out: Deployment/api does not replace its pods by itself (it is paused: resume it)")
	for _, c := range []struct {
		when  string
		given func(*facts)
		want  *Problem
	}{
		{"one is paused", rolling(paused), said},
		{"one is being restarted", rolling(noted), nil},
		{"nobody has looked since the publication", both(rolling(paused), func(f *facts) { f.Workloads.Known = false }), nil},
		{"all was done before", both(rolling(paused), func(f *facts) { f.Versions[1].RolledOut = true }), nil},
		{"the credential is to restart nothing any more", both(rolling(paused), func(f *facts) { f.Credential.Rolls = false }), nil},
	} {
		t.Run(c.when, func(t *testing.T) {
			f := working()
			c.given(f)
			if diff := cmp.Diff(c.want, RolloutStalled(f.Observed, f.policy, noon)); diff != "" {
				t.Errorf("condition (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAWaveBeginsWithASecond(t *testing.T) {
	for margin, want := range map[time.Duration]time.Time{
		0:                       noon.Add(time.Second),
		time.Minute:             noon.Add(61 * time.Second),
		1500 * time.Millisecond: noon.Add(3 * time.Second),
	} {
		if got := Wave(Target{PublishedAt: noon}, Policy{Uptake: Uptake{Margin: margin}}).Begins; !got.Equal(want) {
			t.Errorf("with a margin of %s it begins at %s, want %s", margin, got, want)
		}
	}
}
