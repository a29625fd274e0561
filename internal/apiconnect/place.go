package apiconnect

import (
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/claviger-dev/claviger/internal/upstream"
)

// place is where something lives, by immutable ids. As text it is
// "<host>/orgs/<id>/catalogs/<id>/consumer-orgs/<id>/apps/<id>", and the realm is the
// part before "/consumer-orgs".
type place struct{ host, org, catalog, consumerOrg, app string }

func (p place) realm() string { return p.host + "/orgs/" + p.org + "/catalogs/" + p.catalog }

func (p place) String() string {
	return p.realm() + "/consumer-orgs/" + p.consumerOrg + "/apps/" + p.app
}

// parsePlace reads a container as Locate wrote it.
func parsePlace(container string) (place, error) {
	parts := strings.Split(container, "/")
	labels := map[int]string{1: "orgs", 3: "catalogs", 5: "consumer-orgs", 7: "apps"}
	bad := upstream.Errorf(upstream.InvalidSpec, "%q is no container of API Connect", upstream.Excerpt(container))
	if len(parts) != 9 {
		return place{}, bad
	}
	for i, part := range parts {
		if label, fixed := labels[i]; fixed && part != label || !fixed && checkSegment("container", part) != nil {
			return place{}, bad
		}
	}
	return place{host: parts[0], org: parts[2], catalog: parts[4], consumerOrg: parts[6], app: parts[8]}, nil
}

// placeOf reads the ids of an app out of its address. Only the path counts: one
// platform answers under several host names.
func (a *account) placeOf(realm place, appURL string) (place, bool) {
	address, err := url.Parse(appURL)
	if err != nil {
		return place{}, false
	}
	_, tail, ok := strings.Cut(address.Path, "/api/apps/")
	parts := strings.Split(strings.TrimSuffix(tail, "/"), "/")
	if !ok || len(parts) != 4 || parts[0] != realm.org || parts[1] != realm.catalog || checkSegment("id", parts[2]) != nil || checkSegment("id", parts[3]) != nil {
		return place{}, false
	}
	return place{host: realm.host, org: parts[0], catalog: parts[1], consumerOrg: parts[2], app: parts[3]}, true
}

// checkSegment refuses what would change the meaning of a path. An empty one is the
// worst: DELETE of a credential without an id is DELETE of them all.
func checkSegment(what, value string) error {
	if value == "" || value == "." || value == ".." || len(value) > 255 || !utf8.ValidString(value) || strings.ContainsAny(value, `/\`) ||
		strings.ContainsFunc(value, func(r rune) bool { return unicode.IsControl(r) || unicode.IsSpace(r) }) {
		return upstream.Errorf(upstream.InvalidSpec, "%s %q is no name or id: it must not be empty, or hold slashes or spaces", what, upstream.Excerpt(value))
	}
	return nil
}

// path joins segments, each escaped.
func path(segments ...string) string {
	escaped := make([]string, len(segments))
	for i, segment := range segments {
		escaped[i] = url.PathEscape(segment)
	}
	return "/api/" + strings.Join(escaped, "/")
}

func (p place) orgPath() string      { return path("orgs", p.org) }
func (p place) catalogsPath() string { return path("orgs", p.org, "catalogs") }
func (p place) catalogPath() string  { return path("catalogs", p.org, p.catalog) }
func (p place) consumerOrgPath() string {
	return path("consumer-orgs", p.org, p.catalog, p.consumerOrg)
}
func (p place) appPath() string { return path("apps", p.org, p.catalog, p.consumerOrg, p.app) }

// credentialPath takes a name or an id, checked by the caller.
func (p place) credentialPath(credential string) string {
	return path("apps", p.org, p.catalog, p.consumerOrg, p.app, "credentials", credential)
}
