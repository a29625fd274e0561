package operatortest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/claviger-dev/claviger/internal/canary"
)

// searchTimeout bounds what the search reads over the network.
const searchTimeout = time.Minute

// Canaries are the secret values that are watched out for in this world: what stands in any
// Secret, and what a test adds.
func (w *World) Canaries() *canary.Canaries { return w.canaries }

// Leaks searches everything that an operator or the API server shows to those who may not
// read Secrets: logs, metrics, process arguments, the audit log, and all objects of the
// cluster with their status, conditions and events. Stop searches too.
func (w *World) Leaks(ctx context.Context) error {
	return errors.Join(w.leaksAlive(ctx), w.leaksWritten())
}

// leaksAlive searches what can be asked for as long as the processes live.
func (w *World) leaksAlive(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, searchTimeout)
	defer cancel()
	errs := []error{w.canaries.FindInObjects(ctx, w.Client)}
	for _, o := range w.running() {
		text, err := o.Metrics(ctx)
		errs = append(errs, err, w.canaries.Find("the metrics", text))
	}
	return errors.Join(errs...)
}

// leaksWritten searches what was written down.
func (w *World) leaksWritten() error {
	if w.canaries.Count() == 0 {
		return errors.New("no secret value is known, so none was looked for")
	}
	var errs []error
	for _, o := range w.all() {
		text, err := o.Log()
		errs = append(errs, err, w.canaries.Find("the operator's log", text), w.canaries.Find("the command line", o.commandLine))
	}
	// In a world of many tests it is long; its lines are searched one by one.
	audit, err := os.ReadFile(w.auditLog())
	if err != nil {
		return errors.Join(append(errs, err)...)
	}
	return errors.Join(append(errs, w.canaries.Find("the API server's audit log", string(audit)))...)
}

func (w *World) all() []*Operator {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]*Operator(nil), w.operators...)
}

// running are the operators that live.
func (w *World) running() []*Operator {
	var living []*Operator
	for _, o := range w.all() {
		select {
		case <-o.gone:
		default:
			living = append(living, o)
		}
	}
	return living
}

// commandLineOf is what everybody on the machine can see of a process.
func commandLineOf(pid int) (string, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return strings.ReplaceAll(string(text), "\x00", " "), err
}
