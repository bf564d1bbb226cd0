package broker_test

import (
	"crypto/tls"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov/fleetprovtest"
	"github.com/fleetprov/fleetprov/internal/broker"
)

// connectPipe opens a connection without a network.
func connectPipe(t *testing.T, listener *fleetprovtest.PipeListener) net.Conn {
	t.Helper()
	conn, err := listener.Dial(t.Context(), "", "")
	require.NoError(t, err)
	return conn
}

// patience is how long a client waits to read or write before its test fails. Nothing
// takes that long unless it hangs.
const patience = 20 * time.Second

// permissive accepts everything, and sends a message to all who subscribed.
type permissive struct {
	conns   sync.Map                                   // of what was accepted or may yet be
	connect func(*broker.Conn, *packets.ConnectPacket) // nil: accept
	publish func(*broker.Conn, *packets.PublishPacket) // nil: relay
}

func (h *permissive) Connect(c *broker.Conn, p *packets.ConnectPacket) {
	h.conns.Store(c, nil)
	if h.connect != nil {
		h.connect(c, p)
		return
	}
	accept(c, p)
}

func accept(c *broker.Conn, p *packets.ConnectPacket) {
	c.Accept(time.Duration(p.Keepalive) * time.Second)
	c.Send(packets.NewControlPacket(packets.Connack))
}

func (h *permissive) Subscribe(c *broker.Conn, p *packets.SubscribePacket) {
	ack := packets.NewControlPacket(packets.Suback).(*packets.SubackPacket)
	ack.MessageID = p.MessageID
	for i, filter := range p.Topics {
		qos := min(p.Qoss[i], 1)
		c.Grant(filter, qos)
		ack.ReturnCodes = append(ack.ReturnCodes, qos)
	}
	c.Send(ack)
}

func (h *permissive) Publish(c *broker.Conn, p *packets.PublishPacket) {
	if h.publish != nil {
		h.publish(c, p)
		return
	}
	c.Acknowledge(p)
	m := c.Received(p)
	h.conns.Range(func(to, _ any) bool {
		to.(*broker.Conn).Relay(m)
		return true
	})
}

// start serves on a loopback port until the test ends.
func start(t *testing.T, handler *permissive, config *tls.Config) (server *broker.Server, addr string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	return serve(t, handler, config, listener), listener.Addr().String()
}

func serve(t *testing.T, handler *permissive, config *tls.Config, listener net.Listener) *broker.Server {
	server := &broker.Server{Handler: handler, TLS: config}
	var serving sync.WaitGroup
	serving.Go(func() { server.Serve(listener) })
	t.Cleanup(func() {
		within(t, "the end of the server", func() {
			server.Close()
			serving.Wait()
		})
	})
	return server
}

// within fails the test if f does not return in time.
func within(t testing.TB, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(patience):
		require.FailNow(t, "waited in vain for "+what)
	}
}

type client struct {
	t    *testing.T
	conn net.Conn
}

func dial(t *testing.T, addr string) *client {
	t.Helper()
	conn, err := net.DialTimeout("tcp", addr, patience)
	require.NoError(t, err)
	return newClient(t, conn)
}

func newClient(t *testing.T, conn net.Conn) *client {
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	return &client{t: t, conn: conn}
}

// connected dials and connects without a keep-alive.
func connected(t *testing.T, addr, clientID string) *client {
	t.Helper()
	c := dial(t, addr)
	c.connect(clientID)
	return c
}

func (c *client) connect(clientID string) {
	c.t.Helper()
	c.send(connectPacket(clientID))
	expect[*packets.ConnackPacket](c)
}

func connectPacket(clientID string) *packets.ConnectPacket {
	p := packets.NewControlPacket(packets.Connect).(*packets.ConnectPacket)
	p.ProtocolName, p.ProtocolVersion, p.CleanSession, p.ClientIdentifier = "MQTT", 4, true, clientID
	return p
}

func publishPacket(topic, payload string, qos byte) *packets.PublishPacket {
	p := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
	p.TopicName, p.Payload, p.Qos = topic, []byte(payload), qos
	if qos > 0 {
		p.MessageID = 7
	}
	return p
}

func (c *client) send(p packets.ControlPacket) {
	c.t.Helper()
	require.NoError(c.t, p.Write(c.conn))
}

func (c *client) subscribe(filter string, qos byte) {
	c.t.Helper()
	p := packets.NewControlPacket(packets.Subscribe).(*packets.SubscribePacket)
	p.MessageID, p.Topics, p.Qoss = 3, []string{filter}, []byte{qos}
	c.send(p)
	require.Equal(c.t, uint16(3), expect[*packets.SubackPacket](c).MessageID)
}

// ping proves that the server has nothing else to say so far.
func (c *client) ping() {
	c.t.Helper()
	c.send(packets.NewControlPacket(packets.Pingreq))
	expect[*packets.PingrespPacket](c)
}

func (c *client) closed() {
	c.t.Helper()
	p, err := packets.ReadPacket(c.conn)
	require.Error(c.t, err, "the server sent %v", p)
	require.NotErrorIs(c.t, err, os.ErrDeadlineExceeded, "the server left the connection open")
}

func expect[P packets.ControlPacket](c *client) P {
	c.t.Helper()
	p, err := packets.ReadPacket(c.conn)
	require.NoError(c.t, err)
	require.IsType(c.t, *new(P), p)
	return p.(P)
}
