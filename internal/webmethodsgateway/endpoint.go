package webmethodsgateway

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/claviger-dev/claviger/internal/material"
	"github.com/claviger-dev/claviger/internal/upstream"
)

// rightsAdvice is what a person can do about a refusal: the gateway answers 401 to a wrong
// password and to a missing right.
const rightsAdvice = "; check username and password in the login Secret: the user needs the privilege Manage applications, and must own the applications or be in the team that does"

// endpoint is one server that is spoken to: it knows statuses and words, and nothing of
// credentials.
type endpoint struct {
	// name is what messages call it.
	name string
	base *url.URL
	http *http.Client
	// authorize, if set, puts the login on every request.
	authorize func(*http.Request)
	// secrets are never quoted, whoever sends them back to us.
	secrets []material.Secret
}

// call is one call.
type call struct {
	operation, method, path string
	query                   url.Values
	// body is sent as JSON; nil sends none.
	body any
	// effect: the call changes something, so that no answer is an unknown outcome.
	effect bool
	// authorize puts a workload's credential on the request.
	authorize func(*http.Request)
	// secrets are what the call carries beside the endpoint's own.
	secrets []material.Secret
}

// reply is one answer, whole.
type reply struct {
	call      call
	from      string
	status    int
	body      []byte
	throttled bool
	after     time.Duration
	secrets   []material.Secret
}

// exchange makes one call on the wire. Its error is an *upstream.Error that the transport
// classified.
func (e *endpoint) exchange(ctx context.Context, c call) (reply, error) {
	r := reply{call: c, from: e.name, secrets: slices.Concat(e.secrets, c.secrets)}
	target := *e.base
	target.Path += c.path
	target.RawQuery = c.query.Encode()
	var body io.Reader
	if c.body != nil {
		encoded, err := json.Marshal(c.body)
		if err != nil {
			return r, upstream.Errorf(upstream.InvalidSpec, "%s: a value cannot be written as JSON", c.operation)
		}
		body = bytes.NewReader(encoded)
	}
	request, err := http.NewRequestWithContext(upstream.WithOperation(ctx, c.operation), c.method, target.String(), body)
	if err != nil {
		return r, upstream.Errorf(upstream.InvalidSpec, "%s: no request can be made of its address", c.operation)
	}
	request.Header.Set("Accept", "application/json")
	if c.body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	for _, authorize := range []func(*http.Request){e.authorize, c.authorize} {
		if authorize != nil {
			authorize(request)
		}
	}
	response, err := e.http.Do(request)
	if err != nil {
		return r, upstream.NoAnswer(c.operation, err, c.effect, r.secrets)
	}
	defer response.Body.Close()
	r.status = response.StatusCode
	r.after, r.throttled = upstream.ThrottledAfter(response, time.Now())
	if r.body, err = io.ReadAll(response.Body); err != nil {
		return r, upstream.NoAnswer(c.operation, err, c.effect, r.secrets)
	}
	return r, nil
}

// done reports a success. The documents disagree about which 2xx a call answers, so any is
// taken, and a page of a proxy, which is no JSON, is none.
func (r reply) done() bool {
	return r.status/100 == 2 && (len(bytes.TrimSpace(r.body)) == 0 || json.Valid(r.body))
}

// page reports a body that is something else than JSON: it is a proxy that speaks.
func (r reply) page() bool { return len(bytes.TrimSpace(r.body)) > 0 && !json.Valid(r.body) }

// words say what was answered, fit for a person's eyes: nothing secret, nothing long.
func (r reply) words() string {
	out := r.call.operation + ": " + r.from + " answered " + strconv.Itoa(r.status)
	if message := upstream.Redact(messageOf(r.body), r.secrets); message != "" {
		out += ": " + message
	}
	return out
}

// refusal makes the error of an answer that is no success. NotFound is not among its
// classes: a 404 alone proves nothing.
func (r reply) refusal() *upstream.Error {
	// A proxy answers 502 or 504 whether or not the call got through.
	silence := upstream.Retryable
	if r.call.effect {
		silence = upstream.OutcomeUnknown
	}
	out := &upstream.Error{Class: upstream.InvalidSpec, After: r.after, Message: r.words()}
	switch {
	case r.throttled:
		out.Class = upstream.Throttled
	case r.status/100 == 2:
		out.Class = silence
		out.Message += ", and it is no JSON of the expected form"
	case r.status/100 == 3:
		out.Class = silence
		out.Message += ", a redirect, which is not followed"
	case r.status >= 500 && r.status != http.StatusNotImplemented, r.status < 200:
		out.Class = silence
	case r.status == http.StatusUnauthorized:
		out.Class = upstream.LoginFailed
		out.Message += rightsAdvice
	case r.status == http.StatusForbidden:
		out.Class = upstream.Forbidden
		out.Message += rightsAdvice
	case r.status == http.StatusNotFound, r.status == http.StatusGone:
		out.Class = upstream.Forbidden
		out.Message += ", and that it does not exist could not be proven"
	case r.status == http.StatusConflict:
		out.Class = upstream.Conflict
	case slices.Contains([]int{
		http.StatusProxyAuthRequired, http.StatusRequestTimeout, http.StatusMisdirectedRequest, http.StatusLocked,
		http.StatusFailedDependency, http.StatusTooEarly, http.StatusNotImplemented,
	}, r.status):
		out.Class = upstream.Retryable
	}
	return out
}

// notThrottled keeps the limits of APIs and of the token service from holding back the
// gateway's own budget, and what was not found out from being more than that.
func notThrottled(err error) error {
	own, ok := errors.AsType[*upstream.Error](err)
	if !ok {
		return err
	}
	switch own.Class {
	case upstream.Throttled, upstream.LoginFailed, upstream.OutcomeUnknown, upstream.Conflict:
		return &upstream.Error{Class: upstream.Retryable, After: own.After, Message: strings.TrimSuffix(own.Message, rightsAdvice), Err: own.Err}
	}
	return err
}

// take waits for a turn. What it returns gives it back.
func (t *turns) take(ctx context.Context, name string) (func(), error) {
	t.mu.Lock()
	turn := t.taken[name]
	if turn == nil {
		turn = make(chan struct{}, 1)
		t.taken[name] = turn
	}
	t.mu.Unlock()
	select {
	case turn <- struct{}{}:
		return func() { <-turn }, nil
	case <-ctx.Done():
		return nil, &upstream.Error{Class: upstream.Retryable, Message: "given up while another call for the same object was under way", Err: ctx.Err()}
	}
}
