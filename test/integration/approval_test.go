package integration

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/claviger-dev/claviger/api/v1alpha1"
)

// someone is a user with rights in the tenant's namespace and nowhere else.
type someone struct {
	*tenant
	client.Client
	name string
}

// person binds roles of config/rbac to a user.
func (x *tenant) person(name string, groups []string, roles ...string) someone {
	x.t.Helper()
	for _, role := range roles {
		x.create(&rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: x.ns, Name: strings.ReplaceAll(name, "@", ".") + "-" + role},
			Subjects:   []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: name}},
			RoleRef:    rbacv1.RoleRef{Kind: "ClusterRole", APIGroup: rbacv1.GroupName, Name: role},
		})
	}
	config := x.world.Plane.Config()
	config.Impersonate = rest.ImpersonationConfig{UserName: name, Groups: append([]string{"system:authenticated"}, groups...)}
	c, err := client.New(config, client.Options{Scheme: x.world.Client.Scheme()})
	if err != nil {
		x.t.Fatal(err)
	}
	return someone{x, c, name}
}

// requester may write credentials, and approver may decide.
func (x *tenant) requester() someone {
	return x.person("bob@example.com", nil, "claviger-edit", "claviger-view")
}

func (x *tenant) approver(name string, groups ...string) someone {
	x.t.Helper()
	x.eventually(soon, func() string {
		// What is said in the first ten seconds of a policy is not heard (hazard C8.4).
		binding := &admissionv1.ValidatingAdmissionPolicyBinding{}
		for _, policy := range []string{"claviger-decisions", "claviger-approvals", "claviger-requesters"} {
			if err := x.world.Client.Get(x.ctx, client.ObjectKey{Name: policy}, binding); err != nil {
				return err.Error()
			}
			if age := time.Since(binding.CreationTimestamp.Time); age < 13*time.Second {
				return fmt.Sprintf("the policy %s is only %s old", policy, age)
			}
		}
		return ""
	})
	return x.person(name, groups, "claviger-approver")
}

// asks writes the credential billing under the requester's name.
func (p someone) asks(changes ...func(*v1alpha1.APIClientCredential)) *v1alpha1.APIClientCredential {
	p.t.Helper()
	c := p.credential(append(changes, p.signs)...)
	p.eventually(soon, func() string { return words(p.Create(p.ctx, c)) })
	return c
}

func (p someone) signs(c *v1alpha1.APIClientCredential) {
	metav1.SetMetaDataAnnotation(&c.ObjectMeta, v1alpha1.AnnotationRequestedBy, p.name)
}

// edits changes the credential billing under the requester's name.
func (p someone) edits(change func(*v1alpha1.APIClientCredential)) {
	p.t.Helper()
	p.changes(func(c *v1alpha1.APIClientCredential) {
		change(c)
		p.signs(c)
	})
}

func (p someone) requests(at time.Time) {
	p.t.Helper()
	p.edits(func(c *v1alpha1.APIClientCredential) {
		metav1.SetMetaDataAnnotation(&c.ObjectMeta, v1alpha1.AnnotationRotateRequestedAt, at.UTC().Format(time.RFC3339Nano))
	})
}

func words(err error) string {
	if err != nil {
		return err.Error()
	}
	return ""
}

// decides answers a request; a right that the API server does not know of yet is waited for.
func (p someone) decides(request *v1alpha1.ApprovalRequest, word v1alpha1.DecisionWord, changes ...func(*v1alpha1.ApprovalDecision)) {
	p.t.Helper()
	d := &v1alpha1.ApprovalDecision{
		ObjectMeta: metav1.ObjectMeta{Namespace: p.ns, GenerateName: "answer-"},
		Spec: v1alpha1.ApprovalDecisionSpec{
			RequestRef:  v1alpha1.ObjectIdentity{Name: request.Name, UID: string(request.UID)},
			ApprovalRef: request.Spec.ApprovalRef, Approver: p.name, Decision: word, Reason: "CHG-4711",
		},
	}
	for _, change := range changes {
		change(d)
	}
	p.eventually(soon, func() string { return words(p.Create(p.ctx, d.DeepCopy())) })
}

// asked waits until as many requests were made as wanted, and returns the newest.
func (x *tenant) asked(n int) *v1alpha1.ApprovalRequest {
	x.t.Helper()
	var newest *v1alpha1.ApprovalRequest
	x.eventually(soon, func() string {
		list := &v1alpha1.ApprovalRequestList{}
		if err := x.world.Client.List(x.ctx, list, client.InNamespace(x.ns)); err != nil {
			return err.Error()
		}
		for i := range list.Items {
			if r := &list.Items[i]; newest == nil || r.CreationTimestamp.After(newest.CreationTimestamp.Time) || r.Status.State == "" || r.Status.State == v1alpha1.ApprovalPending {
				newest = r
			}
		}
		if len(list.Items) != n {
			return fmt.Sprintf("%d requests were made, want %d; %s", len(list.Items), n, x.told("billing"))
		}
		return ""
	})
	return newest
}

func (x *tenant) awaitState(r *v1alpha1.ApprovalRequest, want v1alpha1.ApprovalState, approvers ...string) {
	x.t.Helper()
	x.eventually(soon, func() string {
		if err := x.world.Client.Get(x.ctx, client.ObjectKeyFromObject(r), r); err != nil {
			return err.Error()
		}
		var got []string
		for _, d := range r.Status.Decisions {
			got = append(got, d.Approver)
		}
		return cmp.Diff(append([]string{string(want)}, approvers...), append([]string{string(r.Status.State)}, got...))
	})
}

// awaitRecord waits until a request says what was done on it: a version was published, and what it
// follows was revoked.
func (x *tenant) awaitRecord(r *v1alpha1.ApprovalRequest, version int64) {
	x.t.Helper()
	x.eventually(soon, func() string {
		if err := x.world.Client.Get(x.ctx, client.ObjectKeyFromObject(r), r); err != nil {
			return err.Error()
		}
		if s := r.Status; s.Version != version || (version > 0 && s.PublishedAt == nil) || s.RevokedAt == nil {
			return fmt.Sprintf("the record is %+v", s)
		}
		return ""
	})
}

// byIssuer has the issuer of the namespace demand approval.
func (x *tenant) byIssuer(demand v1alpha1.ApprovalDemand) {
	x.t.Helper()
	x.create(x.issuer(func(i *v1alpha1.CredentialIssuer) { i.Spec.Approval = &demand }))
}

var (
	pending  = state{metav1.ConditionFalse, v1alpha1.ReasonApprovalPending}
	rejected = state{metav1.ConditionTrue, v1alpha1.ReasonApprovalRejected}
)

// unissued says whether anything was made upstream.
func (x *tenant) unissued() string {
	if n := len(x.sim.Ledger().Issued()); n > 0 {
		return fmt.Sprintf("%d credentials were issued, and nobody has agreed", n)
	}
	return ""
}

// The reference flow: generation and renewal wait for people, one no is a no, and what they
// agreed to is kept as the record.
func TestIssueAndRenewalWaitForPeople(t *testing.T) {
	t.Parallel()
	x := newTenant(t, shared)
	bob, alice, carol := x.requester(), x.approver("alice@example.com"), x.approver("carol@example.com")
	x.byIssuer(v1alpha1.ApprovalDemand{Retain: "2y"})
	x.create(x.policy("Unlimited", "3s"))
	c := bob.asks()

	r := x.asked(1)
	x.await(soon, v1alpha1.ConditionReady, pending, r.Name, "CredentialIssuer apic")
	until := metav1.NewTime(r.Spec.ExpiresAt.AddDate(2, 0, 0))
	want := v1alpha1.ApprovalRequestSpec{
		CredentialRef: v1alpha1.ObjectIdentity{Name: "billing", UID: string(c.UID)}, Operation: v1alpha1.ApprovalIssue, Digest: r.Spec.Digest,
		ApprovalRef: v1alpha1.ApprovalReference{Kind: "CredentialIssuer", Name: "apic"}, Quorum: v1alpha1.QuorumAny,
		RequestedBy: bob.name, SeparationOfDuties: true, Generation: 1, Cause: "first issue",
		Consequence: "nothing is issued, and Secret billing-api is not made", ExpiresAt: r.Spec.ExpiresAt, RetainUntil: &until,
	}
	if diff := cmp.Diff(want, r.Spec); diff != "" {
		t.Errorf("the request (-want +got):\n%s", diff)
	}
	if left := time.Until(r.Spec.ExpiresAt.Time); left > 7*24*time.Hour+time.Minute || left < 7*24*time.Hour-5*time.Minute {
		t.Errorf("it may be answered for %s", left)
	}
	if lack := x.unissued(); lack != "" {
		t.Fatal(lack)
	}
	alice.decides(r, v1alpha1.Approve)
	x.awaitReady("billing")
	x.awaitState(r, v1alpha1.ApprovalApproved, alice.name)
	wantDecision := v1alpha1.CountedDecision{Approver: alice.name, Decision: v1alpha1.Approve, Reason: "CHG-4711"}
	if diff := cmp.Diff(wantDecision, r.Status.Decisions[0], cmpopts.IgnoreFields(v1alpha1.CountedDecision{}, "Name", "At")); diff != "" {
		t.Errorf("the record (-want +got):\n%s", diff)
	}

	first := r.Name

	// A renewal that is rejected is not asked again, until somebody asks.
	bob.requests(time.Now())
	r = x.asked(2)
	x.await(soon, v1alpha1.ConditionRotating, state{metav1.ConditionTrue, v1alpha1.ReasonApprovalPending}, r.Name)
	alice.decides(r, v1alpha1.Approve, func(d *v1alpha1.ApprovalDecision) { d.Spec.RequestRef.UID = "another" })
	carol.decides(r, v1alpha1.Reject)
	x.await(soon, v1alpha1.ConditionAttention, rejected, r.Name)
	alice.decides(r, v1alpha1.Approve)
	x.awaitState(r, v1alpha1.ApprovalRejected, carol.name)
	x.awaitVersion(soon, 1)

	bob.requests(time.Now())
	r = x.asked(3)
	if r.Spec.Operation != v1alpha1.ApprovalRenew || r.Spec.Follows != 1 || r.Spec.Consequence != "version 1 stays in use" {
		t.Errorf("the request is %+v", r.Spec)
	}
	alice.decides(r, v1alpha1.Approve)
	x.awaitVersion(soon, 2)
	// The retirement of the predecessor is part of the renewal (hazard H16).
	x.awaitIdle(1)
	x.asked(3)
	x.awaitRecord(r, 2)
	x.eventually(soon, func() string {
		var got []v1alpha1.HistoryEntry
		for _, e := range x.get("billing").Status.History {
			if e.IssuedAt.IsZero() || e.PublishedAt.Before(&e.IssuedAt) || e.RevokedAt != nil && e.RevokedAt.Before(&e.PublishedAt) {
				return fmt.Sprintf("the times of version %d are %s, %s, %s", e.Version, e.IssuedAt, e.PublishedAt, e.RevokedAt)
			}
			if (e.RevokedAt == nil) != (e.Version == 2) {
				return fmt.Sprintf("version %d is revoked at %s", e.Version, e.RevokedAt)
			}
			e.IssuedAt, e.PublishedAt, e.RevokedAt = metav1.Time{}, metav1.Time{}, nil
			got = append(got, e)
		}
		return cmp.Diff([]v1alpha1.HistoryEntry{
			{Version: 1, Cause: "first issue", RequestedBy: bob.name, Approvals: []string{first}, Verification: "Accepted"},
			{Version: 2, Cause: "requested", RequestedBy: bob.name, Approvals: []string{r.Name}, Verification: "Accepted"},
		}, got)
	})
	if reasons := strings.Join(x.reasons("APIClientCredential", "billing"), " "); !strings.HasPrefix(reasons, "ApprovalRequested Issued ApprovalRequested") {
		t.Errorf("the events are %s", reasons)
	}
}

func TestQuorumsThroughTheAPIServer(t *testing.T) {
	t.Parallel()
	t.Run("All", func(t *testing.T) {
		t.Parallel()
		x := newTenant(t, shared)
		bob, alice, carol := x.requester(), x.approver("alice@example.com"), x.approver("carol@example.com")
		x.byIssuer(v1alpha1.ApprovalDemand{Quorum: v1alpha1.QuorumAll, Approvers: []string{alice.name, carol.name}})
		bob.asks()
		r := x.asked(1)
		alice.decides(r, v1alpha1.Approve)
		x.await(soon, v1alpha1.ConditionReady, pending, "answers of carol@example.com are missing")
		carol.decides(r, v1alpha1.Approve)
		x.awaitReady("billing")
	})
	t.Run("EachGroup", func(t *testing.T) {
		t.Parallel()
		x := newTenant(t, shared)
		bob, alice, carol := x.requester(), x.approver("alice@example.com", "leads"), x.approver("carol@example.com", "audit")
		x.byIssuer(v1alpha1.ApprovalDemand{Quorum: v1alpha1.QuorumEachGroup, Groups: []string{"leads", "audit"}})
		bob.asks()
		r := x.asked(1)
		for who, group := range map[*someone]string{&alice: "leads", &carol: "audit"} {
			who.decides(r, v1alpha1.Approve, func(d *v1alpha1.ApprovalDecision) { d.Spec.Groups = []string{group} })
		}
		x.awaitReady("billing")
	})
}

// ends asks for the deletion of the credential billing under the user's own name.
func (p someone) ends() {
	p.t.Helper()
	p.changes(func(c *v1alpha1.APIClientCredential) {
		metav1.SetMetaDataAnnotation(&c.ObjectMeta, v1alpha1.AnnotationDeletionRequestedAt, time.Now().UTC().Format(time.RFC3339Nano))
		metav1.SetMetaDataAnnotation(&c.ObjectMeta, v1alpha1.AnnotationDeletionRequestedBy, p.name)
	})
}

// changes writes the credential billing with the user's rights.
func (p someone) changes(change func(*v1alpha1.APIClientCredential)) {
	p.t.Helper()
	p.eventually(soon, func() string {
		c := &v1alpha1.APIClientCredential{}
		if err := p.Get(p.ctx, p.key("billing"), c); err != nil {
			return err.Error()
		}
		change(c)
		return words(p.Update(p.ctx, c))
	})
}

// awaitDeletionApproval waits until the status says how far people have come.
func (x *tenant) awaitDeletionApproval(want v1alpha1.DeletionApproval) {
	x.t.Helper()
	x.eventually(soon, func() string { return cmp.Diff(want, x.get("billing").Status.DeletionApproval) })
}

// Revocation waits for people as well: what nobody has agreed to is not deleted, a no leaves the
// credential as it was, and a yes is the word of somebody else than who asked.
func TestADeletionWaitsForPeople(t *testing.T) {
	t.Parallel()
	t.Run("who asks first deletes when people have agreed", func(t *testing.T) {
		t.Parallel()
		x := newTenant(t, shared)
		bob, alice := x.person("bob@example.com", nil, "claviger-edit", "claviger-view", "claviger-approver"), x.approver("alice@example.com")
		x.byIssuer(v1alpha1.ApprovalDemand{Operations: []v1alpha1.DemandedOperation{"Delete"}})
		x.create(x.policy("Unlimited", "3s"))
		c := bob.asks()
		x.awaitReady("billing")
		x.awaitDeletionApproval(v1alpha1.DeletionNeeded)
		if err := bob.Delete(x.ctx, c); !strings.Contains(words(err), "ask for it with the annotation "+v1alpha1.AnnotationDeletionRequestedAt) {
			t.Fatalf("the deletion of what people must agree to: %v", err)
		}

		// A no leaves it as it was.
		bob.ends()
		r := x.asked(1)
		want := v1alpha1.ApprovalRequestSpec{
			CredentialRef: v1alpha1.ObjectIdentity{Name: "billing", UID: string(c.UID)}, Operation: v1alpha1.ApprovalDelete, Digest: r.Spec.Digest,
			ApprovalRef: v1alpha1.ApprovalReference{Kind: "CredentialIssuer", Name: "apic"}, Quorum: v1alpha1.QuorumAny,
			RequestedBy: bob.name, SeparationOfDuties: true, Follows: 1, Cause: "its deletion was requested",
			Consequence: "the credential lives on, and is renewed as before", ExpiresAt: r.Spec.ExpiresAt, RetainUntil: r.Spec.RetainUntil,
		}
		if diff := cmp.Diff(want, r.Spec); diff != "" {
			t.Errorf("the request (-want +got):\n%s", diff)
		}
		x.awaitDeletionApproval(v1alpha1.DeletionPending)
		bob.decides(r, v1alpha1.Approve) // who asks may not approve
		alice.decides(r, v1alpha1.Reject)
		x.awaitState(r, v1alpha1.ApprovalRejected, alice.name)
		x.awaitDeletionApproval(v1alpha1.DeletionRejected)
		if err := bob.Delete(x.ctx, c); !strings.Contains(words(err), "somebody said no") {
			t.Fatalf("the deletion that was rejected: %v", err)
		}
		bob.requests(time.Now())
		x.awaitVersion(soon, 2)

		bob.ends()
		r = x.asked(2)
		alice.decides(r, v1alpha1.Approve)
		x.awaitDeletionApproval(v1alpha1.DeletionApproved)
		x.eventually(soon, func() string { return words(bob.Delete(x.ctx, c)) })
		x.awaitGone(soon, c)
		x.awaitIdle(0)
		x.awaitState(r, v1alpha1.ApprovalApproved, alice.name)
		x.awaitRecord(r, 0)
	})
	t.Run("an agreement ends when the request is taken back", func(t *testing.T) {
		t.Parallel()
		x := newTenant(t, shared)
		bob, alice := x.requester(), x.approver("alice@example.com")
		x.byIssuer(v1alpha1.ApprovalDemand{Operations: []v1alpha1.DemandedOperation{"Delete"}})
		c := bob.asks()
		x.awaitReady("billing")
		bob.ends()
		at := x.get("billing").Annotations[v1alpha1.AnnotationDeletionRequestedAt]
		r := x.asked(1)
		alice.decides(r, v1alpha1.Approve)
		x.awaitDeletionApproval(v1alpha1.DeletionApproved)
		bob.changes(func(c *v1alpha1.APIClientCredential) {
			delete(c.Annotations, v1alpha1.AnnotationDeletionRequestedAt)
			delete(c.Annotations, v1alpha1.AnnotationDeletionRequestedBy)
		})
		x.awaitDeletionApproval(v1alpha1.DeletionNeeded)
		x.awaitState(r, v1alpha1.ApprovalObsolete, alice.name)

		// The very time that was agreed to serves nobody once more.
		bob.changes(func(c *v1alpha1.APIClientCredential) {
			metav1.SetMetaDataAnnotation(&c.ObjectMeta, v1alpha1.AnnotationDeletionRequestedAt, at)
			metav1.SetMetaDataAnnotation(&c.ObjectMeta, v1alpha1.AnnotationDeletionRequestedBy, bob.name)
		})
		r = x.asked(2)
		x.awaitDeletionApproval(v1alpha1.DeletionPending)
		if err := bob.Delete(x.ctx, c); !strings.Contains(words(err), "have not answered") {
			t.Fatalf("the deletion under an agreement that was taken back: %v", err)
		}
		alice.decides(r, v1alpha1.Approve)
		x.awaitDeletionApproval(v1alpha1.DeletionApproved)
		x.eventually(soon, func() string { return words(bob.Delete(x.ctx, c)) })
		x.awaitGone(soon, c)
		x.awaitIdle(0)
	})
	t.Run("what was deleted around admission waits until they have", func(t *testing.T) {
		t.Parallel()
		x := newTenant(t, shared)
		bob, alice := x.requester(), x.approver("alice@example.com")
		x.byIssuer(v1alpha1.ApprovalDemand{Operations: []v1alpha1.DemandedOperation{"Renew", "Delete"}})
		c := bob.asks()
		x.awaitReady("billing")
		x.awaitDeletionApproval(v1alpha1.DeletionNeeded)
		// The status is wiped and the deletion comes before it is written again.
		x.eventually(soon, func() string {
			wiped := x.get("billing")
			if wiped.DeletionTimestamp != nil {
				return ""
			}
			wiped.Status = v1alpha1.APIClientCredentialStatus{}
			if err := x.world.Client.Status().Update(x.ctx, wiped); err != nil {
				return err.Error()
			}
			return words(bob.Delete(x.ctx, c))
		})
		x.await(soon, v1alpha1.ConditionReady, state{metav1.ConditionFalse, v1alpha1.ReasonApprovalUnavailable}, "who asked is not known", v1alpha1.AnnotationDeletionRequestedAt)
		bob.ends()
		r := x.asked(1)
		x.await(soon, v1alpha1.ConditionReady, pending, r.Name)
		x.throughout(3*time.Second, func() string {
			if n := len(x.sim.Ledger().Live()); n != 1 {
				return fmt.Sprintf("%d credentials live, and nobody has agreed to the deletion", n)
			}
			return ""
		})
		alice.decides(r, v1alpha1.Approve)
		x.awaitGone(soon, c)
		x.awaitIdle(0)
	})
}

// The record goes when its time is over, with its decisions, and nothing is done on what was
// forgotten.
func TestARequestIsKeptForItsTime(t *testing.T) {
	t.Parallel()
	x := newTenant(t, shared)
	bob, alice := x.requester(), x.approver("alice@example.com")
	x.byIssuer(v1alpha1.ApprovalDemand{Expiry: "20s", Retain: "8s"})
	bob.asks()
	r := x.asked(1)
	alice.decides(r, v1alpha1.Reject)
	x.awaitState(r, v1alpha1.ApprovalRejected, alice.name)
	x.eventually(soon, func() string {
		requests, decisions := &v1alpha1.ApprovalRequestList{}, &v1alpha1.ApprovalDecisionList{}
		if err := errors.Join(x.world.Client.List(x.ctx, requests, client.InNamespace(x.ns)), x.world.Client.List(x.ctx, decisions, client.InNamespace(x.ns))); err != nil {
			return err.Error()
		}
		for i := range requests.Items {
			if requests.Items[i].UID == r.UID {
				return "the request is still there"
			}
		}
		if len(decisions.Items) > 0 {
			return "the decision is still there"
		}
		return ""
	})
	if now := time.Now(); now.Before(r.Spec.RetainUntil.Add(-time.Second)) {
		t.Errorf("it was deleted before %s", r.Spec.RetainUntil)
	}
	if lack := x.unissued(); lack != "" {
		t.Error(lack)
	}
}

// Hazard C8: approval is not decided by the tenant. What admission refuses of it is tested in
// test/admission; here is what the operator compares.
func TestHazardC8(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]func(t *testing.T, x *tenant){
		"1: the right to approve for something else": func(_ *testing.T, x *tenant) {
			x.byIssuer(v1alpha1.ApprovalDemand{})
			bob, alice := x.requester(), x.approver("alice@example.com")
			bob.asks()
			r := x.asked(1)
			alice.decides(r, v1alpha1.Approve, func(d *v1alpha1.ApprovalDecision) {
				d.Spec.ApprovalRef = v1alpha1.ApprovalReference{Kind: v1alpha1.KindRotationPolicy, Name: "lax"}
			})
			x.throughout(3*time.Second, x.unissued)
			alice.decides(r, v1alpha1.Approve)
			x.awaitReady("billing")
		},
		"2: a policy of one's own instead of the security team's": func(_ *testing.T, x *tenant) {
			x.create(x.issuer())
			strict := &v1alpha1.ClusterRotationPolicy{ObjectMeta: metav1.ObjectMeta{Name: x.ns}, Spec: v1alpha1.ClusterRotationPolicySpec{
				RotationPolicySpec: v1alpha1.RotationPolicySpec{Selector: &metav1.LabelSelector{}, RotateAfter: "Unlimited", Approval: &v1alpha1.ApprovalDemand{}},
				NamespaceSelector:  metav1.LabelSelector{MatchLabels: map[string]string{"kubernetes.io/metadata.name": x.ns}},
			}}
			x.createOutside(strict)
			x.create(x.policy("Unlimited", "1h", func(p *v1alpha1.RotationPolicy) {
				p.Name, p.Spec.Approval = "lax", &v1alpha1.ApprovalDemand{SeparationOfDuties: new(bool)}
			}))
			bob := x.requester()
			mallory := x.approver("mallory@example.com")
			bob.asks(func(c *v1alpha1.APIClientCredential) {
				c.Spec.PolicyRef = &v1alpha1.PolicyReference{Name: "lax"}
				c.Labels = nil
			})
			x.asked(2)
			list := &v1alpha1.ApprovalRequestList{}
			if err := x.world.Client.List(x.ctx, list, client.InNamespace(x.ns)); err != nil {
				x.t.Fatal(err)
			}
			for i := range list.Items {
				if list.Items[i].Spec.ApprovalRef.Name == "lax" {
					mallory.decides(&list.Items[i], v1alpha1.Approve)
					x.awaitState(&list.Items[i], v1alpha1.ApprovalApproved, mallory.name)
				}
			}
			x.await(soon, v1alpha1.ConditionReady, pending, "ClusterRotationPolicy "+x.ns)
			x.throughout(3*time.Second, x.unissued)
		},
		"3: an answer before the question": func(_ *testing.T, x *tenant) {
			x.byIssuer(v1alpha1.ApprovalDemand{})
			bob, alice := x.requester(), x.approver("alice@example.com")
			bob.asks()
			r := x.asked(1)
			early := r.DeepCopy()
			early.UID = "known-before-it-is"
			alice.decides(early, v1alpha1.Approve)
			x.throughout(3*time.Second, x.unissued)
		},
		"5: the requester approves, or nobody knows who asked": func(_ *testing.T, x *tenant) {
			x.byIssuer(v1alpha1.ApprovalDemand{})
			bob := x.person("bob@example.com", nil, "claviger-edit", "claviger-view", "claviger-approver")
			c := x.credential()
			bob.eventually(soon, func() string { return words(bob.Create(x.ctx, c)) })
			x.await(soon, v1alpha1.ConditionReady, state{metav1.ConditionFalse, v1alpha1.ReasonApprovalUnavailable}, "who asked is not known")
			bob.edits(func(c *v1alpha1.APIClientCredential) { c.Spec.Protection = v1alpha1.ProtectionNone })
			r := x.asked(1)
			bob.decides(r, v1alpha1.Approve)
			x.throughout(3*time.Second, x.unissued)
			x.awaitState(r, v1alpha1.ApprovalPending)
		},
		"9: the spec is edited, and the demand, after people were asked": func(_ *testing.T, x *tenant) {
			x.byIssuer(v1alpha1.ApprovalDemand{Approvers: []string{"alice@example.com"}})
			bob, alice, mallory := x.requester(), x.approver("alice@example.com"), x.approver("mallory@example.com")
			bob.asks()
			r := x.asked(1)
			update(x, "apic", &v1alpha1.CredentialIssuer{}, func(i *v1alpha1.CredentialIssuer) { i.Spec.Approval.Approvers = []string{mallory.name} })
			mallory.decides(r, v1alpha1.Approve)
			x.throughout(3*time.Second, x.unissued)
			update(x, "apic", &v1alpha1.CredentialIssuer{}, func(i *v1alpha1.CredentialIssuer) { i.Spec.Approval.Approvers = []string{alice.name} })
			bob.edits(func(c *v1alpha1.APIClientCredential) { c.Spec.Protection = v1alpha1.ProtectionNone })
			x.asked(2)
			alice.decides(r, v1alpha1.Approve) // of what is not wanted any more
			x.throughout(3*time.Second, x.unissued)
			r = x.asked(2)
			alice.decides(r, v1alpha1.Approve)
			x.awaitReady("billing")
		},
		"10: an emergency waits for nobody": func(_ *testing.T, x *tenant) {
			x.byIssuer(v1alpha1.ApprovalDemand{Operations: []v1alpha1.DemandedOperation{"Renew"}})
			x.requester().asks()
			x.awaitReady("billing")
			x.change(func(c *v1alpha1.APIClientCredential) {
				metav1.SetMetaDataAnnotation(&c.ObjectMeta, v1alpha1.AnnotationCompromisedAt, time.Now().UTC().Format(time.RFC3339Nano))
				metav1.SetMetaDataAnnotation(&c.ObjectMeta, v1alpha1.AnnotationRequestedBy, "admin")
			})
			x.awaitVersion(soon, 2)
			x.awaitIdle(1)
		},
		"11: a namespace that ends waits for nobody": func(_ *testing.T, x *tenant) {
			x.byIssuer(v1alpha1.ApprovalDemand{})
			c := x.requester().asks()
			x.asked(1)
			x.delete(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: x.ns}})
			x.awaitGone(namespaceEnds, c)
			x.awaitGone(namespaceEnds, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: x.ns}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, newTenant(t, shared))
		})
	}
}
