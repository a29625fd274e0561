package v1alpha1

// The Authorization Management API of SAP Neo takes 100 calls a minute for a whole
// subaccount. A bucket of neoBurst that fills at neoPerSecond makes at most
// 8 + 60 x 1.5 = 98 calls in any minute.
const (
	neoPerSecond = 1.5
	neoBurst     = 8
)

// SAPNeoIssuer is a platform API client of a subaccount of SAP Neo. Neo ends on
// 2028-12-31.
type SAPNeoIssuer struct {
	// URL of the platform API without a path: "https://api." and the host of the
	// landscape; https. Immutable: versions are bound to it. Example:
	// "https://api.eu1.hana.ondemand.com".
	//
	// +required
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="isURL(self) && url(self).getScheme() in ['https', 'http'] && url(self).getHost() != '' && url(self).getEscapedPath() in ['', '/'] && url(self).getQuery().size() == 0 && !self.contains('@') && !self.contains('#')",message="url must be https://host or https://host:port without path, query or user"
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="url is immutable: make a new issuer"
	URL string `json:"url"`

	// Account is the technical name of the subaccount, as the cockpit shows it.
	// Immutable. Example: "a1b2c3d4e".
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9][A-Za-z0-9._-]*$`
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="account is immutable: make a new issuer"
	Account string `json:"account"`

	// TokenURL is the token endpoint of the subaccount's OAuth clients, as the cockpit
	// shows it under Security > OAuth > Branding; https. Versions carry it to the
	// workloads as tokenURL. Example:
	// "https://oauthasservices-a1b2c3d4e.eu1.hana.ondemand.com/oauth2/api/v1/token".
	//
	// +required
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="isURL(self) && url(self).getScheme() in ['https', 'http'] && url(self).getHost() != '' && url(self).getQuery().size() == 0 && !self.contains('@') && !self.contains('#')",message="tokenURL must be an https URL without query or user"
	TokenURL string `json:"tokenURL"`

	// ApplicationPath is how this landscape spells the path of an application in the
	// Authorization API: apps (default) or applications. Sources disagree; if an issuer
	// cannot find an application that is there, try the other one.
	//
	// +optional
	// +kubebuilder:default=apps
	// +kubebuilder:validation:Enum=apps;applications
	ApplicationPath string `json:"applicationPath,omitempty"`

	// Applications are what credentials of this issuer may be made for, and the roles
	// that they may ask for. The platform client itself can give any role of the
	// subaccount, so what teams may have is said here.
	//
	// +required
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	Applications []SAPNeoApplication `json:"applications"`

	// Registrar says who registers OAuth clients, for which Neo has no public API.
	//
	// +required
	Registrar SAPNeoRegistrar `json:"registrar"`

	// Login is the platform API client that the operator uses. It needs the scopes
	// readAuthorizationSettings, manageAuthorizationSettings, readApplicationRoles and
	// manageApplicationRoles.
	//
	// +required
	Login SAPNeoLogin `json:"login"`

	// CABundle is PEM of the certificate authorities that all addresses of this issuer
	// are verified with. Without it the system's are used. Certificates are always
	// verified.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=65536
	// +kubebuilder:validation:XValidation:rule="self.contains('-----BEGIN CERTIFICATE-----')",message="caBundle must be PEM with at least one CERTIFICATE block"
	CABundle string `json:"caBundle,omitempty"`
}

// SAPNeoApplication is an application that the subaccount owns or is subscribed to.
type SAPNeoApplication struct {
	// Name of the application. Example: "a1b2c3d4etmn", the tenant management node of
	// Cloud Integration.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9][A-Za-z0-9._-]*$`
	Name string `json:"name"`

	// ProviderAccount is the subaccount that provides the application, as the cockpit
	// shows it under Subscriptions; of an application of one's own, one's own. Example:
	// "avhcicf".
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9][A-Za-z0-9._-]*$`
	ProviderAccount string `json:"providerAccount"`

	// Roles that credentials may ask for. Each is read in every listing, so name no
	// more than are used. Example: ["IntegrationOperationServer.read",
	// "NodeManager.read"].
	//
	// +required
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=128
	Roles []string `json:"roles"`

	// URL of the application; credentials with a probe need it, and versions carry it to
	// the workloads as url. https. Example:
	// "https://a1b2c3d4e-tmn.hci.eu1.hana.ondemand.com".
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="isURL(self) && url(self).getScheme() in ['https', 'http'] && url(self).getHost() != '' && url(self).getQuery().size() == 0 && !self.contains('@') && !self.contains('#')",message="url must be an https URL without query or user"
	URL string `json:"url,omitempty"`
}

// SAPNeoRegistrar registers and deletes OAuth clients.
//
// +kubebuilder:validation:XValidation:rule="(self.type == 'HTTP') == has(self.url)",message="url is for type HTTP, which needs it"
type SAPNeoRegistrar struct {
	// Type: Manual has a person work in the cockpit and waits until he has done it. HTTP
	// asks an endpoint of your own, whose contract is on the page of this upstream; it
	// is not an interface of SAP. Immutable.
	//
	// +required
	// +kubebuilder:validation:Enum=Manual;HTTP
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="type is immutable: make a new issuer"
	Type string `json:"type"`

	// URL of the endpoint for type HTTP; https. Its bearer token is the key
	// registrar_token of the login Secret. Example: "https://neo-clients.acme.example/v1".
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="isURL(self) && url(self).getScheme() in ['https', 'http'] && url(self).getHost() != '' && url(self).getQuery().size() == 0 && !self.contains('@') && !self.contains('#')",message="url must be an https URL without query or user"
	URL string `json:"url,omitempty"`
}

// SAPNeoLogin is how the operator logs in.
type SAPNeoLogin struct {
	// SecretRef names the Secret of this namespace with the keys client_id and
	// client_secret of the platform API client, and registrar_token for a registrar of
	// type HTTP. Who writes the issuer must be allowed to get that Secret.
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

// SAPNeoCredential asks for an OAuth client with the grant Client Credentials. Its id and
// secret are chosen by the operator.
type SAPNeoCredential struct {
	// Application that the client is for, one of the issuer's. Immutable. Example:
	// "a1b2c3d4etmn".
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9][A-Za-z0-9._-]*$`
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="application is immutable"
	Application string `json:"application"`

	// Roles of that application that the client's user gets, out of those that the issuer
	// offers. A change is for the next version. Example:
	// ["IntegrationOperationServer.read", "NodeManager.read"].
	//
	// +required
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=128
	Roles []string `json:"roles"`

	// Probe is a call of the application that must succeed with a token of the new client
	// before it is published. It is the only proof that the roles are known there. Needs
	// the application's url on the issuer. Without it a token alone is asked for.
	//
	// +optional
	Probe *SAPNeoProbe `json:"probe,omitempty"`
}

// SAPNeoProbe is one GET with a token of the new client.
type SAPNeoProbe struct {
	// Path below the application's url, with a query if need be. Any 2xx answer proves
	// the credential; 401 and 403 refuse it. Example:
	// "/api/v1/MessageProcessingLogs?$top=1".
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:Pattern=`^/[^#\s\\]*$`
	Path string `json:"path"`
}
