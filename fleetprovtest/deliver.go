package fleetprovtest

import (
	"time"

	"github.com/fleetprov/fleetprov/internal/iotpolicy"
)

// answer sends the answer to a provisioning operation, or what the fault makes of
// that, to the connection that asked.
func (m *mqttFront) answer(by *session, topic string, payload []byte, fault Fault) {
	const atLeastOnce = 1
	m.deliver(by, topic, fault, func() {
		switch {
		case by.conn.Deliver(topic, payload, atLeastOnce):
		case m.settings.requireSubscription:
			m.log.event(by, "not delivered", "topic", topic, "reason", "the client has not subscribed to it")
		default:
			by.conn.Push(topic, payload, atLeastOnce)
		}
	})
}

// deliver sends a message as soon as the client's subscriptions are in effect. A
// client whose policy does not let it receive the message gets nothing, and is not
// told (mqtt).
func (m *mqttFront) deliver(o *session, topic string, fault Fault, send func()) {
	wait := max(fault.Delay, time.Until(time.Unix(0, o.deliversFrom.Load())))
	o.conn.After(wait, func() {
		fault.send(o.conn, func() {
			if !o.allowed(iotpolicy.Receive, "topic/"+topic) {
				m.log.event(o, "not delivered", "topic", topic, "reason", "the policy denies iot:Receive")
				return
			}
			send()
		})
	})
}
