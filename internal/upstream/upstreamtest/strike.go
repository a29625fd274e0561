package upstreamtest

import "github.com/claviger-dev/claviger/internal/simkit"

// Strike arms a fault on operations of a simulator, for a Lab's Arm. False means that there are
// none, or that it cannot be played on one of them.
func (f Fault) Strike(on *simkit.Faults, operations []string) bool {
	played := simkit.Fault{Count: -1, Status: f.Status, Message: f.Message, RetryAfter: simkit.Duration(f.After)}
	switch f.Kind {
	case Refused:
		played.Action = simkit.Refuse
	case Page:
		played.Action = simkit.HTML
	case Broken:
		played.Action = simkit.Garble
	case CutBefore:
		played.Action = simkit.Cut
	case CutAfter:
		played.Action, played.Point = simkit.Cut, simkit.AfterCommit
	case HalfAnswer:
		played.Action, played.Point = simkit.Truncate, simkit.AfterCommit
	case Slow:
		played.Action, played.Point = simkit.Hold, simkit.AfterCommit
	case Throttled:
		played.Action = simkit.ThrottleCall
	}
	for _, operation := range operations {
		played.Operation = operation
		if _, err := on.Add(played); err != nil {
			return false
		}
	}
	return len(operations) > 0
}
