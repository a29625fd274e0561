// Package apiconnectsim plays IBM API Connect v10 on the wire: the platform REST
// API with its token endpoint, and the gateway that workloads call. Its one idea:
// management and gateway are two stores, and what the first commits reaches the
// second later. A client that takes the platform's 201 for "it works" is therefore
// found out here, as it would be in production.
//
// It is written from what is known of the product's wire behaviour and from
// nothing of its client in this project, so that the two cannot agree on a mistake.
// Where the product's behaviour is not known for certain, Behaviour switches
// between the variants. The simulator keeps hashes of client secrets only: what
// was shown once cannot be asked for again, here as there.
package apiconnectsim

import (
	"errors"
	"net/http"
	"sync"

	"github.com/claviger-dev/claviger/internal/simkit"
)

// Options of a simulator. The zero value listens on free loopback ports, without
// a control API, in real time, and has the usual behaviour and an empty world.
type Options struct {
	// Listen, GatewayListen and ControlListen are host:port; empty picks a free
	// port on 127.0.0.1, except that the control API is served only if it is given.
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
	// RandomSeed makes random propagation delays repeatable.
	RandomSeed uint64
}

// Sim is one API Connect installation. All methods are safe for concurrent use.
type Sim struct {
	options  Options
	clock    simkit.Clock
	stage    *simkit.Stage
	gateway  *gateway
	throttle *simkit.Throttle
	conduct  *simkit.Conduct[Behaviour]

	mu    sync.Mutex // guards the platform's world and its sessions
	world world
	doors doors

	authority                  *simkit.Authority
	platform, runtime, control *simkit.Listener
}

// New makes a simulator that does not listen yet.
func New(options Options) *Sim {
	if options.Clock == nil {
		options.Clock = simkit.Wall{}
	}
	s := &Sim{options: options, clock: options.Clock, world: newWorld(), doors: newDoors()}
	behaviour := Usual()
	if options.Behaviour != nil {
		behaviour = *options.Behaviour
	}
	s.conduct = simkit.NewConduct(behaviour, Behaviour.clone, Behaviour.check)
	s.stage = simkit.NewStage(options.Clock, func(status int, message string) simkit.Answer {
		return s.failure(status, message).answer()
	}, operationNames()...)
	s.gateway = newGateway(options.Clock, options.RandomSeed)
	s.throttle = simkit.NewThrottle(options.Clock)
	return s
}

// Start fills the world with the seed and listens.
func (s *Sim) Start() error {
	if err := s.behaves().check(); err != nil {
		return err
	}
	if _, err := s.Seed(s.options.Seed); err != nil {
		return err
	}
	err := s.listen()
	if err != nil {
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
	if s.platform, err = simkit.Listen(orLoopback(s.options.Listen), &certificate, s.routes()); err != nil {
		return err
	}
	if s.runtime, err = simkit.Listen(orLoopback(s.options.GatewayListen), &certificate, http.HandlerFunc(s.call)); err != nil {
		return err
	}
	if s.options.ControlListen != "" {
		s.control, err = simkit.ListenLoopback(s.options.ControlListen, s.controls())
	}
	return err
}

func orLoopback(address string) string {
	if address == "" {
		return "127.0.0.1:0"
	}
	return address
}

// Close cuts all connections, held ones included.
func (s *Sim) Close() error {
	return s.stage.Close(s.platform, s.runtime, s.control)
}

// URL is the platform's base address, known after Start. The API is below /api.
func (s *Sim) URL() string { return s.platform.URL() }

// GatewayURL is the gateway's base address, known after Start; every path below it
// is an API.
func (s *Sim) GatewayURL() string { return s.runtime.URL() }

// ControlURL is the base address of the control API, or empty.
func (s *Sim) ControlURL() string { return s.control.URL() }

// CA is the certificate of the simulator's authority, PEM.
func (s *Sim) CA() []byte { return s.authority.PEM() }

// Faults are the fault points: of every operation of the platform, by the names in
// routes.go, and "gateway.call".
func (s *Sim) Faults() *simkit.Faults { return s.stage.Faults }

// Events is the stream that tests and demos wait on.
func (s *Sim) Events() *simkit.Events { return s.stage.Events }

// Ledger is every credential ever issued.
func (s *Sim) Ledger() *simkit.Ledger { return s.stage.Ledger }

// Calls counts the calls by operation, login and user agent.
func (s *Sim) Calls() *simkit.Calls { return s.stage.Calls }

// behaves gives the behaviour of this moment.
func (s *Sim) behaves() Behaviour { return s.conduct.Now() }

// Adjust changes the behaviour from now on. What is under way, such as a
// propagation, goes on as it began.
func (s *Sim) Adjust(change func(*Behaviour)) error {
	return s.conduct.Adjust(change)
}
