package broker_test

import (
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
	"github.com/stretchr/testify/assert"

	"github.com/fleetprov/fleetprov/fleetprovtest"
	"github.com/fleetprov/fleetprov/internal/broker"
)

// acceptAll is a Handler for tests that only connect.
type acceptAll struct{}

func (acceptAll) Connect(c *broker.Conn, _ *packets.ConnectPacket) { c.Accept(0) }
func (acceptAll) Subscribe(*broker.Conn, *packets.SubscribePacket) {}
func (acceptAll) Publish(*broker.Conn, *packets.PublishPacket)     {}

func TestEndedConnectionsAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		listener := fleetprovtest.NewPipeListener()
		server := &broker.Server{Handler: acceptAll{}}
		defer server.Close()
		go server.Serve(listener)

		connect := func() net.Conn {
			near := connectPipe(t, listener)
			p := packets.NewControlPacket(packets.Connect).(*packets.ConnectPacket)
			p.ProtocolName, p.ProtocolVersion, p.ClientIdentifier = "MQTT", 4, "device"
			p.Write(near)
			synctest.Wait()
			return near
		}
		first := connect()
		second := connect()
		<-time.After(broker.Lingering)
		synctest.Wait()
		conns, clients := server.Held()
		assert.Equal(t, 1, conns, "the second took over")
		assert.Equal(t, 1, clients)

		first.Close()
		second.Close()
		synctest.Wait()
		conns, clients = server.Held()
		assert.Zero(t, conns)
		assert.Zero(t, clients)
	})
}
