package flow_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov"
	"github.com/fleetprov/fleetprov/fleetprovtest"
	"github.com/fleetprov/fleetprov/internal/tests/provtest"
)

// newManager makes a Manager for a server on pipes, inside a bubble.
func newManager(t *testing.T, opts ...fleetprov.Option) (*fleetprovtest.Server, *fleetprov.Manager, *provtest.MemStore) {
	t.Helper()
	server, listener := provtest.NewPipeServer(t)
	store := provtest.NewMemStore()
	return server, &fleetprov.Manager{
		Endpoint:        server.Endpoint(),
		Template:        provtest.Template,
		Claim:           func(context.Context) (*fleetprov.Identity, error) { return provtest.Claim(t, server), nil },
		Store:           store,
		Parameters:      map[string]string{"SerialNumber": "device-1"},
		RenewTemplate:   provtest.Template,
		RenewParameters: map[string]string{"SerialNumber": "device-1"},
		Options:         append([]fleetprov.Option{fleetprov.WithDialer(listener.Dial)}, opts...),
	}, store
}

func TestManagerRenewsWhenItIsAskedTo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, manager, store := newManager(t)
		ctx, cancel := context.WithCancel(t.Context())
		var ids []string
		var began []time.Time
		err := manager.Run(ctx, func(ctx context.Context, c *fleetprov.Credentials) error {
			ids, began = append(ids, c.CertificateID), append(began, time.Now())
			if len(ids) == 2 {
				cancel()
				return nil
			}
			manager.RequestRenewal()
			<-ctx.Done()
			assert.ErrorIs(t, context.Cause(ctx), fleetprov.ErrRenewalDue)
			return ctx.Err()
		})
		assert.ErrorIs(t, err, context.Canceled)
		require.Len(t, ids, 2)
		assert.NotEqual(t, ids[0], ids[1])
		assert.Len(t, server.Things(), 1)
		assert.GreaterOrEqual(t, began[1].Sub(began[0]), 20*time.Second, "ten seconds to the renewal, and ten to the session")
		loaded, err := fleetprov.LoadCredentials(t.Context(), store)
		require.NoError(t, err)
		assert.Equal(t, ids[1], loaded.CertificateID)
		assert.Equal(t, ids[0], loaded.PreviousCertificateID)
	})
}

func TestManagerWithNeitherCredentialsNorClaim(t *testing.T) {
	for name, claim := range map[string]func(context.Context) (*fleetprov.Identity, error){
		"no claim": nil,
		"an erased claim": func(context.Context) (*fleetprov.Identity, error) {
			return nil, fmt.Errorf("opening: %w", fs.ErrNotExist)
		},
	} {
		t.Run(name, func(t *testing.T) {
			manager := &fleetprov.Manager{Endpoint: "localhost", Template: "t", Store: provtest.NewMemStore(), Claim: claim}
			c, err := manager.Credentials(provtest.Context(t))
			assert.Nil(t, c)
			assert.ErrorIs(t, err, fs.ErrNotExist)
			assert.ErrorContains(t, err, "no credentials in the store, and")
			assert.ErrorContains(t, err, "no claim")
			assert.ErrorIs(t, manager.Run(provtest.Context(t), func(context.Context, *fleetprov.Credentials) error { return nil }), fs.ErrNotExist)
		})
	}
}

// A session that fails is called again, later and later.
func TestManagerWaitsBetweenSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, manager, _ := newManager(t, fleetprov.WithLogger(nil))
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		var began []time.Time
		err := manager.Run(ctx, func(context.Context, *fleetprov.Credentials) error {
			began = append(began, time.Now())
			return errors.New("the broker does not answer")
		})
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Greater(t, len(began), 25)
		assert.Less(t, len(began), 100)
		for i := range began[1:] {
			gap := began[i+1].Sub(began[i])
			assert.GreaterOrEqual(t, gap, 10*time.Second)
			assert.LessOrEqual(t, gap, 2*time.Minute+10*time.Second)
		}
	})
}
