package fleetprovtest

import (
	"strings"
	"time"
)

// Limits of AWS IoT for a connection (mqtt, protocols).
const (
	maxClientID      = 128 // bytes
	maxFilters       = 8   // in a SUBSCRIBE
	maxSubscriptions = 50  // of a connection
	maxTopic         = 256 // bytes
	maxTopicSlashes  = 7
	minKeepAlive     = 30 * time.Second
	maxKeepAlive     = 1200 * time.Second
)

func validClientID(id string) bool {
	return id != "" && len(id) <= maxClientID && !strings.HasPrefix(id, "$")
}

// validTopic reports whether a topic or a filter is within the limits. Behind
// $aws/rules/NAME/ only the rest counts (Basic Ingest).
func validTopic(topic string) bool {
	if named, ok := strings.CutPrefix(topic, "$aws/rules/"); ok {
		_, topic, _ = strings.Cut(named, "/")
	}
	return len(topic) <= maxTopic && strings.Count(topic, "/") <= maxTopicSlashes
}

// reserved reports whether a topic is reserved for AWS IoT (reserved-topics).
func reserved(topic string) bool { return strings.HasPrefix(topic, "$") }

// keepAlive returns the keep-alive that AWS IoT applies for the seconds in a CONNECT
// (mqtt).
func keepAlive(seconds uint16) time.Duration {
	if seconds == 0 {
		return maxKeepAlive
	}
	return min(max(time.Duration(seconds)*time.Second, minKeepAlive), maxKeepAlive)
}
