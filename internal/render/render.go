// Package render turns the material of a version into the data of a Secret. The one
// idea: a template is a list of values, not a program. It has texts, the fields of
// the material and a closed set of pure functions from text to text; it has no
// conditions, loops, variables or definitions, so it always ends, its cost is
// bounded by its length, and the same material always renders to the same bytes.
// The last point decides what is published: a version is the content of a Secret if
// the Secret holds, byte for byte, what the version renders.
//
// The syntax is that of Go's text/template. The functions are
//
//	b64enc      base64, standard alphabet, padded
//	json        a JSON string with its quotes; also right for YAML
//	lower       lower case
//	print       its arguments, one after the other
//	quote       a Go string with its quotes
//	shellquote  one word for a POSIX shell, for files that a shell reads
//	trim        without white space at both ends
//	upper       upper case
//	urlquery    percent encoding, for the parts of a URL and for form values
//
// Nothing else will be added lightly: functions that read files, the environment or
// objects of the cluster would act with the operator's rights on behalf of whoever
// wrote the template.
//
// Errors name keys, fields and functions. They never hold a rendered value.
package render

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/claviger-dev/claviger/internal/material"
)

// Bounds, so that no template can fill the memory of the operator or the Secret.
const (
	MaxKeys      = 64        // keys of one template
	MaxTemplate  = 16 << 10  // bytes of the template of one key
	MaxOutput    = 1 << 20   // bytes rendered for all keys; a Secret holds no more
	maxValue     = 256 << 10 // bytes of one value inside a template
	maxCalls     = 256       // function calls in all templates together
	maxKeyLength = 253       // as for every key of a Secret
)

// secretKey is what Kubernetes accepts as a key of a Secret; the special names of
// directories are refused beside it.
var secretKey = regexp.MustCompile(`^[-._a-zA-Z0-9]+$`)

// Spec says what to render: a preset by name, or templates by key of the Secret.
// The zero Spec is the preset ClientIDSecret.
type Spec struct {
	Preset string
	Data   map[string]string
}

// Template is a compiled Spec. It is safe for concurrent use.
type Template struct {
	keys   []string // sorted
	values map[string]expression
	fields []string // sorted
	hash   string
}

// Compile checks a Spec completely: what it accepts renders every complete
// material, unless the values themselves are too large or not text where text is
// asked for. A Spec that renders alike for different materials is refused, because
// nobody could tell from the Secret which version it holds.
func Compile(spec Spec) (*Template, error) {
	data, err := spec.templates()
	if err != nil {
		return nil, err
	}
	c := compiler{known: probes()[0].Fields(), used: map[string]bool{}}
	t := &Template{
		keys:   slices.Sorted(maps.Keys(data)),
		values: make(map[string]expression, len(data)),
		hash:   hashOf(data),
	}
	for _, key := range t.keys {
		if err := checkKey(key); err != nil {
			return nil, err
		}
		if t.values[key], err = c.compile(data[key]); err != nil {
			return nil, fmt.Errorf("template of key %q: %w", key, err)
		}
	}
	t.fields = slices.Sorted(maps.Keys(c.used))
	if err := t.distinguishes(); err != nil {
		return nil, err
	}
	return t, nil
}

// templates returns the templates by key that a Spec stands for.
func (s Spec) templates() (map[string]string, error) {
	switch {
	case s.Preset != "" && len(s.Data) != 0:
		return nil, errors.New("template: preset and data are both set: choose one")
	case len(s.Data) > MaxKeys:
		return nil, fmt.Errorf("template: %d keys: at most %d are rendered", len(s.Data), MaxKeys)
	case len(s.Data) != 0:
		return s.Data, nil
	}
	return preset(s.Preset)
}

func checkKey(key string) error {
	switch {
	case len(key) > maxKeyLength:
		return fmt.Errorf("template: a key of %d characters: at most %d are allowed", len(key), maxKeyLength)
	case !secretKey.MatchString(key), key == ".", strings.HasPrefix(key, ".."):
		return fmt.Errorf("template: %q is not a key of a Secret: use letters, digits, '-', '_' and '.'", key)
	}
	return nil
}

// distinguishes refuses a template under which two materials that differ in every
// field look alike.
func (t *Template) distinguishes() error {
	var rendered [2]map[string][]byte
	for i, probe := range probes() {
		var err error
		if rendered[i], err = t.Render(probe); err != nil {
			return err
		}
	}
	if maps.EqualFunc(rendered[0], rendered[1], bytes.Equal) {
		return fmt.Errorf("template: it renders alike for every credential: use at least one of %s", list(".", probes()[0].Fields()))
	}
	return nil
}

// probes returns two materials that differ in every field.
func probes() [2]material.Material {
	probe := func(which string) material.Material {
		return material.Material{
			ClientID: which + "-probe", ClientSecret: material.New(which + "-secret"),
			Certificate: which + "-certificate", Chain: which + "-chain", PrivateKey: material.New(which + "-key"),
			Token: material.New(which + "-token"), APIKey: material.New(which + "-api-key"), Document: material.New(`"` + which + `"`),
			Attributes: map[string]string{"url": which + "-url", "tokenURL": which + "-token-url"},
		}
	}
	return [2]material.Material{probe("first"), probe("other")}
}

// Render returns the data of the Secret, one value for each key. It fails if the
// material lacks a field that a template uses, and never renders an empty text for
// it: a workload that finds an empty password fails later and says less.
func (t *Template) Render(m material.Material) (map[string][]byte, error) {
	fields := m.Fields()
	data := make(map[string][]byte, len(t.keys))
	total := 0
	for _, key := range t.keys {
		value, err := t.values[key](fields)
		if err != nil {
			return nil, fmt.Errorf("template of key %q: %w", key, err)
		}
		if total += len(value); total > MaxOutput {
			return nil, fmt.Errorf("template of key %q: more than %d bytes are rendered together", key, MaxOutput)
		}
		data[key] = []byte(value)
	}
	return data, nil
}

// Fields returns the fields of the material that the template uses, sorted. A
// template without clientSecret cannot tell apart two versions that share an id.
func (t *Template) Fields() []string { return slices.Clone(t.fields) }

// Keys returns the keys of the Secret that the template renders, sorted.
func (t *Template) Keys() []string { return slices.Clone(t.keys) }

// Hash identifies what is rendered: 16 hex digits that are equal for equal
// templates, whether they come from a preset or not. It tells an edit of the
// template from an edit of the Secret.
func (t *Template) Hash() string { return t.hash }

func hashOf(data map[string]string) string {
	h := sha256.New()
	h.Write([]byte("claviger/template/v1\x00")) // No hash of the standard library returns an error.
	writeCanonical(h, data)
	return hex.EncodeToString(h.Sum(nil))[:16]
}

// Published reports whether a Secret's data holds every rendered key, byte for
// byte. Other keys of the Secret belong to others and are not looked at. Nothing
// rendered is never published.
func Published(target, rendered map[string][]byte) bool {
	for key, value := range rendered {
		if held, ok := target[key]; !ok || !bytes.Equal(held, value) {
			return false
		}
	}
	return len(rendered) > 0
}

// KeyedHash identifies rendered data without showing anything of it: the first 128
// bits of an HMAC-SHA-256 in hex. Without the key nobody can try out guesses, so it
// may stand in an annotation.
func KeyedHash(key []byte, data map[string][]byte) string {
	h := hmac.New(sha256.New, key)
	h.Write([]byte("claviger/data/v1\x00"))
	writeCanonical(h, data)
	return hex.EncodeToString(h.Sum(nil))[:32]
}

// writeCanonical writes a map so that different maps give different bytes: sorted
// by key, and with the length before each text, or {"a": "bc"} would equal
// {"ab": "c"}.
func writeCanonical[T ~string | ~[]byte](h hash.Hash, data map[string]T) {
	var length [8]byte
	write := func(text []byte) {
		binary.BigEndian.PutUint64(length[:], uint64(len(text)))
		h.Write(length[:])
		h.Write(text)
	}
	for _, key := range slices.Sorted(maps.Keys(data)) {
		write([]byte(key))
		write([]byte(data[key]))
	}
}
