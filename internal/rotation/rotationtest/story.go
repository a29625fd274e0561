package rotationtest

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/claviger-dev/claviger/internal/rotation"
)

// A Story is one life that is told: what happens, and when.
type Story struct {
	Name    string
	Variant *Variant
	Beats   []Beat
}

// Beat is one event of a story.
type Beat struct {
	// After an action on this version has been carried out; without one: when everybody
	// rests.
	After   rotation.Action
	Version int64
	// Event is the name of what happens.
	Event string
}

// Play lets a number of processes live through a story. Without a source of randomness
// the first one that is awake moves; with one, any that is. It returns the log.
func (s Story) Play(processes int, order *rand.Rand) (string, error) {
	w := NewWorld(s.Variant)
	events := Events()
	for _, d := range w.Dimensions {
		events = append(events, d.Events()...)
	}
	ps := make([]*Process, processes)
	for i := range ps {
		ps[i] = NewProcess(i + 1)
	}
	beats := s.Beats
	for range maxLife {
		if len(beats) > 0 && beats[0].due(w, ps) {
			if err := happen(events, beats[0].Event, w, ps); err != nil {
				return w.Story(), err
			}
			beats = beats[1:]
			continue
		}
		if resting(w, ps) {
			if len(beats) > 0 {
				return w.Story(), fmt.Errorf("the story ends before %q", beats[0].Event)
			}
			return w.Story(), w.Settled(ps[0].last)
		}
		awake := slices.DeleteFunc(slices.Clone(ps), func(p *Process) bool { return p.idle(w) })
		if len(awake) == 0 {
			w.Now = w.wake(ps)
			continue
		}
		next := awake[0]
		if order != nil {
			next = awake[order.IntN(len(awake))]
		}
		next.Move(w)
		if err := broken(w); err != nil {
			return w.Story(), err
		}
	}
	return w.Story(), fmt.Errorf("the story does not end")
}

func resting(w *World, ps []*Process) bool {
	return !slices.ContainsFunc(ps, func(p *Process) bool { return !p.idle(w) }) && w.wake(ps).Equal(w.Now)
}

func (b Beat) due(w *World, ps []*Process) bool {
	if b.After == "" {
		return resting(w, ps)
	}
	for l := w.story; l != nil; l = l.before {
		if l.what == string(b.After) && l.version == b.Version {
			return true
		}
	}
	return false
}

// happen lets an event happen to the first process that it can happen to.
func happen(events []Event, name string, w *World, ps []*Process) error {
	for _, e := range events {
		if e.Name != name {
			continue
		}
		for _, p := range ps {
			if e.Happens(w, p) {
				w.tell(0, name, 0, "")
				return broken(w)
			}
		}
		return fmt.Errorf("this cannot happen now: %s", name)
	}
	return fmt.Errorf("nobody knows the event %q", name)
}
