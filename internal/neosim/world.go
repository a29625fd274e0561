package neosim

import (
	"crypto/sha256"
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/claviger-dev/claviger/internal/simkit"
)

type (
	world struct {
		accounts map[string]*account
		order    []*account
		// clients are those of all subaccounts: ids are unique in the platform.
		clients map[string]*client
		// waiting are those that a person has been asked for.
		waiting map[string]*client
		// leaving are the ids that a person has been asked to delete.
		leaving map[string]bool
		tokens  map[string]*token
		serial  int
	}
	account struct {
		name      string
		clients   []*client // those that live, in the order of their registration
		platform  map[string]PlatformClient
		registrar string // the bearer that its registrar takes
		apps      []*app
		groups    []string
	}
	app struct {
		account        *account
		provider, name string
		roles          []Role
		endpoints      []Endpoint
		members        map[string][]*membership // by role
	}
	membership struct {
		user, ledgerID string
		given          time.Time
		taken          time.Time // zero while it holds
	}
	client struct {
		id, name, description string
		secret                digest
		app                   *app
		tokenLife             time.Duration
		registered            time.Time
		accepted              bool // by an application, ever
		deleted               time.Time
	}
	token struct {
		account  *account
		platform *PlatformClient // of the platform API, or
		client   *client         // of an application
		until    time.Time
	}
	digest [sha256.Size]byte
)

func newWorld() world {
	return world{
		accounts: map[string]*account{}, clients: map[string]*client{}, waiting: map[string]*client{},
		leaving: map[string]bool{}, tokens: map[string]*token{},
	}
}

// app finds an application by its provider and name. Without a provider the name
// alone must be enough.
func (a *account) app(provider, name string) *app {
	for _, candidate := range a.apps {
		if candidate.name == name && (provider == "" || candidate.provider == provider) {
			return candidate
		}
	}
	return nil
}

func (a *app) role(name string) bool {
	return slices.ContainsFunc(a.roles, func(r Role) bool { return r.Name == name })
}

// holds reports whether an application knows, at that moment, that the user has the
// role.
func (a *app) holds(user, role string, now time.Time, lag time.Duration) bool {
	for _, m := range a.members[role] {
		if m.user == user && !now.Before(m.given.Add(lag)) && (m.taken.IsZero() || now.Before(m.taken.Add(lag))) {
			return true
		}
	}
	return false
}

// users are those that have a role now, in the order of giving.
func (a *app) users(role string) []string {
	users := []string{}
	for _, m := range a.members[role] {
		if m.taken.IsZero() {
			users = append(users, m.user)
		}
	}
	return users
}

func (a *app) attrs() map[string]string {
	return map[string]string{"account": a.account.name, "provider": a.provider, "application": a.name}
}

func (c *client) user() string { return "oauth_client_" + c.id }

func (c *client) attrs() map[string]string {
	attrs := c.app.attrs()
	attrs["clientId"], attrs["name"] = c.id, c.name
	return attrs
}

// assign gives a role to a user; that he has it already is no change. The lock is
// held.
func (s *Sim) assign(a *app, role, user string, by simkit.Actor, how string) {
	if slices.Contains(a.users(role), user) {
		return
	}
	s.world.serial++
	m := &membership{user: user, given: s.clock.Now(), ledgerID: fmt.Sprintf("%s/%s/%s/%d", a.name, role, user, s.world.serial)}
	a.members[role] = append(a.members[role], m)
	s.stage.Ledger.Issue(simkit.Entry{Kind: kindAssignment, ID: m.ledgerID, Attrs: membershipAttrs(a, role, user), By: by, How: how})
}

// unassign takes a role from a user; that he has none is no change. The lock is held.
func (s *Sim) unassign(a *app, role, user string, by simkit.Actor, how string) {
	for _, m := range a.members[role] {
		if m.user == user && m.taken.IsZero() {
			m.taken = s.clock.Now()
			s.stage.Ledger.Revoke(simkit.Entry{Kind: kindAssignment, ID: m.ledgerID, Attrs: membershipAttrs(a, role, user), By: by, How: how})
		}
	}
}

func membershipAttrs(a *app, role, user string) map[string]string {
	attrs := a.attrs()
	attrs["role"], attrs["user"] = role, user
	return attrs
}

// register makes a client live. The lock is held.
func (s *Sim) register(c *client, by simkit.Actor, how string) {
	c.registered = s.clock.Now()
	s.world.clients[c.id] = c
	c.app.account.clients = append(c.app.account.clients, c)
	delete(s.world.waiting, c.id)
	s.stage.Ledger.Issue(simkit.Entry{Kind: kindClient, ID: c.id, Attrs: c.attrs(), By: by, How: how})
}

// remove ends a client. Its roles stay: they belong to a user's name. The lock is held.
func (s *Sim) remove(c *client, by simkit.Actor, how string) {
	c.deleted = s.clock.Now()
	delete(s.world.clients, c.id)
	delete(s.world.leaving, c.id)
	of := c.app.account
	of.clients = slices.DeleteFunc(slices.Clone(of.clients), func(other *client) bool { return other == c })
	s.stage.Ledger.Revoke(simkit.Entry{Kind: kindClient, ID: c.id, Attrs: c.attrs(), By: by, How: how})
}

// Kinds of the ledger.
const (
	kindClient     = "client"
	kindAssignment = "assignment"
)

// idRule is what may stand in a path segment without being escaped.
var idRule = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,254}$`)

// newToken makes an opaque token.
func newToken() string { return simkit.NewSecret(32) }

func hashOf(secret string) digest { return sha256.Sum256([]byte(secret)) }
