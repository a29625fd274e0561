package webmethodssim

import (
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/claviger-dev/claviger/internal/simkit"
)

// Events of this simulator beside simkit's.
const (
	// EventAccepted: an API served a credential for the first time; attrs kind, id.
	EventAccepted = "api.first-accepted"
	// EventRefused: an API or the token service refused a credential; attrs reason.
	EventRefused = "client.refused"
	// EventAsked: a request waits for an approver; attrs event, approval, requester.
	EventAsked = "approval.asked"
	// EventHuman: a person did something; attrs what, id.
	EventHuman = "human"
)

// Operations that have no place in the table below.
const (
	opToken = "token.client"
	opCall  = "api.call"
)

// maxBody bounds what is read of a request.
const maxBody = 1 << 20

// operation is one kind of call of the management.
type operation struct {
	// name is what faults, counters and events call it.
	name, method, path string
	run                func(*turn) simkit.Answer
}

var operations = []operation{
	{"search", http.MethodPost, "/search", searchAll},
	{"search.count", http.MethodPost, "/search/_count", countAll},
	{"application.list", http.MethodGet, "/applications", listApplications},
	{"application.create", http.MethodPost, "/applications", createApplication},
	{"application.read", http.MethodGet, "/applications/{id}", readApplication},
	{"application.update", http.MethodPut, "/applications/{id}", updateApplication},
	{"application.suspend", http.MethodPatch, "/applications/{id}", suspendApplication},
	{"application.delete", http.MethodDelete, "/applications/{id}", deleteApplication},
	{"key.redate", http.MethodPut, "/applications/accessTokens", redateKeys},
	{"key.create", http.MethodPost, "/applications/{id}/accessTokens", createKey},
	{"registration.list", http.MethodGet, "/applications/{id}/apis", listRegistrations},
	{"registration.add", http.MethodPost, "/applications/{id}/apis", addRegistrations},
	{"strategy.list", http.MethodGet, "/strategies", listStrategies},
	{"strategy.create", http.MethodPost, "/strategies", createStrategy},
	{"strategy.read", http.MethodGet, "/strategies/{id}", readStrategy},
	{"strategy.delete", http.MethodDelete, "/strategies/{id}", deleteStrategy},
	{"strategy.refresh", http.MethodPut, "/strategies/{id}/refreshCredentials", refreshStrategy},
	{"approval.list", http.MethodGet, "/approvals", listApprovals},
	{"approval.read", http.MethodGet, "/approvals/{id}", readApproval},
	{"approval.delete", http.MethodDelete, "/approvals/{id}", deleteApproval},
	{"approval.approve", http.MethodPut, "/approvals/{id}/approve", approve},
	{"approval.reject", http.MethodPut, "/approvals/{id}/reject", reject},
}

// operationNames are all names that a fault can strike.
func operationNames() []string {
	names := []string{opToken, opCall}
	for _, op := range operations {
		names = append(names, op.name)
	}
	return names
}

// turn is one call on its way through the management. It holds the lock.
type turn struct {
	sim       *Sim
	operation string
	by        simkit.Actor
	id        string
	body      []byte
	behaviour Behaviour
}

// failure is the form of errors.
func failure(status int, message string) simkit.Answer {
	return simkit.JSON(status, map[string]string{"errorDetails": message})
}

func empty(status int) simkit.Answer { return simkit.Answer{Status: status} }

func (s *Sim) managementRoutes() http.Handler {
	mux := http.NewServeMux()
	for _, op := range operations {
		mux.HandleFunc(op.method+" /rest/apigateway"+op.path, s.serve(op))
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.stage.Reply(w, simkit.Call{Operation: "unknown", By: simkit.Actor{Agent: r.UserAgent()}}, failure(http.StatusNotFound, "Resource not found"))
	})
	return mux
}

// serve plays one operation of the management. Who is not let in is answered before the fault
// points.
func (s *Sim) serve(op operation) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(io.LimitReader(r.Body, maxBody))
		name, password, _ := r.BasicAuth()
		call := simkit.Call{Operation: op.name, By: simkit.Actor{Login: name, Agent: r.UserAgent()}, Attrs: map[string]string{}}
		if id := r.PathValue("id"); id != "" {
			call.Attrs["id"] = id
		}
		var named struct {
			Name string `json:"name"`
		}
		if json.Unmarshal(body, &named) == nil && named.Name != "" {
			call.Attrs["name"] = named.Name
		}
		s.mu.Lock()
		user, known := s.world.users[name]
		s.mu.Unlock()
		if !known || user.Password != password || user.Powerless {
			s.stage.Reply(w, call, failure(http.StatusUnauthorized, "The user has no access to this resource."))
			return
		}
		if wait, ok := s.throttle.Take(name, s.behaves().Limit); !ok {
			answer := failure(http.StatusTooManyRequests, "Too many requests.")
			s.stage.RetryAfter(&answer, wait, simkit.RetryAfterSeconds)
			s.stage.Reply(w, call, answer)
			return
		}
		s.stage.Play(w, r, call, func() simkit.Answer {
			s.mu.Lock()
			defer s.mu.Unlock()
			return op.run(&turn{sim: s, operation: op.name, by: call.By, id: r.PathValue("id"), body: body, behaviour: s.behaves()})
		})
	}
}

// short lets a list lack what a lie leaves out.
func short[T any](b Behaviour, list []T) []T {
	if b.ShortLists != nil && len(list) > *b.ShortLists {
		return list[:*b.ShortLists]
	}
	return list
}

// query is the body of a search.
type query struct {
	Types []string `json:"types"`
	Scope []struct {
		Attribute string `json:"attributeName"`
		Keyword   string `json:"keyword"`
	} `json:"scope"`
	Condition string `json:"condition"`
}

// fits reports whether an object fits the scope; no scope fits all.
func (q query) fits(attributes map[string]string) bool {
	hits := 0
	for _, scope := range q.Scope {
		value, known := attributes[scope.Attribute]
		expression, err := regexp.Compile("(?i)^(?:" + scope.Keyword + ")$")
		if known && err == nil && expression.MatchString(value) {
			hits++
		}
	}
	if strings.EqualFold(q.Condition, "and") {
		return hits == len(q.Scope)
	}
	return len(q.Scope) == 0 || hits > 0
}

// look finds the objects of a kind, as documents.
func (t *turn) look(kind string, q query) []any {
	hits := []any{}
	switch strings.ToLower(kind) {
	case "application":
		for _, a := range t.sim.world.applications {
			if q.fits(map[string]string{"name": a.text("name"), "description": a.text("description"), "applicationID": a.id}) {
				document := map[string]any{"name": a.text("name"), "description": a.text("description")}
				document[t.idField()] = a.id
				hits = append(hits, document)
			}
		}
	case "api":
		for _, a := range t.sim.world.apis {
			if q.fits(map[string]string{"apiName": a.Name, "apiVersion": a.Version}) {
				hits = append(hits, map[string]any{"id": a.ID, "apiName": a.Name, "apiVersion": a.Version, "isActive": true})
			}
		}
	}
	return hits
}

func (t *turn) idField() string {
	if t.behaviour.DescribedNames {
		return "applicationID"
	}
	return "id"
}

func (t *turn) readQuery() (query, *simkit.Answer) {
	var q query
	if json.Unmarshal(t.body, &q) != nil || len(q.Types) == 0 || q.Condition == "" {
		answer := failure(http.StatusBadRequest, " Mandatory field condition is missing in the input request body")
		return q, &answer
	}
	return q, nil
}

func searchAll(t *turn) simkit.Answer {
	q, refusal := t.readQuery()
	if refusal != nil {
		return *refusal
	}
	found := map[string]any{}
	for _, kind := range q.Types {
		hits := short(t.behaviour, t.look(kind, q))
		if len(hits) == 0 && t.behaviour.SearchOmitsEmpty {
			continue
		}
		if t.behaviour.SearchCapitals {
			kind = strings.ToUpper(kind)
		}
		found[kind] = hits
	}
	return simkit.JSON(http.StatusOK, found)
}

func countAll(t *turn) simkit.Answer {
	q, refusal := t.readQuery()
	if refusal != nil {
		return *refusal
	}
	found := map[string]int{}
	for _, kind := range q.Types {
		found[kind] = len(t.look(kind, q))
	}
	return simkit.JSON(http.StatusOK, found)
}

// redateKeys gives every key of the gateway another end. No client of this project may ever
// do so; that somebody did shows in the counters.
func redateKeys(t *turn) simkit.Answer {
	for _, a := range t.sim.world.applications {
		t.sim.changedApplication(a, t.by, t.operation)
	}
	return empty(http.StatusOK)
}

// mask hides a secret from who does not own it.
func (t *turn) mask(secret string) string {
	if t.behaviour.Masked {
		return strings.Repeat("*", 8)
	}
	return secret
}

func (t *turn) document(a *application) map[string]any {
	document := map[string]any{}
	for field, raw := range a.fields {
		document[field] = raw
	}
	document[t.idField()] = a.id
	document["owner"] = a.owner
	document["consumingAPIs"] = append([]string{}, a.apis...)
	if t.behaviour.APIsHidden {
		delete(document, "consumingAPIs")
	}
	if !t.behaviour.SuspensionHidden {
		document["isSuspended"] = a.suspended
	}
	tokens := map[string]any{}
	if a.key != "" {
		field := "apiAccessKey_credentials"
		if t.behaviour.DescribedNames {
			field = "apiAccessKey"
		}
		var expires any
		if len(t.behaviour.KeyExpires) > 0 {
			expires = t.behaviour.KeyExpires
		}
		tokens[field] = map[string]any{"apiAccessKey": t.mask(a.key), "expirationInterval": nil, "expirationDate": expires, "expired": false}
	}
	document["accessTokens"] = tokens
	return document
}

func (t *turn) wrapped(a *application) simkit.Answer {
	if t.behaviour.BareReads {
		return simkit.JSON(http.StatusOK, t.document(a))
	}
	return simkit.JSON(http.StatusOK, map[string]any{"applications": []any{t.document(a)}})
}

func listApplications(t *turn) simkit.Answer {
	all := []any{}
	for _, a := range t.sim.world.applications {
		all = append(all, t.document(a))
	}
	return simkit.JSON(http.StatusOK, map[string]any{"applications": short(t.behaviour, all)})
}

// found runs on with an application that is there.
func (t *turn) found(run func(*application) simkit.Answer) simkit.Answer {
	if a := t.sim.world.application(t.id); a != nil {
		return run(a)
	}
	return failure(http.StatusNotFound, "The application with the given ID does not exist.")
}

func readApplication(t *turn) simkit.Answer { return t.found(t.wrapped) }

// written are the fields that clients may write.
var written = []string{"name", "version", "description", "contactEmails", "siteURLs", "jsOrigins", "authStrategyIds", "identifiers"}

func (t *turn) readFields() map[string]json.RawMessage {
	var sent map[string]json.RawMessage
	if json.Unmarshal(t.body, &sent) != nil {
		return nil
	}
	fields := map[string]json.RawMessage{}
	for _, field := range written {
		if raw, ok := sent[field]; ok {
			fields[field] = raw
		}
	}
	return fields
}

func createApplication(t *turn) simkit.Answer {
	a := &application{id: newUUID(), owner: t.by.Login, fields: t.readFields()}
	if a.fields == nil || a.text("name") == "" {
		return failure(http.StatusBadRequest, "The name of the application is missing.")
	}
	taken := slices.ContainsFunc(t.sim.world.applications, func(other *application) bool { return other.text("name") == a.text("name") })
	if taken && t.behaviour.UniqueNames {
		t.sim.stage.Ledger.Duplicate(simkit.Entry{Kind: kindApplication, ID: a.id, Attrs: a.attrs(), By: t.by, How: t.operation})
		return failure(http.StatusBadRequest, "An application of this name already exists.")
	}
	if !t.behaviour.approves(eventCreate) {
		t.sim.addApplication(a, t.by, t.operation)
		return simkit.JSON(t.behaviour.CreatedStatus, t.document(a))
	}
	document := t.document(a)
	document["applicationID"] = a.id
	delete(document, "accessTokens")
	waiting := t.sim.ask(eventCreate, document, t.by, func() { t.sim.addApplication(a, byHand, "approval") })
	switch t.behaviour.Pending {
	case PendingRequest:
		return simkit.JSON(http.StatusAccepted, map[string]string{"approval": waiting.id, "status": "pending"})
	case PendingEmpty:
		return empty(http.StatusAccepted)
	}
	return simkit.JSON(t.behaviour.CreatedStatus, document)
}

// updateApplication overwrites all that clients may write: whoever comes later wins.
func updateApplication(t *turn) simkit.Answer {
	return t.found(func(a *application) simkit.Answer {
		fields := t.readFields()
		if fields == nil {
			return failure(http.StatusBadRequest, "The application could not be updated.")
		}
		edit := func() {
			a.fields = fields
			t.sim.changedApplication(a, t.by, t.operation)
		}
		if t.behaviour.approves(eventUpdate) {
			t.sim.ask(eventUpdate, map[string]any{"applicationID": a.id, "application": fields}, t.by, edit)
			return t.wrapped(a)
		}
		edit()
		return t.wrapped(a)
	})
}

func suspendApplication(t *turn) simkit.Answer {
	if t.behaviour.NoKillSwitch {
		return failure(http.StatusMethodNotAllowed, "Method not allowed")
	}
	return t.found(func(a *application) simkit.Answer {
		var sent struct {
			Suspended string `json:"isSuspended"`
		}
		if json.Unmarshal(t.body, &sent) != nil || sent.Suspended != "true" && sent.Suspended != "false" {
			return failure(http.StatusBadRequest, "isSuspended is missing.")
		}
		a.suspended = sent.Suspended == "true"
		t.sim.changedApplication(a, t.by, t.operation)
		return t.wrapped(a)
	})
}

func deleteApplication(t *turn) simkit.Answer {
	return t.found(func(a *application) simkit.Answer {
		t.sim.removeApplication(a, t.by, t.operation)
		return empty(http.StatusNoContent)
	})
}

// createKey replaces the key at once. An application that is not there is answered 400, here
// and nowhere else.
func createKey(t *turn) simkit.Answer {
	a := t.sim.world.application(t.id)
	if a == nil || t.behaviour.KeysRefused {
		return failure(http.StatusBadRequest, "The application with the given ID does not exist.")
	}
	a.key = newSecretUUID()
	t.sim.changedApplication(a, t.by, t.operation)
	return empty(http.StatusCreated)
}

func listRegistrations(t *turn) simkit.Answer {
	return t.found(func(a *application) simkit.Answer {
		return simkit.JSON(http.StatusOK, map[string]any{"apiIDs": append([]string{}, a.apis...)})
	})
}

func addRegistrations(t *turn) simkit.Answer {
	return t.found(func(a *application) simkit.Answer {
		var sent struct {
			APIs []string `json:"apiIDs"`
		}
		if json.Unmarshal(t.body, &sent) != nil || len(sent.APIs) == 0 {
			return failure(http.StatusBadRequest, "apiIDs is missing.")
		}
		for _, id := range sent.APIs {
			if t.sim.world.api(id) == nil {
				return failure(http.StatusBadRequest, "There is no API "+id+".")
			}
		}
		register := func() {
			for _, id := range sent.APIs {
				if !slices.Contains(a.apis, id) {
					a.apis = append(slices.Clone(a.apis), id)
				}
			}
		}
		if t.behaviour.approves(eventRegister) {
			t.sim.ask(eventRegister, map[string]any{"applicationID": a.id, "apiIDs": sent.APIs}, t.by, register)
		} else {
			register()
		}
		return simkit.JSON(t.behaviour.CreatedStatus, map[string]any{"apiIDs": append([]string{}, a.apis...)})
	})
}

func (t *turn) strategyDocument(c *strategy) map[string]any {
	document := map[string]any{
		"id": c.id, "name": c.name, "description": c.description, "type": "OAUTH2", "authServerAlias": c.alias, "clientId": c.clientID,
		"clientRegistration": map[string]any{
			"clientId": c.clientID, "clientSecret": t.mask(c.secret), "tokenLifetime": 3600, "enabled": true, "clientCredentialsAllowed": true,
		},
	}
	if c.dcr != nil {
		document["dcrConfig"] = c.dcr
	}
	return document
}

func (t *turn) oneStrategy(status int, c *strategy) simkit.Answer {
	if t.behaviour.BareReads {
		return simkit.JSON(status, t.strategyDocument(c))
	}
	return simkit.JSON(status, map[string]any{"strategy": t.strategyDocument(c)})
}

func listStrategies(t *turn) simkit.Answer {
	all := []any{}
	for _, c := range t.sim.world.strategies {
		all = append(all, t.strategyDocument(c))
	}
	all = short(t.behaviour, all)
	if t.behaviour.Strategies == StrategiesBare {
		return simkit.JSON(http.StatusOK, all)
	}
	return simkit.JSON(http.StatusOK, map[string]any{t.behaviour.Strategies: all})
}

func createStrategy(t *turn) simkit.Answer {
	var sent struct {
		Name        string          `json:"name"`
		Description string          `json:"description"`
		Type        string          `json:"type"`
		Alias       string          `json:"authServerAlias"`
		DCR         json.RawMessage `json:"dcrConfig"`
	}
	if json.Unmarshal(t.body, &sent) != nil || sent.Name == "" || sent.Type != "OAUTH2" || sent.DCR == nil {
		return failure(http.StatusBadRequest, "The strategy could not be created.")
	}
	if sent.Alias != "local" {
		return failure(http.StatusBadRequest, "There is no authorization server "+sent.Alias+".")
	}
	c := newStrategy(sent.Name, sent.Description, sent.Alias, sent.DCR)
	t.sim.addStrategy(c, t.by, t.operation)
	return t.oneStrategy(t.behaviour.CreatedStatus, c)
}

// foundStrategy runs on with a strategy that is there.
func (t *turn) foundStrategy(run func(*strategy) simkit.Answer) simkit.Answer {
	if c := t.sim.world.strategy(t.id); c != nil {
		return run(c)
	}
	return failure(http.StatusNotFound, "A strategy with the given ID could not be found.")
}

func readStrategy(t *turn) simkit.Answer {
	return t.foundStrategy(func(c *strategy) simkit.Answer { return t.oneStrategy(http.StatusOK, c) })
}

func deleteStrategy(t *turn) simkit.Answer {
	return t.foundStrategy(func(c *strategy) simkit.Answer {
		t.sim.removeStrategy(c, t.by, t.operation)
		return empty(http.StatusNoContent)
	})
}

// refreshStrategy replaces a secret in place.
func refreshStrategy(t *turn) simkit.Answer {
	return t.foundStrategy(func(c *strategy) simkit.Answer {
		c.secret = newSecretUUID()
		return t.oneStrategy(http.StatusOK, c)
	})
}

func approvalDocument(a *approval) map[string]any {
	document := map[string]any{
		"id": a.id, "approversGroupId": "approvers", "approvalEvent": a.event, "requestorId": a.requester, "requestorName": a.requester,
		"mode": "anyone", "created": a.made.UnixMilli(), "status": a.status, "approvalEventPayloadAsString": a.payload,
		"approvers": []any{map[string]any{"id": "approver", "name": "approver", "status": a.status}},
	}
	if a.comment != "" {
		document["approverComment"] = a.comment
	}
	return document
}

func listApprovals(t *turn) simkit.Answer {
	if t.behaviour.Approvals == ApprovalsRefused {
		return failure(http.StatusUnauthorized, "The user may not see approvals.")
	}
	all := []any{}
	for _, a := range t.sim.world.approvals {
		if t.behaviour.Approvals == ApprovalsListed || t.behaviour.Approvals == ApprovalsUndecided && a.status == "pending" {
			all = append(all, approvalDocument(a))
		}
	}
	return simkit.JSON(http.StatusOK, map[string]any{"approvalRequests": all})
}

// foundApproval runs on with a request that is there and that the caller may see.
func (t *turn) foundApproval(run func(*approval) simkit.Answer) simkit.Answer {
	a := t.sim.world.approval(t.id)
	if a == nil || t.behaviour.Approvals == ApprovalsRefused || t.behaviour.Approvals == ApprovalsNone {
		return failure(http.StatusNotFound, "There is no approval request of this ID.")
	}
	return run(a)
}

func readApproval(t *turn) simkit.Answer {
	return t.foundApproval(func(a *approval) simkit.Answer { return simkit.JSON(http.StatusOK, approvalDocument(a)) })
}

func deleteApproval(t *turn) simkit.Answer {
	return t.foundApproval(func(a *approval) simkit.Answer {
		t.sim.world.approvals = slices.DeleteFunc(slices.Clone(t.sim.world.approvals), func(other *approval) bool { return other == a })
		return empty(http.StatusNoContent)
	})
}

func approve(t *turn) simkit.Answer { return t.decide("approved") }

func reject(t *turn) simkit.Answer { return t.decide("rejected") }

func (t *turn) decide(status string) simkit.Answer {
	return t.foundApproval(func(a *approval) simkit.Answer {
		var sent struct {
			Comment string `json:"approverComment"`
		}
		if json.Unmarshal(t.body, &sent) != nil || a.status != "pending" {
			return failure(http.StatusBadRequest, "The request cannot be decided.")
		}
		a.decide(status, sent.Comment)
		return simkit.JSON(http.StatusOK, map[string]string{"status": status})
	})
}

// decide ends a request, and carries it out if it was approved.
func (a *approval) decide(status, comment string) {
	a.status, a.comment = status, comment
	if status == "approved" {
		a.carryOut()
	}
}
