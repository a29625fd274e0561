package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger-dev/claviger/internal/apiconnectsim"
	"github.com/claviger-dev/claviger/internal/simkit"
)

func TestItServesUntilItIsStopped(t *testing.T) {
	seed := filepath.Join(t.TempDir(), "seed.json")
	if err := os.WriteFile(seed, []byte(`{"orgs": [{"name": "own"}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	caFile := filepath.Join(t.TempDir(), "ca.pem")
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, []string{"--ca-out", caFile, "--seed", seed, "--hosts", "apic.example", "--propagation", "1s-3s", "--token-life", "90s"}, writer)
		_ = writer.Close()
	}()
	var line ready
	if err := json.NewDecoder(reader).Decode(&line); err != nil {
		t.Fatal(err)
	}
	pem, err := os.ReadFile(caFile)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) || line.CA != caFile || line.Upstream != "apiconnect" {
		t.Errorf("%+v", line)
	}
	// The further host is in the certificate.
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: "apic.example"}}}
	for _, url := range []string{line.URL + "/api/orgs", line.Gateway + "/x"} {
		answer, err := client.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		if answer.StatusCode < 400 {
			t.Errorf("%s without a login: %d", url, answer.StatusCode)
		}
	}
	remote := simkit.Remote{Base: line.Control}
	var behaviour apiconnectsim.Behaviour
	if err := remote.Call(ctx, http.MethodGet, "/behaviour", nil, &behaviour); err != nil {
		t.Fatal(err)
	}
	if behaviour.Propagation != apiconnectsim.Between(time.Second, 3*time.Second) || time.Duration(behaviour.TokenLife) != 90*time.Second {
		t.Errorf("%+v", behaviour)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestTheFlags(t *testing.T) {
	options, _, err := parse(nil)
	if err != nil {
		t.Fatal(err)
	}
	usual := apiconnectsim.Usual()
	if diff := cmp.Diff(&usual, options.Behaviour); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(apiconnectsim.Sample(), options.Seed); diff != "" {
		t.Error(diff)
	}
	options, _, err = parse([]string{"--propagation", "2s", "--revocation-lag", "1s", "--revoke-predecessor"})
	if err != nil {
		t.Fatal(err)
	}
	if b := options.Behaviour; b.Propagation != apiconnectsim.Exactly(2*time.Second) || b.RevocationLag != apiconnectsim.Exactly(time.Second) || !b.RevokePredecessor {
		t.Errorf("%+v", options.Behaviour)
	}
	broken := filepath.Join(t.TempDir(), "seed.json")
	if err := os.WriteFile(broken, []byte(`{"organisations": []}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range []string{
		"--upstream other", "stray", "--propagation soon", "--propagation 1s-later", "--seed " + broken, "--seed missing.json", "--token-life -1s",
	} {
		if _, _, err := parse(strings.Fields(args)); err == nil {
			t.Errorf("%s was accepted", args)
		}
	}
}
