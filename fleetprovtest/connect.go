package fleetprovtest

import (
	"github.com/eclipse/paho.mqtt.golang/packets"

	"github.com/fleetprov/fleetprov/internal/broker"
	"github.com/fleetprov/fleetprov/internal/iotpolicy"
)

// refusedNotAuthorized is the return code of AWS IoT where MQTT has 5 (mqtt).
const refusedNotAuthorized = 7

// Connect implements [broker.Handler].
func (h *handler) Connect(c *broker.Conn, p *packets.ConnectPacket) {
	s := (*Server)(h)
	s.recordRequest(Request{Op: OpConnect, ClientID: c.ClientID()})
	if !validClientID(c.ClientID()) {
		c.Fail(reason(broker.ClientIdentifierNotValid, "AWS IoT does not take this client id"))
		return
	}
	fault := s.take(OpConnect, c.ClientID())
	o := s.open(c, p)
	if o == nil {
		c.Fail(reason(broker.NotAuthorized, "the client has no certificate that is active"))
		return
	}
	if fault.Reject == nil && !o.allowed(iotpolicy.Connect, "client/"+c.ClientID()) {
		fault.Reject = &Rejection{StatusCode: refusedNotAuthorized, Message: "the policy denies iot:Connect"}
	}
	c.After(fault.Delay, func() { s.connect(o, p, fault) })
}

func (s *Server) connect(o *session, p *packets.ConnectPacket, fault Fault) {
	ack := packets.NewControlPacket(packets.Connack).(*packets.ConnackPacket)
	if fault.Reject == nil {
		o.Accept(keepAlive(p.Keepalive))
		s.log(o, "connected")
	} else if ack.ReturnCode = byte(fault.Reject.StatusCode); ack.ReturnCode == 0 {
		ack.ReturnCode = packets.ErrRefusedNotAuthorised
	}
	fault.answer(o, ack)
	if fault.Reject != nil {
		o.Fail(reason(broker.NotAuthorized, "CONNECT refused: %s", fault.Reject.Message))
	}
}
