package fleetprovtest

import (
	"crypto/x509"
	"slices"
	"strings"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"github.com/fleetprov/fleetprov/internal/broker"
)

// Limits of AWS IoT for a connection (mqtt, protocols).
const (
	maxClientID     = 128 // bytes
	maxFilters      = 8   // in a SUBSCRIBE
	maxTopic        = 256 // bytes
	maxTopicSlashes = 7
	minKeepAlive    = 30 * time.Second
	maxKeepAlive    = 1200 * time.Second
)

// handler is the Server as the broker sees it.
type handler Server

// Connect implements [broker.Handler].
func (h *handler) Connect(c *broker.Conn, p *packets.ConnectPacket) {
	s := (*Server)(h)
	s.record(Request{Op: OpConnect, ClientID: c.ClientID()})
	fault := s.take(OpConnect)
	if id := c.ClientID(); peer(c) == nil || id == "" || len(id) > maxClientID || strings.HasPrefix(id, "$") {
		c.Close()
		return
	}
	c.After(fault.Delay, func() {
		ack := packets.NewControlPacket(packets.Connack).(*packets.ConnackPacket)
		if fault.Reject == nil {
			c.Accept(keepAlive(p.Keepalive))
		} else if ack.ReturnCode = byte(fault.Reject.StatusCode); ack.ReturnCode == 0 {
			ack.ReturnCode = packets.ErrRefusedNotAuthorised
		}
		fault.answer(c, ack)
		if fault.Reject != nil {
			c.Close()
		}
	})
}

// Subscribe implements [broker.Handler].
func (h *handler) Subscribe(c *broker.Conn, p *packets.SubscribePacket) {
	s := (*Server)(h)
	s.record(Request{Op: OpSubscribe, ClientID: c.ClientID(), Filters: p.Topics})
	fault := s.take(OpSubscribe)
	refused := func(filter string) bool { return !s.maySubscribe(c, filter) }
	if len(p.Topics) > maxFilters || slices.ContainsFunc(p.Topics, refused) {
		c.Close()
		return
	}
	if slices.Contains(p.Qoss, 2) { // answered with silence (mqtt)
		return
	}
	ack := packets.NewControlPacket(packets.Suback).(*packets.SubackPacket)
	ack.MessageID = p.MessageID
	for i, filter := range p.Topics {
		code := p.Qoss[i]
		if fault.Reject == nil {
			c.Grant(filter, code)
			s.foresee(filter)
		} else if code = byte(fault.Reject.StatusCode); code == 0 {
			code = 0x80
		}
		ack.ReturnCodes = append(ack.ReturnCodes, code)
	}
	c.After(fault.Delay, func() { fault.answer(c, ack) })
}

// foresee prepares for the request whose answers a client subscribes to.
func (s *Server) foresee(filter string) {
	topic, accepted := strings.CutSuffix(filter, "/accepted")
	if o, ok := parseRequestTopic(topic); ok && accepted && o.op == OpCreateKeysAndCertificate {
		s.keys.prepare()
	}
}

// Publish implements [broker.Handler].
func (h *handler) Publish(c *broker.Conn, p *packets.PublishPacket) {
	s := (*Server)(h)
	o, provisioning := parseRequestTopic(p.TopicName)
	switch {
	case p.Qos == 2: // answered with silence (mqtt)
	case provisioning && !p.Retain:
		s.operate(c, o, p)
	case s.isDevice(c) && ordinary(p.TopicName):
		c.Acknowledge(p)
		s.broker.Route(p.TopicName, p.Payload, p.Qos)
	default:
		c.Close()
	}
}

// answer sends the acknowledgement of a Connect or Subscribe, or what the fault
// makes of it.
func (f Fault) answer(c *broker.Conn, ack packets.ControlPacket) {
	f.send(c, func() {
		if f.Response != nil {
			c.SendRaw(f.Response)
		} else {
			c.Send(ack)
		}
	})
}

// send calls answer as often as the fault lets an answer through.
func (f Fault) send(c *broker.Conn, answer func()) {
	switch {
	case f.Raw != nil:
		c.SendRaw(f.Raw)
	case f.Drop, f.Disconnect:
	default:
		answer()
		if f.Duplicate {
			answer()
		}
	}
	if f.Disconnect {
		c.Close()
	}
}

// peer returns the certificate that the client connected with.
func peer(c *broker.Conn) *x509.Certificate {
	if certificates := c.TLS().PeerCertificates; len(certificates) > 0 {
		return certificates[0]
	}
	return nil
}

// isDevice reports whether the client is more than a claim.
func (s *Server) isDevice(c *broker.Conn) bool { return !s.isClaim(peer(c)) }

func (s *Server) maySubscribe(c *broker.Conn, filter string) bool {
	return isResponseTopic(filter) || s.isDevice(c) && ordinary(filter)
}

// ordinary reports whether a topic or filter is not a reserved one, and within
// the limits.
func ordinary(topic string) bool {
	return !strings.HasPrefix(topic, "$") && len(topic) <= maxTopic && strings.Count(topic, "/") <= maxTopicSlashes
}

// keepAlive is what AWS IoT makes of the seconds in a CONNECT.
func keepAlive(seconds uint16) time.Duration {
	if seconds == 0 {
		return maxKeepAlive
	}
	return min(max(time.Duration(seconds)*time.Second, minKeepAlive), maxKeepAlive)
}
