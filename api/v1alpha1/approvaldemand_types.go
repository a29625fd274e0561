package v1alpha1

// ApprovalDemand says which operations wait for people, and for whom. Demands add up: what the
// issuer and every policy that chooses a credential demand, each of them must be met, and none
// of them takes away what another one wants.
//
// +kubebuilder:validation:XValidation:rule="self.quorum != 'All' || (has(self.approvers) && self.approvers.size() > 0 && !has(self.groups))",message="quorum All needs approvers, a list of user names, and no groups: who belongs to a group is not known. Over groups the quorum is EachGroup"
// +kubebuilder:validation:XValidation:rule="self.quorum != 'EachGroup' || (has(self.groups) && self.groups.size() > 0 && !has(self.approvers))",message="quorum EachGroup needs groups, and no approvers"
type ApprovalDemand struct {
	// Operations are what people are asked about. Issue makes the first version, Renew a
	// successor; the retirement of the predecessor is part of Renew. Delete ends the credential:
	// it is requested by the annotation deletion-requested-at. Default: Issue and Renew.
	// Example: ["Renew", "Delete"].
	//
	// +optional
	// +listType=set
	// +kubebuilder:default={"Issue","Renew"}
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=3
	// +kubebuilder:validation:items:Enum=Issue;Renew;Delete
	Operations []DemandedOperation `json:"operations,omitempty"`

	// Quorum Any (default): one of those who are asked agrees. All: every user in approvers
	// does. EachGroup: somebody of each of groups does. A single rejection rejects. Example:
	// "EachGroup".
	//
	// +optional
	// +kubebuilder:default=Any
	Quorum ApprovalQuorum `json:"quorum,omitempty"`

	// Approvers are the user names that are asked. Example: ["alice@example.com"].
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=253
	Approvers []string `json:"approvers,omitempty"`

	// Groups whose members are asked. Without approvers and groups everybody is asked who has
	// the verb approve on the object; with them, too, that verb is needed. Example:
	// ["payments-leads"].
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=253
	Groups []string `json:"groups,omitempty"`

	// SeparationOfDuties: who changed the credential's spec last, or asked by annotation, may
	// not approve. Then it must be known who that was: without the annotation requested-by on
	// the credential nothing is done. Default true. Example: false.
	//
	// +optional
	// +kubebuilder:default=true
	SeparationOfDuties *bool `json:"separationOfDuties,omitempty"`

	// Expiry is how long a request may be answered. When nobody has, people are asked again by
	// another request. At most a year. Default "7d".
	//
	// +optional
	// +kubebuilder:default="7d"
	// +kubebuilder:validation:XValidation:rule="self != 'Unlimited'",message="expiry cannot be Unlimited: nobody would be asked again"
	Expiry Interval `json:"expiry,omitempty"`

	// Retain is how long a request and its decisions are kept after the time to answer, as the
	// record of who agreed to what. Default "1y".
	//
	// +optional
	// +kubebuilder:default="1y"
	Retain Interval `json:"retain,omitempty"`
}

// DemandedOperation is an operation that can be made to wait for people.
type DemandedOperation string

// SeparatesDuties reports whether the user who asked may not approve.
func (d *ApprovalDemand) SeparatesDuties() bool {
	return d.SeparationOfDuties == nil || *d.SeparationOfDuties
}
