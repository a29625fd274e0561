// Package centrasite rotates API keys and OAuth2 clients of CentraSite, over the calls that
// API-Portal makes to it. The one idea: CentraSite has no key of two ages, so every version
// is an application of its own; its id is made of the version's mark, and by that it is
// found again whatever became of the answer to its request. People may have to approve it
// in CentraSite, which takes days and is asked for once: what tells that it was asked for is
// read before anything is asked.
//
// Much of the product's machine interface is not documented. What is assumed of it stands in
// assumed.go and nowhere else.
package centrasite

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/claviger-dev/claviger/internal/interval"
	"github.com/claviger-dev/claviger/internal/material"
	"github.com/claviger-dev/claviger/internal/upstream"
)

// Member is the one-of member of issuers and credentials that selects this driver.
const Member = "centraSite"

// What a credential is.
const (
	typeAPIKey = "APIKey"
	typeOAuth2 = "OAuth2"
)

const (
	// settle is how long after a lost answer a queue in front of CentraSite may still
	// deliver the call.
	settle = 60 * time.Second
	// verifyTimeout leaves time for an approved credential to be deployed to Mediator.
	verifyTimeout = 10 * time.Minute

	defaultTokensPath = "/abs/apirepository/v1/accesstokens"
	defaultEventsPath = "/abs/apirepository/v1/events"
	defaultTokenPath  = "/rest/pub.mediator.oauth2.getOAuth2AccessToken"
)

// Driver makes accounts on CentraSite.
type Driver struct{ now func() time.Time }

// NewDriver returns a driver that dates usage contracts by the given clock.
func NewDriver(now func() time.Time) *Driver { return &Driver{now: now} }

// Member implements upstream.Driver.
func (d *Driver) Member() string { return Member }

// issuerParameters are the issuer's one-of member. Fields that only the API server
// needs are ignored here.
type issuerParameters struct {
	URL        string `json:"url"`
	UserID     string `json:"userID"`
	TokensPath string `json:"tokensPath"`
	EventsPath string `json:"eventsPath"`
	Approvals  struct {
		URL       string `json:"url"`
		Namespace string `json:"namespace"`
	} `json:"approvals"`
	Mediator struct {
		URL       string `json:"url"`
		TokenPath string `json:"tokenPath"`
	} `json:"mediator"`
	CABundle string `json:"caBundle"`
}

// credentialParameters are the credential's one-of member.
type credentialParameters struct {
	API          string `json:"api"`
	Type         string `json:"type"`
	Service      string `json:"service"`
	ExpiresAfter string `json:"expiresAfter"`
	Probe        *struct {
		Path string `json:"path"`
	} `json:"probe"`
}

// account is one user of one CentraSite.
type account struct {
	parameters issuerParameters
	realm      string
	// centraSite, approvals and mediator are the three servers that are spoken to.
	centraSite, approvals, mediator *endpoint
	login                           login
	now                             func() time.Time
}

// login is the operator's own user.
type login struct{ username, password material.Secret }

func (l login) authorize(r *http.Request) {
	r.SetBasicAuth(l.username.Reveal(), l.password.Reveal())
}

// Open implements upstream.Driver.
func (d *Driver) Open(settings upstream.Settings) (upstream.Upstream, error) {
	var p issuerParameters
	if err := json.Unmarshal(settings.Parameters, &p); err != nil {
		return nil, upstream.Errorf(upstream.InvalidSpec, "the issuer's %s cannot be read as JSON", Member)
	}
	if !segment(p.UserID) {
		return nil, upstream.Errorf(upstream.InvalidSpec, "userID is missing or holds a slash or a blank; it is the user that access tokens belong to")
	}
	if p.Approvals.Namespace == "" {
		return nil, upstream.Errorf(upstream.InvalidSpec, "approvals.namespace is missing; it is the targetNamespace of the WSDL that approvals.url?wsdl shows")
	}
	for path, otherwise := range map[*string]string{&p.TokensPath: defaultTokensPath, &p.EventsPath: defaultEventsPath, &p.Mediator.TokenPath: defaultTokenPath} {
		if *path == "" {
			*path = otherwise
		}
		if !strings.HasPrefix(*path, "/") {
			return nil, upstream.Errorf(upstream.InvalidSpec, "path %q does not begin with a slash", upstream.Excerpt(*path))
		}
	}
	l := login{settings.Login["username"], settings.Login["password"]}
	if missing := slices.DeleteFunc([]string{"username", "password"}, func(key string) bool { return !settings.Login[key].Empty() }); len(missing) > 0 {
		return nil, upstream.Errorf(upstream.InvalidSpec, "the login Secret lacks %s; a login needs the keys username, password", strings.Join(missing, ", "))
	}
	if len(settings.Transport.CABundle) == 0 {
		settings.Transport.CABundle = []byte(p.CABundle)
	}
	a := &account{parameters: p, login: l, now: d.now}
	for _, server := range []struct {
		into         **endpoint
		name, field  string
		address      string
		path         bool
		ownTransport bool
	}{
		{&a.centraSite, "CentraSite", "url", p.URL, false, false},
		{&a.approvals, "the Approval Service", "approvals.url", p.Approvals.URL, true, false},
		{&a.mediator, "Mediator", "mediator.url", p.Mediator.URL, false, true},
	} {
		base, err := parseBase(server.field, server.address, server.path)
		if err != nil {
			return nil, err
		}
		*server.into = &endpoint{name: server.name, base: base, secrets: []material.Secret{l.password}}
		// What Mediator asks to wait for says nothing about CentraSite, so each has a budget.
		if a.centraSite.http == nil || server.ownTransport {
			if (*server.into).http, err = upstream.NewClient(settings.Transport); err != nil {
				return nil, err
			}
			continue
		}
		(*server.into).http = a.centraSite.http
	}
	a.realm = a.centraSite.base.Host
	return a, nil
}

// parseBase reads an address; only that of a service has a path.
func parseBase(field, address string, path bool) (*url.URL, error) {
	base, err := url.Parse(address)
	if err != nil || base.Host == "" || base.Scheme != "https" && base.Scheme != "http" || base.User != nil || base.RawQuery != "" || base.Fragment != "" {
		return nil, upstream.Errorf(upstream.InvalidSpec, "%s must be an https URL without user, query or fragment", field)
	}
	if !path && strings.Trim(base.Path, "/") != "" {
		return nil, upstream.Errorf(upstream.InvalidSpec, "%s must be https://host or https://host:port without a path", field)
	}
	base.Host = strings.ToLower(base.Host)
	if !path {
		base.Path = ""
	}
	return base, nil
}

// segment refuses what cannot be one part of a container's name.
func segment(text string) bool { return text != "" && !strings.ContainsAny(text, "/ \t\r\n") }

// wanted is a credential's member, checked.
type wanted struct {
	credentialParameters
	contract interval.Interval
}

// parse reads the credential's member.
func parse(raw json.RawMessage) (wanted, error) {
	w := wanted{contract: interval.Unlimited()}
	if err := json.Unmarshal(raw, &w.credentialParameters); err != nil {
		return w, upstream.Errorf(upstream.InvalidSpec, "the credential's %s cannot be read as JSON", Member)
	}
	switch {
	case w.API == "":
		return w, upstream.Errorf(upstream.InvalidSpec, "api is missing; it is the key of the API in CentraSite")
	case w.Type != typeAPIKey && w.Type != typeOAuth2:
		return w, upstream.Errorf(upstream.InvalidSpec, "type must be %s or %s", typeAPIKey, typeOAuth2)
	case w.Type == typeOAuth2 && w.Service == "":
		return w, upstream.Errorf(upstream.InvalidSpec, "service is missing; a token is asked for by the name of the virtual service")
	case w.Type == typeAPIKey && w.Probe == nil:
		return w, upstream.Errorf(upstream.InvalidSpec, "probe is missing; an API key is proven by a call alone")
	case w.Probe != nil && !strings.HasPrefix(w.Probe.Path, "/"):
		return w, upstream.Errorf(upstream.InvalidSpec, "probe.path %q does not begin with a slash", upstream.Excerpt(w.Probe.Path))
	}
	if w.ExpiresAfter == "" {
		return w, nil
	}
	contract, err := interval.Parse(w.ExpiresAfter)
	if err != nil {
		return w, upstream.Errorf(upstream.InvalidSpec, "expiresAfter: %s", upstream.Excerpt(err.Error()))
	}
	w.contract = contract
	return w, nil
}

// Shape implements upstream.Shaper.
func (*Driver) Shape(raw json.RawMessage) material.Shape {
	var p credentialParameters
	if json.Unmarshal(raw, &p) != nil {
		return material.Shape{}
	}
	switch p.Type {
	case typeAPIKey:
		return material.Shape{
			Always:    []string{material.FieldAPIKey, material.AttributeURL},
			Sometimes: []string{material.AttributeExpires},
		}
	case typeOAuth2:
		return material.Shape{
			Always: []string{
				material.FieldClientID, material.FieldClientSecret, material.AttributeScope, material.AttributeTokenURL, material.AttributeURL,
			},
			Sometimes: []string{material.AttributeExpires},
		}
	}
	return material.Shape{}
}
