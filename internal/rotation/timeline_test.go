package rotation

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger-dev/claviger/internal/interval"
)

// beginsAt follows the wake-ups of Next from a time on until it decides an action.
func beginsAt(t *testing.T, f *facts, now time.Time, action Action) time.Time {
	t.Helper()
	for range 100 {
		step := Next(f.Observed, f.policy, f.caps, now)
		switch {
		case step.Action == action:
			return now
		case step.Action != Wait:
			t.Fatalf("at %s: %+v, want %s", now, step, action)
		case !step.Until.After(now):
			t.Fatalf("at %s: a wake-up at %s: %+v", now, step.Until, step)
		}
		now = step.Until
	}
	t.Fatalf("%s is never decided", action)
	return time.Time{}
}

// anyPolicy draws preferences with none to two windows.
func anyPolicy(t *testing.T, random *rand.Rand) Policy {
	t.Helper()
	zones := []string{"UTC", "Europe/Berlin", "America/New_York", "Pacific/Apia"}
	rotate := time.Duration(2+random.IntN(90)) * days
	p := Policy{
		RotateAfter:   interval.FromDuration(rotate),
		Overlap:       interval.FromDuration(time.Duration(1 + random.Int64N(int64(rotate/2)))),
		VerifyTimeout: time.Minute,
	}
	for range random.IntN(3) {
		schedule := fmt.Sprintf("%d %d * * %d", random.IntN(60), random.IntN(24), random.IntN(7))
		w, err := interval.ParseWindow(schedule, fmt.Sprintf("%dm", 10+random.IntN(1000)), zones[random.IntN(len(zones))])
		if err != nil {
			t.Fatal(err)
		}
		p.Windows = append(p.Windows, w)
	}
	return p
}

func TestWhatTheTimelineSaysNextDoes(t *testing.T) {
	missed, waits := 0, 0
	for seed := range uint64(400) {
		random := rand.New(rand.NewPCG(seed, 11))
		f := working()
		f.policy, f.Credential.UID = anyPolicy(t, random), fmt.Sprint("uid-", seed)
		f.Versions[0].IntentAt = ago(time.Duration(random.Int64N(int64(120 * days))))
		plan := Timeline(f.Observed, f.policy, noon)
		if got, want := beginsAt(t, f, noon, CreateIntent), later(plan.RenewsAt, noon); !got.Equal(want) {
			t.Errorf("seed %d: the timeline says that the renewal begins at %s, and it begins at %s", seed, want, got)
		}
		if dueAt(f.policy, f.Credential.UID, f.Versions[0].IntentAt).Before(noon) {
			missed++
		} else if len(f.policy.Windows) > 0 {
			waits++
		}

		overlapping(f)
		f.policy.RotateAfter = unlimited
		f.Target.PublishedAt = ago(time.Duration(random.Int64N(int64(30 * days)))).Truncate(time.Second)
		plan = Timeline(f.Observed, f.policy, noon)
		if got, want := beginsAt(t, f, noon, Retire), later(plan.Retires[1], noon); !got.Equal(want) {
			t.Errorf("seed %d: the timeline says that version 1 retires at %s, and it retires at %s", seed, want, got)
		}
	}
	if missed < 20 || waits < 20 {
		t.Errorf("of the policies drawn %d were overdue and %d wait for a window: too few to show anything", missed, waits)
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func TestAVersionIsOverdueWhenItsSuccessorsOverlapWouldHavePassed(t *testing.T) {
	f := working()
	if diff := cmp.Diff(ago(10*days).Add(32*days), OverdueAt(f.Observed, f.policy)); diff != "" {
		t.Error(diff)
	}
	f.policy.RotateAfter = interval.Unlimited()
	if at := OverdueAt(f.Observed, f.policy); !at.IsZero() {
		t.Errorf("without an age: %s", at)
	}
	f = working()
	f.Target.Published = 0
	if at := OverdueAt(f.Observed, f.policy); !at.IsZero() {
		t.Errorf("without a published version: %s", at)
	}
}

func TestTimeline(t *testing.T) {
	saturday := window(t, "0 2 * * SAT", "4h")
	none := map[int64]time.Time{}
	for _, c := range []struct {
		when  string
		given func(*facts)
		want  Plan
	}{
		{"a version that works is renewed at its age", nil, Plan{RenewsAt: renewal(), Retires: none}},
		{"nothing is planned before anything is published", func(f *facts) { f.Target = Target{} }, Plan{Retires: none}},
		{"without a policy nothing is renewed", func(f *facts) { f.policy.RotateAfter = unlimited }, Plan{Retires: none}},
		{"under a policy that is not accepted nothing is renewed", func(f *facts) { f.policy.Problem = stuck("PolicyNotFound", "") }, Plan{Retires: none}},
		{
			"what is overdue and may begin shows when it was due", func(f *facts) { f.Versions[0].IntentAt = f.Versions[0].IntentAt.Add(-30 * days) },
			Plan{RenewsAt: renewal().Add(-30 * days), Retires: none},
		},
		{"what was due in a window that has closed shows the next one", func(f *facts) {
			f.Versions[0].IntentAt, f.policy.Windows = f.Versions[0].IntentAt.Add(-30*days), saturday
		}, Plan{RenewsAt: time.Date(2026, 3, 7, 2, 0, 0, 0, time.UTC), Retires: none}},
		{
			"what the upstream ends sooner is renewed when two thirds of its life are over", func(f *facts) { f.Versions[0].ExpiresAt = in(11 * days) },
			Plan{RenewsAt: in(4 * days), Retires: none},
		},
		{
			"what the upstream ends later is renewed at its age", func(f *facts) { f.Versions[0].ExpiresAt = in(80 * days) },
			Plan{RenewsAt: renewal(), Retires: none},
		},
		{
			"what the upstream ends is renewed where nothing is due by age", func(f *facts) { f.Versions[0].ExpiresAt, f.policy.RotateAfter = in(80*days), unlimited },
			Plan{RenewsAt: in(50 * days), Retires: none},
		},
		{
			"what should have been renewed already shows when it was due", func(f *facts) { f.Versions[0].ExpiresAt = in(2 * days) },
			Plan{RenewsAt: ago(2 * days), Retires: none},
		},
		{
			"a window that never opens does not hide when something is due", func(f *facts) { f.policy.Windows = interval.Windows{{}} },
			Plan{RenewsAt: renewal(), Retires: none},
		},
		{
			"a predecessor retires after its overlap", both(overlapping, func(f *facts) { f.Target.PublishedAt = noon }),
			Plan{RenewsAt: renewalOf2(), Retires: map[int64]time.Time{1: in(2*days + time.Second)}},
		},
		{
			"a predecessor that was marked to be put back stays for the mark", both(overlapping, func(f *facts) { f.Versions[0].RepublishAt = noon }),
			Plan{RenewsAt: renewalOf2(), Retires: map[int64]time.Time{1: in(ClaimTime)}},
		},
		{
			"a predecessor whose retirement is under way has no plan", both(overlapping, func(f *facts) { f.Versions[0].Terminating = true }),
			Plan{RenewsAt: renewalOf2(), Retires: none},
		},
		{
			"nobody knows the end of an overlap whose beginning is lost", both(overlapping, func(f *facts) { f.Target.PublishedAt = time.Time{} }),
			Plan{RenewsAt: renewalOf2(), Retires: none},
		},
	} {
		t.Run(c.when, func(t *testing.T) {
			f := working()
			if c.given != nil {
				c.given(f)
			}
			if diff := cmp.Diff(c.want, Timeline(f.Observed, f.policy, noon)); diff != "" {
				t.Error(diff)
			}
		})
	}
}
