package rotationtest

import (
	"slices"
	"time"

	"github.com/claviger-dev/claviger/internal/rotation"
)

// placeWork is how long the upstream works on a place.
const placeWork = 3 * time.Second

// estate is a container that is made for the credential, with what its keys may do.
type estate struct {
	managed, leaves bool
	wanted          int // what the spec wants
	// The truth upstream.
	exists, taken, refuses, occupied bool // taken: its name is somebody else's; occupied: somebody else's key is in it
	applied, built                   int  // what it was made; which one it is
	busy, late                       time.Time
	homes                            []int // in which one a version is, by nonce
	// What is known: the status, and what the process that looked last remembers.
	noted                             int
	absentSince, hiddenUntil, resting time.Time
}

func newEstate() Dimension { return &estate{managed: true, leaves: true, wanted: 1} }

// newLeasehold is one that outlives the credential.
func newLeasehold() Dimension { return &estate{managed: true, wanted: 1} }

// Clone copies it.
func (e *estate) Clone() Dimension {
	c := *e
	c.homes = slices.Clip(e.homes)
	return &c
}

// AddTo tells it apart.
func (e *estate) AddTo(k *Key) {
	k.Flags(e.exists, e.taken, e.refuses, e.occupied)
	k.Numbers(int64(e.wanted), int64(e.applied), int64(e.built), int64(e.noted))
	k.Times(e.busy, e.late, e.absentSince, e.hiddenUntil, e.resting)
	for _, home := range e.homes {
		k.Flags(home == e.built)
	}
}

// Observe shows what was known when the cache was as it is.
func (e *estate) Observe(_ *World, o *rotation.Observed) {
	o.Place = rotation.Place{
		Managed: true, Leaves: e.leaves, Doubted: e.noted != e.wanted, Exists: e.exists, Usable: e.exists, Differs: e.applied != e.wanted,
		AbsentSince: e.absentSince, HiddenUntil: e.hiddenUntil, NotBefore: e.resting,
		Hidden: problem("Provisioning", false, "the upstream works on it"), Trouble: problem("ProvisioningFailed", true, "no such role"),
	}
}

// tick carries out what was asked for long ago.
func (e *estate) tick(w *World) {
	if !e.late.IsZero() && !w.Now.Before(e.late) {
		e.late = time.Time{}
		if !e.exists && !e.taken {
			e.build(w)
		}
	}
}

func (e *estate) build(w *World) {
	e.exists, e.applied, e.busy = true, e.wanted, w.Now.Add(placeWork)
	e.built++
	w.effects++
}

// Look asks the upstream.
func (e *estate) Look(_, live *World, facts rotation.Facts) bool {
	is := live.estate()
	if facts.Has(rotation.FactCredential) {
		e.wanted = is.wanted
	}
	if !facts.Has(rotation.FactPlace) {
		return true
	}
	is.tick(live)
	is.hiddenUntil = time.Time{}
	_, _, answered := live.call()
	switch {
	case !answered, is.taken && !is.exists:
		is.hiddenUntil = live.Now.Add(callPause)
	case live.Now.Before(is.busy):
		is.hiddenUntil = is.busy
	case !is.exists:
		is.noted = 0
		if is.absentSince.IsZero() {
			is.absentSince = live.Now
		}
	default:
		is.absentSince, is.noted = time.Time{}, is.applied
	}
	wanted := e.wanted
	*e = *is
	e.wanted = wanted
	return true
}

// Act makes, changes and deletes it.
func (e *estate) Act(seen, live *World, step rotation.Step) (known, done bool) {
	e.tick(live)
	was := seen.estate()
	switch step.Action {
	case rotation.CreateIntent:
		if !was.exists {
			live.Fault("version %d is begun where nothing is", step.Version)
		}
		for _, side := range []*estate{e, was} {
			homes := append(slices.Clip(side.homes), make([]int, max(0, live.nonces+2-len(side.homes)))...)
			homes[live.nonces+1] = was.built
			side.homes = homes
		}
	case rotation.Provision:
		e.provision(seen, live)
		wanted := was.wanted
		*was = *e
		was.wanted = wanted
		return true, true
	case rotation.Deprovision:
		e.deprovision(seen, live)
		*was = *e
		return true, true
	case rotation.RemoveFinalizer:
		if e.leaves && e.exists && !seen.Retain && !seen.abandonAll {
			live.Fault("the credential goes, and what was made for it is still there (10)")
		}
	}
	return false, false
}

func (e *estate) provision(seen, live *World) {
	if !live.Finalized && live.Exists && live.uid == seen.uid {
		live.Fault("a place is made that nobody remembers (2)")
	}
	if seen.Ending() {
		live.Fault("a place is made for a credential that ends")
	}
	arrives, later, answered := live.call()
	e.absentSince = time.Time{}
	switch {
	case e.refuses && answered:
		e.resting = live.Now.Add(callPause)
	case later && !e.exists:
		e.late = live.Now.Add(lateness)
	case arrives && !e.refuses && !e.exists && !e.taken:
		wanted := e.wanted
		e.wanted = seen.estate().wanted
		e.build(live)
		e.wanted = wanted
	case arrives && !e.refuses && e.exists && !live.Now.Before(e.busy):
		e.applied, e.busy = seen.estate().wanted, live.Now.Add(placeWork)
		live.effects++
	}
	e.hiddenUntil = live.Now.Add(callPause) // it is looked at before anything else is said
	e.noted = 0
}

func (e *estate) deprovision(seen, live *World) {
	if seen.Retain || !seen.Deleting || !e.leaves {
		live.Fault("a place is deleted that was to stay")
	}
	for i, o := range live.Upstream {
		if i > 0 && o.Live && seen.Exists && !slices.Contains(live.suspected, o.Nonce) && !slices.Contains(live.erased, o.Nonce) {
			live.Fault("a place is deleted, and material %d lives in it", i)
		}
	}
	arrives, _, answered := live.call()
	if arrives && !e.occupied && e.exists {
		e.exists = false
		live.effects++
	}
	if !answered || e.occupied {
		e.resting = live.Now.Add(callPause)
	}
	e.hiddenUntil = live.Now.Add(callPause)
}

// Events are what people and the upstream do to it.
func (e *estate) Events() []Event {
	when := func(happens func(*World, *estate) bool) func(*World, *Process) bool {
		return func(w *World, _ *Process) bool {
			e := w.estate()
			did := e.managed && happens(w, e)
			if did {
				w.Touch()
			}
			return did
		}
	}
	return []Event{
		{Name: "the spec wants other roles", Happens: when(func(w *World, e *estate) bool {
			if w.Ending() || e.wanted > 1 {
				return false
			}
			e.wanted++
			w.reviewers().generation++
			return true
		})},
		{Name: "somebody deletes the instance", Happens: when(func(w *World, e *estate) bool {
			if !e.exists || w.Now.Before(e.busy) || w.Ending() {
				return false
			}
			e.exists = false
			for i := range w.Upstream {
				if o := &w.Upstream[i]; o.Live {
					o.Live, o.Killed = false, true
				}
			}
			return true
		})},
		{Name: "somebody changes the roles of the instance", Happens: when(func(_ *World, e *estate) bool {
			if !e.exists || e.applied < 0 {
				return false
			}
			e.applied = -1
			return true
		})},
		{Name: "the issuer's pass looks at the instance", Free: true, Happens: when(func(_ *World, e *estate) bool {
			truth := 0
			if e.exists {
				truth = e.applied
			}
			if e.noted == truth || e.noted == 0 {
				return false
			}
			e.noted = 0
			return true
		})},
		{Name: "the status is lost", Happens: when(func(_ *World, e *estate) bool {
			lost := e.noted != 0
			e.noted = 0
			return lost
		})},
		{Name: "somebody has taken the name of the instance", Happens: when(func(_ *World, e *estate) bool {
			took := !e.exists && !e.taken
			e.taken = e.taken || took
			return took
		})},
		{Name: "somebody gives the name of the instance back", Free: true, Happens: when(func(_ *World, e *estate) bool {
			was := e.taken
			e.taken = false
			return was
		})},
		{Name: "the broker refuses instances", Happens: when(func(_ *World, e *estate) bool {
			did := !e.refuses
			e.refuses = true
			return did
		})},
		{Name: "the broker takes instances", Free: true, Happens: when(func(_ *World, e *estate) bool {
			was := e.refuses
			e.refuses = false
			return was
		})},
		{Name: "somebody makes a key in the instance", Happens: when(func(_ *World, e *estate) bool {
			did := e.exists && !e.occupied
			e.occupied = e.occupied || did
			return did
		})},
		{Name: "that key is deleted", Free: true, Happens: when(func(_ *World, e *estate) bool {
			was := e.occupied
			e.occupied = false
			return was
		})},
	}
}

// Broken: what is forbidden is judged when it is done.
func (e *estate) Broken(*World) []string { return nil }

// Settled: it is there as the spec wants it, as far as anybody can know.
func (e *estate) Settled(w *World) error {
	if !w.Ending() && len(w.Journal) > 0 && e.noted != e.wanted && w.variant.impossible(w) == "" {
		return errNotFurnished
	}
	return nil
}

type settled string

func (s settled) Error() string { return string(s) }

const errNotFurnished = settled("the place is not what the spec wants, and that is known")

// TroubledIn: the upstream or somebody stands in the way.
func (e *estate) TroubledIn(w *World) bool {
	return e.taken || e.refuses || e.occupied && w.Ending()
}

// estate is the world's own, where it has one.
func (w *World) estate() *estate {
	for _, d := range w.Dimensions {
		if e, ok := d.(*estate); ok {
			return e
		}
	}
	return &estate{}
}

// housed reports whether a version can be made where it was to live. idle: the upstream takes
// it now.
func (w *World) housed(nonce int) (there, idle bool) {
	e := w.estate()
	if !e.managed {
		return true, true
	}
	there = e.exists && nonce < len(e.homes) && e.homes[nonce] == e.built
	return there, !w.Now.Before(e.busy)
}
