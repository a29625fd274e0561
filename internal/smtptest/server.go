// Package smtptest is a mail server for tests, on the wire: EHLO, STARTTLS, AUTH PLAIN, MAIL,
// RCPT, DATA, RSET, NOOP and QUIT of RFC 5321. The one idea: it misbehaves as real ones do, on
// request: it refuses, it is slow, it hangs, it is dead, and it repeats to a client what the
// client has sent.
package smtptest

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"strings"
	"sync"
	"time"
)

// Mail is one that was taken.
type Mail struct {
	From string
	To   []string
	// Data are headers and body as they came.
	Data string
	// Encrypted: it came over TLS. User is who was logged in.
	Encrypted bool
	User      string
}

// Options say how a server behaves.
type Options struct {
	// TLS is from the first byte on; StartTLS offers it.
	TLS, StartTLS bool
	// Username and Password are asked for if set.
	Username, Password string
	// Address to listen on; default a free port of 127.0.0.1.
	Address string
}

// Server is a mail server. All methods may be called at the same time.
type Server struct {
	options  Options
	listener net.Listener
	config   *tls.Config
	ca       []byte

	mu      sync.Mutex
	mails   []Mail
	refuse  map[string]string
	hang    bool
	open    map[net.Conn]bool
	closing bool
	done    sync.WaitGroup
}

// Start starts one.
func Start(o Options) (*Server, error) {
	s := &Server{options: o, refuse: map[string]string{}, open: map[net.Conn]bool{}}
	if err := s.certify(); err != nil {
		return nil, err
	}
	if o.Address == "" {
		o.Address = "127.0.0.1:0"
	}
	var err error
	if s.listener, err = net.Listen("tcp", o.Address); err != nil {
		return nil, err
	}
	s.done.Go(s.accept)
	return s, nil
}

func (s *Server) certify() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	s.ca = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	s.config = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	return nil
}

// CA is what a client must trust, PEM.
func (s *Server) CA() []byte { return s.ca }

// Port is where it listens, on 127.0.0.1.
func (s *Server) Port() int {
	if address, ok := s.listener.Addr().(*net.TCPAddr); ok {
		return address.Port
	}
	return 0
}

// Mails are those that were taken, in their order.
func (s *Server) Mails() []Mail {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Mail(nil), s.mails...)
}

// Refuse answers a command (MAIL, RCPT, DATA, AUTH, or CONTENT for what follows DATA) with an
// answer from now on; an empty one takes it back. "ECHO" in it becomes what the client sent.
func (s *Server) Refuse(command, answer string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuse[command] = answer
}

// Hang takes connections and says nothing, until it is taken back.
func (s *Server) Hang(hang bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hang = hang
	if !hang {
		for c := range s.open {
			_ = c.Close()
		}
	}
}

// Close ends it and every connection.
func (s *Server) Close() {
	s.mu.Lock()
	s.closing = true
	_ = s.listener.Close()
	for c := range s.open {
		_ = c.Close()
	}
	s.mu.Unlock()
	s.done.Wait()
}

func (s *Server) accept() {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		if s.closing {
			_ = conn.Close()
		}
		s.open[conn] = true
		hang := s.hang
		s.mu.Unlock()
		s.done.Go(func() {
			defer func() {
				_ = conn.Close()
				s.mu.Lock()
				delete(s.open, conn)
				s.mu.Unlock()
			}()
			if hang {
				_, _ = io.Copy(io.Discard, conn) // until either side closes
				return
			}
			session := &session{server: s, raw: conn}
			if s.options.TLS {
				session.encrypt()
			}
			session.serve()
		})
	}
}

type session struct {
	server    *Server
	raw       net.Conn
	encrypted bool
	reader    *bufio.Reader
	user      string
	mail      Mail
}

func (c *session) encrypt() {
	c.raw, c.encrypted, c.reader = tls.Server(c.raw, c.server.config), true, nil
}

func (c *session) say(format string, args ...any) {
	_, _ = fmt.Fprintf(c.raw, format+"\r\n", args...)
}

func (c *session) line() (string, bool) {
	if c.reader == nil {
		c.reader = bufio.NewReader(c.raw)
	}
	text, err := c.reader.ReadString('\n')
	return strings.TrimRight(text, "\r\n"), err == nil
}

// refused answers a command as the test has asked for.
func (c *session) refused(command, sent string) bool {
	c.server.mu.Lock()
	answer := c.server.refuse[command]
	c.server.mu.Unlock()
	if answer == "" {
		return false
	}
	c.say("%s", strings.ReplaceAll(answer, "ECHO", sent))
	return true
}

func (c *session) serve() {
	c.say("220 test ESMTP")
	for {
		text, ok := c.line()
		if !ok {
			return
		}
		verb, rest, _ := strings.Cut(text, " ")
		verb = strings.ToUpper(verb)
		if c.refused(verb, rest) {
			continue
		}
		switch verb {
		case "EHLO":
			c.hello()
		case "HELO", "NOOP":
			c.say("250 ok")
		case "RSET":
			c.mail = Mail{}
			c.say("250 ok")
		case "STARTTLS":
			if !c.server.options.StartTLS {
				c.say("502 no")
				continue
			}
			c.say("220 go")
			c.encrypt()
		case "AUTH":
			c.login(rest)
		case "MAIL":
			if c.server.options.Username != "" && c.user == "" {
				c.say("530 log in first")
				continue
			}
			c.mail = Mail{From: inBrackets(rest), Encrypted: c.encrypted, User: c.user}
			c.say("250 ok")
		case "RCPT":
			c.mail.To = append(c.mail.To, inBrackets(rest))
			c.say("250 ok")
		case "DATA":
			if !c.data() {
				return
			}
		case "QUIT":
			c.say("221 bye")
			return
		default:
			c.say("500 what?")
		}
	}
}

func inBrackets(text string) string {
	_, text, _ = strings.Cut(text, "<")
	text, _, _ = strings.Cut(text, ">")
	return text
}

func (c *session) hello() {
	c.say("250-test")
	if c.server.options.StartTLS && !c.encrypted {
		c.say("250-STARTTLS")
	}
	if c.server.options.Username != "" && c.encrypted {
		c.say("250-AUTH PLAIN")
	}
	c.say("250 8BITMIME")
}

func (c *session) login(rest string) {
	_, encoded, _ := strings.Cut(rest, " ")
	if encoded == "" {
		c.say("334 ")
		encoded, _ = c.line()
	}
	decoded, _ := base64.StdEncoding.DecodeString(encoded)
	parts := strings.Split(string(decoded), "\x00")
	if !c.encrypted || len(parts) != 3 || parts[1] != c.server.options.Username || parts[2] != c.server.options.Password {
		c.say("535 refused: %s", encoded) // as careless servers do
		return
	}
	c.user = parts[1]
	c.say("235 welcome")
}

func (c *session) data() bool {
	c.say("354 go on")
	var lines []string
	for {
		text, ok := c.line()
		if !ok {
			return false
		}
		if text == "." {
			break
		}
		lines = append(lines, strings.TrimPrefix(text, "."))
	}
	if c.refused("CONTENT", "") {
		return true
	}
	c.mail.Data = strings.Join(lines, "\n")
	c.server.mu.Lock()
	c.server.mails = append(c.server.mails, c.mail)
	c.server.mu.Unlock()
	c.mail = Mail{}
	c.say("250 taken")
	return true
}
