package upstream

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func mustBudget(t *testing.T, perSecond float64, burst int) *budget {
	t.Helper()
	b, err := newBudget(perSecond, burst)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestACallWaitsAtMostTwoSecondsForBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := mustBudget(t, 0.5, 1)
		if waited, err := b.take(t.Context()); waited != 0 || err != nil {
			t.Fatalf("the first call waited %v, %v", waited, err)
		}
		if waited, err := b.take(t.Context()); waited != 2*time.Second || err != nil {
			t.Fatalf("the second call waited %v, %v", waited, err)
		}
		// The bucket is empty again, and another call holds nothing of it.
		done := make(chan struct{})
		go func() {
			defer close(done)
			if waited, err := b.take(t.Context()); waited != 2*time.Second || err != nil {
				t.Errorf("the third call waited %v, %v", waited, err)
			}
		}()
		synctest.Wait()
		waited, err := b.take(t.Context())
		if ClassOf(err) != Throttled || AfterOf(err) != 4*time.Second || waited != 0 {
			t.Errorf("the fourth call waited %v, %v after %v", waited, err, AfterOf(err))
		}
		<-done
	})
}

func TestCallsThatAreSentAwayGetSlotsOfTheirOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := mustBudget(t, 10, 1)
		b.pause(10 * time.Second)
		var got []time.Duration
		for range 3 {
			_, err := b.take(t.Context())
			got = append(got, AfterOf(err))
		}
		if diff := cmp.Diff([]time.Duration{10 * time.Second, 10100 * time.Millisecond, 10200 * time.Millisecond}, got); diff != "" {
			t.Error(diff)
		}
		for range 10000 {
			if _, err := b.take(t.Context()); AfterOf(err) > longestBooking {
				t.Fatalf("a slot in %v", AfterOf(err))
			}
		}
	})
}

func TestBudgetThatIsNotTakenIsLeftForOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := mustBudget(t, 1, 1)
		if _, err := b.take(t.Context()); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		gone := make(chan error)
		go func() {
			_, err := b.take(ctx)
			gone <- err
		}()
		synctest.Wait()
		cancel()
		if err := <-gone; err == nil || ClassOf(err) != Retryable {
			t.Errorf("the call that was given up got %v", err)
		}
		hasty, cancel := context.WithTimeout(t.Context(), time.Second/2)
		defer cancel()
		if _, err := b.take(hasty); ClassOf(err) != Throttled {
			t.Errorf("a call without time to wait got %v", err)
		}
		if waited, err := b.take(t.Context()); waited != time.Second || err != nil {
			t.Errorf("the next call waited %v, %v", waited, err)
		}
	})
}

func TestAPauseThatBeginsWhileACallWaitsHoldsItBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := mustBudget(t, 1, 1)
		if _, err := b.take(t.Context()); err != nil {
			t.Fatal(err)
		}
		waiting := make(chan error)
		go func() {
			_, err := b.take(t.Context())
			waiting <- err
		}()
		synctest.Wait()
		b.pause(time.Minute)
		b.pause(time.Second) // a shorter one does not end a longer one
		if err := <-waiting; ClassOf(err) != Throttled || AfterOf(err) != 59*time.Second {
			t.Errorf("got %v after %v", err, AfterOf(err))
		}
		<-time.After(time.Minute)
		if waited, err := b.take(t.Context()); waited != 0 || err != nil {
			t.Errorf("after the pause a call waited %v, %v", waited, err)
		}
	})
}

func TestRetryAfterIsReadAsSecondsOrAsADate(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for header, want := range map[string]time.Duration{
		"":                                0,
		"0":                               0,
		"7":                               7 * time.Second,
		" 7 ":                             7 * time.Second,
		"-7":                              0,
		"7.5":                             0,
		"soon":                            0,
		"99999999":                        time.Hour,
		"99999999999999999999":            0,
		"Sun, 01 Mar 2026 12:00:30 GMT":   30 * time.Second,
		"Sunday, 01-Mar-26 12:00:30 GMT":  30 * time.Second,
		"Sun, 01 Mar 2026 11:59:30 GMT":   0,
		"Mon, 01 Mar 2027 12:00:00 GMT":   time.Hour,
		"Sun, 99 Mar 2026 12:00:30 GMT":   0,
		"2026-03-01 12:00:30 +0000 UTC":   30 * time.Second,
		"2026-03-01 13:00:30.5 +0100 CET": 30*time.Second + 500*time.Millisecond,
		"2026-03-01 12:00:30.25 +0000 UTC m=+71.123": 30*time.Second + 250*time.Millisecond,
		"2026-03-01 11:59:30 +0000 UTC":              0,
		"2026-03-01 12:00:30":                        0,
	} {
		if got := RetryAfter(http.Header{"Retry-After": {header}}, now); got != want {
			t.Errorf("%q: %v, want %v", header, got, want)
		}
	}
}
