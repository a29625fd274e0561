package rotationtest

import "github.com/claviger-dev/claviger/internal/rotation"

// Dimension is a part of the world that a feature brings with it: its own state, what
// the planner is shown of it, the actions that it carries out, what may happen to it, and
// the rules that it must keep. A Variant names its dimensions, and Search multiplies them
// with everything else.
type Dimension interface {
	// Clone copies the state; worlds share nothing.
	Clone() Dimension
	// AddTo adds the state to what tells worlds apart.
	AddTo(*Key)
	// Observe fills in what the planner is shown. The world is as old as the cache.
	Observe(*World, *rotation.Observed)
	// Look reads facts live: it changes what was seen to what is. False ends the pass.
	Look(seen, live *World, facts rotation.Facts) bool
	// Act carries out a step. Known is false if it is not this dimension's; done is false
	// if a race was lost.
	Act(seen, live *World, step rotation.Step) (known, done bool)
	// Events are what may happen.
	Events() []Event
	// Broken says what must never be true.
	Broken(*World) []string
	// Settled says what must not be true when nothing is left to do.
	Settled(*World) error
}

// Event is something that nobody asked the planner about.
type Event struct {
	Name string
	// Happens changes the world, or reports false if it cannot happen now. The process is
	// the one that it happens to, where that matters.
	Happens func(*World, *Process) bool
	// Free events need no budget: they end a trouble, while everybody sleeps.
	Free bool
	// Alone: left out where two processes act, with the reason.
	Alone string
}
