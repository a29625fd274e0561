// Package imports tests which way the packages look. The one idea: imports point one
// way, so that what decides cannot act, what speaks to one upstream knows no other, and
// what plays an upstream shares no mistake with what speaks to it.
package imports

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/claviger-dev/claviger"

// pkg is one package as `go list` tells it.
type pkg struct {
	ImportPath   string
	Imports      []string
	TestImports  []string
	XTestImports []string
	Deps         []string
	Standard     bool
	Dir          string
	GoFiles      []string
}

func (p pkg) short() string { return short(p.ImportPath) }

// short is the path below the module; the root package is ".".
func short(importPath string) string {
	if importPath == module {
		return "."
	}
	return strings.TrimPrefix(importPath, module+"/")
}

func own(importPath string) bool {
	return importPath == module || strings.HasPrefix(importPath, module+"/")
}

// load lists all packages of the module, and, by path, all that they need.
func load(t *testing.T) (project []pkg, all map[string]pkg) {
	t.Helper()
	list := exec.CommandContext(t.Context(), "go", "list", "-e", "-deps", "-json=ImportPath,Imports,TestImports,XTestImports,Deps,Standard,Dir,GoFiles", module+"/...")
	out, err := list.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := list.Start(); err != nil {
		t.Fatal(err)
	}
	all = map[string]pkg{}
	for decoder := json.NewDecoder(out); ; {
		var p pkg
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		all[p.ImportPath] = p
		if own(p.ImportPath) {
			project = append(project, p)
		}
	}
	if err := list.Wait(); err != nil {
		t.Fatal(err)
	}
	if len(project) < 10 {
		t.Fatalf("only %d packages were found", len(project))
	}
	return project, all
}

// below reports whether a path is one of some folders or in one of them.
func below(p string, folders ...string) bool {
	return slices.ContainsFunc(folders, func(f string) bool { return p == f || strings.HasPrefix(p, f+"/") })
}

// The packages by their part in the design. Adapters and simulators come in pairs.
var (
	pure = []string{"internal/rotation", "internal/interval", "internal/render", "internal/approval", "internal/uptake", "internal/rollout", "internal/notify"}
	// Each adapter has a line of its own.
	adapters = []string{
		"internal/apiconnect",
		"internal/centrasite",
		"internal/cloudfoundry",
		"internal/cloudintegration",
		"internal/neo",
		"internal/venafi",
		"internal/webmethodsgateway",
		"internal/webmethodsportal",
	}
	// programs put parts together.
	programs = []string{".", "hack", "test", "cmd"}
)

func isPure(p string) bool    { return slices.Contains(pure, p) }
func isAdapter(p string) bool { return below(p, adapters...) }

// isSimulator goes by the name, so that none is forgotten: internal/xsim and what is in it.
func isSimulator(p string) bool {
	folder, _, _ := strings.Cut(strings.TrimPrefix(p, "internal/"), "/")
	return below(p, "internal") && strings.HasSuffix(folder, "sim")
}

// isHarness tells what only tests and the demo may need.
func isHarness(p string) bool {
	return p == "internal/controlplane" || below(p, "internal") && strings.HasSuffix(path.Base(p), "test")
}

// A direction is a rule about direct imports.
type direction struct {
	name string
	// of says which packages the direction is about.
	of func(importer string) bool
	// forbids says which direct imports it forbids to them.
	forbids func(importer, imported string, standard bool) bool
}

var directions = []direction{
	{
		"what decides imports neither Kubernetes nor controllers nor anything that acts",
		isPure,
		func(_, imported string, standard bool) bool {
			switch {
			case standard:
				return slices.Contains([]string{"net", "os", "os/exec", "os/signal", "io/fs", "syscall", "math/rand", "math/rand/v2", "crypto/rand"}, imported) ||
					below(imported, "net/http", "database", "log")
			case own(imported):
				return !isPure(short(imported)) && short(imported) != "internal/material"
			default:
				// The parser of schedules; and the writer of keystores, which takes its salts as an argument.
				return imported != "github.com/robfig/cron/v3" && imported != "software.sslmate.com/src/go-pkcs12"
			}
		},
	},
	{
		"the API types import apimachinery and core/v1 only",
		func(importer string) bool { return below(importer, "api") },
		func(_, imported string, standard bool) bool {
			return !standard && !below(imported, "k8s.io/apimachinery", "k8s.io/api/core/v1")
		},
	},
	{
		"an adapter imports of the project only the port, secret values and intervals",
		isAdapter,
		func(importer, imported string, _ bool) bool {
			return own(imported) && short(imported) != "internal/upstream" && short(imported) != "internal/material" && short(imported) != "internal/interval" &&
				!below(short(imported), importer)
		},
	},
	{
		"an adapter does not know Kubernetes",
		isAdapter,
		func(_, imported string, _ bool) bool { return below(imported, "k8s.io", "sigs.k8s.io") },
	},
	{
		"a simulator imports the standard library and what simulators share, and nothing else",
		func(importer string) bool { return isSimulator(importer) || importer == "internal/simkit" },
		func(importer, imported string, standard bool) bool {
			// A keystore that takes PKCS#12 has to read it, which the standard library cannot.
			keystore := importer == "internal/cloudintegrationsim" && imported == "software.sslmate.com/src/go-pkcs12"
			// Platforms of one landscape have their brokers in common.
			landscape := importer == "internal/servicemanagersim" && short(imported) == "internal/cloudfoundrysim"
			return !standard && !keystore && !landscape && short(imported) != "internal/simkit" && !below(short(imported), importer)
		},
	},
	{
		"only programs import adapters",
		func(importer string) bool { return !below(importer, programs...) && !isAdapter(importer) },
		func(importer, imported string, _ bool) bool {
			// A kind that is about one product has no adapters to choose from.
			if importer == "controllers/cloudintegration" && below(short(imported), "internal/cloudintegration") {
				return false
			}
			return own(imported) && isAdapter(short(imported))
		},
	},
	{
		"only programs import simulators, and the operator is not one of them",
		func(importer string) bool {
			return importer == "." || !below(importer, programs...) && !isSimulator(importer)
		},
		func(importer, imported string, _ bool) bool {
			// The conformance suite says how its faults are played on any simulator; it is in no program.
			suite := importer == "internal/upstream/upstreamtest"
			return own(imported) && (isSimulator(short(imported)) || short(imported) == "internal/simkit" && importer != "internal/simkit" && !suite)
		},
	},
	{
		"what serves tests is in no program of ours",
		func(importer string) bool { return !below(importer, "hack", "test") && !isHarness(importer) },
		func(_, imported string, _ bool) bool {
			return own(imported) && isHarness(short(imported)) || imported == "testing" || below(imported, "sigs.k8s.io/controller-runtime/pkg/envtest")
		},
	},
	{
		"nothing below imports the controllers",
		func(importer string) bool { return below(importer, "api", "internal") && importer != "internal/cli" },
		func(_, imported string, _ bool) bool { return own(imported) && below(short(imported), "controllers") },
	},
	{
		"nothing imports a program",
		func(string) bool { return true },
		func(_, imported string, _ bool) bool {
			return own(imported) && below(short(imported), "cmd", "hack", "test") || imported == module
		},
	},
}

func TestImportsPointOneWay(t *testing.T) {
	project, all := load(t)
	for _, d := range directions {
		t.Run(d.name, func(t *testing.T) {
			for _, p := range project {
				if !d.of(p.short()) {
					continue
				}
				for _, imported := range p.Imports {
					if d.forbids(p.short(), imported, all[imported].Standard) {
						t.Errorf("%s imports %s", p.short(), imported)
					}
				}
			}
		})
	}
}

// TestWhatDecidesReachesNothingThatActs: a forbidden package may also come through one
// that is allowed.
func TestWhatDecidesReachesNothingThatActs(t *testing.T) {
	project, _ := load(t)
	count := 0
	for _, p := range project {
		if !isPure(p.short()) {
			continue
		}
		count++
		for _, dep := range p.Deps {
			if below(dep, "k8s.io", "sigs.k8s.io", "net/http") || own(dep) && below(short(dep), "api", "controllers", "internal/upstream", "internal/journal") {
				t.Errorf("%s needs %s in the end", p.short(), dep)
			}
		}
	}
	if count == 0 {
		t.Error("no such package was found")
	}
}

// TestWhatDecidesIsToldTheTime: a decision that looks at a clock comes out differently
// the second time, and cannot be tested at the edge.
func TestWhatDecidesIsToldTheTime(t *testing.T) {
	clocks := []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker"}
	project, _ := load(t)
	for _, p := range project {
		if !isPure(p.short()) {
			continue
		}
		for _, name := range p.GoFiles {
			files := token.NewFileSet()
			file, err := parser.ParseFile(files, filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(file, func(n ast.Node) bool {
				if use, ok := n.(*ast.SelectorExpr); ok {
					if of, ok := use.X.(*ast.Ident); ok && of.Name == "time" && slices.Contains(clocks, use.Sel.Name) {
						t.Errorf("%s uses time.%s", files.Position(use.Pos()), use.Sel.Name)
					}
				}
				return true
			})
		}
	}
}

// TestASimulatorSharesNothingWithItsAdapter, not even through tests: a mistake that
// both share is one that no test finds. Only the adapter's own tests bring them
// together, over the wire.
func TestASimulatorSharesNothingWithItsAdapter(t *testing.T) {
	project, _ := load(t)
	for _, p := range project {
		if !isSimulator(p.short()) && p.short() != "internal/simkit" {
			continue
		}
		for _, imported := range append(p.TestImports, p.XTestImports...) {
			if own(imported) && short(imported) != "internal/simkit" && imported != p.ImportPath {
				t.Errorf("a test of %s imports %s", p.short(), short(imported))
			}
		}
	}
}

// TestPackagesSayWhatTheyAreFor: a package with one of these names is for everything.
func TestPackagesSayWhatTheyAreFor(t *testing.T) {
	project, _ := load(t)
	for _, p := range project {
		if slices.Contains([]string{"util", "utils", "common", "helper", "helpers", "misc", "shared", "types"}, path.Base(p.ImportPath)) {
			t.Errorf("%s says nothing about what is in it", p.short())
		}
	}
}
