package admission

import "testing"

const cfIssuer = `
apiVersion: credentials.claviger.dev/v1alpha1
kind: CredentialIssuer
metadata: {name: cf}
spec:
  cloudFoundry:
    url: https://api.cf.eu99.example
    organization: acme
    space: dev
    login: {secretRef: {name: cf-login}}
`

const cfCredential = `
apiVersion: credentials.claviger.dev/v1alpha1
kind: APIClientCredential
metadata: {name: logs}
spec:
  issuerRef: {name: cf}
  cloudFoundry: {instance: cpi-api}
  secret: {name: logs-key}
`

func TestCloudFoundryIssuerRules(t *testing.T) {
	testCreate(t, issuers, cfIssuer, []ruleCase{
		{"the plain issuer is accepted", `{}`, ""},
		{"two upstreams are refused", `spec: {ibmAPIConnect: {url: "https://apic.example", providerOrg: acme, catalog: production, login: {realm: r, secretRef: {name: s}}}}`, "exactly one upstream must be set"},
		{"an address with a path is refused", `spec: {cloudFoundry: {url: "https://api.example/v3"}}`, "url must be https://host"},
		{"an address with a user is refused", `spec: {cloudFoundry: {url: "https://me@api.example"}}`, "url must be https://host"},
		{"no organization is refused", `spec: {cloudFoundry: {organization: ""}}`, "spec.cloudFoundry.organization"},
		{"an organization with blanks is accepted", `spec: {cloudFoundry: {organization: "Acme, Dev"}}`, ""},
		{"no space is refused", `spec: {cloudFoundry: {space: null}}`, "spec.cloudFoundry.space: Required value"},
		{"no login is refused", `spec: {cloudFoundry: {login: null}}`, "spec.cloudFoundry.login: Required value"},
		{"a client's login is accepted", `spec: {cloudFoundry: {login: {type: ClientCredentials}}}`, ""},
		{"a token of an identity provider is accepted", `spec: {cloudFoundry: {login: {type: JWTBearer, origin: my-idp}}}`, ""},
		{"an unknown login is refused", `spec: {cloudFoundry: {login: {type: Passcode}}}`, "spec.cloudFoundry.login.type: Unsupported value"},
		{"a client of an identity provider is refused", `spec: {cloudFoundry: {login: {type: ClientCredentials, origin: my-idp}}}`, "origin is for users"},
		{"managed instances of a service are accepted", `spec: {cloudFoundry: {managedInstances: [{offering: it-rt, plans: [api], roles: [MonitoringDataRead]}]}}`, ""},
		{"a service twice is refused", `spec: {cloudFoundry: {managedInstances: [{offering: it-rt}, {offering: it-rt}]}}`, "Duplicate value"},
		{"managed instances of no service are refused", `spec: {cloudFoundry: {managedInstances: [{plans: [api]}]}}`, "managedInstances[0].offering: Required value"},
		{"a bundle without a certificate is refused", `spec: {cloudFoundry: {caBundle: x}}`, "caBundle must be PEM"},
	})
	testUpdate(t, issuers, "cf-issuer-rules", cfIssuer, []ruleCase{
		{"the address is immutable", `spec: {cloudFoundry: {url: "https://api.cf.eu98.example"}}`, "url is immutable"},
		{"the organization is immutable", `spec: {cloudFoundry: {organization: other}}`, "organization is immutable"},
		{"the space is immutable", `spec: {cloudFoundry: {space: other}}`, "space is immutable"},
		{"the login may change", `spec: {cloudFoundry: {login: {type: JWTBearer}}}`, ""},
		{"the upstream is immutable", `spec: {cloudFoundry: null, ibmAPIConnect: {url: "https://apic.example", providerOrg: acme, catalog: production, login: {realm: r, secretRef: {name: s}}}}`, "the upstream of an issuer is immutable"},
	})
}

func TestCloudFoundryCredentialRules(t *testing.T) {
	testCreate(t, credentials, cfCredential, []ruleCase{
		{"the plain credential is accepted", `{}`, ""},
		{"two upstreams are refused", `spec: {ibmAPIConnect: {consumerOrg: retail, app: billing}}`, "exactly one upstream must be set"},
		{"no instance is refused", `spec: {cloudFoundry: {instance: null}}`, "name the service instance by instance or by instanceGUID"},
		{"an instance twice is refused", `spec: {cloudFoundry: {instanceGUID: 7e1d6b9c-0b8a-4c64-9a55-2d1c1a3a4a10}}`, "name the service instance by instance or by instanceGUID"},
		{"an instance by guid is accepted", `spec: {cloudFoundry: {instance: null, instanceGUID: 7e1d6b9c-0b8a-4c64-9a55-2d1c1a3a4a10}}`, ""},
		{"a guid that is a path is refused", `spec: {cloudFoundry: {instance: null, instanceGUID: a/b}}`, "spec.cloudFoundry.instanceGUID"},
		{"a managed instance is accepted", `spec: {cloudFoundry: {instance: null, managed: {offering: it-rt, plan: api, roles: [MonitoringDataRead], grantTypes: [client_credentials], redirectURIs: ["https://a.example/"], tokenValidity: 12h}}}`, ""},
		{"one beside a named one is refused", `spec: {cloudFoundry: {managed: {offering: it-rt, plan: api}}}`, "set exactly one of them"},
		{"one of no plan is refused", `spec: {cloudFoundry: {instance: null, managed: {offering: it-rt}}}`, "spec.cloudFoundry.managed.plan: Required value"},
		{"a name that is too long is refused", `spec: {cloudFoundry: {instance: null, managed: {name: a12345678901234567890123456789012345678901234567890, offering: it-rt, plan: api}}}`, "spec.cloudFoundry.managed.name: Too long"},
		{"a validity that is none is refused", `spec: {cloudFoundry: {instance: null, managed: {offering: it-rt, plan: api, tokenValidity: 0s}}}`, "tokenValidity must be a duration"},
		{"another end than Keep and Delete is refused", `spec: {cloudFoundry: {instance: null, managed: {offering: it-rt, plan: api, deletion: Orphan}}}`, "spec.cloudFoundry.managed.deletion: Unsupported value"},
		{"one that goes with its keys is accepted", `spec: {cloudFoundry: {instance: null, managed: {offering: it-rt, plan: api, deletion: Delete}}}`, ""},
		{"one that goes while its keys are kept is refused", `spec: {deletionPolicy: Retain, cloudFoundry: {instance: null, managed: {offering: it-rt, plan: api, deletion: Delete}}}`, "deletionPolicy must be Revoke, or deletion Keep"},
		{"an unknown key type is refused", `spec: {cloudFoundry: {keyType: Token}}`, "spec.cloudFoundry.keyType: Unsupported value"},
		{"a certificate of a year is accepted", `spec: {cloudFoundry: {keyType: Certificate, validityDays: 365, keyLength: 4096}}`, ""},
		{"a certificate of more than a year is refused", `spec: {cloudFoundry: {keyType: Certificate, validityDays: 366}}`, "spec.cloudFoundry.validityDays"},
		{"a certificate of no day is refused", `spec: {cloudFoundry: {keyType: Certificate, validityDays: 0}}`, "spec.cloudFoundry.validityDays"},
		{"a certificate that is signed here is accepted", `spec: {cloudFoundry: {keyType: ExternalCertificate, validityDays: 60, keyLength: 4096}}`, ""},
		{"its longest key is XSUAA's alone, too", `spec: {cloudFoundry: {keyType: ExternalCertificate, keyLength: 8192}}`, "keyLength 8192 is for certificates of XSUAA"},
		{"a secret has no validity", `spec: {cloudFoundry: {validityDays: 90}}`, "validityDays and keyLength are for certificates"},
		{"a secret of XSUAA has no length", `spec: {cloudFoundry: {keyType: XSUAABindingSecret, keyLength: 2048}}`, "validityDays and keyLength are for certificates"},
		{"a certificate of XSUAA of a month is accepted", `spec: {cloudFoundry: {keyType: XSUAACertificate, validityDays: 30, keyLength: 8192}}`, ""},
		{"one of more than a month is refused", `spec: {cloudFoundry: {keyType: XSUAACertificate, validityDays: 31}}`, "at most 30 days"},
		{"a weak key is refused", `spec: {cloudFoundry: {keyType: Certificate, keyLength: 1024}}`, "spec.cloudFoundry.keyLength: Unsupported value"},
		{"the longest key is XSUAA's alone", `spec: {cloudFoundry: {keyType: Certificate, keyLength: 8192}}`, "keyLength 8192 is for certificates of XSUAA"},
		{"a probe with a query is accepted", `spec: {cloudFoundry: {probe: {path: "/api/v1/MessageProcessingLogs?$top=1"}}}`, ""},
		{"a probe without a leading slash is refused", `spec: {cloudFoundry: {probe: {path: api}}}`, "spec.cloudFoundry.probe.path"},
	})
	testUpdate(t, credentials, "cf-credential-rules", cfCredential, []ruleCase{
		{"the instance is immutable", `spec: {cloudFoundry: {instance: other}}`, "instance is immutable"},
		{"a name does not turn into a guid", `spec: {cloudFoundry: {instance: null, instanceGUID: 7e1d6b9c}}`, "instance, instanceGUID and managed are immutable"},
		{"a named one does not turn into a managed one", `spec: {cloudFoundry: {instance: null, managed: {offering: it-rt, plan: api}}}`, "instance, instanceGUID and managed are immutable"},
		{"the key type is immutable", `spec: {cloudFoundry: {keyType: Certificate}}`, "keyType is immutable"},
		{"the probe may change", `spec: {cloudFoundry: {probe: {path: /api}}}`, ""},
	})
}

// The login of a Cloud Foundry issuer is guarded as any other.
func TestCloudFoundryLoginsOfOthersCannotBeSentAway(t *testing.T) {
	namespace := newNamespace(t, "cf-logins")
	create(t, issuers, namespace, object(t, cfIssuer))
	another := changed(t, object(t, cfIssuer), `metadata: {name: another}`)
	withoutGet := tenant(t, namespace, "without-get", "* credentialissuers", "list,watch,create,update,delete secrets")
	getsIt := tenant(t, namespace, "gets-it", "* credentialissuers", "get secrets cf-login")
	ctx := t.Context()
	requireAllowed(t, creating(another)(ctx, withoutGet.Resource(issuers).Namespace(namespace)), byLogin)
	requireAllowed(t, patching("cf", `{"spec":{"cloudFoundry":{"login":{"origin":"elsewhere"}}}}`)(ctx, withoutGet.Resource(issuers).Namespace(namespace)), byLogin)
	requireAllowed(t, patching("cf", `{"spec":{"suspend":true}}`)(ctx, withoutGet.Resource(issuers).Namespace(namespace)), "")
	requireAllowed(t, creating(another)(ctx, getsIt.Resource(issuers).Namespace(namespace)), "")
}

// What an instance is stays; what its keys may do, and whether it goes with them, may change.
func TestManagedInstanceRules(t *testing.T) {
	const managed = `
apiVersion: credentials.claviger.dev/v1alpha1
kind: APIClientCredential
metadata: {name: monitoring}
spec:
  issuerRef: {name: cf}
  cloudFoundry: {managed: {name: mine, offering: it-rt, plan: api, roles: [MonitoringDataRead]}}
  secret: {name: monitoring-key}
`
	testUpdate(t, credentials, "cf-managed-rules", managed, []ruleCase{
		{"the roles may change", `spec: {cloudFoundry: {managed: {roles: [WorkspacePackagesRead]}}}`, ""},
		{"so may the validity of tokens", `spec: {cloudFoundry: {managed: {tokenValidity: 2h}}}`, ""},
		{"and the end", `spec: {cloudFoundry: {managed: {deletion: Delete}}}`, ""},
		{"the name is immutable", `spec: {cloudFoundry: {managed: {name: other}}}`, "managed.name is immutable"},
		{"it is not taken away", `spec: {cloudFoundry: {managed: {name: null}}}`, "managed.name is immutable"},
		{"the offering is immutable", `spec: {cloudFoundry: {managed: {offering: xsuaa}}}`, "managed.offering is immutable"},
		{"the plan is immutable", `spec: {cloudFoundry: {managed: {plan: integration-flow}}}`, "managed.plan is immutable"},
		{"it does not turn into a named one", `spec: {cloudFoundry: {managed: null, instance: mine}}`, "instance, instanceGUID and managed are immutable"},
	})
}
