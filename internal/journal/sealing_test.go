package journal

import (
	"bytes"
	"errors"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/material"
	"github.com/claviger-dev/claviger/internal/upstream"
)

const refreshToken = "refresh-token-of-a-shared-account"

// filledBy writes an answer with a handle for a version of a kind of issuer.
func (d *desk) filledBy(kind string, number int64) Version {
	d.Helper()
	i := intent()
	i.Credential.Namespace, i.Number, i.Class, i.Issuer.Kind = d.namespace, number, upstream.GrantOnly, kind
	i.Nonce[0] = byte(number)
	i.Material = material.Material{}
	v, err := d.Store.Create(d.Context(), i)
	d.must(err)
	filled, err := d.Fill(d.Context(), v, Answer{Issued: upstream.Issued{Material: whole(), SecretHandle: material.New(refreshToken)}, At: noon})
	d.must(err)
	return filled
}

func (d *desk) keys() *Keys { return &Keys{Client: d.Client, Live: d.Client, Namespace: d.namespace} }

func (d *desk) holds(v Version, text string) bool {
	d.Helper()
	for _, value := range d.read(v.Key.Name).Data {
		if bytes.Contains(value, []byte(text)) {
			return true
		}
	}
	return false
}

func TestHandlesOfIssuersOfTheClusterAreSealed(t *testing.T) {
	d := newDesk(t)
	d.Keys = d.keys()
	own, shared := d.filledBy(v1alpha1.KindCredentialIssuer, 1), d.filledBy(v1alpha1.KindClusterCredentialIssuer, 2)
	if !d.holds(own, refreshToken) {
		t.Error("the handle of a namespace's own account is sealed")
	}
	if d.holds(shared, refreshToken) {
		t.Error("who reads the version Secret reads the handle of a shared account")
	}
	// Another process, which knows no key yet, reads what this one wrote.
	d.Keys = d.keys()
	for _, v := range []Version{own, shared} {
		got, err := d.Version(t.Context(), v.Key, v.UID)
		d.must(err)
		if got.SecretHandle.Reveal() != refreshToken || got.Sealed != "" || v.SecretHandle.Reveal() != refreshToken {
			t.Errorf("version %d: the handle was not read back: %q", v.Number, got.Sealed)
		}
	}
}

func TestALostKeyIsToldAndANewerOneIsUsedForWhatIsNew(t *testing.T) {
	d := newDesk(t)
	d.Keys = d.keys()
	before := d.filledBy(v1alpha1.KindClusterCredentialIssuer, 1)
	secret := d.read(SealingSecret)
	kept := secret.DeepCopy()
	d.must(d.Delete(t.Context(), secret))
	d.Keys = d.keys()
	got, err := d.Version(t.Context(), before.Key, before.UID)
	d.must(err)
	if got.Sealed == "" || !got.SecretHandle.Empty() || got.Material.Empty() {
		t.Errorf("without the key: %q", got.Sealed)
	}
	d.must(d.Client.Create(t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: d.namespace, Name: SealingSecret},
		Data:       map[string][]byte{"key-1": kept.Data["key-1"], "key-2": bytes.Repeat([]byte{7}, sealingKeyBytes), "note": []byte("no key")},
	}))
	after := d.filledBy(v1alpha1.KindClusterCredentialIssuer, 2)
	for _, v := range []Version{before, after} {
		got, err := d.Version(t.Context(), v.Key, v.UID)
		d.must(err)
		if got.SecretHandle.Reveal() != refreshToken {
			t.Errorf("version %d is not read with the keys that are back: %q", v.Number, got.Sealed)
		}
	}
	if bytes.Equal(d.read(before.Key.Name).Data[keySealedHandle][:15], d.read(after.Key.Name).Data[keySealedHandle][:15]) {
		t.Error("the newer key is not used for what is new")
	}
}

func TestASealedHandleOpensForItsVersionOnly(t *testing.T) {
	d := newDesk(t)
	keys := d.keys()
	sealed, err := keys.Seal(t.Context(), "nonce-1", material.New(refreshToken))
	d.must(err)
	edited := bytes.Clone(sealed)
	edited[len(edited)/2] ^= 1
	for name, tc := range map[string]struct {
		version string
		sealed  []byte
		opens   bool
	}{
		"its own":            {"nonce-1", sealed, true},
		"another version":    {"nonce-2", sealed, false},
		"edited":             {"nonce-1", edited, false},
		"cut":                {"nonce-1", sealed[:len(sealed)/2], false},
		"another format":     {"nonce-1", []byte("v2." + string(sealed[3:])), false},
		"nothing after dots": {"nonce-1", []byte("v1.000000000000."), false},
		"no format at all":   {"nonce-1", []byte("x"), false},
	} {
		t.Run(name, func(t *testing.T) {
			handle, err := keys.Open(t.Context(), tc.version, tc.sealed)
			if opens := err == nil && handle.Reveal() == refreshToken; opens != tc.opens {
				t.Errorf("opened %v: %v", opens, err)
			}
			if err != nil && !errors.Is(err, ErrSealed) {
				t.Errorf("%v does not say that it is sealed", err)
			}
		})
	}
}
