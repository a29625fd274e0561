package upstream

import (
	"fmt"
	"maps"
	"slices"
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
