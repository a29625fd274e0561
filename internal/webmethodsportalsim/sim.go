// Package webmethodsportalsim plays a webMethods Developer Portal on the wire, with the
// API Gateway behind it that takes the keys. Its one idea: an application is the end of a
// request, and a request takes its time. People decide it, the gateway carries it out or
// fails to, and only then does the application hold keys; whoever asks twice gets two.
//
// It is written from what is known of the portal's published contract and from nothing of
// its client in this project. What the contract leaves open is a switch in Behaviour.
package webmethodsportalsim

import (
	"errors"
	"net/http"
	"sync"

	"github.com/claviger-dev/claviger/internal/simkit"
)

// Options of a simulator. The zero value listens on free loopback ports, without a
// control API, in real time, and has the usual behaviour and an empty world.
type Options struct {
	// Listen, GatewayListen and ControlListen are host:port; empty picks a free port on
	// 127.0.0.1, except that the control API is served only if it is given.
	Listen        string
	GatewayListen string
	ControlListen string
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

// Sim is one portal with its gateway. All methods are safe for concurrent use.
type Sim struct {
	options Options
	clock   simkit.Clock
	stage   *simkit.Stage
	conduct *simkit.Conduct[Behaviour]

	mu    sync.Mutex // guards world
	world world

	authority                *simkit.Authority
	portal, gateway, control *simkit.Listener
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
		{&s.portal, s.options.Listen, s.portalRoutes()},
		{&s.gateway, s.options.GatewayListen, s.gatewayRoutes()},
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
	return s.stage.Close(s.portal, s.gateway, s.control)
}

// URL is the base address of the portal's API, known after Start.
func (s *Sim) URL() string { return s.portal.URL() + basePath }

// GatewayURL is the base address of the gateway; an API is at /gateway/ and its id.
func (s *Sim) GatewayURL() string { return s.gateway.URL() }

// TokenURL is the gateway's token service.
func (s *Sim) TokenURL() string { return s.gateway.URL() + tokenPath }

// ControlURL is the base address of the control API, or empty.
func (s *Sim) ControlURL() string { return s.control.URL() }

// CA is the certificate of the simulator's authority, PEM.
func (s *Sim) CA() []byte { return s.authority.PEM() }

// Faults are the fault points, by the names in routes.go.
func (s *Sim) Faults() *simkit.Faults { return s.stage.Faults }

// Events is the stream that tests and demos wait on.
func (s *Sim) Events() *simkit.Events { return s.stage.Events }

// Ledger is every application that there ever was.
func (s *Sim) Ledger() *simkit.Ledger { return s.stage.Ledger }

// Calls counts the calls by operation, login and user agent.
func (s *Sim) Calls() *simkit.Calls { return s.stage.Calls }

func (s *Sim) behaves() Behaviour { return s.conduct.Now() }

// Adjust changes the behaviour from now on.
func (s *Sim) Adjust(change func(*Behaviour)) error {
	return s.conduct.Adjust(change)
}
