package credential

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	record "github.com/claviger-dev/claviger/controllers/approval"
	"github.com/claviger-dev/claviger/internal/journal"
)

// IndexIssuer is the cache's index of credentials by the issuer that they name.
const IndexIssuer = "spec.issuerRef.name"

// SetupWithManager wires the reconciler. changed tells of issuers whose account
// became usable or whose verdict has news, delivered of credentials of whose deliveries something
// else is known.
func (r *Reconciler) SetupWithManager(ctx context.Context, mgr ctrl.Manager, workers int, changed, delivered <-chan event.GenericEvent) error {
	r.memory, r.slots, r.restarts = newMemory(), newSlots(), newRestarts()
	if err := indexFields(ctx, mgr); err != nil {
		return err
	}
	wanted := predicate.Or(predicate.GenerationChangedPredicate{}, predicate.AnnotationChangedPredicate{}, predicate.LabelChangedPredicate{},
		predicate.Funcs{UpdateFunc: lostStatus})
	c := ctrl.NewControllerManagedBy(mgr).
		Named("credential").
		For(&v1alpha1.APIClientCredential{}, builder.WithPredicates(wanted)).
		Watches(&v1alpha1.APIClientCredential{}, ahead(itself)).
		Watches(&v1alpha1.RotationPolicy{}, ahead(r.credentialsOfNamespace))
	asked := builder.WithPredicates(predicate.Or(predicate.GenerationChangedPredicate{}, predicate.AnnotationChangedPredicate{}))
	if r.Options.ClusterKinds {
		c = c.Watches(&v1alpha1.ClusterCredentialIssuer{}, handler.EnqueueRequestsFromMapFunc(r.credentialsOfIssuer), asked).
			Watches(&v1alpha1.ClusterRotationPolicy{}, handler.EnqueueRequestsFromMapFunc(r.credentialsOfNamespace), asked).
			Watches(&v1alpha1.ClusterRotationPolicy{}, ahead(r.credentialsOfNamespace)).
			WatchesMetadata(&corev1.Namespace{}, handler.EnqueueRequestsFromMapFunc(r.credentialsIn), builder.WithPredicates(predicate.LabelChangedPredicate{}))
	}
	return c.
		Watches(&v1alpha1.ApprovalRequest{}, handler.EnqueueRequestsFromMapFunc(record.CredentialAsked),
			builder.WithPredicates(predicate.Or(predicate.GenerationChangedPredicate{}, predicate.Funcs{UpdateFunc: deletionAnswered}))).
		Watches(&v1alpha1.ApprovalDecision{}, handler.EnqueueRequestsFromMapFunc(r.credentialDecided), builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		WatchesMetadata(&corev1.Secret{}, handler.EnqueueRequestsFromMapFunc(recordedCredential)).
		Watches(&v1alpha1.CredentialIssuer{}, handler.EnqueueRequestsFromMapFunc(r.credentialsOfIssuer), asked).
		Watches(&v1alpha1.RotationPolicy{}, handler.EnqueueRequestsFromMapFunc(r.credentialsOfNamespace), asked).
		WatchesRawSource(source.Channel(changed, handler.EnqueueRequestsFromMapFunc(r.credentialsOfIssuer))).
		WatchesRawSource(source.Channel(delivered, &handler.EnqueueRequestForObject{})).
		Watches(&v1alpha1.CloudIntegrationTenant{}, handler.EnqueueRequestsFromMapFunc(r.deliveredTo), builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		WithOptions(controller.Options{MaxConcurrentReconciles: workers}).
		Complete(r)
}

// lostStatus passes an update that took the summary away, which no write of ours
// does: a restore brings the status back in a second step, or not at all.
func lostStatus(e event.UpdateEvent) bool {
	after, ok := e.ObjectNew.(*v1alpha1.APIClientCredential)
	return ok && meta.FindStatusCondition(after.Status.Conditions, v1alpha1.ConditionReady) == nil
}

func indexFields(ctx context.Context, mgr ctrl.Manager) error {
	err := mgr.GetFieldIndexer().IndexField(ctx, &v1alpha1.APIClientCredential{}, IndexIssuer, func(o client.Object) []string {
		if c, ok := o.(*v1alpha1.APIClientCredential); ok {
			return []string{indexed(c.Spec.IssuerRef)}
		}
		return nil
	})
	if err != nil {
		return err
	}
	secret := &metav1.PartialObjectMetadata{}
	secret.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Secret"))
	return mgr.GetFieldIndexer().IndexField(ctx, secret, IndexCredential, func(o client.Object) []string {
		if credential := o.GetAnnotations()[journal.AnnotationCredential]; credential != "" {
			return []string{credential}
		}
		return nil
	})
}

// recordedCredential maps a version or target Secret to the credential that it
// records, in its own namespace only.
func recordedCredential(_ context.Context, o client.Object) []reconcile.Request {
	credential, ok := journal.CredentialOf(o)
	if !ok || credential.Namespace != o.GetNamespace() {
		return nil
	}
	return []reconcile.Request{{NamespacedName: credential}}
}

// credentialsOfIssuer are those of an issuer of either kind, and the one that it logs in with;
// one of the cluster has no namespace.
func (r *Reconciler) credentialsOfIssuer(ctx context.Context, o client.Object) []reconcile.Request {
	ref := v1alpha1.IssuerReference{Name: o.GetName()}
	if o.GetNamespace() == "" {
		ref.Kind = v1alpha1.KindClusterCredentialIssuer
	}
	return append(r.loginOf(ctx, o), r.requests(ctx, client.InNamespace(o.GetNamespace()), client.MatchingFields{IndexIssuer: indexed(ref)})...)
}

// indexed is how IndexIssuer spells a reference. No name of an issuer has a slash.
func indexed(ref v1alpha1.IssuerReference) string {
	if ref.Cluster() {
		return "cluster/" + ref.Name
	}
	return ref.Name
}

// credentialsIn are those of a namespace.
func (r *Reconciler) credentialsIn(ctx context.Context, namespace client.Object) []reconcile.Request {
	return r.requests(ctx, client.InNamespace(namespace.GetName()))
}

// credentialsOfNamespace are those of a policy's namespace, all if it is the cluster's.
func (r *Reconciler) credentialsOfNamespace(ctx context.Context, o client.Object) []reconcile.Request {
	return r.requests(ctx, client.InNamespace(o.GetNamespace()))
}

func (r *Reconciler) requests(ctx context.Context, options ...client.ListOption) []reconcile.Request {
	list := &v1alpha1.APIClientCredentialList{}
	if err := r.Client.List(ctx, list, options...); err != nil {
		return nil // only a cache that has not started fails, and it replays everything
	}
	requests := make([]reconcile.Request, 0, len(list.Items))
	for i := range list.Items {
		requests = append(requests, reconcile.Request{NamespacedName: key(&list.Items[i])})
	}
	return requests
}
