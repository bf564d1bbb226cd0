package broker

import packets5 "github.com/eclipse/paho.golang/packets"

// Bounds of a Message Expiry Interval in seconds (mqtt, section Message expiry).
const (
	minMessageExpiry = 1
	maxMessageExpiry = 7 * 24 * 60 * 60
)

// forwarded returns the properties of a message that its receivers get (MQTT 5
// section 3.3.2.3). A message is passed on at once, with all of its time left.
func forwarded(of *packets5.Properties) *packets5.Properties {
	properties := &packets5.Properties{
		PayloadFormat:   of.PayloadFormat,
		ContentType:     of.ContentType,
		ResponseTopic:   of.ResponseTopic,
		CorrelationData: of.CorrelationData,
		User:            of.User,
	}
	if of.MessageExpiry != nil {
		properties.MessageExpiry = new32(min(max(*of.MessageExpiry, minMessageExpiry), maxMessageExpiry))
	}
	return properties
}
