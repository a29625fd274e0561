// Package webmethodsportal rotates applications of a webMethods Developer Portal. The one
// idea: a credential is an application, and an application is the end of a request that
// other people and other systems carry out in their own time. So nothing here waits: each
// call looks at where the request is, says so, and is made again later. The id of the
// request is written down as soon as it is known, and after a lost answer the request is
// looked for among all that this account has made, so that nobody is asked twice.
//
// A key in the portal is replaced in place or not at all, so each version is an
// application of its own beside the one before.
package webmethodsportal

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
const Member = "webMethodsPortal"

// Types of credentials.
const (
	typeAPIKey = "APIKey"
	typeOAuth2 = "OAuth2"
)

// Ways to end an application.
const (
	deletionDelete  = "Delete"
	deletionRequest = "Request"
)

const (
	// settle is how long after a lost answer a queue in front of the portal may still
	// deliver the call.
	settle = 60 * time.Second
	// verifyTimeout is how long the gateway may take to hear of a key.
	verifyTimeout = 10 * time.Minute
	// poll is how long a request that is under way is left alone, personPoll one that
	// waits for people.
	poll       = 2 * time.Second
	personPoll = 30 * time.Second
	// defaultKeyHeader is the one that the gateway reads unless it is told otherwise.
	defaultKeyHeader = "x-Gateway-APIKey"
)

// Driver makes accounts on the portal.
type Driver struct{}

// NewDriver returns a driver.
func NewDriver() *Driver { return &Driver{} }

// Member implements upstream.Driver.
func (*Driver) Member() string { return Member }

// issuerParameters are the issuer's one-of member. Fields that only the API server needs
// are ignored here.
type issuerParameters struct {
	URL      string `json:"url"`
	Deletion string `json:"deletion"`
	Gateway  *struct {
		URL          string `json:"url"`
		APIKeyHeader string `json:"apiKeyHeader"`
	} `json:"gateway"`
	CABundle string `json:"caBundle"`
}

// credentialParameters are the credential's one-of member.
type credentialParameters struct {
	Type         string   `json:"type"`
	APIs         []string `json:"apis"`
	RedirectURIs []string `json:"redirectURIs"`
	Scope        string   `json:"scope"`
	Probe        *struct {
		Path string `json:"path"`
	} `json:"probe"`
}

// Open implements upstream.Driver.
func (*Driver) Open(settings upstream.Settings) (upstream.Upstream, error) {
	var p issuerParameters
	if json.Unmarshal(settings.Parameters, &p) != nil {
		return nil, upstream.Errorf(upstream.InvalidSpec, "the issuer's %s cannot be read as JSON", Member)
	}
	base, err := parseBase("url", p.URL)
	if err != nil {
		return nil, err
	}
	login, err := readLogin(settings.Login)
	if err != nil {
		return nil, err
	}
	if len(settings.Transport.CABundle) == 0 {
		settings.Transport.CABundle = []byte(p.CABundle)
	}
	// Two budgets: what the gateway takes says nothing about the portal.
	var carriers [2]*http.Client
	for i := range carriers {
		if carriers[i], err = upstream.NewClient(settings.Transport); err != nil {
			return nil, err
		}
	}
	a := &account{
		realm:    base.Host + base.Path + "/" + url.PathEscape(login.user),
		portal:   &endpoint{name: "the portal", base: base, http: carriers[0], login: &login, hidden: []material.Secret{login.password}},
		gateway:  &endpoint{name: "the gateway", http: carriers[1], hidden: []material.Secret{login.password}},
		deletion: p.Deletion, keyHeader: defaultKeyHeader,
		turns: newTurns(),
	}
	switch a.deletion {
	case "":
		a.deletion = deletionDelete
	case deletionDelete, deletionRequest:
	default:
		return nil, upstream.Errorf(upstream.InvalidSpec, "deletion must be %s or %s", deletionDelete, deletionRequest)
	}
	if p.Gateway != nil {
		if a.gateway.base, err = parseBase("gateway.url", p.Gateway.URL); err != nil {
			return nil, err
		}
		if p.Gateway.APIKeyHeader != "" {
			a.keyHeader = p.Gateway.APIKeyHeader
		}
	}
	return a, nil
}

// parseBase reads an address of the issuer's.
func parseBase(field, value string) (*url.URL, error) {
	base, err := url.Parse(value)
	if err != nil || base.Host == "" || base.Scheme != "https" && base.Scheme != "http" || base.User != nil || base.RawQuery != "" || base.Fragment != "" {
		return nil, upstream.Errorf(upstream.InvalidSpec, "%s must be an https URL without user, query or fragment", field)
	}
	base.Host, base.Path, base.RawPath = strings.ToLower(base.Host), strings.TrimRight(base.Path, "/"), ""
	return base, nil
}

// login is what the operator has for itself.
type login struct {
	user     string
	password material.Secret
}

// readLogin picks the login's values and names all keys that are missing.
func readLogin(data map[string]material.Secret) (login, error) {
	keys := []string{"username", "password"}
	missing := slices.DeleteFunc(slices.Clone(keys), func(key string) bool { return !data[key].Empty() })
	if len(missing) > 0 {
		return login{}, upstream.Errorf(upstream.InvalidSpec, "the login Secret lacks %s; it needs the keys %s", strings.Join(missing, ", "), strings.Join(keys, ", "))
	}
	l := login{user: data["username"].Reveal(), password: data["password"]}
	if strings.Contains(l.user, ":") {
		return login{}, upstream.Errorf(upstream.InvalidSpec, "the username of the login Secret has a colon, which HTTP Basic cannot carry")
	}
	return l, nil
}

// account is one user of one portal.
type account struct {
	realm     string
	portal    *endpoint
	gateway   *endpoint // base is nil if the issuer names none
	keyHeader string
	deletion  string
	turns     *turns
}

// Capabilities implements upstream.Upstream. That names are unique is not in the contract.
func (a *account) Capabilities() upstream.Capabilities {
	return upstream.Capabilities{Class: upstream.Readable, Overlap: true, Settle: settle, VerifyTimeout: verifyTimeout}
}

// container is where all applications of this user are: the portal has no other place.
func (a *account) container() string { return a.realm + "/applications" }

// own refuses a container of somebody else.
func (a *account) own(container string) error {
	if container != a.container() {
		return upstream.Errorf(upstream.InvalidSpec, "the container %q is not this user's", upstream.Excerpt(container))
	}
	return nil
}

// segment is what may stand in a path without being taken for more than one name.
var segment = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._~-]{0,127}$`)

// parse reads a credential's parameters.
func parse(raw json.RawMessage) (credentialParameters, error) {
	var p credentialParameters
	if json.Unmarshal(raw, &p) != nil {
		return p, upstream.Errorf(upstream.InvalidSpec, "the credential's %s cannot be read as JSON", Member)
	}
	if p.Type != typeAPIKey && p.Type != typeOAuth2 {
		return p, upstream.Errorf(upstream.InvalidSpec, "type must be %s or %s", typeAPIKey, typeOAuth2)
	}
	if len(p.APIs) == 0 || slices.ContainsFunc(p.APIs, func(id string) bool { return !segment.MatchString(id) }) {
		return p, upstream.Errorf(upstream.InvalidSpec, "apis must name at least one API by its id in the portal")
	}
	return p, nil
}

// checkMark refuses what could not be found again.
func checkMark(name string, mark upstream.Mark) error {
	if markOf(nameFor(name, mark), "") != mark || mark == "" {
		return upstream.Errorf(upstream.InvalidSpec, "%q cannot be the name of an application", upstream.Excerpt(nameFor(name, mark)))
	}
	return nil
}
