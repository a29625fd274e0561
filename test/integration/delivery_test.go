package integration

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/cloudintegrationsim"
	"github.com/claviger-dev/claviger/internal/operatortest"
	"github.com/claviger-dev/claviger/internal/simkit"
	"github.com/claviger-dev/claviger/internal/venafisim"
)

const tokenService = "https://login.example/oauth/token"

// oauth2 delivers to an alias as OAuth2 client credentials.
func oauth2(alias string, kept time.Duration, changes ...func(*v1alpha1.Delivery)) v1alpha1.Delivery {
	d := v1alpha1.Delivery{
		TenantRef: v1alpha1.TenantReference{Name: "suite"}, Alias: alias, As: v1alpha1.DeliverOAuth2,
		OAuth2: &v1alpha1.OAuth2Delivery{TokenServiceURL: tokenService}, KeptFor: &metav1.Duration{Duration: kept},
	}
	for _, change := range changes {
		change(&d)
	}
	return d
}

// user delivers to an alias as user credentials.
func user(alias string, changes ...func(*v1alpha1.Delivery)) v1alpha1.Delivery {
	return oauth2(alias, 0, append([]func(*v1alpha1.Delivery){func(d *v1alpha1.Delivery) { d.As, d.OAuth2 = v1alpha1.DeliverUser, nil }}, changes...)...)
}

func delivers(deliveries ...v1alpha1.Delivery) func(*v1alpha1.APIClientCredential) {
	return func(c *v1alpha1.APIClientCredential) { c.Spec.Deliver = deliveries }
}

// letWrite gives the client roles beside those to read.
func (x *integration) letWrite(roles ...cloudintegrationsim.Role) {
	x.t.Helper()
	x.people(func(s *cloudintegrationsim.Tenant) {
		s.Clients[0].Roles = append([]cloudintegrationsim.Role{cloudintegrationsim.MonitoringDataRead, cloudintegrationsim.WorkspacePackagesRead}, roles...)
	})
}

// open makes the tenant's object and its login.
func (x *integration) open() {
	x.t.Helper()
	x.create(x.loginSecret(map[string]string{"client_id": "reader", "client_secret": x.secret}))
	x.create(x.object())
}

// awaitDelivered waits until an alias holds what the Secret of billing holds.
func (x *integration) awaitDelivered(set, alias string, version int64) cloudintegrationsim.Entry {
	x.t.Helper()
	var entry cloudintegrationsim.Entry
	x.eventually(soon, func() string {
		target := x.target("billing-api")
		if target == nil {
			return "there is no Secret"
		}
		entry, _ = x.suite.Entry(set, alias)
		for _, d := range x.now().Status.Deliveries {
			if d.Alias == alias && d.Current && d.Version == version && entry.Secret == string(target.Data["client_secret"]) {
				return ""
			}
		}
		return fmt.Sprintf("alias %s does not hold version %d: %+v", alias, version, x.now().Status.Deliveries)
	})
	return entry
}

// A rotated credential reaches the tenant, and the one before lives until no flow can go on with
// it.
func TestARotatedCredentialIsDelivered(t *testing.T) {
	t.Parallel()
	x := newIntegration(t)
	x.letWrite()
	x.open()
	x.ready(x.policy("Unlimited", "1s"), delivers(oauth2("ORDERS API", time.Hour)))
	x.await(soon, v1alpha1.ConditionDeliveryStalled, state{"True", v1alpha1.ReasonDeliveryPending}, "OAuth2ClientCredentials ORDERS API in suite", "the client needs the role CredentialsEdit")
	x.says(v1alpha1.ConditionAttention, v1alpha1.ReasonDeliveriesFailing, "not delivered: ORDERS API of billing", "CredentialsEdit")

	x.letWrite(cloudintegrationsim.CredentialsEdit)
	x.nudgeTenant()
	first := x.awaitDelivered(cloudintegrationsim.OAuth2, "ORDERS API", 1)
	target := x.target("billing-api")
	note, known := strings.CutPrefix(first.Fields["Description"], "claviger:")
	if !known || !strings.Contains(note, " v1 ") {
		t.Errorf("the note is %q", first.Fields["Description"])
	}
	delete(first.Fields, "Description")
	if diff := gocmp.Diff(map[string]string{
		"ClientId": string(target.Data["client_id"]), "TokenServiceUrl": tokenService, "ClientAuthentication": "body", "Scope": "", "ScopeContentType": "urlencoded", "Resource": "", "Audience": "",
	}, first.Fields); diff != "" {
		t.Error(diff)
	}
	x.await(soon, v1alpha1.ConditionDeliveryStalled, state{})

	x.request(time.Now())
	x.awaitVersion(soon, 2)
	x.awaitDelivered(cloudintegrationsim.OAuth2, "ORDERS API", 2)
	x.await(soon, v1alpha1.ConditionRotating, state{"True", v1alpha1.ReasonWaitingForDelivery}, "version 1 stays valid while these need it: OAuth2ClientCredentials ORDERS API in suite (until ")
	want := []v1alpha1.DeliveryStatus{{Alias: "ORDERS API", Credential: "billing", As: v1alpha1.DeliverOAuth2, Version: 2, Current: true}}
	if diff := gocmp.Diff(want, x.now().Status.Deliveries, cmpopts.IgnoreFields(v1alpha1.DeliveryStatus{}, "DeliveredAt")); diff != "" {
		t.Error(diff)
	}
	if live := x.live(); live != 2 {
		t.Errorf("%d versions live while flows may go on with the first, want 2", live)
	}
	x.change(delivers(oauth2("ORDERS API", 0)))
	x.awaitIdle(1)
	if live := x.live(); live != 1 {
		t.Errorf("%d versions live, want 1", live)
	}
	if !slices.Contains(x.reasons("CloudIntegrationTenant", "suite"), "Delivered") {
		t.Error("no event Delivered was written")
	}
	metrics, err := sharedOperator.Metrics(x.ctx)
	if err != nil {
		t.Fatal(err)
	}
	if line := fmt.Sprintf(`claviger_delivery_current{alias="ORDERS API",credential="billing",name="suite",namespace=%q} 1`, x.ns); !strings.Contains(metrics, line) {
		t.Errorf("the metrics lack %s", line)
	}

	// What people change there is put right.
	x.people(func(s *cloudintegrationsim.Tenant) { s.Entries = nil })
	x.nudgeTenant()
	x.awaitDelivered(cloudintegrationsim.OAuth2, "ORDERS API", 2)
}

// live counts what lives in API Connect.
func (x *integration) live() int {
	live := 0
	for _, r := range x.sim.Ledger().Issued() {
		if r.Live() {
			live++
		}
	}
	return live
}

// What is not ours is not written, and what a write would destroy neither.
func TestWhatIsNotOursInATenantIsLeftAlone(t *testing.T) {
	t.Parallel()
	x := newIntegration(t)
	x.letWrite(cloudintegrationsim.CredentialsEdit)
	x.people(func(s *cloudintegrationsim.Tenant) {
		s.Entries = []cloudintegrationsim.Entry{
			{Set: cloudintegrationsim.OAuth2, Alias: "CUSTOM", Fields: map[string]string{"Description": "by hand"}, CustomParameters: map[string]string{"resource": "r"}},
			{Set: cloudintegrationsim.OAuth2, Alias: "THEIRS", Fields: map[string]string{"Description": "by hand", "Scope": "orders.read", "ClientAuthentication": "header"}},
		}
	})
	x.open()
	adopting := func(d *v1alpha1.Delivery) { d.Adopt = true }
	x.ready(x.policy("Unlimited", "1s"), delivers(user("FOREIGN"), oauth2("CUSTOM", 0, adopting), oauth2("THEIRS", 0, adopting)))
	entry := x.awaitDelivered(cloudintegrationsim.OAuth2, "THEIRS", 1)
	if entry.Fields["Scope"] != "orders.read" || entry.Fields["ClientAuthentication"] != "header" {
		t.Errorf("what the spec does not say was changed: %v", entry.Fields)
	}
	x.await(soon, v1alpha1.ConditionDeliveryStalled, state{"True", v1alpha1.ReasonDeliveryPending},
		"UserCredentials FOREIGN in suite: the alias exists and is not this credential's", "OAuth2ClientCredentials CUSTOM in suite: the entry has 1 custom parameters")
	if custom, _ := x.suite.Entry(cloudintegrationsim.OAuth2, "CUSTOM"); len(custom.CustomParameters) != 1 || custom.Secret != "" {
		t.Errorf("the entry with custom parameters was written: %+v", custom)
	}
	if foreign, _ := x.suite.Entry(cloudintegrationsim.Users, "FOREIGN"); foreign.Secret != "" {
		t.Error("the entry of others was written")
	}
	x.change(delivers(user("FOREIGN", adopting), oauth2("THEIRS", 0, adopting)))
	taken := x.awaitDelivered(cloudintegrationsim.Users, "FOREIGN", 1)
	if taken.Fields["User"] != string(x.target("billing-api").Data["client_id"]) || taken.Fields["Kind"] != "default" {
		t.Errorf("the user credential is %v", taken.Fields)
	}
	x.await(soon, v1alpha1.ConditionDeliveryStalled, state{})

	// Two credentials would write one alias in turns.
	x.create(x.credential(delivers(oauth2("THEIRS", 0, adopting)), func(c *v1alpha1.APIClientCredential) { c.Name, c.Spec.Secret.Name = "younger", "younger" }))
	x.eventually(soon, func() string {
		return lacks(x.get("younger").Status.Conditions, v1alpha1.ConditionDeliveryStalled, state{"True", v1alpha1.ReasonDeliveryPending},
			[]string{"OAuth2ClientCredentials THEIRS in suite: APIClientCredential billing, which is older, is delivered to this alias"})
	})
	x.awaitDelivered(cloudintegrationsim.OAuth2, "THEIRS", 1)
}

// An answer that was lost after the tenant had accepted costs a look and no second write.
func TestALostAnswerOfATenantIsLookedUp(t *testing.T) {
	t.Parallel()
	x := newIntegration(t)
	x.letWrite(cloudintegrationsim.CredentialsEdit)
	if _, err := x.suite.Faults().Add(simkit.Fault{Operation: "oauth2-credential.create", Point: simkit.AfterCommit, Action: simkit.Cut}); err != nil {
		t.Fatal(err)
	}
	x.open()
	x.ready(nil, delivers(oauth2("ORDERS_API", 0)))
	x.awaitDelivered(cloudintegrationsim.OAuth2, "ORDERS_API", 1)
	if writes := x.suite.Calls().Total("oauth2-credential.create") + x.suite.Calls().Total("oauth2-credential.update"); writes != 1 {
		t.Errorf("%d writes, want 1", writes)
	}
}

// What the credential will never have is refused before anything is made; the token endpoint is
// the one that its upstream tells.
func TestAServiceKeyIsDelivered(t *testing.T) {
	t.Parallel()
	region := newCFTenant(t, "Password", nil)
	x := region.integration()
	x.letWrite(cloudintegrationsim.CredentialsEdit)
	x.open()
	c := x.credential(func(c *v1alpha1.APIClientCredential) {
		c.Spec.IBMAPIConnect, c.Spec.CloudFoundry = nil, &v1alpha1.CloudFoundryCredential{Instance: "cpi-api"}
		c.Spec.Secret.Template = &v1alpha1.SecretTemplate{Data: map[string]string{"client_id": "{{ .clientID }}", "client_secret": "{{ .clientSecret }}", "token_url": "{{ .tokenURL }}"}}
		c.Spec.Deliver = []v1alpha1.Delivery{{TenantRef: v1alpha1.TenantReference{Name: "suite"}, Alias: "LOGS", As: v1alpha1.DeliverKeyPair}}
	})
	x.create(c)
	x.await(soon, v1alpha1.ConditionReady, state{"False", v1alpha1.ReasonInvalidDelivery}, "this credential will have no certificate, which KeyPair of alias LOGS needs")
	if made := region.counted(); made != (keyCount{}) {
		t.Errorf("keys were made: %+v", made)
	}
	x.change(func(c *v1alpha1.APIClientCredential) { c.Spec.Deliver[0].As = v1alpha1.DeliverOAuth2 })
	entry := x.awaitDelivered(cloudintegrationsim.OAuth2, "LOGS", 1)
	target := x.target("billing-api")
	if entry.Fields["TokenServiceUrl"] != string(target.Data["token_url"]) || entry.Fields["ClientId"] != string(target.Data["client_id"]) {
		t.Errorf("what was delivered is %v", entry.Fields)
	}
}

// A key pair is proven by its fingerprint, under the same alias after each rotation.
func TestAKeyPairIsDelivered(t *testing.T) {
	t.Parallel()
	v := newVenafiTenant(t, "Certificates", nil)
	x := v.integration()
	x.letWrite(cloudintegrationsim.SecurityMaterialEdit)
	x.open()
	c := x.credential(func(c *v1alpha1.APIClientCredential) {
		wanted := wantedCertificate()
		c.Spec.IssuerRef.Name, c.Spec.IBMAPIConnect, c.Spec.Venafi = "tpp", nil, &wanted
		c.Spec.Secret.Type, c.Spec.Secret.Template = corev1.SecretTypeTLS, &v1alpha1.SecretTemplate{Preset: "TLS"}
		c.Spec.Deliver = []v1alpha1.Delivery{{TenantRef: v1alpha1.TenantReference{Name: "suite"}, Alias: "acme client", As: v1alpha1.DeliverKeyPair}}
	})
	x.create(c)
	delivered := func(version int64) {
		t.Helper()
		x.eventually(soon, func() string {
			entry, _ := x.suite.Entry(cloudintegrationsim.Keys, "acme client")
			target := x.target("billing-api")
			if target == nil || len(entry.Chain) == 0 {
				return "nothing is delivered"
			}
			block, _ := pem.Decode(target.Data["tls.crt"])
			want, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				t.Fatal(err)
			}
			status := x.now().Status.Deliveries
			if sha256.Sum256(entry.Chain[0].Raw) != sha256.Sum256(want.Raw) || len(status) != 1 || !status[0].Current || status[0].Version != version {
				return fmt.Sprintf("version %d is not delivered: %+v", version, status)
			}
			return ""
		})
	}
	delivered(1)
	x.request(time.Now())
	x.awaitVersion(soon, 2)
	delivered(2)
	x.await(soon, v1alpha1.ConditionRotating, state{"True", v1alpha1.ReasonWaitingForDelivery}, "KeyPair acme client in suite (until ")
	x.change(func(c *v1alpha1.APIClientCredential) { c.Spec.Deliver[0].KeptFor = &metav1.Duration{} })
	v.awaitCount("certificates", v.certificates, venafisim.Count{Issued: 2, Live: 1, Revoked: 1})
}

// A credential that flows use is not deleted under them, and leaves nothing dead behind.
func TestADeliveredCredentialIsWithdrawnBeforeItIsRevoked(t *testing.T) {
	t.Parallel()
	x := newIntegration(t)
	x.letWrite(cloudintegrationsim.CredentialsEdit)
	x.open()
	c := x.ready(x.policy("Unlimited", "1s"), delivers(user("ACME_ORDERS", func(d *v1alpha1.Delivery) { d.Adopt, d.Withdraw = true, v1alpha1.WithdrawDelete })))
	x.awaitDelivered(cloudintegrationsim.Users, "ACME_ORDERS", 1)
	x.says(v1alpha1.ConditionReady, v1alpha1.ReasonScanned)
	x.delete(c)
	x.await(soon, v1alpha1.ConditionReady, state{"False", v1alpha1.ReasonInUse}, "UserCredentials ACME_ORDERS in suite by Orders")
	if entry, _ := x.suite.Entry(cloudintegrationsim.Users, "ACME_ORDERS"); entry.Secret == "" || x.live() != 1 {
		t.Error("it was taken away from the flows that use it")
	}
	x.people(func(s *cloudintegrationsim.Tenant) { s.Flows = s.Flows[1:] })
	x.nudgeTenant()
	x.awaitGone(soon, c)
	if _, left := x.suite.Entry(cloudintegrationsim.Users, "ACME_ORDERS"); left || x.live() != 0 {
		t.Errorf("the entry is left: %t; %d versions live", left, x.live())
	}
}

// beginDelivery is a tenant that holds version 2, while flows may go on with version 1.
func beginDelivery(t *testing.T, world *operatortest.World) *integration {
	t.Helper()
	x := newTenant(t, world).integration()
	x.letWrite(cloudintegrationsim.CredentialsEdit)
	x.open()
	x.ready(x.policy("Unlimited", "1s"), delivers(oauth2("ORDERS_API", time.Hour)))
	x.awaitDelivered(cloudintegrationsim.OAuth2, "ORDERS_API", 1)
	x.request(time.Now())
	x.awaitVersion(soon, 2)
	x.awaitDelivered(cloudintegrationsim.OAuth2, "ORDERS_API", 2)
	x.says(v1alpha1.ConditionReady, v1alpha1.ReasonScanned)
	return x
}

// endDelivery: an operator that was started anew, and has lost the tenant's status, reads in the
// tenant what it holds and since when, and writes nothing there.
func (x *integration) endDelivery() {
	x.t.Helper()
	entry := x.awaitDelivered(cloudintegrationsim.OAuth2, "ORDERS_API", 2)
	at := x.now().Status.Deliveries[0].DeliveredAt
	if age := at.Sub(entry.DeployedAt); age < -2*time.Second || age > time.Minute+2*time.Second {
		x.t.Errorf("it was delivered at %s and is said to have been at %s", entry.DeployedAt, at)
	}
	x.await(soon, v1alpha1.ConditionRotating, state{"True", v1alpha1.ReasonWaitingForDelivery}, "OAuth2ClientCredentials ORDERS_API in suite (until ")
	if live := x.live(); live != 2 {
		x.t.Errorf("%d versions live, want 2", live)
	}
	if slices.Contains(x.reasons("APIClientCredential", "billing"), "DeliveryStalled") {
		x.t.Error("a start told of a trouble that was none")
	}
	if writes := x.suite.Calls().Total("oauth2-credential.create") + x.suite.Calls().Total("oauth2-credential.update"); writes != 2 {
		x.t.Errorf("%d writes for two versions", writes)
	}
	x.change(delivers(oauth2("ORDERS_API", 0)))
	x.eventually(2*time.Minute, func() string {
		if live := x.live(); live != 1 {
			return fmt.Sprintf("%d versions live, want 1", live)
		}
		return ""
	})
}
