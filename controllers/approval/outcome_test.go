package approval

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/claviger-dev/claviger/api/v1alpha1"
)

// What was done on people's word stands beside it, as far as the credential still tells.
func TestTheOutcomeOfAnApproval(t *testing.T) {
	noon := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	published, revoked, now := metav1.NewTime(noon), metav1.NewTime(noon.Add(time.Hour)), metav1.NewTime(noon.Add(2*time.Hour))
	approved := v1alpha1.ApprovalRequestStatus{State: v1alpha1.ApprovalApproved}
	made := v1alpha1.ApprovalRequestStatus{State: v1alpha1.ApprovalApproved, Version: 2, Verification: "Accepted", PublishedAt: &published}
	over := made
	over.RevokedAt = &revoked
	deleted := approved
	deleted.RevokedAt = &now
	entries := func(predecessor *metav1.Time) *v1alpha1.APIClientCredential {
		c := &v1alpha1.APIClientCredential{}
		c.Status.History = []v1alpha1.HistoryEntry{
			{Version: 1, Approvals: []string{"another"}, PublishedAt: metav1.NewTime(noon.Add(-time.Hour)), RevokedAt: predecessor},
			{Version: 2, Approvals: []string{"this"}, Verification: "Accepted", PublishedAt: published},
		}
		return c
	}
	for name, test := range map[string]struct {
		operation  v1alpha1.ApprovalOperation
		before     v1alpha1.ApprovalRequestStatus
		credential *v1alpha1.APIClientCredential
		want       v1alpha1.ApprovalRequestStatus
		complete   bool
	}{
		"nothing yet":                      {v1alpha1.ApprovalRenew, approved, &v1alpha1.APIClientCredential{}, approved, false},
		"nothing on what was not agreed":   {v1alpha1.ApprovalRenew, v1alpha1.ApprovalRequestStatus{State: v1alpha1.ApprovalPending}, entries(nil), v1alpha1.ApprovalRequestStatus{State: v1alpha1.ApprovalPending}, false},
		"a renewal is published":           {v1alpha1.ApprovalRenew, approved, entries(nil), made, false},
		"a first version is, and done":     {v1alpha1.ApprovalIssue, approved, entries(nil), made, true},
		"the predecessor is revoked":       {v1alpha1.ApprovalRenew, made, entries(&revoked), over, true},
		"it stays when the status is lost": {v1alpha1.ApprovalRenew, over, &v1alpha1.APIClientCredential{}, over, true},
		"the credential is gone":           {v1alpha1.ApprovalDelete, approved, nil, deleted, true},
		"it is not gone yet":               {v1alpha1.ApprovalDelete, approved, &v1alpha1.APIClientCredential{}, approved, false},
		"a renewal of what is gone":        {v1alpha1.ApprovalRenew, made, nil, made, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := &v1alpha1.ApprovalRequest{Spec: v1alpha1.ApprovalRequestSpec{Operation: test.operation, Follows: 1}, Status: test.before}
			r.Name = "this"
			outcome(r, test.credential, now.Time)
			if diff := cmp.Diff(test.want, r.Status); diff != "" {
				t.Errorf("the record (-want +got):\n%s", diff)
			}
			if got := complete(r); got != test.complete {
				t.Errorf("complete is %t, want %t", got, test.complete)
			}
		})
	}
}
