package rotationtest

import (
	"slices"
	"strconv"
	"time"

	"github.com/claviger-dev/claviger/internal/rotation"
)

const (
	callPause = 2 * time.Second // after a call that failed
	maxPass   = 40              // steps of one pass
	orphanAge = 15 * time.Minute
)

// Process is an operator: what it remembers dies with it.
type Process struct {
	id        int
	memory    []recollection // by nonce
	goneSince time.Time
	forgot    int  // how many of World.restored it knows nothing of any more
	unready   bool // the issuer has no verdict of this process yet
	observer  bool // it runs with --observe-only

	// One pass: what was gathered, and what was read live since.
	seen   *World
	fresh  rotation.Facts
	guard  bool
	count  int
	marked []int64
	steps  int
	since  time.Time

	frozen *World // what its cache will show once more, however old
	known  int64  // the newest revision that its cache has shown

	asleep bool
	until  time.Time // zero: until something is written
	heard  int64     // the revision up to which it has seen everything
	last   rotation.Step
}

// recollection is what a process knows of a version and has not written down.
type recollection struct {
	answered, accepted, revoked, seenKilled, refused, doubted, unfit bool
	clean                                                            bool // it made the intent, and no call for it is without an answer
	lostAttempt                                                      int  // the claim whose last call has no answer
	answer                                                           int  // a material that waits to be written down
	absentSince                                                      time.Time
	condemned                                                        string
	refusedAt, refusedSince, notBefore                               time.Time
	trouble                                                          *rotation.Problem
}

// NewProcess is an operator that has just started.
func NewProcess(id int) *Process { return &Process{id: id} }

func (p *Process) clone() *Process {
	c := *p
	c.memory, c.marked = slices.Clone(p.memory), slices.Clone(p.marked)
	if p.seen != nil {
		c.seen = p.seen.clone()
	}
	return &c
}

func (p *Process) recall(nonce int) recollection {
	if nonce < len(p.memory) {
		return p.memory[nonce]
	}
	return recollection{}
}

func (p *Process) remember(nonce int, change func(*recollection)) {
	if nonce >= len(p.memory) {
		p.memory = append(slices.Clip(p.memory), make([]recollection, nonce+1-len(p.memory))...)
	}
	change(&p.memory[nonce])
}

func (p *Process) crash(id int) { *p = Process{id: id} }

// endPass forgets what was gathered.
func (p *Process) endPass() {
	p.seen, p.fresh, p.guard, p.count, p.marked, p.steps, p.since = nil, 0, false, 0, nil, 0, time.Time{}
}

// idle: nothing wakes it at this moment.
func (p *Process) idle(w *World) bool {
	return p.asleep && p.frozen == nil && p.heard == w.clock && (p.until.IsZero() || p.until.After(w.Now))
}

// gather begins a pass with what the cache shows. A cache never goes back.
func (p *Process) gather(w *World) {
	cache := w
	if p.frozen != nil && p.frozen.clock >= p.known {
		cache = p.frozen
	}
	p.frozen, p.known = nil, cache.clock
	p.asleep, p.until = false, time.Time{}
	p.seen, p.since, p.heard = cache.clone(), w.Now, cache.clock
	p.seen.story = nil
	for ; p.forgot < len(w.restored); p.forgot++ {
		// What is remembered is remembered of a Secret by its UID.
		p.remember(w.restored[p.forgot], func(m *recollection) { *m = recollection{} })
	}
	for material := range w.Upstream {
		// The verdict on the issuer is in this process, not in the cache.
		if o := w.Upstream[material]; o.Killed && !p.recall(o.Nonce).seenKilled {
			p.remember(o.Nonce, func(m *recollection) { m.seenKilled, m.doubted = true, true })
		}
	}
}

// Move makes one step and returns it, with whether anything was written, here or
// upstream. A lost race ends the pass.
func (p *Process) Move(w *World) (step rotation.Step, wrote bool) {
	if p.seen == nil {
		p.gather(w)
	}
	if !p.seen.Exists && p.goneSince.IsZero() {
		p.goneSince = w.Now
	} else if p.seen.Exists {
		p.goneSince = time.Time{}
	}
	w.arrive()
	step = rotation.Next(p.observe(w), w.policy(), w.variant.Capabilities, w.Now)
	if w.Now.Sub(p.since) > rotation.FactTime && step.Action != rotation.WriteAnswer {
		p.endPass()
		return rotation.Step{Action: rotation.Look}, false
	}
	if p.steps++; p.steps > maxPass {
		w.Fault("a pass does not end: %+v", step)
	}
	switch step.Action {
	case rotation.Wait:
		p.asleep, p.until, p.last = true, step.Until, step
		p.tellReplacement(w)
		p.endPass()
		return step, false
	case rotation.Look:
		if !p.look(w, step) {
			p.endPass()
		}
		return step, false
	}
	before := w.clock + w.effects
	w.tell(p.id, string(step.Action), step.Version, step.Cause)
	if !p.act(w, step) {
		w.tell(p.id, "loses the race", 0, "")
		p.endPass()
	}
	// A claim is no more than the right to try again.
	return step, w.clock+w.effects != before && step.Action != rotation.Claim
}

// observe puts what was gathered into the planner's words, as the controller does.
func (p *Process) observe(w *World) rotation.Observed {
	seen := p.seen
	o := rotation.Observed{
		Credential: rotation.Credential{
			UID: "uid", Exists: seen.Exists, Deleting: seen.Deleting, Retain: seen.Retain, Suspended: seen.Has(Suspended),
			Finalized: seen.Finalized, RotateRequestedAt: seen.RequestedAt, CompromisedAt: seen.CompromisedAt, RollbackRequestedAt: seen.RollbackAt,
			RevokeAnyway: seen.revokeAnyway, ShowsPrevious: w.variant.Previous, GoneSince: p.goneSince, AbandonAll: seen.abandonAll,
		},
		Account: rotation.Account{
			VerdictDone: !p.unready, Held: seen.Held, SlotFree: !seen.Has(NoSlot), Terminating: seen.Has(IssuerLeaving), Live: p.count,
		},
		Operator: rotation.Operator{
			ObserveOnly: p.observer, ClockSteady: !w.Has(ClockJumps), GuardInForce: p.guard, OrphanAge: orphanAge,
		},
		Fresh: p.fresh,
	}
	if seen.Has(AccountDown) {
		o.Account.Problem = problem("UpstreamUnreachable", false, "no route")
	}
	if seen.Has(SpecBroken) {
		o.Credential.Problem = problem("InvalidTemplate", true, "the template does not compile")
	}
	o.Target = p.target()
	for i := range seen.Journal {
		r := &seen.Journal[i]
		switch {
		case seen.mine(r):
			o.Versions = append(o.Versions, p.version(r, &o.Target))
		case seen.Exists && !seen.Deleting && !p.recall(r.Nonce).unfit:
			o.Retained = append(o.Retained, p.version(r, &o.Target))
		}
	}
	for _, d := range seen.Dimensions {
		d.Observe(seen, &o)
	}
	return o
}

// target says what the target holds: by its bytes if they were read, else by the hint
// that we left on it, as long as nobody else wrote there.
func (p *Process) target() rotation.Target {
	seen, t := p.seen, p.seen.Target
	switch {
	case !seen.Exists:
		return rotation.Target{}
	case seen.Has(NameTaken):
		return rotation.Target{Exists: true}
	case !t.Exists:
		return rotation.Target{}
	}
	observed := rotation.Target{
		Exists: true, Ours: t.uid == seen.uid, Retained: t.uid != seen.uid, Terminating: t.terminating, PublishedAt: t.at, Stale: t.stale,
	}
	if r := p.heldBy(t.Holds); r != nil {
		observed.Hasty = !r.replacedAt.IsZero()
	}
	if !observed.Ours {
		if r := p.heldBy(t.Holds); p.fresh.Has(rotation.FactTarget) && r != nil {
			observed.Ours, observed.Stale, observed.Published = true, true, r.Number
		}
		return observed
	}
	if r := seen.byNonce(t.hint); t.hint != 0 && (r == nil || !seen.mine(r)) {
		observed.Unknown = t.number
	}
	observed.Previous, observed.Hidden = p.numbered(t.previous), p.numbered(t.hidden)
	if p.fresh.Has(rotation.FactTarget) || !t.foreign {
		if r := p.heldBy(t.Holds); r != nil {
			observed.Published = r.Number
		}
		return observed
	}
	observed.Drift = true
	if r := seen.byNonce(t.hint); r != nil && seen.mine(r) {
		observed.Published = r.Number
	}
	return observed
}

// numbered is the number of the version with a nonce: 0 for none, -1 if it is unknown.
func (p *Process) numbered(nonce int) int64 {
	r := p.seen.byNonce(nonce)
	switch {
	case nonce == 0:
		return 0
	case r == nil || !p.seen.mine(r):
		return -1
	}
	return r.Number
}

// heldBy is the version of some bytes. What was answered with another version's is none.
func (p *Process) heldBy(material int) *Record {
	for i := len(p.seen.Journal) - 1; i >= 0; i-- {
		if r := &p.seen.Journal[i]; material != 0 && r.Material == material && r.sameAs == 0 && p.seen.mine(r) {
			return r
		}
	}
	return nil
}

func (p *Process) version(r *Record, target *rotation.Target) rotation.Version {
	m, seen := p.recall(r.Nonce), p.seen
	gone := r.Replaces != 0 && (seen.variant.Class == WriteAhead || r.answered)
	once := r.notedPublished
	for i := range seen.Journal {
		if other := &seen.Journal[i]; seen.mine(other) {
			gone = gone && other.Nonce != r.Replaces
			once = once || other.Replaces == r.Nonce
		}
	}
	v := rotation.Version{
		Number: r.Number, IntentAt: r.IntentAt, Answers: r.Answers, Terminating: r.Terminating,
		Failed: !r.failedAt.IsZero(), FailedAt: r.failedAt, Failures: r.Failures,
		Revoked: !r.revokedAt.IsZero() || m.revoked, RevokedNoted: !r.revokedAt.IsZero(),
		OncePublished: once || gone, Replaces: r.Replaces != 0, RepublishAt: r.republishAt,
		MarkedNow: slices.Contains(p.marked, r.Number), Held: !r.released,
		ClaimMine: r.holder == p.id, ClaimUntil: r.deadline, FirstClaim: r.attempt == 1,
		Answered: m.answered || r.answered, Unwritten: m.answer != 0, Unsure: !m.answered && !r.answered && !m.clean && !(once || gone),
		Lost: m.lostAttempt == r.attempt, Ineffective: r.sameAs != 0, AbsentSince: m.absentSince, Identity: p.identity(r), ExpiresAt: r.expiresAt,
		Accepted: m.accepted, Refused: m.refused, Condemned: m.condemned,
		RefusedSince: m.refusedSince, RefusedNoted: !r.refusedSince.IsZero(),
		NotBefore: m.notBefore, Trouble: m.trouble,
	}
	p.observeReplacement(r, &v)
	if m.refused {
		v.Refusal = "unknown client"
	}
	if m.doubted {
		v.Doubt = "the listing lacks it"
	}
	if v.RefusedNoted && (v.RefusedSince.IsZero() || r.refusedSince.Before(v.RefusedSince)) {
		v.RefusedSince = r.refusedSince
	}
	if r.strange {
		v.Problem = problem("ClusterMoved", true, "another cluster's")
	}
	// Another process has published it after an acceptance: a reason to ask again.
	if v.Number == target.Published && v.Refused && !m.refusedAt.After(target.PublishedAt.Add(time.Second)) {
		v.Refused, v.Doubt = false, "it was refused before somebody published it"
	}
	return v
}

// identity says which upstream object a version is, where it may be another one's as well.
func (p *Process) identity(r *Record) string {
	if r.sameAs != 0 {
		return strconv.Itoa(r.sameAs)
	}
	for i := range p.seen.Journal {
		if other := &p.seen.Journal[i]; other.sameAs == r.Nonce && p.seen.mine(other) {
			return strconv.Itoa(r.Nonce)
		}
	}
	return ""
}

// look reads facts live. It reports false if what was gathered is not true any more.
func (p *Process) look(w *World, step rotation.Step) bool {
	seen, needs := p.seen, step.Needs
	if needs.Has(rotation.FactCredential) {
		if !w.Exists || w.uid != seen.uid {
			return false
		}
		seen.Deleting, seen.Finalized, seen.Retain, seen.RequestedAt = w.Deleting, w.Finalized, w.Retain, w.RequestedAt
		seen.CompromisedAt, seen.RollbackAt, seen.revokeAnyway = w.CompromisedAt, w.RollbackAt, w.revokeAnyway
		seen.Trouble = seen.Trouble&^(Suspended|SpecBroken) | w.Trouble&(Suspended|SpecBroken)
	}
	if needs.Has(rotation.FactIssuer) {
		seen.Held = w.Held
		seen.Trouble = seen.Trouble&^IssuerLeaving | w.Trouble&IssuerLeaving
	}
	if needs.Has(rotation.FactTarget) && !p.lookAtTarget(w, step.Version) {
		return false
	}
	if needs.Has(rotation.FactJournal) {
		for _, r := range w.Journal {
			if seen.byNonce(r.Nonce) == nil && !r.released {
				seen.Journal = append(seen.Journal, r)
			}
		}
	}
	if needs.Has(rotation.FactGuard) {
		p.guard = !w.Has(GuardOff)
	}
	if needs.Has(rotation.FactContainer) {
		p.count = w.live()
	}
	for _, d := range seen.Dimensions {
		if !d.Look(seen, w, needs) {
			return false
		}
	}
	p.fresh |= needs
	return true
}

func (p *Process) lookAtTarget(w *World, number int64) bool {
	seen := p.seen
	seen.Target = w.Target
	seen.Trouble = seen.Trouble&^NameTaken | w.Trouble&NameTaken
	for i := range seen.Journal {
		r := &seen.Journal[i]
		if !seen.mine(r) || r.Number != number && !w.Target.foreign && seen.byNonce(w.Target.hint) != nil {
			continue
		}
		live := w.byNonce(r.Nonce)
		if live == nil {
			return false
		}
		*r = *live
	}
	return true
}
