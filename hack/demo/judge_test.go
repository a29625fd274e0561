package main

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"
)

var (
	billing  = types.NamespacedName{Namespace: "payments", Name: "billing"}
	tracking = types.NamespacedName{Namespace: "shipping", Name: "tracking"}
)

// issued is an object whose target Secret shows the mark in capitals.
func issued(app, mark string, revoked bool) version {
	return version{place: app, mark: mark, held: strings.ToUpper(mark), live: !revoked}
}

func inJournal(credential types.NamespacedName, number int64, mark string) entry {
	return entry{credential: credential, number: number, mark: mark}
}

func TestCompareFindsEveryDifferenceBetweenLedgerAndJournal(t *testing.T) {
	revoked := inJournal(billing, 1, "b1")
	revoked.revoked, revoked.terminating = true, true
	leaving := inJournal(billing, 1, "b1")
	leaving.terminating = true
	for name, tc := range map[string]struct {
		ledger   []version
		journal  []entry
		holds    string
		admitted int64
		want     difference
	}{
		"one version lives, the journal has it and the Secret holds it": {
			ledger:  []version{issued("billing", "b1", true), issued("billing", "b2", false)},
			journal: []entry{inJournal(billing, 2, "b2")},
			holds:   "B2",
		},
		"a tombstone that says revoked is no claim that something lives": {
			ledger:  []version{issued("billing", "b1", true), issued("billing", "b2", false)},
			journal: []entry{revoked, inJournal(billing, 2, "b2")},
			holds:   "B2",
		},
		"a version on its way out is still known": {
			ledger:  []version{issued("billing", "b1", false), issued("billing", "b2", false)},
			journal: []entry{leaving, inJournal(billing, 2, "b2")},
			holds:   "B2",
		},
		"what lives upstream and is in no journal is an orphan": {
			ledger:  []version{issued("billing", "b1", false), issued("billing", "b2", false)},
			journal: []entry{inJournal(billing, 2, "b2")},
			holds:   "B2",
			want:    difference{orphans: []string{"orphan: B1 (mark b1) of billing lives upstream and is in no journal"}},
		},
		"what the journal calls revoked and lives is an orphan too": {
			ledger:  []version{issued("billing", "b1", false), issued("billing", "b2", false)},
			journal: []entry{revoked, inJournal(billing, 2, "b2")},
			holds:   "B2",
			want:    difference{orphans: []string{"orphan: B1 (mark b1) of billing lives upstream and is in no journal"}},
		},
		"an orphan of an app that no credential is for is found": {
			ledger:  []version{issued("rehearsal", "r1", false), issued("billing", "b1", false)},
			journal: []entry{inJournal(billing, 1, "b1")},
			holds:   "B1",
			want:    difference{orphans: []string{"orphan: R1 (mark r1) of rehearsal lives upstream and is in no journal"}},
		},
		"what the journal has and upstream does not live is lost, and dead where it is held": {
			ledger:  []version{issued("billing", "b1", true)},
			journal: []entry{inJournal(billing, 1, "b1")},
			holds:   "B1",
			want: difference{
				lost: []string{"lost: payments/billing version 1 should live upstream and does not (mark b1)"},
				dead: []string{`dead: the Secret of payments/billing holds "B1", which does not live upstream`},
			},
		},
		"a Secret that holds a predecessor which was revoked is dead": {
			ledger:  []version{issued("billing", "b1", true), issued("billing", "b2", false)},
			journal: []entry{inJournal(billing, 2, "b2")},
			holds:   "B1",
			want:    difference{dead: []string{`dead: the Secret of payments/billing holds "B1", which does not live upstream`}},
		},
		"a Secret that is missing is dead": {
			ledger:  []version{issued("billing", "b1", false)},
			journal: []entry{inJournal(billing, 1, "b1")},
			want:    difference{dead: []string{`dead: the Secret of payments/billing holds "", which does not live upstream`}},
		},
		"a grant that was lost, and is admitted to be, is no orphan; a second one is": {
			ledger:   []version{issued("billing", "x", false), issued("billing", "y", false), issued("billing", "b3", false)},
			journal:  []entry{inJournal(billing, 3, "b3")},
			holds:    "B3",
			admitted: 1,
			want:     difference{orphans: []string{"orphan: Y (mark y) of billing lives upstream and is in no journal"}},
		},
		"more issued than versions counted means that something was issued twice": {
			ledger:  []version{issued("billing", "x", true), issued("billing", "b1", false)},
			journal: []entry{inJournal(billing, 1, "b1")},
			holds:   "B1",
			want:    difference{twice: []string{"twice: 2 were issued for payments/billing, and it counts 1 versions"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := compare(tc.ledger, tc.journal, map[types.NamespacedName]string{billing: tc.holds}, map[string]types.NamespacedName{"billing": billing}, map[types.NamespacedName]int64{billing: tc.admitted})
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(difference{})); diff != "" {
				t.Errorf("compare (-want +got):\n%s", diff)
			}
			if got.none() != (len(got.list()) == 0) {
				t.Errorf("none says %v about %v", got.none(), got.list())
			}
		})
	}
}

func TestAtRestWaitsForWhatIsUnderWay(t *testing.T) {
	leaving := inJournal(billing, 1, "b1")
	leaving.terminating = true
	tombstone := inJournal(billing, 1, "b1")
	tombstone.terminating, tombstone.revoked = true, true
	both := []types.NamespacedName{billing, tracking}
	for name, tc := range map[string]struct {
		journal []entry
		want    string // empty: at rest
	}{
		"one version each":                   {[]entry{inJournal(billing, 2, "b2"), inJournal(tracking, 1, "t1")}, ""},
		"a tombstone beside it":              {[]entry{tombstone, inJournal(billing, 2, "b2"), inJournal(tracking, 1, "t1")}, ""},
		"an overlap that runs":               {[]entry{inJournal(billing, 1, "b1"), inJournal(billing, 2, "b2"), inJournal(tracking, 1, "t1")}, "2 versions of payments/billing are not revoked"},
		"a version that waits to be revoked": {[]entry{leaving, inJournal(billing, 2, "b2"), inJournal(tracking, 1, "t1")}, "payments/billing version 1 is being revoked"},
		"a credential without any version":   {[]entry{inJournal(billing, 2, "b2")}, "0 versions of shipping/tracking are not revoked"},
	} {
		t.Run(name, func(t *testing.T) {
			resting, still := atRest(tc.journal, both)
			if resting != (tc.want == "") || still != tc.want {
				t.Errorf("atRest: %v, %q; want %q", resting, still, tc.want)
			}
		})
	}
}

// passed is a demo in which everything held.
func passed() summary {
	return summary{
		credentials: 2, rotations: 7, least: 3, wanted: 3, calls: 1000,
		kills: map[moment]int{answerWithheld: 2, revokeUnsent: 3},
	}
}

func TestTheJudgeObjectsToEverythingThatDidNotHold(t *testing.T) {
	for name, tc := range map[string]struct {
		spoil func(*summary)
		want  string // empty: no objection
	}{
		"a demo in which everything held":      {func(*summary) {}, ""},
		"one failed call":                      {func(s *summary) { s.failed = 1; s.failures = []string{"billing: 401"} }, "1 of 1000 calls failed\nbilling: 401"},
		"no call at all":                       {func(s *summary) { s.calls = 0 }, "no workload made a call, so nothing is known"},
		"a credential that rotated too seldom": {func(s *summary) { s.least = 2 }, "a credential was rotated 2 times; at least 3 were asked for"},
		"an orphan":                            {func(s *summary) { s.difference.orphans = []string{"orphan: x"} }, "orphan: x"},
		"a lost version":                       {func(s *summary) { s.difference.lost = []string{"lost: x"} }, "lost: x"},
		"an overlap that was cut short":        {func(s *summary) { s.early = []string{"early: x"} }, "early: x"},
		"too few kills of a kind": {
			func(s *summary) { delete(s.kills, answerWithheld) },
			"the operator was killed 0 times when the upstream had created a version and withheld its answer; at least 2 times are wanted",
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := passed()
			tc.spoil(&s)
			if diff := cmp.Diff(tc.want, strings.Join(s.objections(), "\n")); diff != "" {
				t.Errorf("objections (-want +got):\n%s", diff)
			}
		})
	}
}

func TestTheLastLineIsWhatScriptsRead(t *testing.T) {
	s := passed()
	s.difference.orphans = []string{"one"}
	const want = "demo: credentials=2 rotations=7 calls=1000 kills=5 failed=0 orphans=1"
	if got := s.String(); got != want {
		t.Errorf("last line %q, want %q", got, want)
	}
}

func TestAnOverlapIsMeasuredFromWhatWasSeen(t *testing.T) {
	published := time.Unix(1000, 0)
	for name, tc := range map[string]struct {
		lived time.Duration
		early bool
	}{
		"exactly the overlap":                          {overlap, false},
		"the publication was seen a little late":       {overlap - 200*time.Millisecond, false},
		"half a second too short":                      {overlap - 500*time.Millisecond, true},
		"revoked before the successor was seen at all": {-time.Second, true},
	} {
		t.Run(name, func(t *testing.T) {
			got := tooEarly(inJournal(billing, 1, "b1"), published, published.Add(tc.lived))
			if (got != "") != tc.early {
				t.Errorf("tooEarly after %s says %q", tc.lived, got)
			}
		})
	}
}

func TestEveryRoundOfKillsStrikesACallThatComes(t *testing.T) {
	for credentials := 1; credentials <= 7; credentials++ {
		k := killer{credentials: credentials}
		for _, m := range moments {
			for n := range 5 {
				if skip := k.skip(m, n); skip < 0 || skip >= credentials {
					t.Errorf("strike %d at %s lets %d of %d calls pass", n, m, skip, credentials)
				}
			}
		}
	}
}

func TestSettingsComeFromTheEnvironment(t *testing.T) {
	for name, tc := range map[string]struct {
		env  map[string]string
		want settings
		bad  string
	}{
		"nothing set":           {nil, settings{rotations: 3, credentials: 6}, ""},
		"everything set":        {map[string]string{"DEMO_ROTATIONS": "1", "DEMO_CREDENTIALS": "2", "KEEP": "1"}, settings{1, 2, true}, ""},
		"not a number":          {map[string]string{"DEMO_ROTATIONS": "many"}, settings{}, "DEMO_ROTATIONS"},
		"no rotation":           {map[string]string{"DEMO_ROTATIONS": "0"}, settings{}, "DEMO_ROTATIONS"},
		"a KEEP that is no yes": {map[string]string{"KEEP": "maybe"}, settings{}, "KEEP"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := readSettings(func(name string) string { return tc.env[name] })
			if tc.bad != "" {
				if err == nil || !strings.Contains(err.Error(), tc.bad) {
					t.Fatalf("error %v does not name %s", err, tc.bad)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got != tc.want {
				t.Errorf("settings %+v, want %+v", got, tc.want)
			}
		})
	}
}

func TestTheLastWordsOfALogAreNotThoseOfEveryStart(t *testing.T) {
	log := "one\n" + `{"msg":"Starting workers"}` + "\ntwo\nthree\n"
	if got, want := lastWords(log, 2), "two\nthree"; got != want {
		t.Errorf("last words %q, want %q", got, want)
	}
	if got, want := lastWords(log, 9), "one\ntwo\nthree"; got != want {
		t.Errorf("last words %q, want %q", got, want)
	}
}
