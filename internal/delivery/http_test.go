package delivery

import (
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger-dev/claviger/internal/material"
	"github.com/claviger-dev/claviger/internal/upstream"
)

const signing = "a-secret-of-more-than-24-bytes"

// call is what a receiver got.
type call struct {
	header http.Header
	body   []byte
}

func receiver(t *testing.T, answer http.HandlerFunc) (Post, *[]call) {
	t.Helper()
	var calls []call
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		calls = append(calls, call{r.Header, body})
		if answer != nil {
			answer(w, r)
		}
	}))
	t.Cleanup(s.Close)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	return Post{URL: material.New(s.URL + "/services/T0/SECRETPATH"), Format: CloudEvents, Secret: material.New(signing), CABundle: ca, AllowInsecure: true, Timeout: 2 * time.Second}, &calls
}

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func payload() Payload {
	return Payload{Key: "k", At: noon, Title: "Credential <!channel> [x](y)", Text: "a & b", Type: "dev.claviger.credential.Issued.v1", Subject: "payments/billing", Data: map[string]any{"version": 1}}
}

func TestAWebhookGetsASignedCloudEvent(t *testing.T) {
	for name, secret := range map[string]string{"as text": signing, "as base64": "whsec_" + base64.StdEncoding.EncodeToString([]byte(signing))} {
		t.Run(name, func(t *testing.T) {
			post, calls := receiver(t, nil)
			post.Secret = material.New(secret)
			if err := post.Send(t.Context(), payload(), noon); err != nil {
				t.Fatal(err)
			}
			got := (*calls)[0]
			id, stamp := got.header.Get("Webhook-Id"), got.header.Get("Webhook-Timestamp")
			if want := Sign([]byte(signing), id, stamp, got.body); id == "" || stamp != "1772366400" || got.header.Get("Webhook-Signature") != want {
				t.Errorf("id %q, time %q, signature %q, want %q", id, stamp, got.header.Get("Webhook-Signature"), want)
			}
			if got.header.Get("Content-Type") != "application/cloudevents+json" {
				t.Error(got.header.Get("Content-Type"))
			}
			var event map[string]any
			if err := json.Unmarshal(got.body, &event); err != nil {
				t.Fatal(err)
			}
			want := map[string]any{
				"specversion": "1.0", "id": id, "source": "claviger", "type": "dev.claviger.credential.Issued.v1", "subject": "payments/billing",
				"time": "2026-03-01T12:00:00Z", "datacontenttype": "application/json", "data": map[string]any{"version": 1.0},
			}
			if diff := cmp.Diff(want, event); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestTheSignatureIsThatOfTheSpecification: a value that others have computed, so that a mistake
// which both sides of our own tests share is found.
func TestTheSignatureIsThatOfTheSpecification(t *testing.T) {
	key, _ := base64.StdEncoding.DecodeString("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	got := Sign(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", []byte(`{"test": 2432232314}`))
	if want := "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestChatsGetWhatTheyCanShow(t *testing.T) {
	post, calls := receiver(t, nil)
	post.Secret = material.Secret{}
	post.Format = Slack
	if err := post.Send(t.Context(), payload(), noon); err != nil {
		t.Fatal(err)
	}
	post.Format = Teams
	if err := post.Send(t.Context(), payload(), noon); err != nil {
		t.Fatal(err)
	}
	var slack, teams any
	for i, into := range []*any{&slack, &teams} {
		if err := json.Unmarshal((*calls)[i].body, into); err != nil || (*calls)[i].header.Get("Webhook-Signature") != "" {
			t.Fatal(err, (*calls)[i].header)
		}
	}
	if diff := cmp.Diff(map[string]any{"text": "*Credential &lt;!channel&gt; [x](y)*\na &amp; b"}, slack); diff != "" {
		t.Error(diff)
	}
	want := map[string]any{"type": "message", "attachments": []any{map[string]any{
		"contentType": "application/vnd.microsoft.card.adaptive",
		"content": map[string]any{
			"$schema": "http://adaptivecards.io/schemas/adaptive-card.json", "type": "AdaptiveCard", "version": "1.4",
			"body": []any{
				map[string]any{"type": "TextBlock", "text": `Credential <!channel> \[x\](y)`, "wrap": true, "weight": "Bolder", "size": "Medium"},
				map[string]any{"type": "TextBlock", "text": "a & b", "wrap": true},
			},
		},
	}}}
	if diff := cmp.Diff(want, teams); diff != "" {
		t.Error(diff)
	}
}

func TestAReceiverThatDoesNotTakeAMessage(t *testing.T) {
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
	}
	elsewhere := 0
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere++ }))
	defer other.Close()
	for name, tc := range map[string]struct {
		answer http.HandlerFunc
		change func(*Post)
		want   upstream.ErrorClass
	}{
		"a redirect, which is not followed": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
		}, nil, upstream.InvalidSpec},
		"a refusal of us":              {status(401), nil, upstream.LoginFailed},
		"a room that is gone":          {status(410), nil, upstream.Forbidden},
		"a refusal of this message":    {status(400), nil, upstream.Rejected},
		"a server in trouble":          {status(500), nil, upstream.Retryable},
		"too many":                     {status(429), nil, upstream.Throttled},
		"an authority that is unknown": {nil, func(p *Post) { p.CABundle = nil }, upstream.Retryable},
		"no https":                     {nil, func(p *Post) { p.URL, p.AllowInsecure = material.New("http://example.com/SECRETPATH"), false }, upstream.InvalidSpec},
		"a metadata service":           {nil, func(p *Post) { p.URL = material.New("http://169.254.169.254/SECRETPATH") }, upstream.InvalidSpec},
		"the operator's own pod":       {nil, func(p *Post) { p.AllowInsecure = false }, upstream.InvalidSpec},
		"a login in the address":       {nil, func(p *Post) { p.URL = material.New("https://u:SECRETPATH@example.com/") }, upstream.InvalidSpec},
		"a secret that is too short":   {nil, func(p *Post) { p.Secret = material.New("short") }, upstream.InvalidSpec},
		"an answer without an end": {func(w http.ResponseWriter, _ *http.Request) {
			for range 100 {
				_, _ = w.Write(make([]byte, 64<<10))
			}
		}, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			post, calls := receiver(t, tc.answer)
			if tc.change != nil {
				tc.change(&post)
			}
			err := post.Send(t.Context(), payload(), noon)
			switch {
			case tc.want == "" && err != nil, tc.want != "" && (err == nil || upstream.ClassOf(err) != tc.want):
				t.Errorf("got %v, want %q", err, tc.want)
			case err != nil && strings.Contains(err.Error(), "SECRETPATH"):
				t.Errorf("the error shows the address: %v", err)
			case tc.change != nil && len(*calls) > 0:
				t.Error("something was sent")
			}
		})
	}
	if elsewhere > 0 {
		t.Error("a redirect was followed")
	}
}
