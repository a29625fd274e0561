package webmethodsportalsim

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/claviger-dev/claviger/internal/simkit"
)

// Types of requests that are played.
const (
	typeCreation = "APPLICATION_CREATION_REQUEST"
	typeDeletion = "APPLICATION_DELETION_REQUEST"
)

// Statuses of requests.
const (
	statusNew       = "NEW"
	statusPending   = "APPROVAL_PENDING"
	statusApproved  = "APPROVED"
	statusWaiting   = "WAITING_THIRDPARTY"
	statusCompleted = "COMPLETED"
	statusRejected  = "REJECTED"
	statusFailed    = "FAILED"
)

// Statuses of applications.
const (
	applicationInactive = "INACTIVE"
	applicationLive     = "LIVE"
	applicationRejected = "REJECTED"
)

type (
	world struct {
		users  map[string]*user
		apis   map[string]*api
		apps   []*app
		asked  []*request
		tokens map[string]*token
	}
	user struct {
		password string
		// blind: everything is answered as if there were nothing.
		blind bool
	}
	api     struct{ id, name string }
	context struct {
		Name        string   `json:"name,omitempty"`
		Description string   `json:"description,omitempty"`
		APIs        []string `json:"apis,omitempty"`
		Redirects   []string `json:"redirect_uris,omitempty"`
		Application string   `json:"application,omitempty"`
	}
	request struct {
		id, kind, owner, status string
		context                 context
		app                     *app
		// stage is how many of Behaviour.Stages it has gone through.
		stage int
		words string
	}
	app struct {
		id, name, description, owner, status string
		// requested is the name that it was requested by.
		requested                      string
		apis                           []string
		gatewayID                      string
		apiKey, clientID, clientSecret string
		made, until                    time.Time // until is zero for ever
		used, gone                     bool
	}
	token struct{ app *app }
)

func newWorld() world {
	return world{users: map[string]*user{}, apis: map[string]*api{}, tokens: map[string]*token{}}
}

// newID makes an id as the portal makes them.
func newID() string {
	random := make([]byte, 16)
	_, _ = rand.Read(random) // crypto/rand ends the process rather than to fail
	text := hex.EncodeToString(random)
	return text[:8] + "-" + text[8:12] + "-" + text[12:16] + "-" + text[16:20] + "-" + text[20:]
}

// appOf finds one that is there.
func (w *world) appOf(id string) *app {
	for _, a := range w.apps {
		if a.id == id && !a.gone {
			return a
		}
	}
	return nil
}

func (w *world) requestOf(id string) *request {
	for _, r := range w.asked {
		if r.id == id {
			return r
		}
	}
	return nil
}

func (a *app) attrs() map[string]string {
	attrs := map[string]string{
		"id": a.id, "name": a.name, "description": a.description, "owner": a.owner, "apis": strings.Join(a.apis, " "),
		"clientId": a.clientID, "gatewayId": a.gatewayID, "requested": a.requested,
	}
	if _, mark, ok := strings.Cut(a.requested, "."); ok {
		attrs["mark"] = mark
	}
	if a.apiKey != "" {
		sum := sha256.Sum256([]byte(a.apiKey))
		attrs["fingerprint"] = hex.EncodeToString(sum[:8])
	}
	return attrs
}

// born makes an application that holds nothing yet. The lock is held.
func (s *Sim) born(c context, owner string, by simkit.Actor, how string) *app {
	requested := c.Name
	if by == byHand {
		requested = ""
	}
	a := &app{requested: requested, id: newID(), name: c.Name, description: c.Description, owner: owner, status: applicationInactive, apis: c.APIs}
	s.world.apps = append(s.world.apps, a)
	s.stage.Ledger.Issue(simkit.Entry{Kind: kindApplication, ID: a.id, Attrs: a.attrs(), By: by, How: how})
	return a
}

// equip gives an application what the gateway has made for it. The lock is held.
func (s *Sim) equip(a *app) {
	now := s.clock.Now()
	a.status, a.gatewayID, a.made = applicationLive, newID(), now
	a.apiKey, a.clientID, a.clientSecret = simkit.NewSecret(32), newID(), simkit.NewSecret(40)
	if life := time.Duration(s.behaves().KeyLife); life > 0 {
		a.until = now.Add(life)
	}
	s.stage.Ledger.Change(simkit.Entry{Kind: kindApplication, ID: a.id, Attrs: a.attrs(), By: simkit.Actor{Login: "gateway"}, How: "provisioned"})
}

// end takes an application away, here and in the gateway. The lock is held.
func (s *Sim) end(a *app, by simkit.Actor, how string) {
	if a.gone {
		return
	}
	a.gone = true
	s.stage.Ledger.Revoke(simkit.Entry{Kind: kindApplication, ID: a.id, Attrs: a.attrs(), By: by, How: how})
}

// approve goes on with a request that nobody objects to. The lock is held.
func (s *Sim) approve(r *request) {
	r.status, r.stage = statusApproved, 0
	if r.kind == typeCreation && r.app == nil {
		r.app = s.born(s.contextOf(r), r.owner, simkit.Actor{Login: r.owner}, "approval")
	}
}

func (s *Sim) contextOf(r *request) context {
	c := r.context
	if s.behaves().DescriptionLost {
		c.Description = ""
	}
	return c
}

// advance lets a request that was approved come one step further. The lock is held.
func (s *Sim) advance(r *request) {
	b := s.behaves()
	if !slices.Contains(append([]string{statusApproved}, b.Stages...), r.status) || r.status == statusPending {
		return
	}
	if r.stage < len(b.Stages) {
		r.status = b.Stages[r.stage]
		r.stage++
		return
	}
	if b.FailNext > 0 {
		_ = s.Adjust(func(b *Behaviour) { b.FailNext-- }) // one less is as good as it was
		r.status = statusFailed
		return
	}
	r.status = statusCompleted
	switch {
	case r.kind == typeDeletion:
		s.end(r.app, simkit.Actor{Login: r.owner}, "deletion request")
	case !r.app.gone:
		s.equip(r.app)
	}
}

// Kinds of the ledger.
const kindApplication = "application"

// Seed describes what to add to the world.
type Seed struct {
	Users []User `json:"users,omitempty"`
	APIs  []API  `json:"apis,omitempty"`
	// Behaviour is laid over the present one: what it does not name stays.
	Behaviour json.RawMessage `json:"behaviour,omitempty"`
}

// User is one who logs in. One that is there already is replaced.
type User struct {
	Name     string `json:"name"`
	Password string `json:"password"`
}

// API is one that applications may be made for.
type API struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// ReadSeed reads a seed from a JSON file; fields that do not exist are refused.
func ReadSeed(file string) (Seed, error) {
	document, err := os.ReadFile(file)
	if err != nil {
		return Seed{}, fmt.Errorf("seed: %w", err)
	}
	var seed Seed
	if err := simkit.Strict(document, &seed); err != nil {
		return Seed{}, fmt.Errorf("seed %s: %w", file, err)
	}
	return seed, nil
}

// Sample is a small world: one user, two APIs.
func Sample() Seed {
	return Seed{
		Users: []User{{Name: "svc-claviger", Password: simkit.NewSecret(32)}},
		APIs:  []API{{ID: "0d1c6f1e-api-orders", Name: "Orders"}, {ID: "7a40b2c9-api-invoices", Name: "Invoices"}},
	}
}

// Seed adds to the world.
func (s *Sim) Seed(seed Seed) error {
	if len(seed.Behaviour) > 0 {
		if err := s.conduct.AdjustJSON(seed.Behaviour); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, u := range seed.Users {
		if u.Name == "" || u.Password == "" {
			return fmt.Errorf("a user needs a name and a password")
		}
		s.world.users[u.Name] = &user{password: u.Password}
	}
	for _, a := range seed.APIs {
		if a.ID == "" {
			return fmt.Errorf("an API needs an id")
		}
		s.world.apis[a.ID] = &api{id: a.ID, name: a.Name}
	}
	return nil
}
