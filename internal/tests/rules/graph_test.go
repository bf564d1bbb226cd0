package rules_test

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov/internal/tests/provtest"
)

const architecture = "docs/architecture.md"

// graphBlock is the graph of the packages, as it stands in the page.
var graphBlock = regexp.MustCompile("(?s)```mermaid\ngraph LR\n.*?```")

// The graph of the page is the one that the go command reports: a node for each
// package, with the examples in one and without the tests, an arrow for each import.
func TestGraphIsThatOfTheImports(t *testing.T) {
	page := read(t, architecture)
	require.Len(t, graphBlock.FindAllString(page, -1), 1)
	drawn := "```mermaid\n" + graph(t) + "```"
	if *update {
		page = graphBlock.ReplaceAllLiteralString(page, drawn)
		require.NoError(t, os.WriteFile(provtest.Root(t, architecture), []byte(page), 0o644))
	}
	assert.Equal(t, drawn, graphBlock.FindString(page), "go test ./internal/tests/rules -run Graph -update")
}

// Each package of the graph is explained beside it.
func TestArchitectureNamesEveryPackage(t *testing.T) {
	page := graphBlock.ReplaceAllLiteralString(read(t, architecture), "")
	for room := range houseImports(t) {
		assert.Regexp(t, "`(internal/)?"+regexp.QuoteMeta(room)+"`", page)
	}
}

// graph draws the imports in Mermaid.
func graph(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("graph LR\n")
	house := houseImports(t)
	for _, room := range slices.Sorted(maps.Keys(house)) {
		if imported := slices.Sorted(maps.Keys(house[room])); imported != nil {
			fmt.Fprintf(&b, "  %s --> %s\n", room, strings.Join(imported, " & "))
		}
	}
	return b.String()
}

// houseImports returns which package of this module imports which others of it. Each
// is named by the last part of its path.
func houseImports(t *testing.T) map[string]map[string]bool {
	t.Helper()
	list := exec.Command("go", "list", "-json=ImportPath,Imports", "./...")
	list.Dir = provtest.Root(t)
	output, err := list.Output()
	require.NoError(t, err)
	house := map[string]map[string]bool{}
	for decoder := json.NewDecoder(strings.NewReader(string(output))); ; {
		var listed struct {
			ImportPath string
			Imports    []string
		}
		err := decoder.Decode(&listed)
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
		room := roomOf(listed.ImportPath)
		if room == "" {
			continue
		}
		if house[room] == nil {
			house[room] = map[string]bool{}
		}
		for _, imported := range listed.Imports {
			if other := roomOf(imported); other != "" {
				house[room][other] = true
			}
		}
	}
	require.Contains(t, house["fleetprov"], "mqttsession", "imports are found at all")
	return house
}

// roomOf is the name of a package in the graph, or empty if it is not in it.
func roomOf(importPath string) string {
	below, ours := strings.CutPrefix(importPath, provtest.ModulePath)
	switch {
	case !ours, strings.HasPrefix(below, "/internal/tests/"):
		return ""
	case strings.HasPrefix(below, "/examples/"):
		return "examples"
	default:
		return path.Base(importPath)
	}
}
