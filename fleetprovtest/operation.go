package fleetprovtest

import "github.com/eclipse/paho.mqtt.golang/packets"

// Op is a request that the server sees, spelled as AWS spells it.
type Op string

// The requests that a [Fault] can be injected into, and a [Quota] set for.
const (
	OpConnect                  Op = "Connect"
	OpSubscribe                Op = "Subscribe"
	OpCreateKeysAndCertificate Op = "CreateKeysAndCertificate"
	OpCreateCertificateFromCSR Op = "CreateCertificateFromCsr"
	OpRegisterThing            Op = "RegisterThing"
)

// rejected is the payload on the rejected topic of every operation.
type rejected struct {
	StatusCode   int    `json:"statusCode,omitempty"`
	ErrorCode    string `json:"errorCode,omitempty"`
	ErrorMessage string `json:"errorMessage,omitempty"`
}

// operate performs a provisioning operation and answers to the connection that
// asked. A hook holds up nothing else on it, and is not given up with it: AWS IoT
// has been asked.
func (s *Server) operate(by *session, o operation, p *packets.PublishPacket) {
	s.recordRequest(Request{Op: o.op, ClientID: by.ClientID(), Topic: o.topic, Payload: p.Payload})
	fault := s.take(o.op, by.ClientID())
	// A client that has seen this knows which request takes which fault.
	by.Acknowledge(p)
	if o.op == OpRegisterThing && s.Hook != nil {
		s.hooks.Go(func() { s.finish(by, o, p.Payload, fault) })
	} else {
		s.finish(by, o, p.Payload, fault)
	}
}

func (s *Server) finish(by *session, o operation, payload []byte, fault Fault) {
	var answer any
	rejection := fault.Reject
	if fault.Reject == nil && fault.Response == nil {
		answer, rejection = s.perform(by, o, payload)
	}
	s.logOperation(by, o, answer, rejection, fault)
	topic := o.topic + "/accepted"
	if rejection != nil {
		topic = o.topic + "/rejected"
		answer = rejected{rejection.StatusCode, rejection.Code, rejection.Message}
	}
	response := fault.Response
	if response == nil {
		response = o.format.encode(answer)
	}
	s.answer(by, topic, response, fault)
}

func (s *Server) perform(by *session, o operation, payload []byte) (any, *Rejection) {
	switch o.op {
	case OpCreateKeysAndCertificate:
		return s.createKeysAndCertificate(o.format, payload)
	case OpCreateCertificateFromCSR:
		return s.createCertificateFromCSR(o.format, payload)
	default:
		return s.registerThing(by, o.template, o.format, payload)
	}
}
