package delivery

import (
	"context"
	"io"
	"mime"
	"net/mail"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger-dev/claviger/internal/material"
	"github.com/claviger-dev/claviger/internal/notify"
	"github.com/claviger-dev/claviger/internal/smtptest"
	"github.com/claviger-dev/claviger/internal/upstream"
)

const password = "p4ssw0rd-that-nobody-may-see"

func server(t *testing.T, o smtptest.Options) (*smtptest.Server, SMTP) {
	t.Helper()
	s, err := smtptest.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	settings := SMTP{Host: "127.0.0.1", Port: s.Port(), Encryption: "None", From: "claviger@example.com", CABundle: s.CA(), AllowLoopback: true, Timeout: 2 * time.Second}
	switch {
	case o.TLS:
		settings.Encryption = "TLS"
	case o.StartTLS:
		settings.Encryption = "StartTLS"
	}
	if o.Username != "" {
		settings.Username, settings.Password = o.Username, material.New(o.Password)
	}
	return s, settings
}

func letter() Mail {
	return Mail{
		To: "bob@example.com", Key: "u/1/Issued|mail|bob@example.com", At: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC),
		Rendered: notify.Rendered{Subject: "Credential “payments/billing” was issued", Text: "Grüße\n.\n.. dots\n", HTML: "<p>Grüße</p>"},
	}
}

func TestAMailArrives(t *testing.T) {
	login := smtptest.Options{Username: "claviger", Password: password}
	for name, o := range map[string]smtptest.Options{
		"in the clear":            {},
		"with STARTTLS":           {StartTLS: true},
		"with STARTTLS and login": {StartTLS: true, Username: login.Username, Password: login.Password},
		"with TLS":                {TLS: true},
		"with TLS and login":      {TLS: true, Username: login.Username, Password: login.Password},
	} {
		t.Run(name, func(t *testing.T) {
			s, settings := server(t, o)
			if err := settings.Check(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := settings.Send(t.Context(), letter()); err != nil {
				t.Fatal(err)
			}
			got := s.Mails()
			if len(got) != 1 {
				t.Fatalf("%d mails arrived", len(got))
			}
			data := got[0].Data
			got[0].Data = ""
			want := smtptest.Mail{From: "claviger@example.com", To: []string{"bob@example.com"}, Encrypted: o.TLS || o.StartTLS, User: o.Username}
			if diff := cmp.Diff(want, got[0]); diff != "" {
				t.Error(diff)
			}
			message, err := mail.ReadMessage(strings.NewReader(data))
			if err != nil {
				t.Fatal(err)
			}
			subject, err := new(mime.WordDecoder).DecodeHeader(message.Header.Get("Subject"))
			if err != nil || subject != letter().Subject {
				t.Errorf("the subject is %q, %v", subject, err)
			}
			body, _ := io.ReadAll(message.Body)
			if message.Header.Get("Auto-Submitted") != "auto-generated" || !strings.HasPrefix(message.Header.Get("Content-Type"), "multipart/alternative") || !strings.Contains(string(body), "Gr=C3=BC=C3=9Fe") {
				t.Errorf("headers %v\n%s", message.Header, body)
			}
			first := message.Header.Get("Message-Id")
			if err := settings.Send(t.Context(), letter()); err != nil {
				t.Fatal(err)
			}
			again, _ := mail.ReadMessage(strings.NewReader(s.Mails()[1].Data))
			if first == "" || again.Header.Get("Message-Id") != first {
				t.Errorf("the same mail has the ids %q and %q", first, again.Header.Get("Message-Id"))
			}
		})
	}
}

func TestAMailServerThatDoesNotTakeMail(t *testing.T) {
	for name, tc := range map[string]struct {
		options smtptest.Options
		change  func(*smtptest.Server, *SMTP)
		want    upstream.ErrorClass
		says    string
	}{
		"is dead":                             {smtptest.Options{}, func(s *smtptest.Server, _ *SMTP) { s.Close() }, upstream.Retryable, "cannot connect"},
		"takes the connection and is silent":  {smtptest.Options{}, func(s *smtptest.Server, _ *SMTP) { s.Hang(true) }, upstream.Retryable, "in time"},
		"is silent before TLS":                {smtptest.Options{TLS: true}, func(s *smtptest.Server, _ *SMTP) { s.Hang(true) }, upstream.Retryable, "in time"},
		"has another certificate":             {smtptest.Options{StartTLS: true}, func(_ *smtptest.Server, c *SMTP) { c.CABundle = nil }, upstream.Retryable, "not trusted"},
		"has no STARTTLS":                     {smtptest.Options{}, func(_ *smtptest.Server, c *SMTP) { c.Encryption = "StartTLS" }, upstream.InvalidSpec, "does not offer STARTTLS"},
		"refuses the login and repeats it":    {smtptest.Options{StartTLS: true, Username: "claviger", Password: password}, func(_ *smtptest.Server, c *SMTP) { c.Password = material.New(password + "x") }, upstream.LoginFailed, "535"},
		"refuses the login over TLS":          {smtptest.Options{TLS: true, Username: "claviger", Password: password}, func(_ *smtptest.Server, c *SMTP) { c.Password = material.New(password + "x") }, upstream.LoginFailed, "535"},
		"offers no login":                     {smtptest.Options{StartTLS: true}, func(_ *smtptest.Server, c *SMTP) { c.Username, c.Password = "claviger", material.New(password) }, upstream.InvalidSpec, "offers no login"},
		"refuses the sender":                  {smtptest.Options{}, func(s *smtptest.Server, _ *SMTP) { s.Refuse("MAIL", "550 not you ECHO") }, upstream.Forbidden, "550"},
		"refuses the recipient":               {smtptest.Options{}, func(s *smtptest.Server, _ *SMTP) { s.Refuse("RCPT", "550 nobody here") }, upstream.Rejected, "550"},
		"asks for patience":                   {smtptest.Options{}, func(s *smtptest.Server, _ *SMTP) { s.Refuse("RCPT", "451 greylisted") }, upstream.Retryable, "451"},
		"refuses the content":                 {smtptest.Options{}, func(s *smtptest.Server, _ *SMTP) { s.Refuse("CONTENT", "554 spam") }, upstream.Rejected, "554"},
		"is the operator's own pod":           {smtptest.Options{}, func(_ *smtptest.Server, c *SMTP) { c.AllowLoopback = false }, upstream.InvalidSpec, "loopback"},
		"is the cloud's metadata service":     {smtptest.Options{}, func(_ *smtptest.Server, c *SMTP) { c.Host = "169.254.169.254" }, upstream.InvalidSpec, "link-local"},
		"would get a login without a TLS":     {smtptest.Options{}, func(_ *smtptest.Server, c *SMTP) { c.Username, c.Password = "claviger", material.New(password) }, upstream.InvalidSpec, "without encryption"},
		"has a bundle that cannot be read":    {smtptest.Options{StartTLS: true}, func(_ *smtptest.Server, c *SMTP) { c.CABundle = []byte("x") }, upstream.InvalidSpec, "CA bundle"},
		"would get a sender that is no name":  {smtptest.Options{}, func(_ *smtptest.Server, c *SMTP) { c.From = "a@b>\r\nRCPT TO:<x@y" }, upstream.InvalidSpec, "from"},
		"would get one that ends the command": {smtptest.Options{}, nil, upstream.Rejected, "recipient"},
	} {
		t.Run(name, func(t *testing.T) {
			s, settings := server(t, tc.options)
			m := letter()
			if tc.change == nil {
				m.To = "bob@example.com>\r\nRCPT TO:<eve@example.com"
			} else {
				tc.change(s, &settings)
			}
			started := time.Now()
			err := settings.Send(t.Context(), m)
			if upstream.ClassOf(err) != tc.want || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("got %v, want %s and %q", err, tc.want, tc.says)
			}
			for _, secret := range []string{password, "AGNsYXZpZ2Vy"} {
				if err != nil && strings.Contains(err.Error(), secret) {
					t.Errorf("the error shows the login: %v", err)
				}
			}
			if took := time.Since(started); took > 10*time.Second {
				t.Errorf("it took %s", took)
			}
			if len(s.Mails()) > 0 {
				t.Error("a mail was sent all the same")
			}
		})
	}
}

func TestACallEndsWithItsContext(t *testing.T) {
	s, settings := server(t, smtptest.Options{})
	s.Hang(true)
	settings.Timeout = time.Hour
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := settings.Check(ctx); upstream.ClassOf(err) != upstream.Retryable {
		t.Error(err)
	}
}
