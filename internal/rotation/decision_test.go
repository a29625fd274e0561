package rotation

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger-dev/claviger/internal/interval"
)

// noon is when every decision of the tables is made.
var noon = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)

func in(d time.Duration) time.Time  { return noon.Add(d) }
func ago(d time.Duration) time.Time { return noon.Add(-d) }

const days = 24 * time.Hour

var unlimited = interval.Unlimited()

// facts are what a decision is made of.
type facts struct {
	Observed
	policy Policy
	caps   Capabilities
}

// decision is a case of a table: what is different from a credential that works
// and has nothing to do, and the whole step that follows.
type decision struct {
	when  string
	given func(*facts)
	want  Step
}

const everything = FactCredential | FactIssuer | FactTarget | FactGuard | FactContainer | FactJournal | FactConsumers | FactWorkloads | FactCopies | FactConsent | FactPlace

// working is a credential at rest: version 1 is ten days old, published and
// accepted; it is renewed after 30 days. Everything was read live.
func working() *facts {
	return &facts{
		Observed: Observed{
			Credential: Credential{UID: "uid", Exists: true, Finalized: true},
			Account:    Account{VerdictDone: true, Held: true, SlotFree: true},
			Operator:   Operator{ClockSteady: true, GuardInForce: true, OrphanAge: days},
			Target:     Target{Exists: true, Ours: true, Published: 1, PublishedAt: ago(10 * days)},
			Versions:   []Version{served(1, 10*days)},
			Fresh:      everything,
		},
		policy: Policy{RotateAfter: interval.FromDuration(30 * days), Overlap: interval.FromDuration(2 * days), VerifyTimeout: 10 * time.Minute},
		caps:   Capabilities{RepeatHarmless: true, Repeatable: true, Addressable: true, Verifies: true, Overlap: true, Settle: time.Minute},
	}
}

// renewal is when version 1 of working is renewed.
func renewal() time.Time { return ago(10 * days).Add(30*days - interval.Jitter("uid", days)) }

// served is a version that was published once.
func served(number int64, age time.Duration) Version {
	return Version{Number: number, IntentAt: ago(age), OncePublished: true, Held: true}
}

// made is a version under way that this process has claimed a moment ago.
func made(number int64) Version {
	return Version{Number: number, IntentAt: noon, Replaces: number > 1, Held: true, ClaimMine: true, ClaimUntil: in(ClaimTime)}
}

// renewing is working with version 2 under way.
func renewing(change func(*Version)) func(*facts) {
	return func(f *facts) {
		v := made(2)
		if change != nil {
			change(&v)
		}
		f.Versions = append(f.Versions, v)
	}
}

// overlapping is working with version 2 published three days ago and version 1, one
// day after its overlap.
func overlapping(f *facts) {
	v := served(2, 3*days)
	v.Replaces = true
	f.Versions = append(f.Versions, v)
	f.Target.Published, f.Target.PublishedAt = 2, ago(3*days)
}

// renewalOf2 is when version 2 of overlapping is renewed.
func renewalOf2() time.Time { return renewal().Add(7 * days) }

func both(changes ...func(*facts)) func(*facts) {
	return func(f *facts) {
		for _, change := range changes {
			change(f)
		}
	}
}

func stuck(reason, message string) *Problem { return &Problem{Reason: reason, Message: message} }
func stalled(reason, message string) *Problem {
	return &Problem{Reason: reason, Message: message, Stalled: true}
}

func window(t *testing.T, schedule, duration string) interval.Windows {
	t.Helper()
	w, err := interval.ParseWindow(schedule, duration, "UTC")
	if err != nil {
		t.Fatal(err)
	}
	return interval.Windows{w}
}

func decide(t *testing.T, table []decision) {
	t.Helper()
	for _, d := range table {
		t.Run(d.when, func(t *testing.T) {
			f := working()
			if d.given != nil {
				d.given(f)
			}
			got := Next(f.Observed, f.policy, f.caps, noon)
			if diff := cmp.Diff(d.want, got); diff != "" {
				t.Errorf("next step (-want +got):\n%s", diff)
			}
		})
	}
}

// allDecisions are all tables of this package.
func allDecisions(t *testing.T) []decision {
	t.Helper()
	return slices.Concat(keepDecisions(), adoptDecisions(), wayDecisions(), retireDecisions(t), succeedDecisions(t), endDecisions(), answerDecisions(), requestDecisions(), uptakeDecisions(), rolloutDecisions(t), previousDecisions(), massDecisions(), copyDecisions(), consentDecisions(t), loginDecisions(), deliveryDecisions(), placeDecisions(), replaceDecisions())
}

func TestEveryActionIsDecidedInSomeCase(t *testing.T) {
	decided := map[Action]bool{}
	for _, d := range allDecisions(t) {
		decided[d.want.Action] = true
	}
	for _, action := range Actions() {
		if !decided[action] {
			t.Errorf("no case of any table decides %s", action)
		}
		delete(decided, action)
	}
	for action := range decided {
		t.Errorf("Actions does not list %s", action)
	}
}

func TestEveryReasonIsGivenInSomeCaseAndDocumented(t *testing.T) {
	given := map[string]bool{}
	for _, d := range allDecisions(t) {
		for _, p := range []*Problem{d.want.Problem, d.want.Notice} {
			if p != nil {
				given[p.Reason] = true
			}
		}
	}
	conditions := read(t, filepath.Join("..", "..", "api", "v1alpha1", "conditions.go"))
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	reason, found := regexp.MustCompile(`Reason: "(\w+)"`), 0
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		for _, match := range reason.FindAllStringSubmatch(read(t, file), -1) {
			found++
			if !given[match[1]] {
				t.Errorf("%s: no case of any table gives the reason %s", file, match[1])
			}
			if !strings.Contains(conditions, `= "`+match[1]+`"`) {
				t.Errorf("%s: the API documents no reason %s", file, match[1])
			}
		}
	}
	if found == 0 {
		t.Error("no reason was found in the source")
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func TestBackoffDoublesFromAMinuteToSixHours(t *testing.T) {
	for failures, want := range map[int]time.Duration{
		0: time.Minute, 1: time.Minute, 2: 2 * time.Minute, 3: 4 * time.Minute, 9: 256 * time.Minute, 10: 6 * time.Hour, 1000: 6 * time.Hour,
	} {
		if got := Backoff(failures); got != want {
			t.Errorf("after failure %d in a row: %s, want %s", failures, got, want)
		}
	}
}

func TestPatienceGrowsWithTheRefusal(t *testing.T) {
	for refused, want := range map[time.Duration]time.Duration{
		0: time.Second, 4 * time.Second: time.Second, 20 * time.Second: 5 * time.Second, 2 * time.Minute: 30 * time.Second, time.Hour: 30 * time.Second,
	} {
		if got := Patience(refused); got != want {
			t.Errorf("refused for %s: pause of %s, want %s", refused, got, want)
		}
	}
}

func TestFactsAreHadTogetherOrNotAtAll(t *testing.T) {
	if f := FactTarget | FactGuard; !f.Has(FactTarget) || !f.Has(f) || f.Has(FactTarget|FactIssuer) || !f.Has(0) {
		t.Error("Has does not mean all of them")
	}
}

func TestAnsweredNamesTheVersion(t *testing.T) {
	f := working()
	overlapping(f)
	for what, c := range map[string]struct {
		request time.Time
		want    int64
	}{
		"no request":                           {time.Time{}, 0},
		"a request that both versions outlive": {ago(20 * days), 1},
		"a request between the versions":       {ago(5 * days), 2},
		"a request that nothing answers":       {ago(3*days - 1), 0},
	} {
		f.Credential.RotateRequestedAt = c.request
		if got := f.Answered(); got != c.want {
			t.Errorf("%s is answered by version %d, want %d", what, got, c.want)
		}
	}
}
