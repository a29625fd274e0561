package crash

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/claviger-dev/claviger/controllers/credential"
	"github.com/claviger-dev/claviger/internal/journal"
	"github.com/claviger-dev/claviger/internal/operatortest"
	"github.com/claviger-dev/claviger/internal/rotation"
	"github.com/claviger-dev/claviger/internal/simkit"
)

// hit is how long a boundary may take to be reached. The slowest is a refusal that is
// given up when a claim of 50 s has run out, or an answer that was lost: nothing is
// concluded from it until the platform's queue of 60 s is empty as well.
const hit = 150 * time.Second

// worst are the boundaries at which most is at stake: between a promise and its deed.
var worst = []string{
	"AskApproval/after",  // asked, and nobody here knows
	"CreateIntent/after", // an intent, and no call was made for it
	"Claim/after",        // taken over, and dead again
	"Issue/after",        // made upstream, and nobody here knows
	"Verify/after",
	"Publish/before",
	"Publish/after",  // published, and nothing was told
	"RollBack/after", // given up, and the good one is not back
	"ShowPrevious/after",
	"HidePrevious/after", // taken away, and alive
	"PublishCopy/after",
	"WithdrawCopy/after", // nobody finds it, and it is alive
	"Retire/after",       // promised to be revoked, and alive
	"Revoke/before",
	"Revoke/after", // dead upstream, and the journal does not know
	"Release/after",
	"Restart/after", // a workload replaces its pods, and the journal does not know
	"NoteRollout/after",
	"MarkRepublish/after", // chosen to be put back, and not there
	"DeleteTarget/after",
	"Retain/after", // half of it is let go
	"Adopt/after",
	"RemoveFinalizer/before",
}

// patient are the boundaries that only long-lived processes reach: a refusal is noted
// after 10 s and given up after a claim of 50 s. They have a world of their own, which
// mostly waits.
var patient = []string{
	"NoteRefusal/before", "NoteRefusal/after", "Fail/before", "Fail/after", "NoteRevoked/before", "NoteRevoked/after",
}

// answering are those of upstreams that make the material themselves: what they answered
// once is known to one process only, until it is written down. See answer_test.go.
var answering = []string{
	"WriteAnswer/before", "WriteAnswer/after", "Disown/before", "Disown/after", "Suspect/before", "Suspect/after",
}

// housing are those of instances that are made for a credential. See place_test.go.
var housing = []string{"Provision/before", "Provision/after", "Deprovision/before", "Deprovision/after"}

// quick are all others, in the planner's order, but a claim is taken over only after
// somebody died with one.
func quick() []string {
	return slices.DeleteFunc(credential.Boundaries(), func(boundary string) bool {
		return slices.Contains(patient, boundary) || slices.Contains(answering, boundary) || slices.Contains(housing, boundary)
	})
}

// deaths are the boundaries at which operators died in this run, with how often.
var deaths = struct {
	sync.Mutex
	at map[string]int
}{at: map[string]int{}}

func died(boundary string) {
	deaths.Lock()
	defer deaths.Unlock()
	deaths.at[boundary]++
}

// survivors are the boundaries that the code lists and at which nobody died.
func survivors() []string {
	deaths.Lock()
	defer deaths.Unlock()
	return slices.DeleteFunc(credential.Boundaries(), func(boundary string) bool { return deaths.at[boundary] > 0 })
}

// director lets one operator after the other die.
type director struct {
	*stage
	menders []*actor
	// hits are the boundaries at which one died.
	hits []string
}

func TestBoundariesAreThePlanners(t *testing.T) {
	for _, action := range rotation.Actions() {
		known := slices.Contains(credential.Boundaries(), string(action)+"/before")
		if effect := action != rotation.Wait && action != rotation.Look; known != effect {
			t.Errorf("action %s: a boundary is known: %t", action, known)
		}
	}
	for _, boundary := range slices.Concat(worst, patient, answering, housing) {
		if !slices.Contains(credential.Boundaries(), boundary) {
			t.Errorf("%s is no boundary", boundary)
		}
	}
}

// An operator that dies at any boundary of an effect loses nothing, doubles nothing and
// leaves nothing behind.
func TestADeathAtAnyBoundaryChangesNoOutcome(t *testing.T) {
	t.Parallel()
	world := newWorld(t)
	s := newStage(t, world)
	d := &director{stage: s}
	steady := s.namespace("steady", "4s", time.Minute)
	for i := range 3 {
		s.steady(steady, fmt.Sprintf("steady-%d", i), 1500*time.Millisecond, 4*time.Second)
	}
	mended := s.namespace("mended", "25s", time.Minute)
	for i := range 2 {
		d.menders = append(d.menders, s.steady(mended, fmt.Sprintf("mended-%d", i), 6*time.Second, 12*time.Second))
	}
	s.rolling(s.namespace("rolling", "4s", time.Minute), "rolling")
	s.showing(s.namespace("showing", "3s", time.Minute), "showing")
	s.named(s.namespace("named", "3s", time.Minute), "named")
	s.heeded(s.namespace("heeded", "3s", time.Minute), "heeded")
	mortal := s.namespace("mortal", "4s", time.Minute)
	for i := range 3 {
		s.mortal(mortal, fmt.Sprintf("mortal-%d", i))
	}
	s.wavering(s.namespace("wavering", "25s", time.Minute), "wavering")
	retained := s.namespace("retained", "4s", time.Minute)
	for i := range 2 {
		s.retained(retained, fmt.Sprintf("retained-%d", i))
	}
	s.forsaken(s.namespace("forsaken", "4s", time.Minute), "forsaken")

	d.killWhen("credential.create", simkit.AfterCommit)
	boundaries := worst
	if everything {
		boundaries = quick()
	}
	for _, boundary := range boundaries {
		d.crashAt(boundary)
	}
	d.killWhen("credential.delete", simkit.AfterCommit)
	if everything {
		d.killWhen("credential.create", simkit.BeforeCommit)
		d.killWhen("credential.delete", simkit.BeforeCommit)
		d.killWhen("credential.verify-secret", simkit.BeforeCommit)
		d.killWhen("gateway.call", simkit.AfterCommit)
	}
	if diff := gocmp.Diff(boundaries, d.hits); diff != "" {
		t.Errorf("boundaries at which an operator died (-want +got):\n%s", diff)
	}

	s.operator()
	s.end()
	if s.shown == 0 || s.namedSeen == 0 {
		t.Errorf("the version before the published one was shown %d times, and a Secret of a single version %d times", s.shown, s.namedSeen)
	}
}

// crashAt runs an operator until it dies at a boundary.
func (d *director) crashAt(boundary string) {
	d.t.Helper()
	if boundary == "MarkRepublish/before" || boundary == "MarkRepublish/after" {
		d.damage()
	}
	if strings.HasPrefix(boundary, "Claim/") {
		// A claim is taken over only from somebody who died with one.
		d.killWhen("credential.create", simkit.AfterCommit)
	}
	o, err := d.world.RunArmed(boundary)
	if err != nil {
		d.t.Fatal(err)
	}
	d.operators = append(d.operators, o)
	d.awaitDeath(o, boundary)
}

// awaitDeath waits until an armed operator has died.
func (d *director) awaitDeath(o *operatortest.Operator, boundary string) {
	d.t.Helper()
	begun := time.Now()
	timer := time.NewTimer(hit)
	defer timer.Stop()
	select {
	case <-o.Gone():
	case <-timer.C:
		log, _ := o.Log()
		d.t.Fatalf("no operator came to %s in %s; the cast:\n%s\nthe log ends with:\n%s", boundary, hit, d.standing(), clip(log, 4000))
	}
	if !o.Killed() {
		log, _ := o.Log()
		d.t.Fatalf("the operator that was to die at %s ended otherwise; its log ends with:\n%s", boundary, clip(log, 4000))
	}
	d.t.Logf("died at %s after %s", boundary, time.Since(begun).Round(100*time.Millisecond))
	d.hits = append(d.hits, boundary)
	died(boundary)
}

// killWhen runs an operator until the upstream holds a call of it, and kills it there.
func (d *director) killWhen(operation string, point simkit.Point) {
	d.t.Helper()
	since := d.sim.Events().Last()
	fault, err := d.sim.Faults().Add(simkit.Fault{
		Operation: operation, Point: point, Action: simkit.Hold, Match: map[string]string{"agent": operatorAgent + "*"},
	})
	if err != nil {
		d.t.Fatal(err)
	}
	o := d.operator()
	ctx, cancel := context.WithTimeout(d.ctx, hit)
	defer cancel()
	held, err := d.sim.Events().Wait(ctx, since, func(e simkit.Event) bool { return e.Type == simkit.EventHeld && e.Attrs["fault"] == fault })
	if err != nil {
		d.t.Fatalf("no operator came to a %s, %s: %v; the cast:\n%s", operation, point, err, d.standing())
	}
	d.kill(o)
	d.sim.Faults().Release(held.Attrs["hold"], true)
	d.t.Logf("killed in %s, %s", operation, point)
}

// damage makes at least one target be put back: while no operator runs, it is deleted or
// edited in the middle of an overlap, so that what is known to be good is the
// predecessor.
func (d *director) damage() {
	d.t.Helper()
	if d.strike() > 0 {
		return
	}
	// Between the last look and the death it may end, so more than one try.
	for range 5 {
		o := d.operator()
		d.eventually(hit, "an overlap to be damaged", func() string {
			if !slices.ContainsFunc(d.menders, d.overlapping) {
				return "there is none"
			}
			return ""
		})
		d.kill(o)
		if d.strike() > 0 {
			return
		}
	}
	d.t.Fatal("every overlap ended while an operator died")
}

// strike damages the targets of the menders that are in their overlap and returns how
// many. Callers keep what they hold, as running processes do.
func (d *director) strike() int {
	d.t.Helper()
	struck := 0
	for i, a := range d.menders {
		if !d.overlapping(a) {
			continue
		}
		secret := &corev1.Secret{}
		if err := d.world.Client.Get(d.ctx, client.ObjectKey{Namespace: a.ns, Name: a.secret}, secret); err != nil {
			d.t.Fatal(err)
		}
		var err error
		if i%2 == 0 {
			err = d.world.Client.Delete(d.ctx, secret)
		} else {
			delete(secret.Data, "client_secret")
			err = d.world.Client.Update(d.ctx, secret)
		}
		if err != nil {
			d.t.Fatal(err)
		}
		struck++
	}
	return struck
}

// overlapping reports whether the target holds a version and another one lives.
func (d *director) overlapping(a *actor) bool {
	d.t.Helper()
	versions, err := d.versions(d.ctx, a.ns)
	if err != nil {
		d.t.Fatal(err)
	}
	p, err := d.read(d.ctx, a.ns, a.secret)
	if err != nil || !p.whole() {
		return false
	}
	alive, published := 0, false
	for _, v := range versions {
		if v.Annotations[journal.AnnotationCredential] != a.ns+"/"+a.name || v.DeletionTimestamp != nil {
			continue
		}
		alive++
		published = published || v.Annotations[journal.AnnotationMark] == p.id
	}
	return alive > 1 && published
}
