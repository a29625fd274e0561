// Package credential carries out what internal/rotation decides for one
// APIClientCredential. The one idea: gather, decide, act, project. Nothing in this
// package chooses; every act makes one durable effect and is followed by a new
// decision.
package credential

import (
	"context"
	"encoding/json"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/journal"
	"github.com/claviger-dev/claviger/internal/material"
	"github.com/claviger-dev/claviger/internal/rotation"
	"github.com/claviger-dev/claviger/internal/upstream"
	"github.com/claviger-dev/claviger/internal/uptake"
)

const (
	// maxSteps bounds one pass. A pass that needs more yields to other credentials
	// and goes on at once.
	maxSteps = 40
	// again is the pause after a lost race: the cache has then seen the winner.
	again = 200 * time.Millisecond
	// busyRetry is the pause when the issuer's share of workers is taken.
	busyRetry = time.Second
)

// Issuers tells what the credentials need to know of the accounts.
type Issuers interface {
	// Account returns a snapshot of the issuer's account.
	Account(issuer v1alpha1.Issuer) Account
	// EnsureInUse puts the in-use finalizers on the issuer and its login Secret.
	EnsureInUse(ctx context.Context, issuer v1alpha1.Issuer) error
	// Recheck has the login looked at soon, after a call was refused for it.
	Recheck(issuer types.UID)
	// Suspect writes down on the issuer what may live upstream and cannot be found.
	Suspect(ctx context.Context, issuer v1alpha1.Issuer, name, container, reason string) error
	// LoggedInWith is the resourceVersion of the login Secret with which the issuer has logged in
	// last; empty if it has not.
	LoggedInWith(issuer types.UID) string
	// Dismiss takes back a doubt that a verification has cleared.
	Dismiss(issuer types.UID, mark upstream.Mark)
}

// Deliveries tells what is known of where credentials are delivered.
type Deliveries interface {
	// Delivered is what is known of one; false if its tenant has not been looked at yet.
	Delivered(tenant types.NamespacedName, credential types.UID, form v1alpha1.DeliveryForm, alias string) (Delivered, bool)
}

// Delivered is what is known of a delivery.
type Delivered struct {
	// Mark is the version that was seen there; empty if none is in use. Since is since when, and
	// SeenAt when it was seen last.
	Mark          upstream.Mark
	Since, SeenAt time.Time
	// Trouble is why it does not get on; empty if nothing is wrong.
	Trouble string
	// Users are those that are known to use it.
	Users []string
	// Gone: nothing of the credential is there.
	Gone bool
	// Unseen: it was not looked at yet.
	Unseen bool
}

// Account is a snapshot of an issuer's account.
type Account struct {
	// Upstream is nil while Problem is set.
	Upstream upstream.Upstream
	Problem  *rotation.Problem
	// Realm begins every container of the account.
	Realm string
	// VerdictDone and Doubts come from the pass over the whole issuer.
	VerdictDone bool
	Doubts      map[upstream.Mark]string
	// Places are what that pass has read on managed places by their owner, and PlacesAt is when
	// it began to; zero if it has read nothing on any.
	Places   map[string]string
	PlacesAt time.Time
	// SlotLimit is how many routine rotations may run at once.
	SlotLimit int
	// TryAcquire takes a share of the workers for a call, or says that the issuer has
	// its share already. What is urgent has one of its own.
	TryAcquire func(urgent bool) (release func(), ok bool)
}

// Guard tells whether the admission policies protect the journal of a namespace.
type Guard interface {
	InForce(ctx context.Context, namespace string) (ok bool, message string)
}

// Pods tells which pods of a namespace use Secrets.
type Pods interface {
	// List returns what a list of the namespace's pods showed that began at or after a time,
	// and when it began, by the API server's clock.
	List(ctx context.Context, namespace string, notBefore time.Time) (pods []uptake.Pod, began time.Time, err error)
	// Templates returns the same of what may make pods.
	Templates(ctx context.Context, namespace string, notBefore time.Time) (templates []uptake.Template, began time.Time, err error)
}

// Clock is the API server's time as this process knows it.
type Clock interface {
	Now() time.Time
	Steady() bool
}

// Options are the operator's settings.
type Options struct {
	// ClusterID is recorded in every version.
	ClusterID string
	// Holder names this process in claims.
	Holder string
	// ObserveOnly writes nothing upstream and begins nothing.
	ObserveOnly bool
	// ClusterKinds: issuers and policies of the cluster are used, too.
	ClusterKinds bool
	// OperatorNamespace is where logins of the cluster's issuers are; may be empty.
	OperatorNamespace string
	// OrphanAge is how long the journal of a vanished credential is kept.
	OrphanAge time.Duration
	// UptakePause is the shortest time between two looks at a namespace's pods.
	UptakePause time.Duration
	// Restarts is how many workloads of a namespace may replace their pods at a time.
	Restarts int
	// Boundary, if set, is told of every boundary of an effect, for crash tests.
	Boundary Boundary
}

// Reconciler carries out the steps of one credential at a time.
type Reconciler struct {
	// Client reads from the cache and writes.
	Client client.Client
	// Live reads past the cache.
	Live    client.Reader
	Store   journal.Store
	Issuers Issuers
	// Deliveries tells of where credentials are delivered.
	Deliveries Deliveries
	// Shape says which fields the material of a credential will have.
	Shape func(upstreamMember string, parameters json.RawMessage) material.Shape
	Guard Guard
	// Decisions tells whether people's decisions prove who made them.
	Decisions Decisions
	Pods      Pods
	Clock     Clock
	Events    events.EventRecorder
	Metrics   Metrics
	Options   Options

	memory   *memory
	slots    *slots
	restarts *restarts
}

// Metrics counts what was done.
type Metrics interface {
	Rotated(upstreamMember, result string)
	// Replaced measures for how long a Secret has held what was ended in place.
	Replaced(upstreamMember string, after time.Duration)
}

// +kubebuilder:rbac:groups=credentials.claviger.dev,resources=apiclientcredentials,verbs=get;list;watch;update;patch
// +kubebuilder:rbac:groups=credentials.claviger.dev,resources=apiclientcredentials/status,verbs=update;patch
// +kubebuilder:rbac:groups=credentials.claviger.dev,resources=apiclientcredentials/journal,verbs=update
// +kubebuilder:rbac:groups=credentials.claviger.dev,resources=credentialissuers;rotationpolicies,verbs=get;list;watch
// +kubebuilder:rbac:groups=credentials.claviger.dev,resources=cloudintegrationtenants,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=secrets,verbs=get;list;watch;create;update;patch;delete
// +kubebuilder:rbac:groups=credentials.claviger.dev,resources=approvalrequests;approvaldecisions,verbs=get;list;watch
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// Reconcile moves one credential as far as it will go and says when to look again.
func (r *Reconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	s, err := r.gather(ctx, request.NamespacedName)
	if err != nil || s == nil {
		return reconcile.Result{}, err
	}
	result, err := r.pass(ctx, s)
	result.Priority = ptr.To(int(rotation.UrgencyOf(s.observe(), r.Clock.Now())))
	return result, err
}

// pass makes steps until there is something to wait for.
func (r *Reconciler) pass(ctx context.Context, s *scope) (reconcile.Result, error) {
	gathered := r.Clock.Now()
	var err error
	for range maxSteps {
		now := r.Clock.Now()
		s.now = now
		step := rotation.Next(s.observe(), s.policy, s.capabilities, now)
		if now.Sub(gathered) > rotation.FactTime && step.Action != rotation.WriteAnswer {
			break // a process that stood still must not act on what it saw before
		}
		switch step.Action {
		case rotation.Wait:
			return r.project(ctx, s, step, now)
		case rotation.Look:
			err = r.look(ctx, s, step)
			if problem := s.blindness(err, now); problem != nil {
				return r.project(ctx, s, rotation.Step{Action: rotation.Wait, Problem: problem, Notice: s.stands(), Until: now.Add(blindRetry)}, now)
			}
		default:
			log.FromContext(ctx).V(1).Info("step", "action", step.Action, "version", step.Version, "cause", step.Cause)
			r.Options.Boundary.cross(step.Action, Before)
			err = r.act(ctx, s, step)
			r.Options.Boundary.cross(step.Action, After)
		}
		if err != nil {
			return giveWay(err)
		}
	}
	return reconcile.Result{RequeueAfter: again}, nil
}

// giveWay turns a lost race into another look: somebody else was first, and the
// next pass gathers what he did.
func giveWay(err error) (reconcile.Result, error) {
	switch {
	case errorsIsBusy(err):
		return reconcile.Result{RequeueAfter: busyRetry}, nil
	case apierrors.IsConflict(err), apierrors.IsAlreadyExists(err), apierrors.IsNotFound(err):
		return reconcile.Result{RequeueAfter: again}, nil
	}
	return reconcile.Result{}, err
}

// act carries out one step.
func (r *Reconciler) act(ctx context.Context, s *scope, step rotation.Step) error {
	switch step.Action {
	case rotation.AddFinalizer, rotation.RemoveFinalizer:
		return r.setFinalizer(ctx, s, step.Action == rotation.AddFinalizer)
	case rotation.HoldIssuer:
		// What was written is read again before the intent is made.
		s.fresh &^= rotation.FactIssuer
		return r.Issuers.EnsureInUse(ctx, s.issuer)
	case rotation.AskApproval:
		return r.askApproval(ctx, s, step)
	case rotation.Provision, rotation.Deprovision:
		return r.provision(ctx, s, step)
	case rotation.CreateIntent:
		return r.createIntent(ctx, s, step)
	case rotation.Adopt:
		return r.adopt(ctx, s, step)
	case rotation.Claim:
		return r.claim(ctx, s, step)
	case rotation.Issue:
		return r.issue(ctx, s, step)
	case rotation.WriteAnswer:
		return r.writeAnswer(ctx, s, step)
	case rotation.Disown:
		return r.disown(ctx, s, step)
	case rotation.Suspect:
		return r.suspect(ctx, s, step)
	case rotation.Verify:
		return r.verify(ctx, s, step)
	case rotation.NoteRefusal, rotation.Fail, rotation.NotePublished, rotation.NoteRevoked, rotation.MarkRepublish, rotation.RollBack:
		return r.note(ctx, s, step)
	case rotation.Publish:
		return r.publish(ctx, s, step)
	case rotation.PublishCopy:
		return r.publishCopy(ctx, s, step)
	case rotation.WithdrawCopy:
		return r.withdrawCopy(ctx, s, step)
	case rotation.Restart:
		return r.restart(ctx, s, step)
	case rotation.NoteRollout:
		return r.noteRollout(ctx, s, step)
	case rotation.ShowPrevious, rotation.HidePrevious:
		return r.writePrevious(ctx, s, step)
	case rotation.Retire:
		return r.retire(ctx, s, step)
	case rotation.Revoke:
		return r.revoke(ctx, s, step)
	case rotation.Release, rotation.Abandon, rotation.Retain:
		return r.release(ctx, s, step)
	case rotation.RetainTarget, rotation.DeleteTarget:
		return r.endTarget(ctx, s, step)
	}
	return nil
}

// key is shorthand for the namespaced name of an object.
func key(o client.Object) types.NamespacedName { return client.ObjectKeyFromObject(o) }
