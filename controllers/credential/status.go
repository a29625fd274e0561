package credential

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/journal"
	"github.com/claviger-dev/claviger/internal/rotation"
	"github.com/claviger-dev/claviger/internal/upstream"
)

const (
	// trust is how long a problem without a time is believed without being looked at
	// again; watches wake the credential earlier.
	trust = 10 * time.Minute
	// newsworthy is how old an intent must be before a routine rotation that is not
	// published yet is worth a status write. Routine writes status twice: when it has
	// published and when it has retired.
	newsworthy = time.Minute
	// lateRenewal is how long a successor may be due before its absence is told.
	lateRenewal = 10 * time.Minute
	// maxVersions bounds status.versions; the newest are kept.
	maxVersions = 8
)

// project writes the status if it changed, and says when to look again.
func (r *Reconciler) project(ctx context.Context, s *scope, step rotation.Step, now time.Time) (reconcile.Result, error) {
	observed := s.observe()
	s.slots.report(s.issuer, s.uid, underWay(observed))
	if s.credential != nil {
		before := s.credential.DeepCopy()
		before.Status = r.memory.written(before, now)
		after := before.DeepCopy()
		s.describe(&after.Status, observed, step, now)
		if !equality.Semantic.DeepEqual(before.Status, after.Status) {
			r.Options.Boundary.cross(ProjectStatus, Before)
			err := r.Client.Status().Patch(ctx, after, client.MergeFrom(before), client.FieldOwner(journal.FieldManager))
			r.Options.Boundary.cross(ProjectStatus, After)
			if client.IgnoreNotFound(err) != nil {
				return giveWay(err)
			}
			r.memory.wrote(s.uid, after.ResourceVersion, now, after.Status)
			r.tellNew(s, before.Status.Conditions, after.Status.Conditions)
		}
	}
	switch {
	case !step.Until.IsZero():
		return reconcile.Result{RequeueAfter: max(step.Until.Sub(now), time.Millisecond)}, nil
	case step.Problem != nil:
		return reconcile.Result{RequeueAfter: trust}, nil
	}
	return reconcile.Result{}, nil
}

// tellNew records an event when a condition appears, after the write that made it true.
func (r *Reconciler) tellNew(s *scope, before, after []metav1.Condition) {
	appeared := func(kind string) *metav1.Condition {
		if meta.FindStatusCondition(before, kind) != nil {
			return nil
		}
		return meta.FindStatusCondition(after, kind)
	}
	if c := appeared(v1alpha1.ConditionRotationOverdue); c != nil {
		r.event(s, corev1.EventTypeWarning, "RotationOverdue", "Project", "%s", c.Message)
	}
	if c := appeared(v1alpha1.ConditionExpiringSoon); c != nil {
		r.event(s, corev1.EventTypeWarning, "ExpiringSoon", "Project", "%s", c.Message)
	}
	if c := appeared(v1alpha1.ConditionRolloutStalled); c != nil {
		r.event(s, corev1.EventTypeWarning, "RolloutStalled", "Project", "%s", c.Message)
	}
	if c := appeared(v1alpha1.ConditionLoginStalled); c != nil {
		r.event(s, corev1.EventTypeWarning, "LoginStalled", "Project", "%s", c.Message)
	}
	if c := appeared(v1alpha1.ConditionDeliveryStalled); c != nil {
		r.event(s, corev1.EventTypeWarning, "DeliveryStalled", "Project", "%s", c.Message)
	}
}

// underWay reports whether the newest version is between intent and publication.
func underWay(o rotation.Observed) bool {
	if len(o.Versions) == 0 {
		return false
	}
	v := o.Versions[len(o.Versions)-1]
	return !v.Terminating && !v.Failed && !v.OncePublished && v.Number != o.Target.Published
}

// describe computes the whole status from what was observed and decided.
func (s *scope) describe(status *v1alpha1.APIClientCredentialStatus, o rotation.Observed, step rotation.Step, now time.Time) {
	plan := rotation.Timeline(o, s.policy, now)
	status.ObservedGeneration = s.credential.Generation
	status.Version = o.Target.Published
	status.Versions = s.describeVersions(o, plan)
	status.Policy = s.policyName
	status.Consumers = s.describeConsumers(status.Consumers, o, now)
	status.Rollout = s.describeRollout(status.Rollout, o, now)
	status.Owner = s.owner(status.Owner)
	status.ManagedInstance = s.describePlace(status.ManagedInstance)
	status.DeletionApproval = v1alpha1.DeletionApproval(o.Deletion(now))
	status.History = s.describeHistory(status.History, o, now)
	status.Rotates, status.Expires, status.Binding = "never", "", nil
	if o.Target.Published != 0 {
		status.Expires = "never"
		for _, v := range o.Versions {
			if v.Number == o.Target.Published && !v.ExpiresAt.IsZero() {
				status.Expires = v.ExpiresAt.UTC().Format(time.RFC3339)
			}
		}
		status.Binding = &v1alpha1.BindingStatus{Name: s.binding(o.Target.Published)}
	}
	if !plan.RenewsAt.IsZero() {
		status.Rotates = plan.RenewsAt.UTC().Format(time.RFC3339)
	}
	s.describeConditions(&status.Conditions, o, step, now)
	s.describeUptake(status, o, now)
}

// owner is whom the upstream says that the credential belongs to; what is not known now, as after
// a restart, stays what it was.
func (s *scope) owner(before string) string {
	const longest = 320 // an address of RFC 5321
	directory, ok := s.account.Upstream.(upstream.Directory)
	if !ok {
		return before
	}
	if now := directory.OwnerOf(s.parameters); now != "" && len(now) <= longest {
		return now
	}
	return before
}

func (s *scope) describeVersions(o rotation.Observed, plan rotation.Plan) []v1alpha1.VersionStatus {
	var all []v1alpha1.VersionStatus
	for i, v := range o.Versions {
		entry := v1alpha1.VersionStatus{
			Number: v.Number, State: stateOf(v, o.Target.Published), IssuedAt: metav1.NewTime(v.IntentAt.Truncate(time.Second)), ID: s.versions[i].UpstreamName,
		}
		if own, ok := s.own[s.versions[i].Nonce]; ok && !own.Terminating {
			entry.SecretName = own.Name
		}
		if at, ok := plan.Retires[v.Number]; ok {
			retires := metav1.NewTime(at.Truncate(time.Second))
			entry.RetiresAt = &retires
		}
		all = append(all, entry)
	}
	if len(all) > maxVersions {
		all = all[len(all)-maxVersions:]
	}
	return all
}

func stateOf(v rotation.Version, published int64) v1alpha1.VersionState {
	switch {
	case v.Failed:
		return v1alpha1.VersionFailed
	case v.Terminating:
		return v1alpha1.VersionRetiring
	case v.Number == published:
		return v1alpha1.VersionPublished
	case v.EndedBy != 0:
		return v1alpha1.VersionRetiring
	case v.Number < published:
		return v1alpha1.VersionOverlapping
	}
	return v1alpha1.VersionIssuing
}

// describeConditions keeps the contract of kstatus: Reconciling and Stalled stand
// only while they are True, and never beside Ready=True.
func (s *scope) describeConditions(conditions *[]metav1.Condition, o rotation.Observed, step rotation.Step, now time.Time) {
	set := func(kind string, status metav1.ConditionStatus, p *rotation.Problem) {
		meta.SetStatusCondition(conditions, metav1.Condition{
			Type: kind, Status: status, Reason: p.Reason, Message: clip(p.Message),
			ObservedGeneration: s.credential.Generation, LastTransitionTime: metav1.NewTime(now),
		})
	}
	present := map[string]*rotation.Problem{}
	ready, why := s.ready(o, step, now)
	switch {
	case ready:
		set(v1alpha1.ConditionReady, metav1.ConditionTrue, why)
		present[v1alpha1.ConditionAttention] = s.attention(step)
		present[v1alpha1.ConditionRotating] = rotating(o, step, now)
		present[v1alpha1.ConditionExpiringSoon] = expiring(o, s.policy, step, now)
		present[v1alpha1.ConditionRotationOverdue] = overdue(o, s.policy, now)
	case why.Stalled:
		set(v1alpha1.ConditionReady, metav1.ConditionFalse, why)
		present[v1alpha1.ConditionStalled] = why
	default:
		set(v1alpha1.ConditionReady, metav1.ConditionFalse, why)
		present[v1alpha1.ConditionReconciling] = why
	}
	if s.ambiguous != "" {
		present[v1alpha1.ConditionPolicyAmbiguous] = &rotation.Problem{
			Reason: v1alpha1.ReasonPoliciesOverlap, Message: fmt.Sprintf("%s applies because it is the oldest; %s select this credential too", s.policyName, s.ambiguous),
		}
	}
	for _, kind := range []string{
		v1alpha1.ConditionReconciling, v1alpha1.ConditionStalled, v1alpha1.ConditionRotating,
		v1alpha1.ConditionAttention, v1alpha1.ConditionPolicyAmbiguous, v1alpha1.ConditionExpiringSoon,
		v1alpha1.ConditionRotationOverdue,
	} {
		if p := present[kind]; p != nil {
			set(kind, metav1.ConditionTrue, p)
		} else {
			meta.RemoveStatusCondition(conditions, kind)
		}
	}
}

// ready derives the summary: the Secret holds a version that is not known to be
// refused.
func (s *scope) ready(o rotation.Observed, step rotation.Step, now time.Time) (bool, *rotation.Problem) {
	if o.Credential.Deleting {
		if step.Problem != nil {
			return false, step.Problem
		}
		if step.Notice != nil && step.Notice.Reason == v1alpha1.ReasonApprovalPending {
			return false, step.Notice
		}
		return false, &rotation.Problem{Reason: v1alpha1.ReasonDeleting, Message: "the versions are being revoked"}
	}
	for _, v := range o.Versions {
		if v.Number != o.Target.Published {
			continue
		}
		if v.Refused {
			return false, &rotation.Problem{
				Reason: v1alpha1.ReasonPublishedRefused, Stalled: step.Problem != nil && step.Problem.Stalled,
				Message: fmt.Sprintf("version %d, which the Secret holds, is refused by the upstream (%s); %s", v.Number, v.Refusal, next(step)),
			}
		}
		if v.EndedBy != 0 {
			return false, &rotation.Problem{
				Reason: v1alpha1.ReasonReplaced, Stalled: step.Problem != nil && step.Problem.Stalled,
				Message: fmt.Sprintf("version %d, which the Secret holds, has ended at %s with the making of version %d; %s",
					v.Number, v.EndedAt.UTC().Format(time.RFC3339), v.EndedBy, next(step)),
			}
		}
		if !v.ExpiresAt.IsZero() && !now.Before(v.ExpiresAt) {
			return false, &rotation.Problem{
				Reason: v1alpha1.ReasonExpires, Stalled: step.Problem != nil && step.Problem.Stalled,
				Message: fmt.Sprintf("version %d, which the Secret holds, has expired; %s", v.Number, next(step)),
			}
		}
		return true, &rotation.Problem{
			Reason: v1alpha1.ReasonPublished, Message: fmt.Sprintf("Secret %s holds version %d", s.credential.Spec.Secret.Name, v.Number),
		}
	}
	switch {
	case step.Problem != nil:
		return false, step.Problem
	case step.Notice != nil:
		return false, step.Notice
	}
	return false, &rotation.Problem{Reason: v1alpha1.ReasonIssuing, Message: "the first version is being made"}
}

func next(step rotation.Step) string {
	if step.Problem != nil {
		return "its successor waits: " + step.Problem.Message
	}
	return "its successor is being made"
}

// attention is what does not go on behind a credential that works.
func (s *scope) attention(step rotation.Step) *rotation.Problem {
	if step.Problem != nil {
		return step.Problem
	}
	for _, name := range requests() {
		if _, issue := requestedAt(s.credential.Annotations, name); issue != nil {
			return issue
		}
	}
	return nil
}

// rotating tells of a rotation under way. What passes within seconds is not told:
// it would cost a write and nobody could read it.
func rotating(o rotation.Observed, step rotation.Step, now time.Time) *rotation.Problem {
	if step.Notice == nil {
		return nil
	}
	switch step.Notice.Reason {
	case v1alpha1.ReasonOverlap, v1alpha1.ReasonRetiring, v1alpha1.ReasonWaitingForWindow, v1alpha1.ReasonWaitingForUptake, v1alpha1.ReasonWaitingForReferences, v1alpha1.ReasonUptakeDeadlinePassed,
		v1alpha1.ReasonWaitingForLogin, v1alpha1.ReasonLoginPending, v1alpha1.ReasonWaitingForDelivery, v1alpha1.ReasonDeliveryPending, v1alpha1.ReasonProvisioning, v1alpha1.ReasonReplaced, v1alpha1.ReasonReplacementUnknown,
		v1alpha1.ReasonApprovalPending, v1alpha1.ReasonRollingOut, v1alpha1.ReasonRolloutHeld:
		return step.Notice
	case v1alpha1.ReasonIssuing, v1alpha1.ReasonVerifying:
		if newest := o.Versions[len(o.Versions)-1]; now.Sub(newest.IntentAt) >= newsworthy {
			return step.Notice
		}
	}
	return nil
}

// expiring tells that the upstream ends the published version soon and nothing has taken its
// place: a routine renewal does so within minutes and is not told.
func expiring(o rotation.Observed, p rotation.Policy, step rotation.Step, now time.Time) *rotation.Problem {
	for i := range o.Versions {
		v := &o.Versions[i]
		due := rotation.ExpiresBy(p, v)
		if v.Number != o.Target.Published || due.IsZero() || now.Before(due.Add(lateRenewal)) {
			continue
		}
		message := fmt.Sprintf("version %d expires at %s and its successor, due since %s, is not published",
			v.Number, v.ExpiresAt.UTC().Format(time.RFC3339), due.UTC().Format(time.RFC3339))
		if step.Notice != nil && step.Notice.Reason == v1alpha1.ReasonApprovalPending {
			message += ": " + step.Notice.Message // who can keep it from expiring must find himself named
		}
		return &rotation.Problem{Reason: v1alpha1.ReasonExpires, Message: message}
	}
	return nil
}

// overdue tells of a version that should be gone by now and has no successor.
func overdue(o rotation.Observed, p rotation.Policy, now time.Time) *rotation.Problem {
	at := rotation.OverdueAt(o, p)
	if at.IsZero() || now.Before(at) {
		return nil
	}
	return &rotation.Problem{
		Reason: v1alpha1.ReasonOverdue, Message: fmt.Sprintf("version %d should have been revoked at %s, and no successor was made; one is made as soon as it can be",
			o.Target.Published, at.UTC().Format(time.RFC3339)),
	}
}

// clip keeps messages within the API's limit of 32,768 characters, far below it.
func clip(text string) string {
	const limit = 1024
	if len(text) > limit {
		return text[:limit] + " …"
	}
	return text
}

// event tells what was done, after it is true. In a namespace that is being deleted
// the API server takes no events; the log has it then.
func (r *Reconciler) event(s *scope, kind, reason, action, format string, args ...any) {
	if s.credential != nil {
		r.Events.Eventf(s.credential, nil, kind, reason, action, format, args...)
	}
}
