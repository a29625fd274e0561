package webmethodssim

import (
	"fmt"
	"slices"

	"github.com/claviger-dev/claviger/internal/simkit"
)

// AddApplication is what a person does in the UI.
func (s *Sim) AddApplication(a SeedApplication) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.seedApplication(a, "human"); err != nil {
		return err
	}
	s.human("add-application", a.Name)
	return nil
}

// AddStrategy is what a person does in the UI: a strategy that no application has yet.
func (s *Sim) AddStrategy(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.addStrategy(newStrategy(name, "made by a person", "local", nil), byHand, "human")
	s.human("add-strategy", name)
}

// onApplication runs for an application that is there.
func (s *Sim) onApplication(what, id string, run func(*application)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.world.application(id)
	if a == nil {
		return fmt.Errorf("there is no application %q", id)
	}
	run(a)
	s.human(what, id)
	return nil
}

// onStrategy runs for a strategy that is there.
func (s *Sim) onStrategy(what, id string, run func(*strategy)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.world.strategy(id)
	if c == nil {
		return fmt.Errorf("there is no strategy %q", id)
	}
	run(c)
	s.human(what, id)
	return nil
}

// RenameApplication changes what an application is called.
func (s *Sim) RenameApplication(id, name string) error {
	return s.onApplication("rename-application", id, func(a *application) {
		a.put("name", name)
		s.changedApplication(a, byHand, "human")
	})
}

// RemoveApplication deletes an application, and with all the strategies that only it has.
func (s *Sim) RemoveApplication(id string, withStrategies bool) error {
	return s.onApplication("remove-application", id, func(a *application) {
		s.removeApplication(a, byHand, "human")
		for _, strategy := range a.strategies() {
			if c := s.world.strategy(strategy); c != nil && withStrategies {
				s.removeStrategy(c, byHand, "human")
			}
		}
	})
}

// RemoveApplications deletes all of them.
func (s *Sim) RemoveApplications() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range slices.Clone(s.world.applications) {
		s.removeApplication(a, byHand, "human")
	}
	s.human("remove-applications", "")
}

// RegenerateKey gives an application another key.
func (s *Sim) RegenerateKey(id string) error {
	return s.onApplication("regenerate-key", id, func(a *application) {
		a.key = newSecretUUID()
		s.changedApplication(a, byHand, "human")
	})
}

// Detach takes a strategy from an application, as somebody's edit does that knew nothing of it.
func (s *Sim) Detach(id, strategy string) error {
	return s.onApplication("detach", id, func(a *application) {
		a.put("authStrategyIds", slices.DeleteFunc(a.strategies(), func(each string) bool { return each == strategy }))
		s.changedApplication(a, byHand, "human")
	})
}

// Strategies are those that an application has.
func (s *Sim) Strategies(id string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.world.application(id); a != nil {
		return a.strategies()
	}
	return nil
}

// Suspended reports whether an application is.
func (s *Sim) Suspended(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.world.application(id)
	return a != nil && a.suspended
}

// ApplicationID finds an application by its name.
func (s *Sim) ApplicationID(name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.world.applications {
		if a.text("name") == name {
			return a.id
		}
	}
	return ""
}

// RenameStrategy changes what a strategy is called.
func (s *Sim) RenameStrategy(id, name string) error {
	return s.onStrategy("rename-strategy", id, func(c *strategy) {
		c.name = name
		s.stage.Ledger.Change(simkit.Entry{Kind: kindStrategy, ID: c.id, Attrs: c.attrs(), By: byHand, How: "human"})
	})
}

// RemoveStrategy deletes a strategy.
func (s *Sim) RemoveStrategy(id string) error {
	return s.onStrategy("remove-strategy", id, func(c *strategy) { s.removeStrategy(c, byHand, "human") })
}

// RefreshStrategy gives a strategy another secret.
func (s *Sim) RefreshStrategy(id string) error {
	return s.onStrategy("refresh-strategy", id, func(c *strategy) { c.secret = newSecretUUID() })
}

// Request is one that waits for an approver, or is decided.
type Request struct {
	ID     string `json:"id"`
	Event  string `json:"event"`
	Status string `json:"status"`
}

// Requests are all of them, in the order in which they were made.
func (s *Sim) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := []Request{}
	for _, a := range s.world.approvals {
		all = append(all, Request{a.id, a.event, a.status})
	}
	return all
}

// Decide is what an approver does.
func (s *Sim) Decide(id string, approved bool, comment string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.world.approval(id)
	if a == nil || a.status != "pending" {
		return fmt.Errorf("no request %q waits", id)
	}
	status := "rejected"
	if approved {
		status = "approved"
	}
	a.decide(status, comment)
	s.human(status, id)
	return nil
}

func (s *Sim) human(what, id string) {
	s.stage.Events.Append(EventHuman, "", map[string]string{"what": what, "id": id})
}
