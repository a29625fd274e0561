// Package approval keeps the record of what people were asked and have answered. The one
// idea: a request outlives what it is about, so it is kept by a controller of its own, which
// decides nothing: what is done on people's word is decided by the credential's controller,
// from live reads, with the function of this package that both use.
package approval

import (
	"time"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/approval"
)

// Judge counts the decisions on a request. An approval that is older than since carries
// whatever name its writer liked, so it does not count (hazard C8.4); a rejection does: it
// costs another request, and nothing that anybody could want to fake.
func Judge(request *v1alpha1.ApprovalRequest, decisions []v1alpha1.ApprovalDecision, since, now time.Time) approval.Verdict {
	r := approval.Request{
		UID: string(request.UID), Reference: approval.Reference(request.Spec.ApprovalRef), Digest: request.Spec.Digest,
		Quorum: approval.Quorum(request.Spec.Quorum), Approvers: request.Spec.Approvers, Groups: request.Spec.Groups,
		ExpiresAt: request.Spec.ExpiresAt.Time, Rejected: request.Status.State == v1alpha1.ApprovalRejected,
	}
	if request.Spec.SeparationOfDuties {
		r.RequestedBy = request.Spec.RequestedBy
	}
	var counted []approval.Decision
	for i := range decisions {
		d := &decisions[i]
		approves := d.Spec.Decision == v1alpha1.Approve
		if Unproven(d, since) {
			continue
		}
		counted = append(counted, approval.Decision{
			Name: d.Name, RequestUID: d.Spec.RequestRef.UID, Reference: approval.Reference(d.Spec.ApprovalRef),
			Approver: d.Spec.Approver, Groups: d.Spec.Groups, Approves: approves, At: d.CreationTimestamp.Time,
		})
	}
	return approval.Judge(r, counted, now)
}

// Unproven reports whether the decision is an approval from before anything was proven.
func Unproven(d *v1alpha1.ApprovalDecision, since time.Time) bool {
	return d.Spec.Decision == v1alpha1.Approve && d.CreationTimestamp.Time.Before(since)
}
