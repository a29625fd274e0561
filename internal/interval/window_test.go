package interval

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func mustWindow(t *testing.T, schedule, duration, zone string) Window {
	t.Helper()
	w, err := ParseWindow(schedule, duration, zone)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func TestParseWindowRefusesWithAHint(t *testing.T) {
	for name, tc := range map[string]struct{ schedule, duration, zone, hint string }{
		"no schedule":                  {"", "1h", "UTC", "does not have five fields"},
		"four fields":                  {"0 2 * *", "1h", "UTC", "does not have five fields"},
		"a field for seconds":          {"0 0 2 * * SAT", "1h", "UTC", "does not have five fields"},
		"a macro with a duration":      {"@every 1h", "1h", "UTC", "is a macro"},
		"a macro":                      {"@daily", "1h", "UTC", "is a macro"},
		"a zone as cron knows it":      {"CRON_TZ=Europe/Berlin 0 2 * * SAT", "1h", "UTC", "names a time zone"},
		"its short form":               {"TZ=UTC 0 2 * * SAT", "1h", "UTC", "names a time zone"},
		"a zone and nothing else":      {"TZ=UTC", "1h", "UTC", "names a time zone"},
		"blanks around":                {" 0 2 * * SAT", "1h", "UTC", "does not have five fields"},
		"an hour that no day has":      {"0 24 * * *", "1h", "UTC", "is not valid"},
		"Sunday as 7":                  {"0 2 * * 7", "1h", "UTC", "is not valid"},
		"a day that no week has":       {"0 2 * * SA", "1h", "UTC", "is not valid"},
		"a step of zero":               {"*/0 2 * * *", "1h", "UTC", "is not valid"},
		"a range backwards":            {"0 4-2 * * *", "1h", "UTC", "is not valid"},
		"30 February":                  {"0 0 30 2 *", "1h", "UTC", "never comes"},
		"31 of the short months":       {"0 0 31 4,6,9,11 *", "1h", "UTC", "never comes"},
		"a schedule without end":       {strings.Repeat("1,", 100) + "1 * * * *", "1h", "UTC", "characters"},
		"no duration":                  {"0 2 * * SAT", "", "UTC", "cannot be read"},
		"a duration in days":           {"0 2 * * SAT", "1d", "UTC", `write hours and minutes`},
		"less than a minute":           {"0 2 * * SAT", "59s", "UTC", "not between 1m and 168h"},
		"nothing":                      {"0 2 * * SAT", "0s", "UTC", "not between 1m and 168h"},
		"a negative duration":          {"0 2 * * SAT", "-1h", "UTC", "not between 1m and 168h"},
		"more than a week":             {"0 2 * * SAT", "168h1s", "UTC", "not between 1m and 168h"},
		"the zone of the machine":      {"0 2 * * SAT", "1h", "Local", "whichever machine"},
		"a zone that does not exist":   {"0 2 * * SAT", "1h", "Europe/Nowhere", "is not known"},
		"an offset instead of a zone":  {"0 2 * * SAT", "1h", "+02:00", "is not known"},
		"a path out of the zone files": {"0 2 * * SAT", "1h", "../../etc/passwd", "is not known"},
	} {
		t.Run(name, func(t *testing.T) {
			w, err := ParseWindow(tc.schedule, tc.duration, tc.zone)
			if err == nil {
				t.Fatalf("was read as %s", w)
			}
			if !strings.Contains(err.Error(), tc.hint) {
				t.Errorf("error %q does not say %q", err, tc.hint)
			}
		})
	}
}

func TestAWindowIsOpenFromItsMinuteForItsDuration(t *testing.T) {
	w := mustWindow(t, "0 2 * * SAT", "4h", "Europe/Berlin")
	for name, tc := range map[string]struct {
		now  string
		open bool
		next string
	}{
		"the day before":          {"2026-01-09T12:00:00Z", false, "2026-01-10T01:00:00Z"},
		"a nanosecond too early":  {"2026-01-10T00:59:59.999999999Z", false, "2026-01-10T01:00:00Z"},
		"at the minute":           {"2026-01-10T01:00:00Z", true, "2026-01-10T01:00:00Z"},
		"in the middle":           {"2026-01-10T03:21:07Z", true, "2026-01-10T03:21:07Z"},
		"in the last nanosecond":  {"2026-01-10T04:59:59.999999999Z", true, "2026-01-10T04:59:59.999999999Z"},
		"at the end it is closed": {"2026-01-10T05:00:00Z", false, "2026-01-17T01:00:00Z"},
		"asked in another zone":   {"2026-01-10T10:00:00+08:00", true, "2026-01-10T10:00:00+08:00"},
		"in summer":               {"2026-07-11T00:00:00Z", true, "2026-07-11T00:00:00Z"},
	} {
		t.Run(name, func(t *testing.T) {
			now := at(t, tc.now)
			if got := w.Open(now); got != tc.open {
				t.Errorf("Open is %v, want %v", got, tc.open)
			}
			next, ok := w.Next(now)
			if !ok || !next.Equal(at(t, tc.next)) {
				t.Errorf("Next is %s, %v, want %s", next.UTC().Format(time.RFC3339Nano), ok, tc.next)
			}
		})
	}
}

func TestOpeningsAroundAJumpOfTheClock(t *testing.T) {
	for name, tc := range map[string]struct {
		schedule, zone, after string
		want                  []string
	}{
		"Berlin, spring: the skipped hour opens at the jump": {
			"30 2 * * *", "Europe/Berlin", "2026-03-28T00:00:00Z",
			[]string{"2026-03-28T02:30:00+01:00", "2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"},
		},
		"Berlin, spring: Sundays only, so a skipped night would cost a week": {
			"0 2 * * SUN", "Europe/Berlin", "2026-03-28T00:00:00Z",
			[]string{"2026-03-29T03:00:00+02:00", "2026-04-05T02:00:00+02:00"},
		},
		"Berlin, spring: every quarter of the skipped hour opens once, at the jump": {
			"*/15 2,3 * * *", "Europe/Berlin", "2026-03-28T23:00:00Z",
			[]string{"2026-03-29T03:00:00+02:00", "2026-03-29T03:15:00+02:00"},
		},
		"Berlin, autumn: the hour that comes twice opens the first time": {
			"30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z",
			[]string{"2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"},
		},
		"Berlin, autumn: asked between the two": {
			"30 2 * * *", "Europe/Berlin", "2026-10-25T00:45:00Z",
			[]string{"2026-10-26T02:30:00+01:00"},
		},
		"Berlin, autumn: asked in the second one": {
			"30 2 * * *", "Europe/Berlin", "2026-10-25T01:15:00Z",
			[]string{"2026-10-26T02:30:00+01:00"},
		},
		"Berlin, autumn: three o'clock comes once": {
			"0 3 * * *", "Europe/Berlin", "2026-10-25T00:00:00Z",
			[]string{"2026-10-25T03:00:00+01:00"},
		},
		"Sao Paulo, 2018: midnight is skipped": {
			"0 0 * * *", "America/Sao_Paulo", "2018-11-03T12:00:00Z",
			[]string{"2018-11-04T01:00:00-02:00", "2018-11-05T00:00:00-02:00"},
		},
		"Apia, 2011: a whole day is skipped": {
			"0 12 * * *", "Pacific/Apia", "2011-12-29T00:00:00Z",
			[]string{"2011-12-29T12:00:00-10:00", "2011-12-31T00:00:00+14:00", "2011-12-31T12:00:00+14:00"},
		},
		"Lord Howe: the clock jumps by half an hour": {
			"15 2 * * *", "Australia/Lord_Howe", "2026-10-03T00:00:00Z",
			[]string{"2026-10-04T02:30:00+11:00", "2026-10-05T02:15:00+11:00"},
		},
		"29 February over the century that has none": {
			"0 0 29 2 *", "UTC", "2096-03-01T00:00:00Z",
			[]string{"2104-02-29T00:00:00Z"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := mustWindow(t, tc.schedule, "1m", tc.zone)
			var got []string
			for now := at(t, tc.after); len(got) < len(tc.want); {
				opening, ok := w.openingAfter(now)
				if !ok {
					t.Fatal("no opening is left")
				}
				got = append(got, opening.Format(time.RFC3339))
				now = opening
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAWindowLastsItsRealTimeOverAJump(t *testing.T) {
	w := mustWindow(t, "0 1 * * *", "2h", "Europe/Berlin")
	for name, tc := range map[string]struct {
		now  string
		want bool
	}{
		"spring, before the jump":               {"2026-03-29T01:59:59+01:00", true},
		"spring, the wall shows three":          {"2026-03-29T03:30:00+02:00", true},
		"spring, two hours are over at four":    {"2026-03-29T04:00:00+02:00", false},
		"autumn, the first time after two":      {"2026-10-25T02:30:00+02:00", true},
		"autumn, two hours are over the second": {"2026-10-25T02:00:00+01:00", false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := w.Open(at(t, tc.now)); got != tc.want {
				t.Errorf("Open is %v, want %v", got, tc.want)
			}
		})
	}
}

// TestWindowsAgreeWithAClockOnTheWall watches a clock minute by minute over the days
// of the jumps and notes when it shows, for the first time, a minute of the schedule
// or a later one. That is the promise of Window, without any of its code.
func TestWindowsAgreeWithAClockOnTheWall(t *testing.T) {
	const length = 90 * time.Minute
	for _, zone := range []string{"UTC", "Europe/Berlin", "America/Sao_Paulo", "Australia/Lord_Howe", "America/St_Johns", "Pacific/Apia"} {
		location, err := time.LoadLocation(zone)
		if err != nil {
			t.Fatal(err)
		}
		for _, hour := range []int{0, 1, 2, 3, 12, 23} {
			w := mustWindow(t, "15 "+strconv.Itoa(hour)+" * * *", length.String(), zone)
			for _, begin := range []string{"2026-03-27T00:00:00Z", "2026-10-23T00:00:00Z", "2026-10-02T00:00:00Z", "2026-04-03T00:00:00Z", "2018-11-02T00:00:00Z", "2011-12-28T00:00:00Z"} {
				compareWithClock(t, w, at(t, begin), location, hour, length)
			}
		}
	}
}

func compareWithClock(t *testing.T, w Window, begin time.Time, location *time.Location, hour int, length time.Duration) {
	t.Helper()
	var highest, opened time.Time
	for minute := range 4 * 24 * 60 {
		now := begin.Add(time.Duration(minute) * time.Minute)
		shown := now.In(location)
		wall := time.Date(shown.Year(), shown.Month(), shown.Day(), shown.Hour(), shown.Minute(), 0, 0, time.UTC)
		for ; !highest.IsZero() && highest.Before(wall); highest = highest.Add(time.Minute) {
			if passed := highest.Add(time.Minute); passed.Hour() == hour && passed.Minute() == 15 {
				opened = now
			}
		}
		if highest.IsZero() {
			highest = wall
		}
		if minute < 36*60 || minute%5 != 0 {
			continue // What opened before the clock was watched is not known; five minutes divide every jump.
		}
		want := !opened.IsZero() && now.Sub(opened) < length
		if got := w.Open(now); got != want {
			t.Fatalf("%s at %s: Open is %v, the clock says %v", w, shown, got, want)
		}
	}
}

func TestNextIsTheFirstOpenTime(t *testing.T) {
	w := mustWindow(t, "10 1,13 * * MON-FRI", "20m", "Europe/Berlin")
	for now := at(t, "2026-03-25T00:00:00Z"); now.Before(at(t, "2026-04-01T00:00:00Z")); now = now.Add(7 * time.Minute) {
		next, ok := w.Next(now)
		if !ok || next.Before(now) || !w.Open(next) {
			t.Fatalf("Next(%s) is %s, %v", now, next, ok)
		}
		if next.After(now) && (w.Open(now) || w.Open(next.Add(-1))) {
			t.Fatalf("Next(%s) is %s, but it is open earlier", now, next)
		}
	}
}

func TestWindowsTogether(t *testing.T) {
	saturday := mustWindow(t, "0 2 * * SAT", "4h", "UTC")
	tuesday := mustWindow(t, "0 2 * * TUE", "1h", "UTC")
	for name, tc := range map[string]struct {
		windows Windows
		now     string
		open    bool
		next    string
	}{
		"none means always":              {nil, "2026-01-05T00:00:00Z", true, "2026-01-05T00:00:00Z"},
		"the earlier of two":             {Windows{saturday, tuesday}, "2026-01-05T00:00:00Z", false, "2026-01-06T02:00:00Z"},
		"the order is of no importance":  {Windows{tuesday, saturday}, "2026-01-07T00:00:00Z", false, "2026-01-10T02:00:00Z"},
		"open if one is":                 {Windows{tuesday, saturday}, "2026-01-10T05:00:00Z", true, "2026-01-10T05:00:00Z"},
		"a zero window does not disturb": {Windows{{}, tuesday}, "2026-01-05T00:00:00Z", false, "2026-01-06T02:00:00Z"},
	} {
		t.Run(name, func(t *testing.T) {
			now := at(t, tc.now)
			if got := tc.windows.Open(now); got != tc.open {
				t.Errorf("Open is %v, want %v", got, tc.open)
			}
			next, ok := tc.windows.Next(now)
			if !ok || !next.Equal(at(t, tc.next)) {
				t.Errorf("Next is %s, %v, want %s", next, ok, tc.next)
			}
		})
	}
}

func TestAZeroWindowIsNeverOpen(t *testing.T) {
	now := at(t, "2026-01-05T00:00:00Z")
	if (Window{}).Open(now) || (Windows{{}}).Open(now) {
		t.Error("it is open")
	}
	if next, ok := (Windows{{}}).Next(now); ok {
		t.Errorf("it opens at %s", next)
	}
}

func TestAWindowLongerThanItsPeriodIsAlwaysOpen(t *testing.T) {
	w := mustWindow(t, "* * * * *", "168h", "Europe/Berlin")
	for now := at(t, "2026-10-20T00:00:00Z"); now.Before(at(t, "2026-10-30T00:00:00Z")); now = now.Add(59 * time.Minute) {
		if !w.Open(now) {
			t.Fatalf("closed at %s", now)
		}
	}
}

func TestWindowsAreEqualIfTheyWereWrittenAlike(t *testing.T) {
	a := mustWindow(t, "0 2 * * SAT", "4h", "")
	for name, tc := range map[string]struct {
		other Window
		want  bool
	}{
		"the same, with more blanks": {mustWindow(t, "0  2 * * SAT", "240m", "UTC"), true},
		"another schedule":           {mustWindow(t, "0 3 * * SAT", "4h", ""), false},
		"another duration":           {mustWindow(t, "0 2 * * SAT", "5h", ""), false},
		"another zone":               {mustWindow(t, "0 2 * * SAT", "4h", "Europe/Berlin"), false},
		"no window":                  {Window{}, false},
	} {
		if got := a.Equal(tc.other); got != tc.want {
			t.Errorf("%s: %v, want %v", name, got, tc.want)
		}
	}
	if got, want := a.String(), `"0 2 * * SAT" for 4h0m0s in UTC`; got != want {
		t.Errorf("String is %s, want %s", got, want)
	}
}

// FuzzParseWindow checks that whatever is accepted gives answers that fit together.
func FuzzParseWindow(f *testing.F) {
	for _, seed := range [][3]string{
		{"0 2 * * SAT", "4h", "Europe/Berlin"},
		{"30 2 * * *", "1m", "America/Sao_Paulo"},
		{"* * * * *", "168h", "Pacific/Apia"},
		{"0 0 29 2 *", "1h", "UTC"},
		{"0 0 30 2 *", "1h", ""},
		{"@every 1h", "1h", ""},
		{"TZ=", "1h", ""},
		{"CRON_TZ=x 0 2 * * *", "1h", "Local"},
		{"0 0 2 * * SAT", "1h", "UTC"},
		{"*/7 1-5/2 ? JAN,3 MON-FRI", "90m", "Asia/Kathmandu"},
		{"0 2 * * 7", "1e9h", "/etc/passwd"},
	} {
		f.Add(seed[0], seed[1], seed[2], int64(1774746000))
	}
	f.Fuzz(func(t *testing.T, schedule, duration, zone string, unix int64) {
		w, err := ParseWindow(schedule, duration, zone)
		if err != nil {
			if len(err.Error()) > 600 {
				t.Errorf("error of %d bytes", len(err.Error()))
			}
			return
		}
		now := time.Unix(unix%4_000_000_000, 0)
		next, ok := w.Next(now)
		if !ok || next.Before(now) || !w.Open(next) {
			t.Fatalf("%s: Next(%s) is %s, %v", w, now, next, ok)
		}
		if w.Open(now) != next.Equal(now) {
			t.Errorf("%s: Open(%s) is %v, Next is %s", w, now, w.Open(now), next)
		}
		if next.After(now) && w.Open(next.Add(-1)) {
			t.Errorf("%s is open before Next(%s) = %s", w, now, next)
		}
	})
}
