package webmethodsgateway

import (
	"cmp"
	"context"
	"net/http"
	"slices"

	"github.com/claviger-dev/claviger/internal/material"
	"github.com/claviger-dev/claviger/internal/upstream"
)

// Issue implements upstream.Upstream. What is there already is looked for first, always: names
// are not unique, so a second application would not be refused.
func (a *account) Issue(ctx context.Context, r upstream.Request) (upstream.Issued, error) {
	p, err := parse(r.Parameters)
	if err != nil {
		return upstream.Issued{}, err
	}
	at, err := a.parseContainer(r.Container)
	if err != nil {
		return upstream.Issued{}, err
	}
	if !isMark(r.Mark) || !segment.MatchString(r.Name) || at.ofKeys() != (p.Type == typeKey) {
		return upstream.Issued{}, upstream.Errorf(upstream.InvalidSpec, "the request's name, mark or container does not fit")
	}
	turn := string(r.Mark)
	if !at.ofKeys() {
		turn = at.application
	}
	done, err := a.turns.take(ctx, turn)
	if err != nil {
		return upstream.Issued{}, err
	}
	defer done()
	if at.ofKeys() {
		return a.issueKey(ctx, p, r)
	}
	return a.issueClient(ctx, at, p, r)
}

// issueKey makes an application, registers it and reads its key.
func (a *account) issueKey(ctx context.Context, p credentialParameters, r upstream.Request) (upstream.Issued, error) {
	apis, err := a.apis(ctx, p.APIs)
	if err != nil {
		return upstream.Issued{}, err
	}
	what := "application " + r.Name
	one, err := a.find(ctx, r.ID, r.Name, r.Mark)
	if err != nil {
		return upstream.Issued{}, err
	}
	known := readNote(r.SecretHandle)
	if one == nil {
		waiting, err := a.request(ctx, known, eventCreate, string(r.Mark))
		switch {
		case err != nil:
			return upstream.Issued{}, err
		case waiting != nil:
			return waits(r, cmp.Or(waiting.applicationID(), r.ID, askedWithoutID), what, eventCreate, waiting)
		case r.ID != "":
			return waits(r, r.ID, what, eventCreate, nil)
		}
		var id string
		if one, id, err = a.create(ctx, r); err != nil {
			return upstream.Issued{}, err
		}
		if one == nil {
			waiting, err := a.request(ctx, known, eventCreate, string(r.Mark))
			if err != nil {
				return upstream.Issued{}, afterSending(err)
			}
			if waiting != nil {
				id = cmp.Or(waiting.applicationID(), id)
			}
			return waits(r, id, what, eventCreate, waiting)
		}
	}
	if partial, err := a.register(ctx, one, apis, r); err != nil {
		return partial, err
	}
	return a.readKey(ctx, one)
}

// find looks for the application of a request: by its id, or by name and mark. It is no proof
// that there is none. More than one is what a repeat has made that should not have been: the
// first stays, and none was ever published.
func (a *account) find(ctx context.Context, id, name string, mark upstream.Mark) (*application, error) {
	if segment.MatchString(id) && id != askedWithoutID {
		one, _, err := a.application(ctx, id)
		if one != nil || err != nil {
			return one, err
		}
	}
	found, ok, err := search[application](ctx, a, "application", []string{"applicationID", "id", "name", "description"},
		searchScope{"name", literally(name)}, searchScope{"description", ".*" + string(mark) + ".*"})
	if err != nil {
		return nil, err
	}
	if !ok {
		if found, err = a.applications(ctx); err != nil {
			return nil, err
		}
	}
	found = slices.DeleteFunc(found, func(one application) bool { return markOf(one.description) != mark })
	if len(found) == 0 {
		return nil, nil
	}
	slices.SortFunc(found, func(x, y application) int { return cmp.Compare(x.id, y.id) })
	for _, twin := range found[1:] {
		if twin.id == found[0].id {
			continue
		}
		if err := a.remove(ctx, &twin); err != nil {
			return nil, err
		}
	}
	// A search shows no keys.
	one, _, err := a.application(ctx, found[0].id)
	if err == nil && one == nil {
		err = upstream.Errorf(upstream.Retryable, "the gateway finds an application that it does not show")
	}
	return one, err
}

// create asks for the application. Without one, its id is told, or that it was not told: it
// waits for an approver.
func (a *account) create(ctx context.Context, r upstream.Request) (one *application, id string, err error) {
	answer, err := a.change(ctx, "application.create", http.MethodPost, "/applications", map[string]any{
		"name": r.Name, "version": "1.0", "description": describe(r, ""),
		"contactEmails": []string{}, "siteURLs": []string{}, "jsOrigins": []string{}, "authStrategyIds": []string{}, "identifiers": []string{},
	})
	if class := upstream.ClassOf(err); class == upstream.InvalidSpec || class == upstream.Conflict {
		// Some gateways take a name once: another process may have had it first, for us.
		if first, findErr := a.find(ctx, "", r.Name, r.Mark); findErr == nil && first != nil {
			return first, first.id, nil
		}
	}
	if err != nil {
		return nil, "", err
	}
	made, _, err := applicationOf(answer.body)
	if err != nil {
		// A document of another form may say that an approver was asked; nothing at all, or a
		// page, says nothing.
		if !says(answer.body) {
			return nil, "", answer.refusal()
		}
		one, err = a.find(ctx, "", r.Name, r.Mark)
		return one, askedWithoutID, afterSending(err)
	}
	one, _, err = a.application(ctx, made.id)
	if err != nil {
		return nil, "", afterSending(err)
	}
	return one, made.id, nil
}

// register registers the application to the APIs that it lacks.
func (a *account) register(ctx context.Context, one *application, apis []string, r upstream.Request) (upstream.Issued, error) {
	missing, err := a.unregistered(ctx, one, apis)
	if err != nil || len(missing) == 0 {
		return upstream.Issued{}, err
	}
	what := "the registration of application " + r.Name + " to its APIs"
	known := readNote(r.SecretHandle)
	waiting, err := a.request(ctx, known, eventRegister, one.id)
	if err != nil {
		return upstream.Issued{}, err
	}
	if waiting != nil || known.event == eventRegister {
		return waits(r, one.id, what, eventRegister, waiting)
	}
	if _, err := a.change(ctx, "registration.add", http.MethodPost, "/applications/"+one.id+"/apis", map[string]any{"apiIDs": missing}); err != nil {
		return upstream.Issued{}, err
	}
	fresh, _, err := a.application(ctx, one.id)
	if err != nil {
		return upstream.Issued{}, afterSending(err)
	}
	if fresh == nil {
		return upstream.Issued{}, upstream.Errorf(upstream.OutcomeUnknown, "the application was registered and is not shown any more")
	}
	if missing, err = a.unregistered(ctx, fresh, apis); err != nil {
		return upstream.Issued{}, afterSending(err)
	}
	if len(missing) == 0 {
		return upstream.Issued{}, nil
	}
	if waiting, err = a.request(ctx, known, eventRegister, one.id); err != nil {
		return upstream.Issued{}, afterSending(err)
	}
	return waits(r, one.id, what, eventRegister, waiting)
}

// unregistered are those of the APIs that the application is not registered to.
func (a *account) unregistered(ctx context.Context, one *application, apis []string) ([]string, error) {
	without := func(have []string) []string {
		return slices.DeleteFunc(slices.Clone(apis), func(id string) bool { return slices.Contains(have, id) })
	}
	missing := without(one.apis)
	if len(missing) == 0 {
		return nil, nil
	}
	r, err := a.send(ctx, call{operation: "registration.list", method: http.MethodGet, path: "/applications/" + one.id + "/apis"})
	if err != nil {
		return nil, err
	}
	if !r.done() {
		return nil, r.refusal()
	}
	have, err := registeredOf(r.body)
	if err != nil {
		return nil, r.refusal()
	}
	return without(have), nil
}

// readKey reads the key of an application that is ours and registered.
func (a *account) readKey(ctx context.Context, one *application) (upstream.Issued, error) {
	partial := upstream.Issued{ID: one.id}
	if one.key.Empty() {
		// The application is published nowhere, so a key that is made anew ends none in use.
		r, err := a.send(ctx, call{
			operation: "key.create", method: http.MethodPost, path: "/applications/" + one.id + "/accessTokens", effect: true,
			body: map[string]string{"type": "apiAccessKeyCredentials"},
		})
		switch {
		case err != nil:
			return partial, err
		case notFoundHere(r.status) && !r.throttled:
			return partial, upstream.Errorf(upstream.Forbidden, "%s: the gateway gave the application no API key and makes none", r.words())
		case !r.done():
			return partial, r.refusal()
		}
		if one, _, err = a.application(ctx, one.id); err != nil || one == nil {
			return partial, cmp.Or(err, error(upstream.Errorf(upstream.Retryable, "the application is not shown any more")))
		}
	}
	switch {
	case masked(one.key.Reveal()):
		return partial, upstream.Errorf(upstream.Forbidden, "the gateway shows the API key of application %s to its owner only: the login's user must own the applications that it makes, or be in the team that does", one.name)
	case one.key.Empty():
		return partial, upstream.Errorf(upstream.Forbidden, "the gateway shows no API key of application %s", one.name)
	case one.expiryUnread:
		return partial, upstream.Errorf(upstream.Forbidden, "the gateway tells an end of the API key of application %s in a form that is not understood", one.name)
	}
	return upstream.Issued{
		ID: one.id, ExpiresAt: one.expires,
		Material: material.Material{APIKey: one.key, Attributes: map[string]string{material.AttributeURL: a.runtime.base.String()}},
	}, nil
}

// Revoke implements upstream.Upstream.
func (a *account) Revoke(ctx context.Context, h upstream.Handle) error {
	at, err := a.parseContainer(h.Container)
	if err != nil {
		return err
	}
	if !isMark(h.Mark) {
		return upstream.Errorf(upstream.InvalidSpec, "%q is no mark", upstream.Excerpt(string(h.Mark)))
	}
	turn := string(h.Mark)
	if !at.ofKeys() {
		turn = at.application
	}
	done, err := a.turns.take(ctx, turn)
	if err != nil {
		return err
	}
	defer done()
	if !at.ofKeys() {
		return a.revokeClient(ctx, at, h)
	}
	one, err := a.handled(ctx, h)
	if err != nil {
		return err
	}
	if one == nil {
		waiting, err := a.request(ctx, readNote(h.SecretHandle), eventCreate, string(h.Mark))
		if err != nil {
			return err
		}
		if waiting != nil {
			if err := a.withdraw(ctx, waiting); err != nil {
				return err
			}
		}
		return upstream.Errorf(upstream.NotFound, "the gateway has no application of this version")
	}
	// Suspended first: that ends its power at once and can be taken back by a person.
	if one.suspended != suspendedYes {
		suspended, err := a.suspend(ctx, one)
		if err != nil {
			return err
		}
		if suspended {
			return &upstream.Error{Class: upstream.Pending, After: pollAfter, Message: "the application is suspended and is deleted next"}
		}
	}
	return a.remove(ctx, one)
}

// handled finds the application of a handle in a list that is whole: nil is a proof. An id that
// is not listed is read all the same, and a mark without an id is looked for in descriptions.
func (a *account) handled(ctx context.Context, h upstream.Handle) (*application, error) {
	known := segment.MatchString(h.ID) && h.ID != askedWithoutID
	if known {
		if one, _, err := a.application(ctx, h.ID); one != nil || err != nil {
			return one, err
		}
	}
	all, err := a.applications(ctx)
	if err != nil {
		return nil, err
	}
	for _, one := range all {
		if known && one.id == h.ID || !known && markOf(one.description) == h.Mark {
			return &one, nil
		}
	}
	return nil, nil
}

// suspend throws the kill switch. It reports whether the gateway shows that it is thrown: one
// that does not, or knows no such switch, has its application deleted without it.
func (a *account) suspend(ctx context.Context, one *application) (bool, error) {
	r, err := a.send(ctx, call{
		operation: "application.suspend", method: http.MethodPatch, path: "/applications/" + one.id, effect: true,
		body: map[string]string{"isSuspended": "true"},
	})
	switch {
	case err != nil:
		return false, err
	case killSwitchMissing(r.status) && !r.throttled:
		return false, nil
	case !r.done():
		return false, r.refusal()
	}
	fresh, _, err := a.application(ctx, one.id)
	if err != nil {
		return false, afterSending(err)
	}
	return fresh != nil && fresh.suspended == suspendedYes, nil
}

// remove deletes an application and reads that it is gone.
func (a *account) remove(ctx context.Context, one *application) error {
	if _, err := a.change(ctx, "application.delete", http.MethodDelete, "/applications/"+one.id, nil); err != nil {
		return err
	}
	left, _, err := a.application(ctx, one.id)
	switch {
	case err != nil:
		return afterSending(err)
	case left != nil:
		return &upstream.Error{Class: upstream.Pending, After: pollAfter, Message: "the gateway has taken the deletion of the application and still shows it"}
	}
	return nil
}
