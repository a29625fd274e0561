package admission

import (
	"context"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/claviger-dev/claviger/api/v1alpha1"
)

const writesCredentials = "create,get,update,patch,delete apiclientcredentials"

// patchCredential changes the credential billing, for real, and returns it.
func (p person) patchCredential(t *testing.T, namespace, patch string) (*unstructured.Unstructured, error) {
	t.Helper()
	return p.Resource(credentials).Namespace(namespace).Patch(t.Context(), "billing", types.MergePatchType, []byte(patch), metav1.PatchOptions{})
}

// stamp installs config/stamp for one test, and waits until the API server knows, and until it
// has forgotten.
func stamp(t *testing.T) {
	t.Helper()
	base := object(t, credential)
	await := func(ctx context.Context, stamped bool) error {
		return wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, patience, true, func(ctx context.Context) (bool, error) {
			made, err := admin(t).Resource(credentials).Namespace("default").Create(ctx, base, metav1.CreateOptions{DryRun: dryRun})
			if err != nil {
				return false, err
			}
			_, has := made.GetAnnotations()[v1alpha1.AnnotationRequestedBy]
			return has == stamped, nil
		})
	}
	if out, err := plane.Kubectl(t.Context(), "apply", "--kustomize", "../../config/stamp"); err != nil {
		t.Fatal(out, err)
	}
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		if out, err := plane.Kubectl(ctx, "delete", "--kustomize", "../../config/stamp"); err != nil {
			t.Error(out, err)
		}
		if err := await(ctx, false); err != nil {
			t.Error("names are still stamped:", err)
		}
	})
	if err := await(t.Context(), true); err != nil {
		t.Fatal("names are not stamped:", err)
	}
}

// TestWhoAskedIsStamped: separation of duties needs to know who asked (C8.5).
func TestWhoAskedIsStamped(t *testing.T) {
	stamp(t)
	ns := newNamespace(t, "stamped")
	alice := newPerson(t, ns, "alice@example.com", nil, writesCredentials)
	bob := newPerson(t, ns, "bob@example.com", nil, writesCredentials, "compromise apiclientcredentials")
	requested := func(o *unstructured.Unstructured, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return o.GetAnnotations()[v1alpha1.AnnotationRequestedBy]
	}
	made := changed(t, object(t, credential), "{metadata: {annotations: {credentials.claviger.dev/requested-by: bob@example.com}}}")
	made.SetName("billing")
	if got := requested(alice.Resource(credentials).Namespace(ns).Create(t.Context(), made, metav1.CreateOptions{})); got != alice.user {
		t.Fatalf("it was made by alice for bob, and is stamped %q", got)
	}
	for _, step := range []struct {
		name   string
		person person
		patch  string
		want   string
	}{
		{"a label is no request", bob, `{"metadata":{"labels":{"tier":"one"}}}`, alice.user},
		{"an annotation of somebody else's is no request", bob, `{"metadata":{"annotations":{"note":"one"}}}`, alice.user},
		{"a finalizer is no request", bob, `{"metadata":{"finalizers":["example.com/hold"]}}`, alice.user},
		{"another name is put right", bob, `{"metadata":{"annotations":{"credentials.claviger.dev/requested-by":"bob@example.com"}}}`, alice.user},
		{"the name is taken away", bob, `{"metadata":{"annotations":{"credentials.claviger.dev/requested-by":null}}}`, alice.user},
		{"all annotations are taken away", bob, `{"metadata":{"annotations":null}}`, alice.user},
		{"another spec", bob, `{"spec":{"protection":"None"}}`, bob.user},
		{"a request", alice, `{"metadata":{"annotations":{"credentials.claviger.dev/rotate-requested-at":"2026-01-31T12:00:00Z"}}}`, alice.user},
		{"a request, in the name of somebody else", bob, `{"metadata":{"annotations":{"credentials.claviger.dev/rotate-requested-at":"2026-02-01T12:00:00Z","credentials.claviger.dev/requested-by":"alice@example.com"}}}`, bob.user},
		{"taking a request back is none", alice, `{"metadata":{"annotations":{"credentials.claviger.dev/rotate-requested-at":null}}}`, bob.user},
		{"a rollback", alice, `{"metadata":{"annotations":{"credentials.claviger.dev/rollback-requested-at":"2026-02-01T12:00:00Z"}}}`, alice.user},
		{"an emergency", bob, `{"metadata":{"annotations":{"credentials.claviger.dev/compromised-at":"2026-02-01T12:00:00Z"}}}`, bob.user},
		{"the last finalizer", alice, `{"metadata":{"finalizers":null}}`, bob.user},
	} {
		if got := requested(step.person.patchCredential(t, ns, step.patch)); got != step.want {
			t.Errorf("%s: it is stamped %q, want %q", step.name, got, step.want)
		}
	}
	// Who asks for the end is another question.
	const at = "credentials.claviger.dev/deletion-requested-at"
	for _, step := range []struct {
		name    string
		person  person
		patch   string
		version string
		end     string
	}{
		{"a deletion", alice, `{"metadata":{"annotations":{"` + at + `":"2026-02-01T12:00:00Z"}}}`, bob.user, alice.user},
		{"another spec is no deletion", bob, `{"spec":{"protection":"WhileInUse"}}`, bob.user, alice.user},
		{"a deletion in the name of somebody else", bob, `{"metadata":{"annotations":{"` + at + `":"2026-02-02T12:00:00Z","` + v1alpha1.AnnotationDeletionRequestedBy + `":"alice@example.com"}}}`, bob.user, bob.user},
		{"taking it back is none", alice, `{"metadata":{"annotations":{"` + at + `":null}}}`, bob.user, bob.user},
	} {
		o, err := step.person.patchCredential(t, ns, step.patch)
		if got := requested(o, err); got != step.version || o.GetAnnotations()[v1alpha1.AnnotationDeletionRequestedBy] != step.end {
			t.Errorf("%s: it is stamped %v", step.name, o.GetAnnotations())
		}
	}
}

// TestNobodySpeaksForAnotherRequester is about servers that stamp nothing: the name is the
// writer's own or there is none, and nobody puts one on what another has asked for.
func TestNobodySpeaksForAnotherRequester(t *testing.T) {
	ns := newNamespace(t, "unstamped")
	alice := newPerson(t, ns, "alice@example.com", nil, writesCredentials)
	bob := newPerson(t, ns, "bob@example.com", nil, writesCredentials)
	const refusal = "is the name of the user who changes the spec"
	base := object(t, credential)
	base.SetName("billing")
	_, err := alice.Resource(credentials).Namespace(ns).Create(t.Context(), changed(t, base, "{metadata: {annotations: {credentials.claviger.dev/requested-by: bob@example.com}}}"), metav1.CreateOptions{})
	requireAllowed(t, err, refusal)
	_, err = alice.Resource(credentials).Namespace(ns).Create(t.Context(), base, metav1.CreateOptions{DryRun: dryRun})
	requireAllowed(t, err, "")
	_, err = alice.Resource(credentials).Namespace(ns).Create(t.Context(), changed(t, base, "{metadata: {annotations: {credentials.claviger.dev/requested-by: alice@example.com}}}"), metav1.CreateOptions{})
	requireAllowed(t, err, "")
	const (
		by    = "credentials.claviger.dev/requested-by"
		ends  = "credentials.claviger.dev/deletion-requested-at"
		ender = "credentials.claviger.dev/deletion-requested-by"
		lie   = "is the name of the user who sets deletion-requested-at"
	)
	for _, step := range []struct {
		name   string
		person person
		patch  string
		want   string
	}{
		{"a label", bob, `{"metadata":{"labels":{"tier":"one"}}}`, ""},
		{"another spec under the name of whoever asked before", bob, `{"spec":{"protection":"None"}}`, refusal},
		{"a request under the name of whoever asked before", bob, `{"metadata":{"annotations":{"credentials.claviger.dev/rotate-requested-at":"2026-02-01T12:00:00Z"}}}`, refusal},
		{"a name, and nothing asked", bob, `{"metadata":{"annotations":{"` + by + `":"bob@example.com"}}}`, refusal},
		{"another spec, and the writer's name", bob, `{"spec":{"protection":"None"},"metadata":{"annotations":{"` + by + `":"bob@example.com"}}}`, ""},
		{"another spec, and no name any more", alice, `{"spec":{"protection":"WhileInUse"},"metadata":{"annotations":{"` + by + `":null}}}`, ""},
		{"a name on what another has asked for", bob, `{"metadata":{"annotations":{"` + by + `":"bob@example.com"}}}`, refusal},
		{"a deletion in the name of somebody else", bob, `{"metadata":{"annotations":{"` + ends + `":"2026-02-01T12:00:00Z","` + ender + `":"alice@example.com"}}}`, lie},
		{"a name, and no deletion asked for", bob, `{"metadata":{"annotations":{"` + ender + `":"bob@example.com"}}}`, lie},
		{"a deletion in one's own name", bob, `{"metadata":{"annotations":{"` + ends + `":"2026-02-01T12:00:00Z","` + ender + `":"bob@example.com"}}}`, ""},
		{"another's name on a deletion that was asked for", alice, `{"metadata":{"annotations":{"` + ender + `":"alice@example.com"}}}`, lie},
		{"a deletion under the name of whoever asked before", alice, `{"metadata":{"annotations":{"` + ends + `":"2026-02-02T12:00:00Z"}}}`, lie},
		{"a deletion that is taken back", alice, `{"metadata":{"annotations":{"` + ends + `":null,"` + ender + `":null}}}`, ""},
		{"something else, later, by another", alice, `{"metadata":{"labels":{"tier":"two"}}}`, ""},
	} {
		t.Run(step.name, func(t *testing.T) {
			_, err := step.person.patchCredential(t, ns, step.patch)
			requireAllowed(t, err, step.want)
		})
	}
}
