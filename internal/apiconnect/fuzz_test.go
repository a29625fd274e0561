package apiconnect

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
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
	// deletes counts what must not happen without proof.
	deletes []string
}

func (o *oracle) RoundTrip(r *http.Request) (*http.Response, error) {
	status, body := o.status, o.body
	switch {
	case r.URL.Path == "/api/token":
		status, body = 200, []byte(`{"access_token":"t","expires_in":60}`)
	case r.Method == http.MethodDelete:
		o.deletes = append(o.deletes, r.URL.EscapedPath())
	}
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(body)), Request: r}, nil
}

// FuzzAnswers lets the platform answer anything: nothing may panic, no error may be
// unclassified, long or unprintable, and nothing is deleted that was not read with our
// own client id.
func FuzzAnswers(f *testing.F) {
	const mark = "0123456789abcdef0123456789abcdef"
	for _, body := range []string{
		``, `null`, `{}`, `[]`, `"x"`, `{"total_results":0,"results":[]}`, `{"total_results":1,"results":[null]}`, `{"total_results":-1}`,
		`{"total_results":1,"results":[{"id":"a","client_id":"` + mark + `","app_url":"/api/apps/o/c/co/a"}]}`,
		`{"id":"a","client_id":"` + mark + `"}`, `{"id":"../a","client_id":"` + mark + `"}`, `{"id":7}`, `{"message":["a",1,null,{"b":[]}]}`,
		`{"message":"\u0000\u001b[2J"}`, `{"app_credential_urls":["%zz",""],"id":"a"}`, `<html>`, "\xff\xfe", strings.Repeat(`[`, 20000),
	} {
		f.Add(200, []byte(body))
		f.Add(409, []byte(body))
	}
	f.Add(404, []byte(`{"message":"not found"}`))
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		if status < 100 || status > 599 {
			return
		}
		o := &oracle{status: status, body: body}
		carrier := &http.Client{Transport: o, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
		base := &url.URL{Scheme: "https", Host: "h"}
		a := newAccount(time.Now, issuerParameters{ProviderOrg: "o", Catalog: "c"}, base, base, grant{kind: grantPassword, values: map[string]material.Secret{}}, carrier, carrier)
		parameters := json.RawMessage(`{"consumerOrg":"co","app":"a","probe":{"path":"/x"}}`)
		m := material.Material{ClientID: mark, ClientSecret: material.New("canary-secret")}
		container := "h/orgs/o/catalogs/c/consumer-orgs/co/apps/a"
		h := upstream.Handle{Parameters: parameters, Container: container, Name: "cl-x", Mark: mark, Material: m}
		ctx := context.Background()
		_, checkErr := a.Check(ctx)
		_, locateErr := a.Locate(ctx, parameters)
		_, listErr := a.List(ctx, upstream.Owner{})
		_, issueErr := a.Issue(ctx, upstream.Request{Parameters: parameters, Container: container, Name: "cl-x", Mark: mark, Material: m})
		verdict, verifyErr := a.Verify(ctx, h)
		revokeErr := a.Revoke(ctx, h)
		for _, err := range []error{checkErr, locateErr, listErr, issueErr, verifyErr, revokeErr, errors.New(verdict.Detail)} {
			checkWords(t, err)
		}
		// Absence is concluded from successful answers only.
		if upstream.ClassOf(revokeErr) == upstream.NotFound && status/100 != 2 || upstream.ClassOf(listErr) == upstream.NotFound && upstream.ClassOf(checkErr) != upstream.NotFound {
			t.Errorf("not found: %v, %v", revokeErr, listErr)
		}
		for _, path := range o.deletes {
			if !strings.Contains(string(body), mark) && !bytes.Contains(body, []byte(`\`)) || strings.Count(path, "/") != 8 || strings.HasSuffix(path, "/") {
				t.Errorf("deleted %s after %q", path, body)
			}
		}
	})
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

// FuzzPlace: a container that is read is written as it was, and none changes the
// meaning of a path.
func FuzzPlace(f *testing.F) {
	f.Add("h/orgs/o/catalogs/c/consumer-orgs/co/apps/a", "https://x/api/apps/o/c/co/a")
	f.Add("h:8443/orgs/../catalogs/./consumer-orgs//apps/%2e%2e", "/api/apps/o/c/../..")
	f.Add("", "https://[::1/api/apps/o/c/a%2fb/c")
	f.Fuzz(func(t *testing.T, container, appURL string) {
		if p, err := parsePlace(container); err == nil {
			if p.String() != container {
				t.Errorf("%q became %q", container, p)
			}
			if strings.Count(p.appPath(), "/") != 6 || strings.Contains(p.appPath(), "/../") {
				t.Errorf("%q gives the path %q", container, p.appPath())
			}
		}
		a := &account{}
		if p, ok := a.placeOf(place{host: "h", org: "o", catalog: "c"}, appURL); ok {
			if again, err := parsePlace(p.String()); err != nil || again != p {
				t.Errorf("%q gives %q, which is read as %q, %v", appURL, p, again, err)
			}
		}
	})
}
