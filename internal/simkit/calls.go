package simkit

import (
	"cmp"
	"slices"
	"sync"
)

// CallCount is how often one kind of call came from one caller.
type CallCount struct {
	Operation string `json:"operation"`
	Actor
	// Calls counts arrivals, held ones and refused ones included.
	Calls int `json:"calls"`
	// Outcomes counts how they ended: an HTTP status as text, or one of "cut",
	// "truncated", "dropped" and "gone" (the client left before its answer). Calls
	// that have not ended are the difference to Calls.
	Outcomes map[string]int `json:"outcomes"`
}

// Calls counts calls by operation, login and user agent, which tells the calls of
// the system under test from those of its judge.
type Calls struct {
	mu     sync.Mutex
	counts map[callKey]*CallCount
}

type callKey struct{ operation, login, agent string }

// NewCalls gives a counter at zero.
func NewCalls() *Calls { return &Calls{counts: map[callKey]*CallCount{}} }

func (c *Calls) arrived(call Call) { c.at(call, func(n *CallCount) { n.Calls++ }) }

func (c *Calls) ended(call Call, outcome string) {
	c.at(call, func(n *CallCount) { n.Outcomes[outcome]++ })
}

func (c *Calls) at(call Call, add func(*CallCount)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := callKey{call.Operation, call.By.Login, call.By.Agent}
	n := c.counts[k]
	if n == nil {
		n = &CallCount{Operation: call.Operation, Actor: call.By, Outcomes: map[string]int{}}
		c.counts[k] = n
	}
	add(n)
}

// List gives all counts, sorted by operation, login and agent.
func (c *Calls) List() []CallCount {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make([]CallCount, 0, len(c.counts))
	for _, n := range c.counts {
		copied := *n
		copied.Outcomes = map[string]int{}
		for outcome, count := range n.Outcomes {
			copied.Outcomes[outcome] = count
		}
		out = append(out, copied)
	}
	slices.SortFunc(out, func(a, b CallCount) int {
		return cmp.Or(cmp.Compare(a.Operation, b.Operation), cmp.Compare(a.Login, b.Login), cmp.Compare(a.Agent, b.Agent))
	})
	return out
}

// Total counts the calls of all operations that match the pattern ("token.*").
func (c *Calls) Total(pattern string) int {
	total := 0
	for _, n := range c.List() {
		if matches(pattern, n.Operation) {
			total += n.Calls
		}
	}
	return total
}

// Outcome counts the calls of matching operations that ended that way.
func (c *Calls) Outcome(pattern, outcome string) int {
	total := 0
	for _, n := range c.List() {
		if matches(pattern, n.Operation) {
			total += n.Outcomes[outcome]
		}
	}
	return total
}
