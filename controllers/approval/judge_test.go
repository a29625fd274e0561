package approval

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/approval"
)

func TestWhatIsSaidBeforeAnythingIsProven(t *testing.T) {
	noon := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	ref := v1alpha1.ApprovalReference{Kind: "RotationPolicy", Name: "strict"}
	request := v1alpha1.ApprovalRequest{
		ObjectMeta: metav1.ObjectMeta{UID: "one"},
		Spec: v1alpha1.ApprovalRequestSpec{
			ApprovalRef: ref, Quorum: v1alpha1.QuorumAny, RequestedBy: "bob", SeparationOfDuties: true, ExpiresAt: metav1.NewTime(noon.Add(time.Hour)),
		},
	}
	say := func(who string, word v1alpha1.DecisionWord, at time.Time) v1alpha1.ApprovalDecision {
		return v1alpha1.ApprovalDecision{
			ObjectMeta: metav1.ObjectMeta{Name: who, CreationTimestamp: metav1.NewTime(at)},
			Spec:       v1alpha1.ApprovalDecisionSpec{RequestRef: v1alpha1.ObjectIdentity{UID: "one"}, ApprovalRef: ref, Approver: who, Decision: word},
		}
	}
	early, late := noon.Add(-time.Minute), noon.Add(time.Minute)
	for _, c := range []struct {
		when      string
		decisions []v1alpha1.ApprovalDecision
		change    func(*v1alpha1.ApprovalRequest)
		want      approval.State
	}{
		{"nobody has spoken", nil, nil, approval.Pending},
		{"an approval from before counts nothing (C8.4)", []v1alpha1.ApprovalDecision{say("alice", v1alpha1.Approve, early)}, nil, approval.Pending},
		{"it keeps nobody from saying it again", []v1alpha1.ApprovalDecision{say("alice", v1alpha1.Approve, early), say("alice", v1alpha1.Approve, late)}, nil, approval.Approved},
		{"a rejection from before counts", []v1alpha1.ApprovalDecision{say("alice", v1alpha1.Reject, early), say("carol", v1alpha1.Approve, late)}, nil, approval.Rejected},
		{"a rejection that was noted stays (C8.7)", []v1alpha1.ApprovalDecision{say("alice", v1alpha1.Approve, late)}, func(r *v1alpha1.ApprovalRequest) {
			r.Status.State = v1alpha1.ApprovalRejected
		}, approval.Rejected},
		{"who asked may not approve (C8.5)", []v1alpha1.ApprovalDecision{say("bob", v1alpha1.Approve, late)}, nil, approval.Pending},
		{"who asked may, where duties are not separated", []v1alpha1.ApprovalDecision{say("bob", v1alpha1.Approve, late)}, func(r *v1alpha1.ApprovalRequest) {
			r.Spec.SeparationOfDuties = false
		}, approval.Approved},
	} {
		t.Run(c.when, func(t *testing.T) {
			r := request
			if c.change != nil {
				c.change(&r)
			}
			if got := Judge(&r, c.decisions, noon, noon.Add(2*time.Minute)).State; got != c.want {
				t.Errorf("it is %s, want %s", got, c.want)
			}
		})
	}
}
