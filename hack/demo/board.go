package main

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/claviger-dev/claviger/internal/material"
)

// pair is what a target Secret holds.
type pair struct {
	// held tells versions apart: a client id, a serial number.
	held   string
	secret material.Secret
	// version is what the Secret says about itself, for people.
	version string
}

func (p pair) empty() bool { return p.held == "" }

// board is where every target Secret hangs as it is at the API server at this moment.
// It is safe for concurrent use.
type board struct {
	mu    sync.Mutex
	slots map[types.NamespacedName]*slot
}

type slot struct {
	now pair
	// history is what was held, in the order of their publication, and when each was
	// first seen.
	history []publication
	changed chan struct{}
}

type publication struct {
	held string
	at   time.Time
}

func newBoard() *board { return &board{slots: map[types.NamespacedName]*slot{}} }

// at returns the slot of a name; the caller holds the lock.
func (b *board) at(name types.NamespacedName) *slot {
	s := b.slots[name]
	if s == nil {
		s = &slot{changed: make(chan struct{})}
		b.slots[name] = s
	}
	return s
}

// post hangs up what a Secret holds now. It reports the pair that hung there before,
// and whether the new one is another.
func (b *board) post(name types.NamespacedName, p pair, at time.Time) (before pair, news bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.at(name)
	before = s.now
	if s.now == p {
		return before, false
	}
	s.now = p
	s.history = append(s.history, publication{p.held, at})
	close(s.changed)
	s.changed = make(chan struct{})
	return before, true
}

// read returns what hangs there, and a channel that closes when that changes.
func (b *board) read(name types.NamespacedName) (pair, <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.at(name)
	return s.now, s.changed
}

// rotations counts how often one pair followed another.
func (b *board) rotations(name types.NamespacedName) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return max(0, len(b.at(name).history)-1)
}

// successor returns when what was held was replaced; false if it was not.
func (b *board) successor(name types.NamespacedName, held string) (time.Time, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	history := b.at(name).history
	for i, p := range history {
		if p.held == held && i+1 < len(history) {
			return history[i+1].at, true
		}
	}
	return time.Time{}, false
}
