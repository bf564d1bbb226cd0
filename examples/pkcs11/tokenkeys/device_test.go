package tokenkeys_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov"
	"github.com/fleetprov/fleetprov/examples/pkcs11/tokenkeys"
	"github.com/fleetprov/fleetprov/fleetprovtest"
)

// A device whose token is another one keeps what it has, and says so.
func TestTheTokenIsChanged(t *testing.T) {
	server := fleetprovtest.NewServer()
	defer server.Close()
	claim, err := fleetprov.NewIdentity(server.ClaimCertificate(), server.RootCertificate())
	require.NoError(t, err)
	disk := fleetprov.DirStore(t.TempDir())
	token, keyring := newToken(t, tokenkeys.P256)
	boot := func() (*fleetprov.Credentials, error) {
		p, err := fleetprov.New(server.Endpoint(), "test-template", claim, fleetprov.WithKeyring(keyring))
		require.NoError(t, err)
		return p.Ensure(bounded(t), disk, map[string]string{"SerialNumber": "0042"})
	}
	credentials, err := boot()
	require.NoError(t, err)
	require.Equal(t, first, credentials.KeyLabel)

	other, _ := newToken(t, tokenkeys.P256)
	_, err = boot()
	require.ErrorIs(t, err, fleetprov.ErrKeyMissing)
	assert.ErrorContains(t, err, "it is not in the token")
	other.Tool(t, "--keypairgen", "--key-type", "EC:prime256v1", "--label", first, "--id", "01")
	_, err = boot()
	require.ErrorIs(t, err, fleetprov.ErrKeyMismatch)

	token.Use(t)
	again, err := boot()
	require.NoError(t, err, "the old token is back")
	assert.Equal(t, credentials.CertificateID, again.CertificateID)
	assert.Len(t, server.Certificates(), 1, "nothing was asked of AWS")
}
