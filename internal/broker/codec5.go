package broker

import (
	"bytes"
	"crypto/rand"

	packets5 "github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.mqtt.golang/packets"
)

// codec5 is the codec of MQTT 5 for one connection, with the limits of AWS IoT
// (mqtt, section MQTT 5 supported features). It remembers what later packets depend
// on.
type codec5 struct {
	keepAlive     uint16 // seconds, as the client asked
	sessionExpiry bool   // the client asked for a session that outlives the connection
	assignedID    string // if the client sent none
	maxPacket     uint32 // bytes that the client takes; 0: any number

	aliases map[uint16]string // topics, by the aliases that the client has given them
}

func (c *codec5) decode(f frame) (packets.ControlPacket, error) {
	if !wellFormed5(f) {
		return nil, errMalformed
	}
	p, err := parse5(f)
	if err != nil {
		return nil, errMalformed
	}
	switch p := p.(type) {
	case *packets5.Connect:
		return c.connect(p)
	case *packets5.Publish:
		return c.publish(p)
	case *packets5.Subscribe:
		return newSubscribe(p)
	case *packets5.Unsubscribe:
		unsubscribe := packets.NewControlPacket(packets.Unsubscribe).(*packets.UnsubscribePacket)
		unsubscribe.MessageID, unsubscribe.Topics = p.PacketID, p.Topics
		if !valid(unsubscribe) {
			return nil, errMalformed
		}
		return unsubscribe, nil
	case *packets5.Puback:
		ack := packets.NewControlPacket(packets.Puback).(*packets.PubackPacket)
		ack.MessageID = p.PacketID
		return ack, nil
	default: // PINGREQ or DISCONNECT
		return packets.NewControlPacket(f.packetType()), nil
	}
}

// parse5 parses a well-formed packet from a client.
func parse5(f frame) (packets5.Packet, error) {
	content := packets5.NewControlPacket(f.packetType()).Content
	if publish, ok := content.(*packets5.Publish); ok {
		publish.Duplicate, publish.QoS, publish.Retain = f.first&8 != 0, f.first>>1&3, f.first&1 != 0
	}
	// The content of a DISCONNECT does not matter here, and the paho decoder fails if
	// the reason code is left out, which is allowed.
	if _, ok := content.(*packets5.Disconnect); ok {
		return content, nil
	}
	return content, content.Unpack(bytes.NewBuffer(f.body))
}

func (c *codec5) connect(p *packets5.Connect) (packets.ControlPacket, error) {
	connect := packets.NewControlPacket(packets.Connect).(*packets.ConnectPacket)
	connect.ProtocolName, connect.ProtocolVersion = p.ProtocolName, p.ProtocolVersion
	connect.CleanSession, connect.Keepalive, connect.ClientIdentifier = p.CleanStart, p.KeepAlive, p.ClientID
	connect.WillFlag, connect.WillQos, connect.WillRetain = p.WillFlag, p.WillQOS, p.WillRetain
	connect.WillTopic, connect.WillMessage = p.WillTopic, p.WillMessage
	connect.UsernameFlag, connect.Username = p.UsernameFlag, p.Username
	connect.PasswordFlag, connect.Password = p.PasswordFlag, p.Password

	properties := p.Properties
	switch {
	case properties.AuthMethod != "":
		return nil, errAuthMethod
	case properties.ReceiveMaximum != nil && *properties.ReceiveMaximum == 0,
		properties.MaximumPacketSize != nil && *properties.MaximumPacketSize == 0:
		return nil, errProperty
	case p.WillFlag && p.WillQOS > 1:
		return nil, errQoS
	case p.WillFlag && !validTopic(p.WillTopic):
		return nil, errWillTopic
	}
	if properties.MaximumPacketSize != nil {
		c.maxPacket = *properties.MaximumPacketSize
	}
	if p.ClientID == "" {
		c.assignedID = rand.Text()
		connect.ClientIdentifier = c.assignedID
	}
	c.keepAlive = p.KeepAlive
	c.sessionExpiry = properties.SessionExpiryInterval != nil && *properties.SessionExpiryInterval > 0
	return connect, nil
}

func (c *codec5) publish(p *packets5.Publish) (packets.ControlPacket, error) {
	publish := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
	publish.Dup, publish.Qos, publish.Retain = p.Duplicate, p.QoS, p.Retain
	publish.TopicName, publish.MessageID, publish.Payload = p.Topic, p.PacketID, p.Payload

	if alias := p.Properties.TopicAlias; alias != nil {
		switch {
		case *alias == 0 || *alias > maxTopicAlias:
			return nil, errTopicAlias
		case p.Topic == "": // stays empty if the alias is unknown
			publish.TopicName = c.aliases[*alias]
		default:
			if c.aliases == nil {
				c.aliases = make(map[uint16]string)
			}
			c.aliases[*alias] = p.Topic
		}
	}
	switch response := p.Properties.ResponseTopic; {
	case publish.TopicName == "", response != "" && !validTopic(response), p.Properties.SubscriptionIdentifier != nil:
		return nil, errProperty
	case p.QoS == 2:
		return nil, errQoS
	case len(p.Payload) > maxPayload:
		return nil, errPayload
	case !valid(publish):
		return nil, errMalformed
	}
	return &message{publish, forwarded(p.Properties)}, nil
}

func newSubscribe(p *packets5.Subscribe) (packets.ControlPacket, error) {
	base := packets.NewControlPacket(packets.Subscribe).(*packets.SubscribePacket)
	base.MessageID = p.PacketID
	options := make(map[string]packets5.SubOptions, len(p.Subscriptions))
	for _, o := range p.Subscriptions {
		if o.RetainHandling > 2 {
			return nil, errMalformed
		}
		base.Topics, base.Qoss = append(base.Topics, o.Topic), append(base.Qoss, o.QoS)
		options[o.Topic] = o
	}
	switch {
	case !valid(base):
		return nil, errMalformed
	case p.Properties.SubscriptionIdentifier != nil:
		return nil, errSubscription
	}
	return &subscribe{base, options}, nil
}

func (c *codec5) encode(p packets.ControlPacket) []byte {
	var b bytes.Buffer
	switch p := p.(type) {
	case *connack:
		c.connack(p).WriteTo(&b)
	case *message:
		publish := packets5.Publish{
			Duplicate: p.Dup, QoS: p.Qos, Retain: p.Retain,
			Topic: p.TopicName, PacketID: p.MessageID, Payload: p.Payload, Properties: p.properties,
		}
		publish.WriteTo(&b)
	case *packets.PublishPacket:
		return c.encode(&message{PublishPacket: p})
	case *packets.PubackPacket:
		(&packets5.Puback{PacketID: p.MessageID}).WriteTo(&b)
	case *packets.SubackPacket:
		(&packets5.Suback{PacketID: p.MessageID, Reasons: reasons5(p.ReturnCodes)}).WriteTo(&b)
	case *unsuback:
		(&packets5.Unsuback{PacketID: p.MessageID, Reasons: make([]byte, p.filters)}).WriteTo(&b)
	case *farewell:
		if p.answered {
			(&packets5.Disconnect{ReasonCode: p.code}).WriteTo(&b)
		} else {
			(&packets5.Connack{ReasonCode: p.code}).WriteTo(&b)
		}
	default: // PINGRESP, which has not changed
		p.Write(&b)
	}
	if c.maxPacket > 0 && uint64(b.Len()) > uint64(c.maxPacket) {
		return nil // the server must not send it (MQTT 5 section 3.1.2.11.4)
	}
	return b.Bytes()
}

// reasons5 translates the return codes of a SUBACK. AWS IoT refuses a
// filter only if a permission is missing.
func reasons5(codes []byte) []byte {
	reasons := make([]byte, len(codes))
	for i, code := range codes {
		if reasons[i] = code; code == 0x80 {
			reasons[i] = NotAuthorized
		}
	}
	return reasons
}
