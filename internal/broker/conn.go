package broker

import (
	"crypto/tls"
	"errors"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	packets5 "github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.mqtt.golang/packets"
)

// Conn is the server's side of one connection. All methods are safe for
// concurrent use; none blocks on the network.
type Conn struct {
	server *Server
	out    *outbox
	stream net.Conn // TLS over out, or out itself

	clientID string        // set before the handler is called first
	done     chan struct{} // closed when the connection is over

	delayed sync.WaitGroup // what After has started

	properties *packets5.Properties // of the message that Handler.Publish is called with

	mu            sync.Mutex
	codec         codec
	closed        bool
	reason        error // why it is closed
	answered      bool  // a CONNACK was sent
	accepted      bool
	keepAlive     time.Duration                  // 0: none
	requested     map[string]packets5.SubOptions // of the filters that Handler.Subscribe is called with
	subscriptions map[string]subscription
	packetID      uint16
}

func newConn(server *Server, raw net.Conn) *Conn {
	c := &Conn{
		server:        server,
		out:           newOutbox(raw),
		done:          make(chan struct{}),
		codec:         codec311{},
		subscriptions: make(map[string]subscription),
	}
	c.stream = c.out
	if server.TLS != nil {
		c.stream = tls.Server(c.out, server.TLS)
	}
	return c
}

// ClientID returns the client id of the CONNECT packet.
func (c *Conn) ClientID() string { return c.clientID }

// RemoteAddr returns the address of the client.
func (c *Conn) RemoteAddr() net.Addr { return c.out.RemoteAddr() }

// TLS returns the state of the TLS layer, or nil if there is none.
func (c *Conn) TLS() *tls.ConnectionState {
	conn, ok := c.stream.(*tls.Conn)
	if !ok {
		return nil
	}
	state := conn.ConnectionState()
	return &state
}

// Accept lets the client use the connection, and ends an older one with the same
// client id. The connection ends when the client is silent for one and a half times
// keepAlive; 0 means never.
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
	options := c.requested[filter]
	c.subscriptions[filter] = subscription{qos, options.NoLocal, options.RetainAsPublished}
}

// Acknowledge sends a PUBACK for a message of QoS 1, and nothing for others.
func (c *Conn) Acknowledge(p *packets.PublishPacket) {
	if p.Qos == 1 {
		ack := packets.NewControlPacket(packets.Puback).(*packets.PubackPacket)
		ack.MessageID = p.MessageID
		c.Send(ack)
	}
}

// Filters returns the filters that the connection is subscribed to, in no particular
// order.
func (c *Conn) Filters() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Collect(maps.Keys(c.subscriptions))
}

// Deliver sends a message to the client if it has subscribed to the topic, at
// the lower of qos and the highest QoS of its matching subscriptions. It reports
// whether the client has subscribed.
func (c *Conn) Deliver(topic string, payload []byte, qos byte) bool {
	return c.deliver(&message{PublishPacket: newPublish(topic, payload, qos)}, false)
}

// Received returns the message that Handler.Publish is called with, for [Conn.Relay].
// It must not be called once Handler.Publish has returned.
func (c *Conn) Received(p *packets.PublishPacket) Message {
	return Message{p, c.properties, c}
}

// Relay is [Conn.Deliver] for a message that a client has published.
func (c *Conn) Relay(m Message) bool {
	copied := newPublish(m.packet.TopicName, m.packet.Payload, m.packet.Qos)
	copied.Retain = m.packet.Retain
	return c.deliver(&message{copied, m.properties}, c == m.from)
}

func (c *Conn) deliver(m *message, own bool) bool {
	c.mu.Lock()
	granted, subscribed := c.matchLocked(m.TopicName, own)
	c.mu.Unlock()
	if subscribed {
		m.Qos = min(m.Qos, granted.qos)
		m.Retain = m.Retain && granted.retainAsPublished
		c.push(m)
	}
	return subscribed
}

// Push sends a message to the client, whatever it has subscribed to.
func (c *Conn) Push(topic string, payload []byte, qos byte) {
	c.push(&message{PublishPacket: newPublish(topic, payload, qos)})
}

func (c *Conn) push(m *message) {
	if m.Qos > 0 {
		c.mu.Lock()
		m.MessageID = c.nextPacketIDLocked()
		c.mu.Unlock()
	}
	c.Send(m)
}

func newPublish(topic string, payload []byte, qos byte) *packets.PublishPacket {
	p := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
	p.TopicName, p.Payload, p.Qos = topic, payload, qos
	return p
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
	c.mu.Lock()
	if ack, ok := p.(*packets.ConnackPacket); ok {
		c.answered = true
		p = &connack{ack, c.keepAlive}
	}
	codec := c.codec
	c.mu.Unlock()
	c.SendRaw(codec.encode(p))
}

// SendRaw sends bytes as they are, or nothing once the connection is over.
func (c *Conn) SendRaw(b []byte) {
	if len(b) > 0 && !c.over() {
		c.stream.Write(b)
	}
}

// After calls f when d has passed, unless the connection is over by then. If d is 0 it
// calls f at once, otherwise from another goroutine.
func (c *Conn) After(d time.Duration, f func()) {
	if d <= 0 {
		f()
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed { // serve may be waiting for delayed by now
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

// Fail ends the connection, without waiting for the end. What was sent before still
// reaches a client that reads. [Server.Closed] is called with the reason, which may be
// nil, unless the connection was over already. If the reason is a [*Reason], a client
// of MQTT 5 is sent its code in a DISCONNECT, or in a CONNACK if it is still waiting
// for that. Clients of MQTT 3.1.1 are told nothing.
func (c *Conn) Fail(reason error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	if r := (*Reason)(nil); errors.As(reason, &r) && (c.accepted || !c.answered) {
		if last := c.codec.encode(&farewell{code: r.Code, answered: c.answered}); len(last) > 0 {
			c.stream.Write(last)
		}
	}
	c.closed, c.reason = true, reason
	close(c.done)
	c.out.SetReadDeadline(time.Now()) // wakes the reader, which does the rest
}

// abort ends the connection at once. What has not been sent yet is lost.
func (c *Conn) abort() {
	c.Fail(nil)
	c.out.Conn.Close()
}

func (c *Conn) over() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

// extendLocked restarts the keep-alive period (MQTT 3.1.1 section 3.1.2.10).
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
