package credential

import (
	"context"
	"errors"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/journal"
	"github.com/claviger-dev/claviger/internal/rotation"
	"github.com/claviger-dev/claviger/internal/upstream"
)

// look reads live what a step needs before it acts.
func (r *Reconciler) look(ctx context.Context, s *scope, step rotation.Step) error {
	for _, fact := range []struct {
		flag rotation.Facts
		read func(context.Context, *scope, rotation.Step) error
	}{
		{rotation.FactCredential, r.lookAtCredential},
		{rotation.FactIssuer, r.lookAtIssuer},
		{rotation.FactTarget, r.lookAtTarget},
		{rotation.FactGuard, r.lookAtGuard},
		{rotation.FactContainer, r.countContainer},
		{rotation.FactJournal, r.listJournal},
		{rotation.FactCopies, r.lookAtCopies},
		{rotation.FactConsumers, r.lookAtConsumers},
		{rotation.FactWorkloads, r.lookAtWorkloads},
		{rotation.FactConsent, r.lookAtConsent},
		{rotation.FactPlace, r.lookAtPlace},
	} {
		if !step.Needs.Has(fact.flag) {
			continue
		}
		if err := fact.read(ctx, s, step); err != nil {
			return err
		}
		s.fresh |= fact.flag
	}
	return nil
}

func (r *Reconciler) lookAtCredential(ctx context.Context, s *scope, _ rotation.Step) error {
	live := &v1alpha1.APIClientCredential{}
	if err := r.Live.Get(ctx, s.key, live); err != nil {
		return err
	}
	if live.UID != s.uid {
		return apierrors.NewConflict(v1alpha1.GroupVersion.WithResource("apiclientcredentials").GroupResource(), s.key.Name, errors.New("recreated"))
	}
	s.credential = live
	s.member, s.parameters = parameters(&live.Spec)
	s.specProblem = nil
	if s.issuer != nil {
		s.setIssuer(s.issuer, s.account)
	}
	r.gatherSpec(s)
	return nil
}

func (r *Reconciler) lookAtIssuer(ctx context.Context, s *scope, _ rotation.Step) error {
	live := v1alpha1.NewIssuer(s.issuer.IssuerKind())
	if err := r.Live.Get(ctx, key(s.issuer), live); err != nil {
		return err
	}
	s.setIssuer(live, r.Issuers.Account(live))
	s.gatherDemands()
	return nil
}

// lookAtTarget reads the target, the version that the step is about, and all others
// too if somebody wrote into the target: then only bytes tell what it holds.
func (r *Reconciler) lookAtTarget(ctx context.Context, s *scope, step rotation.Step) error {
	if s.credential != nil {
		secret, err := r.Store.Target(ctx, types.NamespacedName{Namespace: s.key.Namespace, Name: s.credential.Spec.Secret.Name})
		if err != nil {
			return err
		}
		s.secret, s.target = secret, journal.Target{}
		if secret != nil {
			s.target = journal.ReadTargetSecret(secret)
		}
	}
	if err := r.readPassword(ctx, s); err != nil && !errors.Is(err, errNoPassword) {
		return err
	}
	all := s.target.Exists && (s.touched() || !s.hintKnown() || s.target.CredentialUID != s.uid)
	for i := range s.versions {
		v := &s.versions[i]
		if v.Material != nil || !all && v.Number != step.Version {
			continue
		}
		if err := r.readVersion(ctx, v); err != nil {
			return err
		}
	}
	return nil
}

func (s *scope) hintKnown() bool {
	return slices.ContainsFunc(s.versions, func(v journal.Version) bool { return v.Nonce == s.target.Hint.Nonce })
}

// readVersion reads one version's material live.
func (r *Reconciler) readVersion(ctx context.Context, v *journal.Version) error {
	full, err := r.Store.Version(ctx, v.Key, v.UID)
	if err != nil {
		return err
	}
	*v = full
	return nil
}

func (r *Reconciler) lookAtGuard(ctx context.Context, s *scope, _ rotation.Step) error {
	s.guard.ok, s.guard.message = r.Guard.InForce(ctx, s.key.Namespace)
	return nil
}

// countContainer asks the upstream how full the container is. A failure is told
// like that of the call that it precedes.
func (r *Reconciler) countContainer(ctx context.Context, s *scope, _ rotation.Step) error {
	container, err := r.container(ctx, s)
	if err == nil {
		var listing upstream.Listing
		err = r.call(ctx, s, func(ctx context.Context) (err error) {
			listing, err = s.account.Upstream.List(ctx, upstream.Owner{Container: container})
			return err
		})
		s.live = listing.Total
	}
	if errorsIsBusy(err) {
		return err
	}
	if err != nil {
		r.setBack(s, fail(r.memory.credential(s.uid), "the container cannot be read", err, r.Clock.Now()))
	}
	return nil
}

// listJournal makes sure that no version is left that the cache does not show.
func (r *Reconciler) listJournal(ctx context.Context, s *scope, _ rotation.Step) error {
	versions, err := r.Store.List(ctx, s.key.Namespace, s.uid)
	if err != nil {
		return err
	}
	for _, v := range versions {
		if s.version(v.Number) == nil && v.Held {
			s.versions = append(s.versions, v)
		}
	}
	slices.SortFunc(s.versions, func(a, b journal.Version) int { return int(a.Number - b.Number) })
	return r.listStrays(ctx, s)
}
