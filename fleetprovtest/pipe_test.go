package fleetprovtest_test

import (
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov/fleetprovtest"
)

// pipeListener accepts the far ends of pipes.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipeListener() *pipeListener {
	return &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
}

// dial returns the near end of a pipe whose far end the server has accepted.
func (l *pipeListener) dial(t testing.TB) net.Conn {
	t.Helper()
	near, far := net.Pipe()
	select {
	case l.conns <- far:
	case <-time.After(patience):
		require.FailNow(t, "the server accepts no connection")
	}
	return near
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

// onPipesUnstarted makes a server on pipes, inside a bubble.
func onPipesUnstarted(t *testing.T) (*fleetprovtest.Server, *pipeListener) {
	t.Helper()
	server := fleetprovtest.NewUnstartedServer()
	server.Listener.Close()
	listener := newPipeListener()
	server.Listener = listener
	return server, listener
}

// onPipes starts a server on pipes, inside a bubble.
func onPipes(t *testing.T) (*fleetprovtest.Server, *pipeListener) {
	t.Helper()
	server, listener := onPipesUnstarted(t)
	server.Start()
	return server, listener
}

func dialPipe(t *testing.T, server *fleetprovtest.Server, listener *pipeListener, clientID string) *client {
	t.Helper()
	c, err := handshake(t, listener.dial(t), clientConfig(server, server.ClaimCertificate()))
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

		device, err := handshake(t, listener.dial(t), clientConfig(server, certificate))
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
