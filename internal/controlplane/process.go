package controlplane

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// errExited says that a process ended although nobody stopped it.
var errExited = errors.New("exited unexpectedly")

// process is a child that runs until it is stopped.
type process struct {
	command *exec.Cmd
	// gone is closed when the child has ended, or never began.
	gone chan struct{}
}

func newProcess(path string, args []string, log *os.File) *process {
	command := exec.Command(path, args...)
	command.Stdout, command.Stderr = log, log
	// A group of its own: Ctrl-C in a terminal must reach the test, which then stops its
	// children in order, and not the children directly.
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return &process{command: command, gone: make(chan struct{})}
}

func (p *process) start() error {
	if err := p.command.Start(); err != nil {
		close(p.gone)
		return err
	}
	go func() {
		_ = p.command.Wait() // its error is in ProcessState too
		close(p.gone)
	}()
	return nil
}

// exited returns errExited with the exit status once the process has ended, else nil.
func (p *process) exited() error {
	select {
	case <-p.gone:
		return fmt.Errorf("%s %w: %s", filepath.Base(p.command.Path), errExited, p.command.ProcessState)
	default:
		return nil
	}
}

// stop ends the process, by force after stopTimeout. That it was gone already is an
// error: the test ran without it and proves nothing.
func (p *process) stop() error {
	if err := p.exited(); err != nil {
		return err
	}
	if err := p.command.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	timeout := time.NewTimer(stopTimeout)
	defer timeout.Stop()
	select {
	case <-p.gone:
		return nil
	case <-timeout.C:
		err := p.command.Process.Kill()
		<-p.gone
		return errors.Join(fmt.Errorf("%s did not stop in %s", filepath.Base(p.command.Path), stopTimeout), err)
	}
}
