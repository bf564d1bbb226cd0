package flow_test

import (
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov"
	"github.com/fleetprov/fleetprov/fleetprovtest"
	"github.com/fleetprov/fleetprov/internal/tests/provtest"
)

// A device that has erased its claim renews with its own certificate.
func TestRenewedDevice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, listener := provtest.NewPipeServer(t, func(server *fleetprovtest.Server) { server.Template = "fleet-rotation-template" })
		dial := fleetprov.WithDialer(listener.Dial)
		provisioner, err := fleetprov.New(server.Endpoint(), server.Template, provtest.Claim(t, server), dial)
		require.NoError(t, err)
		store := provtest.NewMemStore()
		first, err := provisioner.Ensure(t.Context(), store, map[string]string{"SerialNumber": "12345"})
		require.NoError(t, err)

		renewed, err := provtest.RenewDevice(t.Context(), store, first, dial)
		require.NoError(t, err)
		assert.Equal(t, first.CertificateID, renewed.PreviousCertificateID)
		things := server.Things()
		require.Len(t, things, 1)
		assert.Equal(t, []string{first.CertificateID, renewed.CertificateID}, things[0].CertificateIDs)
	})
}
