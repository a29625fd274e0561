package venafisim

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/claviger-dev/claviger/internal/simkit"
)

// Seed describes what to add to the world. What is there already is replaced by name.
type Seed struct {
	Integrations []Integration `json:"integrations,omitempty"`
	Identities   []Identity    `json:"identities,omitempty"`
	JWTIssuers   []JWTIssuer   `json:"jwtIssuers,omitempty"`
	Policies     []SeedPolicy  `json:"policies,omitempty"`
	// Behaviour is laid over the present one: what it does not name stays.
	Behaviour json.RawMessage `json:"behaviour,omitempty"`
}

// Integration is an API Application Integration.
type Integration struct {
	ClientID string `json:"clientId"`
	// Scope is the most that a grant may have.
	Scope string `json:"scope"`
	// AccessValidity defaults to 90 days, GrantValidity to a year.
	AccessValidity simkit.Duration `json:"accessValidity,omitempty"`
	GrantValidity  simkit.Duration `json:"grantValidity,omitempty"`
	// NotRefreshable: grants have no refresh token, and end with their access token.
	NotRefreshable bool `json:"notRefreshable,omitempty"`
	// Identities may use it, by name; absent means all.
	Identities []string `json:"identities,omitempty"`

	allowed scope
}

// Identity is somebody who may log in.
type Identity struct {
	Name string `json:"name"`
	// GUID is made if it is empty.
	GUID string `json:"guid,omitempty"`
	// Password for authorize/oauth; empty allows none.
	Password string `json:"password,omitempty"`
	// CommonNames of client certificates that map to it.
	CommonNames []string `json:"commonNames,omitempty"`
	// Subjects of JWTs that map to it.
	Subjects []string `json:"subjects,omitempty"`
	// GrantAdmin may read and end the grants of others.
	GrantAdmin bool `json:"grantAdmin,omitempty"`
}

// PrefixedUniversal is how the wire names it.
func (i Identity) PrefixedUniversal() string { return "local:" + i.GUID }

// JWTIssuer is a mapping of JWTs: who signs them, and what for.
type JWTIssuer struct {
	Issuer string `json:"issuer"`
	// Purpose must be among the audience.
	Purpose string `json:"purpose"`
	// Keys are the issuer's JSON Web Key Set.
	Keys json.RawMessage `json:"keys"`
}

// SeedPolicy is a policy folder.
type SeedPolicy struct {
	DN string `json:"dn"`
	// Organization that subjects get; locked refuses others.
	Organization       string `json:"organization,omitempty"`
	OrganizationLocked bool   `json:"organizationLocked,omitempty"`
	// KeyAlgorithm is RSA or ECC if keys are restricted, MinimumBits the size of RSA keys.
	KeyAlgorithm string `json:"keyAlgorithm,omitempty"`
	MinimumBits  int    `json:"minimumBits,omitempty"`
	// ServiceGenerated: the platform makes keys itself and takes no requests.
	ServiceGenerated bool `json:"serviceGenerated,omitempty"`
	// Domains that names must end in; empty allows all.
	Domains []string `json:"domains,omitempty"`
	// Denied are the names of identities that may not see it.
	Denied []string `json:"denied,omitempty"`
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
	for _, integration := range seed.Integrations {
		allowed, ok := parseScope(integration.Scope)
		if !ok || integration.ClientID == "" {
			return fmt.Errorf("integration %q: it needs a client id and a scope of the grammar", integration.ClientID)
		}
		integration.allowed = allowed
		if integration.AccessValidity == 0 {
			integration.AccessValidity = simkit.Duration(90 * 24 * time.Hour)
		}
		if integration.GrantValidity == 0 {
			integration.GrantValidity = simkit.Duration(365 * 24 * time.Hour)
		}
		s.world.integrations[strings.ToLower(integration.ClientID)] = &integration
	}
	for _, identity := range seed.Identities {
		if identity.Name == "" {
			return fmt.Errorf("an identity needs a name")
		}
		if identity.GUID == "" {
			identity.GUID = newGUID()
		}
		s.world.identities = append(s.world.identities, &identity)
	}
	s.world.issuers = append(s.world.issuers, seed.JWTIssuers...)
	for _, p := range seed.Policies {
		if !strings.HasPrefix(p.DN, `\VED\Policy`) {
			return fmt.Errorf("policy %q: its DN begins with %s", p.DN, `\VED\Policy`)
		}
		s.world.policies[strings.ToLower(p.DN)] = &policy{SeedPolicy: p, guid: newGUID()}
	}
	return nil
}

// Sample is a small world to try things in: the identity operator logs in by a
// certificate of that common name or by password, and may have grants of three
// integrations and certificates in the folder \VED\Policy\k8s\team-a. Nothing here is a
// secret of anything but a simulator.
func Sample() Seed {
	return Seed{
		Integrations: []Integration{
			{ClientID: "claviger-operator", Scope: "certificate:manage,revoke;configuration", AccessValidity: simkit.Duration(time.Hour), NotRefreshable: true},
			{ClientID: "team-a-pipeline", Scope: "certificate:manage,revoke"},
			{ClientID: "short-lived", Scope: "certificate:manage", AccessValidity: simkit.Duration(10 * time.Minute), GrantValidity: simkit.Duration(time.Hour)},
			{ClientID: "vcert-sdk", Scope: "certificate:manage,revoke,discover,delete;configuration"},
			{ClientID: "grant-admin", Scope: "admin", NotRefreshable: true},
		},
		Identities: []Identity{
			{Name: "operator", Password: "operator-password", CommonNames: []string{"operator"}},
			{Name: "viewer", Password: "viewer-password"},
			{Name: "admin", Password: "admin-password", GrantAdmin: true},
		},
		Policies: []SeedPolicy{
			{DN: `\VED\Policy\k8s\team-a`},
			{DN: `\VED\Policy\k8s\locked`, Organization: "Acme", OrganizationLocked: true, KeyAlgorithm: "RSA", MinimumBits: 2048, Domains: []string{"example"}},
			{DN: `\VED\Policy\k8s\service`, ServiceGenerated: true},
		},
	}
}
