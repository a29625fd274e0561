package credential

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/rollout"
	"github.com/claviger-dev/claviger/internal/workloads"
)

var midday = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)

func TestTargetsAreNamesOrSelectors(t *testing.T) {
	got, err := targets([]v1alpha1.RolloutTarget{
		{Kind: "Deployment", Name: "billing"},
		{Kind: "DaemonSet", Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"uses": "billing-api"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	var said []string
	for _, g := range got {
		said = append(said, fmt.Sprint(g.Kind, " ", g.Name, " ", g.Selector))
	}
	if diff := cmp.Diff([]string{"Deployment billing <nil>", "DaemonSet  uses=billing-api"}, said); diff != "" {
		t.Errorf("targets (-want +got):\n%s", diff)
	}
	_, err = targets([]v1alpha1.RolloutTarget{{Kind: "Deployment", Selector: &metav1.LabelSelector{
		MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "uses", Operator: "Like", Values: []string{"b"}}},
	}}})
	if err == nil {
		t.Error("a selector that cannot be read is taken for one that can")
	}
}

func TestTheStatusNamesFirstWhatIsNotDone(t *testing.T) {
	var all []v1alpha1.WorkloadStatus
	for i := range 20 {
		state := rollout.Done
		if i >= 18 {
			state = rollout.Waiting
		}
		all = append(all, workloadStatus(fmt.Sprintf("Deployment/w-%d", i), state))
	}
	got := rolloutStatus(7, all)
	if got.Version != 7 || got.Total != 20 || got.Done != 18 || len(got.Workloads) != maxWorkloads {
		t.Errorf("version %d, %d of %d done, %d named", got.Version, got.Done, got.Total, len(got.Workloads))
	}
	want := []v1alpha1.WorkloadStatus{
		{Kind: "Deployment", Name: "w-18", State: "Waiting"}, {Kind: "Deployment", Name: "w-19", State: "Waiting"}, {Kind: "Deployment", Name: "w-0", State: "Done"},
	}
	if diff := cmp.Diff(want, got.Workloads[:3]); diff != "" {
		t.Errorf("the first (-want +got):\n%s", diff)
	}
}

func TestOnlyWhatIsHeldIsNews(t *testing.T) {
	status := func(states ...rollout.State) *v1alpha1.RolloutStatus {
		var all []v1alpha1.WorkloadStatus
		for i, s := range states {
			all = append(all, workloadStatus(fmt.Sprintf("Deployment/w-%d", i), s))
		}
		return rolloutStatus(2, all)
	}
	for when, c := range map[string]struct {
		before, after *v1alpha1.RolloutStatus
		want          bool
	}{
		"nothing has changed":            {status(rollout.Rolling), status(rollout.Rolling), false},
		"one was restarted":              {status(rollout.Waiting, rollout.Waiting), status(rollout.Rolling, rollout.Waiting), false},
		"one is done":                    {status(rollout.Rolling, rollout.Waiting), status(rollout.Done, rollout.Rolling), false},
		"one has failed":                 {status(rollout.Rolling), status(rollout.Failed), true},
		"one gets on":                    {status(rollout.NeverRolls), status(rollout.Rolling), true},
		"one is held for another reason": {status(rollout.Failed), status(rollout.Reverted), true},
	} {
		if got := news(c.before, c.after); got != c.want {
			t.Errorf("%s: it is news: %t", when, got)
		}
	}
}

func TestAMarchRemembersWhatWasDoneAndRefused(t *testing.T) {
	m := newMemory()
	wave := rollout.Wave{Begins: midday.Add(-time.Hour)}
	known := m.march("uid", "2.aa")
	moved := rollout.Workload{Kind: "Deployment", Name: "api", Marked: true, NotedAt: midday, Seen: true, Watched: true}
	known.apply(&moved, wave, midday)
	known.refused["Deployment/web"] = refusal{words: "quota", until: midday.Add(time.Minute)}
	m.marched("uid", known)

	again := m.march("uid", "2.aa")
	later := rollout.Workload{Kind: "Deployment", Name: "api", NotedAt: midday} // the mark was taken away since
	again.apply(&later, wave, midday.Add(time.Hour))
	if !later.DoneSince.Equal(midday) || later.In(wave, midday.Add(time.Hour)) != rollout.Done {
		t.Errorf("a workload that was seen to be done is %s, since %s", later.In(wave, midday.Add(time.Hour)), later.DoneSince)
	}
	web := rollout.Workload{Kind: "Deployment", Name: "web"}
	again.apply(&web, wave, midday)
	if web.In(wave, midday) != rollout.Refused || !web.Retry.Equal(midday.Add(time.Minute)) {
		t.Errorf("a workload that could not be restarted is %s, to be tried at %s", web.In(wave, midday), web.Retry)
	}
	fresh := rollout.Workload{Kind: "Deployment", Name: "new", CreatedAt: midday}
	again.apply(&fresh, wave, midday)
	if !fresh.DoneSince.IsZero() {
		t.Error("a workload that has no old pods makes others wait for the pause")
	}
	if next := m.march("uid", "3.bb"); len(next.done)+len(next.refused) != 0 {
		t.Errorf("what was known of one wave is believed of the next: %+v", next)
	}
	m.forgetCredential("uid")
	if gone := m.march("uid", "2.aa"); len(gone.done) != 0 {
		t.Error("a credential that is gone is remembered")
	}
}

func TestWhoElseRestartsAWorkload(t *testing.T) {
	found := &workloads.Found{Workload: rollout.Workload{Kind: "Deployment", Name: "billing"}, Mark: rollout.Mark{"marked": "2.bb"}}
	lists := []workloads.Target{{Kind: "Deployment", Name: "billing"}}
	others := []other{
		{Party: rollout.Party{Name: "elsewhere", Wave: "2.aa"}, targets: []workloads.Target{{Kind: "Deployment", Name: "web"}}},
		{Party: rollout.Party{Name: "marked", Wave: "2.bb"}, targets: lists},
		{Party: rollout.Party{Name: "noted", Wave: "2.cc"}, targets: lists, restarted: map[string]time.Time{"Deployment/billing": midday}},
		{Party: rollout.Party{Name: "over", Wave: "2.dd"}, targets: lists, over: true},
		{Party: rollout.Party{Name: "waits", Wave: "2.ee"}, targets: lists},
	}
	pending := map[string]bool{}
	for _, p := range partiesOf(others, found) {
		pending[p.Name] = p.Pending
	}
	want := map[string]bool{"marked": false, "noted": false, "over": false, "waits": true}
	if diff := cmp.Diff(want, pending); diff != "" {
		t.Errorf("who waits for the workload (-want +got):\n%s", diff)
	}
}
