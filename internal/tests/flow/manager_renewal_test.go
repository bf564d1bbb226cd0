package flow_test

import (
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov"
	"github.com/fleetprov/fleetprov/fleetprovtest"
	"github.com/fleetprov/fleetprov/internal/tests/provtest"
)

// A Manager remembers a renewal that no file tells of, as a Provisioner does.
func TestAManagersRenewalWhoseJournalCannotBeWrittenIsNotMadeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newManager(t, fleetprov.WithLogger(nil))
		_, err := m.Credentials(t.Context())
		require.NoError(t, err)
		writes := 0
		m.store.Fail = func(op, name string) error {
			if op == "put" {
				if writes++; writes > 2 { // after the proof and the journal of the certificate
					return syscall.EIO
				}
			}
			return nil
		}
		first, err := m.Renew(t.Context())
		require.ErrorIs(t, err, syscall.EIO)
		require.NotNil(t, first)
		registered := count(m.server, fleetprovtest.OpRegisterThing)
		<-time.After(2 * time.Hour) // its ownership token is of no use now
		m.store.Fail = nil
		renewed, err := m.Renew(t.Context())
		require.NoError(t, err)
		assert.Equal(t, first.CertificateID, renewed.CertificateID)
		assert.Equal(t, registered, count(m.server, fleetprovtest.OpRegisterThing), "AWS is not asked for it again")
	})
}

// A key that AWS made has no label, although a keyring is there when its certificate is
// registered.
func TestAKeyOfAWSsHasNoLabel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, listener := provtest.NewPipeServer(t)
		store := provtest.NewMemStore()
		dialer := fleetprov.WithDialer(listener.Dial)
		server.Inject(fleetprovtest.OpRegisterThing, fleetprovtest.Fault{Disconnect: true})
		_, err := provtest.NewProvisioner(t, server, dialer, fleetprov.WithMaxAttempts(1)).Ensure(t.Context(), store, nil)
		require.Error(t, err)
		keyring := provtest.NewKeyring()
		credentials, err := provtest.NewProvisioner(t, server, dialer, fleetprov.WithKeyring(keyring)).Ensure(t.Context(), store, nil)
		require.NoError(t, err)
		assert.Empty(t, credentials.KeyLabel)
		assert.NotNil(t, credentials.PrivateKeyPEM())
	})
}

// A device whose own certificate has expired is not told to get another claim.
func TestADevicesOwnCertificateThatHasExpired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newManager(t, fleetprov.WithLogger(nil))
		_, err := m.Credentials(t.Context())
		require.NoError(t, err)
		<-time.After(31 * 24 * time.Hour)
		_, err = m.Renew(t.Context())
		require.ErrorContains(t, err, "the device's certificate expired on")
		assert.ErrorContains(t, err, "check the clock, or provision the device anew with a claim")
		assert.NotContains(t, err.Error(), "the claim expired")
	})
}
