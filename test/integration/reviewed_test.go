package integration

import (
	"errors"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/neosim"
)

// The reference flow for OAuth2 clients: two people must agree to generation, renewal and
// revocation, and everybody is told by mail. For API keys see TestIssueAndRenewalWaitForPeople.
func TestOAuth2ClientsWaitForPeopleWhoAreTold(t *testing.T) {
	t.Parallel()
	x := newNeoTenant(t, "HTTP")
	server := x.mailServer(nil)
	x.awaitChannel(state{metav1.ConditionTrue, v1alpha1.ReasonDelivers})
	bob, alice, carol := x.requester(), x.approver("alice@example.com"), x.approver("carol@example.com")
	update(x.tenant, "neo", &v1alpha1.CredentialIssuer{}, func(i *v1alpha1.CredentialIssuer) {
		i.Spec.Approval = &v1alpha1.ApprovalDemand{
			Operations: []v1alpha1.DemandedOperation{"Issue", "Renew", "Delete"}, Quorum: v1alpha1.QuorumAll, Approvers: []string{alice.name, carol.name},
		}
	})
	update(x.tenant, "policy", &v1alpha1.RotationPolicy{}, func(p *v1alpha1.RotationPolicy) {
		p.Spec.Notifications = []v1alpha1.Notification{
			{Channel: x.ns, Events: []v1alpha1.NotificationEvent{"ApprovalRequested"}, To: &v1alpha1.Recipients{Approvers: true}},
			{Channel: x.ns, Events: []v1alpha1.NotificationEvent{"Approved", "Issued", "Renewed", "Revoked"}, To: &v1alpha1.Recipients{Owner: true}},
		}
	})
	var want []string
	expect := func(to string, titles ...string) {
		for _, title := range titles {
			want = append(want, to+": "+strings.ReplaceAll(title, "billing", x.ns+"/billing"))
		}
	}
	// agree has people asked, sees that one of two is not enough, and that nothing was made or ended.
	agree := func(request int, what string, live int) {
		t.Helper()
		r := x.asked(request)
		title := "Approval is needed for " + what + " of credential billing"
		expect(alice.name, title)
		expect(carol.name, title)
		x.awaitInbox(server, want...)
		alice.decides(r, v1alpha1.Approve)
		x.awaitState(r, v1alpha1.ApprovalPending, alice.name)
		if n := x.neo.Stats().Clients.Live; n != live {
			t.Fatalf("%d clients live while people are asked about %s, want %d", n, what, live)
		}
		carol.decides(r, v1alpha1.Approve)
		expect(bob.name, "Approved: "+what+" of credential billing")
	}

	c := bob.asks(func(c *v1alpha1.APIClientCredential) {
		metav1.SetMetaDataAnnotation(&c.ObjectMeta, v1alpha1.AnnotationOwner, bob.name)
		c.Spec.IssuerRef.Name, c.Spec.IBMAPIConnect = "neo", nil
		c.Spec.SAPNeo = &v1alpha1.SAPNeoCredential{
			Application: "a99tmn", Roles: neoRoles, Probe: &v1alpha1.SAPNeoProbe{Path: "/api/v1/MessageProcessingLogs?$top=1"},
		}
	})
	agree(1, "a first version", 0)
	x.awaitReady("billing")
	expect(bob.name, "Credential billing was issued as version 1")
	x.awaitInbox(server, want...)

	bob.requests(time.Now())
	agree(2, "the renewal", 1)
	x.awaitVersion(soon, 2)
	expect(bob.name, "Credential billing was renewed: version 2", "Version 1 of credential billing was revoked")
	x.awaitInbox(server, want...)
	x.awaitCounts(neosim.Count{Issued: 2, Live: 1, Revoked: 1}, neosim.Count{Issued: 4, Live: 2, Revoked: 2})

	if err := bob.Delete(x.ctx, c); !strings.Contains(words(err), "people must agree") {
		t.Fatal(errors.Join(errors.New("it was deleted and nobody has agreed"), err))
	}
	bob.ends()
	agree(3, "the revocation", 1)
	x.awaitDeletionApproval(v1alpha1.DeletionApproved)
	x.eventually(soon, func() string { return words(bob.Delete(x.ctx, c)) })
	x.awaitGone(soon, c)
	expect(bob.name, "Credential billing was deleted and its version 2 revoked")
	x.awaitInbox(server, want...)
	if stats := x.neo.Stats(); stats.Clients.Live != 0 || stats.Duplicates != 0 {
		t.Errorf("left behind: %+v", stats)
	}
}
