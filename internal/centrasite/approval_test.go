package centrasite_test

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger-dev/claviger/internal/centrasite"
	"github.com/claviger-dev/claviger/internal/centrasitesim"
	"github.com/claviger-dev/claviger/internal/simkit"
	"github.com/claviger-dev/claviger/internal/upstream"
)

const (
	mark    = "0123456789abcdef0123456789abcdef"
	app     = "claviger-" + mark
	payroll = `{"api":"uddi:payroll","type":"APIKey","expiresAfter":"1mo 2d","probe":{"path":"/ws/PayrollVirtualService"}}`
)

// bench is one simulator with requests that a new process makes each time.
type bench struct {
	t     *testing.T
	sim   *centrasitesim.Sim
	clock *simkit.Manual
	r     upstream.Request
}

func newBench(t *testing.T, parameters string, change func(*centrasitesim.Behaviour)) *bench {
	t.Helper()
	clock := simkit.NewManual(time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC))
	b := &bench{t: t, sim: start(t, clock, change), clock: clock}
	b.r = upstream.Request{
		Parameters: json.RawMessage(parameters), Container: strings.TrimPrefix(b.sim.URL(), "https://") + "/svc-k8s", Name: "cl-one", Title: "Claviger payments/orders", Mark: mark,
	}
	var err error
	if b.r.Material, err = b.account().(upstream.Drafter).Draft(b.r, rand.Reader); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *bench) account() upstream.Upstream {
	b.t.Helper()
	account, err := centrasite.NewDriver(b.clock.Now).Open(settings(b.sim, nil))
	if err != nil {
		b.t.Fatal(err)
	}
	return account
}

// issue is one call of a new process, which keeps what the last one was told.
func (b *bench) issue(class upstream.ErrorClass, words ...string) upstream.Issued {
	b.t.Helper()
	issued, err := b.account().Issue(b.t.Context(), b.r)
	b.want(err, class, words...)
	if issued.ID != "" {
		b.r.ID = issued.ID
	}
	return issued
}

func (b *bench) revoke(class upstream.ErrorClass, words ...string) {
	b.t.Helper()
	b.want(b.account().Revoke(b.t.Context(), upstream.Handle{
		Parameters: b.r.Parameters, Container: b.r.Container, Name: b.r.Name, Mark: b.r.Mark, Material: b.r.Material, ID: b.r.ID,
	}), class, words...)
}

// want checks an error; an empty class is success.
func (b *bench) want(err error, class upstream.ErrorClass, words ...string) {
	b.t.Helper()
	if class == "" && err == nil {
		return
	}
	if err == nil || upstream.ClassOf(err) != class {
		b.t.Fatalf("got %v, want %s", err, class)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			b.t.Errorf("%q is not in %v", w, err)
		}
	}
}

// requests checks how often CentraSite was asked.
func (b *bench) requests(want int) {
	b.t.Helper()
	if got := b.sim.Calls().Total("token.create"); got != want {
		b.t.Errorf("%d requests, want %d", got, want)
	}
}

// worlds are the ways in which a request that waits may be seen.
var worlds = map[string]func(*centrasitesim.Behaviour){
	"as an event":                       nil,
	"in the list":                       func(b *centrasitesim.Behaviour) { b.ListPending = true },
	"as an event, the key never":        func(b *centrasitesim.Behaviour) { b.HideDetails, b.MakeKeys = true, false },
	"in the list, the key never":        func(b *centrasitesim.Behaviour) { b.ListPending, b.HideDetails, b.MakeKeys = true, true, false },
	"small, with remarks in the action": func(b *centrasitesim.Behaviour) { b.SmallElements, b.RemarksInActions = true, true },
}

func TestAnApprovalIsWaitedForAndAskedForOnce(t *testing.T) {
	for name, change := range worlds {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, payroll, change)
			for range 3 {
				b.issue(upstream.AwaitingUpstreamApproval, "approval request uddi:request-")
			}
			b.requests(1)
			if err := b.sim.Approve(app, "carol"); err != nil {
				t.Fatal(err)
			}
			issued := b.issue("")
			b.requests(1)
			if !b.sim.AcceptsKey(issued.Material.APIKey.Reveal()) {
				t.Error("the key is not accepted")
			}
			// The contract runs from the 31st of January: a month is clipped to February's end.
			if want := time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC); !issued.ExpiresAt.Equal(want) {
				t.Errorf("it ends at %s, want %s", issued.ExpiresAt, want)
			}
			b.revoke("")
			b.revoke(upstream.NotFound)
		})
	}
}

func TestALostAnswerIsNoSecondRequest(t *testing.T) {
	for name, change := range worlds {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, payroll, change)
			if _, err := b.sim.Faults().Add(simkit.Fault{Operation: "token.create", Action: simkit.Cut, Point: simkit.AfterCommit}); err != nil {
				t.Fatal(err)
			}
			b.issue(upstream.OutcomeUnknown)
			b.r.Repeat = true
			b.issue(upstream.AwaitingUpstreamApproval)
			b.requests(1)
			if b.r.ID == "" {
				t.Error("the id was not found again")
			}
		})
	}
}

func TestRejectedMeansRejectedInTheReviewersWords(t *testing.T) {
	for name, change := range worlds {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, payroll, change)
			b.issue(upstream.AwaitingUpstreamApproval)
			if err := b.sim.Reject(app, "alice", "no budget for <payroll>"); err != nil {
				t.Fatal(err)
			}
			for range 3 {
				b.issue(upstream.Declined, "was rejected in CentraSite", "no budget for <payroll>")
			}
			b.requests(1)
			b.revoke(upstream.NotFound)
		})
	}
}

func TestNothingIsRevokedThatPeopleStillDecideAbout(t *testing.T) {
	for name, change := range worlds {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, payroll, change)
			b.issue(upstream.AwaitingUpstreamApproval)
			b.revoke(upstream.AwaitingUpstreamApproval, "approve or reject approval request")
			if err := b.sim.Reject(app, "alice", ""); err != nil {
				t.Fatal(err)
			}
			b.revoke(upstream.NotFound)
		})
	}
}

func TestAllMustAgreeWhereTheAPIDemandsIt(t *testing.T) {
	b := newBench(t, payroll, nil)
	seed := centrasitesim.Sample()
	seed.APIs[1].AllApprove = true
	if err := b.sim.Seed(centrasitesim.Seed{APIs: seed.APIs}); err != nil {
		t.Fatal(err)
	}
	b.issue(upstream.AwaitingUpstreamApproval)
	for i, who := range []string{"alice", "carol"} {
		if err := b.sim.Approve(app, who); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			b.issue(upstream.AwaitingUpstreamApproval)
		}
	}
	b.issue("")
	b.requests(1)
}

func TestWhatCentraSiteStillWorksOnIsPending(t *testing.T) {
	lag := func(b *centrasitesim.Behaviour) { b.WorkLag = simkit.Duration(time.Hour) }
	b := newBench(t, keys, lag)
	b.issue(upstream.Pending, "no approval was needed")
	b.clock.Advance(time.Hour)
	b.issue("")
	b = newBench(t, payroll, lag)
	b.issue(upstream.AwaitingUpstreamApproval)
	if err := b.sim.Approve(app, "carol"); err != nil {
		t.Fatal(err)
	}
	b.issue(upstream.Pending, "has the status Approved")
	b.clock.Advance(time.Hour)
	b.issue("")
	b.requests(1)
}

func TestWhatSomebodyTookAwayIsNotWaitedFor(t *testing.T) {
	b := newBench(t, keys, func(b *centrasitesim.Behaviour) { b.WorkLag = simkit.Duration(time.Hour) })
	b.issue(upstream.Pending)
	if err := b.sim.Remove(app); err != nil {
		t.Fatal(err)
	}
	b.issue(upstream.Conflict, "neither access token")
	b.requests(1)
	// What people have agreed to is for people: they are not asked again.
	b = newBench(t, payroll, func(b *centrasitesim.Behaviour) { b.WorkLag = simkit.Duration(time.Hour) })
	b.issue(upstream.AwaitingUpstreamApproval)
	if err := b.sim.Approve(app, "alice"); err != nil {
		t.Fatal(err)
	}
	if err := b.sim.Remove(app); err != nil {
		t.Fatal(err)
	}
	b.issue(upstream.Declined, "somebody has removed it, or the list is late")
	b.requests(1)
	b.revoke(upstream.NotFound)
}

func TestAnOutageOfTheApprovalServiceDecidesNothing(t *testing.T) {
	b := newBench(t, payroll, nil)
	b.issue(upstream.AwaitingUpstreamApproval)
	for _, fault := range []simkit.Fault{
		{Action: simkit.HTML, Status: 502},
		{Action: simkit.Refuse, Status: 500},
		{Action: simkit.Cut},
		{Action: simkit.Garble, Message: "<a/>"},
		{Action: simkit.Garble, Message: ""},
		{Action: simkit.Garble, Message: "<e><approvalRequestList><count>7</count></approvalRequestList></e>"},
		{Action: simkit.Garble, Message: "<e><b><fault><faultstring>down for repair</faultstring></fault></b></e>", Status: 500},
	} {
		fault.Operation = "approval.requests"
		if _, err := b.sim.Faults().Add(fault); err != nil {
			t.Fatal(err)
		}
		b.issue(upstream.Retryable)
		b.sim.Faults().Remove("")
	}
	b.issue(upstream.AwaitingUpstreamApproval)
	b.requests(1)
}

// Mediator answers 500 to everything: the text decides.
func TestMediatorIsReadByItsText(t *testing.T) {
	b := newBench(t, keys, nil)
	issued := b.issue("")
	verify := func() (upstream.Verdict, error) {
		return b.account().(upstream.Verifier).Verify(t.Context(), upstream.Handle{Parameters: b.r.Parameters, Container: b.r.Container, Mark: mark, Material: issued.Material})
	}
	for words, refused := range map[string]bool{
		"The request is authenticated as invalid.": true, "A required header is missing in the request.": true, "The API key has expired.": true,
		"Connection to the native service refused": false, "": false,
	} {
		if _, err := b.sim.Faults().Add(simkit.Fault{Operation: "mediator.call", Action: simkit.Garble, Status: 500, Message: fmt.Sprintf("<x>%s</x>", words)}); err != nil {
			t.Fatal(err)
		}
		verdict, err := verify()
		if refused && (err != nil || verdict.Accepted || !strings.Contains(verdict.Detail, words)) {
			t.Errorf("%q: got %+v and %v, want a refusal", words, verdict, err)
		}
		if !refused && upstream.ClassOf(err) != upstream.Retryable {
			t.Errorf("%q: got %+v and %v, want no verdict", words, verdict, err)
		}
	}
	verdict, err := verify()
	if diff := cmp.Diff(upstream.Verdict{Accepted: true, Detail: "GET /ws/OrdersVirtualService/orders?limit=1 at Mediator was served"}, verdict); diff != "" || err != nil {
		t.Error(diff, err)
	}
}

// Approved is not usable: a key that Mediator does not know yet is refused, and then is not.
func TestAKeyIsGoodOnceMediatorKnowsIt(t *testing.T) {
	b := newBench(t, keys, func(b *centrasitesim.Behaviour) { b.DeployLag = simkit.Duration(time.Minute) })
	issued := b.issue("")
	h := upstream.Handle{Parameters: b.r.Parameters, Container: b.r.Container, Mark: mark, Material: issued.Material}
	for _, want := range []bool{false, true} {
		verdict, err := b.account().(upstream.Verifier).Verify(t.Context(), h)
		if err != nil || verdict.Accepted != want {
			t.Errorf("got %+v and %v, want %t", verdict, err, want)
		}
		b.clock.Advance(time.Minute)
	}
}

// The sims of keys that end say so, and that counts more than what a credential states.
func TestWhatCentraSiteSaysOfTheEndCounts(t *testing.T) {
	b := newBench(t, strings.Replace(keys, `"type"`, `"expiresAfter":"1y","type"`, 1), nil)
	seed := centrasitesim.Sample()
	seed.APIs[0].Contract = simkit.Duration(48 * time.Hour)
	if err := b.sim.Seed(centrasitesim.Seed{APIs: seed.APIs}); err != nil {
		t.Fatal(err)
	}
	issued := b.issue("")
	if want := b.clock.Now().Add(48 * time.Hour); !issued.ExpiresAt.Equal(want) || issued.Material.Attributes["expires"] != want.Format(time.RFC3339) {
		t.Errorf("it ends at %s, want %s", issued.ExpiresAt, want)
	}
	unlimited := newBench(t, strings.Replace(keys, `"type"`, `"expiresAfter":"Unlimited","type"`, 1), nil)
	if issued := unlimited.issue(""); !issued.ExpiresAt.IsZero() {
		t.Errorf("it ends at %s, want never", issued.ExpiresAt)
	}
}

func TestBadSettingsAreNamed(t *testing.T) {
	sim := start(t, nil, nil)
	for field, more := range map[string]map[string]any{
		"url":                 {"url": "https://h/path"},
		"userID":              {"userID": "a/b"},
		"approvals.url":       {"approvals": map[string]string{"url": "ftp://h", "namespace": "n"}},
		"approvals.namespace": {"approvals": map[string]string{"url": "https://h/x"}},
		"mediator.url":        {"mediator": map[string]string{"url": "https://u@h"}},
		"relative":            {"tokensPath": "relative"},
	} {
		_, err := centrasite.NewDriver(time.Now).Open(settings(sim, more))
		if upstream.ClassOf(err) != upstream.InvalidSpec || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: got %v", field, err)
		}
	}
	without := settings(sim, nil)
	without.Login = nil
	if _, err := centrasite.NewDriver(time.Now).Open(without); err == nil || !strings.Contains(err.Error(), "username, password") {
		t.Errorf("without a login: %v", err)
	}
	account, err := centrasite.NewDriver(time.Now).Open(settings(sim, nil))
	if err != nil {
		t.Fatal(err)
	}
	for word, parameters := range map[string]string{
		"api is missing": `{}`, "type must be": `{"api":"a","type":"JWT"}`, "service is missing": `{"api":"a","type":"OAuth2"}`,
		"probe is missing": `{"api":"a","type":"APIKey"}`, "expiresAfter": `{"api":"a","type":"APIKey","probe":{"path":"/"},"expiresAfter":"6m"}`,
		"slash": `{"api":"a","type":"APIKey","probe":{"path":"x"}}`, "JSON": `[]`,
	} {
		if _, err := account.Locate(t.Context(), json.RawMessage(parameters)); upstream.ClassOf(err) != upstream.InvalidSpec || !strings.Contains(err.Error(), word) {
			t.Errorf("%s: got %v", word, err)
		}
	}
}
