package integration

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/journal"
)

// indented puts text into a YAML block.
func indented(text string, by int) string {
	return strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n"+strings.Repeat(" ", by))
}

// What a team writes comes back as a working credential, and says so where people and
// tools look.
func TestAnAppliedCredentialIsIssuedAndReportsItself(t *testing.T) {
	t.Parallel()
	x := newTenant(t, shared)
	began := time.Now()
	if err := x.apply(fmt.Sprintf(`
apiVersion: credentials.claviger.dev/v1alpha1
kind: RotationPolicy
metadata: {name: quarterly}
spec:
  selector: {matchLabels: {tier: production}}
  rotateAfter: 90d
  overlap: 10d
---
apiVersion: credentials.claviger.dev/v1alpha1
kind: CredentialIssuer
metadata: {name: apic}
spec:
  ibmAPIConnect:
    url: %s
    gatewayURL: %s
    providerOrg: acme
    catalog: production
    login: {realm: provider/default-idp-2, secretRef: {name: apic-login}}
    caBundle: |
      %s
---
apiVersion: credentials.claviger.dev/v1alpha1
kind: APIClientCredential
metadata: {name: billing, labels: {tier: production}}
spec:
  issuerRef: {name: apic}
  ibmAPIConnect: {consumerOrg: retail, app: billing, probe: {path: /orders/v1/health}}
  secret:
    name: billing-api
    template: {data: {API_CLIENT_ID: "{{ .clientID }}", API_CLIENT_SECRET: "{{ .clientSecret }}"}}
`, x.sim.URL(), x.sim.GatewayURL(), indented(string(x.sim.CA()), 6))); err != nil {
		t.Fatal(err)
	}
	x.kubectl("wait", "--for=condition=Ready", "apicred/billing", "--timeout=30s")

	c := x.get("billing")
	wantStatus(t, c, began)
	wantColumns(x, c)
	wantTarget(x, c)
	wantJournal(x, c)
	if diff := cmp.Diff([]string{"Issued"}, x.reasons("APIClientCredential", "billing")); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	x.awaitIdle(1)
	wantIssuerStatus(x)
	wantPolicyStatus(x)
}

// ignoreTimes leaves out what no test can know beforehand.
var ignoreTimes = cmpopts.IgnoreFields(metav1.Condition{}, "LastTransitionTime")

func wantStatus(t *testing.T, c *v1alpha1.APIClientCredential, began time.Time) {
	t.Helper()
	got := c.Status.DeepCopy()
	renews, err := time.Parse(time.RFC3339, got.Rotates)
	if latest := time.Now().Add(90 * 24 * time.Hour); err != nil || renews.After(latest) || renews.Before(latest.Add(-25*time.Hour)) {
		t.Errorf("it rotates at %s (%v), want 90 days less at most one from %s on", got.Rotates, err, began)
	}
	got.Rotates = ""
	if len(got.Versions) == 1 {
		if issued := got.Versions[0].IssuedAt.Time; issued.Before(began.Add(-2*time.Second)) || issued.After(time.Now()) {
			t.Errorf("version 1 was issued at %s, the test began at %s", issued, began)
		}
		if !strings.HasPrefix(got.Versions[0].ID, "cl-") || len(got.Versions[0].ID) != 25 {
			t.Errorf("the name upstream is %q", got.Versions[0].ID)
		}
		got.Versions[0].IssuedAt, got.Versions[0].ID = metav1.Time{}, ""
	}
	for i := range got.History {
		e := &got.History[i]
		if e.IssuedAt.Before(&metav1.Time{Time: began.Add(-2 * time.Second)}) || e.PublishedAt.Before(&e.IssuedAt) || e.PublishedAt.After(time.Now()) {
			t.Errorf("version %d was issued at %s and published at %s, the test began at %s", e.Version, e.IssuedAt, e.PublishedAt, began)
		}
		e.IssuedAt, e.PublishedAt = metav1.Time{}, metav1.Time{}
	}
	want := &v1alpha1.APIClientCredentialStatus{
		ObservedGeneration: 1,
		Conditions: []metav1.Condition{{
			Type: "Ready", Status: metav1.ConditionTrue, ObservedGeneration: 1, Reason: "Published",
			Message: "Secret billing-api holds version 1",
		}},
		Version:  1,
		Versions: []v1alpha1.VersionStatus{{Number: 1, State: v1alpha1.VersionPublished}},
		Expires:  "never",
		Policy:   "RotationPolicy/quarterly",
		Binding:  &v1alpha1.BindingStatus{Name: "billing-api"},
		Owner:    "jo@acme.example",
		History:  []v1alpha1.HistoryEntry{{Version: 1, Cause: "first issue", Verification: "Accepted"}},
	}
	if diff := cmp.Diff(want, got, ignoreTimes); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
}

func wantColumns(x *tenant, c *v1alpha1.APIClientCredential) {
	x.t.Helper()
	lines := strings.Split(strings.TrimSpace(x.kubectl("get", "apicred")), "\n")
	var got [][]string
	for _, line := range lines {
		got = append(got, strings.Fields(line))
	}
	want := [][]string{
		{"NAME", "READY", "REASON", "ISSUER", "VERSION", "ROTATES", "EXPIRES", "AGE"},
		{"billing", "True", "Published", "apic", "1", c.Status.Rotates, "never", "…"},
	}
	if len(got) == 2 && len(got[1]) == 8 {
		got[1][7] = "…" // the age
	}
	if diff := cmp.Diff(want, got); diff != "" {
		x.t.Errorf("kubectl get apicred (-want +got):\n%s", diff)
	}
}

func wantTarget(x *tenant, c *v1alpha1.APIClientCredential) {
	x.t.Helper()
	target, version := x.target("billing-api"), x.versions()[0]
	id, secret := string(target.Data["API_CLIENT_ID"]), string(target.Data["API_CLIENT_SECRET"])
	canaries.Add("client secret", secret)
	if !x.sim.Accepts(id, secret) {
		x.t.Error("the gateway does not take what the Secret holds")
	}
	if len(secret) < 43 {
		x.t.Errorf("the secret has %d characters: less than 256 bits", len(secret))
	}
	want := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: x.ns, Name: "billing-api",
			Labels: map[string]string{journal.LabelRole: journal.RoleTarget, journal.LabelCredentialUID: string(c.UID)},
			Annotations: map[string]string{
				journal.AnnotationCredential: x.ns + "/billing", journal.AnnotationVersion: "1",
				journal.AnnotationRendered: target.Annotations[journal.AnnotationRendered],
			},
		},
		Type: corev1.SecretTypeOpaque,
		Data: map[string][]byte{"API_CLIENT_ID": version.Data["client_id"], "API_CLIENT_SECRET": version.Data["client_secret"]},
	}
	if diff := cmp.Diff(want, bare(target)); diff != "" {
		x.t.Errorf("Secret billing-api (-want +got):\n%s", diff)
	}
}

// wantJournal looks at what of the version Secret others rely upon; the rest is the
// operator's own affair.
func wantJournal(x *tenant, c *v1alpha1.APIClientCredential) {
	x.t.Helper()
	versions := x.versions()
	if len(versions) != 1 {
		x.t.Fatalf("there are %d version Secrets, want one", len(versions))
	}
	got := bare(&versions[0])
	got.Annotations, got.Data = nil, nil
	immutable := true
	want := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: x.ns, Name: fmt.Sprintf("billing.%s.v1", strings.Split(string(c.UID), "-")[0]),
			Labels: map[string]string{
				journal.LabelRole: journal.RoleVersion, journal.LabelCredentialUID: string(c.UID),
				journal.LabelIssuerUID: string(x.getIssuer().UID),
			},
			Finalizers: []string{journal.FinalizerUpstream},
		},
		Type: journal.SecretType, Immutable: &immutable,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		x.t.Errorf("version Secret (-want +got):\n%s", diff)
	}
}

// bare is a Secret without what the API server adds by itself.
func bare(s *corev1.Secret) *corev1.Secret {
	b := s.DeepCopy()
	b.TypeMeta, b.UID, b.ResourceVersion, b.CreationTimestamp, b.ManagedFields = metav1.TypeMeta{}, "", "", metav1.Time{}, nil
	return b
}

func wantIssuerStatus(x *tenant) {
	x.t.Helper()
	ids, err := x.sim.IDs(billing)
	if err != nil {
		x.t.Fatal(err)
	}
	want := v1alpha1.CredentialIssuerStatus{
		ObservedGeneration: 1,
		Conditions: []metav1.Condition{{
			Type: "Ready", Status: metav1.ConditionTrue, ObservedGeneration: 1, Reason: "LoggedIn",
			Message: "The login works and the containers were read.",
		}},
		Upstream:    "ibmAPIConnect",
		Realm:       strings.TrimPrefix(x.sim.URL(), "https://") + "/orgs/" + ids.Org + "/catalogs/" + ids.Catalog,
		Credentials: 1,
	}
	x.eventually(soon+30*time.Second, func() string { // counts are written every half minute
		return cmp.Diff(want, x.getIssuer().Status, ignoreTimes)
	})
}

func wantPolicyStatus(x *tenant) {
	x.t.Helper()
	want := v1alpha1.RotationPolicyStatus{
		ObservedGeneration: 1,
		Conditions: []metav1.Condition{{
			Type: "Accepted", Status: metav1.ConditionTrue, ObservedGeneration: 1, Reason: "Accepted",
		}},
		Credentials: 1,
	}
	x.eventually(soon+30*time.Second, func() string {
		p := &v1alpha1.RotationPolicy{}
		if err := x.world.Client.Get(x.ctx, x.key("quarterly"), p); err != nil {
			return err.Error()
		}
		return cmp.Diff(want, p.Status, ignoreTimes, cmpopts.IgnoreFields(metav1.Condition{}, "Message"))
	})
}

func (x *tenant) getIssuer() *v1alpha1.CredentialIssuer {
	x.t.Helper()
	issuer := &v1alpha1.CredentialIssuer{}
	if err := x.world.Client.Get(x.ctx, x.key("apic"), issuer); err != nil {
		x.t.Fatal(err)
	}
	return issuer
}
