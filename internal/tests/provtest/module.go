package provtest

import (
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// ModulePath is the import path of the root.
const ModulePath = "github.com/fleetprov/fleetprov"

// Root returns the directory of the module, or a path below it.
func Root(t testing.TB, below ...string) string {
	t.Helper()
	root, err := findRoot()
	require.NoError(t, err)
	return filepath.Join(append([]string{root}, below...)...)
}

// findRoot looks for go.mod from the directory of the package upwards, where the go
// command starts its tests.
var findRoot = sync.OnceValues(func() (string, error) {
	directory := packageDirectory
	for {
		_, err := os.Stat(filepath.Join(directory, "go.mod"))
		if err == nil {
			return directory, nil
		}
		above := filepath.Dir(directory)
		if above == directory {
			return "", err
		}
		directory = above
	}
})

// packageDirectory is where the process was started. A test may go elsewhere.
var packageDirectory, _ = os.Getwd()
