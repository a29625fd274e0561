// Package venafisim plays one Venafi Trust Protection Platform on the wire: the
// authorization service (vedauth) with its grants, and the part of the WebSDK (vedsdk)
// that deals in certificates. Its one idea: a grant has no id. Whoever loses its token
// has lost the only handle to it, and the table of grants tells an administrator how
// many there are and not which.
//
// It is written from what is known of the platform's wire behaviour and from nothing of
// its client in this project. Certificates are real: an authority of its own signs the
// requests that clients send. One thing cannot be played: the platform asks for a client
// certificate by renegotiation, in the middle of a connection of TLS 1.2, and Go's
// server knows none. This one asks in the handshake, on every connection, and takes
// connections without a certificate.
package venafisim

import (
	"crypto/tls"
	"errors"
	"sync"

	"github.com/claviger-dev/claviger/internal/simkit"
)

// Options of a simulator. The zero value listens on a free loopback port, without a
// control API, in real time, and has the usual behaviour and an empty world.
type Options struct {
	// Listen and ControlListen are host:port; empty picks a free port on 127.0.0.1,
	// except that the control API is served only if it is given.
	Listen        string
	ControlListen string
	// Hosts are further names and addresses for the server certificate.
	Hosts []string
	// Authority is a CA to share with other simulators; nil makes one. It signs the
	// server's certificate, and those of clients made by ClientCertificate.
	Authority *simkit.Authority
	// Clock defaults to the machine's.
	Clock simkit.Clock
	// Behaviour defaults to Usual.
	Behaviour *Behaviour
	// Seed is put into the world at the start.
	Seed Seed
}

// Sim is one platform. All methods are safe for concurrent use.
type Sim struct {
	options Options
	clock   simkit.Clock
	stage   *simkit.Stage
	conduct *simkit.Conduct[Behaviour]

	mu    sync.Mutex // guards world
	world world

	authority *simkit.Authority // of servers and of clients that come from outside
	issuing   *issuingCA        // of the certificates that the platform issues
	server    *simkit.Listener
	control   *simkit.Listener
}

// New makes a simulator that does not listen yet.
func New(options Options) *Sim {
	if options.Clock == nil {
		options.Clock = simkit.Wall{}
	}
	s := &Sim{options: options, clock: options.Clock, world: newWorld()}
	behaviour := Usual()
	if options.Behaviour != nil {
		behaviour = *options.Behaviour
	}
	s.conduct = simkit.NewConduct(behaviour, Behaviour.clone, Behaviour.check)
	s.stage = simkit.NewStage(options.Clock, failure, operationNames()...)
	return s
}

// Start fills the world with the seed and listens.
func (s *Sim) Start() error {
	if err := s.behaves().check(); err != nil {
		return err
	}
	if err := s.Seed(s.options.Seed); err != nil {
		return err
	}
	if err := s.listen(); err != nil {
		return errors.Join(err, s.Close())
	}
	return nil
}

func (s *Sim) listen() error {
	var err error
	if s.authority = s.options.Authority; s.authority == nil {
		if s.authority, err = simkit.NewAuthority(); err != nil {
			return err
		}
	}
	if s.issuing, err = newIssuingCA(s.clock.Now()); err != nil {
		return err
	}
	certificate, err := s.authority.Server(s.options.Hosts...)
	if err != nil {
		return err
	}
	address := s.options.Listen
	if address == "" {
		address = "127.0.0.1:0"
	}
	if s.server, err = simkit.ListenAsking(address, certificate, s.routes()); err != nil {
		return err
	}
	if s.options.ControlListen != "" {
		s.control, err = simkit.ListenLoopback(s.options.ControlListen, s.controls())
	}
	return err
}

// Close cuts all connections, held ones included.
func (s *Sim) Close() error {
	return s.stage.Close(s.server, s.control)
}

// URL is the base address, known after Start: /vedauth and /vedsdk are below it.
func (s *Sim) URL() string { return s.server.URL() }

// ControlURL is the base address of the control API, or empty.
func (s *Sim) ControlURL() string { return s.control.URL() }

// CA is the certificate of the authority of servers, PEM.
func (s *Sim) CA() []byte { return s.authority.PEM() }

// IssuingRoot is the root of the certificates that the platform issues, PEM.
func (s *Sim) IssuingRoot() []byte { return s.issuing.rootPEM }

// ClientCertificate makes a certificate by which an identity of the seed logs in.
func (s *Sim) ClientCertificate(commonName string) (tls.Certificate, error) {
	return s.authority.Client(commonName)
}

// Faults are the fault points, by the names in routes.go.
func (s *Sim) Faults() *simkit.Faults { return s.stage.Faults }

// Events is the stream that tests and demos wait on.
func (s *Sim) Events() *simkit.Events { return s.stage.Events }

// Ledger is every grant, certificate and certificate object there ever was.
func (s *Sim) Ledger() *simkit.Ledger { return s.stage.Ledger }

// Calls counts the calls by operation, login and user agent.
func (s *Sim) Calls() *simkit.Calls { return s.stage.Calls }

func (s *Sim) behaves() Behaviour { return s.conduct.Now() }

// Adjust changes the behaviour from now on.
func (s *Sim) Adjust(change func(*Behaviour)) error {
	return s.conduct.Adjust(change)
}
