package uptake

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var (
	noon      = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	published = Publication{Secret: "billing-api", At: noon, Margin: time.Minute}
	settled   = noon.Add(time.Minute)
)

func pod(change func(*Pod)) Pod {
	p := Pod{Name: "billing-1", CreatedAt: noon.Add(-time.Hour), References: []Reference{{"billing-api", Environment}}}
	if change != nil {
		change(&p)
	}
	return p
}

func reads(ways ...Way) func(*Pod) {
	return func(p *Pod) {
		p.Reloads, p.References = true, nil
		for _, way := range ways {
			p.References = append(p.References, Reference{"billing-api", way})
		}
	}
}

func TestWhoIsBehind(t *testing.T) {
	name := []string{"billing-1"}
	behind, current, nobody := Count{Behind: name, Names: name}, Count{Current: 1, Names: name}, Count{}
	clears := Count{Behind: name, Names: name, ClearsAt: settled.Add(Refresh)}
	long := settled.Add(24 * time.Hour)
	for _, c := range []struct {
		when string
		pod  Pod
		now  time.Time
		want Count
	}{
		{"a pod that was created before the publication is behind", pod(nil), long, behind},
		{"so is one that was created within the margin", pod(func(p *Pod) { p.CreatedAt = settled.Add(-time.Nanosecond) }), long, behind},
		{"one that was created when the margin was over is current", pod(func(p *Pod) { p.CreatedAt = settled }), settled, current},
		{"one that is being ended counts until it is gone", pod(func(p *Pod) { p.Terminating = true }), long, behind},
		{"one that has finished holds nothing", pod(func(p *Pod) { p.Finished = true }), long, nobody},
		{"one that uses another Secret is no consumer", pod(func(p *Pod) { p.References[0].Secret = "other" }), long, nobody},
		{"one that uses none is no consumer", pod(func(p *Pod) { p.References = nil }), long, nobody},
		{"a volume alone proves nothing (H1)", pod(func(p *Pod) { p.References[0].Way = Volume }), long, behind},
		{"a volume that is declared to be read anew is current after the refresh", pod(reads(Volume)), settled.Add(Refresh), current},
		{"and not before", pod(reads(Volume)), settled.Add(Refresh - time.Nanosecond), clears},
		{"a file that is mounted alone is never refreshed (H1)", pod(reads(SubPath)), long, behind},
		{"a declaration does not help an environment", pod(reads(Environment)), long, behind},
		{"nor one beside a volume", pod(reads(Volume, Environment)), long, behind},
		{"nor a pull of images", pod(reads(ImagePull)), long, behind},
		{"nor a pod whose files nobody refreshes any more", pod(func(p *Pod) { reads(Volume)(p); p.Terminating = true }), long, behind},
		{"another Secret's way does not matter", pod(func(p *Pod) {
			reads(Volume)(p)
			p.References = append(p.References, Reference{"other", Environment})
		}), long, current},
	} {
		t.Run(c.when, func(t *testing.T) {
			if diff := cmp.Diff(c.want, Judge([]Pod{c.pod}, published, c.now)); diff != "" {
				t.Errorf("count (-want +got):\n%s", diff)
			}
		})
	}
}

// random is a pod that may be anything, and was created around the publication.
func random(r *rand.Rand, name string) Pod {
	ways := []Way{Environment, Volume, SubPath, ImagePull}
	p := Pod{
		Name: name, CreatedAt: noon.Add(time.Duration(r.IntN(240)-120) * time.Second),
		Terminating: r.IntN(4) == 0, Finished: r.IntN(4) == 0, Reloads: r.IntN(2) == 0,
	}
	for range r.IntN(3) {
		p.References = append(p.References, Reference{[]string{"billing-api", "other"}[r.IntN(2)], ways[r.IntN(len(ways))]})
	}
	return p
}

// What the planner relies on, over pods of every kind.
func TestAPodNeverGoesBack(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	seen := map[bool]int{}
	for i := range 5000 {
		p := random(r, fmt.Sprint("pod-", i))
		now := noon.Add(time.Duration(r.IntN(600)) * time.Second)
		later := now.Add(time.Duration(r.IntN(600)) * time.Second)
		before, after := Judge([]Pod{p}, published, now), Judge([]Pod{p}, published, later)
		if before.Current > after.Current {
			t.Fatalf("%+v was current at %s and is not at %s", p, now, later)
		}
		if before.Total() != after.Total() {
			t.Fatalf("%+v is a consumer at one time only", p)
		}
		if at := before.ClearsAt; !at.IsZero() && (Judge([]Pod{p}, published, at).Current != 1 || !at.After(now)) {
			t.Fatalf("%+v is not current at %s, as was told at %s", p, at, now)
		}
		// A later publication and a longer margin never make more pods current.
		stricter := published
		stricter.At = stricter.At.Add(time.Duration(r.IntN(60)) * time.Second)
		stricter.Margin += time.Duration(r.IntN(60)) * time.Second
		if Judge([]Pod{p}, stricter, now).Current > before.Current {
			t.Fatalf("%+v is current for a stricter rule only", p)
		}
		p.Terminating = true
		if Judge([]Pod{p}, published, now).Current > before.Current {
			t.Fatalf("%+v is current because it is being ended", p)
		}
		seen[before.Current > 0]++
	}
	if seen[true] < 100 || seen[false] < 100 {
		t.Errorf("the pods are too much alike: %v", seen)
	}
}

// A list that proves something shows every pod that can ever be behind: who is created
// later is current.
func TestAListThatProvesMissesNobody(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	proven := 0
	for i := range 5000 {
		p := random(r, fmt.Sprint("pod-", i))
		p.Finished = false
		listed := p.CreatedAt.Add(-time.Duration(1+r.IntN(30)) * time.Second)
		if !published.Proves(listed) {
			continue
		}
		proven++
		if c := Judge([]Pod{p}, published, p.CreatedAt); len(c.Behind) > 0 {
			t.Fatalf("%+v is behind and was created after a list of %s", p, listed)
		}
	}
	if proven < 100 {
		t.Errorf("only %d lists prove anything", proven)
	}
}

func TestTheOrderOfPodsDoesNotMatter(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	var pods []Pod
	for i := range 50 {
		pods = append(pods, random(r, fmt.Sprintf("pod-%02d", i)))
	}
	want := Judge(pods, published, settled)
	slices.Reverse(pods)
	if diff := cmp.Diff(want, Judge(pods, published, settled)); diff != "" {
		t.Errorf("in another order (-want +got):\n%s", diff)
	}
	if want.Total() == 0 || want.Current == 0 || len(want.Behind) == 0 {
		t.Errorf("the pods are too much alike: %+v", want)
	}
}

// What an adopted version came from holds it for good: no pod that uses it moves by itself.
func TestWhoUsesACopy(t *testing.T) {
	name := []string{"billing-1"}
	behind, current, nobody := Count{Behind: name, Names: name}, Count{Current: 1, Names: name}, Count{}
	uses := func(secrets ...string) Pod {
		p := Pod{Name: "billing-1", CreatedAt: settled.Add(time.Hour), Reloads: true}
		for _, secret := range secrets {
			p.References = append(p.References, Reference{secret, Volume})
		}
		return p
	}
	for _, c := range []struct {
		when    string
		pod     Pod
		current bool
		want    Count
	}{
		{"a young pod that uses an earlier version's is behind, whatever it declares", uses("by-hand"), false, behind},
		{"so is one that uses the target as well", uses("billing-api", "by-hand"), false, behind},
		{"one that uses the target alone is current", uses("billing-api"), false, current},
		{"one that uses neither is no consumer", uses("other"), false, nobody},
		{"one that uses the published version's is current", uses("by-hand"), true, current},
		{"and counts once if it uses the target as well", uses("billing-api", "by-hand"), true, current},
	} {
		t.Run(c.when, func(t *testing.T) {
			with := published
			with.Copies = []Copy{{Secret: "by-hand", Current: c.current}}
			if diff := cmp.Diff(c.want, Judge([]Pod{c.pod}, with, settled.Add(24*time.Hour))); diff != "" {
				t.Errorf("count (-want +got):\n%s", diff)
			}
		})
	}
}

func TestPauseGrowsWithTheWaiting(t *testing.T) {
	for waited, want := range map[time.Duration]time.Duration{
		0: 15 * time.Second, time.Minute: 15 * time.Second, 4 * time.Minute: time.Minute, time.Hour: LastPause, 90 * 24 * time.Hour: LastPause,
	} {
		if got := Pause(waited, 15*time.Second); got != want {
			t.Errorf("after %s the pause is %s, want %s", waited, got, want)
		}
	}
	if got := Pause(time.Minute, time.Hour); got != time.Hour {
		t.Errorf("who asks for pauses of an hour gets %s", got)
	}
}

func TestNamesAreFew(t *testing.T) {
	if got := Names([]string{"a", "b"}); got != "a, b" {
		t.Errorf("two pods are named %q", got)
	}
	if got := Names([]string{"a", "b", "c", "d", "e", "f", "g"}); got != "a, b, c, d, e and 2 more" {
		t.Errorf("seven pods are named %q", got)
	}
}

func TestWhoRefersToASecretOfOneVersion(t *testing.T) {
	uses := func(name string, change func(*Pod), secrets ...string) Pod {
		p := Pod{Name: name, CreatedAt: noon}
		for _, s := range secrets {
			p.References = append(p.References, Reference{s, Volume})
		}
		if change != nil {
			change(&p)
		}
		return p
	}
	pods := []Pod{
		uses("b", nil, "v1", "v2"), uses("a", nil, "v1"), uses("none", nil),
		uses("over", func(p *Pod) { p.Finished = true }, "v1"),
		uses("reloads", func(p *Pod) { p.Reloads = true }, "v1"),
		uses("ends", func(p *Pod) { p.Terminating = true }, "v2"),
	}
	templates := []Template{{"StatefulSet/db", []string{"v2"}}, {"CronJob/report", []string{"v1", "v3"}}, {"StatefulSet/db", []string{"v1", "v2"}}}
	want := map[string]References{
		"v1": {Pods: []string{"a", "b", "reloads"}, Templates: []string{"CronJob/report", "StatefulSet/db"}},
		"v2": {Pods: []string{"b", "ends"}, Templates: []string{"StatefulSet/db"}},
		"v4": {},
	}
	if diff := cmp.Diff(want, ByName(pods, templates, []string{"v1", "v2", "v4"})); diff != "" {
		t.Errorf("references (-want +got):\n%s", diff)
	}
}
