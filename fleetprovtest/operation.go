package fleetprovtest

import (
	"github.com/eclipse/paho.mqtt.golang/packets"

	"github.com/fleetprov/fleetprov/internal/broker"
)

// rejected is the payload on the rejected topic of every operation.
type rejected struct {
	StatusCode   int    `json:"statusCode,omitempty"`
	ErrorCode    string `json:"errorCode,omitempty"`
	ErrorMessage string `json:"errorMessage,omitempty"`
}

// operate performs a provisioning operation and answers to the connection that
// asked, if it listens.
func (s *Server) operate(c *broker.Conn, o operation, p *packets.PublishPacket) {
	s.record(Request{Op: o.op, ClientID: c.ClientID(), Topic: o.topic, Payload: p.Payload})
	fault := s.take(o.op)
	// A client that has seen this knows which request takes which fault.
	c.Acknowledge(p)

	var answer any
	rejection := fault.Reject
	if fault.Reject == nil && fault.Response == nil {
		answer, rejection = s.perform(caller{clientID: c.ClientID(), certificate: peer(c)}, o, p.Payload)
	}
	topic := o.topic + "/accepted"
	if rejection != nil {
		topic = o.topic + "/rejected"
		answer = rejected{rejection.StatusCode, rejection.Code, rejection.Message}
	}
	response := fault.Response
	if response == nil {
		response = o.format.encode(answer)
	}
	c.After(fault.Delay, func() {
		fault.send(c, func() { c.Deliver(topic, response, 1) })
	})
}

func (s *Server) perform(by caller, o operation, payload []byte) (any, *Rejection) {
	switch o.op {
	case OpCreateKeysAndCertificate:
		return s.createKeysAndCertificate(o.format, payload)
	case OpCreateCertificateFromCSR:
		return s.createCertificateFromCSR(o.format, payload)
	default:
		return s.registerThing(by, o.template, o.format, payload)
	}
}
