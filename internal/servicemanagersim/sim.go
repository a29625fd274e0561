// Package servicemanagersim plays the SAP Service Manager of a region on the wire: the token
// server of its clients, with secrets and with certificates, and the part of its API that
// bindings of service instances need. Its one idea: a binding is what an operation at a
// broker leaves behind. It may be made at once or later, may fail and stay where it is with
// its name, and is read with its credentials as often as one likes.
//
// The brokers behind it, their token servers and the API that looks at roles are those of
// the simulated Cloud Foundry region beside it, as in a real landscape.
//
// It is written from what is known of the wire behaviour and from nothing of its client in
// this project.
package servicemanagersim

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"

	"github.com/claviger-dev/claviger/internal/cloudfoundrysim"
	"github.com/claviger-dev/claviger/internal/simkit"
)

// Options of a simulator. The zero value listens on free loopback ports, without a control
// API, in real time, with the usual behaviour and an empty world.
type Options struct {
	// Listen, TokenListen and ControlListen are host:port; empty picks a free port on
	// 127.0.0.1, except that the control API is served only if it is given.
	Listen, TokenListen, ControlListen string
	// Hosts are further names and addresses for the server certificate.
	Hosts []string
	// Clock defaults to the machine's.
	Clock simkit.Clock
	// Behaviour defaults to Usual.
	Behaviour *Behaviour
	// Brokers is how the brokers of the landscape behave; the usual way by default.
	Brokers *cloudfoundrysim.Behaviour
	// Seed is put into the world at the start.
	Seed Seed
}

// Sim is the Service Manager of one region. All methods are safe for concurrent use.
type Sim struct {
	options   Options
	clock     simkit.Clock
	stage     *simkit.Stage
	conduct   *simkit.Conduct[Behaviour]
	landscape *cloudfoundrysim.Sim

	mu    sync.Mutex // guards world, and is taken before the landscape's
	world *world

	authority            *simkit.Authority
	api, tokens, control *simkit.Listener
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
	s.landscape = cloudfoundrysim.New(cloudfoundrysim.Options{Clock: options.Clock, Behaviour: options.Brokers, Hosts: options.Hosts})
	return s
}

// Start fills the world with the seed and listens.
func (s *Sim) Start() error {
	if err := s.behaves().check(); err != nil {
		return err
	}
	if err := s.landscape.Start(); err != nil {
		return err
	}
	var err error
	if s.authority, err = simkit.NewAuthority(); err == nil {
		err = s.listen()
	}
	if err == nil {
		err = s.Seed(s.options.Seed)
	}
	if err != nil {
		return errors.Join(err, s.Close())
	}
	return nil
}

func (s *Sim) listen() error {
	certificate, err := s.authority.Server(s.options.Hosts...)
	if err != nil {
		return err
	}
	address := func(given string) string {
		if given == "" {
			return "127.0.0.1:0"
		}
		return given
	}
	if s.api, err = simkit.Listen(address(s.options.Listen), &certificate, s.routes()); err != nil {
		return err
	}
	if s.tokens, err = simkit.ListenAsking(address(s.options.TokenListen), certificate, http.HandlerFunc(s.login)); err != nil {
		return err
	}
	if s.options.ControlListen != "" {
		s.control, err = simkit.ListenLoopback(s.options.ControlListen, s.controls())
	}
	return err
}

// Close cuts all connections, held ones included.
func (s *Sim) Close() error {
	return errors.Join(s.stage.Close(s.api, s.tokens, s.control), s.landscape.Close())
}

// URL is sm_url of bindings; known after Start.
func (s *Sim) URL() string { return s.api.URL() }

// ControlURL is the base address of the control API, or empty.
func (s *Sim) ControlURL() string { return s.control.URL() }

// CA are the certificates of the authorities of Service Manager and of the landscape, PEM.
func (s *Sim) CA() []byte { return append(s.authority.PEM(), s.landscape.CA()...) }

// Landscape is the region whose brokers make the credentials. Its faults "token.client" and
// "api.call" are those of their users.
func (s *Sim) Landscape() *cloudfoundrysim.Sim { return s.landscape }

// Faults are the fault points, by the names in routes.go.
func (s *Sim) Faults() *simkit.Faults { return s.stage.Faults }

// Events is the stream that tests and demos wait on.
func (s *Sim) Events() *simkit.Events { return s.stage.Events }

// Ledger is every binding that ever was.
func (s *Sim) Ledger() *simkit.Ledger { return s.stage.Ledger }

// Calls counts the calls by operation, login and user agent.
func (s *Sim) Calls() *simkit.Calls { return s.stage.Calls }

func (s *Sim) behaves() Behaviour { return s.conduct.Now() }

// Adjust changes the behaviour from now on.
func (s *Sim) Adjust(change func(*Behaviour)) error {
	return s.conduct.Adjust(change)
}

// order is the body of the POST /human/… calls.
type order struct {
	ID string `json:"id"`
}

// controls is the control API: what all simulators have, and GET and PATCH /behaviour,
// POST /seed, POST /human/remove-binding.
func (s *Sim) controls() http.Handler {
	mux := http.NewServeMux()
	s.stage.Control(mux)
	mux.HandleFunc("GET /behaviour", simkit.Do(func(*http.Request, struct{}) (any, error) { return s.behaves(), nil }))
	mux.HandleFunc("PATCH /behaviour", simkit.Do(func(_ *http.Request, document json.RawMessage) (any, error) {
		err := s.conduct.AdjustJSON(document)
		return s.behaves(), err
	}))
	mux.HandleFunc("POST /seed", simkit.Do(func(_ *http.Request, seed Seed) (any, error) { return struct{}{}, s.Seed(seed) }))
	mux.HandleFunc("POST /human/remove-binding", simkit.Do(func(_ *http.Request, o order) (any, error) {
		return struct{}{}, s.RemoveBinding(o.ID)
	}))
	return mux
}

// pair is a client's certificate with its key.
type pair struct {
	certificate tls.Certificate
	pem, key    string
}

// errAbsent says that something named does not exist.
func errAbsent(what, name string) error { return fmt.Errorf("there is no %s %q", what, name) }
