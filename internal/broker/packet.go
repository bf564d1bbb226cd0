package broker

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

// maxPayload is the largest payload of a message, 128 KB as with AWS IoT.
const maxPayload = 128 << 10

// maxRemainingLength leaves room for a topic and a packet id beside the
// largest payload. Anything longer is refused before memory is taken for it.
const maxRemainingLength = maxPayload + 2 + 256 + 2

var errMalformed = errors.New("broker: malformed packet")

// readPacket reads one packet and checks what the paho decoder does not: the
// length before it allocates, fields cut short (which it pads with zeros),
// bytes left over, flags, packet ids, topics.
func readPacket(r *bufio.Reader) (packets.ControlPacket, error) {
	first, err := r.ReadByte()
	if err != nil {
		return nil, err
	}
	length, err := readRemainingLength(r)
	if err != nil {
		return nil, err
	}
	frame := binary.AppendUvarint([]byte{first}, uint64(length))
	head := len(frame)
	frame = append(frame, make([]byte, length)...)
	if _, err := io.ReadFull(r, frame[head:]); err != nil {
		return nil, err
	}
	p, err := packets.ReadPacket(bytes.NewReader(frame))
	if err != nil {
		return nil, err
	}
	// A packet that does not encode to the bytes it came from was not one.
	var again bytes.Buffer
	if err := p.Write(&again); err != nil || !bytes.Equal(again.Bytes(), frame) || !valid(p) {
		return nil, errMalformed
	}
	return p, nil
}

func readRemainingLength(r *bufio.Reader) (int, error) {
	// The variable length of MQTT 3.1.1 section 2.2.3 is a base 128 varint of
	// at most four bytes; 4 bytes hold more than is allowed here.
	length, shift := 0, 0
	for {
		b, err := r.ReadByte()
		if err != nil {
			return 0, err
		}
		length |= int(b&0x7f) << shift
		if length > maxRemainingLength || shift > 21 {
			return 0, errMalformed
		}
		if b&0x80 == 0 {
			return length, nil
		}
		shift += 7
	}
}

// valid reports whether a packet from a client keeps the rules of MQTT 3.1.1
// that its encoding does not enforce.
func valid(p packets.ControlPacket) bool {
	switch p := p.(type) {
	case *packets.ConnectPacket:
		return validString(p.ClientIdentifier)
	case *packets.PublishPacket:
		return p.Qos <= 2 && (p.Qos == 0 || p.MessageID != 0) &&
			len(p.Payload) <= maxPayload &&
			validString(p.TopicName) && p.TopicName != "" && !strings.ContainsAny(p.TopicName, "+#")
	case *packets.SubscribePacket:
		for _, qos := range p.Qoss {
			if qos > 2 {
				return false
			}
		}
		return p.MessageID != 0 && validFilters(p.Topics)
	case *packets.UnsubscribePacket:
		return p.MessageID != 0 && validFilters(p.Topics)
	}
	return true
}

func validFilters(filters []string) bool {
	for _, filter := range filters {
		if !ValidFilter(filter) {
			return false
		}
	}
	return len(filters) > 0
}

// validString reports whether s may stand in a packet (MQTT 3.1.1 section 1.5.3).
func validString(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsRune(s, 0)
}
