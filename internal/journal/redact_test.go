package journal

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/claviger-dev/claviger/internal/material"
)

const canary = "canary-4b1d"

// leaks reports whether a text shows the canary in any of the forms in which bytes
// are printed.
func leaks(text string) bool {
	var decimal, hexadecimal []string
	for _, b := range []byte(canary) {
		decimal, hexadecimal = append(decimal, fmt.Sprint(b)), append(hexadecimal, fmt.Sprintf("0x%x", b))
	}
	for _, form := range []string{
		canary, hex.EncodeToString([]byte(canary)), strings.ToUpper(hex.EncodeToString([]byte(canary))), base64.StdEncoding.EncodeToString([]byte(canary)),
		base64.RawURLEncoding.EncodeToString([]byte(canary)), strings.Join(decimal, " "), strings.Join(hexadecimal, ", "), strings.Join(decimal, ","),
	} {
		if strings.Contains(text, form) {
			return true
		}
	}
	return false
}

// sealed is an intent whose secret values are the canary.
func sealed() Intent {
	i := intent()
	i.Material = material.Material{
		ClientID: "id", ClientSecret: material.New(canary), PrivateKey: material.New(canary), Token: material.New(canary),
		APIKey: material.New(canary), Document: material.New(canary),
	}
	i.Seal = []byte(canary)
	return i
}

func TestSecretsShowThemselvesNowhere(t *testing.T) {
	v, err := ParseSecret(sealed().Secret())
	if err != nil {
		t.Fatal(err)
	}
	p := publication()
	p.Seal, p.Data = []byte(canary), Data{"client_secret": []byte(canary)}
	secret := p.Onto(nil)
	secret.ManagedFields = []metav1.ManagedFieldsEntry{entry(FieldManager, metav1.ManagedFieldsOperationUpdate, "", noon, allOurs)}
	target := ReadTargetSecret(secret)
	handle := v.Handle(nil)
	if !leaks(fmt.Sprintf("%d", []byte(canary))) || !leaks(fmt.Sprintf("%#v", []byte(canary))) || !leaks(fmt.Sprintf("%X", canary)) {
		t.Fatal("a leak would not be seen")
	}
	for name, value := range map[string]any{
		"Version": v, "*Version": &v, "versions": []Version{v}, "Intent": sealed(), "Publication": p, "*Publication": &p,
		"Target": target, "*Target": &target, "Handle": handle, "Seal": v.Seal, "Data": p.Data,
	} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
			if name == "Handle" && verb == "%d" {
				continue // the port's type, and vet refuses the verb
			}
			if text := fmt.Sprintf(verb, value); leaks(text) {
				t.Errorf("%s of %s: %s", verb, name, text)
			}
		}
		asJSON, err := json.Marshal(value)
		if err != nil {
			t.Errorf("JSON of %s: %v", name, err)
		}
		var log strings.Builder
		slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "value", value)
		slog.New(slog.NewTextHandler(&log, nil)).Info("x", "value", value)
		if leaks(string(asJSON)) || leaks(log.String()) {
			t.Errorf("%s: JSON %s, log %s", name, asJSON, log.String())
		}
	}
}

func TestAVersionPrintsWhichOneItIs(t *testing.T) {
	v, err := ParseSecret(stored())
	if err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprintf("%v; %s", v, &v), "version 7 of payments/billing in Secret billing.5b2f9a60.v7"; got != want+"; "+want {
		t.Errorf("got %s", got)
	}
	if got, want := fmt.Sprint(intent()), "intent of version 7 of payments/billing"; got != want {
		t.Errorf("got %s", got)
	}
}

func TestDataPrintsItsKeys(t *testing.T) {
	if got := fmt.Sprint(Data{"b": []byte(canary), "a": nil}); got != "[a b]" {
		t.Errorf("got %s", got)
	}
}

func TestNoSecretIsInTheMetadata(t *testing.T) {
	p := publication()
	p.Seal, p.Data = []byte(canary), Data{"client_secret": []byte(canary)}
	for _, secret := range []*corev1.Secret{sealed().Secret(), p.Onto(nil)} {
		metadata, err := json.Marshal(secret.ObjectMeta)
		if err != nil {
			t.Fatal(err)
		}
		if leaks(string(metadata)) {
			t.Errorf("%s", metadata)
		}
	}
}

func TestNoSecretIsInAnError(t *testing.T) {
	for key := range sealed().Secret().Annotations {
		secret := sealed().Secret()
		delete(secret.Annotations, key)
		if _, err := ParseSecret(secret); err != nil && leaks(err.Error()) {
			t.Errorf("without %s: %v", key, err)
		}
	}
	for key := range sealed().Secret().Data {
		secret := sealed().Secret()
		delete(secret.Data, key)
		if _, err := ParseSecret(secret); err != nil && leaks(err.Error()) {
			t.Errorf("without %s: %v", key, err)
		}
	}
	secret := sealed().Secret()
	secret.Data[keyAttributes] = []byte(canary)
	if _, err := ParseSecret(secret); err == nil || leaks(err.Error()) {
		t.Errorf("with unreadable attributes: %v", err)
	}
}
