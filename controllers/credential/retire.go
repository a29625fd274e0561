package credential

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/journal"
	"github.com/claviger-dev/claviger/internal/rotation"
	"github.com/claviger-dev/claviger/internal/upstream"
)

// retire deletes a version Secret, which its finalizer holds. From then on the
// version can only be revoked.
func (r *Reconciler) retire(ctx context.Context, s *scope, step rotation.Step) error {
	v := s.version(step.Version)
	if !v.Held {
		// Somebody took our finalizer off. Deleted like this, the Secret would be gone
		// before the upstream object is.
		return r.edit(ctx, s, v, journal.Hold)
	}
	if err := r.Store.Retire(ctx, *v); err != nil {
		return err
	}
	if step.BreaksHold {
		r.event(s, corev1.EventTypeWarning, "HoldBroken", "Retire", "version %d is revoked before its overlap has passed: %s", v.Number, step.Cause)
	}
	// What is known of it is older than the deletion. It is read again before the
	// upstream is called, and so is what the target holds.
	s.fresh &^= rotation.FactTarget
	full, err := r.Store.Version(ctx, v.Key, v.UID)
	if err != nil {
		return err
	}
	s.replace(full)
	return nil
}

// revoke ends the version upstream.
func (r *Reconciler) revoke(ctx context.Context, s *scope, step rotation.Step) error {
	v := s.version(step.Version)
	if v.Material == nil {
		if err := r.readVersion(ctx, v); err != nil {
			return err
		}
	}
	if v.Sealed != "" {
		r.tellSealed(v, "revoked")
		return nil
	}
	err := r.call(ctx, s, func(ctx context.Context) error {
		return s.account.Upstream.Revoke(ctx, v.Handle(s.parameters))
	})
	if errorsIsBusy(err) {
		return err
	}
	now, observed := r.Clock.Now(), s.observeVersion(v)
	r.memory.remember(v.UID, func(m *recollection) {
		absent := upstream.ClassOf(err) == upstream.NotFound
		switch {
		case err == nil, absent && rotation.Gone(observed, s.capabilities, now):
			m.revoked, m.setback = true, setback{}
		case absent:
			// A call without an answer may still arrive: it is looked for once more.
			if m.absentSince.IsZero() {
				m.absentSince = now
			}
			m.setback = setback{notBefore: m.absentSince.Add(s.capabilities.Settle)}
		default:
			m.absentSince = time.Time{}
			m.setback = fail(m.setback, alive(v, upstream.ClassOf(err)), err, now)
		}
	})
	return nil
}

// alive says what a call that ended nothing was about.
func alive(v *journal.Version, class upstream.ErrorClass) string {
	if class == upstream.Pending {
		return fmt.Sprintf("version %d is being revoked", v.Number)
	}
	return fmt.Sprintf("version %d cannot be revoked", v.Number)
}

// tellSealed has it said that a version waits for a key. It is read again with the next
// attempt.
func (r *Reconciler) tellSealed(v *journal.Version, what string) {
	r.memory.remember(v.UID, func(m *recollection) {
		m.setback = setback{
			failures: m.failures + 1, notBefore: r.Clock.Now().Add(longRetry),
			trouble: &rotation.Problem{
				Reason: v1alpha1.ReasonHandleSealed, Stalled: true,
				Message: fmt.Sprintf("version %d cannot be %s: %s; put the Secret %s of the operator's namespace back from a backup", v.Number, what, v.Sealed, journal.SealingSecret),
			},
		}
	})
}

// suspect writes down that a version may live upstream where nobody can find it: on the
// issuer, in the log and as an event. Then it counts as ended here.
func (r *Reconciler) suspect(ctx context.Context, s *scope, step rotation.Step) error {
	v := s.version(step.Version)
	log.FromContext(ctx).Info("a version may live upstream and cannot be found there",
		"version", v.Number, "upstreamName", v.UpstreamName, "container", v.Container, "cause", step.Cause)
	if err := r.Issuers.Suspect(ctx, s.issuer, v.UpstreamName, v.Container, "Version "+fmt.Sprint(v.Number)+" of credential "+s.key.String()+": "+step.Cause+"."); err != nil {
		return err
	}
	if err := r.edit(ctx, s, v, journal.RevokedAt(r.Clock.Now())); err != nil {
		return err
	}
	r.event(s, corev1.EventTypeWarning, v1alpha1.ReasonOrphanSuspected, "Suspect", "version %d (%s) may live upstream and cannot be revoked: %s", v.Number, v.UpstreamName, step.Cause)
	return nil
}

// release takes our finalizer off a version Secret: it was revoked, abandoned or is
// retained.
func (r *Reconciler) release(ctx context.Context, s *scope, step rotation.Step) error {
	v := *s.version(step.Version)
	edit := journal.Edit(journal.Released)
	if step.Action == rotation.Retain {
		edit = journal.Retained(s.key)
	}
	if step.Action == rotation.Abandon {
		// The record comes before the deed: the journal is about to be gone.
		log.FromContext(ctx).Info("abandoned upstream by annotation; it stays valid there",
			"version", v.Number, "upstreamName", v.UpstreamName, "container", v.Container)
		r.event(s, corev1.EventTypeWarning, "Abandoned", "Abandon", "version %d (%s in %s) is let go without being revoked", v.Number, v.UpstreamName, v.Container)
	}
	ended := s.observeVersion(&v).EndedBy
	if err := r.edit(ctx, s, &v, edit); err != nil {
		return err
	}
	r.memory.forget(v.UID)
	// A retained version is nobody's from here on: kept in sight, it would look unused
	// as soon as the target is let go, and be revoked.
	s.drop(v.Number)
	if step.Action == rotation.Release {
		if ended != 0 {
			s.record(ctx, "replaced", &v)
			r.event(s, corev1.EventTypeNormal, "Revoked", "Revoke", "version %d (%s) has ended with the making of version %d", v.Number, v.UpstreamName, ended)
			return nil
		}
		s.record(ctx, "revoked", &v)
		r.event(s, corev1.EventTypeNormal, "Revoked", "Revoke", "version %d (%s) is revoked", v.Number, v.UpstreamName)
	}
	return nil
}

// endTarget deletes the target or lets it go.
func (r *Reconciler) endTarget(ctx context.Context, s *scope, step rotation.Step) error {
	if step.Action == rotation.DeleteTarget {
		if err := r.Store.DeleteTarget(ctx, s.secret); err != nil {
			return err
		}
		s.secret, s.target = nil, journal.Target{}
		return nil
	}
	retained, err := r.Store.RetainTarget(ctx, s.secret, s.key)
	if err != nil {
		return err
	}
	s.secret, s.target = retained, journal.ReadTargetSecret(retained)
	return nil
}
