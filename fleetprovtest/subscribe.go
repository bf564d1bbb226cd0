package fleetprovtest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"github.com/fleetprov/fleetprov/internal/broker"
	"github.com/fleetprov/fleetprov/internal/iotpolicy"
)

// subscriptionRefused is a return code of SUBACK (MQTT 3.1.1 section 3.9.3).
const subscriptionRefused = 0x80

// Subscribe implements [broker.Handler].
func (m *mqttFront) Subscribe(c *broker.Conn, p *packets.SubscribePacket) {
	m.requests.add(Request{Op: OpSubscribe, ClientID: c.ClientID(), Filters: p.Topics})
	fault := m.fault(OpSubscribe, c.ClientID())
	o := m.sessions.of(c)
	if err := m.subscribeError(o, p); err != nil {
		c.Fail(err)
		return
	}
	if slices.Contains(p.Qoss, 2) {
		m.log.event(o, "SUBSCRIBE not answered", "reason", "AWS IoT has no QoS 2")
		return
	}
	ack := packets.NewControlPacket(packets.Suback).(*packets.SubackPacket)
	ack.MessageID = p.MessageID
	for i, filter := range p.Topics {
		ack.ReturnCodes = append(ack.ReturnCodes, m.grant(o, filter, p.Qoss[i], fault))
	}
	m.log.event(o, "subscribed", "filters", strings.Join(p.Topics, " "), "codes", fmt.Sprint(ack.ReturnCodes))
	o.deliversFrom.Store(time.Now().Add(m.settings.subscriptionLag).UnixNano())
	c.After(fault.Delay, func() { fault.acknowledge(c, ack) })
}

// subscribeError returns why a SUBSCRIBE ends the connection, or nil (mqtt).
func (m *mqttFront) subscribeError(o *session, p *packets.SubscribePacket) error {
	if len(p.Topics) > maxFilters {
		return reason(broker.QuotaExceeded, "more than %d filters in a SUBSCRIBE", maxFilters)
	}
	filters := o.conn.Filters()
	for _, filter := range p.Topics {
		switch {
		case !validTopic(filter):
			return reason(broker.TopicFilterInvalid, "the filter %q is too long or too deep", filter)
		case reserved(filter) && !strings.HasPrefix(filter, "$aws/"):
			return reason(broker.TopicFilterInvalid, "the filter %q is reserved, or a shared subscription, which is not supported", filter)
		case !m.settings.refuseWithSUBACK && !o.maySubscribe(filter):
			return reason(broker.NotAuthorized, "the policy denies iot:Subscribe to %q", filter)
		case !slices.Contains(filters, filter):
			filters = append(filters, filter)
		}
	}
	if len(filters) > maxSubscriptions {
		return reason(broker.QuotaExceeded, "more than %d subscriptions", maxSubscriptions)
	}
	return nil
}

func (o *session) maySubscribe(filter string) bool {
	return o.allowed(iotpolicy.Subscribe, "topicfilter/"+filter)
}

// grant subscribes a client to a filter, unless that is refused, and returns the
// return code for it.
func (m *mqttFront) grant(o *session, filter string, qos byte, fault Fault) byte {
	switch {
	case fault.Reject != nil && fault.Reject.StatusCode != 0:
		return byte(fault.Reject.StatusCode)
	case fault.Reject != nil:
		return subscriptionRefused
	case !o.maySubscribe(filter):
		m.log.event(o, "SUBSCRIBE refused", "filter", filter, "reason", "the policy denies iot:Subscribe")
		return subscriptionRefused
	}
	o.conn.Grant(filter, qos)
	m.prepareKey(filter)
	return qos
}

// prepareKey starts making a key for a client that subscribes to the answers of
// CreateKeysAndCertificate, and so is about to ask for one.
func (m *mqttFront) prepareKey(filter string) {
	topic, accepted := strings.CutSuffix(filter, "/accepted")
	if o, ok := parseRequestTopic(topic); ok && accepted && o.op == OpCreateKeysAndCertificate {
		m.service.PrepareKey()
	}
}
