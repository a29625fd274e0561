package cloudfoundry

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/claviger-dev/claviger/internal/upstream"
)

// A managed instance is one that is made for a credential. Its label says whose it is, and
// that alone is looked at before anything is changed: names belong to whoever was first. What
// it was made of stands on it as well, because most offerings do not show their parameters.

// The label and annotations of a managed instance.
const (
	labelInstanceOf      = "credentials.claviger.dev/instance-of"
	annotationApplied    = "credentials.claviger.dev/applied"
	annotationPlan       = "credentials.claviger.dev/plan"
	annotationCredential = "credentials.claviger.dev/credential"
)

const instances = "/v3/service_instances"

// managed is what a credential wants of an instance of its own.
type managed struct {
	Name          string   `json:"name"`
	Offering      string   `json:"offering"`
	Plan          string   `json:"plan"`
	Roles         []string `json:"roles"`
	GrantTypes    []string `json:"grantTypes"`
	RedirectURIs  []string `json:"redirectURIs"`
	TokenValidity string   `json:"tokenValidity"`
}

// allowance is what an issuer lets credentials have made.
type allowance struct {
	Offering string   `json:"offering"`
	Plans    []string `json:"plans"`
	Roles    []string `json:"roles"`
}

// allows reports whether the instance is one of those.
func (a allowance) allows(m *managed) bool {
	if a.Offering != m.Offering || len(a.Plans) > 0 && !slices.Contains(a.Plans, m.Plan) {
		return false
	}
	// Without roles the service gives some of its own choice, which nobody has allowed.
	return len(a.Roles) == 0 || len(m.Roles) > 0 && !slices.ContainsFunc(m.Roles, func(role string) bool { return !slices.Contains(a.Roles, role) })
}

// parameters are what the broker is asked for. What is not given is not sent: its default is
// the service's.
func (m *managed) parameters() (map[string]any, error) {
	out := map[string]any{}
	if len(m.Roles) > 0 {
		out["roles"] = m.Roles
	}
	if len(m.GrantTypes) > 0 {
		out["grant-types"] = m.GrantTypes
	}
	if len(m.RedirectURIs) > 0 {
		out["redirect-uris"] = m.RedirectURIs
	}
	if m.TokenValidity != "" {
		validity, err := time.ParseDuration(m.TokenValidity)
		if err != nil || validity < time.Second {
			return nil, upstream.Errorf(upstream.InvalidSpec, "tokenValidity %q is no duration", upstream.Excerpt(m.TokenValidity))
		}
		out["token-validity"] = int(validity.Seconds())
	}
	return out, nil
}

func (m *managed) planText() string { return m.Offering + "/" + m.Plan }

// digest of what is wanted; empty if it cannot be sent anyway.
func (m *managed) digest() string {
	parameters, err := m.parameters()
	if err != nil {
		return ""
	}
	text, err := json.Marshal([]any{m.Offering, m.Plan, parameters})
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:16])
}

// Managed implements upstream.Provisioner.
func (a *account) Managed(raw json.RawMessage) string {
	var p credentialParameters
	if json.Unmarshal(raw, &p) != nil || p.Managed == nil {
		return ""
	}
	if digest := p.Managed.digest(); digest != "" {
		return digest
	}
	return "none" // which Find explains
}

// lot is a managed instance that was looked for.
type lot struct {
	upstream.Place
	managed    *managed
	parameters map[string]any
	space      string
	// row is nil if there is none.
	row *resource
}

func (l *lot) name() string {
	if l.managed.Name != "" {
		return l.managed.Name
	}
	return l.Name
}

// owns reports whether a row is this credential's. A name that holds the owner proves as much as
// a label: it stands there alone between the creation and the label, where both cannot be
// given at once.
func (l *lot) owns(row *resource) bool {
	switch row.Metadata.Labels[labelInstanceOf] {
	case l.Owner:
		return true
	case "":
		return l.managed.Name == "" && row.Name == l.Name && row.Type != "user-provided"
	case l.Former:
		return true
	}
	return false
}

// look finds the instance: by its name, then by its label, because people rename.
func (a *account) look(ctx context.Context, place upstream.Place) (*lot, error) {
	p, err := a.read(place.Parameters)
	if err != nil {
		return nil, err
	}
	if p.Managed == nil || len(place.Owner) != 16 || !segment.MatchString(place.Name) {
		return nil, upstream.Errorf(upstream.InvalidSpec, "the credential asks for no managed instance")
	}
	l := &lot{Place: place, managed: p.Managed}
	if l.parameters, err = p.Managed.parameters(); err != nil {
		return nil, err
	}
	if l.space, err = a.spaceGUID(ctx); err != nil {
		return nil, err
	}
	named, err := a.list(ctx, "instance.list", instances, url.Values{"space_guids": {l.space}, "names": {quoted(l.name())}})
	if err != nil {
		return nil, err
	}
	for i := range named {
		if l.owns(&named[i]) {
			l.row = &named[i]
			return l, nil
		}
	}
	selector := labelInstanceOf + "=" + l.Owner
	if l.Former != "" {
		selector = labelInstanceOf + " in (" + l.Owner + "," + l.Former + ")"
	}
	labelled, err := a.list(ctx, "instance.list", instances, url.Values{"space_guids": {l.space}, "label_selector": {selector}})
	switch {
	case err != nil:
		return nil, err
	case len(labelled) > 1:
		return nil, upstream.Errorf(upstream.Conflict, "%d service instances bear the label %s=%s; take it off all but one", len(labelled), labelInstanceOf, l.Owner)
	case len(labelled) == 1:
		l.row = &labelled[0]
	case len(named) > 0:
		return nil, upstream.Errorf(upstream.Conflict,
			"there is a service instance %q in the space that was not made for this credential: it is left alone. Choose another name, rename or delete it, or give it to the credential by the label %s=%s",
			upstream.Excerpt(l.name()), labelInstanceOf, l.Owner)
	}
	return l, nil
}

// Find implements upstream.Provisioner.
func (a *account) Find(ctx context.Context, place upstream.Place) (upstream.Provisioned, error) {
	l, err := a.look(ctx, place)
	if err != nil || l.row == nil {
		return upstream.Provisioned{Differs: true}, err
	}
	if plan := l.row.Metadata.Annotations[annotationPlan]; plan != "" && plan != l.managed.planText() {
		return upstream.Provisioned{}, l.otherPlan(plan)
	}
	last := l.row.LastOperation
	failed := last.State == "failed"
	out := upstream.Provisioned{
		Container: a.container(l.at()), Name: l.row.Name, ID: l.row.GUID,
		Usable:  last.Type == "update" || last.Type == "create" && last.State == "succeeded" || last.Type == "delete" && failed,
		Busy:    last.State == "initial" || last.State == "in progress",
		Differs: !l.applied() || failed && last.Type != "delete",
	}
	if failed {
		out.Failure = instanceFailure(last.Type, last.Description)
	}
	return out, nil
}

func (l *lot) at() place { return place{l.space, l.row.GUID} }

// applied: the row was last made what is wanted, by its own word, and bears the owner of today.
func (l *lot) applied() bool {
	return l.row.Metadata.Labels[labelInstanceOf] == l.Owner && l.row.Metadata.Annotations[annotationApplied] == l.managed.digest()
}

func (l *lot) otherPlan(plan string) *upstream.Error {
	return upstream.Errorf(upstream.Conflict, "the service instance %q is of %s, and the credential asks for %s: a plan is never changed. Delete the instance, or ask for another name and take the label %s off it",
		upstream.Excerpt(l.row.Name), upstream.Excerpt(plan), l.managed.planText(), labelInstanceOf)
}

// instanceFailure classifies the words of an operation that came to nothing.
func instanceFailure(operation, description string) *upstream.Error {
	e := brokerFailure(description)
	done := map[string]string{"create": "make", "update": "change", "delete": "delete"}[operation]
	return upstream.Errorf(e.Class, "the service broker did not %s the service instance: %s", done, upstream.Excerpt(description))
}

// metadata is what stands on the row.
func (l *lot) metadata() map[string]any {
	return map[string]any{
		"labels":      map[string]string{labelInstanceOf: l.Owner},
		"annotations": map[string]string{annotationApplied: l.managed.digest(), annotationPlan: l.managed.planText(), annotationCredential: l.Title},
	}
}

// Provision implements upstream.Provisioner.
func (a *account) Provision(ctx context.Context, place upstream.Place) error {
	l, err := a.look(ctx, place)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(a.parameters.ManagedInstances, func(one allowance) bool { return one.allows(l.managed) }) {
		return upstream.Errorf(upstream.InvalidSpec, "the issuer lets no credential have an instance of %s with these roles made: spec.cloudFoundry.managedInstances of the issuer must allow offering, plan and roles", l.managed.planText())
	}
	if l.row == nil || failedCreate(l.row) {
		return a.makeInstance(ctx, l)
	}
	switch last := l.row.LastOperation; {
	case last.State == "initial", last.State == "in progress":
		return pendingInstance()
	case l.applied() && last.State != "failed":
		return nil
	}
	return a.changeInstance(ctx, l)
}

func pendingInstance() *upstream.Error {
	return &upstream.Error{Class: upstream.Pending, After: pollAfter, Message: "the platform works on the service instance"}
}

// planGUID finds the plan, of which there must be one.
func (a *account) planGUID(ctx context.Context, m *managed) (string, error) {
	plans, err := a.list(ctx, "plan.list", "/v3/service_plans", url.Values{"names": {quoted(m.Plan)}, "service_offering_names": {quoted(m.Offering)}})
	switch {
	case err != nil:
		return "", err
	case len(plans) == 0:
		return "", upstream.Errorf(upstream.NotFound, "there is no plan %q of the service %q for this organization: entitle the subaccount to it", upstream.Excerpt(m.Plan), upstream.Excerpt(m.Offering))
	case len(plans) > 1:
		return "", upstream.Errorf(upstream.InvalidSpec, "%d services have the name %q and a plan %q; make the instance by hand and name it", len(plans), upstream.Excerpt(m.Offering), upstream.Excerpt(m.Plan))
	}
	return plans[0].GUID, nil
}

// makeInstance asks for the instance. The name is unique in the space, so nobody makes two.
func (a *account) makeInstance(ctx context.Context, l *lot) error {
	plan, err := a.planGUID(ctx, l.managed)
	if err != nil {
		return err
	}
	to := func(guid string) map[string]any { return map[string]any{"data": map[string]string{"guid": guid}} }
	post := func(marked bool) (reply, error) {
		body := map[string]any{
			"type": "managed", "name": l.name(), "parameters": l.parameters,
			"relationships": map[string]any{"space": to(l.space), "service_plan": to(plan)},
		}
		if marked {
			body["metadata"] = l.metadata()
		}
		return a.platform.send(ctx, call{operation: "instance.create", method: http.MethodPost, path: instances, body: body, effect: true})
	}
	r, err := post(!a.plain.Load())
	if err == nil && r.status == http.StatusUnprocessableEntity && strings.Contains(messageOf(r.body), `unknown field "metadata"`) {
		a.plain.Store(true)
		r, err = post(false)
	}
	if err != nil {
		return err
	}
	taken := r.status == http.StatusUnprocessableEntity && strings.Contains(messageOf(r.body), "name is taken")
	switch {
	case taken && l.row != nil && l.row.Name == l.name():
		// Older platforms do not replace what failed.
		if err := a.deleteInstance(ctx, l.row); err != nil {
			return err
		}
		return upstream.Errorf(upstream.Retryable, "a service instance that could not be made is removed first")
	case taken:
		return upstream.Errorf(upstream.Retryable, "the name %q was taken a moment ago, and it is looked at by whom", l.name())
	case r.status != http.StatusAccepted && r.status != http.StatusCreated:
		return r.instanceRefusal()
	case a.plain.Load():
		return a.labelInstance(ctx, l)
	}
	return nil
}

// labelInstance marks what could not be marked when it was made.
func (a *account) labelInstance(ctx context.Context, l *lot) error {
	made, err := a.list(ctx, "instance.list", instances, url.Values{"space_guids": {l.space}, "names": {quoted(l.name())}})
	if err != nil {
		return err
	}
	if len(made) != 1 {
		return pendingInstance()
	}
	return a.patch(ctx, made[0].GUID, map[string]any{"metadata": l.metadata()})
}

// changeInstance asks for another set of roles, and marks the row with what was asked for.
func (a *account) changeInstance(ctx context.Context, l *lot) error {
	if l.row.Metadata.Annotations[annotationPlan] == "" {
		plan, err := a.planGUID(ctx, l.managed) // somebody gave it to us: of what, nobody has said
		if err != nil {
			return err
		}
		if plan != l.row.Relationships.Plan.Data.GUID {
			return l.otherPlan("another plan")
		}
	}
	return a.patch(ctx, l.row.GUID, map[string]any{"parameters": l.parameters, "metadata": l.metadata()})
}

func (a *account) patch(ctx context.Context, guid string, body any) error {
	r, err := a.platform.send(ctx, call{operation: "instance.update", method: http.MethodPatch, path: instances + "/" + guid, body: body, effect: true})
	if err != nil {
		return err
	}
	if r.status == http.StatusAccepted || r.document() {
		return nil
	}
	return r.instanceRefusal()
}

// instanceRefusal classifies what is refused about instances alone.
func (r reply) instanceRefusal() *upstream.Error {
	words := messageOf(r.body)
	out := r.refusal(roleAdvice)
	switch {
	case r.status == http.StatusConflict, strings.Contains(words, "in progress"):
		pending := pendingInstance()
		pending.Message += ": " + out.Message
		return pending
	case r.status == http.StatusUnprocessableEntity && strings.Contains(words, "You have exceeded your"):
		out.Class = upstream.QuotaExceeded
	}
	return out
}

// Deprovision implements upstream.Provisioner. The platform deletes an instance with all that is
// in it, so what is in it is counted first.
func (a *account) Deprovision(ctx context.Context, place upstream.Place) error {
	l, err := a.look(ctx, place)
	if err != nil || l.row == nil {
		return err
	}
	if last := l.row.LastOperation; last.State == "initial" || last.Type != "create" && last.State == "in progress" {
		return pendingInstance()
	}
	left, err := a.page(ctx, "binding.list", bindings, url.Values{"service_instance_guids": {l.row.GUID}, "per_page": {"1"}})
	if err != nil {
		return err
	}
	if n := left.Pagination.Total; n > 0 {
		return upstream.Errorf(upstream.Conflict, "the service instance %q is not deleted: %d keys or bindings of it are somebody else's. Delete them, or set deletion of the managed instance to Keep", upstream.Excerpt(l.row.Name), n)
	}
	return a.deleteInstance(ctx, l.row)
}

func (a *account) deleteInstance(ctx context.Context, row *resource) error {
	r, err := a.platform.send(ctx, call{operation: "instance.delete", method: http.MethodDelete, path: instances + "/" + row.GUID, effect: true})
	switch {
	case err != nil:
		return err
	case r.status == http.StatusAccepted, r.status == http.StatusNoContent, r.status == http.StatusNotFound && !r.page():
		return nil // whether it is gone, the next look says
	}
	return r.instanceRefusal()
}

// places are the managed instances among those of the space.
func (a *account) places(space string, all []resource) []upstream.FoundPlace {
	var out []upstream.FoundPlace
	for _, row := range all {
		owner, notes := row.Metadata.Labels[labelInstanceOf], row.Metadata.Annotations
		if owner == "" || row.LastOperation.Type == "delete" {
			continue
		}
		out = append(out, upstream.FoundPlace{
			Owner: owner, Title: notes[annotationCredential], Applied: notes[annotationApplied], Container: a.container(place{space, row.GUID}), Name: row.Name,
		})
	}
	slices.SortFunc(out, func(x, y upstream.FoundPlace) int { return strings.Compare(x.Container, y.Container) })
	return out
}
