package rotation

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/claviger-dev/claviger/internal/interval"
)

// The world of these tests is what the planner acts upon, kept small enough to be
// searched: a credential, its journal, its target, an upstream, and operators that
// die. Reads are as old as a cache, writes carry what was read, and a lost race
// ends a pass, as on an API server. After every event the rules of broken hold.

const (
	propagation = time.Second     // until the upstream takes what it was given
	callPause   = 2 * time.Second // after a call that failed
	maxPass     = 40              // steps of one pass
)

var began = time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)

// record is a version Secret. The nonce tells versions apart even if a number were
// used twice.
type record struct {
	number, revision                                              int64
	nonce, replaces, holder, failures                             int
	intentAt, answers, deadline                                   time.Time
	republishAt, refusedSince, failedAt, revokedAt                time.Time
	notedPublished, terminating, released /* by us */, everTheOne bool
}

// mount is the target Secret; holds is a nonce, 0 for bytes of nobody.
type mount struct {
	exists, ours, foreign bool // foreign: somebody else wrote our keys last
	revision              int64
	holds, hint           int
	at                    time.Time
}

type world struct {
	now time.Time

	exists, deleting, finalized, held, retain, suspended bool
	requestedAt                                          time.Time
	journal                                              []record
	target                                               mount

	upstream []object // by nonce; the first is nobody's

	clock      int64 // revisions
	highest    int64
	loseAnswer bool // the next upstream call is done, and its answer is lost
	dropCall   bool // the next upstream call never arrives
	faults     []string
	story      *line
}

// object is what is true of a nonce upstream, and what was done to it.
type object struct {
	since                      time.Time
	live, bad, killed, revoked bool
}

// line is the newest line of a story, which many worlds share.
type line struct {
	text   string
	before *line
}

func (l *line) String() string {
	if l == nil {
		return ""
	}
	return l.before.String() + "\n" + l.text
}

func newWorld() *world {
	return &world{now: began, exists: true, upstream: make([]object, 1)}
}

func (w *world) clone() *world {
	c := *w
	c.journal, c.upstream, c.faults = slices.Clone(w.journal), slices.Clone(w.upstream), slices.Clone(w.faults)
	return &c
}

func (w *world) tell(format string, args ...any) {
	w.story = &line{text: w.now.Format("15:04:05 ") + fmt.Sprintf(format, args...), before: w.story}
}

func (w *world) fault(format string, args ...any) {
	w.faults = append(w.faults, fmt.Sprintf(format, args...))
}

func (w *world) find(number int64) *record {
	for i := range w.journal {
		if w.journal[i].number == number {
			return &w.journal[i]
		}
	}
	return nil
}

func (w *world) byNonce(nonce int) *record {
	for i := range w.journal {
		if w.journal[i].nonce == nonce {
			return &w.journal[i]
		}
	}
	return nil
}

func (w *world) touch(r *record) { w.clock++; r.revision = w.clock }

func (w *world) put(m mount) { w.clock++; m.revision = w.clock; w.target = m }

func (w *world) ending() bool { return w.deleting || !w.exists }

// settled says what is not as it should be when nothing is left to do.
func (w *world) settled() error {
	if w.ending() {
		for _, r := range w.journal {
			if !r.released {
				return fmt.Errorf("the credential is deleted and version %d is held", r.number)
			}
		}
		if w.exists {
			return fmt.Errorf("the deleted credential is held")
		}
		return nil
	}
	if held := w.upstream[w.target.holds]; !held.live || held.bad {
		return fmt.Errorf("the target holds %d, which is not accepted", w.target.holds)
	}
	for _, r := range w.journal {
		live := w.upstream[r.nonce].live
		if w.upstream[r.nonce].killed {
			continue // its record goes with the next rotation at the latest
		}
		if live == !r.revokedAt.IsZero() {
			return fmt.Errorf("version %d: live upstream is %t, revoked in the journal is %t", r.number, live, !live)
		}
		if live && r.nonce != w.target.holds {
			return fmt.Errorf("version %d lives and nobody needs it", r.number)
		}
	}
	return nil
}

func (w *world) accepts(nonce int) bool {
	o := w.upstream[nonce]
	return o.live && !o.bad && !w.now.Before(o.since.Add(propagation))
}

// broken checks what must hold in every state.
func (w *world) broken() []string {
	faults := w.faults
	inFlight := 0
	for i := range w.journal {
		if r := &w.journal[i]; !r.terminating && !r.released && r.failedAt.IsZero() && !r.everTheOne {
			inFlight++
		}
	}
	if inFlight > 1 {
		faults = append(faults, fmt.Sprintf("%d versions are under way", inFlight))
	}
	for nonce, o := range w.upstream {
		if o.live && w.byNonce(nonce) == nil {
			faults = append(faults, fmt.Sprintf("nonce %d lives upstream and the journal does not know it", nonce))
		}
	}
	held := w.upstream[w.target.holds]
	spared := w.ending() && !w.retain
	if w.target.holds != 0 && !w.target.foreign && !held.killed && !spared && (!held.live || held.bad) {
		faults = append(faults, fmt.Sprintf("the target holds nonce %d, which is not accepted", w.target.holds))
	}
	if !w.requestedAt.IsZero() {
		answered := 0
		for _, r := range w.journal {
			if r.answers.Equal(w.requestedAt) {
				answered++
			}
		}
		if answered > 1 {
			faults = append(faults, fmt.Sprintf("the request was answered %d times", answered))
		}
	}
	return faults
}

// operator is a process: what it remembers dies with it.
type operator struct {
	id        int
	memory    map[int]recollection
	goneSince time.Time
	pass      *pass
	asleep    time.Time // until when; zero: awake
	known     int64     // the newest revision that its cache has shown
}

type recollection struct {
	answered, accepted, revoked, seenKilled bool
	refusal, doubt                          string
	refusedSince, notBefore                 time.Time
	trouble                                 *Problem
}

// pass is what one reconciliation has gathered.
type pass struct {
	seen   *world
	fresh  Facts
	marked map[int64]bool
	steps  int
	// since is when the pass began.
	since time.Time
	// began is where the story was: what happened since wakes the operator again.
	began *line
}

func newOperator(id int) *operator { return &operator{id: id, memory: map[int]recollection{}} }

func (o *operator) clone() *operator {
	c := *o
	c.memory = maps.Clone(o.memory)
	if o.pass != nil {
		p := *o.pass
		p.seen, p.marked = o.pass.seen.clone(), maps.Clone(o.pass.marked)
		c.pass = &p
	}
	return &c
}

func (o *operator) crash(id int) { *o = *newOperator(id) }

func (o *operator) remember(nonce int, change func(*recollection)) {
	m := o.memory[nonce]
	change(&m)
	o.memory[nonce] = m
}

// gather begins a pass with what a cache shows.
func (o *operator) gather(cache *world, now time.Time) {
	o.pass = &pass{since: now, seen: cache.clone(), marked: map[int64]bool{}, began: cache.story}
	o.pass.seen.journal = slices.DeleteFunc(o.pass.seen.journal, func(r record) bool { return r.released })
	for nonce := range cache.upstream {
		if cache.upstream[nonce].killed && !o.memory[nonce].seenKilled {
			o.remember(nonce, func(m *recollection) { m.seenKilled, m.doubt = true, "the listing lacks it" })
		}
	}
}

func (o *operator) observe(now time.Time) Observed {
	seen := o.pass.seen
	observed := Observed{
		Credential: Credential{
			UID: "uid", Exists: seen.exists, Deleting: seen.deleting, Retain: seen.retain, Suspended: seen.suspended,
			Finalized: seen.finalized, RotateRequestedAt: seen.requestedAt, GoneSince: o.goneSince,
		},
		Account:  Account{VerdictDone: true, Held: seen.held, SlotFree: true},
		Operator: Operator{ClockSteady: true, GuardInForce: true, OrphanAge: time.Hour},
		Fresh:    o.pass.fresh,
	}
	if seen.exists && seen.target.exists {
		t := seen.target
		observed.Target = Target{Exists: true, Ours: t.ours, PublishedAt: t.at}
		held := t.holds
		if t.foreign && !o.pass.fresh.Has(FactTarget) {
			held, observed.Target.Drift = t.hint, true
		}
		if r := seen.byNonce(held); r != nil && t.ours {
			observed.Target.Published = r.number
		}
	}
	for i := range seen.journal {
		observed.Versions = append(observed.Versions, o.version(&seen.journal[i], now))
	}
	return observed
}

func (o *operator) version(r *record, _ time.Time) Version {
	m, seen := o.memory[r.nonce], o.pass.seen
	once := r.notedPublished || r.replaces != 0 && seen.byNonce(r.replaces) == nil
	for i := range seen.journal {
		once = once || seen.journal[i].replaces == r.nonce
	}
	v := Version{
		Number: r.number, IntentAt: r.intentAt, Answers: r.answers, Terminating: r.terminating,
		Failed: !r.failedAt.IsZero(), FailedAt: r.failedAt, Failures: r.failures,
		Revoked: !r.revokedAt.IsZero() || m.revoked, RevokedNoted: !r.revokedAt.IsZero(),
		OncePublished: once, Replaces: r.replaces != 0, RepublishAt: r.republishAt, MarkedNow: o.pass.marked[r.number],
		Held: !r.released, ClaimMine: r.holder == o.id, ClaimUntil: r.deadline,
		Answered: m.answered, Accepted: m.accepted, Refused: m.refusal != "", Refusal: m.refusal,
		RefusedSince: m.refusedSince, RefusedNoted: !r.refusedSince.IsZero(), Doubt: m.doubt,
		NotBefore: m.notBefore, Trouble: m.trouble,
	}
	if v.RefusedNoted && (v.RefusedSince.IsZero() || r.refusedSince.Before(v.RefusedSince)) {
		v.RefusedSince = r.refusedSince
	}
	return v
}

// move makes one step and returns it. A lost race ends the pass.
func (o *operator) move(w *world, p Policy, c Capabilities) Step {
	if !o.pass.seen.exists && o.goneSince.IsZero() {
		o.goneSince = w.now
	}
	if w.now.Sub(o.pass.since) > FactTime {
		o.pass = nil
		return Step{Action: Look}
	}
	step := Next(o.observe(w.now), p, c, w.now)
	if o.pass.steps++; o.pass.steps > maxPass {
		w.fault("a pass does not end: %+v", step)
	}
	switch step.Action {
	case Wait:
		o.pass = nil
		return step
	case Look:
		if !o.look(w, step) {
			o.pass = nil
		}
		return step
	}
	w.tell("operator %d: %s %d %s", o.id, step.Action, step.Version, step.Cause)
	if !o.act(w, step) {
		w.tell("operator %d loses the race", o.id)
		o.pass = nil
	}
	return step
}

func (o *operator) look(w *world, step Step) bool {
	seen := o.pass.seen
	if step.Needs.Has(FactCredential) {
		if !w.exists {
			return false
		}
		seen.deleting, seen.finalized, seen.retain, seen.requestedAt, seen.suspended = w.deleting, w.finalized, w.retain, w.requestedAt, w.suspended
	}
	if step.Needs.Has(FactTarget) {
		seen.target = w.target
		for i := range seen.journal {
			r := &seen.journal[i]
			if r.number != step.Version && !w.target.foreign && seen.byNonce(w.target.hint) != nil {
				continue
			}
			live := w.byNonce(r.nonce)
			if live == nil {
				return false
			}
			*r = *live
		}
	}
	if step.Needs.Has(FactJournal) {
		for _, r := range w.journal {
			if seen.byNonce(r.nonce) == nil && !r.released {
				seen.journal = append(seen.journal, r)
			}
		}
	}
	o.pass.fresh |= step.Needs
	return true
}

// act makes the effect of a step if what was read is still true.
func (o *operator) act(w *world, step Step) bool {
	switch step.Action {
	case AddFinalizer, RemoveFinalizer:
		return o.finalize(w, step.Action == AddFinalizer)
	case HoldIssuer:
		w.held, o.pass.seen.held = true, true
		return true
	case CreateIntent:
		return o.createIntent(w, step)
	case Publish:
		return o.publish(w, step)
	case RetainTarget, DeleteTarget:
		return o.endTarget(w, step)
	}
	seen := o.pass.seen.find(step.Version)
	live := w.byNonce(seen.nonce)
	if live == nil {
		return false
	}
	switch step.Action {
	case Issue:
		o.issue(w, live, seen.deadline)
		return true
	case Verify:
		o.verify(w, live)
		return true
	case Revoke:
		o.revoke(w, live)
		return true
	}
	if live.revision != seen.revision {
		return false
	}
	o.edit(w, live, step)
	return true
}

func (o *operator) finalize(w *world, on bool) bool {
	if !w.exists || w.deleting != o.pass.seen.deleting {
		return false
	}
	w.finalized, o.pass.seen.finalized = on, on
	if w.deleting && !on {
		w.exists = false
		o.pass.seen.exists = false
	}
	return true
}

func (o *operator) createIntent(w *world, step Step) bool {
	if w.find(step.Version) != nil {
		return false
	}
	// Between the look at the credential and the intent it may have vanished, and its
	// journal with it; what is made then is found as the journal of nobody.
	if step.Version <= w.highest && w.exists {
		w.fault("number %d is used again", step.Version)
	}
	if w.target.exists && !w.target.ours && w.target.holds == 0 && o.pass.seen.target.holds == 0 {
		w.fault("version %d is begun although somebody else's Secret stands in its way", step.Version)
	}
	w.highest = step.Version
	w.upstream = append(slices.Clone(w.upstream), object{})
	r := record{
		number: step.Version, nonce: len(w.upstream) - 1, failures: step.Failures, intentAt: w.now, answers: step.Answers,
		holder: o.id, deadline: w.now.Add(ClaimTime),
	}
	if before := o.pass.seen.find(step.Replaces); before != nil {
		r.replaces = before.nonce
	}
	w.touch(&r)
	w.journal = append(w.journal, r)
	o.pass.seen.journal = append(o.pass.seen.journal, r)
	return true
}

func (o *operator) publish(w *world, step Step) bool {
	seen := o.pass.seen
	r := seen.find(step.Version)
	if step.Cause == "" && !w.now.Before(r.deadline) || w.target.revision != seen.target.revision {
		return false
	}
	before := o.observe(w.now).Target.Published
	w.put(mount{exists: true, ours: true, holds: r.nonce, hint: r.nonce, at: w.now.Truncate(time.Second)})
	seen.target = w.target
	if live := w.byNonce(r.nonce); live != nil {
		live.everTheOne = true
	}
	if step.Cause != "" && before == 0 {
		o.remember(r.nonce, func(m *recollection) { m.doubt = "put back without being asked" })
	}
	return true
}

func (o *operator) endTarget(w *world, step Step) bool {
	if w.target.revision != o.pass.seen.target.revision {
		return false
	}
	if step.Action == DeleteTarget {
		w.put(mount{})
	} else {
		w.target.ours = false
		w.put(w.target)
	}
	o.pass.seen.target = w.target
	return true
}

// call reports whether a call arrives and whether its answer does.
func (w *world) call() (arrives, answered bool) {
	arrives, answered = !w.dropCall, !w.dropCall && !w.loseAnswer
	w.dropCall, w.loseAnswer = false, false
	return arrives, answered
}

func (o *operator) setBack(w *world, nonce int, what string) {
	o.remember(nonce, func(m *recollection) {
		m.notBefore, m.trouble = w.now.Add(callPause), &Problem{Reason: "UpstreamUnreachable", Message: what}
	})
}

func (o *operator) issue(w *world, r *record, deadline time.Time) {
	arrives, answered := w.call()
	if w.now.Add(CallTime).After(deadline) {
		w.fault("version %d is issued under a claim that has run out", r.number)
	}
	if there := &w.upstream[r.nonce]; arrives && !there.live {
		if there.revoked {
			w.fault("version %d is created again after it was revoked", r.number)
		}
		there.live, there.killed, there.since = true, false, w.now
	}
	if !answered {
		o.setBack(w, r.nonce, "no answer to the create")
		return
	}
	o.remember(r.nonce, func(m *recollection) { m.answered, m.notBefore, m.trouble = true, time.Time{}, nil })
}

func (o *operator) verify(w *world, r *record) {
	if _, answered := w.call(); !answered {
		o.setBack(w, r.nonce, "no answer to the login")
		return
	}
	accepted := w.accepts(r.nonce)
	o.remember(r.nonce, func(m *recollection) {
		m.trouble, m.notBefore = nil, time.Time{}
		if accepted {
			m.accepted, m.refusal, m.refusedSince, m.doubt = true, "", time.Time{}, ""
			return
		}
		if m.refusal == "" {
			m.refusedSince = w.now
		}
		m.accepted, m.refusal = false, "unknown client"
		m.notBefore = w.now.Add(Patience(w.now.Sub(m.refusedSince)))
	})
}

func (o *operator) revoke(w *world, r *record) {
	// What the operator has looked at counts: nobody can see what is written into the
	// target between the look and the call.
	held := o.pass.seen.target.holds
	needed := (!w.ending() || w.retain) && !o.pass.seen.ending()
	switch {
	case !r.terminating:
		w.fault("version %d is revoked without a durable intent", r.number)
	case needed && held == r.nonce:
		w.fault("version %d is revoked while the target holds it", r.number)
	case needed && r.everTheOne && w.upstream[r.nonce].live && !w.upstream[held].killed && !w.upstream[held].live:
		w.fault("version %d is revoked and no other one is published", r.number)
	}
	arrives, answered := w.call()
	if arrives {
		w.upstream[r.nonce].live, w.upstream[r.nonce].revoked = false, true
	}
	if !answered {
		o.setBack(w, r.nonce, "no answer to the revocation")
		return
	}
	o.remember(r.nonce, func(m *recollection) { m.revoked, m.notBefore, m.trouble = true, time.Time{}, nil })
}

// edit changes a version Secret that is still as it was read.
func (o *operator) edit(w *world, r *record, step Step) {
	switch step.Action {
	case Claim:
		r.holder, r.deadline = o.id, w.now.Add(ClaimTime)
	case NoteRefusal:
		r.refusedSince = o.memory[r.nonce].refusedSince
	case Fail:
		r.failedAt, r.failures = w.now, r.failures+1
	case NotePublished:
		r.notedPublished = true
	case MarkRepublish:
		r.republishAt, o.pass.marked[r.number] = w.now, true
	case Retire:
		r.terminating = true
		o.pass.fresh &^= FactTarget
	case NoteRevoked:
		r.revokedAt = w.now
	case Retain:
		r.released = true
	case Release, Abandon:
		o.drop(w, r.nonce)
		return
	default:
		w.fault("nobody knows how to carry out %+v", step)
	}
	w.touch(r)
	*o.pass.seen.find(r.number) = *r
}

func (o *operator) drop(w *world, nonce int) {
	gone := func(r record) bool { return r.nonce == nonce }
	w.clock++
	w.journal = slices.DeleteFunc(slices.Clone(w.journal), gone)
	o.pass.seen.journal = slices.DeleteFunc(slices.Clone(o.pass.seen.journal), gone)
}

// event is something that nobody asked the planner about.
type event struct {
	name string
	// happens changes the world, or reports false if it cannot happen now.
	happens func(*world, *operator) bool
}

// These two are left out where two processes race. Admission refuses them to people,
// and there is a known gap: a process that does not know yet of a version under way
// may release the deleted one that it follows, and the version counts as published.
const (
	newestByHand = "somebody deletes the newest version Secret"
	oldestByHand = "somebody deletes the oldest version Secret"
)

var events = []event{
	{"the operator is killed", func(_ *world, o *operator) bool {
		if len(o.memory) == 0 && o.pass == nil {
			return false
		}
		o.crash(o.id + 1)
		return true
	}},
	{"the next answer is lost", func(w *world, _ *operator) bool {
		lost := w.loseAnswer
		w.loseAnswer = true
		return !lost
	}},
	{"the next call is dropped", func(w *world, _ *operator) bool {
		dropped := w.dropCall
		w.dropCall = true
		return !dropped
	}},
	{"somebody deletes the target", func(w *world, _ *operator) bool {
		if !w.target.exists || !w.target.ours {
			return false
		}
		w.put(mount{})
		return true
	}},
	{"somebody edits the target", func(w *world, _ *operator) bool {
		if !w.target.exists || !w.target.ours {
			return false
		}
		m := w.target
		m.holds, m.foreign = 0, true
		w.put(m)
		return true
	}},
	{"somebody writes the predecessor's bytes into the target", func(w *world, _ *operator) bool {
		for i := range w.journal {
			r := &w.journal[i]
			if w.target.exists && w.target.ours && r.nonce != w.target.holds && r.everTheOne && !r.terminating {
				m := w.target
				m.holds, m.foreign = r.nonce, true
				w.put(m)
				return true
			}
		}
		return false
	}},
	{newestByHand, func(w *world, _ *operator) bool { return w.deleteVersion(len(w.journal) - 1) }},
	{oldestByHand, func(w *world, _ *operator) bool { return w.deleteVersion(0) }},
	{"the newest version will never be accepted", func(w *world, _ *operator) bool {
		if len(w.journal) == 0 {
			return false
		}
		newest := w.journal[len(w.journal)-1]
		there := &w.upstream[newest.nonce]
		if there.bad || newest.everTheOne || w.accepts(newest.nonce) {
			return false
		}
		there.bad = true
		return true
	}},
	{"somebody removes the published version upstream", func(w *world, _ *operator) bool {
		there := &w.upstream[w.target.holds]
		if !there.live || w.ending() {
			return false
		}
		there.live, there.killed = false, true
		return true
	}},
	{"a rotation is requested", func(w *world, _ *operator) bool {
		if w.ending() || !w.requestedAt.Before(w.now) {
			return false
		}
		w.requestedAt = w.now
		return true
	}},
	{"the credential is deleted", func(w *world, _ *operator) bool { return w.deleteCredential(false) }},
	{"the credential is deleted and retained", func(w *world, _ *operator) bool { return w.deleteCredential(true) }},
	{"the credential vanishes around its finalizer", func(w *world, _ *operator) bool {
		if !w.exists {
			return false
		}
		w.exists = false
		w.put(mount{}) // what happens to it is nobody's business any more
		return true
	}},
}

func (w *world) deleteVersion(i int) bool {
	if i < 0 || i >= len(w.journal) || w.journal[i].terminating {
		return false
	}
	w.journal[i].terminating = true
	w.touch(&w.journal[i])
	return true
}

func (w *world) deleteCredential(retain bool) bool {
	if w.ending() {
		return false
	}
	w.retain = retain
	if w.finalized {
		w.deleting = true
	} else {
		w.exists = false
	}
	return true
}

// mustHold fails the test with the whole story if a rule is broken.
func mustHold(t *testing.T, w *world) {
	t.Helper()
	if faults := w.broken(); len(faults) > 0 {
		t.Fatalf("%s%s", strings.Join(faults, "\n"), w.story)
	}
}

var searchPolicy = Policy{RotateAfter: interval.Unlimited(), Overlap: interval.FromDuration(10 * time.Minute), VerifyTimeout: time.Minute}

// search tries every event at every moment of a life, as often as budget allows,
// and lets the operator go on afterwards until it rests.
type search struct {
	t       *testing.T
	seen    map[string]bool
	rests   int
	longest int
}

// maxLife is far above the longest life that the search finds; a life that is
// longer goes round in a circle.
const maxLife = 400

func (s *search) explore(w *world, o *operator, budget, age int) {
	s.longest = max(s.longest, age)
	if age > maxLife {
		s.t.Fatalf("no rest after %d steps%s", age, w.story)
	}
	mustHold(s.t, w)
	k := &key{now: w.now}
	k.numbers(int64(budget))
	w.addTo(k)
	for _, there := range w.upstream {
		k.flags(there.live, there.bad, there.killed, there.revoked)
		k.times(there.since)
	}
	o.addTo(k, w)
	if s.seen[string(k.bytes)] {
		return
	}
	s.seen[string(k.bytes)] = true
	if budget > 0 {
		for _, e := range events {
			w, o := w.clone(), o.clone()
			if e.happens(w, o) {
				w.tell("%s", e.name)
				s.explore(w, o, budget-1, age+1)
			}
		}
	}
	w, o = w.clone(), o.clone()
	if o.pass == nil {
		o.gather(w, w.now)
	}
	gathered := o.pass.began
	step := o.move(w, searchPolicy, harmless)
	switch {
	case step.Action != Wait || w.story != gathered:
	case !step.Until.IsZero():
		if !step.Until.After(w.now) {
			s.t.Fatalf("a wait until the past: %+v%s", step, w.story)
		}
		w.now = step.Until
	default:
		s.rest(w, step)
		return
	}
	s.explore(w, o, budget, age+1)
}

func (s *search) rest(w *world, step Step) {
	s.rests++
	mustHold(s.t, w)
	err := w.settled()
	said := step.Problem != nil && step.Problem.Reason != "VersionFailed" // that one is history
	if err == nil && (said || step.Notice != nil) {
		err = fmt.Errorf("there is nothing left to say, and %+v %+v is said", step.Problem, step.Notice)
	}
	if err != nil {
		s.t.Fatalf("at rest: %v%s", err, w.story)
	}
}

// key tells states apart. Times count by their distance from now.
type key struct {
	now   time.Time
	bytes []byte
}

func (k *key) flags(flags ...bool) {
	for _, flag := range flags {
		if flag {
			k.bytes = append(k.bytes, '+')
		} else {
			k.bytes = append(k.bytes, '-')
		}
	}
}

func (k *key) numbers(numbers ...int64) {
	for _, n := range numbers {
		k.bytes = binary.AppendVarint(k.bytes, n)
	}
}

func (k *key) times(times ...time.Time) {
	for _, t := range times {
		if t.IsZero() {
			k.flags(true)
		} else {
			k.numbers(int64(k.now.Sub(t)))
		}
	}
}

func (w *world) addTo(k *key) {
	k.flags(w.exists, w.deleting, w.finalized, w.held, w.retain, w.suspended, w.loseAnswer, w.dropCall)
	k.times(w.requestedAt)
	for i := range w.journal {
		r := &w.journal[i]
		k.numbers(r.number, int64(r.nonce), int64(r.replaces), int64(r.holder), int64(r.failures))
		k.times(r.intentAt, r.answers, r.deadline, r.republishAt, r.refusedSince, r.failedAt, r.revokedAt)
		k.flags(r.notedPublished, r.terminating, r.released, r.everTheOne)
	}
	k.flags(w.target.exists, w.target.ours, w.target.foreign)
	k.numbers(int64(w.target.holds), int64(w.target.hint))
	k.times(w.target.at)
}

func (o *operator) addTo(k *key, w *world) {
	k.numbers(int64(o.id))
	k.times(o.goneSince)
	for i := range w.journal {
		m := o.memory[w.journal[i].nonce]
		k.flags(m.answered, m.accepted, m.revoked, m.seenKilled, m.refusal != "", m.doubt != "", m.trouble != nil)
		k.times(m.refusedSince, m.notBefore)
	}
	if o.pass == nil {
		return
	}
	k.numbers(int64(o.pass.fresh))
	o.pass.seen.addTo(k)
	for i := range o.pass.seen.journal {
		r := &o.pass.seen.journal[i]
		live := w.byNonce(r.nonce)
		k.flags(live != nil && live.revision == r.revision, o.pass.marked[r.number])
	}
	k.flags(o.pass.seen.target.revision == w.target.revision, o.pass.began == w.story)
}

var harmless = Capabilities{RepeatHarmless: true, Repeatable: true, Addressable: true, Verifies: true, Overlap: true, Settle: time.Minute}

// live lets one operator go on until nothing is left to do.
func live(t *testing.T, w *world, o *operator, p Policy) {
	t.Helper()
	for range maxLife {
		if o.pass == nil {
			o.gather(w, w.now)
		}
		gathered := o.pass.began
		step := o.move(w, p, harmless)
		mustHold(t, w)
		switch {
		case step.Action != Wait || w.story != gathered:
		case step.Until.IsZero():
			return
		default:
			w.now = step.Until
		}
	}
	t.Fatalf("no rest%s", w.story)
}

func TestEveryLifeComesToRestWhateverHappensInIt(t *testing.T) {
	s := &search{t: t, seen: map[string]bool{}}
	s.explore(newWorld(), newOperator(1), 2, 0)

	// The second life begins with a version in use and a request for the next.
	w, o := newWorld(), newOperator(1)
	live(t, w, o, searchPolicy)
	w.now = w.now.Add(time.Hour)
	w.requestedAt = w.now
	w.tell("a rotation is requested")
	s.explore(w, o, 2, 0)
	t.Logf("%d states, %d rests, the longest life has %d steps", len(s.seen), s.rests, s.longest)
}

// TestTwoOperatorsAndOldCaches lets two processes without leader election act on
// what their caches show, now and then late by minutes, under the same events.
func TestTwoOperatorsAndOldCaches(t *testing.T) {
	for seed := range uint64(150) {
		r := &race{t: t, rand: rand.New(rand.NewPCG(seed, 7)), w: newWorld(), next: 2}
		r.operators = []*operator{newOperator(1), newOperator(2)}
		r.run(400)
		r.calm()
	}
}

type race struct {
	t         *testing.T
	rand      *rand.Rand
	w         *world
	operators []*operator
	past      []*world // what caches may still show, the newest last
	next      int      // id of the last process
}

var racePolicy = Policy{
	RotateAfter: interval.FromDuration(40 * time.Minute), Overlap: interval.FromDuration(5 * time.Minute), VerifyTimeout: time.Minute,
}

// rare are the events that end the story; a run begins them seldom.
var rare = map[string]bool{
	"the credential is deleted": true, "the credential is deleted and retained": true, "the credential vanishes around its finalizer": true,
}

func (r *race) run(moves int) {
	for range moves {
		if r.rand.IntN(10) == 0 {
			r.disturb()
		}
		switch r.rand.IntN(40) {
		case 0:
			r.w.now = r.w.now.Add(time.Duration(r.rand.IntN(90)) * time.Second) // a process stood still
		case 1, 2, 3:
			r.w.now = r.w.now.Add(time.Duration(r.rand.IntN(1000)) * time.Millisecond)
		}
		r.move(r.operators[r.rand.IntN(len(r.operators))])
		mustHold(r.t, r.w)
	}
}

func (r *race) disturb() {
	e := events[r.rand.IntN(len(events))]
	o := r.operators[r.rand.IntN(len(r.operators))]
	if rare[e.name] && r.rand.IntN(10) != 0 || e.name == newestByHand || e.name == oldestByHand {
		return
	}
	if e.name == events[0].name {
		r.next++
		o.crash(r.next)
		r.w.tell("operator %d replaces another", r.next)
		return
	}
	if e.happens(r.w, o) {
		r.w.tell("%s", e.name)
		r.remember()
	}
}

// remember keeps what caches may show for a while.
func (r *race) remember() {
	r.past = append(r.past, r.w.clone())
	if len(r.past) > 6 {
		r.past = r.past[1:]
	}
}

func (r *race) move(o *operator) {
	if o.pass == nil {
		r.wake(o)
		cache := r.w
		if len(r.past) > 0 && r.rand.IntN(4) == 0 {
			cache = r.past[r.rand.IntN(len(r.past))]
		}
		if cache.clock < o.known {
			cache = r.w // a cache never goes back
		}
		o.known = cache.clock
		o.gather(cache, r.w.now)
	}
	before := r.w.story
	step := o.move(r.w, racePolicy, harmless)
	if r.w.story != before {
		r.remember()
	}
	if step.Action == Wait {
		o.asleep = step.Until
		if o.asleep.IsZero() {
			o.asleep = r.w.now.Add(10 * time.Minute)
		}
	}
}

// wake moves the clock if everybody sleeps.
func (r *race) wake(o *operator) {
	for _, other := range r.operators {
		if other.pass != nil || !other.asleep.After(r.w.now) {
			return
		}
	}
	if o.asleep.After(r.w.now) {
		r.w.now = o.asleep
	}
}

// calm lets one operator end what was begun, then deletes the credential.
func (r *race) calm() {
	r.next++
	last := newOperator(r.next)
	r.w.loseAnswer, r.w.dropCall = false, false
	quiet := racePolicy
	quiet.RotateAfter = interval.Unlimited()
	live(r.t, r.w, last, quiet)
	r.mustBeSettled()
	if !r.w.ending() {
		r.w.deleteCredential(r.rand.IntN(2) == 0)
		r.w.tell("the credential is deleted")
		live(r.t, r.w, last, quiet)
		r.mustBeSettled()
	}
}

func (r *race) mustBeSettled() {
	r.t.Helper()
	if err := r.w.settled(); err != nil {
		r.t.Fatalf("at rest: %v%s", err, r.w.story)
	}
}
