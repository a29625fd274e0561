package credential

import (
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/rotation"
)

const (
	// blindFor is how long pods cannot be listed before it is told: an API server that restarts,
	// or a list that took too long, passes by itself, and a condition must not flap.
	blindFor = time.Minute
	// blindRetry is the pause between attempts from then on.
	blindRetry = 30 * time.Second
	// blindRow is the longest pause between two failures that follow each other: the queue's own
	// pauses double.
	blindRow = 5 * time.Minute
)

// unreadable is why it cannot be known who uses the Secret. Nothing that a pod may use is
// revoked on that: the pass ends there.
type unreadable struct{ error }

func (u unreadable) Unwrap() error { return u.error }

// blindness is what to tell of pods that cannot be listed: nothing in the first minute, in which
// the queue tries again.
func (s *scope) blindness(err error, now time.Time) *rotation.Problem {
	why, ok := errors.AsType[unreadable](err)
	if !ok || s.credential == nil || now.Sub(s.memory.blindSince(s.uid, now)) < blindFor {
		return nil
	}
	forbidden := apierrors.IsForbidden(why)
	cause := "the API server does not answer; see the operator's log"
	if forbidden {
		cause = "the operator has no right to; give it its role back"
	}
	return &rotation.Problem{Reason: v1alpha1.ReasonPodsUnreadable, Stalled: forbidden, Message: fmt.Sprintf(
		"the pods of the namespace, or what makes them, cannot be listed: %s. Until they can, nothing is revoked that one of them may use", cause)}
}

// stands is the news of a rotation as it was told last: who cannot look has none.
func (s *scope) stands() *rotation.Problem {
	c := meta.FindStatusCondition(s.credential.Status.Conditions, v1alpha1.ConditionRotating)
	if c == nil {
		return nil
	}
	return &rotation.Problem{Reason: c.Reason, Message: c.Message}
}

// blindness is a row of failures.
type blindness struct{ since, last time.Time }

// blindSince is since when the pods could not be listed for a credential. A failure of long ago,
// after which nobody had to look, is no row.
func (m *memory) blindSince(uid types.UID, now time.Time) time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	row, ok := m.blind[uid]
	if !ok || now.Sub(row.last) > blindRow {
		row.since = now
	}
	row.last = now
	m.blind[uid] = row
	return row.since
}

// sees: they could.
func (m *memory) sees(uid types.UID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.blind, uid)
}
