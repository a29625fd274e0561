package neo

import (
	"context"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/claviger-dev/claviger/internal/material"
	"github.com/claviger-dev/claviger/internal/upstream"
)

const (
	// platformTokenLife is fixed; it is assumed where the answer does not tell.
	platformTokenLife = 1500 * time.Second
	// tokenMargin is how long before its end a token is replaced.
	tokenMargin = time.Minute
	// A refused login is not tried again at once: a thousand credentials that all try
	// are an attack. It doubles up to the longest.
	shortestRefusal = 10 * time.Second
	longestRefusal  = time.Minute
	// refusalDoublings keeps the doubling from overflowing.
	refusalDoublings = 8
)

// scopesAdvice is what a person can do about a refusal.
const scopesAdvice = "; the platform client needs the scopes readAuthorizationSettings, manageAuthorizationSettings, readApplicationRoles and manageApplicationRoles"

// platform is the platform API with its one token, which all callers share.
type platform struct {
	*endpoint
	login login
	now   func() time.Time

	// entry lets one caller at a time log in.
	entry chan struct{}

	mu      sync.Mutex
	token   material.Secret
	until   time.Time
	refused *upstream.Error // why the last login did not work, until retryAt
	retryAt time.Time
	streak  int
}

func newPlatform(now func() time.Time, e *endpoint, l login) *platform {
	return &platform{endpoint: e, login: l, now: now, entry: make(chan struct{}, 1)}
}

// refusal is reply.refusal with the platform's own advice. Where a scope is missing the
// platform answers 403 or 400, and our own calls are well formed.
func (p *platform) refusal(r reply) *upstream.Error {
	if r.status == http.StatusBadRequest {
		return upstream.Errorf(upstream.Forbidden, "%s%s", r.words(), scopesAdvice)
	}
	return r.refusal(scopesAdvice)
}

// send makes a call with the shared token. One 401 costs one fresh login and one repeat,
// never more.
func (p *platform) send(ctx context.Context, c call) (reply, error) {
	for attempt := 1; ; attempt++ {
		value, err := p.tokenFor(ctx)
		if err != nil {
			return reply{}, err
		}
		c.authorize = func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+value.Reveal()) }
		c.secrets = []material.Secret{value}
		r, err := p.exchange(ctx, c)
		if err != nil || r.status != http.StatusUnauthorized {
			return r, err
		}
		refused := upstream.Errorf(upstream.LoginFailed, "%s to a fresh token%s", r.words(), scopesAdvice)
		p.reject(value, refused, attempt > 1)
		if attempt > 1 {
			return reply{}, refused
		}
	}
}

// tokenFor returns a token that is believed to work.
func (p *platform) tokenFor(ctx context.Context) (material.Secret, error) {
	if value, err, known := p.known(); known {
		return value, err
	}
	select {
	case p.entry <- struct{}{}:
		defer func() { <-p.entry }()
	case <-ctx.Done():
		return material.Secret{}, &upstream.Error{Class: upstream.Retryable, Message: "given up while logging in", Err: ctx.Err()}
	}
	if value, err, known := p.known(); known { // whoever was inside before has it
		return value, err
	}
	value, until, err := p.logIn(ctx)
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case err == nil:
		p.token, p.until, p.refused, p.streak = value, until, nil, 0
	case upstream.ClassOf(err) == upstream.LoginFailed:
		p.rest(err)
	}
	return value, err
}

// known is the token, or the refusal that still stands.
func (p *platform) known() (material.Secret, error, bool) { //nolint:revive // an answer, its error, and whether there is one
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	if !p.token.Empty() && now.Before(p.until) {
		return p.token, nil, true
	}
	if p.refused != nil && now.Before(p.retryAt) {
		again := *p.refused
		again.After = p.retryAt.Sub(now)
		return material.Secret{}, &again, true
	}
	return material.Secret{}, nil, false
}

// rest remembers a refusal. The lock is held.
func (p *platform) rest(err error) {
	message := "the login was refused"
	if own, ok := err.(*upstream.Error); ok { //nolint:errorlint // made by logIn, never wrapped
		message = own.Message
	}
	p.refused = upstream.Errorf(upstream.LoginFailed, "%s", message)
	p.retryAt = p.now().Add(min(shortestRefusal<<min(p.streak, refusalDoublings), longestRefusal))
	p.streak++
}

// reject takes back a token that the platform answered 401 to. A token that was replaced
// meanwhile is left alone: of a thousand callers with the same stale token only the first
// makes a login. If even a fresh one was refused, nobody tries for a while.
func (p *platform) reject(value material.Secret, err *upstream.Error, fresh bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.token.Equal(value) {
		return
	}
	p.token = material.Secret{}
	if fresh {
		p.rest(err)
	}
}

// logIn makes one login: by Basic alone, since credentials in the body are not taken.
func (p *platform) logIn(ctx context.Context) (material.Secret, time.Time, error) {
	started := p.now()
	r, err := p.exchange(ctx, call{
		operation: "login", method: http.MethodPost, path: "/oauth2/apitoken/v1", query: url.Values{"grant_type": {"client_credentials"}},
		authorize: basic(p.login.clientID.Reveal(), p.login.clientSecret),
	})
	if err != nil {
		return material.Secret{}, time.Time{}, err
	}
	switch r.status {
	case http.StatusOK, http.StatusCreated:
	case http.StatusNotFound:
		return material.Secret{}, time.Time{}, upstream.Errorf(upstream.InvalidSpec, "%s; url must be that of the platform API, https://api.<host>", r.words())
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden:
		return material.Secret{}, time.Time{}, upstream.Errorf(upstream.LoginFailed, "%s; check client_id and client_secret in the login Secret: they are those of a client on the tab Platform API", r.words())
	default:
		return material.Secret{}, time.Time{}, r.refusal("")
	}
	answer, ok := decodeToken(r.body)
	if !ok {
		return material.Secret{}, time.Time{}, upstream.Errorf(upstream.Retryable, "%s without a token; is url that of the platform API?", r.words())
	}
	life := platformTokenLife
	if told := time.Duration(min(answer.ExpiresIn, platformTokenLife.Seconds()) * float64(time.Second)); told > tokenMargin {
		life = told
	}
	// Counted from before the call, so that a slow answer shortens life, never lengthens
	// it.
	return material.New(answer.AccessToken), started.Add(life - tokenMargin), nil
}

// basic authorizes by client id and secret.
func basic(id string, secret material.Secret) func(*http.Request) {
	return func(r *http.Request) { r.SetBasicAuth(id, secret.Reveal()) }
}
