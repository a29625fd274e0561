package admission

import "testing"

const gatewayIssuer = `
apiVersion: credentials.claviger.dev/v1alpha1
kind: CredentialIssuer
metadata: {name: gateway}
spec:
  webMethodsGateway:
    url: https://gateway.acme.example:5543
    login: {secretRef: {name: gateway-login}}
`

const keyCredential = `
apiVersion: credentials.claviger.dev/v1alpha1
kind: APIClientCredential
metadata: {name: orders-key}
spec:
  issuerRef: {name: gateway}
  webMethodsGateway: {type: APIKey, apis: [{name: orders}]}
  secret: {name: orders-key, template: {data: {api_key: "{{ .apiKey }}"}}}
`

const gatewayClientCredential = `
apiVersion: credentials.claviger.dev/v1alpha1
kind: APIClientCredential
metadata: {name: shop-client}
spec:
  issuerRef: {name: gateway}
  webMethodsGateway: {type: OAuth2, application: shop, scopes: [orders]}
  secret: {name: shop-client}
`

func TestGatewayIssuerRules(t *testing.T) {
	testCreate(t, issuers, gatewayIssuer, []ruleCase{
		{"the plain issuer is accepted", `{}`, ""},
		{"two upstreams are refused", `spec: {ibmAPIConnect: {url: "https://apic.example", providerOrg: acme, catalog: production, login: {realm: r, secretRef: {name: s}}}}`, "exactly one upstream must be set"},
		{"an address with a path is refused", `spec: {webMethodsGateway: {url: "https://h/rest"}}`, "url must be https://host"},
		{"an address of APIs with a user is refused", `spec: {webMethodsGateway: {gatewayURL: "https://u@h"}}`, "gatewayURL must be an https URL"},
		{"a token service with a query is refused", `spec: {webMethodsGateway: {tokenURL: "https://h/t?x=y"}}`, "tokenURL must be an https URL"},
		{"a bundle without a certificate is refused", `spec: {webMethodsGateway: {caBundle: "x"}}`, "caBundle must be PEM"},
	})
}

func TestGatewayCredentialRules(t *testing.T) {
	testCreate(t, credentials, keyCredential, []ruleCase{
		{"the plain key is accepted", `{}`, ""},
		{"two upstreams are refused", `spec: {ibmAPIConnect: {consumerOrg: retail, app: billing}}`, "exactly one upstream must be set"},
		{"an unknown type is refused", `spec: {webMethodsGateway: {type: Certificate}}`, "spec.webMethodsGateway.type: Unsupported value"},
		{"a key without APIs is refused", `spec: {webMethodsGateway: {apis: null}}`, "an APIKey needs apis"},
		{"a key of no APIs is refused", `spec: {webMethodsGateway: {apis: []}}`, "should have at least 1 items"},
		{"a key of somebody's application is refused", `spec: {webMethodsGateway: {application: shop}}`, "has no application"},
		{"an API without a name is refused", `spec: {webMethodsGateway: {apis: [{version: "1.0"}]}}`, "apis[0].name: Required value"},
		{"a probe with a query is accepted", `spec: {webMethodsGateway: {probe: {path: "/gateway/orders/1.0/health?full=1"}}}`, ""},
		{"a probe without a leading slash is refused", `spec: {webMethodsGateway: {probe: {path: gateway}}}`, "spec.webMethodsGateway.probe.path"},
	})
	testCreate(t, credentials, gatewayClientCredential, []ruleCase{
		{"the plain client is accepted", `{}`, ""},
		{"a client without an application is refused", `spec: {webMethodsGateway: {application: null}}`, "an OAuth2 client needs application"},
		{"a client with APIs is refused", `spec: {webMethodsGateway: {apis: [{name: orders}]}}`, "has no apis"},
		{"a scope with a blank is refused", `spec: {webMethodsGateway: {scopes: ["a b"]}}`, "spec.webMethodsGateway.scopes[0]"},
		{"a scope twice is refused", `spec: {webMethodsGateway: {scopes: [a, a]}}`, "Duplicate value"},
	})
}

// What a version is bound to stays.
func TestGatewayBindingsAreImmutable(t *testing.T) {
	testUpdate(t, issuers, "gateway-issuer-rules", gatewayIssuer, []ruleCase{
		{"the address is immutable", `spec: {webMethodsGateway: {url: "https://other.example"}}`, "url is immutable"},
		{"the address of APIs is not", `spec: {webMethodsGateway: {gatewayURL: "https://other.example"}}`, ""},
	})
	testUpdate(t, credentials, "gateway-credential-rules", gatewayClientCredential, []ruleCase{
		{"the application is immutable", `spec: {webMethodsGateway: {application: other}}`, "application is immutable"},
		{"the type is immutable", `spec: {webMethodsGateway: {type: APIKey, application: null, scopes: null, apis: [{name: orders}]}}`, "type is immutable"},
		{"the scopes are not", `spec: {webMethodsGateway: {scopes: [stock]}}`, ""},
	})
}

// The login of a gateway's issuer is guarded as any other.
func TestGatewayLoginsOfOthersCannotBeSentAway(t *testing.T) {
	namespace := newNamespace(t, "gateway-logins")
	create(t, issuers, namespace, object(t, gatewayIssuer))
	another := changed(t, object(t, gatewayIssuer), `metadata: {name: another}`)
	withoutGet := tenant(t, namespace, "without-get", "* credentialissuers", "list,watch,create,update,delete secrets")
	getsIt := tenant(t, namespace, "gets-it", "* credentialissuers", "get secrets gateway-login")
	ctx := t.Context()
	requireAllowed(t, creating(another)(ctx, withoutGet.Resource(issuers).Namespace(namespace)), byLogin)
	requireAllowed(t, patching("gateway", `{"spec":{"webMethodsGateway":{"tokenURL":"https://elsewhere.example/t"}}}`)(ctx, withoutGet.Resource(issuers).Namespace(namespace)), byLogin)
	requireAllowed(t, patching("gateway", `{"spec":{"suspend":true}}`)(ctx, withoutGet.Resource(issuers).Namespace(namespace)), "")
	requireAllowed(t, creating(another)(ctx, getsIt.Resource(issuers).Namespace(namespace)), "")
}
