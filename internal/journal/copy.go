package journal

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Copy is a Secret that holds one version for good, as far as it was read.
type Copy struct {
	Name string
	// Nonce is the version's.
	Nonce       string
	Terminating bool

	meta *metav1.PartialObjectMetadata
}

// ReadCopy reads the metadata of such a Secret; ok is false if it is none.
func ReadCopy(object metav1.Object) (c Copy, ok bool) {
	if object.GetLabels()[LabelRole] != RoleCopy {
		return Copy{}, false
	}
	t := ReadTarget(object)
	return Copy{
		Name: object.GetName(), Nonce: t.Hint.Nonce, Terminating: t.Terminating, meta: secretMetadata(object),
	}, t.Hint.Nonce != ""
}

// copySecret is the publication as a Secret of its own.
func (p Publication) copySecret() *corev1.Secret {
	secret := p.Onto(nil)
	secret.Labels[LabelRole] = RoleCopy
	secret.Immutable = ptr.To(true)
	return secret
}

// PublishCopy writes a version into a Secret of its own, named by the publication: complete from
// its first moment and never changed, so that no reader sees half of it. AlreadyExists means
// that another process was faster, or that the name is somebody else's.
func (s Store) PublishCopy(ctx context.Context, p Publication) (Copy, error) {
	secret := p.copySecret()
	if err := s.Client.Create(ctx, secret, client.FieldOwner(FieldManager)); err != nil {
		return Copy{}, fmt.Errorf("create Secret %s: %w", p.Name, err)
	}
	c, _ := ReadCopy(secret)
	return c, nil
}

// Copy reads the metadata of a Secret that holds one version. found: there is a Secret of that
// name; without a nonce it is none of ours.
func (s Store) Copy(ctx context.Context, key types.NamespacedName) (c Copy, found bool, err error) {
	meta := &metav1.PartialObjectMetadata{}
	meta.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Secret"))
	if err := s.Live.Get(ctx, key, meta); err != nil {
		return Copy{}, false, client.IgnoreNotFound(err)
	}
	c, _ = ReadCopy(meta)
	return c, true, nil
}

// Copies lists the Secrets of single versions that were written for a credential.
func (s Store) Copies(ctx context.Context, namespace string, credential types.UID) ([]Copy, error) {
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("SecretList"))
	labels := client.MatchingLabels{LabelRole: RoleCopy, LabelCredentialUID: string(credential)}
	if err := s.Live.List(ctx, list, client.InNamespace(namespace), labels); err != nil {
		return nil, fmt.Errorf("list Secrets of single versions: %w", err)
	}
	var all []Copy
	for i := range list.Items {
		if c, ok := ReadCopy(&list.Items[i]); ok {
			all = append(all, c)
		}
	}
	return all, nil
}

// WithdrawCopy deletes a Secret of a single version if it is still the one that was read.
func (s Store) WithdrawCopy(ctx context.Context, c Copy) error {
	return client.IgnoreNotFound(s.remove(ctx, c.meta))
}
