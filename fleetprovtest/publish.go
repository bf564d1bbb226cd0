package fleetprovtest

import (
	"strings"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"github.com/fleetprov/fleetprov/internal/broker"
	"github.com/fleetprov/fleetprov/internal/iotpolicy"
)

// Publish implements [broker.Handler].
func (m *mqttFront) Publish(c *broker.Conn, p *packets.PublishPacket) {
	o := m.sessions.of(c)
	if p.Qos == 2 {
		m.log.event(o, "PUBLISH not acknowledged", "topic", p.TopicName, "reason", "AWS IoT has no QoS 2")
		return
	}
	if err := o.publishError(p); err != nil {
		c.Fail(err)
		return
	}
	if operation, ok := parseRequestTopic(p.TopicName); ok {
		m.operate(o, operation, p)
		return
	}
	c.Acknowledge(p)
	m.log.event(o, "published", "topic", p.TopicName)
	if !reserved(p.TopicName) {
		m.route(o, p)
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

// mayBePublished reports whether clients may publish to a topic: an ordinary one, that
// of a provisioning request, or one of another service of AWS ("reserved-topics").
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

// route passes an ordinary message on to all clients that have subscribed to its topic.
func (m *mqttFront) route(from *session, p *packets.PublishPacket) {
	message := from.conn.Received(p)
	for _, o := range m.sessions.all() {
		if o.conn.Subscribed(p.TopicName) {
			m.deliver(o, p.TopicName, Fault{}, func() { o.conn.Relay(message) })
		}
	}
}
