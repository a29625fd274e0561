package journal

import (
	"fmt"
	"log/slog"
	"maps"
	"slices"
)

// redacted is what secret bytes show of themselves, as material.Secret does.
const redacted = "[redacted]"

// Format prints which version it is, under every verb: a verb that does not fit would
// make fmt walk into the material without asking it how it wants to be shown.
func (v Version) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "version %d of %s in Secret %s", v.Number, v.Credential, v.Key.Name)
}

// Format prints which version it will be, for the same reason.
func (i Intent) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "intent of version %d of %s", i.Number, i.Credential)
}

// Seal is the key of the hash that stands on the target. It never prints: as a bare
// slice it would show itself in every %v of a Version (invariant 7).
type Seal []byte

// Format prints a mark under every verb.
func (Seal) Format(f fmt.State, _ rune) { _, _ = fmt.Fprint(f, redacted) }

// MarshalJSON writes the mark.
func (Seal) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// LogValue implements slog.LogValuer.
func (Seal) LogValue() slog.Value { return slog.StringValue(redacted) }

// Data is what a Secret holds. It prints as the names of its keys.
type Data map[string][]byte

func (d Data) String() string { return fmt.Sprint(slices.Sorted(maps.Keys(d))) }

// Format prints the names of the keys under every verb.
func (d Data) Format(f fmt.State, _ rune) { _, _ = fmt.Fprint(f, d.String()) }

// MarshalText writes the names of the keys, and so does JSON.
func (d Data) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// LogValue implements slog.LogValuer.
func (d Data) LogValue() slog.Value { return slog.StringValue(d.String()) }
