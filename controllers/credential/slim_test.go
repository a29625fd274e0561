package credential

import (
	"fmt"
	"strings"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/journal"
)

// decoded is a Secret as a decoder makes it: each text has bytes of its own.
func decoded(role string) *metav1.PartialObjectMetadata {
	ours, theirs := metav1.ManagedFieldsEntry{Manager: journal.FieldManager}, metav1.ManagedFieldsEntry{Manager: "kubectl"}
	return &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{
		Namespace: strings.Clone("payments"), Name: "orders",
		Labels:        map[string]string{strings.Clone(journal.LabelRole): role, "app": "orders"},
		Annotations:   map[string]string{strings.Clone(journal.AnnotationCredential): "payments/orders", "tool.example/note": "long"},
		Finalizers:    []string{strings.Clone(journal.FinalizerUpstream), "tool.example/hold"},
		ManagedFields: []metav1.ManagedFieldsEntry{theirs, ours},
	}}
}

func TestTheCacheKeepsOfASecretWhatIsOurs(t *testing.T) {
	got, err := SlimSecret(decoded(journal.RoleTarget))
	want := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{
		Namespace: "payments", Name: "orders",
		Labels:        map[string]string{journal.LabelRole: journal.RoleTarget, "app": "orders"},
		Annotations:   map[string]string{journal.AnnotationCredential: "payments/orders"},
		Finalizers:    []string{journal.FinalizerUpstream, "tool.example/hold"},
		ManagedFields: []metav1.ManagedFieldsEntry{{Manager: journal.FieldManager}},
	}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Error(diff, err)
	}
}

func TestTheCacheDoesNotKeepWhoWroteAVersion(t *testing.T) {
	got, err := SlimSecret(decoded(journal.RoleVersion))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]metav1.ManagedFieldsEntry(nil), got.(*metav1.PartialObjectMetadata).ManagedFields); diff != "" {
		t.Error(diff)
	}
}

func TestWhatEachSecretRepeatsIsHeldOnce(t *testing.T) {
	bytesOf := func(o *metav1.PartialObjectMetadata) map[string]*byte {
		t.Helper()
		slim, err := SlimSecret(o)
		if err != nil {
			t.Fatal(err)
		}
		o = slim.(*metav1.PartialObjectMetadata)
		found := map[string]*byte{o.Namespace: unsafe.StringData(o.Namespace), o.Finalizers[0]: unsafe.StringData(o.Finalizers[0])}
		for _, m := range []map[string]string{o.Annotations, o.Labels} {
			for key := range m {
				found[key] = unsafe.StringData(key)
			}
		}
		return found
	}
	one, other := bytesOf(decoded(journal.RoleTarget)), bytesOf(decoded(journal.RoleTarget))
	if len(one) != 5 {
		t.Fatalf("found %d texts, want 5", len(one))
	}
	for text, at := range one {
		if other[text] != at {
			t.Errorf("%q is held twice", text)
		}
	}
}

func TestStrangersCannotFillTheKnownTexts(t *testing.T) {
	held := &texts{}
	for i := range 2 * maxTexts {
		if text := fmt.Sprint("key-", i); held.text(text) != text {
			t.Fatalf("%s became another text", text)
		}
	}
	if len(held.held) != maxTexts {
		t.Errorf("%d texts are held, want %d", len(held.held), maxTexts)
	}
}

func TestTheCacheKeepsOfACredentialWhatIsDecidedFrom(t *testing.T) {
	c := &v1alpha1.APIClientCredential{ObjectMeta: metav1.ObjectMeta{
		Name:          "orders",
		Annotations:   map[string]string{corev1.LastAppliedConfigAnnotation: "{}", "tool.example/note": "long"},
		ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "kubectl"}},
	}}
	got, err := SlimCredential(c)
	want := &v1alpha1.APIClientCredential{ObjectMeta: metav1.ObjectMeta{Name: "orders", Annotations: map[string]string{"tool.example/note": "long"}}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Error(diff, err)
	}
}
