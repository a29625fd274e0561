package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// NotificationSecretType is the type of the Secrets that channels may name. A Secret of any
// other type is never read for one, so that who writes a channel cannot have another Secret of
// the operator's namespace sent away.
const NotificationSecretType = "credentials.claviger.dev/notification"

// NotificationChannel is a way to tell people what happened to credentials: a mail server, a
// webhook, or a room of a chat. What is told, and to whom, policies say. The Secrets that it
// names are in the operator's namespace and have the type credentials.claviger.dev/notification.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,shortName=notifchan,categories=claviger
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:validation:XValidation:rule="self.metadata.name.size() <= 63",message="metadata.name must have at most 63 characters"
type NotificationChannel struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Spec says which way, and who may use it.
	//
	// +required
	Spec NotificationChannelSpec `json:"spec"`

	// Status says whether it works.
	//
	// +optional
	Status NotificationChannelStatus `json:"status,omitempty"`
}

// NotificationChannelSpec says which way, and who may use it.
//
// +kubebuilder:validation:XValidation:rule="[has(self.smtp), has(self.webhook), has(self.slack), has(self.teams)].filter(x, x).size() == 1",message="exactly one way must be set: smtp, webhook, slack or teams"
type NotificationChannelSpec struct {
	// AllowedNamespaces are those about whose credentials the channel may be used to tell.
	//
	// +required
	AllowedNamespaces NamespaceChoice `json:"allowedNamespaces"`

	// SMTP sends mail to the recipients that a policy names.
	//
	// +optional
	SMTP *SMTPChannel `json:"smtp,omitempty"`

	// Webhook posts each message as a CloudEvent, signed.
	//
	// +optional
	Webhook *WebhookChannel `json:"webhook,omitempty"`

	// Slack posts each message to an incoming webhook of Slack, or of what takes the same
	// (Mattermost, Rocket.Chat).
	//
	// +optional
	Slack *ChatChannel `json:"slack,omitempty"`

	// Teams posts each message as an adaptive card to a workflow of Microsoft Teams.
	//
	// +optional
	Teams *ChatChannel `json:"teams,omitempty"`

	// OptOut are addresses that nothing is sent to over this channel, whoever names them; case
	// does not matter. Example: ["carol@example.com"].
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=1024
	// +kubebuilder:validation:items:MinLength=3
	// +kubebuilder:validation:items:MaxLength=254
	OptOut []string `json:"optOut,omitempty"`

	// Templates names a ConfigMap of the operator's namespace with subjects and texts of your
	// own. A key is an event and a part: Issued.subject, Issued.text, Issued.html. What is
	// missing, or cannot be used, has the default.
	//
	// +optional
	Templates *ConfigMapReference `json:"templates,omitempty"`

	// DigestAfter is how many messages a recipient gets in a minute, at most; more become one
	// that lists them. Default 10, at most 1000.
	//
	// +optional
	// +kubebuilder:default=10
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000
	DigestAfter int32 `json:"digestAfter,omitempty"`
}

// SMTPChannel is a mail server that takes mail for delivery.
//
// +kubebuilder:validation:XValidation:rule="self.encryption != 'None' || !has(self.secretRef)",message="a login is not sent without encryption: use StartTLS or TLS"
type SMTPChannel struct {
	// Host of the server, by name or address. Its certificate must bear it. Example:
	// "smtp.example.com".
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9]([A-Za-z0-9.:-]*[A-Za-z0-9])?$`
	Host string `json:"host"`

	// Port of the server. Default 587.
	//
	// +optional
	// +kubebuilder:default=587
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	Port int32 `json:"port,omitempty"`

	// Encryption StartTLS (default): the connection is encrypted before anything is sent, and a
	// server that cannot is given up. TLS: from the first byte on, usually on port 465. None: in
	// the clear, without a login.
	//
	// +optional
	// +kubebuilder:default=StartTLS
	// +kubebuilder:validation:Enum=StartTLS;TLS;None
	Encryption string `json:"encryption,omitempty"`

	// From is the address that mail comes from. Example: "claviger@example.com".
	//
	// +required
	// +kubebuilder:validation:MinLength=3
	// +kubebuilder:validation:MaxLength=254
	// +kubebuilder:validation:Pattern=`^[^@\s"<>,;:()\[\]\\]+@[A-Za-z0-9.-]+$`
	From string `json:"from"`

	// SecretRef names a Secret of the operator's namespace with the keys username and password.
	// Without it there is no login.
	//
	// +optional
	SecretRef *SecretReference `json:"secretRef,omitempty"`

	// CABundle is PEM of the only authorities that are trusted. Default: the system's.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=65536
	CABundle string `json:"caBundle,omitempty"`
}

// WebhookChannel is a receiver of CloudEvents 1.0 in structured mode.
type WebhookChannel struct {
	// URL that is posted to. Only https; redirects are not followed. Example:
	// "https://hooks.example.com/claviger".
	//
	// +required
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:Pattern=`^https?://[^\s/?#@]+(/[^\s#]*)?$`
	URL string `json:"url"`

	// SecretRef names a Secret of the operator's namespace. Its key secret, of 24 bytes or more,
	// signs each message by HMAC-SHA256, as Standard Webhooks has it; one that begins with
	// "whsec_" is base64.
	//
	// +required
	SecretRef SecretReference `json:"secretRef"`

	// CABundle is PEM of the only authorities that are trusted. Default: the system's.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=65536
	CABundle string `json:"caBundle,omitempty"`
}

// ChatChannel is a room of a chat.
type ChatChannel struct {
	// SecretRef names a Secret of the operator's namespace whose key url is the address to post
	// to. It is a secret: who knows it can write into the room.
	//
	// +required
	SecretRef SecretReference `json:"secretRef"`

	// CABundle is PEM of the only authorities that are trusted. Default: the system's.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=65536
	CABundle string `json:"caBundle,omitempty"`
}

// ConfigMapReference names a ConfigMap.
type ConfigMapReference struct {
	// Name of the ConfigMap. Example: "mail-templates".
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
}

// NotificationChannelStatus says whether a channel works.
type NotificationChannelStatus struct {
	// ObservedGeneration is the generation of the spec that this status is about.
	//
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// Conditions: Ready says whether the channel delivers. Stalled stands here while a person
	// has to change something first.
	//
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// NotificationChannelList is a list of NotificationChannel.
//
// +kubebuilder:object:root=true
type NotificationChannelList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []NotificationChannel `json:"items"`
}

// Notification says which events are told over which channel, and to whom.
type Notification struct {
	// Channel is the name of a NotificationChannel that allows the credential's namespace; over
	// any other nothing is told. Example: "mail".
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Channel string `json:"channel"`

	// Events that are told. ApprovalRequested, Approved, Rejected: people are asked, and have
	// answered. Issued: the first version is published. Renewed: a successor is. Revoked: a
	// version that was published exists no more. Failing: the credential says Stalled or
	// Attention for more than a minute. Expiring: it says ExpiringSoon. UptakeStalled: it says
	// so. OrphanSuspected: a version may live upstream and cannot be found there. Example:
	// ["Issued", "Renewed"].
	//
	// +required
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=10
	Events []NotificationEvent `json:"events"`

	// To is who gets mail. Channels that are no mail have one receiver and need none.
	//
	// +optional
	To *Recipients `json:"to,omitempty"`
}

// NotificationEvent is something that is told.
//
// +kubebuilder:validation:Enum=ApprovalRequested;Approved;Rejected;Issued;Renewed;Revoked;Failing;Expiring;UptakeStalled;OrphanSuspected
type NotificationEvent string

// Recipients are who gets mail.
type Recipients struct {
	// Owner: the addresses in the annotation credentials.claviger.dev/owner of the credential,
	// separated by commas. Default false.
	//
	// +optional
	Owner bool `json:"owner,omitempty"`

	// Approvers: those users who are asked by name and whose name is an address. Expiring is told
	// to those as well of whom an answer is missing before a successor can be made. Default false.
	//
	// +optional
	Approvers bool `json:"approvers,omitempty"`

	// Addresses are told in any case. Example: ["ops@example.com"].
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MinLength=3
	// +kubebuilder:validation:items:MaxLength=254
	// +kubebuilder:validation:items:Pattern=`^[^@\s"<>,;:()\[\]\\]+@[A-Za-z0-9.-]+$`
	Addresses []string `json:"addresses,omitempty"`
}
