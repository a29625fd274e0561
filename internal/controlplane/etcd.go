package controlplane

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// SlowEtcd makes etcd as slow as one on a disk that everybody writes to: it stands still
// for a while and goes on for a while, again and again until ctx ends. Then it goes on as
// before.
func (c *ControlPlane) SlowEtcd(ctx context.Context, stall, breath time.Duration) (err error) {
	pid, err := c.etcd()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, syscall.Kill(pid, syscall.SIGCONT)) }()
	for {
		for _, turn := range []struct {
			signal syscall.Signal
			lasts  time.Duration
		}{{syscall.SIGSTOP, stall}, {syscall.SIGCONT, breath}} {
			if err := syscall.Kill(pid, turn.signal); err != nil {
				return fmt.Errorf("signal etcd: %w", err)
			}
			timer := time.NewTimer(turn.lasts)
			select {
			case <-timer.C:
			case <-ctx.Done():
				timer.Stop()
				return nil
			}
		}
	}
}

// etcd is the process id of this control plane's etcd: the child of ours that has its data
// folder among its arguments. envtest keeps it to itself.
func (c *ControlPlane) etcd() (int, error) {
	folder := "--data-dir=" + c.env.ControlPlane.Etcd.DataDir
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return 0, err
	}
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		arguments, err := os.ReadFile("/proc/" + entry.Name() + "/cmdline")
		if err != nil || !slices.Contains(strings.Split(string(arguments), "\x00"), folder) {
			continue // it has ended meanwhile, or is another
		}
		if status, err := os.ReadFile("/proc/" + entry.Name() + "/status"); err == nil && strings.Contains(string(status), fmt.Sprintf("\nPPid:\t%d\n", os.Getpid())) {
			return pid, nil
		}
	}
	return 0, fmt.Errorf("no etcd with %s runs", folder)
}
