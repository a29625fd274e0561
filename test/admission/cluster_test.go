package admission

import (
	"context"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"github.com/claviger-dev/claviger/api/v1alpha1"
)

var (
	clusterIssuers  = v1alpha1.GroupVersion.WithResource("clustercredentialissuers")
	clusterPolicies = v1alpha1.GroupVersion.WithResource("clusterrotationpolicies")
)

const clusterIssuer = `
apiVersion: credentials.claviger.dev/v1alpha1
kind: ClusterCredentialIssuer
metadata: {name: apic}
spec:
  allowedNamespaces: {names: [payments]}
  ibmAPIConnect:
    url: https://platform.apic.example
    providerOrg: acme
    catalog: production
    login: {realm: provider/default-idp-2, secretRef: {name: apic-login}}
`

const clusterPolicy = `
apiVersion: credentials.claviger.dev/v1alpha1
kind: ClusterRotationPolicy
metadata: {name: quarterly}
spec:
  namespaceSelector: {matchLabels: {tier: production}}
  selector: {}
  rotateAfter: 90d
  overlap: 10d
`

func testRules(t *testing.T, resource schema.GroupVersionResource, manifest string,
	try func(*unstructured.Unstructured) func(context.Context, dynamic.ResourceInterface) error, cases []ruleCase,
) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			requireOutcome(t, try(changed(t, object(t, manifest), c.change))(t.Context(), admin(t).Resource(resource)), c.refusal)
		})
	}
}

func manifestOf(t *testing.T, o *unstructured.Unstructured) string {
	t.Helper()
	text, err := yaml.Marshal(o.Object)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// What the kinds of the cluster have in common with those of a namespace is the same schema;
// one rule of each proves that it was not lost on the way.
func TestClusterIssuerRules(t *testing.T) {
	testRules(t, clusterIssuers, clusterIssuer, creating, []ruleCase{
		{"as it is", "", ""},
		{"no namespaces at all", `spec: {allowedNamespaces: {names: null}}`, "selector {} is every namespace"},
		{"an empty list of names", `spec: {allowedNamespaces: {names: []}}`, "at least 1 items"},
		{"all namespaces", `spec: {allowedNamespaces: {names: null, selector: {}}}`, ""},
		{"no choice", `spec: {allowedNamespaces: null}`, "Required value"},
		{"no upstream", `spec: {ibmAPIConnect: null}`, "exactly one upstream must be set"},
		{"an address with a path", `spec: {ibmAPIConnect: {url: "https://platform.apic.example/api"}}`, "url must be https://host"},
		{"a long name", `metadata: {name: a123456789012345678901234567890123456789012345678901234567890123}`, "at most 63 characters"},
	})
	live := create(t, clusterIssuers, "", changed(t, object(t, clusterIssuer), `metadata: {name: live}`))
	testRules(t, clusterIssuers, manifestOf(t, live), replacing, []ruleCase{
		{"another choice of namespaces", `spec: {allowedNamespaces: {names: [shipping]}}`, ""},
		{"another catalog", `spec: {ibmAPIConnect: {catalog: test}}`, "catalog is immutable"},
	})
}

func TestClusterPolicyRules(t *testing.T) {
	testRules(t, clusterPolicies, clusterPolicy, creating, []ruleCase{
		{"as it is", "", ""},
		{"no choice of namespaces", `spec: {namespaceSelector: null}`, "Required value"},
		{"an overlap that is too long", `spec: {overlap: 100d}`, "overlap must be smaller than rotateAfter"},
		{"an interval that is none", `spec: {rotateAfter: soon}`, "spec.rotateAfter"},
	})
}

// clusterUser returns a client of a user with rights in the whole cluster.
func clusterUser(t *testing.T, name string, rules ...string) *dynamic.DynamicClient {
	t.Helper()
	kube, err := kubernetes.NewForConfig(plane.Config())
	if err != nil {
		t.Fatal(err)
	}
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name}}
	for _, text := range rules {
		role.Rules = append(role.Rules, rule(t, text))
	}
	if _, err := kube.RbacV1().ClusterRoles().Create(t.Context(), role, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: name}},
	}
	if _, err := kube.RbacV1().ClusterRoleBindings().Create(t.Context(), binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	config := plane.Config()
	config.Impersonate = rest.ImpersonationConfig{UserName: name, Groups: []string{"system:authenticated"}}
	awaitRight(t, "", name, role.Rules[0])
	return as(t, config)
}

// Hazard H20: the operator would otherwise send any Secret of its namespace to any address.
func TestLoginsOfTheOperatorsNamespaceCannotBeSentAway(t *testing.T) {
	create(t, clusterIssuers, "", changed(t, object(t, clusterIssuer), `metadata: {name: theirs}`))
	withoutGet := clusterUser(t, "cluster-without-get", "* clustercredentialissuers")
	getsOther := clusterUser(t, "cluster-gets-other", "* clustercredentialissuers", "get secrets other-login")
	getsIt := clusterUser(t, "cluster-gets-it", "* clustercredentialissuers", "get secrets apic-login")
	inANamespace := clusterUser(t, "cluster-in-a-namespace", "* clustercredentialissuers")
	grant(t, "default", "cluster-in-a-namespace", "cluster-in-a-namespace", "get secrets apic-login")
	mine := changed(t, object(t, clusterIssuer), `metadata: {name: mine}`)
	moved := `{"spec":{"ibmAPIConnect":{"gatewayURL":"https://elsewhere.example"}}}`
	for _, test := range []struct {
		name    string
		client  *dynamic.DynamicClient
		try     func(context.Context, dynamic.ResourceInterface) error
		refusal string
	}{
		{"who may not get the login makes no issuer that names it", withoutGet, creating(mine), byClusterLogin},
		{"who may get another Secret makes none that names this one", getsOther, creating(mine), byClusterLogin},
		{"who may get it in one namespace makes none", inANamespace, creating(mine), byClusterLogin},
		{"who may get it everywhere makes one", getsIt, creating(mine), ""},
		{"who may not get the login cannot send probes elsewhere", withoutGet, patching("theirs", moved), byClusterLogin},
		{"who may not get the login can throw the kill switch", withoutGet, patching("theirs", `{"spec":{"suspend":true}}`), ""},
		{"who may not get the login can choose other namespaces", withoutGet, patching("theirs", `{"spec":{"allowedNamespaces":{"names":["shipping"]}}}`), ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			requireAllowed(t, test.try(t.Context(), test.client.Resource(clusterIssuers)), test.refusal)
		})
	}
}

const byClusterLogin = "you may not get Secret apic-login in every namespace"

func TestCondemningTheFleetOfTheClusterNeedsTheVerb(t *testing.T) {
	create(t, clusterPolicies, "", changed(t, object(t, clusterPolicy), `metadata: {name: condemned}`))
	editor := clusterUser(t, "cluster-editor", "get,update,patch clusterrotationpolicies")
	officer := clusterUser(t, "cluster-officer", "get,update,patch,compromise clusterrotationpolicies")
	condemn := patching("condemned", `{"metadata":{"annotations":{"credentials.claviger.dev/compromised-at":"2026-01-02T12:00:00Z"}}}`)
	requireAllowed(t, condemn(t.Context(), editor.Resource(clusterPolicies)), "needs the verb compromise on clusterrotationpolicies")
	requireAllowed(t, condemn(t.Context(), officer.Resource(clusterPolicies)), "")
}
