package admission

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/yaml"
)

func clientset(t *testing.T) *kubernetes.Clientset {
	t.Helper()
	kube, err := kubernetes.NewForConfig(plane.Config())
	if err != nil {
		t.Fatal(err)
	}
	return kube
}

// TestTheSamplesApplyAsTheyAre: the first thing that a newcomer types.
func TestTheSamplesApplyAsTheyAre(t *testing.T) {
	for range 2 { // A second time changes nothing.
		if _, err := plane.Kubectl(t.Context(), "apply", "--filename", "../../config/samples"); err != nil {
			t.Fatal(err)
		}
	}
	out, err := plane.Kubectl(t.Context(), "get", "apicred,citenant,credissuer,rotpol,secret,ccredissuer,crotpol", "--namespace", "payments", "--output=name")
	if err != nil {
		t.Fatal(err)
	}
	// Other tests have made kinds of the cluster of their own.
	got := slices.DeleteFunc(strings.Fields(out), func(name string) bool {
		kind, rest, _ := strings.Cut(name, "/")
		return strings.HasPrefix(kind, "cluster") && !slices.Contains([]string{"apic", "quarterly"}, rest)
	})
	want := []string{
		"apiclientcredential.credentials.claviger.dev/billing", "apiclientcredential.credentials.claviger.dev/catalogue", "apiclientcredential.credentials.claviger.dev/cert-manager-tpp",
		"apiclientcredential.credentials.claviger.dev/invoices",
		"apiclientcredential.credentials.claviger.dev/message-logs", "apiclientcredential.credentials.claviger.dev/message-logs-kyma", "apiclientcredential.credentials.claviger.dev/message-logs-managed", "apiclientcredential.credentials.claviger.dev/message-logs-mtls",
		"apiclientcredential.credentials.claviger.dev/monitoring", "apiclientcredential.credentials.claviger.dev/operator-certificate", "apiclientcredential.credentials.claviger.dev/orders",
		"apiclientcredential.credentials.claviger.dev/orders-client", "apiclientcredential.credentials.claviger.dev/orders-in-production", "apiclientcredential.credentials.claviger.dev/orders-key", "apiclientcredential.credentials.claviger.dev/orders-oauth",
		"apiclientcredential.credentials.claviger.dev/shop-client", "apiclientcredential.credentials.claviger.dev/shop-key", "cloudintegrationtenant.credentials.claviger.dev/production",
		"credentialissuer.credentials.claviger.dev/apic", "credentialissuer.credentials.claviger.dev/centrasite", "credentialissuer.credentials.claviger.dev/cf", "credentialissuer.credentials.claviger.dev/gateway", "credentialissuer.credentials.claviger.dev/neo", "credentialissuer.credentials.claviger.dev/portal", "credentialissuer.credentials.claviger.dev/sm",
		"credentialissuer.credentials.claviger.dev/tpp-certificates", "credentialissuer.credentials.claviger.dev/tpp-chained", "credentialissuer.credentials.claviger.dev/tpp-secretless", "credentialissuer.credentials.claviger.dev/tpp-tokens",
		"rotationpolicy.credentials.claviger.dev/in-place", "rotationpolicy.credentials.claviger.dev/notifying", "rotationpolicy.credentials.claviger.dev/quarterly", "rotationpolicy.credentials.claviger.dev/restarting", "rotationpolicy.credentials.claviger.dev/reviewed", "secret/apic-login",
		"clustercredentialissuer.credentials.claviger.dev/apic", "clusterrotationpolicy.credentials.claviger.dev/quarterly",
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestThePodIsAdmittedUnderTheRestrictedStandard: the Deployment is only a template;
// what the namespace's label judges is the Pod.
func TestThePodIsAdmittedUnderTheRestrictedStandard(t *testing.T) {
	deployment, err := clientset(t).AppsV1().Deployments("claviger-system").Get(t.Context(), "claviger", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	pod := &corev1.Pod{ObjectMeta: deployment.Spec.Template.ObjectMeta, Spec: deployment.Spec.Template.Spec}
	pod.Name = "claviger"
	create := func(change func(*corev1.PodSpec)) error {
		changed := pod.DeepCopy()
		change(&changed.Spec)
		_, err := clientset(t).CoreV1().Pods("claviger-system").Create(t.Context(), changed, metav1.CreateOptions{DryRun: dryRun})
		return err
	}
	if err := create(func(*corev1.PodSpec) {}); err != nil {
		t.Error("the Pod is refused:", err)
	}
	// Without this the test could not fail in a namespace that has lost its label.
	if err := create(func(s *corev1.PodSpec) { s.Containers[0].SecurityContext = nil }); err == nil {
		t.Error("a Pod that keeps its capabilities is accepted: the standard is not enforced")
	}
	requireHardened(t, deployment)
}

// requireHardened checks what the standard does not ask for.
func requireHardened(t *testing.T, d *appsv1.Deployment) {
	t.Helper()
	spec := d.Spec.Template.Spec
	container := spec.Containers[0]
	if root := container.SecurityContext.ReadOnlyRootFilesystem; root == nil || !*root {
		t.Error("the root of the file system can be written")
	}
	if container.LivenessProbe == nil || container.ReadinessProbe == nil {
		t.Error("a probe is missing")
	}
	if grace := spec.TerminationGracePeriodSeconds; grace == nil || *grace < 75 {
		t.Error("the Pod is killed before the manager has written its answers")
	}
	if !strings.Contains(strings.Join(container.Args, " "), "--leader-elect=true") {
		t.Error("two replicas would work at the same time")
	}
	for _, arg := range container.Args {
		if strings.Contains(arg, "insecure") {
			t.Errorf("%s is for tests", arg)
		}
	}
}

// TestRightsAreAsWideAsNeededAndNoWider asks the API server itself.
func TestRightsAreAsWideAsNeededAndNoWider(t *testing.T) {
	namespace := newNamespace(t, "rights")
	for _, role := range []string{"view", "edit", "admin", "claviger-issuer-admin", "claviger-journal-writer"} {
		bind(t, namespace, role)
	}
	const operator = "system:serviceaccount:claviger-system:claviger"
	tests := []struct {
		user, does string
		may        bool
	}{
		{"view", "get apiclientcredentials", true},
		{"view", "watch credentialissuers", true},
		{"view", "update apiclientcredentials", false},
		{"edit", "create apiclientcredentials", true},
		{"edit", "delete rotationpolicies", true},
		{"edit", "create credentialissuers", false},
		{"edit", "update apiclientcredentials/status", false},
		{"edit", "update apiclientcredentials/journal", false},
		{"edit", "abandon apiclientcredentials", false},
		{"admin", "create apiclientcredentials", true},
		{"admin", "update credentialissuers", false},
		{"admin", "update apiclientcredentials/journal", false},
		{"admin", "abandon apiclientcredentials", false},
		{"admin", "compromise apiclientcredentials", false},
		{"admin", "compromise rotationpolicies", false},
		{"claviger-issuer-admin", "compromise rotationpolicies", true},
		{"claviger-issuer-admin", "confirm credentialissuers", true},
		{"admin", "confirm credentialissuers", false},
		{"claviger-issuer-admin", "create credentialissuers", true},
		{"claviger-issuer-admin", "abandon apiclientcredentials", true},
		{"claviger-issuer-admin", "get secrets", false},
		{"claviger-issuer-admin", "update apiclientcredentials/journal", false},
		{"claviger-journal-writer", "update apiclientcredentials/journal", true},
		{"claviger-journal-writer", "update apiclientcredentials", false},
		{operator, "update apiclientcredentials/journal", true},
		{operator, "update apiclientcredentials/status", true},
		{operator, "create secrets", true},
		{operator, "delete secrets", true},
		{operator, "get namespaces", true},
		{operator, "create events.events.k8s.io", true},
		{operator, "create apiclientcredentials", false},
		{operator, "delete apiclientcredentials", false},
		{operator, "create credentialissuers", false},
		{operator, "update rotationpolicies", false},
		{operator, "abandon apiclientcredentials", false},
		{operator, "deletecollection secrets", false},
		{operator, "create approvalrequests", true},
		{operator, "update approvalrequests", false},
		{operator, "approve rotationpolicies", false},
		{operator, "approve clustercredentialissuers", false},
		{operator, "get configmaps", false}, // but in its own namespace
		{operator, "create notificationchannels", false},
		{operator, "update cloudintegrationtenants", false},
		{operator, "update cloudintegrationtenants/status", true},
		{"edit", "create cloudintegrationtenants", false},
		{"view", "get cloudintegrationtenants", true},
		{"edit", "create notificationchannels", false},
		{operator, "create pods", false},
		{operator, "list pods", true},
		{operator, "get pods", false},
		{operator, "patch deployments.apps", true},
		{operator, "list statefulsets.apps", true},
		{operator, "get daemonsets.apps", true},
		{operator, "watch deployments.apps", false}, // they are never cached
		{operator, "update deployments.apps", false},
		{operator, "create deployments.apps", false},
		{operator, "delete daemonsets.apps", false},
		{operator, "patch replicasets.apps", false},
		{operator, "create leases.coordination.k8s.io", false}, // only in its own namespace
		{operator, "list namespaces", true},                    // their labels choose who may use what is the cluster's
		{operator, "update namespaces", false},
		{operator, "create clustercredentialissuers", false},
		{operator, "update clusterrotationpolicies", false},
		{"edit", "create clustercredentialissuers", false},
		{"admin", "create clusterrotationpolicies", false},
		{operator, "escalate clusterroles.rbac.authorization.k8s.io", false},
		{operator, "impersonate users", false},
	}
	for _, test := range tests {
		can := "cannot"
		if test.may {
			can = "can"
		}
		t.Run(test.user+" "+can+" "+test.does, func(t *testing.T) {
			user := test.user
			if user != operator {
				user += "." + namespace
			}
			if got := allowed(t, user, namespace, test.does); got != test.may {
				t.Errorf("the API server says %v", got)
			}
		})
	}
	if !allowed(t, operator, "claviger-system", "update leases.coordination.k8s.io") {
		t.Error("the operator cannot be elected")
	}
	for _, does := range []string{"create configmaps", "update configmaps", "delete configmaps", "watch configmaps"} {
		if !allowed(t, operator, "claviger-system", does) {
			t.Errorf("the operator cannot %s, so it cannot remember what was told", does)
		}
	}
}

// bind gives a user of the role's name a ClusterRole in a namespace, and waits until its
// rules are known and, for those that are collected by labels, collected.
func bind(t *testing.T, namespace, role string) {
	t.Helper()
	user := role + "." + namespace
	_, err := clientset(t).RbacV1().RoleBindings(namespace).Create(t.Context(), &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: role},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: user}},
		RoleRef:    rbacv1.RoleRef{Kind: "ClusterRole", APIGroup: rbacv1.GroupName, Name: role},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	first := map[string]string{"view": "get apiclientcredentials", "claviger-issuer-admin": "create credentialissuers", "claviger-journal-writer": "update apiclientcredentials/journal"}[role]
	if first == "" {
		first = "create apiclientcredentials"
	}
	eventually(t, "the rights of "+user, func(context.Context) (bool, error) { return allowed(t, user, namespace, first), nil })
}

// allowed asks for "verb resource[.group][/subresource]".
func allowed(t *testing.T, user, namespace, does string) bool {
	t.Helper()
	verb, rest, _ := strings.Cut(does, " ")
	rest, subresource, _ := strings.Cut(rest, "/")
	resource, group, _ := strings.Cut(rest, ".")
	switch resource {
	case "apiclientcredentials", "credentialissuers", "rotationpolicies", "clustercredentialissuers", "clusterrotationpolicies", "approvalrequests", "approvaldecisions", "notificationchannels", "cloudintegrationtenants":
		group = "credentials.claviger.dev"
	}
	answer, err := clientset(t).AuthorizationV1().SubjectAccessReviews().Create(t.Context(), &authorizationv1.SubjectAccessReview{
		Spec: authorizationv1.SubjectAccessReviewSpec{User: user, ResourceAttributes: &authorizationv1.ResourceAttributes{
			Namespace: namespace, Verb: verb, Group: group, Resource: resource, Subresource: subresource,
		}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return answer.Status.Allowed
}

// TestTheOperatorMayReadThePoliciesThatGuardIt and only those: the names stand in a
// marker, and a policy that is added must be added there.
func TestTheOperatorMayReadThePoliciesThatGuardIt(t *testing.T) {
	files, err := filepath.Glob("../../config/admission/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	config := plane.Config()
	config.Impersonate.UserName = "system:serviceaccount:claviger-system:claviger"
	operator, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for document := range strings.SplitSeq(string(content), "\n---\n") {
			var meta metav1.PartialObjectMetadata
			if err := yaml.Unmarshal([]byte(document), &meta); err != nil {
				t.Fatal(err)
			}
			switch meta.Kind {
			case "ValidatingAdmissionPolicy":
				_, err = operator.AdmissionregistrationV1().ValidatingAdmissionPolicies().Get(t.Context(), meta.Name, metav1.GetOptions{})
			case "ValidatingAdmissionPolicyBinding":
				_, err = operator.AdmissionregistrationV1().ValidatingAdmissionPolicyBindings().Get(t.Context(), meta.Name, metav1.GetOptions{})
			default:
				continue
			}
			count++
			if err != nil {
				t.Error(err)
			}
		}
	}
	if count == 0 {
		t.Error("no policy was found")
	}
	if _, err := operator.AdmissionregistrationV1().ValidatingAdmissionPolicies().Get(t.Context(), "marker", metav1.GetOptions{}); err == nil {
		t.Error("the operator reads policies of others")
	}
}

// TestTheSampleLoginIsObviouslyNotReal: a login that is applied by kubectl is copied
// into an annotation, so the sample must hold nothing that somebody could take for real.
func TestTheSampleLoginIsObviouslyNotReal(t *testing.T) {
	content, err := os.ReadFile("../../config/samples/10-login.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var login corev1.Secret
	if err := yaml.UnmarshalStrict(content, &login); err != nil {
		t.Fatal(err)
	}
	for key, value := range login.StringData {
		if !strings.HasPrefix(value, "example-") || !strings.HasSuffix(value, "-replace-me") {
			t.Errorf("%s is %q", key, value)
		}
	}
	if encoded, err := json.Marshal(login.Data); err != nil || string(encoded) != "null" {
		t.Error("it holds encoded data, which nobody reads before he applies it")
	}
}
