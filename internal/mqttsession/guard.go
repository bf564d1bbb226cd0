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
	"sync/atomic"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

const (
	// maxPacket is the largest remaining length AWS IoT can send: a payload of
	// 128 KB on a topic of 256 bytes, with its length and a packet id (AWS
	// general reference, AWS IoT Core message broker limits).
	maxPacket = 128*1024 + 2 + 256 + 2

	// maxReceived bounds what one session takes in. An exchange takes less
	// than ten kilobytes.
	maxReceived = 1 << 20
)

// guard is the connection that paho gets. It hands on a packet only when it has
// all of it and found it to be one that this side can expect now, because paho
// allocates what a header announces, indexes by what an acknowledgement holds,
// and calls a refused CONNECT a success.
//
// paho reads from one goroutine at a time and writes whole packets.
type guard struct {
	net.Conn
	in        *bufio.Reader
	received  int
	connected bool
	packet    []byte // what is left of a checked packet

	// subscribe is the SUBSCRIBE that awaits its acknowledgement.
	subscribe atomic.Pointer[packets.SubscribePacket]
}

func newGuard(conn net.Conn) *guard {
	return &guard{Conn: conn, in: bufio.NewReader(conn)}
}

// Deadlines belong to the context of whoever waits, who closes the connection.

func (g *guard) SetDeadline(time.Time) error      { return nil }
func (g *guard) SetReadDeadline(time.Time) error  { return nil }
func (g *guard) SetWriteDeadline(time.Time) error { return nil }

func (g *guard) Read(p []byte) (int, error) {
	if len(g.packet) == 0 {
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
		packet, err := packets.ReadPacket(bytes.NewReader(p))
		if err != nil {
			return 0, err
		}
		g.subscribe.Store(packet.(*packets.SubscribePacket))
	}
	n, err := g.Conn.Write(p)
	if err != nil && !g.connected {
		err = g.reason(err)
	}
	return n, err
}

// reason returns why the server closed the connection before CONNECT could be
// written, when that is still waiting to be read: with TLS 1.3 a server refuses
// the client's certificate after the client has ended its handshake.
func (g *guard) reason(written error) error {
	_ = g.Conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	_, read := g.in.ReadByte()
	if read == nil || errors.Is(read, os.ErrDeadlineExceeded) || errors.Is(read, io.EOF) {
		return written
	}
	return read
}

// next reads one packet and checks it.
func (g *guard) next() ([]byte, error) {
	header, err := g.in.ReadByte()
	if err != nil {
		return nil, err
	}
	length, err := binary.ReadUvarint(g.in)
	if err != nil {
		return nil, unexpectedEOF(err)
	}
	if length > maxPacket {
		return nil, fmt.Errorf("%w: a packet of %d bytes exceeds the %d bytes that AWS IoT can send", ErrProtocol, length, maxPacket)
	}
	// A packet is its header, the length as sent again in as few bytes as it
	// takes, and the body.
	packet := binary.AppendUvarint([]byte{header}, length)
	start := len(packet)
	packet = append(packet, make([]byte, length)...)
	if _, err := io.ReadFull(g.in, packet[start:]); err != nil {
		return nil, unexpectedEOF(err)
	}
	if g.received += len(packet); g.received > maxReceived {
		return nil, fmt.Errorf("%w: more than %d bytes received in one exchange", ErrProtocol, maxReceived)
	}
	return packet, g.check(header, packet[start:])
}

func unexpectedEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// check accepts the packets that a server may send to a client that publishes
// and subscribes at QoS 1 (MQTT 3.1.1, sections 2.2 and 3).
func (g *guard) check(header byte, body []byte) error {
	if !g.connected {
		return g.checkConnack(header, body)
	}
	switch {
	case header>>4 == packets.Publish:
		return checkPublish(header, body)
	case header == packets.Suback<<4:
		return g.checkSuback(body)
	case header == packets.Puback<<4 && len(body) == 2:
		return nil
	case header == packets.Pingresp<<4 && len(body) == 0:
		return nil
	default:
		return fmt.Errorf("%w: unexpected packet with header 0x%02x and %d bytes", ErrProtocol, header, len(body))
	}
}

func (g *guard) checkConnack(header byte, body []byte) error {
	if header != packets.Connack<<4 || len(body) != 2 {
		return fmt.Errorf("%w: the answer to CONNECT is not a CONNACK but has header 0x%02x and %d bytes", ErrProtocol, header, len(body))
	}
	if code := body[1]; code != packets.Accepted {
		return &ConnackError{Code: code}
	}
	g.connected = true
	return nil
}

func checkPublish(header byte, body []byte) error {
	qos := header >> 1 & 3
	if qos > 1 {
		return fmt.Errorf("%w: PUBLISH at QoS %d, which AWS IoT does not support", ErrProtocol, qos)
	}
	if len(body) < 2 || len(body) < 2+int(binary.BigEndian.Uint16(body))+2*int(qos) {
		return fmt.Errorf("%w: PUBLISH of %d bytes is too short for its topic", ErrProtocol, len(body))
	}
	return nil
}

func (g *guard) checkSuback(body []byte) error {
	subscribe := g.subscribe.Swap(nil)
	switch {
	case len(body) < 2 || subscribe == nil || binary.BigEndian.Uint16(body) != subscribe.MessageID:
		return fmt.Errorf("%w: SUBACK for a SUBSCRIBE that was not sent", ErrProtocol)
	case len(body)-2 != len(subscribe.Topics):
		return fmt.Errorf("%w: SUBACK with %d return codes for %d topic filters", ErrProtocol, len(body)-2, len(subscribe.Topics))
	}
	return nil
}
