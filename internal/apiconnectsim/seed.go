package apiconnectsim

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/claviger-dev/claviger/internal/simkit"
)

// Seed describes what to add to the world. Organizations, catalogs and apps that
// are there already, by name, are kept and extended; logins and toolkits are
// replaced; a credential whose name is taken is an error.
type Seed struct {
	Toolkits []Toolkit `json:"toolkits,omitempty"`
	Logins   []Login   `json:"logins,omitempty"`
	APIKeys  []APIKey  `json:"apiKeys,omitempty"`
	Orgs     []SeedOrg `json:"orgs,omitempty"`
	// Behaviour is laid over the present one: what it does not name stays.
	Behaviour json.RawMessage `json:"behaviour,omitempty"`
}

// SeedOrg is a provider organization. Ids may be given; Seed returns them all.
type SeedOrg struct {
	ID       string        `json:"id,omitempty"`
	Name     string        `json:"name"`
	Title    string        `json:"title,omitempty"`
	Catalogs []SeedCatalog `json:"catalogs,omitempty"`
}

// SeedCatalog is a catalog of it.
type SeedCatalog struct {
	ID    string `json:"id,omitempty"`
	Name  string `json:"name"`
	Title string `json:"title,omitempty"`
	// HashClientSecret is the catalog setting; default true for a new catalog.
	HashClientSecret *bool             `json:"hashClientSecret,omitempty"`
	ConsumerOrgs     []SeedConsumerOrg `json:"consumerOrgs,omitempty"`
}

// SeedConsumerOrg is a consumer organization.
type SeedConsumerOrg struct {
	ID    string    `json:"id,omitempty"`
	Name  string    `json:"name"`
	Title string    `json:"title,omitempty"`
	Owner *Owner    `json:"owner,omitempty"`
	Apps  []SeedApp `json:"apps,omitempty"`
}

// Owner is the person behind a consumer organization.
type Owner struct {
	Username  string `json:"username"`
	Email     string `json:"email"`
	FirstName string `json:"firstName,omitempty"`
	LastName  string `json:"lastName,omitempty"`
}

// SeedApp is an application.
type SeedApp struct {
	ID    string `json:"id,omitempty"`
	Name  string `json:"name"`
	Title string `json:"title,omitempty"`
	// Subscribed says whether it may call the gateway; default true for a new app.
	Subscribed  *bool            `json:"subscribed,omitempty"`
	Credentials []SeedCredential `json:"credentials,omitempty"`
	// Generate adds that many credentials with names and material of their own.
	// Seed returns them among Credentials.
	Generate int `json:"generate,omitempty"`
}

// SeedCredential is a credential that somebody made by hand. What is left empty is
// made up and returned.
type SeedCredential struct {
	ID           string `json:"id,omitempty"`
	Name         string `json:"name"`
	ClientID     string `json:"clientId,omitempty"`
	ClientSecret string `json:"clientSecret,omitempty"`
	// CreatedAt gives it an age.
	CreatedAt *time.Time `json:"createdAt,omitempty"`
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

// Seed adds to the world and returns the same document with every id filled in.
// Seeded credentials are known to the gateway at once. An error leaves what was
// added before it.
func (s *Sim) Seed(seed Seed) (Seed, error) {
	if len(seed.Behaviour) > 0 {
		if err := s.conduct.AdjustJSON(seed.Behaviour); err != nil {
			return seed, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, toolkit := range seed.Toolkits {
		s.doors.toolkits[toolkit.ClientID] = toolkit
	}
	for _, login := range seed.Logins {
		s.doors.admit(login)
	}
	for i := range seed.APIKeys {
		if err := s.addAPIKey(&seed.APIKeys[i]); err != nil {
			return seed, err
		}
	}
	for i := range seed.Orgs {
		if err := s.seedOrg(&seed.Orgs[i]); err != nil {
			return seed, fmt.Errorf("org %s: %w", seed.Orgs[i].Name, err)
		}
	}
	return seed, nil
}

// Add makes what is missing on a path, without a credential, and returns the path
// in ids.
func (s *Sim) Add(path Path) (Path, error) {
	seed := SeedOrg{Name: path.Org}
	if path.Catalog != "" {
		catalog := SeedCatalog{Name: path.Catalog}
		if path.ConsumerOrg != "" {
			consumerOrg := SeedConsumerOrg{Name: path.ConsumerOrg}
			if path.App != "" {
				consumerOrg.Apps = []SeedApp{{Name: path.App}}
			}
			catalog.ConsumerOrgs = []SeedConsumerOrg{consumerOrg}
		}
		seed.Catalogs = []SeedCatalog{catalog}
	}
	if _, err := s.Seed(Seed{Orgs: []SeedOrg{seed}}); err != nil {
		return path, err
	}
	return s.IDs(path)
}

// IDs turns the names of a path into ids.
func (s *Sim) IDs(path Path) (Path, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, err := s.world.walk(path)
	if err != nil {
		return path, err
	}
	ids := Path{}
	if p.org != nil {
		ids.Org = p.org.id
	}
	if p.catalog != nil {
		ids.Catalog = p.catalog.id
	}
	if p.consumerOrg != nil {
		ids.ConsumerOrg = p.consumerOrg.id
	}
	if p.app != nil {
		ids.App = p.app.id
	}
	if p.credential != nil {
		ids.Credential = p.credential.id
	}
	return ids, nil
}

func (s *Sim) seedOrg(seed *SeedOrg) error {
	o, ok := s.world.orgs.find(seed.Name)
	if !ok {
		if err := admissible(&s.world.orgs, seed.ID, seed.Name); err != nil {
			return err
		}
		o = &org{node: newNode(seed.ID, seed.Name, seed.Title, s.clock.Now()), catalogs: newSet[*catalog]()}
		s.world.orgs.add(o)
	}
	seed.ID = o.id
	for i := range seed.Catalogs {
		if err := s.seedCatalog(o, &seed.Catalogs[i]); err != nil {
			return fmt.Errorf("catalog %s: %w", seed.Catalogs[i].Name, err)
		}
	}
	return nil
}

func (s *Sim) seedCatalog(o *org, seed *SeedCatalog) error {
	c, ok := o.catalogs.find(seed.Name)
	if !ok {
		if err := admissible(&o.catalogs, seed.ID, seed.Name); err != nil {
			return err
		}
		c = &catalog{
			node: newNode(seed.ID, seed.Name, seed.Title, s.clock.Now()), org: o, hashSecrets: true,
			consumerOrgs: newSet[*consumerOrg](), byClientID: map[string]*credential{},
		}
		o.catalogs.add(c)
	}
	seed.ID = c.id
	if seed.HashClientSecret != nil {
		c.hashSecrets = *seed.HashClientSecret
	}
	for i := range seed.ConsumerOrgs {
		if err := s.seedConsumerOrg(c, &seed.ConsumerOrgs[i]); err != nil {
			return fmt.Errorf("consumer org %s: %w", seed.ConsumerOrgs[i].Name, err)
		}
	}
	return nil
}

func (s *Sim) seedConsumerOrg(c *catalog, seed *SeedConsumerOrg) error {
	co, ok := c.consumerOrgs.find(seed.Name)
	if !ok {
		if err := admissible(&c.consumerOrgs, seed.ID, seed.Name); err != nil {
			return err
		}
		co = &consumerOrg{
			node: newNode(seed.ID, seed.Name, seed.Title, s.clock.Now()), catalog: c, apps: newSet[*app](),
			owner: Owner{Username: seed.Name + "-owner", Email: "owner@" + seed.Name + ".example"},
		}
		c.consumerOrgs.add(co)
	}
	seed.ID = co.id
	if seed.Owner != nil {
		co.owner = *seed.Owner
	}
	for i := range seed.Apps {
		if err := s.seedApp(co, &seed.Apps[i]); err != nil {
			return fmt.Errorf("app %s: %w", seed.Apps[i].Name, err)
		}
	}
	return nil
}

func (s *Sim) seedApp(co *consumerOrg, seed *SeedApp) error {
	a, ok := co.apps.find(seed.Name)
	if !ok {
		if err := admissible(&co.apps, seed.ID, seed.Name); err != nil {
			return err
		}
		a = s.newApp(co, newNode(seed.ID, seed.Name, seed.Title, s.clock.Now()))
		s.subscribe(a, true)
	}
	seed.ID = a.id
	if seed.Subscribed != nil {
		s.subscribe(a, *seed.Subscribed)
	}
	for range seed.Generate {
		seed.Credentials = append(seed.Credentials, SeedCredential{Name: "generated-" + newMaterial()[:12]})
	}
	seed.Generate = 0
	for i := range seed.Credentials {
		if err := s.seedCredential(a, &seed.Credentials[i]); err != nil {
			return fmt.Errorf("credential %s: %w", seed.Credentials[i].Name, err)
		}
	}
	return nil
}

func (s *Sim) seedCredential(a *app, seed *SeedCredential) error {
	if err := admissible(&a.credentials, seed.ID, seed.Name); err != nil {
		return err
	}
	if seed.ClientID == "" {
		seed.ClientID = newMaterial()
	}
	if seed.ClientSecret == "" {
		seed.ClientSecret = simkit.NewSecret(materialDigits)
	}
	if _, taken := a.catalog().byClientID[seed.ClientID]; taken {
		return fmt.Errorf("the client id %s is taken", seed.ClientID)
	}
	n := newNode(seed.ID, seed.Name, "", s.clock.Now())
	if seed.CreatedAt != nil {
		n.created, n.updated = *seed.CreatedAt, *seed.CreatedAt
	}
	c := &credential{node: n, app: a, clientID: seed.ClientID, secret: hashOf(seed.ClientSecret)}
	seed.ID = c.id
	s.issue(c, Range{}, byHand, "seed")
	return nil
}

// admissible says whether an object of this name, and of this id if one is asked
// for, can be added.
func admissible[T entity](in *set[T], id, name string) error {
	if !nameRule.MatchString(name) {
		return fmt.Errorf("%q is no name", name)
	}
	if _, taken := in.byName[name]; taken {
		return fmt.Errorf("the name %q is taken", name)
	}
	if _, taken := in.byID[id]; taken {
		return fmt.Errorf("the id %q is taken", id)
	}
	return nil
}

// hashText is the wire form of a hash.
func hashText(d digest) string { return base64.StdEncoding.EncodeToString(d[:]) }
