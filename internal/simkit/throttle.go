package simkit

import (
	"math"
	"sync"
	"time"
)

// Limit is a budget of calls. Its zero value limits nothing.
type Limit struct {
	// PerSecond is the sustained rate; zero or less means no limit.
	PerSecond float64 `json:"perSecond"`
	// Burst is how many calls may come at once; below one counts as one.
	Burst int `json:"burst"`
}

// Throttle is a token bucket per key (a login, a host).
type Throttle struct {
	clock Clock

	mu      sync.Mutex
	buckets map[string]*bucket
}

type bucket struct {
	tokens float64
	at     time.Time
}

// NewThrottle gives a throttle whose buckets are full.
func NewThrottle(clock Clock) *Throttle {
	return &Throttle{clock: clock, buckets: map[string]*bucket{}}
}

// Take spends one call of the key's budget. If there is none left it returns how
// long to wait, rounded up to whole seconds as Retry-After states it.
func (t *Throttle) Take(key string, limit Limit) (wait time.Duration, ok bool) {
	if limit.PerSecond <= 0 {
		return 0, true
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	now, burst := t.clock.Now(), math.Max(1, float64(limit.Burst))
	b := t.buckets[key]
	if b == nil {
		b = &bucket{tokens: burst, at: now}
		t.buckets[key] = b
	}
	b.tokens = math.Min(burst, b.tokens+now.Sub(b.at).Seconds()*limit.PerSecond)
	b.at = now
	if b.tokens >= 1 {
		b.tokens--
		return 0, true
	}
	seconds := math.Ceil((1 - b.tokens) / limit.PerSecond)
	return time.Duration(math.Max(1, seconds)) * time.Second, false
}
