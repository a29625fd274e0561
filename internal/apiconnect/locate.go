package apiconnect

import (
	"context"
	"encoding/json"
	"time"

	"github.com/claviger-dev/claviger/internal/upstream"
)

// locatedFor is how long names stay resolved: long enough that a rotation does not
// resolve them at each of its steps, short enough that a renamed app is noticed.
const locatedFor = 5 * time.Minute

// located is a remembered answer of Locate.
type located struct {
	at    place
	until time.Time
}

// Check implements upstream.Upstream.
func (a *account) Check(ctx context.Context) (string, error) {
	realm, err := a.readRealm(ctx)
	if err != nil {
		return "", err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.realm != realm {
		clear(a.located)
	}
	a.realm = realm
	return realm.realm(), nil
}

// resolveRealm returns the issuer's own containers by id, from memory if they were
// read before.
func (a *account) resolveRealm(ctx context.Context) (place, error) {
	a.mu.Lock()
	realm := a.realm
	a.mu.Unlock()
	if realm != (place{}) {
		return realm, nil
	}
	if _, err := a.Check(ctx); err != nil {
		return place{}, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.realm, nil
}

func (a *account) readRealm(ctx context.Context) (place, error) {
	realm := place{host: a.platform.base.Host, org: a.parameters.ProviderOrg, catalog: a.parameters.Catalog}
	org, err := a.find(ctx, "org", realm.orgPath(), path("orgs"), realm.org)
	if err != nil {
		return place{}, err
	}
	if org == "" {
		return place{}, upstream.Errorf(upstream.NotFound, "provider organisation %q does not exist, or the login is no member of it; GET /api/orgs lists those it sees", realm.org)
	}
	realm.org = org
	catalog, err := a.find(ctx, "catalog", realm.catalogPath(), realm.catalogsPath(), realm.catalog)
	if err != nil {
		return place{}, err
	}
	if catalog == "" {
		return place{}, upstream.Errorf(upstream.NotFound, "catalog %q does not exist in provider organisation %q; GET /api/orgs/%s/catalogs lists them",
			realm.catalog, a.parameters.ProviderOrg, org)
	}
	realm.catalog = catalog
	return realm, nil
}

// find reads an object by name or id and returns its id. After a 404 the list that it
// would be in has the last word; the id is empty if it is not in there either.
func (a *account) find(ctx context.Context, kind, path, listPath, wanted string) (id string, err error) {
	var object named
	found, err := a.platform.get(ctx, kind+".read", path, &object)
	if err != nil {
		return "", err
	}
	if !found {
		entries, err := list[named](ctx, a.platform, kind+".list", listPath, "id,name")
		if err != nil {
			return "", err
		}
		for _, entry := range entries {
			if entry.Name == wanted || entry.ID == wanted {
				object, found = entry, true
			}
		}
		if !found {
			return "", nil
		}
	}
	if checkSegment("id", object.ID) != nil {
		return "", upstream.Errorf(upstream.Retryable, "%s.read: the answer holds no usable id", kind)
	}
	return object.ID, nil
}

// Locate implements upstream.Upstream.
func (a *account) Locate(ctx context.Context, parameters json.RawMessage) (string, error) {
	wanted, err := parseParameters(parameters)
	if err != nil {
		return "", err
	}
	key := wanted.ConsumerOrg + "/" + wanted.App
	a.mu.Lock()
	known, ok := a.located[key]
	a.mu.Unlock()
	if ok && a.now().Before(known.until) {
		return known.at.String(), nil
	}
	at, err := a.locate(ctx, wanted)
	if err != nil {
		return "", err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.located) >= maxKnown {
		clear(a.located)
	}
	a.located[key] = located{at: at, until: a.now().Add(locatedFor)}
	return at.String(), nil
}

func (a *account) locate(ctx context.Context, wanted credentialParameters) (place, error) {
	at, err := a.resolveRealm(ctx)
	if err != nil {
		return place{}, err
	}
	at.consumerOrg = wanted.ConsumerOrg
	at.consumerOrg, err = a.find(ctx, "consumerorg", at.consumerOrgPath(), at.catalogPath()+"/consumer-orgs", wanted.ConsumerOrg)
	if err != nil {
		return place{}, err
	}
	if at.consumerOrg == "" {
		if err := a.proveReadable(ctx, "catalog.read", at.catalogPath()); err != nil {
			return place{}, err
		}
		return place{}, upstream.Errorf(upstream.NotFound, "consumer organisation %q does not exist in catalog %q; GET %s/consumer-orgs?fields=id,name lists them",
			wanted.ConsumerOrg, a.parameters.Catalog, at.catalogPath())
	}
	at.app = wanted.App
	at.app, err = a.find(ctx, "app", at.appPath(), at.consumerOrgPath()+"/apps", wanted.App)
	if err != nil {
		return place{}, err
	}
	if at.app == "" {
		if err := a.proveReadable(ctx, "consumerorg.read", at.consumerOrgPath()); err != nil {
			return place{}, err
		}
		return place{}, upstream.Errorf(upstream.NotFound, "app %q does not exist in consumer organisation %q of catalog %q; GET %s/apps?fields=id,name lists them",
			wanted.App, wanted.ConsumerOrg, a.parameters.Catalog, at.consumerOrgPath())
	}
	return at, nil
}

// forgetLocated lets names be resolved again.
func (a *account) forgetLocated(at place) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for key, known := range a.located {
		if known.at == at {
			delete(a.located, key)
		}
	}
}

// parseParameters reads the credential's one-of member.
func parseParameters(raw json.RawMessage) (credentialParameters, error) {
	var parameters credentialParameters
	if err := json.Unmarshal(raw, &parameters); err != nil {
		return parameters, upstream.Errorf(upstream.InvalidSpec, "the credential's %s cannot be read as JSON", Member)
	}
	if err := checkSegment("consumerOrg", parameters.ConsumerOrg); err != nil {
		return parameters, err
	}
	if parameters.Naming == namingSwap {
		if err := checkSegment("name", parameters.Name); err != nil {
			return parameters, err
		}
	}
	return parameters, checkSegment("app", parameters.App)
}

// parseOwn reads a container and refuses one that another platform holds: its ids mean
// nothing here, and a 404 for them less than nothing.
func (a *account) parseOwn(container string) (place, error) {
	at, err := parsePlace(container)
	if err != nil {
		return place{}, err
	}
	if at.host != a.platform.base.Host {
		return place{}, upstream.Errorf(upstream.InvalidSpec, "the version lives on %s, and this issuer is on %s", at.host, a.platform.base.Host)
	}
	return at, nil
}
