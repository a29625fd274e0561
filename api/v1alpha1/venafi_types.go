package v1alpha1

// VenafiIssuer is an account on a Venafi Trust Protection Platform (CyberArk Certificate
// Manager, Self-Hosted).
//
// +kubebuilder:validation:XValidation:rule="self.use == 'Certificates' || (!has(self.policyDN) && !has(self.issuingCABundle))",message="policyDN and issuingCABundle are for issuers of certificates"
type VenafiIssuer struct {
	// URL of the platform without a path: /vedauth and /vedsdk are below it; https.
	// Immutable: versions are bound to it. Example: "https://tpp.acme.example".
	//
	// +required
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="isURL(self) && url(self).getScheme() in ['https', 'http'] && url(self).getHost() != '' && url(self).getEscapedPath() in ['', '/'] && url(self).getQuery().size() == 0 && !self.contains('@') && !self.contains('#')",message="url must be https://host or https://host:port without path, query or user"
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="url is immutable: make a new issuer"
	URL string `json:"url"`

	// Use says what credentials of this issuer are: Tokens, access tokens of API
	// integrations, or Certificates. Immutable. Make two issuers for both; they may share
	// a login Secret.
	//
	// +required
	// +kubebuilder:validation:Enum=Tokens;Certificates
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="use is immutable: make a new issuer"
	Use string `json:"use"`

	// ClientID is the id of the API integration that the operator itself logs in to. Give
	// it one of its own with a short access validity and no refresh tokens: each start of
	// the operator leaves a grant behind that ends by itself. Example:
	// "claviger-operator".
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	ClientID string `json:"clientID"`

	// Scope of the operator's own grants. Certificates need the default. Default
	// "certificate:manage,revoke".
	//
	// +optional
	// +kubebuilder:default="certificate:manage,revoke"
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	Scope string `json:"scope,omitempty"`

	// Login is how the operator logs in. Grants of credentials belong to the same
	// identity.
	//
	// +required
	Login VenafiLogin `json:"login"`

	// PolicyDN is the folder that listings cover, with all below it. Certificates that
	// are requested elsewhere are renewed and revoked like others and never found when
	// the journal is lost. Default `\VED\Policy`, everything; narrow it on platforms with
	// many certificates. Only for certificates. Example: `\VED\Policy\k8s`.
	//
	// +optional
	// +kubebuilder:validation:MinLength=11
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="self.startsWith('\\\\VED\\\\Policy')",message="policyDN begins with \\VED\\Policy"
	PolicyDN string `json:"policyDN,omitempty"`

	// CABundle is PEM of the certificate authorities that the platform is verified with.
	// Without it the system's are used. Certificates are always verified.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=65536
	// +kubebuilder:validation:XValidation:rule="self.contains('-----BEGIN CERTIFICATE-----')",message="caBundle must be PEM with at least one CERTIFICATE block"
	CABundle string `json:"caBundle,omitempty"`

	// IssuingCABundle is PEM of the roots that issued certificates must chain to. A
	// certificate that does not is not published. Without it the chain is checked for
	// gaps and its root is not. Only for certificates.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=65536
	// +kubebuilder:validation:XValidation:rule="self.contains('-----BEGIN CERTIFICATE-----')",message="issuingCABundle must be PEM with at least one CERTIFICATE block"
	IssuingCABundle string `json:"issuingCABundle,omitempty"`
}

// VenafiLogin is how the operator logs in.
//
// +kubebuilder:validation:XValidation:rule="self.method == 'JWT' ? has(self.serviceAccountRef) && !has(self.secretRef) && !has(self.credentialRef) : has(self.secretRef) && !has(self.serviceAccountRef)",message="method JWT needs serviceAccountRef and no secretRef; the other methods need secretRef alone"
type VenafiLogin struct {
	// Method: Certificate needs the keys tls.crt and tls.key in the Secret, as one of
	// type kubernetes.io/tls has them; Password needs username and password; JWT needs no
	// Secret, but a service account whose tokens the platform trusts.
	//
	// +required
	// +kubebuilder:validation:Enum=Certificate;Password;JWT
	Method string `json:"method"`

	// SecretRef names the Secret of this namespace that holds the login. Who writes the
	// issuer must be allowed to get that Secret. Not for JWT.
	//
	// +optional
	SecretRef SecretReference `json:"secretRef,omitzero"`

	// CredentialRef names the APIClientCredential of this namespace that writes the Secret of
	// secretRef: then Claviger renews this login by itself. An earlier version of it is not
	// retired before the issuer has logged in with the next. It must not be made by means of
	// this issuer.
	//
	// +optional
	CredentialRef *CredentialReference `json:"credentialRef,omitempty"`

	// ServiceAccountRef names the service account whose tokens are the login. Only for
	// JWT.
	//
	// +optional
	ServiceAccountRef *ServiceAccountReference `json:"serviceAccountRef,omitempty"`
}

// VenafiCredential is an access token or a certificate. Which, the issuer's use says.
//
// +kubebuilder:validation:XValidation:rule="has(self.token) != has(self.certificate)",message="set token or certificate"
// +kubebuilder:validation:XValidation:rule="has(self.token) == has(oldSelf.token)",message="token and certificate do not turn into each other: make a new credential"
type VenafiCredential struct {
	// Token asks for an access token of an API integration.
	//
	// +optional
	Token *VenafiToken `json:"token,omitempty"`

	// Certificate asks for a certificate with a key that is made by the operator.
	//
	// +optional
	Certificate *VenafiCertificate `json:"certificate,omitempty"`
}

// VenafiToken is a grant of an API integration to the issuer's identity. Each version is
// a grant of its own: refreshing one would end the token that workloads hold.
type VenafiToken struct {
	// ClientID is the id of the API integration. Give each credential one of its own:
	// then an administrator can end all grants of it, the only way to end one whose
	// token was lost. Immutable. Example: "team-a-pipeline".
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:Pattern=`^[^\s/]+$`
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="clientID is immutable: make a new credential"
	ClientID string `json:"clientID"`

	// Scope of the token. A change is for the next version. Example:
	// "certificate:manage,revoke".
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	Scope string `json:"scope"`
}

// VenafiCertificate is a certificate. Each version has an object and a key of its own.
type VenafiCertificate struct {
	// PolicyDN is the policy folder that it is requested in. Immutable. Example:
	// `\VED\Policy\k8s\team-a`.
	//
	// +required
	// +kubebuilder:validation:MinLength=12
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="self.startsWith('\\\\VED\\\\Policy\\\\')",message="policyDN begins with \\VED\\Policy\\"
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="policyDN is immutable: make a new credential"
	PolicyDN string `json:"policyDN"`

	// CommonName of the subject. Immutable: renamed objects are found by it. Example:
	// "orders.team-a.example".
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="commonName is immutable: make a new credential"
	CommonName string `json:"commonName"`

	// DNSNames are its subject alternative names. A change is for the next version.
	// Example: ["orders.team-a.example"].
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=253
	DNSNames []string `json:"dnsNames,omitempty"`

	// Organization of the subject, where the policy demands one. A change is for the
	// next version. Example: "Acme".
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	Organization string `json:"organization,omitempty"`

	// Key is the kind of the private key. A change is for the next version. Default
	// ECDSA256.
	//
	// +optional
	// +kubebuilder:default=ECDSA256
	// +kubebuilder:validation:Enum=ECDSA256;ECDSA384;RSA2048;RSA3072;RSA4096
	Key string `json:"key,omitempty"`
}
