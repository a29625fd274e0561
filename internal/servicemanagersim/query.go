package servicemanagersim

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// criterion is one of a fieldQuery or a labelQuery.
type criterion struct {
	key, operator string
	values        []string
}

// A key has no dot, and a string has its quotes doubled.
var (
	comparison = regexp.MustCompile(`^([-_/a-zA-Z0-9\\]+) (eq|ne|en|contains) ('(?:[^']|'')*'|true|false|[-+]?[0-9.]+)`)
	membership = regexp.MustCompile(`^([-_/a-zA-Z0-9\\]+) (in|notin) \(((?:'(?:[^']|'')*'(?:, ?)?)*)\)`)
	element    = regexp.MustCompile(`'((?:[^']|'')*)'`)
)

func unquoted(text string) string {
	return strings.ReplaceAll(strings.TrimSuffix(strings.TrimPrefix(text, "'"), "'"), "''", "'")
}

// parseQuery reads criteria that are joined by and.
func parseQuery(text string) ([]criterion, error) {
	var out []criterion
	for rest := text; rest != ""; {
		var c criterion
		var length int
		if m := comparison.FindStringSubmatch(rest); m != nil {
			c, length = criterion{m[1], m[2], []string{unquoted(m[3])}}, len(m[0])
		} else if m := membership.FindStringSubmatch(rest); m != nil {
			c, length = criterion{key: m[1], operator: m[2]}, len(m[0])
			for _, one := range element.FindAllString(m[3], -1) {
				c.values = append(c.values, unquoted(one))
			}
		} else {
			return nil, fmt.Errorf("%q is not a valid query", text)
		}
		out = append(out, c)
		if rest = rest[length:]; rest != "" {
			var joined bool
			if rest, joined = strings.CutPrefix(rest, " and "); !joined || rest == "" {
				return nil, fmt.Errorf("%q is not a valid query", text)
			}
		}
	}
	return out, nil
}

// holds reports whether one of the values fits. What has no value at all fits only where that
// is asked for.
func (c criterion) holds(values []string) bool {
	any := func(fits func(string) bool) bool { return slices.ContainsFunc(values, fits) }
	switch c.operator {
	case "eq":
		return slices.Contains(values, c.values[0])
	case "en":
		return len(values) == 0 || slices.Contains(values, c.values[0])
	case "ne":
		return len(values) > 0 && !slices.Contains(values, c.values[0])
	case "contains":
		return any(func(value string) bool { return strings.Contains(value, c.values[0]) })
	case "in":
		return any(func(value string) bool { return slices.Contains(c.values, value) })
	}
	return len(values) > 0 && !any(func(value string) bool { return slices.Contains(c.values, value) })
}
