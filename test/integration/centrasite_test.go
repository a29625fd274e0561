package integration

import (
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/centrasitesim"
	"github.com/claviger-dev/claviger/internal/simkit"
)

// centraSiteTenant is a tenant whose credential billing is a key or a client of a CentraSite
// of its own.
type centraSiteTenant struct {
	*tenant
	site *centrasitesim.Sim
}

func newCentraSiteTenant(t *testing.T, behave func(*centrasitesim.Behaviour)) *centraSiteTenant {
	t.Helper()
	x := &centraSiteTenant{tenant: newTenant(t, shared)}
	seed, password := centrasitesim.Sample(), secret("centrasite password")
	seed.Users[0].Password = password
	behaviour := centrasitesim.Usual()
	if behave != nil {
		behave(&behaviour)
	}
	x.site = centrasitesim.New(centrasitesim.Options{Seed: seed, Behaviour: &behaviour})
	if err := x.site.Start(); err != nil {
		t.Fatal(err)
	}
	closeLater(x.site)
	x.create(&corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: x.ns, Name: "centrasite-login"},
		StringData: map[string]string{"username": "svc-k8s", "password": password},
	})
	x.create(&v1alpha1.CredentialIssuer{
		ObjectMeta: metav1.ObjectMeta{Namespace: x.ns, Name: "centrasite"},
		Spec: v1alpha1.CredentialIssuerSpec{CentraSite: &v1alpha1.CentraSiteIssuer{
			URL: x.site.URL(), UserID: "svc-k8s", CABundle: string(x.site.CA()),
			Approvals: v1alpha1.CentraSiteApprovals{URL: x.site.ApprovalURL(), Namespace: centrasitesim.Namespace},
			Mediator:  v1alpha1.CentraSiteMediator{URL: x.site.MediatorURL()},
			Login:     v1alpha1.CentraSiteLogin{SecretRef: v1alpha1.SecretReference{Name: "centrasite-login"}},
		}},
	})
	x.create(x.policy("Unlimited", "2s"))
	return x
}

// key asks for an API key of an API, named by its service.
func (x *centraSiteTenant) key(service string) *v1alpha1.APIClientCredential {
	x.t.Helper()
	return x.ask(v1alpha1.CentraSiteCredential{
		API: "uddi:" + strings.ToLower(strings.TrimSuffix(service, "VirtualService")), Type: "APIKey", Probe: &v1alpha1.CentraSiteProbe{Path: "/ws/" + service},
	}, map[string]string{"key": "{{ .apiKey }}"})
}

// ask makes the credential billing.
func (x *centraSiteTenant) ask(wanted v1alpha1.CentraSiteCredential, data map[string]string) *v1alpha1.APIClientCredential {
	x.t.Helper()
	c := x.credential(func(c *v1alpha1.APIClientCredential) {
		c.Spec.IssuerRef.Name, c.Spec.IBMAPIConnect, c.Spec.CentraSite = "centrasite", nil, &wanted
		c.Spec.Secret.Template = &v1alpha1.SecretTemplate{Data: data}
	})
	x.create(c)
	return c
}

func (x *centraSiteTenant) awaitTokens(want centrasitesim.Count) {
	x.t.Helper()
	x.eventually(soon, func() string {
		if got := x.site.Stats().Tokens; got != want {
			return fmt.Sprintf("there are %+v access tokens, want %+v", got, want)
		}
		return ""
	})
}

// awaitWords waits until the credential's conditions hold all of them.
func (x *centraSiteTenant) awaitWords(words ...string) {
	x.t.Helper()
	x.eventually(soon, func() string {
		conditions := describe(x.get("billing").Status.Conditions)
		for _, w := range words {
			if !strings.Contains(conditions, w) {
				return fmt.Sprintf("%q is not in %s", w, conditions)
			}
		}
		return ""
	})
}

// asked is the application that people were asked about as the n-th.
func (x *centraSiteTenant) askedInCentraSite(n int) string {
	x.t.Helper()
	app, seen := "", 0
	x.eventually(3*soon, func() string {
		app, seen = "", 0
		for _, e := range x.site.Events().Since(0) {
			if e.Type == centrasitesim.EventAsked {
				app = e.Attrs["appId"]
				seen++
			}
		}
		if seen != n {
			return fmt.Sprintf("people were asked %d times, want %d; %s", seen, n, x.told("billing"))
		}
		return ""
	})
	return app
}

func TestCentraSiteKeysRotateWithAnOverlap(t *testing.T) {
	t.Parallel()
	x := newCentraSiteTenant(t, func(b *centrasitesim.Behaviour) { b.DeployLag = simkit.Duration(time.Second) })
	c := x.key("OrdersVirtualService")
	x.awaitReady("billing")
	first := string(x.target("billing-api").Data["key"])
	if !x.site.AcceptsKey(first) || x.site.Stats().Tokens != (centrasitesim.Count{Issued: 1, Live: 1}) {
		t.Errorf("accepted: %v, %+v", x.site.AcceptsKey(first), x.site.Stats())
	}
	x.request(time.Now())
	x.awaitVersion(soon, 2)
	second := string(x.target("billing-api").Data["key"])
	if !x.site.AcceptsKey(second) || second == first {
		t.Errorf("accepted: %v, new: %v", x.site.AcceptsKey(second), second != first)
	}
	x.awaitTokens(centrasitesim.Count{Issued: 2, Live: 1, Revoked: 1})
	if renewals := x.site.Calls().Total("token.renew"); renewals != 0 {
		t.Errorf("%d renewals, which may change a key in use", renewals)
	}
	x.delete(c)
	x.awaitGone(soon, c)
	if stats := x.site.Stats(); stats != (centrasitesim.Stats{Requests: 2, Tokens: centrasitesim.Count{Issued: 2, Revoked: 2}}) {
		t.Errorf("left behind: %+v", stats)
	}
}

// What a lost answer was about is found, though people have approved it meanwhile and nobody
// asks them again.
func TestALostAnswerOfCentraSiteAsksNobodyTwice(t *testing.T) {
	t.Parallel()
	x := newCentraSiteTenant(t, nil)
	if _, err := x.site.Faults().Add(simkit.Fault{Operation: "token.create", Action: simkit.Cut, Point: simkit.AfterCommit}); err != nil {
		t.Fatal(err)
	}
	c := x.key("PayrollVirtualService")
	if err := x.site.Approve(x.askedInCentraSite(1), "alice"); err != nil {
		t.Fatal(err)
	}
	// Only when the call cannot be under way any more is it looked for.
	x.await(3*soon, v1alpha1.ConditionReady, published)
	if stats := x.site.Stats(); stats != (centrasitesim.Stats{Requests: 1, Tokens: centrasitesim.Count{Issued: 1, Live: 1}}) {
		t.Errorf("asked for more than once: %+v", stats)
	}
	x.delete(c)
	x.awaitGone(soon, c)
	x.awaitTokens(centrasitesim.Count{Issued: 1, Revoked: 1})
}

func TestCentraSiteClientsRotate(t *testing.T) {
	t.Parallel()
	x := newCentraSiteTenant(t, nil)
	c := x.ask(v1alpha1.CentraSiteCredential{API: "uddi:orders", Type: "OAuth2", Service: "OrdersVirtualService"},
		map[string]string{"id": "{{ .clientID }}", "secret": "{{ .clientSecret }}", "where": "{{ .tokenURL }}?{{ .scope }}"})
	x.awaitReady("billing")
	data := x.target("billing-api").Data
	if !x.site.AcceptsClient(string(data["id"]), string(data["secret"])) {
		t.Error("the client is not accepted")
	}
	if want := x.site.MediatorURL() + "/rest/pub.mediator.oauth2.getOAuth2AccessToken?OrdersVirtualService"; string(data["where"]) != want {
		t.Errorf("tokens are had at %s, want %s", data["where"], want)
	}
	x.request(time.Now())
	x.awaitVersion(soon, 2)
	x.awaitTokens(centrasitesim.Count{Issued: 2, Live: 1, Revoked: 1})
	x.delete(c)
	x.awaitGone(soon, c)
	x.awaitTokens(centrasitesim.Count{Issued: 2, Revoked: 2})
}

func TestAnApprovalInCentraSiteIsWaitedForAndItsRejectionIsFinal(t *testing.T) {
	t.Parallel()
	x := newCentraSiteTenant(t, func(b *centrasitesim.Behaviour) { b.RemarksInActions = true })
	c := x.key("PayrollVirtualService")
	app := x.askedInCentraSite(1)
	x.awaitWords("version 1 waits for a person: an approval in CentraSite is awaited")
	if err := x.site.Approve(app, "carol"); err != nil {
		t.Fatal(err)
	}
	x.awaitReady("billing")
	first := string(x.target("billing-api").Data["key"])

	// A renewal is asked for, and alice says no: what serves, serves on, and nobody is asked
	// again until somebody requests it.
	x.request(time.Now())
	app = x.askedInCentraSite(2)
	if err := x.site.Reject(app, "alice", "use the new gateway"); err != nil {
		t.Fatal(err)
	}
	x.awaitWords("version 2 is not made until somebody requests a rotation anew", "with the remarks: use the new gateway")
	if got := string(x.target("billing-api").Data["key"]); got != first || !x.site.AcceptsKey(first) {
		t.Error("the first key does not serve any more")
	}
	// Who requests it anew has the rejected version given up; the next one is asked for after a pause.
	x.request(time.Now())
	if err := x.site.Approve(x.askedInCentraSite(3), "alice"); err != nil {
		t.Fatal(err)
	}
	x.awaitVersion(soon, 3)
	x.awaitTokens(centrasitesim.Count{Issued: 2, Live: 1, Revoked: 1})
	x.delete(c)
	x.awaitGone(soon, c)
	if stats := x.site.Stats(); stats != (centrasitesim.Stats{Requests: 3, Tokens: centrasitesim.Count{Issued: 2, Revoked: 2}}) {
		t.Errorf("left behind: %+v", stats)
	}
}
