package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
)

// operator is the real binary in a process of its own, and in its next one after a kill.
type operator struct {
	children  *children
	args, env []string
	log       *os.File
	// failed is told of an end that nobody ordered.
	failed func(error)

	mu      sync.Mutex
	current *child
}

// start starts it if it does not run.
func (o *operator) start() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.current != nil {
		return nil
	}
	started, err := o.children.start("operator", o.args, o.env, o.log, o.log)
	if err != nil {
		return err
	}
	o.current = started
	go func() {
		<-started.gone
		if !started.meant.Load() {
			o.failed(fmt.Errorf("the operator ended by itself: %s", started.command.ProcessState))
		}
	}()
	return nil
}

// commandLine is what everybody on the machine sees of it.
func (o *operator) commandLine() (string, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.current == nil {
		return "", errors.New("the operator does not run")
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", o.current.command.Process.Pid))
	return strings.ReplaceAll(string(text), "\x00", " "), err
}

// kill ends it with SIGKILL: no handler runs, nothing is finished or flushed.
func (o *operator) kill() error { return o.end((*child).kill) }

// stop lets it end in order.
func (o *operator) stop() error { return o.end((*child).stop) }

func (o *operator) end(how func(*child) error) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.current == nil {
		return nil
	}
	err := how(o.current)
	o.current = nil
	return err
}
