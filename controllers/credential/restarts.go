package credential

import (
	"sync"
	"time"

	"github.com/claviger-dev/claviger/internal/uptake"
)

// restarts counts, per namespace, the workloads that replace their pods because of us, so
// that a fleet whose versions are published at once does not restart a whole namespace
// (hazard H10). What is counted is on the workloads: every look at them reports what it saw,
// so a restart of the operator loses nothing. One that does not get on is not counted, or a
// failure would hold every other rollout for ever.
type restarts struct {
	mu sync.Mutex
	// seen is when a workload was last reported to be rolling.
	seen map[string]map[string]time.Time
}

// forgotten is when a workload that nobody reports any more is not counted: whoever waits
// for it looks more often.
const forgotten = 2 * uptake.LastPause

func newRestarts() *restarts { return &restarts{seen: map[string]map[string]time.Time{}} }

// report records whether a workload is rolling.
func (r *restarts) report(namespace, workload string, rolling bool, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !rolling {
		delete(r.seen[namespace], workload)
		return
	}
	r.take(namespace, workload, now)
}

func (r *restarts) take(namespace, workload string, now time.Time) {
	if r.seen[namespace] == nil {
		r.seen[namespace] = map[string]time.Time{}
	}
	r.seen[namespace][workload] = now
}

// free reports whether one more may be restarted.
func (r *restarts) free(namespace string, limit int, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.rolling(namespace, now) < limit
}

func (r *restarts) rolling(namespace string, now time.Time) int {
	for workload, seen := range r.seen[namespace] {
		if now.Sub(seen) > forgotten {
			delete(r.seen[namespace], workload)
		}
	}
	return len(r.seen[namespace])
}

// tryTake takes a place at the moment of the restart: many workers may have seen the same
// one free. Who must not wait takes one more.
func (r *restarts) tryTake(namespace, workload string, limit int, waits bool, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, mine := r.seen[namespace][workload]; waits && !mine && r.rolling(namespace, now) >= limit {
		return false
	}
	r.take(namespace, workload, now)
	return true
}
