// Package render turns the material of a version into the data of a Secret. The one
// idea: a template is a list of values, not a program. It has texts, the fields of
// the material, a question whether there is one, and a closed set of pure functions
// from text to text; it has no loops, variables or definitions, so it always ends, its
// cost is bounded by its length, and the same material always renders to the same bytes.
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
	// Shape says which fields the material will have; the zero Shape if nobody knows.
	Shape material.Shape
	// Profile is for PKCS12; ProfileModern2023 by default.
	Profile string
	// Registry is for DockerConfigJSON.
	Registry string
	// BindingType and Provider are for ServiceBinding; the provider may be left out.
	BindingType string
	Provider    string
}

// Input is what a rendering takes beside the material.
type Input struct {
	// Nonce is the version's: what is random elsewhere is drawn from it.
	Nonce string
	// Password is for the preset PKCS12.
	Password material.Secret
}

// Template is a compiled Spec. It is safe for concurrent use.
type Template struct {
	keys   []string // sorted
	values map[string]expression
	fields []string // sorted
	hash   string
	// password: a rendering needs one.
	password bool
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
	c := compiler{shape: spec.Shape, used: map[string]bool{}}
	t := &Template{
		keys:   slices.Sorted(maps.Keys(data)),
		values: make(map[string]expression, len(data)),
		hash:   hashOf(data),
	}
	for _, key := range t.keys {
		if err := checkKey(key); err != nil {
			return nil, err
		}
		if profile, ok := strings.CutPrefix(data[key], keystoreMark); ok && spec.Preset == PresetPKCS12 {
			t.password = true
			t.values[key] = func(v values) (string, error) { return encodeKeystore(profile, v.fields, v.input) }
			continue
		}
		if t.values[key], err = c.compile(data[key]); err != nil {
			return nil, fmt.Errorf("template of key %q: %w", key, err)
		}
	}
	t.fields = slices.Sorted(maps.Keys(c.used))
	if t.password {
		return t, nil // it has the private key in it
	}
	if err := t.distinguishes(spec.Shape); err != nil {
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
	return preset(s)
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

// distinguishes refuses a template under which two versions look alike, whether or not
// they have the fields that a version may lack.
func (t *Template) distinguishes(shape material.Shape) error {
	if !shape.Known() {
		shape = material.Shape{Always: slices.Concat(material.FieldNames(), material.AttributeNames())}
	}
	all := slices.Concat(shape.Always, shape.Sometimes)
	alike, err := t.alike(all)
	if err != nil {
		return err
	}
	if !alike {
		// One that needs what is not always there fails then, which is no likeness.
		alike, err = t.alike(shape.Always)
		alike = alike && err == nil
	}
	if alike {
		own := slices.DeleteFunc(all, func(f string) bool { return !slices.Contains(material.FieldNames(), f) })
		return fmt.Errorf("template: it renders alike for every version of the credential: use at least one of %s", names(own))
	}
	return nil
}

// alike renders two materials that have these fields and differ in all that are not
// attributes: those may be the same for all versions of a credential.
func (t *Template) alike(fields []string) (bool, error) {
	var rendered [2]map[string][]byte
	for i, which := range []string{"first", "other"} {
		probe := map[string]string{}
		for _, field := range fields {
			probe[field] = field
			if slices.Contains(material.FieldNames(), field) {
				probe[field] = which + "-" + field
			}
		}
		var err error
		if rendered[i], err = t.render(values{fields: probe}); err != nil {
			return false, err
		}
	}
	return maps.EqualFunc(rendered[0], rendered[1], bytes.Equal), nil
}

// Render returns the data of the Secret, one value for each key. It fails if the
// material lacks a field that a template uses, and never renders an empty text for
// it: a workload that finds an empty password fails later and says less.
func (t *Template) Render(m material.Material, in Input) (map[string][]byte, error) {
	return t.render(values{fields: m.Fields(), input: in})
}

func (t *Template) render(v values) (map[string][]byte, error) {
	data := make(map[string][]byte, len(t.keys))
	total := 0
	for _, key := range t.keys {
		value, err := t.values[key](v)
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

// NeedsPassword reports whether a rendering needs Input.Password.
func (t *Template) NeedsPassword() bool { return t.password }

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
