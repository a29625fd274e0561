package neo

import (
	"context"
	"net/http"
	"net/url"
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
)

// scopesAdvice is what a person can do about a refusal.
const scopesAdvice = "; the platform client needs the scopes readAuthorizationSettings, manageAuthorizationSettings, readApplicationRoles and manageApplicationRoles"

// platform is the platform API with its one token, which all callers share.
type platform struct {
	*endpoint
	*upstream.Entrance
	login login
	now   func() time.Time
}

func newPlatform(now func() time.Time, e *endpoint, l login) *platform {
	p := &platform{endpoint: e, login: l, now: now}
	p.Entrance = upstream.NewEntrance(now, shortestRefusal, longestRefusal, p.logIn)
	return p
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
		value, err := p.Token(ctx)
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
		p.Reject(value, refused, attempt > 1)
		if attempt > 1 {
			return reply{}, refused
		}
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
