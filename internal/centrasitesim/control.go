package centrasitesim

import (
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/claviger-dev/claviger/internal/simkit"
)

// Stats is what GET /stats answers.
type Stats struct {
	// Requests counts what was ever asked for, approved or not.
	Requests int `json:"requests"`
	// Tokens counts what the ledger knows.
	Tokens Count `json:"tokens"`
	// Duplicates counts requests that were refused because of an access token that was there.
	Duplicates int `json:"duplicates"`
}

// Count is how many there ever were.
type Count struct {
	Issued  int `json:"issued"`
	Live    int `json:"live"`
	Revoked int `json:"revoked"`
}

// Stats counts everything so far.
func (s *Sim) Stats() Stats {
	s.mu.Lock()
	stats := Stats{Requests: len(s.world.tokens)}
	s.mu.Unlock()
	for _, e := range s.stage.Ledger.Entries(0) {
		if e.Action == simkit.EventDuplicate {
			stats.Duplicates++
		}
	}
	for _, record := range s.stage.Ledger.Issued() {
		stats.Tokens.Issued++
		if record.Live() {
			stats.Tokens.Live++
		} else {
			stats.Tokens.Revoked++
		}
	}
	return stats
}

// order is the body of every POST /human/… call; each reads the fields it needs. App is an
// application or the id of an access token.
type order struct {
	App     string `json:"app,omitempty"`
	User    string `json:"user,omitempty"`
	Name    string `json:"name,omitempty"`
	Remarks string `json:"remarks,omitempty"`
}

// done is the answer of what has nothing to say.
type done struct{}

// controls is the control API: what all simulators have, and
//
//	GET /behaviour  PATCH /behaviour
//	GET /stats      POST /seed
//	POST /human/approve  /human/reject  /human/rename  /human/change-key  /human/remove
//	POST /human/deny     /human/allow
func (s *Sim) controls() http.Handler {
	mux := http.NewServeMux()
	s.stage.Control(mux)
	mux.HandleFunc("GET /behaviour", simkit.Do(func(*http.Request, struct{}) (any, error) { return s.behaves(), nil }))
	mux.HandleFunc("PATCH /behaviour", simkit.Do(func(_ *http.Request, document json.RawMessage) (any, error) {
		if len(document) == 0 {
			return nil, fmt.Errorf("no behaviour was sent")
		}
		err := s.conduct.AdjustJSON(document)
		return s.behaves(), err
	}))
	mux.HandleFunc("GET /stats", simkit.Do(func(*http.Request, struct{}) (any, error) { return s.Stats(), nil }))
	mux.HandleFunc("POST /seed", simkit.Do(func(_ *http.Request, seed Seed) (any, error) { return done{}, s.Seed(seed) }))
	for path, act := range map[string]func(order) error{
		"/human/approve":    func(o order) error { return s.Approve(o.App, o.User) },
		"/human/reject":     func(o order) error { return s.Reject(o.App, o.User, o.Remarks) },
		"/human/rename":     func(o order) error { return s.Rename(o.App, o.Name) },
		"/human/change-key": func(o order) error { return s.ChangeKey(o.App) },
		"/human/remove":     func(o order) error { return s.Remove(o.App) },
		"/human/deny":       func(o order) error { return s.Deny(o.User) },
		"/human/allow":      func(o order) error { return s.Allow(o.User) },
	} {
		mux.HandleFunc("POST "+path, simkit.Do(func(_ *http.Request, o order) (any, error) { return done{}, act(o) }))
	}
	return mux
}
