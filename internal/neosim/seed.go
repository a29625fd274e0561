package neosim

import (
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/claviger-dev/claviger/internal/simkit"
)

// Scope is a right of a platform API client.
type Scope string

// The scopes that the simulator asks for, as the cockpit writes them. Tokens write
// them with "hcp." in front.
const (
	ReadAuthorization    Scope = "readAuthorizationSettings"
	ManageAuthorization  Scope = "manageAuthorizationSettings"
	ReadApplicationRoles Scope = "readApplicationRoles"
	ManageAppRoles       Scope = "manageApplicationRoles"
)

// Seed describes what to add to the world. A subaccount that is there already is
// extended; its platform clients and registrar are replaced where they are named.
type Seed struct {
	Accounts []SeedAccount `json:"accounts,omitempty"`
	// Behaviour is laid over the present one: what it does not name stays.
	Behaviour json.RawMessage `json:"behaviour,omitempty"`
}

// SeedAccount is a subaccount.
type SeedAccount struct {
	// Name is the technical one.
	Name            string           `json:"name"`
	PlatformClients []PlatformClient `json:"platformClients,omitempty"`
	// RegistrarToken is the bearer that the ASSUMED registrar takes; empty keeps it
	// shut.
	RegistrarToken string            `json:"registrarToken,omitempty"`
	Applications   []SeedApplication `json:"applications,omitempty"`
	Clients        []Client          `json:"clients,omitempty"`
	Groups         []string          `json:"groups,omitempty"`
}

// PlatformClient is an OAuth client of the platform API.
type PlatformClient struct {
	ID     string `json:"id"`
	Secret string `json:"secret"`
	// Scopes are what it may do; absent means everything, empty nothing.
	Scopes []Scope `json:"scopes,omitzero"`
}

// SeedApplication is an application that the subaccount owns or is subscribed to.
type SeedApplication struct {
	Name            string     `json:"name"`
	ProviderAccount string     `json:"providerAccount"`
	Roles           []Role     `json:"roles,omitempty"`
	Endpoints       []Endpoint `json:"endpoints,omitempty"`
}

// Role of an application.
type Role struct {
	Name string `json:"name"`
	// Custom roles are made by people; the others come with the application.
	Custom bool `json:"custom,omitempty"`
}

// Endpoint of an application: calls below its path need all of its roles. A path that
// no endpoint names is not found.
type Endpoint struct {
	Path  string   `json:"path"`
	Roles []string `json:"roles"`
}

// Client is an OAuth client as a person registers it in the cockpit.
type Client struct {
	ID              string `json:"id"`
	Secret          string `json:"secret"`
	Name            string `json:"name,omitempty"`
	Description     string `json:"description,omitempty"`
	Application     string `json:"application"`
	ProviderAccount string `json:"providerAccount,omitempty"`
	// Roles are given to its user too, as the person would do next.
	Roles []string `json:"roles,omitempty"`
	// TokenLife defaults to Behaviour.TokenLife.
	TokenLife simkit.Duration `json:"tokenLife,omitempty"`
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

// byHand is the actor of everything that no client of the platform did.
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
	for _, a := range seed.Accounts {
		if err := s.seedAccount(a); err != nil {
			return fmt.Errorf("account %s: %w", a.Name, err)
		}
	}
	return nil
}

func (s *Sim) seedAccount(seed SeedAccount) error {
	if !idRule.MatchString(seed.Name) {
		return fmt.Errorf("%q is no name", seed.Name)
	}
	a := s.world.accounts[seed.Name]
	if a == nil {
		a = &account{name: seed.Name, platform: map[string]PlatformClient{}}
		s.world.accounts[seed.Name] = a
		s.world.order = append(s.world.order, a)
	}
	for _, c := range seed.PlatformClients {
		a.platform[c.ID] = c
	}
	if seed.RegistrarToken != "" {
		a.registrar = seed.RegistrarToken
	}
	a.groups = append(a.groups, seed.Groups...)
	for _, application := range seed.Applications {
		if !idRule.MatchString(application.Name) || !idRule.MatchString(application.ProviderAccount) {
			return fmt.Errorf("application %q of %q is no name", application.Name, application.ProviderAccount)
		}
		if a.app(application.ProviderAccount, application.Name) != nil {
			return fmt.Errorf("application %s is there already", application.Name)
		}
		a.apps = append(a.apps, &app{
			account: a, provider: application.ProviderAccount, name: application.Name, roles: application.Roles,
			endpoints: application.Endpoints, members: map[string][]*membership{},
		})
	}
	for _, c := range seed.Clients {
		if err := s.enrol(a, c, "seed"); err != nil {
			return fmt.Errorf("client %s: %w", c.ID, err)
		}
	}
	return nil
}

// enrol registers a client as a person does. The lock is held.
func (s *Sim) enrol(a *account, c Client, how string) error {
	at := a.app(c.ProviderAccount, c.Application)
	if at == nil {
		return fmt.Errorf("there is no application %q", c.Application)
	}
	if !idRule.MatchString(c.ID) || c.Secret == "" {
		return fmt.Errorf("a client needs an id that can stand in a path, and a secret")
	}
	if s.world.clients[c.ID] != nil {
		return fmt.Errorf("the client id %s is taken", c.ID)
	}
	for _, role := range c.Roles {
		if !at.role(role) {
			return fmt.Errorf("%s has no role %q", at.name, role)
		}
	}
	name := c.Name
	if name == "" {
		name = c.ID
	}
	made := &client{id: c.ID, name: name, description: c.Description, secret: hashOf(c.Secret), app: at, tokenLife: time.Duration(c.TokenLife)}
	s.register(made, byHand, how)
	for _, role := range c.Roles {
		s.assign(at, role, made.user(), byHand, how)
	}
	return nil
}

// Sample is a small world to try things in: the subaccount a99 with the application
// a99tmn of the provider prov, as Cloud Integration appears there. The platform client
// rotator may do everything, viewer may only look. Nothing here is a secret of anything
// but a simulator.
func Sample() Seed {
	return Seed{Accounts: []SeedAccount{{
		Name:           "a99",
		RegistrarToken: "registrar-token",
		PlatformClients: []PlatformClient{
			{ID: "rotator", Secret: "rotator-secret"},
			{ID: "viewer", Secret: "viewer-secret", Scopes: []Scope{ReadAuthorization, ReadApplicationRoles}},
		},
		Applications: []SeedApplication{{
			Name: "a99tmn", ProviderAccount: "prov",
			Roles: []Role{
				{Name: "IntegrationOperationServer.read"},
				{Name: "NodeManager.read"},
				{Name: "NodeManager.deploycontent"},
				{Name: "AccountAdmin", Custom: true},
			},
			Endpoints: []Endpoint{{
				Path:  "/api/v1/MessageProcessingLogs",
				Roles: []string{"IntegrationOperationServer.read", "NodeManager.read"},
			}},
		}},
		Groups: []string{"operators"},
	}}}
}
