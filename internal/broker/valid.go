package broker

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

// valid reports whether a packet from a client follows the rules of MQTT that the
// encoding does not enforce.
func valid(p packets.ControlPacket) bool {
	switch p := p.(type) {
	case *packets.ConnectPacket:
		return validString(p.ClientIdentifier)
	case *packets.PublishPacket:
		return p.Qos <= 2 && (p.Qos == 0 || p.MessageID != 0) && validTopic(p.TopicName)
	case *packets.SubscribePacket:
		tooHigh := func(qos byte) bool { return qos > 2 }
		return p.MessageID != 0 && validFilters(p.Topics) && !slices.ContainsFunc(p.Qoss, tooHigh)
	case *packets.UnsubscribePacket:
		return p.MessageID != 0 && validFilters(p.Topics)
	}
	return true
}

// validTopic reports whether a message may be published to a topic.
func validTopic(topic string) bool {
	return topic != "" && validString(topic) && !strings.ContainsAny(topic, "+#")
}

func validFilters(filters []string) bool {
	for _, filter := range filters {
		if !validFilter(filter) {
			return false
		}
	}
	return len(filters) > 0
}

// validString reports whether s may stand in a packet (MQTT 3.1.1 section 1.5.3).
func validString(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsRune(s, 0)
}
