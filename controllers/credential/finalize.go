package credential

import (
	"context"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/claviger-dev/claviger/internal/journal"
)

// setFinalizer puts our finalizer on the credential, before the first intent, or
// takes it off when nothing is left.
func (r *Reconciler) setFinalizer(ctx context.Context, s *scope, on bool) error {
	before := s.credential.DeepCopy()
	var changed bool
	if on {
		changed = controllerutil.AddFinalizer(s.credential, journal.FinalizerCredential)
	} else {
		changed = controllerutil.RemoveFinalizer(s.credential, journal.FinalizerCredential)
	}
	if !changed {
		return nil
	}
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	if err := r.Client.Patch(ctx, s.credential, patch, client.FieldOwner(journal.FieldManager)); err != nil {
		return err
	}
	if !on {
		r.memory.forgetCredential(s.uid)
		s.slots.report(s.issuer, s.uid, false)
	}
	return nil
}
