// Command mutate breaks the planner in every small way, one at a time, and asks the tests
// whether they notice. The one idea: a proof that survives a broken planner proves
// nothing. Nothing is written into the tree: each mutant is an overlay of one file.
//
//	usage: mutate [-every N] [-only SUBSTRING] [-list] [-workers N] PACKAGE...
//
// The tables are asked first, because they take a second; the search and the stories only
// about mutants that the tables do not notice. A sample (-every) is drawn by the hash of a
// mutant's name, so that it stays the same while other functions change.
//
// A mutant that survives must be explained in testdata/survivors.txt beside this file, by
// its name; an unexplained one, and an explanation that explains none, fail the run.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"hash/fnv"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// patience is how long the tests may take on one mutant; one that never ends is noticed.
const patience = 90 * time.Second

// Mutant is one change of one file.
type Mutant struct {
	// Name is file:function: what was changed, stable while the function is.
	Name    string
	file    string
	content []byte
}

func main() {
	if err := run(context.Background(), os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "mutate:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out, progress io.Writer) error {
	flags := flag.NewFlagSet("mutate", flag.ContinueOnError)
	every := flags.Uint("every", 1, "try only one in n mutants")
	only := flags.String("only", "", "try only mutants whose name contains this")
	list := flags.Bool("list", false, "only list the mutants")
	workers := flags.Int("workers", 2, "how many are tried at a time")
	if err := flags.Parse(args); err != nil {
		return err
	}
	packages := flags.Args()
	if len(packages) == 0 {
		packages = []string{"internal/rotation"}
	}
	explained, err := survivors(filepath.Join("hack", "mutate", "testdata", "survivors.txt"))
	if err != nil {
		return err
	}
	var all []Mutant
	for _, p := range packages {
		found, err := mutants(p)
		if err != nil {
			return err
		}
		all = append(all, found...)
	}
	var chosen []Mutant
	for _, m := range all {
		if drawn(m.Name, *every) && strings.Contains(m.Name, *only) {
			chosen = append(chosen, m)
		}
	}
	if *list {
		for _, m := range chosen {
			fmt.Fprintln(out, m.Name)
		}
		return nil
	}
	// A test that fails anyhow notices everything and proves nothing.
	for _, p := range packages {
		if !passes(ctx, Mutant{file: filepath.Join(p, "none.go")}, append(model, tables(p)...)...) {
			return fmt.Errorf("the tests of %s fail without any change", p)
		}
	}
	alive, byTables := try(ctx, chosen, *workers, progress)
	fmt.Fprintf(out, "%d of %d mutants are noticed by the tables, %d more by the search and the stories\n", byTables, len(chosen), len(chosen)-byTables-len(alive))
	return errors.Join(judge(out, alive, chosen, explained), stale(all, explained))
}

// drawn says whether a mutant is in a sample of one in every.
func drawn(name string, every uint) bool {
	h := fnv.New32a()
	_, _ = h.Write([]byte(name)) // never fails, as package hash promises
	return h.Sum32()%uint32(max(every, 1)) == 0
}

// stale finds explanations of mutants that there are no longer.
func stale(all []Mutant, explained map[string]string) error {
	exists := map[string]bool{}
	for _, m := range all {
		exists[m.Name] = true
	}
	var gone []string
	for name := range explained {
		if !exists[name] {
			gone = append(gone, name)
		}
	}
	if len(gone) == 0 {
		return nil
	}
	slices.Sort(gone)
	return fmt.Errorf("testdata/survivors.txt explains mutants that do not exist: %s", strings.Join(gone, "; "))
}

// judge compares who survived with who may.
func judge(out io.Writer, alive map[string]bool, chosen []Mutant, explained map[string]string) error {
	bad := 0
	for _, m := range chosen {
		switch why, ok := explained[m.Name]; {
		case alive[m.Name] && !ok:
			fmt.Fprintf(out, "SURVIVED  %s\n", m.Name)
			bad++
		case alive[m.Name]:
			fmt.Fprintf(out, "survived  %s: %s\n", m.Name, why)
		case ok:
			fmt.Fprintf(out, "NOTICED   %s: its explanation is not needed any more\n", m.Name)
			bad++
		}
	}
	fmt.Fprintf(out, "%d mutants, %d noticed, %d survived\n", len(chosen), len(chosen)-len(alive), len(alive))
	if bad > 0 {
		return fmt.Errorf("%d mutants are not as testdata/survivors.txt says", bad)
	}
	return nil
}

// survivors reads the explanations: a name, " | ", and why nobody can notice.
func survivors(file string) (map[string]string, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	found := map[string]string{}
	for line := range strings.Lines(string(content)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, why, ok := strings.Cut(line, " | ")
		if !ok || why == "" {
			return nil, fmt.Errorf("%s: %q has no explanation", file, line)
		}
		found[name] = why
	}
	return found, nil
}

// mutants are all small changes of a package's files.
func mutants(folder string) ([]Mutant, error) {
	files, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil {
		return nil, err
	}
	var all []Mutant
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		found, err := mutate(file)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, nil
}

func mutate(file string) ([]Mutant, error) {
	fset := token.NewFileSet()
	parsed, err := parser.ParseFile(fset, file, nil, parser.ParseComments)
	if err != nil {
		return nil, err
	}
	var all []Mutant
	count := map[string]int{}
	for _, decl := range parsed.Decls {
		function, ok := decl.(*ast.FuncDecl)
		if !ok || function.Body == nil {
			continue
		}
		var failed error
		visit(function.Body, func(what string) {
			name := fmt.Sprintf("%s:%s: %s", filepath.Base(file), function.Name.Name, what)
			if count[name]++; count[name] > 1 {
				name += fmt.Sprintf(" (%d)", count[name])
			}
			var b bytes.Buffer
			if err := format.Node(&b, fset, parsed); err != nil {
				failed = err
				return
			}
			all = append(all, Mutant{Name: name, file: file, content: b.Bytes()})
		})
		if failed != nil {
			return nil, failed
		}
	}
	return all, nil
}

// opposite turns an operator around.
var opposite = map[token.Token]token.Token{
	token.EQL: token.NEQ, token.NEQ: token.EQL, token.LSS: token.GEQ, token.GEQ: token.LSS, token.GTR: token.LEQ, token.LEQ: token.GTR,
	token.LAND: token.LOR, token.LOR: token.LAND,
}

// visit makes one change after the other, has each taken down, and takes it back.
func visit(body *ast.BlockStmt, take func(what string)) {
	ast.Inspect(body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.BinaryExpr:
			if op, ok := opposite[n.Op]; ok {
				was := n.Op
				text := source(n)
				n.Op = op
				take(text + " with " + op.String())
				n.Op = was
			}
		case *ast.UnaryExpr:
			if n.Op == token.NOT {
				text := source(n)
				was := n.X
				n.X = &ast.UnaryExpr{Op: token.NOT, X: &ast.ParenExpr{X: was}}
				take(text + " without not")
				n.X = was
			}
		case *ast.IfStmt:
			was := n.Cond
			for _, value := range []string{"true", "false"} {
				n.Cond = &ast.BinaryExpr{X: &ast.ParenExpr{X: was}, Op: map[string]token.Token{"true": token.LOR, "false": token.LAND}[value], Y: ast.NewIdent(value)}
				take("if " + source(was) + " is " + value)
			}
			n.Cond = was
		case *ast.CaseClause:
			for i, was := range n.List {
				if _, literal := was.(*ast.BasicLit); literal || !condition(was) {
					continue
				}
				n.List[i] = &ast.BinaryExpr{X: &ast.ParenExpr{X: was}, Op: token.LAND, Y: ast.NewIdent("false")}
				take("case " + source(was) + " is false")
				n.List[i] = was
			}
		}
		return true
	})
}

// condition tells truths from values: only a switch without a tag has them.
func condition(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.BinaryExpr:
		_, ok := opposite[e.Op]
		return ok
	case *ast.UnaryExpr:
		return e.Op == token.NOT
	case *ast.CallExpr:
		return true
	case *ast.ParenExpr:
		return condition(e.X)
	case *ast.SelectorExpr:
		return e.Sel.Name != "" && ast.IsExported(e.Sel.Name)
	}
	return false
}

func source(n ast.Node) string {
	var b bytes.Buffer
	if err := format.Node(&b, token.NewFileSet(), n); err != nil {
		return err.Error()
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

// test is what `go test` is given.
type test []string

// model are the tests that know nothing of single decisions.
var model = []test{{"-run", "EveryLife|Stories", "./internal/rotation/rotationtest"}}

// tables are the tests of single decisions.
func tables(folder string) []test { return []test{{"./" + folder}} }

// try runs the tests on each mutant and returns the names of those that nobody noticed,
// and how many the tables noticed. It tells each verdict at once: a long run that is broken
// off has not run for nothing.
func try(ctx context.Context, all []Mutant, workers int, progress io.Writer) (alive map[string]bool, byTables int) {
	alive = map[string]bool{}
	var mu sync.Mutex
	tried := 0
	var group sync.WaitGroup
	queue := make(chan Mutant)
	for range workers {
		group.Go(func() {
			for m := range queue {
				unseen := passes(ctx, m, tables(filepath.Dir(m.file))...)
				survives := unseen && passes(ctx, m, model...)
				mu.Lock()
				verdict := "noticed by the search"
				if !unseen {
					byTables++
					verdict = "noticed by the tables"
				}
				if survives {
					alive[m.Name] = true
					verdict = "NOT NOTICED"
				}
				tried++
				_, _ = fmt.Fprintf(progress, "%d/%d %s: %s\n", tried, len(all), verdict, m.Name) // for people who watch
				mu.Unlock()
			}
		})
	}
	for _, m := range all {
		queue <- m
	}
	close(queue)
	group.Wait()
	return alive, byTables
}

// passes reports whether tests are content with a mutant. One that does not compile is
// none, and counts as noticed.
func passes(ctx context.Context, m Mutant, tests ...test) bool {
	folder, err := os.MkdirTemp("", "mutant")
	if err != nil {
		return true
	}
	defer func() { _ = os.RemoveAll(folder) }()
	original, err := filepath.Abs(m.file)
	if err != nil {
		return true
	}
	changed := filepath.Join(folder, filepath.Base(m.file))
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {original: changed}})
	if m.content == nil {
		overlay, err = []byte("{}"), nil
	}
	if err != nil || os.WriteFile(changed, m.content, 0o600) != nil || os.WriteFile(filepath.Join(folder, "overlay.json"), overlay, 0o600) != nil {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for _, t := range tests {
		// With a time of its own: what "go test" started outlives it, and one that never ends would slow
		// down all that follow.
		args := append([]string{"test", "-vet=off", "-failfast", "-timeout", patience.String(), "-overlay", filepath.Join(folder, "overlay.json")}, t...)
		command := exec.CommandContext(ctx, "go", args...)
		command.Env = append(os.Environ(), "CLAVIGER_SEARCH=400")
		if command.Run() != nil {
			return false
		}
	}
	return true
}
