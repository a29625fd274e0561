package credential

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/claviger-dev/claviger/internal/journal"
	"github.com/claviger-dev/claviger/internal/material"
	"github.com/claviger-dev/claviger/internal/rotation"
	"github.com/claviger-dev/claviger/internal/upstream"
)

// takeOver fills an intent with a credential that exists upstream already: its material comes
// from the Secret that the credential names, and it must be accepted before it is anybody's.
func (r *Reconciler) takeOver(ctx context.Context, s *scope, intent *journal.Intent) error {
	adopter, ok := s.account.Upstream.(upstream.Adopter)
	if !ok {
		return upstream.Errorf(upstream.InvalidSpec, "spec.adopt: this upstream cannot look a credential up; leave spec.adopt out and a new one is made")
	}
	m, err := r.adoptedMaterial(ctx, s)
	if err != nil {
		return err
	}
	request := upstream.Request{
		Parameters: s.parameters, Container: intent.Container, Name: intent.UpstreamName(), Title: s.title(), Mark: intent.Mark(), Number: intent.Number, Material: m,
	}
	var found upstream.Issued
	err = r.call(ctx, s, func(ctx context.Context) (err error) {
		found, err = adopter.Adopt(ctx, request)
		return err
	})
	if err != nil {
		return err
	}
	if holder, err := r.holderOf(ctx, s.key.Namespace, intent.Container, found.ID); err != nil || holder != "" {
		return cmp.Or(err, error(upstream.Errorf(upstream.Conflict, "spec.adopt: credential %s manages that one already", holder)))
	}
	handle := upstream.Handle{
		Parameters: s.parameters, Container: intent.Container, Name: request.Name, Mark: request.Mark, Number: intent.Number, Material: m, ID: found.ID,
	}
	if err := r.mustBeAccepted(ctx, s, handle); err != nil {
		return err
	}
	found.Material = m
	intent.Material, intent.Adopted, intent.AdoptedFrom = m, &found, s.credential.Spec.Adopt.SecretRef.Name
	return nil
}

// adoptedMaterial reads the Secret that spec.adopt names.
func (r *Reconciler) adoptedMaterial(ctx context.Context, s *scope) (material.Material, error) {
	adopt := s.credential.Spec.Adopt
	secret, err := r.Store.Target(ctx, types.NamespacedName{Namespace: s.key.Namespace, Name: adopt.SecretRef.Name})
	if err != nil {
		return material.Material{}, err
	}
	if secret == nil {
		return material.Material{}, upstream.Errorf(upstream.InvalidSpec, "spec.adopt: Secret %s does not exist", adopt.SecretRef.Name)
	}
	m := material.Material{ClientID: string(secret.Data[adopt.ClientIDKey]), ClientSecret: material.New(string(secret.Data[adopt.ClientSecretKey]))}
	if secret.Type == journal.SecretType || m.ClientID == "" || m.ClientSecret.Empty() {
		return material.Material{}, upstream.Errorf(upstream.InvalidSpec, "spec.adopt: Secret %s must hold the keys %s and %s",
			adopt.SecretRef.Name, adopt.ClientIDKey, adopt.ClientSecretKey)
	}
	return m, nil
}

// holderOf names the credential of the namespace whose journal has an upstream object
// already; empty if none has. Two that manage one object would end it for each other
// (hazard C7).
func (r *Reconciler) holderOf(ctx context.Context, namespace, container, id string) (string, error) {
	versions, err := r.Store.ListAll(ctx, namespace)
	if err != nil {
		return "", err
	}
	for _, v := range versions {
		if v.Container == container && v.UpstreamID == id && v.RevokedAt.IsZero() {
			return v.Credential.String(), nil
		}
	}
	return "", nil
}

// mustBeAccepted verifies what is about to be adopted. What the upstream refuses is no use to
// anybody, and taking it over would only hide that.
func (r *Reconciler) mustBeAccepted(ctx context.Context, s *scope, handle upstream.Handle) error {
	verifier, ok := s.account.Upstream.(upstream.Verifier)
	if !ok {
		return nil
	}
	var verdict upstream.Verdict
	err := r.call(ctx, s, func(ctx context.Context) (err error) {
		verdict, err = verifier.Verify(ctx, handle)
		return err
	})
	if err == nil && !verdict.Accepted {
		err = upstream.Errorf(upstream.InvalidSpec, "spec.adopt: the upstream does not accept what the Secret holds: %s", verdict.Detail)
	}
	return err
}

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
