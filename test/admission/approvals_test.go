package admission

import (
	"context"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/claviger-dev/claviger/api/v1alpha1"
)

var (
	approvalRequests  = v1alpha1.GroupVersion.WithResource("approvalrequests")
	approvalDecisions = v1alpha1.GroupVersion.WithResource("approvaldecisions")
)

const question = `
apiVersion: credentials.claviger.dev/v1alpha1
kind: ApprovalRequest
metadata: {name: billing.renew}
spec:
  credentialRef: {name: billing, uid: 6f5c0e0c-5a55-4a7e-8d8f-1d7a3c1b2a90}
  operation: Renew
  digest: 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
  approvalRef: {kind: RotationPolicy, name: strict}
  quorum: Any
  requestedBy: bob@example.com
  expiresAt: "2036-06-01T00:00:00Z"
`

// decision is one that names strict; APPROVER stands for who decides.
const decision = `
apiVersion: credentials.claviger.dev/v1alpha1
kind: ApprovalDecision
metadata: {name: answer}
spec:
  requestRef: {name: billing.renew, uid: 0a1b2c3d-0000-4000-8000-000000000000}
  approvalRef: {kind: RotationPolicy, name: strict}
  approver: APPROVER
  decision: Approve
`

// person is a user with groups, and rights in a namespace.
type person struct {
	*dynamic.DynamicClient
	user string
}

func newPerson(t *testing.T, namespace, user string, groups []string, rules ...string) person {
	t.Helper()
	grant(t, namespace, strings.NewReplacer(":", ".", "@", ".").Replace(user), user, rules...)
	config := plane.Config()
	config.Impersonate = rest.ImpersonationConfig{UserName: user, Groups: append([]string{"system:authenticated"}, groups...)}
	return person{as(t, config), user}
}

// decides writes a decision that is changed by a merge patch, and returns the answer.
func (p person) decides(t *testing.T, namespace, patch string, options metav1.CreateOptions) error {
	t.Helper()
	o := changed(t, object(t, strings.ReplaceAll(decision, "APPROVER", p.user)), patch)
	_, err := p.Resource(approvalDecisions).Namespace(namespace).Create(t.Context(), o, options)
	return err
}

const writes = "create,get,update,patch,delete,deletecollection approvaldecisions"

// TestOnlyWhoMayApproveDecides is the part of hazard C8 that admission decides: who speaks,
// for which groups, and with what right. What a decision is worth is counted by
// internal/approval, whose tests go on with the same numbers.
func TestOnlyWhoMayApproveDecides(t *testing.T) {
	ns := newNamespace(t, "decide")
	alice := newPerson(t, ns, "alice@example.com", []string{"leads"}, writes, "approve rotationpolicies strict")
	mallory := newPerson(t, ns, "mallory@example.com", []string{"devs"}, writes, "approve rotationpolicies lax")
	robot := newPerson(t, ns, "system:serviceaccount:decide:gitops", nil, writes, "approve rotationpolicies strict")
	trusted := newPerson(t, ns, "system:serviceaccount:decide:release-gate", nil, writes, "approve,approve-unattended rotationpolicies strict")
	all := newPerson(t, ns, "owner@example.com", nil, writes, "* rotationpolicies")
	for _, c := range []struct {
		name   string
		person person
		patch  string
		want   string
	}{
		{"with the right", alice, "{}", ""},
		{"for a group", alice, "{spec: {groups: [leads]}}", ""},
		{"a rejection needs the right, too", mallory, "{spec: {decision: Reject}}", "verb approve on rotationpolicies strict"},
		{"without the right (C8.1)", mallory, "{}", "verb approve on rotationpolicies strict"},
		{"with the right for another policy, which does not count (C8.1)", mallory, "{spec: {approvalRef: {name: lax}}}", ""},
		{"with the right in the namespace, for the cluster's", all, "{spec: {approvalRef: {kind: ClusterRotationPolicy}}}", "verb approve on clusterrotationpolicies strict"},
		{"with the right for policies, for an issuer", all, "{spec: {approvalRef: {kind: CredentialIssuer}}}", "verb approve on credentialissuers strict"},
		{"with the right for policies, for an issuer of the cluster", all, "{spec: {approvalRef: {kind: ClusterCredentialIssuer}}}", "verb approve on clustercredentialissuers strict"},
		{"under another name", mallory, "{spec: {approver: alice@example.com, approvalRef: {name: lax}}}", "you are mallory@example.com"},
		{"under another name, with the right", alice, "{spec: {approver: owner@example.com}}", "you are alice@example.com"},
		{"for a group of others", alice, "{spec: {groups: [leads, audit]}}", "groups that you are in"},
		{"for a group of all who are logged in", alice, "{spec: {groups: ['system:authenticated']}}", ""},
		{"a service account with the right (C8.8)", robot, "{}", "nobody who decides"},
		{"a service account that may decide unattended", trusted, "{}", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			requireAllowed(t, c.person.decides(t, ns, c.patch, metav1.CreateOptions{DryRun: dryRun}), c.want)
		})
	}
	t.Run("the operator itself", func(t *testing.T) {
		config := plane.Config()
		config.Impersonate = rest.ImpersonationConfig{UserName: "system:serviceaccount:claviger-system:claviger", Groups: []string{"system:serviceaccounts", "system:authenticated"}}
		operator := person{as(t, config), config.Impersonate.UserName}
		if err := operator.decides(t, ns, "{}", metav1.CreateOptions{DryRun: dryRun}); !apierrors.IsForbidden(err) {
			t.Errorf("it may decide: %v", err)
		}
	})
	t.Run("the operator itself, if RBAC lets it write decisions", func(t *testing.T) {
		operator := newPerson(t, ns, "system:serviceaccount:claviger-system:claviger", nil, writes)
		requireAllowed(t, operator.decides(t, ns, "{}", metav1.CreateOptions{DryRun: dryRun}), "verb approve on rotationpolicies strict")
	})
	t.Run("the probe, by anybody", func(t *testing.T) {
		err := alice.decides(t, ns, "{metadata: {annotations: {credentials.claviger.dev/probe: 'true'}}}", metav1.CreateOptions{DryRun: dryRun})
		requireAllowed(t, err, "refused to everybody")
		if !apierrors.IsInvalid(err) {
			t.Errorf("the refusal has another code: %v", err)
		}
	})
}

// TestADecisionMustSayWhatItIsAbout: a decision about a name could be made before the request
// is (C8.3), and one without a policy with any right.
func TestADecisionMustSayWhatItIsAbout(t *testing.T) {
	base := object(t, strings.ReplaceAll(decision, "APPROVER", "kubernetes-admin"))
	for _, c := range []struct{ patch, want string }{
		{"{spec: {requestRef: {uid: null}}}", "spec.requestRef.uid"},
		{"{spec: {requestRef: {uid: ''}}}", "spec.requestRef.uid"},
		{"{spec: {requestRef: null}}", "spec.requestRef"},
		{"{spec: {approvalRef: {kind: Role}}}", "spec.approvalRef.kind"},
		{"{spec: {approvalRef: {name: ''}}}", "spec.approvalRef.name"},
		{"{spec: {approver: ''}}", "spec.approver"},
		{"{spec: {decision: Perhaps}}", "spec.decision"},
		{"{spec: {groups: [a, a]}}", "spec.groups"},
	} {
		_, err := admin(t).Resource(approvalDecisions).Namespace("default").Create(t.Context(), changed(t, base, c.patch), metav1.CreateOptions{DryRun: dryRun})
		if err == nil || !strings.Contains(err.Error(), c.want) || !apierrors.IsInvalid(err) {
			t.Errorf("%s: %v, want a refusal that names %s", c.patch, err, c.want)
		}
	}
}

// TestADecisionIsFinal: neither its author nor anybody else takes it back (C8.6, C8.7).
func TestADecisionIsFinal(t *testing.T) {
	ns := newNamespace(t, "final")
	alice := newPerson(t, ns, "alice@example.com", nil, writes, "approve rotationpolicies")
	if err := alice.decides(t, ns, "{spec: {decision: Reject}}", metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	mine := alice.Resource(approvalDecisions).Namespace(ns)
	for name, patch := range map[string]string{
		"another word":     `{"spec":{"decision":"Approve"}}`,
		"another reason":   `{"spec":{"reason":"I meant yes"}}`,
		"another request":  `{"spec":{"requestRef":{"uid":"another"}}}`,
		"a group more":     `{"spec":{"groups":["system:authenticated"]}}`,
		"the spec dropped": `{"spec":null}`,
	} {
		_, err := mine.Patch(t.Context(), "answer", types.MergePatchType, []byte(patch), metav1.PatchOptions{DryRun: dryRun})
		if err == nil {
			t.Errorf("%s: it is accepted", name)
		}
	}
	if _, err := mine.Patch(t.Context(), "answer", types.MergePatchType, []byte(`{"metadata":{"labels":{"seen":"yes"}}}`), metav1.PatchOptions{DryRun: dryRun}); err != nil {
		t.Errorf("a label is refused: %v", err)
	}
	requireAllowed(t, mine.Delete(t.Context(), "answer", metav1.DeleteOptions{}), "never withdrawn")
	requireAllowed(t, mine.DeleteCollection(t.Context(), metav1.DeleteOptions{}, metav1.ListOptions{}), "never withdrawn")
	keeper := newPerson(t, ns, "keeper@example.com", nil, "update apiclientcredentials/journal", writes)
	requireAllowed(t, keeper.Resource(approvalDecisions).Namespace(ns).Delete(t.Context(), "answer", metav1.DeleteOptions{DryRun: dryRun}), "")
}

// TestOnlyTheOperatorAsks: who writes requests chooses what is approved, and by whom (C8.9).
func TestOnlyTheOperatorAsks(t *testing.T) {
	ns := newNamespace(t, "ask")
	const rights = "create,update,patch,delete,deletecollection approvalrequests,approvalrequests/status"
	mallory := newPerson(t, ns, "mallory@example.com", nil, rights, "* apiclientcredentials")
	operator := newPerson(t, ns, "system:serviceaccount:elsewhere:claviger", nil, "update apiclientcredentials/journal", rights)
	theirs, ours := mallory.Resource(approvalRequests).Namespace(ns), operator.Resource(approvalRequests).Namespace(ns)
	const refusal = "written by Claviger alone"
	_, err := theirs.Create(t.Context(), object(t, question), metav1.CreateOptions{DryRun: dryRun})
	requireAllowed(t, err, refusal)
	if _, err := ours.Create(t.Context(), object(t, question), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	_, err = theirs.Patch(t.Context(), "billing.renew", types.MergePatchType, []byte(`{"status":{"state":"Approved"}}`), metav1.PatchOptions{DryRun: dryRun}, "status")
	requireAllowed(t, err, refusal)
	_, err = theirs.Patch(t.Context(), "billing.renew", types.MergePatchType, []byte(`{"metadata":{"labels":{"seen":"yes"}}}`), metav1.PatchOptions{DryRun: dryRun})
	requireAllowed(t, err, refusal)
	requireAllowed(t, theirs.Delete(t.Context(), "billing.renew", metav1.DeleteOptions{DryRun: dryRun}), refusal)
	// Not even the operator asks for one thing and then for another.
	for _, patch := range []string{`{"spec":{"approvers":["mallory@example.com"]}}`, `{"spec":{"quorum":"All"}}`, `{"spec":{"requestedBy":null}}`, `{"spec":null}`} {
		_, err = ours.Patch(t.Context(), "billing.renew", types.MergePatchType, []byte(patch), metav1.PatchOptions{DryRun: dryRun})
		if !apierrors.IsInvalid(err) {
			t.Errorf("%s: %v", patch, err)
		}
	}
	_, err = ours.Patch(t.Context(), "billing.renew", types.MergePatchType, []byte(`{"status":{"state":"Approved"}}`), metav1.PatchOptions{}, "status")
	requireAllowed(t, err, "")
	requireAllowed(t, ours.Delete(t.Context(), "billing.renew", metav1.DeleteOptions{DryRun: dryRun}), "")
}

func TestApprovalRequestRules(t *testing.T) {
	for _, c := range []struct{ patch, want string }{
		{"{}", ""},
		{"{spec: {digest: abc}}", "spec.digest"},
		{"{spec: {operation: Retire}}", "spec.operation"},
		{"{spec: {quorum: Most}}", "spec.quorum"},
		{"{spec: {expiresAt: null}}", "spec.expiresAt"},
		{"{spec: {expiresAt: tomorrow}}", "spec.expiresAt"},
		{"{spec: {credentialRef: {uid: null}}}", "spec.credentialRef.uid"},
		{"{spec: {approvers: ['']}}", "spec.approvers"},
		{"{spec: null}", "spec"},
	} {
		_, err := admin(t).Resource(approvalRequests).Namespace("default").Create(t.Context(), changed(t, object(t, question), c.patch), metav1.CreateOptions{DryRun: dryRun})
		requireOutcome(t, err, c.want)
	}
}

// TestANamespaceWithApprovalsCanBeDeleted: what nobody may delete must not keep its namespace
// for ever (C8.11).
func TestANamespaceWithApprovalsCanBeDeleted(t *testing.T) {
	ns := newNamespace(t, "approved-and-gone")
	create(t, approvalRequests, ns, object(t, question))
	alice := newPerson(t, ns, "alice@example.com", nil, writes, "approve rotationpolicies")
	if err := alice.decides(t, ns, "{}", metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := admin(t).Resource(namespaces).Delete(t.Context(), ns, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the namespace is gone", func(ctx context.Context) (bool, error) {
		_, err := admin(t).Resource(namespaces).Get(ctx, ns, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return true, nil
		}
		return false, err
	})
}

// TestRolesOfApprovers: reviewers get what they need by one role, and editors get none of it
// (hazard M12).
func TestRolesOfApprovers(t *testing.T) {
	kube := clientset(t)
	approver, err := kube.RbacV1().ClusterRoles().Get(t.Context(), "claviger-approver", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(approver.Labels) > 0 {
		t.Errorf("the role of approvers has labels, by which it could be gathered: %v", approver.Labels)
	}
	ns := newNamespace(t, "roles-of-approvers")
	bind := func(role, user string) person {
		t.Helper()
		binding := &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: role},
			Subjects:   []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: user}},
			RoleRef:    rbacv1.RoleRef{Kind: "ClusterRole", APIGroup: rbacv1.GroupName, Name: role},
		}
		if _, err := kube.RbacV1().RoleBindings(ns).Create(t.Context(), binding, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		config := plane.Config()
		config.Impersonate = rest.ImpersonationConfig{UserName: user}
		return person{as(t, config), user}
	}
	reviewer, editor := bind("claviger-approver", "reviewer@example.com"), bind("admin", "admin@example.com")
	awaitRight(t, ns, reviewer.user, rule(t, "create approvaldecisions"))
	awaitRight(t, ns, editor.user, rule(t, "create rotationpolicies"))
	requireAllowed(t, reviewer.decides(t, ns, "{}", metav1.CreateOptions{DryRun: dryRun}), "")
	requireAllowed(t, reviewer.decides(t, ns, "{spec: {approvalRef: {kind: ClusterRotationPolicy}}}", metav1.CreateOptions{DryRun: dryRun}), "verb approve on clusterrotationpolicies")
	if err := editor.decides(t, ns, "{}", metav1.CreateOptions{DryRun: dryRun}); !apierrors.IsForbidden(err) {
		t.Errorf("the admin of a namespace decides without having been told to be an approver: %v", err)
	}
}
