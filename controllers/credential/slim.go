package credential

import (
	"maps"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/journal"
)

// SlimSecret cuts what the cache keeps of a Secret down to our own annotations and managedFields
// entries, so that memory does not grow with what others write on it. Nobody asks who
// wrote a version Secret: only its owner does, by admission.
func SlimSecret(object any) (any, error) {
	o, ok := object.(*metav1.PartialObjectMetadata)
	if !ok {
		return object, nil
	}
	var ours []metav1.ManagedFieldsEntry
	for _, entry := range o.ManagedFields {
		if o.Labels[journal.LabelRole] != journal.RoleVersion && (entry.Manager == journal.FieldManager || entry.Manager == journal.PreviousManager) {
			ours = append(ours, entry)
		}
	}
	o.ManagedFields = ours
	foreign := func(key, _ string) bool { return !strings.HasPrefix(key, v1alpha1.GroupVersion.Group+"/") }
	maps.DeleteFunc(o.Annotations, foreign)
	o.Annotations, o.Labels = known.keysOf(o.Annotations), known.keysOf(o.Labels)
	o.Namespace = known.text(o.Namespace)
	for i := range o.Finalizers {
		o.Finalizers[i] = known.text(o.Finalizers[i])
	}
	return o, nil
}

// SlimCredential drops what the cache need not keep of a credential: who manages which field, and
// the copy of the whole manifest that kubectl apply leaves behind. Credentials are only
// ever patched, so what is missing here is not taken away from them.
func SlimCredential(object any) (any, error) {
	o, ok := object.(*v1alpha1.APIClientCredential)
	if !ok {
		return object, nil
	}
	o.ManagedFields = nil
	delete(o.Annotations, corev1.LastAppliedConfigAnnotation)
	return o, nil
}

// known are the texts that each object of the cache repeats. Decoded, each has bytes of its
// own: with ten thousand credentials the same forty keys would be held a million times.
var known = &texts{}

// maxTexts bounds what is known: keys come from outside.
const maxTexts = 1024

// texts holds one copy of each text.
type texts struct {
	mu   sync.Mutex
	held map[string]string
}

func (t *texts) text(s string) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if one, ok := t.held[s]; ok {
		return one
	}
	if t.held == nil {
		t.held = make(map[string]string, maxTexts)
	}
	if len(t.held) < maxTexts {
		// A clone: what was decoded may be a part of something larger.
		s = strings.Clone(s)
		t.held[s] = s
	}
	return s
}

// keysOf is m with known keys, and no larger than it must be: what was deleted from a map, and
// the doubling while it was read, would be held as long as it is.
func (t *texts) keysOf(m map[string]string) map[string]string {
	if m == nil {
		return nil
	}
	same := make(map[string]string, len(m))
	for key, value := range m {
		same[t.text(key)] = value
	}
	return same
}
