package operatortest

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
)

// BuildCrashing is Build with the code in it that RunArmed needs.
func BuildCrashing(ctx context.Context, folder string) (string, error) {
	root, err := repository(ctx)
	if err != nil {
		return "", err
	}
	binary := filepath.Join(folder, "claviger-crashing")
	build := exec.CommandContext(ctx, "go", "build", "-race", "-tags", "crashtest", "-o", binary, ".")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the operator that crashes: %w: %s", err, out)
	}
	return binary, nil
}

// RunArmed starts an operator that kills itself at a boundary, such as
// "Publish/after", when it gets there first. It may do so before it would have
// answered its probe, so nothing is waited for. The binary must be BuildCrashing's.
func (w *World) RunArmed(boundary string, flags ...string) (*Operator, error) {
	return w.RunCrowd(boundary, 1, flags...)
}

// RunCrowd is RunArmed with a process that dies only when so many credentials are at the
// boundary at the same time. Those that come first stand still there.
func (w *World) RunCrowd(boundary string, crowd int, flags ...string) (*Operator, error) {
	return w.launch([]string{"CLAVIGER_CRASH_AT=" + boundary, "CLAVIGER_CRASH_CROWD=" + strconv.Itoa(crowd)}, flags)
}

// Gone is closed when the process has ended.
func (o *Operator) Gone() <-chan struct{} { return o.gone }

// Killed reports whether the process has ended, and by SIGKILL.
func (o *Operator) Killed() bool {
	select {
	case <-o.gone:
	default:
		return false
	}
	status, ok := o.command.ProcessState.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}
