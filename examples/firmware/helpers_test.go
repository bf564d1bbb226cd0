package main

import (
	"context"
	"crypto/tls"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov"
	"github.com/fleetprov/fleetprov/fleetprovtest"
	"github.com/fleetprov/fleetprov/internal/tests/provtest"
)

const password = "claim-p4ssword"

// firmware is the program, running.
type firmware struct {
	t              *testing.T
	stdout, stderr provtest.Screen
	renewals       chan os.Signal
	interrupt      func()
	status         chan int
}

// start runs the program in an environment of its own, until the test ends.
func start(t *testing.T, environment map[string]string, args ...string) *firmware {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	renewals := make(chan os.Signal, 1)
	interrupt := sync.OnceFunc(func() {
		cancel()
		close(renewals)
	})
	f := &firmware{t: t, renewals: renewals, interrupt: interrupt, status: make(chan int, 1)}
	go func() {
		f.status <- run(ctx, f.renewals, args, &f.stdout, &f.stderr, func(name string) string { return environment[name] })
	}()
	t.Cleanup(f.interrupt)
	return f
}

// shows waits until the program has printed text, n times.
func (f *firmware) shows(n int, text string) {
	f.t.Helper()
	require.Eventually(f.t, func() bool { return strings.Count(f.stdout.String(), text) >= n }, 2*time.Minute, 5*time.Millisecond,
		"%s is not printed", text)
}

// complains waits until the program has printed text as an error.
func (f *firmware) complains(text string) {
	f.t.Helper()
	require.Eventually(f.t, func() bool { return strings.Contains(f.stderr.String(), text) }, 2*time.Minute, 5*time.Millisecond,
		"%s is not printed", text)
}

// end presses Ctrl-C.
func (f *firmware) end() {
	f.t.Helper()
	f.interrupt()
	assert.Equal(f.t, 0, provtest.Wait(f.t, f.status), f.stderr.String())
	for _, printed := range []string{f.stdout.String(), f.stderr.String()} {
		assert.NotContains(f.t, printed, "PRIVATE KEY")
		assert.NotContains(f.t, printed, password)
	}
}

// aws stands for AWS: a server, and the environment and flags of a device with a
// claim and an empty disk. It calls configure, if there is one, before it starts the
// server.
func aws(t *testing.T, configure ...func(*fleetprovtest.Server)) (server *fleetprovtest.Server, environment map[string]string, flags []string) {
	t.Helper()
	server = fleetprovtest.NewUnstartedServer()
	// Wide enough to be told of a template that does not exist.
	server.ClaimPolicy = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iot:*","Resource":"*"}]}`
	server.Template = "fleet-template"
	for _, c := range configure {
		c(server)
	}
	server.Start()
	t.Cleanup(server.Close)
	dir := t.TempDir()
	pfx := filepath.Join(dir, "claim.pfx")
	require.NoError(t, os.WriteFile(pfx, server.ClaimPFX(password), 0o600))
	return server, map[string]string{
		"AWS_HOSTNAME":      server.Endpoint(),
		"IDENTITY_PASSWORD": password,
		"TEMPLATE_NAME":     "fleet-template",
	}, []string{"-pfx", pfx, "-state", filepath.Join(dir, "state"), "-param", "SerialNumber=0042", "-renew-template", "fleet-template"}
}

// bubble runs a test without a network, in virtual time: the connections under one client
// id are ten seconds apart. Server and device talk over what onPipes puts in place of dial.
func bubble(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	network := dial
	defer func() { dial, open = network, nil }()
	synctest.Test(t, test)
}

// onPipes takes a server and the device off the network.
func onPipes(s *fleetprovtest.Server) {
	s.Listener.Close()
	pipes := fleetprovtest.NewPipeListener()
	s.Listener, dial = pipes, pipes.Dial
	open = func(_ *url.URL, options mqtt.ClientOptions) (net.Conn, error) {
		conn, err := pipes.Dial(context.Background(), "tcp", s.Endpoint())
		return tls.Client(conn, options.TLSConfig), err
	}
}

// stateOf returns the directory that flags name.
func stateOf(flags []string) fleetprov.DirStore { return fleetprov.DirStore(flags[3]) }

// provisioned returns credentials of the thing that is named after serial.
func provisioned(t *testing.T, server *fleetprovtest.Server, serial string) *fleetprov.Credentials {
	t.Helper()
	claim, err := fleetprov.ParsePFX(server.ClaimPFX(password), password)
	require.NoError(t, err)
	provisioner, err := fleetprov.New(server.Endpoint(), "fleet-template", claim, fleetprov.WithGeneratedKey(), fleetprov.WithDialer(dial))
	require.NoError(t, err)
	credentials, err := provisioner.Provision(t.Context(), map[string]string{"SerialNumber": serial})
	require.NoError(t, err)
	return credentials
}

// connect opens a connection with credentials, under their thing name.
func connect(t *testing.T, c *fleetprov.Credentials) mqtt.Client {
	t.Helper()
	config, err := c.TLSConfig()
	require.NoError(t, err)
	client := mqtt.NewClient(mqtt.NewClientOptions().
		AddBroker("ssl://" + c.Endpoint).
		SetCustomOpenConnectionFn(open).
		SetTLSConfig(config).
		SetClientID(c.ThingName).
		SetAutoReconnect(false))
	token := client.Connect()
	require.True(t, token.WaitTimeout(10*time.Second))
	require.NoError(t, token.Error())
	t.Cleanup(func() { client.Disconnect(0) })
	return client
}

// emptyTemp gives the test a directory for temporary files.
func emptyTemp(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"TMPDIR", "TMP", "TEMP"} {
		t.Setenv(name, dir)
	}
	return dir
}
