package neo

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/claviger-dev/claviger/internal/upstream"
)

// realm names the subaccount. Technical names of subaccounts never change, so the host
// and the name are as good as an immutable id, and there is no other.
func (a *account) realm() string { return a.platform.base.Host + "/" + a.parameters.Account }

// container names an application of it.
func (a *account) container(at application) string {
	return a.realm() + "/" + at.ProviderAccount + "/" + at.Name
}

// parseContainer finds the application of a container that Locate returned. One that
// the issuer does not name any more can still be cleared: its roles are unknown then,
// and a user's roles are taken all together anyway.
func (a *account) parseContainer(container string) (application, error) {
	rest, ok := strings.CutPrefix(container, a.realm()+"/")
	provider, name, found := strings.Cut(rest, "/")
	if !ok || !found || !segment.MatchString(provider) || !segment.MatchString(name) {
		return application{}, upstream.Errorf(upstream.InvalidSpec, "the container %q is not one of this subaccount", upstream.Excerpt(container))
	}
	for _, at := range a.parameters.Applications {
		if at.Name == name && at.ProviderAccount == provider {
			return at, nil
		}
	}
	return application{Name: name, ProviderAccount: provider}, nil
}

// read reads a credential's parameters and holds them against what the issuer allows:
// the platform client can give any role, so what teams may ask for is the issuer's to
// say.
func (a *account) read(raw json.RawMessage) (credentialParameters, application, error) {
	var p credentialParameters
	if json.Unmarshal(raw, &p) != nil {
		return p, application{}, upstream.Errorf(upstream.InvalidSpec, "the credential's %s cannot be read as JSON", Member)
	}
	i := slices.IndexFunc(a.parameters.Applications, func(at application) bool { return at.Name == p.Application })
	if i < 0 {
		return p, application{}, upstream.Errorf(upstream.InvalidSpec, "the issuer does not offer an application %q", upstream.Excerpt(p.Application))
	}
	at := a.parameters.Applications[i]
	if len(p.Roles) == 0 {
		return p, at, upstream.Errorf(upstream.InvalidSpec, "a client without roles may do nothing: name the roles")
	}
	for _, role := range p.Roles {
		if !slices.Contains(at.Roles, role) {
			return p, at, upstream.Errorf(upstream.InvalidSpec, "the issuer does not offer the role %q of %s", upstream.Excerpt(role), at.Name)
		}
	}
	return p, at, nil
}

// Check implements upstream.Upstream. It reads the roles of the platform client's own
// user, which is a call that needs the right to read; where a user without roles is
// answered "not found", the groups tell.
func (a *account) Check(ctx context.Context) (string, error) {
	r, err := a.platform.send(ctx, a.call("user.read", http.MethodGet, "/users/roles", url.Values{"userId": {userPrefix + a.platform.login.clientID.Reveal()}}))
	if err != nil {
		return "", err
	}
	if r.status == http.StatusNotFound {
		return a.realm(), a.readGroups(ctx)
	}
	if !r.document() {
		return "", a.platform.refusal(r)
	}
	return a.realm(), nil
}

// readGroups succeeds if the groups of the subaccount can be read.
func (a *account) readGroups(ctx context.Context) error {
	r, err := a.platform.send(ctx, a.call("group.list", http.MethodGet, "/groups", nil))
	switch {
	case err != nil:
		return err
	case r.status == http.StatusNotFound:
		return upstream.Errorf(upstream.InvalidSpec, "%s; account must be the technical name of a subaccount that the platform client was made in", r.words())
	case !r.document():
		return a.platform.refusal(r)
	}
	return nil
}

// Locate implements upstream.Upstream.
func (a *account) Locate(ctx context.Context, raw json.RawMessage) (string, error) {
	p, at, err := a.read(raw)
	if err != nil {
		return "", err
	}
	present, found, err := a.rolesOf(ctx, at)
	if err != nil {
		return "", err
	}
	if !found {
		return "", upstream.Errorf(upstream.NotFound, "the subaccount has no application %q of %q", at.Name, at.ProviderAccount)
	}
	for _, role := range p.Roles {
		if !slices.Contains(present, role) {
			return "", upstream.Errorf(upstream.NotFound, "%s has no role %q", at.Name, role)
		}
	}
	return a.container(at), nil
}

// isMark reports whether an id has the form of a mark.
func isMark(id string) bool {
	decoded, err := hex.DecodeString(id)
	return err == nil && len(decoded) == 16 && hex.EncodeToString(decoded) == id
}
