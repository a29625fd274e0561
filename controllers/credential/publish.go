package credential

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/claviger-dev/claviger/internal/journal"
	"github.com/claviger-dev/claviger/internal/rotation"
)

// publish writes a version into the target, over exactly what was read.
func (r *Reconciler) publish(ctx context.Context, s *scope, step rotation.Step) error {
	v := s.version(step.Version)
	rendered, err := r.render(ctx, s, v)
	if err != nil || rendered == nil {
		return err
	}
	before := s.observeTarget().Published
	if err := r.claimStands(s, v, step); err != nil {
		return err
	}
	secret, err := r.Store.Publish(ctx, s.publication(v, rendered), s.secret)
	if step.Cause == "" && (apierrors.IsForbidden(err) || apierrors.IsInvalid(err)) {
		refused := secretRefused(r.memory.version(v.UID).setback, err, r.Clock.Now())
		r.memory.remember(v.UID, func(m *recollection) { m.setback = refused })
		return nil
	}
	if err != nil {
		return err
	}
	r.memory.remember(v.UID, func(m *recollection) { m.setback = setback{} })
	s.secret, s.target, s.rewritten = secret, journal.ReadTargetSecret(secret), true
	s.slots.report(s.issuer, s.uid, false)
	s.record(ctx, "published", v)
	r.announce(s, v, step, before)
	return nil
}

// claimStands is the last look at the clock before a publication that another
// process could undo: whoever gives a version up waits until no claim runs, and
// whoever retires one waits until no mark to put it back does (hazard 3.3).
func (r *Reconciler) claimStands(s *scope, v *journal.Version, step rotation.Step) error {
	now := r.Clock.Now()
	firstTime := step.Cause == "" && !now.Before(v.CallDeadline)
	putBack := s.marked[v.Number] && !now.Before(v.RepublishAt.Add(rotation.ClaimTime))
	if firstTime || putBack {
		return errBusy
	}
	return nil
}

// announce says what was published, after it is true.
func (r *Reconciler) announce(s *scope, v *journal.Version, step rotation.Step, before int64) {
	if step.Cause != "" {
		if before == 0 {
			// It was not verified on the way in; the upstream is asked now.
			r.memory.remember(v.UID, func(m *recollection) { m.doubt = "put back without being asked" })
			r.event(s, corev1.EventTypeWarning, "SecretRestored", "Publish", "Secret %s holds version %d again: %s", s.secret.Name, v.Number, step.Cause)
			return
		}
		r.event(s, corev1.EventTypeNormal, "SecretRendered", "Publish", "Secret %s was written anew with version %d: %s", s.secret.Name, v.Number, step.Cause)
		return
	}
	r.Metrics.Rotated(s.member, "published")
	if before == 0 {
		r.event(s, corev1.EventTypeNormal, "Issued", "Publish", "Secret %s holds version %d (%s)", s.secret.Name, v.Number, v.Cause)
		return
	}
	rest := fmt.Sprintf("version %d stays valid for %s at least", before, s.policy.Overlap)
	switch old := s.version(before); {
	case old == nil:
	case !s.replacedSince(before).IsZero() && !v.ReplacedAt.IsZero():
		rest = fmt.Sprintf("version %d has ended with that", before)
	case old.Terminating:
		rest = fmt.Sprintf("version %d is revoked", before)
	}
	r.announceReplacement(s, v, before)
	r.event(s, corev1.EventTypeNormal, "Renewed", "Publish", "Secret %s holds version %d (%s); %s", s.secret.Name, v.Number, v.Cause, rest)
}
