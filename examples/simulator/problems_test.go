package main

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestFlagsThatCannotBeUsed(t *testing.T) {
	malformed := filepath.Join(t.TempDir(), "malformed.json")
	require.NoError(t, os.WriteFile(malformed, []byte(`{"Version":`), 0o600))
	for _, test := range []struct {
		name string
		args []string
		says string
	}{
		{"there is no such flag", []string{"-verbose"}, "flag provided but not defined: -verbose"},
		{"an argument has no flag", []string{"sim"}, `unexpected argument "sim"`},
		{"-addr without a port", []string{"-addr", "localhost"}, "missing port in address"},
		{"-addr with a port by name", []string{"-addr", "localhost:mqtts"}, "the port must be a number"},
		{"-addr with too great a port", []string{"-addr", "localhost:65536"}, "the port must be a number"},
		{"-addr that is not localhost, without a name", []string{"-addr", "192.0.2.1:8883"}, "add -sni with the host name that clients connect to"},
		{"-dir is empty", []string{"-dir", ""}, "-dir must not be empty"},
		{"-password with a character that a PFX cannot have", []string{"-password", "🔑"}, "invalid -password: a PFX file takes no characters"},
		{"-template-name that AWS would not take", []string{"-template-name", "fleet template"}, `invalid -template-name "fleet template"`},
		{"-template that is not there", []string{"-template", "no-such.json"}, "-template: open no-such.json: "},
		{"-template that is not JSON", []string{"-template", malformed}, "-template " + malformed + ": "},
		{"-template that is a policy", []string{"-template", "../aws/claim-policy.json"}, "-template ../aws/claim-policy.json: "},
		{"-claim-policy that is not there", []string{"-claim-policy", "no-such.json"}, "-claim-policy: open no-such.json: "},
		{"-claim-policy that is a template", []string{"-claim-policy", "../aws/provisioning-template.json"}, "-claim-policy ../aws/provisioning-template.json: "},
		{"-device-policy that is not JSON", []string{"-device-policy", malformed}, "-device-policy " + malformed + ": "},
		{"-policy without a name", []string{"-policy", "../aws/device-policy.json"}, "it must be name=file"},
		{"-policy twice", []string{"-policy", "a=b", "-policy", "a=c"}, `"a" is given twice`},
		{"-policy that is not there", []string{"-policy", "fleet-device-policy=no-such.json"}, "-policy: open no-such.json: "},
		{"-quota of no operation", []string{"-quota", "Publish=1"}, `there is no operation "Publish": use one of Connect, `},
		{"-client-quota of all operations", []string{"-client-quota", "aws"}, "it must be operation=number"},
		{"-fault of no operation", []string{"-fault", "Provision:drop"}, `there is no operation "Provision"`},
		{"-sni with an address", []string{"-sni", "127.0.0.1"}, "it must be a host name"},
		{"-sni with a port", []string{"-sni", "localhost:8883"}, "it must be a host name"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "sim")
			var stdout, stderr bytes.Buffer
			args := append([]string{"-addr", "127.0.0.1:0", "-dir", dir}, test.args...)
			assert.Equal(t, 2, run(t.Context(), args, &stdout, &stderr))
			assert.Contains(t, stderr.String(), test.says)
			assert.Empty(t, stdout.String())
			assert.NoDirExists(t, dir)
		})
	}
}

func TestHelp(t *testing.T) {
	var stdout, stderr bytes.Buffer
	assert.Equal(t, 0, run(t.Context(), []string{"-h"}, &stdout, &stderr))
	assert.Contains(t, stderr.String(), "RegisterThing:reject=429:count=3")
	assert.Empty(t, stdout.String())
	for line := range strings.Lines(stderr.String()) {
		assert.LessOrEqual(t, len(line), 120, line)
	}
}

func TestWhatKeepsItFromStarting(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	with := func(content string) string {
		dir := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(dir, stateFile), []byte(content), 0o600))
		return dir
	}
	anotherClaim := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(anotherClaim, pfxFile), []byte("a claim"), 0o600))

	for _, test := range []struct {
		name, addr, dir string
		says            string
	}{
		{"the port is in use", taken.Addr().String(), t.TempDir(), "choose another address with -addr"},
		{"the directory is a file", "127.0.0.1:0", file, "name another with -dir"},
		{"the directory would be in a file", "127.0.0.1:0", filepath.Join(file, "sim"), "name another with -dir"},
		{"the claim of another is there", "127.0.0.1:0", anotherClaim, "claim_identity.pfx that is not the simulator's: name another directory with -dir"},
		{"the state is not one", "127.0.0.1:0", with("{}\n"), "state.jsonl: line 1: "},
		{"the state is damaged", "127.0.0.1:0", with("\x00\x00\n"), "move the file away to start afresh"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			assert.Equal(t, 1, run(t.Context(), []string{"-addr", test.addr, "-dir", test.dir}, &stdout, &stderr))
			assert.Contains(t, stderr.String(), test.says)
			assert.True(t, strings.HasPrefix(stderr.String(), "simulator: "), stderr.String())
			assert.Equal(t, 1, strings.Count(stderr.String(), "\n"), "it is one line")
			assert.Empty(t, stdout.String())
		})
	}
}

func TestAnotherClaimStaysAsItIs(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, pfxFile)
	require.NoError(t, os.WriteFile(path, []byte("a claim"), 0o600))
	var stdout, stderr bytes.Buffer
	assert.Equal(t, 1, run(t.Context(), []string{"-addr", "127.0.0.1:0", "-dir", dir}, &stdout, &stderr))
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Len(t, entries, 1)
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, "a claim", string(content))
}

func TestADamagedStateStaysAsItIs(t *testing.T) {
	p := start(t, t.TempDir())
	p.end()
	damaged := append(p.read(stateFile), "damage\n"...)
	path := filepath.Join(p.dir, stateFile)
	require.NoError(t, os.WriteFile(path, damaged, 0o600))
	key := p.read(privateKeyFile)

	var stdout, stderr bytes.Buffer
	assert.Equal(t, 1, run(t.Context(), []string{"-addr", "127.0.0.1:0", "-dir", p.dir}, &stdout, &stderr))
	assert.NotContains(t, stderr.String(), "PRIVATE KEY")
	assert.Equal(t, string(damaged), string(p.read(stateFile)))
	assert.Equal(t, string(key), string(p.read(privateKeyFile)))
}
