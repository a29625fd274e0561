package apiconnect

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
	"time"

	"github.com/claviger-dev/claviger/internal/material"
	"github.com/claviger-dev/claviger/internal/upstream"
)

// platform speaks to the platform API: it knows statuses, tokens and words, and
// nothing of credentials.
type platform struct {
	base    *url.URL
	http    *http.Client
	session *session
	now     func() time.Time
	// loginSecrets are never quoted, whoever sends them back to us.
	loginSecrets []material.Secret
}

// call is one call.
type call struct {
	operation, method, path, query string
	// body is sent as JSON; nil sends none.
	body any
	// effect: the call changes something, so that no answer is an unknown outcome.
	effect bool
	// unauthorizedMeansMore: a 401 to a fresh token is handed back and not taken for
	// a broken login.
	unauthorizedMeansMore bool
	// secrets are what the body holds.
	secrets []material.Secret
}

// reply is one answer, whole.
type reply struct {
	status    int
	body      []byte
	requestID string
	throttled bool
	after     time.Duration
	// secrets are what the call carried and no message may.
	secrets []material.Secret
}

// send makes a call with the shared token. One 401 costs one fresh login and one
// repeat, never more.
func (p *platform) send(ctx context.Context, c call) (reply, error) {
	value, err := p.session.token(ctx)
	if err != nil {
		return reply{}, err
	}
	r, err := p.exchange(ctx, c, value)
	if err != nil || r.status != http.StatusUnauthorized {
		return r, err
	}
	p.session.reject(value)
	if value, err = p.session.token(ctx); err != nil {
		return reply{}, err
	}
	r, err = p.exchange(ctx, c, value)
	if err != nil || r.status != http.StatusUnauthorized || c.unauthorizedMeansMore {
		return r, err
	}
	err = upstream.Errorf(upstream.LoginFailed, "%s to a fresh token", words(c, r))
	p.session.distrust(value, err)
	return reply{}, err
}

// exchange makes one call on the wire. Its error is an *upstream.Error that the
// transport classified.
func (p *platform) exchange(ctx context.Context, c call, value material.Secret) (reply, error) {
	r := reply{secrets: slices.Concat(c.secrets, p.loginSecrets, []material.Secret{value})}
	target := *p.base
	target.RawQuery = c.query
	// The path is escaped already; both forms are set so that none is escaped twice.
	target.RawPath = c.path
	decoded, err := url.PathUnescape(c.path)
	if err != nil {
		return reply{}, upstream.Errorf(upstream.InvalidSpec, "%s: a name cannot stand in a path", c.operation)
	}
	target.Path = decoded
	var body io.Reader
	if c.body != nil {
		encoded, err := json.Marshal(c.body)
		if err != nil {
			return reply{}, upstream.Errorf(upstream.InvalidSpec, "%s: a value cannot be written as JSON", c.operation)
		}
		body = bytes.NewReader(encoded)
	}
	request, err := http.NewRequestWithContext(upstream.WithOperation(ctx, c.operation), c.method, target.String(), body)
	if err != nil {
		return reply{}, upstream.Errorf(upstream.InvalidSpec, "%s: no request can be made of its address", c.operation)
	}
	request.Header.Set("Accept", "application/json")
	if c.body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if !value.Empty() {
		request.Header.Set("Authorization", "Bearer "+value.Reveal())
	}
	response, err := p.http.Do(request)
	if err != nil {
		return reply{}, upstream.NoAnswer(c.operation, err, c.effect, r.secrets)
	}
	defer response.Body.Close()
	r.status, r.requestID = response.StatusCode, upstream.Redact(response.Header.Get("X-Request-ID"), r.secrets)
	r.after, r.throttled = upstream.ThrottledAfter(response, time.Now())
	if r.body, err = io.ReadAll(response.Body); err != nil {
		return reply{}, upstream.NoAnswer(c.operation, err, c.effect, r.secrets)
	}
	return r, nil
}

// refusal makes the error of an answer that is no success. The platform's id of the
// request stands in the cause, for logs: in the message it would make every try a new
// one.
func refusal(c call, r reply) *upstream.Error {
	class, advice := classify(c, r)
	return &upstream.Error{Class: class, After: r.after, Message: words(c, r) + advice, Err: requestError{status: r.status, id: r.requestID}}
}

// requestError is the cause of a refusal.
type requestError struct {
	status int
	id     string
}

func (e requestError) Error() string {
	return "status " + strconv.Itoa(e.status) + ", request id " + upstream.Excerpt(e.id[:min(len(e.id), 64)])
}

// Is makes a 404 known to those who can prove more, see absence.go.
func (e requestError) Is(target error) bool {
	return target == errMissing && (e.status == http.StatusNotFound || e.status == http.StatusGone)
}

// errMissing matches refusals by 404 and 410.
var errMissing = errors.New("answered not found")

// classify decides what an answer means and what a person may do about it. NotFound is
// not among the classes: a 404 alone proves nothing, see absence.go.
func classify(c call, r reply) (class upstream.ErrorClass, advice string) {
	switch {
	case r.throttled:
		return upstream.Throttled, ""
	case r.status/100 == 2:
		// A proxy's page, or half a document: whatever it is, it is not the answer.
		return silence(c), ", and " + errNoJSON.Error()
	case r.status/100 == 3:
		return silence(c), ", a redirect, which is not followed; is url that of the platform API?"
	}
	switch r.status {
	case http.StatusUnauthorized:
		return upstream.LoginFailed, ""
	case http.StatusForbidden:
		return upstream.Forbidden, "; the login needs the rights consumer-org:view, app:view:all and app:manage:all in the catalog"
	case http.StatusNotFound, http.StatusGone:
		return upstream.Forbidden, ", and that it does not exist could not be proven; the login may have lost its rights"
	case http.StatusConflict:
		return upstream.Conflict, ""
	case http.StatusProxyAuthRequired, http.StatusRequestTimeout, http.StatusMisdirectedRequest, http.StatusLocked,
		http.StatusFailedDependency, http.StatusTooEarly, http.StatusTooManyRequests, http.StatusNotImplemented:
		return upstream.Retryable, ""
	}
	if r.status >= 500 {
		// A proxy in front of the platform answers 502 or 504 whether or not the call got
		// through.
		return silence(c), ""
	}
	return upstream.InvalidSpec, ""
}

// silence is the class of an answer that says nothing about the call.
func silence(c call) upstream.ErrorClass {
	if c.effect {
		return upstream.OutcomeUnknown
	}
	return upstream.Retryable
}

// words say what was answered, fit for a person's eyes: nothing secret, nothing long.
func words(c call, r reply) string {
	out := c.operation + ": API Connect answered " + strconv.Itoa(r.status)
	if message := upstream.Redact(messageOf(r.body), r.secrets); message != "" {
		out += ": " + message
	}
	return out
}

// get reads one object. Not found is a result and no error here: what it means is for
// the caller to prove.
func (p *platform) get(ctx context.Context, operation, path string, into any) (found bool, err error) {
	c := call{operation: operation, method: http.MethodGet, path: path}
	r, err := p.send(ctx, c)
	switch {
	case err != nil:
		return false, err
	case r.status == http.StatusNotFound || r.status == http.StatusGone:
		return false, nil
	case r.status != http.StatusOK || decode(r.body, into) != nil:
		return false, refusal(c, r)
	}
	return true, nil
}

// messageFrom is an error's message without its class.
func messageFrom(err error) string {
	if own, ok := errors.AsType[*upstream.Error](err); ok {
		return own.Message
	}
	return "unexpected failure"
}
