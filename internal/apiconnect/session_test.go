package apiconnect

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger-dev/claviger/internal/material"
	"github.com/claviger-dev/claviger/internal/upstream"
)

// office logs in for tests: it takes a second, gives tokens for an hour and counts.
type office struct {
	mu sync.Mutex
	// by lists how each login was asked for.
	by []string
	// refuse is the error of each login, if any.
	refuse error
	// refuseRefresh refuses refresh tokens alone.
	refuseRefresh bool
	// refresh says whether refresh tokens are given.
	refresh bool
}

func (o *office) login(refresh material.Secret) (token, error) {
	pass(time.Second) // on the clock of the bubble
	o.mu.Lock()
	defer o.mu.Unlock()
	by := "password"
	if !refresh.Empty() {
		by = refresh.Reveal()
	}
	o.by = append(o.by, by)
	if o.refuse != nil {
		return token{}, o.refuse
	}
	if o.refuseRefresh && by != "password" {
		return token{}, upstream.Errorf(upstream.LoginFailed, "the refresh token is dead")
	}
	now := time.Now()
	t := token{value: material.New(fmt.Sprintf("token-%d", len(o.by))), renewAt: now.Add(40 * time.Minute), expires: now.Add(time.Hour)}
	if o.refresh {
		t.refresh = material.New(fmt.Sprintf("refresh-%d", len(o.by)))
	}
	return t, nil
}

func (o *office) set(refuse error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.refuse = refuse
}

func (o *office) logins(t *testing.T, want ...string) {
	t.Helper()
	synctest.Wait()
	o.mu.Lock()
	defer o.mu.Unlock()
	if diff := cmp.Diff(want, o.by); diff != "" {
		t.Errorf("logins: %s", diff)
	}
}

// bubble runs a test on a clock that moves by itself when nothing else can.
func bubble(t *testing.T, o *office, test func(*testing.T, *session)) {
	synctest.Test(t, func(t *testing.T) { test(t, &session{now: time.Now, login: o.login}) })
}

func pass(d time.Duration) { <-time.After(d) }

func mustToken(t *testing.T, s *session, want string) {
	t.Helper()
	got, err := s.token(t.Context())
	if err != nil || got.Reveal() != want {
		t.Errorf("token %q and error %v, want %q", got.Reveal(), err, want)
	}
}

func TestAThousandCallersCauseOneLogin(t *testing.T) {
	o := &office{}
	bubble(t, o, func(t *testing.T, s *session) {
		var group sync.WaitGroup
		for range 1000 {
			group.Go(func() { mustToken(t, s, "token-1") })
		}
		group.Wait()
		o.logins(t, "password")
	})
}

func TestATokenIsRenewedAtTwoThirdsOfItsLifeWhileTheOldOneServes(t *testing.T) {
	o := &office{}
	bubble(t, o, func(t *testing.T, s *session) {
		mustToken(t, s, "token-1")
		pass(39 * time.Minute)
		mustToken(t, s, "token-1")
		o.logins(t, "password")
		pass(2 * time.Minute)
		mustToken(t, s, "token-1") // nobody waits for the new one
		pass(2 * time.Second)
		mustToken(t, s, "token-2")
		o.logins(t, "password", "password")
	})
}

func TestAnOldTokenServesWhileRenewalFails(t *testing.T) {
	for name, refusal := range map[string]error{
		"because the platform is down":  upstream.Errorf(upstream.Retryable, "down"),
		"because the login is refused":  upstream.Errorf(upstream.LoginFailed, "no"),
		"because the budget is used up": upstream.Errorf(upstream.Throttled, "later"),
	} {
		t.Run(name, func(t *testing.T) {
			o := &office{}
			bubble(t, o, func(t *testing.T, s *session) {
				mustToken(t, s, "token-1")
				o.set(refusal)
				pass(45 * time.Minute)
				for range 100 {
					mustToken(t, s, "token-1")
				}
				pass(2 * time.Second)
				for range 100 {
					mustToken(t, s, "token-1")
				}
				o.logins(t, "password", "password") // and not two hundred
				pass(20 * time.Minute)              // it expires
				if _, err := s.token(t.Context()); err == nil || upstream.ClassOf(err) != upstream.ClassOf(refusal) {
					t.Errorf("got %v, want %v", err, refusal)
				}
			})
		})
	}
}

func TestARefusedLoginIsRememberedLongerEachTime(t *testing.T) {
	o := &office{refuse: upstream.Errorf(upstream.LoginFailed, "wrong password")}
	bubble(t, o, func(t *testing.T, s *session) {
		for _, rest := range []time.Duration{10 * time.Second, 20 * time.Second, 40 * time.Second, time.Minute, time.Minute} {
			before := len(o.by)
			if _, err := s.token(t.Context()); upstream.ClassOf(err) != upstream.LoginFailed {
				t.Fatalf("got %v", err)
			}
			for range 1000 {
				_, err := s.token(t.Context())
				if upstream.ClassOf(err) != upstream.LoginFailed || upstream.AfterOf(err) != rest || !strings.Contains(err.Error(), "wrong password") {
					t.Fatalf("got %v after %v, want %v", err, upstream.AfterOf(err), rest)
				}
			}
			if len(o.by) != before+1 {
				t.Fatalf("%d logins, want 1", len(o.by)-before)
			}
			pass(rest)
		}
		o.set(nil)
		mustToken(t, s, "token-6")
	})
}

func TestALoginOutlivesTheCallerThatStartedIt(t *testing.T) {
	o := &office{}
	bubble(t, o, func(t *testing.T, s *session) {
		hasty, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		_, err := s.token(hasty)
		if err == nil || upstream.ClassOf(err) != upstream.Retryable {
			t.Errorf("got %v", err)
		}
		mustToken(t, s, "token-1")
		o.logins(t, "password")
	})
}

func TestATokenThatWasRejectedIsReplacedOnce(t *testing.T) {
	o := &office{}
	bubble(t, o, func(t *testing.T, s *session) {
		mustToken(t, s, "token-1")
		stale := material.New("token-1")
		var group sync.WaitGroup
		for range 1000 {
			group.Go(func() {
				s.reject(stale)
				mustToken(t, s, "token-2")
			})
		}
		group.Wait()
		s.reject(stale) // the last of them comes late
		mustToken(t, s, "token-2")
		o.logins(t, "password", "password")
	})
}

func TestAFreshTokenThatIsRejectedIsALoginThatFailed(t *testing.T) {
	o := &office{}
	bubble(t, o, func(t *testing.T, s *session) {
		mustToken(t, s, "token-1")
		s.distrust(material.New("token-0"), upstream.Errorf(upstream.LoginFailed, "an old story"))
		mustToken(t, s, "token-1")
		s.distrust(material.New("token-1"), upstream.Errorf(upstream.LoginFailed, "not even a fresh one"))
		for range 1000 {
			if _, err := s.token(t.Context()); upstream.ClassOf(err) != upstream.LoginFailed || !strings.Contains(err.Error(), "fresh") {
				t.Fatalf("got %v", err)
			}
		}
		o.logins(t, "password")
		pass(shortestRefusal)
		mustToken(t, s, "token-2")
	})
}

func TestRefreshTokensSpareThePasswordAndDoNotReplaceIt(t *testing.T) {
	o := &office{refresh: true}
	bubble(t, o, func(t *testing.T, s *session) {
		mustToken(t, s, "token-1")
		pass(2 * time.Hour)
		mustToken(t, s, "token-2")
		o.logins(t, "password", "refresh-1")
		o.refuseRefresh = true
		pass(2 * time.Hour)
		mustToken(t, s, "token-4")
		o.logins(t, "password", "refresh-1", "refresh-2", "password")
	})
}
