package cloudfoundrysim

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/claviger-dev/claviger/internal/simkit"
)

// kindInstance is the kind of service instances in the ledger. Those of a seed are not in it.
const kindInstance = "instance"

const opUpdate = "update"

// catalogue are the offerings and their plans, in every space.
var catalogue = []struct {
	offering string
	plans    []string
}{{offeringRuntime, []string{"api", "integration-flow"}}, {offeringXSUAA, []string{"application"}}}

func offeringGUID(offering string) string   { return "offering-" + offering }
func planGUID(offering, plan string) string { return "plan-" + offering + "-" + plan }

// instance is a service instance of its space.
type instance struct {
	named
	space               *space
	given               Instance
	plan                string // guid
	labels, annotations map[string]string
	parameters          json.RawMessage
	operation, state    string
	description         string
	created, updated    time.Time
	// due is when the broker has done what it is asked; the zero time means that nothing is
	// under way. asked is what that is, broker what it will do.
	due    time.Time
	asked  json.RawMessage
	broker string
	job    *job
	by     simkit.Actor
	// late is metadata that is written when the broker has done what it is asked.
	late *metadata
	// Until cachedUntil the API still knows the roles of before.
	cachedRoles []string
	cachedUntil time.Time
}

func (i *instance) attrs() map[string]string {
	attrs := map[string]string{"name": i.name, "plan": i.plan, "roles": strings.Join(i.given.Roles, ",")}
	for name, value := range i.labels {
		attrs["label "+name] = value
	}
	return attrs
}

// roles are those that the API behind the keys goes by.
func (i *instance) roles(now time.Time) []string {
	if now.Before(i.cachedUntil) {
		return i.cachedRoles
	}
	return i.given.Roles
}

// exists: it can have keys.
func (i *instance) exists() bool {
	return i.operation != opDelete && (i.operation != opCreate || i.state == stateSucceeded)
}

// busy: the platform refuses whatever is asked of it meanwhile.
func (i *instance) busy() bool { return i.state == stateInitial || i.state == stateBusy }

// settleInstances does what the broker has had time for. The lock is held.
func (s *Sim) settleInstances() {
	now := s.clock.Now()
	for _, i := range slices.Clone(s.world.instances) {
		if i.due.IsZero() || now.Before(i.due) {
			continue
		}
		i.due, i.updated, i.job.updated = time.Time{}, now, now
		words := ""
		switch i.broker {
		case BrokerHangs:
			words = `Operation was stuck in "initial" state. Set to "failed" by cleanup job.`
		case BrokerRefuses:
			words = "Service broker error: invalid parameters"
		case BrokerFails:
			words = "The request to the service broker timed out: " + i.name
		}
		if i.operation == opDelete && i.broker == BrokerMakes {
			i.job.state = "COMPLETE"
			s.dropInstance(i, i.by, "delete")
			continue
		}
		late := i.late
		i.late = nil
		if words == "" {
			if err := i.take(now, time.Duration(s.behaves().RoleDelay)); err != nil {
				words = "Service broker error: " + err.Error()
			}
		}
		if words != "" {
			i.state, i.description = stateFailed, words
			i.job.fail(i.operation + " could not be completed: " + words)
			continue
		}
		_ = i.lay(late) // what cannot be laid was never asked for by this project's tests
		i.state, i.job.state = stateSucceeded, "COMPLETE"
		s.stage.Ledger.Change(simkit.Entry{Kind: kindInstance, ID: i.guid, Attrs: i.attrs(), By: i.by, How: "broker"})
	}
}

// instanceParameters are all that it-rt knows.
type instanceParameters struct {
	GrantTypes    []string `json:"grant-types"`
	RedirectURIs  []string `json:"redirect-uris"`
	Roles         []string `json:"roles"`
	TokenValidity *int     `json:"token-validity"`
}

// take makes an instance what its broker was asked for. A role that it had, or is given, is
// known to the API behind it only later.
func (i *instance) take(now time.Time, delay time.Duration) error {
	if i.given.Offering == offeringRuntime && len(i.asked) > 0 {
		var p instanceParameters
		if err := simkit.Strict(i.asked, &p); err != nil {
			return errors.New("the parameters are not understood")
		}
		if v := p.TokenValidity; v != nil && (*v < 3600 || *v > 86400) {
			return fmt.Errorf("token-validity %d is not between 3600 and 86400", *v)
		}
		if slices.Contains(p.GrantTypes, "client_x509") {
			return errors.New("grant type client_x509 is deprecated")
		}
		if i.operation == opUpdate && delay > 0 {
			i.cachedRoles, i.cachedUntil = i.given.Roles, now.Add(delay)
		}
		if p.Roles != nil {
			i.given.Roles = p.Roles
		}
	}
	if len(i.asked) > 0 {
		i.parameters = i.asked
	}
	return nil
}

// dropInstance takes an instance away for good, with its keys.
func (s *Sim) dropInstance(i *instance, by simkit.Actor, how string) {
	for _, k := range slices.Clone(s.world.keys) {
		if k.instance == i {
			s.drop(k, by, "instance")
		}
	}
	s.world.instances = slices.DeleteFunc(s.world.instances, func(other *instance) bool { return other == i })
	s.stage.Ledger.Revoke(simkit.Entry{Kind: kindInstance, ID: i.guid, Attrs: i.attrs(), By: by, How: how})
}

// plans are those that the space may use.
func (t *turn) plans() []any {
	var out []any
	for _, o := range catalogue {
		for _, plan := range o.plans {
			if !slices.Contains(t.behaviour.Withheld, plan) && t.wanted("names", plan) && t.wanted("service_offering_names", o.offering) && t.wanted("service_offering_guids", offeringGUID(o.offering)) {
				out = append(out, t.describe("service_plans", named{planGUID(o.offering, plan), plan}, map[string]any{
					"available": true, "free": true, "visibility_type": "organization", "relationships": relation("service_offering", offeringGUID(o.offering)),
				}))
			}
		}
	}
	return out
}

func listPlans(t *turn) simkit.Answer { return t.page(t.plans()) }

func listOfferings(t *turn) simkit.Answer {
	var out []any
	for _, o := range catalogue {
		if t.wanted("names", o.offering) {
			out = append(out, t.describe("service_offerings", named{offeringGUID(o.offering), o.offering}, map[string]any{"available": true, "relationships": relation("service_broker", "broker")}))
		}
	}
	return t.page(out)
}

func (t *turn) instances() (seen []*instance) {
	for _, i := range t.sim.world.instances {
		if t.sim.world.sees(t.by.Login, i.space) && t.wanted("names", i.name) && t.wanted("guids", i.guid) && t.wanted("space_guids", i.space.guid) &&
			t.wanted("organization_guids", i.space.org.guid) && t.wanted("type", "managed") {
			seen = append(seen, i)
		}
	}
	return seen
}

func (t *turn) instanceDocument(i *instance) map[string]any {
	relations := relation("space", i.space.guid)
	relations["service_plan"] = map[string]any{"data": map[string]string{"guid": i.plan}}
	document := t.describe("service_instances", i.named, map[string]any{
		"type": "managed", "tags": []string{}, "upgrade_available": false, "dashboard_url": nil, "relationships": relations,
		"last_operation": map[string]any{"type": i.operation, "state": i.state, "description": i.description, "created_at": stamp(i.created), "updated_at": stamp(i.updated)},
		"created_at":     stamp(i.created), "updated_at": stamp(i.updated),
	})
	document["metadata"] = map[string]any{"labels": copied(i.labels), "annotations": copied(i.annotations)}
	return document
}

func copied(m map[string]string) map[string]string {
	out := map[string]string{}
	for name, value := range m {
		out[name] = value
	}
	return out
}

func listInstances(t *turn) simkit.Answer {
	selector, err := parseSelector(t.query.Get("label_selector"))
	if err != nil {
		return failure(400, "The query parameter is invalid: "+err.Error())
	}
	var out []any
	for _, i := range t.instances() {
		if selector.matches(i.labels) {
			out = append(out, t.instanceDocument(i))
		}
	}
	return t.page(out)
}

// theInstance finds the instance that a path names, if the caller may see it.
func (t *turn) theInstance() *instance {
	for _, i := range t.sim.world.instances {
		if i.guid == t.guid && t.sim.world.sees(t.by.Login, i.space) {
			return i
		}
	}
	return nil
}

func readInstance(t *turn) simkit.Answer {
	if i := t.theInstance(); i != nil {
		return simkit.JSON(http.StatusOK, t.instanceDocument(i))
	}
	return absent("Service instance")
}

// readInstanceParameters shows what the broker was asked for, where the offering lets it.
func readInstanceParameters(t *turn) simkit.Answer {
	i := t.theInstance()
	switch {
	case i == nil:
		return absent("Service instance")
	case !t.behaviour.Retrievable:
		return failure(400, "This service does not support fetching service instance parameters.")
	case len(i.parameters) == 0:
		return simkit.JSON(http.StatusOK, struct{}{})
	}
	return simkit.JSON(http.StatusOK, i.parameters)
}

type relationship struct {
	Data struct {
		GUID string `json:"guid"`
	} `json:"data"`
}

type instanceCreation struct {
	Type          string          `json:"type"`
	Name          string          `json:"name"`
	Parameters    json.RawMessage `json:"parameters"`
	Tags          []string        `json:"tags"`
	Metadata      *metadata       `json:"metadata"`
	Relationships struct {
		Space       relationship `json:"space"`
		ServicePlan relationship `json:"service_plan"`
	} `json:"relationships"`
}

func createInstance(t *turn) simkit.Answer {
	var c instanceCreation
	if err := simkit.Strict(t.body, &c); err != nil {
		return unprocessable("Unknown field(s) or a body that cannot be read")
	}
	if t.behaviour.Korifi && c.Metadata != nil {
		return unprocessable(`invalid request body: json: unknown field "metadata"`)
	}
	var at *space
	for _, known := range t.sim.world.spaces {
		if known.guid == c.Relationships.Space.Data.GUID && t.sim.world.sees(t.by.Login, known) {
			at = known
		}
	}
	offering, plan := t.plan(c.Relationships.ServicePlan.Data.GUID)
	made := 0
	for _, i := range t.sim.world.instances {
		if i.space == at {
			made++
		}
	}
	switch quota := t.behaviour.InstancesPerSpace; {
	case c.Type != "managed":
		return unprocessable("Type must be one of 'managed', 'user-provided'")
	case c.Name == "":
		return unprocessable("Name can't be blank")
	case at == nil:
		return unprocessable("Invalid space. Ensure that the space exists and you have access to it.")
	case plan == "":
		return unprocessable("Invalid service plan. Ensure that the service plan exists, is available, and you have access to it.")
	case quota > 0 && made >= quota:
		return unprocessable("You have exceeded your space's services limit.")
	}
	if refusal := t.takeInstanceName(at, c.Name); refusal != nil {
		return *refusal
	}
	now := t.sim.clock.Now()
	i := &instance{
		named: named{newGUID(), c.Name}, space: at, given: Instance{Org: at.org.name, Space: at.name, Name: c.Name, Offering: offering, Plan: plan},
		plan: planGUID(offering, plan), created: now, operation: opCreate, by: t.by,
	}
	if refusal := t.mark(i, c.Metadata); refusal != nil {
		return *refusal
	}
	t.sim.world.instances = append(t.sim.world.instances, i)
	t.sim.stage.Ledger.Issue(simkit.Entry{Kind: kindInstance, ID: i.guid, Attrs: i.attrs(), By: t.by, How: "create"})
	return t.ask(i, opCreate, c.Parameters)
}

// plan finds a plan that the space may use by its guid.
func (t *turn) plan(guid string) (offering, plan string) {
	for _, o := range catalogue {
		for _, p := range o.plans {
			if planGUID(o.offering, p) == guid && !slices.Contains(t.behaviour.Withheld, p) {
				return o.offering, p
			}
		}
	}
	return "", ""
}

// takeInstanceName makes room for a name, or says that it is taken: what failed to be made is
// replaced.
func (t *turn) takeInstanceName(at *space, name string) *simkit.Answer {
	known := t.sim.world.instance(at, name)
	switch {
	case known == nil:
		return nil
	case known.operation == opCreate && known.state == stateFailed && !t.behaviour.FailedNamesStay:
		t.sim.dropInstance(known, t.by, "replaced")
		return nil
	}
	t.sim.stage.Ledger.Duplicate(simkit.Entry{Kind: kindInstance, ID: known.guid, Attrs: known.attrs(), By: t.by, How: "create"})
	answer := unprocessable("The service instance name is taken: " + name + ".")
	return &answer
}

// mark puts metadata on an instance.
func (t *turn) mark(i *instance, m *metadata) *simkit.Answer {
	if err := i.lay(m); err != nil {
		answer := unprocessable("Metadata " + err.Error())
		return &answer
	}
	return nil
}

func (i *instance) lay(m *metadata) error {
	if m == nil {
		return nil
	}
	k := &key{labels: i.labels, annotations: i.annotations}
	if err := k.lay(*m); err != nil {
		return err
	}
	i.labels, i.annotations = k.labels, k.annotations
	return nil
}

// ask has the broker do something about an instance.
func (t *turn) ask(i *instance, operation string, parameters json.RawMessage) simkit.Answer {
	now := t.sim.clock.Now()
	i.operation, i.state, i.description, i.updated, i.by, i.asked = operation, stateInitial, "", now, t.by, parameters
	if t.behaviour.Async || operation != opCreate {
		i.state = stateBusy
	}
	i.due, i.broker = now.Add(time.Duration(t.behaviour.InstanceTime)), t.behaviour.InstanceBroker
	i.job = &job{guid: newGUID(), operation: "service_instance." + operation, state: "PROCESSING", target: i.guid, created: now, updated: now}
	if t.behaviour.Korifi {
		i.job.operation = "managed_service_instance." + operation
		i.job.guid = i.job.operation + "~" + i.guid
	}
	t.sim.world.jobs[i.job.guid] = i.job
	j := i.job
	t.sim.settle()
	return t.accepted(j)
}

func updateInstance(t *turn) simkit.Answer {
	i := t.theInstance()
	if i == nil {
		return absent("Service instance")
	}
	var c struct {
		Name       string          `json:"name"`
		Parameters json.RawMessage `json:"parameters"`
		Tags       []string        `json:"tags"`
		Metadata   *metadata       `json:"metadata"`
	}
	if err := simkit.Strict(t.body, &c); err != nil {
		return unprocessable("Unknown field(s) or a body that cannot be read")
	}
	switch {
	case i.operation == opDelete:
		return unprocessable("The service instance is being deleted")
	case i.busy() && (len(c.Parameters) > 0 || c.Name != ""):
		return failure(409, "An operation for service instance "+i.name+" is in progress.")
	case i.operation == opCreate && i.state == stateFailed && len(c.Parameters) > 0:
		return unprocessable("The service instance could not be updated: its creation failed")
	}
	if t.behaviour.LateMetadata && len(c.Parameters) > 0 {
		i.late = c.Metadata
	} else if refusal := t.mark(i, c.Metadata); refusal != nil {
		return *refusal
	}
	if c.Name != "" {
		i.name = c.Name
	}
	t.sim.stage.Ledger.Change(simkit.Entry{Kind: kindInstance, ID: i.guid, Attrs: i.attrs(), By: t.by, How: "update"})
	if len(c.Parameters) == 0 {
		return simkit.JSON(http.StatusOK, t.instanceDocument(i))
	}
	return t.ask(i, opUpdate, c.Parameters)
}

// deleteInstance takes the keys along, whosever they are.
func deleteInstance(t *turn) simkit.Answer {
	i := t.theInstance()
	switch {
	case i == nil:
		return absent("Service instance")
	case i.busy() && i.operation != opCreate, i.state == stateInitial:
		return failure(409, "An operation for service instance "+i.name+" is in progress.")
	}
	return t.ask(i, opDelete, nil)
}

// instanceLink is what a job of an instance leads to.
func (t *turn) instanceLink(guid string) map[string]string {
	for _, i := range t.sim.world.instances {
		if i.guid == guid {
			return map[string]string{"href": t.base() + "/service_instances/" + guid}
		}
	}
	return nil
}

// AddInstance is what a person does in the cockpit.
func (s *Sim) AddInstance(given Instance, labels map[string]string) (guid string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := s.world.space(given.Org, given.Space)
	if known := s.world.instance(at, given.Name); known != nil {
		return known.guid, fmt.Errorf("there is an instance %q already", given.Name)
	}
	i := s.seeded(at, given)
	i.labels = copied(labels)
	s.world.instances = append(s.world.instances, i)
	return i.guid, nil
}

func (s *Sim) seeded(at *space, given Instance) *instance {
	now := s.clock.Now()
	return &instance{
		named: named{newGUID(), given.Name}, space: at, given: given, plan: planGUID(given.Offering, given.Plan),
		operation: opCreate, state: stateSucceeded, created: now, updated: now,
	}
}

// LabelInstance is what a person does on the command line; an empty value takes a label away.
func (s *Sim) LabelInstance(at, name, value string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.world.path(at)
	if i == nil {
		return errAbsent("instance", at)
	}
	labels := copied(i.labels)
	labels[name] = value
	if value == "" {
		delete(labels, name)
	}
	i.labels = labels
	return nil
}

// InstanceState is what a person sees of an instance.
type InstanceState struct {
	GUID, Name          string
	Roles               []string
	Parameters          json.RawMessage
	Labels, Annotations map[string]string
}

// Instances are those of a space, org/space, that exist, in the order in which they were made.
func (s *Sim) Instances(in string) []InstanceState {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
	var out []InstanceState
	for _, i := range s.world.instances {
		if i.space.org.name+"/"+i.space.name == in && i.exists() {
			out = append(out, InstanceState{i.guid, i.name, slices.Clone(i.given.Roles), i.parameters, copied(i.labels), copied(i.annotations)})
		}
	}
	return out
}
