package issuer

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/journal"
)

// project tells the credentials, then writes status if it changed, then records
// events. It returns when to come again for a count that may not be written yet.
func (r *Reconciler) project(ctx context.Context, g *gathered) (time.Duration, error) {
	r.announce(g)
	rec := g.record
	if rec.outcome == nil {
		return 0, nil // A process that has just started knows less than status says.
	}
	before := *g.issuer.IssuerStatus()
	after := projected(g, metav1.NewTime(r.Options.Server.Now().Truncate(time.Second)))
	if apiequality.Semantic.DeepEqual(before, after) {
		r.tellRevoked(g)
		return 0, nil
	}
	if g.issuer.GetResourceVersion() == rec.written {
		return conflictPause, nil // The cache has not seen our own last write.
	}
	now := r.Options.Local.Now()
	if recounted := before.DeepCopy(); onlyCount(recounted, &after) {
		if next := rec.countedAt.Add(r.Options.CountInterval); now.Before(next) {
			return next.Sub(now), nil
		}
	}
	basis := g.issuer.GetResourceVersion()
	*g.issuer.IssuerStatus() = after
	if err := r.Client.Status().Update(ctx, g.issuer, client.FieldOwner(journal.FieldManager)); err != nil {
		return 0, fmt.Errorf("write the status of the issuer: %w", err)
	}
	rec.written, rec.countedAt = basis, now
	r.tellRevoked(g)
	r.tellReady(g.issuer, meta.FindStatusCondition(before.Conditions, v1alpha1.ConditionReady))
	if c := meta.FindStatusCondition(after.Conditions, v1alpha1.ConditionDeletionsHeld); c != nil && meta.FindStatusCondition(before.Conditions, c.Type) == nil && g.issuer.GetDeletionTimestamp() == nil {
		r.Recorder.Eventf(g.issuer, nil, corev1.EventTypeWarning, v1alpha1.ReasonMassDeletion, "Delete", "%s", c.Message)
	}
	return 0, nil
}

// onlyCount reports whether two different statuses differ in the count alone.
func onlyCount(before, after *v1alpha1.CredentialIssuerStatus) bool {
	before.Credentials = after.Credentials
	return apiequality.Semantic.DeepEqual(*before, *after)
}

// announce publishes the account for the credentials.
func (r *Reconciler) announce(g *gathered) {
	rec := g.record
	if rec.outcome == nil {
		return
	}
	account := Account{Issuer: rec.id, Upstream: rec.upstream, Realm: rec.realm, Terminating: g.issuer.GetDeletionTimestamp() != nil, Login: rec.provenLogin}
	state := State{Usable: rec.usable}
	switch {
	case rec.usable:
	case rec.silenced:
		state.Reason, state.Stalled = v1alpha1.ReasonIssuerSuspended, true
		state.Message = fmt.Sprintf("Issuer %s is suspended.", rec.id.Name)
	default:
		state.Reason, state.Stalled = v1alpha1.ReasonIssuerNotReady, rec.outcome.stalled
		state.Message = fmt.Sprintf("Issuer %s is not ready: %s.", rec.id.Name, rec.outcome.reason)
	}
	r.Accounts.publish(account, state, g.credentials)
	r.Accounts.flush()
}

// projected is the status that tells what is known.
func projected(g *gathered, now metav1.Time) v1alpha1.CredentialIssuerStatus {
	rec, status := g.record, *g.issuer.IssuerStatus().DeepCopy()
	status.ObservedGeneration = g.issuer.GetGeneration()
	status.Upstream = rec.id.Upstream
	status.Credentials = int64(g.credentials)
	if rec.realm != "" {
		status.Realm = rec.realm
	}
	if rec.pass.done {
		status.SuspectedOrphans = rec.pass.orphans
	}
	f := *rec.outcome
	if f.ready && rec.pass.trouble != nil {
		f = *rec.pass.trouble
	}
	if f.ready && g.issuer.GetDeletionTimestamp() != nil {
		f = finding{reason: v1alpha1.ReasonDeleting, message: "Nothing is issued any more; the issuer goes with the last version that was made with it."}
	}
	setConditions(&status.Conditions, f, g.issuer.GetGeneration(), now)
	setMissing(&status.Conditions, &rec.pass, g.issuer.GetGeneration(), now)
	setHeld(&status.Conditions, g, now)
	return status
}

// setConditions follows kstatus: Ready always stands there, Reconciling or Stalled
// only beside a Ready that is False, and never both (hazard M7).
func setConditions(conditions *[]metav1.Condition, f finding, generation int64, now metav1.Time) {
	set := func(name string, status metav1.ConditionStatus) {
		meta.SetStatusCondition(conditions, metav1.Condition{
			Type: name, Status: status, Reason: f.reason, Message: f.message,
			ObservedGeneration: generation, LastTransitionTime: now,
		})
	}
	unset := func(name string) { meta.RemoveStatusCondition(conditions, name) }
	switch {
	case f.ready:
		set(v1alpha1.ConditionReady, metav1.ConditionTrue)
		unset(v1alpha1.ConditionReconciling)
		unset(v1alpha1.ConditionStalled)
	case f.stalled:
		set(v1alpha1.ConditionReady, metav1.ConditionFalse)
		set(v1alpha1.ConditionStalled, metav1.ConditionTrue)
		unset(v1alpha1.ConditionReconciling)
	default:
		set(v1alpha1.ConditionReady, metav1.ConditionFalse)
		set(v1alpha1.ConditionReconciling, metav1.ConditionTrue)
		unset(v1alpha1.ConditionStalled)
	}
}

// setMissing says that so many versions are missing upstream that nothing is concluded for
// any: a login that lost its rights looks the same as a catalogue that was emptied (hazard C4).
func setMissing(conditions *[]metav1.Condition, p *pass, generation int64, now metav1.Time) {
	if !p.suspect {
		meta.RemoveStatusCondition(conditions, v1alpha1.ConditionMissingSuspected)
		return
	}
	meta.SetStatusCondition(conditions, metav1.Condition{
		Type: v1alpha1.ConditionMissingSuspected, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonManyMissing,
		ObservedGeneration: generation, LastTransitionTime: now,
		Message: fmt.Sprintf("%d of %d versions are missing from the upstream's listing: nothing is concluded for any of them. If they are really gone there, set the annotation %s to %d; otherwise give the login its rights back",
			p.missing, p.expected, v1alpha1.AnnotationMissingConfirmed, p.missing),
	})
}

// setHeld says that deletions are held. It does not count them: they come and go one by one, and
// each would be a write.
func setHeld(conditions *[]metav1.Condition, g *gathered, now metav1.Time) {
	if !g.held {
		meta.RemoveStatusCondition(conditions, v1alpha1.ConditionDeletionsHeld)
		return
	}
	meta.SetStatusCondition(conditions, metav1.Condition{
		Type: v1alpha1.ConditionDeletionsHeld, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonMassDeletion,
		ObservedGeneration: g.issuer.GetGeneration(), LastTransitionTime: now,
		Message: fmt.Sprintf("more credentials are being deleted at once than is plausible, and none of them is revoked. If that is meant, set the annotation %s to the time of now; "+
			"if it is not, set spec.deletionPolicy of those with reason MassDeletion to Retain", v1alpha1.AnnotationDeletionsConfirmedAt),
	})
}

// tellRevoked records an event for each late arrival that was revoked.
func (r *Reconciler) tellRevoked(g *gathered) {
	for _, name := range g.record.pass.revoked {
		r.Recorder.Eventf(g.issuer, nil, corev1.EventTypeWarning, "LateArrivalRevoked", "Sweep",
			"Revoked %s: the upstream committed it after its journal entry was given up.", name)
	}
	g.record.pass.revoked = nil
}

// tellReady records an event if the reason of Ready changed, after the write that
// made it true. before is nil if there was none.
func (r *Reconciler) tellReady(issuer v1alpha1.Issuer, before *metav1.Condition) {
	after := meta.FindStatusCondition(issuer.IssuerStatus().Conditions, v1alpha1.ConditionReady)
	if after == nil || before != nil && before.Reason == after.Reason {
		return
	}
	if issuer.GetDeletionTimestamp() != nil {
		return // Its namespace may be terminating, where no event can be written.
	}
	kind := corev1.EventTypeWarning
	if after.Status == metav1.ConditionTrue {
		kind = corev1.EventTypeNormal
	}
	r.Recorder.Eventf(issuer, nil, kind, after.Reason, "CheckLogin", "%s", after.Message)
}
