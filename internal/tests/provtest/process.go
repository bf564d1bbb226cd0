package provtest

import (
	"context"
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"
)

// Process is the test of that name in a process of its own, with these additions to the
// environment, name=value. It is killed when ctx ends.
func Process(ctx context.Context, test string, environment ...string) *exec.Cmd {
	process := exec.CommandContext(ctx, os.Args[0], "-test.run=^"+test+"$")
	process.Env = append(os.Environ(), environment...)
	return process
}

// RunAlone runs the test that calls it once more, in a process of its own, and requires
// that it passes there. It reports whether this is that process.
func RunAlone(t testing.TB) (alone bool) {
	t.Helper()
	const own = "FLEETPROV_TEST_ALONE"
	if os.Getenv(own) != "" {
		return true
	}
	process := Process(Context(t), t.Name(), own+"=1")
	process.Args = append(process.Args, "-test.v")
	output, err := process.CombinedOutput()
	require.NoError(t, err, "%s", output)
	require.Contains(t, string(output), "--- PASS: "+t.Name())
	return false
}
