// Package swtpm runs the TPM emulator swtpm for tests.
package swtpm

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// patience is longer than swtpm takes to start on a busy machine.
const patience = 30 * time.Second

// TPM is an emulated TPM 2.0.
type TPM struct {
	Path string // of its socket

	state   string // directory
	process *exec.Cmd
}

// New makes a TPM and switches it on. It is switched off when the test ends.
func New(t testing.TB) *TPM {
	t.Helper()
	state := t.TempDir()
	m := &TPM{Path: filepath.Join(state, "s"), state: state}
	m.start(t)
	t.Cleanup(m.stop)
	return m
}

func (m *TPM) start(t testing.TB) {
	t.Helper()
	m.process = exec.Command("swtpm", "socket", "--tpm2", "--tpmstate", "dir="+m.state,
		"--server", "type=unixio,path="+m.Path, "--flags", "not-need-init,startup-clear")
	require.NoError(t, m.process.Start(), "the Debian package swtpm has it")
	require.Eventually(t, func() bool {
		connection, err := net.Dial("unix", m.Path)
		if err != nil {
			return false
		}
		return connection.Close() == nil
	}, patience, 5*time.Millisecond, "swtpm does not listen on %s", m.Path)
}

func (m *TPM) stop() {
	m.process.Process.Kill()
	m.process.Wait()
	os.Remove(m.Path)
}

// CutPower switches the TPM off without a word, and on again.
func (m *TPM) CutPower(t testing.TB) {
	t.Helper()
	m.stop()
	m.start(t)
}

// Hang makes the TPM stop to answer, until the function that it returns is called.
func (m *TPM) Hang(t testing.TB) (wake func()) {
	t.Helper()
	require.NoError(t, m.process.Process.Signal(syscall.SIGSTOP))
	wake = func() { m.process.Process.Signal(syscall.SIGCONT) }
	t.Cleanup(wake)
	return wake
}
