package webmethodsportal

import (
	"context"
	"net/http"
	"slices"

	"github.com/claviger-dev/claviger/internal/upstream"
)

// Revoke implements upstream.Upstream: the application is deleted in the portal, which
// deletes it in the gateway. The portal can be told to forget it alone, which would leave a
// key that works and that nobody sees; that is never done.
func (a *account) Revoke(ctx context.Context, h upstream.Handle) error {
	if err := a.own(h.Container); err != nil {
		return err
	}
	if err := checkMark(h.Name, h.Mark); err != nil {
		return err
	}
	ref := parseReference(h.ID)
	if ref.application != "" {
		app, err := a.readApplication(ctx, ref.application)
		if err != nil {
			return err
		}
		if app != nil && !app.void() {
			if other := markOf(app.Name, app.Description); other != "" && other != h.Mark {
				return upstream.Errorf(upstream.Forbidden, "application %s bears the mark of another version and is left alone", app.ID)
			}
			return a.end(ctx, app)
		}
	}
	found, err := a.look(ctx, h.Mark, ref)
	if err != nil {
		return err
	}
	withdrawn, err := a.withdrawAll(ctx, found)
	if err != nil {
		return err
	}
	if !withdrawn {
		return a.clear(ctx, found, ref)
	}
	// The portal has just taken back the very requests, which no list can show any more.
	if found, err = a.look(ctx, h.Mark, ref); err != nil {
		return err
	}
	if len(found.requests) == 0 && !slices.ContainsFunc(found.applications, func(app application) bool { return !app.void() }) {
		return nil
	}
	return &upstream.Error{Class: upstream.Pending, After: poll, Message: "the request was withdrawn; what it has left is ended next"}
}

// withdrawAll takes back all requests that are open, so that nobody approves what is going
// away.
func (a *account) withdrawAll(ctx context.Context, found traces) (some bool, err error) {
	for i := range found.requests {
		if r := &found.requests[i]; phaseOf(r.Status).open() {
			if err := a.withdraw(ctx, r); err != nil {
				return some, err
			}
			some = true
		}
	}
	return some, nil
}

// clear ends every application that was found.
func (a *account) clear(ctx context.Context, found traces, ref reference) error {
	living := slices.DeleteFunc(found.applications, func(app application) bool { return app.void() })
	for i := range living {
		if err := a.end(ctx, &living[i]); err != nil {
			return err
		}
	}
	switch {
	case len(living) > 0:
		return nil
	case len(found.applications) > 0:
		return upstream.Errorf(upstream.NotFound, "its request was rejected, and its application holds nothing")
	case !ref.empty() && !found.knows(ref):
		return upstream.Errorf(upstream.Forbidden, "the portal shows neither the application of this version nor its request, so the login may not see what it saw; that it is gone could not be proven")
	case ref.empty() && found.nameless > 0:
		return &upstream.Error{Class: upstream.Pending, After: personPoll, Message: "requests of this user are open of which the portal does not say what they are for"}
	}
	return upstream.Errorf(upstream.NotFound, "no application of this user is this version's")
}

// withdraw takes back a request that nobody has decided. One that was decided meanwhile
// must run its course: the application that it makes is ended then.
func (a *account) withdraw(ctx context.Context, r *request) error {
	wait := &upstream.Error{Class: upstream.Pending, After: poll, Message: "request " + r.ID + " is under way and cannot be withdrawn; what it makes is ended when it is there"}
	if phaseOf(r.Status) == underWay {
		// Only reading it by its id tells where it is now.
		now, err := a.readRequest(ctx, r.ID)
		if err != nil {
			return err
		}
		if now == nil || phaseOf(now.Status) != withPeople {
			return wait
		}
	}
	answer, err := a.portal.exchange(ctx, call{operation: "request.delete", method: http.MethodDelete, path: "/requests/" + r.ID, effect: true})
	switch {
	case err != nil:
		return err
	case answer.taken():
		return nil
	case answer.status == http.StatusBadRequest && answer.message() != "":
		return wait
	}
	return answer.refusal()
}

// end ends one application in the way that the issuer says.
func (a *account) end(ctx context.Context, app *application) error {
	if a.deletion == deletionRequest {
		return a.askDeletion(ctx, app)
	}
	answer, err := a.portal.exchange(ctx, call{
		operation: "application.delete", method: http.MethodDelete, path: "/applications/" + app.ID, effect: true, secrets: app.secrets(),
	})
	switch {
	case err != nil:
		return err
	case answer.missing():
		return &upstream.Error{Class: upstream.Retryable, After: poll, Message: answer.words() + ", and showed the application a moment ago; it is looked for again"}
	case answer.status == http.StatusBadRequest || answer.status == http.StatusForbidden:
		refusal := answer.refusal()
		refusal.Message += "; if deletions need an approval in this portal, set deletion: " + deletionRequest + " on the issuer"
		return refusal
	case !answer.taken():
		return answer.refusal()
	}
	return a.ended(ctx, app)
}

// ended looks whether a deletion that was taken has ended the application.
func (a *account) ended(ctx context.Context, app *application) error {
	still, err := a.readApplication(ctx, app.ID)
	if err != nil {
		return err
	}
	if still != nil {
		return &upstream.Error{Class: upstream.Pending, After: personPoll, Message: "the portal has taken the deletion of application " + app.ID + " and still shows it"}
	}
	return nil
}

// askDeletion asks people to agree to the end of an application, once.
func (a *account) askDeletion(ctx context.Context, app *application) error {
	asked, err := a.requests(ctx, typeDeletion)
	if err != nil {
		return err
	}
	asked = slices.DeleteFunc(asked, func(r request) bool { return r.target() != app.ID })
	if len(asked) == 0 {
		answer, id, err := a.begin(ctx, "deletion.request", typeDeletion, deletionContext(app.ID))
		switch {
		case err != nil:
			return err
		case id == "":
			return answer.refusal()
		}
		return &upstream.Error{Class: upstream.Pending, After: poll, Message: "the deletion of application " + app.ID + " was requested in the portal"}
	}
	// Lists may lag behind: each is read by its own id. An end counts only where nothing
	// else is open.
	var last error
	for i := range asked {
		r, err := a.readRequest(ctx, asked[i].ID)
		if err != nil {
			return err
		}
		if r == nil {
			r = &asked[i]
		}
		if err := a.awaits(ctx, r); err != nil {
			last = err
			if phaseOf(r.Status).open() {
				return err
			}
		}
	}
	if last != nil {
		return last
	}
	return &upstream.Error{Class: upstream.Pending, After: personPoll, Message: "the portal has completed the deletion of application " + app.ID + " and still shows it"}
}
