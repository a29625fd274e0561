package integration

import (
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/simkit"
	"github.com/claviger-dev/claviger/internal/webmethodssim"
)

// gatewayTenant is a tenant whose credential billing is a key or a client of a webMethods API
// Gateway of its own.
type gatewayTenant struct {
	*tenant
	gateway *webmethodssim.Sim
}

func newGatewayTenant(t *testing.T, behave func(*webmethodssim.Behaviour)) *gatewayTenant {
	t.Helper()
	x := &gatewayTenant{tenant: newTenant(t, shared)}
	seed, password := webmethodssim.Sample(), secret("gateway password")
	seed.Users = []webmethodssim.User{{Name: "operator", Password: password}}
	behaviour := webmethodssim.Usual()
	if behave != nil {
		behave(&behaviour)
	}
	x.gateway = webmethodssim.New(webmethodssim.Options{Seed: seed, Behaviour: &behaviour})
	if err := x.gateway.Start(); err != nil {
		t.Fatal(err)
	}
	closeLater(x.gateway)
	x.create(&corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: x.ns, Name: "gateway-login"},
		StringData: map[string]string{"username": "operator", "password": password},
	})
	x.create(&v1alpha1.CredentialIssuer{
		ObjectMeta: metav1.ObjectMeta{Namespace: x.ns, Name: "gateway"},
		Spec: v1alpha1.CredentialIssuerSpec{WebMethodsGateway: &v1alpha1.WebMethodsGatewayIssuer{
			URL: x.gateway.URL(), GatewayURL: x.gateway.RuntimeURL(), CABundle: string(x.gateway.CA()),
			Login: v1alpha1.WebMethodsGatewayLogin{SecretRef: v1alpha1.SecretReference{Name: "gateway-login"}},
		}},
	})
	x.create(x.policy("Unlimited", "2s"))
	return x
}

// ask makes the credential billing.
func (x *gatewayTenant) ask(wanted v1alpha1.WebMethodsGatewayCredential) *v1alpha1.APIClientCredential {
	x.t.Helper()
	wanted.Probe = &v1alpha1.WebMethodsGatewayProbe{Path: "/gateway/orders/1.0/health"}
	c := x.credential(func(c *v1alpha1.APIClientCredential) {
		c.Spec.IssuerRef.Name, c.Spec.IBMAPIConnect, c.Spec.WebMethodsGateway = "gateway", nil, &wanted
		if wanted.Type == "APIKey" {
			c.Spec.Secret.Template = &v1alpha1.SecretTemplate{Data: map[string]string{"key": "{{ .apiKey }}"}}
		}
	})
	x.create(c)
	return c
}

func (x *gatewayTenant) askKey() *v1alpha1.APIClientCredential {
	x.t.Helper()
	return x.ask(v1alpha1.WebMethodsGatewayCredential{Type: "APIKey", APIs: []v1alpha1.WebMethodsGatewayAPI{{Name: "orders", Version: "1.0"}}})
}

// count is what the gateway counts of a kind, without what its people made.
func (x *gatewayTenant) count(kind string) webmethodssim.Count {
	count := x.gateway.Stats().Kinds[kind]
	return webmethodssim.Count{Issued: count.Issued - 1, Live: count.Live - 1, Revoked: count.Revoked}
}

func (x *gatewayTenant) awaitCount(kind string, want webmethodssim.Count) {
	x.t.Helper()
	// What a lost answer was about is looked for when no call for it can arrive any more.
	x.eventually(4*time.Minute, func() string {
		if got := x.count(kind); got != want {
			return fmt.Sprintf("the gateway counts %+v of %s, want %+v; %s", got, kind, want, x.told("billing"))
		}
		return ""
	})
}

// key is the published one, which must be served.
func (x *gatewayTenant) key() string {
	x.t.Helper()
	key := string(x.target("billing-api").Data["key"])
	if !x.gateway.AcceptsKey("orders", key) {
		x.t.Error("the published key is not accepted")
	}
	return key
}

func TestGatewayKeys(t *testing.T) {
	t.Parallel()
	x := newGatewayTenant(t, func(b *webmethodssim.Behaviour) { b.MediatorRefusals, b.KeyLag = true, simkit.Duration(time.Second) })
	c := x.askKey()
	x.awaitReady("billing")
	first := x.key()
	x.request(time.Now())
	x.awaitVersion(soon, 2)
	if x.key() == first {
		t.Error("the rotation published the same key")
	}
	x.awaitCount("application", webmethodssim.Count{Issued: 2, Live: 1, Revoked: 1})
	if suspensions := x.gateway.Calls().Total("application.suspend"); suspensions != 1 {
		t.Errorf("%d suspensions, want 1 before the deletion", suspensions)
	}
	x.delete(c)
	x.awaitGone(soon, c)
	if got, want := x.count("application"), (webmethodssim.Count{Issued: 2, Revoked: 2}); got != want {
		t.Errorf("left behind: %+v, want %+v", got, want)
	}
	for _, never := range []string{"key.redate", "key.create"} {
		if calls := x.gateway.Calls().Total(never); calls != 0 {
			t.Errorf("%d calls of %s", calls, never)
		}
	}
}

// A creation whose answer was lost leaves nothing behind: it is found and used.
func TestGatewayKeysWhoseAnswerIsLost(t *testing.T) {
	t.Parallel()
	x := newGatewayTenant(t, nil)
	if _, err := x.gateway.Faults().Add(simkit.Fault{Operation: "application.create", Action: simkit.Cut, Point: simkit.AfterCommit}); err != nil {
		t.Fatal(err)
	}
	c := x.askKey()
	x.awaitCount("application", webmethodssim.Count{Issued: 1, Live: 1})
	x.eventually(4*time.Minute, func() string {
		if x.get("billing").Status.Version == 1 {
			return ""
		}
		return describe(x.get("billing").Status.Conditions)
	})
	x.key()
	x.delete(c)
	x.awaitGone(soon, c)
	if got, want := x.count("application"), (webmethodssim.Count{Issued: 1, Revoked: 1}); got != want {
		t.Errorf("left behind: %+v, want %+v", got, want)
	}
}

func TestGatewayClients(t *testing.T) {
	t.Parallel()
	x := newGatewayTenant(t, nil)
	shop := x.gateway.ApplicationID("shop")
	theirs := x.gateway.Strategies(shop)
	c := x.ask(v1alpha1.WebMethodsGatewayCredential{Type: "OAuth2", Application: "shop", Scopes: []string{"orders"}})
	x.awaitReady("billing")
	accepted := func() string {
		target := x.target("billing-api")
		id := string(target.Data["client_id"])
		if !x.gateway.AcceptsClient("orders", id, string(target.Data["client_secret"])) {
			t.Error("the published client is not accepted")
		}
		return id
	}
	first := accepted()
	x.request(time.Now())
	x.awaitVersion(soon, 2)
	if accepted() == first {
		t.Error("the rotation published the same client")
	}
	x.awaitCount("strategy", webmethodssim.Count{Issued: 2, Live: 1, Revoked: 1})
	x.delete(c)
	x.awaitGone(soon, c)
	if got, want := x.count("strategy"), (webmethodssim.Count{Issued: 2, Revoked: 2}); got != want {
		t.Errorf("left behind: %+v, want %+v", got, want)
	}
	if left := x.gateway.Strategies(shop); strings.Join(left, " ") != strings.Join(theirs, " ") {
		t.Errorf("the application has the strategies %v, want %v as before", left, theirs)
	}
}

// decide is what the approver does with the only request that waits, once a condition tells of
// it.
func (x *gatewayTenant) decide(event string, approved bool, comment string) {
	x.t.Helper()
	var id string
	x.eventually(soon, func() string {
		conditions := describe(x.get("billing").Status.Conditions)
		for _, request := range x.gateway.Requests() {
			if request.Event == event && request.Status == "pending" && strings.Contains(conditions, request.ID) {
				id = request.ID
				return ""
			}
		}
		return fmt.Sprintf("no condition tells of a request for %s among %+v; %s", event, x.gateway.Requests(), conditions)
	})
	if err := x.gateway.Decide(id, approved, comment); err != nil {
		x.t.Fatal(err)
	}
}

func TestGatewayApprovals(t *testing.T) {
	t.Parallel()
	x := newGatewayTenant(t, func(b *webmethodssim.Behaviour) {
		b.Approve = []string{"createApplication", "registerApplication"}
		b.Pending = webmethodssim.PendingRequest
	})
	c := x.askKey()
	x.decide("createApplication", true, "")
	x.decide("registerApplication", true, "")
	x.awaitReady("billing")
	first := x.key()
	// The successor is rejected: the comment is in a condition, what is published stays, and
	// nobody is asked again.
	x.request(time.Now())
	x.decide("createApplication", false, "not before the audit")
	x.eventually(soon, func() string {
		if conditions := describe(x.get("billing").Status.Conditions); !strings.Contains(conditions, "not before the audit") {
			return conditions
		}
		return ""
	})
	if x.key() != first {
		t.Error("the Secret changed")
	}
	x.delete(c)
	// Nothing of the rejected version is there, which is believed the second time only.
	x.awaitGone(4*time.Minute, c)
	if requests := x.gateway.Requests(); len(requests) != 3 {
		t.Errorf("requests %+v, want three, each made once", requests)
	}
	if got, want := x.count("application"), (webmethodssim.Count{Issued: 1, Revoked: 1}); got != want {
		t.Errorf("left behind: %+v, want %+v", got, want)
	}
}
