package pfx

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestFIPSOnly opens the files in a process in which the standard library
// panics on what FIPS 140 does not approve.
func TestFIPSOnly(t *testing.T) {
	if strings.Contains(os.Getenv("GODEBUG"), "fips140=only") {
		for _, f := range testFiles(t) {
			b, err := Parse(f.read(t), f.Password)
			if err == nil {
				checkBundle(t, b)
				continue
			}
			checkError(t, b, err)
			if strings.Contains(f.File, "-legacy") && f.Expect != "error" { // SHA-1, RC2 and 3DES
				assert.ErrorContains(t, err, "in FIPS 140 mode: give it certificate and key as PEM", f.File)
			}
		}
		return
	}
	t.Parallel()
	program, err := os.Executable()
	require.NoError(t, err)
	child := exec.Command(program, "-test.run=^TestFIPSOnly$")
	child.Env = append(os.Environ(), "GODEBUG=fips140=only")
	output, err := child.CombinedOutput()
	require.NoError(t, err, "%s", output)
}
