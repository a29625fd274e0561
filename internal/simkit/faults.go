package simkit

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync"
)

// Point is the side of the commit on which a fault strikes.
type Point string

const (
	// BeforeCommit: the call was understood and allowed, and nothing is done yet.
	BeforeCommit Point = "before-commit"
	// AfterCommit: everything is done and the answer has not left.
	AfterCommit Point = "after-commit"
)

// Action is what a fault does.
type Action string

const (
	// Refuse answers with Status and Message in the upstream's own error form.
	Refuse Action = "refuse"
	// Delay waits for Fault.Delay on the simulator's clock and goes on.
	Delay Action = "delay"
	// HTML answers with Status (default 502) and a page as proxies write it.
	HTML Action = "html"
	// Garble answers with Status (default 200) and Message as the whole body, whatever the
	// upstream's own form is.
	Garble Action = "garble"
	// ThrottleCall answers 429 with Retry-After.
	ThrottleCall Action = "throttle"
	// Cut closes the connection without a byte of an answer.
	Cut Action = "cut"
	// Truncate sends half of the true answer and closes the connection. Only after
	// the commit, since there is no answer before.
	Truncate Action = "truncate"
	// Hold stands still until released, and goes on.
	Hold Action = "hold"
)

// What becomes of a call whose client goes away while it is held or delayed before
// the commit.
const (
	// DropCall ends it without a commit: the default of Hold, so that a client
	// that is killed at that moment has done nothing.
	DropCall = "drop"
	// CommitCall commits it all the same, as a queue in front of the upstream
	// does: the default of Delay. It makes late arrivals.
	CommitCall = "commit"
)

// Forms of Retry-After.
const (
	RetryAfterSeconds = "seconds"
	RetryAfterDate    = "date"
	RetryAfterNone    = "none"
)

// Fault is a failure that waits for its call.
type Fault struct {
	// ID is given by Add.
	ID string `json:"id,omitempty"`
	// Operation names the calls it strikes: exact, or a prefix and "*".
	Operation string `json:"operation"`
	// Match narrows that to calls with these attributes ("app", "clientId",
	// "login", "agent", …): exact, or a prefix and "*".
	Match map[string]string `json:"match,omitempty"`
	// Point defaults to BeforeCommit.
	Point  Point  `json:"point,omitempty"`
	Action Action `json:"action"`
	// Skip lets that many matching calls pass first.
	Skip int `json:"skip,omitempty"`
	// Count is how many calls it strikes: 0 means 1, -1 means until removed. What
	// Faults.List gives is what is left.
	Count int `json:"count,omitempty"`
	// Status is that of Refuse (required, 400 to 599), HTML (default 502) and Garble
	// (default 200), from 100 to 599.
	Status int `json:"status,omitempty"`
	// Message is what Refuse and ThrottleCall say, and the body of Garble.
	Message string `json:"message,omitempty"`
	// Delay is how long Delay waits.
	Delay Duration `json:"delay,omitempty"`
	// RetryAfter is what ThrottleCall asks for, default 1s; Refuse and HTML send it
	// only if it is set. RetryAfterForm is its form, default RetryAfterSeconds.
	RetryAfter     Duration `json:"retryAfter,omitempty"`
	RetryAfterForm string   `json:"retryAfterForm,omitempty"`
	// IfClientGone is DropCall or CommitCall.
	IfClientGone string `json:"ifClientGone,omitempty"`
}

// check fills in the defaults and refuses what could never strike as it is meant:
// a test whose fault is silently inert passes for the wrong reason.
func (f Fault) check() (Fault, error) {
	if f.Operation == "" {
		return f, errors.New("a fault needs an operation; * strikes them all")
	}
	if f.Point == "" {
		f.Point = BeforeCommit
	}
	if f.Point != BeforeCommit && f.Point != AfterCommit {
		return f, fmt.Errorf("unknown point %q", f.Point)
	}
	if f.Count == 0 {
		f.Count = 1
	}
	if f.Count < -1 || f.Skip < 0 {
		return f, errors.New("count is -1 or more, skip 0 or more")
	}
	switch f.RetryAfterForm {
	case "":
		f.RetryAfterForm = RetryAfterSeconds
	case RetryAfterSeconds, RetryAfterDate, RetryAfterNone:
	default:
		return f, fmt.Errorf("unknown form of Retry-After %q", f.RetryAfterForm)
	}
	switch f.IfClientGone {
	case "":
		f.IfClientGone = CommitCall
		if f.Action == Hold {
			f.IfClientGone = DropCall
		}
	case DropCall, CommitCall:
	default:
		return f, fmt.Errorf("ifClientGone is %q or %q", DropCall, CommitCall)
	}
	return f.checkAction()
}

func (f Fault) checkAction() (Fault, error) {
	switch f.Action {
	case Refuse, HTML, Garble:
		if f.Status == 0 {
			f.Status = map[Action]int{HTML: http.StatusBadGateway, Garble: http.StatusOK}[f.Action]
		}
		if least := map[Action]int{Refuse: 400, HTML: 100, Garble: 100}[f.Action]; f.Status < least || f.Status > 599 {
			return f, fmt.Errorf("%s needs a status from %d to 599", f.Action, least)
		}
	case ThrottleCall:
		if f.RetryAfter == 0 && f.RetryAfterForm != RetryAfterNone {
			f.RetryAfter = Duration(1e9)
		}
	case Delay:
		if f.Delay <= 0 {
			return f, errors.New("delay needs a duration")
		}
	case Truncate:
		if f.Point != AfterCommit {
			return f, errors.New("there is no answer to truncate before the commit")
		}
	case Cut, Hold:
	default:
		return f, fmt.Errorf("unknown action %q", f.Action)
	}
	return f, nil
}

// ends reports whether the action answers or ends the call.
func (f Fault) ends() bool { return f.Action != Delay && f.Action != Hold }

func (f Fault) strikes(call Call, point Point) bool {
	if f.Point != point || !matches(f.Operation, call.Operation) {
		return false
	}
	for name, pattern := range f.Match {
		if !matches(pattern, call.attr(name)) {
			return false
		}
	}
	return true
}

// Held is a call that stands still.
type Held struct {
	ID        string            `json:"id"`
	Operation string            `json:"operation"`
	Point     Point             `json:"point"`
	Attrs     map[string]string `json:"attrs,omitempty"`
}

type held struct {
	Held
	release chan bool // true: cut the connection instead of going on
}

// Faults are the faults that wait and the calls that they hold.
type Faults struct {
	operations []string // empty: unknown

	mu     sync.Mutex
	serial int
	faults []*Fault
	held   []*held
	closed bool
}

// NewFaults gives a set of none. If the simulator's operations are named, a fault
// for any other is refused.
func NewFaults(operations ...string) *Faults { return &Faults{operations: operations} }

// Add sets a fault and returns its id. Faults strike in the order of their adding;
// a delay or a hold leaves the call to the next one that matches.
func (f *Faults) Add(fault Fault) (string, error) {
	fault, err := fault.check()
	if err != nil {
		return "", err
	}
	known := func(operation string) bool { return matches(fault.Operation, operation) }
	if len(f.operations) > 0 && !slices.ContainsFunc(f.operations, known) {
		return "", fmt.Errorf("no operation matches %q; there are %v", fault.Operation, f.operations)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.serial++
	fault.ID = "f" + strconv.Itoa(f.serial)
	f.faults = append(f.faults, &fault)
	return fault.ID, nil
}

// Remove takes one fault away, or all if the id is empty, and returns how many.
// Calls that are held already stay so.
func (f *Faults) Remove(id string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	before := len(f.faults)
	f.faults = slices.DeleteFunc(f.faults, func(fault *Fault) bool { return id == "" || fault.ID == id })
	return before - len(f.faults)
}

// List gives the faults that can still strike.
func (f *Faults) List() []Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := []Fault{}
	for _, fault := range f.faults {
		out = append(out, *fault)
	}
	return out
}

// take returns the faults that strike this call here, and counts them.
func (f *Faults) take(call Call, point Point) []Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	var struck []Fault
	for _, fault := range f.faults {
		if !fault.strikes(call, point) {
			continue
		}
		if fault.Skip > 0 {
			fault.Skip--
			continue
		}
		struck = append(struck, *fault)
		if fault.Count > 0 {
			fault.Count--
		}
		if fault.ends() {
			break
		}
	}
	f.faults = slices.DeleteFunc(f.faults, func(fault *Fault) bool { return fault.Count == 0 })
	return struck
}

// Held gives the calls that stand still now.
func (f *Faults) Held() []Held {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := []Held{}
	for _, h := range f.held {
		out = append(out, h.Held)
	}
	return out
}

// Release lets held calls go on, or cuts their connections: the one with this id,
// or all if the id is empty. It returns how many.
func (f *Faults) Release(id string, cut bool) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.release(id, cut)
}

func (f *Faults) release(id string, cut bool) int {
	before := len(f.held)
	f.held = slices.DeleteFunc(f.held, func(h *held) bool {
		if id != "" && h.ID != id {
			return false
		}
		h.release <- cut
		return true
	})
	return before - len(f.held)
}

// Close cuts every held call, and from now on holds none: a server cannot stop
// while a handler waits for a release that nobody will send.
func (f *Faults) Close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	f.release("", true)
}

func (f *Faults) hold(call Call, point Point) *held {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.serial++
	h := &held{
		Held:    Held{ID: "h" + strconv.Itoa(f.serial), Operation: call.Operation, Point: point, Attrs: call.attrs()},
		release: make(chan bool, 1),
	}
	if f.closed {
		h.release <- true
		return h
	}
	f.held = append(f.held, h)
	return h
}

// forget takes a held call away whose client has gone. False means that it was
// released at the same moment, and then the release counts.
func (f *Faults) forget(h *held) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	i := slices.Index(f.held, h)
	if i < 0 {
		return false
	}
	f.held = slices.Delete(f.held, i, i+1)
	return true
}
