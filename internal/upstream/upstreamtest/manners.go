package upstreamtest

import (
	"context"
	"crypto/rand"
	"fmt"
	"runtime/pprof"
	"strings"
	"time"

	"github.com/claviger-dev/claviger/internal/upstream"
)

const (
	// underWay is how long a call may take to be under way, and promptly how long it may
	// go on after its caller has gone.
	underWay = 200 * time.Millisecond
	promptly = time.Second
)

// method is one thing that an account is asked for, with the kinds of calls that it makes.
type method struct {
	name  string
	calls []Call
	run   func(context.Context, upstream.Upstream) error
}

// methods are all of them. The handle is for Revoke and Verify.
func (t *trial) methods(handle upstream.Handle) []method {
	all := []method{
		{"Check", []Call{Login, ReadRealm}, func(ctx context.Context, u upstream.Upstream) error { _, err := u.Check(ctx); return err }},
		{"Locate", []Call{Login, ReadContainer}, func(ctx context.Context, u upstream.Upstream) error {
			_, err := u.Locate(ctx, t.lab.Parameters())
			return err
		}},
		{"List", []Call{Login, List}, func(ctx context.Context, u upstream.Upstream) error {
			_, err := u.List(ctx, upstream.Owner{})
			return err
		}},
		{"Issue", []Call{Login, Create}, func(ctx context.Context, u upstream.Upstream) error { _, err := u.Issue(ctx, t.request()); return err }},
		{"Revoke", []Call{Login, Read, List, Delete}, func(ctx context.Context, u upstream.Upstream) error { return u.Revoke(ctx, handle) }},
	}
	if verifies(t.up) {
		all = append(all, method{"Verify", []Call{Login, Read, Prove, Use}, func(ctx context.Context, u upstream.Upstream) error {
			_, err := u.(upstream.Verifier).Verify(ctx, handle)
			return err
		}})
	}
	return all
}

// abandonedCall: who shuts down, or has waited long enough, gets his goroutine back.
func abandonedCall(t *trial) error {
	tried := 0
	for _, name := range []string{"Check", "Locate", "List", "Issue", "Revoke", "Verify"} {
		_, handle, err := t.issue() // the one before may have been revoked
		if err != nil {
			return err
		}
		for _, m := range t.methods(handle) {
			if m.name != name {
				continue
			}
			for _, call := range m.calls {
				if !t.lab.Arm(call, Fault{Kind: Slow}) {
					continue
				}
				tried++
				account, err := t.open()
				if err != nil {
					return err
				}
				ctx, cancel := context.WithTimeout(t.ctx, underWay)
				began := time.Now()
				err = m.run(ctx, account)
				cancel()
				took := time.Since(began)
				t.lab.Heal()
				if took > underWay+promptly {
					return fmt.Errorf("%s took %s after its caller had gone, in a %s that hangs", m.name, took-underWay, call)
				}
				if err != nil {
					if problem := classified(err); problem != nil {
						return fmt.Errorf("%s, in a %s that hangs: %w", m.name, call, problem)
					}
				}
			}
		}
	}
	if tried == 0 {
		return ErrNotPlayed
	}
	return nil
}

// nobodyLeft: after any call, however it ended, nothing of the adapter goes on. Goroutines
// are told by a label that they inherit, since other trials run at the same time.
func nobodyLeft(t *trial) error {
	_, handle, err := t.issue()
	if err != nil {
		return err
	}
	label := rand.Text()
	for _, fault := range []Fault{{}, {Kind: Slow}, {Kind: HalfAnswer}, {Kind: Page, Status: 502}, {Kind: CutAfter}, {Kind: Broken, Status: 200, Message: "{"}} {
		account, err := t.open()
		if err != nil {
			return err
		}
		for _, m := range t.methods(handle) {
			for _, call := range m.calls {
				if fault.Kind != "" && !t.lab.Arm(call, fault) {
					continue
				}
				ctx, cancel := context.WithTimeout(t.ctx, underWay)
				pprof.Do(ctx, pprof.Labels(trialLabel, label), func(ctx context.Context) {
					_ = m.run(ctx, account) // what it answers is the business of other properties
				})
				cancel()
				t.lab.Heal()
			}
		}
	}
	deadline := time.NewTimer(promptly)
	defer deadline.Stop()
	again := time.NewTicker(promptly / 50)
	defer again.Stop()
	for {
		left, err := labelled(label)
		if err != nil || left == "" {
			return err
		}
		select {
		case <-again.C:
		case <-deadline.C:
			return fmt.Errorf("when all calls had ended there was still:\n%s", left)
		}
	}
}

// trialLabel is the key of the label that the goroutines of one trial bear.
const trialLabel = "trial"

// labelled are the stacks of the goroutines with a label. Connections that wait for the next
// call are no leftovers: they are pooled, and goleak sees whether they end with the upstream.
func labelled(label string) (string, error) {
	var all strings.Builder
	if err := pprof.Lookup("goroutine").WriteTo(&all, 1); err != nil {
		return "", err
	}
	var left []string
	for stack := range strings.SplitSeq(all.String(), "\n\n") {
		if strings.Contains(stack, label) && !strings.Contains(stack, "net/http.(*persistConn).readLoop") && !strings.Contains(stack, "net/http.(*persistConn).writeLoop") {
			left = append(left, stack)
		}
	}
	return strings.Join(left, "\n\n"), nil
}
