package cloudintegration_test

import (
	"crypto/x509"
	"encoding/pem"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger-dev/claviger/internal/cloudintegration"
	"github.com/claviger-dev/claviger/internal/cloudintegration/whereused"
	sim "github.com/claviger-dev/claviger/internal/cloudintegrationsim"
	"github.com/claviger-dev/claviger/internal/material"
	"github.com/claviger-dev/claviger/internal/simkit"
	"github.com/claviger-dev/claviger/internal/upstream"
)

const secret = "canary-tenant-secret"

func world() sim.Tenant {
	return sim.Tenant{
		Clients: []sim.Client{{ID: "sb-reader!b1|it!b2", Secret: secret}},
		Flows: []sim.Flow{
			{
				ID: "Orders", Package: "Sales", Version: "1.0.3", Deployed: "1.0.3",
				Steps:    []map[string]string{{"ComponentType": "HTTP", "credentialName": "{{Recv Cred}}"}, {"privateKeyAlias": "acme_client"}},
				Defaults: map[string]string{"Recv Cred": "DEFAULT"}, Configured: map[string]string{"Recv Cred": "ACME_ORDERS"},
			},
			{
				ID: "Mails", Package: "Sales", Version: "1.0.1", Deployed: "1.0.0", Steps: []map[string]string{{"user": "{{u}}"}},
				Defaults: map[string]string{"u": "MAIL"}, Labels: map[string]string{"u": "Credential Name"},
			},
			{ID: "Secret's", Package: "Finance", Version: "1.0.0", Deployed: "1.0.0", Protected: true, Steps: []map[string]string{{"credentialName": "HIDDEN"}}},
			{ID: "Bought", Package: "Finance", Version: "2.0.0", Deployed: "2.0.0", ConfigureOnly: true, Defaults: map[string]string{"Receiver Credential": "BOUGHT", "host": "h"}},
			{ID: "Draft", Package: "Finance", Version: "Active", Steps: []map[string]string{{"credentialName": "NOT_DEPLOYED"}}},
			{ID: "Mapping", Package: "Finance", Version: "1.0.0", Deployed: "1.0.0", Type: "MESSAGE_MAPPING"},
		},
		UserCredentials: []string{"ACME_ORDERS", "IDLE"}, OAuth2Credentials: []string{"API"}, KeyPairs: []string{"acme_client"},
	}
}

func start(t *testing.T, change func(*sim.Tenant, *sim.Behaviour)) *sim.Sim {
	t.Helper()
	tenant, behaviour := world(), sim.Usual()
	if change != nil {
		change(&tenant, &behaviour)
	}
	s := sim.New(sim.Options{Tenant: tenant, Behaviour: &behaviour})
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func login() map[string]material.Secret {
	return map[string]material.Secret{"client_id": material.New("sb-reader!b1|it!b2"), "client_secret": material.New(secret)}
}

func scanner(t *testing.T, s *sim.Sim) *cloudintegration.Scanner {
	t.Helper()
	tenant, err := cloudintegration.Open(cloudintegration.Settings{
		URL: s.URL(), TokenURL: s.TokenURL(), Login: login(), Now: time.Now,
		Transport: upstream.TransportOptions{CABundle: s.CA(), AllowLoopback: true, Timeout: 5 * time.Second, PerSecond: 1e6, Burst: 1e6},
	})
	if err != nil {
		t.Fatal(err)
	}
	return cloudintegration.NewScanner(tenant)
}

// scan drives a scan to its end. Throttled steps wait as they are told.
func scan(t *testing.T, s *cloudintegration.Scanner) cloudintegration.Result {
	t.Helper()
	for range 500 {
		result, done, err := s.Step(t.Context())
		switch {
		case done:
			return result
		case upstream.ClassOf(err) == upstream.Throttled && err != nil:
			timer := time.NewTimer(upstream.AfterOf(err))
			<-timer.C
		case err != nil:
			t.Fatal(err)
		}
	}
	t.Fatal("the scan does not end")
	return cloudintegration.Result{}
}

var orders = []whereused.Reference{
	{Flow: "Orders", Alias: "ACME_ORDERS", Class: whereused.ViaParameter, Field: "credentialName"},
	{Flow: "Orders", Alias: "acme_client", Class: whereused.Exact, Field: "privateKeyAlias"},
}

func TestAScanFindsWhatDeployedFlowsUse(t *testing.T) {
	got := scan(t, scanner(t, start(t, nil)))
	want := cloudintegration.Result{
		Flows: 4,
		References: append([]whereused.Reference{
			{Flow: "Bought", Alias: "BOUGHT", Class: whereused.ViaParameter, Field: "Receiver Credential"},
			{Flow: "Mails", Alias: "MAIL", Class: whereused.ViaParameter, Field: "user"},
		}, append(orders, whereused.Reference{Flow: "Secret's", Alias: "HIDDEN", Class: whereused.Exact, Field: "credentialName"})...),
		Unreadable: []cloudintegration.Unreadable{{Flow: "Bought", Why: "its design is refused for download (403), so only its parameters were looked at"}},
		Differs:    []string{"Mails"},
		Existing:   []string{"ACME_ORDERS", "API", "IDLE", "acme_client"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// What an access policy hides is said to be unknown, however the tenant hides it.
func TestHiddenFlowsMakeAScanIncomplete(t *testing.T) {
	for how, why := range map[string]string{"missing": "no design of it is visible", "forbidden": "AccessAllAccessPoliciesArtifacts"} {
		s := start(t, func(tenant *sim.Tenant, b *sim.Behaviour) {
			b.HiddenAre = how
			tenant.Clients[0].Roles = []sim.Role{sim.MonitoringDataRead, sim.WorkspacePackagesRead}
			tenant.Flows = tenant.Flows[:3]
		})
		got := scan(t, scanner(t, s))
		if got.Complete() || len(got.Unreadable) != 1 || got.Unreadable[0].Flow != "Secret's" || !strings.Contains(got.Unreadable[0].Why, why) {
			t.Errorf("%s: %+v", how, got.Unreadable)
		}
	}
}

func TestAScanReadsPageAfterPage(t *testing.T) {
	for name, change := range map[string]func(*sim.Tenant, *sim.Behaviour){
		"pages of two":            func(_ *sim.Tenant, b *sim.Behaviour) { b.MaxPage = 2 },
		"pages without any count": func(_ *sim.Tenant, b *sim.Behaviour) { b.MaxPage, b.NoCount = 2, true },
	} {
		if got := scan(t, scanner(t, start(t, change))); got.Flows != 4 || len(got.References) != 5 {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// A second scan reads lists, and of the flows only what changed or was not known.
func TestWhatDidNotChangeIsNotReadAgain(t *testing.T) {
	s := start(t, nil)
	one := scanner(t, s)
	first := scan(t, one)
	before := s.Calls().Total("design.download")
	if diff := cmp.Diff(first, scan(t, one)); diff != "" {
		t.Error(diff)
	}
	if again := s.Calls().Total("design.download") - before; again != 1 { // Bought, which could not be read
		t.Errorf("%d designs were downloaded again", again)
	}
	err := s.Change(func(tenant *sim.Tenant, _ *sim.Behaviour) {
		tenant.Flows[0].Version, tenant.Flows[0].Deployed = "1.0.4", "1.0.4"
		tenant.Flows[0].Configured = map[string]string{"Recv Cred": "OTHER"}
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := scan(t, one); got.References[2].Alias != "OTHER" {
		t.Errorf("%+v", got.References)
	}
}

// A scan that is disturbed goes on where it was, and finds the same.
func TestADisturbedScanGoesOn(t *testing.T) {
	s := start(t, nil)
	want := scan(t, scanner(t, s))
	for _, fault := range []simkit.Fault{
		{Action: simkit.Cut},
		{Action: simkit.HTML},
		{Action: simkit.HTML, Status: 500},
		{Action: simkit.Refuse, Status: 503},
		{Action: simkit.Refuse, Status: 401},
		{Action: simkit.Truncate, Point: simkit.AfterCommit},
	} {
		for _, operation := range []string{"token", "runtime.list", "package.list", "design.list", "configuration.list", "user-credential.list", "keystore.list"} {
			fault.Operation = operation
			if _, err := s.Faults().Add(fault); err != nil {
				t.Fatal(err)
			}
			one, failures := scanner(t, s), 0
			for {
				got, done, err := one.Step(t.Context())
				if upstream.ClassOf(err) == upstream.Throttled && err != nil {
					timer := time.NewTimer(upstream.AfterOf(err))
					<-timer.C
					continue
				}
				if err != nil {
					if failures++; failures > 3 {
						t.Fatalf("%s %s: %v", operation, fault.Action, err)
					}
					if strings.Contains(err.Error(), secret) {
						t.Fatal("the message holds the secret")
					}
					continue
				}
				if done {
					if diff := cmp.Diff(want, got); diff != "" {
						t.Errorf("%s %s: %s", operation, fault.Action, diff)
					}
					break
				}
			}
			s.Faults().Remove("")
		}
	}
}

func TestADesignThatNeverComesStopsNoScan(t *testing.T) {
	s := start(t, nil)
	if _, err := s.Faults().Add(simkit.Fault{Operation: "design.download", Match: map[string]string{"of": "Orders*"}, Action: simkit.Cut, Count: -1}); err != nil {
		t.Fatal(err)
	}
	one, failures := scanner(t, s), 0
	for {
		got, done, err := one.Step(t.Context())
		if err != nil {
			failures++
		}
		if failures > 10 {
			t.Fatal("the scan does not end")
		}
		if done {
			if len(got.Unreadable) != 2 || got.Unreadable[1].Flow != "Orders" {
				t.Errorf("%+v", got.Unreadable)
			}
			return
		}
	}
}

// certificateLogin is a login with a certificate of the simulator's authority.
func certificateLogin(t *testing.T, s *sim.Sim, subject string) map[string]material.Secret {
	t.Helper()
	pair, err := s.Authority().Client(subject)
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	encoded := func(kind string, der []byte) material.Secret {
		return material.New(string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})))
	}
	return map[string]material.Secret{
		"client_id": material.New("sb-cert"), "tls.crt": encoded("CERTIFICATE", pair.Certificate[0]), "tls.key": encoded("PRIVATE KEY", key),
	}
}

func TestAServiceKeyWithACertificateLogsIn(t *testing.T) {
	s := start(t, func(tenant *sim.Tenant, _ *sim.Behaviour) {
		tenant.Clients = append(tenant.Clients, sim.Client{ID: "sb-cert", Subject: "reader"})
	})
	open := func(login map[string]material.Secret) (*cloudintegration.Tenant, error) {
		return cloudintegration.Open(cloudintegration.Settings{
			URL: s.URL(), TokenURL: s.TokenURL(), Login: login, Now: time.Now,
			Transport: upstream.TransportOptions{CABundle: s.CA(), AllowLoopback: true, Timeout: 5 * time.Second, PerSecond: 1e6, Burst: 1e6},
		})
	}
	tenant, err := open(certificateLogin(t, s, "reader"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(scan(t, scanner(t, s)), scan(t, cloudintegration.NewScanner(tenant))); diff != "" {
		t.Error("it reads otherwise than a key with a secret does:", diff)
	}
	other, err := open(certificateLogin(t, s, "somebody"))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := cloudintegration.NewScanner(other).Step(t.Context()); upstream.ClassOf(err) != upstream.LoginFailed {
		t.Errorf("another's certificate: %v, want LoginFailed", err)
	}
}

func TestALoginNamesOneWayToLogIn(t *testing.T) {
	s := start(t, nil)
	whole := certificateLogin(t, s, "reader")
	for when, change := range map[string]func(map[string]material.Secret){
		"a certificate without its key":          func(l map[string]material.Secret) { delete(l, "tls.key") },
		"a certificate and a secret":             func(l map[string]material.Secret) { l["client_secret"] = material.New(secret) },
		"no client":                              func(l map[string]material.Secret) { delete(l, "client_id") },
		"nothing at all":                         func(l map[string]material.Secret) { clear(l) },
		"a key that belongs to another":          func(l map[string]material.Secret) { l["tls.key"] = certificateLogin(t, s, "reader")["tls.key"] },
		"a certificate that is no PEM":           func(l map[string]material.Secret) { l["tls.crt"] = material.New("MII") },
		"a client id of blanks, and a good pair": func(l map[string]material.Secret) { l["client_id"] = material.New(" ") },
	} {
		login := maps.Clone(whole)
		change(login)
		_, err := cloudintegration.Open(cloudintegration.Settings{URL: s.URL(), TokenURL: s.TokenURL(), Login: login, Now: time.Now})
		if upstream.ClassOf(err) != upstream.InvalidSpec {
			t.Errorf("%s: %v, want InvalidSpec", when, err)
		}
	}
}
