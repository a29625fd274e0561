package neo

import (
	"encoding/json"

	"github.com/claviger-dev/claviger/internal/material"
)

// Shape implements upstream.Shaper. Whether there is a URL, the issuer decides.
func (*Driver) Shape(json.RawMessage) material.Shape {
	return material.Shape{
		Always:    []string{material.FieldClientID, material.FieldClientSecret, material.AttributeTokenURL},
		Sometimes: []string{material.AttributeURL},
	}
}
