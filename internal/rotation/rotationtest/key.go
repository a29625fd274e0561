package rotationtest

import (
	"encoding/binary"
	"time"
)

// Key tells states apart. Times count by their distance from now, so that a life that
// repeats itself later is the same life.
type Key struct {
	now   time.Time
	bytes []byte
}

// Flags adds truths.
func (k *Key) Flags(flags ...bool) {
	var bits uint64
	for _, flag := range flags {
		bits <<= 1
		if flag {
			bits |= 1
		}
	}
	k.bytes = binary.AppendUvarint(k.bytes, bits)
}

// Numbers adds numbers.
func (k *Key) Numbers(numbers ...int64) {
	for _, n := range numbers {
		k.bytes = binary.AppendVarint(k.bytes, n)
	}
}

// horizon is longer than anything that the planner waits for in a search: what is older
// is just old, so that waiting for ever is one state and not a new one every minute.
const horizon = 17 * time.Minute

// Times adds moments. What is compared with one another, and not with now, needs a flag
// of its own.
func (k *Key) Times(times ...time.Time) {
	for _, t := range times {
		if t.IsZero() {
			k.bytes = append(k.bytes, 0)
		} else {
			k.bytes = binary.AppendVarint(append(k.bytes, 1), int64(min(k.now.Sub(t), horizon)))
		}
	}
}

func (w *World) addTo(k *Key) {
	k.Flags(w.Exists, w.Deleting, w.Finalized, w.Held, w.Retain, w.abandonAll, w.loseAnswer, w.dropCall, w.lateCall, w.sameAnswer, w.crowded, w.revokeAnyway)
	k.Numbers(int64(w.backup.Nonce), int64(len(w.erased)))
	for _, l := range w.late {
		k.Numbers(int64(l.nonce), int64(l.material), int64(l.replaces))
		k.Times(l.at)
	}
	k.Numbers(int64(w.uid), int64(w.Trouble), int64(len(w.Journal)))
	k.Times(w.RequestedAt, w.CompromisedAt, w.RollbackAt)
	for i := range w.Journal {
		r := &w.Journal[i]
		k.Numbers(r.Number, int64(r.Nonce), int64(r.Replaces), int64(r.holder), int64(min(r.attempt, 2)), int64(r.Failures), int64(r.uid), int64(r.Material), int64(r.sameAs))
		k.Times(r.IntentAt, r.Answers, r.deadline, r.republishAt, r.refusedSince, r.failedAt, r.gaveUpFor, r.revokedAt, r.expiresAt)
		k.Flags(!r.IntentAt.Before(w.RequestedAt), !r.Answers.Before(w.RequestedAt), !r.IntentAt.Before(w.CompromisedAt), !r.Answers.Before(w.CompromisedAt),
			!r.IntentAt.Before(w.RollbackAt), !r.failedAt.Before(w.RollbackAt), r.inPlace, !r.replacedAt.IsZero(), r.answered, r.notedPublished, r.Terminating, r.released, r.served, r.strange)
	}
	t := &w.Target
	if len(w.variant.Policy.Windows) > 0 {
		k.Numbers(int64(k.now.Sub(Began) % windowsEvery))
	}
	k.Flags(t.Exists, t.terminating, t.foreign, t.stale)
	k.Numbers(t.number, int64(t.uid), int64(t.Holds), int64(t.hint), int64(t.previous), int64(t.hidden))
	k.Times(t.at)
	for _, d := range w.Dimensions {
		d.AddTo(k)
	}
}

// addUpstream adds what no cache shows.
func (w *World) addUpstream(k *Key) {
	for i := range w.Upstream {
		o := &w.Upstream[i]
		// What is gone, and was never needed, is no difference any more.
		if o.Live || w.byNonce(o.Nonce) != nil || i == w.Target.Holds {
			k.Flags(o.isHeirs, o.Live, o.Bad, o.Killed, o.Revoked, o.taken, o.spent)
			k.Numbers(int64(o.Nonce), int64(o.endedBy), int64(o.ends), int64(o.asked))
			k.Times(o.since, o.until)
		}
	}
}

func (p *Process) addTo(k *Key, w *World) {
	k.Flags(p.unready, p.observer, p.asleep, p.heard == w.clock, p.seen != nil, p.frozen != nil)
	k.Numbers(int64(p.id), int64(p.fresh), int64(p.forgot))
	k.Times(p.goneSince, p.until)
	for i := range w.Journal {
		m := p.recall(w.Journal[i].Nonce)
		k.Flags(m.answered, m.accepted, m.revoked, m.seenKilled, m.refused, m.doubted, m.unfit, m.clean, m.lostAttempt == w.Journal[i].attempt, m.condemned != "", m.trouble != nil,
			m.refusedAt.After(w.Target.at))
		k.Numbers(int64(m.answer))
		k.Times(m.refusedAt, m.refusedSince, m.notBefore, m.absentSince)
	}
	if p.seen != nil {
		k.Numbers(int64(p.count))
		k.Flags(p.guard)
		k.Times(p.since)
		p.addSeen(k, w, p.seen)
		for _, number := range p.marked {
			k.Numbers(number)
		}
	}
	if p.frozen != nil {
		k.Flags(p.frozen.clock >= p.known)
		p.addSeen(k, w, p.frozen)
	}
}

// addSeen adds what was seen, and whether it is still so.
func (p *Process) addSeen(k *Key, w, seen *World) {
	seen.addTo(k)
	for i := range seen.Journal {
		r := &seen.Journal[i]
		live := w.byNonce(r.Nonce)
		k.Flags(live != nil && live.revision == r.revision)
	}
	k.Flags(seen.Target.revision == w.Target.revision, seen.clock == w.clock)
}
