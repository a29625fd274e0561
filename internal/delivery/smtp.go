// Package delivery carries messages out of the cluster: by mail and by HTTP. The one idea: one
// message is one bounded call, whose error is classified here, and which says nothing of what
// was sent or of a login. What is told to whom is decided elsewhere.
package delivery

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/textproto"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/wneessen/go-mail"

	"github.com/claviger-dev/claviger/internal/material"
	"github.com/claviger-dev/claviger/internal/notify"
	"github.com/claviger-dev/claviger/internal/upstream"
)

// Timeout bounds one message, from dialling to the last answer, however slowly a server answers.
const Timeout = 15 * time.Second

// SMTP is a mail server.
type SMTP struct {
	Host string
	Port int
	// Encryption is StartTLS, TLS or None.
	Encryption string
	From       string
	// Username and Password of the login; without a name there is none.
	Username string
	Password material.Secret
	CABundle []byte
	// AllowLoopback is for tests and the demo.
	AllowLoopback bool
	// Timeout of one message; zero means Timeout.
	Timeout time.Duration
}

// Mail is one message to one recipient.
type Mail struct {
	To string
	// Key is the same whenever the same mail is sent again; its hash is the Message-ID.
	Key string
	At  time.Time
	notify.Rendered
}

// Send hands one mail to the server. An error of class Rejected is about this mail alone; any
// other is about the server.
func (s SMTP) Send(ctx context.Context, m Mail) error {
	message, err := s.compose(m)
	if err != nil {
		return err
	}
	return s.session(ctx, func(client *mail.Client) error {
		err := client.Send(message)
		if message.IsDelivered() {
			return nil // what fails after the server has taken it must not send it twice
		}
		return err
	})
}

// Check connects and logs in, and sends nothing.
func (s SMTP) Check(ctx context.Context) error {
	return s.session(ctx, func(*mail.Client) error { return nil })
}

// session connects, does one thing, and leaves no connection behind.
func (s SMTP) session(ctx context.Context, do func(*mail.Client) error) error {
	timeout := s.Timeout
	if timeout == 0 {
		timeout = Timeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	line := &line{}
	client, err := s.client(line, timeout)
	if err != nil {
		return err
	}
	defer line.close()
	// The library moves its deadline with each command: a server that answers slowly enough could
	// hold the call for ever.
	defer context.AfterFunc(ctx, line.close)()
	if err := client.DialWithContext(ctx); err != nil {
		return s.classify(ctx, err, line.connected())
	}
	if err := do(client); err != nil {
		return s.classify(ctx, err, true)
	}
	_ = client.Close() // QUIT is a courtesy
	return nil
}

// line is the connection of one session: the library does not close one whose greeting fails.
type line struct {
	mu     sync.Mutex
	raw    net.Conn
	closed bool
}

// close ends the connection, also one that is only about to be had: the context may end at any
// time.
func (l *line) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	if l.raw != nil {
		_ = l.raw.Close()
	}
}

func (l *line) hold(raw net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.raw = raw
	if l.closed {
		_ = raw.Close()
	}
}

func (l *line) connected() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.raw != nil
}

func (s SMTP) client(l *line, timeout time.Duration) (*mail.Client, error) {
	roots, err := upstream.Authorities(s.CABundle)
	if err != nil {
		return nil, err
	}
	secured := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: s.Host, RootCAs: roots}
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		raw, err := upstream.NewDialer(s.AllowLoopback, timeout).DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		l.hold(raw)
		if deadline, ok := ctx.Deadline(); ok {
			_ = raw.SetDeadline(deadline) // before the greeting there is no other
		}
		if s.Encryption != "TLS" {
			return raw, nil
		}
		encrypted := tls.Client(raw, secured)
		return encrypted, encrypted.HandshakeContext(ctx)
	}
	options := []mail.Option{
		mail.WithPort(s.Port), mail.WithTimeout(timeout), mail.WithDialContextFunc(dial), mail.WithTLSConfig(secured),
		mail.WithHELO("claviger"), mail.WithTLSPolicy(mail.NoTLS),
	}
	if s.Encryption == "StartTLS" {
		options = append(options, mail.WithTLSPolicy(mail.TLSMandatory))
	}
	if s.Username != "" {
		if s.Encryption == "None" {
			return nil, upstream.Errorf(upstream.InvalidSpec, "a login is not sent without encryption")
		}
		way := mail.SMTPAuthAutoDiscover
		if s.Encryption == "TLS" {
			// The library does not know that a connection which it was given is encrypted, and would
			// refuse the ways that nearly all servers have.
			way = mail.SMTPAuthPlain
		}
		options = append(options, mail.WithSMTPAuth(way), mail.WithUsername(s.Username), mail.WithPassword(s.Password.Reveal()))
	}
	client, err := mail.NewClient(s.Host, options...)
	if err != nil {
		return nil, upstream.Errorf(upstream.InvalidSpec, "the settings of the mail server cannot be used")
	}
	return client, nil
}

func (s SMTP) compose(m Mail) (*mail.Msg, error) {
	if !notify.IsAddress(s.From) {
		return nil, upstream.Errorf(upstream.InvalidSpec, "from is no mail address")
	}
	if !notify.IsAddress(m.To) {
		return nil, upstream.Errorf(upstream.Rejected, "a recipient is no mail address")
	}
	message := mail.NewMsg(mail.WithNoDefaultUserAgent())
	if err := errors.Join(message.From(s.From), message.EnvelopeFrom(s.From), message.To(m.To)); err != nil {
		return nil, upstream.Errorf(upstream.Rejected, "an address cannot be used")
	}
	hash := sha256.Sum256([]byte(m.Key))
	_, domain, _ := strings.Cut(s.From, "@")
	message.SetMessageIDWithValue(hex.EncodeToString(hash[:16]) + "@" + domain)
	message.SetDateWithValue(m.At)
	// So that nobody's absence is announced to us (RFC 3834).
	message.SetGenHeader("Auto-Submitted", "auto-generated")
	message.Subject(notify.Oneline(m.Subject, 200))
	message.SetBodyString(mail.TypeTextPlain, m.Text)
	if m.HTML != "" {
		message.AddAlternativeString(mail.TypeTextHTML, m.HTML)
	}
	return message, nil
}

// classify words a failure by the server's code and never by its words: a server may repeat what
// was sent to it.
func (s SMTP) classify(ctx context.Context, err error, connected bool) error {
	if own, ok := errors.AsType[*upstream.Error](err); ok {
		return own
	}
	where := "the mail server " + upstream.Excerpt(net.JoinHostPort(s.Host, fmt.Sprint(s.Port)))
	code, recipient := 0, false
	if answer, ok := errors.AsType[*textproto.Error](err); ok {
		code = answer.Code
	}
	if sending, ok := errors.AsType[*mail.SendError](err); ok {
		code = max(code, sending.ErrorCode())
		recipient = sending.Reason == mail.ErrSMTPRcptTo || sending.Reason == mail.ErrSMTPData || sending.Reason == mail.ErrSMTPDataClose
	}
	switch {
	case ctx.Err() != nil, errors.Is(err, os.ErrDeadlineExceeded):
		return upstream.Errorf(upstream.Retryable, "%s does not answer in time", where)
	case !connected:
		return upstream.Errorf(upstream.Retryable, "%s: cannot connect: %s", where, upstream.Cause(err))
	case code == 535 || code == 534 || code == 530 || code == 538:
		return upstream.Errorf(upstream.LoginFailed, "%s refuses the login (%d)", where, code)
	case code >= 500 && recipient:
		return upstream.Errorf(upstream.Rejected, "%s refuses the mail or its recipient (%d)", where, code)
	case code >= 500:
		return upstream.Errorf(upstream.Forbidden, "%s refuses to take mail (%d)", where, code)
	case code >= 400:
		return upstream.Errorf(upstream.Retryable, "%s asks to try again later (%d)", where, code)
	// The library has no errors of their own for what a server does not offer.
	case errors.Is(err, mail.ErrNoSupportedAuthDiscovered), errors.Is(err, mail.ErrPlainAuthNotSupported), strings.Contains(err.Error(), "does not support SMTP AUTH"):
		return upstream.Errorf(upstream.InvalidSpec, "%s offers no login that can be used: with encryption TLS it must offer PLAIN", where)
	case strings.Contains(err.Error(), "does not support STARTTLS"):
		return upstream.Errorf(upstream.InvalidSpec, "%s does not offer STARTTLS", where)
	}
	return upstream.Errorf(upstream.Retryable, "%s: %s", where, upstream.Cause(err))
}
