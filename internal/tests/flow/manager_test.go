package flow_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
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

// managed is a Manager inside a bubble, with what it works on.
type managed struct {
	*fleetprov.Manager
	server *fleetprovtest.Server
	store  *provtest.MemStore
	dial   func(ctx context.Context, network, address string) (net.Conn, error)
	claims int // how often the claim was asked for
}

// newManager makes a Manager for a server on pipes, inside a bubble, whose certificates
// are good for thirty days.
func newManager(t *testing.T, opts ...fleetprov.Option) *managed {
	t.Helper()
	return newManagerFor(t, func(*fleetprovtest.Server) {}, opts...)
}

// newManagerFor is newManager with another configuration of the server.
func newManagerFor(t *testing.T, configure func(*fleetprovtest.Server), opts ...fleetprov.Option) *managed {
	t.Helper()
	server, listener := provtest.NewPipeServer(t, func(s *fleetprovtest.Server) { s.CertificateValidity = 30 * day }, configure)
	m := &managed{server: server, store: provtest.NewMemStore(), dial: listener.Dial}
	m.Manager = &fleetprov.Manager{
		Endpoint: server.Endpoint(),
		Template: provtest.Template,
		Claim: func(context.Context) (*fleetprov.Identity, error) {
			m.claims++
			return provtest.Claim(t, server), nil
		},
		Store:           m.store,
		Parameters:      map[string]string{"SerialNumber": "device-1"},
		RenewTemplate:   provtest.Template,
		RenewParameters: map[string]string{"SerialNumber": "device-1"},
		Options: append([]fleetprov.Option{fleetprov.WithDialer(m.dial), fleetprov.WithGeneratedKey(),
			fleetprov.WithLogger(nil)}, opts...),
	}
	return m
}

const day = 24 * time.Hour

func TestCredentialsOfAManagerThatAreStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newManager(t)
		first, err := m.Credentials(t.Context())
		require.NoError(t, err)
		assert.Equal(t, "device-1", m.server.Things()[0].Name)
		assert.Equal(t, 1, m.claims)

		m.server.Close()
		m.Options = append(m.Options, noDial(t))
		m.store.Fail = func(op, name string) error {
			if op != "get" {
				return syscall.EROFS
			}
			return nil
		}
		began := time.Now()
		second, err := m.Credentials(t.Context())
		require.NoError(t, err)
		assert.Equal(t, first, second)
		assert.Equal(t, 1, m.claims, "the claim is not opened again")
		assert.Zero(t, time.Since(began))
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
			assertOp(t, fleetprovtest.Op(fleetprov.OpPrepare), err)
			assert.ErrorIs(t, err, fs.ErrNotExist)
			assert.ErrorContains(t, err, "there are no credentials in the store, and ")
			assert.ErrorContains(t, err, "no claim to get others with")
			assert.ErrorIs(t, manager.Run(provtest.Context(t), func(context.Context, *fleetprov.Credentials) error { return nil }), fs.ErrNotExist)
		})
	}
}

// What is in the store but cannot be used is said, not that there is nothing.
func TestManagerWithCredentialsOfNoUseAndNoClaim(t *testing.T) {
	for name, test := range map[string]struct {
		stored func(t *testing.T) []byte
		says   string
		usable bool
	}{
		"damaged": {func(*testing.T) []byte { return []byte("damaged") }, "the stored credentials cannot be read (", false},
		"expired": {func(t *testing.T) []byte { return expiring(t, time.Now().Add(-time.Minute)) }, "the stored credentials have expired by this clock, and ", true},
	} {
		t.Run(name, func(t *testing.T) {
			store := provtest.NewMemStore()
			store.Files["credentials.pem"] = test.stored(t)
			manager := &fleetprov.Manager{Endpoint: "localhost", Template: "t", Store: store, Options: []fleetprov.Option{noDial(t)}}
			c, err := manager.Credentials(provtest.Context(t))
			assertOp(t, fleetprovtest.Op(fleetprov.OpPrepare), err)
			assert.ErrorIs(t, err, fs.ErrNotExist)
			assert.ErrorContains(t, err, test.says)
			assert.Equal(t, test.usable, c != nil)
			assert.Equal(t, []string{"credentials.pem"}, store.Names())
		})
	}
}

func TestManagerReplacesExpiredCredentials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newManager(t)
		expired := expiring(t, time.Now())
		m.store.Files["credentials.pem"] = expired
		<-time.After(time.Minute)

		m.server.Inject(fleetprovtest.OpConnect, fleetprovtest.Fault{Disconnect: true})
		c, err := m.Credentials(t.Context())
		assert.ErrorIs(t, err, fleetprov.ErrConnectionLost)
		require.NotNil(t, c, "the clock may be what is wrong")
		assert.Equal(t, "of another time", c.CertificateID)

		again, err := m.Credentials(t.Context())
		assert.ErrorIs(t, err, fleetprov.ErrConnectionLost)
		assertOp(t, fleetprovtest.OpConnect, err)
		assert.ErrorContains(t, err, "the stored credentials have expired by this clock, and others are asked for again in ")
		assert.Equal(t, c, again)
		assert.Equal(t, 1, m.claims, "the claim is not opened for nothing")

		<-time.After(6 * time.Second)
		c, err = m.Credentials(t.Context())
		require.NoError(t, err)
		assert.Equal(t, m.server.Certificates()[0].ID, c.CertificateID)
		assert.Equal(t, "of another time", c.PreviousCertificateID)
		assert.Equal(t, 2, m.claims)
	})
}

// Credentials that were never verified are verified; without a claim they come with an
// error that says so.
func TestManagerWithCredentialsThatAreNotVerified(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newManager(t, fleetprov.WithVerification(), fleetprov.WithStepTimeout(15*time.Second))
		m.server.Inject(fleetprovtest.OpConnect, fleetprovtest.Fault{}) // the claim's
		for range 2 {
			m.server.Inject(fleetprovtest.OpConnect, fleetprovtest.Fault{Disconnect: true})
		}
		first, err := m.Credentials(t.Context())
		require.NotNil(t, first)
		assertOp(t, fleetprovtest.Op(fleetprov.OpVerify), err)

		claim := m.Claim
		m.Claim = nil
		c, err := m.Credentials(t.Context())
		assert.ErrorContains(t, err, "the stored credentials have not been verified yet, and ")
		assert.Equal(t, first.CertificateID, c.CertificateID)

		m.Claim = claim
		c, err = m.Credentials(t.Context())
		require.NoError(t, err)
		assert.Equal(t, first.CertificateID, c.CertificateID)
		assert.Len(t, m.server.Certificates(), 1)
	})
}

func TestClaimsThatAreNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newManager(t)
		m.Claim = func(context.Context) (*fleetprov.Identity, error) { return nil, nil }
		_, err := m.Credentials(t.Context())
		assert.ErrorContains(t, err, "Claim returned neither a claim nor an error")

		m.Claim = func(context.Context) (*fleetprov.Identity, error) { return new(fleetprov.Identity), nil }
		_, err = m.Credentials(t.Context())
		assert.ErrorContains(t, err, "there is no claim: LoadPFX, ParsePFX or NewIdentity makes one")

		released := make(chan struct{})
		defer close(released)
		m.Claim = func(context.Context) (*fleetprov.Identity, error) { <-released; return nil, nil }
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err = m.Credentials(ctx)
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.ErrorContains(t, err, "opening the claim has not ended")
	})
}

func TestSettingsThatAManagerRefuses(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*fleetprov.Manager)
		says   string
	}{
		"the endpoint":            {func(m *fleetprov.Manager) { m.Endpoint = "https://x" }, "is a URL"},
		"the template":            {func(m *fleetprov.Manager) { m.Template = "a b" }, `the template name "a b"`},
		"the template to renew":   {func(m *fleetprov.Manager) { m.RenewTemplate = "c d" }, `the template name "c d"`},
		"the store":               {func(m *fleetprov.Manager) { m.Store = nil }, "the store is nil"},
		"RenewBefore":             {func(m *fleetprov.Manager) { m.RenewBefore = -time.Hour }, "RenewBefore is -1h0m0s"},
		"an option":               {func(m *fleetprov.Manager) { m.Options = append(m.Options, fleetprov.WithMaxAttempts(-1)) }, "the number of attempts is -1"},
		"a progress that is none": {func(m *fleetprov.Manager) { m.Options = append(m.Options, fleetprov.WithProgress(nil)) }, "the progress function is nil"},
	} {
		t.Run(name, func(t *testing.T) {
			ctx := provtest.Context(t)
			m := &fleetprov.Manager{Endpoint: "localhost", Template: "t", RenewTemplate: "t", Store: provtest.NewMemStore(),
				Options: []fleetprov.Option{noDial(t)}}
			test.change(m)
			_, err := m.Credentials(ctx)
			assert.ErrorContains(t, err, test.says)
			_, err = m.Renew(ctx)
			assert.ErrorContains(t, err, test.says)
			err = m.Run(ctx, func(context.Context, *fleetprov.Credentials) error { panic("called") })
			assert.ErrorContains(t, err, test.says)
		})
	}
	m := &fleetprov.Manager{Endpoint: "localhost", Template: "t", Store: provtest.NewMemStore()}
	assert.ErrorContains(t, m.Run(provtest.Context(t), nil), "the session is nil")
}

// The caller's slice may have room behind its end that is not the Manager's.
func TestOptionsOfAManagerAreOnlyRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newManager(t)
		options := append(make([]fleetprov.Option, 0, 8), m.Options...)
		m.Options = options
		_, err := m.Credentials(t.Context())
		require.NoError(t, err)
		_, err = m.Renew(t.Context())
		require.NoError(t, err)
		for _, beyond := range options[len(options):8] {
			assert.Nil(t, beyond)
		}
	})
}

func TestRenewOfAManager(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newManager(t)
		_, err := m.Renew(t.Context())
		assertOp(t, fleetprovtest.Op(fleetprov.OpStore), err)
		assert.ErrorIs(t, err, fs.ErrNotExist)
		m.store.Files["credentials.pem"] = []byte("damaged")
		_, err = m.Renew(t.Context())
		assertOp(t, fleetprovtest.Op(fleetprov.OpStore), err)
		assert.ErrorContains(t, err, "the credentials to renew: ")
		assert.NotErrorIs(t, err, fs.ErrNotExist)
		delete(m.store.Files, "credentials.pem")
		assert.Zero(t, m.claims, "a renewal needs none")

		first, err := m.Credentials(t.Context())
		require.NoError(t, err)
		renewed, err := m.Renew(t.Context())
		require.NoError(t, err)
		assert.Equal(t, first.CertificateID, renewed.PreviousCertificateID)
		stored, err := fleetprov.LoadCredentials(t.Context(), m.store)
		require.NoError(t, err)
		assert.Equal(t, renewed, stored)
		assert.Equal(t, 1, m.claims)

		ended, cancel := context.WithCancel(t.Context())
		cancel()
		_, err = m.Renew(ended)
		assert.ErrorIs(t, err, context.Canceled)
		m.RenewTemplate = ""
		_, err = m.Renew(t.Context())
		assert.ErrorContains(t, err, "no RenewTemplate")
		assert.Len(t, m.server.Certificates(), 2)
	})
}

// Without RenewParameters the template is given the thing's name.
func TestParametersOfARenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newManager(t)
		m.RenewParameters = nil
		_, err := m.Credentials(t.Context())
		require.NoError(t, err)
		_, err = m.Renew(t.Context())
		require.NoError(t, err)
		things := m.server.Things()
		require.Len(t, things, 1)
		assert.Equal(t, map[string]string{"ThingName": "device-1"}, things[0].Parameters)
	})
}

// Those who wait for a renewal that is under way get what comes of it.
func TestRenewalsAtOneTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newManager(t)
		_, err := m.Credentials(t.Context())
		require.NoError(t, err)
		ids := make(chan string, 3)
		for range 3 {
			go func() {
				c, err := m.Renew(t.Context())
				assert.NoError(t, err)
				ids <- c.CertificateID
			}()
		}
		first := <-ids
		assert.Equal(t, first, <-ids)
		assert.Equal(t, first, <-ids)
		assert.Len(t, m.server.Certificates(), 2)

		// One that fails is that caller's alone.
		ctx, cancel := context.WithCancel(t.Context())
		failed := make(chan error)
		go func() { _, err := m.Renew(ctx); failed <- err }()
		synctest.Wait()
		go func() { _, err := m.Renew(t.Context()); failed <- err }()
		synctest.Wait()
		cancel()
		assert.ErrorIs(t, <-failed, context.Canceled)
		assert.NoError(t, <-failed)
	})
}

var errBroker = errors.New("the broker does not answer")

// Connections under the thing name are ten seconds apart, whoever opens them.
func TestConnectionsOfAManagerAreApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var connected []time.Time
		m := newManager(t, fleetprov.WithVerification(), fleetprov.WithProgress(func(_ context.Context, p fleetprov.Progress) {
			if p.Done && (p.Op == fleetprov.OpVerify || p.Op == fleetprov.OpConnect) {
				connected = append(connected, time.Now())
			}
		}))
		_, err := m.Credentials(t.Context())
		require.NoError(t, err)
		connected = connected[1:] // the claim's has another client id
		_, err = m.Renew(t.Context())
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		sessions := 0
		err = m.Run(ctx, func(ctx context.Context, _ *fleetprov.Credentials) error {
			connected = append(connected, time.Now())
			switch sessions++; sessions {
			case 1:
				return errBroker
			case 2:
				m.RequestRenewal()
				<-ctx.Done()
				return nil
			default:
				cancel()
				return nil
			}
		})
		assert.ErrorIs(t, err, context.Canceled)
		require.Len(t, connected, 8, "a proof, two of a renewal, two sessions, two of a renewal, a session")
		for i, at := range connected[1:] {
			assert.GreaterOrEqual(t, at.Sub(connected[i]), 10*time.Second, "%d", i)
		}
	})
}
