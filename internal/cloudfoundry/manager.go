package cloudfoundry

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/claviger-dev/claviger/internal/material"
	"github.com/claviger-dev/claviger/internal/upstream"
)

// ManagerMember is the one-of member of issuers that makes the same keys by SAP Service
// Manager. Their credentials are those of Member: what a team asks for does not depend on
// who is asked.
const ManagerMember = "sapServiceManager"

// ManagerDriver makes accounts on SAP Service Manager. The one idea is that of keys in Cloud
// Foundry: a binding has a name of ours that is never used twice and labels that tell it
// when somebody renames it, and its credentials are shown again and again.
type ManagerDriver struct{ now func() time.Time }

// NewManagerDriver returns a driver that ages its tokens by the given clock.
func NewManagerDriver(now func() time.Time) *ManagerDriver { return &ManagerDriver{now: now} }

// Member implements upstream.Driver.
func (*ManagerDriver) Member() string { return ManagerMember }

// Shape implements upstream.Shaper.
func (*ManagerDriver) Shape(raw json.RawMessage) material.Shape { return shapeOf(raw) }

// managerParameters are the issuer's one-of member.
type managerParameters struct {
	URL          string `json:"url"`
	SubaccountID string `json:"subaccountID"`
	CABundle     string `json:"caBundle"`
}

// manager is one login on the Service Manager of a subaccount.
type manager struct {
	*keys
	parameters managerParameters
	api        *session
	login      managerLogin
	tokens     *endpoint

	mu sync.Mutex
	// failures of operations that were told: see told.
	failures map[string]bool
}

// Open implements upstream.Driver.
func (d *ManagerDriver) Open(settings upstream.Settings) (upstream.Upstream, error) {
	var p managerParameters
	if json.Unmarshal(settings.Parameters, &p) != nil {
		return nil, upstream.Errorf(upstream.InvalidSpec, "the issuer's %s cannot be read as JSON", ManagerMember)
	}
	base, err := address(p.URL)
	if err != nil {
		return nil, upstream.Errorf(upstream.InvalidSpec, "url must be an https URL without user, query or fragment")
	}
	if !segment.MatchString(p.SubaccountID) {
		return nil, upstream.Errorf(upstream.InvalidSpec, "subaccountID must be the id of the subaccount, as the cockpit shows it")
	}
	l, err := readManagerLogin(settings.Login, base)
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
	entrance := settings.Transport
	entrance.ClientCertificate = l.pair
	door, err := upstream.NewClient(entrance)
	if err != nil {
		return nil, err
	}
	k, err := newKeys(d.now, settings, l.secrets())
	if err != nil {
		return nil, err
	}
	m := &manager{
		keys: k, parameters: p, login: l,
		tokens: &endpoint{name: "the login server", base: l.at, http: door, secrets: l.secrets()},
	}
	m.api = newSession(d.now, &endpoint{name: "Service Manager", base: base, http: carrier, secrets: l.secrets()}, m.enter)
	return m, nil
}

// address reads the base of an API.
func address(text string) (*url.URL, error) {
	base, err := url.Parse(text)
	if err != nil || base.Host == "" || base.Scheme != "https" && base.Scheme != "http" || base.User != nil || base.RawQuery != "" || base.Fragment != "" {
		return nil, errForm
	}
	base.Host, base.Path, base.RawPath = strings.ToLower(base.Host), strings.TrimRight(base.Path, "/"), ""
	return base, nil
}

// managerLogin is a binding of Service Manager itself: a client with a secret, or with a
// certificate.
type managerLogin struct {
	clientID     string
	clientSecret material.Secret
	pair         *tls.Certificate
	key          material.Secret
	at           *url.URL
}

func (l managerLogin) secrets() []material.Secret { return []material.Secret{l.clientSecret, l.key} }

// Keys of the login Secret that may hold the whole binding.
var documentKeys = []string{"credentials.json", "credentials"}

// readManagerLogin reads the fields of a binding, or the binding as a document.
func readManagerLogin(data map[string]material.Secret, base *url.URL) (managerLogin, error) {
	field := func(name string) string { return strings.TrimSpace(data[name].Reveal()) }
	d := managerDocument{
		ClientID: field("clientid"), ClientSecret: field("clientsecret"), URL: field("url"), TokenURL: field("tokenurl"), ManagerURL: field("sm_url"),
		Certificate: field("certificate"), Key: field("key"), CertURL: field("certurl"),
	}
	for _, name := range documentKeys {
		if d.ClientID != "" || data[name].Empty() {
			continue
		}
		var err error
		if d, err = parseManagerDocument(data[name].Reveal()); err != nil {
			return managerLogin{}, upstream.Errorf(upstream.InvalidSpec, "%s of the login Secret must be the binding of Service Manager as the cockpit shows it: %s", name, err)
		}
	}
	if d.ManagerURL != "" {
		if named, err := address(d.ManagerURL); err != nil || named.Host != base.Host {
			return managerLogin{}, upstream.Errorf(upstream.InvalidSpec, "sm_url of the login Secret is not the issuer's url: the binding is of another region")
		}
	}
	l := managerLogin{clientID: d.ClientID}
	var where string
	switch {
	case d.ClientID == "":
		return l, upstream.Errorf(upstream.InvalidSpec, "the login Secret lacks clientid; it needs the fields of a binding of Service Manager, or the whole binding as credentials.json")
	case d.ClientSecret != "":
		l.clientSecret, where = material.New(d.ClientSecret), d.URL
		if where == "" {
			where = strings.TrimSuffix(d.TokenURL, "/oauth/token")
		}
	case d.Certificate != "" && d.Key != "":
		l.key, where = material.New(lines(d.Key)), d.CertURL
		pair, err := tls.X509KeyPair([]byte(lines(d.Certificate)), []byte(l.key.Reveal()))
		if err != nil {
			return l, upstream.Errorf(upstream.InvalidSpec, "certificate and key of the login Secret must be PEM and belong together")
		}
		l.pair = &pair
	default:
		return l, upstream.Errorf(upstream.InvalidSpec, "the login Secret lacks clientsecret with url, or certificate and key with certurl")
	}
	at, err := address(where)
	if err != nil {
		return l, upstream.Errorf(upstream.InvalidSpec, "the login Secret lacks the address of its token server: url beside clientsecret, certurl beside certificate and key")
	}
	l.at = at
	return l, nil
}

// enter makes one login. A secret goes in the form: the token server does not undo the
// encoding that Basic asks for.
func (m *manager) enter(ctx context.Context) (material.Secret, time.Time, error) {
	started := m.now()
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {m.login.clientID}}
	if m.login.pair == nil {
		form.Set("client_secret", m.login.clientSecret.Reveal())
	}
	r, err := m.tokens.exchange(ctx, call{operation: "login", method: http.MethodPost, path: "/oauth/token", form: form})
	switch {
	case err != nil:
		return material.Secret{}, time.Time{}, err
	case r.throttled, r.page(), r.status >= http.StatusInternalServerError:
		return material.Secret{}, time.Time{}, r.refusal("")
	case r.status == http.StatusBadRequest, r.status == http.StatusUnauthorized, r.status == http.StatusForbidden:
		return material.Secret{}, time.Time{}, upstream.Errorf(upstream.LoginFailed, "%s; the login Secret must hold a binding of Service Manager that still exists", r.words())
	case r.status != http.StatusOK:
		return material.Secret{}, time.Time{}, r.refusal("")
	}
	return r.granted(started)
}
