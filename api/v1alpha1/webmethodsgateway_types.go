package v1alpha1

// WebMethodsGatewayIssuer is a user of a webMethods API Gateway who manages applications.
type WebMethodsGatewayIssuer struct {
	// URL of the gateway's management without a path: /rest/apigateway is below it; https.
	// Immutable: versions are bound to it. Example: "https://gateway.acme.example:5543".
	//
	// +required
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="isURL(self) && url(self).getScheme() in ['https', 'http'] && url(self).getHost() != '' && url(self).getEscapedPath() in ['', '/'] && url(self).getQuery().size() == 0 && !self.contains('@') && !self.contains('#')",message="url must be https://host or https://host:port without path, query or user"
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="url is immutable: make a new issuer"
	URL string `json:"url"`

	// GatewayURL is where APIs are called: probes are below it, and versions carry it to the
	// workloads as url; https. Default: the value of url. Example:
	// "https://api.acme.example".
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="isURL(self) && url(self).getScheme() in ['https', 'http'] && url(self).getHost() != '' && url(self).getQuery().size() == 0 && !self.contains('@') && !self.contains('#')",message="gatewayURL must be an https URL without query or user"
	GatewayURL string `json:"gatewayURL,omitempty"`

	// TokenURL is the whole address of the token service, which versions of OAuth2 clients
	// carry to the workloads as tokenURL; https. Default:
	// "/invoke/pub.apigateway.oauth2/getAccessToken" below gatewayURL.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="isURL(self) && url(self).getScheme() in ['https', 'http'] && url(self).getHost() != '' && url(self).getQuery().size() == 0 && !self.contains('@') && !self.contains('#')",message="tokenURL must be an https URL without query or user"
	TokenURL string `json:"tokenURL,omitempty"`

	// AuthServerAlias is the alias of the authorization server, in the gateway's words, that
	// registers OAuth2 clients. Default "local", the gateway itself.
	//
	// +optional
	// +kubebuilder:default=local
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	AuthServerAlias string `json:"authServerAlias,omitempty"`

	// Login is the user that the operator is. It needs the privilege Manage applications.
	//
	// +required
	Login WebMethodsGatewayLogin `json:"login"`

	// CABundle is PEM of the certificate authorities that all addresses of this issuer are
	// verified with. Without it the system's are used. Certificates are always verified.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=65536
	// +kubebuilder:validation:XValidation:rule="self.contains('-----BEGIN CERTIFICATE-----')",message="caBundle must be PEM with at least one CERTIFICATE block"
	CABundle string `json:"caBundle,omitempty"`
}

// WebMethodsGatewayLogin is how the operator logs in.
type WebMethodsGatewayLogin struct {
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

// WebMethodsGatewayCredential asks for an API key or an OAuth2 client.
//
// +kubebuilder:validation:XValidation:rule="self.type == 'APIKey' ? has(self.apis) && !has(self.application) && !has(self.scopes) : has(self.application) && !has(self.apis)",message="an APIKey needs apis and has no application or scopes; an OAuth2 client needs application and has no apis"
type WebMethodsGatewayCredential struct {
	// Type: APIKey is the key of an application that the operator makes for each version.
	// OAuth2 is a client id and a secret: a strategy that the operator adds to those of an
	// application that people keep. Immutable.
	//
	// +required
	// +kubebuilder:validation:Enum=APIKey;OAuth2
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="type is immutable: make a new credential, move the workloads, delete this one"
	Type string `json:"type"`

	// APIs that the key opens. Only for type APIKey, which needs them. A change is for the
	// next version. Example: [{name: orders, version: "1.0"}].
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	APIs []WebMethodsGatewayAPI `json:"apis,omitempty"`

	// Application that the client belongs to, by its name in the gateway. It must exist, and
	// is registered to its APIs by people. Only for type OAuth2, which needs it. Immutable.
	// Example: "shop".
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="application is immutable: make a new credential, move the workloads, delete this one"
	Application string `json:"application,omitempty"`

	// Scopes that tokens of the client may have. Only for type OAuth2. A change is for the
	// next version. Default: none are named. Example: ["orders"].
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=128
	// +kubebuilder:validation:items:Pattern=`^[^\s"\\]+$`
	Scopes []string `json:"scopes,omitempty"`

	// Probe is a call of an API that must succeed with the new version before it is
	// published. It is the only proof that the gateway serves it.
	//
	// +optional
	Probe *WebMethodsGatewayProbe `json:"probe,omitempty"`
}

// WebMethodsGatewayAPI names an API of the gateway.
type WebMethodsGatewayAPI struct {
	// Name of the API. Example: "orders".
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Name string `json:"name"`

	// Version of the API; needed where the gateway has several of that name. Example: "1.0".
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	Version string `json:"version,omitempty"`
}

// WebMethodsGatewayProbe is one GET with the new version: a key in the header
// x-Gateway-APIKey, or a token of the client.
type WebMethodsGatewayProbe struct {
	// Path below the issuer's gatewayURL, with a query if need be. Any 2xx answer proves the
	// version; 401, 403 and the gateway's words for an invalid key refuse it. Example:
	// "/gateway/orders/1.0/health".
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:Pattern=`^/[^#\s\\]*$`
	Path string `json:"path"`
}
