package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov/fleetprovtest"
	"github.com/fleetprov/fleetprov/internal/tests/provtest"
)

// asProgram makes the test binary the program, for tests that need a process.
const asProgram = "FLEETPROV_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	os.Exit(m.Run())
}

func TestInterruptedBeforeRegistration(t *testing.T) {
	temp := emptyTemp(t)
	server, environment, pfx := aws(t)
	server.Inject(fleetprovtest.OpRegisterThing, fleetprovtest.Fault{Drop: true})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan result)
	out := filepath.Join(temp, "device")
	go func() {
		ended <- runExample(ctx, environment, "-pfx", pfx, "-out", out, "-param", "SerialNumber=1")
	}()
	received(t, server, fleetprovtest.OpRegisterThing, 1)
	cancel()
	r := provtest.Wait(t, ended)
	assert.Equal(t, 1, r.status)
	assert.Contains(t, r.stderr, "provisioning: interrupted: fleetprov: RegisterThing: ")
	assert.Contains(t, r.stderr, server.Certificates()[0].ID)
	assert.NoDirExists(t, out)
}

func TestPipeliningDoesNotWaitForTheSUBACK(t *testing.T) {
	server, environment, pfx := aws(t)
	server.Inject(fleetprovtest.OpSubscribe, fleetprovtest.Fault{Drop: true})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan result)
	go func() {
		ended <- runExample(ctx, environment, "-pfx", pfx, "-out", filepath.Join(t.TempDir(), "device"), "-pipelining", "-param", "SerialNumber=1")
	}()
	received(t, server, fleetprovtest.OpCreateKeysAndCertificate, 1)
	cancel()
	assert.Contains(t, provtest.Wait(t, ended).stderr, "provisioning: interrupted: fleetprov: Subscribe: ")
}

func TestCredentialsThatCouldNotBeTriedAreKept(t *testing.T) {
	server, environment, pfx := aws(t)
	server.Inject(fleetprovtest.OpConnect, fleetprovtest.Fault{})
	server.Inject(fleetprovtest.OpConnect, fleetprovtest.Fault{Drop: true})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan result)
	out := filepath.Join(t.TempDir(), "device")
	go func() {
		ended <- runExample(ctx, environment, "-pfx", pfx, "-out", out, "-param", "SerialNumber=1")
	}()
	received(t, server, fleetprovtest.OpConnect, 2)
	cancel()
	r := provtest.Wait(t, ended)
	assert.Equal(t, 1, r.status)
	assert.Contains(t, r.stderr, "fleetprov: Verify: ")
	assert.NotContains(t, r.stdout, "they work")
	assert.Equal(t, "1", requireCredentials(t, out).ThingName)
}

func TestCtrlC(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a process cannot send itself Ctrl-C there")
	}
	server, environment, pfx := aws(t)
	server.Inject(fleetprovtest.OpCreateKeysAndCertificate, fleetprovtest.Fault{Drop: true})
	out := filepath.Join(t.TempDir(), "device")

	program := exec.CommandContext(t.Context(), os.Args[0], "-pfx", pfx, "-out", out, "-param", "SerialNumber=1")
	program.Env = append(os.Environ(), asProgram+"=1")
	for name, value := range environment {
		program.Env = append(program.Env, name+"="+value)
	}
	var stderr bytes.Buffer
	program.Stderr = &stderr
	require.NoError(t, program.Start())
	received(t, server, fleetprovtest.OpCreateKeysAndCertificate, 1)
	require.NoError(t, program.Process.Signal(os.Interrupt))
	var exit *exec.ExitError
	require.ErrorAs(t, program.Wait(), &exit)
	assert.Equal(t, 1, exit.ExitCode())
	assert.True(t, strings.HasPrefix(stderr.String(), "provisioning: interrupted: "), stderr.String())
	assert.NoDirExists(t, out)
}
