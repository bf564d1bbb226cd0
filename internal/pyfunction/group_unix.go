//go:build unix

package pyfunction

import (
	"os"
	"os/exec"
	"syscall"
)

// ownGroup makes a process the first of a group, so that what it starts ends with it.
func ownGroup(command *exec.Cmd) { command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

func killGroup(p *os.Process) { _ = syscall.Kill(-p.Pid, syscall.SIGKILL) }
