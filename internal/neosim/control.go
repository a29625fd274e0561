package neosim

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
	// Clients and Assignments count what the ledger knows of each kind.
	Clients     Count `json:"clients"`
	Assignments Count `json:"assignments"`
	// Duplicates counts registrations that were refused because of a client that was
	// there.
	Duplicates int `json:"duplicates"`
}

// Count is how many of a kind there ever were.
type Count struct {
	Issued  int `json:"issued"`
	Live    int `json:"live"`
	Revoked int `json:"revoked"`
}

// Stats counts everything so far.
func (s *Sim) Stats() Stats {
	stats := Stats{Operations: map[string]int{}, Calls: s.stage.Calls.List()}
	for _, n := range stats.Calls {
		stats.Operations[n.Operation] += n.Calls
	}
	for _, e := range s.stage.Ledger.Entries(0) {
		if e.Action == simkit.EventDuplicate {
			stats.Duplicates++
		}
	}
	for _, record := range s.stage.Ledger.Issued() {
		count := &stats.Clients
		if record.Kind == kindAssignment {
			count = &stats.Assignments
		}
		count.Issued++
		if record.Live() {
			count.Live++
		} else {
			count.Revoked++
		}
	}
	return stats
}

// order is the body of every POST /human/… call; each reads the fields it needs.
type order struct {
	Account     string `json:"account,omitempty"`
	Application string `json:"application,omitempty"`
	Role        string `json:"role,omitempty"`
	ID          string `json:"id,omitempty"`
	Name        string `json:"name,omitempty"`
	Secret      string `json:"secret,omitempty"`
	Client      Client `json:"client,omitzero"`
}

// done is the answer of what has nothing to say.
type done struct{}

// controls is the control API: what all simulators have, and
//
//	GET /behaviour  PATCH /behaviour
//	GET /stats      POST /seed
//	POST /human/register  /human/deregister  /human/decide  /human/rename
//	POST /human/change-secret  /human/unassign  /human/unsubscribe  /human/expire-tokens
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
	mux.HandleFunc("POST /human/decide", simkit.Do(func(*http.Request, struct{}) (any, error) {
		return map[string]int{"decided": s.Decide()}, nil
	}))
	for path, act := range map[string]func(order) error{
		"/human/register":      func(o order) error { return s.Register(o.Account, o.Client) },
		"/human/deregister":    func(o order) error { return s.Deregister(o.ID) },
		"/human/rename":        func(o order) error { return s.Rename(o.ID, o.Name) },
		"/human/change-secret": func(o order) error { return s.ChangeSecret(o.ID, o.Secret) },
		"/human/unassign":      func(o order) error { return s.Unassign(o.Account, o.Application, o.Role, o.ID) },
		"/human/unsubscribe":   func(o order) error { return s.Unsubscribe(o.Account, o.Application) },
		"/human/expire-tokens": func(order) error { s.ExpireTokens(); return nil },
	} {
		mux.HandleFunc("POST "+path, simkit.Do(func(_ *http.Request, o order) (any, error) { return done{}, act(o) }))
	}
	return mux
}
