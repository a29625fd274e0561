package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// CloudIntegrationTenant is a tenant of SAP Cloud Integration. It is read again and again, so
// that people see which of its deployed flows use which alias of security material, which aliases
// nobody manages, and which managed ones nobody uses. Credentials that name it in spec.deliver
// are written into it; nothing else in the tenant is changed.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=citenant,categories=claviger
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Flows",type=integer,JSONPath=`.status.counts.flows`
// +kubebuilder:printcolumn:name="Unmanaged",type=integer,JSONPath=`.status.counts.unmanaged`
// +kubebuilder:printcolumn:name="Missing",type=integer,JSONPath=`.status.counts.missing`
// +kubebuilder:printcolumn:name="Unused",type=integer,JSONPath=`.status.counts.unused`
// +kubebuilder:printcolumn:name="Incomplete",type=integer,JSONPath=`.status.counts.incomplete`
// +kubebuilder:printcolumn:name="Scanned",type=date,JSONPath=`.status.scannedAt`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:validation:XValidation:rule="self.metadata.name.size() <= 63",message="metadata.name must have at most 63 characters"
type CloudIntegrationTenant struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Spec says which tenant, and what is managed there.
	//
	// +required
	Spec CloudIntegrationTenantSpec `json:"spec"`

	// Status says what was found.
	//
	// +optional
	Status CloudIntegrationTenantStatus `json:"status,omitempty"`
}

// CloudIntegrationTenantSpec says which tenant, and what is managed there.
type CloudIntegrationTenantSpec struct {
	// URL is the tenant's address without /api/v1, as url stands in a service key of the plan
	// api; https. Immutable. Example: "https://acme.it-cpi001.cfapps.eu10.hana.ondemand.com".
	//
	// +required
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="isURL(self) && url(self).getScheme() in ['https', 'http'] && url(self).getHost() != '' && url(self).getQuery().size() == 0 && !self.contains('@') && !self.contains('#')",message="url must be https://host, with or without a path, without query or user"
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="url is immutable: make a new tenant"
	URL string `json:"url"`

	// TokenURL is where the login gets its tokens: tokenurl of the service key. Example:
	// "https://acme.authentication.eu10.hana.ondemand.com/oauth/token".
	//
	// +required
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="isURL(self) && url(self).getScheme() in ['https', 'http'] && url(self).getHost() != '' && url(self).getQuery().size() == 0 && !self.contains('@') && !self.contains('#')",message="tokenURL must be https://host/path without query or user"
	TokenURL string `json:"tokenURL"`

	// CABundle is PEM of the only authorities that are trusted. Default: the system's.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=65536
	CABundle string `json:"caBundle,omitempty"`

	// Login is the client that reads, and that writes what is delivered.
	//
	// +required
	Login CloudIntegrationLogin `json:"login"`

	// RescanAfter is the time between the end of a scan and the next one, from 10m to 168h.
	// Default 6h. A change of the spec makes a scan at once.
	//
	// +optional
	// +kubebuilder:default="6h"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('10m') && duration(self) <= duration('168h')",message="rescanAfter must be from 10m to 168h"
	RescanAfter metav1.Duration `json:"rescanAfter,omitempty"`

	// Aliases are those of the tenant's security material that are managed, by whatever brings
	// them there; those that credentials deliver need not be named. Without any, nothing is
	// reported as managed by nobody.
	//
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=256
	Aliases []ManagedAlias `json:"aliases,omitempty"`
}

// CloudIntegrationLogin is the client that reads a tenant.
type CloudIntegrationLogin struct {
	// SecretRef names a Secret of this namespace with the keys client_id and client_secret, or
	// client_id, tls.crt and tls.key. It may be one that Claviger itself rotates. Who writes the
	// tenant must be allowed to get it.
	//
	// +required
	SecretRef SecretReference `json:"secretRef"`
}

// ManagedAlias is an alias and what is behind it.
type ManagedAlias struct {
	// Name of the security material, as it is in the tenant. Example: "ACME_ORDERS".
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=150
	Name string `json:"name"`

	// Credential is the name of the APIClientCredential of this namespace whose material it is.
	// While there is none of that name, nobody manages the alias. Without the field, somebody
	// else does. Example: "orders".
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=52
	Credential string `json:"credential,omitempty"`
}

// CloudIntegrationTenantStatus says what the last whole scan found.
type CloudIntegrationTenantStatus struct {
	// ObservedGeneration is the generation of the spec that this status is about.
	//
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// Conditions: Ready says whether the tenant can be read. Attention says that something cannot be
	// delivered, that aliases are used and do not exist, are used and managed by nobody, or are managed and unused, or that not
	// all flows could be read. Stalled stands here while a person has to change something first.
	//
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// ScannedAt is when the last whole scan ended.
	//
	// +optional
	ScannedAt *metav1.Time `json:"scannedAt,omitempty"`

	// Counts are of everything that was found; the lists below are cut off.
	//
	// +optional
	Counts *AliasCounts `json:"counts,omitempty"`

	// Aliases are those that flows use or that are managed, by name; the first 256.
	//
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=256
	Aliases []AliasUse `json:"aliases,omitempty"`

	// Deliveries are what credentials of this namespace have written into the tenant, by alias;
	// the first 256.
	//
	// +optional
	// +listType=map
	// +listMapKey=alias
	// +listMapKey=credential
	// +kubebuilder:validation:MaxItems=256
	Deliveries []DeliveryStatus `json:"deliveries,omitempty"`

	// Incomplete names flows of which not everything could be read; the first 32. As long as
	// there is one, that no use of an alias was found proves nothing.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	Incomplete []IncompleteFlow `json:"incomplete,omitempty"`
}

// AliasCounts count what a scan found.
type AliasCounts struct {
	// Flows are the integration flows that are deployed.
	Flows int32 `json:"flows"`

	// Used are the aliases that flows name.
	Used int32 `json:"used"`

	// Unmanaged are those that are used, exist in the tenant and are managed by nobody.
	Unmanaged int32 `json:"unmanaged"`

	// Missing are those that are used and do not exist in the tenant.
	Missing int32 `json:"missing"`

	// Unused are those that are managed and that no flow was found to use.
	Unused int32 `json:"unused"`

	// Incomplete are the flows of which not everything could be read.
	Incomplete int32 `json:"incomplete"`

	// Dynamic are the flows that name an alias which is known only when a message runs.
	Dynamic int32 `json:"dynamic"`

	// Differing are the flows that run in another version than their design has: what was read
	// is the design.
	Differing int32 `json:"differing"`
}

// AliasUse is an alias and who uses it.
type AliasUse struct {
	// Name of the alias.
	Name string `json:"name"`

	// State is Managed, Unmanaged (used, and managed by nobody), Missing (used, and not in the
	// tenant) or Unused (managed, and no use was found).
	State AliasState `json:"state"`

	// Credential that is behind it, if the spec names one that exists.
	//
	// +optional
	Credential string `json:"credential,omitempty"`

	// FlowCount is how many flows use it.
	//
	// +optional
	FlowCount int32 `json:"flowCount,omitempty"`

	// Flows are the ids of the first 10 of them.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=10
	Flows []string `json:"flows,omitempty"`
}

// AliasState says what is to be thought of an alias.
//
// +kubebuilder:validation:Enum=Managed;Unmanaged;Missing;Unused
type AliasState string

// The states of an alias.
const (
	AliasManaged   AliasState = "Managed"
	AliasUnmanaged AliasState = "Unmanaged"
	AliasMissing   AliasState = "Missing"
	AliasUnused    AliasState = "Unused"
)

// IncompleteFlow is a flow of which not everything could be read.
type IncompleteFlow struct {
	// Flow is its id.
	Flow string `json:"flow"`

	// Why it could not be read.
	Why string `json:"why"`
}

// CloudIntegrationTenantList is a list of CloudIntegrationTenant.
//
// +kubebuilder:object:root=true
type CloudIntegrationTenantList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []CloudIntegrationTenant `json:"items"`
}
