package credential

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/journal"
	"github.com/claviger-dev/claviger/internal/rotation"
	"github.com/claviger-dev/claviger/internal/uptake"
)

// takenRetry is the pause before a name that somebody else's Secret has is tried again.
const takenRetry = 30 * time.Second

// ownName is the name of the version's own Secret: of the one that stands, which an earlier
// credential may have named, or of the one that would be written. Empty if neither is known.
func (s *scope) ownName(v *journal.Version) string {
	if own, ok := s.own[v.Nonce]; ok {
		return own.Name
	}
	if s.credential == nil || s.credential.Spec.Secret.Naming != v1alpha1.NamingVersioned {
		return ""
	}
	return journal.CopyName(s.credential.Spec.Secret.Name, v.Number, v.Nonce)
}

// ownNames are the names of all versions that may be referred to, by number.
func (s *scope) ownNames() map[int64]string {
	names := map[int64]string{}
	for i := range s.versions {
		v := &s.versions[i]
		if name := s.ownName(v); name != "" && v.RevokedAt.IsZero() {
			names[v.Number] = name
		}
	}
	return names
}

// binding is the Secret that a reader of what is published uses.
func (s *scope) binding(published int64) string {
	if v := s.version(published); v != nil {
		if own, ok := s.own[v.Nonce]; ok && !own.Terminating {
			return own.Name
		}
	}
	return s.credential.Spec.Secret.Name
}

// lookAtCopies reads the versions' own Secrets live.
func (r *Reconciler) lookAtCopies(ctx context.Context, s *scope, _ rotation.Step) error {
	for i := range s.versions {
		v := &s.versions[i]
		name := s.ownName(v)
		if name == "" {
			continue
		}
		own, found, err := r.Store.Copy(ctx, types.NamespacedName{Namespace: s.key.Namespace, Name: name})
		if err != nil {
			return fmt.Errorf("read Secret %s: %w", name, err)
		}
		stands := found && own.Nonce == v.Nonce
		if stands {
			s.own[v.Nonce] = own
		} else {
			delete(s.own, v.Nonce)
		}
		now := r.Clock.Now()
		r.memory.remember(v.UID, func(m *recollection) {
			if found && !stands {
				// Known before a mark is written: one with each attempt would keep the version from
				// ever being retired.
				m.copying = taken(name, v.Number, now)
			}
			switch {
			case stands || !v.Terminating:
				m.copyGoneSince = time.Time{}
			case m.copyGoneSince.IsZero():
				m.copyGoneSince = now
			}
		})
	}
	return nil
}

// taken is why a version has no Secret of its own, until that is looked at again.
func taken(name string, number int64, now time.Time) setback {
	return setback{notBefore: now.Add(takenRetry), trouble: &rotation.Problem{
		Reason: v1alpha1.ReasonSecretNotOurs, Stalled: true,
		Message: fmt.Sprintf("the Secret %s, which is to hold version %d alone, exists and belongs to somebody else: delete or rename it", name, number),
	}}
}

// listStrays finds versions' own Secrets of which the journal knows no version.
func (r *Reconciler) listStrays(ctx context.Context, s *scope) error {
	all, err := r.Store.Copies(ctx, s.key.Namespace, s.uid)
	if err != nil {
		return err
	}
	s.strays = slices.DeleteFunc(all, func(c journal.Copy) bool {
		return slices.ContainsFunc(s.versions, func(v journal.Version) bool { return v.Nonce == c.Nonce })
	})
	return nil
}

// publishCopy writes a version into a Secret of its own.
func (r *Reconciler) publishCopy(ctx context.Context, s *scope, step rotation.Step) error {
	v := s.version(step.Version)
	rendered, err := r.render(ctx, s, v)
	if err != nil || rendered == nil {
		return err
	}
	publication := s.publication(v, rendered)
	publication.Name = s.ownName(v)
	// The last look at the clock: whoever withdraws the Secret waits until no claim and no mark
	// runs, and what is written after that would lead to what is revoked.
	now := r.Clock.Now()
	claimed := v.Holder == s.holder && now.Before(v.CallDeadline)
	if marked := s.marked[v.Number] && now.Before(v.RepublishAt.Add(rotation.ClaimTime)); !claimed && !marked {
		return errBusy
	}
	own, err := r.Store.PublishCopy(ctx, publication)
	if apierrors.IsForbidden(err) || apierrors.IsInvalid(err) {
		r.memory.remember(v.UID, func(m *recollection) { m.copying = secretRefused(m.copying, err, now) })
		return nil
	}
	if err != nil {
		return err // if the name was taken a moment ago, the next look says by whom
	}
	r.memory.remember(v.UID, func(m *recollection) { m.copying = setback{} })
	s.own[v.Nonce] = own
	r.event(s, corev1.EventTypeNormal, "VersionNamed", "PublishCopy", "Secret %s holds version %d for good", own.Name, v.Number)
	return nil
}

// withdrawCopy deletes a version's own Secret, or one of a version that nobody knows.
func (r *Reconciler) withdrawCopy(ctx context.Context, s *scope, step rotation.Step) error {
	if step.Version == 0 {
		if err := r.Store.WithdrawCopy(ctx, s.strays[0]); err != nil {
			return err
		}
		s.strays = s.strays[1:]
		return nil
	}
	v := s.version(step.Version)
	own := s.own[v.Nonce]
	if err := r.Store.WithdrawCopy(ctx, own); err != nil {
		return err
	}
	// Whether it is gone, or held by somebody, is read.
	s.fresh &^= rotation.FactCopies
	r.event(s, corev1.EventTypeNormal, "VersionWithdrawn", "WithdrawCopy", "Secret %s is deleted: version %d is revoked next", own.Name, v.Number)
	return nil
}

// lookAtReferences finds out who refers to versions by name, with pods that were listed already.
func (r *Reconciler) lookAtReferences(ctx context.Context, s *scope, c *rotation.Consumers, pods []uptake.Pod, names map[int64]string, notBefore time.Time) error {
	templates, began, err := r.Pods.Templates(ctx, s.key.Namespace, notBefore)
	if err != nil {
		return unreadable{err}
	}
	if began.Before(c.Began) {
		c.Began = began
	}
	found := uptake.ByName(pods, templates, slices.Collect(maps.Values(names)))
	references := map[int64]uptake.References{}
	for number, name := range names {
		references[number] = found[name]
	}
	c.Refer(references, s.observeTarget().Published)
	return nil
}
