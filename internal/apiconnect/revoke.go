package apiconnect

import (
	"context"
	"net/http"

	"github.com/claviger-dev/claviger/internal/upstream"
)

// Revoke implements upstream.Upstream. It deletes by the id just read, and only what
// bears the handle's client id: a name may have passed to somebody else.
func (a *account) Revoke(ctx context.Context, h upstream.Handle) error {
	at, err := a.parseOwn(h.Container)
	if err != nil {
		return err
	}
	if err := checkHandle(h); err != nil {
		return err
	}
	found, err := a.search(ctx, at, h.Name, identity(h))
	if err != nil {
		return err
	}
	if found == nil {
		a.memory.forget(identity(h))
		if err := a.passName(ctx, at, h); err != nil {
			return err
		}
		return upstream.Errorf(upstream.NotFound, "no credential of the app has the client id %s", upstream.Excerpt(string(identity(h))))
	}
	c := call{operation: "credential.delete", method: http.MethodDelete, path: at.credentialPath(found.ID), effect: true}
	answer, err := a.platform.send(ctx, c)
	if err != nil {
		return err
	}
	switch answer.status {
	case http.StatusOK, http.StatusAccepted, http.StatusNoContent:
		// A page with 200 comes from a proxy that has deleted nothing.
		var ignored any
		if len(answer.body) > 0 && decode(answer.body, &ignored) != nil {
			return refusal(c, answer)
		}
	case http.StatusNotFound, http.StatusGone:
		// It was there a moment ago: gone by another hand, or not to be deleted by ours.
		if left, err := a.search(ctx, at, h.Name, identity(h)); err != nil || left != nil {
			return refusal(c, answer)
		}
	default:
		return refusal(c, answer)
	}
	a.memory.forget(identity(h))
	return a.passName(ctx, at, h)
}

// identity is the client id by which a credential is known: the mark, or for one that was
// adopted its own, which the journal holds together with the upstream's id.
func identity(h upstream.Handle) upstream.Mark {
	if h.ID != "" && h.Material.ClientID != "" {
		return upstream.Mark(h.Material.ClientID)
	}
	return h.Mark
}

// checkHandle refuses a handle that could match somebody else's object, above all an
// empty mark.
func checkHandle(h upstream.Handle) error {
	if !isMark(h.Mark) {
		return upstream.Errorf(upstream.InvalidSpec, "mark %q is not 32 lower-case hex digits", upstream.Excerpt(string(h.Mark)))
	}
	return checkSegment("name", h.Name)
}
