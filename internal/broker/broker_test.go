package broker

import (
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
	"github.com/stretchr/testify/assert"
)

// acceptAll is a Handler for tests that only connect.
type acceptAll struct{}

func (acceptAll) Connect(c *Conn, _ *packets.ConnectPacket) { c.Accept(0) }
func (acceptAll) Subscribe(*Conn, *packets.SubscribePacket) {}
func (acceptAll) Publish(*Conn, *packets.PublishPacket)     {}

// pipes accepts what is sent to it, until it is closed.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	if conn, ok := <-p; ok {
		return conn, nil
	}
	return nil, net.ErrClosed
}

func (p pipes) Close() error   { close(p); return nil }
func (p pipes) Addr() net.Addr { return nil }

func TestEndedConnectionsAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		listener := make(pipes)
		server := &Server{Handler: acceptAll{}}
		defer server.Close()
		go server.Serve(listener)

		connect := func() net.Conn {
			near, far := net.Pipe()
			listener <- far
			p := packets.NewControlPacket(packets.Connect).(*packets.ConnectPacket)
			p.ProtocolName, p.ProtocolVersion, p.ClientIdentifier = "MQTT", 4, "device"
			p.Write(near)
			synctest.Wait()
			return near
		}
		first := connect()
		second := connect()
		<-time.After(lingering)
		synctest.Wait()
		assert.Len(t, server.conns, 1, "the second took over")
		assert.Len(t, server.clients, 1)

		first.Close()
		second.Close()
		synctest.Wait()
		assert.Empty(t, server.conns)
		assert.Empty(t, server.clients)
	})
}
