package fleetprovtest_test

import (
	"context"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov/fleetprovtest"
)

// onPipesUnstarted makes a server on pipes, inside a bubble.
func onPipesUnstarted(t *testing.T) (*fleetprovtest.Server, *fleetprovtest.PipeListener) {
	t.Helper()
	server := fleetprovtest.NewUnstartedServer()
	server.Listener.Close()
	listener := fleetprovtest.NewPipeListener()
	server.Listener = listener
	return server, listener
}

// onPipes starts a server on pipes, inside a bubble.
func onPipes(t *testing.T) (*fleetprovtest.Server, *fleetprovtest.PipeListener) {
	t.Helper()
	server, listener := onPipesUnstarted(t)
	server.Start()
	return server, listener
}

// connectPipe opens a connection below TLS.
func connectPipe(t *testing.T, listener *fleetprovtest.PipeListener) net.Conn {
	t.Helper()
	conn, err := listener.Dial(t.Context(), "tcp", "localhost:8883")
	require.NoError(t, err)
	return conn
}

func dialPipe(t *testing.T, server *fleetprovtest.Server, listener *fleetprovtest.PipeListener, clientID string) *client {
	t.Helper()
	c, err := handshake(t, connectPipe(t, listener), clientConfig(server, server.ClaimCertificate()))
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

		device, err := handshake(t, connectPipe(t, listener), clientConfig(server, certificate))
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

func TestPipeListener(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		listener := fleetprovtest.NewPipeListener()
		assert.Equal(t, "pipe", listener.Addr().String())

		accepted := make(chan net.Conn)
		go func() {
			conn, err := listener.Accept()
			assert.NoError(t, err)
			accepted <- conn
		}()
		near := connectPipe(t, listener)
		far := <-accepted
		go far.Write([]byte("hello"))
		heard := make([]byte, 5)
		_, err := near.Read(heard)
		require.NoError(t, err)
		assert.Equal(t, "hello", string(heard))

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = listener.Dial(ctx, "tcp", "localhost:8883")
		assert.ErrorIs(t, err, context.DeadlineExceeded, "nobody accepts it")

		ended := make(chan error)
		go func() {
			_, err := listener.Accept()
			ended <- err
		}()
		synctest.Wait()
		require.NoError(t, listener.Close())
		require.NoError(t, listener.Close())
		assert.ErrorIs(t, <-ended, net.ErrClosed)
		_, err = listener.Dial(t.Context(), "tcp", "localhost:8883")
		assert.ErrorIs(t, err, net.ErrClosed)
		near.SetDeadline(time.Now().Add(time.Second))
		_, err = near.Write([]byte("x"))
		assert.ErrorIs(t, err, os.ErrDeadlineExceeded, "what is open stays open")
		near.Close()
	})
}
