package main

import (
	"context"
	"crypto/tls"
	"net"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eclipse/paho.golang/autopaho"
	"github.com/eclipse/paho.golang/packets"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov"
	"github.com/fleetprov/fleetprov/fleetprovtest"
	"github.com/fleetprov/fleetprov/internal/tests/provtest"
)

// shows waits until a text has been printed, n times.
func shows(t *testing.T, stdout *provtest.Screen, n int, text string) {
	t.Helper()
	require.Eventually(t, func() bool { return strings.Count(stdout.String(), text) >= n }, 2*time.Minute, 5*time.Millisecond,
		"%s is not printed", text)
}

// The device works, renews when it is asked to, and works with the new certificate. Its
// connections are ten seconds apart, of virtual time.
func TestALifeWithMQTT5(t *testing.T) {
	defer func() { connect = nil }()
	synctest.Test(t, func(t *testing.T) {
		server, pipes := provtest.NewPipeServer(t)
		connect = func(ctx context.Context, config autopaho.ClientConfig, _ *url.URL) (net.Conn, error) {
			conn, err := pipes.Dial(ctx, "tcp", server.Endpoint())
			return packets.NewThreadSafeConn(tls.Client(conn, config.TlsCfg)), err
		}
		manager, end, err := newManager(server.Endpoint(), "")
		require.NoError(t, err)
		defer end()
		manager.Template, manager.RenewTemplate = provtest.Template, provtest.Template
		manager.Store = provtest.NewMemStore()
		manager.Claim = func(context.Context) (*fleetprov.Identity, error) { return provtest.Claim(t, server), nil }
		manager.Options = []fleetprov.Option{fleetprov.WithGeneratedKey(), fleetprov.WithLogger(nil), fleetprov.WithDialer(pipes.Dial)}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		stdout, ended := new(provtest.Screen), make(chan error, 1)
		go func() { ended <- run(ctx, manager, stdout) }()
		shows(t, stdout, 2, `/telemetry" {`)
		renewed, err := manager.Renew(ctx)
		require.NoError(t, err)
		assert.NotEmpty(t, renewed.PreviousCertificateID)
		shows(t, stdout, 2, `{"connectedSeconds":0}`)
		cancel()
		assert.ErrorIs(t, provtest.Wait(t, ended), context.Canceled)
	})
}

func TestTheEmbeddedEndpoint(t *testing.T) {
	manager, end, err := newManager("", "")
	require.NoError(t, err)
	defer end()
	manager.Options = []fleetprov.Option{fleetprov.WithGeneratedKey(), fleetprov.WithLogger(nil)}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stdout, ended := new(provtest.Screen), make(chan error, 1)
	go func() { ended <- run(ctx, manager, stdout) }()
	shows(t, stdout, 2, `"devices/0001/telemetry" {`)
	cancel()
	assert.ErrorIs(t, provtest.Wait(t, ended), context.Canceled)
}

// What ends a session is in its error, for the Manager to log.
func TestWhatEndsASession(t *testing.T) {
	server := fleetprovtest.NewUnstartedServer()
	server.Template = provtest.Template
	server.Start()
	defer server.Close()
	c := provtest.Provisioned(t, server, fleetprov.WithGeneratedKey())
	stdout := new(provtest.Screen)

	server.Inject(fleetprovtest.OpConnect, fleetprovtest.Fault{Disconnect: true})
	err := session(provtest.Context(t), c, stdout)
	assert.ErrorContains(t, err, "connecting as "+c.ThingName+": ")

	ended := make(chan error, 1)
	go func() { ended <- session(provtest.Context(t), c, stdout) }()
	shows(t, stdout, 1, `/telemetry" {`)
	require.NoError(t, server.UpdateCertificate(c.CertificateID, fleetprovtest.StatusInactive))
	assert.ErrorContains(t, provtest.Wait(t, ended), "the connection was lost")

	err = session(provtest.Context(t), &fleetprov.Credentials{}, stdout)
	assert.ErrorContains(t, err, "the template has no AWS::IoT::Thing")
	provtest.NoGoroutineLeft(t)
}
