package credential

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/claviger-dev/claviger/api/v1alpha1"
)

// gatherLeaving counts what else is being deleted of the issuer's credentials, for one that
// is: many at once are rarely meant (hazard H8).
func (r *Reconciler) gatherLeaving(ctx context.Context, s *scope) error {
	if s.credential == nil || s.credential.DeletionTimestamp == nil || s.issuer == nil {
		return nil
	}
	var list v1alpha1.APIClientCredentialList
	err := r.Client.List(ctx, &list, client.InNamespace(s.issuer.GetNamespace()), client.UnsafeDisableDeepCopy,
		client.MatchingFields{IndexIssuer: indexed(s.credential.Spec.IssuerRef)})
	if err != nil {
		return fmt.Errorf("list the credentials of the issuer: %w", err)
	}
	s.total = len(list.Items)
	ending := map[string]bool{}
	for i := range list.Items {
		c := &list.Items[i]
		if c.DeletionTimestamp == nil {
			continue
		}
		if _, known := ending[c.Namespace]; !known {
			if ending[c.Namespace], err = r.namespaceEnding(ctx, c.Namespace); err != nil {
				return err
			}
		}
		if c.Spec.DeletionPolicy != v1alpha1.DeletionRetain && !ending[c.Namespace] {
			s.leaving++
		}
	}
	s.namespaceEnding = ending[s.key.Namespace]
	return nil
}

// namespaceEnding reports whether a namespace is being deleted. An operator for single
// namespaces has no right to know.
func (r *Reconciler) namespaceEnding(ctx context.Context, name string) (bool, error) {
	if !r.Options.ClusterKinds {
		return false, nil
	}
	namespace := &metav1.PartialObjectMetadata{}
	namespace.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
	if err := r.Client.Get(ctx, types.NamespacedName{Name: name}, namespace); client.IgnoreNotFound(err) != nil {
		return false, fmt.Errorf("read the namespace: %w", err)
	}
	return namespace.DeletionTimestamp != nil, nil
}
