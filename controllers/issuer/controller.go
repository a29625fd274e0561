package issuer

import (
	"context"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/claviger-dev/claviger/internal/material"
	"github.com/claviger-dev/claviger/internal/upstream"
)

// ServerClock is the API server's clock; see internal/serverclock.
type ServerClock interface {
	Now() time.Time
	Steady() bool
}

// Options configure the controllers of this package.
type Options struct {
	// Registry opens accounts.
	Registry upstream.Registry
	// Transport is what every account's calls have in common: AllowPlainHTTP,
	// AllowLoopback, UserAgent and Timeout. The rest comes from the issuer.
	Transport upstream.TransportOptions
	// Observe, if set, gives the observer of calls for one kind of upstream.
	Observe func(member string) func(operation, result string, took, waited time.Duration)
	// ClusterID is the id that this cluster's marks are made with.
	ClusterID string
	// Server is the clock of what is stored or compared; Local measures waiting.
	Server ServerClock
	Local  clock.PassiveClock
	// SweepInterval between two passes over an issuer; zero means an hour.
	SweepInterval time.Duration
	// OrphanAge is how long this process must have known a late arrival before it is
	// revoked.
	OrphanAge time.Duration
	// CountInterval is the shortest time between two writes of status that change
	// nothing but the count; zero means 30 seconds (hazard M2).
	CountInterval time.Duration
	// ObserveOnly writes nothing upstream.
	ObserveOnly bool
	// ClusterKinds: issuers of the cluster are served, too.
	ClusterKinds bool
	// Workers is how many issuers are reconciled at a time; zero means 8. One of them
	// is held while an upstream hangs.
	Workers int
}

func (o Options) withDefaults() Options {
	if o.SweepInterval <= 0 {
		o.SweepInterval = time.Hour
	}
	if o.CountInterval <= 0 {
		o.CountInterval = 30 * time.Second
	}
	if o.Workers <= 0 {
		o.Workers = 8
	}
	if o.Local == nil {
		o.Local = clock.RealClock{}
	}
	return o
}

// Reconciler keeps the account of each CredentialIssuer and ClusterCredentialIssuer.
type Reconciler struct {
	Client   client.Client
	Live     client.Reader
	Accounts *Accounts
	Recorder events.EventRecorder
	Options  Options

	mu      sync.Mutex
	records map[types.NamespacedName]*record
}

// record is what this process knows about one issuer. Only the issuer's own reconcile
// touches it, and there is one of those at a time.
type record struct {
	id Identity

	// The account as it was opened, and with what.
	upstream   upstream.Upstream
	realm      string
	generation int64
	login      map[string]material.Secret
	// tokens is where tokens of the login's service account come from; nil if it names none.
	tokens *tokens
	// cachedLogin is the resourceVersion that the cache showed when the login was
	// last read; empty if it showed none.
	cachedLogin string
	// readLogin is the resourceVersion of a login Secret that a credential writes, as it was
	// read last, and provenLogin that with which the last login worked; both empty if a person
	// writes it.
	readLogin, provenLogin string

	usable    bool
	silenced  bool
	failures  int
	checkedAt time.Time
	retryAt   time.Time
	glanceAt  time.Time
	releaseAt time.Time
	// outcome of the last step that had one; nil while nothing was tried.
	outcome *finding

	pass pass
	// owners are the credentials that this process has seen, by their half of the
	// mark, and firstSeen the late arrivals.
	owners map[string]owner
	// furnished: one of them has a place of its own.
	furnished bool
	firstSeen map[upstream.Mark]time.Time

	// written is the resourceVersion that the last write of status was based on, and
	// countedAt when it was. A cache that still shows it is behind.
	written   string
	countedAt time.Time
}

// +kubebuilder:rbac:groups=credentials.claviger.dev,resources=credentialissuers;clustercredentialissuers,verbs=get;list;watch;update;patch
// +kubebuilder:rbac:groups=credentials.claviger.dev,resources=credentialissuers/status;clustercredentialissuers/status,verbs=update;patch
// +kubebuilder:rbac:groups=credentials.claviger.dev,resources=credentialissuers/finalizers;clustercredentialissuers/finalizers,verbs=update
// +kubebuilder:rbac:groups=credentials.claviger.dev,resources=apiclientcredentials,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=secrets,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups="",resources=namespaces,verbs=get
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// Reconcile does one step for an issuer and says what was found.
func (r *Reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	seen, err := r.gather(ctx, request.NamespacedName)
	if err != nil {
		return ctrl.Result{}, err
	}
	if seen == nil {
		r.drop(request.NamespacedName)
		return ctrl.Result{}, nil
	}
	do, after := decide(seen.situation(r.Options.Local.Now()))
	if err := r.act(ctx, do, seen); err != nil {
		if apierrors.IsConflict(err) {
			return ctrl.Result{RequeueAfter: conflictPause}, nil
		}
		return ctrl.Result{}, err
	}
	again, err := r.project(ctx, seen)
	if err != nil {
		if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
			return ctrl.Result{RequeueAfter: conflictPause}, nil
		}
		return ctrl.Result{}, err
	}
	if do != wait {
		// One step at a time: a status that waits for the next one would hide for
		// minutes what this one found.
		return ctrl.Result{RequeueAfter: atOnce}, nil
	}
	if !r.Options.Server.Steady() {
		again = sooner(again, r.listen(ctx, request.NamespacedName))
	}
	return ctrl.Result{RequeueAfter: sooner(after, again)}, nil
}

// listen makes a call for the sake of the time that its answer bears: at rest nothing
// else would be asked, and a clock in doubt would stay so.
func (r *Reconciler) listen(ctx context.Context, key types.NamespacedName) time.Duration {
	if err := r.Live.Get(ctx, key, issuerAt(key)); err != nil {
		ctrl.LoggerFrom(ctx).V(1).Info("the API server does not tell the time", "error", err.Error())
	}
	return unsteadyPause
}

const (
	// atOnce is the shortest pause that the queue knows.
	atOnce = time.Nanosecond
	// conflictPause lets the cache see what the API server has.
	conflictPause = 100 * time.Millisecond
)

// sooner returns the shorter of two pauses; zero is none.
func sooner(a, b time.Duration) time.Duration {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

func (r *Reconciler) act(ctx context.Context, do step, seen *gathered) error {
	switch do {
	case silence:
		r.silence(seen)
	case release:
		return r.release(ctx, seen)
	case login:
		return r.login(ctx, seen)
	case sweep:
		return r.sweep(ctx, seen)
	case read:
		return r.read(ctx, seen)
	case wait:
	}
	return nil
}

// recordOf returns what is known about an issuer; nothing if an object of that name
// was known under another UID.
func (r *Reconciler) recordOf(id Identity, key types.NamespacedName) *record {
	r.mu.Lock()
	defer r.mu.Unlock()
	if known, ok := r.records[key]; ok && known.id.UID == id.UID {
		return known
	} else if ok {
		r.Accounts.forget(known.id.UID)
	}
	if r.records == nil {
		r.records = map[types.NamespacedName]*record{}
	}
	fresh := &record{id: id, owners: map[string]owner{}, firstSeen: map[upstream.Mark]time.Time{}}
	r.records[key] = fresh
	return fresh
}

// drop forgets an issuer that is gone.
func (r *Reconciler) drop(key types.NamespacedName) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if known, ok := r.records[key]; ok {
		delete(r.records, key)
		r.Accounts.forget(known.id.UID)
	}
}
