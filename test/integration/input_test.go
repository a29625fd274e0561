package integration

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/apiconnectsim"
)

// A mistake is named where the user looks, with what to do; nothing is made upstream for
// it; and once its cause is gone the credential becomes ready by itself.
func TestBadInputIsNamedAndHealsByItself(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		// prepare makes the mistake; what it does not make is made afterwards.
		prepare func(x *tenant) (*v1alpha1.CredentialIssuer, *v1alpha1.APIClientCredential)
		reason  string
		says    []string
		heal    func(x *tenant)
		// within is how long healing may take.
		within time.Duration
	}{
		{
			"an issuer that does not exist",
			func(x *tenant) (*v1alpha1.CredentialIssuer, *v1alpha1.APIClientCredential) {
				return nil, x.credential()
			},
			v1alpha1.ReasonIssuerNotFound,
			[]string{`CredentialIssuer "apic" does not exist`},
			func(x *tenant) { x.create(x.issuer()) }, 15 * time.Second,
		},
		{
			"a policy that does not exist",
			func(x *tenant) (*v1alpha1.CredentialIssuer, *v1alpha1.APIClientCredential) {
				return x.issuer(), x.credential(func(c *v1alpha1.APIClientCredential) {
					c.Spec.PolicyRef = &v1alpha1.PolicyReference{Name: "policy"}
				})
			},
			v1alpha1.ReasonPolicyNotFound,
			[]string{`RotationPolicy "policy" does not exist`},
			func(x *tenant) { x.create(x.policy("90d", "10d")) }, 15 * time.Second,
		},
		{
			"a policy that is not accepted",
			func(x *tenant) (*v1alpha1.CredentialIssuer, *v1alpha1.APIClientCredential) {
				x.create(x.policy("90d", "10d", func(p *v1alpha1.RotationPolicy) {
					p.Spec.Windows = []v1alpha1.Window{{Schedule: "0 0 31 2 *", Duration: hour, TimeZone: "UTC"}} // the 31st of February
				}))
				return x.issuer(), x.credential()
			},
			v1alpha1.ReasonPolicyNotAccepted,
			[]string{`RotationPolicy "policy" is not accepted`, "0 0 31 2 *"},
			func(x *tenant) {
				update(x, "policy", &v1alpha1.RotationPolicy{}, func(p *v1alpha1.RotationPolicy) { p.Spec.Windows = nil })
			}, 15 * time.Second,
		},
		{
			"a consumer organisation that does not exist",
			func(x *tenant) (*v1alpha1.CredentialIssuer, *v1alpha1.APIClientCredential) {
				return x.issuer(), x.credential(func(c *v1alpha1.APIClientCredential) {
					c.Spec.IBMAPIConnect.ConsumerOrg = "wholesale"
				})
			},
			v1alpha1.ReasonUpstreamNotFound,
			[]string{`consumer organisation "wholesale" does not exist`},
			func(x *tenant) {
				x.add(apiconnectsim.Path{Org: "acme", Catalog: "production", ConsumerOrg: "wholesale", App: "billing"})
			}, 75 * time.Second,
		},
		{
			"an app that does not exist",
			func(x *tenant) (*v1alpha1.CredentialIssuer, *v1alpha1.APIClientCredential) {
				return x.issuer(), x.credential(func(c *v1alpha1.APIClientCredential) { c.Spec.IBMAPIConnect.App = "invoicing" })
			},
			v1alpha1.ReasonUpstreamNotFound,
			[]string{`app "invoicing" does not exist`, `"retail"`},
			func(x *tenant) {
				x.add(apiconnectsim.Path{Org: "acme", Catalog: "production", ConsumerOrg: "retail", App: "invoicing"})
			}, 75 * time.Second,
		},
		{
			"an app that has no subscription",
			func(x *tenant) (*v1alpha1.CredentialIssuer, *v1alpha1.APIClientCredential) {
				if err := x.sim.Subscribe(billing, false); err != nil {
					x.t.Fatal(err)
				}
				return x.issuer(), x.credential()
			},
			v1alpha1.ReasonVerifying,
			[]string{"403", "no subscription"},
			func(x *tenant) {
				if err := x.sim.Subscribe(billing, true); err != nil {
					x.t.Fatal(err)
				}
			}, soon,
		},
		{
			"a template with a function that does not exist",
			func(x *tenant) (*v1alpha1.CredentialIssuer, *v1alpha1.APIClientCredential) {
				return x.issuer(), x.credential(func(c *v1alpha1.APIClientCredential) {
					c.Spec.Secret.Template = &v1alpha1.SecretTemplate{Data: map[string]string{"url": "{{ env .clientID }}"}}
				})
			},
			v1alpha1.ReasonInvalidTemplate,
			[]string{"spec.secret.template", `"url"`, "there is no function env", "use b64enc"},
			dropTemplate, 15 * time.Second,
		},
		{
			"a template with a field that does not exist",
			func(x *tenant) (*v1alpha1.CredentialIssuer, *v1alpha1.APIClientCredential) {
				return x.issuer(), x.credential(func(c *v1alpha1.APIClientCredential) {
					c.Spec.Secret.Template = &v1alpha1.SecretTemplate{Data: map[string]string{"id": "{{ .clientId }}", "secret": "{{ .clientSecret }}"}}
				})
			},
			v1alpha1.ReasonInvalidTemplate,
			[]string{"spec.secret.template", `"id"`, "clientId"},
			dropTemplate, 15 * time.Second,
		},
		{
			"a login Secret that does not exist",
			func(x *tenant) (*v1alpha1.CredentialIssuer, *v1alpha1.APIClientCredential) {
				x.delete(x.login("apic-login", ""))
				return x.issuer(), x.credential()
			},
			v1alpha1.ReasonIssuerNotReady,
			[]string{"apic", v1alpha1.ReasonLoginSecretNotFound},
			func(x *tenant) { x.create(x.login("apic-login", x.password)) }, 15 * time.Second,
		},
		{
			"a login Secret without a password",
			func(x *tenant) (*v1alpha1.CredentialIssuer, *v1alpha1.APIClientCredential) {
				update(x, "apic-login", &corev1.Secret{}, func(s *corev1.Secret) { delete(s.Data, "password") })
				return x.issuer(), x.credential()
			},
			v1alpha1.ReasonIssuerNotReady,
			[]string{"apic", v1alpha1.ReasonInvalidSettings},
			func(x *tenant) {
				update(x, "apic-login", &corev1.Secret{}, func(s *corev1.Secret) { s.Data["password"] = []byte(x.password) })
			}, 15 * time.Second,
		},
		{
			"a wrong password",
			func(x *tenant) (*v1alpha1.CredentialIssuer, *v1alpha1.APIClientCredential) {
				update(x, "apic-login", &corev1.Secret{}, func(s *corev1.Secret) { s.Data["password"] = []byte(secret("wrong password")) })
				return x.issuer(), x.credential()
			},
			v1alpha1.ReasonIssuerNotReady,
			[]string{"apic", v1alpha1.ReasonLoginFailed},
			func(x *tenant) {
				update(x, "apic-login", &corev1.Secret{}, func(s *corev1.Secret) { s.Data["password"] = []byte(x.password) })
			}, 15 * time.Second,
		},
		{
			"a Secret of that name that belongs to somebody else",
			func(x *tenant) (*v1alpha1.CredentialIssuer, *v1alpha1.APIClientCredential) {
				x.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: x.ns, Name: "billing-api"}, StringData: map[string]string{"client_id": "theirs"}})
				return x.issuer(), x.credential()
			},
			v1alpha1.ReasonSecretNotOurs,
			[]string{"belongs to somebody else", "delete or rename it"},
			func(x *tenant) {
				x.delete(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: x.ns, Name: "billing-api"}})
			}, 75 * time.Second,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			x := newTenant(t, shared)
			issuer, credential := test.prepare(x)
			if issuer != nil {
				x.create(issuer)
			}
			x.create(credential)
			x.await(soon, v1alpha1.ConditionReady, state{metav1.ConditionFalse, test.reason}, test.says...)
			x.throughout(2*time.Second, func() string {
				return lacks(x.get("billing").Status.Conditions, v1alpha1.ConditionReady, state{metav1.ConditionFalse, test.reason}, test.says)
			})
			kstatus(x)
			issuedBefore := 0
			if test.reason == v1alpha1.ReasonVerifying {
				issuedBefore = 1 // only the gateway can tell
			}
			if got := len(x.sim.Ledger().Issued()); got != issuedBefore {
				t.Errorf("%d credentials exist upstream because of a mistake", got)
			}

			test.heal(x)
			x.await(test.within, v1alpha1.ConditionReady, published)
			kstatus(x)
			x.awaitIdle(1)
			if got := len(x.sim.Ledger().Issued()); got != 1 {
				t.Errorf("%d credentials were issued for one", got)
			}
		})
	}
}

func dropTemplate(x *tenant) {
	x.change(func(c *v1alpha1.APIClientCredential) { c.Spec.Secret.Template = nil })
}

func (x *tenant) add(path apiconnectsim.Path) {
	x.t.Helper()
	if _, err := x.sim.Add(path); err != nil {
		x.t.Fatal(err)
	}
}

// kstatus checks what generic tools rely upon: exactly one of Reconciling and Stalled
// stands beside a Ready that is False, and none beside one that is True.
func kstatus(x *tenant) {
	x.t.Helper()
	c := x.get("billing").Status.Conditions
	ready := stateOf(c, v1alpha1.ConditionReady).Status
	others := 0
	for _, kind := range []string{v1alpha1.ConditionReconciling, v1alpha1.ConditionStalled} {
		if s := stateOf(c, kind); s != (state{}) {
			others++
			if s.Status != metav1.ConditionTrue {
				x.t.Errorf("%s stands there and is not True", kind)
			}
		}
	}
	if want := map[metav1.ConditionStatus]int{"True": 0, "False": 1}[ready]; others != want {
		x.t.Errorf("%d of Reconciling and Stalled beside Ready=%s:\n%s", others, ready, describe(c))
	}
}

// A wrong login is told once, by the issuer, with its cause and the cure; and it is not
// tried again and again, since accounts lock.
func TestAnIssuerSaysWhatIsWrongWithItsLogin(t *testing.T) {
	t.Parallel()
	x := newTenant(t, shared)
	update(x, "apic-login", &corev1.Secret{}, func(s *corev1.Secret) { s.Data["password"] = []byte(secret("wrong password")) })
	x.create(x.issuer())
	x.awaitIssuer(soon, state{metav1.ConditionFalse, v1alpha1.ReasonLoginFailed}, "401", "correct the login in Secret apic-login")
	for _, name := range []string{"one", "two", "three"} {
		x.create(x.credential(func(c *v1alpha1.APIClientCredential) { c.Name, c.Spec.Secret.Name = name, name+"-api" }))
	}
	x.eventually(soon, func() string {
		for _, name := range []string{"one", "two", "three"} {
			if lack := lacks(x.get(name).Status.Conditions, v1alpha1.ConditionReady, state{"False", v1alpha1.ReasonIssuerNotReady}, nil); lack != "" {
				return lack
			}
		}
		return ""
	})
	x.throughout(8*time.Second, func() string { return "" })
	// The pauses are 5, 10, 20 … seconds; the session's own are not shorter.
	if got := x.calls("token.password"); got > 4 {
		t.Errorf("a wrong password was tried %d times in 10 seconds", got)
	}
	update(x, "apic-login", &corev1.Secret{}, func(s *corev1.Secret) { s.Data["password"] = []byte(x.password) })
	x.awaitIssuer(15*time.Second, state{metav1.ConditionTrue, v1alpha1.ReasonLoggedIn})
	for _, name := range []string{"one", "two", "three"} {
		x.awaitReady(name)
	}
	x.awaitIdle(3)
}

// A password that is changed upstream first and here a little later costs nothing but
// the time in between.
func TestALoginThatStopsWorkingIsPickedUpAgain(t *testing.T) {
	t.Parallel()
	x := newTenant(t, shared)
	x.ready(x.policy("Unlimited", "3s"))
	next := secret("next password")
	if _, err := x.sim.Seed(apiconnectsim.Seed{Logins: []apiconnectsim.Login{{Username: "claviger", Password: next, Realm: realm}}}); err != nil {
		t.Fatal(err)
	}
	x.sim.ExpireTokens(true)
	x.request(time.Now())
	x.awaitIssuer(soon, state{metav1.ConditionFalse, v1alpha1.ReasonLoginFailed})
	x.await(soon, v1alpha1.ConditionAttention, state{"True", v1alpha1.ReasonIssuerNotReady})
	x.await(soon, v1alpha1.ConditionReady, published)
	update(x, "apic-login", &corev1.Secret{}, func(s *corev1.Secret) { s.Data["password"] = []byte(next) })
	x.awaitVersion(soon, 2)
	x.awaitIdle(1)
	x.await(soon, v1alpha1.ConditionAttention, state{})
}

func TestAdmissionRefusesWhatCanNeverWork(t *testing.T) {
	t.Parallel()
	x := newTenant(t, shared)
	for _, test := range []struct {
		name   string
		object client.Object
		says   string
	}{
		{"an overlap of zero", x.policy("90d", "0d"), "an interval of zero is refused"},
		{"an age of zero", x.policy("0d", "1d"), "an interval of zero is refused"},
		{"months or minutes", x.policy("6m", "1d"), "a bare m is ambiguous here: write mo for months or min for minutes"},
		{"a negative age", x.policy("-1d", "1d"), "write whole numbers with the units"},
		{"ten million years", x.policy("9999999y", "1d"), "longer than a hundred years: write Unlimited for never"},
		{"an overlap as long as the age", x.policy("10d", "10d"), "overlap must be smaller than rotateAfter"},
		{"a credential of no upstream", x.credential(func(c *v1alpha1.APIClientCredential) { c.Spec.IBMAPIConnect = nil }), "exactly one upstream must be set"},
		{"an issuer of no upstream", x.issuer(func(i *v1alpha1.CredentialIssuer) { i.Spec.IBMAPIConnect = nil }), "exactly one upstream must be set"},
	} {
		err := x.world.Client.Create(x.ctx, test.object)
		if err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: want a refusal that says %q, got %v", test.name, test.says, err)
		}
	}
	if got := x.platformCalls(); got != 0 {
		t.Errorf("%d calls to the upstream", got)
	}
}
