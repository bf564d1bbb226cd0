package fleetprovtest

import (
	"github.com/eclipse/paho.mqtt.golang/packets"

	"github.com/fleetprov/fleetprov/internal/broker"
	"github.com/fleetprov/fleetprov/internal/iotpolicy"
	"github.com/fleetprov/fleetprov/internal/iotregistry"
)

// refusedNotAuthorized is the return code that AWS IoT sends where MQTT has 5 (mqtt).
const refusedNotAuthorized = 7

// Connect implements [broker.Handler].
func (m *mqttFront) Connect(c *broker.Conn, p *packets.ConnectPacket) {
	m.requests.add(Request{Op: OpConnect, ClientID: c.ClientID()})
	if !validClientID(c.ClientID()) {
		c.Fail(reason(broker.ClientIdentifierNotValid, "AWS IoT does not take this client id"))
		return
	}
	fault := m.fault(OpConnect, c.ClientID())
	o := m.open(c, p)
	if o == nil {
		c.Fail(reason(broker.NotAuthorized, "the client has no active certificate"))
		return
	}
	if fault.Reject == nil && !o.allowed(iotpolicy.Connect, "client/"+c.ClientID()) {
		fault.Reject = &Rejection{StatusCode: refusedNotAuthorized, Message: "the policy denies iot:Connect"}
	}
	c.After(fault.Delay, func() { m.acknowledgeConnect(o, p, fault) })
}

// open returns the session of a connection, or nil if its certificate is not active any
// more.
func (m *mqttFront) open(c *broker.Conn, p *packets.ConnectPacket) *session {
	certificates := c.TLS().PeerCertificates
	if len(certificates) == 0 {
		return nil
	}
	id := iotregistry.CertificateID(certificates[0])
	access, active := m.registry.Access(id, c.ClientID())
	if !active {
		return nil
	}
	for _, name := range access.Missing {
		m.log.missingPolicy(name, id)
	}
	o := &session{
		conn:          c,
		certificateID: id,
		access:        access,
		values:        map[string][]string{"iot:ConnectAttributes": connectAttributes(p)},
	}
	m.sessions.add(o)
	// The certificate may have been deactivated before the session was there to drop.
	if m.registry.Status(id) != iotregistry.Active {
		return nil
	}
	return o
}

func (m *mqttFront) acknowledgeConnect(o *session, p *packets.ConnectPacket, fault Fault) {
	ack := packets.NewControlPacket(packets.Connack).(*packets.ConnackPacket)
	if fault.Reject == nil {
		o.conn.Accept(keepAlive(p.Keepalive))
		m.log.event(o, "connected")
	} else if ack.ReturnCode = byte(fault.Reject.StatusCode); ack.ReturnCode == 0 {
		ack.ReturnCode = packets.ErrRefusedNotAuthorised
	}
	fault.acknowledge(o.conn, ack)
	if fault.Reject != nil {
		o.conn.Fail(reason(broker.NotAuthorized, "CONNECT refused: %s", fault.Reject.Message))
	}
}
