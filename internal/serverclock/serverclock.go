// Package serverclock tells the API server's time. The one idea: every answer of an
// API server carries a Date header, so its clock is read by looking at answers that
// are fetched anyway, and no call is made for it.
//
// Every time that Claviger stores or compares comes from here: creation times and
// field managers are stamped by the API server, and two processes whose own clocks
// differ must agree on when a claim ends (hazards H19, 2.2 and 3.8).
package serverclock

import (
	"net/http"
	"sync"
	"time"

	"k8s.io/utils/clock"
)

const (
	// grain of a Date header: it is cut to whole seconds.
	grain = time.Second
	// tolerance is the largest correction that is taken for drift and delay. More is
	// a jump.
	tolerance = 2 * time.Minute
	// After a jump this many answers in a row must agree, and this long must pass
	// without another one. A single answer from a proxy with a clock of its own
	// would otherwise be trusted as soon as it contradicts itself.
	calmAnswers = 3
	calmTime    = time.Minute
)

// Clock is the API server's clock as far as its answers tell. It is safe for
// concurrent use.
type Clock struct {
	local clock.PassiveClock

	mu sync.Mutex
	// heard is the local time of the last answer, and server the API server's time
	// at that moment. Before the first answer both are zero.
	heard, server time.Time
	// told is the last time that Now returned.
	told time.Time
	// jumped is the local time of the last jump, and agreed how many answers have
	// agreed since.
	jumped time.Time
	agreed int
}

// New returns a clock that knows nothing yet. The local clock measures the time
// between answers; its own idea of the date does not matter.
func New(local clock.PassiveClock) *Clock { return &Clock{local: local} }

// Now returns the API server's time. It errs late by at most a second and the travel
// time of an answer, and never runs back except after the first answer and after a
// jump, of both of which Steady warns. Before the first answer it is the local time.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.at(c.local.Now())
	if now.Before(c.told) {
		return c.told
	}
	c.told = now
	return now
}

// Steady reports whether Now may decide about issue and retirement: an answer was
// seen, and neither the API server's clock nor the local one has jumped by more than
// two minutes lately. It becomes true again a minute after a jump, given three
// answers that agree; whoever waits for it must make a call now and then.
func (c *Clock) Steady() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.heard.IsZero() || c.stepped(c.local.Now()) {
		return false
	}
	return c.jumped.IsZero() || c.agreed >= calmAnswers && c.local.Since(c.jumped) >= calmTime
}

// at converts a local time, which must be the present, to the API server's.
//
// The time since the last answer is the longer of what the wall clock and what the
// monotonic clock counted: the latter stands still while a machine sleeps, and a
// process that wakes up must not believe that its call deadline is still ahead.
func (c *Clock) at(now time.Time) time.Time {
	if c.heard.IsZero() {
		return now.Round(0).UTC()
	}
	return c.server.Add(max(c.wallSince(now), c.local.Since(c.heard)))
}

// wallSince is how far the hands of the local wall clock have moved since the last
// answer. Round(0) drops the monotonic reading, which Sub would use otherwise.
func (c *Clock) wallSince(now time.Time) time.Duration {
	return now.Round(0).Sub(c.heard.Round(0))
}

// stepped reports whether the local wall clock was set, or the machine slept, since
// the last answer. Until the next answer nobody can tell which, so Now may be wrong.
func (c *Clock) stepped(now time.Time) bool {
	return (c.wallSince(now) - c.local.Since(c.heard)).Abs() > tolerance
}

// hear learns from an answer that bears date and travelled for at most took.
//
// The answer proves only that the API server's time is between date and date + 1 s +
// took. As long as the prediction lies in there it is kept: following the middle of
// the range would make the time wander by a second with every answer.
func (c *Clock) hear(date time.Time, took time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.local.Now()
	if c.heard.IsZero() {
		c.heard, c.server, c.told = now, date, time.Time{}
		return
	}
	predicted := c.at(now)
	actual := predicted
	if earliest := date; actual.Before(earliest) {
		actual = earliest
	} else if latest := date.Add(grain + took); actual.After(latest) {
		actual = latest
	}
	c.heard, c.server = now, actual
	if actual.Sub(predicted).Abs() > tolerance {
		c.jumped, c.agreed = now, 0
		c.told = time.Time{} // What was told before is no measure any more.
		return
	}
	c.agreed++
}

// Wrap returns a round tripper that reads the Date header of every answer. Give it to
// rest.Config.Wrap.
func (c *Clock) Wrap(inner http.RoundTripper) http.RoundTripper {
	return &listener{clock: c, inner: inner}
}

type listener struct {
	clock *Clock
	inner http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (l *listener) RoundTrip(request *http.Request) (*http.Response, error) {
	sent := l.clock.local.Now()
	response, err := l.inner.RoundTrip(request)
	if err != nil {
		return response, err
	}
	if date, err := http.ParseTime(response.Header.Get("Date")); err == nil {
		l.clock.hear(date.UTC(), max(0, l.clock.local.Since(sent)))
	}
	return response, nil
}

// WrappedRoundTripper lets client-go find the transport below.
func (l *listener) WrappedRoundTripper() http.RoundTripper { return l.inner }
