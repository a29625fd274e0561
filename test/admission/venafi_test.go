package admission

import "testing"

const venafiIssuer = `
apiVersion: credentials.claviger.dev/v1alpha1
kind: CredentialIssuer
metadata: {name: tpp}
spec:
  venafi:
    url: https://tpp.acme.example
    use: Tokens
    clientID: claviger-operator
    login: {method: Certificate, secretRef: {name: tpp-login}}
`

func TestVenafiLoginRules(t *testing.T) {
	testCreate(t, issuers, venafiIssuer, []ruleCase{
		{"the plain issuer is accepted", `{}`, ""},
		{"an unknown method is refused", `spec: {venafi: {login: {method: Kerberos}}}`, "spec.venafi.login.method: Unsupported value"},
		{"no Secret is refused", `spec: {venafi: {login: {secretRef: null}}}`, "the other methods need secretRef alone"},
		{"a Secret without a name is refused", `spec: {venafi: {login: {secretRef: {name: ""}}}}`, "spec.venafi.login.secretRef.name"},
		{"a service account is accepted", `spec: {venafi: {login: {method: JWT, secretRef: null, serviceAccountRef: {name: claviger-tpp, audience: tpp}}}}`, ""},
		{"JWT without a service account is refused", `spec: {venafi: {login: {method: JWT, secretRef: null}}}`, "method JWT needs serviceAccountRef"},
		{"JWT with a Secret is refused", `spec: {venafi: {login: {method: JWT, serviceAccountRef: {name: claviger-tpp, audience: tpp}}}}`, "method JWT needs serviceAccountRef and no secretRef"},
		{"a service account for another method is refused", `spec: {venafi: {login: {serviceAccountRef: {name: claviger-tpp, audience: tpp}}}}`, "the other methods need secretRef alone"},
		{"a credential that writes the Secret is accepted", `spec: {venafi: {login: {credentialRef: {name: operator-certificate}}}}`, ""},
		{"a credential without a Secret is refused", `spec: {venafi: {login: {secretRef: null, credentialRef: {name: operator-certificate}}}}`, "the other methods need secretRef alone"},
		{"a credential for JWT is refused", `spec: {venafi: {login: {method: JWT, secretRef: null, credentialRef: {name: a}, serviceAccountRef: {name: a, audience: tpp}}}}`, "method JWT needs serviceAccountRef and no secretRef"},
		{"no audience is refused", `spec: {venafi: {login: {method: JWT, secretRef: null, serviceAccountRef: {name: a, audience: ""}}}}`, "spec.venafi.login.serviceAccountRef.audience"},
	})
}

// A token of a service account is as good as a login: whoever has it sent to an address must
// be able to make it himself.
func TestTokensOfServiceAccountsCannotBeSentAway(t *testing.T) {
	namespace := newNamespace(t, "venafi-logins")
	wanted := changed(t, object(t, venafiIssuer), `spec: {venafi: {login: {method: JWT, secretRef: null, serviceAccountRef: {name: claviger-tpp, audience: tpp}}}}`)
	live := create(t, issuers, namespace, wanted)
	another := changed(t, wanted, `metadata: {name: another}`)
	without := tenant(t, namespace, "without-tokens", "* credentialissuers", "* secrets", "get,list,create serviceaccounts")
	other := tenant(t, namespace, "makes-others", "* credentialissuers", "create serviceaccounts/token default")
	makes := tenant(t, namespace, "makes-it", "* credentialissuers", "create serviceaccounts/token claviger-tpp")
	ctx := t.Context()
	requireAllowed(t, creating(another)(ctx, without.Resource(issuers).Namespace(namespace)), byToken)
	requireAllowed(t, creating(another)(ctx, other.Resource(issuers).Namespace(namespace)), byToken)
	requireAllowed(t, patching("tpp", `{"spec":{"venafi":{"login":{"serviceAccountRef":{"audience":"https://kubernetes.default.svc"}}}}}`)(ctx, without.Resource(issuers).Namespace(namespace)), byToken)
	requireAllowed(t, patching("tpp", `{"spec":{"suspend":true}}`)(ctx, without.Resource(issuers).Namespace(namespace)), "")
	requireAllowed(t, replacing(changed(t, live, `spec: {venafi: {login: {serviceAccountRef: {name: default}}}}`))(ctx, other.Resource(issuers).Namespace(namespace)), "")
	requireAllowed(t, creating(another)(ctx, makes.Resource(issuers).Namespace(namespace)), "")
}

const byToken = "make tokens of its login's service account"
