package broker

import (
	"time"

	packets5 "github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.mqtt.golang/packets"
)

// What AWS IoT announces in its CONNACK (mqtt, section MQTT 5 properties).
const (
	receiveMaximum = 100 // unacknowledged messages
	maxTopicAlias  = 8
)

func (c *codec5) connack(p *connack) *packets5.Connack {
	ack := &packets5.Connack{ReasonCode: reason5(p.ReturnCode), SessionPresent: p.SessionPresent}
	if ack.ReasonCode != 0 {
		return ack
	}
	ack.Properties = &packets5.Properties{
		AssignedClientID:     c.assignedID,
		ReceiveMaximum:       new16(receiveMaximum),
		TopicAliasMaximum:    new16(maxTopicAlias),
		MaximumPacketSize:    new32(maxPacket),
		MaximumQOS:           new8(1),
		RetainAvailable:      new8(1),
		WildcardSubAvailable: new8(1),
		SubIDAvailable:       new8(0),
		SharedSubAvailable:   new8(0),
	}
	if granted := uint16(p.keepAlive / time.Second); granted != c.keepAlive {
		ack.Properties.ServerKeepAlive = &granted
	}
	if c.sessionExpiry {
		ack.Properties.SessionExpiryInterval = new32(0)
	}
	return ack
}

// reason5 translates the return code of a CONNACK (MQTT 3.1.1 section 3.2.2.3,
// and AWS's page mqtt for 7). Codes from 0x80 are those of MQTT 5 already.
func reason5(code byte) byte {
	switch code {
	case packets.ErrRefusedBadProtocolVersion:
		return packets5.ConnackUnsupportedProtocolVersion
	case packets.ErrRefusedIDRejected:
		return packets5.ConnackInvalidClientID
	case packets.ErrRefusedServerUnavailable:
		return packets5.ConnackServerUnavailable
	case packets.ErrRefusedBadUsernameOrPassword:
		return packets5.ConnackBadUsernameOrPassword
	case packets.ErrRefusedNotAuthorised, 7:
		return packets5.ConnackNotAuthorized
	}
	if code > 0 && code < 0x80 {
		return packets5.ConnackUnspecifiedError
	}
	return code
}

func new8(v byte) *byte      { return &v }
func new16(v uint16) *uint16 { return &v }
func new32(v uint32) *uint32 { return &v }
