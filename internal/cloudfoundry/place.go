package cloudfoundry

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/claviger-dev/claviger/internal/upstream"
)

// pageSize keeps a page below the size that the transport takes; listAttempts is how
// often a list that changed while it was read is read.
const (
	pageSize     = 1000
	maxPages     = 1000
	listAttempts = 3
)

// segment is what may stand in a path without being taken for more than one name.
var segment = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._~-]{0,127}$`)

// place is a service instance, by ids that never change.
type place struct{ space, instance string }

func (a *account) realm(space string) string { return a.platform.base.Host + "/" + space }

func (a *account) container(at place) string { return a.realm(at.space) + "/" + at.instance }

func (a *account) parseContainer(text string) (place, error) {
	rest, ours := strings.CutPrefix(text, a.platform.base.Host+"/")
	space, instance, both := strings.Cut(rest, "/")
	if !ours || !both || !segment.MatchString(space) || !segment.MatchString(instance) {
		return place{}, upstream.Errorf(upstream.InvalidSpec, "%q is no service instance of this platform", upstream.Excerpt(text))
	}
	return place{space, instance}, nil
}

// read parses a credential's parameters.
func (k *keys) read(raw json.RawMessage) (credentialParameters, error) {
	var p credentialParameters
	if json.Unmarshal(raw, &p) != nil {
		return p, upstream.Errorf(upstream.InvalidSpec, "the credential's %s cannot be read as JSON", Member)
	}
	ways := 0
	for _, given := range []bool{p.Instance != "", p.InstanceGUID != "", p.Managed != nil} {
		if given {
			ways++
		}
	}
	if ways != 1 {
		return p, upstream.Errorf(upstream.InvalidSpec, "name either instance or instanceGUID, or ask for a managed one")
	}
	if p.InstanceGUID != "" && !segment.MatchString(p.InstanceGUID) {
		return p, upstream.Errorf(upstream.InvalidSpec, "instanceGUID %q is no guid", upstream.Excerpt(p.InstanceGUID))
	}
	if _, err := p.keyParameters(""); err != nil {
		return p, err
	}
	if p.KeyType == keyExternal && k.signer == nil {
		return p, errNoSigner()
	}
	return p, nil
}

// keyParameters are what the broker is asked for; nil asks for its default. An external
// certificate is sent along, without its chain.
func (p credentialParameters) keyParameters(external string) (any, error) {
	certificate := map[string]any{}
	if p.ValidityDays != 0 {
		certificate["validity"] = p.ValidityDays
	}
	if p.KeyLength != 0 {
		certificate["key-length"] = p.KeyLength
	}
	switch p.KeyType {
	case "", keySecret:
		return nil, nil
	case keyXSUAASecret:
		return map[string]any{"credential-type": "binding-secret"}, nil
	case keyCertificate:
		certificate["key-type"] = "certificate"
		return certificate, nil
	case keyExternal:
		return map[string]any{"key-type": "certificate_external", "X.509": external}, nil
	case keyXSUAACertificate:
		if p.ValidityDays != 0 {
			certificate["validity-type"] = "DAYS"
		}
		return map[string]any{"credential-type": "x509", "x509": certificate}, nil
	}
	return nil, upstream.Errorf(upstream.InvalidSpec, "keyType must be %s, %s, %s, %s or %s", keySecret, keyCertificate, keyExternal, keyXSUAASecret, keyXSUAACertificate)
}

// list reads a whole list. A total that does not fit is an error, never a shorter list.
func (a *account) list(ctx context.Context, operation, path string, query url.Values) ([]resource, error) {
	var err error
	for range listAttempts {
		var all []resource
		var consistent bool
		if all, consistent, err = a.listOnce(ctx, operation, path, query); err != nil || consistent {
			return all, err
		}
		err = upstream.Errorf(upstream.Retryable, "%s: the list has not as many entries as it says, or changed while it was read", operation)
	}
	return nil, err
}

func (a *account) listOnce(ctx context.Context, operation, path string, query url.Values) (all []resource, consistent bool, err error) {
	seen := map[string]bool{}
	total := 0
	for number := 1; number <= maxPages; number++ {
		asked := url.Values{"per_page": {strconv.Itoa(pageSize)}, "page": {strconv.Itoa(number)}}
		for name, values := range query {
			asked[name] = values
		}
		p, err := a.page(ctx, operation, path, asked)
		if err != nil {
			return nil, false, err
		}
		if number > 1 && p.Pagination.Total != total {
			return nil, false, nil
		}
		total = p.Pagination.Total
		for _, r := range p.Resources {
			if seen[r.GUID] {
				return nil, false, nil
			}
			seen[r.GUID] = true
			all = append(all, r)
		}
		if number >= p.Pagination.Pages || len(p.Resources) == 0 {
			break
		}
	}
	return all, len(all) == total, nil
}

func (a *account) page(ctx context.Context, operation, path string, query url.Values) (page, error) {
	r, err := a.platform.send(ctx, call{operation: operation, method: http.MethodGet, path: path, query: query})
	if err != nil {
		return page{}, err
	}
	if !r.document() {
		return page{}, r.refusal(roleAdvice)
	}
	p, err := decodePage(r.body)
	if err != nil {
		return p, upstream.Errorf(upstream.Retryable, "%s: %s", operation, err)
	}
	return p, nil
}

// quoted writes a filter value: a comma in a name is no separator.
func quoted(name string) string { return strings.ReplaceAll(name, ",", "%2C") }

// one finds the only object of a list. NotFound is said of a list that was whole.
func (a *account) one(ctx context.Context, operation, path, what, name string, query url.Values) (resource, error) {
	found, err := a.list(ctx, operation, path, query)
	switch {
	case err != nil:
		return resource{}, err
	case len(found) == 0:
		return resource{}, upstream.Errorf(upstream.NotFound, "there is no %s %q, or the login may not see it%s", what, upstream.Excerpt(name), roleAdvice)
	case len(found) > 1:
		return resource{}, upstream.Errorf(upstream.Retryable, "%s: %d of the name %q were answered", operation, len(found), upstream.Excerpt(name))
	}
	return found[0], nil
}

// spaceGUID finds the issuer's space. That it cannot be seen is the issuer's condition.
func (a *account) spaceGUID(ctx context.Context) (string, error) {
	hidden := func(err error) error {
		if upstream.ClassOf(err) != upstream.NotFound {
			return err
		}
		return upstream.Errorf(upstream.Forbidden, "%s", strings.TrimPrefix(err.Error(), string(upstream.NotFound)+": "))
	}
	org, err := a.one(ctx, "org.list", "/v3/organizations", "organization", a.parameters.Organization, url.Values{"names": {quoted(a.parameters.Organization)}})
	if err != nil {
		return "", hidden(err)
	}
	space, err := a.one(ctx, "space.list", "/v3/spaces", "space", a.parameters.Space, url.Values{"names": {quoted(a.parameters.Space)}, "organization_guids": {org.GUID}})
	return space.GUID, hidden(err)
}

// Check implements upstream.Upstream.
func (a *account) Check(ctx context.Context) (string, error) {
	space, err := a.spaceGUID(ctx)
	if err != nil {
		return "", err
	}
	return a.realm(space), nil
}

// Locate implements upstream.Upstream.
func (a *account) Locate(ctx context.Context, raw json.RawMessage) (string, error) {
	p, err := a.read(raw)
	if err != nil {
		return "", err
	}
	if p.Managed != nil {
		return "", upstream.Errorf(upstream.InvalidSpec, "a managed instance cannot be told from others without its owner")
	}
	space, err := a.spaceGUID(ctx)
	if err != nil {
		return "", err
	}
	query, name := url.Values{"space_guids": {space}, "names": {quoted(p.Instance)}}, p.Instance
	if p.InstanceGUID != "" {
		query, name = url.Values{"space_guids": {space}, "guids": {p.InstanceGUID}}, p.InstanceGUID
	}
	instance, err := a.one(ctx, "instance.list", "/v3/service_instances", "service instance", name, query)
	if err != nil {
		return "", err
	}
	return a.container(place{space, instance.GUID}), nil
}

// visible succeeds if the login has its rights in the space: then what a whole list
// lacks is not there. The space is read by its guid, and so is the instance, unless it
// has gone itself.
func (a *account) visible(ctx context.Context, at place) error {
	r, err := a.platform.send(ctx, call{operation: "space.read", method: http.MethodGet, path: "/v3/spaces/" + at.space})
	if err != nil {
		return err
	}
	var s resource
	if !r.document() || json.Unmarshal(r.body, &s) != nil || s.GUID != at.space {
		return r.refusal(roleAdvice)
	}
	return nil
}
