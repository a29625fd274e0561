package webmethodsportalsim

import (
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/claviger-dev/claviger/internal/simkit"
)

// byHand is who people are in the ledger.
var byHand = simkit.Actor{Login: "a person"}

// Waiting is a request that waits for a person.
type Waiting struct {
	ID   string `json:"id"`
	Type string `json:"type"`
	Name string `json:"name"`
}

// Waiting lists what waits for a person.
func (s *Sim) Waiting() []Waiting {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := []Waiting{}
	for _, r := range s.world.asked {
		if r.status == statusPending {
			w := Waiting{ID: r.id, Type: r.kind, Name: r.context.Name}
			if r.app != nil {
				w.Name = r.app.name
			}
			out = append(out, w)
		}
	}
	return out
}

// Asked counts the requests of a type that there are, or were until they were decided.
func (s *Sim) Asked(kind string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, r := range s.world.asked {
		if r.kind == kind {
			n++
		}
	}
	return n
}

// Decide is what an approver does.
func (s *Sim) Decide(id string, approve bool, words string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.world.requestOf(id)
	if r == nil || r.status != statusPending {
		return fmt.Errorf("no request %q waits for a person", id)
	}
	r.words = words
	if approve {
		s.approve(r)
		s.human("approve", id)
		return nil
	}
	r.status = statusRejected
	if r.kind == typeCreation && r.app != nil {
		// It stays in lists, holds nothing, and never will.
		r.app.status = applicationRejected
		s.stage.Ledger.Revoke(simkit.Entry{Kind: kindApplication, ID: r.app.id, Attrs: r.app.attrs(), By: byHand, How: "rejected"})
	}
	s.human("reject", id)
	return nil
}

// AddApplication makes one for a user, as providers do.
func (s *Sim) AddApplication(owner, name, description string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.world.users[owner] == nil {
		return fmt.Errorf("there is no user %q", owner)
	}
	s.equip(s.born(context{Name: name, Description: description}, owner, byHand, "human"))
	s.human("add", name)
	return nil
}

// Change lets a person change an application.
func (s *Sim) Change(id string, how Edit) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.world.appOf(id)
	if a == nil {
		return fmt.Errorf("there is no application %q", id)
	}
	switch {
	case how.Remove:
		s.end(a, byHand, "human")
		s.human("remove", id)
		return nil
	case how.Regenerate:
		a.apiKey, a.clientSecret = simkit.NewSecret(32), simkit.NewSecret(40)
	}
	if how.Name != "" {
		a.name = how.Name
	}
	if how.Description != nil {
		a.description = *how.Description
	}
	attrs := a.attrs()
	s.stage.Ledger.Change(simkit.Entry{Kind: kindApplication, ID: a.id, Attrs: attrs, By: byHand, How: "human"})
	s.human("change", id)
	return nil
}

// Edit is what a person does to an application.
type Edit struct {
	Name        string  `json:"name,omitempty"`
	Description *string `json:"description,omitempty"`
	Regenerate  bool    `json:"regenerate,omitempty"`
	Remove      bool    `json:"remove,omitempty"`
}

// Blind lets a user see nothing any more, or see again.
func (s *Sim) Blind(name string, blind bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.world.users[name]
	if u == nil {
		return fmt.Errorf("there is no user %q", name)
	}
	u.blind = blind
	return nil
}

func (s *Sim) human(what, id string) {
	s.stage.Events.Append(EventHuman, "", map[string]string{"what": what, "id": id})
}

// Stats is what GET /stats answers.
type Stats struct {
	Operations map[string]int     `json:"operations"`
	Calls      []simkit.CallCount `json:"calls"`
	// Applications and Orphans count what the ledger knows of each kind.
	Applications Count `json:"applications"`
	Orphans      int   `json:"orphans"`
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
	for _, record := range s.stage.Ledger.Issued() {
		if record.Kind != kindApplication {
			stats.Orphans++
			continue
		}
		stats.Applications.Issued++
		if record.Live() {
			stats.Applications.Live++
		} else {
			stats.Applications.Revoked++
		}
	}
	return stats
}

// order is the body of every POST /human/… call; each reads the fields it needs.
type order struct {
	ID          string `json:"id,omitempty"`
	Owner       string `json:"owner,omitempty"`
	Name        string `json:"name,omitempty"`
	Description string `json:"description,omitempty"`
	Words       string `json:"words,omitempty"`
	Blind       bool   `json:"blind,omitempty"`
	Edit        Edit   `json:"edit,omitzero"`
}

// done is the answer of what has nothing to say.
type done struct{}

// controls is the control API: what all simulators have, and
//
//	GET /behaviour  PATCH /behaviour
//	GET /stats      POST /seed    GET /waiting
//	POST /human/approve  /human/reject  /human/add  /human/change  /human/blind
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
	mux.HandleFunc("GET /waiting", simkit.Do(func(*http.Request, struct{}) (any, error) {
		return map[string]any{"waiting": s.Waiting()}, nil
	}))
	mux.HandleFunc("POST /seed", simkit.Do(func(_ *http.Request, seed Seed) (any, error) { return done{}, s.Seed(seed) }))
	for path, act := range map[string]func(order) error{
		"/human/approve": func(o order) error { return s.Decide(o.ID, true, o.Words) },
		"/human/reject":  func(o order) error { return s.Decide(o.ID, false, o.Words) },
		"/human/add":     func(o order) error { return s.AddApplication(o.Owner, o.Name, o.Description) },
		"/human/change":  func(o order) error { return s.Change(o.ID, o.Edit) },
		"/human/blind":   func(o order) error { return s.Blind(o.Owner, o.Blind) },
	} {
		mux.HandleFunc("POST "+path, simkit.Do(func(_ *http.Request, o order) (any, error) { return done{}, act(o) }))
	}
	return mux
}
