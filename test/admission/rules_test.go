package admission

import (
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/claviger-dev/claviger/internal/interval"
)

const credential = `
apiVersion: credentials.claviger.dev/v1alpha1
kind: APIClientCredential
metadata: {name: billing, labels: {tier: production}}
spec:
  issuerRef: {name: apic}
  ibmAPIConnect: {consumerOrg: retail, app: billing}
  secret: {name: billing-api}
`

const issuer = `
apiVersion: credentials.claviger.dev/v1alpha1
kind: CredentialIssuer
metadata: {name: apic}
spec:
  ibmAPIConnect:
    url: https://platform.apic.example
    providerOrg: acme
    catalog: production
    login: {realm: provider/default-idp-2, secretRef: {name: apic-login}}
`

const policy = `
apiVersion: credentials.claviger.dev/v1alpha1
kind: RotationPolicy
metadata: {name: quarterly}
spec:
  selector: {matchLabels: {tier: production}}
  rotateAfter: 90d
  overlap: 10d
  windows:
  - {schedule: "0 2 * * SAT", duration: 4h, timeZone: Europe/Berlin}
`

// A ruleCase is a change of a manifest and what the API server says to it.
type ruleCase struct {
	name    string
	change  string // a merge patch in YAML; empty leaves the manifest as it is
	refusal string // empty if it is accepted
}

func testCreate(t *testing.T, resource schema.GroupVersionResource, manifest string, cases []ruleCase) {
	t.Helper()
	base := object(t, manifest)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := admin(t).Resource(resource).Namespace("default").
				Create(t.Context(), changed(t, base, c.change), metav1.CreateOptions{DryRun: dryRun, FieldValidation: metav1.FieldValidationStrict})
			requireOutcome(t, err, c.refusal)
		})
	}
}

func testUpdate(t *testing.T, resource schema.GroupVersionResource, namespace, manifest string, cases []ruleCase) {
	t.Helper()
	live := create(t, resource, newNamespace(t, namespace), object(t, manifest))
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := admin(t).Resource(resource).Namespace(namespace).
				Update(t.Context(), changed(t, live, c.change), metav1.UpdateOptions{DryRun: dryRun, FieldValidation: metav1.FieldValidationStrict})
			requireOutcome(t, err, c.refusal)
		})
	}
}

func TestCredentialRulesOnCreate(t *testing.T) {
	name52, name53 := strings.Repeat("n", 52), strings.Repeat("n", 53)
	testCreate(t, credentials, credential, []ruleCase{
		{"the plain credential is accepted", `{}`, ""},
		{"a name of 52 characters is accepted", `metadata: {name: ` + name52 + `}`, ""},
		{"a name of 53 characters is refused", `metadata: {name: ` + name53 + `}`, "a DNS label of at most 52 characters"},
		{"a name with a dot is refused, since names of version Secrets have dots", `metadata: {name: billing.v1}`, "a DNS label of at most 52 characters"},
		{"no spec is refused", `spec: null`, "spec: Required value"},
		{"no upstream is refused", `spec: {ibmAPIConnect: null}`, "exactly one upstream must be set"},
		{"an empty upstream is refused by its required fields", `spec: {ibmAPIConnect: {consumerOrg: null, app: null}}`, "spec.ibmAPIConnect.app: Required value"},
		{"no issuer is refused", `spec: {issuerRef: null}`, "spec.issuerRef: Required value"},
		{"an issuer without a name is refused", `spec: {issuerRef: {name: ""}}`, "spec.issuerRef.name"},
		{"an issuer of an unknown kind is refused", `spec: {issuerRef: {kind: Secret}}`, `spec.issuerRef.kind: Unsupported value: "Secret"`},
		{"a policy of an unknown kind is refused", `spec: {policyRef: {kind: ConfigMap, name: x}}`, `spec.policyRef.kind: Unsupported value: "ConfigMap"`},
		{"a policy without a name is refused", `spec: {policyRef: {kind: RotationPolicy}}`, "spec.policyRef.name: Required value"},
		{"a consumer organisation with a slash would be another path, and is refused", `spec: {ibmAPIConnect: {consumerOrg: a/b}}`, "spec.ibmAPIConnect.consumerOrg"},
		{"an app that is escaped already is refused", `spec: {ibmAPIConnect: {app: a%2Fb}}`, "spec.ibmAPIConnect.app"},
		{"an app with a blank is refused", `spec: {ibmAPIConnect: {app: "a b"}}`, "spec.ibmAPIConnect.app"},
		{"a probe below the gateway's address is accepted", `spec: {ibmAPIConnect: {probe: {path: /orders/v1/health}}}`, ""},
		{"a probe without a leading slash is refused", `spec: {ibmAPIConnect: {probe: {path: orders}}}`, "spec.ibmAPIConnect.probe.path"},
		{"a probe with a query is refused", `spec: {ibmAPIConnect: {probe: {path: "/orders?x=y"}}}`, "spec.ibmAPIConnect.probe.path"},
		{"no Secret is refused", `spec: {secret: null}`, "spec.secret: Required value"},
		{"a Secret without a name is refused", `spec: {secret: {name: null}}`, "spec.secret.name: Required value"},
		{"a Secret with a name in capitals is refused", `spec: {secret: {name: Billing}}`, "spec.secret.name"},
		{"a Secret of type basic-auth is accepted", `spec: {secret: {type: kubernetes.io/basic-auth}}`, ""},
		{"a Secret of a service account's token would get that account's token, and is refused", `spec: {secret: {type: kubernetes.io/service-account-token}}`, "spec.secret.type: Invalid value"},
		{"a Secret of the journal's own type is refused", `spec: {secret: {type: credentials.claviger.dev/version}}`, "spec.secret.type: Invalid value"},
		{"a Secret for a container registry is accepted", `spec: {secret: {type: kubernetes.io/dockerconfigjson, template: {data: null, preset: DockerConfigJSON, dockerConfigJSON: {registry: "registry.example:5000"}}}}`, ""},
		{"a registry that is no host is refused", `spec: {secret: {template: {data: null, preset: DockerConfigJSON, dockerConfigJSON: {registry: "a b"}}}}`, "dockerConfigJSON.registry"},
		{"the preset for a registry without one is refused", `spec: {secret: {template: {data: null, preset: DockerConfigJSON}}}`, "dockerConfigJSON goes with the preset DockerConfigJSON"},
		{"a registry beside another preset is refused", `spec: {secret: {template: {data: null, preset: JSON, dockerConfigJSON: {registry: x}}}}`, "dockerConfigJSON goes with the preset DockerConfigJSON"},
		{"a preset that does not give what the Secret's type needs is refused", `spec: {secret: {type: kubernetes.io/tls, template: {data: null, preset: JSON}}}`, "needs the preset that is named after it"},
		{"a preset that does is accepted", `spec: {secret: {type: kubernetes.io/tls, template: {data: null, preset: TLS}}}`, ""},
		{"a service binding is accepted", `spec: {secret: {type: servicebinding.io/oauth2, template: {data: null, preset: ServiceBinding, serviceBinding: {type: oauth2, provider: sap}}}}`, ""},
		{"a service binding whose Secret is of another type of service is refused", `spec: {secret: {type: servicebinding.io/mysql, template: {data: null, preset: ServiceBinding, serviceBinding: {type: oauth2}}}}`, "needs the preset ServiceBinding with the same type"},
		{"a service binding without its type is refused", `spec: {secret: {template: {data: null, preset: ServiceBinding, serviceBinding: {}}}}`, "serviceBinding.type: Required value"},
		{"the preset for a service binding without the rest is refused", `spec: {secret: {template: {data: null, preset: ServiceBinding}}}`, "serviceBinding goes with the preset ServiceBinding"},
		{"a service binding's type that is no word is refused", `spec: {secret: {template: {data: null, preset: ServiceBinding, serviceBinding: {type: "{{ .x }}"}}}}`, "serviceBinding.type"},
		{"names of single versions are accepted", `spec: {secret: {naming: Versioned}}`, ""},
		{"another naming is refused", `spec: {secret: {naming: Dated}}`, "spec.secret.naming"},
		{"a name that leaves no room for those of versions is refused", `spec: {secret: {naming: Versioned, name: ` + strings.Repeat("a", 201) + `}}`, "at most 200 characters"},
		{"the longest that leaves some is accepted", `spec: {secret: {naming: Versioned, name: ` + strings.Repeat("a", 200) + `}}`, ""},
		{"a place for the previous version is accepted", `spec: {secret: {previous: {suffix: _PREVIOUS}}}`, ""},
		{"a suffix that no key can have is refused", `spec: {secret: {previous: {suffix: "/old"}}}`, "spec.secret.previous.suffix"},
		{"a previous version under the published one's keys is refused", `spec: {secret: {previous: {suffix: ""}}}`, "spec.secret.previous.suffix"},
		{"a keystore is accepted", `spec: {secret: {template: {data: null, preset: PKCS12, pkcs12: {passwordSecretRef: {name: p}}}}}`, ""},
		{"a keystore without a password is refused", `spec: {secret: {template: {data: null, preset: PKCS12}}}`, "pkcs12 goes with the preset PKCS12"},
		{"a keystore's password beside another preset is refused", `spec: {secret: {template: {data: null, preset: TLS, pkcs12: {passwordSecretRef: {name: p}}}}}`, "pkcs12 goes with the preset PKCS12"},
		{"a keystore in an unknown profile is refused", `spec: {secret: {template: {data: null, preset: PKCS12, pkcs12: {profile: RC2, passwordSecretRef: {name: p}}}}}`, "profile: Unsupported value"},
		{"a preset is accepted", `spec: {secret: {template: {preset: Environment}}}`, ""},
		{"an unknown preset is refused", `spec: {secret: {template: {preset: Java}}}`, "spec.secret.template.preset: Unsupported value"},
		{"a template of one's own is accepted", `spec: {secret: {template: {data: {ID: "{{ .clientID }}"}}}}`, ""},
		{"a preset beside a template of one's own is refused", `spec: {secret: {template: {preset: JSON, data: {ID: "{{ .clientID }}"}}}}`, "either preset or data"},
		{"a template without keys is refused", `spec: {secret: {template: {data: {}}}}`, "spec.secret.template.data"},
		{"a key that no Secret can have is refused", `spec: {secret: {template: {data: {"a/b": x}}}}`, "keys must be valid Secret keys"},
		{"a key longer than Secrets take is refused", `spec: {secret: {template: {data: {` + strings.Repeat("k", 254) + `: x}}}}`, "keys must be valid Secret keys"},
		{"a template of 16 KiB is accepted", `spec: {secret: {template: {data: {k: ` + strings.Repeat("x", 16384) + `}}}}`, ""},
		{"a longer template is refused", `spec: {secret: {template: {data: {k: ` + strings.Repeat("x", 16385) + `}}}}`, "at most 16384 characters"},
		{"64 keys are accepted", `spec: {secret: {template: {data: {` + keys(64) + `}}}}`, ""},
		{"65 keys are refused", `spec: {secret: {template: {data: {` + keys(65) + `}}}}`, "spec.secret.template.data: Too many"},
		{"a workload by name is accepted", `spec: {rollout: [{kind: Deployment, name: billing}]}`, ""},
		{"workloads by labels are accepted", `spec: {rollout: [{kind: DaemonSet, selector: {matchLabels: {a: b}}}, {kind: StatefulSet, selector: {}}]}`, ""},
		{"a workload with neither is refused", `spec: {rollout: [{kind: Deployment}]}`, "set exactly one of them"},
		{"a workload with both is refused", `spec: {rollout: [{kind: Deployment, name: billing, selector: {}}]}`, "set exactly one of them"},
		{"a CronJob cannot be restarted", `spec: {rollout: [{kind: CronJob, name: billing}]}`, "spec.rollout[0].kind: Unsupported value"},
		{"a workload of another namespace cannot be named", `spec: {rollout: [{kind: Deployment, name: other/billing}]}`, "spec.rollout[0].name"},
		{"16 workloads are accepted", `spec: {rollout: [` + strings.Repeat("{kind: Deployment, name: billing},", 16) + `]}`, ""},
		{"17 workloads are refused", `spec: {rollout: [` + strings.Repeat("{kind: Deployment, name: billing},", 17) + `]}`, "spec.rollout: Too many"},
		{"a delivery is accepted", `spec: {deliver: [{tenantRef: {name: production}, alias: A, as: OAuth2ClientCredentials, oauth2: {tokenServiceURL: "https://login.example/token"}}]}`, ""},
		{"a delivery with all that can be said is accepted", `spec: {deliver: [{tenantRef: {name: production}, alias: "acme's API", as: OAuth2ClientCredentials, adopt: true, withdraw: Delete, keptFor: 90m, oauth2: {tokenServiceURL: "https://login.example/token?x=y", clientAuthentication: header, scope: s, scopeContentType: json, resource: r, audience: a}}]}`, ""},
		{"a delivery as OAuth2 client credentials of an upstream without a token endpoint is refused", `spec: {deliver: [{tenantRef: {name: production}, alias: A, as: OAuth2ClientCredentials}]}`, "set oauth2.tokenServiceURL"},
		{"one as user credentials without keptFor is refused", `spec: {deliver: [{tenantRef: {name: production}, alias: A, as: UserCredentials}]}`, "keptFor is required with as: UserCredentials"},
		{"one with it is accepted", `spec: {deliver: [{tenantRef: {name: production}, alias: A, as: UserCredentials, keptFor: 0s}]}`, ""},
		{"oauth2 beside user credentials is refused", `spec: {deliver: [{tenantRef: {name: production}, alias: A, as: UserCredentials, keptFor: 1h, oauth2: {scope: s}}]}`, "oauth2 goes with as: OAuth2ClientCredentials"},
		{"a key pair of an upstream without certificates is refused", `spec: {deliver: [{tenantRef: {name: production}, alias: A, as: KeyPair}]}`, "a KeyPair needs a certificate and its key"},
		{"another form is refused", `spec: {deliver: [{tenantRef: {name: production}, alias: A, as: SecureParameter}]}`, "spec.deliver[0].as: Unsupported value"},
		{"an alias that SAP keeps for itself is refused", `spec: {deliver: [{tenantRef: {name: production}, alias: sap_cloudintegration, as: OAuth2ClientCredentials, oauth2: {tokenServiceURL: "https://login.example/token"}}]}`, "one of those that SAP keeps for itself"},
		{"whatever case it is written in", `spec: {deliver: [{tenantRef: {name: production}, alias: HCIcertificate1, as: OAuth2ClientCredentials, oauth2: {tokenServiceURL: "https://login.example/token"}}]}`, "one of those that SAP keeps for itself"},
		{"and so is the last of them", `spec: {deliver: [{tenantRef: {name: production}, alias: hcimsgcertificate, as: OAuth2ClientCredentials, oauth2: {tokenServiceURL: "https://login.example/token"}}]}`, "one of those that SAP keeps for itself"},
		{"an alias with a slash is refused", `spec: {deliver: [{tenantRef: {name: production}, alias: a/b, as: OAuth2ClientCredentials, oauth2: {tokenServiceURL: "https://login.example/token"}}]}`, "spec.deliver[0].alias"},
		{"a delivery without an alias is refused", `spec: {deliver: [{tenantRef: {name: production}, as: KeyPair}]}`, "spec.deliver[0].alias: Required value"},
		{"an alias that is delivered to twice is refused", `spec: {deliver: [{tenantRef: {name: production}, alias: A, as: OAuth2ClientCredentials, oauth2: {tokenServiceURL: "https://login.example/token"}}, {tenantRef: {name: production}, alias: A, as: UserCredentials, keptFor: 1h}]}`, "an alias of a tenant can be delivered to once"},
		{"four deliveries are accepted", `spec: {deliver: [{tenantRef: {name: production}, alias: A, as: OAuth2ClientCredentials, oauth2: {tokenServiceURL: "https://login.example/token"}}, {tenantRef: {name: production}, alias: B, as: OAuth2ClientCredentials, oauth2: {tokenServiceURL: "https://login.example/token"}}, {tenantRef: {name: production}, alias: C, as: OAuth2ClientCredentials, oauth2: {tokenServiceURL: "https://login.example/token"}}, {tenantRef: {name: production}, alias: D, as: OAuth2ClientCredentials, oauth2: {tokenServiceURL: "https://login.example/token"}}]}`, ""},
		{"five deliveries are refused", `spec: {deliver: [{tenantRef: {name: production}, alias: A, as: OAuth2ClientCredentials, oauth2: {tokenServiceURL: "https://login.example/token"}}, {tenantRef: {name: production}, alias: B, as: OAuth2ClientCredentials, oauth2: {tokenServiceURL: "https://login.example/token"}}, {tenantRef: {name: production}, alias: C, as: OAuth2ClientCredentials, oauth2: {tokenServiceURL: "https://login.example/token"}}, {tenantRef: {name: production}, alias: D, as: OAuth2ClientCredentials, oauth2: {tokenServiceURL: "https://login.example/token"}}, {tenantRef: {name: production}, alias: E, as: OAuth2ClientCredentials, oauth2: {tokenServiceURL: "https://login.example/token"}}]}`, "spec.deliver: Too many"},
		{"a key that is kept for less than nothing is refused", `spec: {deliver: [{tenantRef: {name: production}, alias: A, as: OAuth2ClientCredentials, oauth2: {tokenServiceURL: "https://login.example/token"}, keptFor: -1s}]}`, "keptFor must be from 0s to 2160h"},
		{"one that is kept for ever is refused", `spec: {deliver: [{tenantRef: {name: production}, alias: A, as: OAuth2ClientCredentials, oauth2: {tokenServiceURL: "https://login.example/token"}, keptFor: 2161h}]}`, "keptFor must be from 0s to 2160h"},
		{"a token service that is no address is refused", `spec: {deliver: [{tenantRef: {name: production}, alias: A, as: OAuth2ClientCredentials, oauth2: {tokenServiceURL: login}}]}`, "tokenServiceURL must be https://host/path"},
		{"another withdrawal is refused", `spec: {deliver: [{tenantRef: {name: production}, alias: A, as: OAuth2ClientCredentials, oauth2: {tokenServiceURL: "https://login.example/token"}, withdraw: Always}]}`, "withdraw: Unsupported value"},
		{"Retain is a deletion policy", `spec: {deletionPolicy: Retain}`, ""},
		{"Orphan is none", `spec: {deletionPolicy: Orphan}`, "spec.deletionPolicy: Unsupported value"},
		{"a credential can begin suspended", `spec: {suspend: true}`, ""},
	})
}

func keys(n int) string {
	pairs := make([]string, n)
	for i := range pairs {
		pairs[i] = fmt.Sprintf("key-%d: x", i)
	}
	return strings.Join(pairs, ", ")
}

func TestCredentialRulesOnUpdate(t *testing.T) {
	testUpdate(t, credentials, "credential-updates", credential, []ruleCase{
		{"the issuer cannot change", `spec: {issuerRef: {name: other}}`, "issuerRef is immutable"},
		{"the upstream cannot be dropped", `spec: {ibmAPIConnect: null}`, "exactly one upstream must be set"},
		{"the consumer organisation cannot change", `spec: {ibmAPIConnect: {consumerOrg: wholesale}}`, "consumerOrg is immutable"},
		{"the app cannot change", `spec: {ibmAPIConnect: {app: shipping}}`, "app is immutable"},
		{"the Secret's name cannot change", `spec: {secret: {name: other}}`, "secret.name is immutable"},
		{"the Secret's type cannot change", `spec: {secret: {type: kubernetes.io/basic-auth}}`, "secret.type is immutable"},
		{"the Secret's type cannot change by being left out, since its default comes back", `spec: {secret: {type: null}}`, ""},
		{"the whole spec cannot be dropped to put another one in its place later", `spec: null`, "spec: Required value"},
		{"the template can change", `spec: {secret: {template: {preset: JSON}}}`, ""},
		{"the probe can be added", `spec: {ibmAPIConnect: {probe: {path: /health}}}`, ""},
		{"the policy can change", `spec: {policyRef: {name: monthly}}`, ""},
		{"the deletion policy can change", `spec: {deletionPolicy: Retain}`, ""},
		{"it can be suspended", `spec: {suspend: true}`, ""},
		{"labels and annotations can change", `metadata: {labels: {tier: test}, annotations: {a: b}}`, ""},
	})
}

func TestNamesOfSingleVersionsCannotBeTakenBack(t *testing.T) {
	const back = "naming: Versioned cannot be taken back"
	testUpdate(t, credentials, "naming-stable", credential, []ruleCase{{"they can be asked for later", `spec: {secret: {naming: Versioned}}`, ""}})
	testUpdate(t, credentials, "naming-versioned", strings.Replace(credential, "{name: billing-api}", "{name: billing-api, naming: Versioned}", 1), []ruleCase{
		{"naming cannot be taken back", `spec: {secret: {naming: Stable}}`, back},
		{"nor by being left out, since its default comes back", `spec: {secret: {naming: null}}`, back},
		{"the rest can change", `spec: {secret: {template: {preset: JSON}}}`, ""},
	})
}

func TestIssuerRulesOnCreate(t *testing.T) {
	name63, name64 := strings.Repeat("n", 63), strings.Repeat("n", 64)
	const badURL = "url must be https://host or https://host:port"
	testCreate(t, issuers, issuer, []ruleCase{
		{"the plain issuer is accepted", `{}`, ""},
		{"a name of 63 characters is accepted", `metadata: {name: ` + name63 + `}`, ""},
		{"a name of 64 characters is refused", `metadata: {name: ` + name64 + `}`, "at most 63 characters"},
		{"no spec is refused", `spec: null`, "spec: Required value"},
		{"no upstream is refused", `spec: {ibmAPIConnect: null}`, "exactly one upstream must be set"},
		{"an address with a port is accepted", `spec: {ibmAPIConnect: {url: "https://apic.example:9443"}}`, ""},
		{"an address with a closing slash is accepted", `spec: {ibmAPIConnect: {url: "https://apic.example/"}}`, ""},
		{"an address without a scheme is refused", `spec: {ibmAPIConnect: {url: platform.apic.example}}`, badURL},
		{"an address of another scheme is refused", `spec: {ibmAPIConnect: {url: "ftp://apic.example"}}`, badURL},
		{"an address with a path is refused", `spec: {ibmAPIConnect: {url: "https://apic.example/api"}}`, badURL},
		{"an address with a query is refused", `spec: {ibmAPIConnect: {url: "https://apic.example?x=y"}}`, badURL},
		{"an address with a password is refused", `spec: {ibmAPIConnect: {url: "https://u:p@apic.example"}}`, badURL},
		{"an address with a fragment is refused", `spec: {ibmAPIConnect: {url: "https://apic.example#x"}}`, badURL},
		{"an address without a host is refused", `spec: {ibmAPIConnect: {url: "https://"}}`, badURL},
		{"an organisation with a slash is refused", `spec: {ibmAPIConnect: {providerOrg: a/b}}`, "spec.ibmAPIConnect.providerOrg"},
		{"a catalog with a slash is refused", `spec: {ibmAPIConnect: {catalog: a/b}}`, "spec.ibmAPIConnect.catalog"},
		{"no login is refused", `spec: {ibmAPIConnect: {login: null}}`, "spec.ibmAPIConnect.login: Required value"},
		{"a login without a Secret is refused", `spec: {ibmAPIConnect: {login: {secretRef: null}}}`, "spec.ibmAPIConnect.login.secretRef: Required value"},
		{"a login by API key is accepted", `spec: {ibmAPIConnect: {login: {grant: APIKey}}}`, ""},
		{"a login by an unknown grant is refused", `spec: {ibmAPIConnect: {login: {grant: Certificate}}}`, "spec.ibmAPIConnect.login.grant: Unsupported value"},
		{"a gateway with a base path is accepted", `spec: {ibmAPIConnect: {gatewayURL: "https://api.acme.example/production"}}`, ""},
		{"a gateway with a query is refused", `spec: {ibmAPIConnect: {gatewayURL: "https://api.acme.example/?x=y"}}`, "gatewayURL must be"},
		{"a gateway that is no address is refused", `spec: {ibmAPIConnect: {gatewayURL: gateway}}`, "gatewayURL must be"},
		{"a CA bundle that holds a private key only is refused", `spec: {ibmAPIConnect: {caBundle: "-----BEGIN PRIVATE KEY-----"}}`, "caBundle must be PEM"},
		{"room for one credential per app is too little for a renewal", `spec: {ibmAPIConnect: {maxPerApp: 1}}`, "spec.ibmAPIConnect.maxPerApp"},
		{"room for two is enough", `spec: {ibmAPIConnect: {maxPerApp: 2}}`, ""},
		{"a rate of zero calls is refused", `spec: {rateLimit: {perSecond: 0}}`, "spec.rateLimit.perSecond"},
		{"a negative burst is refused", `spec: {rateLimit: {burst: -1}}`, "spec.rateLimit.burst"},
	})
}

func TestIssuerRulesOnUpdate(t *testing.T) {
	testUpdate(t, issuers, "issuer-updates", issuer, []ruleCase{
		{"the address cannot change", `spec: {ibmAPIConnect: {url: "https://other.example"}}`, "url is immutable"},
		{"the provider organisation cannot change", `spec: {ibmAPIConnect: {providerOrg: other}}`, "providerOrg is immutable"},
		{"the catalog cannot change", `spec: {ibmAPIConnect: {catalog: other}}`, "catalog is immutable"},
		{"the upstream cannot be dropped", `spec: {ibmAPIConnect: null}`, "exactly one upstream must be set"},
		{"the login can change", `spec: {ibmAPIConnect: {login: {realm: provider/ldap, secretRef: {name: other}}}}`, ""},
		{"the authorities can change", `spec: {ibmAPIConnect: {caBundle: "-----BEGIN CERTIFICATE-----"}}`, ""},
		{"the budget can change", `spec: {rateLimit: {perSecond: 1, burst: 1}}`, ""},
		{"it can be suspended", `spec: {suspend: true}`, ""},
	})
}

func TestPolicyRules(t *testing.T) {
	window := func(schedule, duration, zone string) string {
		return fmt.Sprintf(`spec: {windows: [{schedule: %q, duration: %q, timeZone: %q}]}`, schedule, duration, zone)
	}
	const (
		smaller  = "overlap must be smaller than rotateAfter"
		span     = "duration must be between 1m and 168h"
		zone     = "timeZone must be a name of the IANA time zone database"
		schedule = "spec.windows[0].schedule"
	)
	testCreate(t, policies, policy, []ruleCase{
		{"the plain policy is accepted", `{}`, ""},
		{"no rotateAfter is refused", `spec: {rotateAfter: null}`, "spec.rotateAfter: Required value"},
		{"no overlap is refused", `spec: {overlap: null}`, "overlap is required"},
		{"no overlap is fine where nothing is due by age", `spec: {rotateAfter: Unlimited, overlap: null}`, ""},
		{"any overlap is smaller than Unlimited", `spec: {rotateAfter: Unlimited, overlap: 99y}`, ""},
		{"a strategy is one of two", `spec: {strategy: Swap}`, "Unsupported value"},
		{"renewal in place is chosen by name", `spec: {strategy: Replace}`, ""},
		{"what becomes of an end outside of windows is one of two", `spec: {expiringOutsideWindows: Ignore}`, "Unsupported value"},
		{"an overlap without end is refused", `spec: {overlap: Unlimited}`, "overlap cannot be Unlimited"},
		{"an overlap without end is refused even if nothing is due by age", `spec: {rotateAfter: Unlimited, overlap: Unlimited}`, "overlap cannot be Unlimited"},
		{"an overlap of zero is refused", `spec: {overlap: 0d}`, "an interval of zero is refused"},
		{"an overlap as long as the age is refused", `spec: {rotateAfter: 90d, overlap: 90d}`, smaller},
		{"an overlap longer than the age is refused", `spec: {rotateAfter: 90d, overlap: 91d}`, smaller},
		{"one second less is accepted", `spec: {rotateAfter: 90d, overlap: 89d 23h 59min 59s}`, ""},
		{"one second is smaller than two", `spec: {rotateAfter: 2s, overlap: 1s}`, ""},
		{"a month may have 28 days, so an overlap of 28 days is not smaller", `spec: {rotateAfter: 1mo, overlap: 28d}`, smaller},
		{"an overlap of 27 days is smaller than every month", `spec: {rotateAfter: 1mo, overlap: 27d}`, ""},
		{"a month may have 31 days, so it is not smaller than 31 days", `spec: {rotateAfter: 31d, overlap: 1mo}`, smaller},
		{"a month is smaller than 32 days", `spec: {rotateAfter: 32d, overlap: 1mo}`, ""},
		{"a year may have 366 days", `spec: {rotateAfter: 366d, overlap: 1y}`, smaller},
		{"a year is smaller than 367 days", `spec: {rotateAfter: 367d, overlap: 1y}`, ""},
		{"a year may have 365 days", `spec: {rotateAfter: 1y, overlap: 365d}`, smaller},
		{"a bare m before days is months in the comparison too", `spec: {rotateAfter: 6m 3d, overlap: 170d}`, ""},
		{"a bare m before days is months on the left as well", `spec: {rotateAfter: 100d, overlap: 6m 3d}`, smaller},
		{"a bare m after days is minutes in the comparison too", `spec: {rotateAfter: 3d 6m, overlap: 3d 5min}`, ""},
		{"a bare m between days and seconds is minutes", `spec: {rotateAfter: 3d 6m 10s, overlap: 4d}`, smaller},
		{"two bare m in one interval are a month and a minute", `spec: {rotateAfter: 1m 3d 1m, overlap: 31d 1min}`, smaller},
		{"an interval that cannot be read is not blamed for its overlap as well", `spec: {rotateAfter: 6m, overlap: 10d}`, "a bare m is ambiguous here"},
		{"a name of 64 characters is refused", `metadata: {name: ` + strings.Repeat("n", 64) + `}`, "at most 63 characters"},

		{"a window in the operator's default zone is accepted", `spec: {windows: [{schedule: "0 2 * * *", duration: 1h}]}`, ""},
		{"a window of a week is accepted", window("0 0 * * MON", "168h", "UTC"), ""},
		{"a window of more than a week is refused", window("0 0 * * MON", "168h1s", "UTC"), span},
		{"a window of a minute is accepted", window("* * * * *", "1m", "UTC"), ""},
		{"a window of less than a minute is refused", window("* * * * *", "59s", "UTC"), span},
		{"a negative window is refused", window("* * * * *", "-4h", "UTC"), span},
		{"a window in days is refused: durations have hours", window("* * * * *", "1d", "UTC"), "spec.windows[0].duration"},
		{"a zone of the database is accepted", window("0 2 * * SAT", "4h", "America/Argentina/Buenos_Aires"), ""},
		{"a zone that does not exist is refused", window("0 2 * * SAT", "4h", "Europe/Atlantis"), "spec.windows[0].timeZone"},
		{"the zone of whatever machine is refused", window("0 2 * * SAT", "4h", "Local"), zone},
		{"an offset is no zone: it knows no summer time", window("0 2 * * SAT", "4h", "+02:00"), zone},
		{"four fields are no schedule", window("0 2 * *", "4h", "UTC"), schedule},
		{"six fields are no schedule: there are no seconds", window("0 0 2 * * SAT", "4h", "UTC"), schedule},
		{"a macro is no schedule", window("@every 24h", "4h", "UTC"), schedule},
		{"a zone inside the schedule is refused", window("TZ=UTC 0 2 * *", "4h", "UTC"), schedule},
		{"16 windows are accepted", windows(16), ""},
		{"17 windows are refused", windows(17), "spec.windows: Too many"},

		{"restarts with pauses are accepted", `spec: {rollout: {pause: 24h, timeout: 168h, coalesce: 0s}}`, ""},
		{"a pause of days is refused", `spec: {rollout: {pause: 25h}}`, "pause must be between 0s and 24h"},
		{"a pause before now is refused", `spec: {rollout: {pause: -1s}}`, "pause must be between 0s and 24h"},
		{"a timeout of restarts of zero is refused", `spec: {rollout: {timeout: 0s}}`, "timeout must be between 1s and 168h"},
		{"waiting for other credentials for hours is refused", `spec: {rollout: {coalesce: 61m}}`, "coalesce must be between 0s and 1h"},
		{"a verify timeout is accepted", `spec: {verify: {timeout: 15m}}`, ""},
		{"a verify timeout of zero is refused", `spec: {verify: {timeout: 0s}}`, "timeout must be between 1s and 24h"},
		{"a verify timeout of more than a day is refused", `spec: {verify: {timeout: 25h}}`, "timeout must be between 1s and 24h"},
	})
}

func windows(n int) string {
	const one = `{schedule: "0 2 * * SAT", duration: 4h}`
	return `spec: {windows: [` + strings.Repeat(one+", ", n-1) + one + `]}`
}

func TestIntervalRulesSayWhatToWriteInstead(t *testing.T) {
	const (
		usage     = "write whole numbers with the units y mo w d h min s"
		ambiguous = "write mo for months or min for minutes"
		tooLong   = "longer than a hundred years"
	)
	var cases []ruleCase
	for text, refusal := range map[string]string{
		"0d": "an interval of zero is refused", "6m": ambiguous, "1y 6m": ambiguous, "6m 30s": ambiguous,
		"-1d": usage, "": usage, "90": usage, "90 d": usage, "1.5d": usage, "1D": usage, "ninety": usage,
		"5h 3d": usage, "1d 1d": usage, "unlimited": usage,
		"9999999y": tooLong, "101y": tooLong,
	} {
		cases = append(cases, ruleCase{fmt.Sprintf("rotateAfter %q is refused", text), fmt.Sprintf("spec: {rotateAfter: %q, overlap: 1s}", text), refusal})
	}
	testCreate(t, policies, policy, cases)
}

// TestIntervalsMeanTheSameToTheServerAndToTheParser: an interval that the server
// accepts and the operator cannot read is a policy that is silently not applied.
func TestIntervalsMeanTheSameToTheServerAndToTheParser(t *testing.T) {
	base := object(t, policy)
	accepted := func(t *testing.T, rotateAfter, overlap string) bool {
		t.Helper()
		candidate := changed(t, base, fmt.Sprintf("spec: {rotateAfter: %q, overlap: %q}", rotateAfter, overlap))
		_, err := admin(t).Resource(policies).Namespace("default").Create(t.Context(), candidate, metav1.CreateOptions{DryRun: dryRun})
		return err == nil
	}
	texts := []string{
		"Unlimited", "unlimited", "Unlimited 1d", "0d", "0y 0s", "1s", "0d 1s", "6m", "1y 6m", "6m 3d", "3d 6m", "6m 3d 30m",
		"3d 5m 10s", "1mo5m", "5m 30min", "1h 5m 10min", "1y2mo3w4d5h6min7s", "1y 4w 3d 5h 30m", "5h 3d", "1d 1d", " 1d", "1d ",
		"1d  2h", "1d\t2h", "1d\n", "1 d", "1D", "1.5d", "+1d", "-1d", "１d", "d", "1", "", "1ms", "1month", "99y", "100y", "100y 1s",
		"101y", "5218w", "5229w", "36600d", "36601d", "999999999s", "3162240000s", "1000000000s", "9999999y", "99999999999999999999y",
		strings.Repeat("0", 8) + "1d", strings.Repeat("1d ", 20) + "1d",
	}
	// Every policy needs an overlap: the shortest, so that rotateAfter alone decides.
	second := interval.FromDuration(time.Second)
	var valid []string
	for _, text := range texts {
		parsed, err := interval.Parse(text)
		operator := err == nil && !parsed.IsZero()
		if server := accepted(t, text, "1s"); server != (operator && interval.DefinitelyLess(second, parsed)) {
			t.Errorf("%q: the server accepts it: %v, the operator: %v (%v)", text, server, operator, err)
		}
		if operator && !parsed.IsUnlimited() {
			valid = append(valid, text)
		}
	}
	for _, rotateAfter := range valid {
		for _, overlap := range valid {
			after, err1 := interval.Parse(rotateAfter)
			before, err2 := interval.Parse(overlap)
			if err1 != nil || err2 != nil {
				t.Fatal(err1, err2)
			}
			operator := interval.DefinitelyLess(before, after)
			if server := accepted(t, rotateAfter, overlap); server != operator {
				t.Errorf("overlap %q < rotateAfter %q: the server says %v, the operator %v", overlap, rotateAfter, server, operator)
			}
		}
	}
}

// TestWindowsThatTheOperatorReadsAreAcceptedByTheServer: the other direction does not
// hold, since no pattern knows which days a schedule never meets.
func TestWindowsThatTheOperatorReadsAreAcceptedByTheServer(t *testing.T) {
	base := object(t, policy)
	for _, schedule := range []string{"0 2 * * SAT", "*/15 0-6,22-23 1,15 JAN-MAR ?", "0 0 29 2 *", "59 23 31 12 6", "0  2  *  *  MON-FRI"} {
		for _, zone := range []string{"UTC", "Europe/Berlin", "Etc/GMT+5", "Asia/Kolkata"} {
			if _, err := interval.ParseWindow(schedule, "4h", zone); err != nil {
				t.Errorf("the operator cannot read it: %v", err)
			}
			candidate := changed(t, base, fmt.Sprintf("spec: {windows: [{schedule: %q, duration: 4h, timeZone: %q}]}", schedule, zone))
			if _, err := admin(t).Resource(policies).Namespace("default").Create(t.Context(), candidate, metav1.CreateOptions{DryRun: dryRun}); err != nil {
				t.Errorf("%q in %s: %v", schedule, zone, err)
			}
		}
	}
}

// TestReferencesHaveNoNamespace: through a reference to another namespace the
// operator's rights would reach what its author's do not.
func TestReferencesHaveNoNamespace(t *testing.T) {
	for name, test := range map[string]struct {
		resource         schema.GroupVersionResource
		manifest, change string
	}{
		"login Secret":            {issuers, issuer, `spec: {ibmAPIConnect: {login: {secretRef: {namespace: kube-system}}}}`},
		"login's service account": {issuers, venafiIssuer, `spec: {venafi: {login: {method: JWT, secretRef: null, serviceAccountRef: {name: a, audience: tpp, namespace: kube-system}}}}`},
		"issuer":                  {credentials, credential, `spec: {issuerRef: {namespace: kube-system}}`},
		"policy":                  {credentials, credential, `spec: {policyRef: {name: quarterly, namespace: kube-system}}`},
		"target Secret":           {credentials, credential, `spec: {secret: {namespace: kube-system}}`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := admin(t).Resource(test.resource).Namespace("default").Create(t.Context(), changed(t, object(t, test.manifest), test.change),
				metav1.CreateOptions{DryRun: dryRun, FieldValidation: metav1.FieldValidationStrict})
			if err == nil || !strings.Contains(err.Error(), "unknown field") {
				t.Errorf("want a refusal of an unknown field, got %v", err)
			}
		})
	}
}

func TestDefaultsAreWrittenIntoTheObject(t *testing.T) {
	namespace := newNamespace(t, "defaults")
	tests := map[string]struct {
		resource schema.GroupVersionResource
		manifest string
		want     map[string]any // by path
	}{
		"a credential": {credentials, credential, map[string]any{
			"spec.issuerRef.kind": "CredentialIssuer", "spec.secret.type": "Opaque", "spec.deletionPolicy": "Revoke",
		}},
		"an issuer": {issuers, issuer, map[string]any{
			"spec.rateLimit.perSecond": int64(10), "spec.rateLimit.burst": int64(20), "spec.ibmAPIConnect.login.grant": "Password",
		}},
		"a policy": {policies, policy, map[string]any{"spec.verify": map[string]any{}}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			made := create(t, test.resource, namespace, object(t, test.manifest))
			for path, want := range test.want {
				got, _, err := unstructured.NestedFieldCopy(made.Object, strings.Split(path, ".")...)
				if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
					t.Errorf("%s is %v (%v), want %v", path, got, err, want)
				}
			}
		})
	}
}
