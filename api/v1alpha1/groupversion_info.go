// Package v1alpha1 holds the kinds of Claviger's API. The one idea: a field is in
// the schema only if the operator acts on it, and everything that the API server
// can refuse, it refuses at once (CEL beside the field).
//
// +kubebuilder:object:generate=true
// +groupName=credentials.claviger.dev
package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion is the group and version of every kind here.
var GroupVersion = schema.GroupVersion{Group: "credentials.claviger.dev", Version: "v1alpha1"}

// AddToScheme adds the kinds to a scheme.
func AddToScheme(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(GroupVersion,
		&APIClientCredential{}, &APIClientCredentialList{},
		&RotationPolicy{}, &RotationPolicyList{},
		&CredentialIssuer{}, &CredentialIssuerList{},
		&ClusterRotationPolicy{}, &ClusterRotationPolicyList{},
		&ClusterCredentialIssuer{}, &ClusterCredentialIssuerList{},
		&ApprovalRequest{}, &ApprovalRequestList{},
		&ApprovalDecision{}, &ApprovalDecisionList{},
		&NotificationChannel{}, &NotificationChannelList{},
		&CloudIntegrationTenant{}, &CloudIntegrationTenantList{},
	)
	metav1.AddToGroupVersion(scheme, GroupVersion)
	return nil
}
