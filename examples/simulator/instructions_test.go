package main

import (
	"os/exec"
	"path/filepath"
	"strings"
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

func TestTheLinesForAnAWSSDK(t *testing.T) {
	p := start(t, awkward(t))
	// The sample is not at hand: its arguments are printed.
	words := shell(t, ".", `python3() { printf '%s\n' "$@"; }`+"\n"+p.lines("With the AWS IoT Device SDK for Python v2"))
	host, port, _ := strings.Cut(p.endpoint(), ":")
	assert.Equal(t, []string{
		"fleetprovisioning.py",
		"--endpoint", host,
		"--port", port,
		"--ca_file", filepath.Join(p.dir, "root-ca.pem"),
		"--cert", filepath.Join(p.dir, "claim.pem.crt"),
		"--key", filepath.Join(p.dir, "claim.pem.key"),
		"--client_id", "fleetprov-python",
		"--template_name", "fleet-template",
		"--template_parameters", `{"SerialNumber":"0002"}`,
	}, strings.Split(strings.TrimSuffix(words, "\n"), "\n"))
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
