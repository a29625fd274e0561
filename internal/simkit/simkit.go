// Package simkit is the stage on which every simulated upstream plays. Its one
// idea: a simulated call is "something may happen, the upstream commits, something
// may happen, the answer leaves", so that each test and each demo can ask for the
// failure it needs on either side of the commit and for nothing in between. What
// was committed stands in an append-only ledger that no fault can reach, and what
// happened can be waited for, which makes "kill it now" an exact moment.
//
// The package knows no upstream and nothing of the project: a double that shared
// code with the thing it judges would share its mistakes.
package simkit

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// Duration is a time.Duration that JSON writes and reads as text ("1.5s"), because
// faults and behaviour are typed by hand as often as they are built in Go.
type Duration time.Duration

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler. Negative durations are
// refused: no upstream answers before it was asked.
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	if err != nil {
		return err
	}
	if parsed < 0 {
		return fmt.Errorf("duration %q is negative", text)
	}
	*d = Duration(parsed)
	return nil
}

// matches compares a value with a pattern: exact, or a prefix followed by "*". An
// empty pattern matches nothing, so that a forgotten operation strikes nobody.
func matches(pattern, value string) bool {
	if prefix, ok := strings.CutSuffix(pattern, "*"); ok {
		return strings.HasPrefix(value, prefix)
	}
	return pattern != "" && pattern == value
}

// marshal encodes what the simulators themselves built. Only a value that JSON
// cannot express fails, and then the reader must see that and not an empty page.
func marshal(v any) []byte {
	out, err := json.Marshal(v)
	if err != nil {
		out, _ = json.Marshal(map[string]string{"error": "the simulator cannot encode its answer: " + err.Error()})
	}
	return out
}
