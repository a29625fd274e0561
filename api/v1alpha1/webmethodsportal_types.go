package v1alpha1

// WebMethodsPortalIssuer is a user of a webMethods Developer Portal.
type WebMethodsPortalIssuer struct {
	// URL of the portal's API with its path; https. Immutable: versions are bound to it.
	// Example: "https://portal.acme.example/portal/rest/v1".
	//
	// +required
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="isURL(self) && url(self).getScheme() in ['https', 'http'] && url(self).getHost() != '' && url(self).getQuery().size() == 0 && !self.contains('@') && !self.contains('#')",message="url must be an https URL without query or user"
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="url is immutable: make a new issuer"
	URL string `json:"url"`

	// Gateway is the API Gateway that takes the portal's credentials. Credentials with a
	// probe need it, and versions carry its address to the workloads as url.
	//
	// +optional
	Gateway *WebMethodsPortalGateway `json:"gateway,omitempty"`

	// Deletion says how an application ends. Delete (default) deletes it at once. Request
	// makes a request for its deletion, which the portal's approvers decide: for portals in
	// which deletions need an approval.
	//
	// +optional
	// +kubebuilder:default=Delete
	// +kubebuilder:validation:Enum=Delete;Request
	Deletion string `json:"deletion,omitempty"`

	// Login is the user that requests applications and owns them. Another user does not see
	// them: a login whose username changes is another place, and is refused for versions
	// that were made before.
	//
	// +required
	Login WebMethodsPortalLogin `json:"login"`

	// CABundle is PEM of the certificate authorities that the portal and the gateway are
	// verified with. Without it the system's are used. Certificates are always verified.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=65536
	// +kubebuilder:validation:XValidation:rule="self.contains('-----BEGIN CERTIFICATE-----')",message="caBundle must be PEM with at least one CERTIFICATE block"
	CABundle string `json:"caBundle,omitempty"`
}

// WebMethodsPortalGateway is where the portal's credentials are used.
type WebMethodsPortalGateway struct {
	// URL of the gateway's port for runtime calls; https. Example:
	// "https://gateway.acme.example:5543".
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="isURL(self) && url(self).getScheme() in ['https', 'http'] && url(self).getHost() != '' && url(self).getQuery().size() == 0 && !self.contains('@') && !self.contains('#')",message="url must be an https URL without query or user"
	URL string `json:"url"`

	// APIKeyHeader is the header in which the gateway expects API keys. Default:
	// "x-Gateway-APIKey".
	//
	// +optional
	// +kubebuilder:default=x-Gateway-APIKey
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9][A-Za-z0-9-]*$`
	APIKeyHeader string `json:"apiKeyHeader,omitempty"`
}

// WebMethodsPortalLogin is how the operator logs in.
type WebMethodsPortalLogin struct {
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

// WebMethodsPortalCredential asks for an application of a webMethods Developer Portal. Each
// version is an application of its own, requested anew.
type WebMethodsPortalCredential struct {
	// Type is what the workloads use: APIKey, or OAuth2 for a client id and secret with the
	// grant Client Credentials. The portal makes what the APIs ask for, so all of them must
	// ask for this one. Immutable.
	//
	// +required
	// +kubebuilder:validation:Enum=APIKey;OAuth2
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="type is immutable"
	Type string `json:"type"`

	// APIs that the application is for, by their ids in the portal, as the address of their
	// pages shows them. A change is for the next version. Example:
	// ["0d1c6f1e-8a35-4c63-9f0e-0c6b4a7d2b11"].
	//
	// +required
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=128
	// +kubebuilder:validation:items:Pattern=`^[A-Za-z0-9][A-Za-z0-9._~-]*$`
	APIs []string `json:"apis"`

	// RedirectURIs of an OAuth2 client, for portals that ask for some even where the grant
	// needs none. A change is for the next version. Default: none.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=512
	RedirectURIs []string `json:"redirectURIs,omitempty"`

	// Scope that the verification of an OAuth2 client asks a token for; versions carry it to
	// the workloads as scope. Default: none is asked for. Example: "orders.read".
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:Pattern=`^[!#-\[\]-~]+( [!#-\[\]-~]+)*$`
	Scope string `json:"scope,omitempty"`

	// Probe is a call of the gateway that must succeed with the new credential before it is
	// published. It is the only proof that the gateway takes an API key; needs gateway.url on
	// the issuer. Without it a token is asked for with an OAuth2 client, and of an API key
	// only the portal is asked.
	//
	// +optional
	Probe *WebMethodsPortalProbe `json:"probe,omitempty"`
}

// WebMethodsPortalProbe is one GET with the new credential.
type WebMethodsPortalProbe struct {
	// Path below the gateway's url, with a query if need be. Any 2xx answer proves the
	// credential; 401 and 403 refuse it. Example: "/gateway/Orders/1.0/status".
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:Pattern=`^/[^#\s\\]*$`
	Path string `json:"path"`
}
