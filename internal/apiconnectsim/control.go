package apiconnectsim

import (
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/claviger-dev/claviger/internal/simkit"
)

// Stats is what GET /stats answers.
type Stats struct {
	// Operations counts the calls by operation.
	Operations map[string]int `json:"operations"`
	// Calls is the same by login and user agent, with outcomes.
	Calls []simkit.CallCount `json:"calls"`
	// LoginsGranted and LoginsRefused count token calls by what was decided, even
	// if a fault changed the answer.
	LoginsGranted int `json:"loginsGranted"`
	LoginsRefused int `json:"loginsRefused"`
	// Duplicates counts creates that were refused because of a credential that
	// was there.
	Duplicates int `json:"duplicates"`
	// Issued, Live and Revoked count credentials.
	Issued  int          `json:"issued"`
	Live    int          `json:"live"`
	Revoked int          `json:"revoked"`
	Gateway GatewayStats `json:"gateway"`
}

// Stats counts everything so far.
func (s *Sim) Stats() Stats {
	granted, refused := s.logins()
	stats := Stats{
		Operations: map[string]int{}, Calls: s.stage.Calls.List(), Gateway: s.GatewayStats(),
		LoginsGranted: granted, LoginsRefused: refused,
	}
	for _, n := range stats.Calls {
		stats.Operations[n.Operation] += n.Calls
	}
	for _, e := range s.stage.Ledger.Entries(0) {
		if e.Action == simkit.EventDuplicate {
			stats.Duplicates++
		}
	}
	for _, record := range s.stage.Ledger.Issued() {
		stats.Issued++
		if record.Live() {
			stats.Live++
		} else {
			stats.Revoked++
		}
	}
	return stats
}

func (s *Sim) logins() (granted, refused int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.doors.granted, s.doors.refused
}

// order is the body of every POST /human/… call; each reads the fields it needs.
type order struct {
	Path       Path   `json:"path"`
	Name       string `json:"name,omitempty"`
	Subscribed bool   `json:"subscribed,omitempty"`
	Refresh    bool   `json:"refresh,omitempty"`
}

// done is the answer of what has nothing to say.
type done struct{}

// controls is the control API: what all simulators have, and
//
//	GET /behaviour  PATCH /behaviour
//	GET /stats      POST /seed
//	POST /human/rename  /human/delete  /human/reset-secret  /human/subscribe
//	POST /human/expire-tokens  /human/api-key  /human/revoke-predecessors
func (s *Sim) controls() http.Handler {
	mux := http.NewServeMux()
	s.stage.Control(mux)
	mux.HandleFunc("GET /behaviour", simkit.Do(func(*http.Request, struct{}) (any, error) {
		return s.behaves(), nil
	}))
	mux.HandleFunc("PATCH /behaviour", simkit.Do(func(_ *http.Request, document json.RawMessage) (any, error) {
		if len(document) == 0 {
			return nil, fmt.Errorf("no behaviour was sent")
		}
		err := s.conduct.AdjustJSON(document)
		return s.behaves(), err
	}))
	mux.HandleFunc("GET /stats", simkit.Do(func(*http.Request, struct{}) (any, error) { return s.Stats(), nil }))
	mux.HandleFunc("POST /seed", simkit.Do(func(_ *http.Request, seed Seed) (any, error) { return s.Seed(seed) }))
	mux.HandleFunc("POST /human/rename", simkit.Do(func(_ *http.Request, o order) (any, error) {
		return done{}, s.Rename(o.Path, o.Name)
	}))
	mux.HandleFunc("POST /human/delete", simkit.Do(func(_ *http.Request, o order) (any, error) {
		return done{}, s.Delete(o.Path)
	}))
	mux.HandleFunc("POST /human/reset-secret", simkit.Do(func(_ *http.Request, o order) (any, error) {
		return s.ResetSecret(o.Path)
	}))
	mux.HandleFunc("POST /human/subscribe", simkit.Do(func(_ *http.Request, o order) (any, error) {
		return done{}, s.Subscribe(o.Path, o.Subscribed)
	}))
	mux.HandleFunc("POST /human/expire-tokens", simkit.Do(func(_ *http.Request, o order) (any, error) {
		s.ExpireTokens(o.Refresh)
		return done{}, nil
	}))
	mux.HandleFunc("POST /human/api-key", simkit.Do(func(_ *http.Request, key APIKey) (any, error) {
		made, err := s.AddAPIKey(key)
		return map[string]string{"apiKey": made}, err
	}))
	mux.HandleFunc("POST /human/revoke-predecessors", simkit.Do(func(_ *http.Request, o order) (any, error) {
		revoked, err := s.RevokePredecessors(o.Path)
		return map[string]int{"revoked": revoked}, err
	}))
	return mux
}
