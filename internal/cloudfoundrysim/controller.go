package cloudfoundrysim

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/claviger-dev/claviger/internal/simkit"
)

func absent(what string) simkit.Answer { return failure(404, what+" not found") }

func stamp(at time.Time) string { return at.UTC().Format(time.RFC3339) }

func (t *turn) describe(kind string, n named, more map[string]any) map[string]any {
	out := map[string]any{
		"guid": n.guid, "name": n.name, "created_at": stamp(t.sim.clock.Now()), "updated_at": stamp(t.sim.clock.Now()),
		"metadata": map[string]any{"labels": map[string]string{}, "annotations": map[string]string{}},
		"links":    map[string]any{"self": map[string]string{"href": t.base() + "/" + kind + "/" + n.guid}},
	}
	for name, value := range more {
		out[name] = value
	}
	return out
}

func (t *turn) orgs() (seen []*named) {
	for _, o := range t.sim.world.orgs {
		visible := slices.ContainsFunc(t.sim.world.spaces, func(at *space) bool { return at.org == o && t.sim.world.sees(t.by.Login, at) })
		if visible && t.wanted("names", o.name) && t.wanted("guids", o.guid) {
			seen = append(seen, o)
		}
	}
	return seen
}

func listOrgs(t *turn) simkit.Answer {
	var out []any
	for _, o := range t.orgs() {
		out = append(out, t.describe("organizations", *o, nil))
	}
	return t.page(out)
}

func readOrg(t *turn) simkit.Answer {
	for _, o := range t.orgs() {
		if o.guid == t.guid {
			return simkit.JSON(http.StatusOK, t.describe("organizations", *o, nil))
		}
	}
	return absent("Organization")
}

func (t *turn) spaces() (seen []*space) {
	for _, at := range t.sim.world.spaces {
		if t.sim.world.sees(t.by.Login, at) && t.wanted("names", at.name) && t.wanted("guids", at.guid) && t.wanted("organization_guids", at.org.guid) {
			seen = append(seen, at)
		}
	}
	return seen
}

func (t *turn) spaceDocument(at *space) map[string]any {
	return t.describe("spaces", at.named, map[string]any{"relationships": relation("organization", at.org.guid)})
}

func relation(name, guid string) map[string]any {
	return map[string]any{name: map[string]any{"data": map[string]string{"guid": guid}}}
}

func listSpaces(t *turn) simkit.Answer {
	var out []any
	for _, at := range t.spaces() {
		out = append(out, t.spaceDocument(at))
	}
	return t.page(out)
}

func readSpace(t *turn) simkit.Answer {
	for _, at := range t.spaces() {
		if at.guid == t.guid {
			return simkit.JSON(http.StatusOK, t.spaceDocument(at))
		}
	}
	return absent("Space")
}

func (t *turn) bindingDocument(k *key) map[string]any {
	href := func(path string) map[string]string { return map[string]string{"href": t.base() + path} }
	self := "/service_credential_bindings/" + k.guid
	return map[string]any{
		"guid": k.guid, "name": k.name, "type": "key", "created_at": stamp(k.created), "updated_at": stamp(k.updated),
		"last_operation": map[string]any{"type": k.operation, "state": k.state, "description": k.description, "created_at": stamp(k.created), "updated_at": stamp(k.updated)},
		"metadata":       map[string]any{"labels": copied(k.labels), "annotations": copied(k.annotations)},
		"relationships":  relation("service_instance", k.instance.guid),
		"links": map[string]any{
			"self": href(self), "details": href(self + "/details"), "parameters": href(self + "/parameters"), "service_instance": href("/service_instances/" + k.instance.guid),
		},
	}
}

func listBindings(t *turn) simkit.Answer {
	selector, err := parseSelector(t.query.Get("label_selector"))
	if err != nil {
		return failure(400, "The query parameter is invalid: "+err.Error())
	}
	var out []any
	for _, k := range t.sim.world.keys {
		if t.sim.world.sees(t.by.Login, k.instance.space) && t.wanted("names", k.name) && t.wanted("guids", k.guid) && t.wanted("service_instance_guids", k.instance.guid) &&
			t.wanted("service_instance_names", k.instance.name) && t.wanted("type", "key") && selector.matches(k.labels) {
			out = append(out, t.bindingDocument(k))
		}
	}
	return t.page(out)
}

// binding finds the key that a path names, if the caller may see it.
func (t *turn) binding() *key {
	if k := t.sim.world.find(t.guid); k != nil && t.sim.world.sees(t.by.Login, k.instance.space) {
		return k
	}
	return nil
}

func readBinding(t *turn) simkit.Answer {
	if k := t.binding(); k != nil {
		return simkit.JSON(http.StatusOK, t.bindingDocument(k))
	}
	return absent("Service credential binding")
}

// readDetails shows the secret, again and again, and only of a key that was made.
func readDetails(t *turn) simkit.Answer {
	k := t.binding()
	switch {
	case k == nil:
		return absent("Service credential binding")
	case k.operation == opDelete:
		return failure(404, "Deletion of service key "+k.state)
	case k.state != stateSucceeded:
		return failure(404, "Creation of service key "+k.state)
	}
	return simkit.JSON(http.StatusOK, map[string]any{"credentials": k.made.document})
}

// readParameters shows what the broker was asked for.
func readParameters(t *turn) simkit.Answer {
	k := t.binding()
	switch {
	case k == nil:
		return absent("Service credential binding")
	case len(k.parameters) == 0:
		return simkit.JSON(http.StatusOK, struct{}{})
	}
	return simkit.JSON(http.StatusOK, k.parameters)
}

// metadata is that of a request; a null takes a label away.
type metadata struct {
	Labels      map[string]*string `json:"labels"`
	Annotations map[string]*string `json:"annotations"`
}

type creation struct {
	Type          string          `json:"type"`
	Name          string          `json:"name"`
	Parameters    json.RawMessage `json:"parameters"`
	Metadata      *metadata       `json:"metadata"`
	Relationships struct {
		ServiceInstance relationship `json:"service_instance"`
	} `json:"relationships"`
}

func createBinding(t *turn) simkit.Answer {
	var c creation
	if err := simkit.Strict(t.body, &c); err != nil {
		return unprocessable("Unknown field(s) or a body that cannot be read")
	}
	if t.behaviour.Korifi && c.Metadata != nil {
		return unprocessable(`invalid request body: json: unknown field "metadata"`)
	}
	var at *instance
	for _, i := range t.sim.world.instances {
		if i.guid == c.Relationships.ServiceInstance.Data.GUID && t.sim.world.sees(t.by.Login, i.space) {
			at = i
		}
	}
	switch {
	case c.Type != "key":
		return unprocessable("Type must be 'app' or 'key'")
	case c.Name == "":
		return unprocessable("Name can't be blank")
	case at == nil:
		return unprocessable("The service instance could not be found: '" + c.Relationships.ServiceInstance.Data.GUID + "'")
	case at.busy():
		return unprocessable("There is an operation in progress for the service instance")
	case !at.exists():
		return unprocessable("Service instance not found")
	}
	if refusal := t.takeName(at, c.Name); refusal != nil {
		return *refusal
	}
	now := t.sim.clock.Now()
	k := &key{
		guid: newGUID(), name: c.Name, instance: at, labels: map[string]string{}, annotations: map[string]string{}, parameters: c.Parameters,
		operation: opCreate, state: stateInitial, created: now, updated: now, due: now.Add(time.Duration(t.behaviour.BrokerTime)), broker: t.behaviour.Broker, by: t.by,
	}
	if c.Metadata != nil {
		if err := k.lay(*c.Metadata); err != nil {
			return unprocessable("Metadata " + err.Error())
		}
	}
	if t.behaviour.Async {
		k.state = stateBusy
	}
	t.begin(k, "service_keys.create", "managed_service_binding.create")
	t.sim.insert(k)
	return t.accepted(k.job)
}

// takeName makes room for a key's name, or says that it is taken.
func (t *turn) takeName(at *instance, name string) *simkit.Answer {
	for _, k := range slices.Clone(t.sim.world.keys) {
		if k.instance != at || k.name != name {
			continue
		}
		attrs := k.attrs()
		t.sim.stage.Ledger.Duplicate(simkit.Entry{Kind: kindKey, ID: k.guid, Attrs: attrs, By: t.by, How: "create"})
		const unique = "The binding name is invalid. Key binding names must be unique. The service instance already has a key binding with "
		switch {
		case k.operation == opDelete:
			answer := unprocessable(unique + "the name '" + name + "' that is getting deleted or its deletion failed.")
			return &answer
		case k.state == stateFailed && !t.behaviour.FailedNamesStay:
			t.sim.drop(k, t.by, "replaced")
		default:
			answer := unprocessable(unique + "name '" + name + "'.")
			return &answer
		}
	}
	return nil
}

// begin makes the job of what a key is asked for.
func (t *turn) begin(k *key, operation, korifi string) {
	now := t.sim.clock.Now()
	j := &job{guid: newGUID(), operation: operation, state: "PROCESSING", target: k.guid, created: now, updated: now}
	if t.behaviour.Async {
		j.state = "POLLING"
	}
	if t.behaviour.Korifi {
		j.guid, j.operation = korifi+"~"+k.guid, korifi
	}
	k.job = j
	t.sim.world.jobs[j.guid] = j
}

func (t *turn) accepted(j *job) simkit.Answer {
	return simkit.Answer{Status: http.StatusAccepted, Header: http.Header{"Location": {t.base() + "/jobs/" + j.guid}}}
}

func readJob(t *turn) simkit.Answer {
	j := t.sim.world.jobs[t.guid]
	if j == nil {
		return absent("Job")
	}
	links := map[string]any{"self": map[string]string{"href": t.base() + "/jobs/" + j.guid}}
	out := map[string]any{"guid": j.guid, "operation": j.operation, "state": j.state, "errors": []any{}, "warnings": []any{}, "links": links}
	if j.failure != "" {
		out["errors"] = []any{map[string]any{"code": 10009, "title": "CF-UnableToPerform", "detail": j.failure}}
	}
	if !t.behaviour.Korifi {
		out["created_at"], out["updated_at"] = stamp(j.created), stamp(j.updated)
		if t.sim.world.find(j.target) != nil {
			links["service_credential_binding"] = map[string]string{"href": t.base() + "/service_credential_bindings/" + j.target}
		}
		if link := t.instanceLink(j.target); link != nil {
			links["service_instances"] = link
		}
	}
	return simkit.JSON(http.StatusOK, out)
}

func updateBinding(t *turn) simkit.Answer {
	k := t.binding()
	if k == nil {
		return absent("Service credential binding")
	}
	if k.operation == opDelete {
		return unprocessable("The service binding is being deleted")
	}
	var c struct {
		Metadata metadata `json:"metadata"`
	}
	if err := simkit.Strict(t.body, &c); err != nil {
		return unprocessable("Unknown field(s) or a body that cannot be read")
	}
	if err := k.lay(c.Metadata); err != nil {
		return unprocessable("Metadata " + err.Error())
	}
	t.sim.stage.Ledger.Change(simkit.Entry{Kind: kindKey, ID: k.guid, Attrs: k.attrs(), By: t.by, How: "update"})
	return simkit.JSON(http.StatusOK, t.bindingDocument(k))
}

func deleteBinding(t *turn) simkit.Answer {
	k := t.binding()
	switch {
	case k == nil:
		return absent("Service credential binding")
	case k.operation == opCreate && k.state == stateInitial, k.operation == opDelete && k.state != stateFailed:
		return unprocessable("There is an operation in progress for the service binding.")
	}
	now := t.sim.clock.Now()
	k.operation, k.state, k.description, k.updated, k.by = opDelete, stateBusy, "", now, t.by
	k.due, k.broker = now.Add(time.Duration(t.behaviour.BrokerTime)), BrokerMakes
	if t.behaviour.DeletesFail > 0 {
		k.broker = BrokerFails
		_ = t.sim.Adjust(func(b *Behaviour) { b.DeletesFail-- }) // was more than 0
	}
	t.begin(k, "service_keys.delete", "managed_service_binding.delete")
	j := k.job
	t.sim.settle()
	return t.accepted(j)
}

var (
	labelKey   = regexp.MustCompile(`^([a-z0-9.-]{1,253}/)?[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$`)
	labelValue = regexp.MustCompile(`^([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?$`)
)

// lay puts metadata on a key.
func (k *key) lay(m metadata) error {
	for name, value := range m.Labels {
		switch {
		case !labelKey.MatchString(name) || strings.HasPrefix(name, "cloudfoundry.org/"):
			return fmt.Errorf("label key error: '%s'", name)
		case value == nil:
			delete(k.labels, name)
			continue
		case !labelValue.MatchString(*value):
			return fmt.Errorf("label value error: '%s'", *value)
		}
		if k.labels == nil {
			k.labels = map[string]string{}
		}
		k.labels[name] = *value
	}
	for name, value := range m.Annotations {
		if value == nil {
			delete(k.annotations, name)
			continue
		}
		if k.annotations == nil {
			k.annotations = map[string]string{}
		}
		k.annotations[name] = *value
	}
	return nil
}

// requirement is one of a label_selector.
type requirement struct {
	key    string
	values []string // of in and notin, = and !=
	exists bool     // the key alone
	not    bool
}

type selector []requirement

func (s selector) matches(labels map[string]string) bool {
	for _, r := range s {
		value, there := labels[r.key]
		holds := there && (r.exists || slices.Contains(r.values, value))
		if holds == r.not {
			return false
		}
	}
	return true
}

var (
	setRequirement   = regexp.MustCompile(`^\s*(\S+)\s+(in|notin)\s*\(([^)]*)\)`)
	plainRequirement = regexp.MustCompile(`^\s*([^,=!\s]+)\s*(==|=|!=)\s*([^,]*)`)
	bareRequirement  = regexp.MustCompile(`^\s*(!?)([^,=!\s]+)`)
)

// parseSelector reads =, ==, !=, in, notin, k and !k, separated by commas.
func parseSelector(text string) (selector, error) {
	var out selector
	for rest := text; strings.TrimSpace(rest) != ""; {
		var r requirement
		var length int
		if m := setRequirement.FindStringSubmatch(rest); m != nil {
			r, length = requirement{key: m[1], not: m[2] == "notin"}, len(m[0])
			for _, value := range strings.Split(m[3], ",") {
				r.values = append(r.values, strings.TrimSpace(value))
			}
		} else if m := plainRequirement.FindStringSubmatch(rest); m != nil {
			r, length = requirement{key: m[1], not: m[2] == "!=", values: []string{strings.TrimSpace(m[3])}}, len(m[0])
		} else if m := bareRequirement.FindStringSubmatch(rest); m != nil {
			r, length = requirement{key: m[2], not: m[1] == "!", exists: true}, len(m[0])
		} else {
			return nil, fmt.Errorf("label_selector is not understood")
		}
		out, rest = append(out, r), strings.TrimPrefix(strings.TrimSpace(rest[length:]), ",")
	}
	return out, nil
}
