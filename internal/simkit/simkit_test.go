package simkit

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// theatre is a stage behind real TLS with one operation, "thing.make", that counts
// its commits.
type theatre struct {
	*Stage
	clock    *Manual
	listener *Listener
	client   *http.Client

	mu      sync.Mutex
	commits int
}

func newTheatre(t *testing.T) *theatre {
	t.Helper()
	clock := NewManual(epoch)
	th := &theatre{Stage: NewStage(clock, nil), clock: clock}
	authority, err := NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := authority.Server()
	if err != nil {
		t.Fatal(err)
	}
	th.listener, err = Listen("127.0.0.1:0", &certificate, http.HandlerFunc(th.serve))
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: authority.Pool()}}
	th.client = &http.Client{Transport: transport}
	t.Cleanup(func() {
		th.Faults.Close()
		transport.CloseIdleConnections()
		if err := th.listener.Close(); err != nil {
			t.Error(err)
		}
	})
	return th
}

func (th *theatre) serve(w http.ResponseWriter, r *http.Request) {
	_, _ = io.ReadAll(r.Body)
	call := Call{Operation: "thing.make", By: Actor{Login: "jo", Agent: r.UserAgent()}, Attrs: map[string]string{"app": r.Header.Get("App")}}
	th.Play(w, r, call, func() Answer {
		th.mu.Lock()
		defer th.mu.Unlock()
		th.commits++
		return JSON(http.StatusCreated, map[string]string{"made": "yes, all of it"})
	})
}

func (th *theatre) committed() int {
	th.mu.Lock()
	defer th.mu.Unlock()
	return th.commits
}

func (th *theatre) post(ctx context.Context, app string) (*http.Response, string, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, th.listener.URL()+"/things", strings.NewReader("{}"))
	if err != nil {
		return nil, "", err
	}
	r.Header.Set("App", app)
	r.Header.Set("User-Agent", "tester/1")
	answer, err := th.client.Do(r)
	if err != nil {
		return nil, "", err
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(answer.Body)
	return answer, string(body), err
}

func (th *theatre) add(t *testing.T, fault Fault) {
	t.Helper()
	if _, err := th.Faults.Add(fault); err != nil {
		t.Fatal(err)
	}
}

func (th *theatre) await(t *testing.T, kind string) Event {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	event, err := th.Events.Wait(ctx, 0, func(e Event) bool { return e.Type == kind })
	if err != nil {
		t.Fatalf("no event %q: %v", kind, err)
	}
	return event
}

// expect posts once and checks the answer; status 0 means that none arrives.
func (th *theatre) expect(t *testing.T, status int, text string, header map[string]string) {
	t.Helper()
	answer, body, err := th.post(t.Context(), "billing")
	if status == 0 {
		if err == nil {
			t.Fatalf("an answer arrived: %d %s", answer.StatusCode, body)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if answer.StatusCode != status || !strings.Contains(body, text) {
		t.Errorf("got %d %q, want %d with %q", answer.StatusCode, body, status, text)
	}
	for name, want := range header {
		if got := answer.Header.Get(name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}

func TestAFaultStrikesOnItsSideOfTheCommit(t *testing.T) {
	cases := map[string]struct {
		fault      Fault
		wantStatus int // 0: no answer arrives
		wantBody   string
		wantHeader map[string]string
		commits    int
		outcome    string
	}{
		"a refusal before the commit commits nothing": {
			fault:      Fault{Action: Refuse, Status: 503, Message: "down"},
			wantStatus: 503, wantBody: `"down"`, outcome: "503",
		},
		"a refusal after the commit is a lie": {
			fault:      Fault{Action: Refuse, Status: 500, Point: AfterCommit},
			wantStatus: 500, wantBody: "Internal Server Error", commits: 1, outcome: "500",
		},
		"a proxy answers with a page": {
			fault:      Fault{Action: HTML},
			wantStatus: 502, wantBody: "<h1>502 Bad Gateway</h1>", outcome: "502",
			wantHeader: map[string]string{"Content-Type": "text/html", "Retry-After": ""},
		},
		"throttling says when to come back in seconds, rounded up": {
			fault:      Fault{Action: ThrottleCall, RetryAfter: Duration(1500 * time.Millisecond)},
			wantStatus: 429, wantHeader: map[string]string{"Retry-After": "2"}, outcome: "429",
		},
		"throttling says when to come back as a date": {
			fault:      Fault{Action: ThrottleCall, RetryAfter: Duration(90 * time.Second), RetryAfterForm: RetryAfterDate},
			wantStatus: 429, wantHeader: map[string]string{"Retry-After": "Sun, 01 Mar 2026 12:01:30 GMT"}, outcome: "429",
		},
		"throttling says nothing": {
			fault:      Fault{Action: ThrottleCall, RetryAfterForm: RetryAfterNone},
			wantStatus: 429, wantHeader: map[string]string{"Retry-After": ""}, outcome: "429",
		},
		"a refusal may say when to come back": {
			fault:      Fault{Action: Refuse, Status: 503, RetryAfter: Duration(time.Minute)},
			wantStatus: 503, wantHeader: map[string]string{"Retry-After": "60"}, outcome: "503",
		},
		"an answer that nobody can read": {
			fault:      Fault{Action: Garble, Message: "[{]"},
			wantStatus: 200, wantBody: "[{]", outcome: "200",
		},
		"a page of success": {
			fault:      Fault{Action: HTML, Status: 200},
			wantStatus: 200, wantBody: "<html>", outcome: "200",
		},
		"a status that is no answer": {
			fault:      Fault{Action: Garble, Status: 101, Message: "no"},
			wantStatus: 101, outcome: "101",
		},
		"the connection is cut before the commit": {fault: Fault{Action: Cut}, outcome: "cut"},
		"the connection is cut after the commit":  {fault: Fault{Action: Cut, Point: AfterCommit}, commits: 1, outcome: "cut"},
		"half an answer arrives": {
			fault:      Fault{Action: Truncate, Point: AfterCommit},
			wantStatus: 0, commits: 1, outcome: "truncated",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			th := newTheatre(t)
			tc.fault.Operation = "thing.*"
			th.add(t, tc.fault)
			th.expect(t, tc.wantStatus, tc.wantBody, tc.wantHeader)
			if got := th.committed(); got != tc.commits {
				t.Errorf("%d commits, want %d", got, tc.commits)
			}
			// The fault was for one call.
			if answer, _, err := th.post(t.Context(), "billing"); err != nil || answer.StatusCode != http.StatusCreated {
				t.Errorf("the next call: %v, %v", answer, err)
			}
			want := []CallCount{{
				Operation: "thing.make", Actor: Actor{Login: "jo", Agent: "tester/1"}, Calls: 2,
				Outcomes: map[string]int{tc.outcome: 1, "201": 1},
			}}
			if diff := cmp.Diff(want, th.Calls.List()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestHalfAnAnswerIsSeenToBeHalf(t *testing.T) {
	th := newTheatre(t)
	th.add(t, Fault{Operation: "*", Action: Truncate, Point: AfterCommit})
	_, body, err := th.post(t.Context(), "")
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("error %v, want an unexpected end", err)
	}
	if !strings.HasPrefix(body, `{"made"`) || json.Valid([]byte(body)) {
		t.Errorf("body %q, want the first half of the answer", body)
	}
}

func TestFaultsChooseTheirCalls(t *testing.T) {
	th := newTheatre(t)
	th.add(t, Fault{Operation: "thing.make", Action: Refuse, Status: 500, Match: map[string]string{"app": "bill*", "agent": "tester/1"}, Skip: 1, Count: 2})
	th.add(t, Fault{Operation: "other", Action: Refuse, Status: 501, Count: -1})
	th.add(t, Fault{Operation: "*", Action: Refuse, Status: 503, Match: map[string]string{"login": "nobody"}, Count: -1})
	var got []int
	for _, app := range []string{"billing", "shop", "billing", "bills", "billing"} {
		answer, _, err := th.post(t.Context(), app)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, answer.StatusCode)
	}
	if diff := cmp.Diff([]int{201, 201, 500, 500, 201}, got); diff != "" {
		t.Error(diff)
	}
	if n := len(th.Faults.List()); n != 2 {
		t.Errorf("%d faults left, want the two that never struck", n)
	}
	if n := th.Faults.Remove(""); n != 2 {
		t.Errorf("%d faults removed, want 2", n)
	}
}

func TestAFaultThatCouldNeverStrikeIsRefused(t *testing.T) {
	for name, fault := range map[string]Fault{
		"no operation":                       {Action: Cut},
		"an operation that does not exist":   {Operation: "thing.mak", Action: Cut},
		"no action":                          {Operation: "*"},
		"an unknown action":                  {Operation: "*", Action: "explode"},
		"an unknown point":                   {Operation: "*", Action: Cut, Point: "between"},
		"a refusal with a status of success": {Operation: "*", Action: Refuse, Status: 200},
		"a refusal without a status":         {Operation: "*", Action: Refuse},
		"a delay of no time":                 {Operation: "*", Action: Delay},
		"half an answer before there is one": {Operation: "*", Action: Truncate},
		"a count below -1":                   {Operation: "*", Action: Cut, Count: -2},
		"a negative skip":                    {Operation: "*", Action: Cut, Skip: -1},
		"an unknown form of Retry-After":     {Operation: "*", Action: ThrottleCall, RetryAfterForm: "soon"},
		"an unknown fate":                    {Operation: "*", Action: Hold, IfClientGone: "weep"},
	} {
		if id, err := NewFaults("thing.make").Add(fault); err == nil {
			t.Errorf("%s was accepted as %s", name, id)
		}
	}
}

func TestADelayWaitsOnTheSimulatorsClock(t *testing.T) {
	th := newTheatre(t)
	th.add(t, Fault{Operation: "*", Action: Delay, Delay: Duration(10 * time.Minute)})
	done := make(chan int, 1)
	go func() {
		answer, _, err := th.post(t.Context(), "")
		if err != nil {
			done <- 0
			return
		}
		done <- answer.StatusCode
	}()
	<-th.clock.Sleepers(1)
	th.clock.Advance(9 * time.Minute)
	if n := th.committed(); n != 0 {
		t.Errorf("committed a minute too early")
	}
	th.clock.Advance(time.Minute)
	if status := <-done; status != http.StatusCreated {
		t.Errorf("status %d after the delay", status)
	}
}

func TestADelayedCallCommitsAfterItsClientHasGone(t *testing.T) {
	th := newTheatre(t)
	th.add(t, Fault{Operation: "*", Action: Delay, Delay: Duration(time.Minute)})
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error, 1)
	go func() { _, _, err := th.post(ctx, ""); failed <- err }()
	<-th.clock.Sleepers(1)
	cancel()
	if err := <-failed; err == nil {
		t.Fatal("the client got an answer")
	}
	th.add(t, Fault{Operation: "*", Action: Hold, Point: AfterCommit})
	th.clock.Advance(time.Minute)
	// The hold after the commit is reached only past it.
	th.await(t, EventHeld)
	if n := th.committed(); n != 1 {
		t.Errorf("%d commits, want the late one", n)
	}
}

func TestAHeldCallStandsStillUntilReleased(t *testing.T) {
	for name, tc := range map[string]struct {
		point         Point
		cut           bool
		commitsBefore int
		commitsAfter  int
	}{
		"before the commit, then goes on":                       {BeforeCommit, false, 0, 1},
		"before the commit, then is cut":                        {BeforeCommit, true, 0, 0},
		"after the commit with the answer withheld, then given": {AfterCommit, false, 1, 1},
		"after the commit with the answer withheld, then cut":   {AfterCommit, true, 1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			th := newTheatre(t)
			th.add(t, Fault{Operation: "thing.make", Action: Hold, Point: tc.point})
			done := make(chan error, 1)
			go func() { _, _, err := th.post(t.Context(), "billing"); done <- err }()
			event := th.await(t, EventHeld)
			want := map[string]string{"app": "billing", "login": "jo", "agent": "tester/1", "fault": "f1", "hold": "h2", "point": string(tc.point)}
			if diff := cmp.Diff(want, event.Attrs); diff != "" {
				t.Error(diff)
			}
			if n := th.committed(); n != tc.commitsBefore {
				t.Errorf("%d commits while held, want %d", n, tc.commitsBefore)
			}
			if held := th.Faults.Held(); len(held) != 1 || held[0].ID != "h2" {
				t.Errorf("held: %v", held)
			}
			if n := th.Faults.Release("nobody", false); n != 0 {
				t.Errorf("released %d by a wrong id", n)
			}
			if n := th.Faults.Release("h2", tc.cut); n != 1 {
				t.Errorf("released %d, want 1", n)
			}
			if err := <-done; (err != nil) != tc.cut {
				t.Errorf("client's error: %v, cut: %v", err, tc.cut)
			}
			if n := th.committed(); n != tc.commitsAfter {
				t.Errorf("%d commits in the end, want %d", n, tc.commitsAfter)
			}
		})
	}
}

func TestAClientKilledWhileItsCallIsHeld(t *testing.T) {
	t.Run("has done nothing, by default", func(t *testing.T) {
		th := newTheatre(t)
		th.add(t, Fault{Operation: "*", Action: Hold})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { _, _, err := th.post(ctx, ""); done <- err }()
		th.await(t, EventHeld)
		cancel()
		<-done
		th.await(t, EventDropped)
		if n := th.Faults.Release("", false); n != 0 {
			t.Errorf("the dropped call was still held")
		}
		if n := th.committed(); n != 0 {
			t.Errorf("%d commits", n)
		}
	})
	t.Run("commits late where the fault says so", func(t *testing.T) {
		th := newTheatre(t)
		th.add(t, Fault{Operation: "*", Action: Hold, IfClientGone: CommitCall})
		th.add(t, Fault{Operation: "*", Action: Hold, Point: AfterCommit})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { _, _, err := th.post(ctx, ""); done <- err }()
		first := th.await(t, EventHeld)
		cancel()
		<-done
		if n := th.Faults.Release(first.Attrs["hold"], false); n != 1 {
			t.Errorf("released %d", n)
		}
		patience, stop := context.WithTimeout(t.Context(), 20*time.Second)
		defer stop()
		if _, err := th.Events.Wait(patience, first.Seq, func(e Event) bool {
			return e.Type == EventHeld && e.Attrs["point"] == string(AfterCommit)
		}); err != nil {
			t.Fatal(err)
		}
		if n := th.committed(); n != 1 {
			t.Errorf("%d commits, want the late one", n)
		}
	})
}

func TestClosingHoldsNobodyBack(t *testing.T) {
	th := newTheatre(t)
	th.add(t, Fault{Operation: "*", Action: Hold, Count: -1})
	done := make(chan error, 1)
	go func() { _, _, err := th.post(t.Context(), ""); done <- err }()
	th.await(t, EventHeld)
	th.Faults.Close()
	if err := <-done; err == nil {
		t.Error("the held call was answered")
	}
	if _, _, err := th.post(t.Context(), ""); err == nil {
		t.Error("a call after the close was answered")
	}
}

func TestOnlyTheAuthoritysOwnClientsConnect(t *testing.T) {
	th := newTheatre(t)
	stranger, err := NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: stranger.Pool()}}}
	if answer, err := client.Get(th.listener.URL()); err == nil {
		_ = answer.Body.Close()
		t.Error("a client that trusts another CA was served")
	}
	if !strings.Contains(th.listener.URL(), "https://127.0.0.1:") {
		t.Errorf("URL %s", th.listener.URL())
	}
}

func TestTheLedgerForgetsNothing(t *testing.T) {
	clock := NewManual(epoch)
	events := NewEvents(clock)
	l := NewLedger(clock, events)
	jo := Actor{Login: "jo", Agent: "x"}
	attrs := map[string]string{"name": "one"}
	l.Issue(Entry{Kind: "key", ID: "1", Attrs: attrs, By: jo, How: "create"})
	attrs["name"] = "edited by the caller afterwards"
	l.Issue(Entry{Kind: "key", ID: "2", By: jo, How: "create"})
	clock.Advance(time.Minute)
	l.Change(Entry{Kind: "key", ID: "1", Attrs: map[string]string{"name": "uno"}, By: jo, How: "rename"})
	l.Duplicate(Entry{Kind: "key", ID: "2", By: jo, How: "create"})
	l.Revoke(Entry{Kind: "key", ID: "2", By: Actor{Login: "ann"}, How: "delete"})
	l.Revoke(Entry{Kind: "key", ID: "2", By: jo, How: "delete again"})

	at := epoch.Add(time.Minute)
	one := Record{Kind: "key", ID: "1", Attrs: map[string]string{"name": "uno"}, IssuedAt: epoch, IssuedBy: jo, How: "create", Changes: 1}
	two := Record{Kind: "key", ID: "2", IssuedAt: epoch, IssuedBy: jo, How: "create", RevokedAt: &at, RevokedBy: &Actor{Login: "ann"}, RevokedHow: "delete"}
	for name, c := range map[string]struct{ got, want []Record }{
		"issued": {l.Issued(), []Record{one, two}}, "live": {l.Live(), []Record{one}}, "revoked": {l.Revoked(), []Record{two}},
	} {
		if diff := cmp.Diff(c.want, c.got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	var actions []string
	for _, e := range l.Entries(0) {
		actions = append(actions, e.Action)
	}
	if diff := cmp.Diff([]string{"issued", "issued", "changed", "duplicate", "revoked", "revoked"}, actions); diff != "" {
		t.Error(diff)
	}
	if first := l.Entries(0)[0]; first.Attrs["name"] != "one" {
		t.Errorf("the first line was edited: %v", first.Attrs)
	}
	if n := len(l.Entries(5)); n != 1 {
		t.Errorf("%d entries after the fifth, want 1", n)
	}
	if events.Last() != 6 {
		t.Errorf("%d events, want one per entry", events.Last())
	}
}

func TestEventsAreKeptInOrderAndWithinBounds(t *testing.T) {
	e := NewEvents(NewManual(epoch))
	for range 2*eventsKept + 10 {
		e.Append("tick", "", nil)
	}
	got := e.Since(0)
	if len(got) > 2*eventsKept || len(got) < eventsKept {
		t.Errorf("%d events are kept", len(got))
	}
	for i, event := range got {
		if event.Seq != got[0].Seq+int64(i) {
			t.Fatalf("event %d follows %d", event.Seq, got[i-1].Seq)
		}
	}
	if newest := e.Since(e.Last() - 1); len(newest) != 1 || newest[0].Seq != e.Last() {
		t.Errorf("the newest: %v", newest)
	}
	if n := len(e.Since(e.Last() + 5)); n != 0 {
		t.Errorf("%d events from the future", n)
	}
}

func TestTheThrottleFillsUpWithTime(t *testing.T) {
	clock := NewManual(epoch)
	throttle := NewThrottle(clock)
	limit := Limit{PerSecond: 0.5, Burst: 2}
	take := func(key string) time.Duration {
		wait, ok := throttle.Take(key, limit)
		if ok != (wait == 0) {
			t.Errorf("ok=%v with a wait of %s", ok, wait)
		}
		return wait
	}
	got := []time.Duration{take("a"), take("a"), take("a"), take("b")}
	clock.Advance(time.Second)
	got = append(got, take("a"))
	clock.Advance(time.Second)
	got = append(got, take("a"), take("a"))
	s := time.Second
	if diff := cmp.Diff([]time.Duration{0, 0, 2 * s, 0, s, 0, 2 * s}, got); diff != "" {
		t.Error(diff)
	}
	if _, ok := throttle.Take("a", Limit{}); !ok {
		t.Error("no limit limits")
	}
}

func TestTheControlAPI(t *testing.T) {
	th := newTheatre(t)
	mux := http.NewServeMux()
	th.Control(mux)
	listener, err := ListenLoopback("127.0.0.1:0", mux)
	if err != nil {
		t.Fatal(err)
	}
	remote := Remote{Base: listener.URL()}
	t.Cleanup(func() {
		if err := listener.Close(); err != nil {
			t.Error(err)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()

	id, err := remote.AddFault(ctx, Fault{Operation: "thing.make", Point: AfterCommit, Action: Hold, Count: -1})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { _, _, err := th.post(ctx, "billing"); done <- err }()
	event, err := remote.Wait(ctx, 0, func(e Event) bool { return e.Type == EventHeld })
	if err != nil {
		t.Fatal(err)
	}
	if event.Operation != "thing.make" || event.Attrs["fault"] != id || event.Attrs["app"] != "billing" {
		t.Errorf("event %+v", event)
	}
	if err := remote.Release(ctx, ReleaseOrder{ID: event.Attrs["hold"]}); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	var removed struct{ Removed int }
	if err := remote.Call(ctx, http.MethodDelete, "/faults?id="+id, nil, &removed); err != nil || removed.Removed != 1 {
		t.Errorf("removed %d, %v", removed.Removed, err)
	}

	th.Ledger.Issue(Entry{Kind: "key", ID: "1"})
	th.Ledger.Issue(Entry{Kind: "key", ID: "2"})
	th.Ledger.Revoke(Entry{Kind: "key", ID: "2"})
	page, err := remote.Ledger(ctx)
	if err != nil || page.Issued != 2 || page.Live != 1 || page.Revoked != 1 || len(page.Records) != 2 {
		t.Errorf("ledger %+v, %v", page, err)
	}
	if err := remote.Call(ctx, http.MethodGet, "/ledger?state=live", nil, &page); err != nil || len(page.Records) != 1 || page.Records[0].ID != "1" {
		t.Errorf("live %+v, %v", page, err)
	}

	for name, call := range map[string]struct {
		method, path string
		body         any
	}{
		"a fault with a misspelt field":    {http.MethodPost, "/faults", map[string]string{"operation": "*", "action": "cut", "pint": "after-commit"}},
		"a fault that cannot strike":       {http.MethodPost, "/faults", Fault{Operation: "*"}},
		"a release that does neither":      {http.MethodPost, "/release", ReleaseOrder{Then: "explode"}},
		"events since yesterday":           {http.MethodGet, "/events?since=yesterday", nil},
		"a wait that is no time":           {http.MethodGet, "/events?wait=long", nil},
		"a ledger of the undead":           {http.MethodGet, "/ledger?state=undead", nil},
		"a fault with a negative duration": {http.MethodPost, "/faults", map[string]string{"operation": "*", "action": "delay", "delay": "-1s"}},
	} {
		if err := remote.Call(ctx, call.method, call.path, call.body, nil); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	var none EventPage
	if err := remote.Call(ctx, http.MethodGet, "/events?wait=0s&type=nothing", nil, &none); err != nil || len(none.Events) != 0 || none.Next == 0 {
		t.Errorf("%+v, %v", none, err)
	}
}

func TestTheControlAPIStaysAtHome(t *testing.T) {
	for _, address := range []string{"0.0.0.0:0", ":0", "192.0.2.1:0", "[::]:0", "nonsense"} {
		if listener, err := ListenLoopback(address, http.NotFoundHandler()); err == nil {
			_ = listener.Close()
			t.Errorf("listens on %s", address)
		}
	}
}
