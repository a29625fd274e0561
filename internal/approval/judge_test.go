package approval

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

var (
	asked   = time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)
	expires = asked.Add(72 * time.Hour)
	strict  = Reference{Kind: "ClusterRotationPolicy", Name: "strict"}
	lax     = Reference{Kind: "RotationPolicy", Name: "lax"}
)

func request(quorum Quorum, change func(*Request)) Request {
	r := Request{UID: "r1", Reference: strict, Quorum: quorum, RequestedBy: "mallory", ExpiresAt: expires}
	if change != nil {
		change(&r)
	}
	return r
}

// says is a decision that counts unless something is changed.
func says(approver string, approves bool, minute int, change func(*Decision)) Decision {
	d := Decision{
		Name: fmt.Sprintf("%s-%d", approver, minute), RequestUID: "r1", Reference: strict, Approver: approver, Groups: []string{"system:authenticated"},
		Approves: approves, At: asked.Add(time.Duration(minute) * time.Minute),
	}
	if change != nil {
		change(&d)
	}
	return d
}

func in(groups ...string) func(*Decision) { return func(d *Decision) { d.Groups = groups } }

func listed(users ...string) func(*Request) { return func(r *Request) { r.Approvers = users } }

func grouped(groups ...string) func(*Request) { return func(r *Request) { r.Groups = groups } }

func TestJudge(t *testing.T) {
	for _, c := range []struct {
		name      string
		request   Request
		decisions []Decision
		after     time.Duration // since asked; zero is an hour
		state     State
		ignored   string // why the last decision that is ignored is
		missing   []string
	}{
		{name: "nobody has spoken", request: request(Any, nil), state: Pending},
		{name: "one agrees", request: request(Any, nil), decisions: []Decision{says("alice", true, 1, nil)}, state: Approved},
		{name: "one says no", request: request(Any, nil), decisions: []Decision{says("alice", false, 1, nil)}, state: Rejected},
		{name: "no after yes", request: request(Any, nil), decisions: []Decision{says("alice", true, 1, nil), says("bob", false, 2, nil)}, state: Rejected},
		{name: "yes after no, by another one", request: request(Any, nil), decisions: []Decision{says("alice", false, 1, nil), says("bob", true, 2, nil)}, state: Rejected},
		{name: "second thoughts", request: request(Any, nil), decisions: []Decision{says("alice", true, 1, nil), says("alice", false, 2, nil)}, state: Rejected},
		{name: "a no is not withdrawn (C8.7)", request: request(Any, nil), decisions: []Decision{says("alice", false, 1, nil), says("alice", true, 2, nil)}, state: Rejected, ignored: "decided already"},
		{name: "a no that was noted and is gone", request: request(Any, func(r *Request) { r.Rejected = true }), decisions: []Decision{says("alice", true, 1, nil)}, state: Rejected},
		{name: "a right for something else (C8.1)", request: request(Any, nil), decisions: []Decision{says("alice", true, 1, func(d *Decision) { d.Reference = lax })}, state: Pending, ignored: "something else"},
		{name: "an earlier request of the name (C8.3)", request: request(Any, nil), decisions: []Decision{says("alice", true, 1, func(d *Decision) { d.RequestUID = "r0" })}, state: Pending, ignored: "another request"},
		{name: "a request that does not exist yet", request: request(Any, func(r *Request) { r.UID = "" }), decisions: []Decision{says("alice", true, 1, func(d *Decision) { d.RequestUID = "" })}, state: Pending, ignored: "another request"},
		{name: "who asks agrees (C8.5)", request: request(Any, nil), decisions: []Decision{says("mallory", true, 1, nil)}, state: Pending, ignored: "who asks"},
		{name: "who asks changes his mind", request: request(Any, nil), decisions: []Decision{says("mallory", false, 1, nil)}, state: Rejected},
		{name: "nobody's name", request: request(Any, func(r *Request) { r.RequestedBy = "" }), decisions: []Decision{says("", true, 1, nil)}, state: Pending, ignored: "names nobody"},
		{name: "too late", request: request(Any, nil), decisions: []Decision{says("alice", true, 72*60, nil)}, after: 73 * time.Hour, state: Expired, ignored: "expired"},
		{name: "a late no is no more than a late yes", request: request(Any, nil), decisions: []Decision{says("alice", true, 1, nil), says("bob", false, 72*60, nil)}, after: 73 * time.Hour, state: Approved, ignored: "expired"},
		{name: "in time, and counted later", request: request(Any, nil), decisions: []Decision{says("alice", true, 72*60-1, nil)}, after: 80 * time.Hour, state: Approved},
		{name: "nobody in time", request: request(Any, nil), after: 72 * time.Hour, state: Expired},
		{name: "one who was not asked", request: request(Any, listed("bob")), decisions: []Decision{says("alice", true, 1, nil)}, state: Pending, ignored: "asked"},
		{name: "one who was not asked says no", request: request(Any, listed("bob")), decisions: []Decision{says("alice", false, 1, nil)}, state: Pending, ignored: "asked"},
		{name: "one of a group", request: request(Any, grouped("leads")), decisions: []Decision{says("alice", true, 1, in("leads"))}, state: Approved},
		{name: "of a group or by name", request: request(Any, func(r *Request) { r.Groups, r.Approvers = []string{"leads"}, []string{"bob"} }), decisions: []Decision{says("bob", true, 1, nil)}, state: Approved},
		{name: "all, and one is missing", request: request(All, listed("alice", "bob")), decisions: []Decision{says("alice", true, 1, nil)}, state: Pending, missing: []string{"bob"}},
		{name: "all", request: request(All, listed("alice", "bob")), decisions: []Decision{says("alice", true, 1, nil), says("bob", true, 2, nil)}, state: Approved},
		{name: "all, twice the same one", request: request(All, listed("alice", "bob")), decisions: []Decision{says("alice", true, 1, nil), says("alice", true, 2, nil)}, state: Pending, ignored: "decided already", missing: []string{"bob"}},
		{name: "all but who asks", request: request(All, listed("alice", "mallory")), decisions: []Decision{says("alice", true, 1, nil)}, state: Approved},
		{name: "who asks is all", request: request(All, listed("mallory")), decisions: []Decision{says("mallory", true, 1, nil)}, state: Pending, ignored: "who asks"},
		{name: "all of nobody", request: request(All, nil), decisions: []Decision{says("alice", true, 1, nil)}, state: Pending},
		{name: "all, and a group that does not stand in for them", request: request(All, func(r *Request) { r.Approvers, r.Groups = []string{"bob"}, []string{"leads"} }), decisions: []Decision{says("alice", true, 1, in("leads"))}, state: Pending, missing: []string{"bob"}},
		{name: "each group, and one is missing", request: request(EachGroup, grouped("leads", "audit")), decisions: []Decision{says("alice", true, 1, in("leads"))}, state: Pending, missing: []string{"audit"}},
		{name: "each group", request: request(EachGroup, grouped("leads", "audit")), decisions: []Decision{says("alice", true, 1, in("leads")), says("bob", true, 2, in("audit"))}, state: Approved},
		{name: "each group by one who is in all", request: request(EachGroup, grouped("leads", "audit")), decisions: []Decision{says("alice", true, 1, in("leads", "audit"))}, state: Approved},
		{name: "each of no groups", request: request(EachGroup, nil), decisions: []Decision{says("alice", true, 1, nil)}, state: Pending},
		{name: "a quorum of another version", request: request("Most", nil), decisions: []Decision{says("alice", true, 1, nil)}, state: Pending},
	} {
		t.Run(c.name, func(t *testing.T) {
			after := c.after
			if after == 0 {
				after = time.Hour
			}
			v := Judge(c.request, c.decisions, asked.Add(after))
			if v.State != c.state {
				t.Errorf("state %s, want %s", v.State, c.state)
			}
			if !slices.Equal(v.Missing, c.missing) {
				t.Errorf("missing %v, want %v", v.Missing, c.missing)
			}
			why := ""
			if n := len(v.Ignored); n > 0 {
				why = v.Ignored[n-1].Why
			}
			if (why == "") != (c.ignored == "") || !strings.Contains(why, c.ignored) {
				t.Errorf("ignored because %q, want %q", why, c.ignored)
			}
			if len(v.Counted)+len(v.Ignored) != len(c.decisions) {
				t.Errorf("%d counted and %d ignored of %d", len(v.Counted), len(v.Ignored), len(c.decisions))
			}
		})
	}
}

// TestJudgeKeepsItsRules throws decisions of all kinds at requests of all kinds.
func TestJudgeKeepsItsRules(t *testing.T) {
	users, groups := []string{"", "alice", "bob", "carol", "mallory"}, []string{"leads", "audit", "devs"}
	some := func(r *rand.Rand, of []string) []string {
		var chosen []string
		for _, s := range of {
			if s != "" && r.IntN(2) == 0 {
				chosen = append(chosen, s)
			}
		}
		return chosen
	}
	approved := map[Quorum]int{}
	for seed := range uint64(20_000) {
		r := rand.New(rand.NewPCG(seed, 7))
		q := request([]Quorum{Any, All, EachGroup}[r.IntN(3)], func(q *Request) { q.Approvers, q.Groups = some(r, users), some(r, groups) })
		var decisions []Decision
		for i := range r.IntN(6) {
			d := says(users[r.IntN(len(users))], r.IntN(4) > 0, i, in(some(r, groups)...))
			switch r.IntN(12) {
			case 0:
				d.Reference = lax
			case 1:
				d.RequestUID = "r0"
			case 2:
				d.At = expires.Add(time.Duration(i) * time.Second)
			}
			decisions = append(decisions, d)
		}
		now := asked.Add(time.Duration(r.IntN(100)) * time.Hour)
		v := Judge(q, decisions, now)
		requireRules(t, seed, q, v)
		if v.State == Approved {
			approved[q.Quorum]++
		}
		shuffled := slices.Concat(decisions, decisions[:len(decisions)/2])
		r.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		if again := Judge(q, shuffled, now); again.State != v.State || len(again.Counted) != len(v.Counted) {
			t.Fatalf("seed %d: %s, and %s in another order", seed, v.State, again.State)
		}
		if v.State == Rejected {
			more := append(shuffled, says("carol", true, 50, in(groups...)), says("alice", true, 51, in(groups...)), says("bob", true, 52, in(groups...)))
			if again := Judge(q, more, now); again.State != Rejected {
				t.Fatalf("seed %d: a rejection became %s", seed, again.State)
			}
		}
	}
	for _, q := range []Quorum{Any, All, EachGroup} {
		if approved[q] < 100 {
			t.Errorf("only %d requests of quorum %s were approved: the search proves little", approved[q], q)
		}
	}
}

func requireRules(t *testing.T, seed uint64, q Request, v Verdict) {
	t.Helper()
	agreed := map[string]bool{}
	for _, d := range v.Counted {
		if d.RequestUID != q.UID || d.Reference != q.Reference || !d.At.Before(q.ExpiresAt) || d.Approver == "" {
			t.Fatalf("seed %d: counted %+v", seed, d)
		}
		if d.Approves && d.Approver == q.RequestedBy {
			t.Fatalf("seed %d: who asks has approved", seed)
		}
		if d.Approves && agreed[d.Approver] {
			t.Fatalf("seed %d: %s counts twice", seed, d.Approver)
		}
		agreed[d.Approver] = d.Approves
		if !d.Approves && v.State != Rejected {
			t.Fatalf("seed %d: somebody said no, and it is %s", seed, v.State)
		}
	}
	if v.State != Approved {
		return
	}
	if len(agreed) == 0 {
		t.Fatalf("seed %d: approved by nobody", seed)
	}
	for _, user := range q.Approvers {
		if q.Quorum == All && user != q.RequestedBy && !agreed[user] {
			t.Fatalf("seed %d: approved without %s", seed, user)
		}
	}
}

func TestTogether(t *testing.T) {
	for _, c := range []struct {
		states []State
		want   State
	}{
		{nil, Approved},
		{[]State{Approved, Approved}, Approved},
		{[]State{Approved, Pending}, Pending},
		{[]State{Expired, Pending}, Expired},
		{[]State{Rejected, Approved, Expired}, Rejected},
		{[]State{Approved, "Perhaps"}, "Perhaps"},
	} {
		if got := Together(c.states...); got != c.want {
			t.Errorf("%v together are %s, want %s", c.states, got, c.want)
		}
	}
}

func TestDigest(t *testing.T) {
	base := Subject{CredentialUID: "u1", Generation: 3, Operation: Renew, Nonce: "aa"}
	seen := map[string]string{base.Digest(): "base"}
	for name, change := range map[string]func(*Subject){
		"another credential":      func(s *Subject) { s.CredentialUID = "u2" },
		"another spec (C8.9)":     func(s *Subject) { s.Generation = 4 },
		"another operation":       func(s *Subject) { s.Operation = Delete },
		"another version":         func(s *Subject) { s.Nonce = "ab" },
		"asked for":               func(s *Subject) { s.Request = asked },
		"asked for again":         func(s *Subject) { s.Request = asked.Add(time.Second) },
		"another round":           func(s *Subject) { s.Round = 1 },
		"parts that touch":        func(s *Subject) { s.CredentialUID, s.Generation = "u13", 0 },
		"parts that touch, again": func(s *Subject) { s.CredentialUID, s.Generation = "u1", 30 },
	} {
		s := base
		change(&s)
		digest := s.Digest()
		if other, taken := seen[digest]; taken {
			t.Errorf("%s and %s have one digest", name, other)
		}
		seen[digest] = name
	}
	elsewhere := base
	base.Request, elsewhere.Request = asked, asked.In(time.FixedZone("elsewhere", 3600))
	if base.Digest() != elsewhere.Digest() {
		t.Error("the digest depends on the zone in which a time is written")
	}
}

func TestDemandCheck(t *testing.T) {
	good := Demand{Reference: strict, Operations: []Operation{Issue}, Quorum: Any, Expiry: time.Hour}
	for name, c := range map[string]struct {
		change func(*Demand)
		want   string
	}{
		"any":                    {func(*Demand) {}, ""},
		"all of a list":          {func(d *Demand) { d.Quorum, d.Approvers = All, []string{"alice"} }, ""},
		"each group":             {func(d *Demand) { d.Quorum, d.Groups = EachGroup, []string{"leads"} }, ""},
		"all of groups":          {func(d *Demand) { d.Quorum, d.Groups = All, []string{"leads"} }, "needs approvers"},
		"each group of none":     {func(d *Demand) { d.Quorum, d.Approvers = EachGroup, []string{"alice"} }, "needs groups"},
		"no quorum":              {func(d *Demand) { d.Quorum = "" }, "no quorum"},
		"no operation":           {func(d *Demand) { d.Operations = nil }, "at least one operation"},
		"no time to answer":      {func(d *Demand) { d.Expiry = 0 }, "expiry"},
		"less than no time left": {func(d *Demand) { d.Expiry = -time.Hour }, "expiry"},
	} {
		d := good
		c.change(&d)
		err := d.Check()
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	if !good.Covers(Issue) || good.Covers(Delete) {
		t.Error("a demand covers the operations that it lists and no others")
	}
}
