package fleetprovtest_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov/fleetprovtest"
	"github.com/fleetprov/fleetprov/internal/tests/pipe"
)

// onPipesUnstarted makes a server on pipes, inside a bubble.
func onPipesUnstarted(t *testing.T) (*fleetprovtest.Server, *pipe.Listener) {
	t.Helper()
	server := fleetprovtest.NewUnstartedServer()
	server.Listener.Close()
	listener := pipe.Listen()
	server.Listener = listener
	return server, listener
}

// onPipes starts a server on pipes, inside a bubble.
func onPipes(t *testing.T) (*fleetprovtest.Server, *pipe.Listener) {
	t.Helper()
	server, listener := onPipesUnstarted(t)
	server.Start()
	return server, listener
}

func dialPipe(t *testing.T, server *fleetprovtest.Server, listener *pipe.Listener, clientID string) *client {
	t.Helper()
	c, err := handshake(t, listener.Connect(t), clientConfig(server, server.ClaimCertificate()))
	require.NoError(t, err)
	c.connect(clientID)
	return c
}

func TestWholeExchangeRunsInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, listener := onPipes(t)
		defer closeServer(t, server)
		assert.Equal(t, "localhost:8883", server.Endpoint())

		start := time.Now()
		c := dialPipe(t, server, listener, "device-1")
		_, certificate := c.provision(`{"SerialNumber":"SN-1"}`)

		device, err := handshake(t, listener.Connect(t), clientConfig(server, certificate))
		require.NoError(t, err)
		device.connect("SN-1")
		assert.Zero(t, time.Since(start), "nothing in it waits for the clock")
	})
}

func TestDelayIsVirtualAndHoldsUpNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, listener := onPipes(t)
		defer closeServer(t, server)
		server.Inject(fleetprovtest.OpCreateKeysAndCertificate, fleetprovtest.Fault{Delay: 10 * time.Second})

		slow := dialPipe(t, server, listener, "slow")
		slow.subscribe(flowFilters...)
		fast := dialPipe(t, server, listener, "fast")
		fast.subscribe(flowFilters...)

		start := time.Now()
		slow.publish(createTopic, "")
		fast.createKeys()
		slow.ping()
		assert.Zero(t, time.Since(start))
		assert.Equal(t, createTopic+"/accepted", slow.message().TopicName)
		assert.Equal(t, 10*time.Second, time.Since(start))
	})
}
