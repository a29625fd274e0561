package webmethodsportal_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger-dev/claviger/internal/simkit"
	"github.com/claviger-dev/claviger/internal/upstream"
	"github.com/claviger-dev/claviger/internal/webmethodsportal"
	"github.com/claviger-dev/claviger/internal/webmethodsportalsim"
)

const mark = upstream.Mark("0123456789abcdef0123456789abcdef")

// bench is one account on one portal, and one request.
type bench struct {
	t       *testing.T
	sim     *webmethodsportalsim.Sim
	change  func(map[string]any)
	account upstream.Upstream
	request upstream.Request
}

func newBench(t *testing.T, parameters string, behaviour func(*webmethodsportalsim.Behaviour), change func(map[string]any)) *bench {
	t.Helper()
	b := &bench{t: t, sim: start(t, behaviour), change: change}
	b.restart()
	container, err := b.account.Locate(t.Context(), json.RawMessage(parameters))
	if err != nil {
		t.Fatal(err)
	}
	b.request = upstream.Request{
		Parameters: json.RawMessage(parameters), Container: container, Name: "cl-a-b", Mark: mark, Title: "Claviger payments/billing", Number: 1,
	}
	return b
}

// restart forgets everything that the process knows.
func (b *bench) restart() {
	b.t.Helper()
	account, err := webmethodsportal.NewDriver().Open(settings(b.sim, b.change))
	if err != nil {
		b.t.Fatal(err)
	}
	b.account = account
}

// issue calls once, and keeps what the journal would keep.
func (b *bench) issue() (upstream.Issued, error) {
	issued, err := b.account.Issue(b.t.Context(), b.request)
	if issued.ID != "" {
		b.request.ID = issued.ID
	}
	return issued, err
}

// until calls until the class is another one.
func (b *bench) until(class upstream.ErrorClass, do func() error) error {
	b.t.Helper()
	for range 20 {
		if err := do(); err == nil || upstream.ClassOf(err) != class {
			return err
		}
	}
	b.t.Fatalf("still %s after 20 calls", class)
	return nil
}

func (b *bench) issueTill() error {
	b.t.Helper()
	return b.until(upstream.Pending, func() error { _, err := b.issue(); return err })
}

func (b *bench) revoke() error {
	b.t.Helper()
	h := upstream.Handle{Parameters: b.request.Parameters, Container: b.request.Container, Name: b.request.Name, Mark: b.request.Mark, ID: b.request.ID}
	return b.until(upstream.Pending, func() error { return b.account.Revoke(b.t.Context(), h) })
}

func (b *bench) class(err error, want upstream.ErrorClass, words string) {
	b.t.Helper()
	if err == nil || upstream.ClassOf(err) != want || !strings.Contains(err.Error(), words) {
		b.t.Fatalf("got %v, want %s with %q", err, want, words)
	}
}

func (b *bench) counts(issued, live int) {
	b.t.Helper()
	if got, want := b.sim.Stats().Applications, (webmethodsportalsim.Count{Issued: issued, Live: live, Revoked: issued - live}); got != want {
		b.t.Fatalf("the portal counts %+v, want %+v", got, want)
	}
}

func (b *bench) asked(kind string, want int) {
	b.t.Helper()
	if got := b.sim.Asked(kind); got != want {
		b.t.Fatalf("%d requests of type %s were made, want %d", got, kind, want)
	}
}

const (
	creation = "APPLICATION_CREATION_REQUEST"
	deletion = "APPLICATION_DELETION_REQUEST"
)

func asksPeople(b *webmethodsportalsim.Behaviour) {
	b.CreationNeedsApproval, b.DeletionNeedsApproval = true, true
}

func byRequest(p map[string]any) { p["deletion"] = "Request" }

// people answers what waits for somebody.
func (b *bench) people(approve bool, words string) {
	b.t.Helper()
	for _, w := range b.sim.Waiting() {
		if err := b.sim.Decide(w.ID, approve, words); err != nil {
			b.t.Fatal(err)
		}
	}
}

func TestAnApprovalIsAwaitedOverRestartsAndAskedForOnce(t *testing.T) {
	for name, behaviour := range map[string]func(*webmethodsportalsim.Behaviour){
		"an application that waits":        asksPeople,
		"an application that comes later":  func(b *webmethodsportalsim.Behaviour) { asksPeople(b); b.ApplicationLater = true },
		"a request that shows no context":  func(b *webmethodsportalsim.Behaviour) { asksPeople(b); b.ContextHidden = true },
		"a description that does not come": func(b *webmethodsportalsim.Behaviour) { asksPeople(b); b.DescriptionLost = true },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, keyProbed, behaviour, byRequest)
			_, err := b.issue()
			b.class(err, upstream.Pending, "requested")
			for range 3 {
				b.restart()
				_, err := b.issue()
				b.class(err, upstream.AwaitingUpstreamApproval, "an approval in the portal is awaited")
			}
			b.people(true, "")
			if err := b.issueTill(); err != nil {
				t.Fatal(err)
			}
			b.asked(creation, 1)
			b.counts(1, 1)

			b.class(b.revoke(), upstream.AwaitingUpstreamApproval, "an approval in the portal is awaited")
			b.restart()
			b.class(b.revoke(), upstream.AwaitingUpstreamApproval, "an approval in the portal is awaited")
			b.people(true, "")
			b.class(b.revoke(), upstream.NotFound, "no application")
			b.asked(deletion, 1)
			b.counts(1, 0)
		})
	}
}

func TestARejectionIsTheReviewersWord(t *testing.T) {
	for in, want := range map[string]string{
		webmethodsportalsim.WordsInRequest: "rejected request %: use the sandbox",
		webmethodsportalsim.WordsInTrace:   "rejected request %: use the sandbox",
		webmethodsportalsim.WordsNowhere:   "rejected request %",
	} {
		t.Run(in, func(t *testing.T) {
			b := newBench(t, keyProbed, func(w *webmethodsportalsim.Behaviour) { asksPeople(w); w.WordsIn = in }, nil)
			_, err := b.issue()
			b.class(err, upstream.Pending, "requested")
			id := strings.TrimPrefix(b.request.ID, "request:")
			b.people(false, "use the sandbox")
			for range 2 {
				b.restart()
				_, err := b.issue()
				b.class(err, upstream.Declined, strings.ReplaceAll(want, "%", id))
			}
			b.asked(creation, 1)
			b.class(b.revoke(), upstream.NotFound, "rejected")
			b.counts(1, 0)
		})
	}
}

func TestARejectedDeletionIsNotAskedForAgain(t *testing.T) {
	b := newBench(t, keyProbed, func(w *webmethodsportalsim.Behaviour) { w.DeletionNeedsApproval = true }, byRequest)
	if err := b.issueTill(); err != nil {
		t.Fatal(err)
	}
	b.class(b.revoke(), upstream.AwaitingUpstreamApproval, "awaited")
	b.people(false, "still in use")
	for range 2 {
		b.class(b.revoke(), upstream.Declined, "still in use")
	}
	b.asked(deletion, 1)
	b.counts(1, 1)
}

func TestADeletionThatNeedsApprovalSaysWhatToSet(t *testing.T) {
	b := newBench(t, keyProbed, func(w *webmethodsportalsim.Behaviour) { w.DeletionNeedsApproval = true }, nil)
	if err := b.issueTill(); err != nil {
		t.Fatal(err)
	}
	b.class(b.revoke(), upstream.InvalidSpec, "set deletion: Request on the issuer")
	b.counts(1, 1)
}

func TestARequestThatFailedIsTriedAgainAndNotMadeAgain(t *testing.T) {
	b := newBench(t, keyProbed, func(w *webmethodsportalsim.Behaviour) { w.FailNext = 2 }, nil)
	if err := b.issueTill(); err != nil {
		t.Fatal(err)
	}
	b.asked(creation, 1)
	b.counts(1, 1)
	if retries := b.sim.Stats().Operations["request.retry"]; retries != 2 {
		t.Errorf("%d retries, want 2", retries)
	}
}

// The answer to the request is lost while people are asked, and nothing but the name and
// the description can tell whose it is.
func TestALostRequestIsFoundWhilePeopleAreAsked(t *testing.T) {
	for name, tc := range map[string]struct {
		behaviour func(*webmethodsportalsim.Behaviour)
		class     upstream.ErrorClass
		words     string
	}{
		"by its application": {func(b *webmethodsportalsim.Behaviour) { b.ContextHidden = true }, upstream.AwaitingUpstreamApproval, "awaited"},
		"by its context":     {func(b *webmethodsportalsim.Behaviour) { b.ApplicationLater = true }, upstream.AwaitingUpstreamApproval, "awaited"},
		"by nothing, and it is not made again": {
			func(b *webmethodsportalsim.Behaviour) { b.ApplicationLater, b.ContextHidden = true, true },
			upstream.Pending, "does not say what they are for",
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, keyProbed, func(w *webmethodsportalsim.Behaviour) { asksPeople(w); tc.behaviour(w) }, nil)
			if _, err := b.sim.Faults().Add(simkit.Fault{Operation: "request.create", Action: simkit.Cut, Point: simkit.AfterCommit, Count: 1}); err != nil {
				t.Fatal(err)
			}
			_, err := b.issue()
			b.class(err, upstream.OutcomeUnknown, "no whole answer came")
			b.restart()
			b.request.Repeat = true
			_, err = b.issue()
			b.class(err, tc.class, tc.words)
			b.people(true, "")
			if err := b.issueTill(); err != nil {
				t.Fatal(err)
			}
			b.asked(creation, 1)
			b.counts(1, 1)
		})
	}
}

// A queue in front of the portal has delivered a call twice.
func TestWhatWasRequestedTwiceIsOneInTheEnd(t *testing.T) {
	b := newBench(t, keyProbed, nil, nil)
	other, err := webmethodsportal.NewDriver().Open(settings(b.sim, nil))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.sim.Faults().Add(simkit.Fault{Operation: "request.create", Action: simkit.Hold, Count: 1, IfClientGone: simkit.CommitCall}); err != nil {
		t.Fatal(err)
	}
	gone, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { _, err := other.Issue(gone, b.request); done <- err }()
	if _, err := b.sim.Events().Wait(t.Context(), 0, func(e simkit.Event) bool { return e.Type == simkit.EventHeld }); err != nil {
		t.Fatal(err)
	}
	cancel()
	b.class(<-done, upstream.OutcomeUnknown, "")
	// It is issued by another process, whose answer is lost as well; then the queue delivers.
	request := b.request
	if err := b.issueTill(); err != nil {
		t.Fatal(err)
	}
	since := b.sim.Events().Last()
	b.sim.Faults().Release("", false)
	if _, err := b.sim.Events().Wait(t.Context(), since, func(e simkit.Event) bool { return e.Type == simkit.EventIssued }); err != nil {
		t.Fatal(err)
	}
	b.counts(2, 2)
	b.restart()
	b.request = request
	err = b.issueTill()
	if err != nil {
		t.Fatal(err)
	}
	b.counts(2, 1)
	h := upstream.Handle{Parameters: b.request.Parameters, Container: b.request.Container, Name: b.request.Name, Mark: b.request.Mark}
	if err := b.account.Revoke(t.Context(), h); err != nil {
		t.Fatal(err)
	}
	b.counts(2, 0)
}

func TestAnOpenRequestIsWithdrawnBeforeItsApplicationComes(t *testing.T) {
	for name, later := range map[string]bool{"with an application that waits": false, "without an application": true} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, keyProbed, func(w *webmethodsportalsim.Behaviour) { asksPeople(w); w.ApplicationLater = later }, nil)
			_, err := b.issue()
			b.class(err, upstream.Pending, "requested")
			if err := b.revoke(); err != nil {
				t.Error(err)
			}
			// Nothing shows any more that this user made it, unless another request does.
			b.class(b.revoke(), upstream.Forbidden, "could not be proven")
			if _, err := b.account.Issue(t.Context(), upstream.Request{
				Parameters: b.request.Parameters, Container: b.request.Container, Name: "cl-c-d", Mark: "fedcba9876543210fedcba9876543210",
			}); upstream.ClassOf(err) != upstream.Pending {
				t.Error(err)
			}
			b.class(b.revoke(), upstream.NotFound, "")
			for _, w := range b.sim.Waiting() {
				if !strings.HasSuffix(w.Name, "fedcba9876543210fedcba9876543210") {
					t.Errorf("people are still asked for %+v", w)
				}
			}
		})
	}
}

func TestTheGatewayIsNeverLeftBehind(t *testing.T) {
	b := newBench(t, keyProbed, nil, nil)
	if err := b.issueTill(); err != nil {
		t.Fatal(err)
	}
	if err := b.revoke(); err != nil {
		t.Fatal(err)
	}
	if n := b.sim.Stats().Orphans; n != 0 {
		t.Errorf("%d applications are left in the gateway alone", n)
	}
}

func TestTheTokenServiceThatThePortalNamesIsGuarded(t *testing.T) {
	b := newBench(t, client, nil, nil)
	s := settings(b.sim, nil)
	s.Transport.AllowLoopback = false
	account, err := webmethodsportal.NewDriver().Open(s)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.issueTill(); err != nil {
		t.Fatal(err)
	}
	issued, err := b.account.Issue(t.Context(), upstream.Request{Parameters: b.request.Parameters, Container: b.request.Container, Name: b.request.Name, Mark: b.request.Mark})
	if err != nil {
		t.Fatal(err)
	}
	h := upstream.Handle{Parameters: b.request.Parameters, Container: b.request.Container, Name: b.request.Name, Mark: mark, ID: issued.ID, Material: issued.Material}
	_, err = account.(upstream.Verifier).Verify(t.Context(), h)
	b.class(err, upstream.InvalidSpec, "it is a loopback address")
	h.Material.Attributes = map[string]string{"tokenURL": "http://gateway.example/token"}
	_, err = account.(upstream.Verifier).Verify(t.Context(), h)
	b.class(err, upstream.InvalidSpec, "only https is called")
}

func TestOpenSaysWhatIsWrong(t *testing.T) {
	sim := start(t, nil)
	for name, tc := range map[string]struct {
		change func(*upstream.Settings, map[string]any)
		want   string
	}{
		"no address":          {func(_ *upstream.Settings, p map[string]any) { p["url"] = "portal" }, "url must be an https URL"},
		"an odd deletion":     {func(_ *upstream.Settings, p map[string]any) { p["deletion"] = "Force" }, "deletion must be Delete or Request"},
		"an odd gateway":      {func(_ *upstream.Settings, p map[string]any) { p["gateway"] = map[string]string{"url": "x"} }, "gateway.url must be"},
		"no password":         {func(s *upstream.Settings, _ map[string]any) { delete(s.Login, "password") }, "the login Secret lacks password"},
		"an unreadable issue": {func(s *upstream.Settings, _ map[string]any) { s.Parameters = json.RawMessage("{") }, "cannot be read as JSON"},
	} {
		t.Run(name, func(t *testing.T) {
			s := settings(sim, func(p map[string]any) { tc.change(&upstream.Settings{}, p) })
			tc.change(&s, map[string]any{})
			_, err := webmethodsportal.NewDriver().Open(s)
			if upstream.ClassOf(err) != upstream.InvalidSpec || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want InvalidSpec with %q", err, tc.want)
			}
		})
	}
}

func TestTheMaterialOfAnAPIKey(t *testing.T) {
	b := newBench(t, keyProbed, odd, nil)
	var issued upstream.Issued
	err := b.until(upstream.Pending, func() (err error) { issued, err = b.issue(); return err })
	if err != nil {
		t.Fatal(err)
	}
	if issued.Material.APIKey.Empty() || issued.ExpiresAt.IsZero() {
		t.Errorf("it has a key: %t, and ends at %s", !issued.Material.APIKey.Empty(), issued.ExpiresAt)
	}
	want := map[string]string{"url": b.sim.GatewayURL(), "expires": issued.ExpiresAt.Format("2006-01-02T15:04:05Z07:00")}
	if diff := cmp.Diff(want, issued.Material.Attributes); diff != "" {
		t.Error(diff)
	}
}
