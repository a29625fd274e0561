package apiconnectsim

import (
	"encoding/json"
	"net/http"
	"net/url"
	"time"

	"github.com/claviger-dev/claviger/internal/simkit"
)

// Events of this simulator beside simkit's.
const (
	// EventLogin and EventLoginRefused: a token call; attrs login, realm.
	EventLogin        = "login"
	EventLoginRefused = "login-refused"
	// EventAccepted: the gateway accepted a credential for the first time.
	EventAccepted = "gateway.first-accepted"
	// EventRefused: the gateway refused a call; attrs clientId, reason.
	EventRefused = "gateway.refused"
	// EventHuman: a person did something; attrs what.
	EventHuman = "human"
)

// operation is one kind of call of the platform.
type operation struct {
	// name is what faults, counters and events call it.
	name string
	// pattern is the route; its wildcards make the Path.
	pattern string
	right   Right
	// list marks calls that the behaviour may answer with nothing instead of 403.
	list bool
	run  func(*turn) reply
}

var operations = []operation{
	{"org.list", "GET /api/orgs", "", true, listOrgs},
	{"org.get", "GET /api/orgs/{org}", "", false, getOrg},
	{"catalog.list", "GET /api/orgs/{org}/catalogs", "", true, listCatalogs},
	{"catalog.get", "GET /api/catalogs/{org}/{catalog}", "", false, getCatalog},
	{"catalog.settings", "GET /api/catalogs/{org}/{catalog}/settings", "", false, getSettings},
	{"consumer-org.list", "GET /api/catalogs/{org}/{catalog}/consumer-orgs", ViewConsumerOrgs, true, listConsumerOrgs},
	{"consumer-org.get", "GET /api/consumer-orgs/{org}/{catalog}/{consumerOrg}", ViewConsumerOrgs, false, getConsumerOrg},
	{"app.list-catalog", "GET /api/catalogs/{org}/{catalog}/apps", ViewApps, true, listCatalogApps},
	{"app.list", "GET /api/consumer-orgs/{org}/{catalog}/{consumerOrg}/apps", ViewApps, true, listApps},
	{"app.create", "POST /api/consumer-orgs/{org}/{catalog}/{consumerOrg}/apps", ManageApps, false, createApp},
	{"app.get", "GET /api/apps/{org}/{catalog}/{consumerOrg}/{app}", ViewApps, false, getApp},
	{"credential.list-catalog", "GET /api/catalogs/{org}/{catalog}/credentials", ViewApps, true, listCatalogCredentials},
	{"credential.list", "GET /api/apps/{org}/{catalog}/{consumerOrg}/{app}/credentials", ViewApps, true, listCredentials},
	{"credential.create", "POST /api/apps/{org}/{catalog}/{consumerOrg}/{app}/credentials", ManageApps, false, createCredential},
	{"credential.delete-all", "DELETE /api/apps/{org}/{catalog}/{consumerOrg}/{app}/credentials", ManageApps, false, deleteAllCredentials},
	{"credential.get", "GET /api/apps/{org}/{catalog}/{consumerOrg}/{app}/credentials/{credential}", ViewApps, false, getCredential},
	{"credential.update", "PATCH /api/apps/{org}/{catalog}/{consumerOrg}/{app}/credentials/{credential}", ManageApps, false, updateCredential},
	{"credential.delete", "DELETE /api/apps/{org}/{catalog}/{consumerOrg}/{app}/credentials/{credential}", ManageApps, false, deleteCredential},
	{"credential.reset-secret", "POST /api/apps/{org}/{catalog}/{consumerOrg}/{app}/credentials/{credential}/reset-client-secret", ManageApps, false, resetSecret},
	{"credential.reset", "POST /api/apps/{org}/{catalog}/{consumerOrg}/{app}/credentials/{credential}/reset", ManageApps, false, resetCredential},
	{"credential.verify-secret", "POST /api/apps/{org}/{catalog}/{consumerOrg}/{app}/credentials/{credential}/verify-client-secret", ViewApps, false, verifySecret},
}

// operationNames are all names that a fault can strike.
func operationNames() []string {
	names := []string{
		"token.password", "token.api_key", "token.refresh_token", "token.unknown",
		"identity-provider.list", "gateway.call",
	}
	for _, op := range operations {
		names = append(names, op.name)
	}
	return names
}

// turn is one call on its way through the platform. It holds the lock from walk
// to reply, so that what it decides is true when it commits.
type turn struct {
	sim       *Sim
	operation string
	login     Login
	by        simkit.Actor
	host      string
	query     url.Values
	body      document
	behaviour Behaviour
	place     place
}

func (t *turn) refuse(status int, message string) reply { return t.sim.failure(status, message) }

func (s *Sim) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/token", s.token)
	mux.HandleFunc("GET /api/cloud/provider/identity-providers", s.identityProviders)
	for _, op := range operations {
		mux.HandleFunc(op.pattern, s.serve(op))
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		call := simkit.Call{Operation: "unknown", By: simkit.Actor{Agent: r.UserAgent()}}
		s.stage.Reply(w, call, s.failure(http.StatusNotFound, "The path was not found.").answer())
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Request-ID", newID())
		mux.ServeHTTP(w, r)
	})
}

// serve plays one operation. What a real installation refuses at its door (no
// token, too many calls, no JSON) is refused before the fault points.
func (s *Sim) serve(op operation) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		call := simkit.Call{Operation: op.name, By: simkit.Actor{Agent: r.UserAgent()}}
		raw, problem := s.read(r)
		if problem != nil {
			s.stage.Reply(w, call, problem.answer())
			return
		}
		login, ok := s.authenticate(r)
		call.By.Login = login.Username
		if !ok {
			s.stage.Reply(w, call, s.failure(http.StatusUnauthorized, "The token is missing, not valid or expired.").answer())
			return
		}
		if wait, ok := s.throttle.Take(login.Username, s.behaves().RateLimit); !ok {
			answer := s.failure(http.StatusTooManyRequests, "Too many requests.").answer()
			s.stage.RetryAfter(&answer, wait, simkit.RetryAfterSeconds)
			s.stage.Reply(w, call, answer)
			return
		}
		var body document
		if len(raw) > 0 {
			if err := json.Unmarshal(raw, &body); err != nil {
				s.stage.Reply(w, call, s.failure(http.StatusBadRequest, "The body is not a JSON object.").answer())
				return
			}
		}
		path := Path{
			Org: r.PathValue("org"), Catalog: r.PathValue("catalog"), ConsumerOrg: r.PathValue("consumerOrg"),
			App: r.PathValue("app"), Credential: r.PathValue("credential"),
		}
		call.Attrs = s.describe(path, body)
		s.stage.Play(w, r, call, func() simkit.Answer {
			t := &turn{sim: s, operation: op.name, login: login, by: call.By, host: r.Host, query: r.URL.Query(), body: body}
			return s.commit(op, t, path).answer()
		})
	}
}

// commit is the moment of truth of one call: everything it reads and writes
// happens under one lock.
func (s *Sim) commit(op operation, t *turn, path Path) reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	t.behaviour = s.behaves()
	place, err := s.world.walk(path)
	if place.org != nil && !visible(t.login.Orgs, place.org.at()) {
		return t.refuse(t.behaviour.HiddenStatus, absence{"org", path.Org}.Error())
	}
	if place.consumerOrg != nil && !visible(t.login.ConsumerOrgs, place.consumerOrg.at()) {
		return t.refuse(http.StatusNotFound, absence{"consumer-org", path.ConsumerOrg}.Error())
	}
	if err != nil {
		return t.refuse(http.StatusNotFound, err.Error())
	}
	if !t.login.may(op.right) {
		if op.list && t.behaviour.ForbiddenListsAreEmpty {
			return reply{status: http.StatusOK, value: object{"total_results": 0, "results": []object{}}}
		}
		return t.refuse(http.StatusForbidden, "The login lacks the permission "+string(op.right)+".")
	}
	t.place = place
	return op.run(t)
}

// describe says what a call is about, for faults and events. It looks before the
// commit and therefore promises nothing.
func (s *Sim) describe(path Path, body document) map[string]string {
	attrs := map[string]string{}
	put := func(name, value string) {
		if value != "" {
			attrs[name] = value
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p, _ := s.world.walk(path)
	put("org", path.Org)
	put("catalog", path.Catalog)
	put("consumerOrg", path.ConsumerOrg)
	put("app", path.App)
	if p.app != nil {
		for name, value := range placeAttrs(p.app) {
			put(name, value)
		}
	}
	put("credentialId", path.Credential)
	if p.credential != nil {
		put("credentialId", p.credential.id)
		put("name", p.credential.name)
		put("clientId", p.credential.clientID)
		return attrs
	}
	for field, name := range map[string]string{"name": "name", "client_id": "clientId"} {
		if value, ok, err := body.text(field); ok && err == nil {
			put(name, value)
		}
	}
	return attrs
}

// placeAttrs are the names around an app, and its id, which outlives its name.
func placeAttrs(a *app) map[string]string {
	return map[string]string{
		"org": a.catalog().org.name, "catalog": a.catalog().name,
		"consumerOrg": a.consumerOrg.name, "app": a.name, "appId": a.id,
	}
}

func (t *turn) now() time.Time { return t.sim.clock.Now() }
