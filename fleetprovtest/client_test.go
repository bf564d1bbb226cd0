package fleetprovtest_test

import (
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov/fleetprovtest"
)

// patience is how long a client waits to read or write before its test fails. Nothing
// takes that long unless it hangs.
const patience = 20 * time.Second

// closeServer closes a server, which must end by itself.
func closeServer(t testing.TB, server *fleetprovtest.Server) {
	t.Helper()
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		server.Close()
	}()
	select {
	case <-closed:
	case <-time.After(patience):
		t.Errorf("Close does not return")
	}
}

// client speaks MQTT packet by packet, with no library in between.
type client struct {
	t    *testing.T
	conn *tls.Conn
}

// dial completes the TLS handshake as far as a client can see it.
func dial(t *testing.T, server *fleetprovtest.Server, config *tls.Config) (*client, error) {
	t.Helper()
	raw, err := net.DialTimeout("tcp", server.Listener.Addr().String(), patience)
	require.NoError(t, err)
	return handshake(t, raw, config)
}

func handshake(t *testing.T, raw net.Conn, config *tls.Config) (*client, error) {
	t.Helper()
	t.Cleanup(func() { raw.Close() })
	c := &client{t: t, conn: tls.Client(raw, config)}
	c.wait(patience)
	if err := c.conn.Handshake(); err != nil {
		return nil, err
	}
	return c, nil
}

// wait sets how long the next reads and writes may take.
func (c *client) wait(most time.Duration) { c.conn.SetDeadline(time.Now().Add(most)) }

func clientConfig(server *fleetprovtest.Server, certificate tls.Certificate) *tls.Config {
	return &tls.Config{
		ServerName: "localhost",
		RootCAs:    server.RootCAs(),
		// Unlike Certificates, this is sent even if the server's hint excludes it.
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return &certificate, nil
		},
	}
}

// connectAs opens a connection that the server has accepted.
func connectAs(t *testing.T, server *fleetprovtest.Server, certificate tls.Certificate, clientID string) *client {
	t.Helper()
	c, err := dial(t, server, clientConfig(server, certificate))
	require.NoError(t, err)
	c.connect(clientID)
	return c
}

// connectClaim is connectAs with the claim certificate.
func connectClaim(t *testing.T, server *fleetprovtest.Server) *client {
	t.Helper()
	return connectAs(t, server, server.ClaimCertificate(), "claim-"+t.Name())
}

func (c *client) connect(clientID string) {
	c.t.Helper()
	c.sendConnect(clientID)
	ack := expect[*packets.ConnackPacket](c)
	require.Equal(c.t, byte(packets.Accepted), ack.ReturnCode)
}

func (c *client) sendConnect(clientID string) {
	c.t.Helper()
	c.send(connectPacket(clientID))
}

func connectPacket(clientID string) *packets.ConnectPacket {
	p := packets.NewControlPacket(packets.Connect).(*packets.ConnectPacket)
	p.ProtocolName, p.ProtocolVersion, p.CleanSession = "MQTT", 4, true
	p.ClientIdentifier, p.Keepalive = clientID, 60
	return p
}

func (c *client) send(p packets.ControlPacket) {
	c.t.Helper()
	c.wait(patience)
	require.NoError(c.t, p.Write(c.conn))
}

func (c *client) sendSubscribe(id uint16, qos byte, filters ...string) {
	c.t.Helper()
	p := packets.NewControlPacket(packets.Subscribe).(*packets.SubscribePacket)
	p.MessageID, p.Topics = id, filters
	for range filters {
		p.Qoss = append(p.Qoss, qos)
	}
	c.send(p)
}

// subscribe subscribes at QoS 1 and requires that it is granted.
func (c *client) subscribe(filters ...string) {
	c.t.Helper()
	c.sendSubscribe(1, 1, filters...)
	ack := expect[*packets.SubackPacket](c)
	require.Equal(c.t, uint16(1), ack.MessageID)
	for _, code := range ack.ReturnCodes {
		require.Equal(c.t, byte(1), code)
	}
	require.Len(c.t, ack.ReturnCodes, len(filters))
}

func (c *client) sendPublish(id uint16, topic, payload string) {
	c.t.Helper()
	p := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
	p.Qos, p.MessageID, p.TopicName, p.Payload = 1, id, topic, []byte(payload)
	c.send(p)
}

// publish publishes at QoS 1 and waits for the acknowledgement.
func (c *client) publish(topic, payload string) {
	c.t.Helper()
	c.sendPublish(2, topic, payload)
	require.Equal(c.t, uint16(2), expect[*packets.PubackPacket](c).MessageID)
}

// message waits for a message and acknowledges it.
func (c *client) message() *packets.PublishPacket {
	c.t.Helper()
	p := expect[*packets.PublishPacket](c)
	if p.Qos == 1 {
		ack := packets.NewControlPacket(packets.Puback).(*packets.PubackPacket)
		ack.MessageID = p.MessageID
		c.send(ack)
	}
	return p
}

// request publishes and returns the answer.
func (c *client) request(topic, payload string) *packets.PublishPacket {
	c.t.Helper()
	c.publish(topic, payload)
	return c.message()
}

// ping proves that the server has sent nothing else so far.
func (c *client) ping() {
	c.t.Helper()
	c.send(packets.NewControlPacket(packets.Pingreq))
	expect[*packets.PingrespPacket](c)
}

// writes sends bytes, given in hexadecimal.
func (c *client) writes(octets string) {
	c.t.Helper()
	c.wait(patience)
	_, err := c.conn.Write(unhex(c.t, octets))
	require.NoError(c.t, err)
}

// reads requires that the server sends these bytes next, given in hexadecimal.
func (c *client) reads(octets string) {
	c.t.Helper()
	want := unhex(c.t, octets)
	got := make([]byte, len(want))
	c.wait(patience)
	_, err := io.ReadFull(c.conn, got)
	require.NoError(c.t, err)
	require.Equal(c.t, octets, fmt.Sprintf("% x", got))
}

func unhex(t *testing.T, octets string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(octets, " ", ""))
	require.NoError(t, err)
	return b
}

// silent requires that the server sends nothing for that long, and leaves the
// connection open.
func (c *client) silent(d time.Duration) {
	c.t.Helper()
	c.wait(d)
	n, err := c.conn.Read(make([]byte, 1))
	require.Zero(c.t, n, "the server sent something")
	require.ErrorIs(c.t, err, os.ErrDeadlineExceeded)
}

// closed requires that the server closes the connection and sends nothing more.
func (c *client) closed() {
	c.t.Helper()
	c.closedWithin(patience)
}

// closedAfter requires that the server closes the connection after exactly that
// time, and sends nothing before. It is for bubbles.
func (c *client) closedAfter(d time.Duration) {
	c.t.Helper()
	start := time.Now()
	c.closedWithin(d + patience)
	require.Equal(c.t, d, time.Since(start))
}

func (c *client) closedWithin(d time.Duration) {
	c.t.Helper()
	c.wait(d)
	p, err := packets.ReadPacket(c.conn)
	require.Error(c.t, err, "the server sent %v", p)
	require.NotErrorIs(c.t, err, os.ErrDeadlineExceeded, "the server left the connection open")
}

// expect reads the next packet, which must be of type P.
func expect[P packets.ControlPacket](c *client) P {
	c.t.Helper()
	c.wait(patience)
	p, err := packets.ReadPacket(c.conn)
	require.NoError(c.t, err)
	require.IsType(c.t, *new(P), p)
	return p.(P)
}
