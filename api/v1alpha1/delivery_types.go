package v1alpha1

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// DefaultKeptFor is how long flows may go on with a key pair or a token: sockets keep keys for
// 24 hours, and the margin is for what is slow.
const DefaultKeptFor = 25 * time.Hour

// Delivery writes the published version into a tenant of SAP Cloud Integration as well.
//
// +kubebuilder:validation:XValidation:rule="self.as == 'OAuth2ClientCredentials' || !has(self.oauth2)",message="oauth2 goes with as: OAuth2ClientCredentials"
// +kubebuilder:validation:XValidation:rule="self.as != 'UserCredentials' || has(self.keptFor)",message="keptFor is required with as: UserCredentials: flows go on with the old password until somebody deploys them anew, and only you know when that is"
type Delivery struct {
	// TenantRef names a CloudIntegrationTenant of this namespace. Who writes the entry needs the
	// verb deliver on it.
	//
	// +required
	TenantRef TenantReference `json:"tenantRef"`

	// Alias is the name of the security material in the tenant, as flows name it. It is made if
	// it does not exist; one that exists and that this credential has not made is not written,
	// unless adopt is true. Names that SAP has reserved are refused. Example: "ACME_ORDERS".
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=150
	// +kubebuilder:validation:Pattern=`^[^\x00-\x1f/\\?#%]+$`
	// +kubebuilder:validation:XValidation:rule="!self.lowerAscii().startsWith('sap_') && !self.lowerAscii().startsWith('hcicertificate') && self.lowerAscii() != 'hcimsgcertificate'",message="the alias is one of those that SAP keeps for itself"
	Alias string `json:"alias"`

	// As says as what it is written. OAuth2ClientCredentials: client id, client secret and the
	// address of the token service. UserCredentials: the client id is the user, the client
	// secret the password. KeyPair: certificate, key and chain go into the keystore.
	//
	// +required
	As DeliveryForm `json:"as"`

	// OAuth2 says more about OAuth2 client credentials.
	//
	// +optional
	OAuth2 *OAuth2Delivery `json:"oauth2,omitempty"`

	// KeptFor is how long after a delivery flows may go on with what they have read before. The
	// version before is not revoked earlier, whatever the policy's overlap is. For
	// OAuth2ClientCredentials that is how long an access token is valid, for KeyPair the 24 hours
	// for which sockets keep keys, for UserCredentials the time in which you deploy the flows
	// anew. Default 25h; required for UserCredentials. From 0s to 2160h.
	//
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('0s') && duration(self) <= duration('2160h')",message="keptFor must be from 0s to 2160h"
	KeptFor *metav1.Duration `json:"keptFor,omitempty"`

	// Adopt writes over an entry that exists and that this credential has not made. What the
	// spec does not say about it stays as it is. Default false.
	//
	// +optional
	Adopt bool `json:"adopt,omitempty"`

	// Withdraw says what becomes of the entry when this object is deleted with deletionPolicy
	// Revoke. Never (default): it stays, and what it holds is revoked. Delete: it is deleted
	// before that. Taking the delivery out of the spec leaves the entry in any case.
	//
	// +optional
	// +kubebuilder:default=Never
	// +kubebuilder:validation:Enum=Never;Delete
	Withdraw Withdrawal `json:"withdraw,omitempty"`
}

// TenantReference names a tenant.
type TenantReference struct {
	// Name of the CloudIntegrationTenant. Example: "production".
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Name string `json:"name"`
}

// DeliveryForm is a kind of security material.
//
// +kubebuilder:validation:Enum=OAuth2ClientCredentials;UserCredentials;KeyPair
type DeliveryForm string

// The forms.
const (
	DeliverOAuth2  DeliveryForm = "OAuth2ClientCredentials"
	DeliverUser    DeliveryForm = "UserCredentials"
	DeliverKeyPair DeliveryForm = "KeyPair"
)

// Withdrawal says what becomes of an entry.
type Withdrawal string

// The withdrawals.
const (
	// WithdrawNever leaves it.
	WithdrawNever Withdrawal = "Never"
	// WithdrawDelete deletes it.
	WithdrawDelete Withdrawal = "Delete"
)

// OAuth2Delivery says how flows ask for a token with what is delivered. What is not set stays as
// it is in the tenant.
type OAuth2Delivery struct {
	// TokenServiceURL is where flows ask for tokens. Default: the token endpoint that the upstream
	// tells of the credential; one that tells none needs the field. Example:
	// "https://acme.authentication.eu10.hana.ondemand.com/oauth/token".
	//
	// +optional
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="isURL(self) && url(self).getScheme() in ['https', 'http'] && url(self).getHost() != '' && !self.contains('@') && !self.contains('#')",message="tokenServiceURL must be https://host/path without a user"
	TokenServiceURL string `json:"tokenServiceURL,omitempty"`

	// ClientAuthentication says where the client id and secret are sent: body or header. A new
	// entry has body.
	//
	// +optional
	// +kubebuilder:validation:Enum=body;header
	ClientAuthentication string `json:"clientAuthentication,omitempty"`

	// Scope that is asked for. Example: "orders.read".
	//
	// +optional
	// +kubebuilder:validation:MaxLength=512
	Scope string `json:"scope,omitempty"`

	// ScopeContentType says how the request is written: urlencoded or json. A new entry has
	// urlencoded.
	//
	// +optional
	// +kubebuilder:validation:Enum=urlencoded;json
	ScopeContentType string `json:"scopeContentType,omitempty"`

	// Resource that the token is for. Example: "https://orders.example".
	//
	// +optional
	// +kubebuilder:validation:MaxLength=512
	Resource string `json:"resource,omitempty"`

	// Audience that the token is for. Example: "orders".
	//
	// +optional
	// +kubebuilder:validation:MaxLength=512
	Audience string `json:"audience,omitempty"`
}

// Kept is how long flows may go on with what they have read.
func (d *Delivery) Kept() time.Duration {
	if d.KeptFor == nil {
		return DefaultKeptFor
	}
	return d.KeptFor.Duration
}

// DeliveryStatus is one delivery as its tenant was seen last.
type DeliveryStatus struct {
	// Alias in the tenant.
	Alias string `json:"alias"`

	// Credential that is delivered.
	Credential string `json:"credential"`

	// As is what it is written as.
	As DeliveryForm `json:"as"`

	// Version is the number of the version that the tenant holds; absent while it holds none of
	// the credential's.
	//
	// +optional
	Version int64 `json:"version,omitempty"`

	// DeliveredAt is since when it holds that.
	//
	// +optional
	DeliveredAt *metav1.Time `json:"deliveredAt,omitempty"`

	// Current: that is the version that the credential's Secret holds.
	Current bool `json:"current"`

	// Problem says why it does not get on; absent if nothing is wrong.
	//
	// +optional
	Problem string `json:"problem,omitempty"`
}
