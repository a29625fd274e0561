package upstream

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/claviger-dev/claviger/internal/material"
)

// Registry maps one-of members to drivers. main fills it; nothing registers
// itself.
type Registry map[string]Driver

// NewRegistry returns a registry of the given drivers.
func NewRegistry(drivers ...Driver) Registry {
	r := Registry{}
	for _, d := range drivers {
		r[d.Member()] = d
	}
	return r
}

// Open opens an account with the driver of the named one-of member.
func (r Registry) Open(member string, settings Settings) (Upstream, error) {
	driver, ok := r[member]
	if !ok {
		return nil, Errorf(InvalidSpec, "this operator has no upstream %q; it has %s", member, fmt.Sprint(slices.Sorted(maps.Keys(r))))
	}
	return driver.Open(settings)
}

// Shape says which fields the material of a credential will have, as far as the driver of
// the named one-of member tells.
func (r Registry) Shape(member string, parameters json.RawMessage) material.Shape {
	if shaper, ok := r[member].(Shaper); ok {
		return shaper.Shape(parameters)
	}
	return material.Shape{}
}
