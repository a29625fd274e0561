package neosim

import (
	"fmt"

	"github.com/claviger-dev/claviger/internal/simkit"
)

// Register is what a person does in the cockpit: a client of this subaccount comes to
// life. It fulfils a registration that waits for a person, too.
func (s *Sim) Register(account string, c Client) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.world.accounts[account]
	if a == nil {
		return fmt.Errorf("there is no account %q", account)
	}
	if err := s.enrol(a, c, "human"); err != nil {
		return err
	}
	s.human("register", c.ID)
	return nil
}

// Deregister is what a person does in the cockpit: the client ends. Its roles stay.
func (s *Sim) Deregister(id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.world.clients[id]
	if c == nil {
		return fmt.Errorf("there is no client %q", id)
	}
	s.remove(c, byHand, "human")
	s.human("deregister", id)
	return nil
}

// Decide lets the person behind the registrar do all that he has been asked for, and
// returns how much that was.
func (s *Sim) Decide() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	done := 0
	for id, c := range s.world.waiting {
		s.register(c, byHand, "human")
		s.human("register", id)
		done++
	}
	for id := range s.world.leaving {
		if c := s.world.clients[id]; c != nil {
			s.remove(c, byHand, "human")
			s.human("deregister", id)
			done++
		}
	}
	return done
}

// Rename changes what a client is called; its id stays.
func (s *Sim) Rename(id, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.world.clients[id]
	if c == nil {
		return fmt.Errorf("there is no client %q", id)
	}
	c.name = name
	s.stage.Ledger.Change(simkit.Entry{Kind: kindClient, ID: id, Attrs: c.attrs(), By: byHand, How: "human"})
	s.human("rename", id)
	return nil
}

// ChangeSecret gives a client another secret.
func (s *Sim) ChangeSecret(id, secret string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.world.clients[id]
	if c == nil {
		return fmt.Errorf("there is no client %q", id)
	}
	c.secret = hashOf(secret)
	s.stage.Ledger.Change(simkit.Entry{Kind: kindClient, ID: id, Attrs: c.attrs(), By: byHand, How: "human"})
	s.human("change-secret", id)
	return nil
}

// Unassign takes a role from a client's user.
func (s *Sim) Unassign(account, application, role, id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.world.accounts[account]
	if a == nil || a.app("", application) == nil {
		return fmt.Errorf("there is no application %q in %q", application, account)
	}
	s.unassign(a.app("", application), role, "oauth_client_"+id, byHand, "human")
	s.human("unassign", id)
	return nil
}

// Unsubscribe ends an application of a subaccount, with its clients and their roles.
func (s *Sim) Unsubscribe(account, application string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.world.accounts[account]
	if a == nil || a.app("", application) == nil {
		return fmt.Errorf("there is no application %q in %q", application, account)
	}
	gone := a.app("", application)
	for _, c := range a.clients {
		if c.app == gone {
			s.remove(c, byHand, "human")
		}
	}
	for role := range gone.members {
		for _, user := range gone.users(role) {
			s.unassign(gone, role, user, byHand, "human")
		}
	}
	kept := a.apps[:0:0]
	for _, other := range a.apps {
		if other != gone {
			kept = append(kept, other)
		}
	}
	a.apps = kept
	s.human("unsubscribe", application)
	return nil
}

// ExpireTokens ends every token of the platform API.
func (s *Sim) ExpireTokens() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for value, t := range s.world.tokens {
		if t.platform != nil {
			delete(s.world.tokens, value)
		}
	}
	s.human("expire-tokens", "")
}

func (s *Sim) human(what, id string) {
	s.stage.Events.Append(EventHuman, "", map[string]string{"what": what, "clientId": id})
}
