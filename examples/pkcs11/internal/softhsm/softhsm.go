// Package softhsm makes SoftHSM tokens for tests.
package softhsm

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// What a test says to a token.
const (
	Label    = "fleet device"
	PIN      = "us3r-p1n"
	adminPIN = "0fficer-p1n"

	patience = time.Minute // longer than a program takes on a busy machine
)

// Module is the shared library of Debian's package softhsm2.
const Module = "/usr/lib/softhsm/libsofthsm2.so"

// Token is a token in a directory.
type Token struct {
	Configuration string // file, which the environment variable SOFTHSM2_CONF names
	Objects       string // directory
}

// New makes a token, and initializes it.
func New(t testing.TB) *Token {
	t.Helper()
	dir := t.TempDir()
	configuration, objects := filepath.Join(dir, "softhsm2.conf"), filepath.Join(dir, "tokens")
	require.NoError(t, os.Mkdir(objects, 0o700))
	require.NoError(t, os.WriteFile(configuration, []byte("directories.tokendir = "+objects+"\nobjectstore.backend = file\nlog.level = ERROR\n"), 0o600))
	k := &Token{Configuration: configuration, Objects: objects}
	k.run(t, "softhsm2-util", "--init-token", "--free", "--label", Label, "--so-pin", adminPIN, "--pin", PIN)
	return k
}

const variable = "SOFTHSM2_CONF"

// Environment is what a process that uses the token has in its environment.
func (k *Token) Environment() string { return variable + "=" + k.Configuration }

// Use makes it the token of this process, until the test ends.
func (k *Token) Use(t testing.TB) {
	t.Helper()
	t.Setenv(variable, k.Configuration)
}

// Tool runs OpenSC's pkcs11-tool on the token, as its user.
func (k *Token) Tool(t testing.TB, arguments ...string) (output string) {
	t.Helper()
	return k.run(t, "pkcs11-tool", append([]string{"--module", Module, "--token-label", Label, "--login", "--pin", PIN}, arguments...)...)
}

func (k *Token) run(t testing.TB, program string, arguments ...string) (output string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	command := exec.CommandContext(ctx, program, arguments...)
	command.Env = append(os.Environ(), k.Environment())
	printed, err := command.CombinedOutput()
	require.NoError(t, err, "the Debian packages softhsm2 and opensc have it: %s: %s", program, printed)
	return string(printed)
}
