package admission

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const managerIssuer = `
apiVersion: credentials.claviger.dev/v1alpha1
kind: CredentialIssuer
metadata: {name: sm}
spec:
  sapServiceManager:
    url: https://service-manager.cfapps.eu99.example
    subaccountID: 0c1d9a6e-7f7b-4c58-9a55-2d1c1a3a4a10
    login: {secretRef: {name: sm-login}}
`

func TestServiceManagerIssuerRules(t *testing.T) {
	testCreate(t, issuers, managerIssuer, []ruleCase{
		{"the plain issuer is accepted", `{}`, ""},
		{"a space beside it is refused", `spec: {cloudFoundry: {url: "https://api.cf.example", organization: acme, space: dev, login: {secretRef: {name: s}}}}`, "exactly one upstream must be set"},
		{"an address with a path is refused", `spec: {sapServiceManager: {url: "https://sm.example/v1"}}`, "url must be https://host"},
		{"an address with a user is refused", `spec: {sapServiceManager: {url: "https://me@sm.example"}}`, "url must be https://host"},
		{"an address that is none is refused", `spec: {sapServiceManager: {url: "service-manager"}}`, "url must be https://host"},
		{"no subaccount is refused", `spec: {sapServiceManager: {subaccountID: null}}`, "spec.sapServiceManager.subaccountID: Required value"},
		{"an empty subaccount is refused", `spec: {sapServiceManager: {subaccountID: ""}}`, "spec.sapServiceManager.subaccountID"},
		{"a subaccount that is a path is refused", `spec: {sapServiceManager: {subaccountID: a/b}}`, "spec.sapServiceManager.subaccountID"},
		{"no login is refused", `spec: {sapServiceManager: {login: null}}`, "spec.sapServiceManager.login: Required value"},
		{"a login without a Secret is refused", `spec: {sapServiceManager: {login: {secretRef: null}}}`, "spec.sapServiceManager.login.secretRef: Required value"},
		{"a login of a credential is accepted", `spec: {sapServiceManager: {login: {credentialRef: {name: sm-key}}}}`, ""},
		{"a bundle without a certificate is refused", `spec: {sapServiceManager: {caBundle: x}}`, "caBundle must be PEM"},
	})
	testUpdate(t, issuers, "sm-issuer-rules", managerIssuer, []ruleCase{
		{"the address is immutable", `spec: {sapServiceManager: {url: "https://sm.eu98.example"}}`, "url is immutable"},
		{"the subaccount is immutable", `spec: {sapServiceManager: {subaccountID: other}}`, "subaccountID is immutable"},
		{"the login may change", `spec: {sapServiceManager: {login: {secretRef: {name: other}}}}`, ""},
		{"the upstream is immutable", `spec: {sapServiceManager: null, cloudFoundry: {url: "https://api.cf.example", organization: acme, space: dev, login: {secretRef: {name: s}}}}`, "the upstream of an issuer is immutable"},
	})
}

// A credential has no member of its own for this upstream: its key is the same.
func TestServiceManagerHasNoCredentialOfItsOwn(t *testing.T) {
	testCreate(t, credentials, cfCredential, []ruleCase{{"a key is asked for as in Cloud Foundry", `spec: {issuerRef: {name: sm}}`, ""}})
	wrong := changed(t, object(t, cfCredential), `spec: {cloudFoundry: null, sapServiceManager: {instance: cpi-api}}`)
	_, err := admin(t).Resource(credentials).Namespace("default").Create(t.Context(), wrong, metav1.CreateOptions{DryRun: dryRun, FieldValidation: metav1.FieldValidationStrict})
	if err == nil || !strings.Contains(err.Error(), `unknown field "spec.sapServiceManager"`) {
		t.Errorf("a member of its own: %v", err)
	}
}

// The login of an issuer of Service Manager is guarded as any other.
func TestServiceManagerLoginsOfOthersCannotBeSentAway(t *testing.T) {
	namespace := newNamespace(t, "sm-logins")
	create(t, issuers, namespace, object(t, managerIssuer))
	another := changed(t, object(t, managerIssuer), `metadata: {name: another}`)
	withoutGet := tenant(t, namespace, "without-get", "* credentialissuers", "list,watch,create,update,delete secrets")
	getsIt := tenant(t, namespace, "gets-it", "* credentialissuers", "get secrets sm-login")
	ctx := t.Context()
	requireAllowed(t, creating(another)(ctx, withoutGet.Resource(issuers).Namespace(namespace)), byLogin)
	requireAllowed(t, patching("sm", `{"spec":{"sapServiceManager":{"caBundle":"-----BEGIN CERTIFICATE-----"}}}`)(ctx, withoutGet.Resource(issuers).Namespace(namespace)), byLogin)
	requireAllowed(t, patching("sm", `{"spec":{"suspend":true}}`)(ctx, withoutGet.Resource(issuers).Namespace(namespace)), "")
	requireAllowed(t, creating(another)(ctx, getsIt.Resource(issuers).Namespace(namespace)), "")
}
