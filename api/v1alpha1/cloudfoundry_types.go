package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// CloudFoundryIssuer is a user of a Cloud Foundry space, as SAP BTP has them.
type CloudFoundryIssuer struct {
	// URL of the Cloud Foundry API without a path, as the cockpit shows it on the overview
	// of the subaccount; https. All other addresses are found from there. Immutable:
	// versions are bound to it. Example: "https://api.cf.eu10.hana.ondemand.com".
	//
	// +required
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="isURL(self) && url(self).getScheme() in ['https', 'http'] && url(self).getHost() != '' && url(self).getEscapedPath() in ['', '/'] && url(self).getQuery().size() == 0 && !self.contains('@') && !self.contains('#')",message="url must be https://host or https://host:port without path, query or user"
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="url is immutable: make a new issuer"
	URL string `json:"url"`

	// Organization is the name of the Cloud Foundry organization. Immutable. Example:
	// "acme-dev".
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="organization is immutable: make a new issuer"
	Organization string `json:"organization"`

	// Space is the name of the space whose service instances credentials may have keys of,
	// all of them. Immutable. Example: "integration".
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="space is immutable: make a new issuer"
	Space string `json:"space"`

	// Login is how the operator logs in. It needs the role Space Developer in the space.
	//
	// +required
	Login CloudFoundryLogin `json:"login"`

	// ManagedInstances are the service instances that credentials may have made and changed,
	// with their roles. Who may write credentials that use the issuer gets these powers, so
	// without it there are none. Default: none. Example: [{offering: it-rt, plans: [api],
	// roles: [MonitoringDataRead]}].
	//
	// +optional
	// +listType=map
	// +listMapKey=offering
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	ManagedInstances []ManagedInstanceAllowance `json:"managedInstances,omitempty"`

	// CABundle is PEM of the certificate authorities that all addresses of this issuer, and
	// those that keys name, are verified with. Without it the system's are used.
	// Certificates are always verified.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=65536
	// +kubebuilder:validation:XValidation:rule="self.contains('-----BEGIN CERTIFICATE-----')",message="caBundle must be PEM with at least one CERTIFICATE block"
	CABundle string `json:"caBundle,omitempty"`
}

// ManagedInstanceAllowance is a service of which credentials may have instances.
type ManagedInstanceAllowance struct {
	// Offering is the name of the service. Example: "it-rt".
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	Offering string `json:"offering"`

	// Plans are the names of its plans. Default: all. Example: ["api"].
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=255
	Plans []string `json:"plans,omitempty"`

	// Roles are those that instances may have. With it a credential must name its roles,
	// because those that a service gives by itself were allowed by nobody. Default: all.
	// Example: ["MonitoringDataRead"].
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=128
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=255
	Roles []string `json:"roles,omitempty"`
}

// CloudFoundryLogin is how the operator logs in.
//
// +kubebuilder:validation:XValidation:rule="!has(self.origin) || self.type != 'ClientCredentials'",message="origin is for users: a client has no identity provider"
type CloudFoundryLogin struct {
	// Type decides which keys the login Secret needs. Password (default): username and
	// password of a technical user. ClientCredentials: client_id and client_secret of a
	// client of the platform's UAA, which customers of SAP BTP do not get. JWTBearer:
	// assertion, a token of an identity provider that the UAA trusts; something else
	// keeps it fresh.
	//
	// +optional
	// +kubebuilder:default=Password
	// +kubebuilder:validation:Enum=Password;ClientCredentials;JWTBearer
	Type string `json:"type,omitempty"`

	// Origin is the origin key of the user's identity provider, if it is not the default
	// one. Example: "acme-platform".
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	Origin string `json:"origin,omitempty"`

	// SecretRef names the Secret of this namespace that holds the login, and for keys of
	// type ExternalCertificate the keys signer.crt and signer.key of the authority that
	// signs them. Who writes the issuer must be allowed to get that Secret.
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

// CloudFoundryCredential asks for a service key. Roles, grant types and the like belong
// to the service instance, so a new key may do what the old one could.
//
// +kubebuilder:validation:XValidation:rule="[has(self.instance), has(self.instanceGUID), has(self.managed)].filter(x, x).size() == 1",message="name the service instance by instance or by instanceGUID, or have one made by managed: set exactly one of them"
// +kubebuilder:validation:XValidation:rule="has(self.instance) == has(oldSelf.instance) && has(self.managed) == has(oldSelf.managed)",message="instance, instanceGUID and managed are immutable"
// +kubebuilder:validation:XValidation:rule="(!has(self.validityDays) && !has(self.keyLength)) || self.keyType in ['Certificate', 'ExternalCertificate', 'XSUAACertificate']",message="validityDays and keyLength are for certificates"
// +kubebuilder:validation:XValidation:rule="!has(self.validityDays) || self.keyType != 'XSUAACertificate' || self.validityDays <= 30",message="a certificate of XSUAA is valid for at most 30 days"
// +kubebuilder:validation:XValidation:rule="!has(self.keyLength) || self.keyType == 'XSUAACertificate' || self.keyLength <= 4096",message="keyLength 8192 is for certificates of XSUAA"
type CloudFoundryCredential struct {
	// Instance is the name of the service instance in the issuer's space or subaccount. Immutable.
	// Example: "cpi-api".
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="instance is immutable"
	Instance string `json:"instance,omitempty"`

	// InstanceGUID is its guid, or instance id, instead, which survives renaming. Immutable. Example:
	// "7e1d6b9c-0b8a-4c64-9a55-2d1c1a3a4a10".
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9][A-Za-z0-9._~-]*$`
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="instanceGUID is immutable"
	InstanceGUID string `json:"instanceGUID,omitempty"`

	// Managed has an instance made for this credential alone, with the roles that stand here,
	// where the issuer's managedInstances allow it. It is changed when they change, and no
	// other credential uses it.
	//
	// +optional
	Managed *ManagedInstance `json:"managed,omitempty"`

	// KeyType is what the broker is asked for. ClientSecret (default): a key without
	// parameters, whose kind is the service's default; for Process Integration Runtime
	// that is a client id with a secret. Certificate: for Process Integration Runtime, a
	// certificate with its key, both made by SAP. ExternalCertificate: the same service, with
	// a key made here and a certificate signed by the authority in the issuer's login
	// Secret. XSUAABindingSecret and XSUAACertificate: a secret, and a certificate with its
	// key made by SAP, for Authorization and Trust Management. Immutable: what reads a
	// secret cannot use a certificate.
	//
	// +optional
	// +kubebuilder:default=ClientSecret
	// +kubebuilder:validation:Enum=ClientSecret;Certificate;ExternalCertificate;XSUAABindingSecret;XSUAACertificate
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="keyType is immutable: make a new credential"
	KeyType string `json:"keyType,omitempty"`

	// ValidityDays is how long a certificate is valid, in days: 1 to 365, of XSUAA 1 to 30.
	// Without it the service's own default applies, and 90 days where it is signed here. It
	// is renewed in time before that, whatever the policy says. A change is for the next version. Example: 90.
	//
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=365
	ValidityDays int32 `json:"validityDays,omitempty"`

	// KeyLength of a certificate's RSA key in bits: 2048, 4096 or, of XSUAA alone, 8192.
	// Without it the service's own default applies, and 2048 where it is made here. A change is for the next version.
	// Example: 4096.
	//
	// +optional
	// +kubebuilder:validation:Enum=2048;4096;8192
	KeyLength int32 `json:"keyLength,omitempty"`

	// Probe is a call of the API that the key's url names, which must succeed with a token
	// of the new key before it is published. It is the only proof that the instance has the
	// role that the call needs. Without it a token alone is asked for.
	//
	// +optional
	Probe *CloudFoundryProbe `json:"probe,omitempty"`
}

// CloudFoundryProbe is one GET with a token of the new key.
type CloudFoundryProbe struct {
	// Path below the url that the key itself names, with a query if need be. Any 2xx
	// answer proves the key; 401 and 403 refuse it; anything else proves nothing and is
	// tried again. Example: "/api/v1/MessageProcessingLogs?$top=1".
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:Pattern=`^/[^#\s\\]*$`
	Path string `json:"path"`
}

// ManagedInstance is a service instance that Claviger makes, changes and, if it is told to,
// deletes.
//
// +kubebuilder:validation:XValidation:rule="has(self.name) == has(oldSelf.name)",message="managed.name is immutable"
type ManagedInstance struct {
	// Name of the instance in the issuer's space. One of that name that was not made for this
	// credential is never touched. Immutable. Default: one that is made from the credential's
	// name and that nothing else has. Example: "billing-monitoring".
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=50
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="managed.name is immutable"
	Name string `json:"name,omitempty"`

	// Offering is the name of the service. Immutable. Example: "it-rt", Process Integration
	// Runtime.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="managed.offering is immutable: make a new credential"
	Offering string `json:"offering"`

	// Plan is the name of its plan, to which the subaccount must be entitled. Immutable.
	// Example: "api" for the OData API, "integration-flow" for calling flows.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="managed.plan is immutable: make a new credential"
	Plan string `json:"plan"`

	// Roles that all keys of the instance have. SAP adds roles, so any name is taken here, and
	// the service's answer stands in the condition. A change is made at once, keys in use get
	// it as well, and the API may need an hour to know it. Taken out again, the service
	// decides. Default: the service's own. Example: ["MonitoringDataRead"].
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=128
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=255
	Roles []string `json:"roles,omitempty"`

	// GrantTypes are the ways in which tokens are had with its keys. Claviger proves keys by
	// client_credentials. Default: the service's own. Example: ["client_credentials"].
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=255
	GrantTypes []string `json:"grantTypes,omitempty"`

	// RedirectURIs are where a browser may be sent with a code, for the grant type
	// authorization_code. Default: none. Example: ["https://app.example/callback"].
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=1024
	RedirectURIs []string `json:"redirectURIs,omitempty"`

	// TokenValidity is how long a token is valid that is had with one of its keys, at least a
	// second; Process Integration Runtime takes 1h to 24h. Default: the service's own.
	// Example: "12h".
	//
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s') && duration(self) <= duration('8760h')",message="tokenValidity must be a duration from 1s to 8760h, such as 12h"
	TokenValidity *metav1.Duration `json:"tokenValidity,omitempty"`

	// Deletion says what becomes of the instance when the credential is deleted. Keep
	// (default): it stays, without keys of the credential, and a credential of the same name and
	// namespace takes it up again. Delete: it is deleted after the last version is revoked, unless
	// somebody else has keys or bindings of it. deletionPolicy Retain goes with Keep alone.
	//
	// +optional
	// +kubebuilder:default=Keep
	// +kubebuilder:validation:Enum=Keep;Delete
	Deletion string `json:"deletion,omitempty"`
}

// Values of ManagedInstance.Deletion.
const (
	// InstanceKept outlives the credential.
	InstanceKept = "Keep"
	// InstanceDeleted goes after the last version.
	InstanceDeleted = "Delete"
)

// ManagedInstance is the service instance that is made for the credential; nil if none is.
func (s *APIClientCredentialSpec) ManagedInstance() *ManagedInstance {
	if s.CloudFoundry == nil {
		return nil
	}
	return s.CloudFoundry.Managed
}

// DeletesInstance reports whether a service instance goes with the credential.
func (s *APIClientCredentialSpec) DeletesInstance() bool {
	managed := s.ManagedInstance()
	return managed != nil && managed.Deletion == InstanceDeleted && s.DeletionPolicy != DeletionRetain
}

// ManagedInstanceStatus is the service instance that was made for the credential, as it was seen
// last. Nothing is decided by it but whether it is looked at.
type ManagedInstanceStatus struct {
	// Name of the instance upstream. People may rename it.
	//
	// +optional
	Name string `json:"name,omitempty"`

	// GUID of the instance, which never changes. Keys are made in it: one that was made anew
	// has other keys.
	//
	// +optional
	GUID string `json:"guid,omitempty"`

	// Applied is a digest of what it was made or changed into last.
	//
	// +optional
	Applied string `json:"applied,omitempty"`
}
