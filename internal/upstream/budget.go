package upstream

import (
	"context"
	"math"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	defaultPerSecond = 10.0
	// longestWait is how long a call may hold its worker for budget. More would let
	// one busy issuer stop the others.
	longestWait = 2 * time.Second
	// longestBooking bounds how far calls that were sent away are spread.
	longestBooking = 5 * time.Minute
	// longestPause bounds what an upstream may ask for: a wrong date in one header
	// must not silence an issuer for a year.
	longestPause = time.Hour
	// pauseUnasked follows a 429 that does not say for how long.
	pauseUnasked = 10 * time.Second
)

// budget is one issuer's allowance of calls: a token bucket, and a pause that the
// upstream asked for.
type budget struct {
	limiter *rate.Limiter
	spacing time.Duration

	mu sync.Mutex
	// resumeAt is when the upstream wants to hear of us again.
	resumeAt time.Time
	// booked is the slot given to the last call that was sent away. Without it, a
	// thousand waiting credentials would all be told the same moment, and come back
	// together.
	booked time.Time
}

func newBudget(perSecond float64, burst int) (*budget, error) {
	if perSecond < 0 || math.IsNaN(perSecond) || math.IsInf(perSecond, 0) || burst < 0 {
		return nil, Errorf(InvalidSpec, "a rate limit of %g a second with a burst of %d is refused: both must be positive", perSecond, burst)
	}
	if perSecond == 0 {
		perSecond = defaultPerSecond
	}
	if burst == 0 {
		burst = max(1, int(math.Ceil(min(2*perSecond, math.MaxInt32))))
	}
	spacing := time.Duration(min(float64(time.Second)/perSecond, float64(longestBooking)))
	return &budget{limiter: rate.NewLimiter(rate.Limit(perSecond), burst), spacing: spacing}, nil
}

// take waits up to longestWait for a call's worth of budget. If that is not enough
// the error is Throttled and says when to come again.
func (b *budget) take(ctx context.Context) (waited time.Duration, err error) {
	started := time.Now()
	reservation := b.limiter.ReserveN(started, 1)
	delay := max(reservation.DelayFrom(started), b.paused(started))
	if deadline, ok := ctx.Deadline(); delay > longestWait || ok && started.Add(delay).After(deadline) {
		reservation.CancelAt(started)
		return 0, b.book(started, delay)
	}
	if delay <= 0 {
		return 0, nil
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		reservation.Cancel()
		return time.Since(started), &Error{Class: Retryable, Message: "the call was given up while it waited for budget", Err: ctx.Err()}
	}
	now := time.Now()
	if pause := b.paused(now); pause > 0 { // asked for while this call waited
		return now.Sub(started), b.book(now, pause)
	}
	return now.Sub(started), nil
}

// book makes the answer for a call that must come again, each with a slot of its own.
func (b *budget) book(now time.Time, delay time.Duration) *Error {
	b.mu.Lock()
	defer b.mu.Unlock()
	slot := now.Add(delay)
	if next := b.booked.Add(b.spacing); next.After(slot) && next.Sub(now) < longestBooking {
		slot = next
	}
	b.booked = slot
	return &Error{Class: Throttled, After: slot.Sub(now).Round(time.Millisecond), Message: "the issuer's budget of calls is used up for now"}
}

// pause lets no call leave for as long as the upstream asked.
func (b *budget) pause(wanted time.Duration) {
	until := time.Now().Add(wanted)
	b.mu.Lock()
	defer b.mu.Unlock()
	if until.After(b.resumeAt) {
		b.resumeAt = until
	}
}

func (b *budget) paused(now time.Time) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.resumeAt.Sub(now)
}

// goTime is how Go writes a time that nobody has formatted: SAP Service Manager does so.
const goTime = "2006-01-02 15:04:05 -0700 MST"

// RetryAfter reads the header of that name, in seconds or as an HTTP date (RFC 9110,
// section 10.2.3), or as Go writes times. Zero means that it is missing, unreadable or
// past; more than an hour counts as an hour.
func RetryAfter(header http.Header, now time.Time) time.Duration {
	value := strings.TrimSpace(header.Get("Retry-After"))
	if seconds, err := strconv.ParseUint(value, 10, 32); err == nil {
		return min(time.Duration(seconds)*time.Second, longestPause)
	}
	date, err := http.ParseTime(value)
	if err != nil {
		plain, _, _ := strings.Cut(value, " m=") // the reading of a monotonic clock
		date, err = time.Parse(goTime, plain)
	}
	if err == nil {
		return min(max(date.Sub(now), 0), longestPause)
	}
	return 0
}

// ThrottledAfter returns how long a 429, or a 503 with Retry-After, asks to stay away;
// ok is false for every other answer. The transport pauses for just as long.
func ThrottledAfter(response *http.Response, now time.Time) (after time.Duration, ok bool) {
	after = RetryAfter(response.Header, now)
	switch {
	case response.StatusCode == http.StatusTooManyRequests:
		if after == 0 {
			after = pauseUnasked
		}
		return after, true
	case response.StatusCode == http.StatusServiceUnavailable && after > 0:
		return after, true
	}
	return 0, false
}
