// Package neo rotates OAuth clients of a SAP Neo subaccount. The one idea: an OAuth
// client and what it may do are two things on Neo. The roles of its user
// ("oauth_client_" and the client id) are given and taken through a public API; the
// client itself can be registered by no public API, only by a person in the cockpit, or
// by whatever a user has put in front of it. So the roles are the switch that this
// package owns: they are given when the client is known to exist, and taken at once when
// a version retires, whatever becomes of the client.
//
// The client id and the secret are chosen here and written down first, so that no lost
// answer ever loses anything; the client id is the mark.
//
// Neo ends on 2028-12-31.
package neo

import (
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/claviger-dev/claviger/internal/material"
	"github.com/claviger-dev/claviger/internal/upstream"
)

// Member is the one-of member of issuers and credentials that selects this driver.
const Member = "sapNeo"

// Registrars.
const (
	registrarManual = "Manual"
	registrarHTTP   = "HTTP"
)

const (
	// settle is how long after a lost answer a queue in front of the platform may still
	// deliver the call.
	settle = 60 * time.Second
	// verifyTimeout is how long the token endpoint may take to hear of a client, and an
	// application of a role.
	verifyTimeout = 10 * time.Minute
)

// userPrefix makes the name of the user that stands for a client.
const userPrefix = "oauth_client_"

// Driver makes accounts on Neo.
type Driver struct{ now func() time.Time }

// NewDriver returns a driver that ages its tokens by the given clock.
func NewDriver(now func() time.Time) *Driver { return &Driver{now: now} }

// Member implements upstream.Driver.
func (d *Driver) Member() string { return Member }

// issuerParameters are the issuer's one-of member. Fields that only the API server needs
// are ignored here.
type issuerParameters struct {
	URL             string        `json:"url"`
	Account         string        `json:"account"`
	TokenURL        string        `json:"tokenURL"`
	ApplicationPath string        `json:"applicationPath"`
	Applications    []application `json:"applications"`
	CABundle        string        `json:"caBundle"`
	Registrar       struct {
		Type string `json:"type"`
		URL  string `json:"url"`
	} `json:"registrar"`
}

// application is one that teams may ask clients for, with the roles they may ask for.
type application struct {
	Name            string   `json:"name"`
	ProviderAccount string   `json:"providerAccount"`
	Roles           []string `json:"roles"`
	URL             string   `json:"url"`
}

// credentialParameters are the credential's one-of member.
type credentialParameters struct {
	Application string   `json:"application"`
	Roles       []string `json:"roles"`
	Probe       *struct {
		Path string `json:"path"`
	} `json:"probe"`
}

// Open implements upstream.Driver.
func (d *Driver) Open(settings upstream.Settings) (upstream.Upstream, error) {
	var parameters issuerParameters
	if json.Unmarshal(settings.Parameters, &parameters) != nil {
		return nil, upstream.Errorf(upstream.InvalidSpec, "the issuer's %s cannot be read as JSON", Member)
	}
	platformBase, err := parseBase("url", parameters.URL)
	if err != nil {
		return nil, err
	}
	tokenURL, err := parseBase("tokenURL", parameters.TokenURL)
	if err != nil {
		return nil, err
	}
	if err := checkNames(parameters); err != nil {
		return nil, err
	}
	login, err := readLogin(parameters, settings.Login)
	if err != nil {
		return nil, err
	}
	if len(settings.Transport.CABundle) == 0 {
		settings.Transport.CABundle = []byte(parameters.CABundle)
	}
	// Three budgets: the limit of the Authorization API says nothing about the token
	// endpoint of clients, and neither about a registrar.
	var carriers [3]*http.Client
	for i := range carriers {
		if carriers[i], err = upstream.NewClient(settings.Transport); err != nil {
			return nil, err
		}
	}
	a := &account{
		parameters: parameters,
		platform:   newPlatform(d.now, &endpoint{name: "Neo", base: platformBase, http: carriers[0], secrets: login.secrets()}, login),
		tokens:     &endpoint{name: "the token endpoint", base: tokenURL, http: carriers[1], secrets: login.secrets()},
	}
	if a.registrar, err = a.openRegistrar(carriers[2], login); err != nil {
		return nil, err
	}
	return a, nil
}

// parseBase reads an address of the issuer's.
func parseBase(field, value string) (*url.URL, error) {
	base, err := url.Parse(value)
	if err != nil || base.Host == "" || base.Scheme != "https" && base.Scheme != "http" || base.User != nil || base.RawQuery != "" || base.Fragment != "" {
		return nil, upstream.Errorf(upstream.InvalidSpec, "%s must be an https URL without user, query or fragment", field)
	}
	base.Host = strings.ToLower(base.Host)
	base.Path = strings.TrimRight(base.Path, "/")
	base.RawPath = ""
	return base, nil
}

// segment is what may stand in a path without being taken for more than one name.
var segment = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)

// checkNames refuses what would make another path than is meant, or one application of
// two.
func checkNames(p issuerParameters) error {
	if !segment.MatchString(p.Account) {
		return upstream.Errorf(upstream.InvalidSpec, "account %q is no technical name of a subaccount", upstream.Excerpt(p.Account))
	}
	if p.ApplicationPath != "" && p.ApplicationPath != "apps" && p.ApplicationPath != "applications" {
		return upstream.Errorf(upstream.InvalidSpec, "applicationPath must be apps or applications")
	}
	seen := map[string]bool{}
	for _, at := range p.Applications {
		if !segment.MatchString(at.Name) || !segment.MatchString(at.ProviderAccount) || seen[at.Name] {
			return upstream.Errorf(upstream.InvalidSpec, "applications: %q needs a name of its own and the name of its provider account", upstream.Excerpt(at.Name))
		}
		seen[at.Name] = true
		if len(at.Roles) == 0 || slices.Contains(at.Roles, "") {
			return upstream.Errorf(upstream.InvalidSpec, "applications: %q names no roles, so no credential can have any", upstream.Excerpt(at.Name))
		}
		if at.URL != "" {
			if _, err := parseBase("applications: url", at.URL); err != nil {
				return err
			}
		}
	}
	if len(seen) == 0 {
		return upstream.Errorf(upstream.InvalidSpec, "applications is empty, so no credential can name one")
	}
	return nil
}

// login is what the operator has for itself.
type login struct{ clientID, clientSecret, registrarToken material.Secret }

func (l login) secrets() []material.Secret {
	return []material.Secret{l.clientSecret, l.registrarToken}
}

// readLogin picks the login's values and names all keys that are missing.
func readLogin(p issuerParameters, data map[string]material.Secret) (login, error) {
	keys := []string{"client_id", "client_secret"}
	if p.Registrar.Type == registrarHTTP {
		keys = append(keys, "registrar_token")
	}
	missing := slices.DeleteFunc(slices.Clone(keys), func(key string) bool { return !data[key].Empty() })
	if len(missing) > 0 {
		return login{}, upstream.Errorf(upstream.InvalidSpec, "the login Secret lacks %s; it needs the keys %s", strings.Join(missing, ", "), strings.Join(keys, ", "))
	}
	return login{clientID: data["client_id"], clientSecret: data["client_secret"], registrarToken: data["registrar_token"]}, nil
}

// account is one platform API client of one subaccount.
type account struct {
	parameters issuerParameters
	platform   *platform
	tokens     *endpoint
	registrar  registrar
}

// Capabilities implements upstream.Upstream.
func (a *account) Capabilities() upstream.Capabilities {
	return upstream.Capabilities{
		Class:         upstream.WriteAhead,
		UniqueNames:   true,
		Overlap:       true,
		Settle:        settle,
		VerifyTimeout: verifyTimeout,
	}
}

// openRegistrar makes the one that the issuer asks for.
func (a *account) openRegistrar(carrier *http.Client, l login) (registrar, error) {
	switch a.parameters.Registrar.Type {
	case registrarManual:
		return &manualRegistrar{account: a}, nil
	case registrarHTTP:
		base, err := parseBase("registrar.url", a.parameters.Registrar.URL)
		if err != nil {
			return nil, err
		}
		return &httpRegistrar{
			endpoint: &endpoint{name: "the registrar", base: base, http: carrier, secrets: l.secrets()},
			token:    l.registrarToken,
		}, nil
	}
	return nil, upstream.Errorf(upstream.InvalidSpec, "registrar.type must be %s or %s", registrarManual, registrarHTTP)
}
