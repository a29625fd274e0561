package docs_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/material"
)

// word is a constant of api/v1alpha1/conditions.go.
type word struct{ name, value, comment string }

// vocabulary reads the constants whose names begin with prefix.
func vocabulary(t *testing.T, prefix string) []word {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, "api/v1alpha1/conditions.go"), nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	var words []word
	for _, declaration := range file.Decls {
		general, ok := declaration.(*ast.GenDecl)
		if !ok {
			continue
		}
		for _, spec := range general.Specs {
			constant, ok := spec.(*ast.ValueSpec)
			if !ok || !strings.HasPrefix(constant.Names[0].Name, prefix) {
				continue
			}
			value, err := strconv.Unquote(constant.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			words = append(words, word{constant.Names[0].Name, value, flat(constant.Doc.Text())})
		}
	}
	if len(words) == 0 {
		t.Fatalf("no constant begins with %s", prefix)
	}
	return words
}

// flat is a text on one line.
func flat(text string) string { return strings.Join(strings.Fields(text), " ") }

// sections are the parts of a page below headings of a level, by heading.
func sections(content, level string) map[string]string {
	prose, _ := split(content)
	found := map[string]string{}
	for _, part := range strings.Split("\n"+prose, "\n"+level+" ")[1:] {
		title, text, _ := strings.Cut(part, "\n")
		if end := strings.Index(text, "\n## "); end >= 0 {
			text = text[:end]
		}
		found[title] = text
	}
	return found
}

// TestEveryConditionIsExplained: the first paragraph below a condition type or reason is
// the comment of its constant, so that the page cannot say something else than the code.
func TestEveryConditionIsExplained(t *testing.T) {
	const path = "docs/conditions.md"
	types := section(t, path, "Condition types")
	_, reasons, _ := strings.Cut(page(t, path), types)
	for prefix, explained := range map[string]map[string]string{
		"Condition": sections(types, "###"),
		"Reason":    sections(reasons, "###"),
	} {
		known := map[string]bool{}
		for _, w := range vocabulary(t, prefix) {
			known[w.value] = true
			text, ok := explained[w.value]
			if !ok {
				t.Errorf("%s has no section ### %s", path, w.value)
				continue
			}
			want := strings.TrimSpace(strings.TrimPrefix(strings.TrimPrefix(w.comment, w.name), ":"))
			if prefix == "Condition" {
				want = w.value + " " + want
			}
			first, rest, _ := strings.Cut(strings.TrimSpace(text), "\n\n")
			if !strings.EqualFold(flat(first), want) {
				t.Errorf("%s: the page says\n  %s\nand the code\n  %s", w.value, flat(first), want)
			}
			if prefix == "Reason" && !strings.HasPrefix(strings.TrimSpace(rest), "What to do: ") {
				t.Errorf("%s: the page does not say what to do", w.value)
			}
		}
		for title := range explained {
			if !known[title] {
				t.Errorf("%s explains %s, which no constant is", path, title)
			}
		}
	}
}

// TestEveryRequestAnnotationIsExplained on the page of the kind that bears it.
func TestEveryRequestAnnotationIsExplained(t *testing.T) {
	for _, w := range vocabulary(t, "Annotation") {
		if !strings.Contains(page(t, "docs/kinds/apiclientcredential.md"), "`"+w.value+"`") {
			t.Errorf("docs/kinds/apiclientcredential.md does not explain %s", w.value)
		}
	}
}

// TestEveryFieldIsExplained: the page of a kind names each of its fields by its path.
func TestEveryFieldIsExplained(t *testing.T) {
	for path, kind := range map[string]any{
		"docs/kinds/apiclientcredential.md": v1alpha1.APIClientCredential{},
		"docs/kinds/credentialissuer.md":    v1alpha1.CredentialIssuer{},
		"docs/kinds/rotationpolicy.md":      v1alpha1.RotationPolicy{},
		// What these have in common with the kinds of a namespace stands on their pages.
		"docs/kinds/clustercredentialissuer.md": v1alpha1.ClusterCredentialIssuer{},
		"docs/kinds/clusterrotationpolicy.md":   v1alpha1.ClusterRotationPolicy{},
		"docs/kinds/approvalrequest.md":         v1alpha1.ApprovalRequest{},
		"docs/kinds/approvaldecision.md":        v1alpha1.ApprovalDecision{},
		"docs/kinds/notificationchannel.md":     v1alpha1.NotificationChannel{},
		"docs/kinds/cloudintegrationtenant.md":  v1alpha1.CloudIntegrationTenant{},
	} {
		content := page(t, path)
		var wanted []string
		for _, part := range []string{"Spec", "Status"} {
			field, ok := reflect.TypeOf(kind).FieldByName(part)
			if !ok && part == "Status" {
				continue // a decision has none
			}
			if !ok {
				t.Fatalf("%T has no %s", kind, part)
			}
			if part == "Status" && strings.HasPrefix(reflect.TypeOf(kind).Name(), "Cluster") {
				continue
			}
			wanted = append(wanted, fieldsOf(field.Type, strings.ToLower(part))...)
		}
		if len(wanted) == 0 {
			t.Errorf("%s: only the fields %v were found", path, wanted)
		}
		for _, field := range wanted {
			if !strings.Contains(content, "`"+field+"`") {
				t.Errorf("%s does not explain `%s`", path, field)
			}
		}
		for _, match := range regexp.MustCompile("(?m)^\\| `((?:spec|status)\\.[^`]+)` \\|").FindAllStringSubmatch(content, -1) {
			if !slices.Contains(wanted, match[1]) {
				t.Errorf("%s explains `%s`, which the kind does not have", path, match[1])
			}
		}
	}
}

// fieldsOf lists the paths of our own fields below a type, itself excepted.
func fieldsOf(t reflect.Type, path string) []string {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		if t.Kind() == reflect.Slice {
			path += "[]"
		}
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || t.PkgPath() != reflect.TypeFor[v1alpha1.CredentialIssuer]().PkgPath() || t == reflect.TypeFor[metav1.Condition]() {
		return nil
	}
	var found []string
	for i := range t.NumField() {
		if t.Field(i).Anonymous {
			continue
		}
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		found = append(found, path+"."+name)
		found = append(found, fieldsOf(t.Field(i).Type, path+"."+name)...)
	}
	return found
}

// sources are the Go files of the operator, tests excepted.
func sources(t *testing.T, folders ...string) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, folder := range folders {
		err := filepath.WalkDir(filepath.Join(root, folder), func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
				return err
			}
			content, err := os.ReadFile(path)
			found[path] = string(content)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return found
}

// mentions collects the first group of a pattern over texts.
func mentions(pattern string, texts ...string) []string {
	found := map[string]bool{}
	for _, text := range texts {
		for _, match := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
			found[match[1]] = true
		}
	}
	return slices.Sorted(maps.Keys(found))
}

// section is the part of a page below a heading of the second level.
func section(t *testing.T, path, title string) string {
	t.Helper()
	text, ok := sections(page(t, path), "##")[title]
	if !ok {
		t.Fatalf("%s has no section %q", path, title)
	}
	return text
}

// TestFlagsMetricsAndEventsAreListed: each table of the operations page has a row for
// every one that the code has, and none besides.
func TestFlagsMetricsAndEventsAreListed(t *testing.T) {
	operator := slices.Collect(maps.Values(sources(t, "controllers", "internal", "main.go")))
	for _, table := range []struct {
		title, row, name string
		in               []string
	}{
		{"Flags", "(?m)^\\| `--([a-z-]+)` \\|", `flags\.(?:\w+Var\([^,]+, |Bool\(|String\()"([a-z-]+)"`, []string{page(t, "main.go")}},
		{"Metrics", "(?m)^\\| `(claviger_\\w+)` \\|", `"(claviger_[a-z_]+)"`, operator},
		{"Events", "(?m)^\\| `([A-Z]\\w+)` \\|", `(?:\.event\(s, |Eventf\((?:g\.issuer|policy|tenant), nil, )corev1\.EventType\w+, (?:"|v1alpha1\.Reason)(\w+)`, operator},
	} {
		t.Run(table.title, func(t *testing.T) {
			listed := mentions(table.row, section(t, "docs/operations.md", table.title))
			existing := mentions(table.name, table.in...)
			if len(existing) == 0 {
				t.Fatal("the code has none")
			}
			if diff := cmp.Diff(existing, listed); diff != "" {
				t.Errorf("in the code, on the page:\n%s", diff)
			}
		})
	}
}

// TestEveryTargetExists: the commands of the pages can be typed.
func TestEveryTargetExists(t *testing.T) {
	targets := mentions(`(?m)^([a-z]+):`, page(t, "Makefile"))
	named := 0
	for path, content := range pages(t) {
		for _, target := range mentions("(?m)(?:`|^\\$ )make ([a-z]+)", content) {
			named++
			if !slices.Contains(targets, target) {
				t.Errorf("%s names make %s, which the Makefile does not have", path, target)
			}
		}
	}
	if named < 5 {
		t.Errorf("only %d commands were found", named)
	}
}

// TestTemplateFunctionsAreListed as the package documents them.
func TestTemplateFunctionsAreListed(t *testing.T) {
	existing := mentions(`(?m)^\t\t"(\w+)": +(?:always\(|\{)`, page(t, "internal/render/functions.go"))
	listed := mentions("(?m)^\\| `(\\w+)` \\|", section(t, "docs/formats.md", "Template language"))
	if diff := cmp.Diff(existing, listed); diff != "" || len(existing) == 0 {
		t.Errorf("in the code, on the page:\n%s", diff)
	}
}

// TestTemplateValuesAreListed as material has them, and presets as the schema has them.
func TestTemplateValuesAreListed(t *testing.T) {
	existing := slices.Sorted(slices.Values(append(material.FieldNames(), material.AttributeNames()...)))
	listed := mentions("(?m)^\\| `\\.(\\w+)` \\|", section(t, "docs/formats.md", "Template language"))
	if diff := cmp.Diff(existing, listed); diff != "" {
		t.Errorf("in the code, on the page:\n%s", diff)
	}
	presets := regexp.MustCompile(`Enum=(ClientIDSecret[;\w]+)`).FindStringSubmatch(page(t, "api/v1alpha1/apiclientcredential_types.go"))
	if presets == nil {
		t.Fatal("the schema has no presets")
	}
	shown := mentions("(?m)^\\| `(\\w+)`", section(t, "docs/formats.md", "Presets"))
	if diff := cmp.Diff(slices.Sorted(slices.Values(strings.Split(presets[1], ";"))), shown); diff != "" {
		t.Errorf("in the schema, on the page:\n%s", diff)
	}
}

// TestDependenciesAreJustified: a module that the code imports has a row, and no other.
// go.mod's own marks of what is indirect are not trusted, the imports are.
func TestDependenciesAreJustified(t *testing.T) {
	required := mentions(`(?m)^\t([a-z][^\s]+\.[^\s]+) v`, page(t, "go.mod"))
	imported := map[string]bool{}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			_, own := os.Stat(filepath.Join(path, "go.mod"))
			if path != root && (own == nil || strings.HasPrefix(entry.Name(), ".")) {
				return fs.SkipDir // another module, or none of ours
			}
			return nil
		}
		if filepath.Ext(path) != ".go" {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, i := range file.Imports {
			if module := moduleOf(strings.Trim(i.Path.Value, `"`), required); module != "" {
				imported[module] = true
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	listed := mentions("(?m)^\\| `([^`]+)` \\|", section(t, "docs/dependencies.md", "The operator and its tests"))
	if diff := cmp.Diff(slices.Sorted(maps.Keys(imported)), listed); diff != "" {
		t.Errorf("in the code, on the page:\n%s", diff)
	}
}

// moduleOf is the longest required module that a package's path begins with.
func moduleOf(path string, required []string) string {
	longest := ""
	for _, module := range required {
		if (path == module || strings.HasPrefix(path, module+"/")) && len(module) > len(longest) {
			longest = module
		}
	}
	return longest
}
