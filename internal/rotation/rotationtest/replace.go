package rotationtest

import (
	"slices"
	"time"

	"github.com/claviger-dev/claviger/internal/rotation"
)

// replacing is a variant under a policy that lets versions be renewed in place.
func replacing(name string, class Class, change func(*Variant)) *Variant {
	v := &Variant{Name: name, Class: class, Capabilities: of(class), Policy: onRequest}
	v.Capabilities.InPlace, v.Policy.Replace = true, true
	if change != nil {
		change(v)
	}
	return v
}

// Replacing are the worlds in which a version can take the place of another one upstream.
func Replacing() []*Variant {
	return []*Variant{
		replacing("replaced in place", GrantOnly, nil),
		replacing("replaced in place, and ended by the upstream", GrantOnly, func(v *Variant) { v.Life, v.Renewals = 16*time.Minute, 2 }),
		replacing("replaced in place, and workloads are restarted", ShownOnce, func(v *Variant) {
			v.Policy.Uptake.Margin, v.Dimensions = uptakeMargin, []func() Dimension{newDeployment}
		}),
		replacing("without overlap, replaced in place", ReadableUnique, func(v *Variant) { v.Capabilities.Overlap = false }),
		replacing("without overlap", WriteAhead, func(v *Variant) { v.Capabilities.Overlap, v.Policy.Replace = false, false }),
	}
}

// toReplace is the material that the upstream is to end with the one of r. What is used to
// renew is good for one attempt, and is nothing to use when it may be in foreign hands.
func (p *Process) toReplace(w *World, r *Record, number int64) int {
	before := p.seen.find(number)
	if before == nil {
		return 0
	}
	o := &w.Upstream[before.Material]
	switch {
	case !r.inPlace:
		w.Fault("version %d replaces version %d, and its intent does not say so (2)", r.Number, number)
	case !w.variant.Capabilities.Overlap:
	case before.IntentAt.Before(p.seen.CompromisedAt) && before.Answers.Before(p.seen.CompromisedAt):
		w.Fault("version %d is made of version %d, which was declared compromised", r.Number, number)
	case o.asked != 0 && o.asked != r.Nonce && !slices.Contains(w.restored, before.Nonce):
		w.Fault("version %d is the second one that is made of version %d", r.Number, number)
	}
	if o.asked == 0 {
		o.asked = r.Nonce
	}
	return before.Material
}

// replace ends what a new version takes the place of. What does not live is not taken for
// anything: the new one is an object of its own then.
func (w *World) replace(nonce, material, replaces int) {
	for i := range w.Upstream {
		o := &w.Upstream[i]
		if i == material || !o.Live || i != replaces && w.variant.Capabilities.Overlap {
			continue
		}
		o.Live, o.endedBy, o.isHeirs, w.Upstream[material].ends = false, nonce, i == replaces, i
	}
}

// tookPlace: the answer to r says that what it was to replace has ended.
func (w *World) tookPlace(r *Record) bool {
	return r.inPlace && (w.Upstream[r.Material].ends != 0 || !w.variant.Capabilities.Overlap)
}

// endHeir ends what has taken the place of o and is one thing with it to the upstream. Where a
// restore has left no trace of it in the journal, telling them apart is up to the adapter.
func (w *World) endHeir(o *Object) bool {
	for i := range w.Upstream {
		if heir := &w.Upstream[i]; o.isHeirs && heir.Live && heir.Nonce == o.endedBy && !slices.Contains(w.erased, heir.Nonce) {
			heir.Live, heir.Revoked = false, true
			return true
		}
	}
	return false
}

// replaced: what the target holds was ended by a version of which the journal still knows, so
// everybody can see that another one is needed.
func (w *World) replaced(held Object) bool {
	return held.endedBy != 0 && w.byNonce(held.endedBy) != nil
}

// observeReplacement tells what a version has replaced, and by what it was.
func (p *Process) observeReplacement(r *Record, v *rotation.Version) {
	v.ReplacedAt = r.replacedAt
	for i := range p.seen.Journal {
		other := &p.seen.Journal[i]
		if !p.seen.mine(other) {
			continue
		}
		if other.inPlace && other.Replaces == r.Nonce && !other.replacedAt.IsZero() {
			v.EndedAt, v.EndedBy = other.replacedAt, other.Number
		}
		if r.inPlace && r.Replaces == other.Nonce && (!r.answered || !r.replacedAt.IsZero()) {
			v.InPlaceOf = other.Number
		}
	}
}

// refuses: the policy does not let the upstream end what works, and a renewal is wanted.
func (v *Variant) refuses(w *World, open bool) bool {
	return !v.Capabilities.Overlap && !v.Policy.Replace && (open || w.stuck()) && w.Target.Exists && w.Target.Holds != 0
}

// tellReplacement: nobody waits while the target holds what a replacement has ended without
// saying so.
func (p *Process) tellReplacement(w *World) {
	held := w.Upstream[w.Target.Holds]
	says := func(n *rotation.Problem) bool {
		return n != nil && (n.Reason == "Replaced" || n.Reason == "ReplacementUnknown")
	}
	if held.isHeirs && w.replaced(held) && p.heard == w.clock && !w.Ending() && !w.Target.foreign && !w.Target.terminating && !says(p.last.Notice) {
		w.Fault("the target holds what was ended in place, and nobody says so: %+v %+v", p.last.Problem, p.last.Notice)
	}
}
