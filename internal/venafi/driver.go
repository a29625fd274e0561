// Package venafi rotates access tokens and certificates of a Venafi Trust Protection
// Platform. The one idea: two things of one kind may live side by side here, so nothing
// is refreshed or renewed in place unless a policy says so. A token is renewed by a new grant,
// because a refresh kills the token that workloads hold at once; a certificate by a new object
// with a new key, because a repeat on the same object would issue twice.
//
// An issuer is for tokens or for certificates, since the two differ in everything that a
// lost answer costs: a grant has no id and nobody can find it again, while a certificate
// is found by the name that was chosen for it here.
package venafi

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/claviger-dev/claviger/internal/material"
	"github.com/claviger-dev/claviger/internal/upstream"
)

// Member is the one-of member of issuers and credentials that selects this driver.
const Member = "venafi"

// What an issuer makes.
const (
	useTokens       = "Tokens"
	useCertificates = "Certificates"
)

// Ways to log in.
const (
	loginPassword    = "Password"
	loginCertificate = "Certificate"
	loginJWT         = "JWT"
)

const (
	// settle is how long after a lost answer a queue in front of the platform may still
	// deliver the call.
	settle = 60 * time.Second
	// verifyTimeout is longer than the platform's pool remembers sessions.
	verifyTimeout = 10 * time.Minute
	// defaultScope is what certificates need: to request and to revoke.
	defaultScope = "certificate:manage,revoke"
	// rootFolder is where all policy folders are.
	rootFolder = `\VED\Policy`
)

// Driver makes accounts on the platform.
type Driver struct{ now func() time.Time }

// NewDriver returns a driver that ages its tokens by the given clock.
func NewDriver(now func() time.Time) *Driver { return &Driver{now: now} }

// Member implements upstream.Driver.
func (d *Driver) Member() string { return Member }

// issuerParameters are the issuer's one-of member. Fields that only the API server
// needs are ignored here.
type issuerParameters struct {
	URL      string `json:"url"`
	Use      string `json:"use"`
	ClientID string `json:"clientID"`
	Scope    string `json:"scope"`
	Login    struct {
		Method string `json:"method"`
	} `json:"login"`
	CABundle        string `json:"caBundle"`
	IssuingCABundle string `json:"issuingCABundle"`
	PolicyDN        string `json:"policyDN"`
}

// credentialParameters are the credential's one-of member.
type credentialParameters struct {
	Token       *tokenParameters       `json:"token"`
	Certificate *certificateParameters `json:"certificate"`
}

// Open implements upstream.Driver.
func (d *Driver) Open(settings upstream.Settings) (upstream.Upstream, error) {
	var parameters issuerParameters
	if err := json.Unmarshal(settings.Parameters, &parameters); err != nil {
		return nil, upstream.Errorf(upstream.InvalidSpec, "the issuer's %s cannot be read as JSON", Member)
	}
	base, err := url.Parse(parameters.URL)
	if err != nil || base.Host == "" || base.Scheme != "https" && base.Scheme != "http" || base.User != nil || base.RawQuery != "" || base.Fragment != "" || strings.Trim(base.Path, "/") != "" {
		return nil, upstream.Errorf(upstream.InvalidSpec, "url must be https://host or https://host:port, without path, user, query or fragment")
	}
	base.Host, base.Path = strings.ToLower(base.Host), ""
	if parameters.ClientID == "" {
		return nil, upstream.Errorf(upstream.InvalidSpec, "clientID is missing; it names the API integration that the operator itself logs in to")
	}
	if parameters.Scope == "" {
		parameters.Scope = defaultScope
	}
	if len(settings.Transport.CABundle) == 0 {
		settings.Transport.CABundle = []byte(parameters.CABundle)
	}
	carrier, err := upstream.NewClient(settings.Transport)
	if err != nil {
		return nil, err
	}
	p := &platform{base: base, http: carrier, loginHTTP: carrier, now: d.now, method: parameters.Login.Method}
	if err := p.credentials(settings); err != nil {
		return nil, err
	}
	p.session = newSession(p, parameters.ClientID, parameters.Scope)
	switch parameters.Use {
	case useTokens:
		return &tokens{platform: p, realm: base.Host, refreshed: map[upstream.Mark]*refreshed{}}, nil
	case useCertificates:
		roots, err := bundle(parameters.IssuingCABundle)
		if err != nil {
			return nil, err
		}
		folder := parameters.PolicyDN
		if folder == "" {
			folder = rootFolder
		}
		return &certificates{platform: p, realm: base.Host, folder: folder, roots: roots}, nil
	}
	return nil, upstream.Errorf(upstream.InvalidSpec, "use must be %s or %s", useTokens, useCertificates)
}

// credentials picks the login's values. All keys that are missing are named, because a
// person wants to fix the Secret once.
func (p *platform) credentials(settings upstream.Settings) error {
	if p.method == loginJWT {
		if settings.Token == nil {
			return upstream.Errorf(upstream.InvalidSpec, "login.serviceAccountRef is missing; a login by %s needs it", loginJWT)
		}
		p.token = settings.Token
		return nil
	}
	keys := map[string][]string{loginPassword: {"username", "password"}, loginCertificate: {"tls.crt", "tls.key"}}[p.method]
	if keys == nil {
		return upstream.Errorf(upstream.InvalidSpec, "login.method must be %s, %s or %s", loginPassword, loginCertificate, loginJWT)
	}
	missing := slices.DeleteFunc(slices.Clone(keys), func(key string) bool { return !settings.Login[key].Empty() })
	if len(missing) > 0 {
		return upstream.Errorf(upstream.InvalidSpec, "the login Secret lacks %s; a login by %s needs the keys %s",
			strings.Join(missing, ", "), p.method, strings.Join(keys, ", "))
	}
	p.login = settings.Login
	if p.method != loginCertificate {
		return nil
	}
	// What the library says of a pair that does not fit may quote the key.
	pair, err := tls.X509KeyPair([]byte(settings.Login["tls.crt"].Reveal()), []byte(settings.Login["tls.key"].Reveal()))
	if err != nil {
		return upstream.Errorf(upstream.InvalidSpec, "tls.crt and tls.key of the login Secret are no certificate with its key, both in PEM")
	}
	settings.Transport.ClientCertificate = &pair
	p.loginHTTP, err = upstream.NewClient(settings.Transport)
	return err
}

// bundle reads the roots that issued certificates must chain to; nil if none are named.
func bundle(text string) (*x509.CertPool, error) {
	if text == "" {
		return nil, nil
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(text)) {
		return nil, upstream.Errorf(upstream.InvalidSpec, "issuingCABundle holds no certificate in PEM")
	}
	return pool, nil
}

// parse reads the credential's member and checks that it asks for what the issuer makes.
func parse(raw json.RawMessage, use string) (credentialParameters, error) {
	var parameters credentialParameters
	if err := json.Unmarshal(raw, &parameters); err != nil {
		return parameters, upstream.Errorf(upstream.InvalidSpec, "the credential's %s cannot be read as JSON", Member)
	}
	if use == useTokens && parameters.Token == nil || use == useCertificates && parameters.Certificate == nil {
		return parameters, upstream.Errorf(upstream.InvalidSpec, "the issuer makes %s and the credential asks for something else", use)
	}
	return parameters, nil
}

// isMark checks the shape of a mark.
func isMark(m upstream.Mark) bool {
	return len(m) == 32 && strings.Trim(string(m), "0123456789abcdef") == ""
}

// given reports whether a caller is still there: a method that makes no call must not
// succeed for one who has gone.
func given(err error) error {
	if err == nil {
		return nil
	}
	return &upstream.Error{Class: upstream.Retryable, Message: "given up before it began", Err: err}
}

// hidden are secrets that no message may quote.
func hidden(secrets ...material.Secret) []material.Secret { return secrets }
