package pfx

import (
	"crypto/x509"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// runCommands runs the commands at the end of an error's message as a user
// would, with the password "secret".
func runCommands(t *testing.T, dir string, err error) {
	const openssl = "openssl pkcs12 "
	_, commands, ok := strings.Cut(err.Error(), openssl)
	require.True(t, ok, "no commands in: %v", err)
	commands = strings.ReplaceAll(openssl+commands, openssl, openssl+"-passin pass:secret -passout pass:secret ")
	shell := exec.Command("sh", "-c", commands)
	shell.Dir = dir
	output, err := shell.CombinedOutput()
	require.NoError(t, err, "%s: %s", commands, output)
}

func requireOpenSSL3(t *testing.T) {
	version, err := exec.Command("openssl", "version").Output()
	if err != nil || !strings.HasPrefix(string(version), "OpenSSL 3") {
		t.Skip("no OpenSSL 3 here")
	}
}

func TestCommandsOfErrorsWork(t *testing.T) {
	requireOpenSSL3(t)
	rc4 := func(data []byte) []byte {
		dir := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(dir, "in.p12"), data, 0o600))
		make := exec.Command("sh", "-c", "openssl pkcs12 -in in.p12 -passin pass:secret -nodes -out in.pem && "+
			"openssl pkcs12 -export -legacy -keypbe PBE-SHA1-RC4-128 -certpbe PBE-SHA1-2DES -in in.pem -passout pass:secret -out out.p12")
		make.Dir = dir
		if output, err := make.CombinedOutput(); err != nil {
			t.Skipf("this OpenSSL has no RC4: %s", output)
		}
		data, err := os.ReadFile(filepath.Join(dir, "out.p12"))
		require.NoError(t, err)
		return data
	}
	tests := map[string]func(data []byte) []byte{
		"camellia256.p12":             nil,
		"pbes2-3des.p12":              nil,
		"openssl3-default-rootca.p12": rc4,
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			data, err := os.ReadFile(filepath.Join("testdata", name))
			require.NoError(t, err)
			if change != nil {
				data = change(data)
			}
			_, err = Parse(data, "secret")
			require.Error(t, err)

			dir := t.TempDir()
			require.NoError(t, os.WriteFile(filepath.Join(dir, "claim.pfx"), data, 0o600))
			runCommands(t, dir, err)
			data, err = os.ReadFile(filepath.Join(dir, "claim-new.pfx"))
			require.NoError(t, err)
			b, err := Parse(data, "secret")
			require.NoError(t, err)
			checkBundle(t, b)
			if change != nil {
				assert.Len(t, b.Roots, 1, "the root got lost")
			}
			assert.NoFileExists(t, filepath.Join(dir, "claim.pem"), "the key is left behind")
		})
	}
}

func TestCommandsForCertificateAndKeyWork(t *testing.T) {
	requireOpenSSL3(t)
	key := newKey(t)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	dir := t.TempDir()
	for name, block := range map[string]*pem.Block{
		"certificate.pem.crt": {Type: "CERTIFICATE", Bytes: issue(t, nil, "device", key).Raw},
		"private.pem.key":     {Type: "PRIVATE KEY", Bytes: der},
		"AmazonRootCA1.pem":   {Type: "CERTIFICATE", Bytes: newAuthority(t, nil, "root").Raw},
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600))
	}
	data, err := os.ReadFile(filepath.Join(dir, "certificate.pem.crt"))
	require.NoError(t, err)
	_, err = Parse(data, "secret")
	require.Error(t, err)
	runCommands(t, dir, err)
	data, err = os.ReadFile(filepath.Join(dir, "claim.pfx"))
	require.NoError(t, err)
	b, err := Parse(data, "secret")
	require.NoError(t, err)
	checkBundle(t, b)
	assert.Equal(t, []string{"root"}, names(b.Roots))
}
