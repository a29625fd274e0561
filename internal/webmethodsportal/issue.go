package webmethodsportal

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/claviger-dev/claviger/internal/material"
	"github.com/claviger-dev/claviger/internal/upstream"
)

// turns lets one caller at a time work on one version: names are not unique, so two that
// look at the same time would both find nothing and both ask. Between processes the
// journal's claim does the same.
type turns struct {
	mu     sync.Mutex
	waiter map[upstream.Mark]*turn
}

type turn struct {
	entry chan struct{}
	users int
}

func newTurns() *turns { return &turns{waiter: map[upstream.Mark]*turn{}} }

// take waits for the turn and returns how to give it back.
func (t *turns) take(ctx context.Context, mark upstream.Mark) (func(), error) {
	t.mu.Lock()
	mine := t.waiter[mark]
	if mine == nil {
		mine = &turn{entry: make(chan struct{}, 1)}
		t.waiter[mark] = mine
	}
	mine.users++
	t.mu.Unlock()
	leave := func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if mine.users--; mine.users == 0 {
			delete(t.waiter, mark)
		}
	}
	select {
	case mine.entry <- struct{}{}:
		return func() { <-mine.entry; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, &upstream.Error{Class: upstream.Retryable, Message: "given up before it began", Err: ctx.Err()}
	}
}

// Issue implements upstream.Upstream. A request is made where none is found, and never
// again: what is under way is looked at, whoever works on it.
func (a *account) Issue(ctx context.Context, r upstream.Request) (upstream.Issued, error) {
	p, err := parse(r.Parameters)
	if err != nil {
		return upstream.Issued{}, err
	}
	if err := a.own(r.Container); err != nil {
		return upstream.Issued{}, err
	}
	if err := checkMark(r.Name, r.Mark); err != nil {
		return upstream.Issued{}, err
	}
	leave, err := a.turns.take(ctx, r.Mark)
	if err != nil {
		return upstream.Issued{}, err
	}
	defer leave()
	ref := parseReference(r.ID)
	if ref.empty() {
		found, err := a.look(ctx, r.Mark, ref)
		if err != nil {
			return upstream.Issued{}, err
		}
		kept, surplus := found.choose()
		switch {
		case kept.empty() && found.nameless > 0 && r.Repeat:
			return upstream.Issued{}, &upstream.Error{
				Class: upstream.Pending, After: personPoll,
				Message: "the answer to an earlier call was lost, and requests of this user are open of which the portal does not say what they are for",
			}
		case kept.empty():
			return a.ask(ctx, r, p)
		}
		// No id yet: what has one is not searched for again, and the surplus would stay.
		if err := a.drop(ctx, surplus); err != nil {
			return upstream.Issued{}, err
		}
		ref = kept
	}
	return a.follow(ctx, p, ref)
}

// partial is what an answer tells while the portal works on it.
func (r reference) partial() upstream.Issued {
	if r.request != "" {
		return upstream.Issued{ID: requestPrefix + r.request}
	}
	return upstream.Issued{ID: r.application}
}

// choose picks the application or request to go on with, and what is too much: a call that
// a queue delivered twice asks twice.
func (t traces) choose() (kept reference, surplus traces) {
	of := map[string]request{}
	for _, r := range t.requests {
		if r.Application != "" {
			of[r.Application] = r
		}
	}
	best := -1
	for i, app := range t.applications {
		if best < 0 || app.live() && !t.applications[best].live() {
			best = i
		}
	}
	if best >= 0 {
		app := t.applications[best]
		kept = reference{request: of[app.ID].ID, application: app.ID}
	}
	for _, r := range t.requests {
		if kept.empty() && r.Application == "" {
			kept = reference{request: r.ID}
		}
	}
	if kept.empty() && len(t.requests) > 0 { // its application is not listed: follow says what that means
		kept = reference{request: t.requests[0].ID}
	}
	for i, app := range t.applications {
		if i != best && !app.void() {
			surplus.applications = append(surplus.applications, app)
		}
	}
	for _, r := range t.requests {
		if r.ID != kept.request && phaseOf(r.Status).open() {
			surplus.requests = append(surplus.requests, r)
		}
	}
	return kept, surplus
}

// drop ends what is too much.
func (a *account) drop(ctx context.Context, surplus traces) error {
	for i := range surplus.requests {
		if err := a.withdraw(ctx, &surplus.requests[i]); err != nil {
			return err
		}
	}
	for i := range surplus.applications {
		if err := a.end(ctx, &surplus.applications[i]); err != nil {
			return err
		}
	}
	return nil
}

// ask makes the request.
func (a *account) ask(ctx context.Context, r upstream.Request, p credentialParameters) (upstream.Issued, error) {
	wanted := map[string]any{"name": nameFor(r.Name, r.Mark), "description": descriptionFor(r.Title, r.Mark), "apis": p.APIs}
	if len(p.RedirectURIs) > 0 {
		wanted["redirect_uris"] = p.RedirectURIs
	}
	answer, id, err := a.begin(ctx, "request.create", typeCreation, wanted)
	if err != nil {
		return upstream.Issued{}, err
	}
	if id == "" {
		// Somebody may have been faster with this very name.
		if saysTaken(answer.message()) {
			return a.taken(ctx, r, p, answer)
		}
		return upstream.Issued{}, answer.refusal()
	}
	return reference{request: id}.partial(), &upstream.Error{Class: upstream.Pending, After: poll, Message: "the application was requested, and the portal works on it"}
}

// begin makes a request of a type; without an id it was refused.
func (a *account) begin(ctx context.Context, operation, kind string, wanted map[string]any) (reply, string, error) {
	answer, err := a.portal.exchange(ctx, call{
		operation: operation, method: http.MethodPost, path: "/requests", effect: true,
		body: map[string]any{"type": kind, "context": wanted},
	})
	if err != nil {
		return answer, "", err
	}
	var made struct {
		ID string `json:"id"`
	}
	if !answer.decode(&made) || !segment.MatchString(made.ID) {
		return answer, "", nil
	}
	return answer, made.ID, nil
}

// taken finds out whether the name is taken by this very request, made by another process.
func (a *account) taken(ctx context.Context, r upstream.Request, p credentialParameters, answer reply) (upstream.Issued, error) {
	found, err := a.look(ctx, r.Mark, reference{})
	if err != nil {
		return upstream.Issued{}, err
	}
	if kept, _ := found.choose(); !kept.empty() {
		return a.follow(ctx, p, kept)
	}
	return upstream.Issued{}, upstream.Errorf(upstream.Conflict, "%s", answer.words())
}

// follow looks at where a request is.
func (a *account) follow(ctx context.Context, p credentialParameters, ref reference) (upstream.Issued, error) {
	if ref.request != "" {
		r, err := a.readRequest(ctx, ref.request)
		switch {
		case err != nil:
			return ref.partial(), err
		case r == nil:
			return ref.partial(), upstream.Errorf(upstream.Forbidden, "the portal does not show request %s any more; if it is gone, request a rotation", ref.request)
		}
		if err := a.awaits(ctx, r); err != nil {
			return ref.partial(), err
		}
		ref.application = r.Application
	}
	if ref.application == "" {
		return ref.partial(), &upstream.Error{Class: upstream.Pending, After: poll, Message: "the request is completed, and the portal does not name its application yet"}
	}
	app, err := a.readApplication(ctx, ref.application)
	if err != nil {
		return ref.partial(), err
	}
	if app == nil {
		return ref.partial(), a.vanished(ctx, ref)
	}
	return a.take(app, p, ref)
}

// awaits says what a request still waits for; nil if it is completed.
func (a *account) awaits(ctx context.Context, r *request) error {
	switch phaseOf(r.Status) {
	case completed:
		return nil
	case withPeople:
		return &upstream.Error{Class: upstream.AwaitingUpstreamApproval, After: personPoll, Message: "an approval in the portal is awaited: request " + r.ID}
	case refused:
		message := "the portal's approvers have rejected request " + r.ID
		if words := a.wordsOf(ctx, r); words != "" {
			message += ": " + upstream.Excerpt(words)
		}
		return upstream.Errorf(upstream.Declined, "%s", message)
	case failed:
		return a.retry(ctx, r)
	}
	return &upstream.Error{Class: upstream.Pending, After: poll, Message: "request " + r.ID + " is under way: " + upstream.Excerpt(r.Status)}
}

// wordsOf are a reviewer's words, wherever they are. That none are found costs nobody
// anything.
func (a *account) wordsOf(ctx context.Context, r *request) string {
	if words := r.words(); words != "" {
		return words
	}
	answer, err := a.portal.exchange(ctx, call{operation: "request.trace", method: http.MethodGet, path: "/requests/" + r.ID + "/trace"})
	if err != nil || answer.status != http.StatusOK {
		return ""
	}
	return upstream.Redact(wordsOfTrace(answer.body), answer.secrets)
}

// retry has the portal try again what failed there or in the gateway. It is the same
// request, so nobody is asked anew.
func (a *account) retry(ctx context.Context, r *request) error {
	answer, err := a.portal.exchange(ctx, call{operation: "request.retry", method: http.MethodPut, path: "/requests/" + r.ID + "/retry", effect: true})
	if err != nil {
		return err
	}
	if !answer.taken() {
		return answer.refusal()
	}
	return &upstream.Error{Class: upstream.Pending, After: poll, Message: "request " + r.ID + " had failed in the portal or its gateway, and is tried again"}
}

// vanished judges an application that its own request names and that cannot be read.
func (a *account) vanished(ctx context.Context, ref reference) error {
	found, err := a.look(ctx, "", ref)
	switch {
	case err != nil:
		return err
	case len(found.applications) > 0:
		return upstream.Errorf(upstream.Retryable, "the portal lists application %s and does not show it", ref.application)
	case !found.knows(ref):
		return upstream.Errorf(upstream.Forbidden, "the portal shows neither application %s nor its request", ref.application)
	}
	return upstream.Errorf(upstream.Conflict, "application %s was deleted in the portal", ref.application)
}

// take reads the credential of an application.
func (a *account) take(app *application, p credentialParameters, ref reference) (upstream.Issued, error) {
	if app.Status == "REJECTED" {
		return ref.partial(), upstream.Errorf(upstream.Declined, "the portal says that application %s was rejected", app.ID)
	}
	found := app.of(p.Type)
	if !app.live() || found == nil {
		return ref.partial(), &upstream.Error{Class: upstream.Pending, After: poll, Message: "application " + app.ID + " has no " + p.Type + " credential yet; its APIs must ask for one"}
	}
	ends, ok := expiryOf(found.Expiry)
	if !ok {
		return ref.partial(), upstream.Errorf(upstream.Retryable, "application %s has a credential whose expiry cannot be read: %s", app.ID, upstream.Excerpt(string(found.Expiry)))
	}
	m := material.Material{Attributes: map[string]string{}}
	if p.Type == typeAPIKey {
		m.APIKey = material.New(found.APIKey)
	} else {
		m.ClientID, m.ClientSecret = found.ClientID, material.New(found.ClientSecret)
		if len(found.AccessTokenURIs) > 0 {
			m.Attributes[material.AttributeTokenURL] = a.tokenURL(found.AccessTokenURIs)
		}
		if p.Scope != "" {
			m.Attributes[material.AttributeScope] = p.Scope
		}
	}
	if a.gateway.base != nil {
		m.Attributes[material.AttributeURL] = a.gateway.base.String()
	}
	if !ends.IsZero() {
		m.Attributes[material.AttributeExpires] = ends.Format(time.RFC3339)
	}
	return upstream.Issued{Material: m, ID: app.ID, ExpiresAt: ends}, nil
}
