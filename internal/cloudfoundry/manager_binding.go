package cloudfoundry

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/claviger-dev/claviger/internal/material"
	"github.com/claviger-dev/claviger/internal/upstream"
)

// List implements upstream.Upstream: the bindings that bear a mark, and a page of one for the
// count of all.
func (m *manager) List(ctx context.Context, owner upstream.Owner) (upstream.Listing, error) {
	query := url.Values{}
	if owner.Container != "" {
		instance, err := m.parseContainer(owner.Container)
		if err != nil {
			return upstream.Listing{}, err
		}
		query.Set("fieldQuery", "service_instance_id eq "+literal(instance))
	}
	count, err := m.page(ctx, "binding.list", managerBindings, with(query, "max_items", "1"))
	if err != nil {
		return upstream.Listing{}, err
	}
	selector := managerLabelMade + " eq " + literal(managerMade)
	if owner.Mark != "" {
		selector = managerLabelOwner + " eq " + literal(owner.Mark)
	}
	marked, err := m.list(ctx, "binding.list", managerBindings, with(query, "labelQuery", selector))
	if err != nil {
		return upstream.Listing{}, err
	}
	listing := upstream.Listing{Total: *count.Total}
	for _, one := range marked {
		mark := upstream.Mark(one.label(managerLabelMark))
		container := m.container(one.Instance)
		if !isMark(string(mark)) || !segment.MatchString(one.Instance) || owner.Mark != "" && mark.Owner() != owner.Mark || owner.Container != "" && container != owner.Container {
			continue
		}
		listing.Found = append(listing.Found, upstream.Found{ID: one.ID, Name: one.Name, Mark: mark, Container: container, CreatedAt: one.created()})
	}
	slices.SortFunc(listing.Found, func(x, y upstream.Found) int { return strings.Compare(x.ID, y.ID) })
	return listing, nil
}

// chosen finds the bindings of an instance that a query chooses.
func (m *manager) chosen(ctx context.Context, instance, field, label string) ([]entity, error) {
	query := url.Values{"fieldQuery": {"service_instance_id eq " + literal(instance) + field}, "attach_last_operations": {"true"}}
	if label != "" {
		query.Set("labelQuery", label)
	}
	all, err := m.list(ctx, "binding.list", managerBindings, query)
	return slices.DeleteFunc(all, func(one entity) bool { return one.Instance != instance }), err
}

// marked finds the bindings that bear a mark: one, or more if two processes were let make it
// at the same moment. The oldest is first, for all who look.
func (m *manager) marked(ctx context.Context, instance string, mark upstream.Mark) ([]entity, error) {
	all, err := m.chosen(ctx, instance, "", managerLabelMark+" eq "+literal(string(mark)))
	all = slices.DeleteFunc(all, func(one entity) bool { return !one.ours(mark) })
	slices.SortFunc(all, func(x, y entity) int {
		if c := x.created().Compare(y.created()); c != 0 {
			return c
		}
		return strings.Compare(x.ID, y.ID)
	})
	return all, err
}

// find returns the binding of a request, nil if the list that lacks it was whole.
func (m *manager) find(ctx context.Context, instance string, r upstream.Request) (*entity, error) {
	all, err := m.marked(ctx, instance, r.Mark)
	if err != nil || len(all) == 0 {
		return nil, err
	}
	for i := range all {
		if all[i].ID == r.ID {
			return &all[i], nil
		}
	}
	return &all[0], nil
}

// Issue implements upstream.Upstream. It creates at most once per call; whatever became of
// that, and of earlier calls, is told by the binding that bears the request's mark, or by
// the operation that is to make it.
func (m *manager) Issue(ctx context.Context, r upstream.Request) (upstream.Issued, error) {
	p, err := m.wanted(r.Parameters)
	if err != nil {
		return upstream.Issued{}, err
	}
	instance, err := m.parseContainer(r.Container)
	if err != nil {
		return upstream.Issued{}, err
	}
	if !isMark(string(r.Mark)) || !segment.MatchString(r.Name) {
		return upstream.Issued{}, upstream.Errorf(upstream.InvalidSpec, "the request's name or mark does not fit")
	}
	// Always, and not only of a repeat: the name alone would not stop a second one where somebody
	// has renamed the first.
	binding, err := m.find(ctx, instance, r)
	if err != nil {
		return upstream.Issued{}, err
	}
	if binding != nil {
		return m.reap(ctx, binding, p, r)
	}
	if issued, err := m.awaited(ctx, p, r); err != nil {
		return issued, err
	}
	return m.create(ctx, instance, p, r)
}

// awaited asks an operation that has begun and that no binding shows yet. Nil means that
// there is none, or that what came of it has been told: then the binding is asked for anew.
func (m *manager) awaited(ctx context.Context, p credentialParameters, r upstream.Request) (upstream.Issued, error) {
	begun := r.SecretHandle.Reveal()
	if !segment.MatchString(r.ID) || !segment.MatchString(begun) {
		return upstream.Issued{}, nil
	}
	op, err := m.operation(ctx, r.ID, begun)
	if err != nil || op == nil {
		return upstream.Issued{}, err
	}
	switch {
	case working(op.State):
		return upstream.Issued{ID: r.ID}, m.pending("Service Manager is making the binding")
	case op.State == stateFailed:
		if m.told(begun) {
			return upstream.Issued{}, nil
		}
		return upstream.Issued{}, m.failure(*op, p)
	case op.State == stateSucceeded:
		return upstream.Issued{ID: r.ID}, m.pending("Service Manager has made the binding and does not list it yet")
	}
	return upstream.Issued{}, upstream.Errorf(upstream.Retryable, "operation.read: the state %q is not known", upstream.Excerpt(op.State))
}

// told reports whether the failure of an operation was told before, and remembers it.
func (m *manager) told(operation string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.failures[operation] {
		delete(m.failures, operation)
		return true
	}
	if m.failures == nil || len(m.failures) > mostFailures {
		m.failures = map[string]bool{} // to tell a failure twice does no harm
	}
	m.failures[operation] = true
	return false
}

// mostFailures bounds what is remembered of credentials that are never asked for again.
const mostFailures = 1000

func (*manager) pending(words string) *upstream.Error {
	return &upstream.Error{Class: upstream.Pending, After: pollAfter, Message: words}
}

// operation reads one; nil if it is not known any more.
func (m *manager) operation(ctx context.Context, binding, id string) (*operation, error) {
	r, err := m.api.send(ctx, call{operation: "operation.read", method: http.MethodGet, path: managerBindings + "/" + binding + "/operations/" + id})
	if err != nil {
		return nil, err
	}
	if _, said := refused(r.body); said && missing(r.status) {
		return nil, nil
	}
	if !r.document() {
		return nil, r.refusal(planAdvice)
	}
	op, err := decodeOperation(r.body)
	if err != nil {
		return nil, upstream.Errorf(upstream.Retryable, "operation.read: %s", err)
	}
	return &op, nil
}

// create asks for the binding.
func (m *manager) create(ctx context.Context, instance string, p credentialParameters, r upstream.Request) (upstream.Issued, error) {
	parameters, err := p.keyParameters(r.Material.Certificate)
	if err != nil {
		return upstream.Issued{}, err
	}
	body := map[string]any{
		"name": r.Name, "service_instance_id": instance,
		"labels": map[string][]string{
			managerLabelMade: {managerMade}, managerLabelMark: {string(r.Mark)}, managerLabelOwner: {r.Mark.Owner()}, managerLabelVersion: {strconv.FormatInt(r.Number, 10)},
		},
	}
	if parameters != nil {
		body["parameters"] = parameters
	}
	answer, err := m.api.send(ctx, call{operation: "binding.create", method: http.MethodPost, path: managerBindings, body: body, effect: true})
	if err != nil {
		return upstream.Issued{}, err
	}
	taken := nameTaken(answer.status, messageOf(answer.body))
	if !taken && (answer.status < http.StatusOK || answer.status > http.StatusAccepted) {
		return upstream.Issued{}, m.createRefusal(answer, p)
	}
	binding, err := m.find(ctx, instance, r)
	switch {
	case err != nil:
		return upstream.Issued{}, afterSending(err)
	case binding != nil:
		issued, err := m.reap(ctx, binding, p, r)
		if _, operation := readLocation(answer.location); upstream.ClassOf(err) == upstream.Pending && operation != "" {
			// If it fails and is taken away, the operation alone tells why.
			issued.SecretHandle = material.New(operation)
		}
		return issued, err
	case taken:
		return upstream.Issued{}, m.whose(ctx, instance, r)
	case answer.status == http.StatusAccepted:
		id, operation := readLocation(answer.location)
		if id == "" {
			return upstream.Issued{}, upstream.Errorf(upstream.OutcomeUnknown, "%s without an operation in Location, and no binding is listed", answer.words())
		}
		begun := r
		begun.ID, begun.SecretHandle = id, material.New(operation)
		issued, err := m.awaited(ctx, p, begun)
		if err == nil {
			err = m.pending("Service Manager has accepted the binding and does not list it yet")
		}
		if upstream.ClassOf(err) == upstream.Pending {
			// The handle is written down once: what it tells does not change.
			issued = upstream.Issued{ID: id, SecretHandle: begun.SecretHandle}
		}
		return issued, afterSending(err)
	}
	return upstream.Issued{}, upstream.Errorf(upstream.OutcomeUnknown, "%s, and no binding of that name is listed", answer.words())
}

// whose finds out who has a name that is taken.
func (m *manager) whose(ctx context.Context, instance string, r upstream.Request) error {
	all, err := m.chosen(ctx, instance, " and name eq "+literal(r.Name), "")
	if err != nil {
		return afterSending(err)
	}
	if slices.ContainsFunc(all, func(one entity) bool { return one.Name == r.Name && !one.ours(r.Mark) }) {
		return upstream.Errorf(upstream.Conflict, "there is a binding %q of the service instance that is somebody else's", r.Name)
	}
	return upstream.Errorf(upstream.Retryable, "Service Manager says that there is a binding %q, and does not list it yet", r.Name)
}

// createRefusal classifies what creation alone is refused with.
func (m *manager) createRefusal(r reply, p credentialParameters) *upstream.Error {
	out := r.refusal(planAdvice)
	form, said := refused(r.body)
	if r.throttled || r.router != "" || !said || r.status == http.StatusUnauthorized || r.status == http.StatusForbidden {
		return out
	}
	switch {
	case busy(form.words()):
		out.Class, out.After = upstream.Retryable, pollAfter
	case form.Broker != nil:
		return m.brokerRefusal(form, p)
	case missing(r.status):
		// The instance has gone, or the login does not see it; neither is concluded.
		out.Class = upstream.Forbidden
	case r.status < http.StatusInternalServerError && exhausted(form.words()):
		out.Class = upstream.QuotaExceeded
	}
	return out
}

// brokerRefusal is what a service broker has said. A certificate of ours is not sent again:
// SAP takes one only once, and if its authority was not trusted, another one must sign.
func (m *manager) brokerRefusal(form refusalForm, p credentialParameters) *upstream.Error {
	class, words := form.brokerClass(), upstream.Redact(form.words(), m.own)
	if p.KeyType == keyExternal && class != upstream.QuotaExceeded {
		return upstream.Errorf(upstream.Rejected, "the service broker did not take the certificate: %s", words)
	}
	return upstream.Errorf(class, "the service broker did not make the binding: %s", words)
}

// failure is that of an operation that was to make a binding.
func (m *manager) failure(op operation, p credentialParameters) *upstream.Error {
	form, said := refused(op.Errors)
	if !said {
		form.Description = "no reason is given"
	}
	if nameTaken(http.StatusConflict, form.words()) {
		return upstream.Errorf(upstream.Retryable, "the binding was asked for twice at the same moment")
	}
	return m.brokerRefusal(form, p)
}

// reap takes what Service Manager has made of a binding.
func (m *manager) reap(ctx context.Context, binding *entity, p credentialParameters, r upstream.Request) (upstream.Issued, error) {
	var partial upstream.Issued
	if last := binding.last(); last.Type == "create" && last.State != stateFailed {
		partial.ID = binding.ID
	}
	if err := m.unmade(ctx, *binding, p); err != nil {
		return partial, err
	}
	whole, answer, err := m.object(ctx, "binding.read", managerBindings, binding.ID)
	switch {
	case err != nil:
		return partial, afterSending(err)
	case whole == nil:
		return partial, upstream.Errorf(upstream.Retryable, "binding.read: the binding was listed and is not there")
	case whole.Instance != binding.Instance || !whole.ours(r.Mark):
		return partial, upstream.Errorf(upstream.Conflict, "the binding %q has lost its labels", upstream.Excerpt(whole.Name))
	}
	if err := m.unmade(ctx, *whole, p); err != nil {
		return partial, err
	}
	made, expires, err := parseDetails(answer.body, p.KeyType == keyExternal)
	if err != nil {
		return partial, upstream.Errorf(upstream.Rejected, "binding.read: %s", err)
	}
	if p.KeyType == keyExternal {
		if made, expires, err = completed(made, r.Material); err != nil {
			return partial, err
		}
	}
	return upstream.Issued{Material: made, ID: binding.ID, ExpiresAt: expires}, nil
}

// unmade says why a binding has no credentials; nil if it has. One that could not be made is
// ended first: its name stays taken as long as it is there.
func (m *manager) unmade(ctx context.Context, binding entity, p credentialParameters) error {
	last := binding.last()
	switch {
	case last.Type == "delete" && last.State != stateFailed:
		// One that could not be made, mostly: when it has gone, the name is free.
		return m.pending("a binding of that name is being deleted first")
	case last.Type == "delete":
	case last.Type != "create", last.State == stateSucceeded:
		return nil
	case working(last.State):
		return m.pending("the service broker is making the binding")
	case last.State != stateFailed:
		return upstream.Errorf(upstream.Retryable, "the state %q of the binding is not known", upstream.Excerpt(last.State))
	}
	failure := m.failure(last, p)
	if last.Type == "delete" {
		failure = upstream.Errorf(upstream.Retryable, "a binding of that name is there and could not be deleted")
	}
	if failure.Class != upstream.Rejected { // what is rejected is revoked as a whole
		if _, err := m.remove(ctx, binding.ID); err != nil {
			failure.Message += "; and it could not be removed yet: " + strings.TrimPrefix(err.Error(), string(upstream.ClassOf(err))+": ")
		}
	}
	return failure
}

// Revoke implements upstream.Upstream. What it ends bears the mark, or has the recorded id
// and the name.
func (m *manager) Revoke(ctx context.Context, h upstream.Handle) error {
	instance, err := m.parseContainer(h.Container)
	if err != nil {
		return err
	}
	if !isMark(string(h.Mark)) || !segment.MatchString(h.Name) {
		return upstream.Errorf(upstream.InvalidSpec, "the handle's name or mark does not fit")
	}
	all, err := m.handled(ctx, instance, h)
	if err != nil {
		return err
	}
	if len(all) == 0 {
		return m.absent(ctx, instance, h)
	}
	before, denied := "", false
	for _, binding := range all {
		last := binding.last()
		if last.Type == "delete" && working(last.State) {
			continue
		}
		if form, said := refused(last.Errors); said && last.Type == "delete" {
			before = "; it failed before: " + upstream.Redact(form.words(), m.own)
		}
		gone, err := m.remove(ctx, binding.ID)
		if err != nil {
			return err
		}
		denied = denied || gone
	}
	left, err := m.handled(ctx, instance, h)
	switch {
	case err != nil:
		return afterSending(err)
	case len(left) > 0 && denied:
		return upstream.Errorf(upstream.Retryable, "binding.delete: Service Manager says that the binding is not there, and lists it")
	case len(left) > 0:
		return m.pending("the service broker is deleting the binding" + before)
	case denied: // by somebody else, or by a login that lost its rights in between
		return m.visible(ctx, instance)
	}
	return nil
}

// absent proves that nothing of a handle is there.
func (m *manager) absent(ctx context.Context, instance string, h upstream.Handle) error {
	if err := m.visible(ctx, instance); err != nil {
		return err
	}
	// Again, now that the rights are known: they may have come back in between.
	all, err := m.handled(ctx, instance, h)
	if err != nil {
		return err
	}
	if len(all) > 0 {
		return upstream.Errorf(upstream.Retryable, "the binding was not listed at first")
	}
	// A binding may still come of an operation that has begun.
	if begun := h.SecretHandle.Reveal(); segment.MatchString(h.ID) && segment.MatchString(begun) {
		op, err := m.operation(ctx, h.ID, begun)
		if err != nil {
			return err
		}
		if op != nil && working(op.State) {
			return m.pending("Service Manager is still making the binding")
		}
	}
	return upstream.Errorf(upstream.NotFound, "the service instance has no binding %q of ours", h.Name)
}

// handled finds the bindings of a handle: by the mark, whatever people call them now, and one
// that lost its labels by id and name together.
func (m *manager) handled(ctx context.Context, instance string, h upstream.Handle) ([]entity, error) {
	all, err := m.marked(ctx, instance, h.Mark)
	if err != nil || h.ID == "" || slices.ContainsFunc(all, func(one entity) bool { return one.ID == h.ID }) {
		return all, err
	}
	named, err := m.chosen(ctx, instance, " and name eq "+literal(h.Name), "")
	if err != nil {
		return nil, err
	}
	for _, one := range named {
		if one.ID == h.ID && one.Name == h.Name {
			all = append(all, one)
		}
	}
	return all, nil
}

// remove asks for the deletion of a binding. That it is said not to be there is no error, and
// no proof either: the list has to say it as well.
func (m *manager) remove(ctx context.Context, id string) (missed bool, err error) {
	r, err := m.api.send(ctx, call{operation: "binding.delete", method: http.MethodDelete, path: managerBindings + "/" + id, effect: true})
	if err != nil {
		return false, err
	}
	form, said := refused(r.body)
	switch {
	case r.status == http.StatusOK && !r.page(), r.status == http.StatusAccepted, r.status == http.StatusNoContent:
		return false, nil
	case said && missing(r.status):
		return true, nil
	case said && !r.throttled && busy(form.words()):
		return false, m.pending("Service Manager is busy with the binding")
	case said && !r.throttled && form.Broker != nil:
		// Whatever the broker says against it, the binding is still there.
		return false, upstream.Errorf(upstream.Retryable, "the service broker did not delete the binding: %s", upstream.Redact(form.words(), m.own))
	}
	return false, r.refusal(planAdvice)
}
