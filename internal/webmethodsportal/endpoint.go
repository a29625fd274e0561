package webmethodsportal

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
// applications.
type endpoint struct {
	// name is what messages call it.
	name string
	base *url.URL
	http *http.Client
	// login goes along with every call; nil sends none.
	login *login
	// hidden are secrets that no message may quote, whoever says them.
	hidden []material.Secret
}

// call is one call.
type call struct {
	operation, method, path string
	query                   url.Values
	// body is sent as JSON, form as a form; nil sends none.
	body any
	form url.Values
	// header are further headers; they may hold secrets.
	header http.Header
	// target replaces the endpoint's base and the path.
	target *url.URL
	// effect: the call changes something, so that no answer is an unknown outcome.
	effect bool
	// secrets are what no message may quote, beside the login.
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

// decode reads a success that is a JSON object: a page of a proxy is none.
func (r reply) decode(into any) bool {
	body := bytes.TrimSpace(r.body)
	return r.status/100 == 2 && len(body) > 0 && body[0] == '{' && json.Unmarshal(body, into) == nil
}

// taken reports a success that has nothing to say, or says it as JSON.
func (r reply) taken() bool {
	return r.status/100 == 2 && (len(bytes.TrimSpace(r.body)) == 0 || json.Valid(r.body))
}

// missing reports the portal's own words that there is no such thing. They alone prove
// nothing: what may not be seen is answered the same.
func (r reply) missing() bool {
	var p problem
	return r.status == http.StatusNotFound && json.Unmarshal(r.body, &p) == nil && p.Message != ""
}

// problem is the body of an error.
type problem struct {
	Message string `json:"message"`
	Error   string `json:"error"`
}

func (e *endpoint) request(ctx context.Context, c call) (*http.Request, error) {
	target := url.URL{}
	switch {
	case c.target != nil:
		target = *c.target
	default:
		target = *e.base
		target.Path += c.path
		target.RawQuery = c.query.Encode()
	}
	var body io.Reader
	kind := ""
	switch {
	case c.form != nil:
		body, kind = strings.NewReader(c.form.Encode()), "application/x-www-form-urlencoded"
	case c.body != nil:
		encoded, err := json.Marshal(c.body)
		if err != nil {
			return nil, upstream.Errorf(upstream.InvalidSpec, "%s: a value cannot be written as JSON", c.operation)
		}
		body, kind = bytes.NewReader(encoded), "application/json"
	}
	out, err := http.NewRequestWithContext(upstream.WithOperation(ctx, c.operation), c.method, target.String(), body)
	if err != nil {
		return nil, upstream.Errorf(upstream.InvalidSpec, "%s: no request can be made of its address", c.operation)
	}
	out.Header.Set("Accept", "application/json")
	if kind != "" {
		out.Header.Set("Content-Type", kind)
	}
	for name, values := range c.header {
		out.Header[http.CanonicalHeaderKey(name)] = values
	}
	if e.login != nil {
		out.SetBasicAuth(e.login.user, e.login.password.Reveal())
	}
	return out, nil
}

// exchange makes one call on the wire. Its error is an *upstream.Error that the transport
// classified.
func (e *endpoint) exchange(ctx context.Context, c call) (reply, error) {
	r := reply{call: c, from: e.name, secrets: slices.Concat(e.hidden, c.secrets)}
	out, err := e.request(ctx, c)
	if err != nil {
		return r, err
	}
	response, err := e.http.Do(out)
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

// message is what the answer says of itself.
func (r reply) message() string {
	var p problem
	if json.Unmarshal(r.body, &p) != nil {
		return ""
	}
	if p.Message == "" {
		return p.Error
	}
	return p.Message
}

// words say what was answered, fit for a person's eyes: nothing secret, nothing long.
func (r reply) words() string {
	out := r.call.operation + ": " + r.from + " answered " + strconv.Itoa(r.status)
	if message := upstream.Redact(r.message(), r.secrets); message != "" {
		out += ": " + message
	}
	return out
}

// refusal makes the error of an answer that is no success. NotFound is not among its
// classes: a 404 alone proves nothing.
func (r reply) refusal() *upstream.Error {
	class, hint := r.classify()
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
	case r.status/100 == 2:
		return silence, ", and it is no JSON of the expected form"
	case r.status/100 == 3:
		return silence, ", a redirect, which is not followed"
	case r.status >= 500 && r.status != http.StatusNotImplemented, r.status < 200:
		return silence, ""
	}
	switch r.status {
	case http.StatusUnauthorized:
		return upstream.LoginFailed, "; check username and password in the login Secret"
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
