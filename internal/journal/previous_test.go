package journal

import (
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

func TestPreviousIsReadAsItIsWritten(t *testing.T) {
	for _, p := range []Previous{{}, {Nonce: "n1", Rendering: "0123456789abcdef.old"}, {Hidden: "n1"}} {
		if diff := cmp.Diff(p, parsePrevious(p.String())); diff != "" {
			t.Error(diff)
		}
	}
}

// TestThePreviousVersionMovesNoTimeOfPublication: from that time the overlap is counted, and
// what stands beside the published version is written and taken away while it runs.
func TestThePreviousVersionMovesNoTimeOfPublication(t *testing.T) {
	d := newDesk(t)
	_, err := d.Publish(t.Context(), d.ours(2, pair("2")), nil)
	d.must(err)
	before := ReadTargetSecret(d.read("billing-api"))
	d.editUntilAfter(before.PublishedAt)

	shown := Previous{Nonce: "n1", Rendering: "r", Data: Data{"client_id_previous": []byte("id-1"), "client_secret_previous": []byte("secret-1")}}
	secret, err := d.ShowPrevious(t.Context(), shown, d.read("billing-api"))
	d.must(err)
	read := ReadTargetSecret(d.read("billing-api"))
	if diff := cmp.Diff(ReadTargetSecret(secret), read); diff != "" {
		t.Errorf("what ShowPrevious returns is not what is stored:\n%s", diff)
	}
	if !read.PublishedAt.Equal(before.PublishedAt) || !read.HoldsAsHinted([]byte("seal")) || read.Touched([]string{"client_id", "client_secret"}) {
		t.Errorf("the publication of %s is disturbed: %+v", before.PublishedAt, read)
	}
	if diff := cmp.Diff([]string{"client_id_previous", "client_secret_previous"}, read.PreviousKeys); diff != "" || read.Previous.Nonce != "n1" {
		t.Errorf("%+v\n%s", read.Previous, diff)
	}

	// The next publication leaves it alone, and so the next one beside it replaces it.
	third, err := d.Publish(t.Context(), d.ours(3, pair("3")), d.read("billing-api"))
	d.must(err)
	if string(third.Data["client_id_previous"]) != "id-1" {
		t.Error("a publication takes away what stands beside it")
	}
	_, err = d.ShowPrevious(t.Context(), Previous{Hidden: "n1"}, secret)
	d.mustBe(apierrors.IsConflict, err)
	_, err = d.ShowPrevious(t.Context(), Previous{Hidden: "n1"}, third)
	d.must(err)
	last := d.read("billing-api")
	want := map[string][]byte{"client_id": []byte("id-3"), "client_secret": []byte("secret-3"), "foreign": []byte("kept")}
	if diff := cmp.Diff(want, last.Data); diff != "" {
		t.Error(diff)
	}
	if read := ReadTargetSecret(last); read.Previous.Hidden != "n1" || read.Previous.Nonce != "" || len(read.PreviousKeys) != 0 {
		t.Errorf("%+v, keys %v", read.Previous, read.PreviousKeys)
	}
}

// editUntilAfter lets somebody edit the target until the API server's clock, which is cut
// down to the second, has passed a moment: a time that moves would not be seen before.
func (d *desk) editUntilAfter(moment time.Time) {
	d.Helper()
	for edits := 0; ; edits++ {
		edited := d.read("billing-api")
		edited.Data["foreign"] = []byte(strconv.Itoa(edits))
		d.must(d.Update(d.Context(), edited, client.FieldOwner("kubectl-edit")))
		for _, entry := range edited.ManagedFields {
			if entry.Manager == "kubectl-edit" && entry.Time.After(moment) {
				edited.Data["foreign"] = []byte("kept")
				d.must(d.Update(d.Context(), edited, client.FieldOwner("kubectl-edit")))
				return
			}
		}
	}
}
