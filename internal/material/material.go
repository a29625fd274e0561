// Package material holds the secret values that Claviger carries from an upstream
// to a Kubernetes Secret. The one idea: a secret value has a type of its own that
// prints as a mark, so that no log line, error, event, status or JSON document can
// leak one by accident (invariant 7). Only Reveal gives the value, and every call
// of it is a place to look at in a review.
package material

import (
	"crypto/subtle"
	"log/slog"
	"strings"
)

// redacted is what a secret shows of itself everywhere.
const redacted = "[redacted]"

// Secret is a value that must never be printed. Its zero value is the empty secret.
//
// The value stands behind a pointer: fmt walks into structs without asking them
// where a verb does not fit ("%d"), and then prints an address.
type Secret struct{ value *string }

// New wraps a secret value.
func New(value string) Secret { return Secret{value: &value} }

// Reveal returns the value itself. Use it only where the bytes go to an upstream,
// to a Secret of Kubernetes, or into a comparison.
func (s Secret) Reveal() string {
	if s.value == nil {
		return ""
	}
	return *s.value
}

// Empty reports whether there is no value.
func (s Secret) Empty() bool { return s.Reveal() == "" }

// Equal compares in constant time, so that a comparison with a guessed value
// cannot be timed.
func (s Secret) Equal(other Secret) bool {
	return subtle.ConstantTimeCompare([]byte(s.Reveal()), []byte(other.Reveal())) == 1
}

// String implements fmt.Stringer with a mark instead of the value.
func (s Secret) String() string { return redacted }

// GoString implements fmt.GoStringer: %#v would otherwise walk into the field.
func (s Secret) GoString() string { return redacted }

// MarshalJSON writes the mark: a struct that holds a Secret may be logged as JSON.
func (s Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// MarshalText writes the mark, for encoders that prefer text.
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LogValue implements slog.LogValuer.
func (s Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// Material is one version's set of values as its workloads need them. Fields that
// an upstream has no value for stay empty.
type Material struct {
	// ClientID names the client (RFC 6749, section 2.2). It is not secret.
	ClientID string
	// ClientSecret proves it.
	ClientSecret Secret
	// Certificate is the client's own certificate, PEM.
	Certificate string
	// Chain are the intermediates that go with it, PEM, the issuing one first.
	Chain string
	// PrivateKey belongs to Certificate, PEM.
	PrivateKey Secret
	// Token is an access token.
	Token Secret
	// APIKey is a key that is sent as it is.
	APIKey Secret
	// Document is the upstream's own description of the credential, byte for byte.
	// It holds secrets.
	Document Secret
	// Attributes are what else a workload needs and is not secret, such as url and
	// tokenURL, under the names that templates use.
	Attributes map[string]string
}

// Fields returns the values under the names that templates use. Empty fields are
// left out, so that a template that asks for one fails loudly instead of
// publishing an empty string. An attribute never hides a field of the same name. What is
// PEM ends with a line break, so that one can stand behind the other.
func (m Material) Fields() map[string]string {
	fields := map[string]string{}
	for name, value := range m.Attributes {
		if value != "" {
			fields[name] = value
		}
	}
	for name, value := range map[string]string{
		FieldClientID: m.ClientID, FieldClientSecret: m.ClientSecret.Reveal(),
		FieldCertificate: closed(m.Certificate), FieldChain: closed(m.Chain), FieldPrivateKey: closed(m.PrivateKey.Reveal()),
		FieldToken: m.Token.Reveal(), FieldAPIKey: m.APIKey.Reveal(), FieldDocument: m.Document.Reveal(),
	} {
		if value != "" {
			fields[name] = value
		}
	}
	return fields
}

// closed ends a text with a line break.
func closed(text string) string {
	if text == "" || strings.HasSuffix(text, "\n") {
		return text
	}
	return text + "\n"
}

// Empty reports whether there is nothing that could log in.
func (m Material) Empty() bool {
	return m.ClientSecret.Empty() && m.PrivateKey.Empty() && m.Token.Empty() && m.APIKey.Empty() && m.Document.Empty()
}

// Equal reports whether both are the same credential: the same id with the same secret,
// key, certificate and token. A rotation that returns what was there before is no
// rotation (hazard C7). What only describes the credential is not compared: it may hold
// the time of its own making.
func (m Material) Equal(other Material) bool {
	return m.ClientID == other.ClientID && m.Certificate == other.Certificate &&
		m.ClientSecret.Equal(other.ClientSecret) && m.PrivateKey.Equal(other.PrivateKey) &&
		m.Token.Equal(other.Token) && m.APIKey.Equal(other.APIKey)
}
