package admission

import (
	"context"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"

	"github.com/claviger-dev/claviger/api/v1alpha1"
)

var tenants = v1alpha1.GroupVersion.WithResource("cloudintegrationtenants")

const integrationTenant = `
apiVersion: credentials.claviger.dev/v1alpha1
kind: CloudIntegrationTenant
metadata: {name: production}
spec:
  url: https://acme.it-cpi001.example
  tokenURL: https://acme.authentication.example/oauth/token
  login: {secretRef: {name: reader}}
`

// TestTenantRules: what cannot be read is refused at the door.
func TestTenantRules(t *testing.T) {
	namespace := newNamespace(t, "tenant-rules")
	base := object(t, integrationTenant)
	for _, c := range []ruleCase{
		{"the plain tenant is accepted", `{}`, ""},
		{"managed aliases are accepted", `spec: {aliases: [{name: ACME_ORDERS, credential: orders}, {name: "acme client"}]}`, ""},
		{"an alias that is managed twice is refused", `spec: {aliases: [{name: A}, {name: A, credential: orders}]}`, "Duplicate value"},
		{"an alias without a name is refused", `spec: {aliases: [{name: "", credential: orders}]}`, "spec.aliases[0].name"},
		{"an address that is none is refused", `spec: {url: acme}`, "url must be https://host"},
		{"an address with a user is refused", `spec: {url: "https://user@acme.example"}`, "url must be https://host"},
		{"a token endpoint with a query is refused", `spec: {tokenURL: "https://acme.example/token?grant_type=client_credentials"}`, "tokenURL must be https://host/path"},
		{"a tenant without a login is refused", `spec: {login: null}`, "spec.login: Required value"},
		{"scans every minute are refused", `spec: {rescanAfter: 1m}`, "rescanAfter must be from 10m to 168h"},
		{"a scan a month is refused", `spec: {rescanAfter: 720h}`, "rescanAfter must be from 10m to 168h"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := admin(t).Resource(tenants).Namespace(namespace).
				Create(t.Context(), changed(t, base, c.change), metav1.CreateOptions{DryRun: dryRun, FieldValidation: metav1.FieldValidationStrict})
			requireOutcome(t, err, c.refusal)
		})
	}
	live := create(t, tenants, namespace, base)
	_, err := admin(t).Resource(tenants).Namespace(namespace).
		Update(t.Context(), changed(t, live, `spec: {url: "https://other.example"}`), metav1.UpdateOptions{DryRun: dryRun})
	requireOutcome(t, err, "url is immutable")
}

func TestLoginsOfTenantsCannotBeSentAway(t *testing.T) {
	namespace := newNamespace(t, "tenant-logins")
	live := create(t, tenants, namespace, object(t, integrationTenant))
	withoutGet := tenant(t, namespace, "tenant-without-get", "* cloudintegrationtenants", "list,watch,create,update,delete secrets")
	getsIt := tenant(t, namespace, "tenant-gets-it", "* cloudintegrationtenants", "get secrets reader")
	another := changed(t, object(t, integrationTenant), `metadata: {name: another}`)
	for _, c := range []struct {
		name    string
		client  *dynamic.DynamicClient
		try     func(context.Context, dynamic.ResourceInterface) error
		refusal string
	}{
		{"who may not get the login Secret makes no tenant that names it", withoutGet, creating(another), byLogin},
		{"who may get it makes the tenant", getsIt, creating(another), ""},
		{"who may not get it cannot have the token asked for elsewhere", withoutGet, patching("production", `{"spec":{"tokenURL":"https://elsewhere.example/token"}}`), byLogin},
		{"who may not get it cannot name authorities of his own", withoutGet, patching("production", `{"spec":{"caBundle":"-----BEGIN CERTIFICATE-----"}}`), byLogin},
		{"who may get it alone cannot name another", getsIt, patching("production", `{"spec":{"login":{"secretRef":{"name":"other"}}}}`), byLogin},
		{"who may not get it can say what is managed", withoutGet, patching("production", `{"spec":{"aliases":[{"name":"ACME"}],"rescanAfter":"1h"}}`), ""},
		{"who may not get it can apply the same tenant again", withoutGet, replacing(live), ""},
		{"who may not get it can delete the tenant", withoutGet, deleting("production"), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			requireAllowed(t, c.try(t.Context(), c.client.Resource(tenants).Namespace(namespace)), c.refusal)
		})
	}
}
