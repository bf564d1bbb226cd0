package main

import (
	"bytes"
	"context"
	"encoding/pem"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov"
	"github.com/fleetprov/fleetprov/fleetprovtest"
)

const password = "claim-p4ssword"

// result is what a user sees of a run.
type result struct {
	status         int
	stdout, stderr string
}

// runExample runs the program in an environment of its own.
func runExample(ctx context.Context, environment map[string]string, args ...string) result {
	var stdout, stderr bytes.Buffer
	status := run(ctx, args, &stdout, &stderr, func(name string) string { return environment[name] })
	return result{status, stdout.String(), stderr.String()}
}

// emptyTemp gives the test a directory for temporary files.
func emptyTemp(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"TMPDIR", "TMP", "TEMP"} {
		t.Setenv(name, dir)
	}
	return dir
}

// aws stands for AWS: a server, and the environment and flags of a user who has
// its claim. It calls onRegister before it registers a device.
func aws(t *testing.T, onRegister ...func()) (server *fleetprovtest.Server, environment map[string]string, pfx string) {
	t.Helper()
	server = fleetprovtest.NewUnstartedServer()
	// Wide enough to be told of a template that does not exist.
	server.ClaimPolicy = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iot:*","Resource":"*"}]}`
	server.Template = "fleet-template"
	server.Parameters = []string{"SerialNumber"}
	server.Hook = func(fleetprovtest.HookRequest) fleetprovtest.HookResponse {
		for _, do := range onRegister {
			do()
		}
		return fleetprovtest.HookResponse{AllowProvisioning: true}
	}
	server.Start()
	t.Cleanup(server.Close)
	pfx = filepath.Join(t.TempDir(), "claim.pfx")
	require.NoError(t, os.WriteFile(pfx, server.ClaimPFX(password), 0o600))
	return server, map[string]string{
		"AWS_HOSTNAME":      server.Endpoint(),
		"IDENTITY_PASSWORD": password,
		"TEMPLATE_NAME":     "fleet-template",
	}, pfx
}

// received waits until the server has received n requests of an operation.
func received(t *testing.T, server *fleetprovtest.Server, op fleetprovtest.Op, n int) {
	t.Helper()
	require.Eventually(t, func() bool {
		count := 0
		for _, r := range server.Requests() {
			if r.Op == op {
				count++
			}
		}
		return count == n
	}, 10*time.Second, time.Millisecond)
}

// requireCredentials reads the files of a device and checks that they agree and
// that nobody else can read them.
func requireCredentials(t *testing.T, dir string) *fleetprov.Credentials {
	t.Helper()
	if runtime.GOOS != "windows" {
		info, err := os.Stat(dir)
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o700), info.Mode().Perm())
	}
	read := func(name string) []byte {
		path := filepath.Join(dir, name)
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		if runtime.GOOS != "windows" {
			info, err := os.Stat(path)
			require.NoError(t, err)
			require.Equal(t, os.FileMode(0o600), info.Mode().Perm(), name)
		}
		return data
	}
	credentials, err := fleetprov.ParseCredentials(read("credentials.pem"))
	require.NoError(t, err)
	assert.Equal(t, string(credentials.CertificatePEM), string(read("certificate.pem.crt")))
	assert.Equal(t, string(credentials.PrivateKeyPEM()), string(read("private.pem.key")))
	return credentials
}

// assertNoSecret checks that what a run printed holds no key and no password.
func assertNoSecret(t *testing.T, r result, key []byte) {
	t.Helper()
	block, _ := pem.Decode(key)
	require.NotNil(t, block)
	line := strings.Split(string(key), "\n")[1]
	for _, printed := range []string{r.stdout, r.stderr} {
		assert.NotContains(t, printed, "PRIVATE KEY")
		assert.NotContains(t, printed, line)
		assert.NotContains(t, printed, password)
	}
}

// stepLines returns the names of the steps that were printed with their time.
func stepLines(stdout string) []string {
	var steps []string
	for line := range strings.Lines(stdout) {
		if fields := strings.Fields(line); strings.HasPrefix(line, "  ") && len(fields) == 2 {
			if _, err := time.ParseDuration(fields[1]); err == nil {
				steps = append(steps, fields[0])
			}
		}
	}
	return steps
}

func assertEmpty(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Empty(t, entries, "nothing is left behind")
}
