package integration

import (
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/cloudfoundrysim"
	"github.com/claviger-dev/claviger/internal/simkit"
)

// cfTenant is a tenant whose credential billing is a service key of a Cloud Foundry region
// of its own.
type cfTenant struct {
	*tenant
	region *cloudfoundrysim.Sim
}

// logsProbe is a call that needs the role of the instance cpi-api.
const logsProbe = "/api/v1/MessageProcessingLogs?$top=1"

func newCFTenant(t *testing.T, login string, change func(*cloudfoundrysim.Behaviour, *cloudfoundrysim.Seed)) *cfTenant {
	t.Helper()
	x := &cfTenant{tenant: newTenant(t, shared)}
	data := map[string]string{
		"username": "rotator", "password": secret("rotator's password"), "assertion": secret("rotator's assertion"),
		"client_id": "rotator-client", "client_secret": secret("rotator's client secret"),
	}
	authority, err := simkit.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	key, err := authority.KeyPEM()
	if err != nil {
		t.Fatal(err)
	}
	canaries.Add("the authority's key", string(key))
	data["signer.crt"], data["signer.key"] = string(authority.PEM()), string(key)
	seed := cloudfoundrysim.Seed{
		ClientCAs: data["signer.crt"],
		Users: []cloudfoundrysim.User{{
			Name: "rotator", Password: data["password"], Assertion: data["assertion"], Origin: "my-idp", Spaces: []string{"acme/dev"},
		}},
		Clients: []cloudfoundrysim.Client{{ID: "rotator-client", Secret: data["client_secret"], Spaces: []string{"acme/dev"}}},
		Instances: []cloudfoundrysim.Instance{
			{Org: "acme", Space: "dev", Name: "cpi-api", Offering: "it-rt", Plan: "api", Roles: []string{"MonitoringDataRead"}},
			{Org: "acme", Space: "dev", Name: "uaa", Offering: "xsuaa", Plan: "application"},
		},
	}
	behaviour := cloudfoundrysim.Usual()
	if change != nil {
		change(&behaviour, &seed)
	}
	x.region = cloudfoundrysim.New(cloudfoundrysim.Options{Seed: seed, Behaviour: &behaviour})
	if err := x.region.Start(); err != nil {
		t.Fatal(err)
	}
	closeLater(x.region)
	x.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: x.ns, Name: "cf-login"}, StringData: data})
	issuer := &v1alpha1.CloudFoundryIssuer{
		URL: x.region.URL(), Organization: "acme", Space: "dev", CABundle: string(x.region.CA()),
		Login: v1alpha1.CloudFoundryLogin{Type: login, SecretRef: v1alpha1.SecretReference{Name: "cf-login"}},
	}
	if login != "ClientCredentials" {
		issuer.Login.Origin = "my-idp"
	}
	x.create(&v1alpha1.CredentialIssuer{ // of this name, so that awaitIssuer knows it
		ObjectMeta: metav1.ObjectMeta{Namespace: x.ns, Name: "apic"}, Spec: v1alpha1.CredentialIssuerSpec{CloudFoundry: issuer},
	})
	x.create(x.policy("Unlimited", "2s"))
	return x
}

// ask makes the credential billing. Its Secret holds whatever the key type has.
func (x *cfTenant) ask(wanted v1alpha1.CloudFoundryCredential) *v1alpha1.APIClientCredential {
	x.t.Helper()
	data := map[string]string{"client_id": "{{ .clientID }}", "token_url": "{{ .tokenURL }}", "key.json": "{{ .document }}"}
	kind := corev1.SecretType("")
	if strings.HasSuffix(wanted.KeyType, "Certificate") {
		kind = corev1.SecretTypeTLS
		data["tls.crt"], data["tls.key"] = "{{ .certificate }}{{ .chain }}", "{{ .privateKey }}"
	} else {
		data["client_secret"] = "{{ .clientSecret }}"
	}
	c := x.credential(func(c *v1alpha1.APIClientCredential) {
		c.Spec.IBMAPIConnect, c.Spec.CloudFoundry = nil, &wanted
		c.Spec.Secret.Type, c.Spec.Secret.Template = kind, &v1alpha1.SecretTemplate{Data: data}
	})
	x.create(c)
	return c
}

// keyCount is how many keys were ever made, and what became of them.
type keyCount struct{ Issued, Live, Duplicates int }

func (x *cfTenant) counted() keyCount { return count(x.region.Ledger()) }

func count(ledger *simkit.Ledger) keyCount {
	duplicates := 0
	for _, entry := range ledger.Entries(0) {
		if entry.Action == simkit.EventDuplicate {
			duplicates++
		}
	}
	return keyCount{len(ledger.Issued()), len(ledger.Live()), duplicates}
}

func (x *cfTenant) awaitKeys(within time.Duration, want keyCount) {
	x.t.Helper()
	x.eventually(within, func() string {
		if got := x.counted(); got != want {
			return fmt.Sprintf("the region counts %+v keys, want %+v; %s", got, want, x.told("billing"))
		}
		return ""
	})
}

// shown is the published key, once it is proven that a workload can use it: what it shows
// of the secret or the certificate.
func (x *cfTenant) shown() string {
	x.t.Helper()
	target := x.target("billing-api")
	canaries.Add("a key's document", string(target.Data["key.json"]))
	var document map[string]any
	if err := json.Unmarshal(target.Data["key.json"], &document); err != nil || len(document) == 0 {
		x.t.Errorf("the document is no JSON object: %v", err)
	}
	if got := string(target.Data["token_url"]); got != x.region.TokenURL() {
		x.t.Errorf("the token endpoint is %q, want %q", got, x.region.TokenURL())
	}
	if target.Type != corev1.SecretTypeTLS {
		if !x.region.Accepts(string(target.Data["client_id"]), string(target.Data["client_secret"])) {
			x.t.Error("the published secret is not accepted")
		}
		return string(target.Data["client_secret"])
	}
	canaries.Add("a private key", string(target.Data["tls.key"]))
	if _, err := tls.X509KeyPair(target.Data["tls.crt"], target.Data["tls.key"]); err != nil {
		x.t.Error(err)
	}
	leaf, rest := pem.Decode(target.Data["tls.crt"])
	if leaf == nil || len(rest) == 0 || !x.region.AcceptsCertificate(leaf.Bytes) {
		x.t.Error("the published certificate is not accepted, or has no chain")
	}
	return string(target.Data["tls.crt"])
}

// Each type of key is issued, rotated, retired and ended with its credential.
func TestCloudFoundryKeysOfEachType(t *testing.T) {
	t.Parallel()
	probe := &v1alpha1.CloudFoundryProbe{Path: logsProbe}
	for _, test := range []struct {
		name, login string
		wanted      v1alpha1.CloudFoundryCredential
		days        int // that it is valid; 0 is for ever
	}{
		{"a secret", "Password", v1alpha1.CloudFoundryCredential{Instance: "cpi-api", Probe: probe}, 0},
		{"a certificate", "JWTBearer", v1alpha1.CloudFoundryCredential{Instance: "cpi-api", KeyType: "Certificate", ValidityDays: 90, KeyLength: 2048, Probe: probe}, 90},
		{"a certificate that is signed here", "Password", v1alpha1.CloudFoundryCredential{Instance: "cpi-api", KeyType: "ExternalCertificate", ValidityDays: 30, Probe: probe}, 30},
		{"a secret of XSUAA", "ClientCredentials", v1alpha1.CloudFoundryCredential{Instance: "uaa", KeyType: "XSUAABindingSecret"}, 0},
		{"a certificate of XSUAA", "Password", v1alpha1.CloudFoundryCredential{Instance: "uaa", KeyType: "XSUAACertificate", ValidityDays: 7}, 7},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			// The broker takes its time, and so is asked again and again.
			x := newCFTenant(t, test.login, func(b *cloudfoundrysim.Behaviour, _ *cloudfoundrysim.Seed) {
				b.Async, b.BrokerTime = true, simkit.Duration(500*time.Millisecond)
			})
			c := x.ask(test.wanted)
			x.awaitReady("billing")
			x.awaitKeys(soon, keyCount{Issued: 1, Live: 1})
			first := x.shown()
			x.requireExpiry(test.days)

			x.request(time.Now())
			x.awaitVersion(soon, 2)
			x.awaitKeys(soon, keyCount{Issued: 2, Live: 1})
			if x.shown() == first {
				t.Error("the rotation published the same key")
			}
			x.delete(c)
			x.awaitGone(soon, c)
			if got, want := x.counted(), (keyCount{Issued: 2}); got != want {
				t.Errorf("left behind: %+v, want %+v", got, want)
			}
		})
	}
}

// requireExpiry checks that the status tells the end of a certificate.
func (x *cfTenant) requireExpiry(days int) {
	x.t.Helper()
	expires := x.get("billing").Status.Expires
	if days == 0 {
		if expires != "never" {
			x.t.Errorf("expires %q, want never", expires)
		}
		return
	}
	at, err := time.Parse(time.RFC3339, expires)
	if left := time.Until(at).Hours() / 24; err != nil || left < float64(days)-1 || left > float64(days)+1 {
		x.t.Errorf("expires %q, want in %d days: %v", expires, days, err)
	}
}

// A create call whose answer is lost makes one key, which is found again by its name, and
// is gone with its credential.
func TestCloudFoundryLostAnswersLeaveNothingBehind(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		fault simkit.Fault
	}{
		{"cut after the row was written", simkit.Fault{Action: simkit.Cut, Point: simkit.AfterCommit}},
		{"a page of the router after the row was written", simkit.Fault{Action: simkit.HTML, Status: 504, Point: simkit.AfterCommit}},
		{"cut before anything", simkit.Fault{Action: simkit.Cut}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			x := newCFTenant(t, "Password", nil)
			for _, operation := range []string{"binding.create", "binding.delete"} {
				test.fault.Operation = operation
				if _, err := x.region.Faults().Add(test.fault); err != nil {
					t.Fatal(err)
				}
			}
			c := x.ask(v1alpha1.CloudFoundryCredential{Instance: "cpi-api", Probe: &v1alpha1.CloudFoundryProbe{Path: logsProbe}})
			x.awaitReady("billing")
			x.shown()
			x.request(time.Now())
			x.awaitVersion(soon, 2)
			// A version whose answer was lost is over when no call for it can arrive any more.
			x.awaitKeys(5*time.Minute, keyCount{Issued: 2, Live: 1})
			x.shown()
			x.delete(c)
			x.awaitGone(5*time.Minute, c)
			if got, want := x.counted(), (keyCount{Issued: 2}); got != want {
				t.Errorf("left behind: %+v, want %+v", got, want)
			}
		})
	}
}

// What is wrong stands in a condition, with what to do about it.
func TestCloudFoundryConditionsSayWhatToDo(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		change func(*cloudfoundrysim.Behaviour, *cloudfoundrysim.Seed)
		wanted v1alpha1.CloudFoundryCredential
		words  []string
	}{
		{
			"an instance without the role that the probe needs", func(_ *cloudfoundrysim.Behaviour, s *cloudfoundrysim.Seed) { s.Instances[0].Roles = nil },
			v1alpha1.CloudFoundryCredential{Instance: "cpi-api", Probe: &v1alpha1.CloudFoundryProbe{Path: logsProbe}},
			[]string{"the service instance lacks the role that /api/v1/MessageProcessingLogs needs", "an hour"},
		},
		{
			"an instance that is not there", nil,
			v1alpha1.CloudFoundryCredential{Instance: "cpi-apo"},
			[]string{`there is no service instance "cpi-apo"`, "Space Developer"},
		},
		{
			"a broker whose keys are used up", func(b *cloudfoundrysim.Behaviour, _ *cloudfoundrysim.Seed) { b.KeysPerInstance = 1 },
			v1alpha1.CloudFoundryCredential{Instance: "uaa"},
			[]string{"the service broker did not make the key", "quota reached"},
		},
		{
			"a broker that knows nothing of such keys", nil,
			v1alpha1.CloudFoundryCredential{Instance: "uaa", KeyType: "Certificate"},
			[]string{"the service broker did not make the key", "key-type is not known"},
		},
		{
			"an authority that SAP does not trust", func(_ *cloudfoundrysim.Behaviour, s *cloudfoundrysim.Seed) { s.ClientCAs = "" },
			v1alpha1.CloudFoundryCredential{Instance: "cpi-api", KeyType: "ExternalCertificate"},
			[]string{"the service broker did not take the certificate", "not signed by an authority of the trust list"},
		},
		{
			"a user without a role in the space", func(_ *cloudfoundrysim.Behaviour, s *cloudfoundrysim.Seed) { s.Users[0].Spaces = nil },
			v1alpha1.CloudFoundryCredential{Instance: "cpi-api"},
			[]string{`there is no organization "acme"`, "the user needs the role Space Developer in the space"},
		},
		{
			"a wrong password", func(_ *cloudfoundrysim.Behaviour, s *cloudfoundrysim.Seed) { s.Users[0].Password = "another" },
			v1alpha1.CloudFoundryCredential{Instance: "cpi-api"},
			[]string{"check the login Secret and login.origin"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			x := newCFTenant(t, "Password", test.change)
			if _, err := x.region.AddKey("acme/dev/uaa", "somebody-elses"); err != nil {
				t.Fatal(err)
			}
			c := x.ask(test.wanted)
			x.awaitWords(test.words...)
			if x.target("billing-api") != nil {
				t.Error("something was published")
			}
			x.delete(c)
			x.awaitGone(5*time.Minute, c)
			if live := x.counted().Live; live != 1 {
				t.Errorf("%d keys are left, want only somebody else's", live)
			}
		})
	}
}
