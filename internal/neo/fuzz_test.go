package neo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/claviger-dev/claviger/internal/material"
	"github.com/claviger-dev/claviger/internal/upstream"
)

// oracle answers every call but the login with the same bytes.
type oracle struct {
	status int
	body   []byte
}

func (o oracle) RoundTrip(r *http.Request) (*http.Response, error) {
	status, body := o.status, o.body
	if r.URL.Path == "/oauth2/apitoken/v1" {
		status, body = 200, []byte(`{"access_token":"t","expires_in":1500}`)
	}
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(body)), Request: r}, nil
}

// FuzzAnswers lets every server answer anything: nothing may panic, no error may be
// unclassified, long or unprintable, and no end is concluded that was not said.
func FuzzAnswers(f *testing.F) {
	const mark = "0123456789abcdef0123456789abcdef"
	for _, body := range []string{
		``, `null`, `{}`, `[]`, `"x"`, `[""]`, `[null]`, `[7]`, `{"users":null}`, `{"users":[]}`, `{"users":[{}]}`, `{"users":[{"userId":"u"}]}`,
		`{"roles":[{"name":"r","applicatonRole":true}],"users":["oauth_client_` + mark + `"]}`, `["oauth_client_` + mark + `"]`,
		`{"clients":[],"total":0,"users":[],"roles":[]}`, `{"clients":[{"clientId":"` + mark + `"}],"total":1,"users":[]}`, `{"clients":[],"total":1}`, `{"clientId":"` + mark + `","access_token":"x"}`,
		`{"access_token":"x","expires_in":0,"scopes":[]}`, `{"error":"invalid_client","error_description":"\u0000\u001b[2J"}`, `<html>`, "\xff\xfe", strings.Repeat(`[`, 20000),
	} {
		f.Add(200, []byte(body))
		f.Add(404, []byte(body))
		f.Add(401, []byte(body))
	}
	f.Add(204, []byte(``))
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		if status < 100 || status > 599 {
			return
		}
		for _, registrarType := range []string{registrarHTTP, registrarManual} {
			raw := json.RawMessage(`{"url":"https://h","account":"a","tokenURL":"https://h/t","registrar":{"type":"` + registrarType + `","url":"https://h/r"},"applications":[{"name":"x","providerAccount":"p","roles":["r"],"url":"https://h/app"}]}`)
			login := map[string]material.Secret{"client_id": material.New("id"), "client_secret": material.New("canary-secret"), "registrar_token": material.New("canary-secret")}
			opened, err := NewDriver(time.Now).Open(upstream.Settings{Parameters: raw, Login: login})
			if err != nil {
				t.Fatal(err)
			}
			a := opened.(*account)
			carrier := &http.Client{Transport: oracle{status, body}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
			a.platform.http, a.tokens.http = carrier, carrier
			if h, ok := a.registrar.(*httpRegistrar); ok {
				h.http = carrier
			}
			tryAll(t, a, mark, status, body)
		}
	})
}

func tryAll(t *testing.T, a *account, mark upstream.Mark, status int, body []byte) {
	parameters := json.RawMessage(`{"application":"x","roles":["r"],"probe":{"path":"/y"}}`)
	m := material.Material{ClientID: string(mark), ClientSecret: material.New("canary-secret")}
	h := upstream.Handle{Parameters: parameters, Container: "h/a/p/x", Name: "cl-x", Mark: mark, Material: m}
	ctx := context.Background()
	_, checkErr := a.Check(ctx)
	_, locateErr := a.Locate(ctx, parameters)
	_, listErr := a.List(ctx, upstream.Owner{})
	_, issueErr := a.Issue(ctx, upstream.Request{Parameters: parameters, Container: "h/a/p/x", Name: "cl-x", Mark: mark, Material: m})
	verdict, verifyErr := a.Verify(ctx, h)
	revokeErr := a.Revoke(ctx, h)
	for _, err := range []error{checkErr, locateErr, listErr, issueErr, verifyErr, revokeErr, errors.New(verdict.Detail)} {
		checkWords(t, err)
	}
	// The same bytes answer all calls, so a role that is held is said by every list.
	held := false
	if users, ok := decodeNames(body, "users"); ok {
		for _, user := range users {
			held = held || user == userPrefix+string(mark)
		}
	}
	if status == 200 && held && (revokeErr == nil || upstream.ClassOf(revokeErr) == upstream.NotFound) {
		t.Errorf("an end was concluded (%v) while a role is held: %q", revokeErr, body)
	}
	if status/100 != 2 && revokeErr == nil {
		t.Errorf("%d was taken for an end", status)
	}
}

func checkWords(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		return
	}
	if own, ok := errors.AsType[*upstream.Error](err); ok && own.Message == "" {
		t.Errorf("%s without words", own.Class)
	}
	text := err.Error()
	if len(text) > 3000 || !utf8.ValidString(text) || strings.ContainsAny(text, "\x00\x1b\n\r") || strings.Contains(text, "canary-secret") {
		t.Errorf("%q", text)
	}
}

// FuzzContainer: a container that is read is written as it was, and none changes the
// meaning of a path.
func FuzzContainer(f *testing.F) {
	for _, container := range []string{"h/a/p/x", "h/a/../x", "h/a/p/x/y", "", "h/a/p/%2e", "other/a/p/x"} {
		f.Add(container)
	}
	f.Fuzz(func(t *testing.T, container string) {
		opened, err := NewDriver(time.Now).Open(upstream.Settings{
			Parameters: json.RawMessage(`{"url":"https://h","account":"a","tokenURL":"https://h/t","registrar":{"type":"Manual"},"applications":[{"name":"x","providerAccount":"p","roles":["r"]}]}`),
			Login:      map[string]material.Secret{"client_id": material.New("id"), "client_secret": material.New("s")},
		})
		if err != nil {
			t.Fatal(err)
		}
		a := opened.(*account)
		at, err := a.parseContainer(container)
		if err != nil {
			checkWords(t, err)
			return
		}
		if a.container(at) != container || strings.Contains(a.appPath(at), "..") || strings.Count(a.appPath(at), "/") != 2 {
			t.Errorf("%q became %+v", container, at)
		}
	})
}
