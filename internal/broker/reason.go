package broker

// Reason codes for the end of a connection over MQTT 5. AWS IoT documents all of
// them (mqtt, section MQTT reason codes) except BadAuthenticationMethod and
// PacketTooLarge, which MQTT 5 defines.
const (
	MalformedPacket                    byte = 0x81
	ProtocolError                      byte = 0x82
	ClientIdentifierNotValid           byte = 0x85
	NotAuthorized                      byte = 0x87
	BadAuthenticationMethod            byte = 0x8C
	KeepAliveTimeout                   byte = 0x8D
	SessionTakenOver                   byte = 0x8E
	TopicFilterInvalid                 byte = 0x8F
	TopicNameInvalid                   byte = 0x90
	TopicAliasInvalid                  byte = 0x94
	PacketTooLarge                     byte = 0x95
	QuotaExceeded                      byte = 0x97
	AdministrativeAction               byte = 0x98
	QoSNotSupported                    byte = 0x9B
	SubscriptionIdentifiersUnsupported byte = 0xA1
)

// Reason is an error that a client of MQTT 5 learns the code of, see [Conn.Fail].
type Reason struct {
	Code byte // one of the constants
	Text string
}

// Error returns the text, which the client is not sent.
func (r *Reason) Error() string { return r.Text }

// Why a connection ends.
var (
	errBadConnect = &Reason{ProtocolError, "the CONNECT is for neither MQTT 3.1.1 nor MQTT 5"}
	errEarly      = &Reason{ProtocolError, "the client did not wait for the CONNACK"}
	errMalformed  = &Reason{MalformedPacket, "the packet is malformed"}
	errNoConnect  = &Reason{ProtocolError, "the first packet is not CONNECT"}
	errPayload    = &Reason{QuotaExceeded, "the payload is larger than 128 KB"}
	errSilent     = &Reason{KeepAliveTimeout, "the client was silent for longer than its keep-alive allows"}
	errTakenOver  = &Reason{SessionTakenOver, "another connection has the same client id"}
	errTooLarge   = &Reason{PacketTooLarge, "the packet is too large"}
	errUnexpected = &Reason{ProtocolError, "the client sent a packet of a type that is not allowed here"}
)

// Reasons for which only a connection over MQTT 5 can end.
var (
	errAuthMethod   = &Reason{BadAuthenticationMethod, "enhanced authentication is not supported"}
	errProperty     = &Reason{ProtocolError, "a property has a value that is not allowed"}
	errQoS          = &Reason{QoSNotSupported, "QoS 2 is not supported"}
	errSubscription = &Reason{SubscriptionIdentifiersUnsupported, "subscription identifiers are not supported"}
	errTopicAlias   = &Reason{TopicAliasInvalid, "the topic alias is out of range"}
	errWillTopic    = &Reason{TopicNameInvalid, "the topic of the will is not valid"}
)
