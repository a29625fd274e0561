//go:build crashall

package crash

import (
	"fmt"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/claviger-dev/claviger/api/v1alpha1"
)

// everything: the operator dies at every boundary, and every disaster happens. It takes
// minutes; `make test-crash` builds it in.
const everything = true

// Nor does one that dies while a version is given up.
func TestADeathWhileAVersionIsGivenUpChangesNoOutcome(t *testing.T) {
	t.Parallel()
	world := newWorld(t)
	s := newStage(t, world)
	d := &director{stage: s}
	steady := s.namespace("steady", "4s", time.Minute)
	s.steady(steady, "steady", 2*time.Second, 4*time.Second)
	ns := s.namespace("refused", "4s", 11*time.Second)
	var refused []*actor
	for i := range 4 {
		refused = append(refused, s.unsubscribed(ns, fmt.Sprintf("refused-%d", i)))
	}
	for _, boundary := range patient {
		d.crashAt(boundary)
	}
	if diff := gocmp.Diff(patient, d.hits); diff != "" {
		t.Errorf("boundaries at which an operator died (-want +got):\n%s", diff)
	}

	s.operator()
	// Half of the users give up, and half get what was missing.
	s.rest()
	for i, a := range refused {
		if i%2 == 0 {
			a.removeCredential()
			if n := a.live(); n > 0 {
				t.Errorf("%s is gone and %d of its versions live upstream", a.name, n)
			}
			continue
		}
		if err := s.sim.Subscribe(a.app, true); err != nil {
			t.Fatal(err)
		}
	}
	s.end()
}

// Nor does it matter that a version is given up when its credential is deleted. All crowds
// go the same way at the same time, because it is a long one, and one is left behind at each
// boundary.
func TestADeletionWhileAVersionIsGivenUpLeavesNothing(t *testing.T) {
	t.Parallel()
	d := &director{stage: newStage(t, newWorld(t))}
	boundaries := d.boundariesOf(late)
	var crowds []*crowd
	members := 0
	for _, boundary := range boundaries {
		c := d.crowd(nameOf(boundary), "1h")
		refused(c)
		crowds = append(crowds, c)
		members += len(c.members)
	}
	workers := fmt.Sprintf("--workers=%d", 2*members)
	for i, boundary := range boundaries {
		o, err := d.world.RunCrowd(boundary, members, workers)
		if err != nil {
			t.Fatal(err)
		}
		d.operators = append(d.operators, o)
		d.awaitDeath(o, boundary)
		crowds[i].delete()
		members -= len(crowds[i].members)
	}
	d.bury(crowds)
}

// unsubscribed is a credential of an app without a subscription: the gateway takes none of
// its versions.
func (s *stage) unsubscribed(ns, name string) *actor {
	s.t.Helper()
	a := s.actor(ns, name)
	if err := s.sim.Subscribe(a.app, false); err != nil {
		s.t.Fatal(err)
	}
	a.play(func() bool { return a.create(v1alpha1.DeletionRevoke, "apic") }, func() bool {
		a.pause(time.Second, 2*time.Second)
		return true
	})
	return a
}
