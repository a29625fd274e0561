package rollout

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// noon is when every decision of the tables is made.
var noon = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)

func in(d time.Duration) time.Time  { return noon.Add(d) }
func ago(d time.Duration) time.Time { return noon.Add(-d) }

// hourAgo is a wave that began an hour ago.
var hourAgo = Wave{Begins: ago(time.Hour), Pause: time.Minute, Timeout: 10 * time.Minute}

// old is a workload of three pods that nobody has restarted.
func old(name string, changes ...func(*Workload)) Workload {
	w := Workload{Kind: "Deployment", Name: name, CreatedAt: ago(1000 * time.Hour), Seen: true, Wanted: 3, Total: 3, Updated: 3, Available: 3, Watched: true}
	for _, change := range changes {
		change(&w)
	}
	return w
}

// restarted was marked and noted five minutes ago and has replaced one pod of three.
func restarted(w *Workload) {
	w.Marked, w.NotedAt, w.Total, w.Updated = true, ago(5*time.Minute), 4, 1
}

// done has replaced all, half a minute ago.
func done(w *Workload) {
	w.Marked, w.NotedAt, w.DoneSince = true, ago(5*time.Minute), ago(30*time.Second)
}

func TestWhereAWorkloadIs(t *testing.T) {
	for when, c := range map[string]struct {
		given func(*Workload)
		want  State
	}{
		"nobody has restarted it":                                   {func(*Workload) {}, Waiting},
		"it does not exist":                                         {func(w *Workload) { w.Missing = true }, NotFound},
		"it was created after the publication was certain":          {func(w *Workload) { w.CreatedAt, w.Available = ago(time.Hour), 0 }, Done},
		"it was created a moment before":                            {func(w *Workload) { w.CreatedAt = ago(time.Hour + time.Second) }, Waiting},
		"it replaces its pods":                                      {restarted, Rolling},
		"its controller has not seen the mark yet":                  {func(w *Workload) { w.Marked, w.Seen = true, false }, Rolling},
		"all pods are new, and an old one is left":                  {func(w *Workload) { restarted(w); w.Updated, w.Total = 3, 4 }, Rolling},
		"all pods are new, and an old one is being ended":           {func(w *Workload) { restarted(w); w.Updated, w.Total, w.Leaving = 3, 3, 1 }, Rolling},
		"all pods are new, and one is not available":                {func(w *Workload) { restarted(w); w.Updated, w.Total, w.Available = 3, 3, 2 }, Rolling},
		"all pods are new and available":                            {func(w *Workload) { restarted(w); w.Updated, w.Total = 3, 3 }, Done},
		"it has no pods":                                            {func(w *Workload) { restarted(w); w.Wanted, w.Updated, w.Total, w.Available = 0, 0, 0, 0 }, Done},
		"its controller has given up":                               {func(w *Workload) { restarted(w); w.GaveUp = "deadline" }, Failed},
		"it gave up before it was restarted, for another reason":    {func(w *Workload) { w.GaveUp = "deadline" }, Waiting},
		"nobody watches it and it has time":                         {func(w *Workload) { restarted(w); w.Watched = false }, Rolling},
		"nobody watches it and it is late":                          {func(w *Workload) { restarted(w); w.Watched, w.NotedAt = false, ago(10*time.Minute) }, Failed},
		"somebody watches it, however late it is":                   {func(w *Workload) { restarted(w); w.NotedAt = ago(10 * time.Minute) }, Rolling},
		"it is paused":                                              {func(w *Workload) { restarted(w); w.Updated, w.Never = 0, "paused" }, NeverRolls},
		"it is paused, and was before the mark":                     {func(w *Workload) { w.Never = "paused" }, Waiting},
		"it never rolls, and somebody has deleted all old pods":     {func(w *Workload) { restarted(w); w.Updated, w.Total, w.Never = 3, 3, "OnDelete" }, Done},
		"the mark is gone and pods are as they were":                {func(w *Workload) { restarted(w); w.Marked, w.Updated, w.Total = false, 3, 3 }, Reverted},
		"the mark is gone and all pods are younger":                 {func(w *Workload) { restarted(w); w.Marked, w.Updated, w.Total, w.PodsMoved = false, 3, 3, true }, Done},
		"the mark is gone and it still replaces pods":               {func(w *Workload) { restarted(w); w.Marked, w.PodsMoved = false, true }, Reverted},
		"the mark is gone after it was seen to be done":             {func(w *Workload) { done(w); w.Marked = false }, Done},
		"it was done, and one of its pods is replaced for a reason": {func(w *Workload) { done(w); w.Available = 2 }, Done},
		"the API server refused the mark":                           {func(w *Workload) { w.Refusal = "quota" }, Refused},
	} {
		t.Run(when, func(t *testing.T) {
			w := old("billing", c.given)
			if got := w.In(hourAgo, noon); got != c.want {
				t.Errorf("it is %s, want %s", got, c.want)
			}
			held := map[State]bool{Failed: true, NeverRolls: true, Reverted: true, Refused: true, NotFound: true}[c.want]
			if said := w.Held(hourAgo, noon); (said != "") != held {
				t.Errorf("in the state %s it is said: %q", c.want, said)
			}
		})
	}
}

func TestWhatComesNext(t *testing.T) {
	for when, c := range map[string]struct {
		all  []Workload
		full bool
		want Decision
	}{
		"there is none":          {nil, false, Decision{Do: Finish, Workload: -1}},
		"the first has its turn": {[]Workload{old("a"), old("b")}, false, Decision{Do: Restart, Workload: 0}},
		"a mark is written down before anything else": {
			[]Workload{old("a", restarted), old("b", func(w *Workload) { w.Marked = true })}, false, Decision{Do: Note, Workload: 1},
		},
		"one that began with the mark needs no note": {
			[]Workload{old("a", func(w *Workload) { w.Marked, w.CreatedAt = true, noon })}, false, Decision{Do: Finish, Workload: -1},
		},
		"the second waits for the first": {
			[]Workload{old("a", restarted), old("b")}, false, Decision{Do: Nothing, Workload: 0, Why: "Deployment/a is being restarted"},
		},
		"and for the pause after it": {
			[]Workload{old("a", done), old("b")},
			false,
			Decision{Do: Nothing, Workload: 1, Until: in(30 * time.Second), Why: "Deployment/b is restarted at 2026-03-04T12:00:30Z, after the pause"},
		},
		"then it has its turn": {
			[]Workload{old("a", done, func(w *Workload) { w.DoneSince = ago(time.Minute) }), old("b")}, false, Decision{Do: Restart, Workload: 1},
		},
		"the last pause counts, whoever was done last": {
			[]Workload{old("a", done), old("b", done, func(w *Workload) { w.DoneSince = ago(time.Hour) }), old("c")},
			false,
			Decision{Do: Nothing, Workload: 2, Until: in(30 * time.Second), Why: "Deployment/c is restarted at 2026-03-04T12:00:30Z, after the pause"},
		},
		"it waits for other credentials of the workload (H10)": {
			[]Workload{old("a", func(w *Workload) { w.Together = in(time.Minute) })},
			false,
			Decision{Do: Nothing, Workload: 0, Until: in(time.Minute), Why: "Deployment/a is restarted by 2026-03-04T12:01:00Z, once for all its credentials"},
		},
		"it waits for room in the namespace": {
			[]Workload{old("a")}, true, Decision{Do: Nothing, Workload: 0, Why: "Deployment/a waits for restarts of other workloads of the namespace"},
		},
		"a failure holds what follows": {
			[]Workload{old("a", restarted, func(w *Workload) { w.GaveUp = "deadline" }), old("b")},
			false,
			Decision{Do: Nothing, Workload: 0, Held: true, Why: "Deployment/a does not get on (deadline): mend it, and it goes on by itself"},
		},
		"so does a lateness that nobody else sees": {
			[]Workload{old("a", restarted, func(w *Workload) { w.Watched, w.NotedAt = false, ago(time.Hour) })},
			false,
			Decision{Do: Nothing, Workload: 0, Held: true, Why: "Deployment/a does not get on (it is not rolled out after 10m0s): mend it, and it goes on by itself"},
		},
		"and one that never rolls (M14)": {
			[]Workload{old("a", restarted, func(w *Workload) { w.Never = "it is paused: resume it" }), old("b")},
			false,
			Decision{Do: Nothing, Workload: 0, Held: true, Why: "Deployment/a does not replace its pods by itself (it is paused: resume it)"},
		},
		"one that was refused is tried again after a while": {
			[]Workload{old("a", func(w *Workload) { w.Refusal, w.Retry = "quota", in(time.Minute) })},
			false,
			Decision{Do: Nothing, Workload: 0, Held: true, Until: in(time.Minute), Why: "Deployment/a cannot be restarted: quota"},
		},
		"and then again": {[]Workload{old("a", func(w *Workload) { w.Refusal, w.Retry = "quota", noon })}, false, Decision{Do: Restart, Workload: 0}},
		"one that does not exist does not keep others from their turn": {
			[]Workload{old("a", func(w *Workload) { w.Missing = true }), old("b")}, false, Decision{Do: Restart, Workload: 1},
		},
		"but holds the end": {
			[]Workload{old("a", func(w *Workload) { w.Missing = true }), old("b", done)},
			false,
			Decision{Do: Nothing, Workload: 0, Held: true, Why: "Deployment/a does not exist: correct or remove the name in spec.rollout"},
		},
		"all are done": {[]Workload{old("a", done), old("b", done)}, false, Decision{Do: Finish, Workload: -1}},
	} {
		t.Run(when, func(t *testing.T) {
			if diff := cmp.Diff(c.want, Next(c.all, hourAgo, !c.full, noon)); diff != "" {
				t.Errorf("decision (-want +got):\n%s", diff)
			}
		})
	}
}

func TestTogether(t *testing.T) {
	published := func(name string, at time.Time, pending bool) Party {
		return Party{Name: name, Wave: "2." + name, PublishedAt: at, Begins: at.Add(time.Minute), Pending: pending}
	}
	self := published("self", ago(2*time.Minute), true)
	for when, c := range map[string]struct {
		others   []Party
		coalesce time.Duration
		want     time.Time
	}{
		"it is alone":                               {nil, 5 * time.Minute, ago(time.Minute)},
		"another may publish soon":                  {[]Party{published("b", ago(time.Hour), false)}, 5 * time.Minute, in(3 * time.Minute)},
		"all others have published":                 {[]Party{published("b", ago(time.Minute), true)}, 5 * time.Minute, noon},
		"one has, and another may":                  {[]Party{published("b", ago(time.Minute), true), published("c", ago(time.Hour), false)}, 5 * time.Minute, in(3 * time.Minute)},
		"one has waited for longer":                 {[]Party{published("b", ago(4*time.Minute), true), published("c", ago(time.Hour), false)}, 5 * time.Minute, in(time.Minute)},
		"one has waited long enough":                {[]Party{published("b", ago(time.Hour), true), published("c", ago(time.Hour), false)}, 5 * time.Minute, ago(time.Minute)},
		"the last comes too late to be waited for":  {[]Party{published("b", in(10*time.Minute), true)}, 5 * time.Minute, in(3 * time.Minute)},
		"nobody is waited for, as the policy wants": {[]Party{published("b", ago(time.Hour), false)}, 0, ago(time.Minute)},
	} {
		t.Run(when, func(t *testing.T) {
			if got := Together(self, c.others, c.coalesce); !got.Equal(c.want) {
				t.Errorf("it may be restarted at %s, want %s", got, c.want)
			}
		})
	}
}

func TestTheMarkKeepsWhatIsTrue(t *testing.T) {
	before := ParseMark("a=1.aa,b=4.bb,gone=7.77,self=1.11")
	parties := []Party{
		{Name: "a", Wave: "2.aa", Begins: noon},            // published for long enough
		{Name: "b", Wave: "5.bb", Begins: in(time.Second)}, // new pods may still read the version before
		{Name: "c", Wave: "1.cc", Begins: ago(time.Hour)},  // never restarted it
		{Name: "d"}, // has published nothing that workloads are restarted for
		{Name: "e", Wave: "3.ee", Begins: in(10 * time.Minute)}, // has no word in it yet
	}
	got := before.Restarted(Party{Name: "self", Wave: "2.22"}, parties, noon).String()
	if want := "a=2.aa,b=4.bb,c=1.cc,self=2.22"; got != want {
		t.Errorf("the mark is %q, want %q", got, want)
	}
	if again := ParseMark(got).String(); again != got {
		t.Errorf("read and written again it is %q", again)
	}
	if got := ParseMark("x,=,a=,=b,c=1").String(); got != "c=1" {
		t.Errorf("of what somebody else wrote %q is kept", got)
	}
}

func TestWhereNobodyHasAnythingToLoseAllAreRestartedAtOnce(t *testing.T) {
	wave := hourAgo
	wave.AtOnce = true
	rolling := Workload{Kind: "Deployment", Name: "a", CreatedAt: ago(24 * time.Hour), Marked: true, NotedAt: ago(time.Minute), Watched: true, Wanted: 1}
	failed, waiting, gone := rolling, rolling, Workload{Kind: "Deployment", Name: "d", Missing: true}
	failed.Name, failed.GaveUp = "b", "no image"
	waiting.Name, waiting.Marked, waiting.NotedAt = "c", false, time.Time{}
	refused := waiting
	refused.Refusal, refused.Retry = "no right", in(time.Minute)
	for name, c := range map[string]struct {
		all  []Workload
		want Decision
	}{
		"one that is being restarted keeps nobody waiting":   {[]Workload{rolling, waiting}, Decision{Do: Restart, Workload: 1}},
		"nor does one that does not get on":                  {[]Workload{failed, gone, waiting}, Decision{Do: Restart, Workload: 2}},
		"nor one that could not be restarted":                {[]Workload{refused, waiting}, Decision{Do: Restart, Workload: 1}},
		"when none waits, what somebody has to mend is told": {[]Workload{rolling, failed}, Decision{Do: Nothing, Workload: 1, Held: true, Why: failed.Held(wave, noon)}},
		"the first of them":                                  {[]Workload{failed, refused}, Decision{Do: Nothing, Workload: 0, Held: true, Why: failed.Held(wave, noon)}},
		"or the first that is being restarted":               {[]Workload{rolling, rolling}, Decision{Do: Nothing, Workload: 0, Why: "Deployment/a is being restarted"}},
	} {
		if diff := cmp.Diff(c.want, Next(c.all, wave, true, noon)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
