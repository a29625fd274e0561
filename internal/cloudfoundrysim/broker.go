package cloudfoundrysim

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/claviger-dev/claviger/internal/simkit"
)

// Offerings.
const (
	offeringRuntime = "it-rt"
	offeringXSUAA   = "xsuaa"
)

// keyTypeExternal is the key-type of a certificate that the caller brings.
const keyTypeExternal = "certificate_external"

// issuing is the intermediate authority that signs the certificates of keys.
type issuing struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newIssuing(root *simkit.Authority) (*issuing, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := root.Sign(&x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "Simulated Client CA"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 1),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}, &key.PublicKey)
	if err != nil {
		return nil, err
	}
	certificate, err := x509.ParseCertificate(der)
	return &issuing{certificate, key}, err
}

// credential is what the broker made of a key.
type credential struct {
	document           json.RawMessage
	clientID           string
	secret, thumbprint [32]byte
	certified          bool
	external           bool // the certificate was brought along
	serial             string
	// fingerprint tells keys of one client id apart, for the ledger.
	fingerprint string
	until       time.Time // of the certificate
}

// keyParameters are all that the two offerings know.
type keyParameters struct {
	KeyType        string `json:"key-type"`
	Validity       *int   `json:"validity"`
	KeyLength      int    `json:"key-length"`
	External       string `json:"X.509"`
	CredentialType string `json:"credential-type"`
	X509           *struct {
		KeyLength    int    `json:"key-length"`
		Validity     *int   `json:"validity"`
		ValidityType string `json:"validity-type"`
	} `json:"x509"`
}

// make makes the credential of a key, or refuses.
func (s *Sim) make(k *key) (*credential, error) {
	var p keyParameters
	if len(k.parameters) > 0 {
		if err := simkit.Strict(k.parameters, &p); err != nil {
			return nil, errors.New("the parameters are not understood")
		}
	}
	c := &credential{}
	document := map[string]any{"url": s.api.URL()}
	days, bits, most, err := certificateOf(k.instance.given.Offering, p)
	if err != nil {
		return nil, err
	}
	if k.instance.given.Offering == offeringXSUAA {
		c.clientID = "sb-" + k.instance.guid + "!t99"
		document["url"], document["clientid"], document["xsappname"] = s.tokens.URL(), c.clientID, k.instance.name+"!t99"
	} else {
		c.clientID = "sb-" + newGUID() + "!b41|it!b99"
		document["clientid"], document["tokenurl"], document["createdate"] = c.clientID, s.tokens.URL()+"/oauth/token", s.clock.Now().UTC().Format("2006-01-02T15:04:05.000Z")
	}
	switch {
	case p.KeyType == keyTypeExternal:
		if err := s.take(c, document, p.External); err != nil {
			return nil, err
		}
	case days == 0:
		secret := newSecret()
		c.secret, document["clientsecret"] = sha256.Sum256([]byte(secret)), secret
	case days > most || days < 1 || bits != 2048 && bits != 4096 && (bits != 8192 || k.instance.given.Offering != offeringXSUAA):
		return nil, fmt.Errorf("validity must be 1 to %d days and key-length 2048 or 4096, of XSUAA also 8192", most)
	default:
		if err := s.certify(c, document, k, days, bits); err != nil {
			return nil, err
		}
	}
	whole := any(document)
	if k.instance.given.Offering == offeringRuntime {
		whole = map[string]any{"oauth": document}
	}
	proof := c.secret
	if c.certified {
		proof = c.thumbprint
	}
	c.fingerprint = hex.EncodeToString(proof[:8])
	c.document, err = json.Marshal(whole)
	return c, err
}

// certificateOf says what certificate is asked for; no days mean a secret.
func certificateOf(offering string, p keyParameters) (days, bits, most int, err error) {
	if offering == offeringXSUAA {
		switch {
		case p.KeyType != "":
			return 0, 0, 0, errors.New("key-type is not known")
		case p.CredentialType == "" || p.CredentialType == "binding-secret":
			return 0, 0, 0, nil
		case p.CredentialType != "x509" || p.X509 == nil:
			return 0, 0, 0, errors.New("credential-type must be binding-secret or x509")
		}
		days, bits = 7, 2048
		if p.X509.Validity != nil {
			days = *p.X509.Validity
		}
		if p.X509.KeyLength != 0 {
			bits = p.X509.KeyLength
		}
		return days, bits, 30, nil
	}
	switch p.KeyType {
	case "":
		return 0, 0, 0, nil
	case "certificate":
		days, bits = 365, 2048
		if p.Validity != nil {
			days = *p.Validity
		}
		if p.KeyLength != 0 {
			bits = p.KeyLength
		}
		return max(days, -1), bits, 365, nil
	case keyTypeExternal:
		return 0, 0, 0, nil
	}
	return 0, 0, 0, errors.New("key-type must be certificate or certificate_external")
}

// certify makes a key pair and a chain. Certificates are dated by the machine's clock,
// because clients check them with theirs.
func (s *Sim) certify(c *credential, document map[string]any, k *key, days, bits int) error {
	private, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		return err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return err
	}
	c.until = time.Now().AddDate(0, 0, days).Truncate(time.Second)
	leaf := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: c.clientID, Organization: []string{"SAP SE"}, Country: []string{"DE"}},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: c.until,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, s.issuing.certificate, &private.PublicKey, s.issuing.key)
	if err != nil {
		return err
	}
	c.certified, c.thumbprint, c.serial = true, sha256.Sum256(der), hex.EncodeToString(serial.Bytes())
	chain := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	chain = append(chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.issuing.certificate.Raw})...)
	document["certificate"] = string(chain)
	document["key"] = string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(private)}))
	if k.instance.given.Offering == offeringXSUAA {
		document["certurl"], document["credential-type"] = s.tokens.URL(), "x509"
		return nil
	}
	document["certificatedetails"] = map[string]string{
		"issuerdn": "CN=Simulated Client CA", "subjectdn": "CN=" + c.clientID,
		"validuntil": c.until.UTC().Format("2006-01-02T15:04:05.000Z"), "serialnumber": "0x" + strings.ToUpper(c.serial),
	}
	return nil
}

// take makes a key of somebody else's certificate: one of them, for clients, by an authority
// that is trusted, and never used before.
func (s *Sim) take(c *credential, document map[string]any, text string) error {
	block, rest := pem.Decode([]byte(text))
	if block == nil || block.Type != "CERTIFICATE" || strings.TrimSpace(string(rest)) != "" {
		return errors.New("X.509 must be one certificate, PEM")
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil || !slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageClientAuth) {
		return errors.New("X.509 must be a certificate for the authentication of clients")
	}
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM([]byte(s.world.clientCAs))
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: trusted, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
		return errors.New("X.509 is not signed by an authority of the trust list")
	}
	c.certified, c.external = true, true
	c.thumbprint, c.serial, c.until = sha256.Sum256(block.Bytes), hex.EncodeToString(leaf.SerialNumber.Bytes()), leaf.NotAfter
	if s.world.taken[c.thumbprint] {
		return errors.New("X.509 is in use already")
	}
	s.world.taken[c.thumbprint] = true
	document["certificate"] = text
	document["certificatedetails"] = map[string]string{
		"issuerdn": leaf.Issuer.String(), "subjectdn": leaf.Subject.String(),
		"validuntil": leaf.NotAfter.UTC().Format("2006-01-02T15:04:05.000Z"), "serialnumber": "0x" + strings.ToUpper(c.serial),
	}
	return nil
}

// newSecret has the form of the platform's, characters that forms encode included.
func newSecret() string {
	var raw [32]byte
	_, _ = rand.Read(raw[:]) // never fails
	return newGUID() + "$+" + simkit.Marker + base64.StdEncoding.EncodeToString(raw[:])
}

// clientToken serves the token endpoint of keys: Basic, which is not decoded unless a
// header says so, the form, or a certificate.
func (s *Sim) clientToken(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(io.LimitReader(r.Body, maxBody))
	form, _ := url.ParseQuery(string(body)) // what is readable is kept
	id, secret := form.Get("client_id"), form.Get("client_secret")
	if user, password, basic := r.BasicAuth(); basic {
		id, secret = user, password
		if r.Header.Get("X-CF-ENCODED-CREDENTIALS") == "true" {
			id, _ = url.QueryUnescape(id)
			secret, _ = url.QueryUnescape(secret)
		}
	}
	call := simkit.Call{Operation: opClientToken, By: simkit.Actor{Login: id, Agent: r.UserAgent()}, Attrs: map[string]string{"clientId": id}}
	if r.Method != http.MethodPost || r.URL.Path != "/oauth/token" || form.Get("grant_type") != "client_credentials" {
		s.stage.Reply(w, call, simkit.JSON(http.StatusBadRequest, map[string]string{"error": "unsupported_grant_type"}))
		return
	}
	s.stage.Play(w, r, call, func() simkit.Answer {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.settle()
		var presented [32]byte
		certified := r.TLS != nil && len(r.TLS.PeerCertificates) > 0
		if certified {
			presented = sha256.Sum256(r.TLS.PeerCertificates[0].Raw)
		}
		k, words := s.admit(id, secret, certified && secret == "", presented)
		if k == nil {
			return simkit.JSON(http.StatusUnauthorized, map[string]string{"error": "unauthorized", "error_description": words})
		}
		value := simkit.NewSecret(36)
		s.world.access[value] = &access{key: k, until: s.clock.Now().Add(12 * time.Hour)}
		s.firstUse(k)
		return simkit.JSON(http.StatusOK, map[string]any{"access_token": value, "token_type": "bearer", "expires_in": 43199, "scope": "", "jti": newGUID()})
	})
}

// admit finds the key that a client proves to have. The lock is held.
func (s *Sim) admit(id, secret string, certified bool, thumbprint [32]byte) (found *key, words string) {
	words = "Client with requested ID does not exist"
	now := s.clock.Now()
	for _, k := range s.world.keys {
		if k.made == nil || k.made.clientID != id || now.Before(k.usable) {
			continue
		}
		words = "Bad credentials"
		switch {
		case certified && k.made.certified && k.made.thumbprint == thumbprint && time.Now().Before(k.made.until):
			return k, ""
		case !certified && !k.made.certified && k.made.secret == sha256.Sum256([]byte(secret)):
			return k, ""
		}
	}
	return nil, words
}

// firstUse lets the villain strike. The lock is held.
func (s *Sim) firstUse(k *key) {
	if k.used {
		return
	}
	k.used = true
	if !s.behaves().RevokePredecessor {
		return
	}
	for _, other := range slices.Clone(s.world.keys) {
		if other.instance == k.instance && other.created.Before(k.created) {
			s.drop(other, simkit.Actor{Login: "villain"}, "villain")
		}
	}
}

// call serves the API that keys are for. Tokens are not asked back for: one that is out
// stays good when its key is deleted.
func (s *Sim) call(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, io.LimitReader(r.Body, maxBody))
	call := simkit.Call{Operation: opAPICall, By: simkit.Actor{Agent: r.UserAgent()}}
	s.stage.Play(w, r, call, func() simkit.Answer {
		s.mu.Lock()
		defer s.mu.Unlock()
		t := s.world.access[strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")]
		if t == nil || s.clock.Now().After(t.until) {
			return simkit.JSON(http.StatusUnauthorized, map[string]string{"error": "invalid_token"})
		}
		const logs, role = "/api/v1/MessageProcessingLogs", "MonitoringDataRead"
		switch {
		case r.URL.Path != logs:
			return simkit.JSON(http.StatusNotFound, map[string]string{"error": "no such resource"})
		case !slices.Contains(t.key.instance.roles(s.clock.Now()), role):
			return simkit.JSON(http.StatusForbidden, map[string]string{"error": "Forbidden"})
		}
		return simkit.JSON(http.StatusOK, map[string]any{"d": map[string]any{"results": []any{}}})
	})
}

// Accepts reports whether a workload with this secret would get a token once the news
// of every change has spread.
func (s *Sim) Accepts(clientID, secret string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
	for _, k := range s.world.keys {
		if k.made != nil && !k.made.certified && k.made.clientID == clientID && k.made.secret == sha256.Sum256([]byte(secret)) {
			return true
		}
	}
	return false
}

// AcceptsCertificate is Accepts for a certificate, DER.
func (s *Sim) AcceptsCertificate(der []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
	for _, k := range s.world.keys {
		if k.made != nil && k.made.certified && k.made.thumbprint == sha256.Sum256(der) {
			return true
		}
	}
	return false
}
