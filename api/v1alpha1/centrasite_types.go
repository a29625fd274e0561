package v1alpha1

// CentraSiteIssuer is a user of a Software AG CentraSite, over the calls that API-Portal
// makes to it.
type CentraSiteIssuer struct {
	// URL of CentraSite without a path; https. Immutable: versions are bound to it. Example:
	// "https://centrasite.acme.example".
	//
	// +required
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="isURL(self) && url(self).getScheme() in ['https', 'http'] && url(self).getHost() != '' && url(self).getEscapedPath() in ['', '/'] && url(self).getQuery().size() == 0 && !self.contains('@') && !self.contains('#')",message="url must be https://host or https://host:port without path, query or user"
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="url is immutable: make a new issuer"
	URL string `json:"url"`

	// UserID is the user that access tokens are requested for and belong to. Give the
	// operator one of its own. Immutable. Example: "svc-claviger".
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:Pattern=`^[^\s/]+$`
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="userID is immutable: make a new issuer"
	UserID string `json:"userID"`

	// TokensPath is where this release has access tokens. Default
	// "/abs/apirepository/v1/accesstokens"; release 9.10 has
	// "/abs/apirepository/accesstokens/external".
	//
	// +optional
	// +kubebuilder:default="/abs/apirepository/v1/accesstokens"
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:Pattern=`^/[A-Za-z0-9._~/-]*[A-Za-z0-9]$`
	TokensPath string `json:"tokensPath,omitempty"`

	// EventsPath is where this release has events. Default "/abs/apirepository/v1/events".
	//
	// +optional
	// +kubebuilder:default="/abs/apirepository/v1/events"
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:Pattern=`^/[A-Za-z0-9._~/-]*[A-Za-z0-9]$`
	EventsPath string `json:"eventsPath,omitempty"`

	// Approvals is the service that tells what became of an approval.
	//
	// +required
	Approvals CentraSiteApprovals `json:"approvals"`

	// Mediator is where credentials are used; each is tried there before it is published.
	//
	// +required
	Mediator CentraSiteMediator `json:"mediator"`

	// Login is the user that the operator logs in as.
	//
	// +required
	Login CentraSiteLogin `json:"login"`

	// CABundle is PEM of the certificate authorities that all addresses of this issuer are
	// verified with. Without it the system's are used. Certificates are always verified.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=65536
	// +kubebuilder:validation:XValidation:rule="self.contains('-----BEGIN CERTIFICATE-----')",message="caBundle must be PEM with at least one CERTIFICATE block"
	CABundle string `json:"caBundle,omitempty"`
}

// CentraSiteApprovals is CentraSite's Approval Service, which speaks SOAP.
type CentraSiteApprovals struct {
	// URL of the service; https. Example:
	// "https://centrasite.acme.example:53308/wsstack/services/ApprovalService".
	//
	// +required
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="isURL(self) && url(self).getScheme() in ['https', 'http'] && url(self).getHost() != '' && url(self).getQuery().size() == 0 && !self.contains('@') && !self.contains('#')",message="approvals.url must be an https URL without query or user"
	URL string `json:"url"`

	// Namespace is the targetNamespace of the WSDL that the service shows under url?wsdl.
	// It differs between releases, so there is no default.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Namespace string `json:"namespace"`
}

// CentraSiteMediator is a webMethods Mediator that CentraSite deploys credentials to.
type CentraSiteMediator struct {
	// URL of Mediator without a path; https. Versions carry it to the workloads as url.
	// Example: "https://mediator.acme.example:5555".
	//
	// +required
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="isURL(self) && url(self).getScheme() in ['https', 'http'] && url(self).getHost() != '' && url(self).getEscapedPath() in ['', '/'] && url(self).getQuery().size() == 0 && !self.contains('@') && !self.contains('#')",message="mediator.url must be https://host or https://host:port without path, query or user"
	URL string `json:"url"`

	// TokenPath is the service that gives OAuth2 access tokens. Default
	// "/rest/pub.mediator.oauth2.getOAuth2AccessToken".
	//
	// +optional
	// +kubebuilder:default="/rest/pub.mediator.oauth2.getOAuth2AccessToken"
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:Pattern=`^/[A-Za-z0-9._~:/-]*[A-Za-z0-9]$`
	TokenPath string `json:"tokenPath,omitempty"`
}

// CentraSiteLogin is how the operator logs in.
type CentraSiteLogin struct {
	// SecretRef names the Secret of this namespace with the keys username and password. Who
	// writes the issuer must be allowed to get that Secret.
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

// CentraSiteCredential asks for an API key or an OAuth2 client for one API. Each version is
// requested for an application of its own.
//
// +kubebuilder:validation:XValidation:rule="(self.type == 'OAuth2') == has(self.service)",message="service is for type OAuth2, which needs it"
// +kubebuilder:validation:XValidation:rule="self.type == 'OAuth2' || has(self.probe)",message="an API key needs a probe: a call is the only proof that it works"
// +kubebuilder:validation:XValidation:rule="self.type == 'APIKey' || !has(self.expiresAfter)",message="expiresAfter is for API keys: OAuth2 clients have no usage contract"
type CentraSiteCredential struct {
	// API is the key of the API in CentraSite. Immutable. Example:
	// "uddi:8f1c2c5e-0d5b-11e6-8a5b-d6b5bd1a4b5a".
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="api is immutable: make a new credential"
	API string `json:"api"`

	// Type: APIKey or OAuth2, which the provider of the API has chosen. Immutable.
	//
	// +required
	// +kubebuilder:validation:Enum=APIKey;OAuth2
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="type is immutable: make a new credential"
	Type string `json:"type"`

	// Service is the name of the API's virtual service, the scope that OAuth2 access tokens
	// are asked for. Only for OAuth2. Example: "OrdersVirtualService".
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Service string `json:"service,omitempty"`

	// ExpiresAfter is what the provider of the API has set as "Usage Contract Expires After"
	// there. It is not sent to CentraSite: the operator renews by it where CentraSite itself
	// does not tell when a key ends, and what CentraSite tells counts more. Default
	// Unlimited. Only for API keys. Example: "1y 4w 3d 5h 30m".
	//
	// +optional
	ExpiresAfter Interval `json:"expiresAfter,omitempty"`

	// Probe is a call that must succeed with the new credential before it is published: with
	// the key in the header x-CentraSite-APIKey, or with an access token. API keys need one.
	//
	// +optional
	Probe *CentraSiteProbe `json:"probe,omitempty"`
}

// CentraSiteProbe is one GET with the new credential.
type CentraSiteProbe struct {
	// Path below the issuer's mediator.url, with a query if need be. Any 2xx answer proves
	// the credential. Example: "/ws/OrdersVirtualService/orders?limit=1".
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:Pattern=`^/[^#\s\\]*$`
	Path string `json:"path"`
}
