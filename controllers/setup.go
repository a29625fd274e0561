// Package controllers holds the one list of all controllers.
package controllers

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	crmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/controllers/approval"
	"github.com/claviger-dev/claviger/controllers/cloudintegration"
	"github.com/claviger-dev/claviger/controllers/credential"
	"github.com/claviger-dev/claviger/controllers/issuer"
	"github.com/claviger-dev/claviger/controllers/notification"
	"github.com/claviger-dev/claviger/controllers/policy"
	"github.com/claviger-dev/claviger/internal/admission"
	"github.com/claviger-dev/claviger/internal/consumers"
	"github.com/claviger-dev/claviger/internal/journal"
	"github.com/claviger-dev/claviger/internal/metrics"
	"github.com/claviger-dev/claviger/internal/rotation"
	"github.com/claviger-dev/claviger/internal/serverclock"
	"github.com/claviger-dev/claviger/internal/upstream"
)

// Options are the operator's settings.
type Options struct {
	// Registry has the upstreams.
	Registry upstream.Registry
	// Clock is the API server's time.
	Clock *serverclock.Clock
	// ClusterID is recorded in every version.
	ClusterID string
	// Holder names this process in claims.
	Holder string
	// Version of the operator, for metrics and upstreams.
	Version string
	// OperatorNamespace is where the operator runs; may be empty.
	OperatorNamespace string
	// Namespaces are those that are served, with rights in them alone; empty for all.
	Namespaces []string
	// ObserveOnly writes nothing upstream.
	ObserveOnly bool
	// OrphanAge is how long what belongs to nothing is left alone.
	OrphanAge time.Duration
	// UptakePause is the shortest time between two looks at a namespace's pods.
	UptakePause time.Duration
	// RestartsPerNamespace is how many workloads of a namespace may replace their pods at a time.
	RestartsPerNamespace int
	// SweepInterval is the time between two passes over an issuer.
	SweepInterval time.Duration
	// Workers is how many credentials are looked after at a time.
	Workers int
	// AllowInsecureUpstreams allows http and loopback; for tests and the demo.
	AllowInsecureUpstreams bool
	// Boundary is for crash tests; nil otherwise.
	Boundary credential.Boundary
}

// clusterKinds: issuers, policies and channels of the cluster are for an operator that serves all
// namespaces and knows its own, where the logins of such issuers are.
func (o *Options) clusterKinds() bool { return len(o.Namespaces) == 0 && o.OperatorNamespace != "" }

// Setup adds every controller to the manager.
func Setup(ctx context.Context, mgr ctrl.Manager, o Options) error {
	accounts := issuer.NewAccounts(issuer.AccountsOptions{
		Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Workers: o.Workers, OperatorNamespace: o.OperatorNamespace,
	})
	calls, err := upstream.NewMetrics(crmetrics.Registry)
	if err != nil {
		return fmt.Errorf("register the metrics of upstream calls: %w", err)
	}
	counters, err := metrics.Register(crmetrics.Registry, mgr.GetClient(), o.Clock, o.Version, o.clusterKinds())
	if err != nil {
		return fmt.Errorf("register metrics: %w", err)
	}
	err = issuer.Setup(mgr, accounts, issuer.Options{
		Registry: o.Registry, ClusterID: o.ClusterID, Server: o.Clock, SweepInterval: o.SweepInterval, OrphanAge: o.OrphanAge, ObserveOnly: o.ObserveOnly, ClusterKinds: o.clusterKinds(),
		Transport: upstream.TransportOptions{
			AllowPlainHTTP: o.AllowInsecureUpstreams, AllowLoopback: o.AllowInsecureUpstreams, UserAgent: "claviger/" + o.Version, Timeout: rotation.CallTime,
		},
		Observe: calls.Observer,
	})
	if err != nil {
		return fmt.Errorf("set up issuers: %w", err)
	}
	guard, err := admission.NewGuard(mgr.GetAPIReader(), mgr.GetClient(), clock.RealClock{}, len(o.Namespaces) == 0)
	if err != nil {
		return err
	}
	decisions, err := admission.NewDecisionGuard(mgr.GetAPIReader(), mgr.GetClient(), clock.RealClock{}, len(o.Namespaces) == 0)
	if err != nil {
		return err
	}
	if err := approval.Setup(ctx, mgr, decisions, o.Clock); err != nil {
		return fmt.Errorf("set up approvals: %w", err)
	}
	store := journal.Store{Client: mgr.GetClient(), Live: mgr.GetAPIReader()}
	if o.clusterKinds() {
		store.Keys = &journal.Keys{Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Namespace: o.OperatorNamespace}
	}
	tenants := cloudintegration.New(mgr, cloudintegration.Options{
		Server: o.Clock, Observe: calls.Observer, Store: store, ClusterID: o.ClusterID, ObserveOnly: o.ObserveOnly,
		Transport: upstream.TransportOptions{
			AllowPlainHTTP: o.AllowInsecureUpstreams, AllowLoopback: o.AllowInsecureUpstreams, UserAgent: "claviger/" + o.Version, Timeout: rotation.CallTime,
		},
	})
	credentials := &credential.Reconciler{
		Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Store: store,
		Issuers: issuers{accounts}, Deliveries: tenants, Shape: o.Registry.Shape, Guard: guard, Decisions: decisions, Pods: consumers.NewFinder(mgr.GetAPIReader(), o.Clock), Clock: o.Clock, Events: mgr.GetEventRecorder("claviger"), Metrics: counters,
		Options: credential.Options{ClusterID: o.ClusterID, Holder: o.Holder, ObserveOnly: o.ObserveOnly, ClusterKinds: o.clusterKinds(), OperatorNamespace: o.OperatorNamespace, OrphanAge: o.OrphanAge, UptakePause: o.UptakePause, Restarts: o.RestartsPerNamespace, Boundary: o.Boundary},
	}
	if err := credentials.SetupWithManager(ctx, mgr, o.Workers, accounts.Changed(), tenants.Changed()); err != nil {
		return fmt.Errorf("set up credentials: %w", err)
	}
	if err := policy.Setup(mgr, o.Clock, credentials.UnderWay, o.clusterKinds()); err != nil {
		return fmt.Errorf("set up policies: %w", err)
	}
	if err := tenants.SetupWithManager(mgr); err != nil {
		return fmt.Errorf("set up tenants of Cloud Integration: %w", err)
	}
	// Channels are a kind of the cluster; and who only observes a clone tells nobody that what
	// happened in the original has happened.
	if !o.clusterKinds() || o.ObserveOnly {
		return nil
	}
	err = notification.Setup(ctx, mgr, notification.Options{
		Server: o.Clock, Metrics: counters, ClusterID: o.ClusterID, OperatorNamespace: o.OperatorNamespace, AllowInsecure: o.AllowInsecureUpstreams, UserAgent: "claviger/" + o.Version,
	})
	if err != nil {
		return fmt.Errorf("set up notifications: %w", err)
	}
	return nil
}

// issuers shows the accounts to the credentials in the planner's words.
type issuers struct{ accounts *issuer.Accounts }

func (i issuers) Account(object v1alpha1.Issuer) credential.Account {
	verdict := i.accounts.Verdict(object.GetUID())
	a := credential.Account{VerdictDone: verdict.Done, Doubts: verdict.Doubts, Places: verdict.Places.Applied, PlacesAt: verdict.Places.Asked, SlotLimit: i.accounts.SlotLimit(object.GetUID())}
	account, ok := i.accounts.Get(object.GetUID())
	if !ok {
		state := i.accounts.State(object.GetUID())
		a.Problem = &rotation.Problem{Reason: state.Reason, Message: state.Message, Stalled: state.Stalled}
		return a
	}
	a.Upstream, a.Realm, a.TryAcquire = account.Upstream, account.Realm, account.TryAcquire
	return a
}

func (i issuers) EnsureInUse(ctx context.Context, object v1alpha1.Issuer) error {
	return i.accounts.EnsureInUse(ctx, object)
}

func (i issuers) Suspect(ctx context.Context, object v1alpha1.Issuer, name, container, reason string) error {
	return i.accounts.Suspect(ctx, object, name, container, reason)
}

func (i issuers) Recheck(uid types.UID) { i.accounts.Recheck(uid) }

func (i issuers) LoggedInWith(uid types.UID) string { return i.accounts.LoggedInWith(uid) }

func (i issuers) Dismiss(uid types.UID, mark upstream.Mark) { i.accounts.Dismiss(uid, mark) }
