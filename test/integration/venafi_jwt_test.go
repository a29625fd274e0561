package integration

import (
	"encoding/json"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/operatortest"
	"github.com/claviger-dev/claviger/internal/venafisim"
)

const platformAudience = "https://tpp.acme.example"

// trustCluster has a platform take tokens of a service account of this cluster.
func (x *venafiTenant) trustCluster(account string) {
	x.t.Helper()
	clients, err := kubernetes.NewForConfig(x.world.Plane.Config())
	if err != nil {
		x.t.Fatal(err)
	}
	read := func(path string) []byte {
		document, err := clients.RESTClient().Get().AbsPath(path).DoRaw(x.ctx)
		if err != nil {
			x.t.Fatal(err)
		}
		return document
	}
	var discovery struct {
		Issuer string `json:"issuer"`
	}
	if err := json.Unmarshal(read("/.well-known/openid-configuration"), &discovery); err != nil {
		x.t.Fatal(err)
	}
	if err := x.platform.Seed(venafisim.Seed{
		JWTIssuers: []venafisim.JWTIssuer{{Issuer: discovery.Issuer, Purpose: platformAudience, Keys: read("/openid/v1/jwks")}},
		Identities: []venafisim.Identity{{Name: "cluster", Subjects: []string{"system:serviceaccount:" + x.ns + ":" + account}}},
	}); err != nil {
		x.t.Fatal(err)
	}
}

// The login has no secret: the operator asks for tokens of a service account of the
// tenant's, once somebody has given it the right, and the platform takes them because it
// trusts this cluster.
func TestVenafiByServiceAccount(t *testing.T) {
	t.Parallel()
	x := newVenafiTenant(t, "Tokens", nil)
	x.trustCluster("claviger-tpp")
	x.create(&v1alpha1.CredentialIssuer{
		ObjectMeta: metav1.ObjectMeta{Namespace: x.ns, Name: "secretless"},
		Spec: v1alpha1.CredentialIssuerSpec{Venafi: &v1alpha1.VenafiIssuer{
			URL: x.platform.URL(), Use: "Tokens", ClientID: "claviger-operator", CABundle: string(x.platform.CA()),
			Login: v1alpha1.VenafiLogin{Method: "JWT", ServiceAccountRef: &v1alpha1.ServiceAccountReference{Name: "claviger-tpp", Audience: platformAudience}},
		}},
	})
	says := func(want state, words ...string) {
		t.Helper()
		x.eventually(soon, func() string {
			issuer := &v1alpha1.CredentialIssuer{}
			if err := x.world.Client.Get(x.ctx, x.key("secretless"), issuer); err != nil {
				return err.Error()
			}
			return lacks(issuer.Status.Conditions, v1alpha1.ConditionReady, want, words)
		})
	}
	says(state{"False", v1alpha1.ReasonServiceAccountNotUsable}, "no right to make tokens of ServiceAccount claviger-tpp")

	meta := metav1.ObjectMeta{Namespace: x.ns, Name: "claviger-tpp-tokens"}
	x.create(&rbacv1.Role{ObjectMeta: meta, Rules: []rbacv1.PolicyRule{{
		APIGroups: []string{""}, Resources: []string{"serviceaccounts/token"}, ResourceNames: []string{"claviger-tpp"}, Verbs: []string{"create"},
	}}})
	x.create(&rbacv1.RoleBinding{
		ObjectMeta: meta, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: meta.Name},
		Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: operatortest.Namespace, Name: operatortest.ServiceAccount}},
	})
	says(state{"False", v1alpha1.ReasonServiceAccountNotUsable}, "claviger-tpp", "does not exist in this namespace")
	x.create(&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: x.ns, Name: "claviger-tpp"}})
	says(state{"True", v1alpha1.ReasonLoggedIn})

	c := x.credential(func(c *v1alpha1.APIClientCredential) {
		c.Spec.IssuerRef.Name, c.Spec.IBMAPIConnect = "secretless", nil
		c.Spec.Venafi = &v1alpha1.VenafiCredential{Token: &v1alpha1.VenafiToken{ClientID: "team-a-pipeline", Scope: "certificate:manage"}}
		c.Spec.Secret.Template = &v1alpha1.SecretTemplate{Preset: "AccessToken"}
	})
	x.create(c)
	x.awaitReady("billing")
	if token := string(x.target("billing-api").Data["access-token"]); !x.platform.AcceptsToken(token) {
		t.Error("the published token is not accepted")
	}
	x.request(time.Now())
	x.awaitVersion(soon, 2)
	x.awaitCount("grants", x.grants, venafisim.Count{Issued: 2, Live: 1, Revoked: 1})
	for _, record := range x.platform.Ledger().Issued() {
		if record.Attrs["clientId"] == "team-a-pipeline" && record.How != "auth.jwt" {
			t.Errorf("a grant was made by %s", record.How)
		}
	}
	x.delete(c)
	x.awaitGone(soon, c)
	x.awaitCountOfGone("grants", x.grants, venafisim.Count{Issued: 2, Revoked: 2})
}
