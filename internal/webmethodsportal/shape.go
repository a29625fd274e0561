package webmethodsportal

import (
	"encoding/json"

	"github.com/claviger-dev/claviger/internal/material"
)

// Shape implements upstream.Shaper. Whether there is a url, the issuer decides; whether it
// ends, the gateway.
func (*Driver) Shape(raw json.RawMessage) material.Shape {
	p, err := parse(raw)
	switch {
	case err != nil:
		return material.Shape{}
	case p.Type == typeAPIKey:
		return material.Shape{Always: []string{material.FieldAPIKey}, Sometimes: []string{material.AttributeURL, material.AttributeExpires}}
	}
	return material.Shape{
		Always:    []string{material.FieldClientID, material.FieldClientSecret},
		Sometimes: []string{material.AttributeTokenURL, material.AttributeScope, material.AttributeURL, material.AttributeExpires},
	}
}
