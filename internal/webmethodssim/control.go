package webmethodssim

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
	// Kinds count what the ledger knows of applications and strategies.
	Kinds map[string]Count `json:"kinds"`
	// Requests are those of approvals.
	Requests []Request `json:"requests"`
}

// Count is how many of a kind there ever were.
type Count struct {
	Issued  int `json:"issued"`
	Live    int `json:"live"`
	Revoked int `json:"revoked"`
}

// Stats counts everything so far.
func (s *Sim) Stats() Stats {
	stats := Stats{Operations: map[string]int{}, Calls: s.stage.Calls.List(), Kinds: map[string]Count{}, Requests: s.Requests()}
	for _, n := range stats.Calls {
		stats.Operations[n.Operation] += n.Calls
	}
	for _, record := range s.stage.Ledger.Issued() {
		count := stats.Kinds[record.Kind]
		count.Issued++
		if record.Live() {
			count.Live++
		} else {
			count.Revoked++
		}
		stats.Kinds[record.Kind] = count
	}
	return stats
}

// order is the body of every POST /human/… call; each reads the fields it needs.
type order struct {
	ID          string          `json:"id,omitempty"`
	Name        string          `json:"name,omitempty"`
	Strategy    string          `json:"strategy,omitempty"`
	Comment     string          `json:"comment,omitempty"`
	Application SeedApplication `json:"application,omitzero"`
}

// done is the answer of what has nothing to say.
type done struct{}

// controls is the control API: what all simulators have, and
//
//	GET /behaviour  PATCH /behaviour
//	GET /stats      POST /seed
//	POST /human/approve  /human/reject  /human/add-application  /human/rename-application
//	POST /human/remove-application  /human/regenerate-key  /human/detach
//	POST /human/rename-strategy  /human/remove-strategy  /human/refresh-strategy
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
		"/human/approve":            func(o order) error { return s.Decide(o.ID, true, o.Comment) },
		"/human/reject":             func(o order) error { return s.Decide(o.ID, false, o.Comment) },
		"/human/add-application":    func(o order) error { return s.AddApplication(o.Application) },
		"/human/rename-application": func(o order) error { return s.RenameApplication(o.ID, o.Name) },
		"/human/remove-application": func(o order) error { return s.RemoveApplication(o.ID, false) },
		"/human/regenerate-key":     func(o order) error { return s.RegenerateKey(o.ID) },
		"/human/detach":             func(o order) error { return s.Detach(o.ID, o.Strategy) },
		"/human/rename-strategy":    func(o order) error { return s.RenameStrategy(o.ID, o.Name) },
		"/human/remove-strategy":    func(o order) error { return s.RemoveStrategy(o.ID) },
		"/human/refresh-strategy":   func(o order) error { return s.RefreshStrategy(o.ID) },
	} {
		mux.HandleFunc("POST "+path, simkit.Do(func(_ *http.Request, o order) (any, error) { return done{}, act(o) }))
	}
	return mux
}
