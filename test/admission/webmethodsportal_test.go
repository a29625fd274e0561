package admission

import "testing"

const portalIssuer = `
apiVersion: credentials.claviger.dev/v1alpha1
kind: CredentialIssuer
metadata: {name: portal}
spec:
  webMethodsPortal:
    url: https://portal.acme.example/portal/rest/v1
    gateway: {url: "https://gateway.acme.example:5543"}
    login: {secretRef: {name: portal-login}}
`

const portalCredential = `
apiVersion: credentials.claviger.dev/v1alpha1
kind: APIClientCredential
metadata: {name: catalogue}
spec:
  issuerRef: {name: portal}
  webMethodsPortal: {type: APIKey, apis: [0d1c6f1e-8a35-4c63-9f0e-0c6b4a7d2b11]}
  secret: {name: catalogue-key, template: {data: {api_key: "{{ .apiKey }}"}}}
`

func TestPortalIssuerRules(t *testing.T) {
	testCreate(t, issuers, portalIssuer, []ruleCase{
		{"the plain issuer is accepted", `{}`, ""},
		{"two upstreams are refused", `spec: {ibmAPIConnect: {url: "https://apic.example", providerOrg: acme, catalog: production, login: {realm: r, secretRef: {name: s}}}}`, "exactly one upstream must be set"},
		{"an address with a query is refused", `spec: {webMethodsPortal: {url: "https://h/rest?x=y"}}`, "url must be an https URL"},
		{"an address with a user is refused", `spec: {webMethodsPortal: {url: "https://a@h/rest"}}`, "url must be an https URL"},
		{"a gateway without an address is refused", `spec: {webMethodsPortal: {gateway: {url: ""}}}`, "spec.webMethodsPortal.gateway.url"},
		{"a gateway with a query is refused", `spec: {webMethodsPortal: {gateway: {url: "https://h?x=y"}}}`, "url must be an https URL"},
		{"a header that is two is refused", `spec: {webMethodsPortal: {gateway: {apiKeyHeader: "a: b"}}}`, "spec.webMethodsPortal.gateway.apiKeyHeader"},
		{"deletions by request are accepted", `spec: {webMethodsPortal: {deletion: Request}}`, ""},
		{"deletions in the portal alone are refused", `spec: {webMethodsPortal: {deletion: Force}}`, "spec.webMethodsPortal.deletion: Unsupported value"},
		{"authorities that are no PEM are refused", `spec: {webMethodsPortal: {caBundle: x}}`, "caBundle must be PEM"},
	})
}

func TestPortalCredentialRules(t *testing.T) {
	testCreate(t, credentials, portalCredential, []ruleCase{
		{"the plain credential is accepted", `{}`, ""},
		{"two upstreams are refused", `spec: {ibmAPIConnect: {consumerOrg: retail, app: billing}}`, "exactly one upstream must be set"},
		{"a claim set is no secret and refused", `spec: {webMethodsPortal: {type: JWT}}`, "spec.webMethodsPortal.type: Unsupported value"},
		{"no API is refused", `spec: {webMethodsPortal: {apis: []}}`, "should have at least 1 items"},
		{"an API twice is refused", `spec: {webMethodsPortal: {apis: [a, a]}}`, "Duplicate value"},
		{"an API that is a path is refused", `spec: {webMethodsPortal: {apis: [a/b]}}`, "spec.webMethodsPortal.apis[0]"},
		{"a client with a scope and a redirect is accepted", `spec: {webMethodsPortal: {type: OAuth2, scope: "a b", redirectURIs: ["https://example.invalid/cb"]}}`, ""},
		{"a scope that cannot be sent is refused", `spec: {webMethodsPortal: {scope: "a\"b"}}`, "spec.webMethodsPortal.scope"},
		{"a probe with a query is accepted", `spec: {webMethodsPortal: {probe: {path: "/gateway/Orders/1.0/status?x=y"}}}`, ""},
		{"a probe without a leading slash is refused", `spec: {webMethodsPortal: {probe: {path: orders}}}`, "spec.webMethodsPortal.probe.path"},
	})
}

// The login of a portal's issuer is guarded as any other.
func TestPortalLoginsOfOthersCannotBeSentAway(t *testing.T) {
	namespace := newNamespace(t, "portal-logins")
	create(t, issuers, namespace, object(t, portalIssuer))
	another := changed(t, object(t, portalIssuer), `metadata: {name: another}`)
	withoutGet := tenant(t, namespace, "without-get", "* credentialissuers", "list,watch,create,update,delete secrets")
	getsIt := tenant(t, namespace, "gets-it", "* credentialissuers", "get secrets portal-login")
	ctx := t.Context()
	requireAllowed(t, creating(another)(ctx, withoutGet.Resource(issuers).Namespace(namespace)), byLogin)
	requireAllowed(t, patching("portal", `{"spec":{"webMethodsPortal":{"gateway":{"url":"https://elsewhere.example"}}}}`)(ctx, withoutGet.Resource(issuers).Namespace(namespace)), byLogin)
	requireAllowed(t, patching("portal", `{"spec":{"suspend":true}}`)(ctx, withoutGet.Resource(issuers).Namespace(namespace)), "")
	requireAllowed(t, creating(another)(ctx, getsIt.Resource(issuers).Namespace(namespace)), "")
}
