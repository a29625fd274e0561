package neosim

import (
	"cmp"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/claviger-dev/claviger/internal/simkit"
)

// ASSUMED. Nothing in this file is a fact about SAP: no public API of Neo registers
// OAuth clients. It is the contract that docs/upstreams/sap-neo.md offers to whoever
// automates the cockpit behind an endpoint of his own.
//
//	PUT    /clients/{id}   register; the same again is success; 201, 200, 202 (a person
//	                       decides), 409 (id or name taken by another)
//	GET    /clients/{id}   200 or 404
//	GET    /clients?prefix=&after=&limit=   200 {"clients":[…],"total":n}
//	DELETE /clients/{id}   204, 202 (a person decides), 404

// registrarOperation is one kind of call of the registrar.
type registrarOperation struct {
	name, pattern string
	run           func(*turn) simkit.Answer
}

var registrarOperations = []registrarOperation{
	{"client.put", "PUT /{account}/clients/{client}", putClient},
	{"client.get", "GET /{account}/clients/{client}", getClient},
	{"client.list", "GET /{account}/clients", listClients},
	{"client.delete", "DELETE /{account}/clients/{client}", deleteClient},
}

func (s *Sim) registrarRoutes() http.Handler {
	mux := http.NewServeMux()
	for _, op := range registrarOperations {
		mux.HandleFunc(op.pattern, s.serveRegistrar(op))
	}
	mux.HandleFunc("/", s.nowhere)
	return mux
}

func (s *Sim) serveRegistrar(op registrarOperation) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(io.LimitReader(r.Body, maxBody))
		call := simkit.Call{Operation: op.name, By: simkit.Actor{Login: "registrar", Agent: r.UserAgent()}, Attrs: describe(r, nil)}
		s.mu.Lock()
		a := s.world.accounts[r.PathValue("account")]
		value, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		allowed := ok && a != nil && a.registrar != "" && a.registrar == value
		s.mu.Unlock()
		if !allowed {
			s.stage.Reply(w, call, failure(http.StatusUnauthorized, "The bearer token is not taken."))
			return
		}
		s.stage.Play(w, r, call, func() simkit.Answer {
			s.mu.Lock()
			defer s.mu.Unlock()
			return op.run(&turn{
				sim: s, operation: op.name, by: call.By, account: a, clientID: r.PathValue("client"),
				query: queryOf(r), body: body, behaviour: s.behaves(),
			})
		})
	}
}

// registration is the body of PUT.
type registration struct {
	Name             string `json:"name"`
	Description      string `json:"description"`
	Application      string `json:"application"`
	ProviderAccount  string `json:"providerAccount"`
	Grant            string `json:"grant"`
	Confidential     bool   `json:"confidential"`
	Secret           string `json:"secret"`
	TokenLifeSeconds int    `json:"tokenLifetimeSeconds"`
}

func putClient(t *turn) simkit.Answer {
	var wanted registration
	if json.Unmarshal(t.body, &wanted) != nil || wanted.Secret == "" || wanted.Name == "" || wanted.Grant != "client_credentials" || !idRule.MatchString(t.clientID) {
		return failure(http.StatusBadRequest, "The body is not a registration.")
	}
	at := t.account.app(wanted.ProviderAccount, wanted.Application)
	if at == nil {
		return failure(http.StatusUnprocessableEntity, "The application '"+wanted.Application+"' does not exist.")
	}
	s := t.sim
	if present := cmp.Or(s.world.clients[t.clientID], s.world.waiting[t.clientID]); present != nil {
		if present.app != at || present.secret != hashOf(wanted.Secret) {
			s.stage.Ledger.Duplicate(simkit.Entry{Kind: kindClient, ID: t.clientID, Attrs: present.attrs(), By: t.by, How: t.operation})
			return failure(http.StatusConflict, "The client id '"+t.clientID+"' is taken.")
		}
		if s.world.waiting[t.clientID] != nil {
			return simkit.JSON(http.StatusAccepted, t.show(present))
		}
		return simkit.JSON(http.StatusOK, t.show(present))
	}
	for _, other := range t.account.clients {
		if other.name == wanted.Name {
			s.stage.Ledger.Duplicate(simkit.Entry{Kind: kindClient, ID: other.id, Attrs: other.attrs(), By: t.by, How: t.operation})
			return failure(http.StatusConflict, "The name '"+wanted.Name+"' is taken.")
		}
	}
	made := &client{
		id: t.clientID, name: wanted.Name, description: wanted.Description, secret: hashOf(wanted.Secret), app: at,
		tokenLife: time.Duration(wanted.TokenLifeSeconds) * time.Second,
	}
	if t.behaviour.PersonDecides {
		s.world.waiting[made.id] = made
		s.stage.Events.Append(EventAsked, t.operation, map[string]string{"what": "register", "clientId": made.id})
		return simkit.JSON(http.StatusAccepted, t.show(made))
	}
	s.register(made, t.by, t.operation)
	return simkit.JSON(http.StatusCreated, t.show(made))
}

// show is a client without its secret.
func (t *turn) show(c *client) map[string]any {
	state := "Active"
	switch {
	case t.sim.world.waiting[c.id] != nil:
		state = "WaitingForRegistration"
	case t.sim.world.leaving[c.id]:
		state = "WaitingForDeletion"
	}
	return map[string]any{
		"clientId": c.id, "name": c.name, "description": c.description, "state": state,
		"application": c.app.name, "providerAccount": c.app.provider,
	}
}

func getClient(t *turn) simkit.Answer {
	c := cmp.Or(t.sim.world.clients[t.clientID], t.sim.world.waiting[t.clientID])
	if c == nil || c.app.account != t.account {
		return failure(http.StatusNotFound, "There is no client '"+t.clientID+"'.")
	}
	return simkit.JSON(http.StatusOK, t.show(c))
}

// listClients shows what lives and, after it, what waits for a person.
func listClients(t *turn) simkit.Answer {
	all := []*client{}
	for _, c := range t.account.clients {
		if strings.HasPrefix(c.id, t.query.Get("prefix")) {
			all = append(all, c)
		}
	}
	for _, c := range t.sim.world.waiting {
		if c.app.account == t.account && strings.HasPrefix(c.id, t.query.Get("prefix")) {
			all = append(all, c)
		}
	}
	shown := all
	if most := t.behaviour.ShortLists; most != nil {
		shown = all[:min(len(all), *most)]
	}
	clients := []map[string]any{}
	for _, c := range shown {
		clients = append(clients, t.show(c))
	}
	return simkit.JSON(http.StatusOK, map[string]any{"clients": clients, "total": len(all)})
}

func deleteClient(t *turn) simkit.Answer {
	if c := t.sim.world.waiting[t.clientID]; c != nil && c.app.account == t.account {
		delete(t.sim.world.waiting, t.clientID) // nobody has registered it yet
		return simkit.Answer{Status: http.StatusNoContent}
	}
	c := t.sim.world.clients[t.clientID]
	if c == nil || c.app.account != t.account {
		return failure(http.StatusNotFound, "There is no client '"+t.clientID+"'.")
	}
	if t.behaviour.PersonDecides {
		if !t.sim.world.leaving[c.id] {
			t.sim.stage.Events.Append(EventAsked, t.operation, map[string]string{"what": "deregister", "clientId": c.id})
		}
		t.sim.world.leaving[c.id] = true
		return simkit.JSON(http.StatusAccepted, t.show(c))
	}
	t.sim.remove(c, t.by, t.operation)
	return simkit.Answer{Status: http.StatusNoContent}
}
