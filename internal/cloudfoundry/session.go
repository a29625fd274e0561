package cloudfoundry

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/claviger-dev/claviger/internal/material"
	"github.com/claviger-dev/claviger/internal/upstream"
)

const (
	// shortestLife is assumed of tokens that tell none, and tokenMargin is how long
	// before its end a token is replaced.
	shortestLife = 2 * time.Minute
	tokenMargin  = 30 * time.Second
	// A refused login is not tried again at once: the UAA locks accounts.
	shortestRefusal  = time.Minute
	longestRefusal   = 15 * time.Minute
	refusalDoublings = 8
)

// session is a server with the one token that all callers share.
type session struct {
	*endpoint
	now func() time.Time
	// enter makes one login and says until when its token is good.
	enter func(context.Context) (material.Secret, time.Time, error)

	// entry lets one caller at a time log in.
	entry chan struct{}

	mu      sync.Mutex
	token   material.Secret
	until   time.Time
	refused *upstream.Error // why the last login did not work, until retryAt
	retryAt time.Time
	streak  int
}

func newSession(now func() time.Time, e *endpoint, enter func(context.Context) (material.Secret, time.Time, error)) *session {
	return &session{endpoint: e, now: now, enter: enter, entry: make(chan struct{}, 1)}
}

// send makes a call with the shared token. One 401 costs one fresh login and one repeat,
// never more.
func (s *session) send(ctx context.Context, c call) (reply, error) {
	for attempt := 1; ; attempt++ {
		value, err := s.tokenFor(ctx)
		if err != nil {
			return reply{}, err
		}
		c.authorize = func(r *http.Request) { r.Header.Set("Authorization", "bearer "+value.Reveal()) }
		c.secrets = []material.Secret{value}
		r, err := s.exchange(ctx, c)
		if err != nil || r.status != http.StatusUnauthorized {
			return r, err
		}
		refused := upstream.Errorf(upstream.LoginFailed, "%s to a fresh token", r.words())
		s.reject(value, refused, attempt > 1)
		if attempt > 1 {
			return reply{}, refused
		}
	}
}

// tokenFor returns a token that is believed to work.
func (s *session) tokenFor(ctx context.Context) (material.Secret, error) {
	if value, err := s.known(); err != nil || !value.Empty() {
		return value, err
	}
	select {
	case s.entry <- struct{}{}:
		defer func() { <-s.entry }()
	case <-ctx.Done():
		return material.Secret{}, &upstream.Error{Class: upstream.Retryable, Message: "given up while logging in", Err: ctx.Err()}
	}
	if value, err := s.known(); err != nil || !value.Empty() { // whoever was inside before has it
		return value, err
	}
	value, until, err := s.enter(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err == nil:
		s.token, s.until, s.refused, s.streak = value, until, nil, 0
	case upstream.ClassOf(err) == upstream.LoginFailed:
		s.rest(err)
	}
	return value, err
}

// known is the token, or the refusal that still stands, or neither.
func (s *session) known() (material.Secret, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	if !s.token.Empty() && now.Before(s.until) {
		return s.token, nil
	}
	if s.refused != nil && now.Before(s.retryAt) {
		again := *s.refused
		again.After = s.retryAt.Sub(now)
		return material.Secret{}, &again
	}
	return material.Secret{}, nil
}

// rest remembers a refusal. The lock is held.
func (s *session) rest(err error) {
	message := "the login was refused"
	if own, ok := err.(*upstream.Error); ok { //nolint:errorlint // made by enter, never wrapped
		message = own.Message
	}
	s.refused = upstream.Errorf(upstream.LoginFailed, "%s", message)
	s.retryAt = s.now().Add(min(shortestRefusal<<min(s.streak, refusalDoublings), longestRefusal))
	s.streak++
}

// reject takes back a token that was answered with 401. A token that was replaced
// meanwhile is left alone: of a thousand callers with the same stale token only the first
// makes a login.
func (s *session) reject(value material.Secret, err *upstream.Error, fresh bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.token.Equal(value) {
		return
	}
	s.token = material.Secret{}
	if fresh {
		s.rest(err)
	}
}

// granted reads what a token endpoint answered with 200. The life is counted from before the
// call, so that a slow answer shortens it.
func (r reply) granted(started time.Time) (material.Secret, time.Time, error) {
	answer, ok := decodeToken(r.body)
	if !ok {
		return material.Secret{}, time.Time{}, upstream.Errorf(upstream.Retryable, "%s without a token", r.words())
	}
	life := shortestLife
	if told := time.Duration(min(answer.ExpiresIn, (24*time.Hour).Seconds()) * float64(time.Second)); told > tokenMargin {
		life = told
	}
	return material.New(answer.AccessToken), started.Add(life - tokenMargin), nil
}
