package simkit

import (
	"sync"
	"time"
)

// Clock is the time a simulator lives in. Clocks of k8s.io/utils/clock satisfy it.
type Clock interface {
	Now() time.Time
	After(d time.Duration) <-chan time.Time
}

// Wall is the machine's own clock.
type Wall struct{}

// Now implements Clock.
func (Wall) Now() time.Time { return time.Now() }

// After implements Clock.
func (Wall) After(d time.Duration) <-chan time.Time { return time.After(d) }

// Manual is a clock that moves only when it is told to, so that propagation delays
// of minutes are tested in microseconds and never by waiting.
type Manual struct {
	mu      sync.Mutex
	now     time.Time
	sleeper []sleeper
	watcher []watcher
}

type sleeper struct {
	at   time.Time
	wake chan time.Time
}

type watcher struct {
	sleepers int
	reached  chan struct{}
}

// NewManual starts a clock that stands still at start.
func NewManual(start time.Time) *Manual { return &Manual{now: start} }

// Now implements Clock.
func (m *Manual) Now() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.now
}

// After implements Clock: the channel fires in the Advance that reaches the time.
func (m *Manual) After(d time.Duration) <-chan time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	wake := make(chan time.Time, 1)
	if d <= 0 {
		wake <- m.now
		return wake
	}
	m.sleeper = append(m.sleeper, sleeper{at: m.now.Add(d), wake: wake})
	m.watcher = notify(m.watcher, len(m.sleeper))
	return wake
}

// Advance moves the clock and wakes whoever sleeps no longer than that.
func (m *Manual) Advance(d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now = m.now.Add(d)
	var still []sleeper
	for _, s := range m.sleeper {
		if s.at.After(m.now) {
			still = append(still, s)
			continue
		}
		s.wake <- m.now
	}
	m.sleeper = still
}

// Sleepers gives a channel that closes once n callers sleep on the clock at the
// same time. A test advances after that and not before, or it would race with the
// call that is about to sleep.
func (m *Manual) Sleepers(n int) <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	reached := make(chan struct{})
	m.watcher = notify(append(m.watcher, watcher{sleepers: n, reached: reached}), len(m.sleeper))
	return reached
}

// notify closes the watchers that have seen enough sleepers and keeps the others.
func notify(watchers []watcher, sleepers int) []watcher {
	var still []watcher
	for _, w := range watchers {
		if sleepers >= w.sleepers {
			close(w.reached)
			continue
		}
		still = append(still, w)
	}
	return still
}
