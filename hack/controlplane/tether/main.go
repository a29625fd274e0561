// Command tether ties a process to the life of the process that starts it.
//
// It is called through a link: `tethered/etcd` runs the binary `etcd` beside the
// folder of the link, in place of itself, with the same arguments and the same
// process id. On Linux the kernel then kills that process when the thread that
// started it dies, for whatever reason. Without it a test binary that is killed,
// times out or panics leaves an API server and an etcd running for ever.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
)

// The request to die with the parent belongs to a thread, and exec keeps the
// thread that calls it; main runs on the thread that init locked.
func init() { runtime.LockOSThread() }

func main() {
	if err := run(os.Args); err != nil {
		fmt.Fprintln(os.Stderr, "tether:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	link, err := filepath.Abs(args[0])
	if err != nil {
		return err
	}
	target := filepath.Join(filepath.Dir(filepath.Dir(link)), filepath.Base(link))
	if err := dieWithParent(); err != nil {
		return err
	}
	if err := syscall.Exec(target, append([]string{target}, args[1:]...), os.Environ()); err != nil {
		return fmt.Errorf("run %s: %w", filepath.Base(target), err)
	}
	return nil
}
