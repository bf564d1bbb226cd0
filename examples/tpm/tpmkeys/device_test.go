package tpmkeys_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov"
	"github.com/fleetprov/fleetprov/examples/tpm/internal/swtpm"
	"github.com/fleetprov/fleetprov/examples/tpm/tpmkeys"
	"github.com/fleetprov/fleetprov/fleetprovtest"
)

// A board whose TPM is another one keeps what it has, and says so.
func TestTheChipIsChanged(t *testing.T) {
	server := fleetprovtest.NewServer()
	defer server.Close()
	claim, err := fleetprov.NewIdentity(server.ClaimCertificate(), server.RootCertificate())
	require.NoError(t, err)
	disk, chip := fleetprov.DirStore(t.TempDir()), swtpm.New(t)
	boot := func(chip *swtpm.TPM) (*fleetprov.Credentials, error) {
		keyring := tpmkeys.New(chip.Path, disk, tpmkeys.P256)
		p, err := fleetprov.New(server.Endpoint(), "test-template", claim, fleetprov.WithKeyring(keyring))
		require.NoError(t, err)
		return p.Ensure(bounded(t), disk, map[string]string{"SerialNumber": "0042"})
	}
	credentials, err := boot(chip)
	require.NoError(t, err)
	require.Equal(t, first, credentials.KeyLabel)

	other := swtpm.New(t)
	_, err = boot(other)
	require.ErrorIs(t, err, fleetprov.ErrKeyMissing)
	assert.ErrorContains(t, err, "another TPM has made it")
	var failure *fleetprov.Error
	require.ErrorAs(t, err, &failure)
	assert.Equal(t, credentials.CertificateID, failure.CertificateID)
	again, err := boot(chip)
	require.NoError(t, err, "the old chip is back")
	assert.Equal(t, credentials.CertificateID, again.CertificateID)

	t.Run("another key", func(t *testing.T) {
		generate(t, tpmkeys.New(chip.Path, disk, tpmkeys.P256), second)
		file := func(label string) string { return filepath.Join(string(disk), label+".tpm") }
		require.NoError(t, os.Rename(file(second), file(first)))
		_, err = boot(chip)
		require.ErrorIs(t, err, fleetprov.ErrKeyMismatch)
	})
	assert.Len(t, server.Certificates(), 1, "nothing was asked of AWS")

	t.Run("provisioned anew", func(t *testing.T) {
		require.NoError(t, disk.Delete(bounded(t), "credentials.pem"))
		anew, err := boot(other)
		require.NoError(t, err)
		assert.NotEqual(t, credentials.CertificateID, anew.CertificateID)
		_, err = boot(other)
		require.NoError(t, err)
	})
}
