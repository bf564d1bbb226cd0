package provtest

import (
	"context"
	"os"
	"os/exec"
)

// Process is the test of that name in a process of its own, with these additions to the
// environment, name=value. It is killed when ctx ends.
func Process(ctx context.Context, test string, environment ...string) *exec.Cmd {
	process := exec.CommandContext(ctx, os.Args[0], "-test.run=^"+test+"$", "-test.v")
	process.Env = append(os.Environ(), environment...)
	return process
}
