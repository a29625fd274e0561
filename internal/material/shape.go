package material

import (
	"slices"
	"strings"
)

// The names of the fields of a Material, as templates use them.
const (
	FieldClientID     = "clientID"
	FieldClientSecret = "clientSecret"
	FieldCertificate  = "certificate"
	FieldChain        = "chain"
	FieldPrivateKey   = "privateKey"
	FieldToken        = "token"
	FieldAPIKey       = "apiKey"
	FieldDocument     = "document"
)

// The names of the attributes that upstreams give. An attribute of another name cannot be
// used in a template: a name that nobody knows is a typing error.
const (
	AttributeURL           = "url"
	AttributeTokenURL      = "tokenURL"
	AttributeScope         = "scope"
	AttributeIdentity      = "identity"
	AttributeExpires       = "expires"
	AttributeCommonName    = "commonName"
	AttributeSerial        = "serial"
	AttributeThumbprint    = "thumbprint"
	AttributeCertificateDN = "certificateDN"
)

// FieldNames returns the names that every version of a credential has a value of its own
// for, if it has one at all.
func FieldNames() []string {
	return []string{
		FieldAPIKey, FieldCertificate, FieldChain, FieldClientID, FieldClientSecret, FieldDocument, FieldPrivateKey, FieldToken,
	}
}

// AttributeNames returns the names of what may be the same for all versions.
func AttributeNames() []string {
	return []string{
		AttributeCertificateDN, AttributeCommonName, AttributeExpires, AttributeIdentity, AttributeScope, AttributeSerial,
		AttributeThumbprint, AttributeTokenURL, AttributeURL,
	}
}

// Shape says which fields the material of a credential will have, before it is made: so a
// template that asks for another is refused before anything exists upstream. The zero
// Shape says nothing.
type Shape struct {
	// Always are fields that every version has.
	Always []string
	// Sometimes are fields that depend on what the upstream answers, or on the issuer.
	Sometimes []string
}

// Known reports whether the shape says anything.
func (s Shape) Known() bool { return len(s.Always)+len(s.Sometimes) > 0 }

// Has reports whether every version has all these fields.
func (s Shape) Has(fields ...string) bool {
	return !slices.ContainsFunc(fields, func(f string) bool { return !slices.Contains(s.Always, f) })
}

// May reports whether a version can have this field.
func (s Shape) May(field string) bool {
	return slices.Contains(s.Always, field) || slices.Contains(s.Sometimes, field)
}

// Unfit says how material differs from what its shape has announced; empty if it does not.
// It names fields and holds no value.
func (s Shape) Unfit(m Material) string {
	fields := m.Fields()
	var flaws []string
	for _, field := range s.Always {
		if fields[field] == "" {
			flaws = append(flaws, "it lacks "+field)
		}
	}
	for field := range fields {
		if !s.May(field) {
			flaws = append(flaws, field+" was not announced")
		}
	}
	slices.Sort(flaws)
	return strings.Join(flaws, ", ")
}
