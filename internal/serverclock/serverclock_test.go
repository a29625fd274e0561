package serverclock

import (
	"errors"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"
)

var start = time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)

// machine is a local clock whose wall can be set and whose monotonic part can sleep,
// which no value of package time can be made to do.
type machine struct {
	mu        sync.Mutex
	wall      time.Time
	monotonic time.Duration
	readings  map[time.Time]time.Duration
}

func newMachine() *machine {
	return &machine{wall: start, readings: map[time.Time]time.Duration{}}
}

func (m *machine) Now() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.readings[m.wall] = m.monotonic
	return m.wall
}

func (m *machine) Since(t time.Time) time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.monotonic - m.readings[t]
}

func (m *machine) run(d time.Duration) { m.move(d, d) }

func (m *machine) move(wall, monotonic time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.wall, m.monotonic = m.wall.Add(wall), m.monotonic+monotonic
}

type answer func(*http.Request) (*http.Response, error)

func (a answer) RoundTrip(r *http.Request) (*http.Response, error) { return a(r) }

// call makes one call whose answer bears date, or none if it is empty.
func call(t *testing.T, c *Clock, date string) {
	t.Helper()
	server := answer(func(*http.Request) (*http.Response, error) {
		response := &http.Response{Header: http.Header{}, Body: http.NoBody}
		if date != "" {
			response.Header.Set("Date", date)
		}
		return response, nil
	})
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://apiserver.example/", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	response, err := c.Wrap(server).RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
}

func header(t time.Time) string { return t.UTC().Format(http.TimeFormat) }

func TestTheServersTimeIsTold(t *testing.T) {
	local := newMachine()
	c := New(local)
	if c.Steady() {
		t.Error("steady before any answer")
	}
	if got := c.Now(); !got.Equal(start) {
		t.Errorf("before any answer: %s, want the local time", got)
	}

	call(t, c, header(start.Add(-time.Hour)))
	if !c.Steady() {
		t.Error("not steady after the first answer: there is nothing to compare it with")
	}
	local.run(10 * time.Second)
	if got, want := c.Now(), start.Add(-time.Hour+10*time.Second); !got.Equal(want) {
		t.Errorf("an hour behind: %s, want %s", got, want)
	}
}

func TestAnswersWithoutAUsableDateAreIgnored(t *testing.T) {
	local := newMachine()
	c := New(local)
	for _, date := range []string{"", "yesterday", "1772366400"} {
		call(t, c, date)
	}
	if c.Steady() {
		t.Error("steady, although no answer told a time")
	}
	failing := c.Wrap(answer(func(*http.Request) (*http.Response, error) { return nil, http.ErrServerClosed }))
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://apiserver.example/", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := failing.RoundTrip(request); !errors.Is(err, http.ErrServerClosed) {
		t.Errorf("error %v, want the transport's own", err)
	}
}

func TestTheTimeDoesNotWanderWithTheGrainOfTheHeader(t *testing.T) {
	local := newMachine()
	c := New(local)
	call(t, c, header(start))
	for range 50 {
		local.run(300 * time.Millisecond)
		call(t, c, header(local.Now())) // cut to the second by the format
		if got := c.Now(); !got.Equal(local.Now()) {
			t.Fatalf("%s, want %s", got, local.Now())
		}
	}
}

func TestASlowAnswerContradictsNothing(t *testing.T) {
	local := newMachine()
	c := New(local)
	call(t, c, header(start))
	slow := c.Wrap(answer(func(*http.Request) (*http.Response, error) {
		response := &http.Response{Header: http.Header{"Date": {header(local.Now())}}, Body: http.NoBody}
		local.run(5 * time.Minute)
		return response, nil
	}))
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://apiserver.example/", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	response, err := slow.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if got := c.Now(); !c.Steady() || !got.Equal(local.Now()) {
		t.Errorf("steady %t at %s, want true at %s", c.Steady(), got, local.Now())
	}
}

// TestHazardH19 is the clock that jumps: a year ahead makes everything due and every
// overlap elapsed.
func TestHazardH19AJumpIsNotBelieved(t *testing.T) {
	const year = 365 * 24 * time.Hour
	cases := map[string]struct {
		jump   time.Duration
		steady bool
	}{
		"drift of a minute is followed":    {jump: time.Minute, steady: true},
		"two minutes and a second are not": {jump: 2*time.Minute + time.Second, steady: false},
		"a year ahead is not":              {jump: year, steady: false},
		"a year back is not":               {jump: -year, steady: false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			local := newMachine()
			c := New(local)
			call(t, c, header(start))
			local.run(time.Second)
			call(t, c, header(local.Now().Add(tc.jump)))
			if got := c.Steady(); got != tc.steady {
				t.Errorf("steady: %t, want %t", got, tc.steady)
			}
		})
	}
}

func TestSteadyComesBackAfterAMinuteAndThreeAnswersThatAgree(t *testing.T) {
	jumped := func(t *testing.T) (*machine, *Clock, func(time.Duration)) {
		local := newMachine()
		c := New(local)
		call(t, c, header(start))
		call(t, c, header(start.Add(time.Hour)))
		return local, c, func(d time.Duration) {
			local.run(d)
			call(t, c, header(local.Now().Add(time.Hour)))
		}
	}

	t.Run("with both", func(t *testing.T) {
		_, c, next := jumped(t)
		for range 3 {
			if c.Steady() {
				t.Error("steady too early")
			}
			next(20 * time.Second)
		}
		if !c.Steady() {
			t.Error("not steady")
		}
	})
	t.Run("not with a minute alone", func(t *testing.T) {
		local, c, next := jumped(t)
		next(time.Second)
		next(time.Second)
		local.run(time.Hour)
		if c.Steady() {
			t.Error("steady after two answers")
		}
	})
	t.Run("not with answers alone", func(t *testing.T) {
		_, c, next := jumped(t)
		for range 50 {
			next(time.Millisecond)
		}
		if c.Steady() {
			t.Error("steady after 50 ms")
		}
	})
	t.Run("never with two servers that differ", func(t *testing.T) {
		local, c, next := jumped(t)
		for range 20 {
			next(30 * time.Second)
			if c.Steady() {
				t.Fatal("steady between two clocks")
			}
			call(t, c, header(local.Now()))
		}
	})
}

func TestALocalClockThatIsSetIsNoticedBeforeTheNextAnswer(t *testing.T) {
	cases := map[string]struct {
		wall, monotonic time.Duration
		steady          bool
		now             time.Duration
	}{
		"time that simply passes":                {wall: time.Hour, monotonic: time.Hour, steady: true, now: time.Hour},
		"a clock set ahead a year":               {wall: 8760 * time.Hour, steady: false, now: 8760 * time.Hour},
		"a clock set back does not run back":     {wall: -time.Hour, monotonic: time.Second, steady: false, now: time.Second},
		"a machine that slept knows it is later": {wall: time.Hour, monotonic: time.Second, steady: false, now: time.Hour},
		"a correction of a second":               {wall: 61 * time.Second, monotonic: time.Minute, steady: true, now: 61 * time.Second},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			local := newMachine()
			c := New(local)
			call(t, c, header(start))
			local.move(tc.wall, tc.monotonic)
			if got := c.Steady(); got != tc.steady {
				t.Errorf("steady: %t, want %t", got, tc.steady)
			}
			if got, want := c.Now(), start.Add(tc.now); !got.Equal(want) {
				t.Errorf("now: %s, want %s", got, want)
			}
		})
	}
}

func TestAMachineThatSleptIsSteadyAgainAtTheNextAnswer(t *testing.T) {
	local := newMachine()
	c := New(local)
	call(t, c, header(start))
	local.move(time.Hour, 0)
	call(t, c, header(start.Add(time.Hour)))
	if !c.Steady() {
		t.Error("not steady, although the answer agrees with the wall clock")
	}
}

// TestPropertyOfAnySequence plays random answers, delays, drifts and jumps. While
// steady, the time is never more than the grain and the delay away from the truth,
// and it never runs back.
func TestPropertyOfAnySequence(t *testing.T) {
	for seed := range uint64(300) {
		random := rand.New(rand.NewPCG(seed, 1))
		local := clocktesting.NewFakePassiveClock(start)
		truth := func() time.Time { return local.Now() }
		offset := time.Duration(random.Int64N(int64(time.Hour)))
		c := New(local)
		var last time.Time
		var delay time.Duration
		for step := range 200 {
			switch random.IntN(20) {
			case 0: // a jump that no drift explains
				offset += time.Duration(1+random.Int64N(1000)) * time.Hour
				last = time.Time{}
			case 1, 2: // the local clock drifts
				offset -= time.Duration(random.Int64N(int64(10 * time.Millisecond)))
			}
			local.SetTime(local.Now().Add(time.Duration(random.Int64N(int64(30 * time.Second)))))
			at := truth().Add(offset)
			delay = time.Duration(random.Int64N(int64(2 * time.Second)))
			local.SetTime(local.Now().Add(delay))
			c.hear(at.Truncate(time.Second), delay)

			now := c.Now()
			if now.Before(last) {
				t.Fatalf("seed %d, step %d: ran back from %s to %s", seed, step, last, now)
			}
			last = now
			// A floor that was told a moment ago may be ahead by what drifted since.
			early, late := 20*time.Millisecond, grain+delay+20*time.Millisecond
			if wrong := now.Sub(truth().Add(offset)); c.Steady() && (wrong > grain+early || wrong < -late-grain) {
				t.Fatalf("seed %d, step %d: off by %s", seed, step, wrong)
			}
		}
	}
}

func TestItIsSafeForConcurrentUse(t *testing.T) {
	c := New(clocktesting.NewFakePassiveClock(start))
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 200 {
				c.hear(start, 0)
				c.Now()
				c.Steady()
			}
		})
	}
	group.Wait()
	if !c.Steady() {
		t.Error("not steady")
	}
}
