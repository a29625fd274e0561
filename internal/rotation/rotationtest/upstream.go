package rotationtest

import (
	"slices"
	"time"

	"github.com/claviger-dev/claviger/internal/rotation"
)

// Class says who makes the material, and what a lost answer costs.
type Class int

// The classes of the design. Readable is the one whose names are not unique.
const (
	WriteAhead Class = iota
	ReadableUnique
	Readable
	ShownOnce
	GrantOnly
)

// lateness is how long after it was given up a call may still be carried out.
const lateness = 40 * time.Second

// sourVersions is how many versions an upstream spoils that accepts nothing new: a life
// has an end.
const sourVersions = 4

// latecomer is a call that nobody waits for any more.
type latecomer struct {
	nonce, material, replaces int
	at                        time.Time
}

// call reports what becomes of a call: whether it arrives now, later, and whether its
// answer does.
func (w *World) call() (arrives, later, answered bool) {
	arrives, later = !w.dropCall && !w.lateCall, w.lateCall && !w.dropCall
	answered = arrives && !w.loseAnswer
	w.dropCall, w.loseAnswer, w.lateCall = false, false, false
	return arrives, later, answered
}

// arrive carries out the calls whose time has come.
func (w *World) arrive() {
	w.sweep()
	for len(w.late) > 0 && !w.Now.Before(w.late[0].at) {
		l := w.late[0]
		w.late = slices.Clone(w.late[1:])
		w.tell(0, "a call of "+l.at.Add(-lateness).Format("15:04:05")+" arrives upstream", 0, "")
		there, _ := w.housed(l.nonce)
		replaces := l.replaces == 0 || w.Upstream[l.replaces].Live || !w.variant.Capabilities.Overlap
		if there && replaces {
			w.make(l.nonce, l.material, l.replaces)
		}
	}
}

// sweep is what the issuer's sweep does with what the journal does not know. It waits for a
// day, so that the Secret holds something else. Where pods matter it is left out: what they
// use of a version that the journal does not know, nobody knows.
func (w *World) sweep() {
	if len(w.Dimensions) > 0 {
		return
	}
	for i := range w.Upstream {
		if o := &w.Upstream[i]; o.Live && i != w.Target.Holds && o.Nonce != w.Target.previous && slices.Contains(w.erased, o.Nonce) && w.byNonce(o.Nonce) == nil {
			o.Live, o.Revoked = false, true
		}
	}
}

// make is what the upstream does with a request. It returns the material, 0 if it refuses.
func (w *World) make(nonce, material, replaces int) int {
	if w.variant.Class != WriteAhead {
		// Where the journal does not know what is published, nobody can tell that it is the same.
		if w.sameAnswer && w.accepts(w.Target.Holds) && !w.behind() {
			w.sameAnswer = false
			// What yet another call for this version makes under its mark is nobody's: the
			// sweep of the issuer finds it.
			w.suspected = append(slices.Clip(w.suspected), nonce)
			return w.Target.Holds
		}
		if material = w.standing(nonce); material == 0 || w.variant.Class >= Readable {
			w.Upstream = append(slices.Clip(w.Upstream), Object{Nonce: nonce})
			material = len(w.Upstream) - 1
		}
	}
	there := &w.Upstream[material]
	switch {
	case there.Live:
		return material
	case there.Revoked:
		w.Fault("nonce %d is created again after it was revoked (10)", nonce)
	}
	there.Live, there.Killed, there.since = true, false, w.Now
	there.Bad = there.Bad || w.Has(Sour) && w.highest <= sourVersions
	if w.variant.Life > 0 && w.highest <= w.variant.Renewals {
		there.until = w.Now.Add(w.variant.Life)
	}
	w.effects++
	w.replace(nonce, material, replaces)
	return material
}

// standing is what already bears the mark of a version; 0 if nothing does.
func (w *World) standing(nonce int) int {
	for i, o := range w.Upstream {
		if i > 0 && o.Nonce == nonce && o.Live {
			return i
		}
	}
	return 0
}

func (p *Process) setBack(w *World, nonce int, what string) {
	p.remember(nonce, func(m *recollection) {
		m.notBefore, m.trouble = w.Now.Add(callPause), problem("UpstreamUnreachable", false, what)
	})
}

func (p *Process) issue(w *World, r, seen *Record, number int64) {
	if w.Now.Add(rotation.CallTime).After(seen.deadline) {
		w.Fault("version %d is issued under a claim that has run out", r.Number)
	}
	if p.observer {
		w.Fault("version %d is issued by an observer", r.Number)
	}
	repeat := seen.attempt > 1 || !p.recall(r.Nonce).clean
	if w.variant.Class > Readable && r.answered {
		w.Fault("version %d is asked for again after its answer was written down", r.Number)
	}
	if material := w.standing(r.Nonce); repeat && w.variant.Class == Readable && material != 0 {
		p.hear(w, r, seen, material, true) // what an earlier call has made is found
		return
	}
	if limit := w.variant.Capabilities.MaxLive; limit > 0 && w.live() >= limit && w.standing(r.Nonce) == 0 {
		if !w.crowded {
			w.Fault("version %d is one more than the upstream takes (6)", r.Number)
		}
		p.setBack(w, r.Nonce, "the container is full")
		return
	}
	if there, idle := w.housed(r.Nonce); !there {
		p.remember(r.Nonce, func(m *recollection) { m.condemned = "the instance is gone" })
		return
	} else if !idle {
		p.setBack(w, r.Nonce, "the upstream works on the instance")
		return
	}
	if r.Material != 0 && w.Upstream[r.Material].taken {
		p.remember(r.Nonce, func(m *recollection) { m.condemned = "the id is taken" })
		return
	}
	replaces := p.toReplace(w, r, number)
	arrives, later, answered := w.call()
	if later {
		w.late = append(slices.Clip(w.late), latecomer{r.Nonce, r.Material, replaces, w.Now.Add(lateness)})
	}
	material := 0
	if arrives {
		material = w.make(r.Nonce, r.Material, replaces)
	}
	switch {
	case answered:
		p.hear(w, r, seen, material, false)
	case arrives || later:
		p.remember(r.Nonce, func(m *recollection) { m.clean, m.lostAttempt = false, seen.attempt })
		p.setBack(w, r.Nonce, "no answer to the create")
	default:
		p.setBack(w, r.Nonce, "the call did not leave")
	}
}

// hear keeps an answer. What cannot be had again waits to be written down.
func (p *Process) hear(w *World, r, _ *Record, material int, found bool) {
	if found && w.variant.Class == Readable {
		// What other calls for the same version have made is dropped.
		for i := range w.Upstream {
			if o := &w.Upstream[i]; o.Nonce == r.Nonce && o.Live && i != material {
				o.Live, o.Revoked = false, true
			}
		}
	}
	p.remember(r.Nonce, func(m *recollection) {
		m.notBefore, m.trouble = time.Time{}, nil
		m.answered = w.variant.Class == WriteAhead
		if w.variant.Class != WriteAhead || !w.Upstream[material].until.IsZero() || w.Upstream[material].ends != 0 {
			m.answer = material
		}
	})
}

// writeAnswer tries again when somebody else has written on the version, as long as the
// claim is this process's.
func (p *Process) writeAnswer(live, seen *Record, w *World) bool {
	if live.holder == p.id {
		m := p.recall(live.Nonce)
		live.answered, live.Material, live.expiresAt = true, m.answer, w.Upstream[m.answer].until
		if w.variant.Class != WriteAhead && m.answer == p.seen.Target.Holds {
			if before := p.heldBy(m.answer); before != nil && before.Nonce != live.Nonce {
				live.sameAs = before.Nonce
			}
		}
		if live.sameAs == 0 && w.tookPlace(live) {
			live.replacedAt = w.Now
		}
		w.touch(live)
		p.remember(live.Nonce, func(m *recollection) { m.answer, m.answered = 0, true })
	}
	*seen = *live
	return true
}

// disown ends what only this process knows of.
func (p *Process) disown(w *World, r *Record) {
	m := p.recall(r.Nonce)
	if !w.variant.Capabilities.Repeatable {
		arrives, _, answered := w.call()
		if arrives && w.Upstream[m.answer].Live {
			if m.answer == w.Target.Holds {
				w.Fault("what the target holds is disowned")
			}
			w.Upstream[m.answer].Live, w.Upstream[m.answer].Revoked = false, true
			w.effects++
		}
		if !answered {
			p.setBack(w, r.Nonce, "no answer to the revocation")
			return
		}
	}
	p.remember(r.Nonce, func(m *recollection) { m.answer, m.notBefore, m.trouble = 0, time.Time{}, nil })
}

func (p *Process) verify(w *World, r *Record) {
	if _, _, answered := w.call(); !answered {
		p.setBack(w, r.Nonce, "no answer to the login")
		return
	}
	accepted := w.accepts(r.Material)
	p.remember(r.Nonce, func(m *recollection) {
		m.trouble, m.notBefore = nil, time.Time{}
		if accepted {
			m.accepted, m.refused, m.refusedSince, m.doubted = true, false, time.Time{}, false
			return
		}
		if !m.refused {
			m.refusedSince = w.Now
		}
		m.accepted, m.refused, m.refusedAt = false, true, w.Now
		m.notBefore = w.Now.Add(rotation.Patience(w.Now.Sub(m.refusedSince)))
	})
}

func (p *Process) revoke(w *World, r *Record) {
	// What the process has looked at counts: nobody can see what is written into the
	// target between the look and the call.
	held := p.seen.Target.Holds
	sacrificed := p.seen.revokeAnyway && r.IntentAt.Before(p.seen.CompromisedAt)
	needed := (!w.Ending() || w.Retain) && !p.seen.Ending() && !p.seen.abandonAll && !sacrificed
	switch {
	case !r.Terminating:
		w.Fault("version %d is revoked without a durable intent", r.Number)
	case p.observer:
		w.Fault("version %d is revoked by an observer", r.Number)
	case !w.variant.Capabilities.Addressable && !r.answered && w.variant.Class == GrantOnly:
		w.Fault("version %d is revoked, and nothing names it to the upstream", r.Number)
	case needed && held != 0 && held == r.Material && r.sameAs == 0:
		w.Fault("version %d is revoked while the target holds it (3)", r.Number)
	case needed && r.served && r.Material != 0 && w.Upstream[r.Material].Live && !w.Upstream[held].Killed && !w.Upstream[held].Live:
		w.Fault("version %d is revoked and no other one is published (3)", r.Number)
	}
	arrives, _, answered := w.call()
	absent := true
	if arrives {
		absent = !w.endAll(r)
		w.Upstream[r.Material].spent = w.Upstream[r.Material].spent || sacrificed
	}
	switch {
	case !answered:
		p.remember(r.Nonce, func(m *recollection) { m.absentSince = time.Time{} })
		p.setBack(w, r.Nonce, "no answer to the revocation")
	case !absent || rotation.Gone(p.version(p.seen.byNonce(r.Nonce), &rotation.Target{}), w.variant.Capabilities, w.Now):
		p.remember(r.Nonce, func(m *recollection) { m.revoked, m.notBefore, m.trouble = true, time.Time{}, nil })
	default:
		p.remember(r.Nonce, func(m *recollection) {
			if m.absentSince.IsZero() {
				m.absentSince = w.Now
			}
			m.notBefore, m.trouble = m.absentSince.Add(w.variant.Capabilities.Settle), nil
		})
	}
}

// endAll ends what a handle means: what the answer told of, or all that bears the mark if
// the answer was lost. It reports whether there was anything.
func (w *World) endAll(r *Record) bool {
	found := false
	for i := range w.Upstream {
		o := &w.Upstream[i]
		means := i == r.Material || (r.Material == 0 || w.variant.Class == ReadableUnique) && o.Nonce == r.Nonce
		if i != 0 && means && o.endedBy != 0 {
			found = w.endHeir(o) || found
		}
		if i == 0 || !means || !o.Live {
			continue
		}
		if w.shared(i, r) {
			w.Fault("version %d is revoked, and another version is the same object (11)", r.Number)
		}
		o.Live, o.Revoked, found = false, true, true
		w.effects++
	}
	return found
}

// shared: another version that is needed is the same object.
func (w *World) shared(material int, r *Record) bool {
	return slices.ContainsFunc(w.Journal, func(other Record) bool {
		return other.Nonce != r.Nonce && other.Material == material && other.sameAs == 0 && !other.Terminating && other.failedAt.IsZero()
	})
}
