package centrasitesim

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/claviger-dev/claviger/internal/simkit"
)

// What Mediator says with the status 500, which it has for everything.
const (
	wordsInvalid = "The request is authenticated as invalid."
	wordsMissing = "A required header is missing in the request."
	wordsExpired = "The API key has expired."
)

func (s *Sim) mediatorRoutes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+tokenPath, s.accessToken)
	mux.HandleFunc("/", s.call)
	return mux
}

// fails is how Mediator refuses.
func (s *Sim) fails(words string) simkit.Answer {
	s.stage.Events.Append(EventRefused, "", map[string]string{"reason": words})
	return simkit.Answer{
		Status: http.StatusInternalServerError, Header: http.Header{"Content-Type": {"text/xml"}},
		Body: []byte("<exception>Mediator encountered an error: " + words + "</exception>"),
	}
}

// accessToken serves the token service: the header wins over the body.
func (s *Sim) accessToken(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(io.LimitReader(r.Body, maxBody))
	id, secret, _ := r.BasicAuth()
	var asked struct {
		Scope string `json:"scope"`
	}
	_ = json.Unmarshal(body, &asked) // without a scope nothing is given
	if asked.Scope == "" {
		asked.Scope = r.URL.Query().Get("scope")
	}
	call := simkit.Call{Operation: "mediator.token", By: simkit.Actor{Login: id, Agent: r.UserAgent()}, Attrs: map[string]string{"clientId": id}}
	s.stage.Play(w, r, call, func() simkit.Answer {
		s.mu.Lock()
		defer s.mu.Unlock()
		now, b, t := s.clock.Now(), s.behaves(), s.byClient(id, secret)
		if t == nil || !t.known(now, b) || t.api.Service != asked.Scope {
			s.stage.Events.Append(EventRefused, "mediator.token", map[string]string{"reason": "client"})
			return simkit.JSON(http.StatusUnauthorized, map[string]string{"error": "invalid_client"})
		}
		value := newKey()
		s.world.bearers[value] = bearer{t, now.Add(time.Duration(b.TokenLife))}
		return simkit.JSON(http.StatusOK, map[string]any{
			"access_token": value, "token_type": "Bearer", "expires_in": int(time.Duration(b.TokenLife).Seconds()),
		})
	})
}

// call serves the APIs: with a key in the header or the query, or a bearer token.
func (s *Sim) call(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, io.LimitReader(r.Body, maxBody))
	call := simkit.Call{Operation: "mediator.call", By: simkit.Actor{Agent: r.UserAgent()}, Attrs: map[string]string{"path": r.URL.Path}}
	s.stage.Play(w, r, call, func() simkit.Answer {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.admit(r)
	})
}

// admit decides about one call of an API. The lock is held.
func (s *Sim) admit(r *http.Request) simkit.Answer {
	of := s.service(r.URL.Path)
	if of == nil {
		return simkit.Answer{Status: http.StatusNotFound, Header: http.Header{"Content-Type": {"text/plain"}}, Body: []byte("no such service")}
	}
	now, b := s.clock.Now(), s.behaves()
	key := r.Header.Get("x-CentraSite-APIKey")
	if key == "" {
		key = r.URL.Query().Get("APIKey")
	}
	value, isBearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	var t *token
	switch {
	case isBearer:
		if held, ok := s.world.bearers[value]; ok && now.Before(held.until) {
			t = held.token
		}
	case key == "":
		return s.fails(wordsMissing)
	default:
		t = s.byKey(key)
	}
	if t == nil || !t.known(now, b) || t.api != of {
		return s.fails(wordsInvalid)
	}
	if t.expired(now) {
		return s.fails(wordsExpired)
	}
	return simkit.JSON(http.StatusOK, map[string]string{"served": of.Service})
}
