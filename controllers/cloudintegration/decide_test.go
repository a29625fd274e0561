package cloudintegration

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/controllers/credential"
	scanning "github.com/claviger-dev/claviger/internal/cloudintegration"
	"github.com/claviger-dev/claviger/internal/upstream"
)

const (
	owner     = "00112233aabbccdd"
	firstMark = upstream.Mark(owner + "1111111111111111")
	nextMark  = upstream.Mark(owner + "2222222222222222")
)

// wanting is a delivery of version 2 as OAuth2 credentials, kept for an hour.
func wanting(changes ...func(*want)) *want {
	w := &want{
		place: place{credential: "uid", form: scanning.OAuth2ClientCredentials, alias: "API"}, name: "orders", owner: owner,
		spec:      v1alpha1.Delivery{Alias: "API", As: v1alpha1.DeliverOAuth2, KeptFor: &metav1.Duration{Duration: time.Hour}},
		published: &published{note: note{mark: nextMark, version: 2}, fields: map[string]string{"ClientId": "two"}},
	}
	for _, change := range changes {
		change(w)
	}
	return w
}

// noted is an entry that bears a note.
func noted(mark upstream.Mark, version int64, at time.Time, changes ...func(*scanning.Entry)) scanning.Entry {
	e := scanning.Entry{Exists: true, Status: "DEPLOYED", Fields: map[string]string{"ClientId": "two", "Description": note{mark, version, at}.String()}}
	for _, change := range changes {
		change(&e)
	}
	return e
}

// lookedAt is an entry that was read a while ago and has been so since.
func lookedAt(e scanning.Entry, seen, since time.Duration) *held {
	return &held{seen: true, entry: e, seenAt: noon.Add(-seen), since: noon.Add(-since)}
}

func TestWhatIsNextAboutADelivery(t *testing.T) {
	current := noted(nextMark, 2, noon.Add(-3*time.Hour))
	older := noted(firstMark, 1, noon.Add(-24*time.Hour))
	byHand := noted("", 0, noon, func(e *scanning.Entry) { e.Fields["Description"] = "by hand" })
	status := func(e scanning.Entry, status string) scanning.Entry { e.Status = status; return e }
	adopt := func(w *want) { w.spec.Adopt = true }
	leaving := func(w *want) {
		w.leaving, w.doomed, w.kept, w.spec.Withdraw = true, true, true, v1alpha1.WithdrawDelete
	}
	for _, c := range []struct {
		when    string
		w       *want
		h       *held
		act     act
		until   time.Duration // from now; 0: only a change makes a difference
		trouble string
	}{
		{"it was never read", wanting(), &held{}, readEntry, 0, ""},
		{"somebody has changed the tenant's object", wanting(), func() *held { h := lookedAt(current, time.Second, 0); h.doubt = true; return h }(), readEntry, 0, ""},
		{"there is none", wanting(), lookedAt(scanning.Entry{}, time.Second, 0), writeEntry, 0, ""},
		{"what was read is too old to write over it", wanting(), lookedAt(scanning.Entry{}, freshFor, 0), readEntry, 0, ""},
		{"it holds an earlier version", wanting(), lookedAt(older, time.Second, 0), writeEntry, 0, ""},
		{"it holds the version with another client", wanting(), lookedAt(noted(nextMark, 2, noon, func(e *scanning.Entry) { e.Fields["ClientId"] = "x" }), time.Second, 0), writeEntry, 0, ""},
		{"it is somebody else's", wanting(), lookedAt(byHand, time.Minute, 0), rest, 9 * time.Minute, "not this credential's"},
		{"it is another credential's", wanting(), lookedAt(noted("ffffffffffffffff1111111111111111", 1, noon), time.Minute, 0), rest, 9 * time.Minute, "not this credential's"},
		{"it is somebody else's for long", wanting(), lookedAt(byHand, lookAgain, 0), readEntry, 0, "not this credential's"},
		{"it is somebody else's, and adopted", wanting(adopt), lookedAt(byHand, time.Second, 0), writeEntry, 0, ""},
		{"a write would delete custom parameters", wanting(adopt), lookedAt(noted("", 0, noon, func(e *scanning.Entry) { e.CustomParameters = 2 }), time.Minute, 0), rest, 9 * time.Minute, "2 custom parameters"},
		{"nothing is published", wanting(func(w *want) { w.published = nil }), lookedAt(scanning.Entry{}, time.Second, 0), rest, 0, ""},
		{"what is published cannot be delivered", wanting(func(w *want) { w.published.lacking = "no key" }), lookedAt(scanning.Entry{}, time.Second, 0), rest, 0, "no key"},
		{"it holds it, and flows may go on with what was there before", wanting(), lookedAt(current, 20*time.Minute, 20*time.Minute), rest, 40 * time.Minute, ""},
		{"they cannot any more, and it is read once more", wanting(), lookedAt(current, time.Hour, time.Hour), readEntry, 0, ""},
		{"it was read then", wanting(), lookedAt(current, time.Hour, 2*time.Hour), rest, 5 * time.Hour, ""},
		{"it was read long ago", wanting(), lookedAt(current, 6*time.Hour, 24*time.Hour), readEntry, 0, ""},
		{"they may longer than the pause between two looks", wanting(func(w *want) { w.spec.KeptFor = nil }), lookedAt(current, time.Hour, time.Hour), rest, 5 * time.Hour, ""},
		{"the tenant works on it", wanting(), lookedAt(status(current, "STORED"), time.Second, 0), rest, time.Second, ""},
		{"it has for a while", wanting(), lookedAt(status(current, "STORED"), pollPause, 0), readEntry, 0, ""},
		{"it has for long", wanting(), func() *held {
			h := lookedAt(status(current, "STORED"), time.Second, 0)
			h.first = noon.Add(-longestDeploy)
			return h
		}(), rest, time.Second, "has not deployed it since"},
		{"the tenant cannot deploy it", wanting(), lookedAt(status(current, "ERROR"), time.Minute, 0), rest, 9 * time.Minute, "cannot deploy"},
		{"a call has failed a moment ago", wanting(), &held{retryAt: noon.Add(time.Minute), trouble: "down"}, rest, time.Minute, "down"},
		{"it is paused", wanting(func(w *want) { w.paused = true }), &held{}, rest, 0, ""},
		{"another credential is delivered there", wanting(func(w *want) { w.problem = "taken" }), &held{}, rest, 0, "taken"},

		{"its credential is deleted and nothing is to be withdrawn", wanting(leaving, func(w *want) { w.spec.Withdraw = v1alpha1.WithdrawNever }), lookedAt(current, time.Second, 0), rest, 0, ""},
		{"it is to be withdrawn", wanting(leaving), lookedAt(current, time.Second, 0), removeEntry, 0, ""},
		{"it is, and was read long ago", wanting(leaving), lookedAt(current, time.Hour, 0), readEntry, 0, ""},
		{"an earlier version is withdrawn as well", wanting(leaving), lookedAt(older, time.Second, 0), removeEntry, 0, ""},
		{"what is somebody else's is not", wanting(leaving, adopt), lookedAt(byHand, time.Second, 0), rest, 0, ""},
		{"what is not there is not", wanting(leaving), lookedAt(scanning.Entry{}, time.Second, 0), rest, 0, ""},
		{"flows use it", wanting(leaving, func(w *want) { w.users = []string{"Orders"} }), lookedAt(current, time.Second, 0), rest, 0, ""},
		{"flows use it, and nobody protects them", wanting(leaving, func(w *want) { w.users, w.kept = []string{"Orders"}, false }), lookedAt(current, time.Second, 0), removeEntry, 0, ""},
		{"nothing is to be revoked yet", wanting(leaving, func(w *want) { w.doomed = false }), lookedAt(current, time.Second, 0), rest, 0, ""},
	} {
		t.Run(c.when, func(t *testing.T) {
			got, at := next(c.w, c.h, 6*time.Hour, noon)
			until := time.Duration(0)
			if !at.IsZero() {
				until = at.Sub(noon)
			}
			if got != c.act || until != c.until {
				t.Errorf("act %d until %s, want %d until %s", got, until, c.act, c.until)
			}
			if trouble := c.w.trouble(c.h, noon); (trouble == "") != (c.trouble == "") || !strings.Contains(trouble, c.trouble) {
				t.Errorf("the trouble is %q, want %q", trouble, c.trouble)
			}
		})
	}
}

func TestSinceWhenAnEntryIsAsItIs(t *testing.T) {
	noticed := noted(nextMark, 2, noon.Add(-3*time.Hour))
	for _, c := range []struct {
		when string
		w    *want
		h    held
		read scanning.Entry
		want held
	}{
		{"this process has written it", wanting(), held{wrote: true, failures: 1, trouble: "no answer"}, noticed, held{since: noon}},
		{"an earlier one has, at the latest a minute after its note", wanting(), held{}, noticed, held{since: noon.Add(-3*time.Hour + slowestWrite)}},
		{"an earlier one has a moment ago", wanting(), held{}, noted(nextMark, 2, noon.Add(-time.Second)), held{since: noon}},
		{"it is as it was, although there was a doubt", wanting(), func() held { h := *lookedAt(noticed, time.Hour, 2*time.Hour); h.doubt = true; return h }(), noticed, held{since: noon.Add(-2 * time.Hour)}},
		{"somebody has written it again", wanting(), *lookedAt(noted(nextMark, 2, noon.Add(-4*time.Hour)), time.Hour, 2*time.Hour), noticed, held{since: noon}},
		{"the tenant has deployed it", wanting(), *lookedAt(noted(nextMark, 2, noon.Add(-3*time.Hour), func(e *scanning.Entry) { e.Status = "STORED" }), time.Second, time.Hour), noticed, held{since: noon}},
		{"the tenant begins to work on it", wanting(), held{wrote: true}, noted(nextMark, 2, noon, func(e *scanning.Entry) { e.Status = "STORED" }), held{since: noon, first: noon}},
		{"what could not be written stays a trouble", wanting(), held{failures: 3, trouble: "no role", retryAt: noon}, scanning.Entry{}, held{since: noon, failures: 3, trouble: "no role"}},
		{"what was accepted and is not shown is tried again later", wanting(), held{wrote: true}, noted(firstMark, 1, noon), held{
			failures: 1, retryAt: noon.Add(firstPause), trouble: "the tenant has accepted it and shows something else; see whether somebody else writes the alias",
		}},
		{"a key pair is as old as the tenant says", wanting(func(w *want) {
			w.form, w.prints, w.published.fields = scanning.KeyPair, map[string]note{"aa": {mark: nextMark, version: 2}}, nil
		}), held{}, scanning.Entry{Exists: true, Fingerprint: "aa", ModifiedAt: noon.Add(-time.Hour)}, held{since: noon.Add(-time.Hour + slowestWrite)}},
	} {
		t.Run(c.when, func(t *testing.T) {
			h := c.h
			h.saw(c.w, c.read, noon)
			c.want.seen, c.want.seenAt, c.want.entry = true, noon, c.read
			if diff := cmp.Diff(c.want, h, cmp.AllowUnexported(held{}), cmpopts.EquateEmpty()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestWhatCredentialsAreTold(t *testing.T) {
	current := noted(nextMark, 2, noon)
	users := func(w *want) { w.users = []string{"Orders"} }
	for _, c := range []struct {
		when string
		w    *want
		h    *held
		want credential.Delivered
	}{
		{"nothing is known", wanting(users), &held{}, credential.Delivered{Users: []string{"Orders"}, Unseen: true}},
		{"nothing can be known", wanting(), &held{trouble: "no role"}, credential.Delivered{Trouble: "no role"}},
		{"it is current", wanting(users), lookedAt(current, time.Minute, time.Hour), credential.Delivered{Mark: nextMark, Since: noon.Add(-time.Hour), SeenAt: noon.Add(-time.Minute), Users: []string{"Orders"}}},
		{"it holds an earlier one", wanting(), lookedAt(noted(firstMark, 1, noon), time.Minute, 0), credential.Delivered{}},
		{"there is none", wanting(), lookedAt(scanning.Entry{}, time.Minute, 0), credential.Delivered{Gone: true}},
		{"it is not deployed", wanting(), lookedAt(noted(nextMark, 2, noon, func(e *scanning.Entry) { e.Status = "ERROR" }), time.Minute, 0), credential.Delivered{Trouble: "the tenant has accepted it and says that it cannot deploy it"}},
	} {
		t.Run(c.when, func(t *testing.T) {
			if diff := cmp.Diff(c.want, c.w.told(c.h, noon)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestNotesAreReadBack(t *testing.T) {
	n := note{mark: nextMark, version: 12, at: noon}
	if got, ok := readNote(n.String()); !ok || got != n {
		t.Errorf("%q is read as %+v", n, got)
	}
	for _, text := range []string{"", "by hand", "claviger:", "claviger:x v1", "claviger:x one 2026-03-04T12:00:00Z", "claviger:x v1 today", "x v1 2026-03-04T12:00:00Z", n.String() + " more"} {
		if got, ok := readNote(text); ok {
			t.Errorf("%q is read as %+v", text, got)
		}
	}
}

// TestTheOldestHasAnAlias: two credentials that are delivered to one alias would write it in
// turns for ever.
func TestTheOldestHasAnAlias(t *testing.T) {
	called := func(name, alias string, form scanning.Form) want {
		return want{name: name, place: place{form: form, alias: alias}}
	}
	wants := []want{
		called("old", "A", scanning.OAuth2ClientCredentials), called("new", "A", scanning.UserCredentials), called("new", "B", scanning.UserCredentials), called("new", "A", scanning.KeyPair),
	}
	contend(wants)
	var got []string
	for _, w := range wants {
		got = append(got, fmt.Sprintf("%s %s: %s", w.name, w.alias, w.problem))
	}
	want := []string{"old A: ", "new A: APIClientCredential old, which is older, is delivered to this alias", "new B: ", "new A: "}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
