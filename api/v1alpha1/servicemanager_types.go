package v1alpha1

// SAP Service Manager takes 6000 calls an hour and 600 a minute about bindings, and 10000 and
// 1000 in all, from one client. A bucket of managerBurst that fills at managerPerSecond makes
// at most 5600 in any hour and 290 in any minute.
const (
	managerPerSecond = 1.5
	managerBurst     = 200
)

// SAPServiceManagerIssuer is a binding of SAP Service Manager in a subaccount of SAP BTP: with it
// credentials get keys of service instances outside of Cloud Foundry, as in Kyma and other
// Kubernetes clusters. Credentials of this issuer have the member cloudFoundry: a key is the
// same wherever it is asked for.
type SAPServiceManagerIssuer struct {
	// URL of the Service Manager of the region: sm_url of the binding; https. Immutable:
	// versions are bound to it. Example:
	// "https://service-manager.cfapps.eu10.hana.ondemand.com".
	//
	// +required
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="isURL(self) && url(self).getScheme() in ['https', 'http'] && url(self).getHost() != '' && url(self).getEscapedPath() in ['', '/'] && url(self).getQuery().size() == 0 && !self.contains('@') && !self.contains('#')",message="url must be https://host or https://host:port without path, query or user"
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="url is immutable: make a new issuer"
	URL string `json:"url"`

	// SubaccountID is the id of the subaccount, as the cockpit shows it on its overview; a
	// login of another subaccount is refused. Credentials may have keys of all service
	// instances of the subaccount. Immutable. Example:
	// "0c1d9a6e-7f7b-4c58-9a55-2d1c1a3a4a10".
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9][A-Za-z0-9._~-]*$`
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="subaccountID is immutable: make a new issuer"
	SubaccountID string `json:"subaccountID"`

	// Login is how the operator logs in.
	//
	// +required
	Login SAPServiceManagerLogin `json:"login"`

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

// SAPServiceManagerLogin is how the operator logs in.
type SAPServiceManagerLogin struct {
	// SecretRef names the Secret of this namespace that holds a binding of a service-manager
	// instance of plan subaccount-admin: its fields clientid, clientsecret and url, or
	// clientid, certificate, key and certurl; or the whole binding as JSON under
	// credentials.json. For keys of type ExternalCertificate it also holds signer.crt and
	// signer.key of the authority that signs them. Who writes the issuer must be allowed
	// to get that Secret.
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
