package delivery

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/claviger-dev/claviger/internal/material"
	"github.com/claviger-dev/claviger/internal/notify"
	"github.com/claviger-dev/claviger/internal/upstream"
)

// Formats of a post.
const (
	CloudEvents = "CloudEvents"
	Slack       = "Slack"
	Teams       = "Teams"
)

const (
	// maxAnswer is read of an answer and thrown away, so that the connection can be used again.
	maxAnswer = 64 << 10
	// minSecret is the least that Standard Webhooks asks for.
	minSecret = 24
)

// Post is a receiver of HTTP posts.
type Post struct {
	// URL may be a secret by itself.
	URL    material.Secret
	Format string
	// Secret signs CloudEvents.
	Secret   material.Secret
	CABundle []byte
	// AllowInsecure allows http and loopback; for tests and the demo.
	AllowInsecure bool
	UserAgent     string
	Timeout       time.Duration
}

// Payload is what is posted.
type Payload struct {
	// Key is the same whenever the same message is posted again.
	Key   string
	At    time.Time
	Title string
	Text  string
	// Type and Subject of a CloudEvent, and its data.
	Type    string
	Subject string
	Data    any
}

// Check looks whether the settings can be used; nothing is sent, because a receiver would take
// it for a message.
func (p Post) Check(context.Context) error {
	_, _, err := p.open()
	return err
}

// Send posts one message. An error of class Rejected is about this message alone.
func (p Post) Send(ctx context.Context, payload Payload, now time.Time) error {
	target, carrier, err := p.open()
	if err != nil {
		return err
	}
	if closer, ok := carrier.(interface{ CloseIdleConnections() }); ok {
		defer closer.CloseIdleConnections()
	}
	body, contentType, err := p.encode(payload)
	if err != nil {
		return upstream.Errorf(upstream.Rejected, "a message cannot be written as JSON")
	}
	request, err := http.NewRequestWithContext(upstream.WithOperation(ctx, "notification.post"), http.MethodPost, target.String(), bytes.NewReader(body))
	if err != nil {
		return upstream.Errorf(upstream.InvalidSpec, "the address of the receiver cannot be used")
	}
	request.Header.Set("Content-Type", contentType)
	if p.Format == CloudEvents {
		key, err := p.key()
		if err != nil {
			return err
		}
		id, stamp := identifier(payload.Key), strconv.FormatInt(now.Unix(), 10)
		request.Header.Set("Webhook-Id", id)
		request.Header.Set("Webhook-Timestamp", stamp)
		request.Header.Set("Webhook-Signature", Sign(key, id, stamp, body))
	}
	// The round tripper and not a client: a client follows redirects, and puts the address, which
	// may be a secret, into its errors.
	response, err := carrier.RoundTrip(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, maxAnswer))
	return classify(target.Host, response, now)
}

func classify(host string, response *http.Response, now time.Time) error {
	where, code := "the receiver at "+upstream.Excerpt(host), response.StatusCode
	after, throttled := upstream.ThrottledAfter(response, now)
	switch {
	case code >= 200 && code < 300:
		return nil
	case throttled:
		return &upstream.Error{Class: upstream.Throttled, After: after, Message: where + " asks to try again later (" + strconv.Itoa(code) + ")"}
	case code >= 300 && code < 400:
		return upstream.Errorf(upstream.InvalidSpec, "%s answers with a redirect (%d), which is not followed: write the address that it leads to", where, code)
	case code == http.StatusUnauthorized, code == http.StatusForbidden:
		return upstream.Errorf(upstream.LoginFailed, "%s refuses us (%d)", where, code)
	case code == http.StatusNotFound, code == http.StatusGone, code == http.StatusMethodNotAllowed:
		return upstream.Errorf(upstream.Forbidden, "%s takes nothing (any more) (%d)", where, code)
	case code == http.StatusBadRequest, code == http.StatusRequestEntityTooLarge, code == http.StatusUnprocessableEntity:
		return upstream.Errorf(upstream.Rejected, "%s refuses a message (%d)", where, code)
	}
	return upstream.Errorf(upstream.Retryable, "%s answers %d", where, code)
}

// open reads the settings and does no I/O.
func (p Post) open() (*url.URL, http.RoundTripper, error) {
	target, err := url.Parse(strings.TrimSpace(p.URL.Reveal()))
	if err != nil || target.Host == "" || target.User != nil {
		return nil, nil, upstream.Errorf(upstream.InvalidSpec, "the address of the receiver is no URL with a host and without a login")
	}
	if target.Scheme != "https" && !p.AllowInsecure {
		return nil, nil, upstream.Errorf(upstream.InvalidSpec, "the address of the receiver must begin with https://")
	}
	if p.Format == CloudEvents {
		if _, err := p.key(); err != nil {
			return nil, nil, err
		}
	}
	timeout := p.Timeout
	if timeout == 0 {
		timeout = Timeout
	}
	carrier, err := upstream.NewTransport(upstream.TransportOptions{
		CABundle: p.CABundle, AllowPlainHTTP: p.AllowInsecure, AllowLoopback: p.AllowInsecure, UserAgent: p.UserAgent, Timeout: timeout, MaxAnswer: maxAnswer,
	})
	return target, carrier, err
}

// key is the secret as bytes.
func (p Post) key() ([]byte, error) {
	text := strings.TrimSpace(p.Secret.Reveal())
	key := []byte(text)
	if encoded, ok := strings.CutPrefix(text, "whsec_"); ok {
		decoded, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil {
			return nil, upstream.Errorf(upstream.InvalidSpec, "what follows whsec_ in the secret is no base64")
		}
		key = decoded
	}
	if len(key) < minSecret {
		return nil, upstream.Errorf(upstream.InvalidSpec, "the secret has less than %d bytes", minSecret)
	}
	return key, nil
}

// Sign is the signature of Standard Webhooks: of the id, the time and the body.
func Sign(key []byte, id, timestamp string, body []byte) string {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(id + "." + timestamp + "."))
	mac.Write(body)
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// identifier is a key as an id without special characters.
func identifier(key string) string {
	hash := sha256.Sum256([]byte(key))
	return "msg_" + base64.RawURLEncoding.EncodeToString(hash[:18])
}

func (p Post) encode(m Payload) (body []byte, contentType string, err error) {
	title := notify.Oneline(m.Title, 200)
	switch p.Format {
	case Slack:
		body, err = json.Marshal(map[string]string{"text": "*" + slackEscape.Replace(title) + "*\n" + slackEscape.Replace(m.Text)})
	case Teams:
		block := func(text string, more map[string]any) map[string]any {
			b := map[string]any{"type": "TextBlock", "text": markdownEscape.Replace(text), "wrap": true}
			for k, v := range more {
				b[k] = v
			}
			return b
		}
		body, err = json.Marshal(map[string]any{
			"type": "message",
			"attachments": []any{map[string]any{
				"contentType": "application/vnd.microsoft.card.adaptive",
				"content": map[string]any{
					"$schema": "http://adaptivecards.io/schemas/adaptive-card.json", "type": "AdaptiveCard", "version": "1.4",
					"body": []any{block(title, map[string]any{"weight": "Bolder", "size": "Medium"}), block(m.Text, nil)},
				},
			}},
		})
	default:
		body, err = json.Marshal(map[string]any{
			"specversion": "1.0", "id": identifier(m.Key), "source": "claviger", "type": m.Type, "subject": m.Subject,
			"time": m.At.UTC().Format(time.RFC3339), "datacontenttype": "application/json", "data": m.Data,
		})
		return body, "application/cloudevents+json", err
	}
	return body, "application/json", err
}

var (
	// slackEscape are the three characters that Slack gives a meaning; without it a name could
	// call everybody of a room.
	slackEscape = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")
	// markdownEscape keeps what people wrote from becoming a link, and line ends as they are.
	markdownEscape = strings.NewReplacer("[", "\\[", "]", "\\]", "*", "\\*", "_", "\\_", "`", "\\`", "\n", "\n\n")
)
