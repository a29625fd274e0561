package simkit

import (
	"bytes"
	"encoding/json"
	"fmt"
	"sync/atomic"
)

// Conduct is how a simulator behaves, of its own type of behaviour. It may be changed while
// calls are on their way: each sees one behaviour, whole.
type Conduct[B any] struct {
	now   atomic.Pointer[B]
	clone func(B) B
	check func(B) error
}

// NewConduct begins with a behaviour. Clone makes a copy that shares nothing with it, and check
// refuses what cannot be played.
func NewConduct[B any](first B, clone func(B) B, check func(B) error) *Conduct[B] {
	c := &Conduct[B]{clone: clone, check: check}
	c.now.Store(&first)
	return c
}

// Now is the behaviour of this moment. It must not be changed.
func (c *Conduct[B]) Now() B { return *c.now.Load() }

// Adjust changes the behaviour from now on. What is under way goes on as it began. If what
// comes of it is refused, nothing changes.
func (c *Conduct[B]) Adjust(change func(*B)) error {
	return c.adjust(func(b *B) error { change(b); return nil })
}

// AdjustJSON lays a JSON document over the behaviour: what it does not name stays.
func (c *Conduct[B]) AdjustJSON(document []byte) error {
	if err := c.adjust(func(b *B) error { return Strict(document, b) }); err != nil {
		return fmt.Errorf("behaviour: %w", err)
	}
	return nil
}

func (c *Conduct[B]) adjust(change func(*B) error) error {
	for {
		old := c.now.Load()
		adjusted := c.clone(*old)
		if err := change(&adjusted); err != nil {
			return err
		}
		if err := c.check(adjusted); err != nil {
			return err
		}
		if c.now.CompareAndSwap(old, &adjusted) {
			return nil
		}
	}
}

// Strict decodes JSON and refuses fields that do not exist: a misspelt switch would leave a
// simulator honest in a test that wants it to lie.
func Strict(document []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(document))
	decoder.DisallowUnknownFields()
	return decoder.Decode(into)
}
