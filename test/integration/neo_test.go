package integration

import (
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/journal"
	"github.com/claviger-dev/claviger/internal/neosim"
	"github.com/claviger-dev/claviger/internal/simkit"
)

// neoTenant is a tenant whose credential billing is an OAuth client of a Neo landscape of
// its own, with the landscape's real limit of calls.
type neoTenant struct {
	*tenant
	neo *neosim.Sim
}

// the roles of the sample landscape that the credential asks for.
var neoRoles = []string{"IntegrationOperationServer.read", "NodeManager.read"}

func newNeoTenant(t *testing.T, registrar string) *neoTenant {
	t.Helper()
	x := &neoTenant{tenant: newTenant(t, shared)}
	seed := neosim.Sample()
	platform, token := secret("platform client"), secret("registrar token")
	seed.Accounts[0].PlatformClients = append(seed.Accounts[0].PlatformClients, neosim.PlatformClient{ID: "claviger", Secret: platform})
	seed.Accounts[0].RegistrarToken = token
	x.neo = neosim.New(neosim.Options{Seed: seed})
	if err := x.neo.Start(); err != nil {
		t.Fatal(err)
	}
	closeLater(x.neo)
	x.create(&corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: x.ns, Name: "neo-login"},
		StringData: map[string]string{"client_id": "claviger", "client_secret": platform, "registrar_token": token},
	})
	issuer := &v1alpha1.CredentialIssuer{
		ObjectMeta: metav1.ObjectMeta{Namespace: x.ns, Name: "neo"},
		Spec: v1alpha1.CredentialIssuerSpec{SAPNeo: &v1alpha1.SAPNeoIssuer{
			URL: x.neo.URL(), Account: "a99", TokenURL: x.neo.TokenURL("a99"), CABundle: string(x.neo.CA()),
			Applications: []v1alpha1.SAPNeoApplication{{
				Name: "a99tmn", ProviderAccount: "prov", Roles: neoRoles, URL: x.neo.ApplicationURL("a99", "a99tmn"),
			}},
			Registrar: v1alpha1.SAPNeoRegistrar{Type: registrar},
			Login:     v1alpha1.SAPNeoLogin{SecretRef: v1alpha1.SecretReference{Name: "neo-login"}},
		}},
	}
	if registrar == "HTTP" {
		issuer.Spec.SAPNeo.Registrar.URL = x.neo.RegistrarURL("a99")
	}
	x.create(issuer)
	x.create(x.policy("Unlimited", "2s"))
	return x
}

// ask makes the credential billing.
func (x *neoTenant) ask() *v1alpha1.APIClientCredential {
	x.t.Helper()
	c := x.credential(func(c *v1alpha1.APIClientCredential) {
		c.Spec.IssuerRef.Name, c.Spec.IBMAPIConnect = "neo", nil
		c.Spec.SAPNeo = &v1alpha1.SAPNeoCredential{
			Application: "a99tmn", Roles: neoRoles, Probe: &v1alpha1.SAPNeoProbe{Path: "/api/v1/MessageProcessingLogs?$top=1"},
		}
	})
	x.create(c)
	return c
}

// awaitCounts waits until the landscape holds so many clients and roles of users.
func (x *neoTenant) awaitCounts(clients, roles neosim.Count) {
	x.t.Helper()
	// A version whose answer was lost is revoked when no call for it can arrive any more.
	x.eventually(4*time.Minute, func() string {
		stats := x.neo.Stats()
		if stats.Clients == clients && stats.Assignments == roles {
			return ""
		}
		return fmt.Sprintf("the landscape counts %+v clients and %+v roles, want %+v and %+v; %s",
			stats.Clients, stats.Assignments, clients, roles, x.told("billing"))
	})
}

func TestNeoClientsByARegistrar(t *testing.T) {
	t.Parallel()
	x := newNeoTenant(t, "HTTP")
	// Both steps of the first issue are carried out, and their answers are lost.
	for _, operation := range []string{"client.put", "member.add"} {
		if _, err := x.neo.Faults().Add(simkit.Fault{Operation: operation, Action: simkit.Cut, Point: simkit.AfterCommit}); err != nil {
			t.Fatal(err)
		}
	}
	c := x.ask()
	x.awaitReady("billing")
	x.awaitCounts(neosim.Count{Issued: 1, Live: 1}, neosim.Count{Issued: 2, Live: 2})
	first := x.target("billing-api")
	if !x.neo.Accepts(string(first.Data["client_id"]), string(first.Data["client_secret"])) {
		t.Error("what is published is not accepted")
	}
	x.request(time.Now())
	x.awaitVersion(soon, 2)
	x.awaitCounts(neosim.Count{Issued: 2, Live: 1, Revoked: 1}, neosim.Count{Issued: 4, Live: 2, Revoked: 2})
	second := x.target("billing-api")
	if !x.neo.Accepts(string(second.Data["client_id"]), string(second.Data["client_secret"])) {
		t.Error("what is published after the rotation is not accepted")
	}
	x.delete(c)
	x.awaitGone(soon, c)
	stats := x.neo.Stats()
	if stats.Clients.Live != 0 || stats.Assignments.Live != 0 || stats.Duplicates != 0 {
		t.Errorf("left behind: %+v", stats)
	}
	if throttled := x.neo.Calls().Outcome("*", "429"); throttled != 0 {
		t.Errorf("the subaccount turned %d calls away", throttled)
	}
}

// register does what the message asks of a person: the newest version's id and secret go
// into the cockpit.
func (x *neoTenant) register(number int) string {
	x.t.Helper()
	var version corev1.Secret
	x.eventually(soon, func() string {
		versions := x.versions()
		if len(versions) == 0 || numberOf(versions[len(versions)-1]) != number {
			return fmt.Sprintf("version %d was not begun", number)
		}
		version = versions[len(versions)-1]
		for _, condition := range x.get("billing").Status.Conditions {
			if strings.Contains(condition.Message, "waits for a person") && strings.Contains(condition.Message, version.Name) {
				return ""
			}
		}
		return "no condition asks a person for version " + version.Name + "\n" + describe(x.get("billing").Status.Conditions)
	})
	id := string(version.Data["client_id"])
	client := neosim.Client{ID: id, Secret: string(version.Data["client_secret"]), Application: "a99tmn"}
	if err := x.neo.Register("a99", client); err != nil {
		x.t.Fatal(err)
	}
	return id
}

// deregister does what the message asks: it names the client that has no roles any more.
func (x *neoTenant) deregister(id string) {
	x.t.Helper()
	x.eventually(soon, func() string {
		for _, condition := range x.get("billing").Status.Conditions {
			if strings.Contains(condition.Message, "must delete the OAuth client "+id) {
				return ""
			}
		}
		return "no condition asks a person to delete " + id + "\n" + describe(x.get("billing").Status.Conditions)
	})
	if x.neo.Stats().Assignments.Live != 0 {
		for _, record := range x.neo.Ledger().Live() {
			if record.Attrs["user"] == "oauth_client_"+id {
				x.t.Errorf("a person is asked to delete %s, and it still has %s", id, record.Attrs["role"])
			}
		}
	}
	if err := x.neo.Deregister(id); err != nil {
		x.t.Fatal(err)
	}
}

func TestNeoClientsByAPerson(t *testing.T) {
	t.Parallel()
	x := newNeoTenant(t, "Manual")
	c := x.ask()
	first := x.register(1)
	x.awaitReady("billing")
	x.request(time.Now())
	second := x.register(2)
	x.awaitVersion(soon, 2)
	x.deregister(first)
	x.eventually(soon, func() string {
		if versions := x.versions(); len(versions) != 1 || versions[0].Annotations[journal.AnnotationMark] != second {
			return fmt.Sprintf("%d version Secrets are left, want that of %s alone", len(versions), second)
		}
		return ""
	})
	x.delete(c)
	x.deregister(second)
	x.awaitGone(soon, c)
	if stats := x.neo.Stats(); stats.Clients.Live != 0 || stats.Assignments.Live != 0 || stats.Clients.Issued != 2 {
		t.Errorf("left behind: %+v", stats)
	}
}
