// Package neosim plays one SAP Neo landscape on the wire: the token endpoint of the
// platform API, the Authorization Management API, the token endpoint of a subaccount's
// OAuth clients, and an application behind it that looks at roles. Its one idea: an
// OAuth client and the roles of its user are two things that know nothing of each
// other, here as there. A role can be given to a user whose client does not exist yet,
// and a client without roles gets its tokens all the same; what ends a client's power
// and what ends the client are two calls.
//
// It is written from what is known of the landscape's wire behaviour and from nothing
// of its client in this project. No documented API of Neo registers clients: a person
// does so in the cockpit, which Register plays. The registrar endpoint in registrar.go
// is ASSUMED: it is the contract that this project offers to whoever puts a gateway of
// his own in front of the cockpit, and not a fact about SAP.
package neosim

import (
	"errors"
	"net/http"
	"sync"

	"github.com/claviger-dev/claviger/internal/simkit"
)

// Options of a simulator. The zero value listens on free loopback ports, without a
// control API, in real time, and has the usual behaviour and an empty world.
type Options struct {
	// Listen, TokenListen, ApplicationListen, RegistrarListen and ControlListen are
	// host:port; empty picks a free port on 127.0.0.1, except that the control API is
	// served only if it is given.
	Listen            string
	TokenListen       string
	ApplicationListen string
	RegistrarListen   string
	ControlListen     string
	// Hosts are further names and addresses for the server certificate.
	Hosts []string
	// Authority is a CA to share with other simulators; nil makes one.
	Authority *simkit.Authority
	// Clock defaults to the machine's.
	Clock simkit.Clock
	// Behaviour defaults to Usual.
	Behaviour *Behaviour
	// Seed is put into the world at the start.
	Seed Seed
}

// Sim is one landscape. All methods are safe for concurrent use.
type Sim struct {
	options Options
	clock   simkit.Clock
	stage   *simkit.Stage
	conduct *simkit.Conduct[Behaviour]

	mu     sync.Mutex // guards world and window
	world  world
	window map[string]window

	authority                                            *simkit.Authority
	platform, tokens, application, registrarAPI, control *simkit.Listener
}

// New makes a simulator that does not listen yet.
func New(options Options) *Sim {
	if options.Clock == nil {
		options.Clock = simkit.Wall{}
	}
	s := &Sim{options: options, clock: options.Clock, world: newWorld(), window: map[string]window{}}
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
	s.authority = s.options.Authority
	if s.authority == nil {
		authority, err := simkit.NewAuthority()
		if err != nil {
			return err
		}
		s.authority = authority
	}
	certificate, err := s.authority.Server(s.options.Hosts...)
	if err != nil {
		return err
	}
	for _, l := range []struct {
		into    **simkit.Listener
		address string
		handler http.Handler
	}{
		{&s.platform, s.options.Listen, s.platformRoutes()},
		{&s.tokens, s.options.TokenListen, s.tokenRoutes()},
		{&s.application, s.options.ApplicationListen, http.HandlerFunc(s.call)},
		{&s.registrarAPI, s.options.RegistrarListen, s.registrarRoutes()},
	} {
		address := l.address
		if address == "" {
			address = "127.0.0.1:0"
		}
		if *l.into, err = simkit.Listen(address, &certificate, l.handler); err != nil {
			return err
		}
	}
	if s.options.ControlListen != "" {
		s.control, err = simkit.ListenLoopback(s.options.ControlListen, s.controls())
	}
	return err
}

// Close cuts all connections, held ones included.
func (s *Sim) Close() error {
	return s.stage.Close(s.platform, s.tokens, s.application, s.registrarAPI, s.control)
}

// URL is the base address of the platform API ("https://api.<host>" there), known
// after Start.
func (s *Sim) URL() string { return s.platform.URL() }

// TokenURL is the whole token endpoint of a subaccount, as the cockpit shows it. On a
// real landscape the subaccount is part of the host's name; here it is a part of the
// path.
func (s *Sim) TokenURL(account string) string {
	return s.tokens.URL() + "/" + account + "/oauth2/api/v1/token"
}

// ApplicationURL is the address of an application; every path below it needs roles.
func (s *Sim) ApplicationURL(account, application string) string {
	return s.application.URL() + "/" + account + "/" + application
}

// RegistrarURL is the base address of the ASSUMED registrar for a subaccount.
func (s *Sim) RegistrarURL(account string) string { return s.registrarAPI.URL() + "/" + account }

// ControlURL is the base address of the control API, or empty.
func (s *Sim) ControlURL() string { return s.control.URL() }

// CA is the certificate of the simulator's authority, PEM.
func (s *Sim) CA() []byte { return s.authority.PEM() }

// Faults are the fault points, by the names in routes.go.
func (s *Sim) Faults() *simkit.Faults { return s.stage.Faults }

// Events is the stream that tests and demos wait on.
func (s *Sim) Events() *simkit.Events { return s.stage.Events }

// Ledger is every client ever registered and every role ever given.
func (s *Sim) Ledger() *simkit.Ledger { return s.stage.Ledger }

// Calls counts the calls by operation, login and user agent.
func (s *Sim) Calls() *simkit.Calls { return s.stage.Calls }

func (s *Sim) behaves() Behaviour { return s.conduct.Now() }

// Adjust changes the behaviour from now on.
func (s *Sim) Adjust(change func(*Behaviour)) error {
	return s.conduct.Adjust(change)
}
