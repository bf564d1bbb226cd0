package broker

import (
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
	"github.com/stretchr/testify/assert"

	"github.com/fleetprov/fleetprov/internal/tests/pipe"
)

// acceptAll is a Handler for tests that only connect.
type acceptAll struct{}

func (acceptAll) Connect(c *Conn, _ *packets.ConnectPacket) { c.Accept(0) }
func (acceptAll) Subscribe(*Conn, *packets.SubscribePacket) {}
func (acceptAll) Publish(*Conn, *packets.PublishPacket)     {}

func TestEndedConnectionsAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		listener := pipe.Listen()
		server := &Server{Handler: acceptAll{}}
		defer server.Close()
		go server.Serve(listener)

		connect := func() net.Conn {
			near := listener.Connect(t)
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
