package journal

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/claviger-dev/claviger/internal/controlplane"
)

// What these tests are about is what an API server does, so they run on one.
var started *controlplane.ControlPlane

var plane = sync.OnceValues(func() (*controlplane.ControlPlane, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 9*time.Minute)
	defer cancel()
	var err error
	started, err = controlplane.Start(ctx, controlplane.Options{})
	return started, err
})

func TestMain(m *testing.M) {
	log.SetLogger(logr.Discard())
	code := m.Run()
	if started != nil {
		if err := started.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// desk is a store and a namespace of the test's own.
type desk struct {
	*testing.T
	Store
	client.Client
	namespace string
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	cp, err := plane()
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.New(cp.Config(), client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "journal-"}}
	if err := c.Create(t.Context(), namespace); err != nil {
		t.Fatal(err)
	}
	return &desk{T: t, Store: Store{Client: c, Live: c}, Client: c, namespace: namespace.Name}
}

// create writes an intent of a number.
func (d *desk) create(number int64) Version {
	d.Helper()
	i := intent()
	i.Credential.Namespace, i.Number = d.namespace, number
	v, err := d.Store.Create(d.Context(), i)
	if err != nil {
		d.Fatal(err)
	}
	return v
}

// read returns a Secret as it is now; nil if there is none.
func (d *desk) read(name string) *corev1.Secret {
	d.Helper()
	secret, err := d.Target(d.Context(), types.NamespacedName{Namespace: d.namespace, Name: name})
	if err != nil {
		d.Fatal(err)
	}
	return secret
}

// note lets somebody else write an annotation.
func (d *desk) note(secret *corev1.Secret, manager string) {
	d.Helper()
	after := secret.DeepCopy()
	metav1.SetMetaDataAnnotation(&after.ObjectMeta, "somebody.else/note", manager)
	if err := d.Patch(d.Context(), after, client.MergeFrom(secret), client.FieldOwner(manager)); err != nil {
		d.Fatal(err)
	}
}

func (d *desk) must(err error) {
	d.Helper()
	if err != nil {
		d.Fatal(err)
	}
}

func (d *desk) mustBe(is func(error) bool, err error) {
	d.Helper()
	if !is(err) {
		d.Fatalf("got %v", err)
	}
}

func TestAnIntentIsCreatedOnce(t *testing.T) {
	d := newDesk(t)
	v := d.create(1)
	again := intent()
	again.Credential.Namespace, again.Number, again.Nonce = d.namespace, 1, [NonceBytes]byte{9}
	_, err := d.Store.Create(t.Context(), again)
	d.mustBe(apierrors.IsAlreadyExists, err)

	got, err := d.Version(t.Context(), v.Key, v.UID)
	d.must(err)
	if diff := cmp.Diff(v, got, exactly()); diff != "" {
		t.Errorf("read (-created +got):\n%s", diff)
	}
	if got.Material == nil || got.ResourceVersion == "" || !got.Held {
		t.Errorf("got %+v", got)
	}
	_, err = d.Version(t.Context(), v.Key, "another-uid")
	d.mustBe(apierrors.IsNotFound, err)
}

func TestASecretOfAnotherTypeIsNoVersion(t *testing.T) {
	d := newDesk(t)
	forged := intent().Secret()
	forged.Namespace, forged.Type = d.namespace, corev1.SecretTypeOpaque
	d.must(d.Client.Create(t.Context(), forged))
	_, err := d.Version(t.Context(), client.ObjectKeyFromObject(forged), forged.UID)
	d.mustBe(apierrors.IsNotFound, err)
}

func TestAnEditIsMadeOnWhatWasRead(t *testing.T) {
	d := newDesk(t)
	v := d.create(1)
	before := d.read(v.Key.Name)

	edited, err := d.Edit(t.Context(), v, Claimed("process-2", 2, noon.Add(time.Hour)))
	d.must(err)
	want := before.DeepCopy()
	Claimed("process-2", 2, noon.Add(time.Hour))(want)
	got := d.read(v.Key.Name)
	if got.ResourceVersion != edited.ResourceVersion || got.ResourceVersion == before.ResourceVersion {
		t.Errorf("the version is of %s, the Secret of %s", edited.ResourceVersion, got.ResourceVersion)
	}
	want.ResourceVersion, want.ManagedFields = got.ResourceVersion, got.ManagedFields
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the Secret (-want +got):\n%s", diff)
	}
	if edited.Holder != "process-2" || edited.Material == nil || len(edited.Seal) == 0 {
		t.Errorf("edited: holder %s, material %v", edited.Holder, edited.Material)
	}

	// Whoever holds the older version loses, and is given it back as it was.
	stale, err := d.Edit(t.Context(), v, Claimed("process-3", 2, noon))
	d.mustBe(apierrors.IsConflict, err)
	if stale.Holder != v.Holder || stale.ResourceVersion != v.ResourceVersion {
		t.Errorf("a lost race changed the version: %s", stale.Holder)
	}

	// One edit follows another without a read, and notes of others stay.
	d.note(d.read(v.Key.Name), "somebody")
	_, err = d.Edit(t.Context(), edited, Published())
	d.mustBe(apierrors.IsConflict, err)
	fresh, err := d.Version(t.Context(), v.Key, v.UID)
	d.must(err)
	fresh, err = d.Edit(t.Context(), fresh, Published())
	d.must(err)
	fresh, err = d.Edit(t.Context(), fresh, RevokedAt(noon), FailedAt(noon, 3))
	d.must(err)
	if !fresh.Published || !fresh.RevokedAt.Equal(noon) || fresh.Failures != 3 {
		t.Errorf("edited twice: %s", fresh)
	}
	if d.read(v.Key.Name).Annotations["somebody.else/note"] == "" {
		t.Error("the note of somebody else is gone")
	}
}

func TestAnEditFromTheCacheKeepsWhatTheCacheLeavesOut(t *testing.T) {
	d := newDesk(t)
	v := d.create(1)
	d.note(d.read(v.Key.Name), "somebody")
	slim := secretMetadata(d.read(v.Key.Name))
	delete(slim.Annotations, "somebody.else/note")
	cached, err := Parse(slim)
	d.must(err)
	_, err = d.Edit(t.Context(), cached, Published())
	d.must(err)
	got := d.read(v.Key.Name)
	if got.Annotations["somebody.else/note"] == "" || got.Annotations[AnnotationPublished] == "" || string(got.Data[keySeal]) != "seal-of-the-fixture" {
		t.Errorf("annotations %v, keys %v", got.Annotations, Data(got.Data))
	}
}

func TestRetiringHoldsTheSecretUntilItIsReleased(t *testing.T) {
	d := newDesk(t)
	v := d.create(1)
	marked, err := d.Edit(t.Context(), v, RepublishAt(noon))
	d.must(err)
	// Retiring on a gather that saw no mark must lose (hazard 3.3).
	d.mustBe(apierrors.IsConflict, d.Retire(t.Context(), v))
	d.must(d.Retire(t.Context(), marked))

	retired, err := d.Version(t.Context(), v.Key, v.UID)
	d.must(err)
	if !retired.Terminating || !retired.Held || retired.Material == nil {
		t.Fatalf("terminating %t, held %t, material %v", retired.Terminating, retired.Held, retired.Material)
	}
	// A mark that comes second loses, too.
	_, err = d.Edit(t.Context(), marked, RepublishAt(noon.Add(time.Hour)))
	d.mustBe(apierrors.IsConflict, err)

	noted, err := d.Edit(t.Context(), retired, RevokedAt(noon))
	d.must(err)
	if !noted.Terminating {
		t.Error("an edit forgets that the Secret is deleted")
	}
	released, err := d.Edit(t.Context(), noted, Released)
	d.must(err)
	if released.Held {
		t.Error("released and still held")
	}
	if d.read(v.Key.Name) != nil {
		t.Error("the Secret is still there")
	}
}

func TestAFinalizerComesTooLateOnADeletedSecret(t *testing.T) {
	d := newDesk(t)
	v := d.create(1)
	freed, err := d.Edit(t.Context(), v, Released)
	d.must(err)
	held, err := d.Edit(t.Context(), freed, Hold)
	d.must(err)
	if !held.Held {
		t.Error("not held again")
	}
	d.must(d.Retire(t.Context(), held))
	if v, err := d.Version(t.Context(), v.Key, v.UID); err != nil || !v.Terminating {
		t.Errorf("got %s, %v", v, err)
	}
}

func TestTheJournalOfOneCredentialIsListed(t *testing.T) {
	d := newDesk(t)
	first, second := d.create(1), d.create(2)
	other := intent()
	other.Credential.Namespace, other.CredentialUID = d.namespace, "99999999-of-somebody-else"
	_, err := d.Store.Create(t.Context(), other)
	d.must(err)

	got, err := d.Store.List(t.Context(), d.namespace, first.CredentialUID)
	d.must(err)
	for _, v := range []*Version{&first, &second} {
		v.Material, v.Seal = nil, nil
	}
	if diff := cmp.Diff([]Version{first, second}, got, exactly()); diff != "" {
		t.Error(diff)
	}
	if got, err := d.Store.List(t.Context(), "default", first.CredentialUID); err != nil || len(got) != 0 {
		t.Errorf("another namespace has %v, %v", got, err)
	}

	// A version that cannot be read is not passed over: it may live upstream.
	broken := d.read(second.Key.Name)
	delete(broken.Annotations, AnnotationNonce)
	d.must(d.Update(t.Context(), broken))
	if got, err := d.Store.List(t.Context(), d.namespace, first.CredentialUID); err == nil {
		t.Errorf("a journal that cannot be read is listed as %v", got)
	}
}

// ours is a publication into the namespace of the test.
func (d *desk) ours(version int64, data Data) Publication {
	p := publication()
	p.Credential.Namespace, p.Version, p.Data = d.namespace, version, data
	return p
}

func pair(value string) Data {
	return Data{"client_id": []byte("id-" + value), "client_secret": []byte("secret-" + value)}
}

func TestAPublicationIsMadeOverWhatWasRead(t *testing.T) {
	d := newDesk(t)
	began := time.Now().Add(-time.Second)
	first, err := d.Publish(t.Context(), d.ours(1, pair("1")), nil)
	d.must(err)
	read := ReadTargetSecret(first)
	if read.Touched([]string{"client_id", "client_secret"}) || !read.HoldsAsHinted([]byte("seal")) {
		t.Errorf("what was just written is not ours: %+v", read)
	}
	// The API server cuts the time down to the second, and its clock is this one.
	if read.PublishedAt.Before(began.Truncate(time.Second)) || read.PublishedAt.After(time.Now().Add(time.Second)) {
		t.Errorf("published at %s, between %s and now", read.PublishedAt, began)
	}
	if diff := cmp.Diff(ReadTargetSecret(d.read("billing-api")), read); diff != "" {
		t.Errorf("what Publish returns is not what is stored:\n%s", diff)
	}

	_, err = d.Publish(t.Context(), d.ours(2, pair("2")), nil)
	d.mustBe(apierrors.IsAlreadyExists, err)

	d.note(first, "somebody")
	_, err = d.Publish(t.Context(), d.ours(2, pair("2")), first)
	d.mustBe(apierrors.IsConflict, err)

	second, err := d.Publish(t.Context(), d.ours(2, pair("2")), d.read("billing-api"))
	d.must(err)
	if diff := cmp.Diff(map[string][]byte(pair("2")), second.Data); diff != "" || second.Annotations["somebody.else/note"] == "" {
		t.Errorf("annotations %v\n%s", second.Annotations, diff)
	}

	d.must(d.Delete(t.Context(), second.DeepCopy()))
	if _, err := d.Publish(t.Context(), d.ours(3, pair("3")), second); err == nil {
		t.Error("a Secret that has vanished was written over")
	}
	if d.read("billing-api") != nil {
		t.Error("the Secret is back without having been created")
	}
}

func TestAPublicationThatChangesNothingWritesNothing(t *testing.T) {
	d := newDesk(t)
	first, err := d.Publish(t.Context(), d.ours(1, pair("1")), nil)
	d.must(err)
	again, err := d.Publish(t.Context(), d.ours(1, pair("1")), first)
	d.must(err)
	if again.ResourceVersion != first.ResourceVersion {
		t.Errorf("resourceVersion %s became %s", first.ResourceVersion, again.ResourceVersion)
	}
}

func TestDroppedKeysGoAndForeignOnesStay(t *testing.T) {
	d := newDesk(t)
	wide := pair("1")
	wide["dropped"] = []byte("of an older template")
	first, err := d.Publish(t.Context(), d.ours(1, wide), nil)
	d.must(err)

	// GitOps applies a key of its own, and a person edits another one into it.
	applied := fmt.Sprintf(`{"apiVersion":"v1","kind":"Secret","metadata":{"name":"billing-api","namespace":%q},"data":{"applied":"a2VwdA=="}}`, d.namespace)
	d.must(d.Patch(t.Context(), first, client.RawPatch(types.ApplyPatchType, []byte(applied)), client.FieldOwner("flux")))
	edited := d.read("billing-api")
	edited.Data["edited"] = []byte("kept")
	d.must(d.Update(t.Context(), edited, client.FieldOwner("kubectl-edit")))

	second, err := d.Publish(t.Context(), d.ours(2, pair("2")), d.read("billing-api"))
	d.must(err)
	want := map[string][]byte{
		"client_id": []byte("id-2"), "client_secret": []byte("secret-2"), "applied": []byte("kept"), "edited": []byte("kept"),
	}
	if diff := cmp.Diff(want, second.Data); diff != "" {
		t.Error(diff)
	}
	read := ReadTargetSecret(second)
	if diff := cmp.Diff([]string{"client_id", "client_secret"}, read.OwnedKeys); diff != "" {
		t.Errorf("our keys: %s", diff)
	}
	if !read.HoldsAsHinted([]byte("seal")) {
		t.Error("keys of others make ours look edited")
	}
}

func TestAForeignEditIsSeenInTheMetadata(t *testing.T) {
	d := newDesk(t)
	keys := []string{"client_id", "client_secret"}
	first, err := d.Publish(t.Context(), d.ours(1, pair("1")), nil)
	d.must(err)
	published := ReadTarget(first).PublishedAt

	// A label of somebody else moves nothing.
	d.note(first, "somebody")
	noted := ReadTarget(d.read("billing-api"))
	if noted.Touched(keys) || !noted.PublishedAt.Equal(published) {
		t.Errorf("touched %t, published at %s instead of %s", noted.Touched(keys), noted.PublishedAt, published)
	}

	edited := d.read("billing-api")
	edited.Data["client_id"] = []byte("edited")
	d.must(d.Update(t.Context(), edited, client.FieldOwner("kubectl-edit")))
	read := ReadTargetSecret(d.read("billing-api"))
	if !read.Touched(keys) || read.HoldsAsHinted([]byte("seal")) || !read.PublishedAt.Equal(published) {
		t.Errorf("touched %t, as hinted %t, published at %s instead of %s", read.Touched(keys), read.HoldsAsHinted([]byte("seal")), read.PublishedAt, published)
	}

	repaired, err := d.Publish(t.Context(), d.ours(1, pair("1")), d.read("billing-api"))
	d.must(err)
	if read := ReadTargetSecret(repaired); read.Touched(keys) || !read.HoldsAsHinted([]byte("seal")) {
		t.Errorf("the repair is not ours: %v", read.OwnedKeys)
	}
}

func TestAWipedTimeOfPublicationComesBackWithTheNextWrite(t *testing.T) {
	d := newDesk(t)
	first, err := d.Publish(t.Context(), d.ours(1, pair("1")), nil)
	d.must(err)
	wiped := first.DeepCopy()
	wiped.ManagedFields = []metav1.ManagedFieldsEntry{{}}
	d.must(d.Update(t.Context(), wiped))
	if read := ReadTarget(d.read("billing-api")); !read.PublishedAt.IsZero() {
		t.Fatalf("published at %s: the wipe did not work", read.PublishedAt)
	}
	again, err := d.Publish(t.Context(), d.ours(1, pair("1")), d.read("billing-api"))
	d.must(err)
	if read := ReadTargetSecret(again); read.PublishedAt.IsZero() || read.Touched([]string{"client_id", "client_secret"}) {
		t.Errorf("published at %s, owned keys %v", read.PublishedAt, read.OwnedKeys)
	}
	// And the next publication is one like every other.
	d.note(d.read("billing-api"), "somebody")
	_, err = d.Publish(t.Context(), d.ours(2, pair("2")), again)
	d.mustBe(apierrors.IsConflict, err)
	next, err := d.Publish(t.Context(), d.ours(2, pair("2")), d.read("billing-api"))
	d.must(err)
	if diff := cmp.Diff(map[string][]byte(pair("2")), next.Data); diff != "" {
		t.Error(diff)
	}
	if !d.ours(2, pair("2")).Unchanged(next) || d.ours(3, pair("3")).Unchanged(next) {
		t.Error("what was written does not look so")
	}
}

func TestATargetIsLetGoOnlyAsItWasRead(t *testing.T) {
	d := newDesk(t)
	first, err := d.Publish(t.Context(), d.ours(1, pair("1")), nil)
	d.must(err)
	d.note(first, "somebody")
	from := types.NamespacedName{Namespace: d.namespace, Name: "billing"}
	_, err = d.RetainTarget(t.Context(), first, from)
	d.mustBe(apierrors.IsConflict, err)
	d.mustBe(apierrors.IsConflict, d.DeleteTarget(t.Context(), first))

	retained, err := d.RetainTarget(t.Context(), d.read("billing-api"), from)
	d.must(err)
	read := ReadTargetSecret(d.read("billing-api"))
	if read.CredentialUID != "" || read.RetainedFrom != from.String() || len(read.Data) != 2 {
		t.Errorf("retained: %+v", read)
	}
	if diff := cmp.Diff(read.ResourceVersion, retained.ResourceVersion); diff != "" {
		t.Error(diff)
	}
	d.must(d.DeleteTarget(t.Context(), retained))
	if d.read("billing-api") != nil {
		t.Error("the Secret is still there")
	}
}

func TestATargetThatIsNotThereIsNil(t *testing.T) {
	if got := newDesk(t).read("nobody"); got != nil {
		t.Errorf("got %v", got)
	}
}
