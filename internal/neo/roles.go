package neo

import (
	"context"
	"net/http"
	"net/url"
	"slices"

	"github.com/claviger-dev/claviger/internal/upstream"
)

// The roles of users, by the Authorization Management API. Membership is a set: giving
// twice and taking what is not there do no harm. A 404 never means "nobody has it" by
// itself, see members.

// call makes one of the Authorization API of this subaccount.
func (a *account) call(operation, method, path string, query url.Values) call {
	return call{operation: operation, method: method, path: "/authorization/v1/accounts/" + a.parameters.Account + path, query: query}
}

// appPath is the path of an application; sources spell it in two ways.
func (a *account) appPath(at application) string {
	spelling := a.parameters.ApplicationPath
	if spelling == "" {
		spelling = "apps"
	}
	return "/" + spelling + "/" + at.Name
}

// rolesOf lists the names of an application's roles; found is false if the application
// is proven not to be there.
func (a *account) rolesOf(ctx context.Context, at application) (names []string, found bool, err error) {
	r, err := a.platform.send(ctx, a.call("role.list", http.MethodGet, a.appPath(at)+"/roles", url.Values{"providerAccount": {at.ProviderAccount}}))
	if err != nil {
		return nil, false, err
	}
	if r.status == http.StatusNotFound {
		return nil, false, a.proveAbsent(ctx, at, r)
	}
	if names, ok := decodeNames(r.body, "roles"); ok && r.status == http.StatusOK {
		return names, true, nil
	}
	return nil, false, a.platform.refusal(r)
}

// proveAbsent succeeds if an application whose roles were not found is not there: another
// call about it is not found either, and the subaccount can be read.
func (a *account) proveAbsent(ctx context.Context, at application, missing reply) error {
	role := "none"
	if len(at.Roles) > 0 {
		role = at.Roles[0]
	}
	again, err := a.platform.send(ctx, a.membersCall(at, role))
	if err != nil {
		return err
	}
	if missing.page() || again.page() || again.status != http.StatusNotFound {
		return a.platform.refusal(missing)
	}
	_, err = a.Check(ctx)
	return err
}

func (a *account) membersCall(at application, role string) call {
	return a.call("member.list", http.MethodGet, a.appPath(at)+"/roles/users", url.Values{"providerAccount": {at.ProviderAccount}, "roleName": {role}})
}

// members lists the users that have a role. None are returned without an error only if
// the platform said so, or if the role or its application is proven gone.
func (a *account) members(ctx context.Context, at application, role string) ([]string, error) {
	r, err := a.platform.send(ctx, a.membersCall(at, role))
	if err != nil {
		return nil, err
	}
	if users, ok := decodeNames(r.body, "users"); ok && r.status == http.StatusOK {
		return users, nil
	}
	if r.status != http.StatusNotFound {
		return nil, a.platform.refusal(r)
	}
	present, found, err := a.rolesOf(ctx, at)
	if err != nil {
		return nil, err
	}
	if found && slices.Contains(present, role) {
		return nil, a.platform.refusal(r)
	}
	return nil, nil
}

// assign gives a role to a user.
func (a *account) assign(ctx context.Context, at application, role, user string) error {
	c := a.call("member.add", http.MethodPut, a.appPath(at)+"/roles/users", url.Values{"providerAccount": {at.ProviderAccount}, "roleName": {role}})
	c.effect = true
	c.body = userList{Users: []userName{{Name: user}}}
	r, err := a.platform.send(ctx, c)
	if err != nil {
		return err
	}
	if r.status != http.StatusOK && r.status != http.StatusCreated && r.status != http.StatusNoContent || r.page() {
		return a.platform.refusal(r)
	}
	return nil
}

// unassign takes all roles from a user, and succeeds only after it was read that none of
// the application's is left.
func (a *account) unassign(ctx context.Context, at application, roles []string, user string) error {
	c := a.call("user.clear", http.MethodDelete, "/users/roles", url.Values{"userId": {user}, "roles": {"*"}})
	c.effect = true
	r, err := a.platform.send(ctx, c)
	if err != nil {
		return err
	}
	// Not found is how some answer for a user without roles; the reading decides.
	if r.status/100 != 2 && r.status != http.StatusNotFound {
		return a.platform.refusal(r)
	}
	for _, role := range roles {
		users, err := a.members(ctx, at, role)
		if err != nil {
			return err
		}
		if slices.Contains(users, user) {
			return upstream.Errorf(upstream.Retryable, "%s, and %s still has the role %s of %s", r.words(), user, role, at.Name)
		}
	}
	return nil
}
