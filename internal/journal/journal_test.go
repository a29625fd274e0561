package journal

import (
	"bytes"
	"encoding/hex"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"github.com/claviger-dev/claviger/internal/material"
	"github.com/claviger-dev/claviger/internal/upstream"
)

var (
	noon  = time.Date(2026, 3, 4, 12, 0, 0, 123456789, time.UTC)
	nonce = [NonceBytes]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}
	team  = types.NamespacedName{Namespace: "payments", Name: "billing"}
)

// intent is a renewal with everything that an intent can hold.
func intent() Intent {
	return Intent{
		ClusterID: "0e7d8c1a-cluster", Credential: team, CredentialUID: "5b2f9a60-1c1d-4e5e-8f00-aa0000000001",
		Issuer: Issuer{Kind: "CredentialIssuer", Name: "apic", UID: "issuer-uid"}, Container: "apic.example/org/catalog/app",
		Number: 7, Nonce: nonce, DeletionPolicy: "Revoke", IntentAt: noon, Answers: noon.Add(-time.Minute), Replaces: "ffeeddccbbaa99887766",
		Cause: "older than 90d", Failures: 2, Holder: "process-1", CallDeadline: noon.Add(50 * time.Second),
		Class:    upstream.WriteAhead,
		Material: material.Material{ClientID: "0bc85a15cc202d110001020304050607", ClientSecret: material.New("s3cr3t-of-the-fixture")}, Seal: []byte("seal-of-the-fixture"),
	}
}

// stored is the intent as an API server returns it.
func stored() *corev1.Secret {
	secret := intent().Secret()
	secret.UID, secret.ResourceVersion = "secret-uid", "42"
	return secret
}

func exactly() cmp.Options {
	return cmp.Options{
		cmpopts.IgnoreUnexported(Version{}),
		cmp.Comparer(func(a, b material.Secret) bool { return a.Equal(b) }),
		cmp.Comparer(func(a, b Seal) bool { return bytes.Equal(a, b) }),
	}
}

// asWritten is the version that intent becomes.
func asWritten() Version {
	return Version{
		Key: types.NamespacedName{Namespace: "payments", Name: "billing.5b2f9a60.v7"}, UID: "secret-uid", ResourceVersion: "42", Held: true,
		ClusterID: "0e7d8c1a-cluster", Credential: team, CredentialUID: "5b2f9a60-1c1d-4e5e-8f00-aa0000000001",
		Issuer: Issuer{Kind: "CredentialIssuer", Name: "apic", UID: "issuer-uid"}, Container: "apic.example/org/catalog/app",
		Number: 7, Nonce: "00010203040506070809", Mark: "0bc85a15cc202d110001020304050607", UpstreamName: "cl-bpefufomeawrc-aaaqeaye", DeletionPolicy: "Revoke",
		IntentAt: noon, Answers: noon.Add(-time.Minute), Replaces: "ffeeddccbbaa99887766", Cause: "older than 90d",
		Class:  upstream.WriteAhead,
		Holder: "process-1", Attempt: 1, CallDeadline: noon.Add(50 * time.Second), Failures: 2,
		Material: &material.Material{ClientID: "0bc85a15cc202d110001020304050607", ClientSecret: material.New("s3cr3t-of-the-fixture")},
		Seal:     []byte("seal-of-the-fixture"),
	}
}

func TestAnAdoptedVersionTellsWhereItCameFrom(t *testing.T) {
	i := intent()
	i.Adopted, i.AdoptedFrom = &upstream.Issued{ID: "id-upstream", ExpiresAt: noon.Add(time.Hour)}, "billing-by-hand"
	got, err := ParseSecret(i.Secret())
	if err != nil {
		t.Fatal(err)
	}
	if !got.Adopted || got.AdoptedFrom != "billing-by-hand" || got.UpstreamID != "id-upstream" || !got.ExpiresAt.Equal(noon.Add(time.Hour)) {
		t.Errorf("adopted %t from %q as %q until %s", got.Adopted, got.AdoptedFrom, got.UpstreamID, got.ExpiresAt)
	}
}

func TestAVersionTellsWhoAskedAndWhoAgreed(t *testing.T) {
	i := intent()
	i.RequestedBy, i.Approvals = "bob@example.com", []string{"billing.renew.1", "billing.renew.2"}
	got, err := ParseSecret(i.Secret())
	if err != nil {
		t.Fatal(err)
	}
	if got.RequestedBy != i.RequestedBy || !slices.Equal(got.Approvals, i.Approvals) {
		t.Errorf("requested by %q, approvals %q", got.RequestedBy, got.Approvals)
	}
}

func TestAnIntentIsReadAsItWasWritten(t *testing.T) {
	got, err := ParseSecret(stored())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(asWritten(), got, exactly()); diff != "" {
		t.Error(diff)
	}
}

func TestMetadataAloneGivesEverythingButTheMaterial(t *testing.T) {
	want := asWritten()
	want.Material, want.Seal = nil, nil
	got, err := Parse(secretMetadata(stored()))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, exactly()); diff != "" {
		t.Error(diff)
	}
}

func TestAFirstIntentHasNoAnnotationsForWhatIsNot(t *testing.T) {
	first := intent()
	first.Answers, first.Replaces, first.Failures = time.Time{}, "", 0
	secret := first.Secret()
	for _, key := range []string{AnnotationAnswers, AnnotationReplaces, AnnotationInPlace, AnnotationReplacedAt, AnnotationFailures} {
		if value, ok := secret.Annotations[key]; ok {
			t.Errorf("%s is %q", key, value)
		}
	}
	v, err := ParseSecret(secret)
	if err != nil {
		t.Fatal(err)
	}
	if !v.Answers.IsZero() || v.Replaces != "" || v.Failures != 0 {
		t.Errorf("read as answering %s, replacing %q, after %d failures", v.Answers, v.Replaces, v.Failures)
	}
}

// TestFormatV1 reads a version Secret as the first release wrote it. The file never
// changes: what it holds lies in clusters (hazard H18).
func TestFormatV1(t *testing.T) {
	text, err := os.ReadFile("testdata/version-v1.yaml")
	if err != nil {
		t.Fatal(err)
	}
	fixture := &corev1.Secret{}
	if err := yaml.UnmarshalStrict(text, fixture); err != nil {
		t.Fatal(err)
	}
	got, err := ParseSecret(fixture)
	if err != nil {
		t.Fatal(err)
	}
	want := asWritten()
	want.Published, want.RepublishAt, want.RefusedSince = true, noon.Add(time.Hour), noon.Add(2*time.Hour)
	want.FailedAt, want.RevokedAt, want.RetainedFrom = noon.Add(3*time.Hour), noon.Add(4*time.Hour), "payments/billing"
	if diff := cmp.Diff(want, got, exactly()); diff != "" {
		t.Errorf("read (-want +got):\n%s", diff)
	}

	// And what is written today is that, less what later edits add.
	for _, key := range []string{
		AnnotationPublished, AnnotationRepublishAt, AnnotationRefusedSince, AnnotationFailedAt, AnnotationRevokedAt, AnnotationRetainedFrom,
	} {
		delete(fixture.Annotations, key)
	}
	written := stored()
	written.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"}
	if diff := cmp.Diff(fixture, written); diff != "" {
		t.Errorf("written (-fixture +got):\n%s", diff)
	}
}

func TestEveryUnreadableAnnotationIsNamed(t *testing.T) {
	required := []string{
		AnnotationFormat, AnnotationClusterID, AnnotationCredential, AnnotationIssuer, AnnotationNumber, AnnotationNonce, AnnotationMark,
		AnnotationUpstreamName, AnnotationIntentAt, AnnotationAttempt, AnnotationCallDeadline,
	}
	broken := map[string][]string{
		AnnotationCredential:   {"billing", "/billing", "payments/"},
		AnnotationIssuer:       {"apic", "CredentialIssuer/apic", "a/b/c/d"},
		AnnotationNumber:       {"0", "-1", "seven", "7.0", "99999999999999999999"},
		AnnotationNonce:        {"00", "zz010203040506070809", "0001020304050607080910"},
		AnnotationAttempt:      {"0", "x"},
		AnnotationFailures:     {"-1", "x"},
		AnnotationIntentAt:     {"yesterday", "2026-03-04"},
		AnnotationCallDeadline: {"0"},
		AnnotationAnswers:      {"soon"},
		AnnotationRepublishAt:  {"soon"},
		AnnotationRefusedSince: {"soon"},
		AnnotationFailedAt:     {"soon"},
		AnnotationRevokedAt:    {"soon"},
	}
	for _, key := range required {
		broken[key] = append(broken[key], "")
	}
	for key, values := range broken {
		for _, value := range values {
			secret := stored()
			secret.Annotations[key] = value
			if value == "" {
				delete(secret.Annotations, key)
			}
			v, err := ParseSecret(secret)
			if err == nil || !strings.Contains(err.Error(), key) {
				t.Errorf("%s = %q: %v", key, value, err)
				continue
			}
			if v.Key.Name != secret.Name || v.UID != secret.UID {
				t.Errorf("%s = %q: nobody knows which Secret it is: %+v", key, value, v)
			}
			if v.Material != nil {
				t.Errorf("%s = %q: material is handed out all the same", key, value)
			}
		}
	}
}

func TestOneMessageNamesAllThatIsUnreadable(t *testing.T) {
	secret := stored()
	secret.Annotations = map[string]string{AnnotationFormat: Format}
	_, err := Parse(secret)
	for _, key := range []string{AnnotationCredential, AnnotationIssuer, AnnotationNumber, AnnotationIntentAt, AnnotationNonce} {
		if err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("%s is not named: %v", key, err)
		}
	}
}

func TestANewerFormatIsOnlyLookedAt(t *testing.T) {
	secret := stored()
	secret.Annotations[AnnotationFormat] = "v2"
	v, err := ParseSecret(secret)
	if !errors.Is(err, ErrTooNew) {
		t.Fatalf("got %v", err)
	}
	if v.Number != 7 || v.Material != nil {
		t.Errorf("number %d, material %v", v.Number, v.Material)
	}
}

func TestAVersionWithoutMaterialIsRefused(t *testing.T) {
	for _, key := range []string{keyClientID, keyClientSecret, keySeal} {
		secret := stored()
		delete(secret.Data, key)
		if _, err := ParseSecret(secret); err == nil || !strings.Contains(err.Error(), "lacks material") {
			t.Errorf("without %s: %v", key, err)
		}
	}
}

func TestAHandleNamesTheVersionUpstream(t *testing.T) {
	v, err := ParseSecret(stored())
	if err != nil {
		t.Fatal(err)
	}
	h := v.Handle([]byte(`{"app":"billing"}`))
	if h.Container != v.Container || h.Name != v.UpstreamName || h.Mark != v.Mark || !h.Material.Equal(*v.Material) || string(h.Parameters) != `{"app":"billing"}` {
		t.Errorf("got %+v", h)
	}
	v.Material = nil
	if h := v.Handle(nil); h.Material.ClientID != "" || !h.Material.ClientSecret.Empty() {
		t.Errorf("material out of nowhere: %+v", h)
	}
}

func TestEditsChangeWhatTheySayAndNothingElse(t *testing.T) {
	later := noon.Add(time.Hour)
	text := "2026-03-04T13:00:00.123456789Z"
	another := Issuer{Kind: "CredentialIssuer", Name: "other", UID: "other-uid"}
	for name, c := range map[string]struct {
		edit Edit
		want func(*corev1.Secret)
	}{
		"a claim": {Claimed("process-2", 2, later), func(s *corev1.Secret) {
			s.Annotations[AnnotationHolder], s.Annotations[AnnotationAttempt], s.Annotations[AnnotationCallDeadline] = "process-2", "2", text
		}},
		"a refusal": {RefusedSince(later), func(s *corev1.Secret) { s.Annotations[AnnotationRefusedSince] = text }},
		"a failure": {FailedAt(later, 3), func(s *corev1.Secret) {
			s.Annotations[AnnotationFailedAt], s.Annotations[AnnotationFailures] = text, "3"
		}},
		"a publication": {Published(), func(s *corev1.Secret) { s.Annotations[AnnotationPublished] = "true" }},
		"a mark":        {RepublishAt(later), func(s *corev1.Secret) { s.Annotations[AnnotationRepublishAt] = text }},
		"a revocation":  {RevokedAt(later), func(s *corev1.Secret) { s.Annotations[AnnotationRevokedAt] = text }},
		"a hold":        {Hold, func(*corev1.Secret) {}},
		"a release":     {Released, func(s *corev1.Secret) { s.Finalizers = []string{"somebody.else/finalizer"} }},
		"a retention": {Retained(team), func(s *corev1.Secret) {
			s.Annotations[AnnotationRetainedFrom], s.Finalizers = "payments/billing", []string{"somebody.else/finalizer"}
		}},
		"an adoption": {Adopted("new-uid", another), func(s *corev1.Secret) {
			s.Annotations[AnnotationPublished], s.Annotations[AnnotationIssuer] = "true", another.String()
			s.Labels[LabelCredentialUID], s.Labels[LabelIssuerUID] = "new-uid", "other-uid"
		}},
	} {
		t.Run(name, func(t *testing.T) {
			before := stored()
			before.Finalizers = append(before.Finalizers, "somebody.else/finalizer")
			before.Annotations["somebody.else/note"], before.Labels["somebody.else/label"] = "kept", "kept"
			want, shared, untouched := before.DeepCopy(), before.ObjectMeta, before.DeepCopy()
			c.want(want)
			// The edit works on an object that shares its maps with what was read.
			after := &corev1.Secret{TypeMeta: before.TypeMeta, ObjectMeta: shared, Type: before.Type, Data: before.Data, Immutable: before.Immutable}
			c.edit(after)
			if diff := cmp.Diff(want, after); diff != "" {
				t.Errorf("after the edit (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(untouched, before); diff != "" {
				t.Errorf("what was read has changed:\n%s", diff)
			}
		})
	}
}

func TestHoldAndReleaseAreOneAnothersEnd(t *testing.T) {
	secret := stored()
	Released(secret)
	if v, err := Parse(secret); err != nil || v.Held {
		t.Errorf("released and still held: %v", err)
	}
	Hold(secret)
	Hold(secret)
	if diff := cmp.Diff([]string{FinalizerUpstream}, secret.Finalizers); diff != "" {
		t.Error(diff)
	}
	bare := &corev1.Secret{}
	Published()(bare)
	if bare.Annotations[AnnotationPublished] == "" {
		t.Error("an object without annotations cannot be edited")
	}
}

func TestAVersionSecretCarriesNoOwner(t *testing.T) {
	secret := intent().Secret()
	if len(secret.OwnerReferences) != 0 {
		t.Error("garbage collection would delete it before it was revoked (C1)")
	}
	if secret.Immutable == nil || !*secret.Immutable || secret.Type != SecretType {
		t.Errorf("immutable is %v, type is %s", secret.Immutable, secret.Type)
	}
	if got := hex.EncodeToString(nonce[:]); secret.Annotations[AnnotationNonce] != got {
		t.Errorf("nonce %q", secret.Annotations[AnnotationNonce])
	}
}
