package admission

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/claviger-dev/claviger/api/v1alpha1"
)

const channel = `
apiVersion: credentials.claviger.dev/v1alpha1
kind: NotificationChannel
metadata: {name: mail}
spec:
  allowedNamespaces: {names: [payments]}
  smtp: {host: smtp.example.com, from: claviger@example.com, secretRef: {name: mail-login}}
`

// TestChannelRules: where mail goes, and with what login, is refused at the door if it cannot work.
func TestChannelRules(t *testing.T) {
	base := object(t, channel)
	for _, c := range []ruleCase{
		{"the plain channel is accepted", `{}`, ""},
		{"a name of 64 characters is refused", `metadata: {name: ` + strings.Repeat("n", 64) + `}`, "at most 63 characters"},
		{"no way is refused", `spec: {smtp: null}`, "exactly one way must be set"},
		{"two ways are refused", `spec: {slack: {secretRef: {name: hook}}}`, "exactly one way must be set"},
		{"a chat instead is accepted", `spec: {smtp: null, teams: {secretRef: {name: hook}}}`, ""},
		{"nobody who may use it is refused", `spec: {allowedNamespaces: null}`, "spec.allowedNamespaces: Required value"},
		{"a login in the clear is refused", `spec: {smtp: {encryption: None}}`, "a login is not sent without encryption"},
		{"no encryption without a login is accepted", `spec: {smtp: {encryption: None, secretRef: null}}`, ""},
		{"an encryption of another name is refused", `spec: {smtp: {encryption: SSL}}`, `spec.smtp.encryption: Unsupported value: "SSL"`},
		{"a host with a path is refused", `spec: {smtp: {host: "smtp.example.com/mail"}}`, "spec.smtp.host"},
		{"a sender with a line break is refused", `spec: {smtp: {from: "a@example.com\r\nBcc: b@example.com"}}`, "spec.smtp.from"},
		{"a sender that is no address is refused", `spec: {smtp: {from: claviger}}`, "spec.smtp.from"},
		{"a port that there is not is refused", `spec: {smtp: {port: 65536}}`, "spec.smtp.port"},
		{"a webhook with a key is accepted", `spec: {smtp: null, webhook: {url: "https://hooks.example/claviger", secretRef: {name: hook}}}`, ""},
		{"a webhook that nobody could check is refused", `spec: {smtp: null, webhook: {url: "https://hooks.example/claviger"}}`, "spec.webhook.secretRef: Required value"},
		{"a webhook with a login in its address is refused", `spec: {smtp: null, webhook: {url: "https://user:pass@hooks.example/", secretRef: {name: hook}}}`, "spec.webhook.url"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := admin(t).Resource(v1alpha1.GroupVersion.WithResource("notificationchannels")).
				Create(t.Context(), changed(t, base, c.change), metav1.CreateOptions{DryRun: dryRun, FieldValidation: metav1.FieldValidationStrict})
			requireOutcome(t, err, c.refusal)
		})
	}
}
