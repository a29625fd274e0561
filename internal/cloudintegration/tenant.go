package cloudintegration

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/claviger-dev/claviger/internal/material"
	"github.com/claviger-dev/claviger/internal/upstream"
)

const (
	// tenantPerSecond and tenantBurst stay below what a tenant takes of calls about
	// designs: 10 a second for one user, 15 for all.
	tenantPerSecond = 8
	tenantBurst     = 8
	// maxAnswer is the largest design that is downloaded.
	maxAnswer = 16 << 20
	// tokenMargin is how long before its end a token is replaced, defaultTokenLife what is
	// assumed where none is told.
	tokenMargin      = time.Minute
	defaultTokenLife = 10 * time.Minute
)

// Settings say which tenant is read and how.
type Settings struct {
	// URL is the tenant's address without /api/v1; TokenURL its token endpoint.
	URL, TokenURL string
	// Login are the keys of the login Secret: client_id with client_secret, or client_id with
	// tls.crt and tls.key, which a service key with a certificate has. To scan, the client needs
	// the roles MonitoringDataRead, WorkspacePackagesRead and AccessAllAccessPoliciesArtifacts; to
	// deliver MonitoringDataRead, CredentialsEdit and, for key pairs, SecurityMaterialEdit.
	Login map[string]material.Secret
	// Transport carries the calls. Its rate, if zero, is what a tenant takes.
	Transport upstream.TransportOptions
	// Now ages the token.
	Now func() time.Time
}

// Tenant is a login on a tenant.
type Tenant struct {
	settings Settings
	id       string
	// secret is empty for who logs in with a certificate, which door presents.
	secret material.Secret
	// door carries the calls to the token endpoint, http all others: a certificate is shown
	// to nothing but what asks for it.
	door, http *http.Client

	mu    sync.Mutex
	token material.Secret
	until time.Time
	// session is what writes need where the tenant asks for it; nil elsewhere.
	session http.Header
}

// Open checks the settings and does no I/O.
func Open(s Settings) (*Tenant, error) {
	for field, value := range map[string]string{"url": s.URL, "tokenURL": s.TokenURL} {
		parsed, err := url.Parse(value)
		if err != nil || parsed.Host == "" || parsed.User != nil || parsed.RawQuery != "" || parsed.Fragment != "" {
			return nil, upstream.Errorf(upstream.InvalidSpec, "%s must be an https URL without user, query or fragment", field)
		}
	}
	if s.Transport.PerSecond == 0 {
		s.Transport.PerSecond, s.Transport.Burst = tenantPerSecond, tenantBurst
	}
	s.Transport.MaxAnswer = maxAnswer
	s.URL = strings.TrimRight(s.URL, "/")
	t := &Tenant{settings: s}
	pair, err := t.readLogin(s.Login)
	if err != nil {
		return nil, err
	}
	if t.http, err = upstream.NewClient(s.Transport); err != nil {
		return nil, err
	}
	t.door = t.http
	if pair != nil {
		s.Transport.ClientCertificate = pair
		t.door, err = upstream.NewClient(s.Transport)
	}
	return t, err
}

// readLogin takes the client from the keys of a login Secret; pair is nil for one with a secret.
func (t *Tenant) readLogin(login map[string]material.Secret) (pair *tls.Certificate, err error) {
	t.id, t.secret = strings.TrimSpace(login["client_id"].Reveal()), material.New(strings.TrimSpace(login["client_secret"].Reveal()))
	certificate, key := login["tls.crt"], login["tls.key"]
	switch {
	case t.id != "" && !t.secret.Empty() && certificate.Empty() && key.Empty():
		return nil, nil
	case t.id == "" || !t.secret.Empty() || certificate.Empty() || key.Empty():
		return nil, upstream.Errorf(upstream.InvalidSpec, "the login needs the keys client_id and client_secret, or client_id, tls.crt and tls.key")
	}
	read, err := tls.X509KeyPair([]byte(certificate.Reveal()), []byte(key.Reveal()))
	if err != nil {
		return nil, upstream.Errorf(upstream.InvalidSpec, "tls.crt and tls.key of the login must be PEM and belong together")
	}
	return &read, nil
}

// call is what is asked.
type call struct {
	operation, method string
	// path is below /api/v1, or a whole address for the token endpoint.
	path string
	body string
	kind string // of the body
	// headers are more of them.
	headers http.Header
	// secrets are in the body, and must not be in what is said of the answer.
	secrets []material.Secret
}

// reply is one answer, whole.
type reply struct {
	operation string
	status    int
	header    http.Header
	body      []byte
	throttled bool
	after     time.Duration
	secrets   []material.Secret
}

// get reads with the shared token.
func (t *Tenant) get(ctx context.Context, operation, path string) (reply, error) {
	return t.ask(ctx, call{operation: operation, method: http.MethodGet, path: path})
}

// ask makes a call with the shared token. One 401 costs one fresh login and one repeat.
func (t *Tenant) ask(ctx context.Context, c call) (reply, error) {
	path := c.path
	for attempt := 1; ; attempt++ {
		value, err := t.login(ctx)
		if err != nil {
			return reply{}, err
		}
		c.path = t.settings.URL + "/api/v1" + path
		r, err := t.exchange(ctx, t.http, c, func(r *http.Request) {
			r.Header.Set("Authorization", "Bearer "+value.Reveal())
		}, value)
		if err != nil || r.status != http.StatusUnauthorized || attempt > 1 {
			return r, err
		}
		t.mu.Lock()
		if t.token.Equal(value) {
			t.token = material.Secret{}
		}
		t.mu.Unlock()
	}
}

// login returns a token that is believed to work.
func (t *Tenant) login(ctx context.Context) (material.Secret, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.settings.Now()
	if !t.token.Empty() && now.Before(t.until) {
		return t.token, nil
	}
	// In the form and not as Basic: the token servers of Cloud Foundry do not decode what
	// Basic must encode.
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {t.id}}
	if !t.secret.Empty() {
		form.Set("client_secret", t.secret.Reveal())
	}
	r, err := t.exchange(ctx, t.door, call{
		operation: "login", method: http.MethodPost, path: t.settings.TokenURL, body: form.Encode(), kind: "application/x-www-form-urlencoded",
	}, func(*http.Request) {}, material.Secret{})
	if err != nil {
		return material.Secret{}, err
	}
	if r.status == http.StatusUnauthorized || r.status == http.StatusBadRequest || r.status == http.StatusForbidden {
		return material.Secret{}, upstream.Errorf(upstream.LoginFailed, "%s; check the client in the login", r.words())
	}
	var answer struct {
		AccessToken string  `json:"access_token"`
		ExpiresIn   float64 `json:"expires_in"`
	}
	if r.status != http.StatusOK || json.Unmarshal(r.body, &answer) != nil || answer.AccessToken == "" {
		return material.Secret{}, r.refusal()
	}
	life := defaultTokenLife
	if told := time.Duration(min(answer.ExpiresIn, (24*time.Hour).Seconds()) * float64(time.Second)); told > tokenMargin {
		life = told
	}
	t.token, t.until = material.New(answer.AccessToken), now.Add(life-tokenMargin)
	return t.token, nil
}

// exchange makes one call on the wire. What is written is written the same way again, and read
// before anything is concluded, so that no answer is an unknown outcome.
func (t *Tenant) exchange(ctx context.Context, carrier *http.Client, c call, authorize func(*http.Request), value material.Secret) (reply, error) {
	r := reply{operation: c.operation, secrets: append([]material.Secret{t.secret, value}, c.secrets...)}
	request, err := http.NewRequestWithContext(upstream.WithOperation(ctx, c.operation), c.method, c.path, strings.NewReader(c.body))
	if err != nil {
		return r, upstream.Errorf(upstream.InvalidSpec, "%s: no request can be made of its address", c.operation)
	}
	request.Header.Set("Accept", "application/json") // the default is Atom XML
	if c.kind != "" {
		request.Header.Set("Content-Type", c.kind)
	}
	for name, values := range c.headers {
		request.Header[name] = values
	}
	authorize(request)
	response, err := carrier.Do(request)
	if err == nil {
		defer response.Body.Close()
		r.status, r.header = response.StatusCode, response.Header
		r.after, r.throttled = upstream.ThrottledAfter(response, t.settings.Now())
		r.body, err = io.ReadAll(response.Body)
	}
	if err == nil {
		return r, nil
	}
	return r, upstream.NoAnswer(c.operation, err, false, r.secrets)
}

// words say what was answered, fit for a person's eyes.
func (r reply) words() string {
	out := r.operation + ": the tenant answered " + strconv.Itoa(r.status)
	var problem struct {
		Error struct {
			Message struct {
				Value string `json:"value"`
			} `json:"message"`
		} `json:"error"`
	}
	if json.Unmarshal(r.body, &problem) == nil && problem.Error.Message.Value != "" {
		out += ": " + upstream.Redact(problem.Error.Message.Value, r.secrets)
	}
	return out
}

// needed are the role templates that a call needs.
func needed(operation string) string {
	switch what, verb, _ := strings.Cut(operation, "."); {
	case verb == "read":
		return "the role MonitoringDataRead"
	case what == "keystore" && verb != "list":
		return "the role SecurityMaterialEdit"
	case what != "keystore" && slices.Contains([]string{"create", "update", "delete"}, verb):
		return "the role CredentialsEdit"
	}
	return "the roles MonitoringDataRead, WorkspacePackagesRead and AccessAllAccessPoliciesArtifacts"
}

// refusal makes the error of an answer that is no success.
func (r reply) refusal() *upstream.Error {
	out := &upstream.Error{Class: upstream.Retryable, After: r.after, Message: r.words()}
	switch {
	case r.throttled:
		out.Class = upstream.Throttled
	case r.status == http.StatusUnauthorized:
		out.Class = upstream.LoginFailed
	case r.status == http.StatusForbidden:
		out.Class = upstream.Forbidden
		out.Message += "; the client needs " + needed(r.operation)
	case r.status == http.StatusNotFound:
		out.Class = upstream.NotFound
	case r.status/100 == 2:
		out.Message += ", and it is no JSON of the expected form"
	case r.status/100 == 4 && r.status != http.StatusRequestTimeout:
		out.Class = upstream.InvalidSpec
	}
	return out
}
