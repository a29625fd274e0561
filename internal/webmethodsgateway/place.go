package webmethodsgateway

import (
	"context"
	"encoding/json"
	"slices"
	"strings"

	"github.com/claviger-dev/claviger/internal/upstream"
)

// Containers are below the realm, which is the gateway's host: keys live in the gateway as a
// whole, since each is an application; clients in the application that has them.
const (
	keysContainer       = "/applications"
	clientsContainerDir = "/application/"
)

func (a *account) realm() string { return a.gateway.base.Host }

// place is where a version lives: in an application, or in the gateway if it is one itself.
type place struct{ application string }

func (p place) ofKeys() bool { return p.application == "" }

func (a *account) container(p place) string {
	if p.ofKeys() {
		return a.realm() + keysContainer
	}
	return a.realm() + clientsContainerDir + p.application
}

func (a *account) parseContainer(container string) (place, error) {
	rest, ours := strings.CutPrefix(container, a.realm())
	if ours && rest == keysContainer {
		return place{}, nil
	}
	id, ofClients := strings.CutPrefix(rest, clientsContainerDir)
	if !ours || !ofClients || !segment.MatchString(id) {
		return place{}, upstream.Errorf(upstream.InvalidSpec, "the container %q is not one of this gateway", upstream.Excerpt(container))
	}
	return place{id}, nil
}

// Check implements upstream.Upstream: counting the applications needs the login and the right
// to look for them.
func (a *account) Check(ctx context.Context) (string, error) {
	if _, err := a.count(ctx); err != nil {
		return "", err
	}
	return a.realm(), nil
}

// Locate implements upstream.Upstream.
func (a *account) Locate(ctx context.Context, raw json.RawMessage) (string, error) {
	p, err := parse(raw)
	if err != nil {
		return "", err
	}
	if p.Type == typeKey {
		_, err := a.apis(ctx, p.APIs)
		return a.container(place{}), err
	}
	found, err := a.named(ctx, p.Application)
	if err != nil {
		return "", err
	}
	var ids []string
	for _, one := range found {
		if one.name == p.Application && !slices.Contains(ids, one.id) {
			ids = append(ids, one.id)
		}
	}
	switch len(ids) {
	case 0:
		return "", upstream.Errorf(upstream.NotFound, "the gateway has no application %q, or the login may not see it", upstream.Excerpt(p.Application))
	case 1:
		return a.container(place{ids[0]}), nil
	}
	return "", upstream.Errorf(upstream.InvalidSpec, "the gateway has %d applications of the name %q: rename all but one", len(ids), upstream.Excerpt(p.Application))
}

// named are the applications that a search by name finds.
func (a *account) named(ctx context.Context, name string) ([]application, error) {
	found, _, err := search[application](ctx, a, "application", []string{"applicationID", "id", "name", "description"}, searchScope{"name", literally(name)})
	return found, err
}

// apiWire is an API as a search shows it.
type apiWire struct {
	ID      string `json:"id"`
	Name    string `json:"apiName"`
	Version string `json:"apiVersion"`
}

// apis are the ids of the APIs that a team named.
func (a *account) apis(ctx context.Context, refs []apiRef) ([]string, error) {
	var ids []string
	for _, ref := range refs {
		found, _, err := search[apiWire](ctx, a, "api", []string{"id", "apiName", "apiVersion"}, searchScope{"apiName", literally(ref.Name)})
		if err != nil {
			return nil, err
		}
		var fitting []apiWire
		for _, api := range found {
			if api.Name == ref.Name && (ref.Version == "" || api.Version == ref.Version) && segment.MatchString(api.ID) {
				fitting = append(fitting, api)
			}
		}
		switch {
		case len(fitting) == 0:
			return nil, upstream.Errorf(upstream.NotFound, "the gateway has no API %q%s, or the login may not see it", upstream.Excerpt(ref.Name), versionWords(ref.Version))
		case len(fitting) > 1:
			return nil, upstream.Errorf(upstream.InvalidSpec, "the gateway has %d APIs %q: name the version", len(fitting), upstream.Excerpt(ref.Name))
		}
		if !slices.Contains(ids, fitting[0].ID) {
			ids = append(ids, fitting[0].ID)
		}
	}
	return ids, nil
}

func versionWords(version string) string {
	if version == "" {
		return ""
	}
	return " of version " + upstream.Excerpt(version)
}

// List implements upstream.Upstream.
func (a *account) List(ctx context.Context, owner upstream.Owner) (upstream.Listing, error) {
	var at *place
	if owner.Container != "" {
		p, err := a.parseContainer(owner.Container)
		if err != nil {
			return upstream.Listing{}, err
		}
		at = &p
	}
	all, err := a.applications(ctx)
	if err != nil {
		return upstream.Listing{}, err
	}
	var listing upstream.Listing
	add := func(id, name, description string, in place) {
		mark := markOf(description)
		if mark != "" && (owner.Mark == "" || mark.Owner() == owner.Mark) {
			listing.Found = append(listing.Found, upstream.Found{ID: id, Name: name, Mark: mark, Container: a.container(in)})
		}
	}
	if at == nil || at.ofKeys() {
		listing.Total = len(all)
		for _, one := range all {
			add(one.id, one.name, one.description, place{})
		}
	}
	if at == nil || !at.ofKeys() {
		clients, err := a.wholeStrategies(ctx, all)
		if err != nil {
			return upstream.Listing{}, err
		}
		listing.Total += len(clients)
		for _, one := range clients {
			if in := placeOf(one.Description); in != "" && (at == nil || at.application == in) {
				add(one.ID, one.Name, one.Description, place{in})
			}
		}
	}
	slices.SortFunc(listing.Found, func(x, y upstream.Found) int { return strings.Compare(x.ID, y.ID) })
	return listing, nil
}

// wholeStrategies is the list of strategies, if it has all that applications use: it has no
// count that it could be held against. A strategy that somebody deleted without taking it from
// its application is read by its id.
func (a *account) wholeStrategies(ctx context.Context, users []application) ([]strategy, error) {
	all, err := a.strategies(ctx)
	if err != nil {
		return nil, err
	}
	listed := map[string]bool{}
	for _, one := range all {
		listed[one.ID] = true
	}
	for _, user := range users {
		for _, id := range user.strategies {
			if listed[id] || !segment.MatchString(id) {
				continue
			}
			there, err := a.strategy(ctx, id)
			if err != nil {
				return nil, err
			}
			if there != nil {
				return nil, upstream.Errorf(upstream.Retryable, "strategy.list: the gateway does not list a strategy that it has; does the login see all of them?")
			}
			listed[id] = true
		}
	}
	return all, nil
}
