package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"
)

// patience is how long a child may take to stop before it is killed.
const patience = 15 * time.Second

// children starts programs as processes of their own that die with the demo, however
// it ends: each is called through the control plane's tether.
type children struct {
	dir    string
	tether string
	// forks run on one thread, because the kernel ties a child to the thread that made
	// it, and Go ends threads when it likes.
	forks chan func()
}

// newChildren keeps programs in dir and ties them by the tether of the folder assets.
func newChildren(dir, assets string) (*children, error) {
	if err := os.MkdirAll(filepath.Join(dir, "tethered"), 0o700); err != nil {
		return nil, err
	}
	c := &children{dir: dir, tether: filepath.Join(assets, "tether"), forks: make(chan func())}
	go func() {
		runtime.LockOSThread()
		for fork := range c.forks {
			fork()
		}
	}()
	return c, nil
}

// close ends what is still there.
func (c *children) close() { close(c.forks) }

// install copies a program, so that a build during the demo cannot swap it between a
// kill and the restart.
func (c *children) install(name, from string) error {
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = source.Close() }()
	target, err := os.OpenFile(filepath.Join(c.dir, name), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o700) //nolint:gosec // it is a program
	if err != nil {
		return err
	}
	_, err = io.Copy(target, source)
	if err := errors.Join(err, target.Close()); err != nil {
		return err
	}
	return os.Symlink(c.tether, filepath.Join(c.dir, "tethered", name))
}

// child is a process that was started.
type child struct {
	command *exec.Cmd
	gone    chan struct{}
	// meant says that its end was ordered.
	meant atomic.Bool
}

// start starts an installed program. Its environment is env and nothing of the demo's
// own: no proxy, no kubeconfig of the user.
func (c *children) start(name string, args, env []string, stdout, stderr *os.File) (*child, error) {
	command := exec.Command(filepath.Join(c.dir, "tethered", name), args...)
	command.Env, command.Dir = append([]string{}, env...), c.dir
	command.Stdout, command.Stderr = stdout, stderr
	// A group of its own: Ctrl-C must reach the demo, which then stops the others.
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	answer := make(chan error, 1)
	c.forks <- func() { answer <- command.Start() }
	if err := <-answer; err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	started := &child{command: command, gone: make(chan struct{})}
	go func() {
		_ = command.Wait() // what it says is in ProcessState too
		close(started.gone)
	}()
	return started, nil
}

// kill sends SIGKILL and returns when the process is gone.
func (c *child) kill() error {
	c.meant.Store(true)
	err := c.command.Process.Kill()
	<-c.gone
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

// stop asks the process to end, and makes it end after a while.
func (c *child) stop() error {
	c.meant.Store(true)
	if err := c.command.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	select {
	case <-c.gone:
		return nil
	case <-timeout.C:
		return c.kill()
	}
}
