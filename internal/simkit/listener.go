package simkit

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"time"
)

// Listener is one address of a simulator.
type Listener struct {
	server *http.Server
	base   string
	close  func() error
}

// Listen serves the handler on the address ("127.0.0.1:0" picks a port), with TLS
// under the certificate, or without if it is nil.
//
// Only HTTP/1.1 is spoken: a fault that cuts "the connection" must cut one call,
// and in HTTP/2 it would cut every call that shares it.
func Listen(address string, certificate *tls.Certificate, handler http.Handler) (*Listener, error) {
	if certificate == nil {
		return listen(address, nil, handler)
	}
	return listen(address, &tls.Config{Certificates: []tls.Certificate{*certificate}, MinVersion: tls.VersionTLS12}, handler)
}

// ListenAsking is Listen with TLS that asks each client for a certificate in the
// handshake and takes whatever comes, none included: whose it is is for the handler to
// judge. Servers that ask later, by renegotiation, cannot be played: Go's has none.
func ListenAsking(address string, certificate tls.Certificate, handler http.Handler) (*Listener, error) {
	return listen(address, &tls.Config{
		Certificates: []tls.Certificate{certificate},
		ClientAuth:   tls.RequestClientCert,
		MinVersion:   tls.VersionTLS12,
	}, handler)
}

func listen(address string, secured *tls.Config, handler http.Handler) (*Listener, error) {
	socket, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", address, err)
	}
	l := &Listener{
		base: "http://" + socket.Addr().String(),
		server: &http.Server{
			Handler:           handler,
			ReadHeaderTimeout: 30 * time.Second,
			// Handshakes that clients break off are part of the play.
			ErrorLog: log.New(io.Discard, "", 0),
		},
	}
	if secured != nil {
		l.base = "https://" + socket.Addr().String()
		socket = tls.NewListener(socket, secured)
	}
	served := make(chan error, 1)
	go func() { served <- l.server.Serve(socket) }()
	l.close = sync.OnceValue(func() error {
		err := l.server.Close()
		if end := <-served; !errors.Is(end, http.ErrServerClosed) {
			err = errors.Join(err, end)
		}
		return err
	})
	return l, nil
}

// ListenLoopback is Listen for what must never be reachable from outside: the
// control API holds every power over the simulator and asks nobody for a login.
func ListenLoopback(address string, handler http.Handler) (*Listener, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("address %q: %w", address, err)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, fmt.Errorf("address %q is not a loopback address", address)
	}
	return Listen(address, nil, handler)
}

// URL is the base address; empty of a listener that was never opened.
func (l *Listener) URL() string {
	if l == nil {
		return ""
	}
	return l.base
}

// Close cuts every connection and waits until the server has stopped accepting.
// Further calls do nothing.
func (l *Listener) Close() error { return l.close() }
