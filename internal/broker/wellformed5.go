package broker

import (
	"encoding/binary"

	"github.com/eclipse/paho.golang/packets"
)

// wellFormed5 reports whether the fields of a packet of MQTT 5 from a client
// fill it exactly. The paho decoder accepts a packet that is cut short, one with
// bytes left over and one with a property given twice, and where an int has 32 bits it
// panics on a length that is too large.
func wellFormed5(f frame) bool {
	flags := byte(0)
	body := fields{rest: f.body}
	switch f.packetType() {
	case packets.CONNECT:
		body.connect()
	case packets.PUBLISH:
		flags = f.first & 0xf
		body.text() // the topic
		if qos := flags >> 1 & 3; qos > 0 {
			body.take(2)
		}
		body.properties()
		body.rest = nil // the payload
	case packets.PUBACK:
		body.take(2)
		body.reason()
	case packets.SUBSCRIBE, packets.UNSUBSCRIBE:
		flags = 2
		body.take(2)
		body.properties()
		for len(body.rest) > 0 {
			body.text()
			if f.packetType() == packets.SUBSCRIBE && body.take(1)[0]&0xc0 != 0 {
				body.fail()
			}
		}
	case packets.PINGREQ:
	case packets.DISCONNECT:
		body.reason()
	default:
		return false
	}
	return f.first&0xf == flags && len(body.rest) == 0 && !body.bad
}

// fields takes the fields of a packet from its beginning (MQTT 5 section 1.5).
type fields struct {
	rest []byte
	bad  bool // a field was malformed; rest is empty then
}

func (f *fields) fail() { f.rest, f.bad = nil, true }

func (f *fields) take(n int) []byte {
	if n > len(f.rest) {
		f.fail()
		return make([]byte, min(n, 4)) // enough for a number
	}
	taken := f.rest[:n]
	f.rest = f.rest[n:]
	return taken
}

func (f *fields) binary() []byte { return f.take(int(binary.BigEndian.Uint16(f.take(2)))) }

func (f *fields) text() {
	if !validString(string(f.binary())) {
		f.fail()
	}
}

// length takes a variable byte integer, in as few bytes as it needs.
func (f *fields) length() int {
	n := 0
	for shift := 0; shift <= 21; shift += 7 {
		b := f.take(1)[0]
		n |= int(b&0x7f) << shift
		if b&0x80 == 0 {
			if b == 0 && shift > 0 {
				break
			}
			return n
		}
	}
	f.fail()
	return 0
}

func (f *fields) connect() {
	f.text()  // the protocol's name
	f.take(1) // its level
	flags := f.take(1)[0]
	f.take(2) // the keep-alive
	f.properties()
	f.text() // the client id
	will, user, password := flags&0x04 != 0, flags&0x80 != 0, flags&0x40 != 0
	if flags&0x01 != 0 || !will && flags&0x38 != 0 || flags&0x18 == 0x18 {
		f.fail()
	}
	if will {
		f.properties()
		f.text()
		f.binary()
	}
	if user {
		f.text()
	}
	if password {
		f.binary()
	}
}

// reason takes a reason code and properties, both of which may be left out.
func (f *fields) reason() {
	if len(f.rest) > 0 {
		f.take(1)
	}
	if len(f.rest) > 0 {
		f.properties()
	}
}

// properties takes the properties of a packet (MQTT 5 section 2.2.2). The paho
// decoder knows which a packet may have.
func (f *fields) properties() {
	block := fields{rest: f.take(f.length())}
	var seen uint64
	for len(block.rest) > 0 {
		id := block.take(1)[0]
		if id != packets.PropUser && seen&(1<<id) != 0 {
			block.fail()
			break
		}
		seen |= 1 << id
		block.property(id)
	}
	if block.bad {
		f.fail()
	}
}

// property takes the value of a property that a client may send (MQTT 5 section
// 2.2.2.2).
func (f *fields) property(id byte) {
	switch id {
	case packets.PropPayloadFormat, packets.PropRequestProblemInfo, packets.PropRequestResponseInfo:
		if f.take(1)[0] > 1 {
			f.fail()
		}
	case packets.PropReceiveMaximum, packets.PropTopicAliasMaximum, packets.PropTopicAlias:
		f.take(2)
	case packets.PropMessageExpiry, packets.PropSessionExpiryInterval, packets.PropWillDelayInterval,
		packets.PropMaximumPacketSize:
		f.take(4)
	case packets.PropSubscriptionIdentifier:
		f.length()
	case packets.PropCorrelationData, packets.PropAuthData:
		f.binary()
	case packets.PropUser:
		f.text()
		f.text()
	default: // all others that a client may send are text
		f.text()
	}
}
