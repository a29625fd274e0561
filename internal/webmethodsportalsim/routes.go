package webmethodsportalsim

import (
	"crypto/subtle"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/claviger-dev/claviger/internal/simkit"
)

// basePath is where the portal's API is.
const basePath = "/portal/rest/v1"

// maxBody is the largest body that is read.
const maxBody = 1 << 20

// Events of this simulator beside simkit's.
const (
	// EventAsked: a request waits for a person; attrs id, name, type.
	EventAsked = "request.asked"
	// EventHuman: a person did something; attrs what, id.
	EventHuman = "human"
	// EventAccepted: the gateway served an application for the first time; attrs id.
	EventAccepted = "gateway.first-accepted"
)

// Operations whose names do not follow from the table.
const (
	opCreate      = "request.create"
	opAskDeletion = "deletion.request"
	opToken       = "gateway.token"
	opCall        = "gateway.call"
)

// operation is one kind of call of the portal.
type operation struct {
	name, method, path string
	run                func(*turn) simkit.Answer
}

var operations = []operation{
	{opCreate, http.MethodPost, "/requests", create},
	{"request.list", http.MethodGet, "/requests", listRequests},
	{"request.read", http.MethodGet, "/requests/{id}", readRequest},
	{"request.trace", http.MethodGet, "/requests/{id}/trace", traceRequest},
	{"request.retry", http.MethodPut, "/requests/{id}/retry", retryRequest},
	{"request.delete", http.MethodDelete, "/requests/{id}", deleteRequest},
	{"application.list", http.MethodGet, "/applications", listApplications},
	{"application.read", http.MethodGet, "/applications/{id}", readApplication},
	{"application.delete", http.MethodDelete, "/applications/{id}", deleteApplication},
}

// operationNames are all names that a fault can strike.
func operationNames() []string {
	names := []string{opAskDeletion, opToken, opCall}
	for _, op := range operations {
		names = append(names, op.name)
	}
	return names
}

// failure is the portal's form of an error.
func failure(status int, message string) simkit.Answer {
	return simkit.JSON(status, map[string]any{"code": status, "message": message})
}

// turn is one call on its way through the portal. It holds the lock.
type turn struct {
	sim   *Sim
	by    simkit.Actor
	login string
	blind bool
	id    string
	query map[string][]string
	body  []byte
}

func (s *Sim) portalRoutes() http.Handler {
	mux := http.NewServeMux()
	for _, op := range operations {
		mux.HandleFunc(op.method+" "+basePath+op.path, s.serve(op))
	}
	mux.HandleFunc("/", s.nowhere)
	return mux
}

func (s *Sim) nowhere(w http.ResponseWriter, r *http.Request) {
	call := simkit.Call{Operation: "unknown", By: simkit.Actor{Agent: r.UserAgent()}}
	s.stage.Reply(w, call, failure(http.StatusNotFound, "Not found"))
}

// serve plays one operation. Who cannot log in is refused before the fault points.
func (s *Sim) serve(op operation) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(io.LimitReader(r.Body, maxBody))
		call := simkit.Call{Operation: op.name, By: simkit.Actor{Agent: r.UserAgent()}, Attrs: map[string]string{}}
		if id := r.PathValue("id"); id != "" {
			call.Attrs["id"] = id
		}
		var order struct {
			Type    string  `json:"type"`
			Context context `json:"context"`
		}
		if op.name == opCreate && json.Unmarshal(body, &order) == nil {
			call.Attrs["name"] = order.Context.Name
			if order.Type == typeDeletion {
				call.Operation = opAskDeletion
			}
		}
		login, password, _ := r.BasicAuth()
		s.mu.Lock()
		u := s.world.users[login]
		known := u != nil && subtle.ConstantTimeCompare([]byte(u.password), []byte(password)) == 1
		s.mu.Unlock()
		if !known {
			s.stage.Reply(w, call, failure(http.StatusUnauthorized, "Unauthorized"))
			return
		}
		call.By.Login = login
		s.stage.Play(w, r, call, func() simkit.Answer {
			s.mu.Lock()
			defer s.mu.Unlock()
			return op.run(&turn{sim: s, by: call.By, login: login, blind: u.blind, id: r.PathValue("id"), query: r.URL.Query(), body: body})
		})
	}
}

// create begins a request.
func create(t *turn) simkit.Answer {
	var order struct {
		Type    string  `json:"type"`
		Context context `json:"context"`
	}
	if simkit.Strict(t.body, &order) != nil {
		return failure(http.StatusBadRequest, "Malformed request")
	}
	if t.blind {
		return failure(http.StatusForbidden, "Access denied")
	}
	r := &request{id: newID(), kind: order.Type, owner: t.login, status: statusNew, context: order.Context}
	b := t.sim.behaves()
	asks := b.CreationNeedsApproval
	switch order.Type {
	case typeCreation:
		if refusal := t.refuses(order.Context, b); refusal != nil {
			return *refusal
		}
		if !b.ApplicationLater || !asks {
			r.app = t.sim.born(t.sim.contextOf(r), t.login, t.by, opCreate)
		}
	case typeDeletion:
		asks = b.DeletionNeedsApproval
		if r.app = t.sim.world.appOf(order.Context.Application); r.app == nil || r.app.owner != t.login {
			return failure(http.StatusNotFound, "Application not found")
		}
	default:
		return failure(http.StatusBadRequest, "Unknown request type")
	}
	t.sim.world.asked = append(t.sim.world.asked, r)
	if asks {
		r.status = statusPending
		t.sim.stage.Events.Append(EventAsked, opCreate, map[string]string{"id": r.id, "name": r.context.Name, "type": r.kind})
	} else {
		t.sim.approve(r)
	}
	return simkit.JSON(http.StatusCreated, map[string]string{"id": r.id, "_self": "/rest/v1/userrequests/" + r.id})
}

// refuses says why an application cannot be asked for.
func (t *turn) refuses(c context, b Behaviour) *simkit.Answer {
	var answer simkit.Answer
	switch taken := slices.IndexFunc(t.sim.world.apps, func(a *app) bool { return !a.gone && a.name == c.Name }); {
	case c.Name == "" || len(c.APIs) == 0:
		answer = failure(http.StatusBadRequest, "An application needs a name and an API")
	case slices.ContainsFunc(c.APIs, func(id string) bool { return t.sim.world.apis[id] == nil }):
		answer = failure(http.StatusBadRequest, "API does not exist")
	case b.UniqueNames && taken >= 0:
		other := t.sim.world.apps[taken]
		t.sim.stage.Ledger.Duplicate(simkit.Entry{Kind: kindApplication, ID: other.id, Attrs: other.attrs(), By: t.by, How: opCreate})
		answer = failure(http.StatusBadRequest, "Application with the given name already exists")
	default:
		return nil
	}
	return &answer
}

// show is a request as its owner sees it.
func (t *turn) show(r *request) map[string]any {
	b := t.sim.behaves()
	out := map[string]any{"id": r.id, "owner": r.owner, "type": r.kind, "status": r.status}
	if r.app != nil {
		out["application"] = r.app.id
		state := map[string]string{}
		for _, id := range r.app.apis {
			state[id] = r.status
		}
		out["state"] = state
	}
	if !b.ContextHidden {
		out["context"] = r.context
	}
	if r.words != "" && b.WordsIn == WordsInRequest {
		out["comments"] = r.words
	}
	return out
}

func listRequests(t *turn) simkit.Answer {
	var mine []any
	for _, r := range t.sim.world.asked {
		if kind := one(t.query, "type"); !t.blind && r.owner == t.login && (kind == "" || kind == r.kind) {
			mine = append(mine, t.show(r))
		}
	}
	return t.page("/rest/v1/requests", mine)
}

func (t *turn) mine() *request {
	if r := t.sim.world.requestOf(t.id); r != nil && r.owner == t.login && !t.blind {
		return r
	}
	return nil
}

func readRequest(t *turn) simkit.Answer {
	r := t.mine()
	if r == nil {
		return failure(http.StatusNotFound, "User request not found")
	}
	answer := simkit.JSON(http.StatusOK, t.show(r))
	t.sim.advance(r) // time passes between two looks
	return answer
}

func traceRequest(t *turn) simkit.Answer {
	r := t.mine()
	if r == nil {
		return failure(http.StatusNotFound, "User request not found")
	}
	event := map[string]any{"status": r.status}
	if r.words != "" && t.sim.behaves().WordsIn == WordsInTrace {
		event["comments"] = r.words
	}
	return simkit.JSON(http.StatusOK, map[string]any{"result": []any{map[string]any{"status": statusNew}, event}, "count": 2})
}

func retryRequest(t *turn) simkit.Answer {
	r := t.mine()
	switch {
	case r == nil:
		return failure(http.StatusNotFound, "User request not found")
	case r.status != statusFailed:
		return failure(http.StatusBadRequest, "Unable to retry the user request in status ["+r.status+"]")
	}
	r.status, r.stage = statusApproved, 0
	return simkit.JSON(http.StatusOK, map[string]any{"code": 200, "message": "User request retried successfully"})
}

func deleteRequest(t *turn) simkit.Answer {
	r := t.mine()
	switch {
	case r == nil:
		return failure(http.StatusNotFound, "User request not found")
	case r.status != statusPending && r.status != statusNew:
		return failure(http.StatusBadRequest, "Unable to delete the user request in status ["+r.status+"]")
	}
	t.sim.world.asked = slices.DeleteFunc(t.sim.world.asked, func(other *request) bool { return other == r })
	if r.kind == typeCreation && r.app != nil {
		t.sim.end(r.app, t.by, "request withdrawn")
	}
	return simkit.Answer{Status: http.StatusNoContent}
}

// show is an application as its owner sees it: with all secrets, also in lists.
func (t *turn) showApp(a *app) map[string]any {
	out := map[string]any{
		"id": a.id, "name": a.name, "description": a.description, "owner": a.owner, "apis": a.apis, "status": a.status, "app_type": "API",
	}
	if a.apiKey == "" {
		return out
	}
	out["externalRefKey"] = a.gatewayID
	out["credentials"] = []any{
		map[string]any{"type": "APIKey", "apiKey": a.apiKey, "expiry": t.expiry(a.until)},
		map[string]any{
			"type": "OAuth2", "clientId": a.clientID, "clientSecret": a.clientSecret, "tokenLifeTime": 3600,
			"accessTokenUris": []string{t.sim.TokenURL()}, "expiry": t.expiry(a.until),
		},
		map[string]any{"type": "JWT", "claimsets": []any{}},
	}
	return out
}

func (t *turn) expiry(at time.Time) any {
	switch {
	case at.IsZero():
		return nil
	case t.sim.behaves().ExpiryAs == ExpiryText:
		return at.UTC().Format(time.RFC3339)
	case t.sim.behaves().ExpiryAs == ExpiryGateway:
		return at.UTC().Format("2006-01-02 15:04:05 MST")
	}
	return at.UnixMilli()
}

func listApplications(t *turn) simkit.Answer {
	var mine []any
	for _, a := range t.sim.world.apps {
		if !a.gone && a.owner == t.login && !t.blind {
			mine = append(mine, t.showApp(a))
		}
	}
	return t.page("/rest/v1/applications", mine)
}

func (t *turn) myApp() *app {
	if a := t.sim.world.appOf(t.id); a != nil && a.owner == t.login && !t.blind {
		return a
	}
	return nil
}

func readApplication(t *turn) simkit.Answer {
	if a := t.myApp(); a != nil {
		return simkit.JSON(http.StatusOK, t.showApp(a))
	}
	return failure(http.StatusNotFound, "Application not found")
}

// deleteApplication: with force=true the gateway keeps its own, which is an orphan.
func deleteApplication(t *turn) simkit.Answer {
	a := t.myApp()
	switch {
	case a == nil:
		return failure(http.StatusNotFound, "Application not found")
	case t.sim.behaves().DeletionNeedsApproval:
		return failure(http.StatusBadRequest, "Approval is required to delete the application")
	case one(t.query, "force") == "true":
		t.sim.stage.Ledger.Issue(simkit.Entry{Kind: "orphan", ID: a.gatewayID, Attrs: a.attrs(), By: t.by, How: "force"})
	}
	t.sim.end(a, t.by, "application.delete")
	return simkit.Answer{Status: http.StatusNoContent}
}

func one(query map[string][]string, name string) string {
	if values := query[name]; len(values) > 0 {
		return values[0]
	}
	return ""
}

// page cuts a list.
func (t *turn) page(path string, all []any) simkit.Answer {
	b := t.sim.behaves()
	size, number := b.PageSize, b.FirstPage
	if asked, err := strconv.Atoi(one(t.query, "limit")); err == nil && asked > 0 {
		size = min(size, asked)
	}
	if asked, err := strconv.Atoi(one(t.query, "page")); err == nil {
		number = max(asked, b.FirstPage)
	}
	from := min((number-b.FirstPage)*size, len(all))
	to := min(from+size, len(all))
	count, part := len(all), append([]any{}, all[from:to]...)
	if b.CountIs == CountPage {
		count = len(part)
	}
	links := map[string]string{"_self": path + "?page=" + strconv.Itoa(number)}
	if to < len(all) {
		links["_next"] = path + "?page=" + strconv.Itoa(number+1)
	}
	if b.ShortLists != nil && len(part) > *b.ShortLists {
		part = part[:*b.ShortLists]
	}
	answer := map[string]any{"result": part, "count": count, "_links": links}
	if b.NoLinks {
		delete(answer, "_links")
	}
	return simkit.JSON(http.StatusOK, answer)
}
