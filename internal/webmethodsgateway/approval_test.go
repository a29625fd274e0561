package webmethodsgateway_test

import (
	"encoding/hex"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger-dev/claviger/internal/material"
	"github.com/claviger-dev/claviger/internal/simkit"
	"github.com/claviger-dev/claviger/internal/upstream"
	"github.com/claviger-dev/claviger/internal/webmethodssim"
)

// person drives an adapter as the controllers do: with a new process at each step, which
// knows nothing but what was written down.
type person struct {
	*lab
	t *testing.T
	r upstream.Request
}

func newPerson(t *testing.T, clients bool, change func(*webmethodssim.Behaviour)) *person {
	t.Helper()
	p := &person{lab: newLab(t, clients, false, change), t: t}
	account := p.open()
	container, err := account.Locate(t.Context(), p.Parameters())
	if err != nil {
		t.Fatal(err)
	}
	p.r = upstream.Request{
		Parameters: p.Parameters(), Container: container, Name: "cl-aaaaaaaaaaaaa-bbbbbbbb", Title: "Claviger payments/shop",
		Mark: upstream.Mark(hex.EncodeToString([]byte("0123456789abcdef"))), Number: 1,
	}
	return p
}

func (p *person) open() upstream.Upstream {
	p.t.Helper()
	account, err := p.Open()
	if err != nil {
		p.t.Fatal(err)
	}
	return account
}

// issue makes one call and writes down what it told.
func (p *person) issue() (upstream.Issued, error) {
	p.t.Helper()
	issued, err := p.open().Issue(p.t.Context(), p.r)
	if issued.ID != "" {
		p.r.ID = issued.ID
	}
	if err != nil && !issued.SecretHandle.Empty() {
		p.r.SecretHandle = issued.SecretHandle
	}
	return issued, err
}

// awaits calls several times and wants to be told to wait each time.
func (p *person) awaits(class upstream.ErrorClass, words string) {
	p.t.Helper()
	for range 3 {
		if _, err := p.issue(); upstream.ClassOf(err) != class || !strings.Contains(err.Error(), words) {
			p.t.Fatalf("got %v, want %s with %q", err, class, words)
		}
	}
}

func (p *person) requests(want ...string) {
	p.t.Helper()
	var got []string
	for _, request := range p.sim.Requests() {
		got = append(got, request.Event+" "+request.Status)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		p.t.Fatalf("requests (-want +got):\n%s", diff)
	}
}

func (p *person) decide(approved bool, comment string) {
	p.t.Helper()
	all := p.sim.Requests()
	if err := p.sim.Decide(all[len(all)-1].ID, approved, comment); err != nil {
		p.t.Fatal(err)
	}
}

// pendingForms are all ways in which a gateway may answer a creation that waits, and show the
// requests.
func pendingForms(yield func(string, func(*webmethodssim.Behaviour)) bool) {
	for _, pending := range []string{webmethodssim.PendingApplication, webmethodssim.PendingRequest} {
		for _, approvals := range []string{webmethodssim.ApprovalsListed, webmethodssim.ApprovalsUndecided, webmethodssim.ApprovalsNone, webmethodssim.ApprovalsRefused} {
			if !yield(pending+" and "+approvals, func(b *webmethodssim.Behaviour) {
				b.Pending, b.Approvals, b.Approve = pending, approvals, []string{"createApplication", "registerApplication"}
			}) {
				return
			}
		}
	}
}

func TestAKeyWaitsForApproversAndIsAskedForOnce(t *testing.T) {
	for name, change := range pendingForms {
		t.Run(name, func(t *testing.T) {
			p := newPerson(t, false, change)
			p.awaits(upstream.AwaitingUpstreamApproval, "waits for an approver")
			p.requests("createApplication pending")
			p.decide(true, "")
			p.awaits(upstream.AwaitingUpstreamApproval, "waits for an approver")
			p.requests("createApplication approved", "registerApplication pending")
			p.decide(true, "")
			issued, err := p.issue()
			if err != nil || !p.Accepts(issued.Material) {
				t.Fatalf("%v, accepted %t", err, err == nil && p.Accepts(issued.Material))
			}
			p.requests("createApplication approved", "registerApplication approved")
		})
	}
}

// What is told again would be written again, at each look.
func TestWhileAnApproverIsWaitedForNothingIsToldTwice(t *testing.T) {
	for name, change := range pendingForms {
		t.Run(name, func(t *testing.T) {
			p := newPerson(t, false, change)
			first, _ := p.issue()
			if first.ID == "" || first.SecretHandle.Empty() {
				t.Fatalf("nothing was told: %+v", first)
			}
			before := p.r.ID
			for range 2 {
				again, _ := p.issue()
				if again.ID != before || !again.SecretHandle.Empty() {
					t.Fatalf("told again: id %q, a handle: %t", again.ID, !again.SecretHandle.Empty())
				}
			}
		})
	}
}

func TestALostAnswerToACreationThatWaitsIsNotAskedForAgain(t *testing.T) {
	p := newPerson(t, false, func(b *webmethodssim.Behaviour) { b.Approve = []string{"createApplication"} })
	if _, err := p.sim.Faults().Add(simkit.Fault{Operation: "application.create", Action: simkit.Cut, Point: simkit.AfterCommit}); err != nil {
		t.Fatal(err)
	}
	if _, err := p.issue(); upstream.ClassOf(err) != upstream.OutcomeUnknown {
		t.Fatalf("got %v", err)
	}
	p.r.Repeat = true
	p.awaits(upstream.AwaitingUpstreamApproval, "waits for an approver")
	p.requests("createApplication pending")
}

func TestARejectionStandsWithItsCommentAndNobodyIsAskedAgain(t *testing.T) {
	for _, approvals := range []string{webmethodssim.ApprovalsListed, webmethodssim.ApprovalsUndecided} {
		for _, event := range []string{"createApplication", "registerApplication"} {
			t.Run(event+" "+approvals, func(t *testing.T) {
				p := newPerson(t, false, func(b *webmethodssim.Behaviour) { b.Approve, b.Approvals = []string{event}, approvals })
				p.awaits(upstream.AwaitingUpstreamApproval, "waits for an approver")
				p.decide(false, "not before the audit")
				p.awaits(upstream.Declined, "not before the audit")
				p.requests(event + " rejected")
			})
		}
	}
}

func TestARequestThatWaitsIsWithdrawnWhenItsVersionEnds(t *testing.T) {
	p := newPerson(t, false, func(b *webmethodssim.Behaviour) { b.Approve = []string{"createApplication"} })
	p.awaits(upstream.AwaitingUpstreamApproval, "waits for an approver")
	handle := upstream.Handle{Parameters: p.r.Parameters, Container: p.r.Container, Name: p.r.Name, Mark: p.r.Mark, ID: p.r.ID, SecretHandle: p.r.SecretHandle}
	if err := p.open().Revoke(t.Context(), handle); upstream.ClassOf(err) != upstream.NotFound {
		t.Fatalf("got %v", err)
	}
	p.requests()
}

func TestAClientWaitsForTheApprovalOfItsApplicationsEdit(t *testing.T) {
	p := newPerson(t, true, func(b *webmethodssim.Behaviour) { b.Approve = []string{"updateApplication"} })
	p.awaits(upstream.AwaitingUpstreamApproval, "waits for an approver")
	p.requests("updateApplication pending")
	p.decide(true, "")
	issued, err := p.issue()
	if err != nil || !p.Accepts(issued.Material) {
		t.Fatalf("%v", err)
	}
	p.requests("updateApplication approved")
}

// An edit of the application must lose nobody's strategies, and nothing else of it.
func TestStrategiesOfOthersStay(t *testing.T) {
	p := newPerson(t, true, nil)
	theirs := p.sim.Strategies(p.shop)
	issued, err := p.issue()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(append(theirs, issued.ID), p.sim.Strategies(p.shop)); diff != "" {
		t.Errorf("with the new strategy (-want +got):\n%s", diff)
	}
	// Somebody's edit that knew nothing of it is felt, and said.
	if err := p.sim.Detach(p.shop, issued.ID); err != nil {
		t.Fatal(err)
	}
	handle := upstream.Handle{Parameters: p.r.Parameters, Container: p.r.Container, Name: p.r.Name, Mark: p.r.Mark, ID: issued.ID, Material: issued.Material}
	verdict, err := p.open().(upstream.Verifier).Verify(t.Context(), handle)
	if err != nil || verdict.Accepted || !strings.Contains(verdict.Detail, "somebody's edit") {
		t.Errorf("%+v, %v", verdict, err)
	}
	if again, err := p.issue(); err != nil || again.ID != issued.ID || !p.Accepts(again.Material) {
		t.Errorf("put back: %v", err)
	}
	if err := p.open().Revoke(t.Context(), handle); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(theirs, p.sim.Strategies(p.shop)); diff != "" {
		t.Errorf("after the revocation (-want +got):\n%s", diff)
	}
}

func TestAKeyIsSuspendedBeforeItsApplicationIsDeleted(t *testing.T) {
	p := newPerson(t, false, nil)
	issued, err := p.issue()
	if err != nil {
		t.Fatal(err)
	}
	handle := upstream.Handle{Parameters: p.r.Parameters, Container: p.r.Container, Name: p.r.Name, Mark: p.r.Mark, ID: issued.ID, Material: issued.Material}
	if err := p.open().Revoke(t.Context(), handle); upstream.ClassOf(err) != upstream.Pending || !p.sim.Suspended(issued.ID) || p.Accepts(issued.Material) {
		t.Fatalf("%v, suspended %t, accepted %t", err, p.sim.Suspended(issued.ID), p.Accepts(issued.Material))
	}
	if err := p.open().Revoke(t.Context(), handle); err != nil || p.Live(p.r.Mark) != 0 {
		t.Fatalf("%v, %d live", err, p.Live(p.r.Mark))
	}
}

func TestWhatOnlyTheOwnerSeesIsSaidSo(t *testing.T) {
	for _, clients := range []bool{false, true} {
		p := newPerson(t, clients, func(b *webmethodssim.Behaviour) { b.Masked = true })
		if _, err := p.issue(); upstream.ClassOf(err) != upstream.Forbidden || !strings.Contains(err.Error(), "to its owner only") {
			t.Errorf("clients %t: %v", clients, err)
		}
		if p.Issued(p.r.Mark) != 1 {
			t.Errorf("clients %t: %d were made", clients, p.Issued(p.r.Mark))
		}
	}
}

func TestTheEndOfAKeyIsReadInEveryFormOrSaidToBeUnreadable(t *testing.T) {
	end := time.Date(2027, 3, 1, 12, 0, 0, 0, time.UTC)
	for form, want := range map[string]time.Time{
		`null`: {}, `""`: {}, `"Unlimited"`: {}, `1803902400000`: end, `"2027-03-01T12:00:00Z"`: end, `"2027-03-01 12:00:00 UTC"`: end, `"2027-03-01 12:00:00"`: end,
	} {
		p := newPerson(t, false, func(b *webmethodssim.Behaviour) { b.KeyExpires = []byte(form) })
		if issued, err := p.issue(); err != nil || !issued.ExpiresAt.Equal(want) {
			t.Errorf("%s: %v, %v, want %v", form, issued.ExpiresAt, err, want)
		}
	}
	p := newPerson(t, false, func(b *webmethodssim.Behaviour) { b.KeyExpires = []byte(`"the Ides of March"`) })
	if _, err := p.issue(); upstream.ClassOf(err) != upstream.Forbidden {
		t.Errorf("got %v", err)
	}
}

func TestAGatewayThatMakesNoKeysIsSaidSo(t *testing.T) {
	p := newPerson(t, false, func(b *webmethodssim.Behaviour) { b.NoKeyAtCreation, b.KeysRefused = true, true })
	if _, err := p.issue(); upstream.ClassOf(err) != upstream.Forbidden || !strings.Contains(err.Error(), "no API key") {
		t.Errorf("got %v", err)
	}
}

// Names are not unique, so one process at least must not race with itself.
func TestTheSameRequestAtOnceInOneProcessMakesOne(t *testing.T) {
	p := newPerson(t, false, nil)
	account := p.open()
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			if _, err := account.Issue(t.Context(), p.r); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if p.Issued(p.r.Mark) != 1 {
		t.Errorf("%d were made", p.Issued(p.r.Mark))
	}
}

// What two processes made of one request is one again at the next look, and what was written
// down stays.
func TestTwinsEnd(t *testing.T) {
	p := newPerson(t, false, nil)
	first, err := p.issue()
	if err != nil {
		t.Fatal(err)
	}
	twin := p.sim.Ledger().Live()
	if err := p.sim.AddApplication(webmethodssim.SeedApplication{Name: p.r.Name, Description: twin[len(twin)-1].Attrs["description"]}); err != nil {
		t.Fatal(err)
	}
	p.r.ID = "" // the answer was lost
	if _, err := p.issue(); err != nil {
		t.Fatal(err)
	}
	if p.Live(p.r.Mark) != 1 {
		t.Errorf("%d live, the first was %s", p.Live(p.r.Mark), first.ID)
	}
}

// Every key of the instance would get another end.
func TestTheCallThatRedatesAllKeysIsNeverMade(t *testing.T) {
	p := newPerson(t, false, func(b *webmethodssim.Behaviour) { b.NoKeyAtCreation = true })
	issued, err := p.issue()
	if err != nil {
		t.Fatal(err)
	}
	_ = p.open().Revoke(t.Context(), upstream.Handle{Parameters: p.r.Parameters, Container: p.r.Container, Name: p.r.Name, Mark: p.r.Mark, ID: issued.ID})
	for _, operation := range []string{"key.redate", "strategy.refresh"} {
		if n := p.sim.Calls().Total(operation); n != 0 {
			t.Errorf("%d calls of %s", n, operation)
		}
	}
}

func TestTheLoginSecretIsCheckedWithoutACall(t *testing.T) {
	s := settings(start(t, nil))
	s.Login = map[string]material.Secret{"username": material.New("operator")}
	if _, err := newDriver().Open(s); upstream.ClassOf(err) != upstream.InvalidSpec || !strings.Contains(err.Error(), "lacks password") {
		t.Errorf("got %v", err)
	}
}
