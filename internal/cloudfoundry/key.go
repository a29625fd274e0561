package cloudfoundry

import (
	"context"
	"encoding/hex"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/claviger-dev/claviger/internal/material"
	"github.com/claviger-dev/claviger/internal/upstream"
)

// Labels of keys.
const (
	labelMark    = "credentials.claviger.dev/mark"
	labelOwner   = "credentials.claviger.dev/owner"
	labelVersion = "credentials.claviger.dev/version"
)

const bindings = "/v3/service_credential_bindings"

// isMark reports whether a label has the form of a mark.
func isMark(text string) bool {
	decoded, err := hex.DecodeString(text)
	return err == nil && len(decoded) == 16 && hex.EncodeToString(decoded) == text
}

// List implements upstream.Upstream, with list calls only: the keys that bear a mark, and
// a page of one for the count of all.
func (a *account) List(ctx context.Context, owner upstream.Owner) (upstream.Listing, error) {
	query := url.Values{"type": {"key"}}
	var listing upstream.Listing
	var space string
	instances := map[string]bool{}
	if owner.Container != "" {
		at, err := a.parseContainer(owner.Container)
		if err != nil {
			return upstream.Listing{}, err
		}
		space, instances[at.instance] = at.space, true
		query.Set("service_instance_guids", at.instance)
	} else {
		var err error
		if space, err = a.spaceGUID(ctx); err != nil {
			return upstream.Listing{}, err
		}
		all, err := a.list(ctx, "instance.list", "/v3/service_instances", url.Values{"space_guids": {space}})
		if err != nil {
			return upstream.Listing{}, err
		}
		for _, instance := range all {
			instances[instance.GUID] = true
		}
		listing.Places = a.places(space, all)
	}
	count, err := a.page(ctx, "binding.list", bindings, with(query, "per_page", "1"))
	if err != nil {
		return upstream.Listing{}, err
	}
	selector := labelMark
	if owner.Mark != "" {
		selector = labelOwner + "=" + owner.Mark
	}
	marked, err := a.list(ctx, "binding.list", bindings, with(query, "label_selector", selector))
	if err != nil {
		return upstream.Listing{}, err
	}
	listing.Total = count.Pagination.Total
	for _, key := range marked {
		mark := upstream.Mark(key.Metadata.Labels[labelMark])
		instance := key.Relationships.Instance.Data.GUID
		if !isMark(string(mark)) || !instances[instance] || owner.Mark != "" && mark.Owner() != owner.Mark {
			continue
		}
		listing.Found = append(listing.Found, upstream.Found{
			ID: key.GUID, Name: key.Name, Mark: mark, Container: a.container(place{space, instance}), CreatedAt: key.CreatedAt,
		})
	}
	slices.SortFunc(listing.Found, func(x, y upstream.Found) int { return strings.Compare(x.ID, y.ID) })
	return listing, nil
}

func with(query url.Values, name, value string) url.Values {
	out := url.Values{name: {value}}
	for other, values := range query {
		out[other] = values
	}
	return out
}

// find returns the row of a name, nil if the list that lacks it was whole.
func (a *account) find(ctx context.Context, at place, name string) (*resource, error) {
	found, err := a.list(ctx, "binding.list", bindings, url.Values{"type": {"key"}, "names": {quoted(name)}, "service_instance_guids": {at.instance}})
	if err != nil {
		return nil, err
	}
	for _, key := range found {
		if key.Name == name && key.Relationships.Instance.Data.GUID == at.instance {
			return &key, nil
		}
	}
	return nil, nil
}

// ours reports whether a row is this request's, by its label.
func ours(key *resource, mark upstream.Mark) bool {
	return key.Metadata.Labels[labelMark] == string(mark)
}

// failedCreate reports a row that will never be a credential.
func failedCreate(key *resource) bool {
	return key.LastOperation.Type == "create" && key.LastOperation.State == "failed"
}

// spent reports a row that failed with a certificate of ours. It is not sent again: SAP takes
// one only once, and if the authority was not trusted, another one must sign.
func (p credentialParameters) spent(key *resource) bool {
	return p.KeyType == keyExternal && failedCreate(key) && brokerFailure(key.LastOperation.Description).Class != upstream.QuotaExceeded
}

// Issue implements upstream.Upstream. It creates at most once per call; whatever became
// of that, and of earlier calls, stands in the row of the request's name.
func (a *account) Issue(ctx context.Context, r upstream.Request) (upstream.Issued, error) {
	p, err := a.read(r.Parameters)
	if err != nil {
		return upstream.Issued{}, err
	}
	at, err := a.parseContainer(r.Container)
	if err != nil {
		return upstream.Issued{}, err
	}
	if !isMark(string(r.Mark)) || !segment.MatchString(r.Name) || len(r.Name) > 32 {
		return upstream.Issued{}, upstream.Errorf(upstream.InvalidSpec, "the request's name or mark does not fit")
	}
	var key *resource
	if r.Repeat || r.ID != "" {
		if key, err = a.find(ctx, at, r.Name); err != nil {
			return upstream.Issued{}, err
		}
	}
	switch {
	case key == nil, failedCreate(key) && ours(key, r.Mark) && !p.spent(key), !ours(key, r.Mark):
		// A row that is not marked is a stranger's, or ours on a platform that takes no
		// marks; the answer to a creation tells which.
		if key, err = a.create(ctx, at, p, r); err != nil {
			return upstream.Issued{}, err
		}
	}
	return a.harvest(ctx, key, p, r.Material)
}

// create asks for the key and returns its row.
func (a *account) create(ctx context.Context, at place, p credentialParameters, r upstream.Request) (*resource, error) {
	answer, err := a.post(ctx, at, p, r, !a.plain.Load())
	if err != nil {
		return nil, err
	}
	if answer.status == http.StatusUnprocessableEntity && strings.Contains(messageOf(answer.body), `unknown field "metadata"`) {
		a.plain.Store(true)
		if answer, err = a.post(ctx, at, p, r, false); err != nil {
			return nil, err
		}
	}
	words := messageOf(answer.body)
	if p.Managed != nil && answer.status == http.StatusUnprocessableEntity && strings.Contains(words, "could not be found") {
		// Somebody has deleted the instance. It is made anew, and with it another version:
		// this one is bound to what is gone.
		return nil, upstream.Errorf(upstream.Rejected, "the managed service instance is gone: %s", answer.words())
	}
	taken := answer.status == http.StatusUnprocessableEntity && strings.Contains(words, "already has a key binding")
	if answer.status != http.StatusAccepted && answer.status != http.StatusCreated && !taken {
		return nil, answer.createRefusal()
	}
	key, err := a.find(ctx, at, r.Name)
	switch {
	case err != nil:
		return nil, afterSending(err)
	case key == nil:
		return nil, &upstream.Error{Class: upstream.Pending, After: pollAfter, Message: "the platform has accepted the key and does not list it yet"}
	case a.plain.Load() && key.Metadata.Labels[labelMark] == "":
		// No marks at creation: the name, which is never used twice, says whose it is.
		return a.label(ctx, key, r)
	case !ours(key, r.Mark):
		return nil, upstream.Errorf(upstream.Conflict, "there is a key %q in the service instance that is somebody else's", r.Name)
	case taken && failedCreate(key):
		// Older platforms do not replace what failed.
		if err := a.remove(ctx, key); err != nil {
			return nil, err
		}
		return nil, upstream.Errorf(upstream.Retryable, "a failed key of the name %q was removed first", r.Name)
	}
	return key, nil
}

// afterSending makes of an error after the creation what it is: the key may exist.
func afterSending(err error) error {
	if upstream.ClassOf(err) == upstream.Retryable {
		return upstream.Errorf(upstream.OutcomeUnknown, "the key was asked for, and what became of it could not be read: %s", strings.TrimPrefix(err.Error(), string(upstream.Retryable)+": "))
	}
	return err
}

func labels(r upstream.Request) map[string]string {
	return map[string]string{labelMark: string(r.Mark), labelOwner: r.Mark.Owner(), labelVersion: strconv.FormatInt(r.Number, 10)}
}

func (a *account) post(ctx context.Context, at place, p credentialParameters, r upstream.Request, marked bool) (reply, error) {
	body := map[string]any{
		"type": "key", "name": r.Name,
		"relationships": map[string]any{"service_instance": map[string]any{"data": map[string]string{"guid": at.instance}}},
	}
	if marked {
		body["metadata"] = map[string]any{"labels": labels(r)}
	}
	parameters, err := p.keyParameters(r.Material.Certificate)
	if err != nil {
		return reply{}, err
	}
	if parameters != nil {
		body["parameters"] = parameters
	}
	return a.platform.send(ctx, call{operation: "binding.create", method: http.MethodPost, path: bindings, body: body, effect: true})
}

// label marks a row that could not be marked when it was made.
func (a *account) label(ctx context.Context, key *resource, r upstream.Request) (*resource, error) {
	answer, err := a.platform.send(ctx, call{
		operation: "binding.update", method: http.MethodPatch, path: bindings + "/" + key.GUID, effect: true,
		body: map[string]any{"metadata": map[string]any{"labels": labels(r)}},
	})
	if err != nil {
		return nil, err
	}
	if !answer.document() {
		return nil, answer.refusal(roleAdvice)
	}
	return key, nil
}

// createRefusal classifies what creation alone is refused with.
func (r reply) createRefusal() *upstream.Error {
	words := messageOf(r.body)
	out := r.refusal(roleAdvice)
	if r.status != http.StatusUnprocessableEntity {
		return out
	}
	switch {
	case strings.Contains(words, "You have exceeded your"):
		out.Class = upstream.QuotaExceeded
	case strings.Contains(words, "operation in progress"):
		out.Class = upstream.Retryable
	}
	return out
}

// harvest reads what the platform has made of a row.
func (a *account) harvest(ctx context.Context, key *resource, p credentialParameters, drafted material.Material) (upstream.Issued, error) {
	partial := upstream.Issued{ID: key.GUID}
	last := key.LastOperation
	switch {
	case last.Type == "delete":
		return partial, upstream.Errorf(upstream.Rejected, "the key is being deleted upstream (%s)", upstream.Excerpt(last.State))
	case last.State == "initial", last.State == "in progress":
		return partial, &upstream.Error{Class: upstream.Pending, After: pollAfter, Message: "the service broker is making the key"}
	case p.spent(key):
		return partial, upstream.Errorf(upstream.Rejected, "the service broker did not take the certificate: %s", upstream.Excerpt(last.Description))
	case last.State != "succeeded":
		return partial, brokerFailure(last.Description)
	}
	r, err := a.platform.send(ctx, call{operation: "binding.details", method: http.MethodGet, path: bindings + "/" + key.GUID + "/details"})
	if err != nil {
		return partial, afterSending(err)
	}
	if !r.document() {
		return partial, afterSending(r.refusal(roleAdvice))
	}
	m, expires, err := parseDetails(r.body, p.KeyType == keyExternal)
	if err != nil {
		return partial, upstream.Errorf(upstream.Rejected, "binding.details: %s", err)
	}
	if p.KeyType == keyExternal {
		if m, expires, err = completed(m, drafted); err != nil {
			return partial, err
		}
	}
	return upstream.Issued{Material: m, ID: key.GUID, ExpiresAt: expires}, nil
}

// brokerFailure classifies the words of a row whose creation failed. The next call
// replaces the row.
func brokerFailure(description string) *upstream.Error {
	class := upstream.Retryable
	lower := strings.ToLower(description)
	switch {
	case strings.Contains(lower, "quota") || strings.Contains(lower, "limit"):
		class = upstream.QuotaExceeded
	case strings.Contains(lower, "rejected the request") || strings.Contains(lower, "service broker error"):
		class = upstream.InvalidSpec
	}
	return upstream.Errorf(class, "the service broker did not make the key: %s", upstream.Excerpt(description))
}

// Revoke implements upstream.Upstream. The row is looked up by its name, which cannot be
// changed, and is touched only if its mark is ours.
func (a *account) Revoke(ctx context.Context, h upstream.Handle) error {
	at, err := a.parseContainer(h.Container)
	if err != nil {
		return err
	}
	if !isMark(string(h.Mark)) || !segment.MatchString(h.Name) {
		return upstream.Errorf(upstream.InvalidSpec, "the handle's name or mark does not fit")
	}
	key, err := a.handled(ctx, at, h)
	if err != nil {
		return err
	}
	if key == nil {
		if err := a.visible(ctx, at); err != nil {
			return err
		}
		// Again, now that the rights are known: they may have come back in between.
		if key, err = a.handled(ctx, at, h); err != nil {
			return err
		}
		if key == nil {
			return upstream.Errorf(upstream.NotFound, "the service instance has no key %q of ours", h.Name)
		}
	}
	last := key.LastOperation
	if last.Type == "delete" && last.State != "failed" {
		return &upstream.Error{Class: upstream.Pending, After: pollAfter, Message: "the service broker is deleting the key"}
	}
	if err := a.remove(ctx, key); err != nil {
		return err
	}
	left, err := a.handled(ctx, at, h)
	switch {
	case err != nil:
		return afterSending(err)
	case left == nil:
		return nil
	}
	return &upstream.Error{Class: upstream.Pending, After: pollAfter, Message: "the service broker is deleting the key"}
}

// handled finds the row of a handle: of its name, with its mark, and with its id where
// that is known. A row that lost its labels is known by id and name together.
func (a *account) handled(ctx context.Context, at place, h upstream.Handle) (*resource, error) {
	key, err := a.find(ctx, at, h.Name)
	if err != nil || key == nil {
		return nil, err
	}
	if h.ID != "" && key.GUID == h.ID || h.ID == "" && ours(key, h.Mark) {
		return key, nil
	}
	return nil, nil
}

// remove asks for the deletion of a row.
func (a *account) remove(ctx context.Context, key *resource) error {
	r, err := a.platform.send(ctx, call{operation: "binding.delete", method: http.MethodDelete, path: bindings + "/" + key.GUID, effect: true})
	switch {
	case err != nil:
		return err
	case r.status == http.StatusAccepted, r.status == http.StatusNoContent:
		return nil
	case r.status == http.StatusUnprocessableEntity && strings.Contains(messageOf(r.body), "operation in progress"):
		return &upstream.Error{Class: upstream.Pending, After: pollAfter, Message: "the platform is busy with the key"}
	}
	return r.refusal(roleAdvice)
}
