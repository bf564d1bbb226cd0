package broker

import (
	"bytes"
	"encoding/binary"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

// codec311 is the codec of MQTT 3.1.1.
type codec311 struct{}

// decode checks what the paho decoder does not: fields cut short (which it pads
// with zeros), bytes left over, flags, packet ids, topics.
func (codec311) decode(f frame) (packets.ControlPacket, error) {
	whole := binary.AppendUvarint([]byte{f.first}, uint64(len(f.body)))
	whole = append(whole, f.body...)
	p, err := packets.ReadPacket(bytes.NewReader(whole))
	if err != nil {
		return nil, err
	}
	// A packet that does not encode to the bytes it came from is malformed.
	var again bytes.Buffer
	if err := p.Write(&again); err != nil || !bytes.Equal(again.Bytes(), whole) || !valid(p) {
		return nil, errMalformed
	}
	if publish, ok := p.(*packets.PublishPacket); ok && len(publish.Payload) > maxPayload {
		return nil, errPayload
	}
	return p, nil
}

func (codec311) encode(p packets.ControlPacket) []byte {
	if _, ok := p.(*farewell); ok { // only clients send DISCONNECT (MQTT 3.1.1 section 3.14)
		return nil
	}
	var b bytes.Buffer
	p.Write(&b)
	return b.Bytes()
}
