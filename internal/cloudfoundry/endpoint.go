package cloudfoundry

import (
	"bytes"
	"context"
	"encoding/json"
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

// endpoint is one server that is spoken to: it knows statuses and words, and nothing of
// credentials.
type endpoint struct {
	// name is what messages call it.
	name string
	base *url.URL
	http *http.Client
	// secrets are never quoted, whoever sends them back to us.
	secrets []material.Secret
}

// call is one call.
type call struct {
	operation, method, path string
	query                   url.Values
	// body is sent as JSON, form as a form; nil sends none.
	body any
	form url.Values
	// effect: the call changes something, so that no answer is an unknown outcome.
	effect bool
	// authorize puts the login on the request.
	authorize func(*http.Request)
	// secrets are what the call carries beside the endpoint's own.
	secrets []material.Secret
}

// reply is one answer, whole.
type reply struct {
	call   call
	from   string
	status int
	// router is what a router says that had nobody to give the call to.
	router    string
	location  string
	body      []byte
	throttled bool
	after     time.Duration
	secrets   []material.Secret
}

// document reports a success that is a JSON object or list: a page of a proxy is none.
func (r reply) document() bool {
	return r.status == http.StatusOK && json.Valid(r.body)
}

// page reports a body that is something else than JSON: it is a proxy that speaks.
func (r reply) page() bool { return len(bytes.TrimSpace(r.body)) > 0 && !json.Valid(r.body) }

// exchange makes one call on the wire. Its error is an *upstream.Error that the transport
// classified.
func (e *endpoint) exchange(ctx context.Context, c call) (reply, error) {
	r := reply{call: c, from: e.name, secrets: slices.Concat(e.secrets, c.secrets)}
	target := *e.base
	target.Path += c.path
	target.RawQuery = c.query.Encode()
	var body io.Reader
	kind := "application/json"
	if c.form != nil {
		kind, body = "application/x-www-form-urlencoded", strings.NewReader(c.form.Encode())
	}
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
	if body != nil {
		request.Header.Set("Content-Type", kind)
	}
	if c.authorize != nil {
		c.authorize(request)
	}
	response, err := e.http.Do(request)
	if err != nil {
		return r, upstream.NoAnswer(c.operation, err, c.effect, r.secrets)
	}
	defer response.Body.Close()
	r.status, r.location = response.StatusCode, response.Header.Get("Location")
	// The router answers 404 for an application that is not running: that is said of the
	// application, and of nothing in it.
	if r.router = response.Header.Get("X-Cf-RouterError"); r.router != "" {
		r.status = http.StatusServiceUnavailable
	}
	r.after, r.throttled = upstream.ThrottledAfter(response, time.Now())
	if r.body, err = io.ReadAll(response.Body); err != nil {
		return r, upstream.NoAnswer(c.operation, err, c.effect, r.secrets)
	}
	return r, nil
}

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
func (r reply) refusal(advice string) *upstream.Error {
	class, hint := r.classify()
	if class == upstream.Forbidden || class == upstream.LoginFailed {
		hint += advice
	}
	return &upstream.Error{Class: class, After: r.after, Message: r.words() + hint}
}

func (r reply) classify() (class upstream.ErrorClass, hint string) {
	// A proxy answers 502 or 504 whether or not the call got through.
	silence := upstream.Retryable
	if r.call.effect {
		silence = upstream.OutcomeUnknown
	}
	switch {
	case r.throttled:
		return upstream.Throttled, ""
	case r.router != "":
		return silence, ", from its router: " + upstream.Redact(r.router, r.secrets)
	case r.status/100 == 2:
		return silence, ", and " + errForm.Error()
	case r.status/100 == 3:
		return silence, ", a redirect, which is not followed"
	case r.status >= 500 && r.status != http.StatusNotImplemented:
		return silence, ""
	case r.page():
		return silence, ", and what it answered is not the platform's"
	}
	switch r.status {
	case http.StatusUnauthorized:
		return upstream.LoginFailed, ""
	case http.StatusForbidden:
		return upstream.Forbidden, ""
	case http.StatusNotFound, http.StatusGone:
		return upstream.Forbidden, ", and that it does not exist could not be proven"
	case http.StatusConflict:
		return upstream.Conflict, ""
	case http.StatusProxyAuthRequired, http.StatusRequestTimeout, http.StatusMisdirectedRequest, http.StatusLocked,
		http.StatusFailedDependency, http.StatusTooEarly, http.StatusNotImplemented:
		return upstream.Retryable, ""
	}
	return upstream.InvalidSpec, ""
}
