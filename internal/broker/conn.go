package broker

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"net"
	"sync"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

// connectTimeout bounds the time from accepting a connection to its CONNECT,
// the TLS handshake included.
const connectTimeout = 30 * time.Second

// Conn is the server's side of one connection. All methods are safe for
// concurrent use; none blocks on the network.
type Conn struct {
	server *Server
	out    *outbox
	stream net.Conn // TLS over out, or out itself

	clientID string        // set before the handler is called first
	done     chan struct{} // closed when the connection is over

	delayed sync.WaitGroup // what After has started

	mu            sync.Mutex
	closed        bool
	accepted      bool
	keepAlive     time.Duration // 0: none
	subscriptions map[string]byte
	packetID      uint16
}

func newConn(server *Server, raw net.Conn) *Conn {
	c := &Conn{
		server:        server,
		out:           newOutbox(raw),
		done:          make(chan struct{}),
		subscriptions: make(map[string]byte),
	}
	c.stream = c.out
	if server.TLS != nil {
		c.stream = tls.Server(c.out, server.TLS)
	}
	return c
}

// ClientID returns the client id of the CONNECT packet.
func (c *Conn) ClientID() string { return c.clientID }

// TLS returns the state of the TLS layer, or nil if there is none.
func (c *Conn) TLS() *tls.ConnectionState {
	conn, ok := c.stream.(*tls.Conn)
	if !ok {
		return nil
	}
	state := conn.ConnectionState()
	return &state
}

// Done is closed when the connection is over, whoever ended it.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Accept makes the connection the one with its client id, dropping an older
// one, and lets the client use it. The connection ends when the client is
// silent for one and a half times keepAlive; 0 means never.
func (c *Conn) Accept(keepAlive time.Duration) {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return
	}
	c.accepted = true
	c.keepAlive = keepAlive
	c.extendLocked()
	c.mu.Unlock()
	c.server.takeOver(c)
}

// Grant subscribes the connection to filter with a QoS of 0 or 1, in place of
// an older subscription to the same filter.
func (c *Conn) Grant(filter string, qos byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.subscriptions[filter] = qos
}

// Acknowledge sends a PUBACK for a message of QoS 1, and nothing for others.
func (c *Conn) Acknowledge(p *packets.PublishPacket) {
	if p.Qos == 1 {
		ack := packets.NewControlPacket(packets.Puback).(*packets.PubackPacket)
		ack.MessageID = p.MessageID
		c.Send(ack)
	}
}

// Deliver sends a message to the client if it has subscribed to the topic, at
// the lower of qos and the highest QoS of its matching subscriptions, and
// reports whether it has.
func (c *Conn) Deliver(topic string, payload []byte, qos byte) bool {
	p := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
	p.TopicName, p.Payload = topic, payload

	c.mu.Lock()
	granted, subscribed := c.grantedLocked(topic)
	if p.Qos = min(qos, granted); p.Qos > 0 {
		p.MessageID = c.nextPacketIDLocked()
	}
	c.mu.Unlock()
	if subscribed {
		c.Send(p)
	}
	return subscribed
}

func (c *Conn) grantedLocked(topic string) (qos byte, subscribed bool) {
	for filter, granted := range c.subscriptions {
		if Match(filter, topic) {
			qos, subscribed = max(qos, granted), true
		}
	}
	return qos, subscribed
}

func (c *Conn) nextPacketIDLocked() uint16 {
	c.packetID++
	if c.packetID == 0 { // reserved
		c.packetID = 1
	}
	return c.packetID
}

// Send sends a packet, or nothing once the connection is over.
func (c *Conn) Send(p packets.ControlPacket) {
	var frame bytes.Buffer
	p.Write(&frame)
	c.SendRaw(frame.Bytes())
}

// SendRaw sends bytes as they are, or nothing once the connection is over.
func (c *Conn) SendRaw(b []byte) {
	if !c.over() {
		c.stream.Write(b)
	}
}

// After calls f when d has passed, unless the connection is over by then. With
// a d of 0 it calls f at once, else from another goroutine.
func (c *Conn) After(d time.Duration, f func()) {
	if d <= 0 {
		f()
		return
	}
	c.delayed.Go(func() {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
			f()
		case <-c.done:
		}
	})
}

// Close ends the connection without waiting for the end. What was sent before
// still reaches a client that reads.
func (c *Conn) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	c.closed = true
	close(c.done)
	c.out.SetReadDeadline(time.Now()) // wakes the reader, which does the rest
}

// abort ends the connection with whatever is under way in it.
func (c *Conn) abort() {
	c.Close()
	c.out.Conn.Close()
}

func (c *Conn) over() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

// extendLocked starts the keep-alive period anew (MQTT 3.1.1 section 3.1.2.10).
func (c *Conn) extendLocked() {
	if c.closed {
		return
	}
	var deadline time.Time
	if c.keepAlive > 0 {
		deadline = time.Now().Add(c.keepAlive * 3 / 2)
	}
	c.out.SetReadDeadline(deadline)
}

// serve runs the connection from its first byte to its last.
func (c *Conn) serve() {
	var flushing sync.WaitGroup
	flushing.Go(c.out.flush)
	c.read()
	c.Close()
	c.stream.Close()
	c.out.finish()
	c.delayed.Wait()
	flushing.Wait()
	c.server.remove(c)
}

// read hands packets to the handler until the connection is over.
func (c *Conn) read() {
	c.out.SetReadDeadline(time.Now().Add(connectTimeout))
	if conn, ok := c.stream.(*tls.Conn); ok && conn.Handshake() != nil {
		return
	}
	r := bufio.NewReader(c.stream)
	if !c.readConnect(r) {
		return
	}
	for !c.over() {
		p, err := readPacket(r)
		if err != nil || !c.handle(p) {
			return
		}
	}
}

// readConnect reports whether the connection may go on.
func (c *Conn) readConnect(r *bufio.Reader) bool {
	p, err := readPacket(r)
	if err != nil {
		return false
	}
	connect, ok := p.(*packets.ConnectPacket)
	if !ok {
		return false
	}
	if code := connect.Validate(); code != packets.Accepted || connect.ProtocolVersion != 4 {
		if code <= packets.ErrRefusedNotAuthorised {
			c.refuse(max(code, packets.ErrRefusedBadProtocolVersion))
		}
		return false
	}
	if r.Buffered() > 0 { // sent without waiting for the CONNACK
		return false
	}
	c.mu.Lock()
	c.clientID = connect.ClientIdentifier
	c.extendLocked() // the handler sets the pace from here
	c.mu.Unlock()
	c.server.Handler.Connect(c, connect)
	return true
}

// refuse sends a CONNACK with a return code and ends the connection.
func (c *Conn) refuse(code byte) {
	ack := packets.NewControlPacket(packets.Connack).(*packets.ConnackPacket)
	ack.ReturnCode = code
	c.Send(ack)
	c.Close()
}

// handle reports whether the connection may go on.
func (c *Conn) handle(p packets.ControlPacket) bool {
	c.mu.Lock()
	accepted := c.accepted
	c.extendLocked()
	c.mu.Unlock()
	if !accepted {
		return false
	}
	switch p := p.(type) {
	case *packets.PublishPacket:
		c.server.Handler.Publish(c, p)
	case *packets.SubscribePacket:
		c.server.Handler.Subscribe(c, p)
	case *packets.UnsubscribePacket:
		c.unsubscribe(p)
	case *packets.PingreqPacket:
		c.Send(packets.NewControlPacket(packets.Pingresp))
	case *packets.PubackPacket:
		// Nothing is ever repeated, so nothing waits for it.
	default: // DISCONNECT, and what a client may not send
		return false
	}
	return true
}

func (c *Conn) unsubscribe(p *packets.UnsubscribePacket) {
	c.mu.Lock()
	for _, filter := range p.Topics {
		delete(c.subscriptions, filter)
	}
	c.mu.Unlock()
	ack := packets.NewControlPacket(packets.Unsuback).(*packets.UnsubackPacket)
	ack.MessageID = p.MessageID
	c.Send(ack)
}
