// Command demo runs Claviger as a cluster would, works with the credentials that it
// rotates, kills it at the worst moments, and judges. The one idea: nothing is taken on
// the operator's word. Workloads count the calls that failed, the upstream's own ledger
// says what is alive, and both are compared with what the operator wrote down. Before
// that counts, the same judge must notice an upstream that cheats.
//
// It ends by itself, and with exit status 0 only if everything held. It needs no
// network but loopback, and is started in the repository's root:
//
//	go run ./hack/demo
//
// DEMO_ROTATIONS (3) is how often every credential is rotated at least, and
// DEMO_CREDENTIALS (6) how many there are. KEEP=1 leaves everything running at the end
// until it is interrupted.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
)

const (
	// rotateAfter is the age at which the demo's policy asks for a successor. Issue,
	// propagation and publication take up to five seconds of it.
	rotateAfter = 20 * time.Second
	// overlap is how long the demo's policy keeps a predecessor valid.
	overlap = 8 * time.Second
	// slowest is the longest that a workload takes to hold what was published. Longer
	// than the overlap would be a workload that no rotation can keep alive.
	slowest = overlap * 3 / 4
	// propagation is how long the simulated gateway does not know a new credential.
	propagation = "1s-3s"
	// leastKills is how many kills of each kind must have happened.
	leastKills = 2
)

func main() {
	// What the libraries have to say is for programmers; the story is for people.
	ctrl.SetLogger(zap.New(zap.WriteTo(io.Discard)))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := demo(ctx, os.Getenv)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// settings are what the environment chooses.
type settings struct {
	rotations, credentials int
	keep                   bool
}

func readSettings(getenv func(string) string) (settings, error) {
	s := settings{rotations: 3, credentials: 6}
	for name, into := range map[string]*int{"DEMO_ROTATIONS": &s.rotations, "DEMO_CREDENTIALS": &s.credentials} {
		text := getenv(name)
		if text == "" {
			continue
		}
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > 100 {
			return s, fmt.Errorf("%s must be a number from 1 to 100, not %q", name, text)
		}
		*into = n
	}
	switch keep := getenv("KEEP"); keep {
	case "", "0":
	case "1":
		s.keep = true
	default:
		return s, fmt.Errorf("KEEP must be 1 or 0, not %q", keep)
	}
	return s, nil
}

// deadline bounds everything after the builds.
func (s settings) deadline() time.Duration {
	return 180*time.Second + time.Duration(s.rotations)*50*time.Second
}

// demo sets the stage, plays and clears up, whatever happens in between.
func demo(ctx context.Context, getenv func(string) string) (err error) {
	s, err := readSettings(getenv)
	if err != nil {
		return err
	}
	story := newStory(os.Stdout)
	stage, err := newStage(s, story)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stage.clear()) }()
	if err := stage.build(ctx); err != nil {
		return err
	}
	// From here on a failure of the operator ends the demo, and so does its deadline.
	late := fmt.Errorf("it took longer than %s", s.deadline())
	bounded, cancel := context.WithTimeoutCause(ctx, s.deadline(), late)
	defer cancel()
	bounded, fail := context.WithCancelCause(bounded)
	defer fail(nil)
	result, err := play(bounded, stage, fail)
	if err != nil {
		stage.explain(ctx)
	}
	if s.keep && ctx.Err() == nil {
		stage.linger(ctx, err)
	}
	interrupted := ctx.Err() != nil
	stage.close()
	switch {
	case interrupted && err != nil:
		return errors.New("interrupted")
	case result != nil:
		fmt.Println(result)
	}
	return err
}

// play is the demo in order.
func play(ctx context.Context, stage *stage, fail context.CancelCauseFunc) (*summary, error) {
	if err := stage.open(ctx, fail); err != nil {
		return nil, err
	}
	if err := stage.rehearse(ctx); err != nil {
		return nil, fmt.Errorf("the rehearsal: %w", err)
	}
	if err := stage.review(ctx); err != nil {
		return nil, fmt.Errorf("the review: %w", err)
	}
	return stage.perform(ctx)
}
