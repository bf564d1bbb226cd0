package rules_test

import (
	"context"
	"encoding/json"
	"errors"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// knotRules say how many files of a package may depend on each other in a circle; 1 allows
// no circle. A reader who opens one file of such a knot cannot understand it without the
// others.
var knotRules = []struct {
	directory string
	most      int
}{
	{".", 2},
	{"fleetprovtest", 1},
	{"internal/controlplane", 1},
	{"internal/iotregistry", 1},
	{"internal/iotservice", 1},
	{"internal/pyfunction", 1},
	{"internal/statefile", 1},
	{"operator", 1},
	{"operator/cmd/fleetprov", 1},
}

// One file depends on another if it uses a function, type, variable, constant, method
// or field that is declared there.
func TestFilesDoNotDependOnEachOtherInCircles(t *testing.T) {
	root, err := filepath.Abs("../../..")
	require.NoError(t, err)
	for _, rule := range knotRules {
		t.Run(rule.directory, func(t *testing.T) {
			graph := fileDependencies(t, root, rule.directory)
			require.NotEmpty(t, graph)
			for _, knot := range knots(graph) {
				t.Logf("a knot of %d files: %s", len(knot), strings.Join(knot, ", "))
				assert.LessOrEqual(t, len(knot), rule.most, "files that depend on each other in a circle: %v", knot)
			}
		})
	}
}

func TestKnots(t *testing.T) {
	uses := func(files ...string) map[string]bool {
		used := map[string]bool{}
		for _, file := range files {
			used[file] = true
		}
		return used
	}
	assert.Equal(t, [][]string{{"a", "b", "c"}, {"e", "f"}}, knots(map[string]map[string]bool{
		"a": uses("b", "d"), "b": uses("c"), "c": uses("a"), "d": uses("e"), "e": uses("f"), "f": uses("e"), "g": uses("a"),
	}))
	assert.Empty(t, knots(map[string]map[string]bool{"a": uses("b", "c"), "b": uses("c"), "c": uses()}))
}

// listedPackage is what these tests need from "go list -json".
type listedPackage struct {
	ImportPath string
	Dir        string
	GoFiles    []string
	Export     string            // file with the package's export data
	ImportMap  map[string]string // from the path in the source to ImportPath
}

// fileDependencies returns, for each file of a package without its tests, the other
// files of the package that it uses.
func fileDependencies(t *testing.T, root, directory string) map[string]map[string]bool {
	t.Helper()
	listed := list(t, root, directory)
	own := listed[len(listed)-1] // "go list -deps" lists a package after its dependencies
	set := token.NewFileSet()
	var files []*ast.File
	for _, name := range own.GoFiles {
		file, err := parser.ParseFile(set, filepath.Join(own.Dir, name), nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		files = append(files, file)
	}
	info := &types.Info{
		Uses: make(map[*ast.Ident]types.Object),
	}
	config := types.Config{Importer: exportImporter(set, listed)}
	pkg, err := config.Check(own.ImportPath, set, files, info)
	require.NoError(t, err)

	fileOf := func(position token.Pos) string { return filepath.Base(set.Position(position).Filename) }
	graph := make(map[string]map[string]bool)
	for _, name := range own.GoFiles {
		graph[name] = make(map[string]bool)
	}
	for identifier, object := range info.Uses {
		if object.Pkg() != pkg || !outlivesItsFunction(pkg, object) {
			continue
		}
		if from, to := fileOf(identifier.Pos()), fileOf(object.Pos()); from != to {
			graph[from][to] = true
		}
	}
	return graph
}

// outlivesItsFunction reports whether an object is declared at package level, or is a
// method or a field.
func outlivesItsFunction(pkg *types.Package, object types.Object) bool {
	switch object := object.(type) {
	case *types.Var:
		return object.IsField() || object.Parent() == pkg.Scope()
	case *types.Func:
		return true
	default:
		return object.Parent() == pkg.Scope()
	}
}

// list returns a package and, before it, everything that it imports.
func list(t *testing.T, root, directory string) []listedPackage {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute) // it may have to compile
	defer cancel()
	command := exec.CommandContext(ctx, "go", "list", "-export", "-deps", "-json=ImportPath,Dir,GoFiles,Export,ImportMap", ".")
	command.Dir = filepath.Join(root, directory) // which may be another module's
	command.Stderr = os.Stderr
	output, err := command.Output()
	require.NoError(t, err)
	var listed []listedPackage
	for decoder := json.NewDecoder(strings.NewReader(string(output))); ; {
		var p listedPackage
		err := decoder.Decode(&p)
		if errors.Is(err, io.EOF) {
			return listed
		}
		require.NoError(t, err)
		listed = append(listed, p)
	}
}

// exportImporter imports packages from their export data, which the go command has
// in its cache.
func exportImporter(set *token.FileSet, listed []listedPackage) types.Importer {
	exports := make(map[string]string)
	for _, p := range listed {
		exports[p.ImportPath] = p.Export
	}
	renamed := listed[len(listed)-1].ImportMap
	return importer.ForCompiler(set, "gc", func(path string) (io.ReadCloser, error) {
		if actual, ok := renamed[path]; ok {
			path = actual
		}
		return os.Open(exports[path])
	})
}

// knots returns the strongly connected components of a graph that have more than one
// member, each sorted.
func knots(graph map[string]map[string]bool) [][]string {
	reachable := make(map[string]map[string]bool)
	for file := range graph {
		reachable[file] = make(map[string]bool)
		reach(graph, file, reachable[file])
	}
	var found [][]string
	placed := make(map[string]bool)
	for _, file := range slices.Sorted(maps.Keys(graph)) {
		if placed[file] {
			continue
		}
		knot := []string{file}
		for _, other := range slices.Sorted(maps.Keys(graph)) {
			if other != file && reachable[file][other] && reachable[other][file] {
				knot = append(knot, other)
				placed[other] = true
			}
		}
		if len(knot) > 1 {
			found = append(found, knot)
		}
	}
	return found
}

// reach adds every file that can be reached from one to seen.
func reach(graph map[string]map[string]bool, from string, seen map[string]bool) {
	for to := range graph[from] {
		if !seen[to] {
			seen[to] = true
			reach(graph, to, seen)
		}
	}
}
