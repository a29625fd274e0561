package venafi

import (
	"encoding/json"

	"github.com/claviger-dev/claviger/internal/material"
)

// Shape implements upstream.Shaper. A certificate that a root has signed may come alone.
func (*Driver) Shape(raw json.RawMessage) material.Shape {
	var p credentialParameters
	switch {
	case json.Unmarshal(raw, &p) != nil:
		return material.Shape{}
	case p.Token != nil:
		return material.Shape{
			Always:    []string{material.FieldToken, material.AttributeURL},
			Sometimes: []string{material.AttributeScope, material.AttributeIdentity, material.AttributeExpires},
		}
	case p.Certificate != nil:
		return material.Shape{
			Always: []string{
				material.FieldCertificate, material.FieldPrivateKey, material.AttributeCertificateDN, material.AttributeExpires,
				material.AttributeSerial, material.AttributeThumbprint,
			},
			Sometimes: []string{material.FieldChain, material.AttributeCommonName},
		}
	}
	return material.Shape{}
}
