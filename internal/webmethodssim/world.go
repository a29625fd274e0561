package webmethodssim

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/claviger-dev/claviger/internal/simkit"
)

type (
	world struct {
		users        map[string]User
		apis         []*API
		applications []*application
		strategies   []*strategy
		approvals    []*approval
		tokens       map[string]*token
	}
	application struct {
		id, owner string
		// fields are what clients write, as they wrote it.
		fields    map[string]json.RawMessage
		key       string
		suspended bool
		apis      []string
		made      time.Time
		accepted  bool // by an API, ever
	}
	strategy struct {
		id, name, description, alias, clientID, secret string
		dcr                                            json.RawMessage
		made                                           time.Time
		accepted                                       bool
	}
	approval struct {
		id, event, requester, status, comment string
		// payload is what the request is about, as a text of JSON.
		payload string
		made    time.Time
		// carryOut does what was asked for.
		carryOut func()
	}
	token struct {
		strategy *strategy
		scopes   string
		until    time.Time
	}
)

// Kinds of the ledger.
const (
	kindApplication = "application"
	kindStrategy    = "strategy"
)

// Events of approvals.
const (
	eventCreate   = "createApplication"
	eventRegister = "registerApplication"
	eventUpdate   = "updateApplication"
)

func newWorld() world { return world{users: map[string]User{}, tokens: map[string]*token{}} }

// newUUID makes the form that the gateway's ids have.
func newUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // crypto/rand ends the process rather than to fail
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// newSecretUUID makes a key or a secret: a UUID whose last group is the marker of secrets.
func newSecretUUID() string { return newUUID()[:24] + simkit.Marker }

// Fingerprint is what the ledger knows of a key.
func Fingerprint(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:16])
}

func (a *application) text(field string) string {
	var text string
	_ = json.Unmarshal(a.fields[field], &text) // whatever else it is, it is no text
	return text
}

// strategies are the ids that authStrategyIds holds.
func (a *application) strategies() []string {
	list := []string{}
	_ = json.Unmarshal(a.fields["authStrategyIds"], &list) // whatever else it is, it names none
	return list
}

func (a *application) put(field string, value any) {
	raw, _ := json.Marshal(value)   // texts and lists of texts
	a.fields = maps.Clone(a.fields) // shared with nobody who reads
	a.fields[field] = slices.Clone(raw)
}

func (a *application) attrs() map[string]string {
	return map[string]string{"name": a.text("name"), "description": a.text("description"), "owner": a.owner, "key": Fingerprint(a.key)}
}

func (c *strategy) attrs() map[string]string {
	return map[string]string{"name": c.name, "description": c.description, "clientId": c.clientID}
}

// application finds one by its id. The lock is held, as in all that follows.
func (w *world) application(id string) *application {
	for _, a := range w.applications {
		if a.id == id {
			return a
		}
	}
	return nil
}

func (w *world) strategy(id string) *strategy {
	for _, c := range w.strategies {
		if c.id == id {
			return c
		}
	}
	return nil
}

func (w *world) api(id string) *API {
	for _, a := range w.apis {
		if a.ID == id {
			return a
		}
	}
	return nil
}

func (w *world) approval(id string) *approval {
	for _, a := range w.approvals {
		if a.id == id {
			return a
		}
	}
	return nil
}

// addApplication makes an application live.
func (s *Sim) addApplication(a *application, by simkit.Actor, how string) {
	a.made = s.clock.Now()
	if a.key == "" && !s.behaves().NoKeyAtCreation {
		a.key = newSecretUUID()
	}
	s.world.applications = append(s.world.applications, a)
	s.stage.Ledger.Issue(simkit.Entry{Kind: kindApplication, ID: a.id, Attrs: a.attrs(), By: by, How: how})
}

func (s *Sim) changedApplication(a *application, by simkit.Actor, how string) {
	s.stage.Ledger.Change(simkit.Entry{Kind: kindApplication, ID: a.id, Attrs: a.attrs(), By: by, How: how})
}

func (s *Sim) removeApplication(a *application, by simkit.Actor, how string) {
	s.world.applications = slices.DeleteFunc(slices.Clone(s.world.applications), func(other *application) bool { return other == a })
	s.stage.Ledger.Revoke(simkit.Entry{Kind: kindApplication, ID: a.id, Attrs: a.attrs(), By: by, How: how})
}

func (s *Sim) addStrategy(c *strategy, by simkit.Actor, how string) {
	c.made = s.clock.Now()
	s.world.strategies = append(s.world.strategies, c)
	s.stage.Ledger.Issue(simkit.Entry{Kind: kindStrategy, ID: c.id, Attrs: c.attrs(), By: by, How: how})
}

func (s *Sim) removeStrategy(c *strategy, by simkit.Actor, how string) {
	s.world.strategies = slices.DeleteFunc(slices.Clone(s.world.strategies), func(other *strategy) bool { return other == c })
	if s.behaves().DeletionDetaches {
		for _, a := range s.world.applications {
			a.put("authStrategyIds", slices.DeleteFunc(a.strategies(), func(id string) bool { return id == c.id }))
		}
	}
	s.stage.Ledger.Revoke(simkit.Entry{Kind: kindStrategy, ID: c.id, Attrs: c.attrs(), By: by, How: how})
}

// ask notes a request that waits for an approver.
func (s *Sim) ask(event string, payload any, by simkit.Actor, carryOut func()) *approval {
	text, _ := json.Marshal(payload) // built here
	a := &approval{id: newUUID(), event: event, requester: by.Login, status: "pending", payload: string(text), made: s.clock.Now(), carryOut: carryOut}
	s.world.approvals = append(s.world.approvals, a)
	s.stage.Events.Append(EventAsked, "", map[string]string{"event": event, "approval": a.id, "requester": by.Login})
	return a
}
