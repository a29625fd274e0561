package admission

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/claviger-dev/claviger/internal/interval"
)

// definitions are the CustomResourceDefinitions as they are shipped, by kind.
func definitions(t *testing.T) map[string]*apiextensionsv1.CustomResourceDefinition {
	t.Helper()
	files, err := filepath.Glob("../../config/crd/credentials.claviger.dev_*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal("no definitions", err)
	}
	found := map[string]*apiextensionsv1.CustomResourceDefinition{}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var d apiextensionsv1.CustomResourceDefinition
		if err := yaml.UnmarshalStrict(content, &d); err != nil {
			t.Fatal(err)
		}
		found[d.Spec.Names.Kind] = &d
	}
	return found
}

// fields calls visit for every field below a schema, with its path.
func fields(schema *apiextensionsv1.JSONSchemaProps, path string, visit func(string, *apiextensionsv1.JSONSchemaProps)) {
	for name, field := range schema.Properties {
		visit(path+"."+name, &field)
		fields(&field, path+"."+name, visit)
	}
	if schema.Items != nil {
		fields(schema.Items.Schema, path+"[]", visit)
	}
	if schema.AdditionalProperties != nil && schema.AdditionalProperties.Schema != nil {
		fields(schema.AdditionalProperties.Schema, path+"{}", visit)
	}
}

// TestEveryFieldIsExplained: `kubectl explain` is the manual that people have at hand.
func TestEveryFieldIsExplained(t *testing.T) {
	for kind, d := range definitions(t) {
		count := 0
		fields(d.Spec.Versions[0].Schema.OpenAPIV3Schema, kind, func(path string, field *apiextensionsv1.JSONSchemaProps) {
			count++
			if path != kind+".metadata" && len(strings.Fields(field.Description)) < 3 {
				t.Errorf("%s: the description is %q", path, field.Description)
			}
		})
		if count < 12 {
			t.Errorf("%s: only %d fields were looked at", kind, count)
		}
	}
}

// TestEveryTextAndListHasALimit: the cost of rules is estimated from the limits, and a
// rule without one makes the whole definition impossible to install (hazard M10); an
// object without limits can fill the database.
func TestEveryTextAndListHasALimit(t *testing.T) {
	for kind, d := range definitions(t) {
		fields(d.Spec.Versions[0].Schema.OpenAPIV3Schema, kind, func(path string, field *apiextensionsv1.JSONSchemaProps) {
			if !strings.HasPrefix(path, kind+".spec.") || strings.Contains(strings.ToLower(path), "selector.") {
				return // Selectors are of Kubernetes' own type; the others are written by us.
			}
			switch {
			case field.Type == "string" && field.MaxLength == nil && len(field.Enum) == 0:
				t.Errorf("%s is a string without maxLength or enum", path)
			case field.Type == "array" && field.MaxItems == nil:
				t.Errorf("%s is a list without maxItems", path)
			case field.AdditionalProperties != nil && field.MaxProperties == nil:
				t.Errorf("%s is a map without maxProperties", path)
			}
		})
	}
}

// TestDefinitionsFitTheAnnotationOfKubectlApply: client-side apply copies the whole
// definition into an annotation, which ends at 256 KiB (hazard M15).
func TestDefinitionsFitTheAnnotationOfKubectlApply(t *testing.T) {
	for kind, d := range definitions(t) {
		size, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		if len(size) >= 256*1024 {
			t.Errorf("%s has %d bytes", kind, len(size))
		}
	}
}

// TestTheIntervalRuleIsTheParsersOwn: the rule holds a copy of the pattern, because
// the API types import nothing of the operator.
func TestTheIntervalRuleIsTheParsersOwn(t *testing.T) {
	d := definitions(t)["RotationPolicy"]
	want := "self.matches(r'" + interval.Pattern + "')"
	count := 0
	fields(d.Spec.Versions[0].Schema.OpenAPIV3Schema, "", func(path string, field *apiextensionsv1.JSONSchemaProps) {
		if path != ".spec.rotateAfter" && path != ".spec.overlap" {
			return
		}
		count++
		if !slices.ContainsFunc(field.XValidations, func(r apiextensionsv1.ValidationRule) bool { return r.Rule == want }) {
			t.Errorf("%s has no rule %s", path, want)
		}
		if field.MaxLength == nil || *field.MaxLength != interval.MaxLength {
			t.Errorf("%s has another maxLength than the parser's %d", path, interval.MaxLength)
		}
	})
	if count != 2 {
		t.Errorf("%d of 2 intervals were found", count)
	}
}

func TestNamesAreServed(t *testing.T) {
	out, err := plane.Kubectl(t.Context(), "api-resources", "--api-group=credentials.claviger.dev", "--categories=claviger", "--no-headers", "--sort-by=name")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range strings.Lines(out) {
		got = append(got, strings.Join(strings.Fields(line), " "))
	}
	want := []string{
		"apiclientcredentials apicred credentials.claviger.dev/v1alpha1 true APIClientCredential",
		"approvaldecisions apprdec credentials.claviger.dev/v1alpha1 true ApprovalDecision",
		"approvalrequests apprreq credentials.claviger.dev/v1alpha1 true ApprovalRequest",
		"cloudintegrationtenants citenant credentials.claviger.dev/v1alpha1 true CloudIntegrationTenant",
		"clustercredentialissuers ccredissuer credentials.claviger.dev/v1alpha1 false ClusterCredentialIssuer",
		"clusterrotationpolicies crotpol credentials.claviger.dev/v1alpha1 false ClusterRotationPolicy",
		"credentialissuers credissuer credentials.claviger.dev/v1alpha1 true CredentialIssuer",
		"notificationchannels notifchan credentials.claviger.dev/v1alpha1 false NotificationChannel",
		"rotationpolicies rotpol credentials.claviger.dev/v1alpha1 true RotationPolicy",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error("names differ (-want +got):\n" + diff)
	}
}

// TestTablesAnswerTheFirstQuestions: the columns, with the status that the operator
// writes, including a time ahead, which a column of type date would print as invalid.
func TestTablesAnswerTheFirstQuestions(t *testing.T) {
	namespace := newNamespace(t, "columns")
	const ready = `{type: Ready, status: "True", reason: Published, message: "version 3 is published", lastTransitionTime: "2026-01-02T03:04:05Z"}`
	made := create(t, credentials, namespace, object(t, credential))
	_, err := admin(t).Resource(credentials).Namespace(namespace).UpdateStatus(t.Context(),
		changed(t, made, `status: {conditions: [`+ready+`], version: 3, rotates: "2999-01-02T03:04Z", expires: never, policy: RotationPolicy/quarterly}`), metav1.UpdateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	create(t, issuers, namespace, object(t, issuer))
	create(t, policies, namespace, object(t, policy))
	tests := map[string][]string{
		"apicred":    {"NAME READY REASON ISSUER VERSION ROTATES EXPIRES AGE SECRET POLICY MESSAGE", "billing True Published apic 3 2999-01-02T03:04Z never"},
		"credissuer": {"NAME READY REASON UPSTREAM CREDENTIALS ORPHANS AGE MESSAGE", "apic"},
		"rotpol":     {"NAME ACCEPTED ROTATE AFTER OVERLAP CREDENTIALS NOT READY DUE AGE MESSAGE", "quarterly 90d 10d"},
	}
	for name, want := range tests {
		t.Run(name, func(t *testing.T) {
			out, err := plane.Kubectl(t.Context(), "get", name, "--namespace", namespace, "--output=wide")
			if err != nil {
				t.Fatal(err)
			}
			lines := strings.Split(strings.TrimSpace(out), "\n")
			if len(lines) != len(want) {
				t.Fatalf("want %d lines, got:\n%s", len(want), out)
			}
			for i, line := range lines {
				if got := strings.Join(strings.Fields(line), " "); !strings.HasPrefix(got, want[i]) {
					t.Errorf("want %q first in %q", want[i], got)
				}
			}
		})
	}
}

func TestCredentialsAreSelectedByField(t *testing.T) {
	namespace := newNamespace(t, "fields")
	base := object(t, credential)
	create(t, credentials, namespace, base)
	create(t, credentials, namespace, changed(t, base, `{metadata: {name: other}, spec: {issuerRef: {name: second}, policyRef: {name: monthly}, secret: {name: other-api}}}`))
	for selector, want := range map[string]string{
		"spec.issuerRef.name=second":                                      "other",
		"spec.issuerRef.name=apic":                                        "billing",
		"spec.issuerRef.kind=CredentialIssuer,spec.issuerRef.name=second": "other",
		"spec.policyRef.name=monthly":                                     "other",
		"spec.policyRef.name=":                                            "billing",
		"spec.secret.name=billing-api":                                    "billing",
		"spec.issuerRef.kind=ClusterCredentialIssuer":                     "",
	} {
		t.Run(selector, func(t *testing.T) {
			list, err := admin(t).Resource(credentials).Namespace(namespace).List(t.Context(), metav1.ListOptions{FieldSelector: selector})
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, item := range list.Items {
				names = append(names, item.GetName())
			}
			if got := strings.Join(names, " "); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}
