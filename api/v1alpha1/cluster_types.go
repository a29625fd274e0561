package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// The kinds that a reference can name.
const (
	KindAPIClientCredential     = "APIClientCredential"
	KindCredentialIssuer        = "CredentialIssuer"
	KindClusterCredentialIssuer = "ClusterCredentialIssuer"
	KindRotationPolicy          = "RotationPolicy"
	KindClusterRotationPolicy   = "ClusterRotationPolicy"
)

// ClusterCredentialIssuer is an account on an upstream that several namespaces share. Its
// login stays in the operator's namespace, where the teams that use it cannot read it. Who
// may create one decides where the operator sends Secrets of its own namespace: give the
// right to administrators of the cluster only.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,shortName=ccredissuer,categories=claviger
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Upstream",type=string,JSONPath=`.status.upstream`
// +kubebuilder:printcolumn:name="Credentials",type=integer,JSONPath=`.status.credentials`
// +kubebuilder:printcolumn:name="Orphans",type=integer,JSONPath=`.status.suspectedOrphans.count`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:validation:XValidation:rule="self.metadata.name.size() <= 63",message="metadata.name must have at most 63 characters"
type ClusterCredentialIssuer struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Spec says which account, and who may use it.
	//
	// +required
	Spec ClusterCredentialIssuerSpec `json:"spec"`

	// Status says whether it works.
	//
	// +optional
	Status CredentialIssuerStatus `json:"status,omitempty"`
}

// ClusterCredentialIssuerSpec says which account, and who may use it.
type ClusterCredentialIssuerSpec struct {
	CredentialIssuerSpec `json:",inline"`

	// AllowedNamespaces are those whose credentials may use the issuer. A namespace that is
	// not among them any more gets nothing new; what it has is still revoked in the end.
	//
	// +required
	AllowedNamespaces NamespaceChoice `json:"allowedNamespaces"`
}

// NamespaceChoice chooses namespaces by name or by label; either is enough.
//
// +kubebuilder:validation:XValidation:rule="has(self.names) || has(self.selector)",message="names or selector must be set; selector {} is every namespace"
type NamespaceChoice struct {
	// Names of namespaces. Example: ["payments", "shipping"].
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=63
	Names []string `json:"names,omitempty"`

	// Selector chooses namespaces by their labels; {} chooses all. Who may label a
	// namespace decides then who uses the issuer. Example: {matchLabels: {tier: production}}.
	//
	// +optional
	Selector *metav1.LabelSelector `json:"selector,omitempty"`
}

// ClusterCredentialIssuerList is a list of ClusterCredentialIssuer.
//
// +kubebuilder:object:root=true
type ClusterCredentialIssuerList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []ClusterCredentialIssuer `json:"items"`
}

// ClusterRotationPolicy is a RotationPolicy for many namespaces. Where a RotationPolicy of
// the namespace selects a credential, that one applies.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,shortName=crotpol,categories=claviger,path=clusterrotationpolicies
// +kubebuilder:printcolumn:name="Accepted",type=string,JSONPath=`.status.conditions[?(@.type=="Accepted")].status`
// +kubebuilder:printcolumn:name="Rotate After",type=string,JSONPath=`.spec.rotateAfter`
// +kubebuilder:printcolumn:name="Overlap",type=string,JSONPath=`.spec.overlap`
// +kubebuilder:printcolumn:name="Credentials",type=integer,JSONPath=`.status.credentials`
// +kubebuilder:printcolumn:name="Not Ready",type=integer,JSONPath=`.status.notReady`
// +kubebuilder:printcolumn:name="Due",type=integer,JSONPath=`.status.due`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Accepted")].message`
// +kubebuilder:validation:XValidation:rule="self.metadata.name.size() <= 63",message="metadata.name must have at most 63 characters"
type ClusterRotationPolicy struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Spec is the policy.
	//
	// +required
	Spec ClusterRotationPolicySpec `json:"spec"`

	// Status says whether it is accepted and how many credentials it applies to.
	//
	// +optional
	Status RotationPolicyStatus `json:"status,omitempty"`
}

// ClusterRotationPolicySpec is the policy, and where it applies.
type ClusterRotationPolicySpec struct {
	RotationPolicySpec `json:",inline"`

	// NamespaceSelector chooses the namespaces, by their labels, whose credentials the policy
	// applies to: those that selector chooses, and those that name it by policyRef. {} chooses
	// all. Example: {matchLabels: {tier: production}}.
	//
	// +required
	NamespaceSelector metav1.LabelSelector `json:"namespaceSelector"`
}

// ClusterRotationPolicyList is a list of ClusterRotationPolicy.
//
// +kubebuilder:object:root=true
type ClusterRotationPolicyList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []ClusterRotationPolicy `json:"items"`
}

// Issuer is a CredentialIssuer or a ClusterCredentialIssuer.
//
// +kubebuilder:object:generate=false
type Issuer interface {
	metav1.Object
	runtime.Object
	// IssuerSpec is what both kinds have in common.
	IssuerSpec() *CredentialIssuerSpec
	// IssuerStatus is the status, to read and to write.
	IssuerStatus() *CredentialIssuerStatus
	// IssuerKind is the kind that a reference names it by.
	IssuerKind() string
	// Copy is a deep copy.
	Copy() Issuer
}

// IssuerSpec implements Issuer.
func (i *CredentialIssuer) IssuerSpec() *CredentialIssuerSpec { return &i.Spec }

// IssuerStatus implements Issuer.
func (i *CredentialIssuer) IssuerStatus() *CredentialIssuerStatus { return &i.Status }

// IssuerKind implements Issuer.
func (i *CredentialIssuer) IssuerKind() string { return KindCredentialIssuer }

// IssuerSpec implements Issuer.
func (i *ClusterCredentialIssuer) IssuerSpec() *CredentialIssuerSpec {
	return &i.Spec.CredentialIssuerSpec
}

// IssuerStatus implements Issuer.
func (i *ClusterCredentialIssuer) IssuerStatus() *CredentialIssuerStatus { return &i.Status }

// IssuerKind implements Issuer.
func (i *ClusterCredentialIssuer) IssuerKind() string { return KindClusterCredentialIssuer }

// Copy implements Issuer.
func (i *CredentialIssuer) Copy() Issuer { return i.DeepCopy() }

// Copy implements Issuer.
func (i *ClusterCredentialIssuer) Copy() Issuer { return i.DeepCopy() }

// Names reports whether a reference in the issuer's namespace, or anywhere if it is a
// cluster's, names this issuer.
func (r IssuerReference) Names(issuer Issuer) bool {
	return r.Name == issuer.GetName() && r.Cluster() == (issuer.IssuerKind() == KindClusterCredentialIssuer)
}

// Cluster reports whether a reference names an issuer of the whole cluster.
func (r IssuerReference) Cluster() bool { return r.Kind == KindClusterCredentialIssuer }

// Cluster reports whether a reference names a policy of the whole cluster.
func (r PolicyReference) Cluster() bool { return r.Kind == KindClusterRotationPolicy }

// NewIssuer returns an empty issuer of a kind; a reference without one means a
// CredentialIssuer.
func NewIssuer(kind string) Issuer {
	if kind == KindClusterCredentialIssuer {
		return &ClusterCredentialIssuer{}
	}
	return &CredentialIssuer{}
}

// Policy is a RotationPolicy or a ClusterRotationPolicy.
//
// +kubebuilder:object:generate=false
type Policy interface {
	metav1.Object
	runtime.Object
	// PolicySpec is what both kinds have in common.
	PolicySpec() *RotationPolicySpec
	// PolicyStatus is the status, to read and to write.
	PolicyStatus() *RotationPolicyStatus
	// PolicyKind is the kind that a reference names it by.
	PolicyKind() string
}

// PolicySpec implements Policy.
func (p *RotationPolicy) PolicySpec() *RotationPolicySpec { return &p.Spec }

// PolicyStatus implements Policy.
func (p *RotationPolicy) PolicyStatus() *RotationPolicyStatus { return &p.Status }

// PolicyKind implements Policy.
func (p *RotationPolicy) PolicyKind() string { return KindRotationPolicy }

// PolicySpec implements Policy.
func (p *ClusterRotationPolicy) PolicySpec() *RotationPolicySpec { return &p.Spec.RotationPolicySpec }

// PolicyStatus implements Policy.
func (p *ClusterRotationPolicy) PolicyStatus() *RotationPolicyStatus { return &p.Status }

// PolicyKind implements Policy.
func (p *ClusterRotationPolicy) PolicyKind() string { return KindClusterRotationPolicy }
