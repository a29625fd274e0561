package webmethodsportal

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/claviger-dev/claviger/internal/upstream"
)

// reference is what the journal knows of a version: the request, until it was carried out,
// and then the application.
type reference struct{ request, application string }

const requestPrefix = "request:"

func parseReference(id string) reference {
	if request, ok := strings.CutPrefix(id, requestPrefix); ok {
		return reference{request: request}
	}
	return reference{application: id}
}

func (r reference) empty() bool { return r == reference{} }

// traces are what the portal has of one version.
type traces struct {
	// applications are those that bear the mark or are the one of the reference.
	applications []application
	// requests are those that led to them, or may still lead to one.
	requests []request
	// nameless counts requests that are under way and do not tell what for.
	nameless int
	// others counts the requests of this user that led elsewhere.
	others int
}

// look searches everything that this user has made. Two lists and not one: an application
// may not exist yet, and a request does not always tell its name.
func (a *account) look(ctx context.Context, mark upstream.Mark, ref reference) (traces, error) {
	applications, err := a.applications(ctx)
	if err != nil {
		return traces{}, err
	}
	requests, err := a.requests(ctx, typeCreation)
	if err != nil {
		return traces{}, err
	}
	return sift(applications, requests, mark, ref), nil
}

// sift picks what belongs to a version.
func sift(applications []application, requests []request, mark upstream.Mark, ref reference) traces {
	var t traces
	named := map[string]bool{} // by application, whether it is ours
	for _, r := range requests {
		if r.ID == ref.request && r.Application != "" {
			named[r.Application] = true
		}
	}
	for _, app := range applications {
		ours := named[app.ID] || app.ID == ref.application || markOf(app.Name, app.Description) == mark
		named[app.ID] = ours
		if ours {
			t.applications = append(t.applications, app)
		}
	}
	for _, r := range requests {
		ours, told := named[r.Application]
		switch {
		case r.ID == ref.request, r.Application != "" && r.Application == ref.application, told && ours:
			t.requests = append(t.requests, r)
		case told:
			t.others++
		case r.Context != nil && r.Context.Name != "":
			if markOf(r.Context.Name, r.Context.Description) == mark {
				t.requests = append(t.requests, r)
			} else {
				t.others++
			}
		case phaseOf(r.Status).open():
			t.nameless++
		default:
			t.others++
		}
	}
	slices.SortStableFunc(t.applications, func(x, y application) int { return cmp.Compare(x.ID, y.ID) })
	slices.SortStableFunc(t.requests, func(x, y request) int { return cmp.Compare(x.ID, y.ID) })
	return t
}

// knows reports whether the portal shows what the journal tells of: the login sees what it
// saw then, so that what is missing beside it is gone. A request can be withdrawn, and then
// any other one shows that the login still sees its own; what once had an application
// keeps its request for good.
func (t traces) knows(ref reference) bool {
	if ref.application == "" && t.others > 0 {
		return true
	}
	return slices.ContainsFunc(t.requests, func(r request) bool {
		return r.ID == ref.request || r.Application != "" && r.Application == ref.application
	})
}

// Check implements upstream.Upstream: one page of what this user has.
func (a *account) Check(ctx context.Context) (string, error) {
	c := call{operation: "application.list", method: http.MethodGet, path: "/applications", query: url.Values{"page": {"0"}, "limit": {"1"}}}
	if _, err := a.portal.page(ctx, c); err != nil {
		return "", err
	}
	return a.realm, nil
}

// Locate implements upstream.Upstream. The portal tells only in the answer to a request
// whether its APIs exist.
func (a *account) Locate(ctx context.Context, raw json.RawMessage) (string, error) {
	p, err := parse(raw)
	if err != nil {
		return "", err
	}
	if p.Probe != nil && a.gateway.base == nil {
		return "", upstream.Errorf(upstream.InvalidSpec, "the credential has a probe, and its issuer names no gateway.url")
	}
	if _, err := a.Check(ctx); err != nil {
		return "", err
	}
	return a.container(), nil
}

// List implements upstream.Upstream.
func (a *account) List(ctx context.Context, owner upstream.Owner) (upstream.Listing, error) {
	applications, err := a.applications(ctx)
	if err != nil {
		return upstream.Listing{}, err
	}
	listing := upstream.Listing{Total: len(applications)}
	if owner.Container != "" && owner.Container != a.container() {
		return listing, nil
	}
	for _, app := range applications {
		mark := markOf(app.Name, app.Description)
		if mark == "" || app.void() || owner.Mark != "" && mark.Owner() != owner.Mark {
			continue
		}
		listing.Found = append(listing.Found, upstream.Found{ID: app.ID, Name: plainName(app.Name), Mark: mark, Container: a.container()})
	}
	return listing, nil
}
