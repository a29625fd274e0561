package webmethodssim

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/claviger-dev/claviger/internal/simkit"
)

// Seed describes what to add to the world. What is there already is replaced by name.
type Seed struct {
	Users        []User            `json:"users,omitempty"`
	APIs         []API             `json:"apis,omitempty"`
	Applications []SeedApplication `json:"applications,omitempty"`
	// Behaviour is laid over the present one: what it does not name stays.
	Behaviour json.RawMessage `json:"behaviour,omitempty"`
}

// User of the management.
type User struct {
	Name     string `json:"name"`
	Password string `json:"password"`
	// Powerless users are answered 401, as if their password were wrong.
	Powerless bool `json:"powerless,omitempty"`
}

// API is one that is active: it is called below its path.
type API struct {
	// ID is made if it is empty.
	ID      string `json:"id,omitempty"`
	Name    string `json:"name"`
	Version string `json:"version,omitempty"`
	Path    string `json:"path"`
}

// SeedApplication is an application that people made.
type SeedApplication struct {
	// ID is made if it is empty.
	ID   string `json:"id,omitempty"`
	Name string `json:"name"`
	// Description defaults to words of no meaning.
	Description string `json:"description,omitempty"`
	// APIs are the names of those that it is registered to.
	APIs []string `json:"apis,omitempty"`
	// Strategies are how many it has.
	Strategies int `json:"strategies,omitempty"`
}

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

// byHand is the actor of everything that no client of the gateway did.
var byHand = simkit.Actor{Login: "a person"}

// Seed adds to the world. An error leaves what was added before it.
func (s *Sim) Seed(seed Seed) error {
	if len(seed.Behaviour) > 0 {
		if err := s.conduct.AdjustJSON(seed.Behaviour); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, user := range seed.Users {
		if user.Name == "" {
			return fmt.Errorf("a user needs a name")
		}
		s.world.users[user.Name] = user
	}
	for _, api := range seed.APIs {
		if api.Name == "" || !strings.HasPrefix(api.Path, "/") {
			return fmt.Errorf("API %q needs a name and a path", api.Name)
		}
		if api.ID == "" {
			api.ID = newUUID()
		}
		s.world.apis = append(s.world.apis, &api)
	}
	for _, a := range seed.Applications {
		if err := s.seedApplication(a, "seed"); err != nil {
			return fmt.Errorf("application %s: %w", a.Name, err)
		}
	}
	return nil
}

// seedApplication makes an application as a person does. The lock is held.
func (s *Sim) seedApplication(seed SeedApplication, how string) error {
	if seed.Name == "" {
		return fmt.Errorf("it needs a name")
	}
	if seed.ID == "" {
		seed.ID = newUUID()
	}
	a := &application{id: seed.ID, owner: "a person", fields: map[string]json.RawMessage{}}
	a.put("name", seed.Name)
	a.put("version", "1.0")
	if seed.Description == "" {
		seed.Description = "made by a person"
	}
	a.put("description", seed.Description)
	for _, name := range seed.APIs {
		i := slices.IndexFunc(s.world.apis, func(api *API) bool { return api.Name == name })
		if i < 0 {
			return fmt.Errorf("there is no API %q", name)
		}
		a.apis = append(a.apis, s.world.apis[i].ID)
	}
	ids := []string{}
	for i := range seed.Strategies {
		c := newStrategy(fmt.Sprintf("%s.s%d", seed.Name, i+1), "made by a person", "local", nil)
		s.addStrategy(c, byHand, how)
		ids = append(ids, c.id)
	}
	a.put("authStrategyIds", ids)
	s.addApplication(a, byHand, how)
	return nil
}

func newStrategy(name, description, alias string, dcr json.RawMessage) *strategy {
	return &strategy{id: newUUID(), name: name, description: description, alias: alias, dcr: dcr, clientID: newUUID(), secret: newSecretUUID()}
}

// Sample is a small world to try things in: the user rotator may manage applications, the
// APIs orders and stock can be called, and the application shop is registered to both. Nothing
// here is a secret of anything but a simulator.
func Sample() Seed {
	return Seed{
		Users:        []User{{Name: "rotator", Password: "rotator-password"}},
		APIs:         []API{{Name: "orders", Version: "1.0", Path: "/gateway/orders/1.0"}, {Name: "stock", Version: "2.0", Path: "/gateway/stock/2.0"}},
		Applications: []SeedApplication{{Name: "shop", APIs: []string{"orders", "stock"}, Strategies: 1}},
	}
}
