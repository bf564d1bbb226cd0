package fleetprovtest

import (
	"errors"
	"maps"
	"net"
	"strings"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"github.com/fleetprov/fleetprov/internal/broker"
	"github.com/fleetprov/fleetprov/internal/iotpolicy"
	"github.com/fleetprov/fleetprov/internal/iotregistry"
)

// refusedNotAuthorized is the return code that AWS IoT sends where MQTT has 5 (mqtt).
const refusedNotAuthorized = 7

// Connect implements [broker.Handler].
func (m *mqttFront) Connect(c *broker.Conn, p *packets.ConnectPacket) {
	m.requests.add(Request{
		Op:              OpConnect,
		ClientID:        c.ClientID(),
		KeepAlive:       time.Duration(p.Keepalive) * time.Second,
		CleanSession:    p.CleanSession,
		ProtocolVersion: int(p.ProtocolVersion),
	})
	if !validClientID(c.ClientID()) {
		c.Fail(reason(broker.ClientIdentifierNotValid, "AWS IoT does not take this client id"))
		return
	}
	fault := m.fault(OpConnect, c.ClientID())
	o, err := m.open(c, p)
	c.After(fault.Delay, func() {
		switch {
		case fault.Reject != nil:
			m.reject(c, fault)
		case err != nil:
			m.refuse(c, err, fault)
		default:
			m.accept(o, p, fault)
		}
	})
}

// open returns the session of a connection, or why the client is refused.
func (m *mqttFront) open(c *broker.Conn, p *packets.ConnectPacket) (*session, error) {
	certificates := c.TLS().PeerCertificates
	if len(certificates) == 0 {
		return nil, errors.New("the client has no certificate")
	}
	if err := m.gate.check(certificates[0]); err != nil {
		return nil, err
	}
	id := iotregistry.CertificateID(certificates[0])
	access, err := m.registry.Access(id, c.ClientID())
	if err != nil {
		return nil, err
	}
	maps.Copy(access.Variables, connectionVariables(c))
	for _, name := range access.Missing {
		m.log.missingPolicy(name, id)
	}
	o := &session{
		conn:          c,
		certificateID: id,
		access:        access,
		values:        map[string][]string{"iot:ConnectAttributes": connectAttributes(p)},
	}
	if !o.allowed(iotpolicy.Connect, "client/"+c.ClientID()) {
		return nil, errors.New("the policy denies iot:Connect")
	}
	m.sessions.add(o)
	// The certificate may have been deactivated before the session was there to drop.
	return o, m.registry.CanConnect(id)
}

// connectionVariables returns the policy variables that come from the connection itself
// (basic-policy-variables, cert-policy-variables).
func connectionVariables(c *broker.Conn) map[string]string {
	state := c.TLS()
	variables := iotpolicy.CertificateVariables(state.PeerCertificates[0])
	variables["iot:DomainName"] = strings.ToLower(state.ServerName)
	if host, _, err := net.SplitHostPort(c.RemoteAddr().String()); err == nil {
		variables["aws:SourceIp"] = host
	}
	return variables
}

func (m *mqttFront) accept(o *session, p *packets.ConnectPacket, fault Fault) {
	o.conn.Accept(keepAlive(p.Keepalive))
	m.log.event(o, "connected")
	fault.acknowledge(o.conn, newConnack(packets.Accepted))
}

// reject refuses a client as a fault or a quota says.
func (m *mqttFront) reject(c *broker.Conn, fault Fault) {
	code := byte(fault.Reject.StatusCode)
	if code == 0 {
		code = packets.ErrRefusedNotAuthorised
	}
	fault.acknowledge(c, newConnack(code))
	c.Fail(reason(broker.NotAuthorized, "CONNECT refused: %s", fault.Reject.Message))
}

// refuse refuses a client in the way that is set. The broker sends one of MQTT 5 the
// reason code if it was sent no CONNACK.
func (m *mqttFront) refuse(c *broker.Conn, why error, fault Fault) {
	if m.settings.refusal == RefuseByConnack {
		fault.acknowledge(c, newConnack(refusedNotAuthorized))
	}
	c.Fail(reason(broker.NotAuthorized, "CONNECT refused: %s", why))
}

func newConnack(code byte) *packets.ConnackPacket {
	ack := packets.NewControlPacket(packets.Connack).(*packets.ConnackPacket)
	ack.ReturnCode = code
	return ack
}
