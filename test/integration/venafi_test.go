package integration

import (
	"crypto/tls"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/operatortest"
	"github.com/claviger-dev/claviger/internal/simkit"
	"github.com/claviger-dev/claviger/internal/venafisim"
)

// venafiTenant is a tenant whose credential billing is an access token or a certificate
// of a Venafi platform of its own.
type venafiTenant struct {
	*tenant
	platform *venafisim.Sim
}

func newVenafiTenant(t *testing.T, use string, behave func(*venafisim.Behaviour)) *venafiTenant {
	t.Helper()
	return newVenafiTenantIn(t, shared, use, behave)
}

func newVenafiTenantIn(t *testing.T, world *operatortest.World, use string, behave func(*venafisim.Behaviour)) *venafiTenant {
	t.Helper()
	x := &venafiTenant{tenant: newTenant(t, world)}
	seed, password := venafisim.Sample(), secret("platform password")
	for i := range seed.Identities {
		if seed.Identities[i].Name == "operator" {
			seed.Identities[i].Password = password
		}
	}
	behaviour := venafisim.Usual()
	if behave != nil {
		behave(&behaviour)
	}
	x.platform = venafisim.New(venafisim.Options{Seed: seed, Behaviour: &behaviour})
	if err := x.platform.Start(); err != nil {
		t.Fatal(err)
	}
	closeLater(x.platform)
	x.create(&corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: x.ns, Name: "tpp-login"},
		StringData: map[string]string{"username": "operator", "password": password},
	})
	issuer := &v1alpha1.VenafiIssuer{
		URL: x.platform.URL(), Use: use, ClientID: "claviger-operator", CABundle: string(x.platform.CA()),
		Login: v1alpha1.VenafiLogin{Method: "Password", SecretRef: v1alpha1.SecretReference{Name: "tpp-login"}},
	}
	if use == "Certificates" {
		issuer.PolicyDN, issuer.IssuingCABundle = `\VED\Policy\k8s`, string(x.platform.IssuingRoot())
	}
	x.create(&v1alpha1.CredentialIssuer{
		ObjectMeta: metav1.ObjectMeta{Namespace: x.ns, Name: "tpp"}, Spec: v1alpha1.CredentialIssuerSpec{Venafi: issuer},
	})
	x.create(x.policy("Unlimited", "2s"))
	return x
}

// ask makes the credential billing.
func (x *venafiTenant) ask(wanted v1alpha1.VenafiCredential, kind corev1.SecretType, data map[string]string) *v1alpha1.APIClientCredential {
	x.t.Helper()
	return x.askAs(wanted, kind, v1alpha1.SecretTemplate{Data: data})
}

func (x *venafiTenant) askAs(wanted v1alpha1.VenafiCredential, kind corev1.SecretType, template v1alpha1.SecretTemplate) *v1alpha1.APIClientCredential {
	x.t.Helper()
	c := x.credential(func(c *v1alpha1.APIClientCredential) {
		c.Spec.IssuerRef.Name, c.Spec.IBMAPIConnect, c.Spec.Venafi = "tpp", nil, &wanted
		c.Spec.Secret.Type, c.Spec.Secret.Template = kind, &template
	})
	x.create(c)
	return c
}

// grants counts those of the credential's integration: the operator's own are not its
// business.
func (x *venafiTenant) grants() venafisim.Count {
	var count venafisim.Count
	for _, record := range x.platform.Ledger().Issued() {
		if record.Kind != "grant" || record.Attrs["clientId"] != "team-a-pipeline" {
			continue
		}
		count.Issued++
		if record.Live() {
			count.Live++
		} else {
			count.Revoked++
		}
	}
	return count
}

func (x *venafiTenant) awaitCount(what string, count func() venafisim.Count, want venafisim.Count) {
	x.t.Helper()
	x.eventually(soon, func() string {
		if got := count(); got != want {
			return fmt.Sprintf("the platform counts %+v %s, want %+v; %s", got, what, want, x.told("billing"))
		}
		return ""
	})
}

func TestVenafiTokens(t *testing.T) {
	t.Parallel()
	x := newVenafiTenant(t, "Tokens", nil)
	c := x.askAs(v1alpha1.VenafiCredential{Token: &v1alpha1.VenafiToken{ClientID: "team-a-pipeline", Scope: "certificate:manage"}},
		"", v1alpha1.SecretTemplate{Preset: "AccessToken"})
	x.awaitReady("billing")
	first := string(x.target("billing-api").Data["access-token"])
	if !x.platform.AcceptsToken(first) || x.grants() != (venafisim.Count{Issued: 1, Live: 1}) {
		t.Errorf("accepted: %v, grants %+v", x.platform.AcceptsToken(first), x.grants())
	}
	x.request(time.Now())
	x.awaitVersion(soon, 2)
	second := string(x.target("billing-api").Data["access-token"])
	if !x.platform.AcceptsToken(second) || second == first {
		t.Errorf("accepted: %v, new: %v", x.platform.AcceptsToken(second), second != first)
	}
	x.awaitCount("grants", x.grants, venafisim.Count{Issued: 2, Live: 1, Revoked: 1})
	if refreshes := x.platform.Calls().Total("auth.refresh"); refreshes != 0 {
		t.Errorf("%d refreshes, each of which ends a token in use", refreshes)
	}
	x.delete(c)
	x.awaitGone(soon, c)
	x.awaitCountOfGone("grants", x.grants, venafisim.Count{Issued: 2, Revoked: 2})
}

// awaitCountOfGone is awaitCount without a credential to ask.
func (x *venafiTenant) awaitCountOfGone(what string, count func() venafisim.Count, want venafisim.Count) {
	x.t.Helper()
	if got := count(); got != want {
		x.t.Errorf("the platform counts %+v %s, want %+v", got, what, want)
	}
}

func wantedCertificate() v1alpha1.VenafiCredential {
	return v1alpha1.VenafiCredential{Certificate: &v1alpha1.VenafiCertificate{
		PolicyDN: `\VED\Policy\k8s\team-a`, CommonName: "billing.team-a.example", DNSNames: []string{"billing.team-a.example"},
	}}
}

func TestVenafiCertificates(t *testing.T) {
	t.Parallel()
	x := newVenafiTenant(t, "Certificates", func(b *venafisim.Behaviour) { b.StagePolls = 1 })
	// A pick-up that fails is no reason to ask for another certificate.
	if _, err := x.platform.Faults().Add(simkit.Fault{Operation: "certificate.retrieve", Action: simkit.HTML, Status: 502}); err != nil {
		t.Fatal(err)
	}
	c := x.askAs(wantedCertificate(), corev1.SecretTypeTLS, v1alpha1.SecretTemplate{Preset: "TLS"})
	x.awaitReady("billing")
	first := x.pair()
	certificates := func() venafisim.Count { return x.platform.Stats().Kinds["certificate"] }
	x.awaitCountOfGone("certificates", certificates, venafisim.Count{Issued: 1, Live: 1})

	x.request(time.Now())
	x.awaitVersion(soon, 2)
	second := x.pair()
	if first == second {
		t.Error("the rotation published the same certificate")
	}
	x.awaitCount("certificates", certificates, venafisim.Count{Issued: 2, Live: 1, Revoked: 1})
	x.delete(c)
	x.awaitGone(soon, c)
	x.awaitCountOfGone("certificates", certificates, venafisim.Count{Issued: 2, Revoked: 2})
	x.awaitCountOfGone("objects", func() venafisim.Count { return x.platform.Stats().Kinds["object"] }, venafisim.Count{Issued: 2, Revoked: 2})
	if duplicates := x.platform.Stats().Duplicates; duplicates != 0 {
		t.Errorf("%d requests for objects that were there", duplicates)
	}
}

// pair is the published certificate, once it is proven to fit its key and to be accepted.
func (x *venafiTenant) pair() string {
	x.t.Helper()
	target := x.target("billing-api")
	bundle := string(target.Data["tls.crt"])
	if _, err := tls.X509KeyPair(target.Data["tls.crt"], target.Data["tls.key"]); err != nil || target.Type != corev1.SecretTypeTLS {
		x.t.Errorf("type %s: %v", target.Type, err)
	}
	if !x.platform.AcceptsCertificate(bundle, bundle) {
		x.t.Error("the published certificate is not accepted")
	}
	return bundle
}

func TestVenafiPolicyIsSaidInTheCondition(t *testing.T) {
	t.Parallel()
	x := newVenafiTenant(t, "Certificates", nil)
	x.ask(v1alpha1.VenafiCredential{Certificate: &v1alpha1.VenafiCertificate{PolicyDN: `\VED\Policy\k8s\locked`, CommonName: "billing.example"}},
		corev1.SecretTypeTLS, map[string]string{"tls.crt": "{{ .certificate }}{{ .chain }}", "tls.key": "{{ .privateKey }}"})
	x.eventually(soon, func() string {
		conditions := describe(x.get("billing").Status.Conditions)
		if strings.Contains(conditions, "key must be of algorithm RSA") && strings.Contains(conditions, "organization must be Acme") {
			return ""
		}
		return conditions
	})
	if requests := x.platform.Calls().Total("certificate.request"); requests != 0 {
		t.Errorf("%d requests", requests)
	}
}

// An end before which no window opens is announced long before.
func TestAnEndThatNoWindowWaitsForIsAnnounced(t *testing.T) {
	t.Parallel()
	x := newVenafiTenant(t, "Certificates", nil)
	tomorrow := time.Now().UTC().AddDate(0, 0, 1) // and then in a year
	once := []v1alpha1.Window{{Schedule: tomorrow.Format("0 0 2 1 *"), Duration: metav1.Duration{Duration: time.Hour}, TimeZone: "UTC"}}
	update(x.tenant, "policy", &v1alpha1.RotationPolicy{}, func(p *v1alpha1.RotationPolicy) { p.Spec.Windows = once })
	x.askAs(wantedCertificate(), corev1.SecretTypeTLS, v1alpha1.SecretTemplate{Preset: "TLS"})
	x.awaitReady("billing")
	x.await(soon, v1alpha1.ConditionAttention, state{"True", v1alpha1.ReasonWindowTooLate}, "no window opens early enough", "outside of the windows")
	update(x.tenant, "policy", &v1alpha1.RotationPolicy{}, func(p *v1alpha1.RotationPolicy) { p.Spec.ExpiringOutsideWindows = v1alpha1.ExpiringWait })
	x.await(soon, v1alpha1.ConditionAttention, state{"True", v1alpha1.ReasonWindowTooLate}, "workloads fail in between")
	update(x.tenant, "policy", &v1alpha1.RotationPolicy{}, func(p *v1alpha1.RotationPolicy) { p.Spec.Windows = nil })
	x.await(soon, v1alpha1.ConditionAttention, state{})
}
