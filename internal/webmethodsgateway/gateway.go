package webmethodsgateway

import (
	"context"
	"encoding/json"
	"net/http"
	"regexp"
	"strings"

	"github.com/claviger-dev/claviger/internal/upstream"
)

// listAttempts is how often a list that changed while it was read is read.
const listAttempts = 5

// searchScope is one condition of a search.
type searchScope struct {
	Attribute string `json:"attributeName"`
	Keyword   string `json:"keyword"`
}

func (a *account) send(ctx context.Context, c call) (reply, error) {
	c.path = restBase + c.path
	return a.gateway.exchange(ctx, c)
}

// search asks for what fits any of the conditions. ok is false if the gateway did not say
// what it found.
func search[T any](ctx context.Context, a *account, kind string, fields []string, scope ...searchScope) (hits []T, ok bool, err error) {
	r, err := a.send(ctx, call{operation: "search", method: http.MethodPost, path: "/search", body: map[string]any{
		"types": []string{kind}, "condition": "or", "scope": scope, "responseFields": fields, "from": 0, "size": -1,
	}})
	if err != nil {
		return nil, false, err
	}
	if !r.done() {
		return nil, false, r.refusal()
	}
	hits, ok, err = hitsOf[T](r.body, kind)
	if err != nil {
		return nil, false, r.refusal()
	}
	return hits, ok, nil
}

// literally writes a keyword that fits a name and nothing else: keywords are expressions.
func literally(name string) string { return regexp.QuoteMeta(name) }

// count is how many applications the gateway has.
func (a *account) count(ctx context.Context) (int, error) {
	r, err := a.send(ctx, call{operation: "search.count", method: http.MethodPost, path: "/search/_count", body: map[string]any{
		"types": []string{"application"}, "condition": "or",
	}})
	if err != nil {
		return 0, err
	}
	var answer map[string]json.RawMessage
	if !r.done() || json.Unmarshal(r.body, &answer) != nil {
		return 0, r.refusal()
	}
	for key, raw := range answer {
		var n int
		if strings.EqualFold(key, "application") && json.Unmarshal(raw, &n) == nil && n >= 0 {
			return n, nil
		}
	}
	return 0, r.refusal()
}

// applications is the whole list. A count that does not fit is an error, never a shorter list.
func (a *account) applications(ctx context.Context) ([]application, error) {
	for range listAttempts {
		before, err := a.count(ctx)
		if err != nil {
			return nil, err
		}
		r, err := a.send(ctx, call{operation: "application.list", method: http.MethodGet, path: "/applications"})
		if err != nil {
			return nil, err
		}
		if !r.done() {
			return nil, r.refusal()
		}
		all, err := applicationsOf(r.body)
		if err != nil {
			return nil, r.refusal()
		}
		if len(all) == before {
			return all, nil
		}
		// Others make and delete applications all the time: then the list lies between what was
		// counted before it and after it.
		after, err := a.count(ctx)
		if err != nil {
			return nil, err
		}
		if min(before, after) <= len(all) && len(all) <= max(before, after) {
			return all, nil
		}
	}
	return nil, upstream.Errorf(upstream.Retryable, "application.list: the gateway lists not as many applications as it counts; does the login see those of all teams?")
}

// application reads one by its id; nil says that the gateway answered that there is none, which
// alone proves nothing.
func (a *account) application(ctx context.Context, id string) (*application, map[string]json.RawMessage, error) {
	r, err := a.send(ctx, call{operation: "application.read", method: http.MethodGet, path: "/applications/" + id})
	if err != nil {
		return nil, nil, err
	}
	if r.status == http.StatusNotFound && !r.page() {
		return nil, nil, nil
	}
	if !r.done() {
		return nil, nil, r.refusal()
	}
	one, fields, err := applicationOf(r.body)
	if err != nil || one.id != id {
		return nil, nil, r.refusal()
	}
	return &one, fields, nil
}

// strategies is the whole list. The gateway does not count strategies.
func (a *account) strategies(ctx context.Context) ([]strategy, error) {
	r, err := a.send(ctx, call{operation: "strategy.list", method: http.MethodGet, path: "/strategies"})
	if err != nil {
		return nil, err
	}
	if !r.done() {
		return nil, r.refusal()
	}
	all, err := strategiesOf(r.body)
	if err != nil {
		return nil, r.refusal()
	}
	return all, nil
}

// strategy reads one by its id, as application does.
func (a *account) strategy(ctx context.Context, id string) (*strategy, error) {
	r, err := a.send(ctx, call{operation: "strategy.read", method: http.MethodGet, path: "/strategies/" + id})
	if err != nil {
		return nil, err
	}
	if r.status == http.StatusNotFound && !r.page() {
		return nil, nil
	}
	if !r.done() {
		return nil, r.refusal()
	}
	one, err := strategyOf(r.body)
	if err != nil || one.ID != id {
		return nil, r.refusal()
	}
	return &one, nil
}

// change makes a call that changes something; its success says that the gateway has taken it,
// and what became of it is read.
func (a *account) change(ctx context.Context, operation, method, path string, body any) (reply, error) {
	r, err := a.send(ctx, call{operation: operation, method: method, path: path, body: body, effect: true})
	if err != nil {
		return r, err
	}
	if !r.done() {
		return r, r.refusal()
	}
	return r, nil
}

// afterSending makes of an error after a change what it is: the change may have been made.
func afterSending(err error) error {
	if err != nil && upstream.ClassOf(err) == upstream.Retryable {
		return upstream.Errorf(upstream.OutcomeUnknown, "a change was sent, and what became of it could not be read: %s", strings.TrimPrefix(err.Error(), string(upstream.Retryable)+": "))
	}
	return err
}
