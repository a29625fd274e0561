package credential

import "github.com/claviger-dev/claviger/internal/rotation"

// Side is a side of an effect.
type Side string

// The sides.
const (
	Before Side = "before"
	After  Side = "after"
)

// ProjectStatus names the effect that is no step: the write of the status.
const ProjectStatus rotation.Action = "ProjectStatus"

// Boundary is called on both sides of every effect. A process may die there, and a
// crash test makes it: nothing may be lost, doubled or left behind.
type Boundary func(effect rotation.Action, side Side)

func (b Boundary) cross(effect rotation.Action, side Side) {
	if b != nil {
		b(effect, side)
	}
}

// Boundaries lists every boundary as effect/side. It is made from the planner's own
// list of actions, so a new effect cannot be forgotten.
func Boundaries() []string {
	var all []string
	for _, action := range append(rotation.Actions(), ProjectStatus) {
		if action == rotation.Wait || action == rotation.Look {
			continue // they have no effect
		}
		for _, side := range []Side{Before, After} {
			all = append(all, string(action)+"/"+string(side))
		}
	}
	return all
}
