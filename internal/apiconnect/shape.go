package apiconnect

import (
	"encoding/json"

	"github.com/claviger-dev/claviger/internal/material"
)

// Shape implements upstream.Shaper: the client id and the secret are all there is.
func (*Driver) Shape(json.RawMessage) material.Shape {
	return material.Shape{Always: []string{material.FieldClientID, material.FieldClientSecret}}
}
