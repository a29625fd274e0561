package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// APIClientCredential asks for a credential of an API client. Claviger creates it
// in the system that owns it, proves that it logs in, writes it to a Secret, and
// renews it under a RotationPolicy.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=apicred,categories=claviger
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Issuer",type=string,JSONPath=`.spec.issuerRef.name`
// +kubebuilder:printcolumn:name="Version",type=integer,JSONPath=`.status.version`
// +kubebuilder:printcolumn:name="Rotates",type=string,JSONPath=`.status.rotates`
// +kubebuilder:printcolumn:name="Expires",type=string,JSONPath=`.status.expires`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Secret",type=string,priority=1,JSONPath=`.spec.secret.name`
// +kubebuilder:printcolumn:name="Policy",type=string,priority=1,JSONPath=`.status.policy`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:selectablefield:JSONPath=`.spec.issuerRef.name`
// +kubebuilder:selectablefield:JSONPath=`.spec.issuerRef.kind`
// +kubebuilder:selectablefield:JSONPath=`.spec.policyRef.name`
// +kubebuilder:selectablefield:JSONPath=`.spec.secret.name`
// +kubebuilder:validation:XValidation:rule="self.metadata.name.size() <= 52 && self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",message="metadata.name must be a DNS label of at most 52 characters: names of version Secrets are made from it"
type APIClientCredential struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Spec says what is wanted.
	//
	// +required
	Spec APIClientCredentialSpec `json:"spec"`

	// Status says what is. It is a projection: losing it changes nothing.
	//
	// +optional
	Status APIClientCredentialStatus `json:"status,omitempty"`
}

// APIClientCredentialSpec says what is wanted.
//
// +kubebuilder:validation:XValidation:rule="[has(self.centraSite), has(self.cloudFoundry), has(self.ibmAPIConnect), has(self.sapNeo), has(self.venafi), has(self.webMethodsGateway), has(self.webMethodsPortal)].filter(x, x).size() == 1",message="exactly one upstream must be set: centraSite, cloudFoundry, ibmAPIConnect, sapNeo, venafi, webMethodsGateway or webMethodsPortal"
// +kubebuilder:validation:XValidation:rule="!has(self.cloudFoundry) || !has(self.cloudFoundry.managed) || self.cloudFoundry.managed.deletion != 'Delete' || self.deletionPolicy != 'Retain'",message="a managed instance whose deletion is Delete goes with its keys: deletionPolicy must be Revoke, or deletion Keep"
// +kubebuilder:validation:XValidation:rule="has(self.centraSite) == has(oldSelf.centraSite) && has(self.cloudFoundry) == has(oldSelf.cloudFoundry) && has(self.ibmAPIConnect) == has(oldSelf.ibmAPIConnect) && has(self.sapNeo) == has(oldSelf.sapNeo) && has(self.venafi) == has(oldSelf.venafi) && has(self.webMethodsGateway) == has(oldSelf.webMethodsGateway) && has(self.webMethodsPortal) == has(oldSelf.webMethodsPortal)",message="the upstream of a credential is immutable: make a new credential, move the workloads, delete this one"
//
// +kubebuilder:validation:XValidation:rule="!has(self.deliver) || self.deliver.all(d, d.as == 'KeyPair' ? has(self.cloudFoundry) || has(self.venafi) && has(self.venafi.certificate) : !has(self.venafi))",message="deliver: this upstream makes nothing that can be written so: a KeyPair needs a certificate and its key, the other forms a client id and secret"
// +kubebuilder:validation:XValidation:rule="!has(self.deliver) || !has(self.ibmAPIConnect) || self.deliver.all(d, d.as != 'OAuth2ClientCredentials' || has(d.oauth2) && has(d.oauth2.tokenServiceURL))",message="deliver: IBM API Connect tells no token endpoint: set oauth2.tokenServiceURL"
type APIClientCredentialSpec struct {
	// IssuerRef names the account that the credential is created with. Immutable:
	// a credential lives in one upstream.
	//
	// +required
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="issuerRef is immutable: make a new credential, move the workloads, delete this one"
	IssuerRef IssuerReference `json:"issuerRef"`

	// PolicyRef names the policy that says when the credential is renewed. Without
	// it the oldest RotationPolicy of the namespace whose selector matches this
	// credential's labels applies; without one the oldest ClusterRotationPolicy that
	// selects the namespace and the labels; without any nothing is due by age, and the
	// credential is renewed only on request.
	//
	// +optional
	PolicyRef *PolicyReference `json:"policyRef,omitempty"`

	// CentraSite asks for an API key or an OAuth2 client of a CentraSite. The issuer must be
	// of the same upstream.
	//
	// +optional
	CentraSite *CentraSiteCredential `json:"centraSite,omitempty"`

	// CloudFoundry asks for a service key of a Cloud Foundry space, or for the same of a
	// subaccount of SAP BTP by SAP Service Manager. The issuer must be of cloudFoundry or of
	// sapServiceManager.
	//
	// +optional
	CloudFoundry *CloudFoundryCredential `json:"cloudFoundry,omitempty"`

	// IBMAPIConnect asks for a client id and secret of an app in IBM API Connect.
	// The issuer must be of the same upstream.
	//
	// +optional
	IBMAPIConnect *IBMAPIConnectCredential `json:"ibmAPIConnect,omitempty"`

	// SAPNeo asks for an OAuth client of a subaccount of SAP Neo. The issuer must be of
	// the same upstream.
	//
	// +optional
	SAPNeo *SAPNeoCredential `json:"sapNeo,omitempty"`

	// Venafi asks for an access token of a Venafi Trust Protection Platform, or for a
	// certificate. The issuer must be of the same upstream.
	//
	// +optional
	Venafi *VenafiCredential `json:"venafi,omitempty"`

	// WebMethodsGateway asks for an API key or an OAuth2 client of a webMethods API Gateway.
	// The issuer must be of the same upstream.
	//
	// +optional
	WebMethodsGateway *WebMethodsGatewayCredential `json:"webMethodsGateway,omitempty"`

	// WebMethodsPortal asks for an application of a webMethods Developer Portal. The issuer
	// must be of the same upstream.
	//
	// +optional
	WebMethodsPortal *WebMethodsPortalCredential `json:"webMethodsPortal,omitempty"`

	// Secret is what the workloads mount.
	//
	// +required
	Secret TargetSecret `json:"secret"`

	// Rollout lists the workloads that are restarted when a new version was published, in this
	// order, each when the one before is rolled out. Until all are, the version before stays
	// valid. The first version restarts nothing. Who writes an entry must himself be allowed to
	// patch the workload, or all of its kind if it is chosen by labels. At most 16 entries.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	Rollout []RolloutTarget `json:"rollout,omitempty"`

	// Deliver lists tenants of SAP Cloud Integration that the published version is written into as
	// well. The version before is not revoked until each of them holds its successor and no flow
	// can go on with what it has read before. At most 4 entries.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=4
	// +kubebuilder:validation:XValidation:rule="self.all(d, self.exists_one(e, e.tenantRef.name == d.tenantRef.name && e.alias == d.alias))",message="an alias of a tenant can be delivered to once"
	Deliver []Delivery `json:"deliver,omitempty"`

	// Adopt takes over a credential that exists upstream already, as version 1, before anything
	// is issued: it is verified, published, renewed and revoked like one that Claviger made.
	// It is looked at only while the credential has no version; an upstream that cannot look
	// one up says so. Until it is published it is never revoked.
	//
	// +optional
	Adopt *Adoption `json:"adopt,omitempty"`

	// DeletionPolicy says what happens upstream when this object is deleted. Revoke
	// (default): every version is revoked, then the Secret is deleted. Retain: the
	// current version and the Secret stay as they are and are labelled; a
	// credential of the same name adopts them.
	//
	// +optional
	// +kubebuilder:default=Revoke
	DeletionPolicy DeletionPolicy `json:"deletionPolicy,omitempty"`

	// Protection says whether a deletion waits for pods. WhileInUse (default): with
	// deletionPolicy Revoke nothing is revoked while a pod of the namespace uses the Secret, and
	// the condition names them. None: it does not wait. It may be changed while the object is
	// being deleted.
	//
	// +optional
	// +kubebuilder:default=WhileInUse
	// +kubebuilder:validation:Enum=WhileInUse;None
	Protection Protection `json:"protection,omitempty"`

	// Suspend stops every write, here and upstream, while it is true, deletion
	// excepted: then the object stays until it is false again. Default false.
	//
	// +optional
	Suspend bool `json:"suspend,omitempty"`
}

// RolloutTarget is a workload of this namespace, or all of a kind with certain labels.
//
// +kubebuilder:validation:XValidation:rule="has(self.name) != has(self.selector)",message="a workload is named by name or chosen by selector: set exactly one of them"
type RolloutTarget struct {
	// Kind of the workload. Example: "Deployment".
	//
	// +required
	// +kubebuilder:validation:Enum=Deployment;StatefulSet;DaemonSet
	Kind string `json:"kind"`

	// Name of the workload. Example: "billing".
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`
	Name string `json:"name,omitempty"`

	// Selector chooses all workloads of the kind that bear certain labels, in the order of
	// their names; {} chooses all of the namespace. Example: {matchLabels: {uses: billing-api}}.
	//
	// +optional
	Selector *metav1.LabelSelector `json:"selector,omitempty"`
}

// Adoption names the material of a credential that exists upstream already.
type Adoption struct {
	// SecretRef names the Secret of this namespace that holds the material. If it is the Secret
	// that spec.secret.name names as well, that Secret becomes the one that Claviger keeps,
	// and what its template renders must be what it holds, or it is written anew.
	//
	// +required
	SecretRef SecretReference `json:"secretRef"`

	// ClientIDKey is the key of the Secret that holds the client id. Default "client_id".
	//
	// +optional
	// +kubebuilder:default=client_id
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	ClientIDKey string `json:"clientIDKey,omitempty"`

	// ClientSecretKey is the key that holds the client secret. Default "client_secret".
	//
	// +optional
	// +kubebuilder:default=client_secret
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	ClientSecretKey string `json:"clientSecretKey,omitempty"`
}

// IssuerReference names an issuer.
type IssuerReference struct {
	// Kind of the issuer: CredentialIssuer (default), in the same namespace, or
	// ClusterCredentialIssuer, which must allow this namespace.
	//
	// +optional
	// +kubebuilder:default=CredentialIssuer
	// +kubebuilder:validation:Enum=CredentialIssuer;ClusterCredentialIssuer
	Kind string `json:"kind,omitempty"`

	// Name of the issuer. Example: "apic".
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
}

// PolicyReference names a policy.
type PolicyReference struct {
	// Kind of the policy: RotationPolicy (default), in the same namespace, or
	// ClusterRotationPolicy, whose namespaceSelector must choose this namespace.
	//
	// +optional
	// +kubebuilder:default=RotationPolicy
	// +kubebuilder:validation:Enum=RotationPolicy;ClusterRotationPolicy
	Kind string `json:"kind,omitempty"`

	// Name of the policy. Example: "quarterly".
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
}

// IBMAPIConnectCredential names the app that the credential belongs to. Plan
// subscriptions belong to the app, so a new version may call what the old one
// could.
//
// +kubebuilder:validation:XValidation:rule="(self.naming == 'Swap') == has(self.name)",message="name is the name that naming: Swap keeps: set both or neither"
type IBMAPIConnectCredential struct {
	// ConsumerOrg is the name or id of the consumer organisation in the issuer's
	// catalog. Immutable. Example: "retail".
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:Pattern=`^[^/?#%\s]+$`
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="consumerOrg is immutable"
	ConsumerOrg string `json:"consumerOrg"`

	// App is the name or id of the application of that organisation. Immutable.
	// Example: "billing".
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:Pattern=`^[^/?#%\s]+$`
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="app is immutable"
	App string `json:"app"`

	// Naming says what the versions are called in API Connect. Versioned (default): each has
	// a name of its own that is never used again. Swap: as in IBM's own procedure the credential
	// keeps the name in name; its successor is called the same with "_new" behind it until the
	// old one is deleted, and is renamed then. Which version is which is told by the client id,
	// never by the name.
	//
	// +optional
	// +kubebuilder:default=Versioned
	// +kubebuilder:validation:Enum=Versioned;Swap
	Naming string `json:"naming,omitempty"`

	// Name that the credential keeps in API Connect with naming: Swap. Example: "billing-key".
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=120
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$`
	Name string `json:"name,omitempty"`

	// Probe is a call through the gateway that must succeed with the new
	// credential before it is published. It is the only proof that the gateways
	// know it: the management server tells them with a delay. Needs gatewayURL on
	// the issuer. Without it the management server alone is asked.
	//
	// +optional
	Probe *IBMAPIConnectProbe `json:"probe,omitempty"`
}

// IBMAPIConnectProbe is one GET with the new credential.
type IBMAPIConnectProbe struct {
	// Path below the issuer's gatewayURL. Any 2xx answer proves the credential; 401
	// and 403 refuse it; anything else proves nothing and is tried again. Example:
	// "/orders/v1/health".
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:Pattern=`^/[^?#\s\\]*$`
	Path string `json:"path"`
}

// TargetSecret is the Secret that workloads mount.
//
// +kubebuilder:validation:XValidation:rule="!has(self.template) || !has(self.template.preset) || !(self.type in ['kubernetes.io/tls', 'kubernetes.io/basic-auth', 'kubernetes.io/dockerconfigjson']) || self.template.preset == {'kubernetes.io/tls': 'TLS', 'kubernetes.io/basic-auth': 'BasicAuth', 'kubernetes.io/dockerconfigjson': 'DockerConfigJSON'}[self.type]",message="a Secret of this type needs the preset that is named after it (TLS, BasicAuth or DockerConfigJSON), or data"
// +kubebuilder:validation:XValidation:rule="!self.type.startsWith('servicebinding.io/') || has(self.template) && (has(self.template.data) || has(self.template.serviceBinding) && self.type == 'servicebinding.io/' + self.template.serviceBinding.type)",message="a Secret of type servicebinding.io/TYPE needs the preset ServiceBinding with the same type, or data"
//
// +kubebuilder:validation:XValidation:rule="!has(self.naming) || self.naming != 'Versioned' || self.name.size() <= 200",message="with naming: Versioned secret.name has at most 200 characters: the names of single versions are made from it"
type TargetSecret struct {
	// Name of the Secret in this namespace. It is created; one that exists already
	// and is not this credential's is refused before anything is issued. Immutable.
	// Example: "billing-api".
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="secret.name is immutable: workloads would keep the old Secret without notice"
	Name string `json:"name"`

	// Type of the Secret. Default Opaque. Immutable, as Kubernetes has it. A type of
	// Kubernetes' own needs the keys that it knows, which the preset of the same name has.
	// With the preset ServiceBinding it may be "servicebinding.io/" and the type of the
	// service. Example: "kubernetes.io/tls".
	//
	// +optional
	// +kubebuilder:default=Opaque
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=80
	// +kubebuilder:validation:Pattern=`^(Opaque|kubernetes\.io/(basic-auth|tls|dockerconfigjson)|servicebinding\.io/[a-z0-9]([-a-z0-9]*[a-z0-9])?)$`
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="secret.type is immutable"
	Type corev1.SecretType `json:"type,omitempty"`

	// Naming says whether a version has a name of its own, too. Stable (default): the Secret holds
	// the newest version, and workloads refer to it alone. Versioned: beside it, each version
	// stands in an immutable Secret named NAME-NUMBER-SUFFIX, such as billing-api-3-k7d2m4qa, for
	// teams whose Git names the version that a workload uses. status.binding.name says the newest
	// one's. A version is not revoked while a pod or a template refers to its Secret, and its
	// Secret is deleted before that. Versioned cannot be taken back.
	//
	// +optional
	// +kubebuilder:default=Stable
	// +kubebuilder:validation:XValidation:rule="self == oldSelf || oldSelf == 'Stable'",message="secret.naming: Versioned cannot be taken back: workloads refer to Secrets of single versions"
	Naming SecretNaming `json:"naming,omitempty"`

	// Template says which keys the Secret gets. Default: the preset ClientIDSecret.
	//
	// +optional
	Template *SecretTemplate `json:"template,omitempty"`

	// Previous keeps the version before the published one in the Secret as well, while it is
	// valid: for workloads that accept both, or try both. It is taken away before it is
	// revoked. Default: it is not kept.
	//
	// +optional
	Previous *PreviousKeys `json:"previous,omitempty"`
}

// SecretNaming says whether versions have names of their own.
//
// +kubebuilder:validation:Enum=Stable;Versioned
type SecretNaming string

// The ways of naming.
const (
	// NamingStable: one Secret holds the newest version.
	NamingStable SecretNaming = "Stable"
	// NamingVersioned: beside it each version stands in a Secret of its own.
	NamingVersioned SecretNaming = "Versioned"
)

// PreviousKeys says where the version before the published one stands.
type PreviousKeys struct {
	// Suffix that each key of the template gets. Default "_previous". Example: "_PREVIOUS",
	// for the preset Environment.
	//
	// +optional
	// +kubebuilder:default=_previous
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^[-._a-zA-Z0-9]+$`
	Suffix string `json:"suffix,omitempty"`
}

// SecretTemplate says how a version is written into the Secret. Keys that
// Claviger did not write are never touched.
//
// +kubebuilder:validation:XValidation:rule="!(has(self.preset) && has(self.data))",message="template takes either preset or data, not both"
// +kubebuilder:validation:XValidation:rule="has(self.pkcs12) == (has(self.preset) && self.preset == 'PKCS12')",message="template.pkcs12 goes with the preset PKCS12: set both or neither"
// +kubebuilder:validation:XValidation:rule="has(self.dockerConfigJSON) == (has(self.preset) && self.preset == 'DockerConfigJSON')",message="template.dockerConfigJSON goes with the preset DockerConfigJSON: set both or neither"
// +kubebuilder:validation:XValidation:rule="has(self.serviceBinding) == (has(self.preset) && self.preset == 'ServiceBinding')",message="template.serviceBinding goes with the preset ServiceBinding: set both or neither"
type SecretTemplate struct {
	// Preset is a ready layout; docs/formats.md has their keys and the materials that each
	// fits. ClientIDSecret (default): client_id and client_secret. Environment: a key such as
	// CLIENT_ID for each value, for envFrom. JSON: one key credentials.json. BasicAuth, TLS
	// and DockerConfigJSON: what Secrets of these types of Kubernetes hold. CombinedPEM: key,
	// certificate and chain in one file. PKCS12: keystore.p12. AccessToken: access-token, as
	// cert-manager's Venafi issuer reads it. SAPServiceKey: the document of a SAP service key.
	// ServiceBinding: type, provider and the other entries of the Service Binding
	// specification. One that the credential's material does not fit is refused before
	// anything is issued.
	//
	// +optional
	// +kubebuilder:validation:Enum=ClientIDSecret;Environment;JSON;BasicAuth;TLS;CombinedPEM;PKCS12;AccessToken;SAPServiceKey;DockerConfigJSON;ServiceBinding
	Preset string `json:"preset,omitempty"`

	// PKCS12 is about the file that the preset PKCS12 renders.
	//
	// +optional
	PKCS12 *PKCS12Template `json:"pkcs12,omitempty"`

	// DockerConfigJSON is about the document that the preset DockerConfigJSON renders.
	//
	// +optional
	DockerConfigJSON *DockerConfigJSONTemplate `json:"dockerConfigJSON,omitempty"`

	// ServiceBinding is about the entries that the preset ServiceBinding renders.
	//
	// +optional
	ServiceBinding *ServiceBindingTemplate `json:"serviceBinding,omitempty"`

	// Data maps a key of the Secret to a template of its value, in the language of
	// Go's text/template with the values that the upstream has, such as .clientID and .token,
	// and with functions that are all pure: see docs/formats.md. What may be missing is asked
	// for as in {{ with .url }}{{ . }}{{ end }}. At most 64 keys of 16 KiB each. Example:
	// {"API_CLIENT_ID": "{{ .clientID }}"}.
	//
	// +optional
	// +kubebuilder:validation:MinProperties=1
	// +kubebuilder:validation:MaxProperties=64
	// +kubebuilder:validation:XValidation:rule="self.all(k, k.matches('^[-._a-zA-Z0-9]{1,253}$') && self[k].size() <= 16384)",message="keys must be valid Secret keys ([-._a-zA-Z0-9], at most 253 characters) and templates at most 16384 characters"
	Data map[string]string `json:"data,omitempty"`
}

// PKCS12Template is about a PKCS#12 file.
type PKCS12Template struct {
	// PasswordSecretRef names the password of the file. Who writes the reference must be
	// allowed to get that Secret. A password that is changed is used from the next version on.
	//
	// +required
	PasswordSecretRef SecretKeyReference `json:"passwordSecretRef"`

	// Profile is how the file is encrypted. Modern2023 (default): AES-256 and HMAC-SHA-256.
	// LegacyDES: Triple DES and HMAC-SHA-1, for Java before 8u301 and Windows Server 2016.
	//
	// +optional
	// +kubebuilder:default=Modern2023
	// +kubebuilder:validation:Enum=Modern2023;LegacyDES
	Profile string `json:"profile,omitempty"`
}

// DockerConfigJSONTemplate is about a document for a container registry.
type DockerConfigJSONTemplate struct {
	// Registry is the host, with a port if need be, that the credential is for. Example:
	// "registry.example:5000".
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9][A-Za-z0-9.:/_-]*$`
	Registry string `json:"registry"`
}

// ServiceBindingTemplate is about the entries that the Service Binding specification
// demands.
type ServiceBindingTemplate struct {
	// Type of the service, by which applications find it. Example: "oauth2".
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	Type string `json:"type"`

	// Provider of the service. Default: the name of the upstream's field in spec. Example:
	// "sap".
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$`
	Provider string `json:"provider,omitempty"`
}

// DeletionPolicy says what deletion of a credential does upstream.
//
// +kubebuilder:validation:Enum=Revoke;Retain
type DeletionPolicy string

// The deletion policies.
const (
	// DeletionRevoke revokes every version, then deletes the Secret.
	DeletionRevoke DeletionPolicy = "Revoke"
	// DeletionRetain leaves the current version and the Secret as they are.
	DeletionRetain DeletionPolicy = "Retain"
)

// Protection says whether a deletion waits for pods.
type Protection string

// The protections.
const (
	// ProtectionWhileInUse waits while pods use the Secret.
	ProtectionWhileInUse Protection = "WhileInUse"
	// ProtectionNone does not.
	ProtectionNone Protection = "None"
)

// APIClientCredentialStatus says what is.
type APIClientCredentialStatus struct {
	// ObservedGeneration is the generation of the spec that this status is about.
	//
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// Conditions: Ready is the summary. Reconciling, Stalled, Rotating and the
	// others stand here only while they are true.
	//
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// Version is the number of the version that the Secret holds.
	//
	// +optional
	Version int64 `json:"version,omitempty"`

	// Versions are the versions that exist upstream or are being made, oldest
	// first, at most eight.
	//
	// +optional
	// +listType=map
	// +listMapKey=number
	// +kubebuilder:validation:MaxItems=8
	Versions []VersionStatus `json:"versions,omitempty"`

	// Rotates says when the next renewal is due, as a UTC time, or "never". A time in
	// the past says that the renewal is overdue; the conditions say why.
	//
	// +optional
	Rotates string `json:"rotates,omitempty"`

	// Expires says when the upstream ends the published version by itself, as a
	// UTC time, or "never".
	//
	// +optional
	Expires string `json:"expires,omitempty"`

	// Policy is the policy that applies, as kind/name, or "none".
	//
	// +optional
	Policy string `json:"policy,omitempty"`

	// Consumers says how many pods use the published version and how many may use an earlier
	// one. Only with a policy of uptake.mode Consumers, and since the last look, which is made
	// while a predecessor waits. Written at most once a minute.
	//
	// +optional
	Consumers *ConsumersStatus `json:"consumers,omitempty"`

	// Rollout says how far the workloads of spec.rollout are in taking up the published version,
	// as of the last look. What only moves on is written at most once a minute.
	//
	// +optional
	Rollout *RolloutStatus `json:"rollout,omitempty"`

	// Binding names the Secret as the Service Binding specification has it, so that
	// this object can be bound directly.
	//
	// +optional
	Binding *BindingStatus `json:"binding,omitempty"`

	// ManagedInstance is the service instance that was made for the credential, if the spec asks
	// for one.
	//
	// +optional
	ManagedInstance *ManagedInstanceStatus `json:"managedInstance,omitempty"`

	// Owner is the mail address of whom the upstream says that the credential belongs to, where it
	// tells: in API Connect the owner of the consumer organisation. As of the last pass over the
	// issuer. Policies mean it by owner if the annotation owner is not set. Example:
	// "jo@example.com".
	//
	// +optional
	// +kubebuilder:validation:MaxLength=320
	Owner string `json:"owner,omitempty"`

	// DeletionApproval says whether the credential may be deleted, where people must be asked.
	// Needed: set the annotation deletion-requested-at. Pending: they were asked. Approved: delete
	// it. Rejected: somebody said no; request it anew. Absent: nobody has to be asked.
	//
	// +optional
	DeletionApproval DeletionApproval `json:"deletionApproval,omitempty"`

	// History says how the versions that were published came about and ended, oldest first: the
	// newest sixteen. It is a convenience copy, which is lost with the status; the record is
	// the operator's log, and the ApprovalRequests where people were asked.
	//
	// +optional
	// +listType=map
	// +listMapKey=version
	// +kubebuilder:validation:MaxItems=16
	History []HistoryEntry `json:"history,omitempty"`
}

// HistoryEntry is the life of one version that was published.
type HistoryEntry struct {
	// Version is its number.
	Version int64 `json:"version"`

	// Cause says in a few words why it was made. Example: "older than 90d".
	//
	// +optional
	Cause string `json:"cause,omitempty"`

	// RequestedBy is the user who had changed the spec last or asked by annotation when it was
	// begun, as admission has proven; absent if that is not known. Example: "bob@example.com".
	//
	// +optional
	RequestedBy string `json:"requestedBy,omitempty"`

	// Approvals are the ApprovalRequests that people had agreed to.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	Approvals []string `json:"approvals,omitempty"`

	// Verification says what was known of it when it was published. Accepted: the upstream had
	// taken it in a trial. None: the upstream cannot be asked.
	//
	// +optional
	// +kubebuilder:validation:Enum=Accepted;None
	Verification string `json:"verification,omitempty"`

	// Replaced is there if it was made in place of the version before it, which ended with that.
	//
	// +optional
	Replaced *Replacement `json:"replaced,omitempty"`

	// IssuedAt is when it was made, by the API server's clock.
	IssuedAt metav1.Time `json:"issuedAt"`

	// PublishedAt is when the Secret was first seen to hold it.
	PublishedAt metav1.Time `json:"publishedAt"`

	// RevokedAt is when it was ended upstream; absent while it lives, and for one that was let go
	// without being revoked.
	//
	// +optional
	RevokedAt *metav1.Time `json:"revokedAt,omitempty"`
}

// Replacement is what it cost to renew a version in place, under a policy with strategy Replace.
type Replacement struct {
	// At is when the upstream had ended the version before.
	At metav1.Time `json:"at"`

	// SecretAfter is how long after that the Secret held the new one, in whole seconds, not
	// rounded down. Workloads that read the Secret at their start only need a restart beyond that.
	// Example: "2s".
	SecretAfter metav1.Duration `json:"secretAfter"`
}

// DeletionApproval is how far people have come with the deletion of a credential.
//
// +kubebuilder:validation:Enum=Needed;Pending;Approved;Rejected
type DeletionApproval string

// The answers.
const (
	// DeletionNeeded: people have to be asked, and were not.
	DeletionNeeded DeletionApproval = "Needed"
	// DeletionPending: they were asked.
	DeletionPending DeletionApproval = "Pending"
	// DeletionApproved: they have agreed.
	DeletionApproved DeletionApproval = "Approved"
	// DeletionRejected: somebody has said no.
	DeletionRejected DeletionApproval = "Rejected"
)

// VersionStatus is one version as people see it.
type VersionStatus struct {
	// Number counts the versions of the credential from 1 and is never used twice.
	Number int64 `json:"number"`

	// State: Issuing, Published, Overlapping (valid, no longer published), Retiring
	// (being revoked), Failed (never accepted; revoked).
	State VersionState `json:"state"`

	// IssuedAt is when the version was made, by the API server's clock.
	IssuedAt metav1.Time `json:"issuedAt"`

	// RetiresAt is when an overlapping version will be revoked at the earliest.
	//
	// +optional
	RetiresAt *metav1.Time `json:"retiresAt,omitempty"`

	// SecretName is the Secret of its own that the version stands in, with naming: Versioned.
	//
	// +optional
	SecretName string `json:"secretName,omitempty"`

	// ID is the name that the version has upstream, to find it there.
	//
	// +optional
	ID string `json:"id,omitempty"`
}

// VersionState is where a version is in its life.
//
// +kubebuilder:validation:Enum=Issuing;Published;Overlapping;Retiring;Failed
type VersionState string

// The states of a version.
const (
	// VersionIssuing is being made or verified.
	VersionIssuing VersionState = "Issuing"
	// VersionPublished is what the Secret holds.
	VersionPublished VersionState = "Published"
	// VersionOverlapping was published before and is still valid.
	VersionOverlapping VersionState = "Overlapping"
	// VersionRetiring is being revoked.
	VersionRetiring VersionState = "Retiring"
	// VersionFailed was never accepted and has been revoked.
	VersionFailed VersionState = "Failed"
)

// ConsumersStatus says who uses which version.
type ConsumersStatus struct {
	// Version is the published version that the counts are about.
	Version int64 `json:"version"`

	// Current is how many pods use it.
	Current int64 `json:"current"`

	// Earlier is how many pods may use an earlier version.
	Earlier int64 `json:"earlier"`

	// Behind names some of those, at most five.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=5
	Behind []string `json:"behind,omitempty"`
}

// RolloutStatus says how far workloads are.
type RolloutStatus struct {
	// Version is the published version that they take up.
	Version int64 `json:"version"`

	// Total is how many workloads there are, and Done how many have replaced all their pods.
	Total int64 `json:"total"`
	// Done counts those that have.
	Done int64 `json:"done"`

	// Workloads are those that are not done, in their order, then the others, at most sixteen.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	Workloads []WorkloadStatus `json:"workloads,omitempty"`
}

// WorkloadStatus is one workload.
type WorkloadStatus struct {
	// Kind and Name say which.
	Kind string `json:"kind"`
	// Name of the workload.
	Name string `json:"name"`

	// State: Waiting (for its turn), Rolling (it was restarted), Done, Failed (it does not get
	// on), NeverRolls (it is paused, or replaces pods only when somebody deletes them), Reverted
	// (somebody took the annotation off before it was done), Refused (the API server refuses the
	// restart), NotFound.
	State WorkloadState `json:"state"`
}

// WorkloadState is how far a workload is.
//
// +kubebuilder:validation:Enum=Waiting;Rolling;Done;Failed;NeverRolls;Reverted;Refused;NotFound
type WorkloadState string

// BindingStatus names the Secret to bind.
type BindingStatus struct {
	// Name of the Secret.
	Name string `json:"name"`
}

// APIClientCredentialList is a list of APIClientCredential.
//
// +kubebuilder:object:root=true
type APIClientCredentialList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []APIClientCredential `json:"items"`
}

// Upstream returns the name of the one-of member that is set and its value; an
// empty name if none is, which admission refuses.
func (s *APIClientCredentialSpec) Upstream() (member string, parameters any) {
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
