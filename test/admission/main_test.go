// Package admission tests, on a real API server, everything that the API server
// decides for us: the schemas and rules of the kinds, and the admission policies.
// The one idea: a rule that was never seen to refuse somebody is not a rule.
package admission

import (
	"context"
	"fmt"
	"maps"
	"os"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/controlplane"
)

// plane is shared by all tests of the package; each works in namespaces of its own.
var plane *controlplane.ControlPlane

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	ctx, cancel := context.WithTimeout(context.Background(), 9*time.Minute)
	defer cancel()
	var err error
	plane, err = controlplane.Start(ctx, controlplane.Options{
		CRDPaths:          []string{"../../config/crd"},
		ManifestPaths:     []string{"../../config/default"},
		ControllerManager: true,
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if err := awaitPolicies(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "wait for the admission policies:", err)
		return 1
	}
	code := m.Run()
	if err := plane.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// The marker is a policy that is made after the shipped ones. The API server learns of
// policies in the order in which they are made, so when this one refuses, all do.
const (
	marker = `{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingAdmissionPolicy, metadata: {name: marker}, spec: {
		matchConstraints: {resourceRules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [configmaps]}]},
		matchConditions: [{name: marker, expression: "object.metadata.name == 'marker'"}],
		validations: [{expression: "false"}]}}`
	markerBinding = `{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingAdmissionPolicyBinding, metadata: {name: marker},
		spec: {policyName: marker, validationActions: [Deny]}}`
	marked = `{apiVersion: v1, kind: ConfigMap, metadata: {name: marker}}`
)

// awaitPolicies waits until the policies are in force, about a second after they were
// applied.
func awaitPolicies(ctx context.Context) error {
	client, err := dynamic.NewForConfig(plane.Config())
	if err != nil {
		return err
	}
	group := schema.GroupVersion{Group: "admissionregistration.k8s.io", Version: "v1"}
	for _, o := range []struct{ resource, manifest string }{
		{"validatingadmissionpolicies", marker}, {"validatingadmissionpolicybindings", markerBinding},
	} {
		content := map[string]any{}
		if err := yaml.UnmarshalStrict([]byte(o.manifest), &content); err != nil {
			return err
		}
		if _, err := client.Resource(group.WithResource(o.resource)).Create(ctx, &unstructured.Unstructured{Object: content}, metav1.CreateOptions{}); err != nil {
			return err
		}
	}
	content := map[string]any{}
	if err := yaml.UnmarshalStrict([]byte(marked), &content); err != nil {
		return err
	}
	return wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		_, err := client.Resource(configMaps).Namespace("default").
			Create(ctx, &unstructured.Unstructured{Object: content}, metav1.CreateOptions{DryRun: dryRun})
		return apierrors.IsInvalid(err), nil
	})
}

// The resources of the tests.
var (
	credentials = v1alpha1.GroupVersion.WithResource("apiclientcredentials")
	issuers     = v1alpha1.GroupVersion.WithResource("credentialissuers")
	policies    = v1alpha1.GroupVersion.WithResource("rotationpolicies")
	secrets     = schema.GroupVersionResource{Version: "v1", Resource: "secrets"}
	configMaps  = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
	namespaces  = schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}
)

// as returns a client with the rights that a configuration has.
func as(t *testing.T, config *rest.Config) *dynamic.DynamicClient {
	t.Helper()
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func admin(t *testing.T) *dynamic.DynamicClient { return as(t, plane.Config()) }

// object reads a manifest.
func object(t *testing.T, manifest string) *unstructured.Unstructured {
	t.Helper()
	content := map[string]any{}
	if err := yaml.UnmarshalStrict([]byte(manifest), &content); err != nil {
		t.Fatalf("%v in:\n%s", err, manifest)
	}
	return &unstructured.Unstructured{Object: content}
}

// changed is a copy of an object with a merge patch applied (RFC 7386), which is
// written in YAML. A table case then shows what differs and nothing else.
func changed(t *testing.T, base *unstructured.Unstructured, patch string) *unstructured.Unstructured {
	t.Helper()
	return &unstructured.Unstructured{Object: merged(base.Object, object(t, patch).Object)}
}

func merged(base, patch map[string]any) map[string]any {
	result := maps.Clone(base)
	if result == nil {
		result = map[string]any{}
	}
	for key, value := range patch {
		change, isMap := value.(map[string]any)
		old, _ := result[key].(map[string]any)
		switch {
		case value == nil:
			delete(result, key)
		case isMap:
			result[key] = merged(old, change)
		default:
			result[key] = value
		}
	}
	return result
}

// newNamespace makes a namespace for one test.
func newNamespace(t *testing.T, name string) string {
	t.Helper()
	manifest := object(t, "{apiVersion: v1, kind: Namespace, metadata: {name: "+name+"}}")
	if _, err := admin(t).Resource(namespaces).Create(t.Context(), manifest, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	return name
}

// create makes an object for real, as the administrator.
func create(t *testing.T, resource schema.GroupVersionResource, namespace string, o *unstructured.Unstructured) *unstructured.Unstructured {
	t.Helper()
	made, err := admin(t).Resource(resource).Namespace(namespace).Create(t.Context(), o, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// dryRun makes the API server decide without keeping anything.
var dryRun = []string{metav1.DryRunAll}

// requireOutcome compares an answer with the wanted one: empty is acceptance, else
// it is a part of the message of a refusal by validation, which has its own code.
// A refusal for another cause, as by RBAC, does not pass for one by a rule.
func requireOutcome(t *testing.T, err error, refusal string) {
	t.Helper()
	switch {
	case refusal == "" && err != nil:
		t.Errorf("it is refused: %v", err)
	case refusal != "" && err == nil:
		t.Errorf("it is accepted; want a refusal that says %q", refusal)
	case refusal != "" && !apierrors.IsInvalid(err):
		t.Errorf("it is refused for another cause: %v", err)
	case refusal != "" && !strings.Contains(err.Error(), refusal):
		t.Errorf("the refusal does not say %q: %v", refusal, err)
	}
}
