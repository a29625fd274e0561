package credential

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/claviger-dev/claviger/internal/journal"
	"github.com/claviger-dev/claviger/internal/rotation"
)

// adopt takes over a version that an earlier credential of the same name let go, if
// the upstream still accepts it. Its mark and its number stay as they are.
func (r *Reconciler) adopt(ctx context.Context, s *scope, step rotation.Step) error {
	i := slices.IndexFunc(s.retained, func(v journal.Version) bool { return v.Number == step.Version })
	if err := r.readVersion(ctx, &s.retained[i]); err != nil {
		return err
	}
	v := s.retained[i]
	verdict, err := r.ask(ctx, s, &v)
	switch {
	case errorsIsBusy(err):
		return err
	case err != nil:
		now := r.Clock.Now()
		r.memory.remember(v.UID, func(m *recollection) {
			m.setback = unreachable(m.setback, fmt.Sprintf("whether the retained version %d is accepted cannot be found out", v.Number), err, now)
		})
		return nil //nolint:nilerr // remembered: the next decision waits and shows it
	case !verdict.Accepted:
		r.memory.remember(v.UID, func(m *recollection) { m.unfit = true })
		s.retained = slices.Delete(s.retained, i, i+1)
		r.event(s, corev1.EventTypeWarning, "AdoptionRefused", "Adopt", "retained version %d is not accepted upstream and is left alone: %s", v.Number, verdict.Detail)
		return nil
	}
	adopted, err := r.Store.Edit(ctx, v, journal.Adopted(s.uid, s.issuerIdentity()))
	if err != nil {
		return err
	}
	r.memory.remember(v.UID, func(m *recollection) { m.answered, m.accepted, m.setback = true, true, setback{} })
	s.retained = slices.Delete(s.retained, i, i+1)
	s.replace(adopted)
	r.event(s, corev1.EventTypeNormal, "Adopted", "Adopt", "version %d of an earlier credential of this name is continued", v.Number)
	return nil
}
