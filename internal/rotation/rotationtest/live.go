package rotationtest

import (
	"fmt"
	"time"

	"github.com/claviger-dev/claviger/internal/rotation"
)

const hour = time.Hour

// maxLife is far above the longest life; one that is longer goes round in a circle.
const maxLife = 2000

// wake is when the first of some sleepers wakes by itself; now if none ever does.
func (w *World) wake(ps []*Process) time.Time {
	at := time.Time{}
	for _, p := range ps {
		if !p.until.IsZero() && (at.IsZero() || p.until.Before(at)) {
			at = p.until
		}
	}
	if at.IsZero() {
		return w.Now
	}
	return at
}

// Live lets one process go on until nothing is left to do.
func Live(w *World, p *Process) error {
	for range maxLife {
		if p.idle(w) {
			at := w.wake([]*Process{p})
			if at.Equal(w.Now) {
				return nil
			}
			w.Now = at
		}
		step, _ := p.Move(w)
		if err := broken(w); err != nil {
			return err
		}
		if step.Action == rotation.Wait && !step.Until.IsZero() && !step.Until.After(w.Now) {
			return fmt.Errorf("a wait until the past: %+v\n%s", step, w.Story())
		}
	}
	return fmt.Errorf("no rest\n%s", w.Story())
}
