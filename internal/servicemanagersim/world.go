package servicemanagersim

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/claviger-dev/claviger/internal/cloudfoundrysim"
	"github.com/claviger-dev/claviger/internal/simkit"
)

// Seed is added to the world; what exists by name is changed.
type Seed struct {
	Clients   []Client   `json:"clients,omitempty"`
	Instances []Instance `json:"instances,omitempty"`
	// ClientCAs are the authorities, PEM, whose certificates may be brought along.
	ClientCAs string `json:"clientCAs,omitempty"`
}

// Plans of the service service-manager. They say what a client may see and do.
const (
	PlanAdmin     = "subaccount-admin"
	PlanAudit     = "subaccount-audit"
	PlanContainer = "container"
	PlanOperator  = "service-operator-access"
)

// Client is a binding of an instance of service-manager: who may speak to it.
type Client struct {
	ID string `json:"id"`
	// Secret of the client; without one it has a certificate.
	Secret string `json:"secret,omitempty"`
	// Subaccount that it belongs to, by id.
	Subaccount string `json:"subaccount"`
	Plan       string `json:"plan"`
}

// Instance is a service instance of a subaccount.
type Instance struct {
	Subaccount string `json:"subaccount"`
	Name       string `json:"name"`
	// ID is given if it is empty.
	ID string `json:"id,omitempty"`
	// Offering is it-rt or xsuaa, Plan one of its plans.
	Offering string `json:"offering"`
	Plan     string `json:"plan"`
	// Roles are what its keys may do.
	Roles []string `json:"roles,omitempty"`
	// Container is the id of the client of plan container that made it.
	Container string `json:"container,omitempty"`
}

type world struct {
	clients    map[string]Client
	pairs      map[string]pair
	instances  []*instance
	bindings   []*binding
	operations map[string]*operation
	tokens     map[string]token
	spent      map[string][]time.Time
}

func newWorld() *world {
	return &world{
		clients: map[string]Client{}, pairs: map[string]pair{}, operations: map[string]*operation{}, tokens: map[string]token{}, spent: map[string][]time.Time{},
	}
}

type token struct {
	client string
	until  time.Time
}

type instance struct {
	given   Instance
	created time.Time
}

// at is what the landscape calls it.
func (i *instance) at() string { return i.given.Subaccount + "/service-manager/" + i.given.ID }

const (
	typeCreate, typeDelete                                = "create", "delete"
	statePending, stateWorking, stateSucceeded, stateFail = "pending", "in progress", "succeeded", "failed"
)

// binding is a service binding.
type binding struct {
	id, name         string
	instance         *instance
	labels           map[string][]string
	parameters       json.RawMessage
	created, updated time.Time
	last             *operation
	document         json.RawMessage // nil until it is made
	facts            map[string]string
	by               simkit.Actor
}

// operation is something that is done to a binding.
type operation struct {
	id, kind, state string
	errors          map[string]any
	binding         *binding
	begun, due      time.Time
	broker          string
	// listed: the binding is there.
	listed bool
}

func (o *operation) over() bool { return o.state == stateSucceeded || o.state == stateFail }

// newID has the form of those of Service Manager.
func newID() string {
	var raw [16]byte
	_, _ = rand.Read(raw[:]) // never fails
	text := hex.EncodeToString(raw[:])
	return text[:8] + "-" + text[8:12] + "-" + text[12:16] + "-" + text[16:20] + "-" + text[20:]
}

// Seed adds to the world.
func (s *Sim) Seed(seed Seed) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range seed.Clients {
		if !slices.Contains([]string{PlanAdmin, PlanAudit, PlanContainer, PlanOperator}, c.Plan) {
			return fmt.Errorf("plan %q is not played", c.Plan)
		}
		s.world.clients[c.ID] = c
		if _, known := s.world.pairs[c.ID]; c.Secret == "" && !known {
			made, err := s.certify(c.ID)
			if err != nil {
				return err
			}
			s.world.pairs[c.ID] = made
		}
	}
	below := cloudfoundrysim.Seed{ClientCAs: seed.ClientCAs}
	for _, given := range seed.Instances {
		i := s.world.named(given.Subaccount, given.Name)
		if i == nil {
			if given.ID == "" {
				given.ID = newID()
			}
			i = &instance{created: s.clock.Now()}
			s.world.instances = append(s.world.instances, i)
		} else {
			given.ID = i.given.ID
		}
		i.given = given
		below.Instances = append(below.Instances, cloudfoundrysim.Instance{
			Org: given.Subaccount, Space: "service-manager", Name: given.ID, Offering: given.Offering, Plan: given.Plan, Roles: given.Roles,
		})
	}
	return s.landscape.Seed(below)
}

// certify makes the certificate of a client.
func (s *Sim) certify(id string) (pair, error) {
	certificate, err := s.authority.Client(id)
	if err != nil {
		return pair{}, err
	}
	out := pair{certificate: certificate}
	for _, der := range certificate.Certificate {
		out.pem += string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	}
	out.key, err = keyPEM(certificate)
	return out, err
}

// Document is a client's binding as the cockpit shows it.
func (s *Sim) Document(id string) (map[string]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, known := s.world.clients[id]
	if !known {
		return nil, errAbsent("client", id)
	}
	out := map[string]string{"clientid": id, "sm_url": s.URL(), "xsappname": "b-" + id + "!b1|service-manager!b1"}
	if c.Secret != "" {
		out["clientsecret"], out["url"] = c.Secret, s.tokens.URL()
		return out, nil
	}
	held := s.world.pairs[id]
	out["certificate"], out["key"], out["certurl"] = held.pem, held.key, s.tokens.URL()
	return out, nil
}

func (w *world) named(subaccount, name string) *instance {
	for _, i := range w.instances {
		if i.given.Subaccount == subaccount && i.given.Name == name {
			return i
		}
	}
	return nil
}

// sees reports whether a client is shown an instance.
func (w *world) sees(client string, i *instance) bool {
	c := w.clients[client]
	return c.Subaccount == i.given.Subaccount && (c.Plan != PlanContainer || i.given.Container == client)
}

func (b *binding) attrs() map[string]string {
	attrs := map[string]string{"name": b.name, "instance": b.instance.given.Name, "mark": strings.Join(b.labels["_claviger_mark"], ",")}
	for name, value := range b.facts {
		attrs[name] = value
	}
	return attrs
}

// kindBinding is the kind of bindings in the ledger.
const kindBinding = "binding"

// insert makes a binding listable.
func (s *Sim) insert(b *binding) {
	s.world.bindings = append(s.world.bindings, b)
	s.stage.Ledger.Issue(simkit.Entry{Kind: kindBinding, ID: b.id, Attrs: b.attrs(), By: b.by, How: "create"})
}

// drop ends a binding for good.
func (s *Sim) drop(b *binding, by simkit.Actor, how string) {
	s.landscape.Unbind(b.id)
	if i := slices.Index(s.world.bindings, b); i >= 0 {
		s.world.bindings = slices.Delete(s.world.bindings, i, i+1)
		s.stage.Ledger.Revoke(simkit.Entry{Kind: kindBinding, ID: b.id, Attrs: b.attrs(), By: by, How: how})
	}
}

// settle does what brokers have had time for. The lock is held.
func (s *Sim) settle() {
	now := s.clock.Now()
	for _, o := range s.world.operations {
		switch {
		case o.over():
		case !now.Before(o.due):
			s.finish(o)
		case now.Sub(o.begun) > o.due.Sub(o.begun)/2:
			o.state = stateWorking
		}
	}
}

// finish does what an operation is for.
func (s *Sim) finish(o *operation) {
	b := o.binding
	b.updated = s.clock.Now()
	if o.kind == typeDelete {
		if o.broker == BrokerFails {
			o.fail(500, "the broker could not delete the binding")
			return
		}
		o.state = stateSucceeded
		s.drop(b, b.by, "delete")
		return
	}
	switch o.broker {
	case BrokerRefuses:
		o.fail(400, "invalid parameters")
	case BrokerFails:
		o.fail(500, "the broker has a fault")
	default:
		bound, err := s.landscape.Bind(b.instance.at(), b.id, b.parameters)
		if err != nil {
			o.fail(400, err.Error())
			break
		}
		o.state, b.document = stateSucceeded, bound.Document
		b.facts = map[string]string{"clientId": bound.ClientID, "fingerprint": bound.Fingerprint, "serial": bound.Serial}
	}
	switch failed := o.state == stateFail; {
	case failed && o.listed && !s.behaves().FailedStay:
		s.drop(b, b.by, "failed")
	case failed:
	case o.listed:
		s.stage.Ledger.Change(simkit.Entry{Kind: kindBinding, ID: b.id, Attrs: b.attrs(), By: b.by, How: "broker"})
	default:
		s.insert(b)
	}
	o.listed = true
}

func (o *operation) fail(status int, words string) {
	o.state = stateFail
	o.errors = map[string]any{
		"error": "BrokerError", "description": fmt.Sprintf("BrokerError:%s, Status: %d", words, status),
		"broker_error": map[string]any{"StatusCode": status, "ErrorMessage": "BrokerError", "Description": words, "ResponseError": nil},
	}
}

// byHand is who a person is in the ledger.
var byHand = simkit.Actor{Login: "person"}

func (w *world) find(id string) *binding {
	for _, b := range w.bindings {
		if b.id == id {
			return b
		}
	}
	return nil
}

// AddBinding is what a person does in the cockpit.
func (s *Sim) AddBinding(subaccount, instanceName, name string) (id string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.world.named(subaccount, instanceName)
	if i == nil {
		return "", errAbsent("instance", instanceName)
	}
	for _, b := range s.world.bindings {
		if b.instance == i && b.name == name {
			return b.id, fmt.Errorf("there is a binding %q already", name)
		}
	}
	now := s.clock.Now()
	b := &binding{id: newID(), name: name, instance: i, labels: map[string][]string{}, created: now, updated: now, by: byHand}
	b.last = &operation{id: newID(), kind: typeCreate, state: statePending, binding: b, begun: now, due: now, broker: BrokerMakes, listed: true}
	s.insert(b)
	s.finish(b.last)
	return b.id, nil
}

// with lets a person do something to a binding.
func (s *Sim) with(id string, do func(*binding)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
	b := s.world.find(id)
	if b == nil {
		return errAbsent("binding", id)
	}
	do(b)
	return nil
}

// RemoveBinding is what a person does in the cockpit.
func (s *Sim) RemoveBinding(id string) error {
	return s.with(id, func(b *binding) { s.drop(b, byHand, "human") })
}

// RenameBinding is what SAP's own operator does.
func (s *Sim) RenameBinding(id, name string) error {
	return s.with(id, func(b *binding) { b.name = name })
}

// StripLabels takes all labels off a binding.
func (s *Sim) StripLabels(id string) error {
	return s.with(id, func(b *binding) { b.labels = map[string][]string{} })
}

// Reissue has the broker give a binding another secret, as a restored broker does.
func (s *Sim) Reissue(id string) error { return s.landscape.Reissue(id) }

// RenameInstance gives an instance another name.
func (s *Sim) RenameInstance(subaccount, name, fresh string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.world.named(subaccount, name)
	if i == nil {
		return errAbsent("instance", name)
	}
	i.given.Name = fresh
	return nil
}

// RemoveInstance deletes an instance with its bindings.
func (s *Sim) RemoveInstance(subaccount, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.world.named(subaccount, name)
	if i == nil {
		return errAbsent("instance", name)
	}
	for _, b := range slices.Clone(s.world.bindings) {
		if b.instance == i {
			s.drop(b, byHand, "instance")
		}
	}
	s.world.instances = slices.DeleteFunc(s.world.instances, func(other *instance) bool { return other == i })
	return s.landscape.RemoveInstance(i.at())
}

// ExpireTokens ends every token of the clients.
func (s *Sim) ExpireTokens() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.world.tokens)
}

// thumbprint tells certificates apart.
func thumbprint(der []byte) [32]byte { return sha256.Sum256(der) }
