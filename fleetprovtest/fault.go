package fleetprovtest

import (
	"slices"
	"strings"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"github.com/fleetprov/fleetprov/internal/broker"
)

// Fault is one way to misbehave. The zero Fault does nothing: if it is injected, one
// request passes unharmed.
//
// The operation, be it the registration of a client id, a subscription or a
// provisioning operation, takes effect as if nothing were wrong, unless Reject
// or Response is set. What is sent is Raw, or else nothing if Drop or
// Disconnect is set, or else the answer.
type Fault struct {
	// Delay is how long the answer waits. The operation takes effect before
	// the wait, except for Connect, where the client must not send anything until
	// the wait is over. Other connections, and other requests on the same
	// one, do not wait. It combines with every other field.
	Delay time.Duration

	// Reject refuses the operation, which then has no effect.
	Reject *Rejection

	// Response is sent in place of the real answer. For a provisioning
	// operation it is the payload on the accepted topic, or on the rejected
	// one if Reject is set, and the operation has no effect. For Connect and
	// Subscribe it is the whole packet in place of the CONNACK or SUBACK, and
	// the operation has its effect.
	Response []byte

	// Raw is written to the connection in place of any answer, inside TLS but
	// outside of any packet.
	Raw []byte

	// Drop never sends the answer.
	Drop bool

	// Duplicate sends the answer twice, the second time under a new packet id
	// where it has one.
	Duplicate bool

	// Disconnect closes the connection in place of sending the answer, or
	// after Raw.
	Disconnect bool
}

// Rejection is how AWS IoT says no.
type Rejection struct {
	// StatusCode is the statusCode of a provisioning operation, the CONNACK
	// return code of Connect (5 if it is 0), or the SUBACK return code of
	// Subscribe for every filter (0x80 if it is 0).
	StatusCode int

	// Code and Message are the errorCode and the errorMessage of a
	// provisioning operation. Those of the three
	// fields that are zero are left out of the answer.
	Code, Message string
}

// words says what the fault does, for the log, but not what it sends.
func (f Fault) words() string {
	var words []string
	if f.Delay > 0 {
		words = append(words, "delayed by "+f.Delay.String())
	}
	for word, is := range map[string]bool{
		"rejected": f.Reject != nil, "another answer": f.Response != nil, "raw bytes": f.Raw != nil,
		"not answered": f.Drop, "answered twice": f.Duplicate, "disconnected": f.Disconnect,
	} {
		if is {
			words = append(words, word)
		}
	}
	slices.Sort(words)
	return strings.Join(words, ", ")
}

// acknowledge sends the acknowledgement of a Connect or Subscribe, or what the fault
// makes of it.
func (f Fault) acknowledge(c *broker.Conn, ack packets.ControlPacket) {
	f.send(c, func() {
		if f.Response != nil {
			c.SendRaw(f.Response)
		} else {
			c.Send(ack)
		}
	})
}

// send calls answer as often as the fault lets an answer through.
func (f Fault) send(c *broker.Conn, answer func()) {
	switch {
	case f.Raw != nil:
		c.SendRaw(f.Raw)
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
		c.Fail(reason(broker.QuotaExceeded, "%s", why))
	}
}
