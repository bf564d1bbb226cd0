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

// validTopic reports whether a topic or a filter is within the limits. Of one that
// begins with $aws/rules/NAME/ they concern only the rest (Basic Ingest).
func validTopic(topic string) bool {
	if named, ok := strings.CutPrefix(topic, "$aws/rules/"); ok {
		_, topic, _ = strings.Cut(named, "/")
	}
	return len(topic) <= maxTopic && strings.Count(topic, "/") <= maxTopicSlashes
}

// reserved reports whether nobody but AWS IoT may give a topic a meaning.
func reserved(topic string) bool { return strings.HasPrefix(topic, "$") }

// keepAlive is what AWS IoT makes of the seconds in a CONNECT.
func keepAlive(seconds uint16) time.Duration {
	if seconds == 0 {
		return maxKeepAlive
	}
	return min(max(time.Duration(seconds)*time.Second, minKeepAlive), maxKeepAlive)
}
