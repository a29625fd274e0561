package neosim

import (
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/claviger-dev/claviger/internal/simkit"
)

// maxBody bounds what is read of a request.
const maxBody = 1 << 20

// failure is the form of errors that the platform is assumed to use: its reference is
// not public.
func failure(status int, message string) simkit.Answer {
	return simkit.JSON(status, map[string]any{"code": strconv.Itoa(status), "description": message})
}

// unauthorized is a 401 of a token endpoint.
func (s *Sim) unauthorized(words string) simkit.Answer {
	switch s.behaves().Refusal {
	case RefusalHTML:
		return simkit.Answer{Status: http.StatusUnauthorized, Header: http.Header{"Content-Type": {"text/html"}}, Body: []byte("<html><body>HTTP Status 401</body></html>")}
	case RefusalEmpty:
		return simkit.Answer{Status: http.StatusUnauthorized}
	}
	return simkit.JSON(http.StatusUnauthorized, map[string]string{"error": "invalid_client", "error_description": words})
}

// platformToken serves POST /oauth2/apitoken/v1. Credentials in the body are not
// looked at: only the header counts.
func (s *Sim) platformToken(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, io.LimitReader(r.Body, maxBody))
	id, secret, basic := r.BasicAuth()
	call := simkit.Call{Operation: opPlatformToken, By: simkit.Actor{Login: id, Agent: r.UserAgent()}}
	if r.URL.Query().Get("grant_type") != "client_credentials" {
		s.stage.Reply(w, call, simkit.JSON(http.StatusBadRequest, map[string]string{"error": "unsupported_grant_type"}))
		return
	}
	s.stage.Play(w, r, call, func() simkit.Answer {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, a := range s.world.order {
			c, known := a.platform[id]
			if !basic || !known || c.Secret != secret {
				continue
			}
			life := time.Duration(s.behaves().PlatformTokenLife)
			value := s.mint(&token{account: a, platform: &c, until: s.clock.Now().Add(life)})
			return simkit.JSON(http.StatusOK, map[string]any{
				"access_token": value, "token_type": "Bearer", "expires_in": int(life.Seconds()), "scope": c.scope(),
			})
		}
		return s.unauthorized("Client authentication failed.")
	})
}

func (c PlatformClient) may(scope Scope) bool {
	return c.Scopes == nil || slices.Contains(c.Scopes, scope)
}

func (c PlatformClient) scope() string {
	scopes := c.Scopes
	if scopes == nil {
		scopes = []Scope{ManageAuthorization, ReadAuthorization, ReadApplicationRoles, ManageAppRoles}
	}
	words := make([]string, len(scopes))
	for i, scope := range scopes {
		words[i] = "hcp." + string(scope)
	}
	return strings.Join(words, " ")
}

// mint keeps a token, and forgets those that are over. The lock is held.
func (s *Sim) mint(t *token) string {
	now := s.clock.Now()
	for value, old := range s.world.tokens {
		if !now.Before(old.until) {
			delete(s.world.tokens, value)
		}
	}
	value := newToken()
	s.world.tokens[value] = t
	return value
}

// bearer finds the token of a request. The lock is held.
func (s *Sim) bearer(r *http.Request) *token {
	value, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	t := s.world.tokens[value]
	if !ok || t == nil || !s.clock.Now().Before(t.until) {
		return nil
	}
	return t
}

// clientToken serves POST /{account}/oauth2/api/v1/token. A client gets its token
// whatever its roles are.
func (s *Sim) clientToken(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, io.LimitReader(r.Body, maxBody))
	id, secret, basic := r.BasicAuth()
	call := simkit.Call{
		Operation: opClientToken, By: simkit.Actor{Login: id, Agent: r.UserAgent()},
		Attrs: map[string]string{"clientId": id, "account": r.PathValue("account")},
	}
	if r.URL.Query().Get("grant_type") != "client_credentials" {
		s.stage.Reply(w, call, simkit.JSON(http.StatusBadRequest, map[string]string{"error": "unsupported_grant_type"}))
		return
	}
	s.stage.Play(w, r, call, func() simkit.Answer {
		s.mu.Lock()
		defer s.mu.Unlock()
		now, b, c := s.clock.Now(), s.behaves(), s.world.clients[id]
		if !basic || c == nil || c.secret != hashOf(secret) || c.app.account.name != r.PathValue("account") || now.Before(c.registered.Add(time.Duration(b.RegistrationLag))) {
			s.stage.Events.Append(EventRefused, opClientToken, map[string]string{"clientId": id, "agent": call.By.Agent})
			return s.unauthorized("Client authentication failed.")
		}
		life := c.tokenLife
		if life == 0 {
			life = time.Duration(b.TokenLife)
		}
		answer := map[string]any{"access_token": s.mint(&token{account: c.app.account, client: c, until: now.Add(life)}), "token_type": "Bearer", "expires_in": b.ExpiresIn}
		if b.ScopesAsText {
			answer["scope"] = ""
		} else {
			answer["scopes"] = []string{}
		}
		return simkit.JSON(http.StatusOK, answer)
	})
}
