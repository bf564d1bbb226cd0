package fleetprovtest

import (
	"github.com/eclipse/paho.mqtt.golang/packets"

	"github.com/fleetprov/fleetprov/internal/broker"
	"github.com/fleetprov/fleetprov/internal/iotpolicy"
)

// refusedNotAuthorized is the return code of AWS IoT where MQTT has 5 (mqtt).
const refusedNotAuthorized = 7

// handler is the Server as the broker sees it.
type handler Server

// Connect implements [broker.Handler].
func (h *handler) Connect(c *broker.Conn, p *packets.ConnectPacket) {
	s := (*Server)(h)
	s.record(Request{Op: OpConnect, ClientID: c.ClientID()})
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

// answer sends the acknowledgement of a Connect or Subscribe, or what the fault
// makes of it.
func (f Fault) answer(o *session, ack packets.ControlPacket) {
	f.send(o, func() {
		if f.Response != nil {
			o.SendRaw(f.Response)
		} else {
			o.Send(ack)
		}
	})
}

// send calls answer as often as the fault lets an answer through.
func (f Fault) send(o *session, answer func()) {
	switch {
	case f.Raw != nil:
		o.SendRaw(f.Raw)
	case f.Drop, f.Disconnect:
	default:
		answer()
		if f.Duplicate {
			answer()
		}
	}
	if f.Disconnect {
		why := "a fault ends the connection"
		if f.Reject != nil && f.Reject.Message != "" {
			why = f.Reject.Message
		}
		o.Fail(reason(broker.QuotaExceeded, "%s", why))
	}
}
