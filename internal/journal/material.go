package journal

import (
	"encoding/json"
	"fmt"

	"github.com/claviger-dev/claviger/internal/material"
)

// Data keys of a version Secret. They are part of the journal's format.
const (
	keyClientID     = "client_id"
	keyClientSecret = "client_secret"
	keyCertificate  = "certificate"
	keyChain        = "chain"
	keyPrivateKey   = "private_key"
	keyToken        = "token"
	keyAPIKey       = "api_key"
	keyDocument     = "document"
	keyAttributes   = "attributes"
	// keyHandle is what a revocation needs and nobody else may use. It stands in the data,
	// not in an annotation, because it is secret.
	keyHandle = "handle"
	// keySealedHandle is the same for a version of an issuer of the cluster, encrypted.
	keySealedHandle = "handle.sealed"
	// keySeal keys the hash that stands on the target, so that the hash tells
	// nothing to who cannot read the version Secret.
	keySeal = "seal"
)

// encode writes material as Secret data, without what is empty.
func encode(m material.Material) map[string][]byte {
	data := map[string][]byte{}
	for key, value := range map[string]string{
		keyClientID: m.ClientID, keyClientSecret: m.ClientSecret.Reveal(),
		keyCertificate: m.Certificate, keyChain: m.Chain, keyPrivateKey: m.PrivateKey.Reveal(),
		keyToken: m.Token.Reveal(), keyAPIKey: m.APIKey.Reveal(), keyDocument: m.Document.Reveal(),
	} {
		if value != "" {
			data[key] = []byte(value)
		}
	}
	if len(m.Attributes) > 0 {
		// A map of strings always marshals, with sorted keys.
		data[keyAttributes], _ = json.Marshal(m.Attributes)
	}
	return data
}

// decode reads it back.
func decode(data map[string][]byte) (*material.Material, error) {
	secret := func(key string) material.Secret { return material.New(string(data[key])) }
	m := &material.Material{
		ClientID: string(data[keyClientID]), ClientSecret: secret(keyClientSecret),
		Certificate: string(data[keyCertificate]), Chain: string(data[keyChain]), PrivateKey: secret(keyPrivateKey),
		Token: secret(keyToken), APIKey: secret(keyAPIKey), Document: secret(keyDocument),
	}
	if text := data[keyAttributes]; len(text) > 0 {
		if err := json.Unmarshal(text, &m.Attributes); err != nil {
			return nil, fmt.Errorf("the key %s is unreadable", keyAttributes)
		}
	}
	return m, nil
}
