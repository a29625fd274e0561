package servicemanagersim

import (
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"github.com/claviger-dev/claviger/internal/simkit"
)

func stamp(at time.Time) string { return at.UTC().Format("2006-01-02T15:04:05.000000Z") }

// absent is the answer about something that is not there, or not for this caller.
func (t *turn) absent(what string) simkit.Answer {
	return failure(t.behaviour.Gone, "could not find such "+what)
}

// labels are those of an object, and that of its subaccount.
func (t *turn) labels(own map[string][]string, subaccount string) map[string][]string {
	out := map[string][]string{}
	for name, values := range own {
		out[name] = values
	}
	if !t.behaviour.NoSubaccountLabels {
		out["subaccount_id"] = []string{subaccount}
	}
	return out
}

func (t *turn) instances() (seen []*instance) {
	for _, i := range t.sim.world.instances {
		if t.sim.world.sees(t.client.ID, i) {
			seen = append(seen, i)
		}
	}
	return seen
}

func (t *turn) instanceDocument(i *instance) map[string]any {
	return map[string]any{
		"id": i.given.ID, "ready": true, "name": i.given.Name, "service_plan_id": "plan-" + i.given.Offering + "-" + i.given.Plan, "platform_id": "service-manager",
		"context": map[string]any{"platform": "sapcp", "subaccount_id": i.given.Subaccount}, "usable": true, "created_at": stamp(i.created), "updated_at": stamp(i.created),
		"labels": t.labels(nil, i.given.Subaccount),
	}
}

func listInstances(t *turn) simkit.Answer {
	var items []item
	for _, i := range t.instances() {
		document := t.instanceDocument(i)
		items = append(items, item{
			document,
			map[string][]string{"id": {i.given.ID}, "name": {i.given.Name}, "service_plan_id": {"plan-" + i.given.Offering + "-" + i.given.Plan}, "ready": {"true"}},
			t.labels(nil, i.given.Subaccount),
		})
	}
	return t.page(items)
}

func readInstance(t *turn) simkit.Answer {
	for _, i := range t.instances() {
		if i.given.ID == t.id {
			return simkit.JSON(http.StatusOK, t.instanceDocument(i))
		}
	}
	return t.absent("service instance")
}

// listPlatforms is for those who may see the whole subaccount.
func listPlatforms(t *turn) simkit.Answer {
	if t.client.Plan != PlanAdmin && t.client.Plan != PlanAudit {
		return failure(403, "insufficient scopes: subaccount.platform.read")
	}
	return t.page([]item{{map[string]any{"id": "service-manager", "name": "service-manager", "type": "service-manager"}, map[string][]string{"id": {"service-manager"}}, nil}})
}

func (t *turn) operationDocument(o *operation) map[string]any {
	out := map[string]any{
		"id": o.id, "ready": true, "type": o.kind, "state": o.state, "resource_id": o.binding.id, "resource_type": "/v1/service_bindings", "deletion_scheduled": "0001-01-01T00:00:00Z",
		"created_at": stamp(o.begun), "updated_at": stamp(o.binding.updated),
	}
	if o.errors != nil {
		out["errors"] = o.errors
	}
	return out
}

// bindingDocument shows a binding, with its credentials if they are there and wanted.
func (t *turn) bindingDocument(b *binding, credentials, last bool) map[string]any {
	out := map[string]any{
		"id": b.id, "ready": b.document != nil, "name": b.name, "service_instance_id": b.instance.given.ID, "service_instance_name": b.instance.given.Name,
		"context": map[string]any{"platform": "sapcp"}, "created_at": stamp(b.created), "updated_at": stamp(b.updated), "labels": t.labels(b.labels, b.instance.given.Subaccount),
	}
	if credentials && b.document != nil {
		out["credentials"] = b.document
	}
	if last && !t.behaviour.NoLastOperations {
		out["last_operation"] = t.operationDocument(b.last)
	}
	return out
}

func listBindings(t *turn) simkit.Answer {
	var items []item
	attach := t.query.Get("attach_last_operations") == "true"
	for _, b := range t.sim.world.bindings {
		if t.sim.world.sees(t.client.ID, b.instance) {
			items = append(items, item{
				t.bindingDocument(b, t.behaviour.ListsShowCredentials, attach),
				map[string][]string{"id": {b.id}, "name": {b.name}, "service_instance_id": {b.instance.given.ID}},
				t.labels(b.labels, b.instance.given.Subaccount),
			})
		}
	}
	return t.page(items)
}

// binding finds the one that a path names, if the caller may see it.
func (t *turn) binding() *binding {
	if b := t.sim.world.find(t.id); b != nil && t.sim.world.sees(t.client.ID, b.instance) {
		return b
	}
	return nil
}

func readBinding(t *turn) simkit.Answer {
	if b := t.binding(); b != nil {
		return simkit.JSON(http.StatusOK, t.bindingDocument(b, true, true))
	}
	return t.absent("service binding")
}

// readOperation also tells of a binding that never came to be, or has gone.
func readOperation(t *turn) simkit.Answer {
	o := t.sim.world.operations[t.operation]
	if o == nil || o.binding.id != t.id || !t.sim.world.sees(t.client.ID, o.binding.instance) {
		return t.absent("operation")
	}
	return simkit.JSON(http.StatusOK, t.operationDocument(o))
}

// manages refuses who may only read.
func (t *turn) manages() *simkit.Answer {
	if t.client.Plan == PlanAudit {
		answer := failure(403, "insufficient scopes: subaccount.service_binding.manage")
		return &answer
	}
	return nil
}

type creation struct {
	Name       string              `json:"name"`
	Instance   string              `json:"service_instance_id"`
	Parameters json.RawMessage     `json:"parameters"`
	Labels     map[string][]string `json:"labels"`
}

func createBinding(t *turn) simkit.Answer {
	if refusal := t.manages(); refusal != nil {
		return *refusal
	}
	var c creation
	if err := simkit.Strict(t.body, &c); err != nil || c.Name == "" || c.Instance == "" {
		return failure(400, "the body is not that of a binding")
	}
	var at *instance
	for _, i := range t.instances() {
		if i.given.ID == c.Instance {
			at = i
		}
	}
	if at == nil {
		return failure(404, "could not find such service instance")
	}
	for _, b := range t.sim.world.bindings {
		if b.instance == at && b.name == c.Name {
			t.sim.stage.Ledger.Duplicate(simkit.Entry{Kind: kindBinding, ID: b.id, Attrs: b.attrs(), By: t.by, How: "create"})
			return failure(409, "binding with same name exists for instance with id "+at.given.ID)
		}
	}
	now := t.sim.clock.Now()
	b := &binding{id: newID(), name: c.Name, instance: at, labels: c.Labels, parameters: c.Parameters, created: now, updated: now, by: t.by}
	o := t.begin(b, typeCreate, t.behaviour.Broker)
	if !t.behaviour.Async {
		o.due = now
		if t.behaviour.FailedStay && t.behaviour.Broker == BrokerFails {
			// What a broker left behind when it failed is there for somebody to delete.
			o.listed = true
			t.sim.insert(b)
		}
		t.sim.finish(o)
		if o.state == stateFail {
			return t.refused(o)
		}
		return simkit.JSON(http.StatusCreated, t.bindingDocument(b, true, true))
	}
	if !t.behaviour.LateRows {
		o.listed = true
		t.sim.insert(b)
	}
	return accepted(o)
}

// begin makes the operation of what a binding is asked for.
func (t *turn) begin(b *binding, kind, broker string) *operation {
	now := t.sim.clock.Now()
	o := &operation{id: newID(), kind: kind, state: statePending, binding: b, begun: now, due: now.Add(time.Duration(t.behaviour.BrokerTime)), broker: broker}
	b.last = o
	t.sim.world.operations[o.id] = o
	return o
}

func accepted(o *operation) simkit.Answer {
	return simkit.Answer{
		Status: http.StatusAccepted, Header: http.Header{"Location": {"/v1/service_bindings/" + o.binding.id + "/operations/" + o.id}, "Content-Type": {"application/json"}}, Body: []byte("{}"),
	}
}

// refused passes on what the broker said.
func (t *turn) refused(o *operation) simkit.Answer {
	status := http.StatusBadGateway
	if broker, ok := o.errors["broker_error"].(map[string]any); ok && broker["StatusCode"] == http.StatusBadRequest {
		status = http.StatusBadRequest
	}
	return simkit.JSON(status, o.errors)
}

func updateBinding(t *turn) simkit.Answer {
	if refusal := t.manages(); refusal != nil {
		return *refusal
	}
	b := t.binding()
	if b == nil {
		return t.absent("service binding")
	}
	var change struct {
		Name   string `json:"name"`
		Labels []struct {
			Operation string   `json:"op"`
			Key       string   `json:"key"`
			Values    []string `json:"values"`
		} `json:"labels"`
	}
	if err := simkit.Strict(t.body, &change); err != nil {
		return failure(400, "the body is not that of a change")
	}
	labels := map[string][]string{}
	for name, values := range b.labels {
		labels[name] = slices.Clone(values)
	}
	for _, l := range change.Labels {
		switch {
		case l.Operation == "add" && len(labels[l.Key]) > 0:
			return failure(400, "label "+l.Key+" exists")
		case l.Operation == "add":
			labels[l.Key] = l.Values
		case l.Operation == "remove":
			delete(labels, l.Key)
		default:
			return failure(400, "unknown label operation "+l.Operation)
		}
	}
	b.labels = labels
	if change.Name != "" {
		b.name = change.Name
	}
	t.sim.stage.Ledger.Change(simkit.Entry{Kind: kindBinding, ID: b.id, Attrs: b.attrs(), By: t.by, How: "update"})
	return simkit.JSON(http.StatusOK, t.bindingDocument(b, false, true))
}

func deleteBinding(t *turn) simkit.Answer {
	if refusal := t.manages(); refusal != nil {
		return *refusal
	}
	b := t.binding()
	switch {
	case b == nil:
		return t.absent("service binding")
	case !b.last.over():
		return simkit.JSON(http.StatusUnprocessableEntity, map[string]any{
			"error": "ConcurrentOperationInProgress", "description": "Another concurrent operation in progress for this resource",
		})
	}
	broker := BrokerMakes
	if t.behaviour.DeletesFail > 0 {
		broker = BrokerFails
		_ = t.sim.Adjust(func(b *Behaviour) { b.DeletesFail-- }) // was more than 0
	}
	b.by = t.by
	o := t.begin(b, typeDelete, broker)
	o.listed = true
	if t.behaviour.Async {
		return accepted(o)
	}
	t.sim.finish(o)
	if o.state == stateFail {
		return t.refused(o)
	}
	return simkit.JSON(http.StatusOK, map[string]any{})
}
