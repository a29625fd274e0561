package integration

import (
	"bytes"
	"crypto/ecdsa"
	"encoding/pem"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"software.sslmate.com/src/go-pkcs12"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/journal"
	"github.com/claviger-dev/claviger/internal/simkit"
	"github.com/claviger-dev/claviger/internal/venafisim"
)

// keystoreTemplate asks for a keystore under the password in the Secret "keystore".
func keystoreTemplate() v1alpha1.SecretTemplate {
	return v1alpha1.SecretTemplate{Preset: "PKCS12", PKCS12: &v1alpha1.PKCS12Template{PasswordSecretRef: v1alpha1.SecretKeyReference{Name: "keystore"}}}
}

// keystore opens the published file and returns it with the certificates as PEM.
func (x *venafiTenant) keystore(password string) (file []byte, bundle string) {
	x.t.Helper()
	file = x.target("billing-api").Data["keystore.p12"]
	key, leaf, above, err := pkcs12.DecodeChain(file, password)
	if err != nil {
		x.t.Fatal(err)
	}
	if private, ok := key.(*ecdsa.PrivateKey); !ok || !private.PublicKey.Equal(leaf.PublicKey) {
		x.t.Error("the key does not fit the certificate")
	}
	var text bytes.Buffer
	for _, der := range append([][]byte{leaf.Raw}, above[0].Raw) {
		if err := pem.Encode(&text, &pem.Block{Type: "CERTIFICATE", Bytes: der}); err != nil {
			x.t.Fatal(err)
		}
	}
	return file, text.String()
}

func TestAKeystoreIsPublishedUnderAPasswordOfTheTeams(t *testing.T) {
	t.Parallel()
	x := newVenafiTenant(t, "Certificates", nil)
	certificates := func() venafisim.Count { return x.platform.Stats().Kinds["certificate"] }
	c := x.askAs(wantedCertificate(), "", keystoreTemplate())
	x.awaitReason("billing", v1alpha1.ReasonInvalidTemplate, "Secret keystore does not exist")
	x.awaitCountOfGone("certificates before there is a password", certificates, venafisim.Count{})

	first, second := secret("keystore password"), secret("next keystore password")
	x.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: x.ns, Name: "keystore"}, StringData: map[string]string{"password": first}})
	x.awaitReady("billing")
	file, bundle := x.keystore(first)
	if !x.platform.AcceptsCertificate(bundle, bundle) {
		t.Error("the platform does not accept what the keystore holds")
	}

	// Whatever is done to the Secret, the same version comes back as the same bytes.
	update(x.tenant, "billing-api", &corev1.Secret{}, func(s *corev1.Secret) { s.Data["keystore.p12"] = []byte("edited") })
	x.eventually(soon, func() string {
		if bytes.Equal(x.target("billing-api").Data["keystore.p12"], file) {
			return ""
		}
		return "the keystore is not put back"
	})

	// Another password is for the next version.
	update(x.tenant, "keystore", &corev1.Secret{}, func(s *corev1.Secret) { s.Data["password"] = []byte(second) })
	x.request(time.Now())
	x.awaitVersion(soon, 2)
	if _, bundle = x.keystore(second); !x.platform.AcceptsCertificate(bundle, bundle) {
		t.Error("the platform does not accept what the second keystore holds")
	}
	x.awaitCount("certificates", certificates, venafisim.Count{Issued: 2, Live: 1, Revoked: 1})
	x.delete(c)
	x.awaitGone(soon, c)
}

// awaitReason waits until a credential says why it is not ready.
func (x *tenant) awaitReason(name, reason string, words ...string) {
	x.t.Helper()
	x.eventually(soon, func() string {
		text := describe(x.get(name).Status.Conditions)
		for _, word := range append(words, reason) {
			if !strings.Contains(text, word) {
				return text
			}
		}
		return ""
	})
}

func TestAPresetThatTheMaterialDoesNotFitIsRefusedBeforeAnythingIsIssued(t *testing.T) {
	t.Parallel()
	x := newVenafiTenant(t, "Certificates", nil)
	x.askAs(wantedCertificate(), "", v1alpha1.SecretTemplate{Preset: "BasicAuth"})
	x.awaitReason("billing", v1alpha1.ReasonInvalidTemplate, "the preset BasicAuth needs .clientID, .clientSecret", "choose a preset that fits (CombinedPEM,")
	update(x.tenant, "billing", &v1alpha1.APIClientCredential{}, func(c *v1alpha1.APIClientCredential) {
		c.Spec.Secret.Template = &v1alpha1.SecretTemplate{Data: map[string]string{"token": "{{ .token }}"}}
	})
	x.awaitReason("billing", v1alpha1.ReasonInvalidTemplate, "this credential has no .token")
	if requests := x.platform.Calls().Total("certificate.request"); requests != 0 {
		t.Errorf("%d requests", requests)
	}
	update(x.tenant, "billing", &v1alpha1.APIClientCredential{}, func(c *v1alpha1.APIClientCredential) {
		c.Spec.Secret.Template = &v1alpha1.SecretTemplate{Preset: "CombinedPEM"}
	})
	x.awaitReady("billing")
	combined := x.target("billing-api").Data["tls-combined.pem"]
	key, chain := pem.Decode(combined)
	if key == nil || key.Type != "PRIVATE KEY" || !x.platform.AcceptsCertificate(string(chain), string(chain)) {
		t.Error("the combined file is not a key and a certificate that the platform accepts")
	}
}

func TestACredentialIsAProvisionedService(t *testing.T) {
	t.Parallel()
	x := newTenant(t, shared)
	x.create(x.issuer())
	x.create(x.credential(func(c *v1alpha1.APIClientCredential) {
		c.Spec.Secret.Type = "servicebinding.io/oauth2"
		c.Spec.Secret.Template = &v1alpha1.SecretTemplate{Preset: "ServiceBinding", ServiceBinding: &v1alpha1.ServiceBindingTemplate{Type: "oauth2"}}
	}))
	x.awaitReady("billing")
	bound := x.get("billing").Status.Binding
	if bound == nil {
		t.Fatal("status.binding is missing")
	}
	target := x.target(bound.Name)
	got := map[string]string{}
	for key, value := range target.Data {
		got[key] = string(value)
	}
	id, password := got["client-id"], got["client-secret"]
	want := map[string]string{"type": "oauth2", "provider": "ibmAPIConnect", "client-id": id, "client-secret": password}
	if diff := cmp.Diff(want, got); diff != "" || id == "" || password == "" || target.Type != "servicebinding.io/oauth2" {
		t.Errorf("type %s, %d keys:\n%s", target.Type, len(got), diff)
	}
}

// TestTheTemplateShowsThePreviousVersionWhileItLives: a workload that tries both never
// finds a dead one there.
func TestTheTemplateShowsThePreviousVersionWhileItLives(t *testing.T) {
	t.Parallel()
	x := newTenant(t, shared)
	x.ready(x.policy("Unlimited", "4s"), func(c *v1alpha1.APIClientCredential) {
		c.Spec.Secret.Previous = &v1alpha1.PreviousKeys{Suffix: "_old"}
	})
	first := x.target("billing-api").Data
	if _, ok := first["client_id_old"]; ok {
		t.Error("the first version has one before it")
	}
	held := x.hold("credential.delete", simkit.BeforeCommit)
	x.request(time.Now())
	x.awaitVersion(soon, 2)
	published := journal.ReadTarget(x.target("billing-api")).PublishedAt
	x.eventually(soon, func() string {
		data := x.target("billing-api").Data
		if string(data["client_id_old"]) != string(first["client_id"]) || string(data["client_secret_old"]) != string(first["client_secret"]) {
			return "the previous version does not stand in the Secret"
		}
		return ""
	})
	// Whoever edits it has it put back.
	update(x, "billing-api", &corev1.Secret{}, func(s *corev1.Secret) { s.Data["client_secret_old"] = []byte("edited") })
	x.eventually(soon, func() string {
		if string(x.target("billing-api").Data["client_secret_old"]) != string(first["client_secret"]) {
			return "the previous version is not put back"
		}
		return ""
	})
	if now := journal.ReadTarget(x.target("billing-api")).PublishedAt; !now.Equal(published) {
		t.Errorf("the publication of %s is now one of %s, and the overlap begins anew", published, now)
	}
	// At the moment at which it is revoked it is out of the Secret already.
	id := held()
	data := x.target("billing-api").Data
	if len(data) != 2 || string(data["client_id"]) == string(first["client_id"]) {
		t.Errorf("%d keys stand in the Secret while the previous version is revoked", len(data))
	}
	x.sim.Faults().Release(id, false)
	x.awaitIdle(1)
	if left := x.target("billing-api").Data; len(left) != 2 {
		t.Errorf("%d keys are left", len(left))
	}
	x.awaitRest()
}

func TestTemplateKeysOfThePreviousVersionMustBeOthers(t *testing.T) {
	t.Parallel()
	x := newTenant(t, shared)
	x.create(x.issuer())
	x.create(x.credential(func(c *v1alpha1.APIClientCredential) {
		c.Spec.Secret.Previous = &v1alpha1.PreviousKeys{Suffix: "_old"}
		c.Spec.Secret.Template = &v1alpha1.SecretTemplate{Data: map[string]string{"id": "{{ .clientID }}", "id_old": "{{ .clientSecret }}"}}
	}))
	x.awaitReason("billing", v1alpha1.ReasonInvalidTemplate, "the key id_old would be the previous version's id: choose another secret.previous.suffix")
}
