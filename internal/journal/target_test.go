package journal

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/claviger-dev/claviger/internal/render"
)

const (
	allOurs = `{"f:data":{".":{},"f:client_id":{},"f:client_secret":{}},"f:metadata":{"f:annotations":{".":{},"f:credentials.claviger.dev/rendered":{}}}}`
	nothing = `{}`
)

func publication() Publication {
	return Publication{
		Credential: team, CredentialUID: "uid", Name: "billing-api", Type: corev1.SecretTypeOpaque, Version: 7, Nonce: "00010203040506070809",
		Seal: []byte("seal"), Template: "template-hash", Data: map[string][]byte{"client_id": []byte("id"), "client_secret": []byte("secret")},
	}
}

func entry(manager string, operation metav1.ManagedFieldsOperationType, subresource string, at time.Time, fields string) metav1.ManagedFieldsEntry {
	e := metav1.ManagedFieldsEntry{Manager: manager, Operation: operation, Subresource: subresource, APIVersion: "v1", FieldsType: "FieldsV1"}
	if !at.IsZero() {
		e.Time = &metav1.Time{Time: at}
	}
	if fields != "" {
		e.FieldsV1 = metav1.NewFieldsV1(fields)
	}
	return e
}

func TestAFirstPublicationIsANewSecret(t *testing.T) {
	want := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "payments", Name: "billing-api",
			Labels: map[string]string{LabelRole: RoleTarget, LabelCredentialUID: "uid"},
			Annotations: map[string]string{
				AnnotationCredential: "payments/billing", AnnotationVersion: "7",
				AnnotationRendered: "00010203040506070809.template-hash." + render.KeyedHash([]byte("seal"), publication().Data),
			},
		},
		Type: corev1.SecretTypeOpaque,
		Data: publication().Data,
	}
	if diff := cmp.Diff(want, publication().Onto(nil)); diff != "" {
		t.Error(diff)
	}
}

func TestAPublicationTouchesOnlyWhatIsOurs(t *testing.T) {
	existing := publication().Onto(nil)
	existing.UID, existing.ResourceVersion, existing.Type = "secret-uid", "42", corev1.SecretTypeBasicAuth
	existing.Data["dropped"], existing.Data["foreign"] = []byte("of an older template"), []byte("kept")
	existing.Labels["somebody.else/label"], existing.Annotations["somebody.else/note"] = "kept", "kept"
	existing.Annotations[AnnotationRetainedFrom] = "payments/billing"
	existing.Finalizers = []string{"somebody.else/finalizer"}
	existing.ManagedFields = []metav1.ManagedFieldsEntry{
		entry(FieldManager, metav1.ManagedFieldsOperationUpdate, "", noon, `{"f:data":{"f:client_id":{},"f:client_secret":{},"f:dropped":{}}}`),
		entry("flux", metav1.ManagedFieldsOperationApply, "", noon, `{"f:data":{"f:foreign":{}}}`),
	}
	before := existing.DeepCopy()

	next := publication()
	next.Version, next.Nonce, next.Data = 8, "ffffffffffffffffffff", map[string][]byte{"client_id": []byte("id-8"), "client_secret": []byte("secret-8")}
	want := existing.DeepCopy()
	want.Data = map[string][]byte{"client_id": []byte("id-8"), "client_secret": []byte("secret-8"), "foreign": []byte("kept")}
	delete(want.Annotations, AnnotationRetainedFrom)
	want.Annotations[AnnotationVersion] = "8"
	want.Annotations[AnnotationRendered] = "ffffffffffffffffffff.template-hash." + render.KeyedHash([]byte("seal"), next.Data)

	if diff := cmp.Diff(want, next.Onto(existing)); diff != "" {
		t.Errorf("published (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(before, existing); diff != "" {
		t.Errorf("what was read has changed:\n%s", diff)
	}
}

func TestAPublicationOntoABareSecret(t *testing.T) {
	got := publication().Onto(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "payments", Name: "billing-api"}})
	if diff := cmp.Diff(map[string][]byte(publication().Data), got.Data); diff != "" {
		t.Error(diff)
	}
	if got.Labels[LabelCredentialUID] != "uid" || got.Annotations[AnnotationVersion] != "7" {
		t.Errorf("labels %v, annotations %v", got.Labels, got.Annotations)
	}
}

func TestATargetIsReadFromItsMetadata(t *testing.T) {
	ours := func(at time.Time, fields string) metav1.ManagedFieldsEntry {
		return entry(FieldManager, metav1.ManagedFieldsOperationUpdate, "", at, fields)
	}
	both := []string{"client_id", "client_secret"}
	for name, c := range map[string]struct {
		fields []metav1.ManagedFieldsEntry
		at     time.Time
		keys   []string
		hint   bool
	}{
		"our entry":                                  {[]metav1.ManagedFieldsEntry{ours(noon, allOurs)}, noon, both, true},
		"no entry at all: the time is unknown":       {nil, time.Time{}, nil, false},
		"an entry without time":                      {[]metav1.ManagedFieldsEntry{ours(time.Time{}, allOurs)}, time.Time{}, both, true},
		"an entry without fields":                    {[]metav1.ManagedFieldsEntry{ours(noon, "")}, noon, nil, false},
		"an entry that is not JSON":                  {[]metav1.ManagedFieldsEntry{ours(noon, "{")}, noon, nil, false},
		"an entry of another shape":                  {[]metav1.ManagedFieldsEntry{ours(noon, `{"f:data":[1]}`)}, noon, nil, false},
		"an entry that lost a key to a foreign edit": {[]metav1.ManagedFieldsEntry{ours(noon, `{"f:data":{"f:client_id":{}}}`)}, noon, []string{"client_id"}, false},
		"entries of others": {[]metav1.ManagedFieldsEntry{
			entry("kubectl-edit", metav1.ManagedFieldsOperationUpdate, "", noon.Add(time.Hour), allOurs),
			entry(FieldManager, metav1.ManagedFieldsOperationUpdate, "status", noon.Add(time.Hour), nothing),
			ours(noon, allOurs),
		}, noon, both, true},
		"what was applied in a repair and what was updated since": {[]metav1.ManagedFieldsEntry{
			entry(FieldManager, metav1.ManagedFieldsOperationApply, "", noon.Add(-time.Hour), allOurs),
			ours(noon, `{"f:data":{"f:client_secret":{}}}`),
		}, noon, both, true},
	} {
		t.Run(name, func(t *testing.T) {
			secret := publication().Onto(nil)
			secret.UID, secret.ResourceVersion, secret.ManagedFields = "secret-uid", "42", c.fields
			want := Target{
				Exists: true, UID: "secret-uid", ResourceVersion: "42", CredentialUID: "uid", Credential: "payments/billing", Version: "7",
				Hint:        Hint{Nonce: "00010203040506070809", Template: "template-hash", Data: render.KeyedHash([]byte("seal"), publication().Data)},
				PublishedAt: c.at, OwnedKeys: c.keys, OwnsHint: c.hint,
			}
			if diff := cmp.Diff(want, ReadTarget(secret)); diff != "" {
				t.Errorf("metadata (-want +got):\n%s", diff)
			}
			want.Data = publication().Data
			if diff := cmp.Diff(want, ReadTargetSecret(secret)); diff != "" {
				t.Errorf("whole (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAnEmptyTargetWasReadAllTheSame(t *testing.T) {
	deleted := metav1.Now()
	got := ReadTargetSecret(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{
		DeletionTimestamp: &deleted, Annotations: map[string]string{AnnotationRendered: "not.a.hint.of.ours", AnnotationRetainedFrom: "payments/billing"},
	}})
	if got.Data == nil {
		t.Error("nobody can tell it from one that was not read")
	}
	if !got.Terminating || got.RetainedFrom != "payments/billing" || got.Hint != (Hint{}) {
		t.Errorf("got %+v", got)
	}
}

func TestTouched(t *testing.T) {
	keys := []string{"client_id", "client_secret"}
	for name, c := range map[string]struct {
		target Target
		want   bool
	}{
		"all keys and the hint are ours": {Target{OwnedKeys: keys, OwnsHint: true}, false},
		"more keys are ours":             {Target{OwnedKeys: append([]string{"a"}, keys...), OwnsHint: true}, false},
		"somebody took a key":            {Target{OwnedKeys: keys[:1], OwnsHint: true}, true},
		"somebody took the hint":         {Target{OwnedKeys: keys}, true},
		"nothing is ours":                {Target{}, true},
	} {
		if got := c.target.Touched(keys); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

func TestHoldsAsHinted(t *testing.T) {
	seal := []byte("seal")
	target := func(change func(*Target)) Target {
		secret := publication().Onto(nil)
		secret.ManagedFields = []metav1.ManagedFieldsEntry{entry(FieldManager, metav1.ManagedFieldsOperationUpdate, "", noon, allOurs)}
		read := ReadTargetSecret(secret)
		if change != nil {
			change(&read)
		}
		return read
	}
	for name, c := range map[string]struct {
		target Target
		seal   []byte
		want   bool
	}{
		"the bytes of the hint":                   {target(nil), seal, true},
		"beside a foreign key":                    {target(func(t *Target) { t.Data["foreign"] = []byte("x") }), seal, true},
		"an edited value":                         {target(func(t *Target) { t.Data["client_id"] = []byte("edited") }), seal, false},
		"a removed key that is still called ours": {target(func(t *Target) { delete(t.Data, "client_id") }), seal, false},
		"a key that somebody else has written":    {target(func(t *Target) { t.OwnedKeys = t.OwnedKeys[:1] }), seal, false},
		"another version's seal":                  {target(nil), []byte("other"), false},
		"no hint":                                 {target(func(t *Target) { t.Hint = Hint{} }), seal, false},
		"data that was not read":                  {target(func(t *Target) { t.Data = nil }), seal, false},
	} {
		if got := c.target.HoldsAsHinted(c.seal); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

func TestARetainedTargetBelongsToNobody(t *testing.T) {
	secret := publication().Onto(nil)
	want := secret.DeepCopy()
	want.Annotations[AnnotationRetainedFrom] = "payments/billing"
	delete(want.Labels, LabelCredentialUID)
	after := secret.DeepCopy()
	RetainTarget(team)(after)
	if diff := cmp.Diff(want, after); diff != "" {
		t.Error(diff)
	}
}

func FuzzOwnedFields(f *testing.F) {
	for _, seed := range []string{
		allOurs, nothing, ``, `{`, `null`, `[]`, `{"f:data":null}`, `{"f:data":{"client_id":{},"f:":{}}}`, `{"f:data":{"f:f:x":{}}}`,
		`{"f:metadata":{"f:annotations":{"credentials.claviger.dev/rendered":{}}}}`, `{"f:data":{"f:a":{},"f:a":1}}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		keys, hint := ownedFields(metav1.NewFieldsV1(text))
		if !slices.IsSorted(keys) || len(slices.Compact(slices.Clone(keys))) != len(keys) {
			t.Errorf("keys %q", keys)
		}
		// Whoever owns something owns it by its full name in a document that parses.
		var tree map[string]json.RawMessage
		if err := json.Unmarshal([]byte(text), &tree); err != nil && (len(keys) > 0 || hint) {
			t.Errorf("keys %q and hint %t out of no object", keys, hint)
		}
	})
}

func TestNoFieldsAreNobodys(t *testing.T) {
	if keys, hint := ownedFields(nil); keys != nil || hint {
		t.Errorf("keys %q, hint %t", keys, hint)
	}
}
