package rotationtest

import (
	"fmt"
	"slices"
	"time"

	"github.com/claviger-dev/claviger/internal/rotation"
)

// Began is when every life begins: a Sunday.
var Began = time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)

// propagation is how long the upstream takes until it accepts what it was given.
const propagation = time.Second

// Trouble is what is wrong around a credential, until it is mended.
type Trouble uint32

// The troubles.
const (
	// AccountDown: the issuer's account cannot be called.
	AccountDown Trouble = 1 << iota
	// IssuerLeaving: the issuer is being deleted.
	IssuerLeaving
	// GuardOff: the admission policies do not protect the journal.
	GuardOff
	// ClockJumps: the API server's time is not to be relied upon.
	ClockJumps
	// SpecBroken: the credential's spec cannot be served.
	SpecBroken
	// PolicyGone: the policy that the credential names does not exist.
	PolicyGone
	// NoSlot: other credentials of the issuer are renewed first.
	NoSlot
	// NameTaken: somebody else's Secret has the name of the target.
	NameTaken
	// TargetHeld: the deleted target is held by a finalizer of somebody else.
	TargetHeld
	// Full: the container upstream is full of what is not ours.
	Full
	// Suspended: spec.suspend.
	Suspended
	// Sour: nothing that is made upstream meanwhile is ever accepted.
	Sour
)

// Record is a version Secret. The nonce tells versions apart even if a number were used
// twice.
type Record struct {
	Number, revision                                int64
	Nonce, Replaces, Failures, holder, attempt, uid int
	IntentAt, Answers, deadline                     time.Time
	republishAt, refusedSince, failedAt, revokedAt  time.Time
	gaveUpFor                                       time.Time // the request to roll back that it was given up for
	Material                                        int       // what it holds: an index of World.Upstream; 0: nothing yet
	sameAs                                          int       // the nonce of the published version with which the upstream answered
	answered                                        bool
	expiresAt                                       time.Time
	notedPublished, Terminating, released           bool
	strange                                         bool // another cluster's
	served                                          bool // once in the target; nobody is told
	inPlace                                         bool // it was to take the place of Replaces upstream
	replacedAt                                      time.Time
}

// Mount is the target Secret.
type Mount struct {
	Exists, terminating, foreign bool // foreign: somebody else wrote our keys last
	stale                        bool // the template has changed since
	revision                     int64
	uid                          int   // whose it is; 0: let go
	number                       int64 // that people read on it
	Holds, hint                  int   // material that it holds, 0 for bytes of nobody; the nonce that we left on it
	at                           time.Time
	previous                     int // the nonce of the version that stands beside it
	hidden                       int // the nonce of the version that was taken away to be revoked
}

// Object is what exists, or once existed, upstream.
type Object struct {
	Nonce   int // the version that it was made for
	since   time.Time
	until   time.Time // when the upstream ends it by itself; zero: never
	Live    bool
	Bad     bool // it is never accepted
	Killed  bool // somebody removed it upstream
	Revoked bool // we did
	taken   bool // somebody else has its id
	spent   bool // it was revoked at any price
	endedBy int  // the nonce of the version that has taken its place
	isHeirs bool // the two are one thing to the upstream
	ends    int  // the material whose place it has taken
	asked   int  // the nonce of the version that was to take its place first
}

// World is everything that outlives a process.
type World struct {
	Now time.Time

	Exists, Deleting, Finalized, Held, Retain bool
	uid                                       int // of the present incarnation of the credential
	RequestedAt                               time.Time
	CompromisedAt, RollbackAt                 time.Time
	revokeAnyway                              bool
	abandonAll                                bool
	Trouble                                   Trouble
	Journal                                   []Record
	Target                                    Mount
	Upstream                                  []Object // the first is nobody's

	Dimensions []Dimension

	variant    *Variant
	clock      int64 // of revisions
	effects    int64 // upstream
	crowded    bool  // others have filled the container once
	highest    int64
	nonces     int
	loseAnswer bool // the next upstream call is done, and its answer is lost
	dropCall   bool // the next upstream call never arrives
	lateCall   bool // the next upstream call is done long after everybody gave it up
	sameAnswer bool // the next version is what is published already
	late       []latecomer
	backup     Record // of the version that was let go last and had served
	erased     []int  // nonces of versions of which a restore has left no trace in the journal
	restored   []int  // nonces of versions whose Secret is another one since
	suspected  []int  // nonces that an administrator was told to look for
	faults     []string
	story      *line
}

// NewWorld is a world in which a credential was created a moment ago.
func NewWorld(v *Variant) *World {
	w := &World{Now: Began, Exists: true, uid: 1, Upstream: make([]Object, 1), variant: v}
	for _, make := range v.Dimensions {
		w.Dimensions = append(w.Dimensions, make())
	}
	return w
}

func (w *World) clone() *World {
	c := *w
	c.Journal, c.Upstream = slices.Clone(w.Journal), slices.Clone(w.Upstream)
	c.late, c.suspected, c.erased = slices.Clip(w.late), slices.Clip(w.suspected), slices.Clip(w.erased)
	c.restored = slices.Clip(w.restored)
	c.faults = slices.Clip(w.faults)
	if len(w.Dimensions) > 0 {
		c.Dimensions = make([]Dimension, len(w.Dimensions))
		for i, d := range w.Dimensions {
			c.Dimensions[i] = d.Clone()
		}
	}
	return &c
}

// Has reports whether all of some troubles are there.
func (w *World) Has(t Trouble) bool { return w.Trouble&t == t }

// Ending reports whether the credential is deleted, or gone.
func (w *World) Ending() bool { return w.Deleting || !w.Exists }

// Fault reports that a rule was broken by what happens at this moment.
func (w *World) Fault(format string, args ...any) {
	w.faults = append(slices.Clip(w.faults), fmt.Sprintf(format, args...))
}

func (w *World) find(number int64) *Record {
	for i := range w.Journal {
		if r := &w.Journal[i]; r.Number == number && r.uid == w.uid {
			return r
		}
	}
	return nil
}

func (w *World) byNonce(nonce int) *Record {
	for i := range w.Journal {
		if w.Journal[i].Nonce == nonce {
			return &w.Journal[i]
		}
	}
	return nil
}

// mine are the versions of the present incarnation that are not let go, and strangers
// those that another one has left.
func (w *World) mine(r *Record) bool { return r.uid == w.uid && !r.released }

func (w *World) touch(r *Record) { w.clock++; r.revision = w.clock }

// Touch tells everybody who watches that something was written.
func (w *World) Touch() { w.clock++ }

func (w *World) put(m Mount) { w.clock++; m.revision = w.clock; w.Target = m }

func (w *World) accepts(material int) bool {
	o := w.Upstream[material]
	return o.Live && !o.Bad && !w.Now.Before(o.since.Add(propagation)) && (o.until.IsZero() || w.Now.Before(o.until))
}

// live counts what the container holds.
func (w *World) live() int {
	n := 0
	for _, o := range w.Upstream {
		if o.Live {
			n++
		}
	}
	if w.Has(Full) {
		n += w.variant.Capabilities.MaxLive
	}
	return n
}

// policy is today's. A credential is renewed by age once, or every life would be
// without end.
func (w *World) policy() rotation.Policy {
	p := w.variant.Policy
	if w.variant.Renewals > 0 && w.highest > w.variant.Renewals {
		p.RotateAfter = never
	}
	if w.Has(PolicyGone) {
		p.Problem = problem("PolicyNotFound", true, "the policy does not exist")
	}
	return p
}

func problem(reason string, stalled bool, message string) *rotation.Problem {
	return &rotation.Problem{Reason: reason, Stalled: stalled, Message: message}
}

// line is the newest line of a story, which many worlds share.
type line struct {
	at      time.Time
	who     int // a process; 0: somebody else
	what    string
	version int64
	cause   string
	before  *line
}

func (w *World) tell(who int, what string, version int64, cause string) {
	w.story = &line{at: w.Now, who: who, what: what, version: version, cause: cause, before: w.story}
}

// Story is what happened, a line each.
func (w *World) Story() string {
	lines := []string{}
	for l := w.story; l != nil; l = l.before {
		lines = append(lines, l.String())
	}
	slices.Reverse(lines)
	text := ""
	for _, l := range lines {
		text += l + "\n"
	}
	return text
}

func (l *line) String() string {
	text := l.at.Format("Jan _2 15:04:05  ")
	if l.who == 0 {
		return text + l.what
	}
	text += fmt.Sprintf("operator %d: %s", l.who, l.what)
	if l.version != 0 {
		text += fmt.Sprintf(" %d", l.version)
	}
	if l.cause != "" {
		text += " (" + l.cause + ")"
	}
	return text
}
