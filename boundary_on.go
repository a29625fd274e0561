//go:build crashtest

package main

import (
	"os"
	"sync/atomic"
	"syscall"

	"github.com/claviger-dev/claviger/controllers/credential"
	"github.com/claviger-dev/claviger/internal/rotation"
)

// boundary kills this process with SIGKILL at the boundary that CLAVIGER_CRASH_AT
// names, for example "Publish/after", the first time that it is reached.
func boundary() credential.Boundary {
	target := os.Getenv("CLAVIGER_CRASH_AT")
	if target == "" {
		return nil
	}
	var dead atomic.Bool
	return func(effect rotation.Action, side credential.Side) {
		if string(effect)+"/"+string(side) != target || !dead.CompareAndSwap(false, true) {
			return
		}
		// The kernel ends every thread at once, as a machine that fails would.
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // not one instruction more on this path
	}
}
