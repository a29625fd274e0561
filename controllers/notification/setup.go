package notification

import (
	"context"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	record "github.com/claviger-dev/claviger/controllers/approval"
	"github.com/claviger-dev/claviger/internal/journal"
)

const (
	// channelsAtOnce is how many channels may hang without keeping others from their work.
	channelsAtOnce = 8
	// gatherPause gathers what happens at the same time, so that a storm is seen as one.
	gatherPause = 2 * time.Second
)

// Counters count what became of messages; see internal/metrics.
type Counters interface {
	Notified(event, channelType, result string)
}

// Options are the settings.
type Options struct {
	Server  ServerClock
	Metrics Counters
	// ClusterID is part of the names that versions have upstream.
	ClusterID string
	// OperatorNamespace holds records, and the Secrets and ConfigMaps that channels name.
	OperatorNamespace string
	// AllowInsecure allows http and loopback; for tests and the demo.
	AllowInsecure bool
	UserAgent     string
}

// Setup adds both controllers to a manager, whose cache must hold the ConfigMaps of the
// operator's namespace.
func Setup(ctx context.Context, mgr ctrl.Manager, o Options) error {
	store := records{client: mgr.GetClient(), live: mgr.GetAPIReader(), namespace: o.OperatorNamespace}
	for index, of := range map[string]client.IndexerFunc{indexCredential: credentialOfRecord, indexChannel: channelsOfRecord} {
		if err := mgr.GetFieldIndexer().IndexField(ctx, &corev1.ConfigMap{}, index, of); err != nil {
			return err
		}
	}
	recorded := builder.WithPredicates(predicate.NewPredicateFuncs(isRecord))
	teller := &Teller{Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Server: o.Server, Metrics: o.Metrics, ClusterID: o.ClusterID, records: store}
	changed := builder.WithPredicates(predicate.GenerationChangedPredicate{})
	err := ctrl.NewControllerManagedBy(mgr).Named("notification").
		For(&v1alpha1.APIClientCredential{}).
		Watches(&v1alpha1.RotationPolicy{}, handler.EnqueueRequestsFromMapFunc(teller.credentialsOf), changed).
		Watches(&v1alpha1.ClusterRotationPolicy{}, handler.EnqueueRequestsFromMapFunc(teller.credentialsOf), changed).
		Watches(&v1alpha1.ApprovalRequest{}, handler.EnqueueRequestsFromMapFunc(record.CredentialAsked)).
		Watches(&v1alpha1.CredentialIssuer{}, handler.EnqueueRequestsFromMapFunc(teller.suspected), builder.WithPredicates(suspects())).
		Watches(&v1alpha1.ClusterCredentialIssuer{}, handler.EnqueueRequestsFromMapFunc(teller.suspected), builder.WithPredicates(suspects())).
		WatchesMetadata(&corev1.Secret{}, handler.EnqueueRequestsFromMapFunc(named), builder.WithPredicates(gone())).
		Watches(&corev1.ConfigMap{}, handler.EnqueueRequestsFromMapFunc(named), recorded).
		Complete(teller)
	if err != nil {
		return err
	}
	courier := &Courier{
		Client: mgr.GetClient(), Server: o.Server, Metrics: o.Metrics, Local: clock.RealClock{}, records: store,
		opener: opener{live: mgr.GetAPIReader(), cache: mgr.GetClient(), namespace: o.OperatorNamespace, allowInsecure: o.AllowInsecure, userAgent: o.UserAgent},
	}
	return ctrl.NewControllerManagedBy(mgr).Named("notification-channel").
		For(&v1alpha1.NotificationChannel{}, changed).
		Watches(&corev1.ConfigMap{}, courier.waiting(), recorded).
		WithOptions(controller.Options{MaxConcurrentReconciles: channelsAtOnce}).
		Complete(courier)
}

// credentialsOf are those that a policy may apply to.
func (t *Teller) credentialsOf(ctx context.Context, policy client.Object) []reconcile.Request {
	var list v1alpha1.APIClientCredentialList
	if err := t.Client.List(ctx, &list, client.InNamespace(policy.GetNamespace()), client.UnsafeDisableDeepCopy); err != nil {
		return nil // only a cache that has not started fails, and it replays everything
	}
	var requests []reconcile.Request
	for i := range list.Items {
		requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&list.Items[i])})
	}
	return requests
}

// suspected are the credentials whose versions an issuer lists as living upstream, perhaps.
func (t *Teller) suspected(ctx context.Context, o client.Object) []reconcile.Request {
	issuer, ok := o.(v1alpha1.Issuer)
	if !ok {
		return nil
	}
	var list v1alpha1.APIClientCredentialList
	if err := t.Client.List(ctx, &list, client.InNamespace(issuer.GetNamespace()), client.UnsafeDisableDeepCopy); err != nil {
		return nil // only a cache that has not started fails, and it replays everything
	}
	var requests []reconcile.Request
	for i := range list.Items {
		if len(orphans([]v1alpha1.Issuer{issuer}, journal.UpstreamPrefix(t.ClusterID, string(list.Items[i].UID)))) > 0 {
			requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&list.Items[i])})
		}
	}
	return requests
}

// suspects passes issuers that list what may live upstream when the list has changed.
func suspects() predicate.Predicate {
	unresolved := func(o client.Object) []v1alpha1.SuspectedOrphan {
		if issuer, ok := o.(v1alpha1.Issuer); ok {
			return issuer.IssuerStatus().Unresolved.Newest
		}
		return nil
	}
	return predicate.Funcs{
		CreateFunc: func(e event.CreateEvent) bool { return len(unresolved(e.Object)) > 0 },
		UpdateFunc: func(e event.UpdateEvent) bool {
			return len(unresolved(e.ObjectNew)) > 0 && !slices.Equal(unresolved(e.ObjectOld), unresolved(e.ObjectNew))
		},
		DeleteFunc: func(event.DeleteEvent) bool { return false },
	}
}

// named is the credential that a version Secret or a record names.
func named(_ context.Context, o client.Object) []reconcile.Request {
	credential, ok := journal.CredentialOf(o)
	if !ok {
		return nil
	}
	return []reconcile.Request{{NamespacedName: credential}}
}

// gone passes the end of version Secrets: a version may be missing in the status before.
func gone() predicate.Predicate {
	return predicate.Funcs{
		CreateFunc: func(event.CreateEvent) bool { return false },
		UpdateFunc: func(event.UpdateEvent) bool { return false },
		DeleteFunc: func(e event.DeleteEvent) bool { return e.Object.GetLabels()[journal.LabelRole] == journal.RoleVersion },
	}
}

// waiting wakes the channels that a record has something for, a moment later.
func (c *Courier) waiting() handler.EventHandler {
	later := func(o client.Object, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) {
		for _, channel := range channelsOfRecord(o) {
			queue.AddAfter(reconcile.Request{NamespacedName: types.NamespacedName{Name: channel}}, gatherPause)
		}
	}
	return handler.Funcs{
		CreateFunc: func(_ context.Context, e event.CreateEvent, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			later(e.Object, queue)
		},
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			later(e.ObjectNew, queue)
		},
	}
}
