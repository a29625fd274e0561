// Package cloudintegration reads the tenants that CloudIntegrationTenants name and says which
// flows use which alias. The one idea: a scan is many calls, and each reconcile makes one of
// them, so that a tenant with a thousand flows holds no worker from others; what is
// concluded from a whole scan is a function without effects.
package cloudintegration

import (
	"context"
	"fmt"
	"maps"
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
	// Observe, if set, is told of every call of an upstream of that name.
	Observe func(member string) func(operation, result string, took, waited time.Duration)
}

// Reconciler reads tenants.
type Reconciler struct {
	Client   client.Client
	Live     client.Reader
	Recorder events.EventRecorder
	Options  Options

	mu      sync.Mutex
	records map[types.NamespacedName]*record
}

// record is what this process knows of a tenant. Losing it costs one scan.
type record struct {
	uid types.UID
	// tried is the generation of the spec that was acted on last, opened the one that the
	// scanner has its settings from, and login what it logs in with.
	tried, opened int64
	login         map[string]material.Secret
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
}

// Setup adds the controller to a manager.
func Setup(mgr ctrl.Manager, options Options) error {
	r := &Reconciler{Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Recorder: mgr.GetEventRecorder("claviger"), Options: options, records: map[types.NamespacedName]*record{}}
	// Who comes or goes decides who manages an alias; no update of a credential does.
	comings := builder.WithPredicates(predicate.Funcs{UpdateFunc: func(event.UpdateEvent) bool { return false }})
	return ctrl.NewControllerManagedBy(mgr).
		Named("cloudintegrationtenant").
		For(&v1alpha1.CloudIntegrationTenant{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&v1alpha1.APIClientCredential{}, handler.EnqueueRequestsFromMapFunc(r.tenantsBeside), comings).
		WithOptions(controller.Options{MaxConcurrentReconciles: tenantsAtOnce}).
		Complete(r)
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
// +kubebuilder:rbac:groups="",resources=secrets,verbs=get
// +kubebuilder:rbac:groups=credentials.claviger.dev,resources=apiclientcredentials,verbs=get;list;watch
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// Reconcile makes one step of a scan if one is due, and says what is known.
func (r *Reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	tenant := &v1alpha1.CloudIntegrationTenant{}
	if err := r.Client.Get(ctx, request.NamespacedName, tenant); err != nil || tenant.DeletionTimestamp != nil {
		if apierrors.IsNotFound(err) {
			r.forget(request.NamespacedName)
		}
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	rec := r.recordOf(request.NamespacedName, tenant)
	if due(tenant, rec, r.Options.Server.Now()) <= 0 {
		if err := r.step(ctx, tenant, rec); err != nil {
			return ctrl.Result{}, err
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
	return ctrl.Result{RequeueAfter: max(due(tenant, rec, r.Options.Server.Now()), atOnce)}, nil
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

// begin reads the login and opens the tenant with it, unless both are as they were.
func (r *Reconciler) begin(ctx context.Context, tenant *v1alpha1.CloudIntegrationTenant, rec *record) error {
	now, name := r.Options.Server.Now(), tenant.Spec.Login.SecretRef.Name
	rec.tried, rec.trouble, rec.busy = tenant.Generation, nil, false
	secret := &corev1.Secret{}
	err := r.Live.Get(ctx, types.NamespacedName{Namespace: tenant.Namespace, Name: name}, secret)
	switch {
	case apierrors.IsNotFound(err):
		rec.fail(now, finding{
			reason:  v1alpha1.ReasonLoginSecretNotFound,
			message: fmt.Sprintf("Secret %s, which holds the login, does not exist in this namespace.", name),
		})
		return nil
	case err != nil:
		return fmt.Errorf("read the login Secret: %w", err)
	}
	login := make(map[string]material.Secret, len(secret.Data))
	for key, value := range secret.Data {
		login[key] = material.New(string(value))
	}
	if rec.scanner != nil && rec.opened == tenant.Generation && maps.EqualFunc(rec.login, login, material.Secret.Equal) {
		rec.busy = true
		return nil
	}
	transport := r.Options.Transport
	transport.CABundle = []byte(tenant.Spec.CABundle)
	if r.Options.Observe != nil {
		transport.Observe = r.Options.Observe("cloudIntegration")
	}
	opened, err := scanning.Open(scanning.Settings{URL: tenant.Spec.URL, TokenURL: tenant.Spec.TokenURL, Login: login, Transport: transport, Now: r.Options.Server.Now})
	if err != nil {
		rec.failed(err, name, now)
		return nil
	}
	if rec.scanner == nil {
		rec.scanner = scanning.NewScanner(opened)
	} else {
		rec.scanner.Use(opened)
	}
	rec.login, rec.opened, rec.busy = login, tenant.Generation, true
	return nil
}

// project writes the status if it changed.
func (r *Reconciler) project(ctx context.Context, tenant *v1alpha1.CloudIntegrationTenant, rec *record) error {
	exists := map[string]bool{}
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
}
