package journal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/material"
	"github.com/claviger-dev/claviger/internal/upstream"
)

// Store reads and writes the journal on the API server. Client writes; Live reads
// past every cache. It decides nothing.
type Store struct {
	Client client.Client
	Live   client.Reader
	// Keys seal the handles of issuers of the cluster; nil where there are none.
	Keys *Keys
}

// Version reads a whole version Secret live. It fails with NotFound if the name is
// taken by an object of another UID: names are used once, objects may be replaced.
func (s Store) Version(ctx context.Context, key types.NamespacedName, uid types.UID) (Version, error) {
	secret := &corev1.Secret{}
	if err := s.Live.Get(ctx, key, secret); err != nil {
		return Version{}, fmt.Errorf("read version Secret %s: %w", key.Name, err)
	}
	if secret.Type != SecretType || secret.UID != uid {
		return Version{}, apierrors.NewNotFound(corev1.Resource("secrets"), key.Name)
	}
	v, err := ParseSecret(secret)
	if err != nil {
		return v, err
	}
	return s.unsealed(ctx, v)
}

func (s Store) unsealed(ctx context.Context, v Version) (Version, error) {
	if len(v.sealed) == 0 {
		return v, nil
	}
	if s.Keys == nil {
		v.Sealed = ErrSealed.Error() + ", and this operator serves no issuers of the cluster"
		return v, nil
	}
	handle, err := s.Keys.Open(ctx, v.Nonce, v.sealed)
	switch {
	case errors.Is(err, ErrSealed):
		v.Sealed = err.Error()
	case err != nil:
		return v, fmt.Errorf("version Secret %s: %w", v.Key.Name, err)
	default:
		v.SecretHandle = handle
	}
	return v, nil
}

// handle writes a handle into data: sealed if the account is shared by namespaces.
func (s Store) handle(ctx context.Context, v Version, handle material.Secret, data map[string][]byte) error {
	if s.Keys == nil || v.Issuer.Kind != v1alpha1.KindClusterCredentialIssuer {
		data[keyHandle] = []byte(handle.Reveal())
		return nil
	}
	sealed, err := s.Keys.Seal(ctx, v.Nonce, handle)
	if err != nil {
		return err
	}
	data[keySealedHandle] = sealed
	return nil
}

// Create writes an intent. AlreadyExists means that another process, or a pass that
// the cache does not know yet, has made it.
func (s Store) Create(ctx context.Context, intent Intent) (Version, error) {
	secret := intent.Secret()
	if err := s.Client.Create(ctx, secret, client.FieldOwner(FieldManager)); err != nil {
		return Version{}, fmt.Errorf("create version Secret %s: %w", secret.Name, err)
	}
	return ParseSecret(secret)
}

// Edit changes the metadata of a version Secret if it is still as it was read, and
// returns the version as it is then. Removing the last finalizer of a terminating
// Secret ends it; the version is then returned as it was written last.
func (s Store) Edit(ctx context.Context, v Version, edits ...Edit) (Version, error) {
	after, err := s.edit(ctx, v.meta, edits)
	if err != nil {
		return v, fmt.Errorf("edit version Secret %s: %w", v.Key.Name, err)
	}
	edited, err := Parse(after)
	edited.Material, edited.SecretHandle, edited.Seal = v.Material, v.SecretHandle, v.Seal
	return edited, err
}

// Fill writes the upstream's answer into the version Secret, if the Secret is still as it
// was read: a claim that somebody else took over makes it a conflict, and the answer is then
// not ours to keep (hazard C2). What
// class WriteAhead holds is never changed; only what the answer tells about it is noted.
func (s Store) Fill(ctx context.Context, v Version, answer Answer) (Version, error) {
	issued, at := answer.Issued, answer.At
	if v.Class == upstream.WriteAhead {
		return s.Edit(ctx, v, answer.edit())
	}
	after := v.meta.DeepCopy()
	answer.edit()(after)
	patch := map[string]any{"metadata": map[string]any{
		"uid": v.UID, "resourceVersion": v.ResourceVersion, "annotations": after.Annotations,
	}}
	data := map[string][]byte{}
	if !at.IsZero() {
		data = encode(issued.Material)
	}
	if !issued.SecretHandle.Empty() {
		if err := s.handle(ctx, v, issued.SecretHandle, data); err != nil {
			return v, fmt.Errorf("write the answer into version Secret %s: %w", v.Key.Name, err)
		}
	} else if !at.IsZero() {
		// A handle may change with a later answer (hazard H6); nothing else does.
		patch["immutable"] = true
	}
	patch["data"] = data
	body, err := json.Marshal(patch)
	if err != nil {
		return v, fmt.Errorf("write the answer into version Secret %s: %w", v.Key.Name, err)
	}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: v.Key.Namespace, Name: v.Key.Name}}
	if err := s.Client.Patch(ctx, secret, client.RawPatch(types.MergePatchType, body), client.FieldOwner(FieldManager)); err != nil {
		return v, fmt.Errorf("write the answer into version Secret %s: %w", v.Key.Name, err)
	}
	filled, err := ParseSecret(secret)
	if err != nil {
		return filled, err
	}
	return s.unsealed(ctx, filled)
}

func (s Store) edit(ctx context.Context, before *metav1.PartialObjectMetadata, edits []Edit) (*metav1.PartialObjectMetadata, error) {
	after := before.DeepCopy()
	for _, edit := range edits {
		edit(after)
	}
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	if err := s.Client.Patch(ctx, after, patch, client.FieldOwner(FieldManager)); err != nil {
		return nil, err
	}
	return after, nil
}

// Retire deletes a version Secret if it is still as it was read. Its finalizer
// holds it: from then on the version can only be revoked.
func (s Store) Retire(ctx context.Context, v Version) error {
	return s.remove(ctx, v.meta)
}

func (s Store) remove(ctx context.Context, meta *metav1.PartialObjectMetadata) error {
	err := s.Client.Delete(ctx, meta.DeepCopy(), client.Preconditions{UID: &meta.UID, ResourceVersion: &meta.ResourceVersion})
	if err != nil {
		return fmt.Errorf("delete Secret %s: %w", meta.Name, err)
	}
	return nil
}

// List reads the version Secrets of a credential live. It is used where a missing
// one would be a leak: before the credential's finalizer goes.
func (s Store) List(ctx context.Context, namespace string, credential types.UID) ([]Version, error) {
	return s.list(ctx, namespace, client.MatchingLabels{LabelRole: RoleVersion, LabelCredentialUID: string(credential)})
}

// ListAll reads the version Secrets of all credentials of a namespace live.
func (s Store) ListAll(ctx context.Context, namespace string) ([]Version, error) {
	return s.list(ctx, namespace, client.MatchingLabels{LabelRole: RoleVersion})
}

func (s Store) list(ctx context.Context, namespace string, labels client.MatchingLabels) ([]Version, error) {
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("SecretList"))
	err := s.Live.List(ctx, list, client.InNamespace(namespace), labels)
	if err != nil {
		return nil, fmt.Errorf("list version Secrets: %w", err)
	}
	versions := make([]Version, 0, len(list.Items))
	for i := range list.Items {
		v, err := Parse(&list.Items[i])
		if err != nil {
			return nil, err
		}
		versions = append(versions, v)
	}
	return versions, nil
}

// Target reads a target Secret live; nil if there is none.
func (s Store) Target(ctx context.Context, key types.NamespacedName) (*corev1.Secret, error) {
	secret := &corev1.Secret{}
	err := s.Live.Get(ctx, key, secret)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read Secret %s: %w", key.Name, err)
	}
	return secret, nil
}

// Publish writes a publication over what was read: a plain create if nothing was,
// else a PUT with the uid and resourceVersion that were read. A Secret whose
// managedFields somebody wiped is applied instead: the API server begins to track
// such an object again with the first apply only, and the time of publication is
// read from there.
func (s Store) Publish(ctx context.Context, p Publication, existing *corev1.Secret) (*corev1.Secret, error) {
	secret := p.Onto(existing)
	var err error
	switch {
	case existing == nil:
		err = s.Client.Create(ctx, secret, client.FieldOwner(FieldManager))
	case ReadTarget(existing).PublishedAt.IsZero():
		var body []byte
		if body, err = p.applied(existing); err != nil {
			return nil, fmt.Errorf("write Secret %s: %w", p.Name, err)
		}
		err = s.Client.Patch(ctx, secret, client.RawPatch(types.ApplyPatchType, body), client.FieldOwner(FieldManager), client.ForceOwnership)
	default:
		err = s.Client.Update(ctx, secret, client.FieldOwner(FieldManager))
	}
	if err != nil {
		return nil, fmt.Errorf("write Secret %s: %w", p.Name, err)
	}
	return secret, nil
}

// RetainTarget lets a target go for a later credential of the same name.
func (s Store) RetainTarget(ctx context.Context, target *corev1.Secret, from types.NamespacedName) (*corev1.Secret, error) {
	after, err := s.edit(ctx, secretMetadata(target), []Edit{RetainTarget(from)})
	if err != nil {
		return nil, fmt.Errorf("let go of Secret %s: %w", target.Name, err)
	}
	retained := target.DeepCopy()
	retained.ObjectMeta = after.ObjectMeta
	return retained, nil
}

// DeleteTarget deletes a target if it is still as it was read.
func (s Store) DeleteTarget(ctx context.Context, target *corev1.Secret) error {
	return s.remove(ctx, secretMetadata(target))
}

func secretMetadata(o metav1.Object) *metav1.PartialObjectMetadata {
	m := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{
		Namespace: o.GetNamespace(), Name: o.GetName(), UID: o.GetUID(), ResourceVersion: o.GetResourceVersion(),
		Labels: o.GetLabels(), Annotations: o.GetAnnotations(), Finalizers: o.GetFinalizers(),
	}}
	m.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Secret"))
	return m
}
