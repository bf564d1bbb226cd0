package mqttsession

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

const (
	// maxPacket is the largest remaining length AWS IoT can send: a payload of
	// 128 KB on a topic of 256 bytes, with its length and a packet id (AWS
	// general reference, AWS IoT Core message broker limits).
	maxPacket = 128*1024 + 2 + 256 + 2

	// maxReceived limits how much one session receives, in bytes. An exchange
	// needs less than ten kilobytes.
	maxReceived = 1 << 20
)

// guard is the connection that paho gets. It passes a packet on only when it has all of
// it and has checked that the client can expect it now, because paho allocates as much
// as a header announces, uses the content of an acknowledgement as an index, and
// reports a refused CONNECT as a success.
//
// paho reads from one goroutine at a time and writes whole packets.
type guard struct {
	net.Conn
	in        *bufio.Reader
	received  int
	connected bool
	packet    []byte // what is left of a checked packet

	// deliver is called with each message as it is read: in order, and before
	// whatever follows it, whether that is an acknowledgement or the end of the
	// connection. paho would deliver it concurrently with them.
	deliver func(topic string, payload []byte)

	// writing is held while SUBSCRIBE is written. paho panics if a packet is
	// acknowledged at the moment when writing it fails.
	writing sync.Mutex
	// subscribe is the SUBSCRIBE that was written and not acknowledged yet.
	subscribe *packets.SubscribePacket
}

func newGuard(conn net.Conn, deliver func(topic string, payload []byte)) *guard {
	return &guard{Conn: conn, in: bufio.NewReader(conn), deliver: deliver}
}

// The guard ignores deadlines: a caller whose context ends closes the connection.

func (g *guard) SetDeadline(time.Time) error      { return nil }
func (g *guard) SetReadDeadline(time.Time) error  { return nil }
func (g *guard) SetWriteDeadline(time.Time) error { return nil }

func (g *guard) Read(p []byte) (int, error) {
	for len(g.packet) == 0 {
		packet, err := g.next()
		if err != nil {
			return 0, err
		}
		g.packet = packet
	}
	n := copy(p, g.packet)
	g.packet = g.packet[n:]
	return n, nil
}

func (g *guard) Write(p []byte) (int, error) {
	if len(p) > 0 && p[0]>>4 == packets.Subscribe {
		return g.writeSubscribe(p)
	}
	n, err := g.Conn.Write(p)
	if err != nil && !g.connected {
		err = g.reason(err)
	}
	return n, err
}

func (g *guard) writeSubscribe(p []byte) (int, error) {
	packet, err := packets.ReadPacket(bytes.NewReader(p))
	if err != nil {
		return 0, err
	}
	g.writing.Lock()
	defer g.writing.Unlock()
	n, err := g.Conn.Write(p)
	if err == nil {
		g.subscribe = packet.(*packets.SubscribePacket)
	}
	return n, err
}

// subscribed returns the SUBSCRIBE that a SUBACK can acknowledge, once.
func (g *guard) subscribed() *packets.SubscribePacket {
	g.writing.Lock()
	defer g.writing.Unlock()
	subscribe := g.subscribe
	g.subscribe = nil
	return subscribe
}

// reason returns why CONNECT could not be written, if the server has said so and that
// has not been read yet: with TLS 1.3 a server refuses the client's certificate after
// the client has finished its handshake.
func (g *guard) reason(written error) error {
	_ = g.Conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	_, read := g.in.ReadByte()
	if read == nil || errors.Is(read, os.ErrDeadlineExceeded) || errors.Is(read, io.EOF) {
		return written
	}
	return read
}

// next reads one packet and checks it. It returns nothing for a CONNACK or SUBACK that
// acknowledges nothing new, and for PUBACK, which nobody waits for, and which paho would
// take for the acknowledgement of any packet with the same id.
func (g *guard) next() ([]byte, error) {
	header, err := g.in.ReadByte()
	if err != nil {
		return nil, err
	}
	length, err := binary.ReadUvarint(g.in)
	if err != nil {
		return nil, unexpectedEOF(err)
	}
	if err := g.checkHeader(header, length); err != nil {
		return nil, err
	}
	// The packet is its header, its length, encoded anew in as few bytes as possible,
	// and its body.
	packet := binary.AppendUvarint([]byte{header}, length)
	start := len(packet)
	packet = append(packet, make([]byte, length)...)
	if _, err := io.ReadFull(g.in, packet[start:]); err != nil {
		return nil, unexpectedEOF(err)
	}
	if g.received += len(packet); g.received > maxReceived {
		return nil, fmt.Errorf("%w: more than %d bytes received in one exchange", ErrProtocol, maxReceived)
	}
	body := packet[start:]
	switch header >> 4 {
	case packets.Connack:
		if g.connected {
			return nil, nil
		}
	case packets.Puback:
		return nil, nil
	case packets.Suback:
		subscribe := g.subscribed()
		if subscribe == nil {
			return nil, nil
		}
		return packet, checkSuback(subscribe, body)
	}
	return packet, g.checkBody(header, body)
}

func unexpectedEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// checkHeader accepts the packets that a server may send to a client that publishes and
// subscribes at QoS 1 (MQTT 3.1.1, sections 2.2 and 3). It is called before the body is
// read.
func (g *guard) checkHeader(header byte, length uint64) error {
	kind, flags := header>>4, header&0x0f
	expected := false
	switch {
	case kind == packets.Connack:
		expected = flags == 0 && length == 2
	case !g.connected:
	case kind == packets.Publish:
		expected = flags>>1&3 <= 1 // AWS IoT does not support QoS 2
	case kind == packets.Suback:
		expected = flags == 0
	case kind == packets.Puback:
		expected = flags == 0 && length == 2
	case kind == packets.Pingresp:
		expected = flags == 0 && length == 0
	}
	switch {
	case !expected && !g.connected:
		return fmt.Errorf("%w: the answer to CONNECT has header 0x%02x and %d bytes, which is no CONNACK", ErrProtocol, header, length)
	case !expected:
		return fmt.Errorf("%w: unexpected packet with header 0x%02x and %d bytes", ErrProtocol, header, length)
	case length > maxPacket:
		return fmt.Errorf("%w: a packet of %d bytes exceeds the %d bytes that AWS IoT can send", ErrProtocol, length, maxPacket)
	}
	return nil
}

func (g *guard) checkBody(header byte, body []byte) error {
	switch header >> 4 {
	case packets.Connack:
		if code := body[1]; code != packets.Accepted {
			return &ConnackError{Code: code}
		}
		g.connected = true
	case packets.Publish:
		qos := int(header >> 1 & 3) // at QoS 1 a packet id of two bytes follows the topic
		if len(body) < 2 || len(body) < 2+int(binary.BigEndian.Uint16(body))+2*qos {
			return fmt.Errorf("%w: PUBLISH of %d bytes is too short for its topic", ErrProtocol, len(body))
		}
		end := 2 + int(binary.BigEndian.Uint16(body))
		g.deliver(string(body[2:end]), body[end+2*qos:])
	}
	return nil
}

func checkSuback(subscribe *packets.SubscribePacket, body []byte) error {
	switch {
	case len(body) < 2 || binary.BigEndian.Uint16(body) != subscribe.MessageID:
		return fmt.Errorf("%w: SUBACK for a SUBSCRIBE that was not sent", ErrProtocol)
	case len(body)-2 != len(subscribe.Topics):
		return fmt.Errorf("%w: SUBACK with %d return codes for %d topic filters", ErrProtocol, len(body)-2, len(subscribe.Topics))
	}
	return nil
}
