package journal

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/claviger-dev/claviger/internal/material"
	"github.com/claviger-dev/claviger/internal/upstream"
)

// begun is a version whose material the upstream makes.
func (d *desk) begun(class upstream.Class, drafted material.Material) Version {
	d.Helper()
	i := intent()
	i.Credential.Namespace, i.Number, i.Class, i.Material = d.namespace, 1, class, drafted
	v, err := d.Store.Create(d.Context(), i)
	d.must(err)
	return v
}

func whole() material.Material {
	return material.Material{
		ClientID: "id", ClientSecret: material.New("s"), Certificate: "c", Chain: "ch", PrivateKey: material.New("k"), Token: material.New("t"),
		APIKey: material.New("a"), Document: material.New(`{"x":1}`), Attributes: map[string]string{"url": "https://x.example", "tokenURL": "https://t.example"},
	}
}

func TestAnAnswerIsWrittenAndReadBack(t *testing.T) {
	d := newDesk(t)
	v := d.begun(upstream.Readable, material.Material{PrivateKey: material.New("k")})
	if v.Complete() || v.Material.PrivateKey.Reveal() != "k" {
		t.Fatalf("the intent is complete: %v", v.Complete())
	}
	filled, err := d.Fill(t.Context(), v, Answer{Issued: upstream.Issued{Material: whole(), ID: "guid-1", ExpiresAt: noon.Add(time.Hour)}, At: noon})
	d.must(err)
	got, err := d.Version(t.Context(), v.Key, v.UID)
	d.must(err)
	want := v
	m := whole()
	want.Material, want.UpstreamID, want.ExpiresAt, want.AnsweredAt = &m, "guid-1", noon.Add(time.Hour), noon
	want.ResourceVersion = got.ResourceVersion
	for name, have := range map[string]Version{"returned": filled, "read": got} {
		if diff := cmp.Diff(want, have, exactly()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if secret := d.read(v.Key.Name); secret.Immutable == nil || !*secret.Immutable {
		t.Error("what is complete can still be changed")
	}
}

func TestAnAnswerToALostClaimIsNotWritten(t *testing.T) {
	d := newDesk(t)
	v := d.begun(upstream.ShownOnce, material.Material{})
	_, err := d.Edit(t.Context(), v, Claimed("process-2", 2, noon.Add(time.Hour)))
	d.must(err)
	_, err = d.Fill(t.Context(), v, Answer{Issued: upstream.Issued{Material: whole()}, At: noon})
	d.mustBe(apierrors.IsConflict, err)
	if keys := slices.Sorted(maps.Keys(d.read(v.Key.Name).Data)); !slices.Equal(keys, []string{keySeal}) {
		t.Errorf("the Secret holds %v", keys)
	}
}

func TestWhatWasBegunIsNotedWithItsHandle(t *testing.T) {
	d := newDesk(t)
	v := d.begun(upstream.Readable, material.Material{})
	noted, err := d.Fill(t.Context(), v, Answer{Issued: upstream.Issued{ID: "request-7", SecretHandle: material.New("registration")}})
	d.must(err)
	if noted.Complete() || noted.UpstreamID != "request-7" || noted.SecretHandle.Reveal() != "registration" {
		t.Errorf("complete %v, id %q", noted.Complete(), noted.UpstreamID)
	}
	filled, err := d.Fill(t.Context(), noted, Answer{Issued: upstream.Issued{Material: whole(), ID: "app-9", SecretHandle: material.New("another")}, At: noon})
	d.must(err)
	if !filled.Complete() || filled.UpstreamID != "app-9" || filled.SecretHandle.Reveal() != "another" {
		t.Errorf("complete %v, id %q", filled.Complete(), filled.UpstreamID)
	}
	if secret := d.read(v.Key.Name); secret.Immutable != nil && *secret.Immutable {
		t.Error("a handle that may change cannot be changed (H6)")
	}
}

func TestAnAnswerCanBeWrittenOnADeletedSecret(t *testing.T) {
	d := newDesk(t)
	v := d.begun(upstream.ShownOnce, material.Material{})
	d.must(d.Retire(t.Context(), v))
	full, err := d.Version(t.Context(), v.Key, v.UID)
	d.must(err)
	filled, err := d.Fill(t.Context(), full, Answer{Issued: upstream.Issued{Material: whole(), ID: "id"}, At: noon, SameAs: "ffeeddccbbaa99887766"})
	d.must(err)
	if !filled.Terminating || !filled.Complete() || filled.SameAs != "ffeeddccbbaa99887766" {
		t.Errorf("terminating %v, complete %v, same as %q", filled.Terminating, filled.Complete(), filled.SameAs)
	}
}

func TestOnlyWhatIsNotSecretIsNotedOnAVersionThatWasMadeHere(t *testing.T) {
	d := newDesk(t)
	v := d.create(1)
	before := d.read(v.Key.Name)
	filled, err := d.Fill(t.Context(), v, Answer{Issued: upstream.Issued{Material: whole(), ID: "id", ExpiresAt: noon}, At: noon})
	d.must(err)
	if !filled.ExpiresAt.Equal(noon) || filled.UpstreamID != "id" {
		t.Errorf("expires %s, id %q", filled.ExpiresAt, filled.UpstreamID)
	}
	if diff := cmp.Diff(before.Data, d.read(v.Key.Name).Data); diff != "" {
		t.Errorf("the data (-before +after):\n%s", diff)
	}
}

func TestWhoTakesAnotherPlaceSaysSoBeforeTheCallAndAfterTheAnswer(t *testing.T) {
	begun := intent()
	begun.InPlace, begun.Class = true, upstream.GrantOnly
	for name, c := range map[string]struct {
		answer Answer
		want   time.Time
	}{
		"the answer says that it has":           {Answer{Issued: upstream.Issued{Replaced: true}, At: begun.IntentAt}, begun.IntentAt},
		"the answer says nothing of it":         {Answer{At: begun.IntentAt}, time.Time{}},
		"it is begun only":                      {Answer{Issued: upstream.Issued{Replaced: true}}, time.Time{}},
		"it is the other one's very credential": {Answer{Issued: upstream.Issued{Replaced: true}, At: begun.IntentAt, SameAs: "other"}, time.Time{}},
	} {
		object := secretMetadata(begun.Secret())
		c.answer.edit()(object)
		v, err := Parse(object)
		if err != nil || !v.InPlace || !v.ReplacedAt.Equal(c.want) {
			t.Errorf("%s: %v, in place %v, at %s, want %s", name, err, v.InPlace, v.ReplacedAt, c.want)
		}
	}
}
