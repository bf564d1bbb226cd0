package fleetprov_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov"
	"github.com/fleetprov/fleetprov/fleetprovtest"
)

const (
	testTemplate = "test-template"
	testPassword = "claim-p4ssword"
)

// newServer starts an endpoint that ends with the test.
func newServer(t testing.TB) *fleetprovtest.Server {
	t.Helper()
	server := fleetprovtest.NewServer()
	t.Cleanup(server.Close)
	return server
}

// claimOf loads the claim of server's factory.
func claimOf(t testing.TB, server *fleetprovtest.Server) *fleetprov.Identity {
	t.Helper()
	claim, err := fleetprov.ParsePFX(server.ClaimPFX(testPassword), testPassword)
	require.NoError(t, err)
	return claim
}

// newProvisioner makes a Provisioner for server's endpoint, template and claim.
func newProvisioner(t testing.TB, server *fleetprovtest.Server, opts ...fleetprov.Option) *fleetprov.Provisioner {
	t.Helper()
	p, err := fleetprov.New(server.Endpoint(), testTemplate, claimOf(t, server), opts...)
	require.NoError(t, err)
	return p
}

// noGoroutineLeft polls until the client has ended all it started: it may still
// be saying goodbye when Provision returns.
func noGoroutineLeft(t testing.TB) {
	t.Helper()
	stacks := make([]byte, 1<<20)
	require.Eventually(t, func() bool {
		all := string(stacks[:runtime.Stack(stacks, true)])
		return !strings.Contains(all, "paho.mqtt.golang.") && !strings.Contains(all, "fleetprov/internal/mqttsession.") &&
			!strings.Contains(all, "fleetprov/internal/tlsdial.")
	}, 10*time.Second, 5*time.Millisecond, "goroutines are left:\n%s", stacks)
}

// pipeListener connects dialers to a server without a network, so that both run
// in a testing/synctest bubble, where time is virtual.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipeListener() *pipeListener {
	return &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (l *pipeListener) Dial(ctx context.Context, _, _ string) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case l.conns <- far:
		return near, nil
	case <-l.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "pipe"} }

// newPipeServer starts an endpoint inside a bubble.
func newPipeServer(t *testing.T) (*fleetprovtest.Server, *pipeListener) {
	t.Helper()
	server := fleetprovtest.NewUnstartedServer()
	server.Listener.Close()
	listener := newPipeListener()
	server.Listener = listener
	server.Start()
	t.Cleanup(server.Close)
	return server, listener
}

// onPipes starts an endpoint inside a bubble, and makes a Provisioner for it.
func onPipes(t *testing.T, opts ...fleetprov.Option) (*fleetprovtest.Server, *fleetprov.Provisioner) {
	t.Helper()
	server, listener := newPipeServer(t)
	return server, newProvisioner(t, server, append([]fleetprov.Option{fleetprov.WithDialer(listener.Dial)}, opts...)...)
}

// hardwareKey signs, and shows nothing but its public half, as a TPM does.
type hardwareKey struct{ signer crypto.Signer }

func newHardwareKey(t testing.TB) *hardwareKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return &hardwareKey{key}
}

func (k *hardwareKey) Public() crypto.PublicKey { return k.signer.Public() }

func (k *hardwareKey) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return k.signer.Sign(random, digest, opts)
}
