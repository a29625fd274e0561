package notify

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

const (
	// news is how old a fact may be that is told about a credential of which nothing is
	// recorded: who writes a policy for a thousand old credentials wants no thousand mails.
	news = 10 * time.Minute
	// grace is how long a credential must be in trouble before it is told: what comes by itself
	// a moment later, an issuer that is applied after its credential, is none.
	grace = time.Minute
	// calm is how long the same trouble is not told again, so that one that comes and goes is
	// not a mail a minute.
	calm = time.Hour
	// maxPending bounds what waits for a dead channel for one credential; the oldest are let go.
	maxPending = 64
	// maxApprovals bounds what is remembered of requests that are gone.
	maxApprovals = 128
	// maxOrphans bounds what is remembered of versions that may live upstream. An issuer's status
	// names ten at a time.
	maxOrphans = 64
)

// Facts are what is, as durable objects say it.
type Facts struct {
	Subject
	// Exists: the credential does. The others below are meaningless otherwise, Held excepted.
	Exists bool
	// LetGo: a person has asked to forget versions without revoking them.
	LetGo bool
	// Published is the version that the Secret holds, 0 if none, since IssuedAt.
	Published int64
	IssuedAt  time.Time
	// Serving are the versions that are or were published and are not revoked.
	Serving []int64
	// Held are the versions whose version Secret exists: no such version is revoked for good.
	Held             []int64
	Expires, Rotates string
	Troubles         []Trouble
	Approvals        []Request
	// Orphans are versions that may live upstream and cannot be found there. They are what issuers
	// say, so they are known when the credential is gone as well.
	Orphans []Orphan
	// Owner is who the credential's annotation names.
	Owner string
}

// Trouble is a state that should not last.
type Trouble struct {
	Event          Event
	Reason, Detail string
	Since          time.Time
}

// Orphan is a version that may live upstream.
type Orphan struct {
	// Name is what it is called there, and no other ever is.
	Name string
	// Detail says where it may be, and why nobody knows.
	Detail string
}

// Request is an approval request.
type Request struct {
	UID   string
	State string // Pending, Approved, Rejected or Expired
	// Since is when the state began.
	Since time.Time
	Approval
}

// Record is what was told about one credential, and what is yet to be sent.
type Record struct {
	Subject
	Owner     string           `json:"owner,omitempty"`
	LetGo     bool             `json:"letGo,omitempty"`
	Published int64            `json:"published,omitempty"`
	Serving   []int64          `json:"serving,omitempty"`
	Troubles  map[Event]Told   `json:"troubles,omitempty"`
	Approvals map[string]State `json:"approvals,omitempty"`
	// Orphans are the names of those that were told, oldest first.
	Orphans []string   `json:"orphans,omitempty"`
	Pending []Delivery `json:"pending,omitempty"`
}

// State is what was told of a request.
type State string

// Told is when a trouble was told last.
type Told struct {
	Reason string    `json:"reason,omitempty"`
	Active bool      `json:"active,omitempty"`
	At     time.Time `json:"at"`
}

// Delivery is one message on its way to one receiver.
type Delivery struct {
	Channel string `json:"channel"`
	// To is a mail address; empty for channels that are no mail.
	To      string  `json:"to,omitempty"`
	Message Message `json:"message"`
}

// ID is the same however often the delivery is tried.
func (d Delivery) ID() string { return d.Message.Key + "|" + d.Channel + "|" + d.To }

// Next compares what is with what was told and returns the record that holds when the messages
// have been written down, and when to look again if nothing else happens; zero is never.
// recorded is nil if nothing was told yet.
func Next(recorded *Record, f Facts, now time.Time) (after Record, messages []Message, again time.Duration) {
	n := next{now: now, facts: f}
	if recorded == nil {
		n.record = first(f, now)
	} else {
		n.record = *recorded
		n.record.Serving, n.record.Orphans = slices.Clone(recorded.Serving), slices.Clone(recorded.Orphans)
		n.record.Troubles, n.record.Approvals = maps.Clone(recorded.Troubles), maps.Clone(recorded.Approvals)
	}
	if f.Exists {
		n.record.Subject, n.record.Owner, n.record.LetGo = f.Subject, f.Owner, f.LetGo
	}
	n.approvals()
	n.versions()
	n.troubles()
	n.orphans()
	return n.record, n.messages, n.again
}

// first is the record of a credential that nothing was told about: what is old news counts as
// told.
func first(f Facts, now time.Time) Record {
	r := Record{Subject: f.Subject}
	if f.Published > 0 && now.Sub(f.IssuedAt) > news {
		r.Published, r.Serving = f.Published, slices.Clone(f.Serving)
	}
	for _, request := range f.Approvals {
		if request.State != "Pending" && now.Sub(request.Since) > news {
			r.remember(request.UID, State(request.State))
		}
	}
	return r
}

func (r *Record) remember(request string, state State) {
	if r.Approvals == nil {
		r.Approvals = map[string]State{}
	}
	r.Approvals[request] = state
}

type next struct {
	now      time.Time
	facts    Facts
	record   Record
	messages []Message
	again    time.Duration
}

func (n *next) tell(event Event, version int64, detail string, fill func(*Message)) {
	m := Message{Event: event, Subject: n.record.Subject, Version: version, At: n.now}
	m.Key = fmt.Sprintf("%s/%d/%s", m.UID, version, event)
	if detail != "" {
		m.Key += "/" + detail
	}
	if n.facts.Exists {
		m.Expires, m.Rotates = n.facts.Expires, n.facts.Rotates
	}
	if fill != nil {
		fill(&m)
	}
	n.messages = append(n.messages, m)
}

func (n *next) wake(after time.Duration) {
	if n.again == 0 || after < n.again {
		n.again = after
	}
}

// versions tells what was published and what is gone since.
func (n *next) versions() {
	r, f := &n.record, n.facts
	if f.Exists && f.Published > r.Published {
		event := Renewed
		// A version before it that serves makes it a renewal even where nothing was recorded.
		if r.Published == 0 && !slices.ContainsFunc(f.Serving, func(v int64) bool { return v < f.Published }) {
			event = Issued
		}
		n.tell(event, f.Published, "", nil)
		r.Published = f.Published
	}
	var serving []int64
	for _, v := range r.Serving {
		switch {
		case f.Exists && slices.Contains(f.Serving, v):
			serving = append(serving, v)
		case slices.Contains(f.Held, v):
			// The status has lost it, or shows no more than eight; or it is retained.
			serving = append(serving, v)
		case !r.LetGo:
			n.tell(Revoked, v, "", func(m *Message) { m.Deleted = !f.Exists })
		}
	}
	if f.Exists {
		for _, v := range f.Serving {
			if !slices.Contains(serving, v) {
				serving = append(serving, v)
			}
		}
	}
	slices.Sort(serving)
	r.Serving = serving
}

// troubles tells of what lasts, once.
func (n *next) troubles() {
	if !n.facts.Exists {
		return
	}
	for _, event := range []Event{Failing, Expiring, UptakeStalled} {
		at := slices.IndexFunc(n.facts.Troubles, func(t Trouble) bool { return t.Event == event })
		told, known := n.record.Troubles[event]
		if at < 0 {
			if told.Active {
				told.Active = false
				n.record.Troubles[event] = told
			}
			if known && n.now.Sub(told.At) >= calm {
				delete(n.record.Troubles, event) // nothing has to be remembered of it any more
			}
			continue
		}
		trouble := n.facts.Troubles[at]
		if told.Active && told.Reason == trouble.Reason {
			continue
		}
		due := trouble.Since.Add(grace)
		if known && told.At.Add(calm).After(due) {
			due = told.At.Add(calm)
		}
		if n.now.Before(due) {
			n.wake(due.Sub(n.now))
			continue
		}
		if n.record.Troubles == nil {
			n.record.Troubles = map[Event]Told{}
		}
		n.record.Troubles[event] = Told{Reason: trouble.Reason, Active: true, At: n.now}
		n.tell(event, n.facts.Published, n.now.UTC().Format(time.RFC3339), func(m *Message) {
			m.Reason, m.Detail = trouble.Reason, trouble.Detail
			if event == Expiring {
				m.Approval = waiting(n.facts.Approvals)
			}
		})
	}
}

// waiting is what people are asked before a successor can be made, so that an end that comes near
// is told to them as well; nil if they are asked nothing. Several demands are one here: each may
// have approvers of its own, and whoever is missing has to know.
func waiting(requests []Request) *Approval {
	var all *Approval
	for _, r := range slices.SortedFunc(slices.Values(requests), func(a, b Request) int { return strings.Compare(a.Name, b.Name) }) {
		if r.State != "Pending" || r.Operation == "Delete" {
			continue // a deletion that is agreed to makes no successor
		}
		if all == nil {
			first := r.Approval
			first.Approvers, first.Groups, first.Decisions = slices.Clone(first.Approvers), slices.Clone(first.Groups), slices.Clone(first.Decisions)
			all = &first
			continue
		}
		all.Name += ", " + r.Name
		if r.ExpiresAt.Before(all.ExpiresAt) {
			all.ExpiresAt = r.ExpiresAt
		}
		all.Approvers, all.Groups = union(all.Approvers, r.Approvers), union(all.Groups, r.Groups)
		all.Decisions = append(all.Decisions, r.Decisions...)
	}
	return all
}

func union(a, b []string) []string {
	for _, one := range b {
		if !slices.Contains(a, one) {
			a = append(a, one)
		}
	}
	return a
}

// approvals tells who is asked, and what was answered.
func (n *next) approvals() {
	events := map[string]Event{"Pending": ApprovalRequested, "Approved": Approved, "Rejected": Rejected}
	present := map[string]bool{}
	for _, request := range n.facts.Approvals {
		present[request.UID] = true
		if n.record.Approvals[request.UID] == State(request.State) {
			continue
		}
		n.record.remember(request.UID, State(request.State))
		if event, told := events[request.State]; told {
			n.tell(event, 0, request.UID, func(m *Message) { m.Approval = &request.Approval })
		}
	}
	// A request that is kept for a year is remembered as long; one that is gone for a while only.
	for _, uid := range slices.Sorted(maps.Keys(n.record.Approvals)) {
		if len(n.record.Approvals) > maxApprovals && !present[uid] {
			delete(n.record.Approvals, uid)
		}
	}
}

// orphans tells each version that may live upstream once. One that is no longer listed stays
// remembered: a cache that is behind would list it again.
func (n *next) orphans() {
	r := &n.record
	listed := map[string]bool{}
	for _, orphan := range n.facts.Orphans {
		listed[orphan.Name] = true
		if slices.Contains(r.Orphans, orphan.Name) {
			continue
		}
		r.Orphans = append(r.Orphans, orphan.Name)
		n.tell(OrphanSuspected, 0, orphan.Name, func(m *Message) { m.Reason, m.Detail = string(OrphanSuspected), orphan.Detail })
	}
	if over := len(r.Orphans) - maxOrphans; over > 0 {
		r.Orphans = slices.DeleteFunc(r.Orphans, func(name string) bool {
			if over == 0 || listed[name] {
				return false
			}
			over--
			return true
		})
	}
}

// Add puts deliveries into the record and returns those that had to go for want of room.
func (r *Record) Add(deliveries []Delivery) (dropped []Delivery) {
	for _, d := range deliveries {
		if !slices.ContainsFunc(r.Pending, func(p Delivery) bool { return p.ID() == d.ID() }) {
			r.Pending = append(r.Pending, d)
		}
	}
	if over := len(r.Pending) - maxPending; over > 0 {
		dropped = slices.Clone(r.Pending[:over])
		r.Pending = slices.Clone(r.Pending[over:])
	}
	return dropped
}

// Remove takes out what was sent, and reports whether anything was there.
func (r *Record) Remove(ids map[string]bool) bool {
	before := len(r.Pending)
	r.Pending = slices.DeleteFunc(slices.Clone(r.Pending), func(d Delivery) bool { return ids[d.ID()] })
	return len(r.Pending) != before
}
