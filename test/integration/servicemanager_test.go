package integration

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/cloudfoundrysim"
	"github.com/claviger-dev/claviger/internal/servicemanagersim"
	"github.com/claviger-dev/claviger/internal/simkit"
)

// smTenant is a tenant whose credential billing is a binding of a subaccount of its own. It
// asks and shows as a tenant of Cloud Foundry does: that is what moving means.
type smTenant struct {
	*cfTenant
	manager *servicemanagersim.Sim
}

const smSubaccount = "0c1d9a6e-7f7b-4c58-9a55-2d1c1a3a4a10"

// smSetting is what a test changes before all begins.
type smSetting struct {
	behaviour servicemanagersim.Behaviour
	brokers   cloudfoundrysim.Behaviour
	seed      servicemanagersim.Seed
	issuer    *v1alpha1.SAPServiceManagerIssuer
	// client logs in; its Secret holds the whole document if that is asked for.
	client string
	whole  bool
	// login changes the Secret at last.
	login func(map[string]string)
}

func newSMTenant(t *testing.T, change func(*smSetting)) *smTenant {
	t.Helper()
	setting := smSetting{
		behaviour: servicemanagersim.Usual(), brokers: cloudfoundrysim.Usual(), client: "sb-rotator",
		issuer: &v1alpha1.SAPServiceManagerIssuer{
			SubaccountID: smSubaccount, Login: v1alpha1.SAPServiceManagerLogin{SecretRef: v1alpha1.SecretReference{Name: "sm-login"}},
		},
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
	setting.seed = servicemanagersim.Seed{
		ClientCAs: string(authority.PEM()),
		Clients: []servicemanagersim.Client{
			{ID: "sb-rotator", Secret: secret("rotator's client secret"), Subaccount: smSubaccount, Plan: servicemanagersim.PlanAdmin},
			{ID: "sb-rotator-mtls", Subaccount: smSubaccount, Plan: servicemanagersim.PlanAdmin},
		},
		Instances: []servicemanagersim.Instance{
			{Subaccount: smSubaccount, Name: "cpi-api", Offering: "it-rt", Plan: "api", Roles: []string{"MonitoringDataRead"}},
			{Subaccount: smSubaccount, Name: "uaa", Offering: "xsuaa", Plan: "application"},
		},
	}
	if change != nil {
		change(&setting)
	}
	x := &smTenant{cfTenant: &cfTenant{tenant: newTenant(t, shared)}}
	x.manager = servicemanagersim.New(servicemanagersim.Options{Seed: setting.seed, Behaviour: &setting.behaviour, Brokers: &setting.brokers})
	if err := x.manager.Start(); err != nil {
		t.Fatal(err)
	}
	closeLater(x.manager)
	x.region = x.manager.Landscape()
	data, err := x.manager.Document(setting.client)
	if err != nil {
		t.Fatal(err)
	}
	canaries.Add("rotator's private key", data["key"])
	if setting.whole {
		document, err := json.Marshal(data)
		if err != nil {
			t.Fatal(err)
		}
		data = map[string]string{"credentials.json": string(document)}
	}
	data["signer.crt"], data["signer.key"] = string(authority.PEM()), string(key)
	if setting.login != nil {
		setting.login(data)
	}
	x.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: x.ns, Name: "sm-login"}, StringData: data})
	setting.issuer.URL, setting.issuer.CABundle = x.manager.URL(), string(x.manager.CA())
	x.create(&v1alpha1.CredentialIssuer{ // of this name, so that awaitIssuer knows it
		ObjectMeta: metav1.ObjectMeta{Namespace: x.ns, Name: "apic"}, Spec: v1alpha1.CredentialIssuerSpec{SAPServiceManager: setting.issuer},
	})
	x.create(x.policy("Unlimited", "2s"))
	return x
}

func (x *smTenant) bindings() keyCount { return count(x.manager.Ledger()) }

func (x *smTenant) awaitBindings(within time.Duration, want keyCount) {
	x.t.Helper()
	x.eventually(within, func() string {
		if got := x.bindings(); got != want {
			return fmt.Sprintf("the subaccount counts %+v bindings, want %+v; %s", got, want, x.told("billing"))
		}
		return ""
	})
}

// Each way to log in and to be answered leads to a key that is issued, rotated, retired and
// ended with its credential.
func TestServiceManagerBindings(t *testing.T) {
	t.Parallel()
	probe := &v1alpha1.CloudFoundryProbe{Path: logsProbe}
	for _, test := range []struct {
		name   string
		change func(*smSetting)
		wanted v1alpha1.CloudFoundryCredential
		days   int // that it is valid; 0 is for ever
	}{
		{"a secret at once, by a secret", nil, v1alpha1.CloudFoundryCredential{Instance: "cpi-api", Probe: probe}, 0},
		{
			"a certificate by operations that are listed late, by a certificate", func(s *smSetting) {
				s.client, s.whole = "sb-rotator-mtls", true
				s.behaviour.Async, s.behaviour.LateRows, s.behaviour.BrokerTime = true, true, simkit.Duration(500*time.Millisecond)
			},
			v1alpha1.CloudFoundryCredential{Instance: "cpi-api", KeyType: "Certificate", ValidityDays: 90, KeyLength: 2048, Probe: probe},
			90,
		},
		{
			"a certificate that is signed here, by operations", func(s *smSetting) {
				s.whole = true
				s.behaviour.Async, s.behaviour.BrokerTime = true, simkit.Duration(500*time.Millisecond)
			},
			v1alpha1.CloudFoundryCredential{Instance: "cpi-api", KeyType: "ExternalCertificate", ValidityDays: 30, Probe: probe},
			30,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			x := newSMTenant(t, test.change)
			c := x.ask(test.wanted)
			x.awaitReady("billing")
			x.awaitBindings(soon, keyCount{Issued: 1, Live: 1})
			first := x.shown()
			x.requireExpiry(test.days)

			x.request(time.Now())
			x.awaitVersion(soon, 2)
			x.awaitBindings(soon, keyCount{Issued: 2, Live: 1})
			if x.shown() == first {
				t.Error("the rotation published the same key")
			}
			x.delete(c)
			x.awaitGone(soon, c)
			if got, want := x.bindings(), (keyCount{Issued: 2}); got != want {
				t.Errorf("left behind: %+v, want %+v", got, want)
			}
		})
	}
}

// A creation whose answer is lost leaves one binding. (That of a deletion is the suite's.)
func TestServiceManagerLostAnswersLeaveNothingBehind(t *testing.T) {
	t.Parallel()
	x := newSMTenant(t, nil)
	if _, err := x.manager.Faults().Add(simkit.Fault{Operation: "binding.create", Action: simkit.Cut, Point: simkit.AfterCommit}); err != nil {
		t.Fatal(err)
	}
	c := x.ask(v1alpha1.CloudFoundryCredential{Instance: "cpi-api", Probe: &v1alpha1.CloudFoundryProbe{Path: logsProbe}})
	x.awaitReady("billing")
	x.awaitBindings(soon, keyCount{Issued: 1, Live: 1})
	x.shown()
	x.delete(c)
	x.awaitGone(5*time.Minute, c)
	if got, want := x.bindings(), (keyCount{Issued: 1}); got != want {
		t.Errorf("left behind: %+v, want %+v", got, want)
	}
}

// A binding that could not be made is told and ended, and the key is made as soon as the broker
// can. SAP's own operator leaves such bindings behind, with the name that its next try needs.
func TestServiceManagerBindingsThatFailedAreEnded(t *testing.T) {
	t.Parallel()
	x := newSMTenant(t, func(s *smSetting) {
		s.behaviour.Broker, s.behaviour.Async, s.behaviour.BrokerTime = "fails", true, simkit.Duration(200*time.Millisecond)
	})
	c := x.ask(v1alpha1.CloudFoundryCredential{Instance: "cpi-api"})
	x.eventually(soon, func() string {
		if said := describe(x.get("billing").Status.Conditions); !strings.Contains(said, "the broker has a fault") {
			return "nobody tells of the fault: " + said
		}
		return ""
	})
	if err := x.manager.Adjust(func(b *servicemanagersim.Behaviour) { b.Broker = "makes" }); err != nil {
		t.Fatal(err)
	}
	x.request(time.Now())
	x.eventually(5*time.Minute, func() string {
		if x.target("billing-api") == nil {
			return describe(x.get("billing").Status.Conditions)
		}
		return ""
	})
	x.shown()
	x.delete(c)
	x.awaitGone(5*time.Minute, c)
	if got := x.bindings(); got.Live != 0 || got.Issued < 2 {
		t.Errorf("%+v", got)
	}
}

// What is wrong stands in a condition, with what to do about it.
func TestServiceManagerConditionsSayWhatToDo(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		change func(*smSetting)
		wanted v1alpha1.CloudFoundryCredential
		words  []string
	}{
		{
			"an instance that is not there", nil,
			v1alpha1.CloudFoundryCredential{Instance: "cpi-apo"},
			[]string{`there is no service instance "cpi-apo" in the subaccount`, "plan subaccount-admin"},
		},
		{
			"a plan that only reads", func(s *smSetting) { s.seed.Clients[0].Plan = servicemanagersim.PlanAudit },
			v1alpha1.CloudFoundryCredential{Instance: "cpi-api"},
			[]string{"answered 403", "subaccount.service_binding.manage", "plan subaccount-admin"},
		},
		{
			"a wrong secret", func(s *smSetting) { s.login = func(data map[string]string) { data["clientsecret"] = "another" } },
			v1alpha1.CloudFoundryCredential{Instance: "cpi-api"},
			[]string{"the login Secret must hold a binding of Service Manager that still exists"},
		},
		{
			"a login without its server", func(s *smSetting) { s.login = func(data map[string]string) { delete(data, "url") } },
			v1alpha1.CloudFoundryCredential{Instance: "cpi-api"},
			[]string{"the login Secret lacks the address of its token server"},
		},
		{
			"a login of another subaccount", func(s *smSetting) { s.issuer.SubaccountID = "another" },
			v1alpha1.CloudFoundryCredential{Instance: "cpi-api"},
			[]string{`the login is of subaccount "` + smSubaccount + `" and the issuer names "another"`},
		},
		{
			"an instance that is to be made", nil,
			v1alpha1.CloudFoundryCredential{Managed: &v1alpha1.ManagedInstance{Offering: "it-rt", Plan: "api"}},
			[]string{"issuer apic is an account that makes no service instances: name one by instance or instanceGUID"},
		},
		{
			"a broker whose keys are used up", func(s *smSetting) { s.brokers.KeysPerInstance = 1 },
			v1alpha1.CloudFoundryCredential{Instance: "uaa"},
			[]string{"the service broker did not make the binding", "quota reached"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			x := newSMTenant(t, test.change)
			if _, err := x.manager.AddBinding(smSubaccount, "uaa", "somebody-elses"); err != nil {
				t.Fatal(err)
			}
			c := x.ask(test.wanted)
			x.awaitWords(test.words...)
			if x.target("billing-api") != nil {
				t.Error("something was published")
			}
			x.delete(c)
			x.awaitGone(5*time.Minute, c)
			if live := x.bindings().Live; live != 1 {
				t.Errorf("%d bindings are left, want only somebody else's", live)
			}
		})
	}
}
