package fleetprovtest_test

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov/fleetprovtest"
)

// keeping starts a server that keeps its state in a file.
func keeping(t *testing.T, path string, setup func(*fleetprovtest.Server)) *desk {
	t.Helper()
	return newDesk(t, func(s *fleetprovtest.Server) {
		require.NoError(t, s.KeepState(path))
		if setup != nil {
			setup(s)
		}
	})
}

func TestStateIsKept(t *testing.T) {
	for _, test := range []struct {
		name   string
		setup  func(*fleetprovtest.Server)
		before func(*desk) (after func(*desk))
	}{
		{name: "the claim and the roots are the same", before: func(d *desk) func(*desk) {
			claim, root := d.server.ClaimCertificate(), d.server.RootCertificate()
			return func(d *desk) {
				assert.Equal(d, claim.Leaf, d.server.ClaimCertificate().Leaf)
				assert.Equal(d, root, d.server.RootCertificate())
				d.connect(claim, "device-1").ping()
			}
		}},
		{name: "a device connects, and is what it was", before: func(d *desk) func(*desk) {
			_, certificate := d.enrol("test-template", `{"ThingName":"device-1","Site":"Basel"}`)
			certificates, things := d.server.Certificates(), d.server.Things()
			return func(d *desk) {
				assert.Equal(d, certificates, d.server.Certificates())
				assert.Equal(d, things, d.server.Things())
				d.connect(certificate, "device-1").publish("data", "")
			}
		}},
		{name: "a registration that was not finished can be", before: func(d *desk) func(*desk) {
			issued, certificate := d.claim("device-1").createFromCSR()
			return func(d *desk) {
				d.refused(certificate)
				answer := d.claim("device-1").register("test-template", issued.CertificateOwnershipToken, `{"ThingName":"a"}`)
				assert.JSONEq(d, `{"thingName":"a"}`, string(answer.Payload))
				d.connect(certificate, "a").ping()
			}
		}},
		{name: "a registration whose answer was lost can be repeated", before: func(d *desk) func(*desk) {
			issued, _ := d.enrol("test-template", `{"ThingName":"a"}`)
			return func(d *desk) {
				answer := d.claim("device-1").register("test-template", issued.CertificateOwnershipToken, `{"ThingName":"b"}`)
				assert.JSONEq(d, `{"thingName":"a"}`, string(answer.Payload))
			}
		}},
		{name: "the clock is where it was moved to", before: func(d *desk) func(*desk) {
			d.server.Advance(24 * time.Hour)
			issued, _ := d.claim("device-1").createFromCSR()
			return func(d *desk) {
				d.server.Advance(time.Hour)
				rejects(d.T, d.claim("device-1").register("test-template", issued.CertificateOwnershipToken, `{}`), 400, "InvalidCertificateOwnershipToken")
			}
		}},
		{name: "a token has the same hour", before: func(d *desk) func(*desk) {
			issued, _ := d.claim("device-1").createFromCSR()
			d.pass(59 * time.Minute)
			return func(d *desk) {
				assert.Len(d, d.server.Certificates(), 1)
				d.pass(time.Minute)
				rejects(d.T, d.claim("device-1").register("test-template", issued.CertificateOwnershipToken, `{}`), 400, "InvalidCertificateOwnershipToken")
				assert.Empty(d, d.server.Certificates())
			}
		}},
		{name: "a certificate that was deactivated stays so", before: func(d *desk) func(*desk) {
			issued, certificate := d.enrol("test-template", `{}`)
			require.NoError(d, d.server.UpdateCertificate(issued.CertificateID, "INACTIVE"))
			return func(d *desk) {
				assert.Equal(d, "INACTIVE", d.server.Certificates()[0].Status)
				d.refused(certificate)
			}
		}},
		{name: "a certificate that was deleted stays so", before: func(d *desk) func(*desk) {
			first, certificate := d.enrol("test-template", `{"ThingName":"a"}`)
			second, _ := d.enrol("test-template", `{"ThingName":"a"}`)
			require.NoError(d, d.server.DeleteCertificate(first.CertificateID))
			return func(d *desk) {
				d.refused(certificate)
				require.Len(d, d.server.Certificates(), 1)
				assert.Equal(d, []string{second.CertificateID}, d.server.Things()[0].CertificateIDs)
			}
		}},
		{name: "a claim that was deactivated stays so", before: func(d *desk) func(*desk) {
			id := sha256Hex(d.server.ClaimCertificate().Leaf.Raw)
			require.NoError(d, d.server.UpdateCertificate(id, "INACTIVE"))
			return func(d *desk) {
				d.refused(d.server.ClaimCertificate())
				require.NoError(d, d.server.UpdateCertificate(id, "ACTIVE"))
				d.claim("device-1").ping()
			}
		}},
		{name: "a policy that came in a template is there",
			setup: withTemplates("fleet", `{"Resources":{`+certificateResource+`,"policy":{"Type":"AWS::IoT::Policy","Properties":{
				"PolicyDocument":{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iot:Connect","Resource":"arn:aws:iot:us-east-1:123456789012:client/a"}]}}}}}`),
			before: func(d *desk) func(*desk) {
				_, certificate := d.enrol("fleet", `{}`)
				return func(d *desk) {
					d.connect(certificate, "a").ping()
					d.notAuthorized(certificate, "b")
				}
			}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "state")
				first := keeping(t, path, test.setup)
				after := test.before(first)
				first.server.Close()
				keeping(t, path, test.setup).server.Close() // which writes it anew
				after(keeping(t, path, test.setup))
			})
		})
		t.Run(test.name+" after a kill", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir := t.TempDir()
				path, left := filepath.Join(dir, "state"), filepath.Join(dir, "left")
				first := keeping(t, path, test.setup)
				after := test.before(first)
				content, err := os.ReadFile(path)
				require.NoError(t, err)
				first.server.Close()
				torn := append(content, `{"thing":{"Name":"dev`...)
				require.NoError(t, os.WriteFile(left, torn, 0o600))
				require.NoError(t, os.WriteFile(left+".new", torn[:100], 0o600))
				after(keeping(t, left, test.setup))
				assert.NoFileExists(t, left+".new")
			})
		})
	}
}

func TestOnlyTheOwnerMayReadTheState(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("files have no mode on Windows")
	}
	path := filepath.Join(t.TempDir(), "state")
	for range 2 {
		require.NoError(t, os.WriteFile(path+".new", []byte("left by a kill"), 0o644))
		server := fleetprovtest.NewUnstartedServer()
		require.NoError(t, server.KeepState(path))
		server.Close()
		info, err := os.Stat(path)
		require.NoError(t, err)
		assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())
		require.NoError(t, os.Chmod(path, 0o644)) // the next server makes it anew
	}
}

func TestDamagedStateIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	sound := stateOfAServer(t, path)
	lines := bytes.SplitAfter(sound, []byte("\n"))
	for _, test := range []struct {
		name    string
		content []byte
	}{
		{"another file", []byte("hello\nworld\n")},
		{"another file of one line", []byte("hello")},
		{"another file of JSON", []byte("{}\n")},
		{"null", []byte("null\n")},
		{"without its first line", bytes.Join(lines[1:], nil)},
		{"with a line that is torn", bytes.Join([][]byte{lines[0], lines[1][:5], []byte("\n"), lines[2]}, nil)},
		{"without a key", bytes.Replace(sound, []byte("PRIVATE KEY"), []byte("PUBLIC KEY!"), 1)},
		{"with the key of another claim", anotherClaimKey(t, sound)},
		{"with a certificate that cannot be parsed", append(bytes.Clone(sound), `{"certificate":{"DER":"AAAA"}}`+"\n"...)},
		{"with a policy that cannot be parsed", append(bytes.Clone(sound), `{"policy":{"Name":"a","Document":"b"}}`+"\n"...)},
	} {
		t.Run(test.name, func(t *testing.T) {
			require.NoError(t, os.WriteFile(path, test.content, 0o600))
			server := fleetprovtest.NewUnstartedServer()
			defer closeServer(t, server)
			err := server.KeepState(path)
			require.Error(t, err)
			assert.Contains(t, err.Error(), path)
			assert.NotContains(t, err.Error(), "PRIVATE")
			assert.NotContains(t, err.Error(), "another server")
			left, err := os.ReadFile(path)
			require.NoError(t, err)
			assert.Equal(t, test.content, left, "the file is left as it was")
		})
	}
}

func TestStateIsKeptByOneServerAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "state")
		first := keeping(t, path, nil)
		second := fleetprovtest.NewUnstartedServer()
		defer second.Close()
		err := second.KeepState(path)
		assert.ErrorContains(t, err, path+": another server is using it")

		_, certificate := first.enrol("test-template", `{"ThingName":"a"}`)
		first.server.Close()
		require.NoError(t, second.KeepState(path))
		assert.Equal(t, certificate.Leaf, second.Certificates()[0].Certificate)
		third := fleetprovtest.NewUnstartedServer()
		defer third.Close()
		assert.ErrorContains(t, third.KeepState(path), path)
		assert.NoError(t, third.KeepState(path+"-of-its-own"))
	})
}

func TestServerThatRefusesAStateUnlocksIt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	sound := stateOfAServer(t, path)
	require.NoError(t, os.WriteFile(path, []byte("damaged"), 0o600))
	first, second := fleetprovtest.NewUnstartedServer(), fleetprovtest.NewUnstartedServer()
	defer first.Close()
	defer second.Close()
	require.Error(t, first.KeepState(path))
	require.NoError(t, os.WriteFile(path, sound, 0o600)) // somebody repairs it
	assert.NoError(t, second.KeepState(path))
}

// A server that is killed between two lines never leaves half of a registration.
func TestARegistrationIsKeptInOneLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		path := filepath.Join(dir, "state")
		d := keeping(t, path, nil)
		d.enrol("test-template", `{"ThingName":"a"}`)
		d.enrol("test-template", `{"ThingName":"a"}`)
		d.enrol("test-template", `{"ThingName":"b"}`)
		content, err := os.ReadFile(path)
		require.NoError(t, err)
		lines := bytes.SplitAfter(content, []byte("\n"))
		registrations := make(map[int]bool)
		for n := 1; n <= len(lines); n++ {
			left := filepath.Join(dir, "left")
			require.NoError(t, os.WriteFile(left, bytes.Join(lines[:n], nil), 0o600))
			server := fleetprovtest.NewUnstartedServer()
			require.NoError(t, server.KeepState(left))
			registered := make(map[string]string) // things by certificate
			for _, certificate := range server.Certificates() {
				if certificate.Status == "ACTIVE" {
					registered[certificate.ID] = certificate.ThingName
				}
			}
			attached := make(map[string]string)
			for _, thing := range server.Things() {
				for _, id := range thing.CertificateIDs {
					attached[id] = thing.Name
				}
			}
			assert.Equal(t, registered, attached, "after %d lines", n)
			registrations[len(registered)] = true
			server.Close()
		}
		assert.Equal(t, map[int]bool{0: true, 1: true, 2: true, 3: true}, registrations)
	})
}

func TestStateThatCannotBeKept(t *testing.T) {
	dir := t.TempDir()
	for name, path := range map[string]string{
		"a directory":               dir,
		"in a directory that isn't": filepath.Join(dir, "missing", "state"),
	} {
		t.Run(name, func(t *testing.T) {
			server := fleetprovtest.NewUnstartedServer()
			defer closeServer(t, server)
			assert.Error(t, server.KeepState(path))
		})
	}
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Empty(t, left)
}

// stateOfAServer returns the file of a server that has provisioned a device.
func stateOfAServer(t testing.TB, path string) []byte {
	t.Helper()
	server := fleetprovtest.NewUnstartedServer()
	defer closeServer(t, server)
	require.NoError(t, server.KeepState(path))
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	return content
}

func anotherClaimKey(t *testing.T, state []byte) []byte {
	t.Helper()
	field := regexp.MustCompile(`"ClaimKey":"[^"]*"`)
	other := stateOfAServer(t, filepath.Join(t.TempDir(), "other"))
	return field.ReplaceAll(state, field.Find(other))
}
