package simkit

import (
	"context"
	"maps"
	"sync"
	"time"
)

// eventsKept bounds the memory of a simulator that refuses gateway calls for
// hours. At some 300 bytes an event it is about 20 MB.
const eventsKept = 1 << 16

// Event is something that happened in the simulator and that somebody may wait for.
type Event struct {
	// Seq counts from 1 without gaps.
	Seq int64 `json:"seq"`
	// Time is the simulator's clock.
	Time time.Time `json:"time"`
	// Type is one of the constants below or one of the simulator's own.
	Type string `json:"type"`
	// Operation is the call it belongs to, empty if it belongs to none.
	Operation string `json:"operation,omitempty"`
	// Attrs says what it was about; never a secret.
	Attrs map[string]string `json:"attrs,omitempty"`
}

// Types of events that every simulator sends.
const (
	// EventIssued, EventChanged, EventRevoked: the ledger got an entry.
	EventIssued  = "issued"
	EventChanged = "changed"
	EventRevoked = "revoked"
	// EventDuplicate: a create was refused because the name or id was taken.
	EventDuplicate = "duplicate"
	// EventFault: a fault struck; attrs fault, action, point.
	EventFault = "fault"
	// EventHeld: a call stands still at a fault point until it is released; attrs
	// hold, fault, point. With point after-commit it is committed and its answer
	// withheld; with before-commit nothing happened yet.
	EventHeld = "held"
	// EventReleased: a held call goes on.
	EventReleased = "released"
	// EventDropped: the client went away while its call was held before the commit,
	// and the call ended without one.
	EventDropped = "dropped"
)

// Events is the stream of them, readable by many.
type Events struct {
	clock Clock

	mu      sync.Mutex
	last    int64
	kept    []Event
	changed chan struct{}
}

// NewEvents gives an empty stream.
func NewEvents(clock Clock) *Events {
	return &Events{clock: clock, changed: make(chan struct{})}
}

// Append adds an event and wakes whoever waits. The attributes are copied.
func (e *Events) Append(kind, operation string, attrs map[string]string) Event {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.last++
	event := Event{Seq: e.last, Time: e.clock.Now(), Type: kind, Operation: operation, Attrs: maps.Clone(attrs)}
	if len(e.kept) >= 2*eventsKept {
		// Copying half of it now and then is cheaper than shifting it every time.
		e.kept = append([]Event(nil), e.kept[eventsKept:]...)
	}
	e.kept = append(e.kept, event)
	close(e.changed)
	e.changed = make(chan struct{})
	return event
}

// Last is the number of the newest event: what a reader passes to Since who wants
// only what comes from now on.
func (e *Events) Last() int64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.last
}

// Since gives the events after seq that are still kept.
func (e *Events) Since(seq int64) []Event {
	events, _ := e.since(seq)
	return events
}

func (e *Events) since(seq int64) ([]Event, <-chan struct{}) {
	e.mu.Lock()
	defer e.mu.Unlock()
	first := e.last - int64(len(e.kept)) + 1
	from := min(max(seq+1-first, 0), int64(len(e.kept)))
	return append([]Event(nil), e.kept[from:]...), e.changed
}

// Wait returns the first event after seq that want accepts, now or once it
// happens, or the context's error.
func (e *Events) Wait(ctx context.Context, seq int64, want func(Event) bool) (Event, error) {
	for {
		events, changed := e.since(seq)
		for _, event := range events {
			if want(event) {
				return event, nil
			}
			seq = event.Seq
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return Event{}, ctx.Err()
		}
	}
}
