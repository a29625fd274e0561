package apiconnect

import (
	"context"
	"math"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/claviger-dev/claviger/internal/material"
	"github.com/claviger-dev/claviger/internal/upstream"
)

const (
	// loginLimit bounds a login, waiting for budget included.
	loginLimit = 30 * time.Second
	// defaultTokenLife is assumed where the platform tells none.
	defaultTokenLife = 5 * time.Minute
	maxTokenLife     = 30 * 24 * time.Hour
	// A refused login is not tried again at once: a thousand credentials that all try
	// lock the account. It doubles up to the longest, since some accounts lock after
	// five.
	shortestRefusal = 10 * time.Second
	longestRefusal  = time.Minute
)

// grant is how this issuer logs in.
type grant struct {
	kind, realm string
	values      map[string]material.Secret
}

func (g grant) secrets() []material.Secret {
	return []material.Secret{g.values["password"], g.values["api_key"], g.values["client_secret"]}
}

// body is what the token endpoint wants; with a refresh token it is the shorter one.
func (g grant) body(refresh material.Secret) map[string]string {
	body := map[string]string{"client_id": g.values["client_id"].Reveal(), "client_secret": g.values["client_secret"].Reveal()}
	if g.realm != "" {
		body["realm"] = g.realm
	}
	switch {
	case !refresh.Empty():
		body["grant_type"] = "refresh_token"
		body["refresh_token"] = refresh.Reveal()
	case g.kind == grantAPIKey:
		body["grant_type"] = "api_key"
		body["api_key"] = g.values["api_key"].Reveal()
	default:
		body["grant_type"] = "password"
		body["username"] = g.values["username"].Reveal()
		body["password"] = g.values["password"].Reveal()
	}
	return body
}

// token is what a login yields.
type token struct {
	value, refresh   material.Secret
	renewAt, expires time.Time
}

func (t token) usable(now time.Time) bool { return !t.value.Empty() && now.Before(t.expires) }

// session is the one token that all callers share. One login at a time serves them
// all, and outlives the caller that happened to start it.
type session struct {
	now func() time.Time
	// login makes one login on the wire: by the refresh token if there is one.
	login func(refresh material.Secret) (token, error)

	mu      sync.Mutex
	current token
	flight  *flight
	// refused is why the last login did not work, until retryAt.
	refused *upstream.Error
	retryAt time.Time
	streak  int
	// logins counts those that worked, for words about spent API keys.
	logins int
}

// flight is a login under way.
type flight struct {
	done  chan struct{}
	token token
	err   error
}

// token returns one that is believed to work. At two thirds of its life a new one is
// fetched while callers still get the old one: nobody waits, and a platform that cannot
// be reached for a while stops nobody.
func (s *session) token(ctx context.Context) (material.Secret, error) {
	s.mu.Lock()
	now := s.now()
	current, usable, resting := s.current, s.current.usable(now), now.Before(s.retryAt)
	if usable && (resting || now.Before(current.renewAt)) {
		s.mu.Unlock()
		return current.value, nil
	}
	if resting {
		refused := *s.refused
		refused.After = s.retryAt.Sub(now)
		s.mu.Unlock()
		return material.Secret{}, &refused
	}
	f := s.takeOff()
	s.mu.Unlock()
	if usable {
		return current.value, nil
	}
	select {
	case <-f.done:
		return f.token.value, f.err
	case <-ctx.Done():
		return material.Secret{}, &upstream.Error{Class: upstream.Retryable, Message: "given up while logging in", Err: ctx.Err()}
	}
}

// takeOff starts a login, or joins the one under way. The lock is held.
func (s *session) takeOff() *flight {
	if s.flight != nil {
		return s.flight
	}
	f := &flight{done: make(chan struct{})}
	s.flight = f
	refresh := s.current.refresh
	go func() {
		f.token, f.err = s.login(refresh)
		if class := upstream.ClassOf(f.err); !refresh.Empty() && (class == upstream.LoginFailed || class == upstream.InvalidSpec) {
			// Refresh tokens die early (a password change ends them), or are switched off;
			// the login proper has the last word.
			f.token, f.err = s.login(material.Secret{})
		}
		s.land(f)
	}()
	return f
}

func (s *session) land(f *flight) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flight = nil
	if f.err == nil {
		s.current, s.refused, s.retryAt, s.streak = f.token, nil, time.Time{}, 0
		s.logins++
	} else {
		// The old token may serve a while yet; without this every call would start a
		// login as long as the platform is down.
		s.current.renewAt = s.now().Add(shortestRefusal)
		if upstream.ClassOf(f.err) == upstream.LoginFailed {
			s.rest(f.err)
		}
	}
	close(f.done)
}

// rest remembers a refusal. The lock is held.
func (s *session) rest(err error) {
	s.refused = upstream.Errorf(upstream.LoginFailed, "%s", messageFrom(err))
	wait := min(shortestRefusal<<min(s.streak, 8), longestRefusal)
	s.retryAt = s.now().Add(wait)
	s.streak++
}

// reject takes back a token that the platform answered 401 to, so that the next caller
// logs in afresh. A token that was replaced meanwhile is left alone: of a thousand
// callers with the same stale token only the first makes a login.
func (s *session) reject(value material.Secret) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current.value.Equal(value) {
		s.current = token{refresh: s.current.refresh}
	}
}

// distrust is told that even a fresh token was answered 401.
func (s *session) distrust(value material.Secret, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current.value.Equal(value) {
		s.current = token{}
		s.rest(err)
	}
}

func (s *session) loggedInBefore() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.logins > 0
}

// logIn makes one login. Its context is nobody's: the caller that needed it first may
// give up, and the others wait on.
func (p *platform) logIn(g grant, refresh material.Secret) (token, error) {
	ctx, cancel := context.WithTimeout(context.Background(), loginLimit) //nolint:forbidigo // a login serves all callers and must outlive the one that started it
	defer cancel()
	started := p.now()
	c := call{operation: "login", method: http.MethodPost, path: "/api/token", body: g.body(refresh), secrets: []material.Secret{refresh}}
	r, err := p.exchange(ctx, c, material.Secret{})
	if err != nil {
		return token{}, err
	}
	switch {
	case r.status == http.StatusOK, r.status == http.StatusCreated:
	case r.status == http.StatusNotFound:
		return token{}, upstream.Errorf(upstream.InvalidSpec, "%s; url must be that of the platform API", words(c, r))
	case slices.Contains([]int{400, 401, 403, 409, 422, 423}, r.status):
		return token{}, upstream.Errorf(upstream.LoginFailed, "%s%s", words(c, r), p.loginAdvice(g, refresh))
	default:
		return token{}, refusal(c, r)
	}
	var answer tokenAnswer
	if decode(r.body, &answer) != nil || answer.AccessToken == "" {
		return token{}, upstream.Errorf(upstream.Retryable, "%s without a token; is url that of the platform API?", words(c, r))
	}
	life := defaultTokenLife
	if seconds := answer.ExpiresIn; seconds > 0 && !math.IsNaN(seconds) {
		life = time.Duration(min(seconds, maxTokenLife.Seconds()) * float64(time.Second))
	}
	// Counted from before the call, so that a slow answer shortens life, never
	// lengthens it.
	return token{
		value: material.New(answer.AccessToken), refresh: material.New(answer.RefreshToken),
		renewAt: started.Add(life * 2 / 3), expires: started.Add(life),
	}, nil
}

// loginAdvice says what a person can do about a refused login.
func (p *platform) loginAdvice(g grant, refresh material.Secret) string {
	switch {
	case !refresh.Empty():
		return "; the refresh token is not taken any more"
	case g.kind == grantAPIKey && p.session.loggedInBefore():
		return "; this API key worked before, so it is spent or has expired: keys serve once unless multiple uses are enabled for them. Put a new key into the login Secret"
	case g.kind == grantAPIKey:
		return "; the API key is wrong, has expired (they live five minutes unless configured otherwise) or is spent: keys serve once unless multiple uses are enabled for them"
	}
	return "; check username, password, client_id and client_secret in the login Secret, and login.realm"
}
