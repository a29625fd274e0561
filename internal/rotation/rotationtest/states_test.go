package rotationtest

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/claviger-dev/claviger/internal/rotation"
)

var statesPage = filepath.Join("..", "..", "..", "docs", "states.md")

// TestTheStatesPageIsThePlanners compares docs/states.md with what the planner's source
// says and with what it does in a search.
func TestTheStatesPageIsThePlanners(t *testing.T) {
	page := states(t)
	if *update {
		if err := os.WriteFile(statesPage, []byte(page), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(statesPage)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != page {
		t.Error("docs/states.md is not what the planner does; write it: go test ./internal/rotation/rotationtest -run States -update")
	}
}

func states(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("# What the planner does\n\n<!-- Generated from internal/rotation: go test ./internal/rotation/rotationtest -run States -update -->\n\n" +
		"One pass after the other, `rotation.Next` looks at what was observed and returns one step. This page is made from its source and from a search\n" +
		"of its lives, so it cannot say anything else than the code.\n\n## The way of a credential\n\n" +
		"What follows what when nothing goes wrong: a first issue, a renewal on request, the end.\n\n```mermaid\nstateDiagram-v2\n")
	for _, e := range calmEdges(t) {
		b.WriteString("    " + e + "\n")
	}
	b.WriteString("```\n\n## Actions\n\nEach makes at most one durable effect.\n\n| action | what it does | may be followed by |\n|---|---|---|\n")
	docs, follows := actionDocs(t), followers(t)
	for _, a := range rotation.Actions() {
		if docs[string(a)] == "" {
			t.Errorf("the action %s has no comment", a)
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", a, docs[string(a)], strings.Join(follows[a], ", "))
	}
	b.WriteString("\n## Reasons to wait\n\nThose that the planner gives itself; [the conditions](conditions.md) have all.\n\n| reason | what it says |\n|---|---|\n")
	said := reasonDocs(t)
	found := reasons(t)
	slices.Sort(found)
	for _, r := range found {
		fmt.Fprintf(&b, "| `%s` | %s |\n", r, said[r])
	}
	return b.String()
}

// calmEdges are the transitions of a life in which nothing happens but what people ask for.
func calmEdges(t *testing.T) []string {
	t.Helper()
	last, edges := "[*]", []string{}
	for _, s := range stories()[:1] {
		log, err := s.Play(1, nil)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(log) {
			_, what, acts := strings.Cut(line, "operator 1: ")
			if !acts {
				continue
			}
			action := strings.Fields(what)[0]
			if edge := last + " --> " + action; !slices.Contains(edges, edge) {
				edges = append(edges, edge)
			}
			last = action
		}
	}
	return append(edges, last+" --> [*]")
}

// followers are the actions that come after one another in any life with one event.
func followers(t *testing.T) map[rotation.Action][]string {
	t.Helper()
	follows := map[rotation.Action][]string{}
	for _, v := range []*Variant{Plain(), class("shown once", ShownOnce), class("grant-only", GrantOnly)} {
		report, err := Search{Variant: v, Events: 1, Processes: 1, Rotated: true}.Run()
		if err != nil {
			t.Fatal(err)
		}
		for pair := range report.Follows {
			if name := "`" + string(pair[1]) + "`"; pair[0] != "" && !slices.Contains(follows[pair[0]], name) {
				follows[pair[0]] = append(follows[pair[0]], name)
			}
		}
	}
	for _, names := range follows {
		slices.Sort(names)
	}
	return follows
}

// actionDocs are the comments of the actions in the planner's source.
func actionDocs(t *testing.T) map[string]string {
	t.Helper()
	return constDocs(t, filepath.Join("..", "step.go"))
}

// reasonDocs are those of the reasons in the API.
func reasonDocs(t *testing.T) map[string]string {
	t.Helper()
	return constDocs(t, filepath.Join("..", "..", "..", "api", "v1alpha1", "conditions.go"))
}

// constDocs are the comments of string constants by their values.
func constDocs(t *testing.T, file string) map[string]string {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	docs := map[string]string{}
	ast.Inspect(parsed, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 || spec.Doc == nil {
			return true
		}
		literal, ok := spec.Values[0].(*ast.BasicLit)
		if !ok || literal.Kind != token.STRING {
			return true
		}
		value, err := strconv.Unquote(literal.Value)
		if err != nil {
			return true
		}
		text := strings.Join(strings.Fields(spec.Doc.Text()), " ")
		text = strings.TrimPrefix(strings.TrimPrefix(text, spec.Names[0].Name+": "), spec.Names[0].Name+" ")
		docs[value] = strings.ReplaceAll(text, "|", "\\|")
		return true
	})
	return docs
}
