package issuer

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"k8s.io/apimachinery/pkg/types"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/journal"
	"github.com/claviger-dev/claviger/internal/upstream"
)

const (
	apic  types.UID = "issuer-apic"
	other types.UID = "issuer-other"
)

// mark makes the mark of the n-th version of a credential, given by one hex digit.
func mark(credential rune, n int) upstream.Mark {
	return upstream.Mark(fmt.Sprintf("%015d%c%016x", 0, credential, n))
}

func version(m upstream.Mark, change ...func(*journal.Version)) journal.Version {
	v := journal.Version{
		UID: types.UID("secret-" + m), Mark: m, Issuer: journal.Issuer{UID: apic},
		IntentAt: noon.Add(-time.Hour), CallDeadline: noon.Add(-time.Hour).Add(20 * time.Second),
	}
	for _, c := range change {
		c(&v)
	}
	return v
}

func listed(m upstream.Mark, hash string) upstream.Found {
	return upstream.Found{ID: "id-" + string(m), Name: "cl-" + string(m), Mark: m, Container: "apic.example/a1", SecretHash: hash}
}

// versionsUpTo are the first n versions of a credential; listedAll are those of them, from
// the first on, that the upstream lists.
func versionsUpTo(n int) (all []journal.Version) {
	for i := range n {
		all = append(all, version(mark('a', i+1)))
	}
	return all
}

func listedAll(first, last int) (all []upstream.Found) {
	for i := first; i <= last; i++ {
		all = append(all, listed(mark('a', i), ""))
	}
	return all
}

func TestJudge(t *testing.T) {
	billing := map[string]owner{mark('a', 0).Owner(): {Key: types.NamespacedName{Namespace: "payments", Name: "billing"}, UID: "billing"}}
	cases := map[string]struct {
		evidence  evidence
		doubts    map[upstream.Mark]string
		unread    []upstream.Mark
		strangers []upstream.Mark
	}{
		"what is listed and recorded alike is fine": {
			evidence: evidence{
				found:    []upstream.Found{listed(mark('a', 1), "hash")},
				versions: []journal.Version{version(mark('a', 1))},
				secrets:  map[types.UID]string{types.UID("secret-" + mark('a', 1)): "hash"},
			},
		},
		"a version that is not listed is doubted": {
			evidence: evidence{versions: []journal.Version{version(mark('a', 1))}},
			doubts:   map[upstream.Mark]string{mark('a', 1): "the upstream's listing does not show it"},
		},
		"one of ten that is missing is doubted": {
			evidence: evidence{found: listedAll(2, 10), versions: versionsUpTo(10)},
			doubts:   map[upstream.Mark]string{mark('a', 1): "the upstream's listing does not show it"},
		},
		"where two of ten are missing nothing is concluded (C4)": {
			evidence: evidence{found: listedAll(3, 10), versions: versionsUpTo(10)},
		},
		"an administrator may confirm how many": {
			evidence: evidence{found: listedAll(3, 10), versions: versionsUpTo(10), confirmed: 2},
			doubts: map[upstream.Mark]string{
				mark('a', 1): "the upstream's listing does not show it", mark('a', 2): "the upstream's listing does not show it",
			},
		},
		"where two of forty are missing both are doubted": {
			evidence: evidence{found: listedAll(3, 40), versions: versionsUpTo(40)},
			doubts: map[upstream.Mark]string{
				mark('a', 1): "the upstream's listing does not show it", mark('a', 2): "the upstream's listing does not show it",
			},
		},
		"an upstream that lists no single versions proves nothing by it": {
			evidence: evidence{unlisted: true, versions: versionsUpTo(1)},
		},
		"a version that was begun during the listing is not": {
			evidence: evidence{versions: []journal.Version{version(mark('a', 1), func(v *journal.Version) { v.IntentAt = noon.Add(-time.Minute) })}},
		},
		"nor one whose call may still be under way": {
			evidence: evidence{versions: []journal.Version{version(mark('a', 1), func(v *journal.Version) { v.CallDeadline = noon.Add(time.Second) })}},
		},
		"nor one that is being revoked": {
			evidence: evidence{versions: []journal.Version{version(mark('a', 1), func(v *journal.Version) { v.Terminating = true })}},
		},
		"nor one that was given up": {
			evidence: evidence{versions: []journal.Version{version(mark('a', 1), func(v *journal.Version) { v.FailedAt = noon })}},
		},
		"nor one of another issuer": {
			evidence: evidence{versions: []journal.Version{version(mark('a', 1), func(v *journal.Version) { v.Issuer.UID = other })}},
		},
		"another hash is doubted": {
			evidence: evidence{
				found:    []upstream.Found{listed(mark('a', 1), "theirs")},
				versions: []journal.Version{version(mark('a', 1))},
				secrets:  map[types.UID]string{types.UID("secret-" + mark('a', 1)): "ours"},
			},
			doubts: map[upstream.Mark]string{mark('a', 1): "the upstream's listing shows another secret"},
		},
		"another hash that was verified to mean nothing is not": {
			evidence: evidence{
				found:     []upstream.Found{listed(mark('a', 1), "theirs")},
				versions:  []journal.Version{version(mark('a', 1))},
				secrets:   map[types.UID]string{types.UID("secret-" + mark('a', 1)): "ours"},
				dismissed: map[upstream.Mark]string{mark('a', 1): "theirs"},
			},
		},
		"unless it changed since": {
			evidence: evidence{
				found:     []upstream.Found{listed(mark('a', 1), "newer")},
				versions:  []journal.Version{version(mark('a', 1))},
				secrets:   map[types.UID]string{types.UID("secret-" + mark('a', 1)): "ours"},
				dismissed: map[upstream.Mark]string{mark('a', 1): "theirs"},
			},
			doubts: map[upstream.Mark]string{mark('a', 1): "the upstream's listing shows another secret"},
		},
		"an upstream that tells no hash casts no doubt": {
			evidence: evidence{found: []upstream.Found{listed(mark('a', 1), "")}, versions: []journal.Version{version(mark('a', 1))}},
		},
		"material that this process has not read is read, newest first": {
			evidence: evidence{
				found: []upstream.Found{listed(mark('a', 1), "x"), listed(mark('a', 2), "x")},
				versions: []journal.Version{version(mark('a', 1)), version(mark('a', 2), func(v *journal.Version) {
					v.IntentAt = noon.Add(-time.Minute * 30)
				})},
			},
			unread: []upstream.Mark{mark('a', 2), mark('a', 1)},
		},
		"an object of a credential here that no version has is a stranger": {
			evidence:  evidence{found: []upstream.Found{listed(mark('a', 9), "")}},
			strangers: []upstream.Mark{mark('a', 9)},
		},
		"one whose version is being revoked, or belongs to another issuer, is not": {
			evidence: evidence{
				found: []upstream.Found{listed(mark('a', 1), ""), listed(mark('a', 2), "")},
				versions: []journal.Version{
					version(mark('a', 1), func(v *journal.Version) { v.Terminating = true }),
					version(mark('a', 2), func(v *journal.Version) { v.Issuer.UID = other }),
				},
			},
		},
		"an object of our shape whose credential is not known here is another cluster's (failure F33)": {
			evidence: evidence{found: []upstream.Found{listed(mark('b', 1), ""), {Name: "odd", Mark: "short"}}},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			e := tc.evidence
			e.issuer, e.asked, e.owners = apic, noon, billing
			f := judge(e)
			if diff := cmp.Diff(tc.doubts, f.doubts, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("doubts (-want +got):\n%s", diff)
			}
			var unread, strangers []upstream.Mark
			for _, v := range f.unread {
				unread = append(unread, v.Mark)
			}
			for _, s := range f.strangers {
				strangers = append(strangers, s.Mark)
			}
			if diff := cmp.Diff(tc.unread, unread); diff != "" {
				t.Errorf("unread (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tc.strangers, strangers); diff != "" {
				t.Errorf("strangers (-want +got):\n%s", diff)
			}
		})
	}
}

func TestArrivals(t *testing.T) {
	const age = 24 * time.Hour
	strange := listed(mark('a', 9), "")
	cases := map[string]struct {
		gone  bool
		known bool
		seen  time.Duration
		due   bool
	}{
		"one that was never seen before is not due":                 {},
		"one that is known for a day is not due":                    {known: true, seen: age},
		"one that is known for longer is":                           {known: true, seen: age + time.Second, due: true},
		"one whose credential is gone is never (nobody can say no)": {known: true, seen: 10 * age, gone: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			seen := map[upstream.Mark]time.Time{}
			if tc.known {
				seen[strange.Mark] = noon.Add(-tc.seen)
			}
			owners := map[string]owner{strange.Mark.Owner(): {UID: "billing", Gone: tc.gone}}
			due, early := arrivals([]upstream.Found{strange}, owners, seen, noon, age)
			if got := len(due) == 1; got != tc.due || len(due)+len(early) != 1 {
				t.Errorf("due %t, want %t (%d due, %d early)", got, tc.due, len(due), len(early))
			}
		})
	}
}

func TestClearance(t *testing.T) {
	stranger := arrival{Found: listed(mark('a', 9), ""), Owner: owner{UID: "billing"}}
	nonce := func(n int) string { return fmt.Sprintf("%016x0000", n) }
	present := func(change ...func(*v1alpha1.APIClientCredential)) *v1alpha1.APIClientCredential {
		c := &v1alpha1.APIClientCredential{}
		c.UID = "billing"
		for _, f := range change {
			f(c)
		}
		return c
	}
	published := []journal.Version{version(mark('a', 1), func(v *journal.Version) { v.ClusterID, v.Nonce = "here", nonce(1) })}
	target := func(nonce string, data map[string][]byte) journal.Target {
		return journal.Target{Exists: true, Hint: journal.Hint{Nonce: nonce}, Data: data}
	}
	fine := target(nonce(1), map[string][]byte{"client_id": []byte(mark('a', 1)), "client_secret": []byte("s")})
	cases := map[string]struct {
		clearance clearance
		objection string
	}{
		"nothing is published": {
			clearance: clearance{credential: present()},
		},
		"another version is published": {
			clearance: clearance{credential: present(), versions: published, target: fine},
		},
		"the credential is gone": {
			clearance: clearance{},
			objection: "Its credential is being deleted or is gone; nobody revokes it by itself.",
		},
		"a credential of that name is another one": {
			clearance: clearance{credential: present(func(c *v1alpha1.APIClientCredential) { c.UID = "later" })},
			objection: "Its credential is being deleted or is gone; nobody revokes it by itself.",
		},
		"the credential is suspended": {
			clearance: clearance{credential: present(func(c *v1alpha1.APIClientCredential) { c.Spec.Suspend = true })},
			objection: "Its credential is suspended.",
		},
		"its versions were let go": {
			clearance: clearance{credential: present(func(c *v1alpha1.APIClientCredential) {
				c.Annotations = map[string]string{v1alpha1.AnnotationAbandonUpstream: "all"}
			})},
			objection: "Versions of its credential were let go on purpose.",
		},
		"a version cannot be read": {
			clearance: clearance{credential: present(), unreadable: true},
			objection: "The journal of its credential cannot be read in full.",
		},
		"a version has the mark after all": {
			clearance: clearance{credential: present(), versions: []journal.Version{version(mark('a', 9))}},
			objection: "A version has its mark.",
		},
		"the journal is another cluster's (hazard C6)": {
			clearance: clearance{credential: present(), versions: []journal.Version{version(mark('a', 1), func(v *journal.Version) { v.ClusterID = "production" })}},
			objection: "The journal of its credential was written by another cluster.",
		},
		"the journal lost the version that is published (hazard C4)": {
			clearance: clearance{credential: present(), versions: published, target: target(nonce(9), map[string][]byte{"blob": []byte("MDAw")})},
			objection: "Which version the published Secret holds is not known.",
		},
		"the published Secret names it, whatever its annotation says (hazard H14)": {
			clearance: clearance{credential: present(), versions: published, target: target(nonce(1), map[string][]byte{"json": []byte(`{"id":"` + mark('a', 9) + `"}`)})},
			objection: "The published Secret seems to hold it.",
		},
		"the published Secret names the object's own name": {
			clearance: clearance{credential: present(), versions: published, target: target(nonce(1), map[string][]byte{"name": []byte(stranger.Name)})},
			objection: "The published Secret seems to hold it.",
		},
		"a Secret of its own holds it": {
			clearance: clearance{credential: present(), versions: published, target: fine, copies: []journal.Copy{{Name: "billing-api-1-aaa", Nonce: nonce(1)}, {Name: "billing-api-9-bbb", Nonce: nonce(9)}}},
			objection: "The Secret billing-api-9-bbb holds it.",
		},
		"the published version is being revoked": {
			clearance: clearance{credential: present(), target: fine, versions: []journal.Version{
				version(mark('a', 1), func(v *journal.Version) { v.ClusterID, v.Nonce, v.Terminating = "here", nonce(1), true }),
			}},
			objection: "Which version the published Secret holds is not known.",
		},
		"the Secret has no annotation of ours": {
			clearance: clearance{credential: present(), versions: published, target: target("", nil)},
			objection: "Which version the published Secret holds is not known.",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c := tc.clearance
			c.clusterID, c.owner = "here", stranger.Owner
			if got := c.objection(stranger); got != tc.objection {
				t.Errorf("%q, want %q", got, tc.objection)
			}
		})
	}
}

func TestSuspicionsAreReportedInAnOrderThatDoesNotChange(t *testing.T) {
	var suspicions, reversed []suspicion
	for n := range 12 {
		found := listed(mark('a', n), "")
		found.CreatedAt = noon.Add(time.Duration(n/2) * time.Minute)
		suspicions = append(suspicions, suspicion{arrival: arrival{Found: found}, reason: "why"})
	}
	for i := len(suspicions) - 1; i >= 0; i-- {
		reversed = append(reversed, suspicions[i])
	}
	a, b := reported(suspicions), reported(reversed)
	if diff := cmp.Diff(a, b); diff != "" {
		t.Errorf("the order depends on the listing:\n%s", diff)
	}
	if a.Count != 12 || len(a.Newest) != 10 || a.Newest[0].Name != "cl-"+string(mark('a', 10)) || a.Newest[0].Reason != "why" {
		t.Errorf("%+v", a)
	}
}

func TestCredentialsThatAreGoneAreRememberedUpToABound(t *testing.T) {
	owners := map[string]owner{}
	present := map[string]bool{}
	for n := range 10 {
		half := fmt.Sprintf("here-%d", n)
		owners[half], present[half] = owner{}, true
	}
	for n := range rememberedOwners {
		owners[fmt.Sprintf("gone-%d", n)] = owner{}
	}
	remember(owners, present)
	if !owners["gone-7"].Gone || owners["here-7"].Gone || len(owners) != 10+rememberedOwners {
		t.Errorf("%d owners, gone-7 %+v, here-7 %+v", len(owners), owners["gone-7"], owners["here-7"])
	}
	owners["gone-too"] = owner{}
	remember(owners, present)
	if len(owners) != 10 || owners["here-7"].Gone {
		t.Errorf("%d owners, want the ten that are here", len(owners))
	}
}
