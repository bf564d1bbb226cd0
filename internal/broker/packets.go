package broker

import (
	"time"

	packets5 "github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.mqtt.golang/packets"
)

// Message is what a client has published, with the properties that MQTT 5 gave it.
type Message struct {
	packet     *packets.PublishPacket
	properties *packets5.Properties
	from       *Conn
}

// The other types of this file are packets of MQTT 3.1.1 with what MQTT 5 adds to
// them.

// connack is the CONNACK of a connection that was accepted with a keep-alive.
type connack struct {
	*packets.ConnackPacket
	keepAlive time.Duration
}

// message is a PUBLISH with the properties that its receivers get.
type message struct {
	*packets.PublishPacket
	properties *packets5.Properties // nil: none
}

// subscribe is a SUBSCRIBE with the options of each filter.
type subscribe struct {
	*packets.SubscribePacket
	options map[string]packets5.SubOptions
}

// unsuback is an UNSUBACK for a number of filters.
type unsuback struct {
	*packets.UnsubackPacket
	filters int
}

// farewell is the last packet to a client of MQTT 5 whose connection ends for a
// reason: a CONNACK if that is still owed, or else a DISCONNECT.
type farewell struct {
	*packets.DisconnectPacket
	code     byte
	answered bool // with a CONNACK
}
