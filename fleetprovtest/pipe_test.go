package fleetprovtest_test

import (
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov/fleetprovtest"
)

// pipeListener hands out the far ends of pipes.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipeListener() *pipeListener {
	return &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (l *pipeListener) dial() net.Conn {
	near, far := net.Pipe()
	l.conns <- far
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

// onPipes starts a server on pipes, inside a bubble.
func onPipes(t *testing.T) (*fleetprovtest.Server, *pipeListener) {
	t.Helper()
	server := fleetprovtest.NewUnstartedServer()
	server.Listener.Close()
	listener := newPipeListener()
	server.Listener = listener
	server.Start()
	return server, listener
}

func dialPipe(t *testing.T, server *fleetprovtest.Server, listener *pipeListener, clientID string) *client {
	t.Helper()
	c, err := handshake(t, listener.dial(), clientConfig(server, server.ClaimCertificate()))
	require.NoError(t, err)
	c.connect(clientID)
	return c
}

func TestWholeExchangeRunsInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, listener := onPipes(t)
		defer server.Close()
		assert.Equal(t, "localhost:8883", server.Endpoint())

		start := time.Now()
		c := dialPipe(t, server, listener, "device-1")
		_, certificate := c.provision(`{"SerialNumber":"SN-1"}`)

		device, err := handshake(t, listener.dial(), clientConfig(server, certificate))
		require.NoError(t, err)
		device.connect("SN-1")
		assert.Zero(t, time.Since(start), "nothing in it waits for the clock")
	})
}

func TestDelayIsVirtualAndHoldsUpNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, listener := onPipes(t)
		defer server.Close()
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

func TestCloseInterruptsADelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, listener := onPipes(t)
		server.Inject(fleetprovtest.OpSubscribe, fleetprovtest.Fault{Delay: time.Hour})
		c := dialPipe(t, server, listener, "device-1")
		c.sendSubscribe(1, 1, flowFilters...)
		synctest.Wait()

		start := time.Now()
		server.Close()
		assert.Zero(t, time.Since(start))
	})
}

func TestTokenExpiresAfterAnHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, listener := onPipes(t)
		defer server.Close()
		c := dialPipe(t, server, listener, "device-1")
		c.conn.SetDeadline(time.Time{})
		c.subscribe(flowFilters...)
		keys := c.createKeys()
		request := `{"certificateOwnershipToken":"` + keys.CertificateOwnershipToken + `"}`

		for range 59 { // the session is kept alive
			<-time.After(time.Minute)
			c.ping()
		}
		accepted := c.request(registerTopic, request)
		assert.Equal(t, registerTopic+"/accepted", accepted.TopicName)
		<-time.After(time.Minute)
		rejected := c.request(registerTopic, request)
		assert.Equal(t, registerTopic+"/rejected", rejected.TopicName)
		assert.Contains(t, string(rejected.Payload), `"errorCode":"InvalidCertificateOwnershipToken"`)
	})
}

func TestConnectionEndsWhenTheClientIsSilent(t *testing.T) {
	for _, test := range []struct {
		name      string
		keepAlive uint16
		silence   time.Duration
	}{
		{"after one and a half times the keep-alive", 60, 90 * time.Second},
		{"which is 30 s if less is asked for", 5, 45 * time.Second},
		{"1200 s if none is", 0, 30 * time.Minute},
		{"and 1200 s if more is", 65535, 30 * time.Minute},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server, listener := onPipes(t)
				defer server.Close()
				c, err := handshake(t, listener.dial(), clientConfig(server, server.ClaimCertificate()))
				require.NoError(t, err)
				c.conn.SetDeadline(time.Time{})
				p := connectPacket("device-1")
				p.Keepalive = test.keepAlive
				c.send(p)
				expect[*packets.ConnackPacket](c)
				start := time.Now()
				c.closed()
				assert.Equal(t, test.silence, time.Since(start))
			})
		})
	}
}

func TestFirstPacketIsAwaitedThirtySeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, listener := onPipes(t)
		defer server.Close()
		start := time.Now()
		c, err := handshake(t, listener.dial(), clientConfig(server, server.ClaimCertificate()))
		require.NoError(t, err)
		c.conn.SetDeadline(time.Time{})
		c.closed()
		assert.Equal(t, 30*time.Second, time.Since(start))
	})
}
