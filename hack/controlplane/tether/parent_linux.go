package main

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// dieWithParent asks the kernel for SIGKILL when the parent's thread ends.
func dieWithParent() error {
	_, _, errno := syscall.RawSyscall(syscall.SYS_PRCTL, syscall.PR_SET_PDEATHSIG, uintptr(syscall.SIGKILL), 0)
	if errno != 0 {
		return fmt.Errorf("ask to die with the parent: %w", errno)
	}
	// A parent that died before the request will never be reported.
	if os.Getppid() == 1 {
		return errors.New("the parent is gone already")
	}
	return nil
}
