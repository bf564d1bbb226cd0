//go:build !unix

package pyfunction

import (
	"os"
	"os/exec"
)

// ownGroup does nothing: what the process starts is left to the system.
func ownGroup(*exec.Cmd) {}

func killGroup(p *os.Process) { _ = p.Kill() }
