package neosim

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/claviger-dev/claviger/internal/simkit"
)

// Events of this simulator beside simkit's.
const (
	// EventAccepted: an application served a client for the first time.
	EventAccepted = "application.first-accepted"
	// EventRefused: a token endpoint or an application refused a client; attrs
	// clientId, reason.
	EventRefused = "client.refused"
	// EventAsked: the registrar waits for a person; attrs what, clientId.
	EventAsked = "registrar.asked"
	// EventHuman: a person did something; attrs what, clientId.
	EventHuman = "human"
)

// Operations that have no place in the table below.
const (
	opPlatformToken   = "token.platform"
	opClientToken     = "token.client"
	opApplicationCall = "application.call"
)

// operation is one kind of call of the Authorization API.
type operation struct {
	// name is what faults, counters and events call it.
	name string
	// method and path, below the account; APP stands for both spellings of an
	// application's path.
	method, path string
	scope        Scope
	run          func(*turn) simkit.Answer
}

var operations = []operation{
	{"user.roles.list", http.MethodGet, "/users/roles", ReadAuthorization, listUserRoles},
	{"user.roles.delete", http.MethodDelete, "/users/roles", ManageAuthorization, deleteUserRoles},
	{"role.list", http.MethodGet, "/APP/{app}/roles", ReadApplicationRoles, listRoles},
	{"role.create", http.MethodPost, "/APP/{app}/roles", ManageAppRoles, createRoles},
	{"role.delete", http.MethodDelete, "/APP/{app}/roles", ManageAppRoles, deleteRoles},
	{"member.list", http.MethodGet, "/APP/{app}/roles/users", ReadAuthorization, listMembers},
	{"member.add", http.MethodPut, "/APP/{app}/roles/users", ManageAuthorization, addMembers},
	{"member.remove", http.MethodDelete, "/APP/{app}/roles/users", ManageAuthorization, removeMembers},
	{"group.list", http.MethodGet, "/groups", ReadAuthorization, listGroups},
}

// operationNames are all names that a fault can strike.
func operationNames() []string {
	names := []string{opPlatformToken, opClientToken, opApplicationCall}
	for _, op := range operations {
		names = append(names, op.name)
	}
	for _, op := range registrarOperations {
		names = append(names, op.name)
	}
	return names
}

// turn is one call on its way through the Authorization API or the registrar. It holds
// the lock.
type turn struct {
	sim       *Sim
	operation string
	by        simkit.Actor
	account   *account
	segment   string
	appName   string
	clientID  string
	query     url.Values
	body      []byte
	behaviour Behaviour
}

func (s *Sim) platformRoutes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /oauth2/apitoken/v1", s.platformToken)
	const base = "/authorization/v1/accounts/{account}"
	for _, op := range operations {
		for _, segment := range []string{SegmentApps, SegmentApplications} {
			path := base + strings.Replace(op.path, "APP", segment, 1)
			if segment == SegmentApplications && !strings.Contains(op.path, "APP") {
				path += "/{$}" // the documentation writes a slash before the query
			}
			mux.HandleFunc(op.method+" "+path, s.serve(op, segment))
		}
	}
	mux.HandleFunc("/", s.nowhere)
	return mux
}

func (s *Sim) tokenRoutes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /{account}/oauth2/api/v1/token", s.clientToken)
	mux.HandleFunc("/", s.nowhere)
	return mux
}

func (s *Sim) nowhere(w http.ResponseWriter, r *http.Request) {
	call := simkit.Call{Operation: "unknown", By: simkit.Actor{Agent: r.UserAgent()}}
	s.stage.Reply(w, call, failure(http.StatusNotFound, "The requested resource is not available."))
}

// window remembers the calls of the last sixty seconds.
type window []time.Time

// spend takes one call of an account's minute, or says how long to wait. The lock is
// held.
func (s *Sim) spend(account string) (wait time.Duration, ok bool) {
	limit := s.behaves().RequestsPerMinute
	if limit == 0 {
		return 0, true
	}
	now := s.clock.Now()
	recent := slices.DeleteFunc(s.window[account], func(at time.Time) bool { return !now.Before(at.Add(time.Minute)) })
	if len(recent) >= limit {
		s.window[account] = recent
		return recent[len(recent)-limit].Add(time.Minute).Sub(now), false
	}
	s.window[account] = append(recent, now)
	return 0, true
}

// serve plays one operation of the Authorization API. What is refused at its door (no
// token, too many calls) is refused before the fault points.
func (s *Sim) serve(op operation, segment string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(io.LimitReader(r.Body, maxBody))
		call := simkit.Call{Operation: op.name, By: simkit.Actor{Agent: r.UserAgent()}, Attrs: describe(r, body)}
		t, refusal := s.atTheDoor(r, &call)
		if refusal != nil {
			s.stage.Reply(w, call, *refusal)
			return
		}
		s.stage.Play(w, r, call, func() simkit.Answer {
			s.mu.Lock()
			defer s.mu.Unlock()
			b := s.behaves()
			if !s.mayNow(t, op.scope) {
				return failure(b.ForbiddenStatus, "The client lacks the scope "+string(op.scope)+".")
			}
			return op.run(&turn{
				sim: s, operation: op.name, by: call.By, account: t.account, segment: segment, appName: r.PathValue("app"),
				query: queryOf(r), body: body, behaviour: b,
			})
		})
	}
}

// mayNow reads the client's scopes as they are now: a right that is taken away is felt
// by tokens that are out. The lock is held.
func (s *Sim) mayNow(t *token, scope Scope) bool {
	c, ok := t.account.platform[t.platform.ID]
	return ok && c.may(scope)
}

// atTheDoor finds who calls, and spends a call of his account.
func (s *Sim) atTheDoor(r *http.Request, call *simkit.Call) (*token, *simkit.Answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.bearer(r)
	if t == nil || t.platform == nil {
		answer := failure(http.StatusUnauthorized, "The access token is missing, not valid or expired.")
		return nil, &answer
	}
	call.By.Login = t.platform.ID
	if t.account.name != r.PathValue("account") {
		answer := failure(http.StatusForbidden, "The token is not for this account.")
		return nil, &answer
	}
	if wait, ok := s.spend(t.account.name); !ok {
		answer := failure(http.StatusTooManyRequests, "Too many requests.")
		if s.behaves().StateRetryAfter {
			s.stage.RetryAfter(&answer, wait, simkit.RetryAfterSeconds)
		}
		return nil, &answer
	}
	return t, nil
}

// queryOf reads a query in which lists are written with bare semicolons, which Go's own
// parser drops.
func queryOf(r *http.Request) url.Values {
	values, _ := url.ParseQuery(strings.ReplaceAll(r.URL.RawQuery, ";", "%3B")) // what is readable is kept
	return values
}

// describe says what a call is about, for faults and events.
func describe(r *http.Request, body []byte) map[string]string {
	attrs := map[string]string{}
	put := func(name, value string) {
		if value != "" {
			attrs[name] = value
		}
	}
	query := queryOf(r)
	put("account", r.PathValue("account"))
	put("application", r.PathValue("app"))
	put("role", query.Get("roleName"))
	user := query.Get("userId") + query.Get("users")
	for _, named := range membersOf(body) {
		user = named
	}
	put("user", user)
	if id, ok := strings.CutPrefix(user, "oauth_client_"); ok {
		put("clientId", id)
	}
	put("clientId", r.PathValue("client"))
	return attrs
}

// membersOf reads {"users":[{"name":U}]}.
func membersOf(body []byte) []string {
	var document struct {
		Users []struct {
			Name string `json:"name"`
		} `json:"users"`
	}
	_ = json.Unmarshal(body, &document) // whatever it is, it names nobody
	var users []string
	for _, user := range document.Users {
		users = append(users, user.Name)
	}
	return users
}
