package issuer

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/journal"
)

// gathered is what one pass looks at. It is read from the cache: no step here is
// decided by something that a late read could make wrong.
type gathered struct {
	issuer v1alpha1.Issuer
	record *record
	// cachedLogin is the resourceVersion of the login Secret; empty if the cache has
	// none, because it does not exist or does not bear our label yet.
	cachedLogin string
	credentials int
	// held: credentials are kept from being revoked because too many are deleted at once.
	held   bool
	wanted bool
}

// issuerAt is an empty issuer of the kind that a key is about: those of the cluster have no
// namespace.
func issuerAt(key types.NamespacedName) v1alpha1.Issuer {
	if key.Namespace == "" {
		return &v1alpha1.ClusterCredentialIssuer{}
	}
	return &v1alpha1.CredentialIssuer{}
}

// gather returns nil if the issuer is gone.
func (r *Reconciler) gather(ctx context.Context, key types.NamespacedName) (*gathered, error) {
	issuer := issuerAt(key)
	if err := r.Client.Get(ctx, key, issuer); err != nil {
		return nil, client.IgnoreNotFound(err)
	}
	member, _ := issuer.IssuerSpec().Upstream()
	id := Identity{Kind: issuer.IssuerKind(), Namespace: issuer.GetNamespace(), Name: issuer.GetName(), UID: issuer.GetUID(), Upstream: member}
	g := &gathered{issuer: issuer, record: r.recordOf(id, key), wanted: r.Accounts.wanted(issuer.GetUID())}

	if name := issuer.IssuerSpec().LoginSecret(); name != "" {
		secret := secretMetadata()
		switch err := r.Client.Get(ctx, types.NamespacedName{Namespace: r.Accounts.loginNamespace(issuer), Name: name}, secret); {
		case err == nil:
			g.cachedLogin = secret.ResourceVersion
		case !apierrors.IsNotFound(err):
			return nil, fmt.Errorf("read the metadata of the login Secret: %w", err)
		}
	}
	count, err := r.credentials(ctx, g)
	if err != nil {
		return nil, err
	}
	g.credentials = count
	return g, nil
}

// credentials counts those that name the issuer, and remembers them: after one is
// deleted, what it left upstream can still be told from other clusters' objects.
func (r *Reconciler) credentials(ctx context.Context, g *gathered) (int, error) {
	var list v1alpha1.APIClientCredentialList
	if err := r.Client.List(ctx, &list, client.InNamespace(g.issuer.GetNamespace()), client.UnsafeDisableDeepCopy); err != nil {
		return 0, fmt.Errorf("list the credentials: %w", err)
	}
	present := map[string]bool{}
	g.record.furnished = false
	for i := range list.Items {
		c := &list.Items[i]
		if !c.Spec.IssuerRef.Names(g.issuer) {
			continue
		}
		half := journal.OwnerMark(r.Options.ClusterID, string(c.UID))
		present[half] = true
		g.held = g.held || heldAsMass(c)
		g.record.furnished = g.record.furnished || c.Spec.ManagedInstance() != nil
		g.record.owners[half] = owner{Key: client.ObjectKeyFromObject(c), UID: c.UID}
	}
	remember(g.record.owners, present)
	return len(present), nil
}

// heldAsMass reports what the credential says itself: it alone decides, and what is held is
// held until somebody lets it go.
func heldAsMass(c *v1alpha1.APIClientCredential) bool {
	ready := meta.FindStatusCondition(c.Status.Conditions, v1alpha1.ConditionReady)
	return ready != nil && ready.Reason == v1alpha1.ReasonMassDeletion
}

// rememberedOwners bounds how many credentials that are gone are remembered: where
// they come and go by the minute, memory must not grow with the process's age.
const rememberedOwners = 1000

// remember marks the owners that are not present any more as gone, and forgets all
// that are gone once they are too many.
func remember(owners map[string]owner, present map[string]bool) {
	for half, o := range owners {
		if !present[half] && !o.Gone {
			o.Gone = true
			owners[half] = o
		}
	}
	if len(owners)-len(present) > rememberedOwners {
		maps.DeleteFunc(owners, func(_ string, o owner) bool { return o.Gone })
	}
}

func (g *gathered) situation(now time.Time) situation {
	rec := g.record
	return situation{
		now:         now,
		terminating: g.issuer.GetDeletionTimestamp() != nil,
		suspended:   g.issuer.IssuerSpec().Suspend,
		silenced:    rec.silenced,
		held:        slices.Contains(g.issuer.GetFinalizers(), journal.FinalizerInUse),
		releaseAt:   rec.releaseAt,
		fresh:       rec.outcome != nil && rec.generation == g.issuer.GetGeneration() && rec.cachedLogin == g.cachedLogin,
		usable:      rec.usable,
		failures:    rec.failures,
		checkedAt:   rec.checkedAt,
		retryAt:     rec.retryAt,
		glanceAt:    rec.glanceAt,
		wanted:      g.wanted,
		sweepAt:     rec.pass.dueAt(g.issuer),
		unread:      len(rec.pass.unread),
		readAt:      rec.pass.readAt,
	}
}

// secretMetadata returns an empty metadata object of kind Secret. The cache holds
// those of Secrets with our label, and never their data.
func secretMetadata() *metav1.PartialObjectMetadata {
	m := &metav1.PartialObjectMetadata{}
	m.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Secret"))
	return m
}

// versions reads the metadata of all version Secrets of a namespace with reader.
func versions(ctx context.Context, reader client.Reader, namespace string, selector client.MatchingLabels) ([]metav1.PartialObjectMetadata, error) {
	labels := client.MatchingLabels{journal.LabelRole: journal.RoleVersion}
	for key, value := range selector {
		labels[key] = value
	}
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("SecretList"))
	if err := reader.List(ctx, list, client.InNamespace(namespace), labels); err != nil {
		return nil, fmt.Errorf("list the version Secrets: %w", err)
	}
	return list.Items, nil
}
