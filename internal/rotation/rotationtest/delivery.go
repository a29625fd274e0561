package rotationtest

import (
	"fmt"
	"time"

	"github.com/claviger-dev/claviger/internal/rotation"
)

// deliveryKept is how long flows go on with what they have read. No call is under way as long.
const deliveryKept = 4 * time.Minute

// delivery is a place outside that the published version is written into. Those who read it may
// go on with what they have read.
type delivery struct {
	gone, idle  bool // it was emptied; nobody reads it
	late        bool // a call that was given up was carried out after all
	holds       int  // material that it holds
	before      int  // material that it held before; readers may have it for a while
	told        int  // material that the operator believes it holds
	since, seen time.Time
}

func newDelivery() Dimension { return &delivery{} }

// Clone copies it.
func (d *delivery) Clone() Dimension { c := *d; return &c }

func (d *delivery) keptUntil() time.Time { return d.since.Add(deliveryKept) }

// AddTo tells it apart.
func (d *delivery) AddTo(k *Key) {
	k.Flags(d.gone, d.idle, d.late, d.seen.Before(d.keptUntil()))
	k.Numbers(int64(d.holds), int64(d.before), int64(d.told))
	k.Times(d.since)
}

// Observe shows what the operator believes.
func (d *delivery) Observe(w *World, o *rotation.Observed) {
	o.Credential.Protected = true
	shown := rotation.Delivery{
		To: "alias A", Current: d.told != 0 && d.told == w.Target.Holds, Since: d.since, SeenAt: d.seen, KeptFor: deliveryKept, Withdraw: true, Gone: d.gone || d.told == 0,
	}
	if !d.idle {
		shown.Users = []string{"Orders"}
	}
	o.Deliveries = []rotation.Delivery{shown}
}

// Look has nothing to read: what the process knows of its own deliveries is never old.
func (d *delivery) Look(*World, *World, rotation.Facts) bool { return true }

// Act does nothing: who is in charge of the place delivers.
func (d *delivery) Act(*World, *World, rotation.Step) (known, done bool) { return false, false }

// Events are what happens to the place.
func (d *delivery) Events() []Event {
	return []Event{
		{Name: "the published version is delivered", Free: true, Happens: func(w *World, _ *Process) bool {
			d, t := w.delivery(), w.Target
			if d.gone || w.Ending() || !d.waits(w) || t.terminating || !w.accepts(t.Holds) {
				return false
			}
			d.before, d.holds, d.told, d.since, d.seen = d.holds, t.Holds, t.Holds, w.Now, w.Now
			w.Touch()
			return true
		}},
		{Name: "a delivery that was given up is carried out after the next one", Happens: func(w *World, _ *Process) bool {
			d := w.delivery()
			if d.late || d.gone || d.before == 0 || d.before == d.holds || !w.Now.Before(d.keptUntil()) {
				return false
			}
			d.late, d.holds = true, d.before
			return true
		}},
		{Name: "it is read again where it was delivered", Free: true, Happens: func(w *World, _ *Process) bool {
			d := w.delivery()
			if d.gone || d.told == 0 || !d.seen.Before(d.keptUntil()) || w.Now.Before(d.keptUntil()) {
				return false
			}
			d.told, d.seen = d.holds, w.Now
			w.Touch()
			return true
		}},
		{Name: "nobody reads where it was delivered any more", Free: true, Happens: func(w *World, _ *Process) bool {
			d := w.delivery()
			if d.idle || !w.Ending() {
				return false
			}
			d.idle = true
			w.Touch()
			return true
		}},
		{Name: "it is taken away where it was delivered", Free: true, Happens: func(w *World, _ *Process) bool {
			d := w.delivery()
			if d.gone || !d.idle || !w.Ending() || w.Retain || !d.doomed(w) {
				return false
			}
			d.gone = true
			w.Touch()
			return true
		}},
	}
}

// doomed: all that could be delivered is to be revoked, and nothing takes that back.
func (*delivery) doomed(w *World) bool {
	for i := range w.Journal {
		if r := &w.Journal[i]; w.mine(r) && !r.Terminating && r.failedAt.IsZero() {
			return false
		}
	}
	return true
}

// waits: what it is believed to hold is not what the target holds.
func (d *delivery) waits(w *World) bool {
	t := w.Target
	return t.Exists && t.Holds != 0 && t.uid == w.uid && !t.foreign && d.told != t.Holds
}

// Broken: what is there, or what those who have read it go on with, was revoked too early.
func (d *delivery) Broken(w *World) []string {
	if d.gone || !w.Exists || w.uid != 1 || !w.CompromisedAt.IsZero() || !w.RollbackAt.IsZero() || w.abandonAll || w.Retain {
		return nil
	}
	ended := func(material int) bool {
		o := w.Upstream[material]
		return material != 0 && o.Revoked && !o.Killed && !o.Bad
	}
	switch {
	case ended(d.holds):
		return []string{fmt.Sprintf("material %d was revoked where it is delivered (3)", d.holds)}
	case ended(d.before) && w.Now.Before(d.keptUntil()):
		return []string{fmt.Sprintf("material %d was revoked while those who have read it go on with it (3)", d.before)}
	}
	return nil
}

// Settled asks nothing of it.
func (d *delivery) Settled(*World) error { return nil }

// TroubledIn: it has to be delivered or read again first, or holds a deletion.
func (d *delivery) TroubledIn(w *World) bool {
	return !d.gone && (w.Ending() || d.told != w.Target.Holds || d.seen.Before(d.keptUntil()))
}

// delivery is the world's own, where it has one.
func (w *World) delivery() *delivery {
	for _, d := range w.Dimensions {
		if d, ok := d.(*delivery); ok {
			return d
		}
	}
	return &delivery{}
}
