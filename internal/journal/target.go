package journal

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/claviger-dev/claviger/internal/render"
)

// Target is the Secret that workloads mount, as far as it was read.
type Target struct {
	Exists          bool
	UID             types.UID
	ResourceVersion string
	CredentialUID   types.UID
	Terminating     bool
	// Credential is the namespace/name of the credential that it was written for.
	Credential string
	// Version is the number that people read on it.
	Version string
	// RetainedFrom names the credential that let the target go; empty otherwise.
	RetainedFrom string
	// Hint is what we wrote about its content.
	Hint Hint
	// PublishedAt is the time of our managedFields entry; zero if there is none.
	PublishedAt time.Time
	// OwnedKeys are the data keys in that entry, and OwnsHint says that the hint is
	// in it. A foreign edit takes a key out.
	OwnedKeys []string
	OwnsHint  bool
	// Previous says what stands beside the published version, and PreviousKeys are the data
	// keys of it that nobody else has written since.
	Previous     Previous
	PreviousKeys []string
	// Data is nil unless the whole Secret was read.
	Data Data
}

// Hint says which version the target holds, with which template and which bytes.
// It saves reading Secrets; nothing is revoked on its word.
type Hint struct {
	Nonce    string
	Template string
	Data     string
}

func (h Hint) String() string { return h.Nonce + "." + h.Template + "." + h.Data }

func parseHint(text string) Hint {
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		return Hint{}
	}
	return Hint{Nonce: parts[0], Template: parts[1], Data: parts[2]}
}

// ReadTarget reads the metadata of a target Secret.
func ReadTarget(object metav1.Object) Target {
	t := Target{
		Exists:          true,
		UID:             object.GetUID(),
		ResourceVersion: object.GetResourceVersion(),
		CredentialUID:   types.UID(object.GetLabels()[LabelCredentialUID]),
		Terminating:     object.GetDeletionTimestamp() != nil,
		Credential:      object.GetAnnotations()[AnnotationCredential],
		Version:         object.GetAnnotations()[AnnotationVersion],
		RetainedFrom:    object.GetAnnotations()[AnnotationRetainedFrom],
		Hint:            parseHint(object.GetAnnotations()[AnnotationRendered]),
		Previous:        parsePrevious(object.GetAnnotations()[AnnotationPrevious]),
	}
	for _, entry := range object.GetManagedFields() {
		if entry.Manager == PreviousManager && entry.Subresource == "" {
			t.PreviousKeys, _ = ownedFields(entry.FieldsV1)
		}
		if entry.Manager != FieldManager || entry.Subresource != "" {
			continue
		}
		// There are two after a repair: what was applied then, and what was updated since.
		if entry.Time != nil && entry.Time.After(t.PublishedAt) {
			t.PublishedAt = entry.Time.Time
		}
		keys, hint := ownedFields(entry.FieldsV1)
		t.OwnedKeys, t.OwnsHint = append(t.OwnedKeys, keys...), t.OwnsHint || hint
	}
	slices.Sort(t.OwnedKeys)
	t.OwnedKeys = slices.Compact(t.OwnedKeys)
	return t
}

// ReadTargetSecret reads a whole target Secret.
func ReadTargetSecret(secret *corev1.Secret) Target {
	t := ReadTarget(secret)
	t.Data = secret.Data
	if t.Data == nil {
		t.Data = map[string][]byte{}
	}
	return t
}

// Touched reports whether somebody else wrote one of the keys, or the hint: then
// metadata alone says nothing about the content any more.
func (t *Target) Touched(keys []string) bool {
	if !t.OwnsHint {
		return true
	}
	for _, key := range keys {
		if !slices.Contains(t.OwnedKeys, key) {
			return true
		}
	}
	return false
}

// HoldsAsHinted reports whether the bytes are those that the hint was written
// with, so that a changed template is told from changed data (hazard 2.4).
func (t *Target) HoldsAsHinted(seal []byte) bool {
	if t.Data == nil || t.Hint.Data == "" {
		return false
	}
	ours := map[string][]byte{}
	for _, key := range t.OwnedKeys {
		value, ok := t.Data[key]
		if !ok {
			return false
		}
		ours[key] = value
	}
	return render.KeyedHash(seal, ours) == t.Hint.Data
}

// ownedFields reads the data keys out of a managedFields entry.
func ownedFields(fields *metav1.FieldsV1) (keys []string, hint bool) {
	if fields == nil {
		return nil, false
	}
	var tree struct {
		Data     map[string]json.RawMessage `json:"f:data"`
		Metadata struct {
			Annotations map[string]json.RawMessage `json:"f:annotations"`
		} `json:"f:metadata"`
	}
	if err := json.Unmarshal(fields.GetRawBytes(), &tree); err != nil {
		return nil, false
	}
	for key := range tree.Data {
		if name, ok := strings.CutPrefix(key, "f:"); ok {
			keys = append(keys, name)
		}
	}
	slices.Sort(keys)
	_, hint = tree.Metadata.Annotations["f:"+AnnotationRendered]
	return keys, hint
}

// Publication is what is to be written into the target.
type Publication struct {
	Credential    types.NamespacedName
	CredentialUID types.UID
	Name          string
	Type          corev1.SecretType
	Version       int64
	Nonce         string
	Seal          Seal
	Template      string
	Data          Data
}

// Onto returns the Secret to write: existing with our keys set and our dropped keys
// removed, everything else untouched; or a new one if existing is nil.
func (p Publication) Onto(existing *corev1.Secret) *corev1.Secret {
	secret := existing.DeepCopy()
	if secret == nil {
		secret = &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: p.Credential.Namespace, Name: p.Name},
			Type:       p.Type,
		}
	} else {
		before := ReadTarget(existing)
		for _, key := range before.OwnedKeys {
			if _, still := p.Data[key]; !still {
				delete(secret.Data, key)
			}
		}
	}
	if secret.Data == nil {
		secret.Data = map[string][]byte{}
	}
	maps.Copy(secret.Data, p.Data)
	delete(secret.Annotations, AnnotationRetainedFrom)
	set(&secret.Labels, LabelRole, RoleTarget)
	set(&secret.Labels, LabelCredentialUID, string(p.CredentialUID))
	set(&secret.Annotations, AnnotationCredential, p.Credential.String())
	set(&secret.Annotations, AnnotationVersion, fmt.Sprint(p.Version))
	set(&secret.Annotations, AnnotationRendered, Hint{
		Nonce: p.Nonce, Template: p.Template, Data: render.KeyedHash(p.Seal, p.Data),
	}.String())
	return secret
}

// RetainTarget lets a target go for a later credential of the same name.
func RetainTarget(from types.NamespacedName) Edit {
	return func(o metav1.Object) {
		annotate(AnnotationRetainedFrom, from.String())(o)
		labels := maps.Clone(o.GetLabels())
		delete(labels, LabelCredentialUID)
		o.SetLabels(labels)
	}
}

// Unchanged reports whether writing the publication over a Secret would leave our
// keys, labels and annotations as they are.
func (p Publication) Unchanged(secret *corev1.Secret) bool {
	after := p.Onto(secret)
	return maps.Equal(after.Labels, secret.Labels) && maps.Equal(after.Annotations, secret.Annotations) &&
		maps.EqualFunc(after.Data, secret.Data, bytes.Equal)
}

// applied is the publication for a server-side apply over exactly one state of an
// existing Secret. An apply that changes nothing is noted without a time, and then
// no overlap would ever end; so it changes an annotation.
func (p Publication) applied(over *corev1.Secret) ([]byte, error) {
	ours := p.Onto(nil)
	ours.Annotations[AnnotationTrackedFrom] = over.ResourceVersion
	return json.Marshal(map[string]any{
		"apiVersion": "v1", "kind": "Secret", "data": ours.Data, "metadata": map[string]any{
			"namespace": over.Namespace, "name": over.Name, "uid": over.UID, "resourceVersion": over.ResourceVersion,
			"labels": ours.Labels, "annotations": ours.Annotations,
		},
	})
}

func set(m *map[string]string, key, value string) {
	if *m == nil {
		*m = map[string]string{}
	}
	(*m)[key] = value
}
