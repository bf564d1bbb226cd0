package main

import (
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov"
	"github.com/fleetprov/fleetprov/examples/tpm/internal/swtpm"
	"github.com/fleetprov/fleetprov/fleetprovtest"
)

// A device's life, whose power is cut whenever AWS has just made something.
func TestADevicesLife(t *testing.T) {
	for name, flags := range map[string][]string{"P-256": nil, "RSA-2048": {"-rsa"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDevice(t, flags...)

			d.cutPowerAt(fleetprovtest.OpCreateCertificateFromCSR)
			d.cutPowerAt(fleetprovtest.OpRegisterThing)
			p := d.boot()
			p.shows(`connected as "0042" with the key fleetprov-1`)
			p.interrupt()
			require.NoError(t, os.Remove(d.claim), "it is not needed any more")

			d.cutPowerAt(fleetprovtest.OpCreateCertificateFromCSR, "-renew")
			d.cutPowerAt(fleetprovtest.OpRegisterThing, "-renew")
			p = d.boot("-renew")
			p.shows(`connected as "0042" with the key fleetprov-1`)
			p.shows(`connected as "0042" with the key fleetprov-2`)
			p.interrupt()

			d.chip.CutPower(t)
			p = d.boot()
			p.shows(`connected as "0042" with the key fleetprov-2`)
			p.interrupt()

			stored, err := fleetprov.LoadCredentials(t.Context(), fleetprov.DirStore(d.state))
			require.NoError(t, err)
			assert.NotEmpty(t, stored.PreviousCertificateID)
			assert.Equal(t, []fleetprovtest.Thing{{
				Name:           "0042",
				Parameters:     map[string]string{"ThingName": "0042"},
				CertificateIDs: []string{stored.PreviousCertificateID, stored.CertificateID},
			}}, d.server.Things())
			d.assertNoPrivateKeys()
		})
	}
}

func TestTheEmbeddedEndpoint(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	d := &device{t: t}
	d.flags = []string{"-tpm", swtpm.New(t).Path}
	p := d.boot()
	p.shows("AWS_HOSTNAME is not set")
	p.shows(`connected as "0001" with the key fleetprov-1`)
	p.interrupt()
	left, err := os.ReadDir(os.Getenv("TMPDIR"))
	require.NoError(t, err)
	assert.Empty(t, left)
}
