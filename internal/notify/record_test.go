package notify

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var (
	noon    = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	subject = Subject{Namespace: "payments", Credential: "billing", UID: "u", Secret: "billing-api"}
)

// told is what a test looks at.
type told struct {
	Event   Event
	Version int64
}

func summary(messages []Message) []told {
	var found []told
	for _, m := range messages {
		found = append(found, told{m.Event, m.Version})
	}
	return found
}

func facts(published int64, serving ...int64) Facts {
	return Facts{Subject: subject, Exists: true, Published: published, IssuedAt: noon, Serving: serving, Held: serving}
}

func TestWhatIsToldFollowsFromWhatWasTold(t *testing.T) {
	ready := Record{Subject: subject, Published: 1, Serving: []int64{1}}
	for name, tc := range map[string]struct {
		recorded *Record
		facts    Facts
		want     []told
		again    time.Duration
	}{
		"a credential that has nothing yet":                   {nil, facts(0), nil, 0},
		"a first version is issued":                           {&Record{Subject: subject}, facts(1, 1), []told{{Issued, 1}}, 0},
		"a first version that was issued before we looked":    {nil, facts(1, 1), []told{{Issued, 1}}, 0},
		"a first version after one that failed":               {&Record{Subject: subject}, facts(2, 2), []told{{Issued, 2}}, 0},
		"an old credential that nothing was told about":       {nil, with(facts(7, 6, 7), func(f *Facts) { f.IssuedAt = noon.Add(-time.Hour) }), nil, 0},
		"a renewal that was made before we looked":            {nil, facts(7, 6, 7), []told{{Renewed, 7}}, 0},
		"nothing happened":                                    {&ready, facts(1, 1), nil, 0},
		"a renewal":                                           {&ready, facts(2, 1, 2), []told{{Renewed, 2}}, 0},
		"a renewal whose predecessor is gone at once":         {&ready, facts(2, 2), []told{{Renewed, 2}, {Revoked, 1}}, 0},
		"two renewals while nobody looked":                    {&ready, facts(3, 3), []told{{Renewed, 3}, {Revoked, 1}}, 0},
		"a predecessor is revoked":                            {&Record{Subject: subject, Published: 2, Serving: []int64{1, 2}}, facts(2, 2), []told{{Revoked, 1}}, 0},
		"a version that the status does not show and is held": {&ready, with(facts(0), func(f *Facts) { f.Held = []int64{1} }), nil, 0},
		"a status that was lost":                              {&ready, with(facts(0), func(f *Facts) { f.Held = []int64{1} }), nil, 0},
		"a rollback to an earlier version":                    {&Record{Subject: subject, Published: 2, Serving: []int64{1, 2}}, facts(1, 1, 2), nil, 0},
		"a credential that is gone with its versions":         {&ready, Facts{Subject: subject}, []told{{Revoked, 1}}, 0},
		"a credential that is gone and retained":              {&ready, Facts{Subject: subject, Held: []int64{1}}, nil, 0},
		"versions that were let go without a revocation":      {&Record{Subject: subject, Published: 1, Serving: []int64{1}, LetGo: true}, Facts{Subject: subject}, nil, 0},
		"trouble of a moment":                                 {&ready, with(facts(1, 1), failing("IssuerNotFound", noon)), nil, grace},
		"trouble that lasts":                                  {&ready, with(facts(1, 1), failing("IssuerNotFound", noon.Add(-2*time.Minute))), []told{{Failing, 1}}, 0},
		"trouble that was told": {
			&Record{Subject: subject, Published: 1, Serving: []int64{1}, Troubles: map[Event]Told{Failing: {Reason: "X", Active: true, At: noon.Add(-48 * time.Hour)}}},
			with(facts(1, 1), failing("X", noon.Add(-49*time.Hour))), nil, 0,
		},
		"trouble for another reason": {
			&Record{Subject: subject, Published: 1, Serving: []int64{1}, Troubles: map[Event]Told{Failing: {Reason: "Y", Active: true, At: noon.Add(-48 * time.Hour)}}},
			with(facts(1, 1), failing("X", noon.Add(-49*time.Hour))),
			[]told{{Failing, 1}},
			0,
		},
		"trouble that comes again within the hour": {
			&Record{Subject: subject, Published: 1, Serving: []int64{1}, Troubles: map[Event]Told{Failing: {Reason: "X", At: noon.Add(-20 * time.Minute)}}},
			with(facts(1, 1), failing("X", noon.Add(-5*time.Minute))), nil, 40 * time.Minute,
		},
		"trouble that comes again a day later": {
			&Record{Subject: subject, Published: 1, Serving: []int64{1}, Troubles: map[Event]Told{Failing: {Reason: "X", At: noon.Add(-24 * time.Hour)}}},
			with(facts(1, 1), failing("X", noon.Add(-5*time.Minute))),
			[]told{{Failing, 1}},
			0,
		},
		"a request that waits":                               {&ready, with(facts(1, 1), asked("r", "Pending", noon)), []told{{ApprovalRequested, 0}}, 0},
		"a request that was told":                            {&Record{Subject: subject, Published: 1, Serving: []int64{1}, Approvals: map[string]State{"r": "Pending"}}, with(facts(1, 1), asked("r", "Pending", noon)), nil, 0},
		"a request that is approved":                         {&Record{Subject: subject, Published: 1, Serving: []int64{1}, Approvals: map[string]State{"r": "Pending"}}, with(facts(1, 1), asked("r", "Approved", noon)), []told{{Approved, 0}}, 0},
		"a request that has waited for a week":               {nil, with(facts(0), asked("r", "Pending", noon.Add(-7*24*time.Hour))), []told{{ApprovalRequested, 0}}, 0},
		"a request that is rejected":                         {&Record{Subject: subject, Published: 1, Serving: []int64{1}, Approvals: map[string]State{"r": "Pending"}}, with(facts(1, 1), asked("r", "Rejected", noon)), []told{{Rejected, 0}}, 0},
		"a request that nobody answered":                     {&Record{Subject: subject, Published: 1, Serving: []int64{1}, Approvals: map[string]State{"r": "Pending"}}, with(facts(1, 1), asked("r", "Expired", noon)), nil, 0},
		"an answer of last week":                             {nil, with(facts(0), asked("r", "Rejected", noon.Add(-7*24*time.Hour))), nil, 0},
		"a version that may live upstream":                   {&ready, with(facts(1, 1), lost("cl-a-1")), []told{{OrphanSuspected, 0}}, 0},
		"two of them":                                        {&ready, with(facts(1, 1), lost("cl-a-1", "cl-a-2")), []told{{OrphanSuspected, 0}, {OrphanSuspected, 0}}, 0},
		"one that was told":                                  {&Record{Subject: subject, Published: 1, Serving: []int64{1}, Orphans: []string{"cl-a-1"}}, with(facts(1, 1), lost("cl-a-1")), nil, 0},
		"one of a credential that is gone":                   {&Record{Subject: subject}, with(Facts{Subject: subject}, lost("cl-a-1")), []told{{OrphanSuspected, 0}}, 0},
		"one that is looked at first when it is listed long": {nil, with(facts(0), lost("cl-a-1")), []told{{OrphanSuspected, 0}}, 0},
		"a deletion that was approved":                       {&ready, with(Facts{Subject: subject}, asked("r", "Approved", noon)), []told{{Approved, 0}, {Revoked, 1}}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			after, messages, again := Next(tc.recorded, tc.facts, noon)
			if diff := cmp.Diff(tc.want, summary(messages)); diff != "" {
				t.Error(diff)
			}
			if again != tc.again {
				t.Errorf("looks again after %s, want %s", again, tc.again)
			}
			if _, twice, _ := Next(&after, tc.facts, noon.Add(time.Second)); len(twice) > 0 {
				t.Errorf("told again: %v", summary(twice))
			}
		})
	}
}

func with(f Facts, change func(*Facts)) Facts {
	change(&f)
	return f
}

func failing(reason string, since time.Time) func(*Facts) {
	return func(f *Facts) { f.Troubles = []Trouble{{Event: Failing, Reason: reason, Since: since}} }
}

func lost(names ...string) func(*Facts) {
	return func(f *Facts) {
		for _, name := range names {
			f.Orphans = append(f.Orphans, Orphan{Name: name, Detail: "why"})
		}
	}
}

// A cache that is behind lists again what somebody has taken off the list.
func TestAVersionThatMayLiveUpstreamIsToldOnce(t *testing.T) {
	r := Record{Subject: subject}
	var keys []string
	for _, f := range []Facts{with(facts(0), lost("a")), facts(0), with(facts(0), lost("a")), with(facts(0), lost("b", "a"))} {
		after, messages, _ := Next(&r, f, noon)
		r = after
		for _, m := range messages {
			keys = append(keys, m.Key+" "+m.Detail)
		}
	}
	if diff := cmp.Diff([]string{"u/0/OrphanSuspected/a why", "u/0/OrphanSuspected/b why"}, keys); diff != "" {
		t.Error(diff)
	}
	// What is remembered is bounded, and what is listed stays.
	many := r
	for i := range 2 * maxOrphans {
		many, _, _ = Next(&many, with(facts(0), lost("b", fmt.Sprint(i))), noon)
	}
	if len(many.Orphans) != maxOrphans || many.Orphans[0] != "b" || many.Orphans[1] != fmt.Sprint(maxOrphans+1) {
		t.Errorf("%d are remembered: %v", len(many.Orphans), many.Orphans)
	}
	if diff := cmp.Diff([]string{"a", "b"}, r.Orphans); diff != "" {
		t.Errorf("an earlier record was changed: %s", diff)
	}
}

// A renewal that nobody answers is told to those who are asked before the credential ends.
func TestAnEndThatComesNearIsToldToThoseWhoAreAsked(t *testing.T) {
	request := func(name, operation, state string, expires time.Duration, approvers ...string) Request {
		return Request{UID: name, State: state, Since: noon.Add(-24 * time.Hour), Approval: Approval{
			Name: name, Operation: operation, Cause: "why", ExpiresAt: noon.Add(expires), Approvers: approvers,
		}}
	}
	renewal := request("billing-a", "Renew", "Pending", 2*time.Hour, "alice@example.com")
	for name, tc := range map[string]struct {
		requests []Request
		want     *Approval
		to       []string
	}{
		"nobody is asked":                     {nil, nil, []string{"bob@example.com"}},
		"a renewal waits":                     {[]Request{renewal}, &renewal.Approval, []string{"bob@example.com", "alice@example.com"}},
		"a renewal was rejected":              {[]Request{request("billing-a", "Renew", "Rejected", time.Hour, "alice@example.com")}, nil, []string{"bob@example.com"}},
		"a deletion waits, which renews none": {[]Request{request("billing-a", "Delete", "Pending", time.Hour, "alice@example.com")}, nil, []string{"bob@example.com"}},
		"an issuer and a policy ask different people": {
			[]Request{request("billing-b", "Renew", "Pending", time.Hour, "carol@example.com", "alice@example.com"), renewal},
			&Approval{Name: "billing-a, billing-b", Operation: "Renew", Cause: "why", ExpiresAt: noon.Add(time.Hour), Approvers: []string{"alice@example.com", "carol@example.com"}},
			[]string{"bob@example.com", "alice@example.com", "carol@example.com"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := facts(1, 1)
			f.Approvals, f.Expires = tc.requests, "2026-03-02T12:00:00Z"
			f.Troubles = []Trouble{{Event: Expiring, Reason: "Expires", Detail: "soon", Since: noon.Add(-time.Hour)}}
			told := Record{Subject: subject, Published: 1, Serving: []int64{1}, Approvals: map[string]State{}}
			for _, r := range tc.requests {
				told.Approvals[r.UID] = State(r.State)
			}
			_, messages, _ := Next(&told, f, noon)
			want := []Message{{
				Key: "u/1/Expiring/2026-03-01T12:00:00Z", Event: Expiring, Subject: subject, Version: 1, At: noon,
				Reason: "Expires", Detail: "soon", Expires: "2026-03-02T12:00:00Z", Approval: tc.want,
			}}
			if diff := cmp.Diff(want, messages); diff != "" {
				t.Errorf("messages (-want +got):\n%s", diff)
			}
			var to []string
			for _, d := range Route(messages, []Rule{{Channel: "mail", Mail: true, On: []Event{Expiring}, Owner: true, Approvers: true}}, "bob@example.com") {
				to = append(to, d.To)
			}
			if diff := cmp.Diff(tc.to, to); diff != "" {
				t.Errorf("recipients (-want +got):\n%s", diff)
			}
		})
	}
}

func asked(uid, state string, since time.Time) func(*Facts) {
	return func(f *Facts) {
		f.Approvals = []Request{{UID: uid, State: state, Since: since, Approval: Approval{Name: uid, Operation: "Renew"}}}
	}
}

// TestEveryFactIsToldOnceInAnyOrderOfLooks: a life of a credential is looked at at random
// moments only, and each version is told as published at most once and as revoked exactly once if
// it was ever seen serving.
func TestEveryFactIsToldOnceInAnyOrderOfLooks(t *testing.T) {
	for seed := range uint64(300) {
		random := rand.New(rand.NewPCG(seed, 1))
		now, published, alive := noon, int64(0), []int64(nil)
		var record *Record
		count, keys, seen := map[told]int{}, map[string]bool{}, map[int64]bool{}
		look := func(f Facts) {
			after, messages, _ := Next(record, f, now)
			record = &after
			for _, m := range messages {
				count[told{m.Event, m.Version}]++
				if keys[m.Key] {
					t.Fatalf("seed %d: key %s twice", seed, m.Key)
				}
				keys[m.Key] = true
			}
		}
		current := func() Facts {
			f := facts(published, slices.Clone(alive)...)
			f.IssuedAt = now
			return f
		}
		look(current())
		for range 60 {
			now = now.Add(time.Minute)
			switch random.IntN(4) {
			case 0:
				published++
				alive = append(alive, published)
			case 1:
				if len(alive) > 1 {
					alive = alive[1:]
				}
			default:
				for _, v := range alive {
					seen[v] = true
				}
				look(current())
			}
		}
		look(Facts{Subject: subject})
		for v := int64(1); v <= published; v++ {
			revoked := 0
			if seen[v] {
				revoked = 1
			}
			if got := count[told{Revoked, v}]; got != revoked {
				t.Fatalf("seed %d: version %d was told %d times as revoked, want %d", seed, v, got, revoked)
			}
			if got := count[told{Issued, v}] + count[told{Renewed, v}]; got > 1 {
				t.Fatalf("seed %d: version %d was told %d times as published", seed, v, got)
			}
		}
	}
}

func TestWhatWaitsIsBoundedAndHasNothingTwice(t *testing.T) {
	var r Record
	delivery := func(version int64) Delivery {
		return Delivery{Channel: "mail", To: "a@example.com", Message: Message{Key: Subject{}.UID + string(rune('a'+version)), Version: version}}
	}
	r.Add([]Delivery{delivery(1), delivery(1)})
	if len(r.Pending) != 1 {
		t.Errorf("%d wait, want one", len(r.Pending))
	}
	var dropped []Delivery
	for v := range int64(maxPending + 5) {
		dropped = append(dropped, r.Add([]Delivery{delivery(v + 10)})...)
	}
	if len(r.Pending) != maxPending || len(dropped) != 6 || dropped[0].Message.Version != 1 {
		t.Errorf("%d wait and %d were dropped", len(r.Pending), len(dropped))
	}
	if !r.Remove(map[string]bool{r.Pending[0].ID(): true}) || r.Remove(map[string]bool{"unknown": true}) || len(r.Pending) != maxPending-1 {
		t.Error("what was sent is not taken out")
	}
}
