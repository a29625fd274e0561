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
	"github.com/claviger-dev/claviger/internal/webmethodsportalsim"
)

// portalTenant is a tenant whose credential billing is an application of a webMethods
// Developer Portal of its own.
type portalTenant struct {
	*tenant
	portal *webmethodsportalsim.Sim
	api    string
}

func newPortalTenant(t *testing.T, deletion string, behave func(*webmethodsportalsim.Behaviour)) *portalTenant {
	t.Helper()
	seed, password := webmethodsportalsim.Sample(), secret("portal password")
	seed.Users[0].Password = password
	behaviour := webmethodsportalsim.Usual()
	if behave != nil {
		behave(&behaviour)
	}
	x := &portalTenant{
		tenant: newTenant(t, shared), api: seed.APIs[0].ID,
		portal: webmethodsportalsim.New(webmethodsportalsim.Options{Seed: seed, Behaviour: &behaviour}),
	}
	if err := x.portal.Start(); err != nil {
		t.Fatal(err)
	}
	closeLater(x.portal)
	x.create(&corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: x.ns, Name: "portal-login"},
		StringData: map[string]string{"username": seed.Users[0].Name, "password": password},
	})
	x.create(&v1alpha1.CredentialIssuer{
		ObjectMeta: metav1.ObjectMeta{Namespace: x.ns, Name: "portal"},
		Spec: v1alpha1.CredentialIssuerSpec{WebMethodsPortal: &v1alpha1.WebMethodsPortalIssuer{
			URL: x.portal.URL(), Gateway: &v1alpha1.WebMethodsPortalGateway{URL: x.portal.GatewayURL()}, Deletion: deletion,
			Login:    v1alpha1.WebMethodsPortalLogin{SecretRef: v1alpha1.SecretReference{Name: "portal-login"}},
			CABundle: string(x.portal.CA()),
		}},
	})
	x.create(x.policy("Unlimited", "2s"))
	return x
}

// ask makes the credential billing, with a probe.
func (x *portalTenant) ask(kind string, data map[string]string) *v1alpha1.APIClientCredential {
	x.t.Helper()
	c := x.credential(func(c *v1alpha1.APIClientCredential) {
		c.Spec.IssuerRef.Name, c.Spec.IBMAPIConnect = "portal", nil
		c.Spec.WebMethodsPortal = &v1alpha1.WebMethodsPortalCredential{
			Type: kind, APIs: []string{x.api}, Probe: &v1alpha1.WebMethodsPortalProbe{Path: "/gateway/" + x.api + "/status"},
		}
		c.Spec.Secret.Template = &v1alpha1.SecretTemplate{Data: data}
	})
	x.create(c)
	return c
}

func (x *portalTenant) awaitApplications(want webmethodsportalsim.Count) {
	x.t.Helper()
	// A version whose answer was lost is decided when no call for it can arrive any more.
	x.eventually(4*time.Minute, func() string {
		if got := x.portal.Stats().Applications; got != want {
			return fmt.Sprintf("the portal counts %+v applications, want %+v; %s", got, want, x.told("billing"))
		}
		return ""
	})
}

// awaitAsked waits until people are asked for so many things upstream, and the credential
// says so.
func (x *portalTenant) awaitAsked(words string) webmethodsportalsim.Waiting {
	x.t.Helper()
	var waiting []webmethodsportalsim.Waiting
	x.eventually(soon, func() string {
		if waiting = x.portal.Waiting(); len(waiting) != 1 {
			return fmt.Sprintf("%d requests wait for people, want 1; %s", len(waiting), x.told("billing"))
		}
		for _, condition := range x.get("billing").Status.Conditions {
			if strings.Contains(condition.Message, words) {
				return ""
			}
		}
		return fmt.Sprintf("no condition says %q\n%s", words, x.told("billing"))
	})
	return waiting[0]
}

// noOrphans: whatever happened, the gateway was never left with an application that the
// portal has forgotten.
func (x *portalTenant) noOrphans(creations int) {
	x.t.Helper()
	if stats := x.portal.Stats(); stats.Orphans != 0 || stats.Applications.Live != 0 {
		x.t.Errorf("left behind: %+v", stats)
	}
	if asked := x.portal.Asked("APPLICATION_CREATION_REQUEST"); asked != creations {
		x.t.Errorf("%d applications were requested, want %d", asked, creations)
	}
}

func TestPortalKeys(t *testing.T) {
	t.Parallel()
	x := newPortalTenant(t, "Delete", func(b *webmethodsportalsim.Behaviour) { b.Stages, b.KeyLag = nil, simkit.Duration(time.Second) })
	// The request is made, and its answer is lost.
	if _, err := x.portal.Faults().Add(simkit.Fault{Operation: "request.create", Action: simkit.Cut, Point: simkit.AfterCommit}); err != nil {
		t.Fatal(err)
	}
	c := x.ask("APIKey", map[string]string{"api_key": "{{ .apiKey }}", "url": "{{ .url }}"})
	x.awaitApplications(webmethodsportalsim.Count{Issued: 1, Live: 1})
	x.eventually(4*time.Minute, func() string {
		if x.get("billing").Status.Version == 1 {
			return ""
		}
		return describe(x.get("billing").Status.Conditions)
	})
	first := string(x.target("billing-api").Data["api_key"])
	if !x.portal.Accepts(first, "", "") {
		t.Error("what is published is not accepted")
	}
	x.request(time.Now())
	x.awaitVersion(soon, 2)
	x.awaitApplications(webmethodsportalsim.Count{Issued: 2, Live: 1, Revoked: 1})
	second := string(x.target("billing-api").Data["api_key"])
	if !x.portal.Accepts(second, "", "") || x.portal.Accepts(first, "", "") || second == first {
		t.Errorf("the new key is accepted: %t, the old one: %t", x.portal.Accepts(second, "", ""), x.portal.Accepts(first, "", ""))
	}
	x.delete(c)
	x.awaitGone(soon, c)
	x.noOrphans(2)
}

func TestPortalClientsWaitForPeopleUpstream(t *testing.T) {
	t.Parallel()
	x := newPortalTenant(t, "Request", func(b *webmethodsportalsim.Behaviour) { b.CreationNeedsApproval, b.DeletionNeedsApproval = true, true })
	c := x.ask("OAuth2", map[string]string{"client_id": "{{ .clientID }}", "client_secret": "{{ .clientSecret }}"})
	decide := func(words string) {
		t.Helper()
		if err := x.portal.Decide(x.awaitAsked(words).ID, true, "fine"); err != nil {
			t.Fatal(err)
		}
	}
	decide("an approval in the portal is awaited")
	x.awaitReady("billing")
	first := x.target("billing-api")
	x.request(time.Now())
	decide("an approval in the portal is awaited")
	x.awaitVersion(soon, 2)
	// The one before is retired, which people must agree to as well.
	decide("an approval in the portal is awaited")
	x.awaitApplications(webmethodsportalsim.Count{Issued: 2, Live: 1, Revoked: 1})
	second := x.target("billing-api")
	if x.portal.Accepts("", string(first.Data["client_id"]), string(first.Data["client_secret"])) ||
		!x.portal.Accepts("", string(second.Data["client_id"]), string(second.Data["client_secret"])) {
		t.Error("it is not the new client alone that is accepted")
	}
	x.delete(c)
	decide("an approval in the portal is awaited")
	x.awaitGone(soon, c)
	x.noOrphans(2)
	if asked := x.portal.Asked("APPLICATION_DELETION_REQUEST"); asked != 2 {
		t.Errorf("%d deletions were requested, want 2", asked)
	}
}

func TestPortalRejectionsAreTheReviewersWords(t *testing.T) {
	t.Parallel()
	x := newPortalTenant(t, "Delete", func(b *webmethodsportalsim.Behaviour) { b.CreationNeedsApproval = true })
	c := x.ask("APIKey", map[string]string{"api_key": "{{ .apiKey }}"})
	if err := x.portal.Decide(x.awaitAsked("an approval in the portal is awaited").ID, false, "use the sandbox first"); err != nil {
		t.Fatal(err)
	}
	x.eventually(soon, func() string {
		for _, condition := range x.get("billing").Status.Conditions {
			if strings.Contains(condition.Message, "use the sandbox first") {
				return ""
			}
		}
		return describe(x.get("billing").Status.Conditions)
	})
	if asked := x.portal.Asked("APPLICATION_CREATION_REQUEST"); asked != 1 {
		t.Errorf("people were asked %d times, want once", asked)
	}
	x.delete(c)
	// A version that nobody has made is believed to be nowhere the second time only.
	x.awaitGone(6*time.Minute, c)
	x.noOrphans(1)
}
