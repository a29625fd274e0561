// Package cloudfoundrysim plays one Cloud Foundry region on the wire: root discovery, the
// UAA, the part of the Cloud Controller that service keys need, a broker like that of
// SAP's Process Integration Runtime (it-rt) or XSUAA behind it, their token endpoint and
// an API that looks at roles. Its one idea: a key is a row first and a credential later.
// The row with its name and labels exists before the create call is answered; what the
// broker makes of it follows, may fail, and is read with a call of its own.
//
// It is written from what is known of the wire behaviour and from nothing of its client
// in this project.
package cloudfoundrysim

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"

	"github.com/claviger-dev/claviger/internal/simkit"
)

// Options of a simulator. The zero value listens on free loopback ports, without a
// control API, in real time, with the usual behaviour and an empty world.
type Options struct {
	// Listen, TokenListen, APIListen and ControlListen are host:port; empty picks a free
	// port on 127.0.0.1, except that the control API is served only if it is given.
	Listen, TokenListen, APIListen, ControlListen string
	// Hosts are further names and addresses for the server certificate.
	Hosts []string
	// Clock defaults to the machine's.
	Clock simkit.Clock
	// Behaviour defaults to Usual.
	Behaviour *Behaviour
	// Seed is put into the world at the start.
	Seed Seed
}

// Sim is one region. All methods are safe for concurrent use.
type Sim struct {
	options Options
	clock   simkit.Clock
	stage   *simkit.Stage
	conduct *simkit.Conduct[Behaviour]

	mu    sync.Mutex // guards world
	world *world

	authority                      *simkit.Authority
	issuing                        *issuing
	platform, tokens, api, control *simkit.Listener
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
	var err error
	if s.authority, err = simkit.NewAuthority(); err != nil {
		return err
	}
	if s.issuing, err = newIssuing(s.authority); err != nil {
		return err
	}
	if err := s.listen(); err != nil {
		return errors.Join(err, s.Close())
	}
	if err := s.Seed(s.options.Seed); err != nil {
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
	if s.platform, err = simkit.Listen(address(s.options.Listen), &certificate, s.platformRoutes()); err != nil {
		return err
	}
	if s.tokens, err = simkit.ListenAsking(address(s.options.TokenListen), certificate, http.HandlerFunc(s.clientToken)); err != nil {
		return err
	}
	if s.api, err = simkit.Listen(address(s.options.APIListen), &certificate, http.HandlerFunc(s.call)); err != nil {
		return err
	}
	if s.options.ControlListen != "" {
		s.control, err = simkit.ListenLoopback(s.options.ControlListen, s.controls())
	}
	return err
}

// Close cuts all connections, held ones included.
func (s *Sim) Close() error {
	return s.stage.Close(s.platform, s.tokens, s.api, s.control)
}

// URL is the address of the API, whose root names all others; known after Start.
func (s *Sim) URL() string { return s.platform.URL() }

// APIURL is the address of the API that keys are for.
func (s *Sim) APIURL() string { return s.api.URL() }

// TokenURL is the token endpoint of keys.
func (s *Sim) TokenURL() string { return s.tokens.URL() + "/oauth/token" }

// ControlURL is the base address of the control API, or empty.
func (s *Sim) ControlURL() string { return s.control.URL() }

// CA is the certificate of the simulator's authority, PEM.
func (s *Sim) CA() []byte { return s.authority.PEM() }

// Faults are the fault points, by the names in routes.go.
func (s *Sim) Faults() *simkit.Faults { return s.stage.Faults }

// Events is the stream that tests and demos wait on.
func (s *Sim) Events() *simkit.Events { return s.stage.Events }

// Ledger is every key that ever was.
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
	GUID string `json:"guid"`
}

// controls is the control API: what all simulators have, and GET and PATCH /behaviour,
// POST /seed, POST /human/remove-key.
func (s *Sim) controls() http.Handler {
	mux := http.NewServeMux()
	s.stage.Control(mux)
	mux.HandleFunc("GET /behaviour", simkit.Do(func(*http.Request, struct{}) (any, error) { return s.behaves(), nil }))
	mux.HandleFunc("PATCH /behaviour", simkit.Do(func(_ *http.Request, document json.RawMessage) (any, error) {
		err := s.conduct.AdjustJSON(document)
		return s.behaves(), err
	}))
	mux.HandleFunc("POST /seed", simkit.Do(func(_ *http.Request, seed Seed) (any, error) { return struct{}{}, s.Seed(seed) }))
	mux.HandleFunc("POST /human/remove-key", simkit.Do(func(_ *http.Request, o order) (any, error) {
		return struct{}{}, s.RemoveKey(o.GUID)
	}))
	return mux
}

// errAbsent says that something named does not exist.
func errAbsent(what, name string) error { return fmt.Errorf("there is no %s %q", what, name) }
