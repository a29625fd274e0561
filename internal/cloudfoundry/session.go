package cloudfoundry

import (
	"context"
	"net/http"
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
	shortestRefusal = time.Minute
	longestRefusal  = 15 * time.Minute
)

// session is a server with the one token that all callers share.
type session struct {
	*endpoint
	*upstream.Entrance
}

// newSession is given what makes one login and says until when its token is good.
func newSession(now func() time.Time, e *endpoint, enter func(context.Context) (material.Secret, time.Time, error)) *session {
	return &session{endpoint: e, Entrance: upstream.NewEntrance(now, shortestRefusal, longestRefusal, enter)}
}

// send makes a call with the shared token. One 401 costs one fresh login and one repeat,
// never more.
func (s *session) send(ctx context.Context, c call) (reply, error) {
	for attempt := 1; ; attempt++ {
		value, err := s.Token(ctx)
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
		s.Reject(value, refused, attempt > 1)
		if attempt > 1 {
			return reply{}, refused
		}
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
