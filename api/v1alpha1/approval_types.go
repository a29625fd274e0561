package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ApprovalRequest is one operation that waits for people. Only the operator writes it, and
// its spec never changes: what was read is what is done. It has no owner, so that it outlives
// what it is about.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=apprreq,categories=claviger
// +kubebuilder:printcolumn:name="State",type=string,JSONPath=`.status.state`
// +kubebuilder:printcolumn:name="Operation",type=string,JSONPath=`.spec.operation`
// +kubebuilder:printcolumn:name="Credential",type=string,JSONPath=`.spec.credentialRef.name`
// +kubebuilder:printcolumn:name="Requested By",type=string,JSONPath=`.spec.requestedBy`
// +kubebuilder:printcolumn:name="Asked For",type=string,priority=1,JSONPath=`.spec.approvalRef.name`
// +kubebuilder:printcolumn:name="Until",type=string,JSONPath=`.spec.expiresAt`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:selectablefield:JSONPath=`.spec.credentialRef.uid`
// +kubebuilder:validation:XValidation:rule="self.spec == oldSelf.spec",message="the spec of an approval request is immutable: another operation is another request"
type ApprovalRequest struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Spec is what people are asked, as it was when they were asked.
	//
	// +required
	Spec ApprovalRequestSpec `json:"spec"`

	// Status says what they have answered.
	//
	// +optional
	Status ApprovalRequestStatus `json:"status,omitempty"`
}

// ApprovalRequestSpec is what people are asked.
type ApprovalRequestSpec struct {
	// CredentialRef is the credential that the operation is about.
	//
	// +required
	CredentialRef ObjectIdentity `json:"credentialRef"`

	// Operation is what is to be done. Retirement of a predecessor by routine is part of Renew.
	// Example: "Renew".
	//
	// +required
	Operation ApprovalOperation `json:"operation"`

	// Digest names exactly this operation: a hash of the credential's UID and generation, the
	// operation, and the version that it follows. The operation is done only while today's
	// digest is this one. Example: 64 hexadecimal digits.
	//
	// +required
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:Pattern=`^[0-9a-f]{64}$`
	Digest string `json:"digest"`

	// ApprovalRef is the issuer or the policy that demands approval. Who decides must have the
	// verb approve on it.
	//
	// +required
	ApprovalRef ApprovalReference `json:"approvalRef"`

	// Quorum is how many have to agree. Example: "Any".
	//
	// +required
	Quorum ApprovalQuorum `json:"quorum"`

	// Approvers are the user names that are asked. With groups, and without, everybody of one
	// list is asked; without any list everybody who has the verb approve is. Example:
	// ["alice@example.com"].
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=253
	Approvers []string `json:"approvers,omitempty"`

	// Groups whose members are asked. Example: ["payments-leads"].
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=253
	Groups []string `json:"groups,omitempty"`

	// RequestedBy is the user who changed the credential's spec last or asked by annotation, as
	// admission has proven; empty if that is not known. With separationOfDuties this user may
	// not approve. Example: "bob@example.com".
	//
	// +optional
	// +kubebuilder:validation:MaxLength=253
	RequestedBy string `json:"requestedBy,omitempty"`

	// SeparationOfDuties: whoever is requestedBy may not approve.
	//
	// +optional
	SeparationOfDuties bool `json:"separationOfDuties,omitempty"`

	// Generation of the credential's spec that is asked about.
	//
	// +optional
	Generation int64 `json:"generation,omitempty"`

	// Follows is the number of the version that is published when people are asked; 0 if none
	// is.
	//
	// +optional
	Follows int64 `json:"follows,omitempty"`

	// Round counts the requests about the same that nobody answered in time, from 0.
	//
	// +optional
	Round int64 `json:"round,omitempty"`

	// Workloads are those that the credential restarts for a new version, as Kind/name or
	// Kind (labels). Example: ["Deployment/billing"].
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MaxLength=512
	Workloads []string `json:"workloads,omitempty"`

	// Cause says why the operation is due now. Example: "older than 90d".
	//
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Cause string `json:"cause,omitempty"`

	// Consequence says what happens if nobody answers. Example: "version 3 expires at
	// 2026-06-01T00:00:00Z".
	//
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Consequence string `json:"consequence,omitempty"`

	// ExpiresAt is when the time to answer ends. A decision counts if it was made before.
	// Example: "2026-06-01T00:00:00Z".
	//
	// +required
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=64
	ExpiresAt metav1.Time `json:"expiresAt"`

	// RetainUntil is when the request and its decisions may be deleted; never if it is absent.
	// Example: "2027-06-01T00:00:00Z".
	//
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=64
	RetainUntil *metav1.Time `json:"retainUntil,omitempty"`
}

// ObjectIdentity is an object of the same namespace, and which one of that name.
type ObjectIdentity struct {
	// Name of the object. Example: "billing".
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`

	// UID of the object, so that nothing passes to another one that is later made under the
	// name. Example: "6f5c0e0c-5a55-4a7e-8d8f-1d7a3c1b2a90".
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	UID string `json:"uid"`
}

// ApprovalReference is an issuer or a policy that demands approval.
type ApprovalReference struct {
	// Kind of the object. Example: "ClusterRotationPolicy".
	//
	// +required
	// +kubebuilder:validation:Enum=CredentialIssuer;ClusterCredentialIssuer;RotationPolicy;ClusterRotationPolicy
	Kind string `json:"kind"`

	// Name of the object. Example: "strict".
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Name string `json:"name"`
}

// ApprovalOperation is what people are asked about.
//
// +kubebuilder:validation:Enum=Issue;Renew;Delete
type ApprovalOperation string

// The operations.
const (
	// ApprovalIssue makes the first version, or one where none works any more.
	ApprovalIssue ApprovalOperation = "Issue"
	// ApprovalRenew makes a successor, and retires the predecessor after the overlap.
	ApprovalRenew ApprovalOperation = "Renew"
	// ApprovalDelete revokes everything, because the credential is deleted.
	ApprovalDelete ApprovalOperation = "Delete"
)

// ApprovalQuorum is how many have to agree.
//
// +kubebuilder:validation:Enum=Any;All;EachGroup
type ApprovalQuorum string

// The quorums.
const (
	// QuorumAny: one of those who are asked.
	QuorumAny ApprovalQuorum = "Any"
	// QuorumAll: every listed user.
	QuorumAll ApprovalQuorum = "All"
	// QuorumEachGroup: somebody of every listed group.
	QuorumEachGroup ApprovalQuorum = "EachGroup"
)

// ApprovalState is how far a request has come.
//
// +kubebuilder:validation:Enum=Pending;Approved;Rejected;Expired;Obsolete
type ApprovalState string

// The states.
const (
	// ApprovalPending: not enough have agreed, and nobody has said no.
	ApprovalPending ApprovalState = "Pending"
	// ApprovalApproved: enough have agreed, and nobody has said no.
	ApprovalApproved ApprovalState = "Approved"
	// ApprovalRejected: somebody has said no. It stays so.
	ApprovalRejected ApprovalState = "Rejected"
	// ApprovalExpired: the time to answer is over.
	ApprovalExpired ApprovalState = "Expired"
	// ApprovalObsolete: what was asked about is not wanted any more.
	ApprovalObsolete ApprovalState = "Obsolete"
)

// ApprovalRequestStatus is what people have answered.
type ApprovalRequestStatus struct {
	// State Pending: not enough have agreed. Approved: enough have. Rejected: somebody said no,
	// which is final. Expired: the time to answer is over. Obsolete: the credential is gone, or
	// wants something else now.
	//
	// +optional
	State ApprovalState `json:"state,omitempty"`

	// Decisions are those that count, oldest first.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=256
	Decisions []CountedDecision `json:"decisions,omitempty"`

	// Missing are the users or groups whose agreement is still needed, where the quorum names
	// them.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	Missing []string `json:"missing,omitempty"`

	// Version is the number of the version that was made on it; 0 until one is published, and for
	// a deletion.
	//
	// +optional
	Version int64 `json:"version,omitempty"`

	// Verification says what was known of that version when it was published: Accepted if the
	// upstream had taken it in a trial, None if the upstream cannot be asked.
	//
	// +optional
	Verification string `json:"verification,omitempty"`

	// PublishedAt is when the Secret was first seen to hold that version.
	//
	// +optional
	PublishedAt *metav1.Time `json:"publishedAt,omitempty"`

	// RevokedAt is when the version that it follows was ended upstream; of a deletion, when the
	// last one was.
	//
	// +optional
	RevokedAt *metav1.Time `json:"revokedAt,omitempty"`
}

// CountedDecision is a decision that counts.
type CountedDecision struct {
	// Name of the ApprovalDecision.
	Name string `json:"name"`

	// Approver is the user who decided.
	Approver string `json:"approver"`

	// Decision is what the user said.
	Decision DecisionWord `json:"decision"`

	// Reason is why, in the user's words.
	//
	// +optional
	Reason string `json:"reason,omitempty"`

	// At is the API server's time of the decision.
	At metav1.Time `json:"at"`
}

// ApprovalRequestList is a list of ApprovalRequest.
//
// +kubebuilder:object:root=true
type ApprovalRequestList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []ApprovalRequest `json:"items"`
}

// ApprovalDecision is one person's answer to an ApprovalRequest. It can neither be changed
// nor deleted: a no is not withdrawn.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:shortName=apprdec,categories=claviger
// +kubebuilder:printcolumn:name="Decision",type=string,JSONPath=`.spec.decision`
// +kubebuilder:printcolumn:name="Request",type=string,JSONPath=`.spec.requestRef.name`
// +kubebuilder:printcolumn:name="Approver",type=string,JSONPath=`.spec.approver`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Reason",type=string,priority=1,JSONPath=`.spec.reason`
// +kubebuilder:selectablefield:JSONPath=`.spec.requestRef.uid`
// +kubebuilder:validation:XValidation:rule="self.spec == oldSelf.spec",message="a decision is immutable: who has second thoughts makes another one"
type ApprovalDecision struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Spec is the decision.
	//
	// +required
	Spec ApprovalDecisionSpec `json:"spec"`
}

// ApprovalDecisionSpec is the decision.
type ApprovalDecisionSpec struct {
	// RequestRef is the request that is decided: its name and its UID. A decision about
	// another request of the name does not count.
	//
	// +required
	RequestRef ObjectIdentity `json:"requestRef"`

	// ApprovalRef is spec.approvalRef of the request. The user must have the verb approve on
	// it.
	//
	// +required
	ApprovalRef ApprovalReference `json:"approvalRef"`

	// Approver is the name of the user who writes this object, as `kubectl auth whoami` says
	// it. Any other name is refused. Example: "alice@example.com".
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Approver string `json:"approver"`

	// Groups are those of the user's groups for which the user speaks. A group that the user is
	// not in is refused. Example: ["payments-leads"].
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=253
	Groups []string `json:"groups,omitempty"`

	// Decision is Approve or Reject. A single Reject rejects the request for good.
	//
	// +required
	Decision DecisionWord `json:"decision"`

	// Reason is why, for the record. It is shown in the request's status. Example: "agreed in
	// CHG-4711".
	//
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Reason string `json:"reason,omitempty"`
}

// DecisionWord is yes or no.
//
// +kubebuilder:validation:Enum=Approve;Reject
type DecisionWord string

// The words.
const (
	// Approve agrees.
	Approve DecisionWord = "Approve"
	// Reject refuses, for good.
	Reject DecisionWord = "Reject"
)

// ApprovalDecisionList is a list of ApprovalDecision.
//
// +kubebuilder:object:root=true
type ApprovalDecisionList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []ApprovalDecision `json:"items"`
}
