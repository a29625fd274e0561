package docs_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var testName = regexp.MustCompile("`(Test[A-Z]\\w+)`")

// TestEveryHazardHasAProof: each finding of the analysis has a row on the page of proofs,
// with tests that exist or with the reason why it cannot happen.
func TestEveryHazardHasAProof(t *testing.T) {
	rows := map[string]string{}
	for line := range strings.Lines(page(t, "docs/proofs.md")) {
		cells := strings.Split(line, "|")
		if len(cells) > 3 {
			rows[strings.TrimSpace(cells[1])] = cells[3]
		}
	}
	known := tests(t)
	for _, kind := range []struct {
		letter string
		count  int
	}{{"C", 9}, {"H", 20}, {"M", 17}} {
		for i := 1; i <= kind.count; i++ {
			hazard := fmt.Sprintf("%s%d", kind.letter, i)
			proof := rows[hazard]
			named := testName.FindAllStringSubmatch(proof, -1)
			if len(named) == 0 && !strings.Contains(proof, "cannot ") {
				t.Errorf("docs/proofs.md says nothing about hazard %s", hazard)
			}
			for _, name := range named {
				if !known[name[1]] {
					t.Errorf("docs/proofs.md names %s for hazard %s, and there is no such test", name[1], hazard)
				}
			}
		}
	}
}

// tests are the names of all test functions of the repository.
func tests(t *testing.T) map[string]bool {
	t.Helper()
	function, found := regexp.MustCompile(`(?m)^func (Test\w+)\(`), map[string]bool{}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		content, err := os.ReadFile(path)
		for _, match := range function.FindAllStringSubmatch(string(content), -1) {
			found[match[1]] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
