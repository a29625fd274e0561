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

// roleAdvice is what a person can do about a refusal.
const roleAdvice = "; the user needs the role Space Developer in the space"

// platform is the Cloud Controller with its one token.
type platform struct {
	*session
	login login
	now   func() time.Time

	mu  sync.Mutex
	uaa *url.URL // where logins are made; nil until the root has told
}

func newPlatform(now func() time.Time, e *endpoint, l login) *platform {
	p := &platform{login: l, now: now}
	p.session = newSession(now, e, p.logIn)
	return p
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
	return r.granted(started)
}
