package approval

import (
	"context"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/approval"
	"github.com/claviger-dev/claviger/internal/journal"
)

// The cache's indexes: requests by the UID of their credential, decisions by that of their
// request.
const (
	IndexCredential = "spec.credentialRef.uid"
	IndexRequest    = "spec.requestRef.uid"
)

const (
	// again is the pause while decisions cannot be believed.
	again = 10 * time.Second
	// most is how many requests of a credential are kept. Beyond it the oldest go that are
	// over and were not rejected.
	most = 100
	// shown is how many decisions stand in a status.
	shown = 256
)

// Guard tells since when decisions prove who made them.
type Guard interface {
	Proven(ctx context.Context, namespace string) (since time.Time, doubt string)
}

// Clock is the API server's time.
type Clock interface{ Now() time.Time }

// Reconciler writes what came of each request, and deletes it when its time is over.
type Reconciler struct {
	Client client.Client
	Guard  Guard
	Clock  Clock
}

// +kubebuilder:rbac:groups=credentials.claviger.dev,resources=approvalrequests,verbs=get;list;watch;create;delete
// +kubebuilder:rbac:groups=credentials.claviger.dev,resources=approvalrequests/status,verbs=update;patch
// +kubebuilder:rbac:groups=credentials.claviger.dev,resources=approvaldecisions,verbs=get;list;watch;create;delete

// Setup adds the controller and its indexes to a manager.
func Setup(ctx context.Context, mgr ctrl.Manager, guard Guard, clock Clock) error {
	index := mgr.GetFieldIndexer()
	if err := index.IndexField(ctx, &v1alpha1.ApprovalRequest{}, IndexCredential, func(o client.Object) []string {
		if r, ok := o.(*v1alpha1.ApprovalRequest); ok {
			return []string{r.Spec.CredentialRef.UID}
		}
		return nil
	}); err != nil {
		return err
	}
	if err := index.IndexField(ctx, &v1alpha1.ApprovalDecision{}, IndexRequest, func(o client.Object) []string {
		if d, ok := o.(*v1alpha1.ApprovalDecision); ok {
			return []string{d.Spec.RequestRef.UID}
		}
		return nil
	}); err != nil {
		return err
	}
	r := &Reconciler{Client: mgr.GetClient(), Guard: guard, Clock: clock}
	return ctrl.NewControllerManagedBy(mgr).
		Named("approvalrequest").
		For(&v1alpha1.ApprovalRequest{}).
		Watches(&v1alpha1.ApprovalDecision{}, handler.EnqueueRequestsFromMapFunc(decided)).
		Watches(&v1alpha1.APIClientCredential{}, handler.EnqueueRequestsFromMapFunc(r.open)).
		Complete(r)
}

// CredentialAsked maps a request to the credential that it is about.
func CredentialAsked(_ context.Context, o client.Object) []reconcile.Request {
	r, ok := o.(*v1alpha1.ApprovalRequest)
	if !ok {
		return nil
	}
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: r.Namespace, Name: r.Spec.CredentialRef.Name}}}
}

func decided(_ context.Context, o client.Object) []reconcile.Request {
	d, ok := o.(*v1alpha1.ApprovalDecision)
	if !ok {
		return nil
	}
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: d.Namespace, Name: d.Spec.RequestRef.Name}}}
}

// open are the requests about a credential whose record is not complete.
func (r *Reconciler) open(ctx context.Context, credential client.Object) []reconcile.Request {
	list := &v1alpha1.ApprovalRequestList{}
	if err := r.Client.List(ctx, list, client.InNamespace(credential.GetNamespace()), client.MatchingFields{IndexCredential: string(credential.GetUID())}); err != nil {
		return nil // only a cache that has not started fails, and it replays everything
	}
	var open []reconcile.Request
	for i := range list.Items {
		state := list.Items[i].Status.State
		if state == v1alpha1.ApprovalPending || state == v1alpha1.ApprovalApproved && !complete(&list.Items[i]) {
			open = append(open, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&list.Items[i])})
		}
	}
	return open
}

// Reconcile brings the record of one request up to date.
func (r *Reconciler) Reconcile(ctx context.Context, key reconcile.Request) (reconcile.Result, error) {
	request := &v1alpha1.ApprovalRequest{}
	if err := r.Client.Get(ctx, key.NamespacedName, request); err != nil || request.DeletionTimestamp != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	now := r.Clock.Now()
	spare, err := r.tooMany(ctx, request)
	if err != nil {
		return reconcile.Result{}, err
	}
	if until := request.Spec.RetainUntil; until != nil && !now.Before(until.Time) || spare {
		return reconcile.Result{}, r.forget(ctx, request)
	}
	var wait time.Duration
	if !final(request.Status.State) {
		if wait, err = r.record(ctx, request, now); err != nil {
			if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
				return reconcile.Result{RequeueAfter: again / 10}, nil
			}
			return reconcile.Result{}, err
		}
	}
	if until := request.Spec.RetainUntil; until != nil && wait == 0 {
		wait = max(until.Sub(now), time.Second)
	}
	return reconcile.Result{RequeueAfter: wait}, nil
}

// final: nothing that people say changes it any more. Who has approved may still say no.
func final(state v1alpha1.ApprovalState) bool {
	return state == v1alpha1.ApprovalRejected || state == v1alpha1.ApprovalExpired || state == v1alpha1.ApprovalObsolete
}

// record writes what the decisions come to, and returns when to look again; zero if only a
// decision changes anything.
func (r *Reconciler) record(ctx context.Context, request *v1alpha1.ApprovalRequest, now time.Time) (time.Duration, error) {
	decisions := &v1alpha1.ApprovalDecisionList{}
	if err := r.Client.List(ctx, decisions, client.InNamespace(request.Namespace), client.MatchingFields{IndexRequest: string(request.UID)}); err != nil {
		return 0, err
	}
	var since time.Time
	if len(decisions.Items) > 0 {
		var doubt string
		if since, doubt = r.Guard.Proven(ctx, request.Namespace); doubt != "" {
			log.FromContext(ctx).V(1).Info("decisions are not counted", "cause", doubt)
			return again, nil
		}
	}
	verdict := Judge(request, decisions.Items, since, now)
	after := request.DeepCopy()
	described := describe(verdict, decisions.Items)
	after.Status.State, after.Status.Decisions, after.Status.Missing = described.State, described.Decisions, described.Missing
	credential := &v1alpha1.APIClientCredential{}
	err := r.Client.Get(ctx, types.NamespacedName{Namespace: request.Namespace, Name: request.Spec.CredentialRef.Name}, credential)
	if client.IgnoreNotFound(err) != nil {
		return 0, err
	}
	if err != nil || string(credential.UID) != request.Spec.CredentialRef.UID {
		credential = nil
	}
	outcome(after, credential, now)
	// An agreement to a deletion that was taken back must not serve another one later.
	revocable := verdict.State == approval.Pending ||
		verdict.State == approval.Approved && request.Spec.Operation == v1alpha1.ApprovalDelete && credential != nil
	if revocable && obsolete(request, credential) {
		after.Status.State = v1alpha1.ApprovalObsolete
	}
	if !equality.Semantic.DeepEqual(request.Status, after.Status) {
		patch := client.MergeFromWithOptions(request, client.MergeFromWithOptimisticLock{})
		if err := r.Client.Status().Patch(ctx, after, patch, client.FieldOwner(journal.FieldManager)); err != nil {
			return 0, err
		}
		if state := after.Status.State; state != request.Status.State && state != v1alpha1.ApprovalPending {
			// The record of what is not in a namespace that may be deleted.
			log.FromContext(ctx).Info("an approval was decided", "request", request.Name, "credential", request.Spec.CredentialRef.Name,
				"operation", request.Spec.Operation, "follows", request.Spec.Follows, "demandedBy", request.Spec.ApprovalRef.Kind+"/"+request.Spec.ApprovalRef.Name,
				"requestedBy", request.Spec.RequestedBy, "state", state, "by", speakers(after.Status.Decisions))
		}
	}
	if after.Status.State == v1alpha1.ApprovalPending {
		return max(request.Spec.ExpiresAt.Sub(now), time.Second), nil
	}
	return 0, nil
}

func speakers(decisions []v1alpha1.CountedDecision) []string {
	var names []string
	for _, d := range decisions {
		names = append(names, d.Approver+": "+string(d.Decision))
	}
	return names
}

func describe(v approval.Verdict, decisions []v1alpha1.ApprovalDecision) v1alpha1.ApprovalRequestStatus {
	status := v1alpha1.ApprovalRequestStatus{State: v1alpha1.ApprovalState(v.State), Missing: v.Missing}
	for _, counted := range v.Counted[:min(len(v.Counted), shown)] {
		i := slices.IndexFunc(decisions, func(d v1alpha1.ApprovalDecision) bool { return d.Name == counted.Name })
		status.Decisions = append(status.Decisions, v1alpha1.CountedDecision{
			Name: counted.Name, Approver: counted.Approver, Decision: decisions[i].Spec.Decision, Reason: decisions[i].Spec.Reason, At: metav1.NewTime(counted.At),
		})
	}
	return status
}

// outcome writes down what was done on an approval, as far as it is known. credential is nil if
// it is gone.
func outcome(request *v1alpha1.ApprovalRequest, credential *v1alpha1.APIClientCredential, now time.Time) {
	status := &request.Status
	switch {
	case status.State != v1alpha1.ApprovalApproved || status.RevokedAt != nil:
		return
	case credential == nil:
		// It goes when its last version has ended. Of a renewal it is not known any more when.
		if request.Spec.Operation == v1alpha1.ApprovalDelete {
			status.RevokedAt = &metav1.Time{Time: now.Truncate(time.Second)}
		}
		return
	}
	for i := range credential.Status.History {
		entry := &credential.Status.History[i]
		if slices.Contains(entry.Approvals, request.Name) {
			status.Version, status.Verification, status.PublishedAt = entry.Version, entry.Verification, entry.PublishedAt.DeepCopy()
		}
		if entry.Version == request.Spec.Follows && request.Spec.Operation == v1alpha1.ApprovalRenew {
			status.RevokedAt = entry.RevokedAt.DeepCopy()
		}
	}
}

// complete: nothing is left to be written down about what was done on an approval.
func complete(request *v1alpha1.ApprovalRequest) bool {
	status := &request.Status
	return status.RevokedAt != nil || request.Spec.Operation == v1alpha1.ApprovalIssue && status.PublishedAt != nil
}

// obsolete: the credential is gone, or wants something else than what people were asked.
func obsolete(request *v1alpha1.ApprovalRequest, credential *v1alpha1.APIClientCredential) bool {
	switch {
	case credential == nil:
		return true
	case request.Spec.Operation == v1alpha1.ApprovalDelete:
		return !about(credential, request)
	}
	return credential.DeletionTimestamp != nil || credential.Generation > request.Spec.Generation || credential.Status.Version > request.Spec.Follows
}

// about reports whether a request is about the deletion that is asked for today: one that was
// taken back, or is asked for anew, is another one.
func about(credential *v1alpha1.APIClientCredential, request *v1alpha1.ApprovalRequest) bool {
	// What is no time requests nothing.
	requested, _ := time.Parse(time.RFC3339Nano, credential.Annotations[v1alpha1.AnnotationDeletionRequestedAt])
	if requested.IsZero() && credential.DeletionTimestamp == nil {
		return false
	}
	return approval.Deletion(string(credential.UID), requested, int(request.Spec.Round)).Digest() == request.Spec.Digest
}

// tooMany: the request is over, and there are too many later ones of its credential.
func (r *Reconciler) tooMany(ctx context.Context, request *v1alpha1.ApprovalRequest) (bool, error) {
	if state := request.Status.State; state != v1alpha1.ApprovalExpired && state != v1alpha1.ApprovalObsolete {
		return false, nil
	}
	list := &v1alpha1.ApprovalRequestList{}
	if err := r.Client.List(ctx, list, client.InNamespace(request.Namespace), client.UnsafeDisableDeepCopy,
		client.MatchingFields{IndexCredential: request.Spec.CredentialRef.UID}); err != nil {
		return false, err
	}
	later := 0
	for i := range list.Items {
		if list.Items[i].CreationTimestamp.After(request.CreationTimestamp.Time) {
			later++
		}
	}
	return later >= most, nil
}

// forget deletes a request after its decisions, which are nothing without it.
func (r *Reconciler) forget(ctx context.Context, request *v1alpha1.ApprovalRequest) error {
	decisions := &v1alpha1.ApprovalDecisionList{}
	if err := r.Client.List(ctx, decisions, client.InNamespace(request.Namespace), client.MatchingFields{IndexRequest: string(request.UID)}); err != nil {
		return err
	}
	for i := range decisions.Items {
		if err := client.IgnoreNotFound(r.Client.Delete(ctx, &decisions.Items[i])); err != nil {
			return err
		}
	}
	return client.IgnoreNotFound(r.Client.Delete(ctx, request, client.Preconditions{UID: &request.UID}))
}
