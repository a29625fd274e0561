// Package crash kills the operator at every boundary of an effect, and worse. The one
// idea: a cast of credentials keeps every action of the planner going (rotations with
// callers that never stop, births and deaths, retained and abandoned ones, ones that are
// never accepted) while a director lets one process after the other die where it hurts.
// At the end the upstream's ledger holds what the journal holds, every request was
// answered once, and no caller noticed anything.
//
// The process that dies is the real binary, ended by SIGKILL between two of its own
// instructions. Nothing of it is played.
package crash

import (
	"context"
	"flag"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/claviger-dev/claviger/controllers/credential"
	"github.com/claviger-dev/claviger/internal/operatortest"
)

// atOnce is how many control planes run at a time. They wait most of their time, so the
// number of cores says little.
const atOnce = "4"

// binary is the operator, with the code that kills it.
var binary string

func TestMain(m *testing.M) {
	log.SetLogger(logr.Discard())
	os.Exit(run(m))
}

func run(m *testing.M) int {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		if err := flag.Set("test.parallel", atOnce); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	folder, err := os.MkdirTemp("", "claviger-crash-")
	if err == nil {
		defer func() { _ = os.RemoveAll(folder) }()
		ctx, cancel := context.WithTimeout(context.Background(), 9*time.Minute)
		defer cancel()
		binary, err = operatortest.BuildCrashing(ctx, folder)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	if all := flag.Lookup("test.run").Value.String() == ""; everything && all && code == 0 {
		if left := survivors(); len(left) > 0 {
			fmt.Fprintf(os.Stderr, "the code lists boundaries at which no operator died: %v\n", left)
			return 1
		}
		fmt.Printf("operators died at all %d boundaries that the code lists\n", len(credential.Boundaries()))
	}
	return code
}
