package webmethodsportalsim

import (
	"crypto/subtle"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/claviger-dev/claviger/internal/simkit"
)

// tokenPath is the gateway's token service.
const tokenPath = "/invoke/pub.apigateway.oauth2/getAccessToken"

func (s *Sim) gatewayRoutes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+tokenPath, s.giveToken)
	mux.HandleFunc("/gateway/{api}/", s.call)
	mux.HandleFunc("/", s.nowhere)
	return mux
}

// knows reports whether the gateway takes what belongs to an application. The lock is held.
func (s *Sim) knows(a *app) bool {
	now := s.clock.Now()
	return !a.gone && a.status == applicationLive && !now.Before(a.made.Add(time.Duration(s.behaves().KeyLag))) && (a.until.IsZero() || now.Before(a.until))
}

// same compares what nobody may guess by timing.
func same(a, b string) bool {
	return a != "" && subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1
}

// giveToken is the token service: credentials come by Basic, the grant in the form or in the
// query.
func (s *Sim) giveToken(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(io.LimitReader(r.Body, maxBody))
	id, secret, _ := r.BasicAuth()
	call := simkit.Call{Operation: opToken, By: simkit.Actor{Login: id, Agent: r.UserAgent()}}
	s.stage.Play(w, r, call, func() simkit.Answer {
		s.mu.Lock()
		defer s.mu.Unlock()
		form, _ := url.ParseQuery(string(body) + "&" + r.URL.RawQuery)
		if form.Get("grant_type") != "client_credentials" {
			return simkit.JSON(http.StatusBadRequest, map[string]string{"error": "unsupported_grant_type"})
		}
		for _, a := range s.world.apps {
			if s.knows(a) && same(a.clientID, id) && same(a.clientSecret, secret) {
				value := simkit.NewSecret(32)
				s.world.tokens[value] = &token{app: a}
				return simkit.JSON(http.StatusOK, map[string]any{"access_token": value, "token_type": "Bearer", "expires_in": 3600})
			}
		}
		return simkit.JSON(http.StatusUnauthorized, map[string]string{"error": "invalid_client"})
	})
}

// call is an API of the gateway.
func (s *Sim) call(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, io.LimitReader(r.Body, maxBody))
	api := r.PathValue("api")
	call := simkit.Call{Operation: opCall, By: simkit.Actor{Agent: r.UserAgent()}, Attrs: map[string]string{"api": api}}
	s.stage.Play(w, r, call, func() simkit.Answer {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.world.apis[api] == nil {
			return failure(http.StatusNotFound, "Native endpoint not found")
		}
		a := s.caller(r)
		switch {
		case a == nil && s.behaves().RefusesBy == RefusesByText:
			return simkit.JSON(http.StatusInternalServerError, map[string]string{"Exception": "API Gateway encountered an error. Error Message: The request is authenticated as invalid."})
		case a == nil:
			return simkit.JSON(http.StatusUnauthorized, map[string]string{"Exception": "Unauthorized application request"})
		case !slices.Contains(a.apis, api):
			return simkit.JSON(http.StatusForbidden, map[string]string{"Exception": "The application is not registered for this API"})
		}
		if !a.used {
			a.used = true
			s.stage.Events.Append(EventAccepted, opCall, map[string]string{"id": a.id})
		}
		return simkit.JSON(http.StatusOK, map[string]string{"status": "served"})
	})
}

// caller finds the application of a key or a token. The lock is held.
func (s *Sim) caller(r *http.Request) *app {
	if bearer, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		if t := s.world.tokens[bearer]; t != nil && s.knows(t.app) {
			return t.app
		}
		return nil
	}
	key := r.Header.Get("X-Gateway-Apikey")
	for _, a := range s.world.apps {
		if s.knows(a) && same(a.apiKey, key) {
			return a
		}
	}
	return nil
}

// Accepts reports whether the gateway takes an API key, or a client id with its secret,
// once all news have spread.
func (s *Sim) Accepts(key, clientID, clientSecret string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.world.apps {
		if !a.gone && a.status == applicationLive && (same(a.apiKey, key) || same(a.clientID, clientID) && same(a.clientSecret, clientSecret)) {
			return true
		}
	}
	return false
}
