// Package cloudfoundry rotates service keys of a Cloud Foundry space, as SAP BTP has
// them. The one idea: a key is a row with a name of ours before it is a credential, and
// the row is listable before its creation is answered. So a name that is never used
// twice is all that it takes to survive lost answers: look the name up, see what became
// of it, and read the secret, which the platform shows again and again.
//
// Nothing waits for the platform's jobs: what a broker still works on is Pending, and the
// row says what came of it.
package cloudfoundry

import (
	"encoding/json"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/claviger-dev/claviger/internal/material"
	"github.com/claviger-dev/claviger/internal/upstream"
)

// Member is the one-of member of issuers and credentials that selects this driver.
const Member = "cloudFoundry"

// Ways to log in.
const (
	loginPassword          = "Password"
	loginClientCredentials = "ClientCredentials"
	loginJWTBearer         = "JWTBearer"
)

// Types of keys.
const (
	keySecret           = "ClientSecret"
	keyCertificate      = "Certificate"
	keyExternal         = "ExternalCertificate"
	keyXSUAASecret      = "XSUAABindingSecret"
	keyXSUAACertificate = "XSUAACertificate"
)

const (
	// settle is how long after a lost answer a router may still deliver the call.
	settle = 90 * time.Second
	// verifyTimeout is how long the token endpoint may take to hear of a new key.
	verifyTimeout = 10 * time.Minute
	// rolePatience is how long a role that was given to an instance may be unknown to the
	// API behind it, which caches roles for an hour.
	rolePatience = 70 * time.Minute
	// pollAfter is when a broker that is at work is asked about again.
	pollAfter = 5 * time.Second
)

// Driver makes accounts on Cloud Foundry.
type Driver struct{ now func() time.Time }

// NewDriver returns a driver that ages its tokens by the given clock.
func NewDriver(now func() time.Time) *Driver { return &Driver{now: now} }

// Member implements upstream.Driver.
func (d *Driver) Member() string { return Member }

// issuerParameters are the issuer's one-of member.
type issuerParameters struct {
	URL          string `json:"url"`
	Organization string `json:"organization"`
	Space        string `json:"space"`
	CABundle     string `json:"caBundle"`
	Login        struct {
		Type   string `json:"type"`
		Origin string `json:"origin"`
	} `json:"login"`
	// ManagedInstances are those that credentials may have made; none without it.
	ManagedInstances []allowance `json:"managedInstances"`
}

// credentialParameters are the credential's one-of member.
type credentialParameters struct {
	Instance     string `json:"instance"`
	InstanceGUID string `json:"instanceGUID"`
	// Managed is nil unless the instance is made for the credential.
	Managed      *managed `json:"managed"`
	KeyType      string   `json:"keyType"`
	ValidityDays int      `json:"validityDays"`
	KeyLength    int      `json:"keyLength"`
	Probe        *struct {
		Path string `json:"path"`
	} `json:"probe"`
}

// Open implements upstream.Driver.
func (d *Driver) Open(settings upstream.Settings) (upstream.Upstream, error) {
	var p issuerParameters
	if json.Unmarshal(settings.Parameters, &p) != nil {
		return nil, upstream.Errorf(upstream.InvalidSpec, "the issuer's %s cannot be read as JSON", Member)
	}
	base, err := url.Parse(p.URL)
	if err != nil || base.Host == "" || base.Scheme != "https" && base.Scheme != "http" || base.User != nil || base.RawQuery != "" || base.Fragment != "" {
		return nil, upstream.Errorf(upstream.InvalidSpec, "url must be an https URL without user, query or fragment")
	}
	base.Host, base.Path, base.RawPath = strings.ToLower(base.Host), strings.TrimRight(base.Path, "/"), ""
	if p.Organization == "" || p.Space == "" {
		return nil, upstream.Errorf(upstream.InvalidSpec, "organization and space must be named")
	}
	l, err := readLogin(p, settings.Login)
	if err != nil {
		return nil, err
	}
	if len(settings.Transport.CABundle) == 0 {
		settings.Transport.CABundle = []byte(p.CABundle)
	}
	carrier, err := upstream.NewClient(settings.Transport)
	if err != nil {
		return nil, err
	}
	k, err := newKeys(d.now, settings, l.secrets())
	if err != nil {
		return nil, err
	}
	return &account{
		keys: k, parameters: p,
		platform: newPlatform(d.now, &endpoint{name: "Cloud Foundry", base: base, http: carrier, secrets: l.secrets()}, l),
	}, nil
}

// login is what the operator has for itself.
type login struct {
	kind, origin       string
	user               string
	password, clientID material.Secret
	clientSecret       material.Secret
	assertion          material.Secret
}

func (l login) secrets() []material.Secret {
	return []material.Secret{l.password, l.clientSecret, l.assertion}
}

// readLogin picks the login's values and names all keys that are missing.
func readLogin(p issuerParameters, data map[string]material.Secret) (login, error) {
	var keys []string
	switch p.Login.Type {
	case loginPassword, "":
		keys = []string{"username", "password"}
	case loginClientCredentials:
		keys = []string{"client_id", "client_secret"}
	case loginJWTBearer:
		keys = []string{"assertion"}
	default:
		return login{}, upstream.Errorf(upstream.InvalidSpec, "login.type must be %s, %s or %s", loginPassword, loginClientCredentials, loginJWTBearer)
	}
	for _, key := range keys {
		if data[key].Empty() {
			return login{}, upstream.Errorf(upstream.InvalidSpec, "the login Secret lacks %s; it needs the keys %s", key, strings.Join(keys, ", "))
		}
	}
	l := login{kind: p.Login.Type, origin: p.Login.Origin, user: data["username"].Reveal(), password: data["password"]}
	l.clientID, l.clientSecret, l.assertion = data["client_id"], data["client_secret"], data["assertion"]
	return l, nil
}

// account is one login on one space.
type account struct {
	*keys
	parameters issuerParameters
	platform   *platform
	// plain: this platform refuses metadata at creation, as Korifi does.
	plain atomic.Bool
}
