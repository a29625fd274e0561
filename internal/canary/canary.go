// Package canary finds secrets where none may be (invariant 7). The one idea: nobody lists
// the places that could tell a secret; every value is remembered that could be told, and
// everything that anybody can read is searched for all of them, in every form in which they
// are usually written. It is for tests and the demo.
package canary

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
)

const (
	// shortest is the length of the shortest value that is remembered: a shorter one is
	// found in any text.
	shortest = 16
	// head is how many bytes of a form find it; see search.
	head = 8
)

// Canaries are secret values. The zero value knows none. All methods may be called at the
// same time.
type Canaries struct {
	mu sync.Mutex
	// values say of each value what it is.
	values map[string]string
	// public are values that are no secret, whatever they were remembered as.
	public map[string]bool
	// forms are the forms of all values, by their first bytes.
	forms map[string][]form
	// filter has a bit for each pair of bytes that a form begins with.
	filter [1 << 10]uint64
}

// form is one way to write a value.
type form struct{ text, value string }

// Add remembers a secret value. What is too short to be told from other text is not
// remembered.
func (c *Canaries) Add(what, value string) {
	if len(value) < shortest {
		return
	}
	c.mark(what, value)
}

// Mark remembers what every value of an origin holds, short as it may be.
func (c *Canaries) Mark(what, marker string) { c.mark(what, marker) }

// Allow says that a value is no secret, though it may stand where secrets do.
func (c *Canaries) Allow(value string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.public == nil {
		c.public = map[string]bool{}
	}
	c.public[value] = true
}

// Count is how many values are remembered. A search for none proves nothing.
func (c *Canaries) Count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.values)
}

func (c *Canaries) mark(what, value string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.values[value] != "" {
		return
	}
	if c.values == nil {
		c.values, c.forms = map[string]string{}, map[string][]form{}
	}
	c.values[value] = what
	for _, text := range formsOf(value) {
		c.forms[text[:head]] = append(c.forms[text[:head]], form{text, value})
		bit := pair(text, 0)
		c.filter[bit/64] |= 1 << (bit % 64)
	}
}

// formsOf are the ways to write a value: as it is, in JSON, in a URL, in hexadecimal, and
// in base64 wherever in the encoded text it begins.
func formsOf(value string) []string {
	quoted := strconv.Quote(value)
	asJSON, _ := json.Marshal(value) // a text always marshals
	forms := map[string]bool{
		value: true, quoted[1 : len(quoted)-1]: true, string(asJSON[1 : len(asJSON)-1]): true, url.QueryEscape(value): true, url.PathEscape(value): true, hex.EncodeToString([]byte(value)): true,
	}
	for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		for shift := range 3 {
			// The characters at both ends depend on what stands beside the value.
			encoded := encoding.EncodeToString([]byte(strings.Repeat("x", shift) + value))
			whole := (shift + len(value)) / 3 * 4
			forms[encoded[[]int{0, 2, 3}[shift]:whole]] = true
		}
	}
	for text := range forms {
		if len(text) < head {
			delete(forms, text)
		}
	}
	return slices.Sorted(maps.Keys(forms))
}

func pair(text string, i int) uint16 { return uint16(text[i])<<8 | uint16(text[i+1]) }

// Find names the canaries that a text holds, each once. The error shows what stands
// around them and not themselves.
func (c *Canaries) Find(where, text string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	found := map[string]bool{}
	var errs []error
	for i := 0; i+head <= len(text); i++ {
		bit := pair(text, i)
		if c.filter[bit/64]&(1<<(bit%64)) == 0 {
			continue
		}
		for _, f := range c.forms[text[i:i+head]] {
			if found[f.value] || c.public[f.value] || !strings.HasPrefix(text[i:], f.text) {
				continue
			}
			found[f.value] = true
			end := i + len(f.text)
			errs = append(errs, fmt.Errorf("%s holds a %s: %s<HERE>%s", where, c.values[f.value], text[max(0, i-200):i], text[end:min(len(text), end+100)]))
		}
	}
	return errors.Join(errs...)
}
