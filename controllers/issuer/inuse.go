package issuer

import (
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/journal"
)

// EnsureInUse puts the in-use finalizer on an issuer and its login Secret, so that
// the deletion of a namespace cannot take them away before the last version is
// revoked (hazard C9). It must be called before the first intent, and it writes
// nothing if all is there. An error, a conflict included, means: look again later.
//
// It also labels the login Secret, so that the cache follows it from then on.
func (a *Accounts) EnsureInUse(ctx context.Context, issuer v1alpha1.Issuer) error {
	if issuer.GetDeletionTimestamp() != nil {
		return fmt.Errorf("issuer %s is being deleted: nothing new may be issued with it", issuer.GetName())
	}
	if !controllerutil.ContainsFinalizer(issuer, journal.FinalizerInUse) {
		held := issuer.Copy()
		controllerutil.AddFinalizer(held, journal.FinalizerInUse)
		if err := a.patch(ctx, held, issuer); err != nil {
			return fmt.Errorf("put the in-use finalizer on issuer %s: %w", issuer.GetName(), err)
		}
	}
	name := issuer.IssuerSpec().LoginSecret()
	if name == "" || issuer.IssuerSpec().LoginCredential() != "" {
		return nil // there is none, or the credential that writes it is held
	}
	key := types.NamespacedName{Namespace: a.loginNamespace(issuer), Name: name}
	cached := secretMetadata()
	if err := a.client.Get(ctx, key, cached); err == nil && a.marked(cached) {
		return nil
	}
	live := secretMetadata()
	if err := a.live.Get(ctx, key, live); err != nil {
		return fmt.Errorf("read the login Secret %s: %w", name, err)
	}
	if a.marked(live) {
		return nil
	}
	if live.DeletionTimestamp != nil {
		return fmt.Errorf("login Secret %s is being deleted: nothing new may be issued with it", name)
	}
	marked := live.DeepCopy()
	if marked.Labels == nil {
		marked.Labels = map[string]string{}
	}
	marked.Labels[journal.LabelRole] = journal.RoleLogin
	if a.holds(key.Namespace) {
		controllerutil.AddFinalizer(marked, journal.FinalizerInUse)
	}
	if err := a.patch(ctx, marked, live); err != nil {
		return fmt.Errorf("put the in-use finalizer on login Secret %s: %w", name, err)
	}
	return nil
}

// Suspect writes into the issuer's status what may live upstream and cannot be found there,
// before the journal forgets it (hazard H17).
func (a *Accounts) Suspect(ctx context.Context, issuer v1alpha1.Issuer, name, container, reason string) error {
	live := v1alpha1.NewIssuer(issuer.IssuerKind())
	if err := a.live.Get(ctx, client.ObjectKeyFromObject(issuer), live); err != nil {
		return fmt.Errorf("read issuer %s: %w", issuer.GetName(), err)
	}
	unresolved := &live.IssuerStatus().Unresolved
	if slices.ContainsFunc(unresolved.Newest, func(o v1alpha1.SuspectedOrphan) bool { return o.Name == name && o.Container == container }) {
		return nil
	}
	unresolved.Count++
	entry := v1alpha1.SuspectedOrphan{Name: name, Container: container, Reason: reason}
	unresolved.Newest = append([]v1alpha1.SuspectedOrphan{entry}, unresolved.Newest...)
	unresolved.Newest = unresolved.Newest[:min(len(unresolved.Newest), namedOrphans)]
	if err := a.client.Status().Update(ctx, live, client.FieldOwner(journal.FieldManager)); err != nil {
		return fmt.Errorf("write the status of issuer %s: %w", issuer.GetName(), err)
	}
	return nil
}

// marked reports whether a login Secret has all that EnsureInUse puts on it.
func (a *Accounts) marked(secret *metav1.PartialObjectMetadata) bool {
	return secret.Labels[journal.LabelRole] == journal.RoleLogin &&
		(!a.holds(secret.Namespace) || controllerutil.ContainsFinalizer(secret, journal.FinalizerInUse))
}

// loginNamespace is where the login of an issuer is: in its own namespace, or in the
// operator's, where teams cannot read it.
func (a *Accounts) loginNamespace(issuer v1alpha1.Issuer) string {
	if issuer.IssuerKind() == v1alpha1.KindClusterCredentialIssuer {
		return a.operatorNamespace
	}
	return issuer.GetNamespace()
}

// holds reports whether Secrets of a namespace get the finalizer. Those of the
// operator's own do not: who deletes the namespace would wait for an operator that
// is gone (hazard 3.6).
func (a *Accounts) holds(namespace string) bool { return namespace != a.operatorNamespace }

// patch writes the difference of two forms of an object's metadata if the object is
// still as it was read.
func (a *Accounts) patch(ctx context.Context, wanted, read client.Object) error {
	return a.client.Patch(ctx, wanted, client.MergeFromWithOptions(read, client.MergeFromWithOptimisticLock{}), client.FieldOwner(journal.FieldManager))
}

// release lets a terminating issuer go once no version is left that was made with it.
func (r *Reconciler) release(ctx context.Context, g *gathered) error {
	g.record.releaseAt = r.Options.Local.Now().Add(releasePause)
	made := client.MatchingLabels{journal.LabelIssuerUID: string(g.issuer.GetUID())}
	// The cache first: it is free, and most often shows one that is left.
	for _, reader := range []client.Reader{r.Client, r.Live} {
		left, err := versions(ctx, reader, g.issuer.GetNamespace(), made)
		if err != nil || slices.ContainsFunc(left, held) {
			return err
		}
	}
	if clearing, err := r.Accounts.clearing(ctx, g.issuer.GetNamespace(), g.issuer); err != nil || clearing {
		return err
	}
	free := g.issuer.Copy()
	controllerutil.RemoveFinalizer(free, journal.FinalizerInUse)
	if err := r.Accounts.patch(ctx, free, g.issuer); err != nil {
		return fmt.Errorf("take the in-use finalizer off the issuer: %w", err)
	}
	g.issuer = free
	return nil
}

// clearing reports whether a credential still has to delete a service instance of its own, of one
// issuer or, if it is nil, of any: that comes after its last version.
func (a *Accounts) clearing(ctx context.Context, namespace string, issuer v1alpha1.Issuer) (bool, error) {
	credentials := &v1alpha1.APIClientCredentialList{}
	if err := a.client.List(ctx, credentials, client.InNamespace(namespace)); err != nil {
		return false, fmt.Errorf("list credentials: %w", err)
	}
	return slices.ContainsFunc(credentials.Items, func(c v1alpha1.APIClientCredential) bool {
		return c.Spec.DeletesInstance() && controllerutil.ContainsFinalizer(&c, journal.FinalizerCredential) &&
			(issuer == nil || c.Spec.IssuerRef.Names(issuer))
	}), nil
}

// held: a version that somebody still has to revoke. Retained ones were let go.
func held(version metav1.PartialObjectMetadata) bool {
	return controllerutil.ContainsFinalizer(&version, journal.FinalizerUpstream)
}

// LoginReconciler lets login Secrets go. It is apart from the issuers because the
// issuer of a Secret may be gone before it, or may name another one by now.
type LoginReconciler struct {
	Client   client.Client
	Live     client.Reader
	Accounts *Accounts
	// Now is the API server's time.
	Now func() time.Time
}

// loginGrace is how long a deleted login Secret is kept in any case: one command may
// delete it first, and the credentials that need it a moment later.
const loginGrace = 10 * time.Second

// Reconcile takes the in-use finalizer off a login Secret that is being deleted: in a
// live namespace soon, because somebody replaces it by delete and create and would
// wait for ever; where its users are deleted too, when no version needs it any more.
func (r *LoginReconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	secret := secretMetadata()
	if err := r.Client.Get(ctx, request.NamespacedName, secret); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if secret.DeletionTimestamp == nil || !controllerutil.ContainsFinalizer(secret, journal.FinalizerInUse) {
		return ctrl.Result{}, nil
	}
	needed, err := r.needed(ctx, secret)
	if err != nil {
		return ctrl.Result{}, err
	}
	if needed {
		return ctrl.Result{RequeueAfter: releasePause}, nil
	}
	free := secret.DeepCopy()
	controllerutil.RemoveFinalizer(free, journal.FinalizerInUse)
	if err := r.Accounts.patch(ctx, free, secret); err != nil {
		if apierrors.IsConflict(err) {
			return ctrl.Result{RequeueAfter: conflictPause}, nil
		}
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	ctrl.LoggerFrom(ctx).Info("let a deleted login Secret go", "secret", request.NamespacedName)
	return ctrl.Result{}, nil
}

// needed reports whether a deleted login Secret still has to serve: in a terminating
// namespace while there are versions; in a live one while an issuer that names it is
// being deleted as well, or all who live on that issuer are, and versions are left.
// Somebody who deletes issuer, login and credentials with one command would otherwise
// lose the login before the first version is revoked.
func (r *LoginReconciler) needed(ctx context.Context, secret *metav1.PartialObjectMetadata) (bool, error) {
	if terminating, err := r.terminating(ctx, secret.Namespace); err != nil || terminating {
		if err != nil {
			return false, err
		}
		left, err := versions(ctx, r.Live, secret.Namespace, nil)
		if err != nil || slices.ContainsFunc(left, held) {
			return err == nil, err
		}
		return r.Accounts.clearing(ctx, secret.Namespace, nil)
	}
	if r.Now().Before(secret.DeletionTimestamp.Add(loginGrace)) {
		return true, nil // the rest of the command may not have arrived yet
	}
	issuers := &v1alpha1.CredentialIssuerList{}
	if err := r.Client.List(ctx, issuers, client.InNamespace(secret.Namespace)); err != nil {
		return false, err
	}
	for i := range issuers.Items {
		issuer := &issuers.Items[i]
		if issuer.Spec.LoginSecret() != secret.Name {
			continue
		}
		left, err := versions(ctx, r.Live, secret.Namespace, client.MatchingLabels{journal.LabelIssuerUID: string(issuer.UID)})
		if err != nil {
			return false, err
		}
		ending, err := r.ending(ctx, issuer)
		if err != nil || ending && slices.ContainsFunc(left, held) {
			return true, err
		}
		if clearing, err := r.Accounts.clearing(ctx, secret.Namespace, issuer); err != nil || ending && clearing {
			return true, err
		}
	}
	return false, nil
}

// ending reports whether nobody will want a new version of an issuer.
func (r *LoginReconciler) ending(ctx context.Context, issuer *v1alpha1.CredentialIssuer) (bool, error) {
	if issuer.DeletionTimestamp != nil {
		return true, nil
	}
	credentials := &v1alpha1.APIClientCredentialList{}
	if err := r.Client.List(ctx, credentials, client.InNamespace(issuer.Namespace)); err != nil {
		return false, err
	}
	for i := range credentials.Items {
		if c := &credentials.Items[i]; c.Spec.IssuerRef.Names(issuer) && c.DeletionTimestamp == nil {
			return false, nil
		}
	}
	return true, nil
}

// terminating reports whether a namespace is being deleted.
func (r *LoginReconciler) terminating(ctx context.Context, name string) (bool, error) {
	namespace := &metav1.PartialObjectMetadata{}
	namespace.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
	if err := r.Live.Get(ctx, types.NamespacedName{Name: name}, namespace); err != nil {
		return false, fmt.Errorf("read the namespace: %w", err)
	}
	return namespace.DeletionTimestamp != nil, nil
}
