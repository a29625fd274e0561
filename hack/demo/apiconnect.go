package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/apiconnectsim"
	"github.com/claviger-dev/claviger/internal/journal"
	"github.com/claviger-dev/claviger/internal/material"
	"github.com/claviger-dev/claviger/internal/simkit"
)

// apiConnect is the house of IBM API Connect: a client id and a secret that a gateway
// takes in headers.
type apiConnect struct {
	*simulator
	// roots are the certificate authorities of the gateway.
	roots *x509.CertPool
}

func (*apiConnect) title() string { return "API Connect" }

func (h *apiConnect) open(_ context.Context, s *stage, log *os.File) (simkit.Remote, error) {
	var err error
	if h.simulator, err = startSimulator(s.children, log); err != nil {
		return simkit.Remote{}, err
	}
	h.roots = x509.NewCertPool()
	h.roots.AppendCertsFromPEM(h.ca)
	return h.remote, nil
}

func (h *apiConnect) teams(ctx context.Context, s settings) ([]*team, error) {
	sample, err := readSamples(sampleFolder, apiConnectSamples...)
	if err != nil {
		return nil, err
	}
	teams, err := sample.teams(s.credentials, h.simulator)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, team := range teams {
		for _, credential := range team.credentials {
			names = append(names, h.place(credential))
		}
	}
	return teams, h.seed(ctx, world(sample, names...))
}

func (*apiConnect) read(kind string, attrs map[string]string) (version, bool) {
	return version{place: attrs["app"], mark: attrs["clientId"], held: attrs["clientId"]}, kind == "credential"
}

func (*apiConnect) place(credential *v1alpha1.APIClientCredential) string {
	return credential.Spec.IBMAPIConnect.App
}

func (*apiConnect) show(secret *corev1.Secret, credential *v1alpha1.APIClientCredential) pair {
	id, key, _ := keys(credential)
	return pair{
		held:    string(secret.Data[id]),
		secret:  material.New(string(secret.Data[key])),
		version: secret.Annotations[journal.AnnotationVersion],
	}
}

func (h *apiConnect) caller(credential *v1alpha1.APIClientCredential) caller {
	return newGatewayCaller(h.gateway+credential.Spec.IBMAPIConnect.Probe.Path, h.roots)
}

func (h *apiConnect) close() error {
	if h.simulator == nil {
		return nil
	}
	return h.stop()
}

// gatewayCaller calls an API behind the gateway.
type gatewayCaller struct {
	url    string
	client *http.Client
}

// newGatewayCaller trusts roots and no other.
func newGatewayCaller(url string, roots *x509.CertPool) *gatewayCaller {
	return &gatewayCaller{url: url, client: &http.Client{
		Timeout:   callTimeout,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}},
	}}
}

func (c *gatewayCaller) rest() { c.client.CloseIdleConnections() }

func (c *gatewayCaller) call(ctx context.Context, p pair) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url, nil)
	if err != nil {
		return err
	}
	request.Header.Set("User-Agent", "workload")
	request.Header.Set("X-IBM-Client-Id", p.held)
	request.Header.Set("X-IBM-Client-Secret", p.secret.Reveal())
	return served(c.client, request)
}

// served makes a call and returns nil if it was answered with success.
func served(client *http.Client, request *http.Request) error {
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	// Read to the end, or the connection cannot be used again.
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return err
	}
	if response.StatusCode/100 != 2 {
		return fmt.Errorf("the gateway answered %d", response.StatusCode)
	}
	return nil
}

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

// accounts are the login and the toolkit that the simulator's sample world admits.
func accounts() (apiconnectsim.Login, apiconnectsim.Toolkit, error) {
	sample := apiconnectsim.Sample()
	if len(sample.Logins) == 0 || len(sample.Toolkits) == 0 {
		return apiconnectsim.Login{}, apiconnectsim.Toolkit{}, errors.New("the simulator's sample world has no login")
	}
	return sample.Logins[0], sample.Toolkits[0], nil
}
