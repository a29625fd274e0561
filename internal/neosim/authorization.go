package neosim

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/claviger-dev/claviger/internal/simkit"
)

// The Authorization Management API. Membership has the semantics of sets: giving twice
// and taking what is not there are both success.

// application resolves the path's application, or answers 404.
func (t *turn) application() (*app, *simkit.Answer) {
	at := t.account.app(t.query.Get("providerAccount"), t.appName)
	if at == nil || t.behaviour.Segment != SegmentBoth && t.behaviour.Segment != t.segment {
		answer := failure(http.StatusNotFound, "The application '"+t.appName+"' does not exist or is not visible.")
		return nil, &answer
	}
	return at, nil
}

// applicationRole resolves the query's role too.
func (t *turn) applicationRole() (*app, string, *simkit.Answer) {
	at, refusal := t.application()
	if refusal != nil {
		return nil, "", refusal
	}
	role := t.query.Get("roleName")
	if !at.role(role) {
		answer := failure(http.StatusNotFound, "The role '"+role+"' does not exist.")
		return nil, "", &answer
	}
	return at, role, nil
}

func listUserRoles(t *turn) simkit.Answer {
	user := t.query.Get("userId")
	if user == "" {
		return failure(http.StatusBadRequest, "userId is missing.")
	}
	roles := []map[string]string{}
	for _, at := range t.account.apps {
		for _, role := range at.roles {
			if slices.Contains(at.users(role.Name), user) {
				roles = append(roles, map[string]string{"name": role.Name, "applicationName": at.name, "providerAccount": at.provider})
			}
		}
	}
	if len(roles) == 0 && t.behaviour.UnknownUserStatus != http.StatusOK {
		return failure(t.behaviour.UnknownUserStatus, "The user '"+user+"' does not exist.")
	}
	return simkit.JSON(http.StatusOK, map[string]any{"roles": roles})
}

// deleteUserRoles takes roles from a user in all applications; "*" means all of them.
func deleteUserRoles(t *turn) simkit.Answer {
	user, names := t.query.Get("userId"), strings.Split(t.query.Get("roles"), ";")
	if user == "" || t.query.Get("roles") == "" {
		return failure(http.StatusBadRequest, "userId or roles is missing.")
	}
	held := false
	for _, at := range t.account.apps {
		for _, role := range at.roles {
			if slices.Contains(names, "*") || slices.Contains(names, role.Name) {
				held = held || slices.Contains(at.users(role.Name), user)
				t.sim.unassign(at, role.Name, user, t.by, t.operation)
			}
		}
	}
	if !held && t.behaviour.UnknownUserStatus != http.StatusOK {
		return failure(t.behaviour.UnknownUserStatus, "The user '"+user+"' does not exist.")
	}
	return simkit.JSON(http.StatusOK, map[string]any{})
}

func listRoles(t *turn) simkit.Answer {
	at, refusal := t.application()
	if refusal != nil {
		return *refusal
	}
	roles := []map[string]any{}
	for _, role := range at.roles {
		kind := "PREDEFINED"
		if role.Custom {
			kind = "CUSTOM"
		}
		roles = append(roles, map[string]any{"name": role.Name, "type": kind, t.behaviour.RoleFlag: true, "shared": !role.Custom})
	}
	return simkit.JSON(http.StatusOK, map[string]any{"roles": roles})
}

func createRoles(t *turn) simkit.Answer {
	at, refusal := t.application()
	if refusal != nil {
		return *refusal
	}
	var document struct {
		Roles []Role `json:"roles"`
	}
	if json.Unmarshal(t.body, &document) != nil || len(document.Roles) == 0 {
		return failure(http.StatusBadRequest, "The body is not a list of roles.")
	}
	for _, role := range document.Roles {
		if at.role(role.Name) {
			return failure(http.StatusConflict, "The role '"+role.Name+"' exists already.")
		}
	}
	for _, role := range document.Roles {
		at.roles = append(at.roles, Role{Name: role.Name, Custom: true})
	}
	return simkit.JSON(http.StatusCreated, map[string]any{})
}

func deleteRoles(t *turn) simkit.Answer {
	at, refusal := t.application()
	if refusal != nil {
		return *refusal
	}
	for _, name := range strings.Split(t.query.Get("roles"), ";") {
		for _, user := range at.users(name) {
			t.sim.unassign(at, name, user, t.by, t.operation)
		}
		at.roles = slices.DeleteFunc(at.roles, func(r Role) bool { return r.Name == name && r.Custom })
	}
	return simkit.JSON(http.StatusOK, map[string]any{})
}

func listMembers(t *turn) simkit.Answer {
	at, role, refusal := t.applicationRole()
	if refusal != nil {
		return *refusal
	}
	users := at.users(role)
	if most := t.behaviour.ShortLists; most != nil {
		users = users[:min(len(users), *most)]
	}
	switch t.behaviour.Members {
	case MembersBare:
		return simkit.JSON(http.StatusOK, users)
	case MembersByUserID:
		return simkit.JSON(http.StatusOK, map[string]any{"users": objects("userId", users)})
	}
	return simkit.JSON(http.StatusOK, map[string]any{"users": objects("name", users)})
}

func objects(field string, values []string) []map[string]string {
	out := []map[string]string{}
	for _, value := range values {
		out = append(out, map[string]string{field: value})
	}
	return out
}

// addMembers adds to those who have the role. A user is a plain name: whether anybody
// bears it is not asked.
func addMembers(t *turn) simkit.Answer {
	at, role, refusal := t.applicationRole()
	if refusal != nil {
		return *refusal
	}
	users := membersOf(t.body)
	if len(users) == 0 || slices.Contains(users, "") {
		return failure(http.StatusBadRequest, "The body is not a list of users.")
	}
	for _, user := range users {
		t.sim.assign(at, role, user, t.by, t.operation)
	}
	return simkit.JSON(t.behaviour.AssignStatus, map[string]any{"users": objects("name", users)})
}

func removeMembers(t *turn) simkit.Answer {
	at, role, refusal := t.applicationRole()
	if refusal != nil {
		return *refusal
	}
	for _, user := range strings.Split(t.query.Get("users"), ";") {
		t.sim.unassign(at, role, user, t.by, t.operation)
	}
	return simkit.JSON(http.StatusOK, map[string]any{})
}

func listGroups(t *turn) simkit.Answer {
	if t.behaviour.GroupsStatus != http.StatusOK {
		return failure(t.behaviour.GroupsStatus, "The requested resource is not available.")
	}
	return simkit.JSON(http.StatusOK, map[string]any{"groups": objects("name", t.account.groups)})
}
