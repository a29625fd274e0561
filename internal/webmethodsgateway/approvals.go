package webmethodsgateway

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/claviger-dev/claviger/internal/material"
	"github.com/claviger-dev/claviger/internal/upstream"
)

// askedWithoutID stands for the id of an application that was asked for and whose id the
// gateway did not tell.
const askedWithoutID = "asked"

// noted begins the handle of a version while an approver is waited for: what was asked for, and
// the id of the request if it was seen. It outlives the operator, so nothing is asked twice.
const noted = "asked:"

// note is what the handle tells.
type note struct{ event, approval string }

func readNote(handle material.Secret) note {
	rest, ok := strings.CutPrefix(handle.Reveal(), noted)
	if !ok {
		return note{}
	}
	event, approval, _ := strings.Cut(rest, "/")
	return note{event, approval}
}

func (n note) handle() material.Secret { return material.New(noted + n.event + "/" + n.approval) }

// approvals are the requests that the login may see; hidden says that it may see none.
func (a *account) approvals(ctx context.Context) (all []approvalWire, hidden bool, err error) {
	r, err := a.send(ctx, call{operation: "approval.list", method: http.MethodGet, path: "/approvals"})
	if err != nil {
		return nil, false, err
	}
	if approvalsHidden(r.status) && !r.throttled && !r.page() {
		return nil, true, nil
	}
	var answer struct {
		Requests []approvalWire `json:"approvalRequests"`
	}
	if !r.done() || json.Unmarshal(r.body, &answer) != nil {
		return nil, false, r.refusal()
	}
	return answer.Requests, false, nil
}

// approvalByID reads a request that the list may not show any more; nil if it cannot be seen.
func (a *account) approvalByID(ctx context.Context, id string) (*approvalWire, error) {
	r, err := a.send(ctx, call{operation: "approval.read", method: http.MethodGet, path: "/approvals/" + id})
	if err != nil {
		return nil, err
	}
	if approvalsHidden(r.status) && !r.throttled && !r.page() {
		return nil, nil
	}
	var wrapped struct {
		Requests []approvalWire `json:"approvalRequests"`
	}
	var one approvalWire
	if !r.done() || json.Unmarshal(r.body, &one) != nil {
		return nil, r.refusal()
	}
	if one.ID == "" && json.Unmarshal(r.body, &wrapped) == nil && len(wrapped.Requests) == 1 {
		one = wrapped.Requests[0]
	}
	if one.ID != id {
		return nil, r.refusal()
	}
	return &one, nil
}

// request finds the newest request for an event that speaks of all these words. A noted id is
// looked up first: decided requests may leave the list.
func (a *account) request(ctx context.Context, known note, event string, words ...string) (*approvalWire, error) {
	if known.event == event && segment.MatchString(known.approval) {
		if one, err := a.approvalByID(ctx, known.approval); one != nil || err != nil {
			return one, err
		}
	}
	all, _, err := a.approvals(ctx)
	if err != nil {
		return nil, err
	}
	for _, one := range slices.Backward(all) {
		if one.is(event) && one.names(words...) {
			return &one, nil
		}
	}
	return nil, nil
}

// waits makes the answer of what an approver must decide. A rejection is told for as long as
// it stands and is no reason to ask again: the version stays what it is, so that nobody is
// bothered twice.
func waits(r upstream.Request, id, what, event string, one *approvalWire) (upstream.Issued, error) {
	told := note{event: event}
	if one != nil {
		told.approval = one.ID
	}
	out := upstream.Issued{ID: id}
	before := readNote(r.SecretHandle)
	// Told again, the same would be written again. A note without an id does not replace one.
	if before.event != event || before.approval == "" && told.approval != "" {
		out.SecretHandle = told.handle()
	}
	switch {
	case one == nil:
		return out, upstream.Errorf(upstream.AwaitingUpstreamApproval,
			"%s was asked for, and the gateway shows neither it nor a request for it: it waits for an approver. A rejection would be seen here if the login's user were in the approvers' access profile", what)
	case strings.EqualFold(one.Status, "rejected"):
		return out, upstream.Errorf(upstream.Declined, "an approver of the gateway has rejected %s: %s", what, one.comment())
	case strings.EqualFold(one.Status, "approved"):
		return out, &upstream.Error{Class: upstream.Pending, After: pollAfter, Message: "an approver has approved " + what + ", and the gateway does not show it yet"}
	}
	return out, upstream.Errorf(upstream.AwaitingUpstreamApproval, "%s waits for an approver of the gateway (request %s)", what, upstream.Excerpt(one.ID))
}

// withdraw takes back a request that still waits, so that nothing comes of it later.
func (a *account) withdraw(ctx context.Context, one *approvalWire) error {
	if !strings.EqualFold(one.Status, "pending") || !segment.MatchString(one.ID) {
		return nil
	}
	_, err := a.change(ctx, "approval.delete", http.MethodDelete, "/approvals/"+one.ID, nil)
	return err
}
