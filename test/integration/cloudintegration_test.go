package integration

import (
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
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/cloudintegrationsim"
	"github.com/claviger-dev/claviger/internal/simkit"
)

// integration is a tenant of Cloud Integration beside the other upstream.
type integration struct {
	*tenant
	suite  *cloudintegrationsim.Sim
	secret string
}

func newIntegration(t *testing.T) *integration {
	t.Helper()
	return newTenant(t, shared).integration()
}

// integration begins a tenant of Cloud Integration beside what there is.
func (x *tenant) integration() *integration {
	t := x.t
	t.Helper()
	return beside(t, &integration{tenant: x, secret: secret("reader of the tenant")})
}

func beside(t testing.TB, x *integration) *integration {
	t.Helper()
	x.suite = cloudintegrationsim.New(cloudintegrationsim.Options{Tenant: cloudintegrationsim.Tenant{
		Clients: []cloudintegrationsim.Client{{ID: "reader", Secret: x.secret}},
		Flows: []cloudintegrationsim.Flow{
			{
				ID: "Orders", Package: "Sales", Version: "1.0.1", Deployed: "1.0.0", Steps: []map[string]string{{"credentialName": "{{Cred}}"}},
				Defaults: map[string]string{"Cred": "DEFAULT"}, Configured: map[string]string{"Cred": "ACME_ORDERS"},
			},
			{ID: "Mails", Package: "Sales", Version: "1.0.0", Deployed: "1.0.0", Steps: []map[string]string{{"credentialName": "FOREIGN"}, {"credentialName": "GONE"}}},
			{ID: "Secret", Package: "Sales", Version: "1.0.0", Deployed: "1.0.0", Protected: true, Steps: []map[string]string{{"credentialName": "HIDDEN"}}},
		},
		UserCredentials: []string{"ACME_ORDERS", "FOREIGN", "IDLE"},
	}})
	if err := x.suite.Start(); err != nil {
		t.Fatal(err)
	}
	closeLater(x.suite)
	// The client may not see what an access policy protects.
	x.people(func(s *cloudintegrationsim.Tenant) {
		s.Clients[0].Roles = []cloudintegrationsim.Role{cloudintegrationsim.MonitoringDataRead, cloudintegrationsim.WorkspacePackagesRead}
	})
	return x
}

// people change the tenant.
func (x *integration) people(change func(*cloudintegrationsim.Tenant)) {
	x.t.Helper()
	if err := x.suite.Change(func(s *cloudintegrationsim.Tenant, _ *cloudintegrationsim.Behaviour) { change(s) }); err != nil {
		x.t.Fatal(err)
	}
}

func (x *integration) loginSecret(data map[string]string) *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: x.ns, Name: "reader"}, StringData: data}
}

func (x *integration) object(aliases ...v1alpha1.ManagedAlias) *v1alpha1.CloudIntegrationTenant {
	return &v1alpha1.CloudIntegrationTenant{
		ObjectMeta: metav1.ObjectMeta{Namespace: x.ns, Name: "suite"},
		Spec: v1alpha1.CloudIntegrationTenantSpec{
			URL: x.suite.URL(), TokenURL: x.suite.TokenURL(), CABundle: string(x.suite.CA()), Aliases: aliases, RescanAfter: metav1.Duration{Duration: 6 * time.Hour},
			Login: v1alpha1.CloudIntegrationLogin{SecretRef: v1alpha1.SecretReference{Name: "reader"}},
		},
	}
}

// now is the tenant's object.
func (x *integration) now() *v1alpha1.CloudIntegrationTenant {
	x.t.Helper()
	o := &v1alpha1.CloudIntegrationTenant{}
	if err := x.world.Client.Get(x.ctx, x.key("suite"), o); err != nil {
		x.t.Fatal(err)
	}
	return o
}

// says waits for a reason of a condition.
func (x *integration) says(condition, reason string, words ...string) {
	x.t.Helper()
	x.eventually(soon, func() string {
		o := x.now()
		c := meta.FindStatusCondition(o.Status.Conditions, condition)
		if c == nil || c.Reason != reason || c.ObservedGeneration != o.Generation {
			return fmt.Sprintf("%s is %+v, want the reason %s", condition, c, reason)
		}
		for _, word := range words {
			if !strings.Contains(c.Message, word) {
				return fmt.Sprintf("%s says %q, want %q", condition, c.Message, word)
			}
		}
		return ""
	})
}

func TestATenantSaysWhichFlowsUseWhichAlias(t *testing.T) {
	t.Parallel()
	x := newIntegration(t)
	x.ready(x.policy("90d", "10d"))
	x.create(x.loginSecret(map[string]string{"client_id": "reader", "client_secret": x.secret}))
	x.create(x.object(v1alpha1.ManagedAlias{Name: "ACME_ORDERS", Credential: "billing"}, v1alpha1.ManagedAlias{Name: "IDLE"}))
	x.says(v1alpha1.ConditionReady, v1alpha1.ReasonScanned)

	condition := func(kind, reason, message string) metav1.Condition {
		return metav1.Condition{Type: kind, Status: metav1.ConditionTrue, Reason: reason, Message: message, ObservedGeneration: 1}
	}
	want := v1alpha1.CloudIntegrationTenantStatus{
		ObservedGeneration: 1,
		Conditions: []metav1.Condition{
			condition("Attention", "AliasesMissing", "used and not in the tenant: GONE; used and managed by nobody: FOREIGN; managed and no use was found: IDLE; "+
				"not everything could be read of 1 flows, so that no use was found proves nothing"),
			condition("Ready", "Scanned", "3 flows use 3 aliases."),
		},
		Counts: &v1alpha1.AliasCounts{Flows: 3, Used: 3, Unmanaged: 1, Missing: 1, Unused: 1, Incomplete: 1, Differing: 1},
		Aliases: []v1alpha1.AliasUse{
			{Name: "ACME_ORDERS", State: "Managed", Credential: "billing", FlowCount: 1, Flows: []string{"Orders"}},
			{Name: "FOREIGN", State: "Unmanaged", FlowCount: 1, Flows: []string{"Mails"}},
			{Name: "GONE", State: "Missing", FlowCount: 1, Flows: []string{"Mails"}},
			{Name: "IDLE", State: "Unused"},
		},
		Incomplete: []v1alpha1.IncompleteFlow{{Flow: "Secret", Why: "it runs, and no design of it is visible: an access policy hides it, or it was deleted"}},
	}
	got := x.now().Status
	ignored := []gocmp.Option{cmpopts.IgnoreFields(metav1.Condition{}, "LastTransitionTime"), cmpopts.IgnoreFields(v1alpha1.CloudIntegrationTenantStatus{}, "ScannedAt")}
	if diff := gocmp.Diff(want, got, append(ignored, cmpopts.SortSlices(func(a, b metav1.Condition) bool { return a.Type < b.Type }))...); diff != "" {
		t.Error(diff)
	}
	if got.ScannedAt == nil || time.Since(got.ScannedAt.Time) > soon {
		t.Errorf("it was scanned at %s", got.ScannedAt)
	}
	x.eventually(soon, func() string {
		events := slices.Sorted(slices.Values(x.reasons("CloudIntegrationTenant", "suite")))
		return gocmp.Diff([]string{"AliasesMissing", "Scanned"}, events)
	})
	metrics, err := sharedOperator.Metrics(x.ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		fmt.Sprintf(`claviger_alias_flows{alias="ACME_ORDERS",name="suite",namespace=%q,state="managed"} 1`, x.ns),
		fmt.Sprintf(`claviger_tenant_aliases{name="suite",namespace=%q,state="unmanaged"} 1`, x.ns),
		fmt.Sprintf(`claviger_tenant_incomplete_flows{name="suite",namespace=%q} 1`, x.ns),
		fmt.Sprintf(`claviger_tenant_ready{name="suite",namespace=%q} 1`, x.ns),
	} {
		if !strings.Contains(metrics, line) {
			t.Errorf("the metrics lack %s", line)
		}
	}

	// Who manages an alias is known without asking the tenant again.
	calls := x.suite.Calls().Total("*")
	x.delete(x.get("billing"))
	x.says(v1alpha1.ConditionAttention, v1alpha1.ReasonAliasesMissing, "managed by nobody: ACME_ORDERS, FOREIGN")
	if now := x.suite.Calls().Total("*"); now != calls {
		t.Errorf("%d calls for the deletion of a credential", now-calls)
	}

	// What people mend is seen by the next scan; of the flows, only those that changed are read again.
	x.people(func(s *cloudintegrationsim.Tenant) {
		s.UserCredentials = append(s.UserCredentials, "GONE")
		s.Clients[0].Roles = nil
	})
	downloads := x.suite.Calls().Total("design.download")
	update(x.tenant, "suite", &v1alpha1.CloudIntegrationTenant{}, func(o *v1alpha1.CloudIntegrationTenant) {
		o.Spec.Aliases = append(o.Spec.Aliases, v1alpha1.ManagedAlias{Name: "FOREIGN"}, v1alpha1.ManagedAlias{Name: "GONE"}, v1alpha1.ManagedAlias{Name: "HIDDEN"})
		o.Spec.Aliases[0].Credential = ""
	})
	x.says(v1alpha1.ConditionReady, v1alpha1.ReasonScanned, "3 flows use 4 aliases.")
	x.says(v1alpha1.ConditionAttention, v1alpha1.ReasonAliasesUnused, "managed and no use was found: IDLE")
	if now := x.suite.Calls().Total("design.download"); now != downloads+1 {
		t.Errorf("%d designs were read again, want the one that could not be read before", now-downloads)
	}
}

func TestATenantThatCannotBeReadSaysWhy(t *testing.T) {
	t.Parallel()
	x := newIntegration(t)
	x.create(x.object())
	x.says(v1alpha1.ConditionReady, v1alpha1.ReasonLoginSecretNotFound, "Secret reader")
	// A service key with a certificate, which the first to ask for this had.
	x.people(func(s *cloudintegrationsim.Tenant) {
		s.Clients = append(s.Clients, cloudintegrationsim.Client{ID: "certified", Subject: "reader"})
	})
	stranger, own := clientPair(t, x.suite.Authority(), "stranger"), clientPair(t, x.suite.Authority(), "reader")
	x.create(x.loginSecret(stranger))
	x.says(v1alpha1.ConditionReady, v1alpha1.ReasonLoginFailed, "401", "Secret reader")
	update(x.tenant, "reader", &corev1.Secret{}, func(s *corev1.Secret) { s.StringData = map[string]string{"client_secret": x.secret} })
	x.nudgeTenant()
	x.says(v1alpha1.ConditionReady, v1alpha1.ReasonInvalidSettings, "client_id and client_secret, or client_id, tls.crt and tls.key")
	update(x.tenant, "reader", &corev1.Secret{}, func(s *corev1.Secret) { s.Data, s.StringData = nil, own })
	x.people(func(s *cloudintegrationsim.Tenant) { s.Clients[1].Roles = []cloudintegrationsim.Role{} })
	x.nudgeTenant()
	x.says(v1alpha1.ConditionReady, v1alpha1.ReasonUpstreamForbidden, "MonitoringDataRead")
	x.people(func(s *cloudintegrationsim.Tenant) { s.Clients[1].Roles = nil })
	x.nudgeTenant()
	x.says(v1alpha1.ConditionReady, v1alpha1.ReasonScanned, "3 flows use 4 aliases.")
}

// clientPair is the login of a service key with a certificate.
func clientPair(t *testing.T, authority *simkit.Authority, subject string) map[string]string {
	t.Helper()
	pair, err := authority.Client(subject)
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	encoded := func(kind string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	canaries.Add("key of a service key", encoded("PRIVATE KEY", key))
	return map[string]string{"client_id": "certified", "tls.crt": encoded("CERTIFICATE", pair.Certificate[0]), "tls.key": encoded("PRIVATE KEY", key)}
}

// nudgeTenant changes the spec a little, so that nobody waits for the pause after a failure.
func (x *integration) nudgeTenant() {
	x.t.Helper()
	update(x.tenant, "suite", &v1alpha1.CloudIntegrationTenant{}, func(o *v1alpha1.CloudIntegrationTenant) { o.Spec.RescanAfter.Duration += time.Hour })
}
