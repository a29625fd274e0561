package interval

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func mustParse(t *testing.T, text string) Interval {
	t.Helper()
	i, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func at(t *testing.T, text string) time.Time {
	t.Helper()
	parsed, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

func TestAddToCountsYearsAndMonthsOnTheCalendar(t *testing.T) {
	for name, tc := range map[string]struct{ from, age, want string }{
		"a month from the last of January ends with February":             {"2026-01-31T10:00:00Z", "1mo", "2026-02-28T10:00:00Z"},
		"and on the 29th in a leap year":                                  {"2028-01-31T10:00:00Z", "1mo", "2028-02-29T10:00:00Z"},
		"three months from the last of January end with April":            {"2026-01-31T10:00:00Z", "3mo", "2026-04-30T10:00:00Z"},
		"a month over the end of the year":                                {"2026-12-15T10:00:00Z", "1mo", "2027-01-15T10:00:00Z"},
		"a year from 29 February ends on the 28th":                        {"2028-02-29T23:59:59Z", "1y", "2029-02-28T23:59:59Z"},
		"four years from 29 February reach the next one":                  {"2028-02-29T00:00:00Z", "4y", "2032-02-29T00:00:00Z"},
		"a year and a month are clamped once, not twice":                  {"2027-12-31T00:00:00Z", "1y 2mo", "2029-02-28T00:00:00Z"},
		"days are added after the clamp":                                  {"2026-01-31T00:00:00Z", "1mo 1d", "2026-03-01T00:00:00Z"},
		"the example of the manual":                                       {"2026-01-01T00:00:00Z", "1y 4w 3d 5h 30m", "2027-02-01T05:30:00Z"},
		"a day is 24 hours, also where the clock of the zone jumps":       {"2026-03-28T12:00:00+01:00", "1d", "2026-03-29T12:00:00+01:00"},
		"the calendar is that of UTC: this is still January there":        {"2026-02-01T00:30:00+01:00", "1mo", "2026-03-01T00:30:00+01:00"},
		"nothing is added by zero":                                        {"2026-01-31T10:00:00Z", "0d", "2026-01-31T10:00:00Z"},
		"Unlimited is never":                                              {"2026-01-31T10:00:00Z", "Unlimited", "9999-12-31T23:59:59Z"},
		"a sum beyond the last year that can be written is never as well": {"9950-01-01T00:00:00Z", "100y", "9999-12-31T23:59:59Z"},
	} {
		t.Run(name, func(t *testing.T) {
			got := mustParse(t, tc.age).AddTo(at(t, tc.from))
			if want := at(t, tc.want); !got.Equal(want) {
				t.Errorf("%s + %s = %s, want %s", tc.from, tc.age, got.Format(time.RFC3339), tc.want)
			}
		})
	}
}

func TestAddToKeepsTheZoneAndTheNanoseconds(t *testing.T) {
	zone := time.FixedZone("x", 3600)
	got := mustParse(t, "1mo").AddTo(time.Date(2026, 5, 5, 5, 5, 5, 5, zone))
	if want := time.Date(2026, 6, 5, 5, 5, 5, 5, zone); got.String() != want.String() {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestMinAndMaxBoundEveryIntervalFromEveryDay(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 20000 {
		i := randomInterval(random)
		from := time.Unix(random.Int64N(4_000_000_000), random.Int64N(1e9))
		took := i.AddTo(from).Sub(from)
		if took < i.Min() || took > i.Max() {
			t.Fatalf("%s from %s takes %s, outside %s to %s", i, from.UTC(), took, i.Min(), i.Max())
		}
	}
}

func TestDefinitelyLessHoldsFromEveryDay(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	less := 0
	for range 20000 {
		a, b := randomInterval(random), randomInterval(random)
		if !DefinitelyLess(a, b) {
			continue
		}
		less++
		// The two may begin on different days: an overlap runs from publication.
		fromA, fromB := time.Unix(random.Int64N(4_000_000_000), 0), time.Unix(random.Int64N(4_000_000_000), 0)
		if a.AddTo(fromA).Sub(fromA) >= b.AddTo(fromB).Sub(fromB) {
			t.Fatalf("%s from %s is not shorter than %s from %s", a, fromA, b, fromB)
		}
		if DefinitelyLess(b, a) {
			t.Fatalf("%s and %s are each less than the other", a, b)
		}
	}
	if less < 1000 {
		t.Fatalf("only %d pairs were comparable, the test proves little", less)
	}
}

func randomInterval(random *rand.Rand) Interval {
	var i Interval
	for u, below := range [unitCount]int32{20, 30, 60, 400, 1000, 1000, 1000} {
		if random.IntN(2) == 0 {
			i.counts[u] = random.Int32N(below)
		}
	}
	return i
}

func TestDefinitelyLess(t *testing.T) {
	for name, tc := range map[string]struct {
		a, b string
		want bool
	}{
		"days against days":                             {"10d", "90d", true},
		"equal is not less":                             {"7d", "1w", false},
		"28 days may be a whole month":                  {"28d", "1mo", false},
		"27 days are always less than a month":          {"27d", "1mo", true},
		"a month may have 31 days":                      {"1mo", "31d", false},
		"a month is always less than 32 days":           {"1mo", "32d", true},
		"twelve months are not definitely under a year": {"12mo", "1y", false},
		"a year may have 366 days":                      {"1y", "366d", false},
		"365 days may be a whole year":                  {"365d", "1y", false},
		"everything is less than Unlimited":             {"100y", "Unlimited", true},
		"Unlimited is not less than itself":             {"Unlimited", "Unlimited", false},
		"Unlimited is less than nothing":                {"Unlimited", "100y", false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := DefinitelyLess(mustParse(t, tc.a), mustParse(t, tc.b)); got != tc.want {
				t.Errorf("%s < %s: got %v, want %v", tc.a, tc.b, got, tc.want)
			}
		})
	}
}

func TestFromDuration(t *testing.T) {
	for name, tc := range map[string]struct {
		d    time.Duration
		want string
	}{
		"all units":                    {2*day + 3*time.Hour + 4*time.Minute + 5*time.Second, "2d 3h 4min 5s"},
		"days stay days":               {400 * day, "400d"},
		"fractions are dropped":        {1500 * time.Millisecond, "1s"},
		"nothing":                      {0, "0s"},
		"negative":                     {-time.Hour, "0s"},
		"the longest one":              {limit, "36600d"},
		"longer than the longest one":  {limit + 1, "Unlimited"},
		"the longest duration of all":  {math.MaxInt64, "Unlimited"},
		"the shortest duration of all": {math.MinInt64, "0s"},
	} {
		t.Run(name, func(t *testing.T) {
			got := FromDuration(tc.d)
			if got.String() != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
			if again := mustParse(t, got.String()); again != got {
				t.Errorf("%s does not parse back", got)
			}
		})
	}
}

func TestIntervalsTravelAsText(t *testing.T) {
	type policy struct {
		RotateAfter Interval  `json:"rotateAfter"`
		Overlap     *Interval `json:"overlap,omitempty"`
	}
	var got policy
	if err := json.Unmarshal([]byte(`{"rotateAfter":"1y4w3d5h30m","overlap":"Unlimited"}`), &got); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(`{"rotateAfter":"1y 4w 3d 5h 30min","overlap":"Unlimited"}`, string(text)); diff != "" {
		t.Error(diff)
	}
	before := got.RotateAfter
	if err := got.RotateAfter.UnmarshalText([]byte("6m")); err == nil {
		t.Error("an ambiguous interval was unmarshalled")
	}
	if got.RotateAfter != before {
		t.Error("a failed UnmarshalText changed the interval")
	}
}

func TestJitterNeverMovesBetweenReleases(t *testing.T) {
	// These values are a promise: a change here moves the due time of every
	// credential in every cluster.
	for identity, want := range map[string]time.Duration{
		"":                                     74410500817509,
		"a":                                    24179327097194,
		"3b1c9a52-7d0e-4a61-9d53-0e3f7a4b8c11": 27514389897633,
	} {
		if got := Jitter(identity, day); got != want {
			t.Errorf("Jitter(%q, 24h) = %d (%s), want %d", identity, got, got, want)
		}
	}
}

func TestJitterStaysInItsSpan(t *testing.T) {
	for _, max := range []time.Duration{1, 2, 3, time.Second, day, math.MaxInt64} {
		for n := range 500 {
			if got := Jitter(string(rune('a'+n)), max); got < 0 || got >= max {
				t.Fatalf("Jitter in [0, %d) gave %d", max, got)
			}
		}
	}
	for _, max := range []time.Duration{0, -1, math.MinInt64} {
		if got := Jitter("a", max); got != 0 {
			t.Errorf("Jitter with max %d gave %d", max, got)
		}
	}
}

func TestJitterSpreadsEvenly(t *testing.T) {
	const identities, slots = 20000, 20
	var filled [slots]int
	for n := range identities {
		filled[int(Jitter(time.Unix(int64(n), 0).UTC().String(), day)/(day/slots))]++
	}
	for slot, n := range filled {
		// 1000 are expected, with a standard deviation of 31; the hash is fixed,
		// so this cannot fail by chance.
		if n < 850 || n > 1150 {
			t.Errorf("slot %d of %d holds %d of %d", slot, slots, n, identities)
		}
	}
}

func TestDefaultJitter(t *testing.T) {
	for name, tc := range map[string]struct {
		after string
		want  time.Duration
	}{
		"5 % of short ages":                 {"10d", 12 * time.Hour},
		"a day for long ones":               {"90d", day},
		"exactly at the turn":               {"20d", day},
		"a month counts with 28 days, but":  {"1mo", day},
		"seconds, as a demonstration has":   {"20s", time.Second},
		"nothing to spread without an age":  {"0d", 0},
		"nothing to spread if never is due": {"Unlimited", 0},
		"a hundred years do not overflow":   {"100y", day},
	} {
		t.Run(name, func(t *testing.T) {
			if got := DefaultJitter(mustParse(t, tc.after)); got != tc.want {
				t.Errorf("%s: got %s, want %s", tc.after, got, tc.want)
			}
		})
	}
}
