package venafi

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/claviger-dev/claviger/internal/material"
	"github.com/claviger-dev/claviger/internal/upstream"
)

const (
	// rest follows a refused login: a thousand credentials that all try lock an account.
	rest = 30 * time.Second
	// longestLife bounds what an answer may say of a token.
	longestLife = 366 * 24 * time.Hour
)

// grantAnswer is what a login yields.
type grantAnswer struct {
	AccessToken  string `json:"access_token"`
	RefreshToken string `json:"refresh_token"`
	Expires      int64  `json:"expires"`
	ExpiresIn    int64  `json:"expires_in"`
	RefreshUntil int64  `json:"refresh_until"`
	Scope        string `json:"scope"`
	Identity     string `json:"identity"`
}

// ends is when the access token ends. Seconds from the moment of asking are preferred:
// the platform's clock may differ from ours.
func (g grantAnswer) ends(asked time.Time) time.Time {
	switch {
	case g.ExpiresIn > 0:
		return asked.Add(min(time.Duration(min(g.ExpiresIn, int64(longestLife/time.Second)))*time.Second, longestLife))
	case g.Expires > 0:
		return time.Unix(g.Expires, 0)
	}
	return time.Time{}
}

// authorize makes a grant of an integration by the issuer's login. Two calls make two
// grants, and nothing leads back to one whose answer was lost.
func (p *platform) authorize(ctx context.Context, operation, clientID, scope string) (grantAnswer, time.Time, error) {
	asked := p.now()
	c := call{operation: operation, method: http.MethodPost, effect: true}
	switch p.method {
	case loginCertificate:
		c.path, c.client = "/vedauth/authorize/certificate", p.loginHTTP
		c.body = map[string]string{"client_id": clientID, "scope": scope}
	case loginJWT:
		token, err := p.token(ctx)
		if err != nil {
			return grantAnswer{}, asked, err
		}
		c.path, c.secrets = "/vedauth/authorize/jwt", hidden(token)
		c.body = map[string]string{"client_id": clientID, "scope": scope, "jwt": token.Reveal()}
	default:
		c.path = "/vedauth/authorize/oauth"
		c.body = map[string]string{
			"client_id": clientID, "scope": scope, "state": "",
			"username": p.login["username"].Reveal(), "password": p.login["password"].Reveal(),
		}
	}
	r, err := p.exchange(ctx, c, material.Secret{})
	if err != nil {
		return grantAnswer{}, asked, err
	}
	var answer grantAnswer
	if r.status == http.StatusOK && r.decode(&answer) && answer.AccessToken != "" {
		return answer, asked, nil
	}
	return grantAnswer{}, asked, notGranted(c, r, clientID, scope)
}

// notGranted explains a login that was refused. Whether the login itself or only what it
// asked for is wrong decides who has to act.
func notGranted(c call, r reply, clientID, scope string) error {
	refused := refusal(c, r)
	var document struct {
		Error string `json:"error"`
	}
	_ = r.decode(&document) // the words may stand in the status line alone
	switch {
	case r.status == http.StatusBadRequest && document.Error == "invalid_grant":
		refused.Class = upstream.LoginFailed
	case r.status == http.StatusBadRequest:
		refused.Message += "; client_id " + upstream.Excerpt(clientID) + " must be the id of an API integration, and scope " + upstream.Excerpt(scope) + " one that it allows"
	case r.status == http.StatusForbidden:
		refused.Message += "; an administrator must allow the login's identity the integration " + upstream.Excerpt(clientID) + " with the scope " + upstream.Excerpt(scope)
	case r.status == http.StatusNotFound:
		refused.Message += "; url must be that of the platform"
	}
	return refused
}

// session is the operator's own grant. It is kept in memory alone: a new process makes a
// new one, and the old one ends by its own.
type session struct {
	platform        *platform
	clientID, scope string

	// turn is held by whoever reads or replaces what is below.
	turn    chan struct{}
	value   material.Secret
	renewAt time.Time
	refused error
	until   time.Time
}

func newSession(p *platform, clientID, scope string) *session {
	return &session{platform: p, clientID: clientID, scope: scope, turn: make(chan struct{}, 1)}
}

// token returns a token that is believed to work. One login serves all callers.
func (s *session) token(ctx context.Context) (material.Secret, error) {
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return material.Secret{}, &upstream.Error{Class: upstream.Retryable, Message: "given up while logging in", Err: ctx.Err()}
	}
	now := s.platform.now()
	if !s.value.Empty() && (s.renewAt.IsZero() || now.Before(s.renewAt)) {
		return s.value, nil
	}
	if s.refused != nil && now.Before(s.until) {
		return material.Secret{}, s.refused
	}
	answer, asked, err := s.platform.authorize(ctx, "login", s.clientID, s.scope)
	if err != nil {
		return material.Secret{}, s.failed(err, now)
	}
	previous := s.value
	s.value, s.refused, s.renewAt = material.New(answer.AccessToken), nil, time.Time{}
	if ends := answer.ends(asked); !ends.IsZero() {
		s.renewAt = asked.Add(ends.Sub(asked) * 2 / 3)
	}
	if !previous.Empty() {
		// Whether it works or not: a grant of our own that is left over ends by itself, and
		// whoever still uses the old token is refused and comes back for the new one.
		_, _ = s.platform.exchange(ctx, revokeCall(previous), previous)
	}
	return s.value, nil
}

// failed remembers a refused login. A lost answer to it is no more than a failed try: the
// grant that may exist is the operator's own, and ends by itself. The turn is held.
func (s *session) failed(err error, now time.Time) error {
	own, ok := errors.AsType[*upstream.Error](err)
	if !ok {
		return err
	}
	switch own.Class {
	case upstream.OutcomeUnknown:
		own.Class = upstream.Retryable
	case upstream.InvalidSpec, upstream.Conflict:
		own.Class = upstream.LoginFailed
	}
	if own.Class == upstream.LoginFailed || own.Class == upstream.Forbidden {
		s.refused, s.until = own, now.Add(rest)
	}
	return own
}

// reject takes back a token that was refused, unless it was replaced meanwhile.
func (s *session) reject(value material.Secret) {
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	if s.value.Equal(value) {
		s.value = material.Secret{}
	}
}

// identified is what the platform says of a token.
type identified struct {
	Identity    string `json:"identity"`
	Application string `json:"application"`
	Scope       string `json:"scope"`
}

func verifyCall(token material.Secret) call {
	return call{operation: "token.verify", method: http.MethodGet, path: "/vedauth/authorize/verify", secrets: hidden(token)}
}

func revokeCall(token material.Secret) call {
	return call{operation: "token.revoke", method: http.MethodGet, path: "/vedauth/revoke/token", effect: true, secrets: hidden(token)}
}

// check proves that the operator's login works.
func (p *platform) check(ctx context.Context) error {
	c := verifyCall(material.Secret{})
	r, err := p.send(ctx, c)
	if err != nil {
		return err
	}
	var answer identified
	if r.status != http.StatusOK || !r.decode(&answer) || answer.Identity == "" {
		return refusal(c, r)
	}
	return nil
}

// scopeOf normalises a scope: it is echoed with blanks, in another order, in other case.
func scopeOf(text string) map[string]bool {
	out := map[string]bool{}
	for part := range strings.SplitSeq(strings.ToLower(strings.Join(strings.Fields(text), "")), ";") {
		name, restrictions, _ := strings.Cut(part, ":")
		if name == "" {
			continue
		}
		out[name] = true
		for restriction := range strings.SplitSeq(restrictions, ",") {
			if restriction != "" {
				out[name+":"+restriction] = true
			}
		}
	}
	return out
}

// covers reports whether a granted scope holds all that was asked for.
func covers(granted, wanted string) bool {
	have := scopeOf(granted)
	for part := range scopeOf(wanted) {
		if !have[part] {
			return false
		}
	}
	return true
}
