// Package centrasitesim plays a CentraSite with its Mediator on the wire: the calls that
// API-Portal makes for access tokens, the Approval Service, the token service and APIs that
// want a key or a token. Its one idea: a request, the approval of it, the credential and its
// being known to Mediator are four things that come one after the other, each in its own
// time, and what can be seen of each depends on the release.
//
// It is written from what is published of the product's behaviour and from nothing of its
// client in this project. The paths, the body of a request, the statuses and the texts of
// Mediator are documented; the forms of lists, of events and of the Approval Service's
// elements are not, and Behaviour plays those that are likely.
package centrasitesim

import (
	"errors"
	"net/http"
	"sync"

	"github.com/claviger-dev/claviger/internal/simkit"
)

// Options of a simulator. The zero value listens on free loopback ports, without a
// control API, in real time, and has the usual behaviour and an empty world.
type Options struct {
	// Listen, MediatorListen and ControlListen are host:port; empty picks a free port on
	// 127.0.0.1, except that the control API is served only if it is given.
	Listen, MediatorListen, ControlListen string
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

// Sim is one CentraSite with one Mediator. All methods are safe for concurrent use.
type Sim struct {
	options Options
	clock   simkit.Clock
	stage   *simkit.Stage
	conduct *simkit.Conduct[Behaviour]

	mu    sync.Mutex // guards world
	world world

	authority                *simkit.Authority
	server, gateway, control *simkit.Listener
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

// failure is the form of errors that is assumed: none is documented.
func failure(status int, message string) simkit.Answer {
	return simkit.JSON(status, map[string]string{"status": "ERROR", "message": message})
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
		{&s.server, s.options.Listen, s.routes()},
		{&s.gateway, s.options.MediatorListen, s.mediatorRoutes()},
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
	return s.stage.Close(s.server, s.gateway, s.control)
}

// URL is the base address of CentraSite, known after Start.
func (s *Sim) URL() string { return s.server.URL() }

// ApprovalURL is the address of the Approval Service.
func (s *Sim) ApprovalURL() string { return s.server.URL() + approvalPath }

// MediatorURL is the base address of Mediator.
func (s *Sim) MediatorURL() string { return s.gateway.URL() }

// ControlURL is the base address of the control API, or empty.
func (s *Sim) ControlURL() string { return s.control.URL() }

// CA is the certificate of the simulator's authority, PEM.
func (s *Sim) CA() []byte { return s.authority.PEM() }

// Faults are the fault points, by the names in routes.go.
func (s *Sim) Faults() *simkit.Faults { return s.stage.Faults }

// Events is the stream that tests and demos wait on.
func (s *Sim) Events() *simkit.Events { return s.stage.Events }

// Ledger is every access token that ever was. A request that nobody has approved is none.
func (s *Sim) Ledger() *simkit.Ledger { return s.stage.Ledger }

// Calls counts the calls by operation, login and user agent.
func (s *Sim) Calls() *simkit.Calls { return s.stage.Calls }

func (s *Sim) behaves() Behaviour { return s.conduct.Now() }

// Adjust changes the behaviour from now on.
func (s *Sim) Adjust(change func(*Behaviour)) error {
	return s.conduct.Adjust(change)
}
