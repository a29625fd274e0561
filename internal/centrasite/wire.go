package centrasite

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strconv"
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
	body                    []byte
	contentType             string
	header                  http.Header
	authorize               func(*http.Request)
	// effect: the call changes something, so that no answer is an unknown outcome.
	effect bool
	// secrets are what the call carries beside the endpoint's own.
	secrets []material.Secret
}

// asJSON gives a call a body.
func (c call) asJSON(body any) call {
	c.body, _ = json.Marshal(body) // maps of texts always marshal
	c.contentType = "application/json"
	return c
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
	r := reply{call: c, from: e.name, secrets: append(append([]material.Secret{}, e.secrets...), c.secrets...)}
	target, err := url.Parse(e.base.String() + c.path)
	if err != nil || target.Host != e.base.Host {
		return r, upstream.Errorf(upstream.InvalidSpec, "%s: %q makes no address", c.operation, upstream.Excerpt(c.path))
	}
	if c.query != nil {
		target.RawQuery = c.query.Encode()
	}
	request, err := http.NewRequestWithContext(upstream.WithOperation(ctx, c.operation), c.method, target.String(), bytes.NewReader(c.body))
	if err != nil {
		return r, upstream.Errorf(upstream.InvalidSpec, "%s: no request can be made of its address", c.operation)
	}
	request.Header.Set("Accept", "application/json")
	for name, values := range c.header {
		request.Header[name] = values
	}
	if c.contentType != "" {
		request.Header.Set("Content-Type", c.contentType)
	}
	if c.authorize != nil {
		c.authorize(request)
	}
	response, err := e.http.Do(request)
	if err != nil {
		return r, upstream.NoAnswer(c.operation, err, c.effect, r.secrets)
	}
	defer func() { _ = response.Body.Close() }()
	r.status = response.StatusCode
	r.after, r.throttled = upstream.ThrottledAfter(response, time.Now())
	if r.body, err = io.ReadAll(response.Body); err != nil {
		return r, upstream.NoAnswer(c.operation, err, c.effect, r.secrets)
	}
	return r, nil
}

// page reports a body that is something else than JSON: it is a proxy that speaks.
func (r reply) page() bool { return len(bytes.TrimSpace(r.body)) > 0 && !json.Valid(r.body) }

// words say what was answered, fit for a person's eyes: nothing secret, nothing long.
func (r reply) words() string {
	out := r.call.operation + ": " + r.from + " answered " + strconv.Itoa(r.status)
	if said := upstream.Redact(r.message(), r.secrets); said != "" {
		out += ": " + said
	}
	return out
}

// message is what a JSON answer says of itself; pages are not quoted.
func (r reply) message() string {
	var document struct {
		Message     string `json:"message"`
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
	if json.Unmarshal(r.body, &document) != nil {
		return ""
	}
	for _, said := range []string{document.Description, document.Message, document.Error} {
		if said != "" {
			return said
		}
	}
	return ""
}

// refusal makes the error of an answer that is no success. NotFound is not among its
// classes: a 404 alone proves nothing.
func (r reply) refusal() *upstream.Error {
	class, hint := r.classify()
	return &upstream.Error{Class: class, After: r.after, Message: r.words() + hint}
}

// unreadable makes the error of a success that does not say what it should.
func (r reply) unreadable(why error) *upstream.Error {
	class := upstream.Retryable
	if r.call.effect {
		class = upstream.OutcomeUnknown
	}
	return upstream.Errorf(class, "%s, and %s", r.words(), why)
}

// classify decides what an answer means: no document says which errors there are, so 4xx
// is for good and 5xx is not.
func (r reply) classify() (class upstream.ErrorClass, hint string) {
	// A proxy answers 502 or 504 whether or not the call got through.
	silence := upstream.Retryable
	if r.call.effect {
		silence = upstream.OutcomeUnknown
	}
	switch {
	case r.throttled:
		return upstream.Throttled, ""
	case r.status/100 == 2:
		return silence, ", which is not the answer to that call"
	case r.status/100 == 3:
		return silence, ", a redirect, which is not followed"
	case r.status >= 500 && r.status != http.StatusNotImplemented:
		return silence, ""
	}
	switch r.status {
	case http.StatusUnauthorized:
		return upstream.LoginFailed, ""
	case http.StatusForbidden:
		return upstream.Forbidden, ""
	case http.StatusNotFound, http.StatusGone:
		return upstream.Forbidden, "; the issuer's tokensPath and eventsPath must be those of this release"
	case http.StatusConflict, http.StatusProxyAuthRequired, http.StatusRequestTimeout, http.StatusMisdirectedRequest, http.StatusLocked,
		http.StatusFailedDependency, http.StatusTooEarly, http.StatusNotImplemented:
		return upstream.Retryable, ""
	}
	return upstream.InvalidSpec, ""
}

func decimal(n int) string { return strconv.Itoa(n) }
