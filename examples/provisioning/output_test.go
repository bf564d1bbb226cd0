package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestCredentialsAreNotOverwritten(t *testing.T) {
	server, environment, pfx := aws(t)
	for _, name := range []string{"credentials.pem", "certificate.pem.crt", "private.pem.key"} {
		out := t.TempDir()
		kept := filepath.Join(out, name)
		require.NoError(t, os.WriteFile(kept, []byte("kept"), 0o600))
		r := runExample(t.Context(), environment, "-pfx", pfx, "-out", out, "-param", "SerialNumber=1")
		assert.Equal(t, 1, r.status)
		assert.Contains(t, r.stderr, name+" exists and is not overwritten: name another directory with -out")
		data, err := os.ReadFile(kept)
		require.NoError(t, err)
		assert.Equal(t, "kept", string(data))
	}
	assert.Empty(t, server.Requests(), "AWS is not asked for what cannot be kept")
}

func TestCredentialsThatCannotBeSavedAreNamed(t *testing.T) {
	out := t.TempDir()
	server, environment, pfx := aws(t, func() {
		assert.NoError(t, os.WriteFile(filepath.Join(out, "credentials.pem"), []byte("kept"), 0o600))
	})
	r := runExample(t.Context(), environment, "-pfx", pfx, "-out", out, "-param", "SerialNumber=1")
	assert.Equal(t, 1, r.status)
	assert.Contains(t, r.stderr, "provisioning: saving the credentials: ")
	assert.Contains(t, r.stderr, "deactivate the certificate "+server.Certificates()[0].ID)
	assert.NotContains(t, r.stdout, "Thing name")
}
