package centrasitesim

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/claviger-dev/claviger/internal/simkit"
)

// Events of this simulator beside simkit's.
const (
	// EventAsked: people must decide about a request; attrs appId.
	EventAsked = "approval.asked"
	// EventDecided: they have; attrs appId, status.
	EventDecided = "approval.decided"
	// EventRefused: Mediator refused a caller; attrs reason.
	EventRefused = "client.refused"
	// EventHuman: a person did something; attrs what, appId.
	EventHuman = "human"
)

const (
	approvalPath = "/wsstack/services/ApprovalService"
	tokenPath    = "/rest/pub.mediator.oauth2.getOAuth2AccessToken"
	// tokenPrefix begins the ids of access tokens.
	tokenPrefix = "uddi:token-"
	// maxBody bounds what is read of a request.
	maxBody = 1 << 20
)

// bases are where access tokens are: of newer releases, and of 9.10. Events are beside the
// newer ones.
var bases = []string{"/abs/apirepository/v1/accesstokens", "/abs/apirepository/accesstokens/external"}

// operation is one kind of call by API-Portal.
type operation struct {
	name, method, path string
	run                func(*turn) simkit.Answer
}

var operations = []operation{
	{"token.list", http.MethodGet, "", listTokens},
	{"token.create", http.MethodPost, "", createToken},
	{"token.renew", http.MethodPut, "/{app}", renewToken},
	{"token.revoke", http.MethodDelete, "/{app}", revokeToken},
}

// operationNames are all names that a fault can strike.
func operationNames() []string {
	names := []string{"event.list", "mediator.token", "mediator.call"}
	for _, op := range operations {
		names = append(names, op.name)
	}
	for _, name := range approvalOperations {
		names = append(names, name)
	}
	return names
}

// turn is one call on its way. It holds the lock.
type turn struct {
	sim       *Sim
	operation string
	by        simkit.Actor
	app       string
	query     url.Values
	body      []byte
}

func (s *Sim) routes() http.Handler {
	mux := http.NewServeMux()
	for _, base := range bases {
		for _, op := range operations {
			mux.HandleFunc(op.method+" "+base+op.path, s.serve(op))
		}
	}
	mux.HandleFunc("GET /abs/apirepository/v1/events", s.serve(operation{name: "event.list", run: listEvents}))
	mux.HandleFunc("POST "+approvalPath, s.approvals)
	mux.HandleFunc("/", s.nowhere)
	return mux
}

func (s *Sim) nowhere(w http.ResponseWriter, r *http.Request) {
	call := simkit.Call{Operation: "unknown", By: simkit.Actor{Agent: r.UserAgent()}}
	s.stage.Reply(w, call, failure(http.StatusNotFound, "The requested resource is not available."))
}

// atTheDoor finds who calls; what is refused here is refused before the fault points.
func (s *Sim) atTheDoor(r *http.Request, call *simkit.Call) *simkit.Answer {
	name, password, ok := r.BasicAuth()
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.world.users[name]
	if !ok || u == nil || u.Password != password {
		answer := failure(http.StatusUnauthorized, "The user is not known.")
		return &answer
	}
	call.By.Login = name
	return nil
}

func (s *Sim) serve(op operation) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(io.LimitReader(r.Body, maxBody))
		call := simkit.Call{Operation: op.name, By: simkit.Actor{Agent: r.UserAgent()}, Attrs: map[string]string{"appId": r.PathValue("app")}}
		if op.name == "token.create" {
			var named struct {
				AppID string `json:"appId"`
			}
			_ = json.Unmarshal(body, &named) // whatever it is, it names nothing
			call.Attrs["appId"] = named.AppID
		}
		if refusal := s.atTheDoor(r, &call); refusal != nil {
			s.stage.Reply(w, call, *refusal)
			return
		}
		s.stage.Play(w, r, call, func() simkit.Answer {
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.world.users[call.By.Login].denied {
				return failure(http.StatusForbidden, "The user lacks the permission.")
			}
			return op.run(&turn{sim: s, operation: op.name, by: call.By, app: r.PathValue("app"), query: r.URL.Query(), body: body})
		})
	}
}

// list sends entries as this release does.
func (t *turn) list(name string, entries []any) simkit.Answer {
	b, total := t.sim.behaves(), len(entries)
	if b.ShortLists != nil {
		entries = entries[:min(total, *b.ShortLists)]
	}
	if b.BareLists {
		return simkit.JSON(http.StatusOK, entries)
	}
	return simkit.JSON(http.StatusOK, map[string]any{"count": total, name: entries})
}

func listTokens(t *turn) simkit.Answer {
	entries := []any{}
	for _, token := range t.sim.visible() {
		entries = append(entries, token.show(!t.sim.behaves().HideDetails))
	}
	return t.list("accessTokens", entries)
}

func listEvents(t *turn) simkit.Answer {
	entries := []any{}
	now, b := t.sim.clock.Now(), t.sim.behaves()
	for _, token := range t.sim.world.tokens {
		if t.query.Get("eventStatus") == "INPROGRESS" && token.working(now, b) {
			entries = append(entries, map[string]string{
				"eventId": "create-" + token.uuid, "eventStatus": "INPROGRESS", "appId": token.appID, "accesstokenuuid": token.uuid,
			})
		}
	}
	return t.list("events", entries)
}

// property is a line of an access token's details.
type property struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

type detail struct {
	Type       string     `json:"type"`
	Properties []property `json:"properties"`
}

// details show what a token's bearer needs; nothing while it is not made.
func (t *token) details() []detail {
	if !t.live() {
		return nil
	}
	properties := []property{{"apiKeyString", t.key}}
	if t.kind == kindOAuth2 {
		properties = []property{{"clientId", t.id}, {"clientSecret", t.secret}, {"refreshCount", "0"}}
	}
	if !t.expires.IsZero() {
		properties = append(properties, property{"expiryDate", t.expires.UTC().Format(time.RFC3339Nano)})
	}
	return []detail{{t.kind, properties}}
}

func (t *token) show(details bool) map[string]any {
	entry := map[string]any{
		"accesstokenuuid": t.uuid, "name": t.name, "description": t.description, "appId": t.appID, "userId": t.userID, "type": "Application",
		"createdDate": t.requested.UTC().Format(time.RFC3339Nano),
	}
	if details {
		entry["accessTokenDetails"] = t.details()
	}
	return entry
}

// creation is the body of a request.
type creation struct {
	Name        string   `json:"name"`
	Description string   `json:"description"`
	AppID       string   `json:"appId"`
	UserID      string   `json:"userId"`
	APIID       string   `json:"apiId"`
	Type        string   `json:"type"`
	Details     []detail `json:"accessTokenDetails"`
}

func createToken(t *turn) simkit.Answer {
	var wanted creation
	if json.Unmarshal(t.body, &wanted) != nil || wanted.Name == "" || wanted.AppID == "" || wanted.UserID == "" || wanted.Type != "Application" || len(wanted.Details) != 1 {
		return failure(http.StatusBadRequest, "The access token is not complete.")
	}
	s := t.sim
	of := s.world.apis[wanted.APIID]
	if of == nil {
		return failure(http.StatusBadRequest, "There is no API '"+wanted.APIID+"'.")
	}
	kind := wanted.Details[0].Type
	if kind != kindAPIKey && kind != kindOAuth2 {
		return failure(http.StatusBadRequest, "Access tokens are of the types APIKey and OAuth2.")
	}
	for _, other := range s.of(wanted.AppID) {
		if other.kind == kind && !s.behaves().AllowTwins {
			s.stage.Ledger.Duplicate(simkit.Entry{Kind: ledgerKind, ID: other.uuid, Attrs: other.attrs(), By: t.by, How: t.operation})
			return failure(http.StatusConflict, "The application has an access token already.")
		}
	}
	made := &token{
		uuid: s.world.next(tokenPrefix), name: wanted.Name, description: wanted.Description, appID: wanted.AppID, userID: wanted.UserID,
		kind: kind, api: of, requested: s.clock.Now(),
	}
	made.fill(wanted.Details[0].Properties, s.behaves().MakeKeys)
	s.world.tokens = append(s.world.tokens, made)
	if len(of.Approvers) > 0 {
		made.approval = &approval{key: s.world.next("uddi:request-"), requestor: wanted.UserID, submitted: s.clock.Now(), status: inProgress}
		s.stage.Events.Append(EventAsked, t.operation, map[string]string{"appId": made.appID})
	} else {
		made.approval = &approval{key: s.world.next("uddi:request-"), requestor: wanted.UserID, submitted: s.clock.Now(), status: noAction}
		s.make(made, t.by, t.operation)
	}
	answer := map[string]any{"status": "SUCCESS", "message": "Access token created successfully!", "accesstokenuuid": made.uuid}
	if s.behaves().AnswerDetails {
		answer["accessTokenDetails"] = made.details()
	}
	return simkit.JSON(http.StatusOK, answer)
}

// fill takes what was proposed, or makes keys of CentraSite's own.
func (t *token) fill(proposed []property, own bool) {
	if !own {
		for _, p := range proposed {
			switch p.Key {
			case "apiKeyString":
				t.key = p.Value
			case "clientId":
				t.id = p.Value
			case "clientSecret":
				t.secret = p.Value
			}
		}
	}
	if t.kind == kindAPIKey && t.key == "" {
		t.key = newKey()
	}
	if t.kind == kindOAuth2 && (t.id == "" || t.secret == "") {
		t.id, t.secret = "client-"+t.uuid[len(tokenPrefix):], newKey() // a colon would end it in a login
	}
}

// renewToken begins the usage contract of a key anew.
func renewToken(t *turn) simkit.Answer {
	s := t.sim
	all := s.of(t.app)
	if len(all) == 0 {
		return failure(http.StatusNotFound, "The application has no access token.")
	}
	token := all[0]
	if token.kind != kindAPIKey || token.expires.IsZero() || !token.live() {
		return failure(http.StatusBadRequest, "Only API keys that expire can be renewed.")
	}
	token.expires = s.clock.Now().Add(time.Duration(token.api.Contract))
	if s.behaves().RenewChanges {
		token.key = newKey()
	}
	s.stage.Ledger.Change(simkit.Entry{Kind: ledgerKind, ID: token.uuid, Attrs: token.attrs(), By: t.by, How: t.operation})
	return simkit.JSON(http.StatusOK, map[string]string{"status": "SUCCESS", "message": "Access token renewed successfully!"})
}

func revokeToken(t *turn) simkit.Answer {
	all := t.sim.of(t.app)
	if len(all) == 0 {
		return failure(http.StatusNotFound, "The application has no access token.")
	}
	for _, token := range all {
		if !token.live() {
			return failure(http.StatusConflict, "The access token is pending.")
		}
	}
	for _, token := range all {
		t.sim.revoke(token, t.by, t.operation)
	}
	return simkit.Answer{Status: http.StatusNoContent}
}
