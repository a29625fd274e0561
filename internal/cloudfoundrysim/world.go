package cloudfoundrysim

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/claviger-dev/claviger/internal/simkit"
)

// Seed is added to the world; what exists by name is changed.
type Seed struct {
	Users     []User     `json:"users,omitempty"`
	Clients   []Client   `json:"clients,omitempty"`
	Instances []Instance `json:"instances,omitempty"`
	// ClientCAs are the authorities, PEM, whose certificates may be brought along.
	ClientCAs string `json:"clientCAs,omitempty"`
}

// User logs in with a password, or with an assertion that an identity provider signed.
type User struct {
	Name      string `json:"name"`
	Password  string `json:"password"`
	Assertion string `json:"assertion,omitempty"`
	// Origin is the identity provider; empty is the default one.
	Origin string `json:"origin,omitempty"`
	// Spaces are those where he is Space Developer, as org/space.
	Spaces []string `json:"spaces"`
}

// Client logs in with client credentials and has the same rights in spaces.
type Client struct {
	ID     string   `json:"id"`
	Secret string   `json:"secret"`
	Spaces []string `json:"spaces"`
}

// Instance is a service instance.
type Instance struct {
	Org   string `json:"org"`
	Space string `json:"space"`
	Name  string `json:"name"`
	// Offering is it-rt or xsuaa, Plan one of its plans.
	Offering string `json:"offering"`
	Plan     string `json:"plan"`
	// Roles are what its keys may do.
	Roles []string `json:"roles,omitempty"`
}

type world struct {
	users     map[string]User
	clients   map[string]Client
	orgs      []*named
	spaces    []*space
	instances []*instance
	keys      []*key
	jobs      map[string]*job
	tokens    map[string]*token
	refresh   map[string]string
	access    map[string]*access
	spent     map[string][]time.Time
	clientCAs string
	// taken are certificates that were ever brought along.
	taken map[[32]byte]bool
}

func newWorld() *world {
	return &world{
		users: map[string]User{}, clients: map[string]Client{}, jobs: map[string]*job{}, tokens: map[string]*token{},
		refresh: map[string]string{}, access: map[string]*access{}, spent: map[string][]time.Time{}, taken: map[[32]byte]bool{},
	}
}

// named is an organisation.
type named struct{ guid, name string }

type space struct {
	named
	org *named
}

// Last operations of a key, and of an instance.
const (
	opCreate, opDelete                                   = "create", "delete"
	stateInitial, stateBusy, stateSucceeded, stateFailed = "initial", "in progress", "succeeded", "failed"
)

// key is a service credential binding of type key.
type key struct {
	guid, name          string
	instance            *instance
	labels, annotations map[string]string
	parameters          json.RawMessage
	operation, state    string
	description         string
	created, updated    time.Time
	// due is when the broker has done what it is asked; the zero time means that
	// nothing is under way.
	due    time.Time
	broker string // what it will do
	job    *job
	made   *credential
	usable time.Time // the token endpoint knows it from then on
	used   bool
	by     simkit.Actor
}

type job struct {
	guid, operation, state, failure, target string
	created, updated                        time.Time
}

// token is one of the UAA.
type token struct {
	login string
	until time.Time
}

// access is a token of a key.
type access struct {
	key   *key
	until time.Time
}

// newGUID has the form of those of the platform.
func newGUID() string {
	var raw [16]byte
	_, _ = rand.Read(raw[:]) // never fails
	text := hex.EncodeToString(raw[:])
	return text[:8] + "-" + text[8:12] + "-" + text[12:16] + "-" + text[16:20] + "-" + text[20:]
}

// Seed adds to the world.
func (s *Sim) Seed(seed Seed) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.world
	if seed.ClientCAs != "" {
		w.clientCAs = seed.ClientCAs
	}
	for _, u := range seed.Users {
		w.users[u.Name] = u
	}
	for _, c := range seed.Clients {
		w.clients[c.ID] = c
	}
	for _, i := range seed.Instances {
		if i.Offering != offeringRuntime && i.Offering != offeringXSUAA {
			return fmt.Errorf("offering %q is not played; there are %s and %s", i.Offering, offeringRuntime, offeringXSUAA)
		}
		at := w.space(i.Org, i.Space)
		if known := w.instance(at, i.Name); known != nil {
			known.given = i
			continue
		}
		w.instances = append(w.instances, s.seeded(at, i))
	}
	return nil
}

// space finds or makes one.
func (w *world) space(org, name string) *space {
	for _, at := range w.spaces {
		if at.org.name == org && at.name == name {
			return at
		}
	}
	i := slices.IndexFunc(w.orgs, func(o *named) bool { return o.name == org })
	if i < 0 {
		w.orgs = append(w.orgs, &named{newGUID(), org})
		i = len(w.orgs) - 1
	}
	at := &space{named: named{newGUID(), name}, org: w.orgs[i]}
	w.spaces = append(w.spaces, at)
	return at
}

func (w *world) instance(at *space, name string) *instance {
	for _, i := range w.instances {
		if i.space == at && i.name == name {
			return i
		}
	}
	return nil
}

// sees reports whether a login is Space Developer.
func (w *world) sees(login string, at *space) bool {
	path := at.org.name + "/" + at.name
	return slices.Contains(w.users[login].Spaces, path) || slices.Contains(w.clients[login].Spaces, path)
}

func (k *key) attrs() map[string]string {
	attrs := map[string]string{
		"name": k.name, "instance": k.instance.name, "mark": k.labels["credentials.claviger.dev/mark"],
	}
	if k.made != nil {
		attrs["clientId"] = k.made.clientID
		attrs["serial"] = k.made.serial
		attrs["fingerprint"] = k.made.fingerprint
	}
	return attrs
}

// kindKey is the kind of keys in the ledger.
const kindKey = "key"

// insert adds the row of a key, which is listable from then on.
func (s *Sim) insert(k *key) {
	s.world.keys = append(s.world.keys, k)
	s.settle()
	s.stage.Ledger.Issue(simkit.Entry{Kind: kindKey, ID: k.guid, Attrs: k.attrs(), By: k.by, How: "create"})
}

// drop takes a row away for good.
func (s *Sim) drop(k *key, by simkit.Actor, how string) {
	s.world.keys = slices.DeleteFunc(s.world.keys, func(other *key) bool { return other == k })
	s.stage.Ledger.Revoke(simkit.Entry{Kind: kindKey, ID: k.guid, Attrs: k.attrs(), By: by, How: how})
}

// settle does what the broker has had time for. The lock is held.
func (s *Sim) settle() {
	s.settleInstances()
	now := s.clock.Now()
	for _, k := range slices.Clone(s.world.keys) {
		if k.due.IsZero() || now.Before(k.due) {
			continue
		}
		k.due, k.updated = time.Time{}, now
		if k.job != nil {
			k.job.updated = now
		}
		if k.operation == opDelete {
			s.settleDelete(k)
			continue
		}
		s.settleCreate(k)
	}
}

func (s *Sim) settleDelete(k *key) {
	if k.broker == BrokerFails {
		k.state, k.description = stateFailed, "Service broker failed to delete service binding for instance "+k.instance.name
		k.job.fail("unbind could not be completed: " + k.description)
		return
	}
	k.job.state = "COMPLETE"
	s.drop(k, k.by, "delete")
}

func (s *Sim) settleCreate(k *key) {
	live := 0
	for _, other := range s.world.keys {
		if other.instance == k.instance && other.made != nil {
			live++
		}
	}
	fail := func(description string) {
		k.state, k.description = stateFailed, description
		if k.job != nil {
			k.job.fail("bind could not be completed: " + description)
		}
	}
	switch {
	case k.broker == BrokerHangs:
		fail(`Operation was stuck in "initial" state. Set to "failed" by cleanup job.`)
	case live >= s.behaves().KeysPerInstance:
		fail("Service broker error: quota reached: " + fmt.Sprint(live) + " bindings")
	case k.broker == BrokerRefuses:
		fail("Service broker error: invalid parameters")
	default:
		made, err := s.make(k)
		if err != nil {
			fail("Service broker error: " + err.Error())
			return
		}
		if k.broker == BrokerFails {
			fail("The request to the service broker timed out: " + k.instance.name)
			return
		}
		k.made, k.state = made, stateSucceeded
		k.usable = s.clock.Now().Add(time.Duration(s.behaves().Propagation))
		if k.job != nil {
			k.job.state = "COMPLETE"
			s.stage.Ledger.Change(simkit.Entry{Kind: kindKey, ID: k.guid, Attrs: k.attrs(), By: k.by, How: "broker"})
		}
	}
}

func (j *job) fail(words string) { j.state, j.failure = "FAILED", words }

// find returns a key by its guid.
func (w *world) find(guid string) *key {
	for _, k := range w.keys {
		if k.guid == guid {
			return k
		}
	}
	return nil
}

// byHand is who a person is in the ledger.
var byHand = simkit.Actor{Login: "person"}

// AddKey is what a person does in the cockpit. The instance is named org/space/name.
func (s *Sim) AddKey(at, name string) (guid string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.world.path(at)
	if i == nil {
		return "", errAbsent("instance", at)
	}
	for _, k := range s.world.keys {
		if k.instance == i && k.name == name {
			return k.guid, fmt.Errorf("there is a key %q already", name)
		}
	}
	now := s.clock.Now()
	k := &key{guid: newGUID(), name: name, instance: i, operation: opCreate, state: stateInitial, created: now, updated: now, due: now, broker: BrokerMakes, by: byHand}
	s.insert(k)
	return k.guid, nil
}

func (w *world) path(at string) *instance {
	for _, i := range w.instances {
		if i.space.org.name+"/"+i.space.name+"/"+i.name == at {
			return i
		}
	}
	return nil
}

// RemoveKey is what a person does in the cockpit.
func (s *Sim) RemoveKey(guid string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.world.find(guid)
	if k == nil {
		return errAbsent("key", guid)
	}
	s.drop(k, byHand, "human")
	return nil
}

// Reissue has the broker give a key another secret, as a restored broker does.
func (s *Sim) Reissue(guid string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.world.find(guid)
	if k == nil {
		return errAbsent("key", guid)
	}
	if k.made != nil && k.made.external {
		forgotten := *k.made // the certificate is its holder's; the broker can only forget it
		forgotten.thumbprint = sha256.Sum256([]byte(newGUID()))
		k.made = &forgotten
		return nil
	}
	made, err := s.make(k)
	if err == nil {
		k.made = made
	}
	return err
}

// RemoveInstance deletes an instance with its keys.
func (s *Sim) RemoveInstance(at string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.world.path(at)
	if i == nil {
		return errAbsent("instance", at)
	}
	s.dropInstance(i, byHand, "instance")
	return nil
}

// RenameInstance gives an instance another name.
func (s *Sim) RenameInstance(at, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.world.path(at)
	if i == nil {
		return errAbsent("instance", at)
	}
	i.name = name
	return nil
}

// ExpireTokens ends every token of the UAA.
func (s *Sim) ExpireTokens() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.world.tokens)
}
