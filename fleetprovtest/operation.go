package fleetprovtest

import "github.com/eclipse/paho.mqtt.golang/packets"

// operate performs a provisioning operation and answers to the connection that
// asked. An operation that may wait for Hook or SignCSR holds up nothing else on the
// connection, and goes on if the connection ends: AWS IoT has been asked.
func (m *mqttFront) operate(by *session, o operation, p *packets.PublishPacket) {
	clientID := by.conn.ClientID()
	m.requests.add(Request{Op: o.op, ClientID: clientID, Topic: o.topic, Payload: p.Payload})
	fault := m.fault(o.op, clientID)
	// The PUBACK comes after the fault is taken, so that a client that waits for it
	// knows which request takes which fault.
	by.conn.Acknowledge(p)
	if o.op == OpRegisterThing && m.service.HasHook(o.template) || o.op == OpCreateCertificateFromCSR && m.settings.hasSignCSR {
		m.waiting.Go(func() { m.finish(by, o, p.Payload, fault) })
	} else {
		m.finish(by, o, p.Payload, fault)
	}
}

func (m *mqttFront) finish(by *session, o operation, payload []byte, fault Fault) {
	done := outcome{rejection: fault.Reject}
	if fault.Reject == nil && fault.Response == nil {
		done = m.perform(by, o, payload)
	}
	m.log.operation(by, o.op, done, fault)
	topic := o.topic + "/accepted"
	if done.rejection != nil {
		topic = o.topic + "/rejected"
	}
	response := fault.Response
	if response == nil {
		response = o.format.encode(done.payload())
	}
	m.answer(by, topic, response, fault)
}
