// Package provtest has what the tests of this module share: a server, a claim for it, a
// provisioner, stores and keys. Only tests import it.
package provtest

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov"
	"github.com/fleetprov/fleetprov/fleetprovtest"
	"github.com/fleetprov/fleetprov/internal/iotservice"
)

const (
	// Template is the name of the template that a server has unless it is given another.
	Template = "test-template"
	// Password opens the PFX of every claim here.
	Password = "claim-p4ssword"
)

// OneAttempt keeps a Provisioner from trying again.
var OneAttempt = fleetprov.WithMaxAttempts(1)

// Hundreds of tests make RSA keys that they do not compare with those of another.
func init() { iotservice.ReuseKeys(true) }

// NewServer starts an endpoint that ends with the test.
func NewServer(t testing.TB) *fleetprovtest.Server {
	t.Helper()
	server := fleetprovtest.NewServer()
	t.Cleanup(server.Close)
	return server
}

// endOfTime is after every test in a bubble has ended. One that goes wrong may try again
// for ever, which takes virtual time, and no time of the machine's that go test would bound
// soon.
const endOfTime = 2 * 365 * 24 * time.Hour

// NewPipeServer starts an endpoint inside a bubble, and returns what dials it. It calls
// configure, if there is one, before it starts the server. A test that is still there after
// two years of its time fails.
func NewPipeServer(t testing.TB, configure ...func(*fleetprovtest.Server)) (*fleetprovtest.Server, *fleetprovtest.PipeListener) {
	t.Helper()
	overdue := time.AfterFunc(endOfTime, func() { panic(t.Name() + " does not end") })
	t.Cleanup(func() { overdue.Stop() })
	return NewTimelessServer(t, configure...)
}

// NewTimelessServer is [NewPipeServer] for a test that takes decades of its time.
func NewTimelessServer(t testing.TB, configure ...func(*fleetprovtest.Server)) (*fleetprovtest.Server, *fleetprovtest.PipeListener) {
	t.Helper()
	server := fleetprovtest.NewUnstartedServer()
	server.Listener.Close()
	listener := fleetprovtest.NewPipeListener()
	server.Listener = listener
	for _, c := range configure {
		c(server)
	}
	server.Start()
	t.Cleanup(server.Close)
	return server, listener
}

// OnPipes starts an endpoint inside a bubble, and makes a Provisioner for it.
func OnPipes(t testing.TB, opts ...fleetprov.Option) (*fleetprovtest.Server, *fleetprov.Provisioner) {
	t.Helper()
	server, listener := NewPipeServer(t)
	return server, NewProvisioner(t, server, append([]fleetprov.Option{fleetprov.WithDialer(listener.Dial)}, opts...)...)
}

// Claim loads the claim of server's factory.
func Claim(t testing.TB, server *fleetprovtest.Server) *fleetprov.Identity {
	t.Helper()
	claim, err := fleetprov.NewIdentity(server.ClaimCertificate(), server.RootCertificate())
	require.NoError(t, err)
	return claim
}

// NewProvisioner makes a Provisioner for server's endpoint, template and claim.
func NewProvisioner(t testing.TB, server *fleetprovtest.Server, opts ...fleetprov.Option) *fleetprov.Provisioner {
	t.Helper()
	p, err := fleetprov.New(server.Endpoint(), Template, Claim(t, server), opts...)
	require.NoError(t, err)
	return p
}

// Provisioned returns the credentials of a new device.
func Provisioned(t testing.TB, server *fleetprovtest.Server, opts ...fleetprov.Option) *fleetprov.Credentials {
	t.Helper()
	credentials, err := NewProvisioner(t, server, opts...).Provision(t.Context(), nil)
	require.NoError(t, err)
	return credentials
}

// RenewDevice is how the README renews a device that has erased its claim.
func RenewDevice(ctx context.Context, store fleetprov.Store, credentials *fleetprov.Credentials, options ...fleetprov.Option) (*fleetprov.Credentials, error) {
	identity, err := credentials.Identity()
	if err != nil {
		return nil, err
	}
	renewer, err := fleetprov.New(credentials.Endpoint, "fleet-rotation-template", identity, options...)
	if err != nil {
		return nil, err
	}
	return renewer.Renew(ctx, store, map[string]string{"ThingName": credentials.ThingName})
}
