package canary

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/claviger-dev/claviger/internal/journal"
)

// A watch that never barks proves nothing.
func TestEveryFormOfALeakIsFound(t *testing.T) {
	const value = "p+ss/w\"rd\n<of> 24 signs & more"
	asJSON, err := json.Marshal(map[string]string{"password": value})
	if err != nil {
		t.Fatal(err)
	}
	request := &http.Request{Header: http.Header{}}
	for name, text := range map[string]string{
		"as it is": "login with " + value, "in JSON": string(asJSON), "in a form": "password=" + url.QueryEscape(value),
		"in a path": "/secrets/" + url.PathEscape(value), "in hexadecimal": "0x" + hex.EncodeToString([]byte(value)),
		"at the very end": "…" + value, "alone": value,
	} {
		wantFound(t, name, value, text)
	}
	for _, user := range []string{"a", "ab", "abc", "abcd"} {
		request.SetBasicAuth(user, value)
		wantFound(t, "Basic, user "+user, value, request.Header.Get("Authorization"))
		wantFound(t, "base64 for URLs, after "+user, value, base64.URLEncoding.EncodeToString([]byte(user+value+"tail")))
	}
}

func wantFound(t *testing.T, name, value, text string) {
	t.Helper()
	c := &Canaries{}
	c.Add("password", value)
	err := c.Find("a text", "before "+text+" after")
	if err == nil {
		t.Errorf("%s: not found in %q", name, text)
		return
	}
	if !strings.Contains(err.Error(), "a text holds a password") {
		t.Errorf("%s: the error does not say what was found where: %v", name, err)
	}
	if strings.Contains(err.Error(), value) {
		t.Errorf("%s: the error tells the secret", name)
	}
}

func TestWhatIsNoLeakIsNotFound(t *testing.T) {
	c := &Canaries{}
	c.Add("password", "correct horse battery")
	c.Add("short", "horse")
	c.Add("an id", "3f1c0a5d9e7b4c2a8d6f0e1b2c3d4e5f")
	c.Allow("3f1c0a5d9e7b4c2a8d6f0e1b2c3d4e5f")
	if c.Count() != 2 {
		t.Errorf("%d are remembered, want the two that are long enough", c.Count())
	}
	for _, text := range []string{"", "correct", "correct horse batter", "client 3f1c0a5d9e7b4c2a8d6f0e1b2c3d4e5f", "a horse"} {
		if err := c.Find("a text", text); err != nil {
			t.Errorf("found in %q: %v", text, err)
		}
	}
}

// What a simulator makes up is found by its marker, though nobody knows the value.
func TestAMarkerIsEnough(t *testing.T) {
	c := &Canaries{}
	c.Mark("value that a simulator made", "5ec2e7ca11ed")
	for _, text := range []string{
		"token 5ec2e7ca11ed0123456789", base64.StdEncoding.EncodeToString([]byte("5ec2e7ca11ed0123456789")),
		base64.StdEncoding.EncodeToString([]byte("id:5ec2e7ca11ed0123456789")), base64.StdEncoding.EncodeToString([]byte("my:5ec2e7ca11ed0123456789")),
	} {
		if c.Find("a text", text) == nil {
			t.Errorf("not found in %q", text)
		}
	}
}

func TestSecretsTeachWhatToLookFor(t *testing.T) {
	c := &Canaries{}
	meta := func(role string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Namespace: "ns", Name: "s", Labels: map[string]string{journal.LabelRole: role}}
	}
	c.Learn(&corev1.Secret{ObjectMeta: meta(journal.RoleVersion), Data: map[string][]byte{
		"client_id": []byte("an id that everybody may know"), "client_secret": []byte("a secret that nobody may know"),
	}})
	c.Learn(&corev1.Secret{ObjectMeta: meta(journal.RoleTarget), Data: map[string][]byte{"url": []byte("https://gateway.example/orders")}})
	if err := c.Find("a text", "https://gateway.example/orders called by an id that everybody may know"); err != nil {
		t.Errorf("found what is no secret: %v", err)
	}
	if err := c.Find("a text", "a secret that nobody may know"); err == nil || !strings.Contains(err.Error(), "client_secret of Secret ns/s") {
		t.Errorf("the secret was not found by its name: %v", err)
	}
}
