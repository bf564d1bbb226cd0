package mqttsession

import (
	"errors"
	"fmt"
)

// ErrProtocol is wrapped by errors about a packet that breaks MQTT 3.1.1, the
// limits of AWS IoT, or the exchange under way. The connection is closed.
var ErrProtocol = errors.New("the server broke the MQTT protocol")

// The return codes of CONNACK that callers distinguish.
const (
	ConnackServerUnavailable = 3
	ConnackNotAuthorized     = 5

	// ConnackNotAuthorizedAWS is what AWS IoT sends instead of 5 (AWS
	// developer guide, "mqtt", differences from the specification).
	ConnackNotAuthorizedAWS = 7
)

// ConnackError is a CONNECT that was refused.
type ConnackError struct{ Code byte }

func (e *ConnackError) Error() string {
	return fmt.Sprintf("CONNECT was refused with return code %d (%s)", e.Code, connackText(e.Code))
}

func connackText(code byte) string {
	switch code {
	case 1:
		return "unacceptable protocol version"
	case 2:
		return "identifier rejected"
	case ConnackServerUnavailable:
		return "server unavailable"
	case 4:
		return "bad user name or password"
	case ConnackNotAuthorized, ConnackNotAuthorizedAWS:
		return "not authorized"
	default:
		return "unknown"
	}
}

// SubackError is a topic filter that was refused.
type SubackError struct {
	Filter string
	Code   byte
}

func (e *SubackError) Error() string {
	return fmt.Sprintf("SUBSCRIBE to %s was refused with return code 0x%02x", e.Filter, e.Code)
}
