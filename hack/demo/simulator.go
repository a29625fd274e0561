package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"

	"github.com/claviger-dev/claviger/internal/apiconnectsim"
	"github.com/claviger-dev/claviger/internal/simkit"
)

// simulator is the upstream, in a process that lives on while the operator dies.
type simulator struct {
	*child
	remote simkit.Remote
	// url is the platform's address, gateway that of the API that workloads call.
	url, gateway string
	// ca is the certificate authority of both, PEM.
	ca []byte
}

// startSimulator returns when it answers.
func startSimulator(children *children, log *os.File) (*simulator, error) {
	caFile := filepath.Join(children.dir, "upstream-ca.pem")
	read, write, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer func() { _ = read.Close() }()
	started, err := children.start("upstream-sim", []string{"--ca-out=" + caFile, "--propagation=" + propagation}, nil, write, log)
	_ = write.Close()
	if err != nil {
		return nil, err
	}
	var ready struct{ URL, Gateway, Control string }
	line, err := bufio.NewReader(read).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &ready)
	}
	var ca []byte
	if err == nil {
		ca, err = os.ReadFile(caFile)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("the simulator did not start: %w", err), started.stop())
	}
	return &simulator{child: started, remote: simkit.Remote{Base: ready.Control}, url: ready.URL, gateway: ready.Gateway, ca: ca}, nil
}

// seed adds to the simulated world.
func (s *simulator) seed(ctx context.Context, seed apiconnectsim.Seed) error {
	return s.remote.Call(ctx, http.MethodPost, "/seed", seed, nil)
}

// cheat makes the upstream kill every predecessor as soon as the gateway takes its
// successor, or stops it.
func (s *simulator) cheat(ctx context.Context, cheats bool) error {
	return s.remote.Call(ctx, http.MethodPatch, "/behaviour", map[string]bool{"revokePredecessor": cheats}, nil)
}

// events hands every event to handle, in order, until ctx ends.
func (s *simulator) events(ctx context.Context, handle func(simkit.Event)) error {
	since := int64(0)
	for {
		var page simkit.EventPage
		err := s.remote.Call(ctx, http.MethodGet, "/events?wait=10s&since="+strconv.FormatInt(since, 10), nil, &page)
		if err != nil {
			return quietly(ctx, fmt.Errorf("read the simulator's events: %w", err))
		}
		if page.Lost {
			return errors.New("events of the simulator were lost: the demo is too slow")
		}
		for _, event := range page.Events {
			handle(event)
		}
		since = page.Next
	}
}

// accounts are the login and the toolkit that the simulator's sample world admits.
func accounts() (apiconnectsim.Login, apiconnectsim.Toolkit, error) {
	sample := apiconnectsim.Sample()
	if len(sample.Logins) == 0 || len(sample.Toolkits) == 0 {
		return apiconnectsim.Login{}, apiconnectsim.Toolkit{}, errors.New("the simulator's sample world has no login")
	}
	return sample.Logins[0], sample.Toolkits[0], nil
}
