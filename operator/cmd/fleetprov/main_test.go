package main

import (
	"bytes"
	"context"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov/fleetprovtest"
)

// shell runs commands against an account of its own, in a directory of its own.
type shell struct {
	t      *testing.T
	server *fleetprovtest.Server
}

func newShell(t *testing.T) shell {
	t.Helper()
	return newShellOf(t, fleetprovtest.NewUnstartedServer())
}

func newShellOf(t *testing.T, server *fleetprovtest.Server) shell {
	t.Helper()
	server.Start()
	t.Cleanup(server.Close)
	control := httptest.NewServer(server.ControlPlane())
	t.Cleanup(control.Close)
	t.Chdir(t.TempDir())
	for name, value := range map[string]string{
		"AWS_ENDPOINT_URL": control.URL, "AWS_REGION": "eu-west-1",
		"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any", "AWS_SESSION_TOKEN": "", "AWS_PROFILE": "",
		"AWS_CONFIG_FILE": "none", "AWS_SHARED_CREDENTIALS_FILE": "none", "AWS_EC2_METADATA_DISABLED": "true",
		"PATH": "", // hooks are not what these tests are about
	} {
		t.Setenv(name, value)
	}
	return shell{t, server}
}

// run returns the exit code and what was printed.
func (s shell) run(in string, arguments ...string) (code int, out, err string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 2*time.Minute)
	defer cancel()
	var stdout, stderr bytes.Buffer
	code = run(ctx, arguments, terminal{strings.NewReader(in), &stdout, &stderr})
	return code, stdout.String(), stderr.String()
}

// succeeds returns what was printed.
func (s shell) succeeds(arguments ...string) string {
	s.t.Helper()
	code, out, err := s.run("", arguments...)
	require.Equal(s.t, exitOK, code, err)
	return out
}

func TestFleetFromSetupToTeardown(t *testing.T) {
	s := newShell(t)
	require.NoError(t, os.WriteFile("serials", []byte("0001\n0002\n"), 0o600))
	out := s.succeeds("setup", "-dry-run", "-serials", "serials")
	assert.Contains(t, out, "Account 123456789012, region eu-west-1\n  to do:    create role fleet-provisioning-role\n")
	assert.NotContains(t, out, "done")
	out = s.succeeds("setup", "-serials", "serials")
	assert.Contains(t, out, " 16/16 done: create claim for claim_identity.pfx\n")
	assert.Contains(t, out, "Endpoint: localhost:")
	assert.Contains(t, out, "Claim: claim_identity.pfx, its password: claim_identity.password\n")
	out = s.succeeds("setup", "-serials", "serials")
	assert.Contains(t, out, "  is there: template fleet-template\n")
	assert.NotContains(t, out, "to do")

	assert.Contains(t, s.succeeds("doctor", "-param", "SerialNumber=0001"), "nothing was found")
	code, out, _ := s.run("", "doctor", "-endpoint", "a.iot.eu-west-1.amazonaws.com")
	assert.Equal(t, exitFailed, code)
	assert.Contains(t, out, "mistake: the endpoint a.iot.eu-west-1.amazonaws.com is of the type iot:Data")

	assert.Equal(t, "0003\n", s.succeeds("serials", "add", "0003", "0001"))
	assert.Equal(t, "0002\n", s.succeeds("serials", "remove", "0002"))
	assert.Equal(t, "0001\n0003\n", s.succeeds("serials", "list"))
	assert.Contains(t, s.succeeds("release", "0001"), "  no need:  there is no thing device-0001: its device can register\n")
	assert.Contains(t, s.succeeds("retire", strings.Repeat("0", 64)), "  no need:  certificate "+strings.Repeat("0", 64)+" is gone\n")
	assert.Empty(t, s.succeeds("retire", "-delete"))

	out = s.succeeds("setup", "-no-claim")
	assert.NotContains(t, out, "laim")
	out = s.succeeds("claim", "-out", "second.pfx")
	id := strings.Fields(out)[1]
	assert.Contains(t, s.succeeds("claim", "-deactivate", id), "is inactive")
	assert.Contains(t, s.succeeds("trusted", "-out", "trusted.pfx"), "valid until")
	assert.Contains(t, s.succeeds("trusted", "-pem", "-out", "trusted.pem"), "valid until")
	code, _, err := s.run("", "trusted", "-out", "claim_identity.pfx")
	assert.Equal(t, exitFailed, code)
	assert.Contains(t, err, "claim_identity.pfx is there already")
	s.succeeds("trusted", "-force", "-out", "trusted.pfx")
	for _, file := range []string{"second.pfx", "second.password", "trusted.pfx", "trusted.password", "trusted.pem"} {
		assert.FileExists(t, file)
	}

	code, out, err = s.run("no\n", "teardown")
	assert.Equal(t, exitFailed, code)
	assert.Contains(t, out, `This cannot be undone. Type "123456789012" to go on:`)
	assert.Contains(t, err, "nothing was removed")
	code, _, err = s.run("123456789012\n", "teardown")
	assert.Equal(t, exitOK, code, err)
	assert.Contains(t, s.succeeds("teardown", "-yes"), "there is nothing to remove")
}

// Every error is one line, and says what to do.
func TestBadInput(t *testing.T) {
	s := newShell(t)
	require.NoError(t, os.WriteFile("empty", nil, 0o600))
	for _, test := range []struct {
		arguments string
		code      int
		want      string
	}{
		{"", exitUsage, "usage: fleetprov COMMAND [flags]"},
		{"sing", exitUsage, `there is no command "sing"`},
		{"setup now", exitUsage, `unexpected argument "now"`},
		{"setup -what", exitUsage, "flag provided but not defined: -what"},
		{"setup -serials none", exitFailed, "fleetprov setup: open none: "},
		{"setup -root empty", exitFailed, "empty is no certificate in PEM"},
		{"setup -device-policy empty", exitFailed, "empty is empty"},
		{"setup -fleet none", exitFailed, "reading the fleet: open none"},
		{"setup -name a/b", exitFailed, `the fleet's name "a/b" must be`},
		{"setup -parameter A -parameter A", exitUsage, `"A" is given twice`},
		{"claim", exitUsage, "give either -out or -deactivate"},
		{"claim -deactivate 12", exitFailed, `"12" is not the id of a certificate`},
		{"claim -out claim.pfx", exitFailed, "there is no policy fleet-claim-policy for it: run setup first"},
		{"trusted", exitUsage, "give -out"},
		{"trusted -out a.password", exitUsage, "a.password is where the password goes"},
		{"trusted -out empty -pem -region none", exitFailed, "empty is there already"},
		{"trusted -out a.pfx", exitFailed, "there is no template fleet-template in eu-west-1"},
		{"doctor -param x", exitUsage, "it must be name=value"},
		{"serials", exitUsage, "say list, add or remove"},
		{"serials add", exitUsage, "say list, or add or remove with serial numbers"},
		{"serials list", exitFailed, "there is no function fleet-provisioning-hook in eu-west-1, which has the list: run setup first"},
		{"release", exitUsage, "give a serial number"},
		{"retire", exitUsage, "give the ids of certificates"},
		{"retire -delete -thing device-1", exitUsage, "-thing goes with retiring, not with -delete"},
		{"retire -delete -", exitUsage, "give the ids of certificates"},
	} {
		t.Run(test.arguments, func(t *testing.T) {
			code, _, err := s.run("", strings.Fields(test.arguments)...)
			assert.Equal(t, test.code, code)
			assert.Contains(t, err, test.want)
			if code == exitFailed {
				assert.Equal(t, 1, strings.Count(err, "\n"), err)
			}
		})
	}
	entries, err := os.ReadDir(".")
	require.NoError(t, err)
	assert.Len(t, entries, 1, "nothing was made")
}

func TestNoCredentials(t *testing.T) {
	s := newShell(t)
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "")
	code, _, err := s.run("", "setup")
	assert.Equal(t, exitFailed, code)
	assert.Equal(t, "fleetprov setup: no AWS credentials were found: log in with the AWS CLI, or set AWS_PROFILE or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY\n", err)
	code, _, err = s.run("", "setup", "-profile", "nobody")
	assert.Equal(t, exitFailed, code)
	assert.Equal(t, "fleetprov setup: the AWS CLI has no profile \"nobody\" on this machine: check -profile and AWS_PROFILE, or make it with aws configure --profile\n", err)
}

func TestFlagsOverrideTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fleet.json")
	require.NoError(t, os.WriteFile(path, []byte(`{"name":"pumps","thingName":"pump-{SerialNumber}","parameters":{"A":"1","B":null}}`), 0o600))
	f := fleet{file: path, name: "fans", parameters: map[string]*string{"B": new(string)}, noClaim: true, noRenewal: true}
	loaded, err := f.load()
	require.NoError(t, err)
	assert.Equal(t, "fans", loaded.Name)
	assert.Equal(t, "pump-{SerialNumber}", loaded.ThingName)
	assert.Equal(t, "1", *loaded.Parameters["A"])
	assert.Equal(t, "", *loaded.Parameters["B"])
	assert.True(t, loaded.NoClaim)
	assert.True(t, loaded.NoRenewal)
}

func TestFlagBehindAnArgumentIsRefused(t *testing.T) {
	s := newShell(t)
	for _, arguments := range [][]string{
		{"release", "0001", "-dry-run"},
		{"serials", "add", "9999", "-name", "x"},
		{"retire", strings.Repeat("0", 64), "--dry-run"},
	} {
		code, _, err := s.run("", arguments...)
		assert.Equal(t, exitUsage, code, arguments)
		assert.Contains(t, err, "flags go before the arguments", arguments)
	}
	assert.Contains(t, s.succeeds("release", "-dry-run", "--", "-1"), "there is no thing device--1")
}
