package broker

import "github.com/eclipse/paho.mqtt.golang/packets"

// codec translates between packets as they are sent and those that the package
// works with: those of MQTT 3.1.1 that a [Handler] sees, and those of packets.go.
type codec interface {
	// decode also makes the checks that paho's decoders, which trust their input,
	// leave out. Its error is a [Reason] where MQTT 5 has a code for it.
	decode(frame) (packets.ControlPacket, error)
	// encode returns nothing for a packet that must not be sent.
	encode(packets.ControlPacket) []byte
}

// codecFor returns the codec for a connection that begins with f.
func codecFor(f frame) codec {
	const level5 = "\x00\x04MQTT\x05" // MQTT 5 section 3.1.2
	if f.packetType() == packets.Connect && len(f.body) >= len(level5) && string(f.body[:len(level5)]) == level5 {
		return &codec5{}
	}
	return codec311{}
}
