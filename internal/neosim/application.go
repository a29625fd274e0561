package neosim

import (
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/claviger-dev/claviger/internal/simkit"
)

// call serves the applications: /{account}/{application}/path with a bearer token of a
// client whose user has the path's roles.
func (s *Sim) call(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, io.LimitReader(r.Body, maxBody))
	parts := strings.SplitN(strings.TrimPrefix(r.URL.Path, "/"), "/", 3)
	for len(parts) < 3 {
		parts = append(parts, "")
	}
	call := simkit.Call{
		Operation: opApplicationCall, By: simkit.Actor{Agent: r.UserAgent()},
		Attrs: map[string]string{"account": parts[0], "application": parts[1]},
	}
	s.mu.Lock()
	if t := s.bearer(r); t != nil && t.client != nil {
		call.By.Login, call.Attrs["clientId"] = t.client.id, t.client.id
	}
	s.mu.Unlock()
	s.stage.Play(w, r, call, func() simkit.Answer {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.admit(r, parts[0], parts[1], "/"+parts[2])
	})
}

// admit decides about one call of an application. The lock is held.
func (s *Sim) admit(r *http.Request, accountName, application, path string) simkit.Answer {
	now, b, t := s.clock.Now(), s.behaves(), s.bearer(r)
	refused := func(status int, id, reason string) simkit.Answer {
		s.stage.Events.Append(EventRefused, opApplicationCall, map[string]string{"clientId": id, "reason": reason, "agent": r.UserAgent()})
		return simkit.Answer{Status: status, Header: http.Header{"Content-Type": {"text/html"}}, Body: []byte("<html><body>" + http.StatusText(status) + "</body></html>")}
	}
	if t == nil || t.client == nil || t.client.app.account.name != accountName {
		return refused(http.StatusUnauthorized, "", "no-token")
	}
	c := t.client
	if !c.deleted.IsZero() && !now.Before(c.deleted.Add(time.Duration(b.DeletedTokenLag))) {
		return refused(http.StatusUnauthorized, c.id, "deleted")
	}
	at := c.app.account.app("", application)
	if at == nil {
		return refused(http.StatusNotFound, c.id, "no-application")
	}
	for _, endpoint := range at.endpoints {
		if !strings.HasPrefix(path, endpoint.Path) {
			continue
		}
		for _, role := range endpoint.Roles {
			if !at.holds(c.user(), role, now, time.Duration(b.RoleLag)) {
				return refused(http.StatusForbidden, c.id, "no-role "+role)
			}
		}
		s.accepted(c)
		return simkit.JSON(http.StatusOK, map[string]any{"d": map[string]any{"results": []any{}}})
	}
	return refused(http.StatusNotFound, c.id, "no-endpoint")
}

// accepted notes that an application served a client. The lock is held.
func (s *Sim) accepted(c *client) {
	if c.accepted {
		return
	}
	c.accepted = true
	s.stage.Events.Append(EventAccepted, opApplicationCall, map[string]string{"clientId": c.id})
	if !s.behaves().RevokePredecessor {
		return
	}
	for _, older := range c.app.account.clients {
		if older != c && older.app == c.app && !older.registered.After(c.registered) {
			s.remove(older, simkit.Actor{Login: "the judge"}, "revoke-predecessor")
		}
	}
}

// Accepts reports whether this pair would be served now at every endpoint of its
// application, all lags over; it counts nothing.
func (s *Sim) Accepts(clientID, clientSecret string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.world.clients[clientID]
	if c == nil || c.secret != hashOf(clientSecret) {
		return false
	}
	for _, endpoint := range c.app.endpoints {
		for _, role := range endpoint.Roles {
			if !c.app.holds(c.user(), role, s.clock.Now(), 0) {
				return false
			}
		}
	}
	return true
}
