package rules_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov/internal/tests/provtest"
)

func TestReadmeShowsCodeThatRuns(t *testing.T) {
	var sources string
	for _, file := range []string{"example_test.go", "provisioner_test.go", "internal/tests/provtest/provtest.go"} {
		sources += indentless(read(t, file))
	}
	blocks := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(read(t, "README.md"), -1)
	require.NotEmpty(t, blocks)
	for _, block := range blocks {
		assert.Contains(t, sources, indentless(block[1]))
	}
}

// indentless is text without indentation, which differs between a README and a
// function's body.
func indentless(text string) string {
	return regexp.MustCompile(`(?m)^[\t ]+`).ReplaceAllString(text, "")
}

func TestReadmeLinksToFilesThatExist(t *testing.T) {
	links := regexp.MustCompile(`\]\(([^)]+)\)`).FindAllStringSubmatch(read(t, "README.md"), -1)
	require.NotEmpty(t, links)
	for _, link := range links {
		if !strings.Contains(link[1], "://") {
			assert.FileExists(t, provtest.Root(t, link[1]))
		}
	}
}

// The package's documentation is where a reader of the README goes next: a name
// that it does not have is a name the README must not use.
func TestReadmeNamesExist(t *testing.T) {
	files, err := filepath.Glob(provtest.Root(t, "*.go"))
	require.NoError(t, err)
	var sources string
	for _, file := range files {
		if !strings.HasSuffix(file, "_test.go") {
			sources += read(t, filepath.Base(file))
		}
	}
	names := regexp.MustCompile("`\\*?([A-Z]\\w+)[`(]").FindAllStringSubmatch(read(t, "README.md"), -1)
	require.NotEmpty(t, names)
	for _, name := range names {
		if name[1] == strings.ToUpper(name[1]) {
			continue // a variable of the environment
		}
		declared := regexp.MustCompile(`(?m)^(?:func (?:\([^)]*\) )?|type |\t?)` + name[1] + `\b`)
		assert.True(t, declared.MatchString(sources), name[1])
	}
}

// read returns a file of the root, or below it.
func read(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile(provtest.Root(t, file))
	require.NoError(t, err)
	return string(data)
}
