//go:build crashtest

package main

import (
	"os"
	"strconv"
	"sync/atomic"
	"syscall"

	"github.com/claviger-dev/claviger/controllers/credential"
	"github.com/claviger-dev/claviger/internal/rotation"
)

// boundary kills this process with SIGKILL at the boundary that CLAVIGER_CRASH_AT names,
// for example "Publish/after". The first that gets there dies of it, or, with
// CLAVIGER_CRASH_CROWD, as many as it says: all but the last stand still there until the
// last comes.
func boundary() credential.Boundary {
	target := os.Getenv("CLAVIGER_CRASH_AT")
	if target == "" {
		return nil
	}
	crowd, _ := strconv.ParseInt(os.Getenv("CLAVIGER_CRASH_CROWD"), 10, 64) // what is no number is one
	crowd = max(crowd, 1)
	var came atomic.Int64
	return func(effect rotation.Action, side credential.Side) {
		if string(effect)+"/"+string(side) != target {
			return
		}
		if came.Add(1) == crowd {
			// The kernel ends every thread at once, as a machine that fails would.
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		}
		select {} // not one instruction more on this path
	}
}
