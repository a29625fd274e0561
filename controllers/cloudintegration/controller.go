// Package cloudintegration reads the tenants that CloudIntegrationTenants name, says which
// flows use which alias, and writes into them what credentials deliver there. The one idea: a
// scan is many calls, and each reconcile makes one of them, so that a tenant with a thousand
// flows holds no worker from others; what is concluded from a whole scan is a function without
// effects. Deliveries go the same way: one entry is read or written at a time, by nobody else
// (keystores want that), and decide.go says what is next and does nothing.
package cloudintegration

import (
	"context"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/controllers/credential"
	scanning "github.com/claviger-dev/claviger/internal/cloudintegration"
	"github.com/claviger-dev/claviger/internal/journal"
	"github.com/claviger-dev/claviger/internal/material"
	"github.com/claviger-dev/claviger/internal/upstream"
)

const (
	// tenantsAtOnce is how many tenants are read at a time; each step is one call.
	tenantsAtOnce = 4
	// atOnce is the shortest pause that the queue knows.
	atOnce = time.Nanosecond
	// conflictPause lets the cache see what the API server has.
	conflictPause = 100 * time.Millisecond
)

// ServerClock is the clock of what is stored; see internal/serverclock.
type ServerClock interface{ Now() time.Time }

// Options are the settings.
type Options struct {
	Server ServerClock
	// Transport carries the calls.
	Transport upstream.TransportOptions
	// Store reads the versions that are delivered.
	Store journal.Store
	// ClusterID is part of the mark that tells what we have delivered.
	ClusterID string
	// ObserveOnly writes nothing into a tenant.
	ObserveOnly bool
	// Observe, if set, is told of every call of an upstream of that name.
	Observe func(member string) func(operation, result string, took, waited time.Duration)
}

// Reconciler reads tenants.
type Reconciler struct {
	Client   client.Client
	Live     client.Reader
	Recorder events.EventRecorder
	Options  Options

	changed chan event.GenericEvent

	mu      sync.Mutex
	records map[types.NamespacedName]*record
	// board is what the credentials are told.
	board map[types.NamespacedName]map[place]credential.Delivered
}

// record is what this process knows of a tenant. Losing it costs one scan.
type record struct {
	uid types.UID
	// tried is the generation of the spec that was acted on last, opened the one that the
	// scanner has its settings from, and login what it logs in with.
	tried, opened int64
	login         map[string]material.Secret
	api           *scanning.Tenant
	scanner       *scanning.Scanner
	// busy: a scan is under way.
	busy bool
	// found is the last whole scan, at scannedAt.
	found     *scanning.Result
	scannedAt time.Time
	failures  int
	retryAt   time.Time
	// trouble is what keeps the tenant from being read; nil if nothing does.
	trouble *finding

	// wants are the deliveries as they were gathered last, with the tenant's generation, and held
	// what is known of each.
	wants    []want
	gathered int64
	held     map[place]*held
	// public is what is no secret of the versions that are delivered, by nonce.
	public map[string]*public
	// quietUntil: the tenant wants no call about its security material before.
	quietUntil time.Time
}

// hurried: a deletion waits to know who uses an alias.
func (rec *record) hurried() bool {
	return slices.ContainsFunc(rec.wants, func(w want) bool { return w.leaving && w.kept })
}

// news is how many credentials can be told of at a time before whoever tells has to wait.
const news = 256

// New makes a reconciler, which credentials can ask before it runs.
func New(mgr ctrl.Manager, options Options) *Reconciler {
	return &Reconciler{
		Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Recorder: mgr.GetEventRecorder("claviger"), Options: options,
		records: map[types.NamespacedName]*record{}, board: map[types.NamespacedName]map[place]credential.Delivered{}, changed: make(chan event.GenericEvent, news),
	}
}

// SetupWithManager adds the controller to a manager.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	// Who comes or goes decides who manages an alias, and the spec what is delivered. What is
	// published, and what is being revoked, is told by Secrets.
	wanted := builder.WithPredicates(predicate.Or(predicate.GenerationChangedPredicate{}, predicate.Funcs{UpdateFunc: beganToLeave}))
	return ctrl.NewControllerManagedBy(mgr).
		Named("cloudintegrationtenant").
		For(&v1alpha1.CloudIntegrationTenant{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&v1alpha1.APIClientCredential{}, handler.EnqueueRequestsFromMapFunc(r.tenantsOf), wanted).
		WatchesMetadata(&corev1.Secret{}, handler.EnqueueRequestsFromMapFunc(r.tenantsOfSecret)).
		WithOptions(controller.Options{MaxConcurrentReconciles: tenantsAtOnce}).
		Complete(r)
}

// beganToLeave passes the update that deletes a credential.
func beganToLeave(e event.UpdateEvent) bool {
	return e.ObjectOld.GetDeletionTimestamp() == nil && e.ObjectNew.GetDeletionTimestamp() != nil
}

// tenantsBeside are those of a credential's namespace that name it.
func (r *Reconciler) tenantsBeside(ctx context.Context, credential client.Object) []reconcile.Request {
	var list v1alpha1.CloudIntegrationTenantList
	if err := r.Client.List(ctx, &list, client.InNamespace(credential.GetNamespace()), client.UnsafeDisableDeepCopy); err != nil {
		return nil // only a cache that has not started fails, and it replays everything
	}
	var requests []reconcile.Request
	for i := range list.Items {
		for _, alias := range list.Items[i].Spec.Aliases {
			if alias.Credential == credential.GetName() {
				requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&list.Items[i])})
				break
			}
		}
	}
	return requests
}

// +kubebuilder:rbac:groups=credentials.claviger.dev,resources=cloudintegrationtenants,verbs=get;list;watch
// +kubebuilder:rbac:groups=credentials.claviger.dev,resources=cloudintegrationtenants/status,verbs=update;patch
// +kubebuilder:rbac:groups="",resources=secrets,verbs=get;list;watch
// +kubebuilder:rbac:groups=credentials.claviger.dev,resources=apiclientcredentials,verbs=get;list;watch
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// Reconcile reads or writes one entry that is delivered, or makes one step of a scan if one is
// due, and says what is known. What is delivered goes first: a scan takes minutes.
func (r *Reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	tenant := &v1alpha1.CloudIntegrationTenant{}
	if err := r.Client.Get(ctx, request.NamespacedName, tenant); err != nil || tenant.DeletionTimestamp != nil {
		if apierrors.IsNotFound(err) {
			r.forget(request.NamespacedName)
		}
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	rec := r.recordOf(request.NamespacedName, tenant)
	delivered, again, err := r.deliver(ctx, tenant, rec)
	if err != nil {
		return ctrl.Result{}, err
	}
	r.announce(ctx, request.NamespacedName, rec)
	if delivered {
		return ctrl.Result{RequeueAfter: atOnce}, nil
	}
	if due(tenant, rec, r.Options.Server.Now()) <= 0 {
		before := rec.found
		if err := r.step(ctx, tenant, rec); err != nil {
			return ctrl.Result{}, err
		}
		if rec.found != before && len(rec.wants) > 0 {
			again = r.Options.Server.Now() // a deletion may have waited to know who uses an alias
		}
		if rec.busy && rec.trouble == nil && tenant.Status.ObservedGeneration == tenant.Generation {
			return ctrl.Result{RequeueAfter: atOnce}, nil
		}
	}
	if err := r.project(ctx, tenant, rec); err != nil {
		if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
			return ctrl.Result{RequeueAfter: conflictPause}, nil
		}
		return ctrl.Result{}, err
	}
	now := r.Options.Server.Now()
	pause := due(tenant, rec, now)
	if !again.IsZero() {
		pause = min(pause, again.Sub(now))
	}
	return ctrl.Result{RequeueAfter: max(pause, atOnce)}, nil
}

// step begins a scan or makes its next call, and notes how that went.
func (r *Reconciler) step(ctx context.Context, tenant *v1alpha1.CloudIntegrationTenant, rec *record) error {
	now := r.Options.Server.Now()
	if !rec.busy || rec.trouble != nil || rec.opened != tenant.Generation {
		if err := r.begin(ctx, tenant, rec); err != nil {
			return err
		}
		if rec.trouble != nil {
			return nil
		}
	}
	result, done, err := rec.scanner.Step(ctx)
	if ctx.Err() != nil {
		return nil //nolint:nilerr // the process ends: nothing was found out about the tenant
	}
	if err != nil {
		rec.failed(err, tenant.Spec.Login.SecretRef.Name, now)
		return nil
	}
	rec.failures, rec.trouble = 0, nil
	if done {
		rec.busy, rec.found, rec.scannedAt = false, &result, now
	}
	return nil
}

// begin opens the tenant for a scan.
func (r *Reconciler) begin(ctx context.Context, tenant *v1alpha1.CloudIntegrationTenant, rec *record) error {
	rec.tried, rec.trouble, rec.busy = tenant.Generation, nil, false
	stopped, err := r.open(ctx, tenant, rec)
	switch {
	case err != nil:
		return err
	case stopped != nil:
		rec.fail(r.Options.Server.Now(), *stopped)
	default:
		rec.busy = true
	}
	return nil
}

// project writes the status if it changed.
func (r *Reconciler) project(ctx context.Context, tenant *v1alpha1.CloudIntegrationTenant, rec *record) error {
	exists := map[string]bool{}
	for _, w := range rec.wants {
		exists[w.name] = true
	}
	for _, alias := range tenant.Spec.Aliases {
		if alias.Credential == "" {
			continue
		}
		err := r.Client.Get(ctx, types.NamespacedName{Namespace: tenant.Namespace, Name: alias.Credential}, &v1alpha1.APIClientCredential{})
		if client.IgnoreNotFound(err) != nil {
			return err
		}
		exists[alias.Credential] = err == nil
	}
	before := tenant.Status
	after := projected(tenant, rec, exists, metav1.NewTime(r.Options.Server.Now().Truncate(time.Second)))
	if apiequality.Semantic.DeepEqual(before, after) {
		return nil
	}
	tenant.Status = after
	if err := r.Client.Status().Update(ctx, tenant, client.FieldOwner(journal.FieldManager)); err != nil {
		return err
	}
	for _, name := range []string{v1alpha1.ConditionReady, v1alpha1.ConditionAttention} {
		r.tell(tenant, name, meta.FindStatusCondition(before.Conditions, name))
	}
	for _, d := range after.Deliveries {
		same := func(b v1alpha1.DeliveryStatus) bool {
			return b.Alias == d.Alias && b.Credential == d.Credential && b.As == d.As
		}
		i := slices.IndexFunc(before.Deliveries, same)
		if d.Current && (i < 0 || !before.Deliveries[i].Current || before.Deliveries[i].Version != d.Version) {
			r.Recorder.Eventf(tenant, nil, corev1.EventTypeNormal, "Delivered", "Deliver", "Alias %s holds version %d of APIClientCredential %s.", d.Alias, d.Version, d.Credential)
		}
	}
	return nil
}

// tell records an event if the reason of a condition changed, after the write that made it true.
func (r *Reconciler) tell(tenant *v1alpha1.CloudIntegrationTenant, name string, before *metav1.Condition) {
	after := meta.FindStatusCondition(tenant.Status.Conditions, name)
	if after == nil || before != nil && before.Reason == after.Reason || after.Reason == v1alpha1.ReasonScanning {
		return
	}
	kind := corev1.EventTypeWarning
	if name == v1alpha1.ConditionReady && after.Status == metav1.ConditionTrue {
		kind = corev1.EventTypeNormal
	}
	r.Recorder.Eventf(tenant, nil, kind, after.Reason, "Scan", "%s", after.Message)
}

// recordOf is what is known of a tenant; nothing if an object of that name was known under
// another UID.
func (r *Reconciler) recordOf(key types.NamespacedName, tenant *v1alpha1.CloudIntegrationTenant) *record {
	r.mu.Lock()
	defer r.mu.Unlock()
	if known, ok := r.records[key]; ok && known.uid == tenant.UID {
		return known
	}
	fresh := &record{uid: tenant.UID}
	r.records[key] = fresh
	return fresh
}

func (r *Reconciler) forget(key types.NamespacedName) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.records, key)
	delete(r.board, key)
}
