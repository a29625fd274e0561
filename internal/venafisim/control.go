package venafisim

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
	// Kinds count what the ledger knows of each kind: grant, certificate, object.
	Kinds map[string]Count `json:"kinds"`
	// Duplicates counts requests for objects that were there.
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
	stats := Stats{Operations: map[string]int{}, Calls: s.stage.Calls.List(), Kinds: map[string]Count{}}
	for _, n := range stats.Calls {
		stats.Operations[n.Operation] += n.Calls
	}
	for _, e := range s.stage.Ledger.Entries(0) {
		if e.Action == simkit.EventDuplicate {
			stats.Duplicates++
		}
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

// personal is the body of every POST /human/… call; each reads the fields it needs.
type personal struct {
	DN       string `json:"dn,omitempty"`
	To       string `json:"to,omitempty"`
	Words    string `json:"words,omitempty"`
	Identity string `json:"identity,omitempty"`
}

// done answers a deed.
type done struct{}

// controls is the control API: simkit's, and
//
//	GET /behaviour  PATCH /behaviour  GET /stats  POST /seed
//	POST /human/approve|reject|rename|remove|rename-policy|deny|allow
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
	for path, act := range map[string]func(personal) error{
		"/human/approve":       func(p personal) error { return s.Approve(p.DN) },
		"/human/reject":        func(p personal) error { return s.Reject(p.DN, p.Words) },
		"/human/rename":        func(p personal) error { return s.RenameObject(p.DN, p.To) },
		"/human/remove":        func(p personal) error { return s.RemoveObject(p.DN) },
		"/human/rename-policy": func(p personal) error { return s.RenamePolicy(p.DN, p.To) },
		"/human/deny":          func(p personal) error { return s.Deny(p.DN, p.Identity) },
		"/human/allow":         func(p personal) error { return s.Allow(p.DN, p.Identity) },
	} {
		mux.HandleFunc("POST "+path, simkit.Do(func(_ *http.Request, p personal) (any, error) { return done{}, act(p) }))
	}
	return mux
}
