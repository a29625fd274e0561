package upstreamtest

import (
	"errors"

	"github.com/claviger-dev/claviger/internal/upstream"
)

// Shaped is a Lab whose driver says beforehand which fields a material will have.
type Shaped interface {
	Shaper() upstream.Shaper
}

// materialIsAsAnnounced: templates are checked with what the driver announces, before
// anything exists that could be looked at.
func materialIsAsAnnounced(t *trial) error {
	lab, ok := t.lab.(Shaped)
	if !ok {
		return errNotConcerned
	}
	shape := lab.Shaper().Shape(t.lab.Parameters())
	if !shape.Known() {
		return errors.New("the driver announces nothing")
	}
	_, handle, err := t.issue()
	if err != nil {
		return err
	}
	if flaw := shape.Unfit(handle.Material); flaw != "" {
		return errors.New("the material is not as announced: " + flaw)
	}
	return nil
}
