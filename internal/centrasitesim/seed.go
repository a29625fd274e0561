package centrasitesim

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/claviger-dev/claviger/internal/simkit"
)

// Seed describes what to add to the world; what is there already is replaced.
type Seed struct {
	Users []User `json:"users,omitempty"`
	APIs  []API  `json:"apis,omitempty"`
	// Behaviour is laid over the present one: what it does not name stays.
	Behaviour json.RawMessage `json:"behaviour,omitempty"`
}

// User of CentraSite.
type User struct {
	Name     string `json:"name"`
	Password string `json:"password"`
}

// API that is provided, with its consumption settings.
type API struct {
	// Key of the asset, and the name and path of its virtual service at Mediator.
	Key     string `json:"key"`
	Service string `json:"service"`
	Path    string `json:"path"`
	// Contract is how long API keys live; 0 is Unlimited.
	Contract simkit.Duration `json:"contract,omitempty"`
	// Approvers must agree to each request: one of them, or with AllApprove each. None means
	// that no approval is needed.
	Approvers  []string `json:"approvers,omitempty"`
	AllApprove bool     `json:"allApprove,omitempty"`
}

// byHand is the actor of everything that no client did.
var byHand = simkit.Actor{Login: "a person"}

// ReadSeed reads a seed from a JSON file; fields that do not exist are refused.
func ReadSeed(file string) (Seed, error) {
	document, err := os.ReadFile(file)
	if err != nil {
		return Seed{}, fmt.Errorf("seed: %w", err)
	}
	var seed Seed
	if err := simkit.Strict(document, &seed); err != nil {
		return Seed{}, fmt.Errorf("seed %s: %w", file, err)
	}
	return seed, nil
}

// Seed adds to the world. An error leaves what was added before it.
func (s *Sim) Seed(seed Seed) error {
	if len(seed.Behaviour) > 0 {
		if err := s.conduct.AdjustJSON(seed.Behaviour); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, u := range seed.Users {
		if u.Name == "" || u.Password == "" {
			return fmt.Errorf("a user needs a name and a password")
		}
		s.world.users[u.Name] = &user{User: u}
	}
	for _, a := range seed.APIs {
		if a.Key == "" || a.Service == "" || !strings.HasPrefix(a.Path, "/") {
			return fmt.Errorf("API %q needs a key, a service and a path", a.Key)
		}
		if old := s.world.apis[a.Key]; old != nil {
			old.API = a
			continue
		}
		s.world.apis[a.Key] = &api{a}
	}
	return nil
}

// Sample is a small world to try things in: the API Orders, whose keys anybody gets, and
// Payroll, where alice or carol must agree. Nothing here is a secret of anything but a
// simulator.
func Sample() Seed {
	return Seed{
		Users: []User{{"svc-k8s", "svc-password"}, {"alice", "alice-password"}, {"carol", "carol-password"}},
		APIs: []API{
			{Key: "uddi:orders", Service: "OrdersVirtualService", Path: "/ws/OrdersVirtualService"},
			{Key: "uddi:payroll", Service: "PayrollVirtualService", Path: "/ws/PayrollVirtualService", Approvers: []string{"alice", "carol"}},
		},
	}
}

// find is the newest token of an application, or the one of that id. The lock is held.
func (s *Sim) find(name string) (*token, error) {
	for _, t := range slices.Backward(s.world.tokens) {
		if (t.appID == name || t.uuid == name) && !t.revoked {
			return t, nil
		}
	}
	return nil, fmt.Errorf("there is no access token of %q", name)
}

// onToken lets a person do something to the token of an application, or with that id.
func (s *Sim) onToken(name, what string, act func(*token) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, err := s.find(name)
	if err != nil {
		return err
	}
	if err := act(t); err != nil {
		return err
	}
	s.stage.Events.Append(EventHuman, "", map[string]string{"what": what, "appId": t.appID})
	return nil
}

// Approve is what an approver does in CentraSite.
func (s *Sim) Approve(name, who string) error {
	return s.onToken(name, "approve", func(t *token) error { return s.decide(t, who, true, "", simkit.Actor{Login: who}, "human") })
}

// Reject is what an approver does in CentraSite.
func (s *Sim) Reject(name, who, remarks string) error {
	return s.onToken(name, "reject", func(t *token) error { return s.decide(t, who, false, remarks, simkit.Actor{Login: who}, "human") })
}

// Rename changes what an access token is called.
func (s *Sim) Rename(name, to string) error {
	return s.onToken(name, "rename", func(t *token) error {
		t.name = to
		s.changed(t)
		return nil
	})
}

// ChangeKey makes another key, or another secret.
func (s *Sim) ChangeKey(name string) error {
	return s.onToken(name, "change-key", func(t *token) error {
		if t.key != "" {
			t.key = newKey()
		} else {
			t.secret = newKey()
		}
		s.changed(t)
		return nil
	})
}

func (s *Sim) changed(t *token) {
	s.stage.Ledger.Change(simkit.Entry{Kind: ledgerKind, ID: t.uuid, Attrs: t.attrs(), By: byHand, How: "human"})
}

// Remove revokes an access token.
func (s *Sim) Remove(name string) error {
	return s.onToken(name, "remove", func(t *token) error { s.revoke(t, byHand, "human"); return nil })
}

// Empty revokes all access tokens of a user.
func (s *Sim) Empty(userID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.world.tokens {
		if t.userID == userID && t.live() {
			s.revoke(t, byHand, "human")
		}
	}
}

// Add makes an access token of somebody else's.
func (s *Sim) Add(userID, name, appID string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.world.apis {
		t := &token{
			uuid: s.world.next(tokenPrefix), name: name, appID: appID, userID: userID, kind: kindAPIKey, api: a, key: newKey(), requested: s.clock.Now(),
		}
		s.world.tokens = append(s.world.tokens, t)
		s.make(t, byHand, "human")
		return nil
	}
	return fmt.Errorf("there is no API")
}

// Deny takes all rights of a user away, and Allow gives them back.
func (s *Sim) Deny(name string) error { return s.deny(name, true) }

// Allow gives a user its rights back.
func (s *Sim) Allow(name string) error { return s.deny(name, false) }

func (s *Sim) deny(name string, denied bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.world.users[name]
	if u == nil {
		return fmt.Errorf("there is no user %q", name)
	}
	u.denied = denied
	return nil
}

// AcceptsKey reports whether an API would serve this key, all lags over; it counts nothing.
func (s *Sim) AcceptsKey(key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.byKey(key)
	return t != nil && t.live() && !t.expired(s.clock.Now())
}

// AcceptsClient reports whether the token service would take this client, all lags over.
func (s *Sim) AcceptsClient(id, secret string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.byClient(id, secret)
	return t != nil && t.live()
}

func (t *token) expired(now time.Time) bool { return !t.expires.IsZero() && !now.Before(t.expires) }

// byKey finds whose a key is. The lock is held.
func (s *Sim) byKey(key string) *token {
	for _, t := range s.world.tokens {
		if key != "" && t.key == key && !t.revoked {
			return t
		}
	}
	return nil
}

// byClient finds a client. The lock is held.
func (s *Sim) byClient(id, secret string) *token {
	for _, t := range s.world.tokens {
		if id != "" && t.id == id && t.secret == secret && !t.revoked {
			return t
		}
	}
	return nil
}
