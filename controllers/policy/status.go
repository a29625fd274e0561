package policy

import (
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/claviger-dev/claviger/api/v1alpha1"
)

// lateAfter is how long a renewal may be due before it counts: one that is made at once takes
// seconds, and a fleet that is renewed on time writes nothing here.
const lateAfter = time.Minute

// tally counts the credentials of a policy.
type tally struct {
	credentials, notReady, due, renewing, failing int64
	// next is when the next one counts as due; zero if none will.
	next time.Time
	// mute is why some of the policy's notifications are not told.
	mute mute
}

// add counts one credential. Whether a renewal is due is read from its status, where whoever
// decides about it has written it, windows and the end that the upstream sets included.
func (t *tally) add(c *v1alpha1.APIClientCredential, underWay bool, now time.Time) {
	is := func(condition string) bool { return meta.IsStatusConditionTrue(c.Status.Conditions, condition) }
	t.credentials++
	if !is(v1alpha1.ConditionReady) {
		t.notReady++
	}
	rotates, err := time.Parse(time.RFC3339, c.Status.Rotates)
	if err != nil || c.DeletionTimestamp != nil { // "never", or not looked at yet
		return
	}
	if late := rotates.Add(lateAfter); now.Before(late) {
		if t.next.IsZero() || late.Before(t.next) {
			t.next = late
		}
		return
	}
	t.due++
	switch {
	case underWay:
		t.renewing++
	case is(v1alpha1.ConditionAttention), is(v1alpha1.ConditionStalled):
		t.failing++
	}
}

// again is when to count anew although no credential changed: when one becomes due, and while
// some are, because that their successors are being made is told by no change.
func (t *tally) again(now time.Time) time.Duration {
	switch {
	case t.due > 0:
		return countInterval
	case t.next.IsZero():
		return 0
	}
	return t.next.Sub(now)
}

// projected is the status that tells whether the policy is applied, to how many, and how far
// their renewal is.
func projected(policy v1alpha1.Policy, counted tally, now metav1.Time) v1alpha1.RotationPolicyStatus {
	status := *policy.PolicyStatus().DeepCopy()
	status.ObservedGeneration = policy.GetGeneration()
	status.Credentials, status.NotReady = counted.credentials, counted.notReady
	status.Due, status.Renewing, status.Failing = counted.due, counted.renewing, counted.failing
	accepted := metav1.Condition{
		Type: v1alpha1.ConditionAccepted, Status: metav1.ConditionTrue,
		Reason: v1alpha1.ReasonAccepted, Message: "The policy is applied.",
		ObservedGeneration: policy.GetGeneration(), LastTransitionTime: now,
	}
	if _, err := Compile(*policy.PolicySpec()); err != nil {
		accepted.Status, accepted.Reason = metav1.ConditionFalse, v1alpha1.ReasonInvalidPolicy
		accepted.Message = strings.ReplaceAll(err.Error(), "\n", "; ")
	}
	meta.SetStatusCondition(&status.Conditions, accepted)
	if counted.mute == (mute{}) {
		meta.RemoveStatusCondition(&status.Conditions, v1alpha1.ConditionAttention)
	} else {
		meta.SetStatusCondition(&status.Conditions, metav1.Condition{
			Type: v1alpha1.ConditionAttention, Status: metav1.ConditionTrue,
			Reason: counted.mute.reason, Message: counted.mute.message,
			ObservedGeneration: policy.GetGeneration(), LastTransitionTime: now,
		})
	}
	if counted.due == 0 {
		meta.RemoveStatusCondition(&status.Conditions, v1alpha1.ConditionRenewalsDue)
		return status
	}
	meta.SetStatusCondition(&status.Conditions, metav1.Condition{
		Type: v1alpha1.ConditionRenewalsDue, Status: metav1.ConditionTrue,
		Reason: v1alpha1.ReasonRenewedInTurn, Message: backlog(counted),
		ObservedGeneration: policy.GetGeneration(), LastTransitionTime: now,
	})
	return status
}

// backlog tells how far a fleet is.
func backlog(t tally) string {
	return fmt.Sprintf("%d of %d credentials are due: %d are being renewed, %d wait, %d do not get on. "+
		"At most five of an issuer are renewed at a time, or a tenth of its credentials if that is more",
		t.due, t.credentials, t.renewing, t.due-t.renewing-t.failing, t.failing)
}

// rest is how long nothing is counted: until countInterval after the last write, unless
// somebody changed the policy. All else that its status tells is counts, and a thousand
// credentials must not be a thousand writes (hazard M2).
func rest(policy v1alpha1.Policy, last, now time.Time) time.Duration {
	if policy.GetGeneration() != policy.PolicyStatus().ObservedGeneration {
		return 0
	}
	return max(0, last.Add(countInterval).Sub(now))
}

// moves reports whether another time of renewal can change a count: a credential that was late
// is no longer, or one becomes due earlier. A renewal in time is followed by a later one, and
// nothing is counted for it.
func moves(before, after string, now time.Time) bool {
	if before == after {
		return false
	}
	was, errWas := time.Parse(time.RFC3339, before)
	is, errIs := time.Parse(time.RFC3339, after)
	return errWas == nil && now.After(was.Add(lateAfter)) || errIs == nil && (errWas != nil || is.Before(was))
}
