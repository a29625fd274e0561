package apiconnectsim

import (
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/claviger-dev/claviger/internal/simkit"
)

// Reasons for which the gateway refuses a call.
const (
	// RefusedUnknown: no credential with this client id ever got here.
	RefusedUnknown = "unknown"
	// RefusedEarly: it exists, and has not got here yet.
	RefusedEarly = "not-propagated"
	// RefusedRevoked: it was taken away.
	RefusedRevoked = "revoked"
	// RefusedSecret: the client id is right and the secret is not.
	RefusedSecret = "wrong-secret"
	// RefusedUnsubscribed: its app has no subscription.
	RefusedUnsubscribed = "no-subscription"
)

// ClientStats counts the gateway calls of one client id.
type ClientStats struct {
	Accepted int `json:"accepted"`
	Refused  int `json:"refused"`
	// Reasons counts the refusals by reason.
	Reasons map[string]int `json:"reasons,omitempty"`
	// FirstAcceptedAt, LastAcceptedAt and LastRefusedAt are nil if it never was.
	FirstAcceptedAt *time.Time `json:"firstAcceptedAt,omitempty"`
	LastAcceptedAt  *time.Time `json:"lastAcceptedAt,omitempty"`
	LastRefusedAt   *time.Time `json:"lastRefusedAt,omitempty"`
}

// GatewayStats counts all gateway calls.
type GatewayStats struct {
	Accepted int                    `json:"accepted"`
	Refused  int                    `json:"refused"`
	Reasons  map[string]int         `json:"reasons"`
	Clients  map[string]ClientStats `json:"clients"`
}

// gateway holds what has been pushed to it, and nothing else: it never looks into
// the platform's world.
type gateway struct {
	clock simkit.Clock

	mu         sync.Mutex
	random     *rand.Rand
	byClientID map[string][]*entrance
	byID       map[string]*entrance // by credential id: the newest
	subscribed map[string]bool      // by app id
	stats      GatewayStats
}

// entrance is one pair of id and secret, and the time in which it is taken. Those
// that are over are kept, so that "revoked" and "unknown" stay two answers.
type entrance struct {
	credentialID, appID string
	secret              digest
	from                time.Time
	until               *time.Time
}

func newGateway(clock simkit.Clock, seed uint64) *gateway {
	return &gateway{
		clock:      clock,
		random:     rand.New(rand.NewPCG(seed, seed)), //nolint:gosec // delays that can be repeated, not secrets
		byClientID: map[string][]*entrance{}, byID: map[string]*entrance{}, subscribed: map[string]bool{},
		stats: GatewayStats{Reasons: map[string]int{}, Clients: map[string]ClientStats{}},
	}
}

func (g *gateway) delay(r Range) time.Duration {
	if r.Max <= r.Min {
		return time.Duration(r.Min)
	}
	return time.Duration(r.Min) + time.Duration(g.random.Int64N(int64(r.Max-r.Min)+1))
}

func (g *gateway) publish(c *credential, delay Range) {
	g.mu.Lock()
	defer g.mu.Unlock()
	e := &entrance{credentialID: c.id, appID: c.app.id, secret: c.secret, from: g.clock.Now().Add(g.delay(delay))}
	g.byClientID[c.clientID] = append(g.byClientID[c.clientID], e)
	g.byID[c.id] = e
}

func (g *gateway) retract(credentialID string, lag Range) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if e := g.byID[credentialID]; e != nil {
		until := g.clock.Now().Add(g.delay(lag))
		e.until = &until
		delete(g.byID, credentialID)
	}
}

func (g *gateway) subscribe(appID string, subscribed bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.subscribed[appID] = subscribed
}

// check decides about one pair; the reason is empty if it is accepted.
func (g *gateway) check(clientID, secret string) (credentialID, reason string) {
	reason = RefusedUnknown
	now, hash := g.clock.Now(), hashOf(secret)
	for _, e := range g.byClientID[clientID] {
		switch {
		case e.secret != hash:
			if reason == RefusedUnknown {
				reason = RefusedSecret
			}
		case e.until != nil && !now.Before(*e.until):
			reason = RefusedRevoked
		case now.Before(e.from):
			reason = RefusedEarly
		case !g.subscribed[e.appID]:
			reason = RefusedUnsubscribed
		default:
			return e.credentialID, ""
		}
	}
	return "", reason
}

// admit checks and counts one call; first is true the first time that this client
// id is accepted.
func (g *gateway) admit(clientID, secret string) (credentialID, reason string, first bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	credentialID, reason = g.check(clientID, secret)
	now, stats := g.clock.Now(), g.stats.Clients[clientID]
	if reason == "" {
		g.stats.Accepted++
		stats.Accepted++
		stats.LastAcceptedAt = &now
		if first = stats.FirstAcceptedAt == nil; first {
			stats.FirstAcceptedAt = &now
		}
	} else {
		g.stats.Refused++
		g.stats.Reasons[reason]++
		stats.Refused++
		stats.LastRefusedAt = &now
		// Replaced and not edited: copies of the statistics share it.
		stats.Reasons = maps.Clone(stats.Reasons)
		if stats.Reasons == nil {
			stats.Reasons = map[string]int{}
		}
		stats.Reasons[reason]++
	}
	g.stats.Clients[clientID] = stats
	return credentialID, reason, first
}

// call serves the gateway: every path is an API behind a plan.
func (s *Sim) call(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, io.LimitReader(r.Body, largestBody))
	clientID, secret := r.Header.Get("X-IBM-Client-Id"), r.Header.Get("X-IBM-Client-Secret")
	call := simkit.Call{
		Operation: "gateway.call", By: simkit.Actor{Agent: r.UserAgent()},
		Attrs: map[string]string{"clientId": clientID},
	}
	s.stage.Play(w, r, call, func() simkit.Answer {
		credentialID, reason, first := s.gateway.admit(clientID, secret)
		if reason != "" {
			s.stage.Events.Append(EventRefused, call.Operation, map[string]string{
				"clientId": clientID, "reason": reason, "agent": call.By.Agent,
			})
			return s.turnAway(reason)
		}
		if first {
			s.stage.Events.Append(EventAccepted, call.Operation, map[string]string{
				"clientId": clientID, "credentialId": credentialID, "agent": call.By.Agent,
			})
			if s.behaves().RevokePredecessor {
				s.revokeOlderThan(credentialID)
			}
		}
		return simkit.JSON(http.StatusOK, map[string]string{"path": r.URL.Path, "clientId": clientID})
	})
}

// turnAway is the gateway's refusal. Its form differs from the platform's, and it
// does not tell the client which part was wrong.
func (s *Sim) turnAway(reason string) simkit.Answer {
	status, words := http.StatusUnauthorized, "Invalid client id or secret."
	if reason == RefusedUnsubscribed {
		status, words = s.behaves().UnsubscribedStatus, "The application is not subscribed."
	}
	return simkit.JSON(status, map[string]string{
		"httpCode": strconv.Itoa(status), "httpMessage": http.StatusText(status), "moreInformation": words,
	})
}

// revokeOlderThan kills every credential that was made before this one in its app:
// what a rotation without an overlap would do.
func (s *Sim) revokeOlderThan(credentialID string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.appOf(credentialID)
	if a == nil {
		return 0
	}
	var older []*credential
	for _, c := range a.credentials.order {
		if c.id == credentialID {
			break
		}
		older = append(older, c)
	}
	for _, c := range older {
		s.revoke(c, simkit.Actor{Login: "the judge"}, "revoke-predecessor")
	}
	return len(older)
}

func (s *Sim) appOf(credentialID string) *app {
	for _, o := range s.world.orgs.order {
		for _, catalog := range o.catalogs.order {
			for _, c := range catalog.credentials {
				if c.id == credentialID {
					return c.app
				}
			}
		}
	}
	return nil
}

// Accepts reports whether the gateway would take this pair now; it counts nothing.
func (s *Sim) Accepts(clientID, clientSecret string) bool {
	s.gateway.mu.Lock()
	defer s.gateway.mu.Unlock()
	_, reason := s.gateway.check(clientID, clientSecret)
	return reason == ""
}

// GatewayStats counts the gateway's calls so far.
func (s *Sim) GatewayStats() GatewayStats {
	s.gateway.mu.Lock()
	defer s.gateway.mu.Unlock()
	stats := s.gateway.stats
	stats.Reasons, stats.Clients = maps.Clone(stats.Reasons), maps.Clone(stats.Clients)
	return stats
}
