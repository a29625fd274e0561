package upstream

import (
	"context"
	"sync"
	"time"

	"github.com/claviger-dev/claviger/internal/material"
)

// refusalDoublings keeps the doubling of pauses from overflowing.
const refusalDoublings = 8

// Entrance is a login with the one token that all callers of an account share. One of them at
// a time logs in, and a login that was refused is not tried again at once: platforms lock
// accounts, and a thousand credentials that all try are an attack.
type Entrance struct {
	now func() time.Time
	// enter makes one login and says until when its token is good.
	enter func(context.Context) (material.Secret, time.Time, error)
	// shortest is the pause after a refusal; it doubles up to longest.
	shortest, longest time.Duration

	// turn lets one caller at a time log in.
	turn chan struct{}

	mu      sync.Mutex
	token   material.Secret
	until   time.Time
	refused *Error // why the last login did not work, until retryAt
	retryAt time.Time
	streak  int
}

// NewEntrance makes one that nobody has gone through yet. The errors of enter are *Error.
func NewEntrance(now func() time.Time, shortest, longest time.Duration, enter func(context.Context) (material.Secret, time.Time, error)) *Entrance {
	return &Entrance{now: now, enter: enter, shortest: shortest, longest: longest, turn: make(chan struct{}, 1)}
}

// Token returns a token that is believed to work. While a refusal stands it is returned, with the
// time that is left of it.
func (e *Entrance) Token(ctx context.Context) (material.Secret, error) {
	if value, err := e.known(); err != nil || !value.Empty() {
		return value, err
	}
	select {
	case e.turn <- struct{}{}:
		defer func() { <-e.turn }()
	case <-ctx.Done():
		return material.Secret{}, &Error{Class: Retryable, Message: "given up while logging in", Err: ctx.Err()}
	}
	if value, err := e.known(); err != nil || !value.Empty() { // whoever was inside before has it
		return value, err
	}
	value, until, err := e.enter(ctx)
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case err == nil:
		e.token, e.until, e.refused, e.streak = value, until, nil, 0
	case ClassOf(err) == LoginFailed:
		e.rest(err)
	}
	return value, err
}

// known is the token, or the refusal that still stands, or neither.
func (e *Entrance) known() (material.Secret, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := e.now()
	if !e.token.Empty() && now.Before(e.until) {
		return e.token, nil
	}
	if e.refused != nil && now.Before(e.retryAt) {
		again := *e.refused
		again.After = e.retryAt.Sub(now)
		return material.Secret{}, &again
	}
	return material.Secret{}, nil
}

// rest remembers a refusal. The lock is held.
func (e *Entrance) rest(err error) {
	message := "the login was refused"
	if own, ok := err.(*Error); ok { //nolint:errorlint // made by enter, never wrapped
		message = own.Message
	}
	e.refused = Errorf(LoginFailed, "%s", message)
	e.retryAt = e.now().Add(min(e.shortest<<min(e.streak, refusalDoublings), e.longest))
	e.streak++
}

// Reject takes back a token that was answered with 401. A token that was replaced meanwhile is
// left alone: of a thousand callers with the same stale token only the first makes a login.
// If the token was fresh, nobody tries for a while.
func (e *Entrance) Reject(value material.Secret, err *Error, fresh bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.token.Equal(value) {
		return
	}
	e.token = material.Secret{}
	if fresh {
		e.rest(err)
	}
}
