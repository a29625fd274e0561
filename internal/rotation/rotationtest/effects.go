package rotationtest

import (
	"slices"
	"time"

	"github.com/claviger-dev/claviger/internal/rotation"
)

// act makes the effect of a step if what was read is still true.
func (p *Process) act(w *World, step rotation.Step) bool {
	for i := range w.Dimensions {
		if known, done := w.Dimensions[i].Act(p.seen, w, step); known {
			return done
		}
	}
	switch step.Action {
	case rotation.AddFinalizer, rotation.RemoveFinalizer:
		return p.finalize(w, step.Action == rotation.AddFinalizer)
	case rotation.HoldIssuer:
		w.Held, p.seen.Held = true, true
		p.fresh &^= rotation.FactIssuer
		w.Touch()
		return true
	case rotation.CreateIntent:
		return p.createIntent(w, step)
	case rotation.Adopt:
		return p.adopt(w, step.Version)
	case rotation.Publish:
		return p.publish(w, step)
	case rotation.ShowPrevious, rotation.HidePrevious:
		return p.writePrevious(w, step)
	case rotation.RetainTarget, rotation.DeleteTarget:
		return p.endTarget(w, step)
	}
	seen := p.seen.find(step.Version)
	live := w.byNonce(seen.Nonce)
	if live == nil {
		return false
	}
	switch step.Action {
	case rotation.Issue:
		p.issue(w, live, seen, step.Replaces)
		return true
	case rotation.WriteAnswer:
		return p.writeAnswer(live, seen, w)
	case rotation.Disown:
		p.disown(w, live)
		return true
	case rotation.Verify:
		p.verify(w, live)
		return true
	case rotation.Revoke:
		p.revoke(w, live)
		return true
	}
	if live.revision != seen.revision {
		return false
	}
	return p.edit(w, live, step)
}

func (p *Process) finalize(w *World, on bool) bool {
	if !w.Exists || w.uid != p.seen.uid || w.Deleting != p.seen.Deleting {
		return false
	}
	w.Finalized, p.seen.Finalized = on, on
	w.Touch()
	if w.Deleting && !on {
		w.vanish()
		p.seen.Exists = false
	}
	return true
}

// vanish takes the credential away, its finalizer or not.
func (w *World) vanish() { w.Exists, w.Deleting, w.Finalized = false, false, false; w.Touch() }

func (p *Process) createIntent(w *World, step rotation.Step) bool {
	if w.find(step.Version) != nil || w.uid != p.seen.uid {
		return false
	}
	// Between the look at the credential and the intent it may have been deleted, and its
	// journal with it. What is made then goes the same way, and its nonce is its own.
	if step.Version <= w.highest && !w.Ending() {
		w.Fault("number %d is used again", step.Version)
	}
	if w.Has(NameTaken) && p.seen.Has(NameTaken) {
		w.Fault("version %d is begun although somebody else's Secret stands in its way", step.Version)
	}
	if c := w.variant.Capabilities; c.MaxLive > 0 && p.count >= c.MaxLive {
		w.Fault("version %d is begun where %d versions live of %d", step.Version, p.count, c.MaxLive)
	}
	strange := slices.ContainsFunc(p.seen.Journal, func(r Record) bool { return p.seen.mine(&r) && r.strange })
	if p.observer || strange || p.seen.Has(Suspended) {
		w.Fault("version %d is begun by a process that may only look", step.Version)
	}
	w.highest = max(w.highest, step.Version)
	w.nonces++
	material := 0
	if w.variant.Class == WriteAhead {
		// The material is drafted here, before the upstream hears of it.
		w.Upstream = append(slices.Clip(w.Upstream), Object{Nonce: w.nonces})
		material = len(w.Upstream) - 1
	}
	p.remember(w.nonces, func(m *recollection) { m.clean = true })
	r := Record{
		Number: step.Version, Nonce: w.nonces, Material: material, Failures: step.Failures, IntentAt: w.Now, Answers: step.Answers,
		holder: p.id, attempt: 1, deadline: w.Now.Add(rotation.ClaimTime), uid: w.uid,
	}
	if before := p.seen.find(step.Replaces); before != nil {
		r.Replaces, r.inPlace = before.Nonce, step.InPlace
	}
	w.touch(&r)
	w.Journal = append(w.Journal, r)
	p.seen.Journal = append(p.seen.Journal, r)
	return true
}

// adopt takes over what another incarnation has left, if the upstream accepts it.
func (p *Process) adopt(w *World, number int64) bool {
	seen := p.retained(number)
	live := w.byNonce(seen.Nonce)
	if live == nil {
		return false
	}
	if _, _, answered := w.call(); !answered {
		p.setBack(w, live.Nonce, "no answer to the login")
		return true
	}
	if !w.accepts(live.Material) {
		p.remember(live.Nonce, func(m *recollection) { m.unfit = true })
		return true
	}
	if live.revision != seen.revision {
		return false
	}
	live.uid, live.released = w.uid, false
	w.highest = max(w.highest, live.Number)
	w.touch(live)
	*seen = *live
	p.remember(live.Nonce, func(m *recollection) {
		m.answered, m.accepted, m.notBefore, m.trouble = true, true, time.Time{}, nil
	})
	return true
}

func (p *Process) retained(number int64) *Record {
	for i := range p.seen.Journal {
		if r := &p.seen.Journal[i]; r.Number == number && !p.seen.mine(r) && !p.recall(r.Nonce).unfit {
			return r
		}
	}
	return nil
}

func (p *Process) publish(w *World, step rotation.Step) bool {
	seen := p.seen
	r := seen.find(step.Version)
	first := step.Cause == ""
	switch {
	case first && !w.Now.Before(r.deadline), w.Target.revision != seen.Target.revision, w.Has(NameTaken):
		return false
	case w.Target.Exists && w.Target.terminating:
		return false
	}
	before := p.target().Published
	w.put(Mount{
		Exists: true, uid: seen.uid, Holds: r.Material, number: r.Number, hint: r.Nonce, at: w.Now.Truncate(time.Second),
		previous: w.Target.previous, hidden: w.Target.hidden,
	})
	seen.Target = w.Target
	if live := w.byNonce(r.Nonce); live != nil {
		live.served = true
	}
	if !first && before == 0 {
		p.remember(r.Nonce, func(m *recollection) { m.doubted = true })
	}
	return true
}

// writePrevious writes what stands beside the published version. Whether the version lives
// is read again, after the target was.
func (p *Process) writePrevious(w *World, step rotation.Step) bool {
	m := w.Target
	m.previous, m.hidden = 0, 0
	if step.Version != 0 {
		seen := p.seen.find(step.Version)
		live := w.byNonce(seen.Nonce)
		switch {
		case step.Action == rotation.HidePrevious:
			m.hidden = seen.Nonce
		case live == nil || live.Terminating:
			return false
		default:
			m.previous = seen.Nonce
		}
	}
	if w.Target.revision != p.seen.Target.revision || !w.Target.Exists {
		return false
	}
	w.put(m)
	p.seen.Target = w.Target
	return true
}

func (p *Process) endTarget(w *World, step rotation.Step) bool {
	if w.Target.revision != p.seen.Target.revision {
		return false
	}
	if step.Action == rotation.DeleteTarget {
		w.put(Mount{})
	} else {
		m := w.Target
		m.uid = 0
		w.put(m)
	}
	p.seen.Target = w.Target
	return true
}

// edit changes a version Secret that is still as it was read.
func (p *Process) edit(w *World, r *Record, step rotation.Step) bool {
	switch step.Action {
	case rotation.Claim:
		r.holder, r.attempt, r.deadline = p.id, r.attempt+1, w.Now.Add(rotation.ClaimTime)
	case rotation.NoteRefusal:
		r.refusedSince = p.recall(r.Nonce).refusedSince
	case rotation.Fail:
		r.failedAt, r.Failures = w.Now, r.Failures+1
	case rotation.RollBack:
		r.failedAt, r.notedPublished, r.gaveUpFor = rotation.GivenUpAt(step, w.Now), true, w.RollbackAt
	case rotation.NotePublished:
		r.notedPublished = true
	case rotation.MarkRepublish:
		r.republishAt, p.marked = w.Now, append(slices.Clip(p.marked), r.Number)
	case rotation.Retire:
		r.Terminating = true
		p.fresh &^= rotation.FactTarget
	case rotation.NoteRevoked:
		r.revokedAt = w.Now
	case rotation.Suspect:
		r.revokedAt = w.Now
		w.suspected = append(slices.Clip(w.suspected), r.Nonce)
	case rotation.Retain:
		r.released = true
		r.Terminating = false
	case rotation.Release, rotation.Abandon:
		p.drop(w, r.Nonce)
		return true
	default:
		w.Fault("nobody knows how to carry out %+v", step)
	}
	w.touch(r)
	*p.seen.byNonce(r.Nonce) = *r
	return true
}

func (p *Process) drop(w *World, nonce int) {
	gone := func(r Record) bool { return r.Nonce == nonce }
	w.Touch()
	if r := w.byNonce(nonce); r != nil && r.served && !r.strange {
		w.backup = *r
	}
	w.Journal = slices.DeleteFunc(slices.Clone(w.Journal), gone)
	p.seen.Journal = slices.DeleteFunc(slices.Clone(p.seen.Journal), gone)
}
