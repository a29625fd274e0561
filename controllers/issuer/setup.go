package issuer

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
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
	"github.com/claviger-dev/claviger/internal/journal"
)

// countPause gathers credentials that come and go together into one count.
const countPause = time.Second

// Setup adds the controllers of this package to a manager, whose cache must hold the
// metadata of Secrets with our label.
func Setup(mgr ctrl.Manager, accounts *Accounts, options Options) error {
	options = options.withDefaults()
	logins := &LoginReconciler{Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Accounts: accounts, Now: options.Server.Now}
	isLogin := builder.WithPredicates(predicate.NewPredicateFuncs(func(o client.Object) bool {
		return o.GetLabels()[journal.LabelRole] == journal.RoleLogin
	}))
	err := ctrl.NewControllerManagedBy(mgr).
		Named("issuer-login").
		For(&corev1.Secret{}, builder.OnlyMetadata, isLogin).
		Complete(logins)
	if err != nil {
		return err
	}
	mayBeLogin := builder.WithPredicates(predicate.NewPredicateFuncs(func(o client.Object) bool {
		role := o.GetLabels()[journal.LabelRole]
		return role == journal.RoleLogin || role == journal.RoleTarget
	}))
	r := &Reconciler{
		Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Accounts: accounts,
		Recorder: mgr.GetEventRecorder("claviger"), Options: options,
	}
	changed := builder.WithPredicates(predicate.Or(predicate.GenerationChangedPredicate{}, predicate.AnnotationChangedPredicate{}))
	c := ctrl.NewControllerManagedBy(mgr).
		Named("credentialissuer").
		For(&v1alpha1.CredentialIssuer{}, changed)
	if options.ClusterKinds {
		// They have no namespace, which tells their requests from the others'.
		c = c.Watches(&v1alpha1.ClusterCredentialIssuer{}, &handler.EnqueueRequestForObject{}, changed)
	}
	return c.
		Watches(&v1alpha1.APIClientCredential{}, r.recount()).
		WatchesMetadata(&corev1.Secret{}, handler.EnqueueRequestsFromMapFunc(r.issuersOf), mayBeLogin).
		WatchesRawSource(source.Channel(accounts.recheck.out, &handler.EnqueueRequestForObject{})).
		WithOptions(controller.Options{MaxConcurrentReconciles: options.Workers}).
		Complete(r)
}

// issuersOf returns the issuers that log in with a Secret.
func (r *Reconciler) issuersOf(ctx context.Context, secret client.Object) []reconcile.Request {
	var list v1alpha1.CredentialIssuerList
	if err := r.Client.List(ctx, &list, client.InNamespace(secret.GetNamespace()), client.UnsafeDisableDeepCopy); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "list the issuers of a login Secret")
		return nil
	}
	var requests []reconcile.Request
	if r.Options.ClusterKinds && secret.GetNamespace() == r.Accounts.operatorNamespace {
		var shared v1alpha1.ClusterCredentialIssuerList
		if err := r.Client.List(ctx, &shared, client.UnsafeDisableDeepCopy); err != nil {
			ctrl.LoggerFrom(ctx).Error(err, "list the cluster's issuers of a login Secret")
			return nil
		}
		for i := range shared.Items {
			if shared.Items[i].Spec.LoginSecret() == secret.GetName() {
				requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&shared.Items[i])})
			}
		}
	}
	for i := range list.Items {
		if list.Items[i].Spec.LoginSecret() == secret.GetName() {
			requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&list.Items[i])})
		}
	}
	return requests
}

// recount wakes the issuer of a credential that was made or is gone, and of one that begins or
// ceases to be held among many deletions. Other updates don't matter: the issuer of a
// credential never changes.
func (r *Reconciler) recount() handler.EventHandler {
	later := func(o client.Object, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) {
		if c, ok := o.(*v1alpha1.APIClientCredential); ok {
			key := types.NamespacedName{Namespace: c.Namespace, Name: c.Spec.IssuerRef.Name}
			if c.Spec.IssuerRef.Cluster() {
				if !r.Options.ClusterKinds {
					return // to read it would start a watch that the operator has no right to
				}
				key.Namespace = ""
			}
			queue.AddAfter(reconcile.Request{NamespacedName: key}, countPause)
		}
	}
	return handler.Funcs{
		CreateFunc: func(_ context.Context, e event.CreateEvent, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			later(e.Object, queue)
		},
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			before, was := e.ObjectOld.(*v1alpha1.APIClientCredential)
			after, is := e.ObjectNew.(*v1alpha1.APIClientCredential)
			if was && is && heldAsMass(before) != heldAsMass(after) {
				later(after, queue)
			}
		},
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			later(e.Object, queue)
		},
	}
}
