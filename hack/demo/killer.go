package main

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"sync"
	"time"

	"github.com/claviger-dev/claviger/internal/simkit"
)

// moment is one of the worst moments to die in.
type moment string

const (
	// answerWithheld: the upstream has created the version, and its answer is not sent.
	answerWithheld moment = "credential.create"
	// revokeUnsent: the version's Secret is deleted, and the upstream has not been told.
	revokeUnsent moment = "credential.delete"
)

var moments = []moment{answerWithheld, revokeUnsent}

// words complete the sentence "the operator was killed when …".
func (m moment) words() string {
	if m == answerWithheld {
		return "the upstream had created a version and withheld its answer"
	}
	return "a version Secret was deleted and the upstream not yet called"
}

// fault has the simulator stop a call of the kind at the moment, after letting some
// pass, and tell.
func (m moment) fault(skip int) simkit.Fault {
	f := simkit.Fault{Operation: string(m), Action: simkit.Hold, Point: simkit.BeforeCommit, Skip: skip}
	if m == answerWithheld {
		f.Point = simkit.AfterCommit
	}
	return f
}

// killer kills the operator at the worst moments, which the simulator signals.
type killer struct {
	remote   simkit.Remote
	operator *operator
	story    *story
	// wanted is how often at each moment, and credentials how many there are.
	wanted, credentials int
	// inspect looks at the journal while the operator is dead.
	inspect func(ctx context.Context, m moment, mark string) (entry, error)
	// held brings the simulator's signals.
	held chan simkit.Event

	mu    sync.Mutex
	kills map[moment]int
}

// breath is the pause before the same moment is waited for again. A killed process
// leaves claims that its successor waits for before it revokes, which makes overlaps
// long; so every second round of issues is spared, and its predecessors are revoked as
// early as they may be.
func (m moment) breath() time.Duration {
	if m == answerWithheld {
		return rotateAfter * 3 / 2
	}
	return 6 * time.Second
}

// skip is how many calls of a round pass before the n-th strike: another one in the
// round each time, except that revocations begin with the last.
func (k *killer) skip(m moment, n int) int {
	if m == answerWithheld {
		return n * k.credentials / 2 % k.credentials
	}
	return (n + 1) % 2 * (k.credentials - 1)
}

// run kills until ctx ends. An error means that the journal was not as it must be.
func (k *killer) run(ctx context.Context) error {
	armAt := map[moment]time.Time{}
	for _, m := range moments {
		armAt[m] = time.Now()
	}
	look := time.NewTicker(200 * time.Millisecond)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-look.C:
			for m, at := range armAt {
				if now.Before(at) || k.counts()[m] >= k.wanted {
					continue
				}
				if _, err := k.remote.AddFault(ctx, m.fault(k.skip(m, k.counts()[m]))); err != nil {
					return quietly(ctx, fmt.Errorf("ask the simulator for a worst moment: %w", err))
				}
				delete(armAt, m)
			}
		case held := <-k.held:
			m := moment(held.Operation)
			if err := k.strike(ctx, m, held.Attrs["clientId"]); err != nil {
				return quietly(ctx, err)
			}
			armAt[m] = time.Now().Add(m.breath())
		}
	}
}

// strike kills the operator, looks at what it left behind, and starts it again.
func (k *killer) strike(ctx context.Context, m moment, mark string) error {
	if err := k.operator.kill(); err != nil {
		return err
	}
	k.mu.Lock()
	if k.kills == nil {
		k.kills = map[moment]int{}
	}
	k.kills[m]++
	k.mu.Unlock()
	left, err := k.inspect(ctx, m, mark)
	if err != nil {
		return fmt.Errorf("the operator was killed when %s: %w", m.words(), err)
	}
	switch m {
	case answerWithheld:
		k.story.tell("SIGKILL", "the operator is dead: %s exists upstream, and the answer was never sent", left)
	case revokeUnsent:
		k.story.tell("SIGKILL", "the operator is dead: %s is deleted here, and the upstream was never told", left)
	}
	return k.operator.start()
}

// counts returns how often it struck at each moment.
func (k *killer) counts() map[moment]int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return maps.Clone(k.kills)
}

// disarm lets everything go on that the simulator holds, and holds nothing from now on.
func (k *killer) disarm(ctx context.Context) error {
	if err := k.remote.Call(ctx, http.MethodDelete, "/faults", nil, nil); err != nil {
		return err
	}
	return k.remote.Release(ctx, simkit.ReleaseOrder{})
}

// quietly drops an error that is only the end of the demo.
func quietly(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		return err
	}
	return nil
}
