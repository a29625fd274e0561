package cloudfoundry

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
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

// roleAdvice is what a person can do about a refusal.
const roleAdvice = "; the user needs the role Space Developer in the space"

// platform is the Cloud Controller with its one token, which all callers share.
type platform struct {
	*endpoint
	login login
	now   func() time.Time

	// entry lets one caller at a time log in.
	entry chan struct{}

	mu      sync.Mutex
	uaa     *url.URL
	token   material.Secret
	until   time.Time
	refused *upstream.Error // why the last login did not work, until retryAt
	retryAt time.Time
	streak  int
}

func newPlatform(now func() time.Time, e *endpoint, l login) *platform {
	return &platform{endpoint: e, login: l, now: now, entry: make(chan struct{}, 1)}
}

// send makes a call with the shared token. One 401 costs one fresh login and one repeat,
// never more.
func (p *platform) send(ctx context.Context, c call) (reply, error) {
	for attempt := 1; ; attempt++ {
		value, err := p.tokenFor(ctx)
		if err != nil {
			return reply{}, err
		}
		c.authorize = func(r *http.Request) { r.Header.Set("Authorization", "bearer "+value.Reveal()) }
		c.secrets = []material.Secret{value}
		r, err := p.exchange(ctx, c)
		if err != nil || r.status != http.StatusUnauthorized {
			return r, err
		}
		refused := upstream.Errorf(upstream.LoginFailed, "%s to a fresh token", r.words())
		p.reject(value, refused, attempt > 1)
		if attempt > 1 {
			return reply{}, refused
		}
	}
}

// tokenFor returns a token that is believed to work.
func (p *platform) tokenFor(ctx context.Context) (material.Secret, error) {
	if value, err := p.known(); err != nil || !value.Empty() {
		return value, err
	}
	select {
	case p.entry <- struct{}{}:
		defer func() { <-p.entry }()
	case <-ctx.Done():
		return material.Secret{}, &upstream.Error{Class: upstream.Retryable, Message: "given up while logging in", Err: ctx.Err()}
	}
	if value, err := p.known(); err != nil || !value.Empty() { // whoever was inside before has it
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

// known is the token, or the refusal that still stands, or neither.
func (p *platform) known() (material.Secret, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	if !p.token.Empty() && now.Before(p.until) {
		return p.token, nil
	}
	if p.refused != nil && now.Before(p.retryAt) {
		again := *p.refused
		again.After = p.retryAt.Sub(now)
		return material.Secret{}, &again
	}
	return material.Secret{}, nil
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

// reject takes back a token that was answered with 401. A token that was replaced
// meanwhile is left alone: of a thousand callers with the same stale token only the first
// makes a login.
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

// discover asks the root where logins are made.
func (p *platform) discover(ctx context.Context) (*url.URL, error) {
	p.mu.Lock()
	known := p.uaa
	p.mu.Unlock()
	if known != nil {
		return known, nil
	}
	r, err := p.exchange(ctx, call{operation: "root", method: http.MethodGet, path: "/"})
	if err != nil {
		return nil, err
	}
	if !r.document() {
		return nil, r.refusal("")
	}
	type link struct {
		Href string `json:"href"`
	}
	var root struct {
		Links struct {
			Login *link `json:"login"`
			UAA   *link `json:"uaa"`
		} `json:"links"`
	}
	address := ""
	if json.Unmarshal(r.body, &root) == nil {
		for _, l := range []*link{root.Links.Login, root.Links.UAA} {
			if l != nil && address == "" {
				address = l.Href
			}
		}
	}
	found, err := url.Parse(strings.TrimRight(address, "/"))
	if err != nil || found.Host == "" || found.User != nil || found.RawQuery != "" {
		return nil, upstream.Errorf(upstream.InvalidSpec, "root: the answer names no login server; url must be that of the API, https://api.cf.<host>")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.uaa = found
	return found, nil
}

// logIn makes one login.
func (p *platform) logIn(ctx context.Context) (material.Secret, time.Time, error) {
	at, err := p.discover(ctx)
	if err != nil {
		return material.Secret{}, time.Time{}, err
	}
	started := p.now()
	// The client of the command line, which every region has: no secret. The UAA does not
	// undo the encoding of Basic that the standard asks for, so there is none.
	id, secret := "cf", material.New("")
	form := url.Values{}
	switch p.login.kind {
	case loginClientCredentials:
		id, secret = p.login.clientID.Reveal(), p.login.clientSecret
		form.Set("grant_type", "client_credentials")
	case loginJWTBearer:
		form.Set("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer")
		form.Set("assertion", p.login.assertion.Reveal())
	default:
		form.Set("grant_type", "password")
		form.Set("username", p.login.user)
		form.Set("password", p.login.password.Reveal())
	}
	var query url.Values
	if p.login.origin != "" {
		hint, _ := json.Marshal(map[string]string{"origin": p.login.origin}) // a string
		query = url.Values{"login_hint": {string(hint)}}
	}
	uaa := &endpoint{name: "the login server", base: at, http: p.http, secrets: p.secrets}
	r, err := uaa.exchange(ctx, call{
		operation: "login", method: http.MethodPost, path: "/oauth/token", query: query, form: form,
		authorize: func(r *http.Request) { r.SetBasicAuth(id, secret.Reveal()) },
	})
	switch {
	case err != nil:
		return material.Secret{}, time.Time{}, err
	case r.throttled, r.page(), r.status >= http.StatusInternalServerError:
		return material.Secret{}, time.Time{}, r.refusal("")
	case r.status == http.StatusBadRequest, r.status == http.StatusUnauthorized, r.status == http.StatusForbidden:
		return material.Secret{}, time.Time{}, upstream.Errorf(upstream.LoginFailed, "%s; check the login Secret and login.origin", r.words())
	case r.status != http.StatusOK:
		return material.Secret{}, time.Time{}, r.refusal("")
	}
	answer, ok := decodeToken(r.body)
	if !ok {
		return material.Secret{}, time.Time{}, upstream.Errorf(upstream.Retryable, "%s without a token", r.words())
	}
	life := shortestLife
	if told := time.Duration(min(answer.ExpiresIn, (24*time.Hour).Seconds()) * float64(time.Second)); told > tokenMargin {
		life = told
	}
	// Counted from before the call, so that a slow answer shortens life.
	return material.New(answer.AccessToken), started.Add(life - tokenMargin), nil
}
