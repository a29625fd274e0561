package operatortest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

const (
	// startTimeout is long because the race detector makes the operator slow, and
	// because the machine may be compiling.
	startTimeout = time.Minute
	// stopTimeout is longer than the operator takes to finish a call that is under way.
	stopTimeout = 75 * time.Second
)

// Operator is one process of the operator.
type Operator struct {
	command *exec.Cmd
	log     string
	metrics string
	probe   string
	gone    chan struct{}
	// commandLine is read at the start: a process that was killed has none.
	commandLine string
}

// Run starts an operator with these flags beside those that every test needs, and
// returns when it answers its probe. Without leader election a killed one is replaced
// at once; two of them at a time are two operators at work.
func (w *World) Run(ctx context.Context, flags ...string) (*Operator, error) {
	// Between the choice of a free port and its use another process may take it; the
	// operator then exits, and the next port will do.
	const attempts = 3
	for attempt := 1; ; attempt++ {
		o, err := w.run(ctx, flags)
		if err == nil {
			return o, nil
		}
		if attempt == attempts || !errors.Is(err, errExited) {
			return nil, err
		}
	}
}

var errExited = errors.New("the operator exited")

func (w *World) run(ctx context.Context, flags []string) (*Operator, error) {
	o, err := w.launch(nil, flags)
	if err != nil {
		return nil, err
	}
	return o, o.await(ctx)
}

// launch starts a process and does not wait for it.
func (w *World) launch(environment, flags []string) (*Operator, error) {
	ports, err := freePorts(2)
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	o := &Operator{
		log:     filepath.Join(w.folder, fmt.Sprintf("operator-%d.log", len(w.operators)+1)),
		metrics: "http://" + ports[0] + "/metrics",
		probe:   "http://" + ports[1] + "/readyz",
		gone:    make(chan struct{}),
	}
	log, err := os.OpenFile(o.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	o.command = exec.Command(w.binary, append([]string{
		"--kubeconfig=" + w.kubeconfig,
		"--metrics-bind-address=" + ports[0],
		"--health-probe-bind-address=" + ports[1],
		"--leader-elect=false",
		"--allow-insecure-upstreams", // the simulators are on the loopback interface
		"--zap-log-level=debug",
	}, flags...)...)
	o.command.Env = append(append(os.Environ(), "POD_NAMESPACE="+Namespace), environment...)
	o.command.Stdout, o.command.Stderr = log, log
	// A group of its own: Ctrl-C in a terminal must reach the test, which stops its
	// children in order. Pdeathsig ends it with a test that is killed.
	o.command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := errors.Join(o.start(), log.Close()); err != nil {
		return nil, err
	}
	// One that has exited at once has none, and await says so.
	o.commandLine, _ = commandLineOf(o.command.Process.Pid)
	w.operators = append(w.operators, o)
	return o, nil
}

// start forks the process on a thread that lives exactly as long as it: Pdeathsig is
// sent when the forking thread ends, and Go ends threads as it likes.
func (o *Operator) start() error {
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := o.command.Start()
		started <- err
		if err == nil {
			_ = o.command.Wait() // its error is in ProcessState too
		}
		close(o.gone)
	}()
	return <-started
}

func (o *Operator) await(ctx context.Context) error {
	err := wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, startTimeout, true, func(ctx context.Context) (bool, error) {
		select {
		case <-o.gone:
			return false, errExited
		default:
		}
		_, err := get(ctx, o.probe)
		return err == nil, nil
	})
	if err != nil {
		text, _ := o.Log()
		return fmt.Errorf("wait for the operator: %w; its log ends with:\n%s", err, text[max(0, len(text)-2000):])
	}
	return nil
}

// Kill ends the process at once, as a machine that fails would, and returns when it
// is gone.
func (o *Operator) Kill() error {
	err := o.command.Process.Signal(syscall.SIGKILL)
	<-o.gone
	return err
}

// Stop asks the process to end, as a kubelet does, and returns when it is gone. That it
// had to be killed is an error; that it was gone already is none.
func (o *Operator) Stop() error {
	if err := o.command.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	timeout := time.NewTimer(stopTimeout)
	defer timeout.Stop()
	select {
	case <-o.gone:
		return nil
	case <-timeout.C:
		return errors.Join(fmt.Errorf("the operator did not stop in %s", stopTimeout), o.Kill())
	}
}

// Log is everything that the process wrote so far.
func (o *Operator) Log() (string, error) {
	text, err := os.ReadFile(o.log)
	return string(text), err
}

// raced is an error if the race detector spoke.
func (o *Operator) raced() error {
	text, err := o.Log()
	if err != nil {
		return err
	}
	if _, report, found := strings.Cut(text, "WARNING: DATA RACE"); found {
		return fmt.Errorf("data race in the operator:%s", report[:min(len(report), 4000)])
	}
	return nil
}

// Metrics is what a scrape of the process answers.
func (o *Operator) Metrics(ctx context.Context) (string, error) { return get(ctx, o.metrics) }

func get(ctx context.Context, url string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", url, response.Status)
	}
	return string(body), err
}

// freePorts returns addresses on the loopback interface that nobody listens on.
func freePorts(n int) ([]string, error) {
	var addresses []string
	for range n {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer listener.Close()
		addresses = append(addresses, listener.Addr().String())
	}
	return addresses, nil
}

// Subcommand runs the binary as a person at a terminal does, with an administrator's
// kubeconfig, and returns what it printed.
func (w *World) Subcommand(ctx context.Context, name string, args ...string) (string, error) {
	command := exec.CommandContext(ctx, w.binary, append([]string{name, "--kubeconfig=" + w.Plane.Kubeconfig()}, args...)...)
	out, err := command.CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("claviger %s: %w: %s", name, err, out)
	}
	return string(out), nil
}
