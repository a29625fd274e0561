package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

const (
	// callEvery is the pause between two calls of one workload.
	callEvery = 50 * time.Millisecond
	// callTimeout is when a call counts as failed.
	callTimeout = 5 * time.Second
	// failuresKept is how many different failures are kept word for word.
	failuresKept = 20
)

// tally counts the calls of all workloads of a fleet. It is safe for concurrent use.
type tally struct {
	mu       sync.Mutex
	calls    int
	failed   int
	restarts int
	// failures are the different ones, in the order of their first time.
	failures []string
	// served is what at least one call was served with, by workload.
	served map[string]map[string]bool
}

// count takes one call with what was held; err is nil if it was served. It returns a failure in words the
// first time that it occurs.
func (t *tally) count(who, held string, err error) (news string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.calls++
	if err == nil {
		if t.served == nil {
			t.served = map[string]map[string]bool{}
		}
		if t.served[who] == nil {
			t.served[who] = map[string]bool{}
		}
		t.served[who][held] = true
		return ""
	}
	t.failed++
	failure := fmt.Sprintf("%s with %s: %v", who, held, err)
	if len(t.failures) >= failuresKept || slices.Contains(t.failures, failure) {
		return ""
	}
	t.failures = append(t.failures, failure)
	return failure
}

func (t *tally) restarted() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.restarts++
}

// sum returns the counts and what is known of the failures.
func (t *tally) sum() (calls, failed, restarts int, failures []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.calls, t.failed, t.restarts, append([]string(nil), t.failures...)
}

// works reports whether a workload has been served with what was held.
func (t *tally) works(who, held string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.served[who][held]
}

// fleet is a set of workloads.
type fleet struct {
	board *board
	// slowest is the longest from publication to use.
	slowest time.Duration
	tally   *tally
	// tell is told of each failure that is new; nil tells nobody.
	tell func(failure string)

	running sync.WaitGroup
}

func newFleet(b *board, slowest time.Duration) *fleet {
	return &fleet{board: b, slowest: slowest, tally: &tally{}}
}

// run lets two workloads live on a Secret until ctx ends: one that reads the mounted
// file at every call, and one that reads it when it starts. Each gets a caller of its
// own.
func (f *fleet) run(ctx context.Context, credential, secret types.NamespacedName, newCaller func() caller) {
	for _, reads := range []bool{true, false} {
		longest := f.slowest
		if !reads {
			longest /= 2 // the other half is its restart's
		}
		m := &mount{longest: longest}
		w := &workload{who: name(credential, reads), readsEveryTime: reads, mount: m, fleet: f, caller: newCaller()}
		f.running.Go(func() { m.run(ctx, f.board, secret) })
		f.running.Go(func() { w.run(ctx) })
	}
}

// name tells the workloads of a credential apart.
func name(credential types.NamespacedName, reads bool) string {
	if reads {
		return credential.String() + " (reads the mounted file)"
	}
	return credential.String() + " (reads at its start)"
}

// wait returns when every workload has ended.
func (f *fleet) wait() { f.running.Wait() }

// mount shows a Secret as the kubelet of one node does: what it holds, but late.
type mount struct {
	// longest is how late at most.
	longest time.Duration

	mu    sync.Mutex
	shown pair
	since time.Time
}

func (m *mount) run(ctx context.Context, b *board, secret types.NamespacedName) {
	for {
		current, changed := b.read(secret)
		if shown, _ := m.look(); current == shown {
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
			continue
		}
		if !pause(ctx, between(m.longest/6, m.longest)) {
			return
		}
		// Not what it was told of, but what is there when it comes to look.
		current, _ = b.read(secret)
		m.mu.Lock()
		m.shown, m.since = current, time.Now()
		m.mu.Unlock()
	}
}

// look returns what the file holds and since when.
func (m *mount) look() (pair, time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.shown, m.since
}

// workload calls many times a second with the pair that it holds.
type workload struct {
	who            string
	readsEveryTime bool
	mount          *mount
	fleet          *fleet
	caller         caller

	held pair
	// restartAt is when it restarts next: by itself now and then, and soon after the
	// file has changed, as a rollout does.
	restartAt time.Time
	rolling   bool
}

func (w *workload) run(ctx context.Context) {
	defer w.caller.rest()
	// Not all in the same moment.
	if !pause(ctx, between(0, callEvery)) {
		return
	}
	ticks := time.NewTicker(callEvery)
	defer ticks.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticks.C:
			w.pickUp(now)
			if w.held.empty() {
				continue
			}
			err := w.caller.call(ctx, w.held)
			if ctx.Err() != nil {
				return // cut off by the end of the demo, which is nobody's failure
			}
			if news := w.fleet.tally.count(w.who, w.held.held, err); news != "" && w.fleet.tell != nil {
				w.fleet.tell(news)
			}
		}
	}
}

// pickUp decides which pair the next call is made with.
func (w *workload) pickUp(now time.Time) {
	shown, since := w.mount.look()
	switch {
	case w.readsEveryTime:
		w.held = shown
	case w.held.empty():
		w.held, w.restartAt = shown, now.Add(between(5*time.Second, 20*time.Second))
	case shown != w.held && !w.rolling:
		// Counted from the change of the file: a rollout late is a rollout too late.
		due := since.Add(between(0, w.fleet.slowest/2))
		if due.Before(w.restartAt) {
			w.restartAt = due
		}
		w.rolling = true
	}
	if w.readsEveryTime || w.held.empty() || now.Before(w.restartAt) {
		return
	}
	w.caller.rest()
	w.held, w.rolling, w.restartAt = shown, false, now.Add(between(5*time.Second, 20*time.Second))
	w.fleet.tally.restarted()
}

func between(least, most time.Duration) time.Duration {
	if most <= least {
		return least
	}
	return least + rand.N(most-least) //nolint:gosec // a delay and no secret
}

// pause reports whether the whole time passed before ctx ended.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
