package main

import (
	"crypto"
	"crypto/x509"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov"
)

func TestTheFilesAgree(t *testing.T) {
	p := start(t, t.TempDir())
	defer p.end()
	certificate, err := x509.ParseCertificate(requirePEM(t, p.read(certificateFile), "CERTIFICATE").Bytes)
	require.NoError(t, err)
	key, err := x509.ParsePKCS8PrivateKey(requirePEM(t, p.read(privateKeyFile), "PRIVATE KEY").Bytes)
	require.NoError(t, err)
	root := requirePEM(t, p.read(rootFile), "CERTIFICATE")

	identity, err := fleetprov.LoadPFX(filepath.Join(p.dir, pfxFile), password)
	require.NoError(t, err)
	assert.True(t, certificate.Equal(identity.Certificate()))
	require.Len(t, identity.Roots(), 1)
	assert.Equal(t, root.Bytes, identity.Roots()[0].Raw)
	assert.Equal(t, certificate.PublicKey, key.(crypto.Signer).Public())
}

func TestOthersCannotReadAKey(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there are no such modes there")
	}
	assertPrivate := func(t *testing.T, dir string) {
		for name, mode := range map[string]os.FileMode{
			rootFile: 0o644, certificateFile: 0o644, privateKeyFile: 0o600, pfxFile: 0o600, stateFile: 0o600,
		} {
			info, err := os.Stat(filepath.Join(dir, name))
			require.NoError(t, err)
			assert.Equal(t, mode, info.Mode().Perm(), name)
		}
		entries, err := os.ReadDir(dir)
		require.NoError(t, err)
		assert.Len(t, entries, 6, "nothing else is left there but the lock, in which is nothing")
	}
	t.Run("in a directory that it makes", func(t *testing.T) {
		p := start(t, filepath.Join(t.TempDir(), "sim"))
		assertPrivate(t, p.dir)
		info, err := os.Stat(p.dir)
		require.NoError(t, err)
		assert.Equal(t, os.FileMode(0o700), info.Mode().Perm())
		p.end()
	})
	t.Run("not even where a file was that they have open", func(t *testing.T) {
		p := start(t, t.TempDir())
		p.end()
		var open []*os.File
		for _, name := range []string{privateKeyFile, pfxFile} {
			path := filepath.Join(p.dir, name)
			require.NoError(t, os.WriteFile(path, []byte("old"), 0o600))
			require.NoError(t, os.Chmod(path, 0o644))
			file, err := os.Open(path)
			require.NoError(t, err)
			defer file.Close()
			open = append(open, file)
		}
		p = start(t, p.dir)
		assertPrivate(t, p.dir)
		for _, file := range open {
			seen, err := io.ReadAll(file)
			require.NoError(t, err)
			assert.Equal(t, "old", string(seen))
		}
		p.end()
	})
}
