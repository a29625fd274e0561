package venafisim

import (
	"slices"
	"strings"
)

// scope is a set of scopes with their restrictions: "certificate:manage,revoke;ssh".
type scope map[string][]string

// knownScopes and knownRestrictions are those of the grammar.
var (
	knownScopes       = []string{"admin", "agent", "any", "certificate", "codesign", "codesignclient", "configuration", "restricted", "security", "ssh", "statistics"}
	knownRestrictions = []string{"approve", "delete", "discover", "manage", "recyclebin", "revoke", "viewlogs"}
)

// parseScope reads scope[:restriction{,restriction}]{;scope[:…]}, without case.
func parseScope(text string) (scope, bool) {
	out := scope{}
	for part := range strings.SplitSeq(text, ";") {
		name, restrictions, _ := strings.Cut(strings.ToLower(strings.TrimSpace(part)), ":")
		if name = strings.TrimSpace(name); !slices.Contains(knownScopes, name) {
			return nil, false
		}
		if _, twice := out[name]; !twice {
			out[name] = nil
		}
		for restriction := range strings.SplitSeq(restrictions, ",") {
			restriction = strings.TrimSpace(restriction)
			if restriction == "" {
				continue
			}
			if !slices.Contains(knownRestrictions, restriction) {
				return nil, false
			}
			out[name] = append(out[name], restriction)
		}
	}
	return out, true
}

// within reports whether everything in s is also in the other.
func (s scope) within(allowed scope) bool {
	for name, restrictions := range s {
		have, ok := allowed[name]
		if !ok {
			return false
		}
		for _, restriction := range restrictions {
			if !slices.Contains(have, restriction) {
				return false
			}
		}
	}
	return true
}

// has reports whether a call that needs this scope, and this restriction if any, is
// allowed.
func (s scope) has(name, restriction string) bool {
	have, ok := s[name]
	if name == "any" {
		return true
	}
	return ok && (restriction == "" || slices.Contains(have, restriction))
}
