package centrasite

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/claviger-dev/claviger/internal/upstream"
)

// Capabilities implements upstream.Upstream. What a list shows is believed, and what it
// never shows is what was sent, so a version is readable either way. Two requests for one
// application may be two access tokens: nothing is said to be unique.
func (a *account) Capabilities() upstream.Capabilities {
	return upstream.Capabilities{Class: upstream.Readable, Overlap: true, Settle: settle, VerifyTimeout: verifyTimeout}
}

// Check implements upstream.Upstream.
func (a *account) Check(ctx context.Context) (string, error) {
	if _, err := a.events(ctx); err != nil {
		return "", err
	}
	return a.realm, nil
}

// container is all that belongs to the issuer's user.
func (a *account) container() string { return a.realm + "/" + a.parameters.UserID }

// Locate implements upstream.Upstream. That an API exists can be asked of nobody here: its
// key is taken as it is, and a request for an unknown one is refused.
func (a *account) Locate(ctx context.Context, raw json.RawMessage) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", &upstream.Error{Class: upstream.Retryable, Message: "given up before it began", Err: err}
	}
	if _, err := parse(raw); err != nil {
		return "", err
	}
	return a.container(), nil
}

// own checks that a container is this account's.
func (a *account) own(container string) error {
	if container != a.container() {
		return upstream.Errorf(upstream.InvalidSpec, "container %s is not of user %s of this CentraSite", upstream.Excerpt(container), upstream.Excerpt(a.parameters.UserID))
	}
	return nil
}

// isMark checks the shape of a mark.
func isMark(m upstream.Mark) bool {
	return len(m) == 32 && strings.Trim(string(m), "0123456789abcdef") == ""
}

// tokens lists all access tokens that the login may see. whole: the list says how many
// there are, so that what is not in it is not there.
func (a *account) tokens(ctx context.Context) (all []token, whole bool, err error) {
	r, err := a.centraSite.exchange(ctx, call{operation: "token.list", method: http.MethodGet, path: a.parameters.TokensPath, authorize: a.login.authorize})
	if err != nil {
		return nil, false, err
	}
	if r.status != http.StatusOK {
		return nil, false, r.refusal()
	}
	all, whole, err = readList[token](r.body, "accessTokens", "tokens")
	if err == nil && slices.ContainsFunc(all, func(t token) bool { return t.UUID == "" || t.Name == "" }) {
		err = errForm
	}
	if err != nil {
		return nil, false, r.unreadable(err)
	}
	return all, whole, nil
}

// events lists what CentraSite works on.
func (a *account) events(ctx context.Context) ([]event, error) {
	c := call{
		operation: "event.list", method: http.MethodGet, path: a.parameters.EventsPath, query: url.Values{"eventStatus": {"INPROGRESS"}},
		authorize: a.login.authorize,
	}
	r, err := a.centraSite.exchange(ctx, c)
	if err != nil {
		return nil, err
	}
	if r.status != http.StatusOK {
		return nil, r.refusal()
	}
	all, _, err := readList[event](r.body, "events")
	if err != nil {
		return nil, r.unreadable(err)
	}
	return all, nil
}

// inProgress finds the event about a version.
func (a *account) inProgress(ctx context.Context, mark upstream.Mark) (*event, error) {
	all, err := a.events(ctx)
	if err != nil {
		return nil, err
	}
	for i := range all {
		if all[i].AppID == appID(mark) {
			return &all[i], nil
		}
	}
	return nil, nil
}

// List implements upstream.Upstream.
func (a *account) List(ctx context.Context, owner upstream.Owner) (upstream.Listing, error) {
	if owner.Container != "" {
		if err := a.own(owner.Container); err != nil {
			return upstream.Listing{}, err
		}
	}
	all, whole, err := a.tokens(ctx)
	if err != nil {
		return upstream.Listing{}, err
	}
	if len(all) == 0 && !whole {
		return upstream.Listing{}, upstream.Errorf(upstream.Retryable, "token.list: CentraSite lists nothing and does not say that there is nothing")
	}
	listing := upstream.Listing{Total: len(all)}
	seen := map[upstream.Mark]bool{}
	for _, t := range all {
		mark := t.mark()
		// Two requests for one application are ended by one call, and are one here.
		if mark == "" || seen[mark] || owner.Mark != "" && mark.Owner() != owner.Mark || t.UserID != "" && t.UserID != a.parameters.UserID {
			continue
		}
		seen[mark] = true
		listing.Found = append(listing.Found, upstream.Found{ID: t.UUID, Name: t.ourPart(), Mark: mark, Container: a.container(), CreatedAt: t.created()})
	}
	return listing, nil
}

// Revoke implements upstream.Upstream. The application is the version's own, so that ending
// it ends nothing else; it is ended though a list may lack it, and it is gone only when the
// list, what is worked on and the answer say so.
func (a *account) Revoke(ctx context.Context, h upstream.Handle) error {
	if err := a.own(h.Container); err != nil {
		return err
	}
	if !isMark(h.Mark) {
		return upstream.Errorf(upstream.InvalidSpec, "%q is no mark", upstream.Excerpt(string(h.Mark)))
	}
	all, whole, err := a.tokens(ctx)
	if err != nil {
		return err
	}
	var ours []token
	for _, t := range all {
		if t.mark() == h.Mark && !slices.ContainsFunc(ours, func(o token) bool { return o.AppID == t.AppID }) {
			ours = append(ours, t)
		}
	}
	if len(ours) == 0 {
		return a.revokeUnlisted(ctx, h, len(all) > 0 || whole)
	}
	for _, t := range ours {
		if err := a.revokeListed(ctx, h, t); err != nil {
			return err
		}
	}
	return nil
}

// revokeListed ends an application that the list shows.
func (a *account) revokeListed(ctx context.Context, h upstream.Handle, t token) error {
	application := t.AppID
	if application == "" {
		application = appID(h.Mark) // this release does not show it
	}
	r, err := a.end(ctx, application, h)
	switch {
	case err != nil:
		return err
	case r.ended():
		return nil
	case r.status == http.StatusConflict:
		return a.undecided(ctx, h, r)
	case r.status != http.StatusNotFound || r.page():
		return r.refusal()
	}
	// What was rejected may stand in the list for ever, and has never been made.
	decision, err := a.decision(ctx, t.UUID)
	if err != nil {
		return err
	}
	if decision != nil && decision.status == statusRejected {
		return nothing(h.Mark)
	}
	return r.refusal()
}

// revokeUnlisted ends what no list shows, and finds out whether anything is there.
func (a *account) revokeUnlisted(ctx context.Context, h upstream.Handle, whole bool) error {
	r, err := a.end(ctx, appID(h.Mark), h)
	switch {
	case err != nil:
		return err
	case r.ended():
		return nil
	case r.status == http.StatusConflict:
		return a.undecided(ctx, h, r)
	case r.status != http.StatusNotFound || r.page() || !whole:
		return r.refusal()
	}
	working, err := a.inProgress(ctx, h.Mark)
	if err != nil {
		return err
	}
	if working != nil {
		return a.undecided(ctx, h, r)
	}
	return nothing(h.Mark)
}

// nothing says that a version is proven to be absent.
func nothing(mark upstream.Mark) error {
	return upstream.Errorf(upstream.NotFound, "CentraSite has no access token for application %s", appID(mark))
}

// end revokes the access tokens of an application.
func (a *account) end(ctx context.Context, application string, h upstream.Handle) (reply, error) {
	return a.centraSite.exchange(ctx, call{
		operation: "token.revoke", method: http.MethodDelete, path: a.parameters.TokensPath + "/" + url.PathEscape(application),
		query: url.Values{"eventId": {eventID(h.Mark)}}, authorize: a.login.authorize, effect: true,
	})
}

// ended tells success from a proxy's page.
func (r reply) ended() bool { return r.status/100 == 2 && !r.page() }

// undecided words that nothing is revoked that people still have to decide about.
func (a *account) undecided(ctx context.Context, h upstream.Handle, r reply) error {
	uuid := h.ID
	if uuid == "" {
		working, err := a.inProgress(ctx, h.Mark)
		if err != nil {
			return err
		}
		if working != nil {
			uuid = working.UUID
		}
	}
	if uuid != "" {
		decision, err := a.decision(ctx, uuid)
		if err != nil {
			return err
		}
		if decision != nil && decision.status == statusInProgress {
			return upstream.Errorf(upstream.AwaitingUpstreamApproval,
				"CentraSite revokes nothing that people still have to decide about: approve or reject approval request %s", upstream.Excerpt(decision.key))
		}
	}
	return upstream.Errorf(upstream.Retryable, "%s, and CentraSite still works on it", r.words())
}
