package cloudfoundry

import (
	"encoding/json"

	"github.com/claviger-dev/claviger/internal/material"
)

// Shape implements upstream.Shaper. Which addresses a key names, its broker decides.
func (*Driver) Shape(raw json.RawMessage) material.Shape { return shapeOf(raw) }

func shapeOf(raw json.RawMessage) material.Shape {
	var p credentialParameters
	if json.Unmarshal(raw, &p) != nil {
		return material.Shape{}
	}
	s := material.Shape{
		Always:    []string{material.FieldClientID, material.FieldDocument},
		Sometimes: []string{material.AttributeURL, material.AttributeTokenURL},
	}
	switch p.KeyType {
	case keyExternal: // drafted here, with the authority's certificate
		s.Always = append(s.Always, material.FieldCertificate, material.FieldChain, material.FieldPrivateKey)
	case keyCertificate, keyXSUAACertificate:
		s.Always = append(s.Always, material.FieldCertificate, material.FieldPrivateKey)
		s.Sometimes = append(s.Sometimes, material.FieldChain)
	default:
		s.Always = append(s.Always, material.FieldClientSecret)
	}
	return s
}
