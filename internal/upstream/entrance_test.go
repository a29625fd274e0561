package upstream

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger-dev/claviger/internal/material"
)

// door is a login whose answers a test decides, on a clock of its own.
type door struct {
	mu     sync.Mutex
	at     time.Time
	logins int
	refuse error
}

func (d *door) now() time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.at
}

func (d *door) pass(by time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.at = d.at.Add(by)
}

func (d *door) enter(context.Context) (material.Secret, time.Time, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.logins++
	if d.refuse != nil {
		return material.Secret{}, time.Time{}, d.refuse
	}
	return material.New(fmt.Sprintf("token-%d", d.logins)), d.at.Add(time.Minute), nil
}

func newDoor() (*door, *Entrance) {
	d := &door{at: time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)}
	return d, NewEntrance(d.now, 10*time.Second, time.Minute, d.enter)
}

func TestAThousandCallersMakeOneLogin(t *testing.T) {
	d, e := newDoor()
	var all sync.WaitGroup
	for range 1000 {
		all.Go(func() {
			if token, err := e.Token(t.Context()); err != nil || token.Reveal() != "token-1" {
				t.Errorf("token %q, %v", token.Reveal(), err)
			}
		})
	}
	all.Wait()
	if d.logins != 1 {
		t.Errorf("%d logins", d.logins)
	}
}

func TestATokenIsReplacedWhenItEndsOrIsRefused(t *testing.T) {
	d, e := newDoor()
	token := func() string {
		t.Helper()
		value, err := e.Token(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return value.Reveal()
	}
	got := []string{token()}
	d.pass(59 * time.Second)
	got = append(got, token())
	d.pass(time.Second)
	got = append(got, token())
	stale := material.New("token-2")
	e.Reject(stale, Errorf(LoginFailed, "401"), false)
	got = append(got, token())
	e.Reject(stale, Errorf(LoginFailed, "401"), true) // by a caller that comes late
	got = append(got, token())
	if diff := cmp.Diff([]string{"token-1", "token-1", "token-2", "token-3", "token-3"}, got); diff != "" {
		t.Errorf("tokens (-want +got):\n%s", diff)
	}
}

func TestARefusedLoginIsTriedEverMoreRarely(t *testing.T) {
	d, e := newDoor()
	d.refuse = Errorf(LoginFailed, "the password is wrong")
	var waits []time.Duration
	for range 5 {
		if _, err := e.Token(t.Context()); ClassOf(err) != LoginFailed {
			t.Fatal(err)
		}
		_, err := e.Token(t.Context()) // the refusal stands, and nobody is asked
		if ClassOf(err) != LoginFailed {
			t.Fatal(err)
		}
		waits = append(waits, AfterOf(err))
		d.pass(AfterOf(err))
	}
	if diff := cmp.Diff([]time.Duration{10 * time.Second, 20 * time.Second, 40 * time.Second, time.Minute, time.Minute}, waits); diff != "" {
		t.Errorf("pauses (-want +got):\n%s", diff)
	}
	if d.logins != 5 {
		t.Errorf("%d logins for five tries", d.logins)
	}

	d.refuse = nil
	token, err := e.Token(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	e.Reject(token, Errorf(LoginFailed, "401 to a fresh token"), true)
	if _, err := e.Token(t.Context()); AfterOf(err) != 10*time.Second {
		t.Errorf("a fresh token was refused, and the next try is in %s: %v", AfterOf(err), err)
	}
}

func TestWhatSaysNothingOfALoginIsTriedAgainAtOnce(t *testing.T) {
	d, e := newDoor()
	d.refuse = Errorf(Retryable, "no answer")
	for range 2 {
		if _, err := e.Token(t.Context()); ClassOf(err) != Retryable {
			t.Fatal(err)
		}
	}
	if d.logins != 2 {
		t.Errorf("%d logins for two tries", d.logins)
	}
}

func TestWhoeverIsNotWaitedForAnyMoreDoesNotWait(t *testing.T) {
	inside, out := make(chan struct{}), make(chan struct{})
	e := NewEntrance(time.Now, time.Second, time.Second, func(context.Context) (material.Secret, time.Time, error) {
		close(inside)
		<-out
		return material.New("token"), time.Now().Add(time.Hour), nil
	})
	var first sync.WaitGroup
	first.Go(func() {
		if _, err := e.Token(t.Context()); err != nil {
			t.Error(err)
		}
	})
	<-inside
	gone, leave := context.WithCancel(t.Context())
	leave()
	if _, err := e.Token(gone); !errors.Is(err, context.Canceled) || ClassOf(err) != Retryable {
		t.Errorf("it is told %v", err)
	}
	close(out)
	first.Wait()
}
