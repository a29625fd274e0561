package journal

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

func TestNamesOfSingleVersions(t *testing.T) {
	for name, c := range map[string]struct {
		target string
		number int64
		nonce  string
		want   string
	}{
		"the number, for people, and a part of the nonce": {"billing-api", 3, "00010203040506070809", "billing-api-3-aaaqeaye"},
		"the same number of another credential":           {"billing-api", 3, "ff010203040506070809", "billing-api-3-74aqeaye"},
		"what is no nonce has no name":                    {"billing-api", 3, "billing", ""},
		"nor has one that is too short":                   {"billing-api", 3, "0001", ""},
	} {
		if got := CopyName(c.target, c.number, c.nonce); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	// The API lets secret.name have 200 characters.
	longest := CopyName(strings.Repeat("a", 200), 1<<62, "00010203040506070809")
	if len(longest) > 253 {
		t.Errorf("the longest name has %d characters", len(longest))
	}
}

func (d *desk) copyOf(version int64) Publication {
	p := d.ours(version, Data{"client_id": []byte("id"), "client_secret": []byte("secret")})
	p.Name = CopyName("billing-api", version, p.Nonce)
	return p
}

func TestAVersionsOwnSecretIsCompleteAndNeverChanges(t *testing.T) {
	d := newDesk(t)
	p := d.copyOf(3)
	made, err := d.PublishCopy(t.Context(), p)
	d.must(err)
	want := Copy{Name: p.Name, Nonce: p.Nonce}
	unexported := cmpopts.IgnoreUnexported(Copy{})
	if diff := cmp.Diff(want, made, unexported); diff != "" {
		t.Errorf("what was made (-want +got):\n%s", diff)
	}
	secret := d.read(p.Name)
	if diff := cmp.Diff(map[string][]byte(p.Data), secret.Data); diff != "" {
		t.Errorf("data (-want +got):\n%s", diff)
	}
	changed := secret.DeepCopy()
	changed.Data["client_id"] = []byte("another")
	d.mustBe(apierrors.IsInvalid, d.Update(t.Context(), changed))
	_, err = d.PublishCopy(t.Context(), p)
	d.mustBe(apierrors.IsAlreadyExists, err)

	key := types.NamespacedName{Namespace: d.namespace, Name: p.Name}
	found, there, err := d.Copy(t.Context(), key)
	d.must(err)
	if diff := cmp.Diff(want, found, unexported); diff != "" || !there {
		t.Errorf("what is read (-want +got):\n%s", diff)
	}
	all, err := d.Copies(t.Context(), d.namespace, p.CredentialUID)
	d.must(err)
	if diff := cmp.Diff([]Copy{want}, all, unexported); diff != "" {
		t.Errorf("what is listed (-want +got):\n%s", diff)
	}
	if others, err := d.Copies(t.Context(), d.namespace, "another"); err != nil || len(others) > 0 {
		t.Errorf("of another credential: %v, %v", others, err)
	}
}

func TestAVersionsOwnSecretIsWithdrawnAsItWasRead(t *testing.T) {
	d := newDesk(t)
	p := d.copyOf(3)
	first, err := d.PublishCopy(t.Context(), p)
	d.must(err)
	d.must(d.WithdrawCopy(t.Context(), first))
	d.must(d.WithdrawCopy(t.Context(), first)) // it is gone, which is what was wanted
	second, err := d.PublishCopy(t.Context(), p)
	d.must(err)
	// Somebody has made it again since: that one was not read.
	d.mustBe(apierrors.IsConflict, d.WithdrawCopy(t.Context(), first))
	d.must(d.WithdrawCopy(t.Context(), second))
	if _, found, err := d.Copy(t.Context(), types.NamespacedName{Namespace: d.namespace, Name: p.Name}); found || err != nil {
		t.Errorf("after that: found %t, %v", found, err)
	}
}

func TestWhatIsNoSecretOfASingleVersion(t *testing.T) {
	d := newDesk(t)
	d.must(d.Client.Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: d.namespace, Name: "foreign"}}))
	if c, found, err := d.Copy(t.Context(), types.NamespacedName{Namespace: d.namespace, Name: "foreign"}); !found || c.Nonce != "" || err != nil {
		t.Errorf("somebody's Secret: %v, found %t, %v", c, found, err)
	}
	for name, change := range map[string]func(*corev1.Secret){
		"a target":         func(s *corev1.Secret) { s.Labels[LabelRole] = RoleTarget },
		"one without hint": func(s *corev1.Secret) { delete(s.Annotations, AnnotationRendered) },
	} {
		secret := publication().copySecret()
		change(secret)
		if c, ok := ReadCopy(secret); ok {
			t.Errorf("%s is taken for %+v", name, c)
		}
	}
}
