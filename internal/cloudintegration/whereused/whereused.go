// Package whereused finds out which aliases of security material an integration flow
// refers to. The one idea: SAP offers no such question, so the answer is computed from the
// flow's design and from how its parameters are set, and what cannot be known is said and
// not left out: an alias that looks unused because a flow could not be read would be
// deleted by somebody.
//
// It reads bytes that come from a tenant; nothing in them is trusted in size or form.
package whereused

import (
	"regexp"
	"slices"
	"strings"
)

// Class says how a flow names an alias.
type Class string

const (
	// Exact: the alias stands in the design.
	Exact Class = "Exact"
	// ViaParameter: the design names a parameter, and the parameter is set to it.
	ViaParameter Class = "ViaParameter"
	// Script: a script names it.
	Script Class = "Script"
	// PartnerDirectory: an entry of the partner directory, "pd:…".
	PartnerDirectory Class = "PartnerDirectory"
	// Dynamic: it is known only when a message runs ("${header.x}", or a variable of a
	// script); Alias holds the expression, or nothing.
	Dynamic Class = "Dynamic"
)

// Reference is one place that names an alias.
type Reference struct {
	Flow  string
	Alias string
	Class Class
	// Field is the property, parameter or script that names it.
	Field string
}

// Known reports whether Alias is the name of security material.
func (r Reference) Known() bool { return r.Class != Dynamic }

// Design is what was read of a flow.
type Design struct {
	// Steps are the adapters and steps, each by its properties.
	Steps []map[string]string
	// Defaults of parameters.
	Defaults map[string]string
	// Labels of the fields that parameters stand in, by parameter.
	Labels map[string][]string
	// Scripts by file name.
	Scripts map[string]string
}

var (
	aboutAliases = regexp.MustCompile(`(?i)credential|alias`)
	parameter    = regexp.MustCompile(`\{\{([^{}]+)\}\}`)
	secureStore  = regexp.MustCompile(`SecureStoreService|KeystoreService|getUserCredential|getSecureParameter`)
	namedAlias   = regexp.MustCompile(`(?:getUserCredential|getSecureParameter|getKeyPair|getKey|getCertificate)\s*\(\s*["']([^"'$]+)["']\s*\)`)
)

// notAliases are fields whose names match and which name something else, by component;
// an empty component means all.
var notAliases = map[string][]string{
	"accessControlAllowCredentials": {""},
	"alias":                         {"JDBC"},
}

// otherwiseNamed are fields that name an alias although nothing in their name says so.
var otherwiseNamed = map[string][]string{
	"user":            {"Mail", "SMTP", "IMAP", "POP3"},
	"tokenCredential": {""},
	"password":        {"AdvancedEventMesh"},
}

// Resolve finds what a flow refers to. configured are its parameters as they are set on the
// tenant; what is not among them has its default. unresolved names the parameters that
// stand in a field and are set nowhere.
func Resolve(flow string, design Design, configured map[string]string) (references []Reference, unresolved []string) {
	seen := map[Reference]bool{}
	add := func(r Reference) {
		r.Flow = flow
		if !seen[r] {
			seen[r] = true
			references = append(references, r)
		}
	}
	for _, step := range design.Steps {
		for field, value := range step {
			if value == "" || !namesAlias(field, value, step["ComponentType"], design.Labels) {
				continue
			}
			resolved, indirect, missing := set(value, design.Defaults, configured)
			unresolved = append(unresolved, missing...)
			if len(missing) == 0 && resolved != "" {
				add(classify(resolved, field, indirect))
			}
		}
	}
	for name, text := range design.Scripts {
		for _, found := range namedAlias.FindAllStringSubmatch(text, -1) {
			add(Reference{Alias: found[1], Class: Script, Field: name})
		}
		// A script that asks the secure store with a variable may ask for anything.
		if secureStore.MatchString(text) && !namedAlias.MatchString(text) {
			add(Reference{Class: Dynamic, Field: name})
		}
	}
	slices.SortFunc(references, compare)
	slices.Sort(unresolved)
	return references, slices.Compact(unresolved)
}

func compare(a, b Reference) int {
	for _, order := range []int{
		strings.Compare(a.Flow, b.Flow), strings.Compare(a.Alias, b.Alias), strings.Compare(a.Field, b.Field), strings.Compare(string(a.Class), string(b.Class)),
	} {
		if order != 0 {
			return order
		}
	}
	return 0
}

// namesAlias: by the field's key, by what the user sees as its label, or because it is known
// to.
func namesAlias(field, value, component string, labels map[string][]string) bool {
	of := func(list map[string][]string) bool {
		components, ok := list[field]
		return ok && (slices.Contains(components, "") || slices.Contains(components, component))
	}
	switch {
	case of(notAliases):
		return false
	case aboutAliases.MatchString(field), of(otherwiseNamed):
		return true
	}
	for _, name := range parameter.FindAllStringSubmatch(value, -1) {
		if slices.ContainsFunc(labels[name[1]], aboutAliases.MatchString) {
			return true
		}
	}
	return false
}

// set puts the parameters of a value in.
func set(value string, defaults, configured map[string]string) (resolved string, indirect bool, missing []string) {
	resolved = parameter.ReplaceAllStringFunc(value, func(found string) string {
		indirect = true
		name := strings.TrimSuffix(strings.TrimPrefix(found, "{{"), "}}")
		if text, ok := configured[name]; ok {
			return text
		}
		if text, ok := defaults[name]; ok {
			return text
		}
		missing = append(missing, name)
		return ""
	})
	return strings.TrimSpace(resolved), indirect, missing
}

func classify(value, field string, indirect bool) Reference {
	r := Reference{Alias: value, Class: Exact, Field: field}
	switch {
	case strings.Contains(value, "${") || strings.Contains(value, "{{"):
		r.Class = Dynamic
	case strings.HasPrefix(value, "pd:"):
		r.Class = PartnerDirectory
	case indirect:
		r.Class = ViaParameter
	}
	return r
}

// FromParameters is the guess for a flow whose design cannot be read: parameters that look
// as if they named an alias. It finds less than the design would, so the flow stays
// unreadable.
func FromParameters(flow string, configured map[string]string) []Reference {
	var references []Reference
	for name, value := range configured {
		if value != "" && aboutAliases.MatchString(name) {
			r := classify(value, name, true)
			r.Flow = flow
			references = append(references, r)
		}
	}
	slices.SortFunc(references, compare)
	return references
}

// Comparison sets what is used against what is managed.
type Comparison struct {
	// Unmanaged are aliases that a flow uses, that exist in the tenant, and that nobody
	// manages; Missing are used and do not exist.
	Unmanaged, Missing []string
	// Unused are managed aliases that no flow was found to use. It proves nothing as long
	// as a flow could not be read or names an alias dynamically.
	Unused []string
}

// Compare compares. existing are the aliases that the tenant has.
func Compare(references []Reference, existing, managed []string) Comparison {
	used := map[string]bool{}
	for _, r := range references {
		if r.Known() && r.Class != PartnerDirectory {
			used[r.Alias] = true
		}
	}
	c := Comparison{}
	for alias := range used {
		switch {
		case slices.Contains(managed, alias):
		case slices.Contains(existing, alias):
			c.Unmanaged = append(c.Unmanaged, alias)
		default:
			c.Missing = append(c.Missing, alias)
		}
	}
	for _, alias := range managed {
		if !used[alias] {
			c.Unused = append(c.Unused, alias)
		}
	}
	for _, list := range [][]string{c.Unmanaged, c.Missing, c.Unused} {
		slices.Sort(list)
	}
	return c
}
