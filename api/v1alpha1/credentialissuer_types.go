package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// CredentialIssuer is an account on an upstream: its address, its login and its
// limits. Who may create one decides where the operator sends the login Secrets of
// the namespace: give the right to administrators only.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=credissuer,categories=claviger
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Upstream",type=string,JSONPath=`.status.upstream`
// +kubebuilder:printcolumn:name="Credentials",type=integer,JSONPath=`.status.credentials`
// +kubebuilder:printcolumn:name="Orphans",type=integer,JSONPath=`.status.suspectedOrphans.count`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:validation:XValidation:rule="self.metadata.name.size() <= 63",message="metadata.name must have at most 63 characters"
type CredentialIssuer struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Spec says which account.
	//
	// +required
	Spec CredentialIssuerSpec `json:"spec"`

	// Status says whether it works.
	//
	// +optional
	Status CredentialIssuerStatus `json:"status,omitempty"`
}

// CredentialIssuerSpec says which account.
//
// +kubebuilder:validation:XValidation:rule="[has(self.centraSite), has(self.cloudFoundry), has(self.ibmAPIConnect), has(self.sapNeo), has(self.sapServiceManager), has(self.venafi), has(self.webMethodsGateway), has(self.webMethodsPortal)].filter(x, x).size() == 1",message="exactly one upstream must be set: centraSite, cloudFoundry, ibmAPIConnect, sapNeo, sapServiceManager, venafi, webMethodsGateway or webMethodsPortal"
// +kubebuilder:validation:XValidation:rule="has(self.centraSite) == has(oldSelf.centraSite) && has(self.cloudFoundry) == has(oldSelf.cloudFoundry) && has(self.ibmAPIConnect) == has(oldSelf.ibmAPIConnect) && has(self.sapNeo) == has(oldSelf.sapNeo) && has(self.sapServiceManager) == has(oldSelf.sapServiceManager) && has(self.venafi) == has(oldSelf.venafi) && has(self.webMethodsGateway) == has(oldSelf.webMethodsGateway) && has(self.webMethodsPortal) == has(oldSelf.webMethodsPortal)",message="the upstream of an issuer is immutable: make a new issuer"
type CredentialIssuerSpec struct {
	// RateLimit is the budget of calls of all credentials of this issuer together. An
	// issuer of SAP Neo never makes more than 1.5 calls a second and 8 at once, whatever
	// is written here: a subaccount takes 100 a minute. One of SAP Service Manager never
	// makes more than 1.5 a second and 200 at once: a client may make 6000 an hour.
	//
	// +optional
	// +kubebuilder:default={}
	RateLimit RateLimit `json:"rateLimit,omitempty"`

	// CentraSite is a user of a Software AG CentraSite.
	//
	// +optional
	CentraSite *CentraSiteIssuer `json:"centraSite,omitempty"`

	// CloudFoundry is a user of a Cloud Foundry space, as SAP BTP has them.
	//
	// +optional
	CloudFoundry *CloudFoundryIssuer `json:"cloudFoundry,omitempty"`

	// IBMAPIConnect is an account on the platform API of an IBM API Connect v10.
	//
	// +optional
	IBMAPIConnect *IBMAPIConnectIssuer `json:"ibmAPIConnect,omitempty"`

	// SAPNeo is a platform API client of a subaccount of SAP Neo, which ends on
	// 2028-12-31.
	//
	// +optional
	SAPNeo *SAPNeoIssuer `json:"sapNeo,omitempty"`

	// SAPServiceManager is a binding of SAP Service Manager in a subaccount of SAP BTP, for keys
	// of service instances outside of Cloud Foundry. Its credentials have the member
	// cloudFoundry.
	//
	// +optional
	SAPServiceManager *SAPServiceManagerIssuer `json:"sapServiceManager,omitempty"`

	// Venafi is an account on a Venafi Trust Protection Platform.
	//
	// +optional
	Venafi *VenafiIssuer `json:"venafi,omitempty"`

	// WebMethodsGateway is a user of a webMethods API Gateway.
	//
	// +optional
	WebMethodsGateway *WebMethodsGatewayIssuer `json:"webMethodsGateway,omitempty"`

	// WebMethodsPortal is a user of a webMethods Developer Portal.
	//
	// +optional
	WebMethodsPortal *WebMethodsPortalIssuer `json:"webMethodsPortal,omitempty"`

	// Approval says what of the issuer's credentials waits for people. Default: nothing does.
	//
	// +optional
	Approval *ApprovalDemand `json:"approval,omitempty"`

	// Suspend is the kill switch of the upstream: while it is true nothing is sent
	// to it, for none of the issuer's credentials. Published Secrets are still put
	// back when somebody deletes them. Default false.
	//
	// +optional
	Suspend bool `json:"suspend,omitempty"`
}

// RateLimit is a token bucket.
type RateLimit struct {
	// PerSecond is how many calls a second are made on average. Default 10.
	//
	// +optional
	// +kubebuilder:default=10
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=10000
	PerSecond int32 `json:"perSecond,omitempty"`

	// Burst is how many calls may be made at once after a pause. Default 20.
	//
	// +optional
	// +kubebuilder:default=20
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=10000
	Burst int32 `json:"burst,omitempty"`
}

// IBMAPIConnectIssuer is an account on the platform API.
type IBMAPIConnectIssuer struct {
	// URL of the platform API without a path; https. Immutable: versions are bound
	// to it. Example: "https://platform.apic.example".
	//
	// +required
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="isURL(self) && url(self).getScheme() in ['https', 'http'] && url(self).getHost() != '' && url(self).getEscapedPath() in ['', '/'] && url(self).getQuery().size() == 0 && !self.contains('@') && !self.contains('#')",message="url must be https://host or https://host:port without path, query or user"
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="url is immutable: make a new issuer"
	URL string `json:"url"`

	// ProviderOrg is the name or id of the provider organisation. Immutable.
	// Example: "acme".
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:Pattern=`^[^/?#%\s]+$`
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="providerOrg is immutable: make a new issuer"
	ProviderOrg string `json:"providerOrg"`

	// Catalog is the name or id of the catalog. Immutable. Example: "production".
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:Pattern=`^[^/?#%\s]+$`
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="catalog is immutable: make a new issuer"
	Catalog string `json:"catalog"`

	// Login is how the operator logs in. The account needs the rights
	// consumer-org:view, app:view:all and app:manage:all in the catalog.
	//
	// +required
	Login IBMAPIConnectLogin `json:"login"`

	// GatewayURL is the base address of the API gateway; credentials with a probe
	// need it. https. Example: "https://api.acme.example/production".
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="isURL(self) && url(self).getScheme() in ['https', 'http'] && url(self).getHost() != '' && url(self).getQuery().size() == 0 && !self.contains('@') && !self.contains('#')",message="gatewayURL must be an https URL without query or user"
	GatewayURL string `json:"gatewayURL,omitempty"`

	// CABundle is PEM of the certificate authorities that the platform API and the
	// gateway are verified with. Without it the system's are used. Certificates are
	// always verified.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=65536
	// +kubebuilder:validation:XValidation:rule="self.contains('-----BEGIN CERTIFICATE-----')",message="caBundle must be PEM with at least one CERTIFICATE block"
	CABundle string `json:"caBundle,omitempty"`

	// MaxPerApp is how many credentials one app may have at most, those of others
	// included. API Connect itself knows no limit; set it if your organisation has
	// one. A renewal needs room for two. Without it there is no limit.
	//
	// +optional
	// +kubebuilder:validation:Minimum=2
	// +kubebuilder:validation:Maximum=1000
	MaxPerApp int32 `json:"maxPerApp,omitempty"`
}

// IBMAPIConnectLogin is how the operator logs in.
type IBMAPIConnectLogin struct {
	// Realm is the identity provider of the account, as
	// GET /api/cloud/provider/identity-providers lists them. Example:
	// "provider/default-idp-2".
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Realm string `json:"realm"`

	// Grant: Password (default) needs the keys username, password, client_id and
	// client_secret in the Secret; APIKey needs api_key, client_id and
	// client_secret. API keys must allow multiple uses, or the first login is the
	// last.
	//
	// +optional
	// +kubebuilder:default=Password
	// +kubebuilder:validation:Enum=Password;APIKey
	Grant string `json:"grant,omitempty"`

	// SecretRef names the Secret of this namespace that holds the login. Who writes
	// the issuer must be allowed to get that Secret.
	//
	// +required
	SecretRef SecretReference `json:"secretRef"`

	// CredentialRef names the APIClientCredential of this namespace that writes the Secret of
	// secretRef: then Claviger renews this login by itself. An earlier version of it is not
	// retired before the issuer has logged in with the next. It must not be made by means of
	// this issuer.
	//
	// +optional
	CredentialRef *CredentialReference `json:"credentialRef,omitempty"`
}

// CredentialIssuerStatus says whether the account works.
type CredentialIssuerStatus struct {
	// ObservedGeneration is the generation of the spec that this status is about.
	//
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// Conditions: Ready is the summary: the login works and the containers were
	// read.
	//
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// Upstream is the kind of upstream, for the list of issuers. Example:
	// "ibmAPIConnect".
	//
	// +optional
	Upstream string `json:"upstream,omitempty"`

	// Realm is what the issuer's names were resolved to: host and immutable ids.
	// It is shown for people; versions record their own.
	//
	// +optional
	Realm string `json:"realm,omitempty"`

	// Credentials is how many APIClientCredentials name this issuer.
	//
	// +optional
	Credentials int64 `json:"credentials"`

	// SuspectedOrphans are upstream objects that bear the mark of a credential here and
	// belong to no version. Late arrivals among them are revoked after the time of the
	// operator's flag --orphan-age; see docs/what-revokes.md.
	//
	// +optional
	SuspectedOrphans SuspectedOrphans `json:"suspectedOrphans,omitempty"`

	// Unresolved are versions whose creation was sent without an answer, on an upstream that
	// offers no way to find or end a single one. They stay listed until somebody who has
	// looked removes them from status. Example: a token grant that lives until it expires.
	//
	// +optional
	Unresolved SuspectedOrphans `json:"unresolved,omitempty"`
}

// SuspectedOrphans are counted, and the newest are named.
type SuspectedOrphans struct {
	// Count of all.
	//
	// +optional
	Count int64 `json:"count"`

	// Newest are at most ten of them.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=10
	Newest []SuspectedOrphan `json:"newest,omitempty"`
}

// SuspectedOrphan is one upstream object.
type SuspectedOrphan struct {
	// Name of the object upstream.
	Name string `json:"name"`

	// Container is where it lives, by immutable ids.
	//
	// +optional
	Container string `json:"container,omitempty"`

	// Reason says in a sentence why it is listed.
	//
	// +optional
	Reason string `json:"reason,omitempty"`
}

// CredentialIssuerList is a list of CredentialIssuer.
//
// +kubebuilder:object:root=true
type CredentialIssuerList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []CredentialIssuer `json:"items"`
}

// Upstream returns the name of the one-of member that is set and its value; an
// empty name if none is, which admission refuses.
func (s *CredentialIssuerSpec) Upstream() (member string, parameters any) {
	if s.CentraSite != nil {
		return "centraSite", s.CentraSite
	}
	if s.CloudFoundry != nil {
		return "cloudFoundry", s.CloudFoundry
	}
	if s.IBMAPIConnect != nil {
		return "ibmAPIConnect", s.IBMAPIConnect
	}
	if s.SAPNeo != nil {
		return "sapNeo", s.SAPNeo
	}
	if s.SAPServiceManager != nil {
		return "sapServiceManager", s.SAPServiceManager
	}
	if s.Venafi != nil {
		return "venafi", s.Venafi
	}
	if s.WebMethodsGateway != nil {
		return "webMethodsGateway", s.WebMethodsGateway
	}
	if s.WebMethodsPortal != nil {
		return "webMethodsPortal", s.WebMethodsPortal
	}
	return "", nil
}

// CredentialMember is the one-of member of the credentials that the issuer is for: its own,
// except that a key is the same for a team whoever is asked for it.
func (s *CredentialIssuerSpec) CredentialMember() string {
	if s.SAPServiceManager != nil {
		return "cloudFoundry"
	}
	member, _ := s.Upstream()
	return member
}

// LoginSecret names the Secret that holds the login; empty if there is none.
func (s *CredentialIssuerSpec) LoginSecret() string {
	if s.CentraSite != nil {
		return s.CentraSite.Login.SecretRef.Name
	}
	if s.CloudFoundry != nil {
		return s.CloudFoundry.Login.SecretRef.Name
	}
	if s.IBMAPIConnect != nil {
		return s.IBMAPIConnect.Login.SecretRef.Name
	}
	if s.SAPNeo != nil {
		return s.SAPNeo.Login.SecretRef.Name
	}
	if s.SAPServiceManager != nil {
		return s.SAPServiceManager.Login.SecretRef.Name
	}
	if s.Venafi != nil {
		return s.Venafi.Login.SecretRef.Name
	}
	if s.WebMethodsGateway != nil {
		return s.WebMethodsGateway.Login.SecretRef.Name
	}
	if s.WebMethodsPortal != nil {
		return s.WebMethodsPortal.Login.SecretRef.Name
	}
	return ""
}

// LoginCredential names the APIClientCredential that writes the login Secret; empty if none
// does.
func (s *CredentialIssuerSpec) LoginCredential() string {
	var ref *CredentialReference
	switch {
	case s.CentraSite != nil:
		ref = s.CentraSite.Login.CredentialRef
	case s.CloudFoundry != nil:
		ref = s.CloudFoundry.Login.CredentialRef
	case s.IBMAPIConnect != nil:
		ref = s.IBMAPIConnect.Login.CredentialRef
	case s.SAPNeo != nil:
		ref = s.SAPNeo.Login.CredentialRef
	case s.SAPServiceManager != nil:
		ref = s.SAPServiceManager.Login.CredentialRef
	case s.WebMethodsGateway != nil:
		ref = s.WebMethodsGateway.Login.CredentialRef
	case s.WebMethodsPortal != nil:
		ref = s.WebMethodsPortal.Login.CredentialRef
	case s.Venafi != nil:
		ref = s.Venafi.Login.CredentialRef
	}
	if ref == nil {
		return ""
	}
	return ref.Name
}

// LoginServiceAccount is the service account whose tokens are the login; nil if none are.
func (s *CredentialIssuerSpec) LoginServiceAccount() *ServiceAccountReference {
	if s.Venafi != nil {
		return s.Venafi.Login.ServiceAccountRef
	}
	return nil
}

// CABundle is the PEM of the authorities to trust; empty means the system's.
func (s *CredentialIssuerSpec) CABundle() string {
	if s.CentraSite != nil {
		return s.CentraSite.CABundle
	}
	if s.CloudFoundry != nil {
		return s.CloudFoundry.CABundle
	}
	if s.IBMAPIConnect != nil {
		return s.IBMAPIConnect.CABundle
	}
	if s.SAPNeo != nil {
		return s.SAPNeo.CABundle
	}
	if s.SAPServiceManager != nil {
		return s.SAPServiceManager.CABundle
	}
	if s.Venafi != nil {
		return s.Venafi.CABundle
	}
	if s.WebMethodsGateway != nil {
		return s.WebMethodsGateway.CABundle
	}
	if s.WebMethodsPortal != nil {
		return s.WebMethodsPortal.CABundle
	}
	return ""
}

// Budget is how many calls a second, and how many at once, the issuer may make.
func (s *CredentialIssuerSpec) Budget() (perSecond float64, burst int) {
	perSecond, burst = float64(s.RateLimit.PerSecond), int(s.RateLimit.Burst)
	var mostPerSecond float64
	var mostBurst int
	switch {
	case s.SAPNeo != nil:
		mostPerSecond, mostBurst = neoPerSecond, neoBurst
	case s.SAPServiceManager != nil:
		mostPerSecond, mostBurst = managerPerSecond, managerBurst
	default:
		return perSecond, burst
	}
	if perSecond <= 0 || perSecond > mostPerSecond {
		perSecond = mostPerSecond
	}
	if burst <= 0 || burst > mostBurst {
		burst = mostBurst
	}
	return perSecond, burst
}
