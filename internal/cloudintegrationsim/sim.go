// Package cloudintegrationsim plays the OData API v1 of a SAP Cloud Integration tenant, as
// far as it tells what is deployed and how it was designed, and as far as it reads and
// writes security material, with the token endpoint in front of it. Its one idea: what runs and what was
// designed are two things. A flow can run in another version than its design has, its
// design can be hidden by an access policy or refused for download, and its parameters
// can be set otherwise than their defaults; a client that looks at one of them alone is
// wrong about which credentials are used.
//
// It is written from what is known of the tenant's wire behaviour and from nothing of its
// client in this project.
package cloudintegrationsim

import (
	"errors"
	"net/http"
	"sync"

	"github.com/claviger-dev/claviger/internal/simkit"
)

// Options of a simulator. The zero value listens on a free loopback port in real time,
// with the usual behaviour and an empty tenant.
type Options struct {
	// Listen is host:port; empty picks a free port on 127.0.0.1.
	Listen string
	// Authority is a CA to share with other simulators; nil makes one.
	Authority *simkit.Authority
	// Clock defaults to the machine's.
	Clock simkit.Clock
	// Behaviour defaults to Usual.
	Behaviour *Behaviour
	// Tenant is what there is at the start.
	Tenant Tenant
}

// Sim is one tenant. All methods are safe for concurrent use.
type Sim struct {
	options  Options
	clock    simkit.Clock
	stage    *simkit.Stage
	throttle *simkit.Throttle

	mu        sync.Mutex // guards what follows
	behaviour Behaviour
	tenant    Tenant
	tokens    map[string]session
	sessions  map[string]forgery

	authority *simkit.Authority
	listener  *simkit.Listener
}

// New makes a simulator that does not listen yet.
func New(options Options) *Sim {
	if options.Clock == nil {
		options.Clock = simkit.Wall{}
	}
	s := &Sim{options: options, clock: options.Clock, tenant: options.Tenant, behaviour: Usual(), tokens: map[string]session{}, sessions: map[string]forgery{}}
	if options.Behaviour != nil {
		s.behaviour = *options.Behaviour
	}
	s.stage = simkit.NewStage(options.Clock, failure, operationNames()...)
	s.throttle = simkit.NewThrottle(options.Clock)
	return s
}

// Start listens.
func (s *Sim) Start() error {
	if err := s.behaviour.check(); err != nil {
		return err
	}
	s.authority = s.options.Authority
	if s.authority == nil {
		authority, err := simkit.NewAuthority()
		if err != nil {
			return err
		}
		s.authority = authority
	}
	certificate, err := s.authority.Server()
	if err != nil {
		return err
	}
	address := s.options.Listen
	if address == "" {
		address = "127.0.0.1:0"
	}
	s.listener, err = simkit.ListenAsking(address, certificate, http.HandlerFunc(s.serve))
	return err
}

// Close cuts all connections, held ones included.
func (s *Sim) Close() error {
	s.stage.Faults.Close()
	if s.listener == nil {
		return errors.New("the simulator was not started")
	}
	return s.listener.Close()
}

// URL is the tenant's address, without /api/v1.
func (s *Sim) URL() string { return s.listener.URL() }

// TokenURL is the token endpoint.
func (s *Sim) TokenURL() string { return s.listener.URL() + "/oauth/token" }

// Authority signs the certificates of its clients and of itself.
func (s *Sim) Authority() *simkit.Authority { return s.authority }

// CA is the certificate of the simulator's authority, PEM.
func (s *Sim) CA() []byte { return s.authority.PEM() }

// Faults are the fault points, by the names in routes.go.
func (s *Sim) Faults() *simkit.Faults { return s.stage.Faults }

// Calls counts the calls by operation, login and user agent.
func (s *Sim) Calls() *simkit.Calls { return s.stage.Calls }

// Change lets people change the tenant, and a test its behaviour.
func (s *Sim) Change(change func(*Tenant, *Behaviour)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	tenant, behaviour := s.tenant, s.behaviour
	change(&tenant, &behaviour)
	if err := behaviour.check(); err != nil {
		return err
	}
	s.tenant, s.behaviour = tenant, behaviour
	return nil
}
