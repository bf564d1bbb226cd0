package main

import (
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov"
)

// shell runs command lines as they would be pasted.
func shell(t *testing.T, dir, lines string) string {
	t.Helper()
	program, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("there is no shell")
	}
	command := exec.CommandContext(t.Context(), program, "-e", "-c", lines)
	command.Dir = dir
	output, err := command.CombinedOutput()
	require.NoError(t, err, "%s\nof:\n%s", output, lines)
	return string(output)
}

// awkward is a directory whose name the shell must not read as anything else.
func awkward(t *testing.T) string {
	t.Helper()
	return filepath.Join(t.TempDir(), "it's a $HOME")
}

func TestTheLinesForThisLibrary(t *testing.T) {
	p := start(t, awkward(t))
	output := shell(t, filepath.Join("..", ".."), p.lines("With this library"))
	assert.Contains(t, output, "Connected once with the new credentials: they work.")

	store := fleetprov.DirStore(filepath.Join(p.dir, "device"))
	credentials, err := fleetprov.LoadCredentials(t.Context(), store)
	require.NoError(t, err)
	assert.Equal(t, "0001", credentials.ThingName)
	assert.Equal(t, p.endpoint(), credentials.Endpoint)
	p.logs(`msg="RegisterThing accepted"`, "template=fleet-template", "thing=0001")
	p.end()
}

func TestTheLinesForAWSsRuntime(t *testing.T) {
	python := requireAWSCRT(t)
	// With the documents of an account, which let a claim use only some client ids.
	p := start(t, awkward(t), "-template", "../aws/provisioning-template.json", "-claim-policy", "../aws/claim-policy.json",
		"-policy", "fleet-device-policy=../aws/device-policy.json")
	output := shell(t, filepath.Join("..", ".."), "python3() { command "+python+` "$@"; }`+"\n"+p.lines("With AWS's Common Runtime for Python"))
	assert.Equal(t, "provisioned device-0002\n", output)
	p.logs(`msg="RegisterThing accepted"`, "template=fleet-template", "thing=device-0002")
	p.logs("msg=published", "client=device-0002", "telemetry")
	p.end()
}

func TestQuote(t *testing.T) {
	for _, word := range []string{
		"plain", "", " ", "it's", "$HOME", "`id`", "a\\b", `"`, "*", "~", "#", "new\nline", "ä", "-x=1", "a;b", "!",
	} {
		assert.Equal(t, word+".", shell(t, ".", "printf '%s.' "+quote(word)))
	}
	assert.Equal(t, "/tmp/sim/claim.pem.key", quote("/tmp/sim/claim.pem.key"), "what needs no quotes has none")
}
