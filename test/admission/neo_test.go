package admission

import "testing"

const neoIssuer = `
apiVersion: credentials.claviger.dev/v1alpha1
kind: CredentialIssuer
metadata: {name: neo}
spec:
  sapNeo:
    url: https://api.eu1.hana.ondemand.example
    account: a1b2c3d4e
    tokenURL: https://oauthasservices-a1b2c3d4e.eu1.hana.ondemand.example/oauth2/api/v1/token
    applications:
    - {name: a1b2c3d4etmn, providerAccount: prov, roles: [NodeManager.read]}
    registrar: {type: Manual}
    login: {secretRef: {name: neo-login}}
`

const neoCredential = `
apiVersion: credentials.claviger.dev/v1alpha1
kind: APIClientCredential
metadata: {name: monitoring}
spec:
  issuerRef: {name: neo}
  sapNeo: {application: a1b2c3d4etmn, roles: [NodeManager.read]}
  secret: {name: monitoring-client}
`

func TestNeoIssuerRules(t *testing.T) {
	testCreate(t, issuers, neoIssuer, []ruleCase{
		{"the plain issuer is accepted", `{}`, ""},
		{"two upstreams are refused", `spec: {ibmAPIConnect: {url: "https://apic.example", providerOrg: acme, catalog: production, login: {realm: r, secretRef: {name: s}}}}`, "exactly one upstream must be set"},
		{"an address with a path is refused", `spec: {sapNeo: {url: "https://api.example/x"}}`, "url must be https://host"},
		{"an account that is a path is refused", `spec: {sapNeo: {account: a/b}}`, "spec.sapNeo.account"},
		{"a token endpoint with a query is refused", `spec: {sapNeo: {tokenURL: "https://h/t?x=y"}}`, "tokenURL must be an https URL"},
		{"another spelling of applications is refused", `spec: {sapNeo: {applicationPath: application}}`, "spec.sapNeo.applicationPath: Unsupported value"},
		{"no application is refused", `spec: {sapNeo: {applications: []}}`, "should have at least 1 items"},
		{"an application without roles is refused", `spec: {sapNeo: {applications: [{name: x, providerAccount: p, roles: []}]}}`, "should have at least 1 items"},
		{"an application twice is refused", `spec: {sapNeo: {applications: [{name: x, providerAccount: p, roles: [r]}, {name: x, providerAccount: q, roles: [r]}]}}`, "Duplicate value"},
		{"an application that is a path is refused", `spec: {sapNeo: {applications: [{name: a/b, providerAccount: p, roles: [r]}]}}`, "spec.sapNeo.applications[0].name"},
		{"a registrar by HTTP needs an address", `spec: {sapNeo: {registrar: {type: HTTP}}}`, "url is for type HTTP, which needs it"},
		{"a person has no address", `spec: {sapNeo: {registrar: {url: "https://h"}}}`, "url is for type HTTP, which needs it"},
		{"a registrar by HTTP is accepted", `spec: {sapNeo: {registrar: {type: HTTP, url: "https://h/v1"}}}`, ""},
		{"an unknown registrar is refused", `spec: {sapNeo: {registrar: {type: Pool}}}`, "spec.sapNeo.registrar.type: Unsupported value"},
	})
}

func TestNeoCredentialRules(t *testing.T) {
	testCreate(t, credentials, neoCredential, []ruleCase{
		{"the plain credential is accepted", `{}`, ""},
		{"two upstreams are refused", `spec: {ibmAPIConnect: {consumerOrg: retail, app: billing}}`, "exactly one upstream must be set"},
		{"no roles are refused", `spec: {sapNeo: {roles: []}}`, "should have at least 1 items"},
		{"a role twice is refused", `spec: {sapNeo: {roles: [r, r]}}`, "Duplicate value"},
		{"a probe with a query is accepted", `spec: {sapNeo: {probe: {path: "/api/v1/MessageProcessingLogs?$top=1"}}}`, ""},
		{"a probe without a leading slash is refused", `spec: {sapNeo: {probe: {path: api}}}`, "spec.sapNeo.probe.path"},
	})
}

// The login of a Neo issuer is guarded as any other.
func TestNeoLoginsOfOthersCannotBeSentAway(t *testing.T) {
	namespace := newNamespace(t, "neo-logins")
	create(t, issuers, namespace, object(t, neoIssuer))
	another := changed(t, object(t, neoIssuer), `metadata: {name: another}`)
	withoutGet := tenant(t, namespace, "without-get", "* credentialissuers", "list,watch,create,update,delete secrets")
	getsIt := tenant(t, namespace, "gets-it", "* credentialissuers", "get secrets neo-login")
	ctx := t.Context()
	requireAllowed(t, creating(another)(ctx, withoutGet.Resource(issuers).Namespace(namespace)), byLogin)
	requireAllowed(t, patching("neo", `{"spec":{"sapNeo":{"registrar":{"type":"Manual"},"tokenURL":"https://elsewhere.example/t"}}}`)(ctx, withoutGet.Resource(issuers).Namespace(namespace)), byLogin)
	requireAllowed(t, patching("neo", `{"spec":{"suspend":true}}`)(ctx, withoutGet.Resource(issuers).Namespace(namespace)), "")
	requireAllowed(t, creating(another)(ctx, getsIt.Resource(issuers).Namespace(namespace)), "")
}
