package simkit

import (
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// manners is a behaviour with something that a careless copy shares.
type manners struct {
	Limit int
	Lies  []string
}

func (m manners) clone() manners { m.Lies = slices.Clone(m.Lies); return m }

func (m manners) check() error {
	if m.Limit < 0 {
		return errors.New("limit is below zero")
	}
	return nil
}

func TestAConductChangesWholeOrNotAtAll(t *testing.T) {
	c := NewConduct(manners{Limit: 1, Lies: []string{"a"}}, manners.clone, manners.check)
	before := c.Now()
	steps := []struct {
		name   string
		do     func() error
		words  string
		wanted manners
	}{
		{"a change of some fields", func() error { return c.Adjust(func(m *manners) { m.Lies[0] = "b" }) }, "", manners{1, []string{"b"}}},
		{"what cannot be played", func() error { return c.Adjust(func(m *manners) { m.Limit, m.Lies[0] = -1, "c" }) }, "limit is below zero", manners{1, []string{"b"}}},
		{"a document", func() error { return c.AdjustJSON([]byte(`{"Limit":3}`)) }, "", manners{3, []string{"b"}}},
		{"a misspelt document", func() error { return c.AdjustJSON([]byte(`{"Limit":4,"Lie":[]}`)) }, `behaviour: json: unknown field "Lie"`, manners{3, []string{"b"}}},
	}
	for _, step := range steps {
		words := ""
		if err := step.do(); err != nil {
			words = err.Error()
		}
		if diff := cmp.Diff(step.words, words); diff != "" {
			t.Errorf("%s is answered (-want +got):\n%s", step.name, diff)
		}
		if diff := cmp.Diff(step.wanted, c.Now()); diff != "" {
			t.Errorf("after %s (-want +got):\n%s", step.name, diff)
		}
	}
	if diff := cmp.Diff(manners{1, []string{"a"}}, before); diff != "" {
		t.Errorf("what was read before has changed (-want +got):\n%s", diff)
	}
}

func TestNoChangeOfAConductIsLost(t *testing.T) {
	c := NewConduct(manners{}, manners.clone, manners.check)
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if err := c.Adjust(func(m *manners) { m.Limit++ }); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if got := c.Now().Limit; got != 50 {
		t.Errorf("%d changes are left of 50", got)
	}
}
