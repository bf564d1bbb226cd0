package broker

import (
	"bufio"
	"crypto/tls"
	"errors"
	"os"
	"sync"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

// connectTimeout bounds the time from accepting a connection to its CONNECT,
// the TLS handshake included.
const connectTimeout = 30 * time.Second

// serve runs the connection from its first byte to its last.
func (c *Conn) serve() {
	var flushing sync.WaitGroup
	flushing.Go(c.out.flush)
	c.Fail(c.read())
	if c.server.Closed != nil {
		c.server.Closed(c, c.reason)
	}
	c.stream.Close()
	c.out.finish()
	c.delayed.Wait()
	flushing.Wait()
	c.server.remove(c)
}

// read hands packets to the handler until the connection is over, and returns
// why, or nil if the client has sent a DISCONNECT.
func (c *Conn) read() error {
	c.out.SetReadDeadline(time.Now().Add(connectTimeout))
	if conn, ok := c.stream.(*tls.Conn); ok {
		if err := conn.Handshake(); err != nil {
			return err
		}
	}
	// The buffer is small because an idle connection keeps it. A larger packet is
	// read without it.
	r := bufio.NewReaderSize(c.stream, 1<<10)
	if err := c.readConnect(r); err != nil {
		return err
	}
	for !c.over() {
		f, err := readFrame(r)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return errSilent
		}
		if err != nil {
			return err
		}
		p, err := c.codec.decode(f)
		if err != nil {
			return err
		}
		if _, goodbye := p.(*packets.DisconnectPacket); goodbye {
			return nil
		}
		if err := c.handle(p); err != nil {
			return err
		}
	}
	return nil
}

// readConnect fails if the connection cannot go on.
func (c *Conn) readConnect(r *bufio.Reader) error {
	f, err := readFrame(r)
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.codec = codecFor(f)
	c.mu.Unlock()
	p, err := c.codec.decode(f)
	if err != nil {
		return err
	}
	connect, ok := p.(*packets.ConnectPacket)
	if !ok {
		return errNoConnect
	}
	if _, checked := c.codec.(*codec5); !checked {
		if code := connect.Validate(); code != packets.Accepted || connect.ProtocolVersion != 4 {
			if code <= packets.ErrRefusedNotAuthorised {
				c.refuse(max(code, packets.ErrRefusedBadProtocolVersion))
			}
			return errBadConnect
		}
	}
	if r.Buffered() > 0 {
		return errEarly
	}
	c.mu.Lock()
	c.clientID = connect.ClientIdentifier
	c.extendLocked() // until Accept there is no deadline
	c.mu.Unlock()
	c.server.Handler.Connect(c, connect)
	return nil
}

// refuse sends a CONNACK with a return code.
func (c *Conn) refuse(code byte) {
	ack := packets.NewControlPacket(packets.Connack).(*packets.ConnackPacket)
	ack.ReturnCode = code
	c.Send(ack)
}

// handle fails if the connection cannot go on.
func (c *Conn) handle(p packets.ControlPacket) error {
	c.mu.Lock()
	accepted := c.accepted
	c.extendLocked()
	c.mu.Unlock()
	if !accepted {
		return errEarly
	}
	switch p := p.(type) {
	case *message:
		c.properties = p.properties
		c.server.Handler.Publish(c, p.PublishPacket)
	case *packets.PublishPacket:
		c.server.Handler.Publish(c, p)
	case *subscribe:
		c.mu.Lock()
		c.requested = p.options
		c.mu.Unlock()
		c.server.Handler.Subscribe(c, p.SubscribePacket)
	case *packets.SubscribePacket:
		c.server.Handler.Subscribe(c, p)
	case *packets.UnsubscribePacket:
		c.unsubscribe(p)
	case *packets.PingreqPacket:
		c.Send(packets.NewControlPacket(packets.Pingresp))
	case *packets.PubackPacket:
		// Nothing is ever repeated, so nothing waits for it.
	default:
		return errUnexpected
	}
	return nil
}

func (c *Conn) unsubscribe(p *packets.UnsubscribePacket) {
	c.mu.Lock()
	for _, filter := range p.Topics {
		delete(c.subscriptions, filter)
	}
	c.mu.Unlock()
	ack := packets.NewControlPacket(packets.Unsuback).(*packets.UnsubackPacket)
	ack.MessageID = p.MessageID
	c.Send(&unsuback{ack, len(p.Topics)})
}
