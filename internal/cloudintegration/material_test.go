package cloudintegration_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"math/big"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"software.sslmate.com/src/go-pkcs12"

	"github.com/claviger-dev/claviger/internal/cloudintegration"
	sim "github.com/claviger-dev/claviger/internal/cloudintegrationsim"
	"github.com/claviger-dev/claviger/internal/material"
	"github.com/claviger-dev/claviger/internal/simkit"
	"github.com/claviger-dev/claviger/internal/upstream"
)

const deliveredSecret = "canary-delivered-secret"

// opened is a login on the simulator.
func opened(t *testing.T, s *sim.Sim) *cloudintegration.Tenant {
	t.Helper()
	tenant, err := cloudintegration.Open(cloudintegration.Settings{
		URL: s.URL(), TokenURL: s.TokenURL(), Login: login(), Now: time.Now,
		Transport: upstream.TransportOptions{CABundle: s.CA(), AllowLoopback: true, Timeout: 5 * time.Second, PerSecond: 1e6, Burst: 1e6},
	})
	if err != nil {
		t.Fatal(err)
	}
	return tenant
}

// oauth2 is what is delivered in these tests.
func oauth2(note string) cloudintegration.Credential {
	return cloudintegration.Credential{
		Form: cloudintegration.OAuth2ClientCredentials, Alias: "ACME'S API",
		Fields: map[string]string{"Description": note, "TokenServiceUrl": "https://login.example/token", "ClientId": "client-" + note, "ClientAuthentication": "header"},
		Secret: material.New(deliveredSecret + note),
	}
}

func read(t *testing.T, tenant *cloudintegration.Tenant, form cloudintegration.Form, alias string) cloudintegration.Entry {
	t.Helper()
	e, err := tenant.ReadEntry(t.Context(), form, alias)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestACredentialIsMadeReplacedAndTakenAway(t *testing.T) {
	for name, change := range map[string]func(*sim.Tenant, *sim.Behaviour){
		"as usual":                            nil,
		"a missing entry is 404":              func(_ *sim.Tenant, b *sim.Behaviour) { b.MissingIs = 404 },
		"the tenant asks for a session token": func(_ *sim.Tenant, b *sim.Behaviour) { b.AsksForToken = true },
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, change)
			tenant := opened(t, s)
			form, alias := cloudintegration.OAuth2ClientCredentials, "ACME'S API"
			missing := read(t, tenant, form, alias)
			if diff := cmp.Diff(cloudintegration.Entry{}, missing); diff != "" {
				t.Error(diff)
			}
			if err := tenant.WriteCredential(t.Context(), oauth2("one"), missing); err != nil {
				t.Fatal(err)
			}
			first := read(t, tenant, form, alias)
			want := cloudintegration.Entry{Exists: true, Status: "DEPLOYED", Fields: map[string]string{
				"Name": alias, "Description": "one", "TokenServiceUrl": "https://login.example/token", "ClientId": "client-one",
				"ClientAuthentication": "header", "Scope": "", "ScopeContentType": "urlencoded", "Resource": "", "Audience": "",
			}}
			if diff := cmp.Diff(want, first); diff != "" {
				t.Error(diff)
			}
			// What is not said stays as it was read, since a PUT replaces the whole entry.
			first.Fields["Scope"] = "orders.read"
			if err := tenant.WriteCredential(t.Context(), oauth2("two"), first); err != nil {
				t.Fatal(err)
			}
			want.Fields["Description"], want.Fields["ClientId"], want.Fields["Scope"] = "two", "client-two", "orders.read"
			if diff := cmp.Diff(want, read(t, tenant, form, alias)); diff != "" {
				t.Error(diff)
			}
			if held, _ := s.Entry(sim.OAuth2, alias); held.Secret != deliveredSecret+"two" {
				t.Errorf("the tenant holds another secret")
			}
			for range 2 { // the second finds nothing, which is what was wanted
				if err := tenant.RemoveEntry(t.Context(), form, alias); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(cloudintegration.Entry{}, read(t, tenant, form, alias)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAUserCredentialIsWrittenWithAllItsProperties(t *testing.T) {
	s := start(t, nil)
	tenant := opened(t, s)
	c := cloudintegration.Credential{
		Form: cloudintegration.UserCredentials, Alias: "USER", Fields: map[string]string{"Description": "one", "User": "u"}, Secret: material.New(deliveredSecret),
	}
	if err := tenant.WriteCredential(t.Context(), c, cloudintegration.Entry{}); err != nil {
		t.Fatal(err)
	}
	want := cloudintegration.Entry{Exists: true, Status: "DEPLOYED", Fields: map[string]string{"Name": "USER", "Description": "one", "User": "u", "Kind": "default", "CompanyId": ""}}
	if diff := cmp.Diff(want, read(t, tenant, cloudintegration.UserCredentials, "USER")); diff != "" {
		t.Error(diff)
	}
}

// TestTheVerbFollowsWhatTheTenantSays: what was read may be wrong a moment later.
func TestTheVerbFollowsWhatTheTenantSays(t *testing.T) {
	for _, c := range []struct {
		name   string
		read   cloudintegration.Entry
		exists bool
		want   map[string]int
	}{
		{"it vanished meanwhile", cloudintegration.Entry{Exists: true}, false, map[string]int{"oauth2-credential.create": 1, "oauth2-credential.update": 1}},
		{"it is there", cloudintegration.Entry{Exists: true}, true, map[string]int{"oauth2-credential.create": 0, "oauth2-credential.update": 1}},
		{"it is not", cloudintegration.Entry{}, false, map[string]int{"oauth2-credential.create": 1, "oauth2-credential.update": 0}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := start(t, func(w *sim.Tenant, _ *sim.Behaviour) {
				if c.exists {
					w.Entries = []sim.Entry{{Set: sim.OAuth2, Alias: "ACME'S API", Fields: map[string]string{"Description": "old"}}}
				}
			})
			if err := opened(t, s).WriteCredential(t.Context(), oauth2("one"), c.read); err != nil {
				t.Fatal(err)
			}
			for operation, want := range c.want {
				if got := s.Calls().Total(operation); got != want {
					t.Errorf("%d calls of %s, want %d", got, operation, want)
				}
			}
			if held, _ := s.Entry(sim.OAuth2, "ACME'S API"); held.Secret != deliveredSecret+"one" {
				t.Error("the tenant does not hold the secret")
			}
		})
	}
}

// What was not there when it was read, and is now, may be somebody else's.
func TestWhatAppearedMeanwhileIsNotWrittenOver(t *testing.T) {
	s := start(t, func(w *sim.Tenant, _ *sim.Behaviour) {
		w.Entries = []sim.Entry{{Set: sim.OAuth2, Alias: "ACME'S API", Fields: map[string]string{"Description": "somebody's"}, Secret: "theirs"}}
	})
	err := opened(t, s).WriteCredential(t.Context(), oauth2("one"), cloudintegration.Entry{})
	if upstream.ClassOf(err) != upstream.Conflict {
		t.Errorf("it ended with %v", err)
	}
	if held, _ := s.Entry(sim.OAuth2, "ACME'S API"); held.Secret != "theirs" || held.Fields["Description"] != "somebody's" {
		t.Error("it was written over")
	}
	if got := s.Calls().Total("oauth2-credential.update"); got != 0 {
		t.Errorf("%d calls to write over it", got)
	}
}

func TestCustomParametersAreSeen(t *testing.T) {
	s := start(t, func(w *sim.Tenant, _ *sim.Behaviour) {
		w.Entries = []sim.Entry{{Set: sim.OAuth2, Alias: "API2", Fields: map[string]string{"Description": ""}, CustomParameters: map[string]string{"k": "v", "l": "w"}}}
	})
	if e := read(t, opened(t, s), cloudintegration.OAuth2ClientCredentials, "API2"); e.CustomParameters != 2 {
		t.Errorf("%d custom parameters were seen, want 2", e.CustomParameters)
	}
}

// keyFile is a key pair as PKCS#12, and its fingerprint.
func keyFile(t *testing.T, password string) (file []byte, fingerprint string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "acme"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	if file, err = pkcs12.Modern2023.Encode(key, certificate, nil, password); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(der)
	return file, hex.EncodeToString(sum[:])
}

func TestAKeyPairIsProvenByItsFingerprint(t *testing.T) {
	s := start(t, nil)
	tenant := opened(t, s)
	password := material.New("canary-p12-password")
	for range 2 {
		file, fingerprint := keyFile(t, password.Reveal())
		before := read(t, tenant, cloudintegration.KeyPair, "acme client")
		if err := tenant.WriteKeyPair(t.Context(), "acme client", material.New(string(file)), password, before); err != nil {
			t.Fatal(err)
		}
		after := read(t, tenant, cloudintegration.KeyPair, "acme client")
		want := cloudintegration.Entry{Exists: true, Fingerprint: fingerprint}
		if diff := cmp.Diff(want, after, cmpopts.IgnoreFields(cloudintegration.Entry{}, "Fields", "ModifiedAt")); diff != "" {
			t.Error(diff)
		}
		if age := time.Since(after.ModifiedAt); age < 0 || age > time.Minute {
			t.Errorf("it was modified at %s", after.ModifiedAt)
		}
	}
	if err := tenant.RemoveEntry(t.Context(), cloudintegration.KeyPair, "acme client"); err != nil {
		t.Fatal(err)
	}
	if _, there := s.Entry(sim.Keys, "acme client"); there {
		t.Error("the key pair is still there")
	}
}

func TestWhatTheTenantRefusesIsClassified(t *testing.T) {
	writes := func(t *testing.T, tenant *cloudintegration.Tenant) error {
		return tenant.WriteCredential(t.Context(), oauth2("one"), cloudintegration.Entry{})
	}
	imports := func(t *testing.T, tenant *cloudintegration.Tenant) error {
		file, _ := keyFile(t, "canary-p12-password")
		return tenant.WriteKeyPair(t.Context(), "acme client", material.New(string(file)), material.New("canary-p12-password"), cloudintegration.Entry{})
	}
	roles := func(roles ...sim.Role) func(*sim.Tenant, *sim.Behaviour) {
		return func(w *sim.Tenant, _ *sim.Behaviour) { w.Clients[0].Roles = roles }
	}
	fault := func(f simkit.Fault) func(*testing.T, *sim.Sim) {
		return func(t *testing.T, s *sim.Sim) {
			if _, err := s.Faults().Add(f); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, c := range []struct {
		name   string
		change func(*sim.Tenant, *sim.Behaviour)
		before func(*testing.T, *sim.Sim)
		try    func(*testing.T, *cloudintegration.Tenant) error
		class  upstream.ErrorClass
		words  string
	}{
		{"a client that may only read names the missing role", roles(sim.MonitoringDataRead), nil, writes, upstream.Forbidden, "CredentialsEdit"},
		{"one that may write credentials may not write keys", roles(sim.MonitoringDataRead, sim.CredentialsEdit), nil, imports, upstream.Forbidden, "SecurityMaterialEdit"},
		{"one that may not even read says so", roles(sim.CredentialsEdit), nil, func(t *testing.T, tenant *cloudintegration.Tenant) error {
			_, err := tenant.ReadEntry(t.Context(), cloudintegration.UserCredentials, "IDLE")
			return err
		}, upstream.Forbidden, "MonitoringDataRead"},
		{"a property that is refused is said in the tenant's words", nil, nil, func(t *testing.T, tenant *cloudintegration.Tenant) error {
			c := oauth2("one")
			c.Secret = material.Secret{}
			return tenant.WriteCredential(t.Context(), c, cloudintegration.Entry{})
		}, upstream.InvalidSpec, "Property 'ClientSecret' cannot be empty"},
		{"a kind that the tenant does not know is its failure", nil, nil, func(t *testing.T, tenant *cloudintegration.Tenant) error {
			return tenant.WriteCredential(t.Context(), cloudintegration.Credential{
				Form: cloudintegration.UserCredentials, Alias: "USER", Fields: map[string]string{"Kind": "Default"}, Secret: material.New(deliveredSecret),
			}, cloudintegration.Entry{})
		}, upstream.Retryable, "500"},
		{"a locked keystore is tried again", func(_ *sim.Tenant, b *sim.Behaviour) { b.KeystoreLocked = true }, nil, imports, upstream.Retryable, "keystore"},
		{"a full keystore is a limit", func(_ *sim.Tenant, b *sim.Behaviour) { b.KeystoreFull = true }, nil, imports, upstream.QuotaExceeded, "full"},
		{"what is no PKCS#12 is refused", nil, nil, func(t *testing.T, tenant *cloudintegration.Tenant) error {
			return tenant.WriteKeyPair(t.Context(), "acme client", material.New("no file"), material.New("p"), cloudintegration.Entry{})
		}, upstream.InvalidSpec, "PKCS#12"},
		{"what is too large is not sent", nil, nil, func(t *testing.T, tenant *cloudintegration.Tenant) error {
			return tenant.WriteKeyPair(t.Context(), "acme client", material.New(strings.Repeat("x", 30000)), material.New("p"), cloudintegration.Entry{})
		}, upstream.InvalidSpec, "larger than the tenant takes"},
		{"an alias of the other set is taken", nil, nil, func(t *testing.T, tenant *cloudintegration.Tenant) error {
			c := oauth2("one")
			c.Alias = "IDLE"
			return tenant.WriteCredential(t.Context(), c, cloudintegration.Entry{})
		}, upstream.Conflict, "409"},
		{"a 403 that is a page of a proxy names the role all the same", nil, fault(simkit.Fault{Operation: "oauth2-credential.create", Action: simkit.HTML, Status: http.StatusForbidden}), writes, upstream.Forbidden, "CredentialsEdit"},
		{"a cut line proves nothing", nil, fault(simkit.Fault{Operation: "oauth2-credential.create", Point: simkit.AfterCommit, Action: simkit.Cut}), writes, upstream.Retryable, "no whole answer came"},
		{"a throttled call waits", func(_ *sim.Tenant, b *sim.Behaviour) {
			b.SecurityLimit, b.StateRetryAfter = simkit.Limit{PerSecond: 0.5, Burst: 1}, true
		}, nil, func(t *testing.T, tenant *cloudintegration.Tenant) error {
			if err := tenant.WriteCredential(t.Context(), oauth2("one"), cloudintegration.Entry{}); err != nil {
				return err
			}
			_, err := tenant.ReadEntry(t.Context(), cloudintegration.OAuth2ClientCredentials, "ACME'S API")
			return err
		}, upstream.Throttled, "429"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := start(t, c.change)
			if c.before != nil {
				c.before(t, s)
			}
			err := c.try(t, opened(t, s))
			if err == nil || upstream.ClassOf(err) != c.class || !strings.Contains(err.Error(), c.words) {
				t.Errorf("it ended with %v, want %s with %q", err, c.class, c.words)
			}
			if err != nil && strings.Contains(err.Error(), "canary") {
				t.Errorf("a secret is in %v", err)
			}
		})
	}
}

// TestASessionThatRanOutIsBegunAnew: the token against forgery is good for its session alone.
func TestASessionThatRanOutIsBegunAnew(t *testing.T) {
	clock := simkit.NewManual(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	behaviour := sim.Usual()
	behaviour.AsksForToken, behaviour.TokenLife = true, simkit.Duration(24*time.Hour)
	s := sim.New(sim.Options{Tenant: world(), Behaviour: &behaviour, Clock: clock})
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	tenant := opened(t, s)
	for i, want := range []int{1, 1, 2} {
		if i == 2 {
			clock.Advance(time.Hour)
		}
		if err := tenant.WriteCredential(t.Context(), oauth2("one"), cloudintegration.Entry{Exists: i > 0}); err != nil {
			t.Fatal(err)
		}
		if got := s.Calls().Total("csrf"); got != want {
			t.Errorf("after write %d a token was fetched %d times, want %d", i+1, got, want)
		}
	}
}
