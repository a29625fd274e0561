// Package integration tests the whole: the real operator binary under its own rights, a
// real API server with the real admission policies, and an API Connect that answers on
// the wire. The one idea: look where a user looks (conditions, Secrets, events, kubectl)
// and where an auditor looks (the upstream's ledger, the API server's audit log), never
// into the operator.
package integration

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/go-logr/logr"

	"github.com/claviger-dev/claviger/internal/operatortest"
	"github.com/claviger-dev/claviger/internal/simkit"
)

const (
	// sweepInterval of the shared operator: short, so that what people do upstream is
	// noticed within a test.
	sweepInterval = 15 * time.Second
	// atOnce is how many tests run at a time. They wait most of their time, so the
	// number of cores says nothing.
	atOnce = "40"
)

// binary is the operator under test.
var binary string

// shared is the world of every test that neither stops the operator nor changes what
// all namespaces have in common. One operator runs in it.
var shared *operatortest.World

// sharedOperator is that operator.
var sharedOperator *operatortest.Operator

func TestMain(m *testing.M) {
	log.SetLogger(logr.Discard())
	os.Exit(run(m))
}

func run(m *testing.M) int {
	flag.Parse()
	canaries.Mark("value that a simulator made up", simkit.Marker)
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		if err := flag.Set("test.parallel", atOnce); err != nil {
			return failed(err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 9*time.Minute)
	defer cancel()
	folder, err := os.MkdirTemp("", "claviger-integration-")
	if err != nil {
		return failed(err)
	}
	defer os.RemoveAll(folder)
	if binary, err = operatortest.Build(ctx, folder); err != nil {
		return failed(err)
	}
	if shared, err = operatortest.Start(ctx, operatortest.Options{
		Binary: binary, Canaries: canaries, Controllers: []string{"deployment-controller", "replicaset-controller"},
	}); err != nil {
		return failed(err)
	}
	if sharedOperator, err = shared.Run(ctx, "--sweep-interval="+sweepInterval.String(), "--uptake-pause=1s"); err != nil {
		return failed(err, shared.Stop())
	}
	code := m.Run()
	if err := errors.Join(settle(ctx, shared), shared.Stop()); err != nil {
		return failed(err)
	}
	return code
}

func failed(errs ...error) int {
	for _, err := range errs {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}
	return 1
}
