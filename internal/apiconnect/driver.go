// Package apiconnect rotates application credentials of IBM API Connect v10 by its
// platform API. The one idea: we choose the client id and the secret, and write them
// down before the first call, so that no lost answer ever loses anything; the client
// id is the mark, and what an object is called proves nothing, because people rename
// things.
//
// Apps, organisations and catalogs are named by people once, in Locate; from then on
// only immutable ids stand in paths. A 404 therefore never means "renamed", and still
// never means "gone" by itself: see absence.go.
package apiconnect

import (
	"cmp"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/claviger-dev/claviger/internal/material"
	"github.com/claviger-dev/claviger/internal/upstream"
)

// Member is the one-of member of issuers and credentials that selects this driver.
const Member = "ibmAPIConnect"

// Grants of the login.
const (
	grantPassword = "Password"
	grantAPIKey   = "APIKey"
)

const (
	// settle is how long after a lost answer a queue in front of the platform may
	// still deliver the call.
	settle = 60 * time.Second
	// verifyTimeout is how long gateways may take to hear of a new credential.
	verifyTimeout = 10 * time.Minute
)

// Driver makes accounts on API Connect.
type Driver struct{ now func() time.Time }

// NewDriver returns a driver that ages its tokens by the given clock.
func NewDriver(now func() time.Time) *Driver { return &Driver{now: now} }

// Member implements upstream.Driver.
func (d *Driver) Member() string { return Member }

// issuerParameters are the issuer's one-of member. Fields that only the API server
// needs are ignored here.
type issuerParameters struct {
	URL         string `json:"url"`
	ProviderOrg string `json:"providerOrg"`
	Catalog     string `json:"catalog"`
	Login       struct {
		Realm string `json:"realm"`
		Grant string `json:"grant"`
	} `json:"login"`
	CABundle   string `json:"caBundle"`
	GatewayURL string `json:"gatewayURL"`
	MaxPerApp  int    `json:"maxPerApp"`
}

// credentialParameters are the credential's one-of member.
type credentialParameters struct {
	ConsumerOrg string `json:"consumerOrg"`
	App         string `json:"app"`
	// Naming is namingSwap, or anything else for a name of its own for each version.
	Naming string `json:"naming"`
	Name   string `json:"name"`
	Probe  *struct {
		Path string `json:"path"`
	} `json:"probe"`
}

// Open implements upstream.Driver.
func (d *Driver) Open(settings upstream.Settings) (upstream.Upstream, error) {
	var parameters issuerParameters
	if err := json.Unmarshal(settings.Parameters, &parameters); err != nil {
		return nil, upstream.Errorf(upstream.InvalidSpec, "the issuer's %s cannot be read as JSON", Member)
	}
	base, err := parseBase("url", parameters.URL)
	if err != nil {
		return nil, err
	}
	// A path of "/api" is forgiven: IBM's own pages call that the platform endpoint.
	if path := strings.Trim(base.Path, "/"); path != "" && path != "api" {
		return nil, upstream.Errorf(upstream.InvalidSpec, "url must have no path, it has %q", upstream.Excerpt(base.Path))
	}
	base.Path = ""
	var gateway *url.URL
	if parameters.GatewayURL != "" {
		if gateway, err = parseBase("gatewayURL", parameters.GatewayURL); err != nil {
			return nil, err
		}
	}
	for field, name := range map[string]string{"providerOrg": parameters.ProviderOrg, "catalog": parameters.Catalog} {
		if err := checkSegment(field, name); err != nil {
			return nil, err
		}
	}
	grant, err := loginGrant(parameters, settings.Login)
	if err != nil {
		return nil, err
	}
	if len(settings.Transport.CABundle) == 0 {
		settings.Transport.CABundle = []byte(parameters.CABundle)
	}
	carrier, err := upstream.NewClient(settings.Transport)
	if err != nil {
		return nil, err
	}
	// The gateway has a budget of its own: a plan's rate limit says nothing about the
	// platform.
	gatewayCarrier, err := upstream.NewClient(settings.Transport)
	if err != nil {
		return nil, err
	}
	return newAccount(d.now, parameters, base, gateway, grant, carrier, gatewayCarrier), nil
}

func newAccount(now func() time.Time, parameters issuerParameters, base, gateway *url.URL, grant grant, carrier, gatewayCarrier *http.Client) *account {
	p := &platform{base: base, http: carrier, now: now, loginSecrets: grant.secrets()}
	p.session = &session{now: now, login: func(refresh material.Secret) (token, error) { return p.logIn(grant, refresh) }}
	return &account{
		parameters: parameters,
		platform:   p,
		gateway:    gateway,
		probe:      gatewayCarrier,
		now:        now,
		located:    map[string]located{},
		memory:     memory{known: map[upstream.Mark]known{}},
	}
}

// parseBase reads an address of the issuer's.
func parseBase(field, value string) (*url.URL, error) {
	base, err := url.Parse(value)
	if err != nil || base.Host == "" || base.Scheme != "https" && base.Scheme != "http" || base.User != nil || base.RawQuery != "" || base.Fragment != "" {
		return nil, upstream.Errorf(upstream.InvalidSpec, "%s must be https://host or https://host:port, without user, query or fragment", field)
	}
	base.Host = strings.ToLower(base.Host)
	return base, nil
}

// loginGrant picks the login's values and names all keys that are missing, not only
// the first: a person wants to fix the Secret once.
func loginGrant(parameters issuerParameters, login map[string]material.Secret) (grant, error) {
	kind := cmp.Or(parameters.Login.Grant, grantPassword)
	keys := map[string][]string{
		grantPassword: {"username", "password", "client_id", "client_secret"},
		grantAPIKey:   {"api_key", "client_id", "client_secret"},
	}[kind]
	if keys == nil {
		return grant{}, upstream.Errorf(upstream.InvalidSpec, "login.grant must be %s or %s", grantPassword, grantAPIKey)
	}
	missing := slices.DeleteFunc(slices.Clone(keys), func(key string) bool { return !login[key].Empty() })
	if len(missing) > 0 {
		return grant{}, upstream.Errorf(upstream.InvalidSpec, "the login Secret lacks %s; a login by %s needs the keys %s",
			strings.Join(missing, ", "), kind, strings.Join(keys, ", "))
	}
	if parameters.Login.Realm == "" && kind == grantPassword {
		return grant{}, upstream.Errorf(upstream.InvalidSpec, "login.realm is missing; GET /api/cloud/provider/identity-providers lists realms")
	}
	return grant{kind: kind, realm: parameters.Login.Realm, values: login}, nil
}

// account is one login on one catalog.
type account struct {
	parameters issuerParameters
	platform   *platform
	gateway    *url.URL // nil if the issuer names none
	probe      *http.Client
	now        func() time.Time
	memory     memory

	mu sync.Mutex
	// realm is what Check resolved the issuer's names to; zero before.
	realm place
	// located holds what Locate resolved lately, by consumer organisation and app.
	located map[string]located
	// owners are the mail addresses of the consumer organisations' owners, by name and by id.
	owners map[string]string
}

// Capabilities implements upstream.Upstream.
func (a *account) Capabilities() upstream.Capabilities {
	return upstream.Capabilities{
		Class:         upstream.WriteAhead,
		UniqueNames:   true,
		Overlap:       true,
		MaxLive:       a.parameters.MaxPerApp,
		Settle:        settle,
		VerifyTimeout: verifyTimeout,
	}
}

// memory spares calls within one process; nothing depends on it.
type memory struct {
	mu    sync.Mutex
	known map[upstream.Mark]known
}

// known is what was seen of a credential.
type known struct {
	// id of it, from the answer that made it or from a look-up.
	id string
	// proven is the hash of the secret that the platform confirmed, while the gateway
	// has not heard of it yet: waiting for it costs the platform one call, not one a
	// try.
	proven string
}

// maxKnown bounds the memory; what is dropped is looked up again.
const maxKnown = 4096

func (m *memory) get(mark upstream.Mark) known {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.known[mark]
}

func (m *memory) put(mark upstream.Mark, k known) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.known) >= maxKnown {
		clear(m.known)
	}
	m.known[mark] = k
}

func (m *memory) forget(mark upstream.Mark) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.known, mark)
}
