package integration

import (
	"fmt"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/operatortest"
	"github.com/claviger-dev/claviger/internal/simkit"
	"github.com/claviger-dev/claviger/internal/venafisim"
)

// chained is an issuer of tokens that logs in with the certificate billing, which the issuer
// tpp of the same platform has made.
func (x *venafiTenant) chained() *v1alpha1.CredentialIssuer {
	return &v1alpha1.CredentialIssuer{
		ObjectMeta: metav1.ObjectMeta{Namespace: x.ns, Name: "chained"},
		Spec: v1alpha1.CredentialIssuerSpec{Venafi: &v1alpha1.VenafiIssuer{
			URL: x.platform.URL(), Use: "Tokens", ClientID: "claviger-operator", CABundle: string(x.platform.CA()),
			Login: v1alpha1.VenafiLogin{
				Method: "Certificate", SecretRef: v1alpha1.SecretReference{Name: "billing-api"},
				CredentialRef: &v1alpha1.CredentialReference{Name: "billing"},
			},
		}},
	}
}

// newChain is a tenant with both issuers; the certificate maps to the identity operator.
func newChain(t *testing.T) *venafiTenant {
	t.Helper()
	x := newVenafiTenant(t, "Certificates", nil)
	wanted := wantedCertificate()
	wanted.Certificate.CommonName, wanted.Certificate.DNSNames = "operator", nil
	x.askAs(wanted, corev1.SecretTypeTLS, v1alpha1.SecretTemplate{Preset: "TLS"})
	x.create(x.chained())
	x.says("chained", state{"True", v1alpha1.ReasonLoggedIn})
	return x
}

// says waits for what an issuer says of itself.
func (x *venafiTenant) says(name string, want state, words ...string) {
	x.t.Helper()
	x.eventually(soon, func() string {
		issuer := &v1alpha1.CredentialIssuer{}
		if err := x.world.Client.Get(x.ctx, x.key(name), issuer); err != nil {
			return err.Error()
		}
		return lacks(issuer.Status.Conditions, v1alpha1.ConditionReady, want, words)
	})
}

func (x *venafiTenant) certificates() venafisim.Count { return x.platform.Stats().Kinds["certificate"] }

// An earlier login lives until the issuer has logged in with the next one, however long the
// overlap has been over, and it is told who is waited for.
func TestAnIssuerMovesBeforeItsLoginIsRetired(t *testing.T) {
	t.Parallel()
	x := newChain(t)
	x.request(time.Now())
	x.awaitVersion(soon, 2)
	x.awaitCount("certificates", x.certificates, venafisim.Count{Issued: 2, Live: 1, Revoked: 1})

	refused, err := x.platform.Faults().Add(simkit.Fault{Operation: "auth.certificate", Action: simkit.HTML, Status: 502, Count: -1})
	if err != nil {
		t.Fatal(err)
	}
	x.request(time.Now())
	x.awaitVersion(soon, 3)
	x.await(soon, v1alpha1.ConditionLoginStalled, state{"True", v1alpha1.ReasonLoginPending}, "CredentialIssuer chained")
	x.await(soon, v1alpha1.ConditionRotating, state{"True", v1alpha1.ReasonLoginPending}, "CredentialIssuer chained")
	if got, want := x.certificates(), (venafisim.Count{Issued: 3, Live: 2, Revoked: 1}); got != want {
		t.Errorf("the platform counts %+v certificates, want %+v", got, want)
	}
	if !slices.Contains(x.reasons("APIClientCredential", "billing"), "LoginStalled") {
		t.Error("no event LoginStalled was written")
	}
	if ready := x.get("billing"); lacks(ready.Status.Conditions, v1alpha1.ConditionReady, published, nil) != "" {
		t.Errorf("the credential is not Ready: %s", describe(ready.Status.Conditions))
	}

	x.platform.Faults().Remove(refused)
	// Its next try may be a minute away; another scope is tried at once.
	update(x.tenant, "chained", &v1alpha1.CredentialIssuer{}, func(i *v1alpha1.CredentialIssuer) { i.Spec.Venafi.Scope = "certificate:manage" })
	x.says("chained", state{"True", v1alpha1.ReasonLoggedIn})
	x.awaitCount("certificates", x.certificates, venafisim.Count{Issued: 3, Live: 1, Revoked: 2})
	x.await(soon, v1alpha1.ConditionLoginStalled, state{})
}

// A login is held while an issuer lives on it, and in a namespace that ends it ends last.
func TestALoginEndsAfterWhatItHasToEnd(t *testing.T) {
	t.Parallel()
	x := newChain(t)
	token := x.credential(func(c *v1alpha1.APIClientCredential) {
		c.Name, c.Spec.IssuerRef.Name, c.Spec.IBMAPIConnect = "token", "chained", nil
		c.Spec.Venafi = &v1alpha1.VenafiCredential{Token: &v1alpha1.VenafiToken{ClientID: "team-a-pipeline", Scope: "certificate:manage"}}
		c.Spec.Secret.Name, c.Spec.Secret.Template = "token", &v1alpha1.SecretTemplate{Preset: "AccessToken"}
	})
	x.create(token)
	x.awaitReady("token")
	x.delete(x.get("billing"))
	x.await(soon, v1alpha1.ConditionReady, state{"False", v1alpha1.ReasonInUse}, "it is the login of CredentialIssuer chained")
	if got, want := x.certificates(), (venafisim.Count{Issued: 1, Live: 1}); got != want {
		t.Errorf("the platform counts %+v certificates, want %+v", got, want)
	}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: x.ns}}
	x.delete(namespace)
	x.awaitGone(namespaceEnds, namespace)
	x.awaitCountOfGone("grants", x.grants, venafisim.Count{Issued: 1, Revoked: 1})
	x.awaitCountOfGone("certificates", x.certificates, venafisim.Count{Issued: 1, Revoked: 1})
}

func TestLoginsThatCannotBeAChainAreRefused(t *testing.T) {
	t.Parallel()
	x := newVenafiTenant(t, "Certificates", nil)
	wanted := wantedCertificate()
	wanted.Certificate.CommonName, wanted.Certificate.DNSNames = "operator", nil
	x.create(x.chained())
	x.says("chained", state{"False", v1alpha1.ReasonLoginSecretNotFound}, "APIClientCredential billing", "does not exist in this namespace")
	x.askAs(wanted, corev1.SecretTypeTLS, v1alpha1.SecretTemplate{Preset: "TLS"})
	x.says("chained", state{"True", v1alpha1.ReasonLoggedIn})

	login := func(name string, change func(*v1alpha1.VenafiLogin)) {
		t.Helper()
		update(x.tenant, name, &v1alpha1.CredentialIssuer{}, func(i *v1alpha1.CredentialIssuer) { change(&i.Spec.Venafi.Login) })
	}
	login("chained", func(l *v1alpha1.VenafiLogin) { l.CredentialRef = nil })
	x.says("chained", state{"False", v1alpha1.ReasonInvalidSettings}, "Secret billing-api is written by APIClientCredential billing: name that in login.credentialRef")
	login("chained", func(l *v1alpha1.VenafiLogin) {
		l.SecretRef.Name, l.CredentialRef = "tpp-login", &v1alpha1.CredentialReference{Name: "billing"}
	})
	x.says("chained", state{"False", v1alpha1.ReasonInvalidSettings}, "writes Secret billing-api, and login.secretRef names tpp-login")

	before := v1alpha1.VenafiLogin{}
	login("tpp", func(l *v1alpha1.VenafiLogin) { before, *l = *l, x.chained().Spec.Venafi.Login })
	x.says("tpp", state{"False", v1alpha1.ReasonLoginCycle}, "CredentialIssuer tpp, which needs APIClientCredential billing, which needs CredentialIssuer tpp")
	login("tpp", func(l *v1alpha1.VenafiLogin) { *l = before })
	x.says("tpp", state{"True", v1alpha1.ReasonLoggedIn})
}

// The login of an issuer of the cluster is a credential of the operator's namespace, which
// waits for that issuer as others do for theirs.
func TestAnIssuerOfTheClusterMovesBeforeItsLoginIsRetired(t *testing.T) {
	t.Parallel()
	x := newVenafiTenant(t, "Certificates", nil)
	own, login := &v1alpha1.CredentialIssuer{}, &corev1.Secret{}
	for name, object := range map[string]client.Object{"tpp": own, "tpp-login": login} {
		if err := x.world.Client.Get(x.ctx, x.key(name), object); err != nil {
			t.Fatal(err)
		}
	}
	meta := metav1.ObjectMeta{Namespace: operatortest.Namespace, Name: "chain-" + x.ns[len(x.ns)-6:]}
	x.create(&corev1.Secret{ObjectMeta: meta, Data: login.Data}) // and it stays, as in clusterIssuer
	maker := &v1alpha1.CredentialIssuer{ObjectMeta: meta, Spec: *own.Spec.DeepCopy()}
	maker.Spec.Venafi.Login.SecretRef.Name = meta.Name
	x.createOutside(maker)
	policy := x.policy("Unlimited", "2s")
	policy.ObjectMeta = meta
	policy.Spec.Selector = nil
	x.createOutside(policy)
	wanted := wantedCertificate()
	wanted.Certificate.CommonName, wanted.Certificate.DNSNames = "operator", nil
	credential := x.credential(func(c *v1alpha1.APIClientCredential) {
		c.ObjectMeta = meta
		c.Spec.IssuerRef.Name, c.Spec.IBMAPIConnect, c.Spec.Venafi = meta.Name, nil, &wanted
		c.Spec.PolicyRef = &v1alpha1.PolicyReference{Name: meta.Name}
		c.Spec.Secret = v1alpha1.TargetSecret{Name: meta.Name + "-tls", Type: corev1.SecretTypeTLS, Template: &v1alpha1.SecretTemplate{Preset: "TLS"}}
	})
	x.create(credential)
	spec := x.chained().Spec
	spec.Venafi.Login.SecretRef.Name, spec.Venafi.Login.CredentialRef.Name = meta.Name+"-tls", meta.Name
	issuer := &v1alpha1.ClusterCredentialIssuer{
		ObjectMeta: metav1.ObjectMeta{Name: x.ns},
		Spec:       v1alpha1.ClusterCredentialIssuerSpec{CredentialIssuerSpec: spec, AllowedNamespaces: v1alpha1.NamespaceChoice{Names: []string{x.ns}}},
	}
	x.create(issuer)
	t.Cleanup(func() {
		for _, o := range []client.Object{credential, issuer} { // the first waits for the second
			if err := x.world.Client.Delete(x.ctx, o); err != nil {
				t.Error(err)
			}
		}
		x.awaitGone(soon, credential)
	})
	at := func(o client.Object, conditions func() []metav1.Condition, kind string, want state, words ...string) {
		t.Helper()
		x.eventually(soon, func() string {
			if err := x.world.Client.Get(x.ctx, client.ObjectKeyFromObject(o), o); err != nil {
				return err.Error()
			}
			return lacks(conditions(), kind, want, words)
		})
	}
	at(issuer, func() []metav1.Condition { return issuer.Status.Conditions }, v1alpha1.ConditionReady, state{"True", v1alpha1.ReasonLoggedIn})
	refused, err := x.platform.Faults().Add(simkit.Fault{Operation: "auth.certificate", Action: simkit.HTML, Status: 502, Count: -1})
	if err != nil {
		t.Fatal(err)
	}
	outside := *x.tenant
	outside.ns = operatortest.Namespace
	update(&outside, meta.Name, &v1alpha1.APIClientCredential{}, func(c *v1alpha1.APIClientCredential) {
		metav1.SetMetaDataAnnotation(&c.ObjectMeta, v1alpha1.AnnotationRotateRequestedAt, time.Now().UTC().Format(time.RFC3339Nano))
	})
	at(credential, func() []metav1.Condition { return credential.Status.Conditions }, v1alpha1.ConditionLoginStalled,
		state{"True", v1alpha1.ReasonLoginPending}, "ClusterCredentialIssuer "+x.ns)
	if got, want := x.certificates(), (venafisim.Count{Issued: 2, Live: 2}); got != want {
		t.Errorf("the platform counts %+v certificates, want %+v", got, want)
	}
	x.platform.Faults().Remove(refused)
	x.changeClusterIssuer(func(i *v1alpha1.ClusterCredentialIssuer) { i.Spec.Venafi.Scope = "certificate:manage" })
	x.eventually(soon, func() string {
		if got, want := x.certificates(), (venafisim.Count{Issued: 2, Live: 1, Revoked: 1}); got != want {
			return fmt.Sprintf("the platform counts %+v certificates, want %+v", got, want)
		}
		return ""
	})
}
