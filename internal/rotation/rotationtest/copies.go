package rotationtest

import (
	"fmt"
	"slices"
	"time"

	"github.com/claviger-dev/claviger/internal/rotation"
	"github.com/claviger-dev/claviger/internal/uptake"
)

// copies are the Secrets of single versions, and a workload whose template names one of them.
// Git moves the template when it likes, and back. It is the dimension of versioned names.
type copies struct {
	standing  []int     // nonces
	withdrawn []passing // when a copy went, for the node that remembers it
	absent    []passing // when an operator has first seen that one is gone: the earliest counts

	busy     bool // the workload is there from the first version on
	template int  // the nonce that the template names; 0: none
	runs     bool
	nonce    int // that the pod's Secret was named after
	looked   time.Time
}

// passing is a moment of a version's copy.
type passing struct {
	nonce int
	at    time.Time
}

func newCopies() Dimension { return &copies{} }

func newBusyCopies() Dimension { return &copies{busy: true} }

func find(all []passing, nonce int) time.Time {
	for _, p := range all {
		if p.nonce == nonce {
			return p.at
		}
	}
	return time.Time{}
}

// Clone copies it.
func (d *copies) Clone() Dimension {
	c := *d
	c.standing, c.withdrawn, c.absent = slices.Clip(d.standing), slices.Clip(d.withdrawn), slices.Clip(d.absent)
	return &c
}

// AddTo tells it apart.
func (d *copies) AddTo(k *Key) {
	k.Flags(d.runs)
	k.Numbers(int64(d.template), int64(d.nonce), int64(len(d.standing)))
	for _, nonce := range d.standing {
		k.Numbers(int64(nonce))
	}
	for _, all := range [][]passing{d.withdrawn, d.absent} {
		k.Numbers(int64(len(all)))
		for _, p := range all {
			k.Numbers(int64(p.nonce))
			k.Times(p.at)
		}
	}
	k.Times(d.looked)
}

// Observe shows the copies as the cache has them, or as they were read since.
func (d *copies) Observe(w *World, o *rotation.Observed) {
	o.Credential.Versioned, o.Credential.Protected = w.Exists, true
	fresh := o.Fresh.Has(rotation.FactConsumers)
	if fresh {
		o.Consumers = rotation.Consumers{Known: true, Began: d.looked, Again: d.looked.Add(podsAgain), References: map[int64]uptake.References{}}
		if d.runs {
			o.Consumers.Names = []string{"pod"}
		}
	}
	for i := range o.Versions {
		v := &o.Versions[i]
		r := w.find(v.Number)
		v.Copied, v.CopyGoneSince = slices.Contains(d.standing, r.Nonce), find(d.absent, r.Nonce)
		if !fresh {
			continue
		}
		refers := uptake.References{}
		if d.runs && d.nonce == r.Nonce {
			refers.Pods = []string{"pod"}
		}
		if d.template == r.Nonce {
			refers.Templates = []string{"Deployment/billing"}
		}
		o.Consumers.References[v.Number] = refers
	}
	if o.Fresh.Has(rotation.FactJournal) {
		o.Target.Strays = slices.ContainsFunc(d.standing, func(nonce int) bool { return stray(w, nonce) })
	}
}

// stray: the journal knows no version of the present incarnation that the copy is of.
func stray(w *World, nonce int) bool {
	r := w.byNonce(nonce)
	return r == nil || r.released
}

// Look sees the copies, and who refers to them, as they are.
func (d *copies) Look(seen, live *World, facts rotation.Facts) bool {
	now := live.copies()
	if facts.Has(rotation.FactCopies) {
		for i := range seen.Journal {
			r := &seen.Journal[i]
			if r.Terminating && !slices.Contains(now.standing, r.Nonce) && find(now.absent, r.Nonce).IsZero() {
				now.absent = append(slices.Clip(now.absent), passing{r.Nonce, live.Now})
			}
		}
	}
	if facts.Has(rotation.FactCopies) || facts.Has(rotation.FactJournal) {
		d.standing, d.absent = slices.Clip(now.standing), slices.Clip(now.absent)
	}
	if facts.Has(rotation.FactConsumers) {
		d.template, d.runs, d.nonce, d.looked = now.template, now.runs, now.nonce, live.Now
	}
	return true
}

// Act writes copies and takes them away.
func (d *copies) Act(seen, live *World, step rotation.Step) (known, done bool) {
	d, was := live.copies(), seen.copies()
	switch step.Action {
	case rotation.PublishCopy:
		nonce := seen.find(step.Version).Nonce
		if slices.Contains(d.standing, nonce) {
			return true, false
		}
		if !find(d.withdrawn, nonce).IsZero() {
			live.Fault("the Secret of version %d is written again after it was withdrawn", step.Version)
		}
		d.standing = append(slices.Clip(d.standing), nonce)
		if d.busy && d.template == 0 {
			d.template, d.runs, d.nonce = nonce, true, nonce
		}
	case rotation.WithdrawCopy:
		for _, nonce := range slices.Clone(d.standing) {
			if step.Version != 0 && nonce != seen.find(step.Version).Nonce || step.Version == 0 && !stray(seen, nonce) {
				continue
			}
			d.standing = slices.DeleteFunc(slices.Clone(d.standing), func(n int) bool { return n == nonce })
			d.withdrawn = append(slices.Clip(d.withdrawn), passing{nonce, live.Now})
			d.absent = append(slices.Clip(d.absent), passing{nonce, live.Now})
		}
	default:
		return false, false
	}
	was.standing, was.absent = slices.Clip(d.standing), slices.Clip(d.absent)
	live.Touch()
	return true, true
}

// start runs a pod of the template, if it finds its Secret: on the API server, or for a moment
// still in what its node remembers.
func (d *copies) start(w *World) bool {
	gone := find(d.withdrawn, d.template)
	remembered := !gone.IsZero() && w.Now.Before(gone.Add(uptakeMargin))
	if d.template == 0 || !slices.Contains(d.standing, d.template) && !remembered {
		return false
	}
	d.runs, d.nonce = true, d.template
	return true
}

// name has Git name a version's copy in the template.
func (d *copies) name(w *World, wanted func(r *Record) bool) bool {
	for i := range w.Journal {
		r := &w.Journal[i]
		if w.mine(r) && slices.Contains(d.standing, r.Nonce) && r.Nonce != d.template && wanted(r) {
			d.template = r.Nonce
			return true
		}
	}
	return false
}

// Events are what Git, the cluster and people do. The operator is told of copies alone.
func (d *copies) Events() []Event {
	when := func(happens func(*World, *copies) bool) func(*World, *Process) bool {
		return func(w *World, _ *Process) bool { return happens(w, w.copies()) }
	}
	return []Event{
		{Name: "Git names the published version", Free: true, Happens: when(func(w *World, d *copies) bool {
			return d.name(w, func(r *Record) bool { return r.Material == w.Target.Holds })
		})},
		{Name: "Git goes back to a version that stands", Happens: when(func(w *World, d *copies) bool {
			return d.name(w, func(r *Record) bool { return r.Material != w.Target.Holds })
		})},
		{Name: "Git names none any more", Free: true, Happens: when(func(_ *World, d *copies) bool {
			if d.template == 0 || d.busy {
				return false
			}
			d.template = 0
			return true
		})},
		{Name: "a pod that names a version starts", Happens: when(func(w *World, d *copies) bool { return !d.runs && d.start(w) })},
		{Name: "the pod that names a version is replaced", Free: true, Happens: when(func(w *World, d *copies) bool {
			return d.runs && d.nonce != d.template && d.start(w)
		})},
		{Name: "the pod that names a version ends", Free: true, Happens: when(func(_ *World, d *copies) bool {
			ran := d.runs
			d.runs, d.nonce = false, 0
			return ran
		})},
		{Name: "somebody deletes the Secret of the newest version that has one", Happens: when(func(w *World, d *copies) bool {
			if len(d.standing) == 0 {
				return false
			}
			d.standing = slices.Clone(d.standing[:len(d.standing)-1])
			w.Touch()
			return true
		})},
	}
}

// Broken: what a pod holds was revoked for no good reason, or a Secret stands that leads to what
// was revoked. A deletion is held for the pods that the last look has seen.
func (d *copies) Broken(w *World) []string {
	var faults []string
	if w.Ending() || w.uid != 1 || w.abandonAll {
		return nil
	}
	for material, o := range w.Upstream {
		condemned := o.Killed || o.Bad || w.CompromisedAt.After(Began)
		if !o.Revoked || condemned {
			continue
		}
		if d.runs && d.nonce == o.Nonce {
			faults = append(faults, fmt.Sprintf("material %d was revoked, and a pod holds it by its name (3)", material))
		}
		if slices.Contains(d.standing, o.Nonce) {
			faults = append(faults, fmt.Sprintf("material %d was revoked, and its own Secret stands (1)", material))
		}
	}
	return faults
}

// Settled: what lives and has served stands in a Secret of its own, and nothing else does.
func (d *copies) Settled(w *World) error {
	if w.Ending() || w.variant.impossible(w) != "" {
		return nil
	}
	for i := range w.Journal {
		r := &w.Journal[i]
		if o := w.Upstream[r.Material]; w.mine(r) && r.Material == w.Target.Holds && o.Live && !o.Bad && !slices.Contains(d.standing, r.Nonce) {
			return fmt.Errorf("version %d has no Secret of its own", r.Number)
		}
	}
	for _, nonce := range d.standing {
		if r := w.byNonce(nonce); (r == nil || !r.revokedAt.IsZero()) && !slices.Contains(w.erased, nonce) {
			return fmt.Errorf("the Secret named after nonce %d stands, and no version is it", nonce)
		}
	}
	return nil
}

// Troubled: somebody refers to a version, and may do so for ever.
func (d *copies) Troubled() bool { return d.runs || d.template != 0 }

// copies are the world's own, where it has some.
func (w *World) copies() *copies {
	for _, d := range w.Dimensions {
		if c, ok := d.(*copies); ok {
			return c
		}
	}
	return &copies{}
}
