package rotationtest

import (
	"slices"
	"time"
)

// fast is how far a person's clock is ahead.
const fast = 3 * time.Minute

// Events are what may happen to any credential.
func Events() []Event {
	return slices.Concat(accidents(), people(), endings(), troubles())
}

// accidents happen to processes and to their calls.
func accidents() []Event {
	return []Event{
		{Name: "the operator is killed", Happens: func(_ *World, p *Process) bool {
			if p.fresh == 0 && p.seen == nil && len(p.memory) == 0 && p.frozen == nil {
				return false
			}
			p.crash(p.id + 2)
			return true
		}},
		{Name: "the operator is replaced by one that has not looked at the issuer yet", Happens: func(_ *World, p *Process) bool {
			p.crash(p.id + 2)
			p.unready = true
			return true
		}},
		{Name: "the issuer has a verdict", Free: true, Happens: func(_ *World, p *Process) bool {
			was := p.unready
			p.unready, p.asleep = false, false
			return was
		}},
		{Name: "the operator is replaced by one that only observes", Happens: func(_ *World, p *Process) bool {
			if p.observer {
				return false
			}
			p.crash(p.id + 2)
			p.observer = true
			return true
		}},
		{Name: "the observer is replaced by one that acts", Free: true, Happens: func(_ *World, p *Process) bool {
			if !p.observer {
				return false
			}
			p.crash(p.id + 2)
			return true
		}},
		{Name: "the cache falls behind", Happens: func(w *World, p *Process) bool {
			if p.frozen != nil {
				return false
			}
			p.frozen = w.clone()
			p.frozen.story = nil
			return true
		}},
		{Name: "the operator stands still for a quarter of a minute", Happens: func(w *World, p *Process) bool {
			w.Now = w.Now.Add(15 * time.Second)
			return p.seen != nil
		}},
		{Name: "the operator stands still for a minute", Happens: func(w *World, p *Process) bool {
			w.Now = w.Now.Add(time.Minute)
			return p.seen != nil
		}},
		{Name: "the next answer is lost", Happens: func(w *World, _ *Process) bool {
			lost := w.loseAnswer
			w.loseAnswer = true
			return !lost
		}},
		{Name: "the next call is dropped", Happens: func(w *World, _ *Process) bool {
			dropped := w.dropCall
			w.dropCall = true
			return !dropped
		}},
		{Name: "the next call is carried out long after it was given up", Happens: func(w *World, _ *Process) bool {
			late := w.lateCall
			w.lateCall = true
			return !late
		}},
		{Name: "the upstream answers with what is published already", Happens: func(w *World, _ *Process) bool {
			if w.sameAnswer || w.variant.Class == WriteAhead || w.Target.Holds == 0 || !w.accepts(w.Target.Holds) {
				return false
			}
			w.sameAnswer = true
			return true
		}},
		{Name: "the listing lacks the published version, which lives", Happens: func(w *World, p *Process) bool {
			o := w.Upstream[w.Target.Holds]
			if !o.Live || p.recall(o.Nonce).doubted || !w.variant.Capabilities.Verifies {
				return false
			}
			p.remember(o.Nonce, func(m *recollection) { m.doubted = true })
			p.asleep = false
			return true
		}},
	}
}

// aRace is why two events are left out where two processes act. Admission refuses them
// to people, and there is a known gap: a process that does not know yet of a version
// under way may release the deleted one that it follows, and the version then counts as
// published.
const aRace = "a process that does not know of a version under way may release the one that it follows"

// people do what they should not, and what they may.
func people() []Event {
	return []Event{
		{Name: "somebody deletes the target", Happens: func(w *World, _ *Process) bool {
			if !w.Target.Exists || w.Target.uid != w.uid || w.behind() {
				return false // nothing would be left that tells of a version which the journal does not know
			}
			w.put(Mount{})
			return true
		}},
		{Name: "somebody edits the target", Happens: func(w *World, _ *Process) bool {
			if !w.Target.Exists || w.Target.uid != w.uid || w.Target.Holds == 0 {
				return false
			}
			m := w.Target
			m.Holds, m.foreign = 0, true
			w.put(m)
			return true
		}},
		{Name: "somebody writes the predecessor's bytes into the target", Happens: func(w *World, _ *Process) bool {
			for i := range w.Journal {
				r := &w.Journal[i]
				if w.mine(r) && w.Target.Exists && w.Target.uid == w.uid && r.Material != w.Target.Holds && r.served && !r.Terminating {
					m := w.Target
					m.Holds, m.foreign = r.Material, true
					w.put(m)
					return true
				}
			}
			return false
		}},
		{Name: "somebody wipes the managed fields of the target", Happens: func(w *World, _ *Process) bool {
			if !w.Target.Exists || w.Target.uid != w.uid || w.Target.at.IsZero() {
				return false
			}
			m := w.Target
			// Whoever writes such a Secret again writes it in full.
			m.at, m.stale = time.Time{}, true
			w.put(m)
			return true
		}},
		{Name: "the template is changed", Happens: func(w *World, _ *Process) bool {
			if !w.Target.Exists || w.Target.uid != w.uid || w.Target.stale {
				return false
			}
			w.Target.stale = true
			w.Touch()
			return true
		}},
		{Name: "somebody deletes the newest version Secret", Alone: aRace, Happens: func(w *World, _ *Process) bool {
			return w.deleteVersion(len(w.Journal) - 1)
		}},
		{Name: "somebody deletes the oldest version Secret", Alone: aRace, Happens: func(w *World, _ *Process) bool { return w.deleteVersion(0) }},
		{Name: "the newest version will never be accepted", Happens: func(w *World, _ *Process) bool {
			if len(w.Journal) == 0 || !w.variant.Capabilities.Verifies {
				return false
			}
			newest := w.Journal[len(w.Journal)-1]
			there := &w.Upstream[newest.Material]
			if newest.Material == 0 || there.Bad || newest.served || w.accepts(newest.Material) {
				return false
			}
			there.Bad = true
			return true
		}},
		{Name: "the id of the newest version is taken upstream", Happens: func(w *World, p *Process) bool {
			if len(w.Journal) == 0 {
				return false
			}
			newest := w.Journal[len(w.Journal)-1]
			there := &w.Upstream[newest.Material]
			if newest.Material == 0 || there.Live || there.Bad || newest.served || p.recall(newest.Nonce).condemned != "" || !w.mine(&newest) {
				return false
			}
			// Whatever is sent, nothing of ours is ever made under this id.
			there.Bad, there.taken = true, true
			return true
		}},
		{Name: "somebody removes the published version upstream", Happens: func(w *World, _ *Process) bool {
			there := &w.Upstream[w.Target.Holds]
			if !there.Live || w.Ending() || !w.variant.Capabilities.Verifies {
				return false
			}
			there.Live, there.Killed = false, true
			w.Touch() // the issuer's verdict wakes its credentials
			return true
		}},
		{Name: "a rotation is requested", Happens: func(w *World, _ *Process) bool {
			if w.Ending() || !w.RequestedAt.Before(w.Now) {
				return false
			}
			w.RequestedAt = w.Now
			w.Touch()
			return true
		}},
		{Name: "what exists is declared compromised", Happens: func(w *World, _ *Process) bool { return w.compromise(false) }},
		{Name: "what exists is declared compromised, and to be revoked at any price", Happens: func(w *World, _ *Process) bool { return w.compromise(true) }},
		{Name: "the version before is asked for", Happens: func(w *World, _ *Process) bool {
			if w.Ending() || !w.RollbackAt.Before(w.Now) {
				return false
			}
			w.RollbackAt = w.Now.Add(fast) // by the clock of who asks
			w.Touch()
			return true
		}},
		{Name: "a rotation is requested for a time to come", Happens: func(w *World, _ *Process) bool {
			if w.Ending() || !w.RequestedAt.IsZero() {
				return false
			}
			w.RequestedAt = w.Now.Add(time.Hour)
			w.Touch()
			return true
		}},
	}
}

// endings end a credential, and begin it anew.
func endings() []Event {
	return []Event{
		{Name: "the credential is deleted", Happens: func(w *World, _ *Process) bool { return w.Delete(false) }},
		{Name: "the credential is deleted and retained", Happens: func(w *World, _ *Process) bool { return w.Delete(true) }},
		{Name: "the namespace is deleted", Happens: func(w *World, _ *Process) bool {
			if !w.Delete(w.Retain) {
				return false
			}
			for i := range w.Journal {
				w.deleteVersion(i)
			}
			return true
		}},
		{Name: "the credential vanishes around its finalizer", Happens: func(w *World, _ *Process) bool {
			if !w.Exists {
				return false
			}
			w.vanish()
			w.put(Mount{}) // what happens to it is nobody's business any more
			return true
		}},
		{Name: "a credential of that name is made again", Happens: func(w *World, _ *Process) bool {
			if w.Exists || w.uid > 1 || len(w.Journal) > 0 && !w.variant.Capabilities.Verifies {
				return false
			}
			for i, o := range w.Upstream {
				if o.Live && !o.Bad && !w.accepts(i) {
					return false // what is not accepted yet is not adopted, and that is final
				}
			}
			w.uid++
			w.Exists, w.Retain, w.RequestedAt, w.abandonAll = true, false, time.Time{}, false
			w.CompromisedAt, w.RollbackAt, w.revokeAnyway = time.Time{}, time.Time{}, false
			w.highest = 0
			w.Touch()
			return true
		}},
		{Name: "the journal is restored from a backup that is older than the target", Alone: aRace, Happens: restore},
		{Name: "the journal is restored into another cluster", Happens: func(w *World, _ *Process) bool { return w.disown(true) }},
		{Name: "the journal is released to this cluster", Free: true, Happens: func(w *World, _ *Process) bool { return w.disown(false) }},
		{Name: "an administrator lets everything go", Happens: func(w *World, _ *Process) bool {
			if !w.Deleting || w.abandonAll {
				return false
			}
			w.abandonAll = true
			w.Touch()
			return true
		}},
	}
}

// troubles begin for a price, and end for free while everybody sleeps.
func troubles() []Event {
	var events []Event
	for _, t := range []struct {
		trouble    Trouble
		begin, end string
		possible   func(*World) bool
	}{
		{AccountDown, "the account cannot be called", "the account can be called again", nil},
		{IssuerLeaving, "the issuer is being deleted", "the issuer is there again", nil},
		{GuardOff, "the admission policies are taken away", "the admission policies are back", nil},
		{ClockJumps, "the API server's clock jumps by an hour", "the clock is steady", nil},
		{SpecBroken, "the template is broken", "the template is mended", nil},
		{PolicyGone, "the policy is deleted", "the policy is back", nil},
		{NoSlot, "other credentials take all slots", "a slot is free", nil},
		{NameTaken, "somebody else makes a Secret of the target's name", "that Secret is gone", func(w *World) bool { return !w.Target.Exists }},
		{TargetHeld, "somebody deletes the target, and a finalizer holds it", "the finalizer is gone", func(w *World) bool {
			return w.Target.Exists && w.Target.uid == w.uid && !w.behind()
		}},
		{Full, "others fill the container", "others have left the container", func(w *World) bool { return w.variant.Capabilities.MaxLive > 0 }},
		{Suspended, "the credential is suspended", "the credential is resumed", nil},
		{Sour, "nothing new is accepted upstream", "what is new is accepted again", func(w *World) bool { return w.variant.Capabilities.Verifies }},
	} {
		events = append(events, Event{Name: t.begin, Happens: func(w *World, _ *Process) bool {
			if w.Has(t.trouble) || t.possible != nil && !t.possible(w) {
				return false
			}
			w.begin(t.trouble)
			return true
		}}, Event{Name: t.end, Free: true, Happens: func(w *World, _ *Process) bool {
			if !w.Has(t.trouble) {
				return false
			}
			w.end(t.trouble)
			return true
		}})
	}
	return events
}

func (w *World) begin(t Trouble) {
	w.Trouble |= t
	w.Touch()
	switch t {
	case Full:
		w.crowded = true
	case ClockJumps:
		w.Now = w.Now.Add(time.Hour)
	case TargetHeld:
		m := w.Target
		m.terminating = true
		w.put(m)
	}
}

func (w *World) end(t Trouble) {
	w.Trouble &^= t
	w.Touch()
	if t == TargetHeld {
		w.put(Mount{})
	}
}

// restore brings the version back that was let go last, as it was while it was in use, and
// erases what came after it. It takes longer than a pass.
func restore(w *World, p *Process) bool {
	current := w.byNonce(w.Target.hint)
	if p.seen != nil || p.frozen != nil || w.backup.Nonce == 0 || w.backup.uid != w.uid || w.Ending() || current == nil || w.Target.foreign || w.Target.terminating || w.Target.uid != w.uid {
		return false
	}
	for i := range w.Journal {
		if r := &w.Journal[i]; w.mine(r) && r.Number > current.Number || r.uid != w.uid {
			return false // a version that nothing bears the number of cannot be known to have been
		}
	}
	for i := range w.Journal {
		w.erased = append(slices.Clip(w.erased), w.Journal[i].Nonce)
	}
	old := w.backup
	old.Terminating, old.notedPublished, old.revokedAt, old.failedAt, old.Failures = false, true, time.Time{}, time.Time{}, 0
	w.touch(&old)
	w.Journal, w.backup = []Record{old}, Record{}
	w.restored = append(slices.Clip(w.restored), old.Nonce)
	return true
}

func (w *World) deleteVersion(i int) bool {
	if i < 0 || i >= len(w.Journal) || w.Journal[i].Terminating || w.Journal[i].released {
		return false
	}
	w.Journal[i].Terminating = true
	w.touch(&w.Journal[i])
	return true
}

// Delete deletes the credential.
func (w *World) Delete(retain bool) bool {
	if w.Ending() {
		return false
	}
	w.Retain = retain
	if w.Finalized {
		w.Deleting = true
		w.Touch()
	} else {
		w.vanish()
	}
	return true
}

func (w *World) disown(strange bool) bool {
	changed := false
	for i := range w.Journal {
		if r := &w.Journal[i]; r.strange != strange {
			r.strange, changed = strange, true
			w.touch(r)
		}
	}
	return changed
}

func (w *World) compromise(atAnyPrice bool) bool {
	if w.Ending() || !w.CompromisedAt.Before(w.Now) {
		return false
	}
	w.CompromisedAt, w.revokeAnyway = w.Now, atAnyPrice
	w.Touch()
	return true
}
