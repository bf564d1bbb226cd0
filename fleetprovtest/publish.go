package fleetprovtest

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"github.com/fleetprov/fleetprov/internal/broker"
	"github.com/fleetprov/fleetprov/internal/iotpolicy"
)

// Publish implements [broker.Handler].
func (h *handler) Publish(c *broker.Conn, p *packets.PublishPacket) {
	s := (*Server)(h)
	o := s.session(c)
	if p.Qos == 2 {
		s.log(o, "PUBLISH not acknowledged", "topic", p.TopicName, "reason", "AWS IoT has no QoS 2")
		return
	}
	if err := o.publishError(p); err != nil {
		c.Fail(err)
		return
	}
	if operation, ok := parseRequestTopic(p.TopicName); ok {
		s.operate(o, operation, p)
		return
	}
	c.Acknowledge(p)
	s.log(o, "published", "topic", p.TopicName)
	if !reserved(p.TopicName) {
		s.route(o, p)
	}
}

// publishError returns why a PUBLISH ends the connection, or nil (mqtt).
func (o *session) publishError(p *packets.PublishPacket) error {
	switch {
	case !validTopic(p.TopicName):
		return reason(broker.TopicNameInvalid, "the topic %q is too long or too deep", p.TopicName)
	case !mayBePublished(p.TopicName):
		return reason(broker.TopicNameInvalid, "nothing may be published to the reserved topic %q", p.TopicName)
	case reserved(p.TopicName) && p.Retain:
		return reason(broker.TopicNameInvalid, "RETAIN on the reserved topic %q", p.TopicName)
	case !o.allowed(iotpolicy.Publish, "topic/"+p.TopicName):
		return reason(broker.NotAuthorized, "the policy denies iot:Publish to %q", p.TopicName)
	case p.Retain && !o.allowed(iotpolicy.RetainPublish, "topic/"+p.TopicName):
		return reason(broker.NotAuthorized, "the policy denies iot:RetainPublish to %q", p.TopicName)
	}
	return nil
}

// mayBePublished reports whether a topic is an ordinary one, that of a provisioning
// request, or one of another service of AWS ("reserved-topics").
func mayBePublished(topic string) bool {
	if !reserved(topic) {
		return true
	}
	if strings.HasPrefix(topic, "$aws/certificates/") || strings.HasPrefix(topic, "$aws/provisioning-templates/") {
		_, ok := parseRequestTopic(topic)
		return ok
	}
	return strings.HasPrefix(topic, "$aws/")
}

// route hands an ordinary message to all who have subscribed to its topic.
func (s *Server) route(from *session, p *packets.PublishPacket) {
	message := from.Received(p)
	s.mu.Lock()
	sessions := slices.Collect(maps.Values(s.sessions))
	s.mu.Unlock()
	for _, o := range sessions {
		if o.Subscribed(p.TopicName) {
			s.deliver(o, p.TopicName, Fault{}, func() { o.Relay(message) })
		}
	}
}

// answer sends the answer to a provisioning operation, or what the fault makes of
// that, to the connection that asked.
func (s *Server) answer(by *session, topic string, payload []byte, fault Fault) {
	const atLeastOnce = 1
	s.deliver(by, topic, fault, func() {
		switch {
		case by.Deliver(topic, payload, atLeastOnce):
		case s.AnswerUnsubscribed:
			by.Push(topic, payload, atLeastOnce)
		default:
			s.log(by, "not delivered", "topic", topic, "reason", "the client has not subscribed to it")
		}
	})
}

// deliver sends a message as soon as the client's subscriptions are in effect. A
// client whose policy does not let it receive the message gets nothing, and is not
// told (mqtt).
func (s *Server) deliver(o *session, topic string, fault Fault, send func()) {
	wait := max(fault.Delay, time.Until(time.Unix(0, o.deliversFrom.Load())))
	o.After(wait, func() {
		fault.send(o, func() {
			if !o.allowed(iotpolicy.Receive, "topic/"+topic) {
				s.log(o, "not delivered", "topic", topic, "reason", "the policy denies iot:Receive")
				return
			}
			send()
		})
	})
}
