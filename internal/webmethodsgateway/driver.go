// Package webmethodsgateway rotates API keys and OAuth2 clients of a webMethods API
// Gateway. The one idea: nothing is ever replaced in place. An application has one API key,
// so each version of a key is an application of its own, registered to the same APIs; an
// application has many OAuth2 strategies, so each version of a client is a strategy of its
// own, beside the others of an application that people keep.
//
// What is made bears the request's name and, in its description, the mark, and can be read
// again. Where the gateway waits for an approver, what was asked for is noted down and
// looked for, never asked for again.
//
// All that is not documented of the gateway stands in assumed.go.
package webmethodsgateway

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/claviger-dev/claviger/internal/material"
	"github.com/claviger-dev/claviger/internal/upstream"
)

// Member is the one-of member of issuers and credentials that selects this driver.
const Member = "webMethodsGateway"

// Types of credentials.
const (
	typeKey    = "APIKey"
	typeClient = "OAuth2"
)

const (
	// settle is how long after a lost answer its effect may still come, and the gateway's
	// search may not know of it.
	settle = 60 * time.Second
	// verifyTimeout is how long the nodes of a cluster may take to hear of a key.
	verifyTimeout = 10 * time.Minute
	// pollAfter is how long to wait where the gateway works on something.
	pollAfter = 2 * time.Second
)

// Driver makes accounts on API Gateways.
type Driver struct{}

// NewDriver returns a driver.
func NewDriver() *Driver { return &Driver{} }

// Member implements upstream.Driver.
func (*Driver) Member() string { return Member }

// issuerParameters are the issuer's one-of member. Fields that only the API server needs
// are ignored here.
type issuerParameters struct {
	URL             string `json:"url"`
	GatewayURL      string `json:"gatewayURL"`
	TokenURL        string `json:"tokenURL"`
	AuthServerAlias string `json:"authServerAlias"`
	CABundle        string `json:"caBundle"`
}

// credentialParameters are the credential's one-of member.
type credentialParameters struct {
	Type        string   `json:"type"`
	APIs        []apiRef `json:"apis"`
	Application string   `json:"application"`
	Scopes      []string `json:"scopes"`
	Probe       *struct {
		Path string `json:"path"`
	} `json:"probe"`
}

// apiRef names an API.
type apiRef struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

// account is one user of one gateway.
type account struct {
	parameters issuerParameters
	gateway    *endpoint
	// runtime is where APIs are called, and tokens where OAuth2 clients get theirs. They
	// have budgets of their own: they are not the management of the gateway.
	runtime, tokens *endpoint
	// turns lets one request at a time look for what it would make, and one edit at a time
	// change an application.
	turns turns
}

// Open implements upstream.Driver.
func (*Driver) Open(settings upstream.Settings) (upstream.Upstream, error) {
	var p issuerParameters
	if json.Unmarshal(settings.Parameters, &p) != nil {
		return nil, upstream.Errorf(upstream.InvalidSpec, "the issuer's %s cannot be read as JSON", Member)
	}
	if p.GatewayURL == "" {
		p.GatewayURL = p.URL
	}
	if p.TokenURL == "" {
		p.TokenURL = strings.TrimRight(p.GatewayURL, "/") + tokenPath
	}
	if p.AuthServerAlias == "" {
		p.AuthServerAlias = "local"
	}
	var missing []string
	for _, key := range []string{"username", "password"} {
		if settings.Login[key].Empty() {
			missing = append(missing, key)
		}
	}
	if len(missing) > 0 {
		return nil, upstream.Errorf(upstream.InvalidSpec, "the login Secret lacks %s; it needs the keys username, password", strings.Join(missing, ", "))
	}
	if len(settings.Transport.CABundle) == 0 {
		settings.Transport.CABundle = []byte(p.CABundle)
	}
	a := &account{parameters: p, turns: turns{taken: map[string]chan struct{}{}}}
	user, password := settings.Login["username"].Reveal(), settings.Login["password"]
	for _, e := range []struct {
		into              **endpoint
		name, field, base string
	}{
		{&a.gateway, "the gateway", "url", p.URL},
		{&a.runtime, "the API", "gatewayURL", p.GatewayURL},
		{&a.tokens, "the token service", "tokenURL", p.TokenURL},
	} {
		base, err := parseBase(e.field, e.base)
		if err != nil {
			return nil, err
		}
		carrier, err := upstream.NewClient(settings.Transport)
		if err != nil {
			return nil, err
		}
		*e.into = &endpoint{name: e.name, base: base, http: carrier, secrets: []material.Secret{password}}
	}
	a.gateway.authorize = func(r *http.Request) { r.SetBasicAuth(user, password.Reveal()) }
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

// Capabilities implements upstream.Upstream. Names are not known to be unique, so a repeat is
// made only when the one before can have no effect any more.
func (a *account) Capabilities() upstream.Capabilities {
	return upstream.Capabilities{Class: upstream.Readable, Overlap: true, Settle: settle, VerifyTimeout: verifyTimeout}
}

// parse reads a credential's parameters.
func parse(raw json.RawMessage) (credentialParameters, error) {
	var p credentialParameters
	switch {
	case json.Unmarshal(raw, &p) != nil:
		return p, upstream.Errorf(upstream.InvalidSpec, "the credential's %s cannot be read as JSON", Member)
	case p.Type == typeKey && len(p.APIs) == 0:
		return p, upstream.Errorf(upstream.InvalidSpec, "an API key without apis opens nothing: name the APIs")
	case p.Type == typeClient && p.Application == "":
		return p, upstream.Errorf(upstream.InvalidSpec, "an OAuth2 client needs the application that it is for")
	case p.Type != typeKey && p.Type != typeClient:
		return p, upstream.Errorf(upstream.InvalidSpec, "type must be %s or %s", typeKey, typeClient)
	}
	return p, nil
}

// Shape implements upstream.Shaper.
func (*Driver) Shape(raw json.RawMessage) material.Shape {
	p, err := parse(raw)
	if err != nil {
		return material.Shape{}
	}
	if p.Type == typeKey {
		return material.Shape{Always: []string{material.FieldAPIKey, material.AttributeURL}}
	}
	s := material.Shape{Always: []string{material.FieldClientID, material.FieldClientSecret, material.AttributeTokenURL, material.AttributeURL}}
	if len(p.Scopes) > 0 {
		s.Always = append(s.Always, material.AttributeScope)
	}
	return s
}

// turns are locks by name, which whoever waits for can give up.
type turns struct {
	mu    sync.Mutex
	taken map[string]chan struct{}
}
