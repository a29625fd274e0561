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
	"sync"
	"testing"

	"github.com/claviger-dev/claviger/internal/rotation"
)

// complete is how many states of each search are enough to come to everything that the
// planner can do. `make test` visits them in a run without the race detector.
const complete = 12_000

// size is how many states a search visits that cannot see all. CLAVIGER_SEARCH sets it,
// for an hour with nothing better to do; under the race detector it is small.
func size(t *testing.T) int {
	t.Helper()
	text := os.Getenv("CLAVIGER_SEARCH")
	if text == "" {
		return usual
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("CLAVIGER_SEARCH must be a number of states, and is %q", text)
	}
	return n
}

// searches are all that one run makes of a kind of world: one event at every moment of a
// life, two events, and two processes that act at once.
func searches(v *Variant, limit int) []Search {
	return []Search{
		{Variant: v, Events: 1, Processes: 1, Limit: 4 * limit},
		{Variant: v, Events: 1, Processes: 1, Rotated: true, Limit: 4 * limit},
		{Variant: v, Events: 2, Processes: 1, Limit: limit},
		{Variant: v, Events: 2, Processes: 1, Rotated: true, Limit: limit},
		{Variant: v, Events: 1, Processes: 2, Limit: limit},
		{Variant: v, Events: 1, Processes: 2, Rotated: true, Limit: limit},
	}
}

// TestEveryLifeKeepsTheRules searches every kind of world, the shortest lives first, and
// counts how many states it has seen. No action of the planner, no reason that it gives
// and no event of the world may be left out.
func TestEveryLifeKeepsTheRules(t *testing.T) {
	limit := size(t)
	var mu sync.Mutex
	var total Report
	all := t.Run("worlds", func(t *testing.T) {
		for _, v := range Variants() {
			for _, s := range searches(v, limit) {
				t.Run(fmt.Sprintf("%s, %d process(es), %d event(s), rotated %t", v.Name, s.Processes, s.Events, s.Rotated), func(t *testing.T) {
					t.Parallel()
					report, err := s.Run()
					if err != nil {
						t.Fatal(err)
					}
					t.Logf("%d states, %d rests, the longest life has %d steps, cut: %t", report.States, report.Rests, report.Longest, report.Cut)
					mu.Lock()
					defer mu.Unlock()
					total.Add(&report)
				})
			}
		}
	})
	t.Logf("%d states visited in all, %d of them at rest", total.States, total.Rests)
	if !all || limit < complete {
		return
	}
	for _, action := range rotation.Actions() {
		if total.Actions[action] == 0 {
			t.Errorf("no life comes to the action %s: teach the world what leads to it", action)
		}
	}
	for _, reason := range reasons(t) {
		if total.Reasons[reason] == 0 && unreachable[reason] == "" {
			t.Errorf("in no life the reason %s is given: teach the world what leads to it", reason)
		}
	}
	for _, e := range slices.Concat(Events(), (&workload{}).Events(), (&deployment{}).Events(), (&copies{}).Events(), (&login{}).Events(), (&delivery{}).Events(), (&reviewers{}).Events(), (&estate{}).Events()) {
		if total.Happened[e.Name] == 0 {
			t.Errorf("this never happens: %s", e.Name)
		}
	}
}

// unreachable are reasons that the planner passes on and does not give itself here, with
// why.
var unreachable = map[string]string{
	"MassDeletion": "many credentials are deleted at once, and a world has one: see TestMassDeletionIsHeld",
}

// reasons are those that stand in the planner's source.
func reasons(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("../*.go")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			pair, ok := n.(*ast.KeyValueExpr)
			if !ok {
				return true
			}
			key, isName := pair.Key.(*ast.Ident)
			value, isText := pair.Value.(*ast.BasicLit)
			if isName && isText && key.Name == "Reason" {
				if text, err := strconv.Unquote(value.Value); err == nil && !slices.Contains(found, text) {
					found = append(found, text)
				}
			}
			return true
		})
	}
	if len(found) < 10 {
		t.Fatalf("only the reasons %v were found", found)
	}
	return found
}

// TestTheSearchFindsWhatIsWrong proves that it can fail: each of these worlds breaks a
// promise that the planner relies on.
func TestTheSearchFindsWhatIsWrong(t *testing.T) {
	lie := func(class Class, change func(*rotation.Capabilities)) *Variant {
		v := &Variant{Name: "a lie", Class: class, Capabilities: of(class), Policy: onRequest}
		change(&v.Capabilities)
		return v
	}
	for name, v := range map[string]*Variant{
		"an upstream without unique names that says a repeat does no harm": lie(ShownOnce, func(c *rotation.Capabilities) { c.RepeatHarmless, c.Repeatable = true, true }),
		"an upstream that cannot be searched and says that it can":         lie(GrantOnly, func(c *rotation.Capabilities) { c.Addressable, c.Repeatable = true, true }),
	} {
		t.Run(name, func(t *testing.T) {
			for _, s := range searches(v, usual) {
				if _, err := s.Run(); err != nil {
					t.Logf("found: %.200v", err)
					return
				}
			}
			t.Error("no search noticed")
		})
	}
}
