package cloudintegration

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/claviger-dev/claviger/internal/material"
	"github.com/claviger-dev/claviger/internal/upstream"
)

// Form is a kind of security material.
type Form string

// The forms.
const (
	OAuth2ClientCredentials Form = "OAuth2ClientCredentials"
	UserCredentials         Form = "UserCredentials"
	KeyPair                 Form = "KeyPair"
)

const (
	// maxKeyBody is the largest body that the keystore takes.
	maxKeyBody = 30072
	// csrfHeader carries the token against forgery.
	csrfHeader = "X-Csrf-Token"
)

// Entry is what a tenant shows of an alias. Secrets are never among it.
type Entry struct {
	Exists bool
	// Fields are the texts that can be read, by the tenant's own names: those of credentials are
	// resent, because a write replaces the whole entry.
	Fields map[string]string
	// Status is DEPLOYED when the entry is in use everywhere; STORED and ERROR before.
	Status string
	// CustomParameters is how many there are; a write would delete them.
	CustomParameters int
	// Fingerprint is the SHA-256 of a key pair's certificate, in lower case hex.
	Fingerprint string
	// ModifiedAt is when the tenant says that a key pair was written; zero if it does not.
	ModifiedAt time.Time
}

// Description is the note on a credential.
func (e Entry) Description() string { return e.Fields["Description"] }

// set is where entries of a form are, and what calls about them are called.
func (f Form) set() (set, operation string) {
	switch f {
	case OAuth2ClientCredentials:
		return "/OAuth2ClientCredentials", "oauth2-credential"
	case UserCredentials:
		return "/UserCredentials", "user-credential"
	default:
		return "/KeystoreEntries", "keystore"
	}
}

// path is that of one entry. The keystore's keys are hex of the alias.
func (f Form) path(alias string) string {
	set, _ := f.set()
	if f == KeyPair {
		return set + "('" + strings.ToUpper(hex.EncodeToString([]byte(alias))) + "')"
	}
	return set + "(" + quote(alias) + ")"
}

// ReadEntry reads what is behind an alias.
func (t *Tenant) ReadEntry(ctx context.Context, form Form, alias string) (Entry, error) {
	_, operation := form.set()
	path := form.path(alias)
	if form == OAuth2ClientCredentials {
		path += "?$expand=CustomParameters" // a write would delete them
	}
	r, err := t.get(ctx, operation+".read", path)
	if err != nil {
		return Entry{}, err
	}
	if r.status == http.StatusNotFound {
		return Entry{}, nil
	}
	var answer struct {
		D map[string]json.RawMessage `json:"d"`
	}
	if r.status != http.StatusOK || json.Unmarshal(r.body, &answer) != nil || answer.D == nil {
		return Entry{}, r.refusal()
	}
	e := Entry{Exists: true, Fields: map[string]string{}}
	for name, raw := range answer.D {
		var text *string
		if json.Unmarshal(raw, &text) == nil && text != nil {
			e.Fields[name] = *text
		}
	}
	if e.Fields["Name"]+e.Fields["Alias"] != alias {
		return Entry{}, upstream.Errorf(upstream.Retryable, "%s.read: the answer is about another alias", operation)
	}
	var descriptor struct{ Status string }
	if json.Unmarshal(answer.D["SecurityArtifactDescriptor"], &descriptor) == nil {
		e.Status = descriptor.Status
	}
	if form == OAuth2ClientCredentials {
		// A navigation that is not expanded says nothing, and must not be read as none.
		var parameters struct {
			Results *[]json.RawMessage `json:"results"`
		}
		if json.Unmarshal(answer.D["CustomParameters"], &parameters) != nil || parameters.Results == nil {
			return Entry{}, upstream.Errorf(upstream.Retryable, "%s.read: the tenant does not tell the custom parameters", operation)
		}
		e.CustomParameters = len(*parameters.Results)
	}
	e.Fingerprint = strings.ToLower(strings.ReplaceAll(e.Fields["FingerprintSha256"], ":", ""))
	e.ModifiedAt = readDate(e.Fields["LastModifiedTime"])
	return e, nil
}

// readDate reads /Date(1772359200000)/, also with a zone behind the number; zero if it is none.
func readDate(text string) time.Time {
	inner, ok := strings.CutPrefix(text, "/Date(")
	inner, closed := strings.CutSuffix(inner, ")/")
	if i := strings.IndexAny(inner, "+-"); i > 0 {
		inner = inner[:i]
	}
	ms, err := strconv.ParseInt(inner, 10, 64)
	if !ok || !closed || err != nil || ms <= 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// Credential is what is written as OAuth2 client credentials or as user credentials.
type Credential struct {
	Form  Form
	Alias string
	// Fields by the tenant's own names, Description included; those that are not named stay
	// as they were read.
	Fields map[string]string
	// Secret is the client secret or the password.
	Secret material.Secret
}

// defaults are what the tenant wants to be told of an entry that is new.
func (f Form) defaults() map[string]string {
	if f == UserCredentials {
		return map[string]string{"Kind": "default", "Description": "", "User": "", "CompanyId": ""}
	}
	return map[string]string{
		"Description": "", "TokenServiceUrl": "", "ClientId": "", "ClientAuthentication": "body",
		"Scope": "", "ScopeContentType": "urlencoded", "Resource": "", "Audience": "",
	}
}

// WriteCredential writes over an entry as it was read. The verbs of the tenant are strict, and
// what was read may have vanished since: PUT wants the entry to exist, POST that it does not.
func (t *Tenant) WriteCredential(ctx context.Context, c Credential, read Entry) error {
	body := map[string]string{"Name": c.Alias}
	secret := "ClientSecret"
	if c.Form == UserCredentials {
		secret = "Password"
	}
	body[secret] = c.Secret.Reveal()
	for name, otherwise := range c.Form.defaults() {
		body[name] = otherwise
		if value, ok := read.Fields[name]; ok {
			body[name] = value
		}
		if value, ok := c.Fields[name]; ok {
			body[name] = value
		}
	}
	text, err := json.Marshal(body)
	if err != nil {
		return upstream.Errorf(upstream.InvalidSpec, "the entry cannot be written as JSON")
	}
	set, operation := c.Form.set()
	create := call{operation: operation + ".create", method: http.MethodPost, path: set, body: string(text), kind: "application/json", secrets: []material.Secret{c.Secret}}
	update := create
	update.operation, update.method, update.path = operation+".update", http.MethodPut, c.Form.path(c.Alias)
	verbs := []call{update, create}
	if !read.Exists {
		verbs = verbs[1:]
	}
	var r reply
	for _, verb := range verbs {
		if r, err = t.write(ctx, verb); err != nil {
			return err
		}
		if r.status/100 == 2 {
			return nil
		}
		if r.status != http.StatusConflict && r.status != http.StatusNotFound {
			break
		}
	}
	// Whoever has made it since it was read may be somebody else: it is not written over unseen.
	return r.refused()
}

// WriteKeyPair writes a PKCS#12 file, which holds one key, over what was read.
func (t *Tenant) WriteKeyPair(ctx context.Context, alias string, file, password material.Secret, read Entry) error {
	// These always marshal.
	body, _ := json.Marshal(map[string]string{
		"Hexalias": "00", "Alias": alias, "Password": password.Reveal(), "Resource": base64.StdEncoding.EncodeToString([]byte(file.Reveal())),
	})
	if len(body) > maxKeyBody {
		return upstream.Errorf(upstream.InvalidSpec, "the key pair with its chain is larger than the tenant takes: %d bytes of %d", len(body), maxKeyBody)
	}
	query := url.Values{"fingerprintVerified": {"true"}, "returnKeystoreEntries": {"false"}, "update": {strconv.FormatBool(read.Exists)}}
	r, err := t.write(ctx, call{
		operation: "keystore.import", method: http.MethodPost, path: "/KeyPairResources?" + query.Encode(), body: string(body), kind: "application/json;charset=utf-8",
		secrets: []material.Secret{password, file},
	})
	if err != nil {
		return err
	}
	if r.status/100 != 2 {
		return r.refused()
	}
	return nil
}

// RemoveEntry takes an entry away. One that is not there is gone.
func (t *Tenant) RemoveEntry(ctx context.Context, form Form, alias string) error {
	_, operation := form.set()
	r, err := t.write(ctx, call{operation: operation + ".delete", method: http.MethodDelete, path: form.path(alias)})
	if err != nil {
		return err
	}
	if r.status/100 != 2 && r.status != http.StatusNotFound {
		return r.refused()
	}
	return nil
}

// write makes a call that changes something. Tenants on Cloud Foundry take it as it is; one
// that asks for a token against forgery gets one, once.
func (t *Tenant) write(ctx context.Context, c call) (reply, error) {
	for attempt := 1; ; attempt++ {
		t.mu.Lock()
		c.headers = t.session
		t.mu.Unlock()
		r, err := t.ask(ctx, c)
		asks := r.status == http.StatusForbidden && strings.EqualFold(r.header.Get(csrfHeader), "Required")
		if err != nil || !asks || attempt > 1 {
			return r, err
		}
		if err := t.greet(ctx); err != nil {
			return reply{}, err
		}
	}
}

// greet fetches the token, and the cookies that it is taken with.
func (t *Tenant) greet(ctx context.Context) error {
	r, err := t.ask(ctx, call{operation: "csrf", method: http.MethodGet, path: "/", headers: http.Header{csrfHeader: {"Fetch"}}})
	if err != nil {
		return err
	}
	token := r.header.Get(csrfHeader)
	if r.status != http.StatusOK || token == "" {
		return r.refusal()
	}
	var cookies []string
	for _, cookie := range (&http.Response{Header: r.header}).Cookies() {
		cookies = append(cookies, cookie.Name+"="+cookie.Value)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.session = http.Header{csrfHeader: {token}, "Cookie": {strings.Join(cookies, "; ")}}
	return nil
}

// refused makes the error of a write that was not accepted.
func (r reply) refused() *upstream.Error {
	out := r.refusal()
	switch r.status {
	case http.StatusLocked, http.StatusServiceUnavailable:
		out.Message += "; somebody else writes the keystore, or the tenant is down"
		if !r.throttled {
			out.Class = upstream.Retryable
		}
	case http.StatusRequestEntityTooLarge:
		out.Class = upstream.QuotaExceeded
		out.Message += "; the keystore is full, or the entry is too large for it"
	case http.StatusUnsupportedMediaType:
		out.Message += "; the tenant does not read this PKCS#12"
	case http.StatusConflict:
		out.Class = upstream.Conflict
	}
	return out
}
