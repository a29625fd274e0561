package admission

import "testing"

const centraSiteIssuer = `
apiVersion: credentials.claviger.dev/v1alpha1
kind: CredentialIssuer
metadata: {name: centrasite}
spec:
  centraSite:
    url: https://centrasite.example
    userID: svc-claviger
    approvals: {url: "https://centrasite.example:53308/wsstack/services/ApprovalService", namespace: "urn:approvals"}
    mediator: {url: "https://mediator.example:5555"}
    login: {secretRef: {name: centrasite-login}}
`

const centraSiteCredential = `
apiVersion: credentials.claviger.dev/v1alpha1
kind: APIClientCredential
metadata: {name: orders}
spec:
  issuerRef: {name: centrasite}
  centraSite: {api: "uddi:orders", type: APIKey, probe: {path: "/ws/Orders?limit=1"}}
  secret: {name: orders-key, template: {preset: JSON}}
`

func TestCentraSiteIssuerRules(t *testing.T) {
	testCreate(t, issuers, centraSiteIssuer, []ruleCase{
		{"the least is accepted", ``, ""},
		{"an address with a path is refused", `spec: {centraSite: {url: "https://h/x"}}`, "url must be https://host"},
		{"a user that is a path is refused", `spec: {centraSite: {userID: a/b}}`, "spec.centraSite.userID"},
		{"the paths of release 9.10 are accepted", `spec: {centraSite: {tokensPath: /abs/apirepository/accesstokens/external}}`, ""},
		{"a path with a query is refused", `spec: {centraSite: {tokensPath: "/x?y=z"}}`, "spec.centraSite.tokensPath"},
		{"a path that goes up by an end is refused", `spec: {centraSite: {eventsPath: "/x/"}}`, "spec.centraSite.eventsPath"},
		{"approvals need a namespace", `spec: {centraSite: {approvals: {namespace: ""}}}`, "spec.centraSite.approvals.namespace"},
		{"an address of approvals with a query is refused", `spec: {centraSite: {approvals: {url: "https://h/x?wsdl"}}}`, "approvals.url must be an https URL"},
		{"a Mediator with a path is refused", `spec: {centraSite: {mediator: {url: "https://h/x"}}}`, "mediator.url must be https://host"},
		{"a token service by its other path is accepted", `spec: {centraSite: {mediator: {tokenPath: "/invoke/pub.mediator.oauth2:getOAuth2AccessToken"}}}`, ""},
		{"two upstreams are refused", `spec: {sapNeo: {url: "https://h", account: a, tokenURL: "https://h/t", applications: [{name: x, providerAccount: p, roles: [r]}], registrar: {type: Manual}, login: {secretRef: {name: l}}}}`, "exactly one upstream must be set"},
	})
}

func TestCentraSiteCredentialRules(t *testing.T) {
	testCreate(t, credentials, centraSiteCredential, []ruleCase{
		{"the least is accepted", ``, ""},
		{"an unknown type is refused", `spec: {centraSite: {type: JWT}}`, "spec.centraSite.type: Unsupported value"},
		{"an API key without a probe is refused", `spec: {centraSite: {probe: null}}`, "an API key needs a probe"},
		{"a service is for OAuth2", `spec: {centraSite: {service: Orders}}`, "service is for type OAuth2"},
		{"OAuth2 needs a service", `spec: {centraSite: {type: OAuth2}}`, "service is for type OAuth2, which needs it"},
		{"OAuth2 without a probe is accepted", `spec: {centraSite: {type: OAuth2, service: Orders, probe: null}}`, ""},
		{"OAuth2 has no usage contract", `spec: {centraSite: {type: OAuth2, service: Orders, expiresAfter: 1y}}`, "expiresAfter is for API keys"},
		{"a usage contract as in the documents is accepted", `spec: {centraSite: {expiresAfter: 1y 4w 3d 5h 30m}}`, ""},
		{"an unlimited one is accepted", `spec: {centraSite: {expiresAfter: Unlimited}}`, ""},
		{"a bare m alone is refused", `spec: {centraSite: {expiresAfter: 6m}}`, "a bare m is ambiguous here"},
		{"a probe without a leading slash is refused", `spec: {centraSite: {probe: {path: ws}}}`, "spec.centraSite.probe.path"},
		{"no API is refused", `spec: {centraSite: {api: ""}}`, "spec.centraSite.api"},
	})
}

// The API, the type and the address of what exists are fixed; what can be mended is not.
func TestCentraSiteRulesOnUpdate(t *testing.T) {
	testUpdate(t, issuers, "centrasite-issuers", centraSiteIssuer, []ruleCase{
		{"another address is refused", `spec: {centraSite: {url: "https://other.example"}}`, "url is immutable"},
		{"another user is refused", `spec: {centraSite: {userID: other}}`, "userID is immutable"},
		{"another Mediator is accepted", `spec: {centraSite: {mediator: {url: "https://other.example"}}}`, ""},
		{"another namespace of approvals is accepted", `spec: {centraSite: {approvals: {namespace: "urn:approvals:2"}}}`, ""},
	})
	testUpdate(t, credentials, "centrasite-credentials", centraSiteCredential, []ruleCase{
		{"another API is refused", `spec: {centraSite: {api: "uddi:other"}}`, "api is immutable"},
		{"another type is refused", `spec: {centraSite: {type: OAuth2, service: Orders}}`, "type is immutable"},
		{"another contract is accepted", `spec: {centraSite: {expiresAfter: 2y}}`, ""},
		{"another probe is accepted", `spec: {centraSite: {probe: {path: /ws/Orders/health}}}`, ""},
	})
}

// The login of a CentraSite issuer is guarded as any other.
func TestCentraSiteLoginsOfOthersCannotBeSentAway(t *testing.T) {
	namespace := newNamespace(t, "centrasite-logins")
	create(t, issuers, namespace, object(t, centraSiteIssuer))
	another := changed(t, object(t, centraSiteIssuer), `metadata: {name: another}`)
	withoutGet := tenant(t, namespace, "without-get", "* credentialissuers", "list,watch,create,update,delete secrets")
	getsIt := tenant(t, namespace, "gets-it", "* credentialissuers", "get secrets centrasite-login")
	ctx := t.Context()
	requireAllowed(t, creating(another)(ctx, withoutGet.Resource(issuers).Namespace(namespace)), byLogin)
	requireAllowed(t, patching("centrasite", `{"spec":{"centraSite":{"mediator":{"url":"https://elsewhere.example"}}}}`)(ctx, withoutGet.Resource(issuers).Namespace(namespace)), byLogin)
	requireAllowed(t, patching("centrasite", `{"spec":{"suspend":true}}`)(ctx, withoutGet.Resource(issuers).Namespace(namespace)), "")
	requireAllowed(t, creating(another)(ctx, getsIt.Resource(issuers).Namespace(namespace)), "")
}
