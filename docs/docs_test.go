// Package docs_test keeps the pages true. The one idea: whatever a page claims and a
// program can check, is checked: links lead somewhere, manifests are accepted, and every
// field, reason, flag, metric, event and dependency of the code stands on its page.
package docs_test

import (
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"

	"sigs.k8s.io/yaml"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/interval"
	"github.com/claviger-dev/claviger/internal/render"
)

// root is the top of the repository, seen from here.
const root = ".."

// pages are all Markdown files of the repository by their path from the top.
func pages(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := entry.Name()
		if entry.IsDir() && path != root && (strings.HasPrefix(name, ".") || name == "bin" || name == "dist" || name == "testdata") {
			return fs.SkipDir
		}
		if filepath.Ext(name) != ".md" {
			return nil
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		fromTop, err := filepath.Rel(root, path)
		found[filepath.ToSlash(fromTop)] = string(content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(found) < 10 {
		t.Fatalf("only %d pages were found", len(found))
	}
	return found
}

// page is one of them.
func page(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// block is a fenced part of a page.
type block struct {
	language string
	line     int
	text     string
}

// split separates a page's prose from its fenced blocks. Lines of blocks are blank in
// the prose, so that line numbers stay.
func split(content string) (prose string, blocks []block) {
	var out []string
	var open *block
	for number, line := range strings.Split(content, "\n") {
		trimmed := strings.TrimSpace(line)
		switch {
		case open == nil && strings.HasPrefix(trimmed, "```"):
			open = &block{language: strings.TrimPrefix(trimmed, "```"), line: number + 2}
		case open != nil && trimmed == "```":
			blocks = append(blocks, *open)
			open = nil
		case open != nil:
			open.text += line + "\n"
		default:
			out = append(out, line)
			continue
		}
		out = append(out, "")
	}
	return strings.Join(out, "\n"), blocks
}

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#{1,6} +(.+)$`)
	code    = regexp.MustCompile("`[^`\n]*`")
)

// anchors are the fragments that the headings of a page can be linked by, as GitHub
// makes them.
func anchors(content string) map[string]bool {
	prose, _ := split(content)
	found := map[string]bool{}
	for _, match := range heading.FindAllStringSubmatch(prose, -1) {
		anchor := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
				return unicode.ToLower(r)
			}
			return -1
		}, match[1])
		for candidate, n := anchor, 1; ; candidate, n = fmt.Sprintf("%s-%d", anchor, n), n+1 {
			if !found[candidate] {
				found[candidate] = true
				break
			}
		}
	}
	return found
}

func TestEveryLinkLeadsSomewhere(t *testing.T) {
	all := pages(t)
	count := 0
	for path, content := range all {
		prose, _ := split(content)
		for number, line := range strings.Split(code.ReplaceAllString(prose, "``"), "\n") {
			for _, match := range link.FindAllStringSubmatch(line, -1) {
				target, err := url.Parse(match[1])
				if err != nil {
					t.Errorf("%s:%d: %s is no link: %v", path, number+1, match[1], err)
					continue
				}
				if target.Scheme != "" {
					continue
				}
				count++
				to := filepath.ToSlash(filepath.Join(filepath.Dir(path), target.Path))
				if target.Path == "" {
					to = path
				}
				if _, err := os.Stat(filepath.Join(root, to)); err != nil || strings.HasPrefix(to, "../") {
					t.Errorf("%s:%d: %s leads nowhere", path, number+1, match[1])
					continue
				}
				if target.Fragment != "" && !anchors(all[to])[target.Fragment] {
					t.Errorf("%s:%d: %s has no heading for #%s", path, number+1, to, target.Fragment)
				}
			}
		}
	}
	if count < 20 {
		t.Errorf("only %d links were looked at", count)
	}
}

// TestEveryPageIsLinked: a page that nothing leads to is not read and not kept.
func TestEveryPageIsLinked(t *testing.T) {
	all := pages(t)
	linked := map[string]bool{"README.md": true}
	for path, content := range all {
		prose, _ := split(content)
		for _, match := range link.FindAllStringSubmatch(prose, -1) {
			target, _, _ := strings.Cut(match[1], "#")
			if to := filepath.ToSlash(filepath.Join(filepath.Dir(path), target)); to != path {
				linked[to] = true
			}
		}
	}
	for path := range all {
		if !linked[path] && strings.HasPrefix(path, "docs/") {
			t.Errorf("no page links to %s", path)
		}
	}
}

// TestEveryManifestIsAccepted: what a page shows can be copied. The API server has
// rules beyond these; what is decoded here must at least have no field that it does not
// know, and intervals, windows and templates that the operator reads.
func TestEveryManifestIsAccepted(t *testing.T) {
	kinds := map[string]int{}
	for path, content := range pages(t) {
		_, blocks := split(content)
		for _, b := range blocks {
			if b.language != "yaml" {
				continue
			}
			for _, document := range strings.Split(b.text, "\n---\n") {
				kind, err := accept([]byte(document))
				if err != nil {
					t.Errorf("%s:%d: %v", path, b.line, err)
				}
				kinds[kind]++
			}
		}
	}
	for _, kind := range []string{"APIClientCredential", "CredentialIssuer", "RotationPolicy"} {
		if kinds[kind] < 2 {
			t.Errorf("%d manifests of kind %s were looked at", kinds[kind], kind)
		}
	}
}

// accept decodes one document and returns its kind; kinds of others must only be YAML.
func accept(document []byte) (kind string, err error) {
	var meta struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
	}
	if err := yaml.Unmarshal(document, &meta); err != nil {
		return "", err
	}
	if !strings.HasPrefix(meta.APIVersion, v1alpha1.GroupVersion.Group) {
		return meta.Kind, nil
	}
	switch meta.Kind {
	case "APIClientCredential":
		var c v1alpha1.APIClientCredential
		if err := yaml.UnmarshalStrict(document, &c); err != nil {
			return meta.Kind, err
		}
		if template := c.Spec.Secret.Template; template != nil {
			spec := render.Spec{Preset: template.Preset, Data: template.Data}
			if template.DockerConfigJSON != nil {
				spec.Registry = template.DockerConfigJSON.Registry
			}
			if template.ServiceBinding != nil {
				spec.BindingType = template.ServiceBinding.Type
			}
			_, err = render.Compile(spec)
		}
		return meta.Kind, err
	case "ApprovalRequest":
		return meta.Kind, yaml.UnmarshalStrict(document, &v1alpha1.ApprovalRequest{})
	case "ApprovalDecision":
		return meta.Kind, yaml.UnmarshalStrict(document, &v1alpha1.ApprovalDecision{})
	case "CloudIntegrationTenant":
		return meta.Kind, yaml.UnmarshalStrict(document, &v1alpha1.CloudIntegrationTenant{})
	case "ClusterCredentialIssuer":
		return meta.Kind, yaml.UnmarshalStrict(document, &v1alpha1.ClusterCredentialIssuer{})
	case "ClusterRotationPolicy":
		return meta.Kind, yaml.UnmarshalStrict(document, &v1alpha1.ClusterRotationPolicy{})
	case "CredentialIssuer":
		return meta.Kind, yaml.UnmarshalStrict(document, &v1alpha1.CredentialIssuer{})
	case "NotificationChannel":
		return meta.Kind, yaml.UnmarshalStrict(document, &v1alpha1.NotificationChannel{})
	case "RotationPolicy":
		var p v1alpha1.RotationPolicy
		if err := yaml.UnmarshalStrict(document, &p); err != nil {
			return meta.Kind, err
		}
		return meta.Kind, readable(p.Spec)
	}
	return meta.Kind, fmt.Errorf("there is no kind %q in %s", meta.Kind, meta.APIVersion)
}

func readable(spec v1alpha1.RotationPolicySpec) error {
	for _, text := range []v1alpha1.Interval{spec.RotateAfter, spec.Overlap} {
		if text == "" {
			continue
		}
		if _, err := interval.Parse(string(text)); err != nil {
			return err
		}
	}
	for _, w := range spec.Windows {
		if _, err := interval.ParseWindow(w.Schedule, w.Duration.Duration.String(), w.TimeZone); err != nil {
			return err
		}
	}
	return nil
}
