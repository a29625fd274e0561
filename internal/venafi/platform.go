package venafi

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/claviger-dev/claviger/internal/material"
	"github.com/claviger-dev/claviger/internal/upstream"
)

// platform is the wire: one address, one session of the operator's own.
type platform struct {
	base *url.URL
	// http carries all calls but logins by certificate, which loginHTTP carries.
	http, loginHTTP *http.Client
	now             func() time.Time
	method          string
	login           map[string]material.Secret
	// token is where tokens for logins by JWT come from.
	token   func(context.Context) (material.Secret, error)
	session *session
}

// call is one call.
type call struct {
	operation, method, path string
	query                   url.Values
	body                    any
	// effect: the call changes something upstream, so an answer that says nothing leaves
	// the outcome unknown.
	effect bool
	// secrets are those of this call, kept out of every message.
	secrets []material.Secret
	client  *http.Client
}

// reply is what came back. The platform says in the status line, and often nowhere else,
// what went wrong.
type reply struct {
	// sent: a connection was had, so bytes may have left.
	sent      bool
	status    int
	reason    string
	body      []byte
	throttled bool
	after     time.Duration
	secrets   []material.Secret
}

// decode reads a JSON object; a proxy's page is none.
func (r reply) decode(into any) bool {
	trimmed := bytes.TrimSpace(r.body)
	return len(trimmed) > 0 && trimmed[0] == '{' && json.Unmarshal(trimmed, into) == nil
}

// send makes a call with the operator's own token. A token that is refused is replaced
// once: it may have been revoked, or its integration changed.
func (p *platform) send(ctx context.Context, c call) (reply, error) {
	for attempt := 0; ; attempt++ {
		token, err := p.session.token(ctx)
		if err != nil {
			return reply{}, err
		}
		r, err := p.exchange(ctx, c, token)
		if err != nil || r.status != http.StatusUnauthorized {
			return r, err
		}
		p.session.reject(token)
		if attempt > 0 {
			return r, refusal(c, r)
		}
	}
}

// exchange makes a call with this bearer, or none.
func (p *platform) exchange(ctx context.Context, c call, bearer material.Secret) (reply, error) {
	r := reply{secrets: append(hidden(bearer, p.login["password"], p.login["tls.key"]), c.secrets...)}
	target := *p.base
	target.Path, target.RawQuery = c.path, c.query.Encode()
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
	if !bearer.Empty() {
		request.Header.Set("Authorization", "Bearer "+bearer.Reveal())
	}
	client := c.client
	if client == nil {
		client = p.http
	}
	var connected atomic.Bool
	trace := &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connected.Store(true) }}
	response, err := client.Do(request.WithContext(httptrace.WithClientTrace(request.Context(), trace)))
	r.sent = connected.Load()
	if err != nil {
		return r, unanswered(c, r, err)
	}
	defer func() { _ = response.Body.Close() }()
	r.status = response.StatusCode
	r.reason = strings.TrimSpace(strings.TrimPrefix(response.Status, strconv.Itoa(response.StatusCode)))
	r.after, r.throttled = upstream.ThrottledAfter(response, time.Now())
	if r.body, err = io.ReadAll(response.Body); err != nil {
		return r, unanswered(c, r, err)
	}
	return r, nil
}

// unanswered is upstream.NoAnswer for a platform that revokes by GET, which the transport holds
// for harmless.
func unanswered(c call, r reply, err error) *upstream.Error {
	out := upstream.NoAnswer(c.operation, err, c.effect, r.secrets)
	if out.Class == upstream.Retryable && c.effect && c.method == http.MethodGet && r.sent {
		out.Class = upstream.OutcomeUnknown
	}
	return out
}

// refusal makes the error of an answer that is no success.
func refusal(c call, r reply) *upstream.Error {
	return &upstream.Error{Class: classify(c, r), After: r.after, Message: words(c, r)}
}

// classify decides what an answer means. NotFound is not among the classes: that
// something does not exist and that the login may not see it are one answer here.
func classify(c call, r reply) upstream.ErrorClass {
	switch {
	case r.throttled:
		return upstream.Throttled
	case r.status/100 == 2, r.status/100 == 3:
		return silence(c)
	}
	switch r.status {
	case http.StatusUnauthorized:
		return upstream.LoginFailed
	case http.StatusForbidden, http.StatusNotFound, http.StatusGone:
		return upstream.Forbidden
	case http.StatusConflict:
		return upstream.Conflict
	case http.StatusProxyAuthRequired, http.StatusRequestTimeout, http.StatusMisdirectedRequest, http.StatusLocked,
		http.StatusFailedDependency, http.StatusTooEarly, http.StatusTooManyRequests, http.StatusNotImplemented:
		return upstream.Retryable
	}
	if r.status >= 500 {
		return silence(c)
	}
	return upstream.InvalidSpec
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
	out := c.operation + ": Venafi answered " + strconv.Itoa(r.status)
	if said := upstream.Redact(r.message(), r.secrets); said != "" {
		out += ": " + said
	}
	return out
}

// message is what the answer says: in its body, or else in its status line.
func (r reply) message() string {
	var document struct {
		Error       string `json:"Error"`
		Description string `json:"error_description"`
		Status      string `json:"Status"`
	}
	if r.decode(&document) {
		for _, said := range []string{document.Description, document.Error, document.Status} {
			if said != "" {
				return said
			}
		}
	}
	if r.reason != http.StatusText(r.status) {
		return r.reason
	}
	return ""
}
