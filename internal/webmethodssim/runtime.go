package webmethodssim

import (
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/claviger-dev/claviger/internal/simkit"
)

// tokenLife is that of tokens of strategies.
const tokenLife = time.Hour

func (s *Sim) runtimeRoutes() http.Handler {
	mux := http.NewServeMux()
	for _, path := range []string{"/invoke/pub.apigateway.oauth2/getAccessToken", "/rest/pub.apigateway.oauth2/getAccessToken"} {
		mux.HandleFunc("POST "+path, s.giveToken)
	}
	mux.HandleFunc("/", s.serveAPI)
	return mux
}

// giveToken serves the token service: Basic wins over what the body says.
func (s *Sim) giveToken(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(io.LimitReader(r.Body, maxBody))
	var sent struct {
		Grant  string `json:"grant_type"`
		ID     string `json:"client_id"`
		Secret string `json:"client_secret"`
		Scope  string `json:"scope"`
	}
	_ = json.Unmarshal(body, &sent) // without it, the header alone speaks
	id, secret, basic := r.BasicAuth()
	if !basic {
		id, secret = sent.ID, sent.Secret
	}
	call := simkit.Call{Operation: opToken, By: simkit.Actor{Login: id, Agent: r.UserAgent()}, Attrs: map[string]string{"clientId": id}}
	s.stage.Play(w, r, call, func() simkit.Answer {
		s.mu.Lock()
		defer s.mu.Unlock()
		c := s.client(id, secret)
		if c == nil {
			s.refused(call, "token", id)
			return simkit.JSON(http.StatusUnauthorized, map[string]string{"error": "invalid_client", "error_description": "Client authentication failed."})
		}
		value := simkit.NewSecret(32)
		s.world.tokens[value] = &token{strategy: c, scopes: sent.Scope, until: s.clock.Now().Add(tokenLife)}
		return simkit.JSON(http.StatusOK, map[string]any{"access_token": value, "token_type": "Bearer", "expires_in": int(tokenLife.Seconds())})
	})
}

// client finds the strategy of a client id and secret, once the news of it has spread. The
// lock is held.
func (s *Sim) client(id, secret string) *strategy {
	for _, c := range s.world.strategies {
		if c.clientID == id && c.secret == secret && id != "" && s.known(c.made) {
			return c
		}
	}
	return nil
}

func (s *Sim) known(made time.Time) bool {
	return !s.clock.Now().Before(made.Add(time.Duration(s.behaves().KeyLag)))
}

func (s *Sim) refused(call simkit.Call, reason, id string) {
	s.stage.Events.Append(EventRefused, call.Operation, map[string]string{"reason": reason, "id": id, "agent": call.By.Agent})
}

// serveAPI serves the APIs.
func (s *Sim) serveAPI(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, io.LimitReader(r.Body, maxBody))
	key := r.Header.Get("x-Gateway-APIKey")
	if key == "" {
		key = r.Header.Get("x-CentraSite-APIKey")
	}
	bearer, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	call := simkit.Call{Operation: opCall, By: simkit.Actor{Agent: r.UserAgent()}, Attrs: map[string]string{"path": r.URL.Path}}
	s.mu.Lock()
	if a, _ := s.caller(key, bearer); a != nil {
		call.By.Login, call.Attrs["application"] = a.text("name"), a.id
	}
	s.mu.Unlock()
	s.stage.Play(w, r, call, func() simkit.Answer {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.admit(call, r.URL.Path, key, bearer)
	})
}

// caller finds whose a key or a token is: an application, and its strategy if it is a token's.
// The lock is held.
func (s *Sim) caller(key, bearer string) (*application, *strategy) {
	if t := s.world.tokens[bearer]; t != nil && s.clock.Now().Before(t.until) && s.world.strategy(t.strategy.id) == t.strategy {
		for _, a := range s.world.applications {
			if slices.Contains(a.strategies(), t.strategy.id) {
				return a, t.strategy
			}
		}
		return nil, nil
	}
	for _, a := range s.world.applications {
		if key != "" && a.key == key && s.known(a.made) {
			return a, nil
		}
	}
	return nil, nil
}

// admit decides about one call of an API. The lock is held.
func (s *Sim) admit(call simkit.Call, path, key, bearer string) simkit.Answer {
	i := slices.IndexFunc(s.world.apis, func(api *API) bool { return path == api.Path || strings.HasPrefix(path, api.Path+"/") })
	if i < 0 {
		return failure(http.StatusNotFound, "API not found")
	}
	a, c := s.caller(key, bearer)
	words := ""
	switch {
	case key == "" && bearer == "":
		words = "A required header is missing in the request."
	case a == nil:
		words = "The request is authenticated as invalid."
	case a.suspended:
		words = "Application is suspended."
	case !slices.Contains(a.apis, s.world.apis[i].ID):
		words = "Unauthorized application request"
	}
	if words != "" {
		s.refused(call, words, "")
		status := http.StatusUnauthorized
		if s.behaves().MediatorRefusals {
			status = http.StatusInternalServerError
		}
		return simkit.JSON(status, map[string]string{"Exception": words})
	}
	kind, id, first := kindApplication, a.id, &a.accepted
	if c != nil {
		kind, id, first = kindStrategy, c.id, &c.accepted
	}
	if !*first {
		*first = true
		s.stage.Events.Append(EventAccepted, opCall, map[string]string{"kind": kind, "id": id})
	}
	return simkit.JSON(http.StatusOK, map[string]string{"served": s.world.apis[i].Name})
}

// AcceptsKey reports whether a workload with this key is served by an API.
func (s *Sim) AcceptsKey(api, key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, _ := s.caller(key, "")
	return s.serves(api, a)
}

// AcceptsClient reports whether a workload with this client is served by an API.
func (s *Sim) AcceptsClient(api, id, secret string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.client(id, secret)
	if c == nil {
		return false
	}
	for _, a := range s.world.applications {
		if slices.Contains(a.strategies(), c.id) {
			return s.serves(api, a)
		}
	}
	return false
}

// serves reports whether an application may call an API. The lock is held.
func (s *Sim) serves(api string, a *application) bool {
	if a == nil || a.suspended {
		return false
	}
	return slices.ContainsFunc(s.world.apis, func(one *API) bool { return one.Name == api && slices.Contains(a.apis, one.ID) })
}
