package admission

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// patience bounds every wait for something that the API server does by itself.
const patience = 60 * time.Second

func eventually(t *testing.T, what string, done func(context.Context) (bool, error)) {
	t.Helper()
	if err := wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, patience, true, done); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// rule is one rule of a role, written "verbs resources" or "verbs resources names";
// lists have commas, the group follows from the resource.
func rule(t *testing.T, text string) rbacv1.PolicyRule {
	t.Helper()
	words := strings.Fields(text)
	if len(words) < 2 || len(words) > 3 {
		t.Fatalf("%q is no rule", text)
	}
	r := rbacv1.PolicyRule{Verbs: strings.Split(words[0], ","), Resources: strings.Split(words[1], ","), APIGroups: []string{"credentials.claviger.dev"}}
	switch r.Resources[0] {
	case "secrets", "serviceaccounts", "serviceaccounts/token":
		r.APIGroups = []string{""}
	case "deployments", "statefulsets", "daemonsets":
		r.APIGroups = []string{"apps"}
	case "*":
		r.APIGroups = []string{"*"}
	}
	if len(words) == 3 {
		r.ResourceNames = strings.Split(words[2], ",")
	}
	return r
}

// grant gives a user rights in a namespace, and waits until the API server knows
// them: before, a refusal would prove nothing.
func grant(t *testing.T, namespace, name, user string, rules ...string) {
	t.Helper()
	kube, err := kubernetes.NewForConfig(plane.Config())
	if err != nil {
		t.Fatal(err)
	}
	role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: name}}
	for _, text := range rules {
		role.Rules = append(role.Rules, rule(t, text))
	}
	if _, err := kube.RbacV1().Roles(namespace).Create(t.Context(), role, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: user}},
		RoleRef:    rbacv1.RoleRef{Kind: "Role", APIGroup: rbacv1.GroupName, Name: name},
	}
	if _, err := kube.RbacV1().RoleBindings(namespace).Create(t.Context(), binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	awaitRight(t, namespace, user, role.Rules[0])
}

// awaitRight waits until the API server knows that a user has a right.
func awaitRight(t *testing.T, namespace, user string, first rbacv1.PolicyRule) {
	t.Helper()
	kube, err := kubernetes.NewForConfig(plane.Config())
	if err != nil {
		t.Fatal(err)
	}
	resource, subresource, _ := strings.Cut(first.Resources[0], "/")
	review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{User: user, ResourceAttributes: &authorizationv1.ResourceAttributes{
		Namespace: namespace, Verb: first.Verbs[0], Group: first.APIGroups[0], Resource: resource, Subresource: subresource, Name: strings.Join(first.ResourceNames, ""),
	}}}
	eventually(t, "the rights of "+user, func(ctx context.Context) (bool, error) {
		answer, err := kube.AuthorizationV1().SubjectAccessReviews().Create(ctx, review, metav1.CreateOptions{})
		return err == nil && answer.Status.Allowed, err
	})
}

// tenant returns a client of a user who has some rights in a namespace and no others.
func tenant(t *testing.T, namespace, name string, rules ...string) *dynamic.DynamicClient {
	t.Helper()
	user := name + "." + namespace
	grant(t, namespace, name, user, rules...)
	config := plane.Config()
	config.Impersonate = rest.ImpersonationConfig{UserName: user, Groups: []string{"system:authenticated"}}
	return as(t, config)
}

// requireAllowed compares an answer with what a policy should say; want is a part of
// its refusal, or empty. A refusal by RBAC never passes for one by a policy.
func requireAllowed(t *testing.T, err error, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Errorf("it is refused: %v", err)
	case want != "" && err == nil:
		t.Errorf("it is allowed; want a refusal that says %q", want)
	case want != "" && !strings.Contains(err.Error(), "ValidatingAdmissionPolicy 'claviger-"),
		want != "" && !strings.Contains(err.Error(), want):
		t.Errorf("it is refused, but not by a policy that says %q: %v", want, err)
	}
}

const versionSecret = `
apiVersion: v1
kind: Secret
metadata:
  name: billing.0a1b2c3d.v1
  labels: {credentials.claviger.dev/role: version}
  annotations: {credentials.claviger.dev/number: "1"}
  finalizers: [credentials.claviger.dev/upstream]
type: credentials.claviger.dev/version
data: {client_id: b25l}
`

const plainSecret = `
apiVersion: v1
kind: Secret
metadata: {name: plain}
type: Opaque
data: {a: b25l}
`

// The refusals, as far as the tests need to tell them apart.
const (
	byJournal    = "needs the right to update apiclientcredentials/journal"
	byProbe      = "the probe is refused to everybody: the journal is guarded"
	byLogin      = "you may not get Secret"
	byRequest    = "needs the verb abandon on apiclientcredentials"
	byFinalizers = "Claviger takes its finalizer off when everything is revoked"
)

// An attempt is one request to the API server, always in a dry run.
type attempt struct {
	name string
	try  func(context.Context, dynamic.ResourceInterface) error
}

func creating(o *unstructured.Unstructured) func(context.Context, dynamic.ResourceInterface) error {
	return func(ctx context.Context, r dynamic.ResourceInterface) error {
		_, err := r.Create(ctx, o, metav1.CreateOptions{DryRun: dryRun})
		return err
	}
}

func replacing(o *unstructured.Unstructured) func(context.Context, dynamic.ResourceInterface) error {
	return func(ctx context.Context, r dynamic.ResourceInterface) error {
		_, err := r.Update(ctx, o, metav1.UpdateOptions{DryRun: dryRun})
		return err
	}
}

func patching(name, patch string) func(context.Context, dynamic.ResourceInterface) error {
	return func(ctx context.Context, r dynamic.ResourceInterface) error {
		_, err := r.Patch(ctx, name, types.MergePatchType, []byte(patch), metav1.PatchOptions{DryRun: dryRun})
		return err
	}
}

func deleting(name string) func(context.Context, dynamic.ResourceInterface) error {
	return func(ctx context.Context, r dynamic.ResourceInterface) error {
		return r.Delete(ctx, name, metav1.DeleteOptions{DryRun: dryRun})
	}
}

func deletingAll(ctx context.Context, r dynamic.ResourceInterface) error {
	return r.DeleteCollection(ctx, metav1.DeleteOptions{DryRun: dryRun}, metav1.ListOptions{LabelSelector: "credentials.claviger.dev/role=version"})
}

// TestOnlyHoldersOfTheRightWriteTheJournal is hazard H7: who may edit Secrets must
// not be able to write what the operator believes about the upstream.
func TestOnlyHoldersOfTheRightWriteTheJournal(t *testing.T) {
	namespace := newNamespace(t, "journal")
	live := create(t, secrets, namespace, object(t, versionSecret))
	const name = "billing.0a1b2c3d.v1"
	attempts := []attempt{
		{"creates a version", creating(changed(t, object(t, versionSecret), `metadata: {name: billing.0a1b2c3d.v2}`))},
		{"creates a version with a generated name", creating(changed(t, object(t, versionSecret), `metadata: {name: null, generateName: forged-}`))},
		{"points a version at another object", patching(name, `{"metadata":{"annotations":{"credentials.claviger.dev/number":"2"}}}`)},
		{"relabels a version", patching(name, `{"metadata":{"labels":{"credentials.claviger.dev/role":null}}}`)},
		{"gives a version an owner", patching(name, `{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"ConfigMap","name":"x","uid":"y"}]}}`)},
		{"changes the material of a version", patching(name, `{"data":{"client_id":"dHdv"}}`)},
		{"takes the finalizer off a version", patching(name, `{"metadata":{"finalizers":null}}`)},
		{"replaces a version", replacing(changed(t, live, `{data: {client_id: dHdv}}`))},
		{"deletes a version", deleting(name)},
		{"deletes all versions", deletingAll},
	}
	tests := map[string]struct {
		client  *dynamic.DynamicClient
		refusal string
	}{
		"a tenant with every verb on Secrets and credentials": {
			tenant(t, namespace, "tenant", "* secrets", "* apiclientcredentials,credentialissuers,rotationpolicies"), byJournal,
		},
		"a tenant who may read the journal's right but not use it": {
			tenant(t, namespace, "reader", "* secrets", "get,list,watch,create,patch,delete apiclientcredentials/journal"), byJournal,
		},
		"a tenant with the right in another namespace": {
			func() *dynamic.DynamicClient {
				other := newNamespace(t, "journal-other")
				client := tenant(t, other, "elsewhere", "* secrets", "update apiclientcredentials/journal")
				grant(t, namespace, "elsewhere", "elsewhere."+other, "* secrets")
				return client
			}(), byJournal,
		},
		"a holder of the right": {
			tenant(t, namespace, "holder", "* secrets", "update apiclientcredentials/journal"), "",
		},
		"a tenant with everything on everything, which contains the right": {
			tenant(t, namespace, "owner", "* *"), "",
		},
		"an administrator": {admin(t), ""},
	}
	for who, test := range tests {
		for _, a := range attempts {
			t.Run(who+" "+a.name, func(t *testing.T) {
				requireAllowed(t, a.try(t.Context(), test.client.Resource(secrets).Namespace(namespace)), test.refusal)
			})
		}
	}
}

// TestOtherSecretsAreNotTouchedByTheGuard: a policy on all Secrets that fails closed
// would be an outage of the cluster, if it met more than ours.
func TestOtherSecretsAreNotTouchedByTheGuard(t *testing.T) {
	namespace := newNamespace(t, "plain-secrets")
	live := create(t, secrets, namespace, object(t, plainSecret))
	client := tenant(t, namespace, "tenant", "* secrets").Resource(secrets).Namespace(namespace)
	for _, a := range []attempt{
		{"created", creating(changed(t, object(t, plainSecret), `metadata: {name: another}`))},
		{"created without a type", creating(changed(t, object(t, plainSecret), `{metadata: {name: another}, type: null}`))},
		{"created with the probe's annotation", creating(changed(t, object(t, plainSecret), `metadata: {name: another, annotations: {credentials.claviger.dev/probe: x}}`))},
		{"created with the label of a target", creating(changed(t, object(t, plainSecret), `metadata: {name: another, labels: {credentials.claviger.dev/role: target}}`))},
		{"replaced", replacing(changed(t, live, `data: {a: dHdv}`))},
		{"deleted", deleting("plain")},
	} {
		t.Run("a plain Secret is "+a.name, func(t *testing.T) {
			requireAllowed(t, a.try(t.Context(), client), "")
		})
	}
}

// TestTheLabelOfTheJournalIsGuardedLikeItsType: the operator's cache knows labels and no
// types, so a plain Secret under the label would be taken for a version.
func TestTheLabelOfTheJournalIsGuardedLikeItsType(t *testing.T) {
	namespace := newNamespace(t, "labels")
	live := create(t, secrets, namespace, object(t, plainSecret))
	client := tenant(t, namespace, "tenant", "* secrets").Resource(secrets).Namespace(namespace)
	for _, a := range []attempt{
		{"created with it", creating(changed(t, object(t, plainSecret), `metadata: {name: another, labels: {credentials.claviger.dev/role: version}}`))},
		{"given it", replacing(changed(t, live, `metadata: {labels: {credentials.claviger.dev/role: version}}`))},
	} {
		t.Run("a plain Secret is "+a.name, func(t *testing.T) {
			requireAllowed(t, a.try(t.Context(), client), byJournal)
		})
	}
}

// TestASecretNeverChangesIntoAVersion: a Secret of another type would slip in by an
// update, if its type could be changed.
func TestASecretNeverChangesIntoAVersion(t *testing.T) {
	namespace := newNamespace(t, "types")
	live := create(t, secrets, namespace, object(t, plainSecret))
	_, err := admin(t).Resource(secrets).Namespace(namespace).
		Update(t.Context(), changed(t, live, `type: credentials.claviger.dev/version`), metav1.UpdateOptions{DryRun: dryRun})
	requireOutcome(t, err, "type: Invalid value")
}

func TestTheProbeIsRefusedToEverybody(t *testing.T) {
	namespace := newNamespace(t, "probe")
	create(t, secrets, namespace, object(t, versionSecret))
	probe := changed(t, object(t, versionSecret), `metadata: {name: probe, annotations: {credentials.claviger.dev/probe: "true"}}`)
	for who, client := range map[string]*dynamic.DynamicClient{
		"an administrator":      admin(t),
		"a holder of the right": tenant(t, namespace, "holder", "* secrets", "update apiclientcredentials/journal"),
		"a tenant":              tenant(t, namespace, "tenant", "* secrets"),
	} {
		t.Run(who, func(t *testing.T) {
			r := client.Resource(secrets).Namespace(namespace)
			for _, err := range []error{
				creating(probe)(t.Context(), r),
				patching("billing.0a1b2c3d.v1", `{"metadata":{"annotations":{"credentials.claviger.dev/probe":"x"}}}`)(t.Context(), r),
			} {
				requireAllowed(t, err, byProbe)
				if !apierrors.IsInvalid(err) {
					t.Errorf("the answer is no 422, so it cannot be told from one of RBAC: %v", err)
				}
			}
		})
	}
}

// TestNamespacesWithAJournalCanBeDeleted: the guard must not keep the cluster itself
// from deleting; the finalizer alone keeps a version until it is revoked (hazard C9).
func TestNamespacesWithAJournalCanBeDeleted(t *testing.T) {
	namespace := newNamespace(t, "doomed")
	create(t, secrets, namespace, object(t, versionSecret))
	create(t, secrets, namespace, changed(t, object(t, versionSecret), `metadata: {name: billing.0a1b2c3d.v2, finalizers: null}`))
	if err := admin(t).Resource(namespaces).Delete(t.Context(), namespace, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	versions := admin(t).Resource(secrets).Namespace(namespace)
	eventually(t, "the version without a finalizer goes and the other one waits", func(ctx context.Context) (bool, error) {
		_, err := versions.Get(ctx, "billing.0a1b2c3d.v2", metav1.GetOptions{})
		waiting, err2 := versions.Get(ctx, "billing.0a1b2c3d.v1", metav1.GetOptions{})
		return apierrors.IsNotFound(err) && waiting.GetDeletionTimestamp() != nil, err2
	})
	if _, err := versions.Patch(t.Context(), "billing.0a1b2c3d.v1", types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the namespace goes", func(ctx context.Context) (bool, error) {
		_, err := admin(t).Resource(namespaces).Get(ctx, namespace, metav1.GetOptions{})
		return apierrors.IsNotFound(err), nil
	})
}

// TestTheGarbageCollectorMayDeleteVersions: only a holder of the right can have given
// a version an owner, so what the collector does then was his wish; a refusal would be
// repeated for ever.
func TestTheGarbageCollectorMayDeleteVersions(t *testing.T) {
	namespace := newNamespace(t, "collected")
	owner := create(t, secrets, namespace, object(t, plainSecret))
	owned := changed(t, object(t, versionSecret), `metadata: {finalizers: null}`)
	owned.SetOwnerReferences([]metav1.OwnerReference{{APIVersion: "v1", Kind: "Secret", Name: owner.GetName(), UID: owner.GetUID()}})
	create(t, secrets, namespace, owned)
	if err := admin(t).Resource(secrets).Namespace(namespace).Delete(t.Context(), owner.GetName(), metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the owned version goes", func(ctx context.Context) (bool, error) {
		_, err := admin(t).Resource(secrets).Namespace(namespace).Get(ctx, owned.GetName(), metav1.GetOptions{})
		return apierrors.IsNotFound(err), nil
	})
}

// TestLoginsOfOthersCannotBeSentAway is hazard H20: the operator would otherwise send
// any Secret of the namespace to any address.
func TestLoginsOfOthersCannotBeSentAway(t *testing.T) {
	namespace := newNamespace(t, "logins")
	live := create(t, issuers, namespace, object(t, issuer))
	withoutGet := tenant(t, namespace, "without-get", "* credentialissuers", "list,watch,create,update,delete secrets")
	getsOther := tenant(t, namespace, "gets-other", "* credentialissuers", "get secrets other-login")
	getsIt := tenant(t, namespace, "gets-it", "* credentialissuers", "get secrets apic-login")
	changeLogin := changed(t, live, `spec: {ibmAPIConnect: {login: {secretRef: {name: other-login}}}}`)
	another := changed(t, object(t, issuer), `metadata: {name: another}`)
	tests := []struct {
		name    string
		client  *dynamic.DynamicClient
		try     func(context.Context, dynamic.ResourceInterface) error
		refusal string
	}{
		{"who may not get the login Secret creates no issuer that names it", withoutGet, creating(another), byLogin},
		{"who may get another Secret creates no issuer that names this one", getsOther, creating(another), byLogin},
		{"who may get it creates the issuer", getsIt, creating(another), ""},
		{"who may get only the present login cannot move the issuer to another Secret", getsIt, replacing(changeLogin), byLogin},
		{"who may get the other Secret moves the issuer to it", getsOther, replacing(changeLogin), ""},
		{"who may not get the login cannot name authorities of his own", withoutGet, patching("apic", `{"spec":{"ibmAPIConnect":{"caBundle":"-----BEGIN CERTIFICATE-----"}}}`), byLogin},
		{"who may not get the login cannot send probes elsewhere", withoutGet, patching("apic", `{"spec":{"ibmAPIConnect":{"gatewayURL":"https://elsewhere.example"}}}`), byLogin},
		{"who may not get the login cannot change its realm", withoutGet, patching("apic", `{"spec":{"ibmAPIConnect":{"login":{"realm":"provider/mine"}}}}`), byLogin},
		{"who may not get the login can throw the kill switch", withoutGet, patching("apic", `{"spec":{"suspend":true}}`), ""},
		{"who may not get the login can change the budget", withoutGet, patching("apic", `{"spec":{"rateLimit":{"perSecond":1}}}`), ""},
		{"who may not get the login can put labels and finalizers", withoutGet, patching("apic", `{"metadata":{"labels":{"a":"b"},"finalizers":["credentials.claviger.dev/in-use"]}}`), ""},
		{"who may not get the login can apply the same issuer again", withoutGet, replacing(live), ""},
		{"who may not get the login can delete the issuer", withoutGet, deleting("apic"), ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			requireAllowed(t, test.try(t.Context(), test.client.Resource(issuers).Namespace(namespace)), test.refusal)
		})
	}
}

func TestLettingGoNeedsAVerbOfItsOwn(t *testing.T) {
	namespace := newNamespace(t, "abandon")
	base := object(t, credential)
	create(t, credentials, namespace, base)
	create(t, credentials, namespace, changed(t, base, `metadata: {name: marked, annotations: {credentials.claviger.dev/abandon-upstream: "1"}}`))
	const everyDay = "get,list,watch,create,update,patch,delete apiclientcredentials"
	editor := tenant(t, namespace, "editor", everyDay)
	abandoner := tenant(t, namespace, "abandoner", everyDay, "abandon apiclientcredentials billing")
	set := func(name, value string) func(context.Context, dynamic.ResourceInterface) error {
		return patching(name, `{"metadata":{"annotations":{"credentials.claviger.dev/abandon-upstream":`+value+`}}}`)
	}
	tests := []struct {
		name    string
		client  *dynamic.DynamicClient
		try     func(context.Context, dynamic.ResourceInterface) error
		refusal string
	}{
		{"an editor cannot set it", editor, set("billing", `"all"`), byRequest},
		{"an editor cannot create a credential with it", editor, creating(changed(t, base, `metadata: {name: new, annotations: {credentials.claviger.dev/abandon-upstream: all}}`)), byRequest},
		{"an editor cannot make it wider", editor, set("marked", `"all"`), byRequest},
		{"an editor can leave it as it is and change something else", editor, patching("marked", `{"spec":{"suspend":true}}`), ""},
		{"an editor can take it off", editor, set("marked", `null`), ""},
		{"an editor can set other annotations", editor, patching("billing", `{"metadata":{"annotations":{"credentials.claviger.dev/rotate-requested-at":"2026-01-02T03:04:05Z"}}}`), ""},
		{"who has the verb for this credential can set it", abandoner, set("billing", `"all"`), ""},
		{"who has the verb for another credential cannot", abandoner, set("marked", `"all"`), byRequest},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			requireAllowed(t, test.try(t.Context(), test.client.Resource(credentials).Namespace(namespace)), test.refusal)
		})
	}
}

func TestAdoptingNeedsTheRightToGetTheSecret(t *testing.T) {
	namespace := newNamespace(t, "adopt")
	base := object(t, credential)
	create(t, credentials, namespace, base)
	const everyDay = "get,list,watch,create,update,patch,delete apiclientcredentials"
	editor := tenant(t, namespace, "adopting-editor", everyDay)
	reader := tenant(t, namespace, "adopting-reader", everyDay, "get secrets by-hand")
	adopt := func(name string) func(context.Context, dynamic.ResourceInterface) error {
		return patching("billing", `{"spec":{"adopt":{"secretRef":{"name":"`+name+`"}}}}`)
	}
	for _, test := range []struct {
		name    string
		client  *dynamic.DynamicClient
		try     func(context.Context, dynamic.ResourceInterface) error
		refusal string
	}{
		{"an editor cannot name a Secret that he may not get", editor, adopt("by-hand"), "you may not get Secret by-hand"},
		{
			"nor create a credential that does", editor,
			creating(changed(t, base, `{metadata: {name: new}, spec: {secret: {name: new-api}, adopt: {secretRef: {name: by-hand}}}}`)), "you may not get Secret by-hand",
		},
		{"who may get the Secret may name it", reader, adopt("by-hand"), ""},
		{"but not another one", reader, adopt("another"), "you may not get Secret another"},
		{"an editor can leave the reference and change something else", editor, patching("billing", `{"spec":{"suspend":true}}`), ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			requireAllowed(t, test.try(t.Context(), test.client.Resource(credentials).Namespace(namespace)), test.refusal)
		})
	}
}

func TestRestartingNeedsTheRightToPatch(t *testing.T) {
	namespace := newNamespace(t, "rollout")
	base := object(t, credential)
	create(t, credentials, namespace, base)
	create(t, credentials, namespace, changed(t, base, `{metadata: {name: rolling}, spec: {secret: {name: rolling-api},
		rollout: [{kind: Deployment, selector: {matchLabels: {uses: billing-api}}}, {kind: DaemonSet, name: billing}]}}`))
	const everyDay = "get,list,watch,create,update,patch,delete apiclientcredentials"
	editor := tenant(t, namespace, "restarting-editor", everyDay, "get,list,watch deployments,statefulsets,daemonsets", "patch statefulsets ledger")
	owner := tenant(t, namespace, "restarting-owner", everyDay, "patch deployments billing")
	team := tenant(t, namespace, "restarting-team", everyDay, "patch deployments,daemonsets")
	rollout := func(entries string) func(context.Context, dynamic.ResourceInterface) error {
		return patching("billing", `{"spec":{"rollout":[`+entries+`]}}`)
	}
	const (
		byName   = `{"kind":"Deployment","name":"billing"}`
		byLabels = `{"kind":"Deployment","selector":{"matchLabels":{"uses":"billing-api"}}}`
		daemon   = `{"kind":"DaemonSet","name":"billing"}`
		ledger   = `{"kind":"StatefulSet","name":"ledger"}`
		refusal  = "you may not patch "
	)
	for _, test := range []struct {
		name    string
		client  *dynamic.DynamicClient
		try     func(context.Context, dynamic.ResourceInterface) error
		refusal string
	}{
		{"an editor cannot list a Deployment that he may not patch", editor, rollout(byName), refusal + "Deployment billing"},
		{
			"nor create a credential that does", editor,
			creating(changed(t, base, `{metadata: {name: new}, spec: {secret: {name: new-api}, rollout: [{kind: Deployment, name: billing}]}}`)), refusal + "Deployment billing",
		},
		{"he can list a StatefulSet that he may patch", editor, rollout(ledger), ""},
		{"but not another one beside it", editor, rollout(ledger + "," + daemon), refusal + "DaemonSet billing"},
		{"who may patch one by name may list it", owner, rollout(byName), ""},
		{"but not one of another kind", owner, rollout(byName + "," + daemon), refusal + "DaemonSet billing"},
		{"nor all of the kind by labels", owner, rollout(byLabels), refusal + "Deployment by labels"},
		{"who may patch all of a kind may choose them by labels", team, rollout(byLabels + "," + daemon), ""},
		{
			"who leaves entries as they are needs nothing for them", editor,
			patching("rolling", `{"spec":{"rollout":[`+ledger+`,`+byLabels+`]}}`), "",
		},
		{"he may not change one", editor, patching("rolling", `{"spec":{"rollout":[`+byName+`]}}`), refusal + "Deployment billing"},
		{"who changes something else needs nothing", owner, patching("rolling", `{"spec":{"suspend":true}}`), ""},
		{"nor who removes them", owner, patching("rolling", `{"spec":{"rollout":null}}`), ""},
		{
			"sixteen entries are not too many for the rule", team,
			rollout(strings.TrimSuffix(strings.Repeat(byName+",", 15), ",") + "," + ledger), refusal + "StatefulSet ledger",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			requireAllowed(t, test.try(t.Context(), test.client.Resource(credentials).Namespace(namespace)), test.refusal)
		})
	}
}

func TestDeliveringNeedsTheVerbDeliver(t *testing.T) {
	namespace := newNamespace(t, "delivery")
	base := object(t, credential)
	const (
		toProduction = `{"tenantRef":{"name":"production"},"alias":"A","as":"UserCredentials","keptFor":"1h"}`
		another      = `{"tenantRef":{"name":"production"},"alias":"B","as":"UserCredentials","keptFor":"1h"}`
		toTest       = `{"tenantRef":{"name":"test"},"alias":"A","as":"UserCredentials","keptFor":"1h"}`
		refusal      = "you have no verb deliver on cloudintegrationtenants "
	)
	create(t, credentials, namespace, base)
	create(t, credentials, namespace, changed(t, base, `{metadata: {name: delivered}, spec: {secret: {name: delivered-api}, deliver: [`+toTest+`]}}`))
	const everyDay = "get,list,watch,create,update,patch,delete apiclientcredentials"
	editor := tenant(t, namespace, "delivery-editor", everyDay, "get,list,watch,create,update,patch,delete cloudintegrationtenants")
	owner := tenant(t, namespace, "delivery-owner", everyDay, "deliver cloudintegrationtenants production")
	deliver := func(name, entries string) func(context.Context, dynamic.ResourceInterface) error {
		return patching(name, `{"spec":{"deliver":[`+entries+`]}}`)
	}
	for _, test := range []struct {
		name    string
		client  *dynamic.DynamicClient
		try     func(context.Context, dynamic.ResourceInterface) error
		refusal string
	}{
		{"an editor without the verb cannot deliver", editor, deliver("billing", toProduction), refusal + "production"},
		{"nor create a credential that does", editor, creating(changed(t, base, `{metadata: {name: new}, spec: {secret: {name: new-api}, deliver: [`+toProduction+`]}}`)), refusal + "production"},
		{"who has it on the tenant may", owner, deliver("billing", toProduction+","+another), ""},
		{"but not to another tenant beside it", owner, deliver("billing", toProduction+","+toTest), refusal + "test"},
		{"the fourth entry counts as the first does", owner, deliver("billing", toProduction+","+another+`,{"tenantRef":{"name":"production"},"alias":"C","as":"UserCredentials","keptFor":"1h"},`+toTest), refusal + "test"},
		{"who leaves an entry as it is needs nothing for it", owner, deliver("delivered", toTest+","+toProduction), ""},
		{"who changes one needs it", editor, deliver("delivered", strings.Replace(toTest, `"alias"`, `"adopt":true,"alias"`, 1)), refusal + "test"},
		{"who changes something else needs nothing", editor, patching("delivered", `{"spec":{"suspend":true}}`), ""},
		{"nor who takes entries out", editor, patching("delivered", `{"spec":{"deliver":null}}`), ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			requireAllowed(t, test.try(t.Context(), test.client.Resource(credentials).Namespace(namespace)), test.refusal)
		})
	}
}

func TestNamingAPasswordNeedsTheRightToGetItsSecret(t *testing.T) {
	namespace := newNamespace(t, "password")
	base := object(t, credential)
	create(t, credentials, namespace, base)
	const everyDay = "get,list,watch,create,update,patch,delete apiclientcredentials"
	editor := tenant(t, namespace, "naming-editor", everyDay)
	reader := tenant(t, namespace, "naming-reader", everyDay, "get secrets keystore")
	name := func(name string) func(context.Context, dynamic.ResourceInterface) error {
		return patching("billing", `{"spec":{"secret":{"template":{"data":null,"preset":"PKCS12","pkcs12":{"passwordSecretRef":{"name":"`+name+`"}}}}}}`)
	}
	create(t, credentials, namespace, changed(t, base,
		`{metadata: {name: sealed}, spec: {secret: {name: sealed-api, template: {data: null, preset: PKCS12, pkcs12: {passwordSecretRef: {name: keystore}}}}}}`))
	const another = `{metadata: {name: new}, spec: {secret: {name: new-api, template: {data: null, preset: PKCS12, pkcs12: {passwordSecretRef: {name: keystore}}}}}}`
	for _, test := range []struct {
		name    string
		client  *dynamic.DynamicClient
		try     func(context.Context, dynamic.ResourceInterface) error
		refusal string
	}{
		{"an editor cannot name a Secret that he may not get", editor, name("keystore"), "you may not get Secret keystore"},
		{"nor create a credential that does", editor, creating(changed(t, base, another)), "you may not get Secret keystore"},
		{"who may get the Secret may name it", reader, name("keystore"), ""},
		{"but not another one", reader, name("another"), "you may not get Secret another"},
		{"an editor can leave the reference and change something else", editor, patching("sealed", `{"spec":{"secret":{"template":{"pkcs12":{"profile":"LegacyDES"}}}}}`), ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			requireAllowed(t, test.try(t.Context(), test.client.Resource(credentials).Namespace(namespace)), test.refusal)
		})
	}
}

func TestCondemningNeedsAVerbOfItsOwn(t *testing.T) {
	namespace := newNamespace(t, "condemn")
	create(t, credentials, namespace, object(t, credential))
	create(t, policies, namespace, object(t, policy))
	const everyDay = "get,list,watch,create,update,patch,delete apiclientcredentials,rotationpolicies"
	editor := tenant(t, namespace, "condemning-editor", everyDay)
	officer := tenant(t, namespace, "officer", everyDay, "compromise apiclientcredentials,rotationpolicies")
	set := func(name, annotation, value string) func(context.Context, dynamic.ResourceInterface) error {
		return patching(name, `{"metadata":{"annotations":{"credentials.claviger.dev/`+annotation+`":"`+value+`"}}}`)
	}
	const noon = "2026-01-02T12:00:00Z"
	for resource, name := range map[schema.GroupVersionResource]string{credentials: "billing", policies: "quarterly"} {
		refusal := "needs the verb compromise on " + resource.Resource
		for _, test := range []struct {
			name    string
			client  *dynamic.DynamicClient
			try     func(context.Context, dynamic.ResourceInterface) error
			refusal string
		}{
			{"an editor cannot declare it compromised", editor, set(name, "compromised-at", noon), refusal},
			{"an editor cannot have it revoked without a successor", editor, set(name, "revoke-without-successor", "true"), refusal},
			{"an editor cannot take over another cluster's journal", editor, set(name, "take-over-from", "x"), "needs the verb abandon on " + resource.Resource},
			{"an editor can ask for a rollback", editor, set(name, "rollback-requested-at", noon), ""},
			{"who has the verb can declare it compromised", officer, set(name, "compromised-at", noon), ""},
			{"an editor can take the word back", editor, patching(name, `{"metadata":{"annotations":{"credentials.claviger.dev/compromised-at":null}}}`), ""},
		} {
			t.Run(resource.Resource+": "+test.name, func(t *testing.T) {
				requireAllowed(t, test.try(t.Context(), test.client.Resource(resource).Namespace(namespace)), test.refusal)
			})
		}
	}
}

func TestAgreeingToManyDeletionsNeedsAVerbOfItsOwn(t *testing.T) {
	namespace := newNamespace(t, "confirm")
	create(t, issuers, namespace, changed(t, object(t, issuer), `metadata: {annotations: {credentials.claviger.dev/deletions-confirmed-at: "2026-01-02T12:00:00Z"}}`))
	const everyDay = "get,update,patch credentialissuers"
	editor := tenant(t, namespace, "confirming-editor", everyDay)
	owner := tenant(t, namespace, "owner", everyDay, "confirm credentialissuers")
	set := func(annotation string) func(context.Context, dynamic.ResourceInterface) error {
		return patching(object(t, issuer).GetName(), `{"metadata":{"annotations":{"credentials.claviger.dev/`+annotation+`}}}`)
	}
	for _, test := range []struct {
		name    string
		client  *dynamic.DynamicClient
		try     func(context.Context, dynamic.ResourceInterface) error
		refusal string
	}{
		{"who may only edit the issuer cannot", editor, set(`deletions-confirmed-at":"2026-01-02T13:00:00Z"`), "needs the verb confirm on credentialissuers"},
		{"who has the verb can", owner, set(`deletions-confirmed-at":"2026-01-02T13:00:00Z"`), ""},
		{"an editor can write what stands there", editor, set(`deletions-confirmed-at":"2026-01-02T12:00:00Z","other.example/note":"x"`), ""},
		{"an editor can take it back", editor, set(`deletions-confirmed-at":null`), ""},
		{"an editor can write another annotation", editor, set(`missing-confirmed":"3"`), ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			requireAllowed(t, test.try(t.Context(), test.client.Resource(issuers).Namespace(namespace)), test.refusal)
		})
	}
}

func TestOnlyTheOperatorTakesItsFinalizersOffWhatIsBeingDeleted(t *testing.T) {
	namespace := newNamespace(t, "finalizers")
	const everything = "* apiclientcredentials,credentialissuers"
	editor := tenant(t, namespace, "editor", everything)
	operator := tenant(t, namespace, "operator", everything, "update apiclientcredentials/journal")
	for resource, manifest := range map[schema.GroupVersionResource]string{credentials: credential, issuers: issuer} {
		for _, name := range []string{"alive", "dying"} {
			create(t, resource, namespace, changed(t, object(t, manifest),
				`metadata: {name: `+name+`, finalizers: [credentials.claviger.dev/kept, other.example/kept]}`))
		}
		if err := admin(t).Resource(resource).Namespace(namespace).Delete(t.Context(), "dying", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		for _, test := range []struct {
			name    string
			client  *dynamic.DynamicClient
			object  string
			keep    []string
			refusal string
		}{
			{"an editor cannot take it off", editor, "dying", []string{"other.example/kept"}, byFinalizers},
			{"an editor cannot take all off", editor, "dying", nil, byFinalizers},
			{"an editor can take another one off", editor, "dying", []string{"credentials.claviger.dev/kept"}, ""},
			{"an editor can drop it from what lives, where it is put back", editor, "alive", nil, ""},
			{"the operator takes it off", operator, "dying", []string{"other.example/kept"}, ""},
		} {
			t.Run(resource.Resource+": "+test.name, func(t *testing.T) {
				r := test.client.Resource(resource).Namespace(namespace)
				live, err := r.Get(t.Context(), test.object, metav1.GetOptions{})
				if err != nil {
					t.Fatal(err)
				}
				live.SetFinalizers(slices.Clone(test.keep))
				requireAllowed(t, replacing(live)(t.Context(), r), test.refusal)
			})
		}
	}
}
