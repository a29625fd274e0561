package webmethodsgateway

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/claviger-dev/claviger/internal/material"
	"github.com/claviger-dev/claviger/internal/upstream"
)

// FuzzMessage lets a gateway say anything: nothing secret, nothing long and no control
// characters may come of it.
func FuzzMessage(f *testing.F) {
	f.Add([]byte(`{"errorDetails":"canary-key"}`))
	f.Add([]byte("<html>canary-key\x1b[31m"))
	f.Fuzz(func(t *testing.T, body []byte) {
		r := reply{status: http.StatusBadRequest, from: "the gateway", body: body, secrets: []material.Secret{material.New("canary-key")}}
		said := r.refusal().Error()
		if strings.Contains(said, "canary-key") || len([]rune(said)) > 400 || strings.ContainsAny(said, "\n\r\x1b") {
			t.Errorf("%q", said)
		}
	})
}

// FuzzApplication lets a gateway answer anything: what is read has an id that can stand in a
// path.
func FuzzApplication(f *testing.F) {
	f.Add([]byte(`{"applications":[{"applicationID":"a","accessTokens":{"apiAccessKey":{"apiAccessKey":"k","expirationDate":1}}}]}`))
	f.Add([]byte(`{"id":"a","isSuspended":"true","accessTokens":{"apiAccessKey_credentials":{"apiAccessKey":"k"}}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		one, fields, err := applicationOf(body)
		if err == nil && (!segment.MatchString(one.id) || fields == nil) {
			t.Errorf("%+v", one)
		}
		if _, err := applicationsOf(body); err == nil && !json.Valid(body) {
			t.Error("what is no JSON was read")
		}
		if all, err := strategiesOf(body); err == nil && all == nil {
			t.Error("no list was taken for one")
		}
	})
}

// FuzzDescription holds that a mark is found again in whatever a title says beside it.
func FuzzDescription(f *testing.F) {
	f.Add("Claviger payments/billing", "0123456789abcdef0123456789abcdef", "a-1")
	f.Fuzz(func(t *testing.T, title, mark, application string) {
		if !isMark(upstream.Mark(mark)) || len(mark) != 32 || !segment.MatchString(application) || strings.Contains(title, "=") {
			return
		}
		text := describe(upstream.Request{Title: title, Mark: upstream.Mark(mark)}, application)
		if markOf(text) != upstream.Mark(mark) || placeOf(text) != application {
			t.Errorf("%q", text)
		}
	})
}
