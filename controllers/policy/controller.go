package policy

import (
	"context"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/journal"
)

const (
	// countInterval is the shortest time between two writes of status that change
	// nothing but counts: every rotation changes them (hazard M2).
	countInterval = 30 * time.Second
	// countPause gathers changes of credentials that come together into one count.
	countPause = time.Second
	// conflictPause lets the cache see what the API server has.
	conflictPause = 100 * time.Millisecond
)

// ServerClock is the API server's clock; see internal/serverclock.
type ServerClock interface{ Now() time.Time }

// UnderWay says of which credentials a version is being made. Their status does not: what
// passes within seconds is not worth a write.
type UnderWay func(credential types.UID) bool

// Reconciler says of each RotationPolicy whether it is applied, and to how many.
type Reconciler struct {
	Client   client.Client
	Recorder events.EventRecorder
	// Server is the clock of what is stored; Local measures waiting.
	Server ServerClock
	Local  clock.PassiveClock

	// UnderWay says whether a version of a credential is between intent and publication.
	UnderWay UnderWay

	// ClusterKinds: policies of the cluster are served, too.
	ClusterKinds bool

	mu     sync.Mutex
	writes map[types.NamespacedName]write
}

// write is the last write of a policy's status.
type write struct {
	// basis is the resourceVersion that it was made from. A cache that still shows it
	// is behind.
	basis string
	at    time.Time
}

// Setup adds the controller to a manager.
func Setup(mgr ctrl.Manager, server ServerClock, underWay UnderWay, clusterKinds bool) error {
	r := &Reconciler{
		Client: mgr.GetClient(), Recorder: mgr.GetEventRecorder("claviger"), Server: server, Local: clock.RealClock{}, UnderWay: underWay, ClusterKinds: clusterKinds,
	}
	changed := builder.WithPredicates(predicate.GenerationChangedPredicate{})
	c := ctrl.NewControllerManagedBy(mgr).Named("rotationpolicy")
	if clusterKinds {
		// They have no namespace, which tells their requests from the others'.
		c = c.Watches(&v1alpha1.ClusterRotationPolicy{}, r.recount(), changed).
			WatchesMetadata(&corev1.Namespace{}, r.recount(), builder.WithPredicates(predicate.LabelChangedPredicate{})).
			Watches(&v1alpha1.NotificationChannel{}, handler.EnqueueRequestsFromMapFunc(r.naming), changed)
	}
	return c.
		For(&v1alpha1.RotationPolicy{}, changed).
		// One policy's selector decides how many are left for the others.
		Watches(&v1alpha1.RotationPolicy{}, r.recount(), changed).
		Watches(&v1alpha1.APIClientCredential{}, r.recount(), builder.WithPredicates(r.countable())).
		Complete(r)
}

// +kubebuilder:rbac:groups=credentials.claviger.dev,resources=rotationpolicies;clusterrotationpolicies;notificationchannels,verbs=get;list;watch
// +kubebuilder:rbac:groups=credentials.claviger.dev,resources=rotationpolicies/status;clusterrotationpolicies/status,verbs=update;patch
// +kubebuilder:rbac:groups="",resources=namespaces,verbs=get;list;watch
// +kubebuilder:rbac:groups=credentials.claviger.dev,resources=apiclientcredentials,verbs=get;list;watch
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// Reconcile writes the status of a policy if it changed.
func (r *Reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	policy := policyAt(request.NamespacedName)
	if err := r.Client.Get(ctx, request.NamespacedName, policy); err != nil {
		if apierrors.IsNotFound(err) {
			r.forget(request.NamespacedName)
		}
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	last := r.last(request.NamespacedName)
	if pause := rest(policy, last.at, r.Local.Now()); pause > 0 {
		return ctrl.Result{RequeueAfter: pause}, nil
	}
	now := r.Server.Now()
	counted, err := r.count(ctx, policy, now)
	if err != nil {
		return ctrl.Result{}, err
	}
	before := *policy.PolicyStatus()
	after := projected(policy, counted, metav1.NewTime(now.Truncate(time.Second)))
	if apiequality.Semantic.DeepEqual(before, after) {
		return ctrl.Result{RequeueAfter: counted.again(now)}, nil
	}
	if policy.GetResourceVersion() == last.basis {
		return ctrl.Result{RequeueAfter: conflictPause}, nil
	}
	basis := policy.GetResourceVersion()
	*policy.PolicyStatus() = after
	if err := r.Client.Status().Update(ctx, policy, client.FieldOwner(journal.FieldManager)); err != nil {
		if apierrors.IsConflict(err) {
			return ctrl.Result{RequeueAfter: conflictPause}, nil
		}
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	r.wrote(request.NamespacedName, write{basis: basis, at: r.Local.Now()})
	r.tell(policy, before.Conditions)
	return ctrl.Result{RequeueAfter: counted.again(now)}, nil
}

// policyAt is an empty policy of the kind that a key is about: those of the cluster have no
// namespace.
func policyAt(key types.NamespacedName) v1alpha1.Policy {
	if key.Namespace == "" {
		return &v1alpha1.ClusterRotationPolicy{}
	}
	return &v1alpha1.RotationPolicy{}
}

// count counts the credentials that the policy applies to.
func (r *Reconciler) count(ctx context.Context, policy v1alpha1.Policy, now time.Time) (tally, error) {
	var counted tally
	var list v1alpha1.APIClientCredentialList
	if err := r.Client.List(ctx, &list, client.InNamespace(policy.GetNamespace()), client.UnsafeDisableDeepCopy); err != nil {
		return counted, fmt.Errorf("list the credentials: %w", err)
	}
	resolvers, places := map[string]resolver{}, map[string]Place{}
	for i := range list.Items {
		namespace := list.Items[i].Namespace
		if _, known := resolvers[namespace]; !known {
			candidates, err := Gather(ctx, r.Client, namespace, r.ClusterKinds)
			if err != nil {
				return counted, err
			}
			resolvers[namespace] = newResolver(candidates)
		}
		applies := resolvers[namespace].resolve(&list.Items[i]).Policy
		if applies == nil || applies.GetUID() != policy.GetUID() {
			continue
		}
		counted.add(&list.Items[i], r.UnderWay(list.Items[i].UID), now)
		places[namespace] = resolvers[namespace].place
	}
	var err error
	counted.mute, err = r.muted(ctx, policy, places)
	return counted, err
}

// Gather reads the policies that may apply in a namespace, and what the namespace is like,
// from a cache. What it returns must not be changed.
func Gather(ctx context.Context, cache client.Reader, namespace string, clusterKinds bool) (Candidates, error) {
	candidates := Candidates{Place: Place{Name: namespace}}
	var policies v1alpha1.RotationPolicyList
	if err := cache.List(ctx, &policies, client.InNamespace(namespace), client.UnsafeDisableDeepCopy); err != nil {
		return candidates, fmt.Errorf("list the policies: %w", err)
	}
	candidates.Namespaced = policies.Items
	if !clusterKinds {
		return candidates, nil
	}
	var shared v1alpha1.ClusterRotationPolicyList
	if err := cache.List(ctx, &shared, client.UnsafeDisableDeepCopy); err != nil {
		return candidates, fmt.Errorf("list the policies of the cluster: %w", err)
	}
	candidates.Cluster = shared.Items
	object := &metav1.PartialObjectMetadata{}
	object.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
	if err := cache.Get(ctx, types.NamespacedName{Name: namespace}, object); client.IgnoreNotFound(err) != nil {
		return candidates, fmt.Errorf("read the namespace: %w", err)
	}
	candidates.Place.Labels = object.Labels
	return candidates, nil
}

// tell records an event if the policy was accepted or refused, and if renewals begin to pile
// up, after the write that made it true. before are the conditions until then.
func (r *Reconciler) tell(policy v1alpha1.Policy, before []metav1.Condition) {
	if policy.GetDeletionTimestamp() != nil {
		return
	}
	was := meta.FindStatusCondition(before, v1alpha1.ConditionAccepted)
	is := meta.FindStatusCondition(policy.PolicyStatus().Conditions, v1alpha1.ConditionAccepted)
	switch refused := is.Status == metav1.ConditionFalse; {
	case was != nil && was.Status == is.Status, was == nil && !refused:
	case refused:
		r.Recorder.Eventf(policy, nil, corev1.EventTypeWarning, is.Reason, "Accept", "%s", is.Message)
	default:
		r.Recorder.Eventf(policy, nil, corev1.EventTypeNormal, is.Reason, "Accept", "%s", is.Message)
	}
	if c := meta.FindStatusCondition(policy.PolicyStatus().Conditions, v1alpha1.ConditionRenewalsDue); c != nil && meta.FindStatusCondition(before, c.Type) == nil {
		r.Recorder.Eventf(policy, nil, corev1.EventTypeNormal, "RenewalsDue", "Count", "%s", c.Message)
	}
	if c := meta.FindStatusCondition(policy.PolicyStatus().Conditions, v1alpha1.ConditionAttention); c != nil {
		if was := meta.FindStatusCondition(before, c.Type); was == nil || was.Reason != c.Reason {
			r.Recorder.Eventf(policy, nil, corev1.EventTypeWarning, c.Reason, "Notify", "%s", c.Message)
		}
	}
}

// naming wakes the policies that name a channel, and lets them rest no longer: channels change
// seldom, and who has just made the one that was missing looks at once.
func (r *Reconciler) naming(ctx context.Context, channel client.Object) []reconcile.Request {
	keys, err := r.users(ctx, channel.GetName())
	if err != nil {
		return nil // only a cache that has not started fails, and it replays everything
	}
	var requests []reconcile.Request
	for _, key := range keys {
		r.hurry(key)
		requests = append(requests, reconcile.Request{NamespacedName: key})
	}
	return requests
}

func (r *Reconciler) last(key types.NamespacedName) write {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.writes[key]
}

func (r *Reconciler) wrote(key types.NamespacedName, w write) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.writes == nil {
		r.writes = map[types.NamespacedName]write{}
	}
	r.writes[key] = w
}

// hurry forgets when a policy's status was written last, not from what.
func (r *Reconciler) hurry(key types.NamespacedName) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if last, ok := r.writes[key]; ok {
		last.at = time.Time{}
		r.writes[key] = last
	}
}

func (r *Reconciler) forget(key types.NamespacedName) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.writes, key)
}

// countable lets through what can change a count: a credential that comes or goes,
// and one whose choice of policy, readiness, time of renewal or trouble changed.
func (r *Reconciler) countable() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		before, ok := e.ObjectOld.(*v1alpha1.APIClientCredential)
		after, same := e.ObjectNew.(*v1alpha1.APIClientCredential)
		if !ok || !same {
			return false
		}
		changed := func(condition string) bool {
			return meta.IsStatusConditionTrue(before.Status.Conditions, condition) != meta.IsStatusConditionTrue(after.Status.Conditions, condition)
		}
		return changed(v1alpha1.ConditionReady) || changed(v1alpha1.ConditionAttention) || changed(v1alpha1.ConditionStalled) ||
			moves(before.Status.Rotates, after.Status.Rotates, r.Server.Now()) ||
			!apiequality.Semantic.DeepEqual(before.Labels, after.Labels) ||
			!apiequality.Semantic.DeepEqual(before.Spec.PolicyRef, after.Spec.PolicyRef)
	}}
}

// recount wakes all policies that a change in a namespace may matter to, a moment later.
func (r *Reconciler) recount() handler.EventHandler {
	type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]
	later := func(ctx context.Context, o client.Object, q queue) {
		var list v1alpha1.RotationPolicyList
		if o.GetNamespace() != "" {
			if err := r.Client.List(ctx, &list, client.InNamespace(o.GetNamespace()), client.UnsafeDisableDeepCopy); err != nil {
				ctrl.LoggerFrom(ctx).Error(err, "list the policies of a namespace")
				return
			}
		}
		var shared v1alpha1.ClusterRotationPolicyList
		if r.ClusterKinds {
			if err := r.Client.List(ctx, &shared, client.UnsafeDisableDeepCopy); err != nil {
				ctrl.LoggerFrom(ctx).Error(err, "list the policies of the cluster")
				return
			}
		}
		for i := range list.Items {
			q.AddAfter(reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&list.Items[i])}, countPause)
		}
		for i := range shared.Items {
			q.AddAfter(reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&shared.Items[i])}, countPause)
		}
	}
	return handler.Funcs{
		CreateFunc: func(ctx context.Context, e event.CreateEvent, q queue) { later(ctx, e.Object, q) },
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, q queue) { later(ctx, e.ObjectNew, q) },
		DeleteFunc: func(ctx context.Context, e event.DeleteEvent, q queue) { later(ctx, e.Object, q) },
	}
}
