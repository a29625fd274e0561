package simkit

import (
	"maps"
	"sync"
	"time"
)

// Actor is who asked for something.
type Actor struct {
	Login string `json:"login,omitempty"`
	Agent string `json:"agent,omitempty"`
}

// Entry is one line of the ledger; lines are only ever added.
type Entry struct {
	Seq  int64     `json:"seq"`
	Time time.Time `json:"time"`
	// Action is EventIssued, EventChanged, EventRevoked or EventDuplicate.
	Action string `json:"action"`
	// Kind and ID name the object, e.g. "credential" and its upstream id. A
	// duplicate has the id of the object that was in the way.
	Kind string `json:"kind"`
	ID   string `json:"id"`
	// Attrs are the object's facts at that moment (name, client id, container).
	Attrs map[string]string `json:"attrs,omitempty"`
	By    Actor             `json:"by"`
	// How says by which way, e.g. the operation, "seed" or "human".
	How string `json:"how"`
}

// Record is what the ledger knows of one object.
type Record struct {
	Kind string `json:"kind"`
	ID   string `json:"id"`
	// Attrs are the newest facts.
	Attrs    map[string]string `json:"attrs,omitempty"`
	IssuedAt time.Time         `json:"issuedAt"`
	IssuedBy Actor             `json:"issuedBy"`
	How      string            `json:"how"`
	// Changes counts renames, resets and the like.
	Changes int `json:"changes,omitempty"`
	// RevokedAt is nil while the object lives.
	RevokedAt  *time.Time `json:"revokedAt,omitempty"`
	RevokedBy  *Actor     `json:"revokedBy,omitempty"`
	RevokedHow string     `json:"revokedHow,omitempty"`
}

// Live reports whether the object was not revoked.
func (r Record) Live() bool { return r.RevokedAt == nil }

// Ledger remembers what was ever issued, changed and revoked. It is the judge's
// memory: nothing that a client sends can take a line out of it.
type Ledger struct {
	clock  Clock
	events *Events

	mu      sync.Mutex
	entries []Entry
	order   []*Record
	byID    map[string]*Record
}

// NewLedger gives an empty ledger that announces its entries as events.
func NewLedger(clock Clock, events *Events) *Ledger {
	return &Ledger{clock: clock, events: events, byID: map[string]*Record{}}
}

// Issue opens the record of an object; e.Action is set.
func (l *Ledger) Issue(e Entry) {
	e.Action = EventIssued
	l.append(e, func(e Entry) {
		r := &Record{Kind: e.Kind, ID: e.ID, Attrs: e.Attrs, IssuedAt: e.Time, IssuedBy: e.By, How: e.How}
		l.order = append(l.order, r)
		l.byID[key(e)] = r
	})
}

// Change notes new facts of an object.
func (l *Ledger) Change(e Entry) {
	e.Action = EventChanged
	l.append(e, func(e Entry) {
		if r := l.byID[key(e)]; r != nil {
			r.Attrs = e.Attrs
			r.Changes++
		}
	})
}

// Revoke closes the record of an object.
func (l *Ledger) Revoke(e Entry) {
	e.Action = EventRevoked
	l.append(e, func(e Entry) {
		if r := l.byID[key(e)]; r != nil && r.RevokedAt == nil {
			r.RevokedAt, r.RevokedBy, r.RevokedHow = &e.Time, &e.By, e.How
		}
	})
}

// Duplicate notes a create that was refused because something was in its way: the
// trace of a client that repeats a create without knowing.
func (l *Ledger) Duplicate(e Entry) {
	e.Action = EventDuplicate
	l.append(e, func(Entry) {})
}

func key(e Entry) string { return e.Kind + "/" + e.ID }

func (l *Ledger) append(e Entry, apply func(Entry)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e.Seq = int64(len(l.entries)) + 1
	e.Time = l.clock.Now()
	e.Attrs = maps.Clone(e.Attrs)
	l.entries = append(l.entries, e)
	apply(e)
	attrs := maps.Clone(e.Attrs)
	if attrs == nil {
		attrs = map[string]string{}
	}
	attrs["kind"], attrs["id"], attrs["how"] = e.Kind, e.ID, e.How
	attrs["login"], attrs["agent"] = e.By.Login, e.By.Agent
	// Announced under the lock: an event that can be seen before its entry would
	// let a reader find the ledger without it.
	l.events.Append(e.Action, "", attrs)
}

// Entries gives the lines after seq.
func (l *Ledger) Entries(seq int64) []Entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	from := min(max(seq, 0), int64(len(l.entries)))
	return append([]Entry(nil), l.entries[from:]...)
}

// Issued gives every record, in the order of issue.
func (l *Ledger) Issued() []Record { return l.records(func(Record) bool { return true }) }

// Live gives the records that were not revoked.
func (l *Ledger) Live() []Record { return l.records(Record.Live) }

// Revoked gives the records that were.
func (l *Ledger) Revoked() []Record {
	return l.records(func(r Record) bool { return !r.Live() })
}

func (l *Ledger) records(keep func(Record) bool) []Record {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := []Record{}
	for _, r := range l.order {
		if keep(*r) {
			// Attrs maps are replaced and never edited, so sharing them is safe.
			out = append(out, *r)
		}
	}
	return out
}
