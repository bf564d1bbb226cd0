package crash_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov"
	"github.com/fleetprov/fleetprov/internal/tests/provtest"
)

// device is what a world has of one device with a Manager. Its keyring, if it has one,
// outlives a boot as its flash does.
type device struct {
	*world
	keyring *provtest.Keyring
}

// live is a boot on a supply: the device works, is told to renew unless it has, and
// works again. It ends then, or with the power. The credentials are those of the last
// session.
func (d *device) live(p *power) (last *fleetprov.Credentials) {
	ctx, cancel := context.WithCancel(d.t.Context())
	defer cancel()
	p.device = cancel
	keys := fleetprov.WithGeneratedKey()
	if d.keyring != nil {
		d.keyring.Fail = func(string, string) error {
			if !p.instant() {
				return errPowerCut
			}
			return nil
		}
		keys = fleetprov.WithKeyring(d.keyring)
	}
	manager := &fleetprov.Manager{
		Endpoint:        d.server.Endpoint(),
		Template:        provtest.Template,
		Claim:           func(context.Context) (*fleetprov.Identity, error) { return d.claim, nil },
		Store:           poweredStore{d.flash, p},
		Parameters:      map[string]string{"SerialNumber": "1"},
		RenewTemplate:   provtest.Template,
		RenewParameters: map[string]string{"SerialNumber": "1"},
		Options:         append(d.opts, fleetprov.WithDialer(d.dialer(p)), keys, fleetprov.WithLogger(nil)),
	}
	err := manager.Run(ctx, func(ctx context.Context, c *fleetprov.Credentials) error {
		last = c
		d.connects(c)
		if c.PreviousCertificateID != "" {
			cancel()
		}
		manager.RequestRenewal()
		<-ctx.Done()
		return ctx.Err()
	})
	require.ErrorIs(d.t, err, context.Canceled)
	<-time.After(time.Minute) // what is left of the run gives up
	return last
}

// TestAManagersLifeSurvivesEveryPowerCut cuts the power at every instant of a first boot
// and a renewal, and boots again.
func TestAManagersLifeSurvivesEveryPowerCut(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ keyring, verified bool }{
		"a key in a file":                 {},
		"a key in a keyring":              {keyring: true},
		"a key in a keyring, and a proof": {keyring: true, verified: true},
	} {
		t.Run(name, func(t *testing.T) {
			everyInstant(t, func(t *testing.T, cutAt int) (instants int) {
				d := &device{world: newWorld(t, false)}
				if test.keyring {
					d.keyring = provtest.NewKeyring()
				}
				if test.verified {
					d.opts = []fleetprov.Option{fleetprov.WithVerification()}
				}
				p := &power{cutAt: cutAt}
				d.live(p)
				d.boots()
				current := d.live(new(power))
				require.NotNil(t, current)
				assert.NotEmpty(t, current.PreviousCertificateID, "it has renewed")
				assert.ElementsMatch(t, []string{current.PreviousCertificateID, current.CertificateID}, d.active())
				assert.Empty(t, current.AbandonedCertificateIDs)
				assert.Len(t, d.server.Things(), 1)
				assert.Equal(t, current.CertificateID, d.boots().CertificateID)
				return p.instants()
			})
		})
	}
}

// boots returns the credentials on the flash, which connect, if there are any. What else
// is on the flash has its key, too.
func (d *device) boots() *fleetprov.Credentials {
	if d.keyring != nil {
		d.keyring.Fail = nil
	}
	for _, name := range []string{"previous.pem", "credentials.pem"} {
		data, ok := d.flash.Files[name]
		if !ok {
			continue
		}
		c, err := fleetprov.ParseCredentials(data)
		require.NoError(d.t, err)
		if d.keyring != nil {
			require.NoError(d.t, c.UseKeyring(d.t.Context(), d.keyring), name)
		}
		d.connects(c)
		if name == "credentials.pem" {
			return c
		}
	}
	return nil
}
