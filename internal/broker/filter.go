package broker

import "strings"

// validFilter reports whether a topic filter keeps the rules of MQTT 3.1.1
// section 4.7: # and + are whole levels, and # is the last one.
func validFilter(filter string) bool {
	if filter == "" || !validString(filter) {
		return false
	}
	levels := strings.Split(filter, "/")
	for i, level := range levels {
		switch {
		case level == "+" || level == "#" && i == len(levels)-1:
		case strings.ContainsAny(level, "+#"):
			return false
		}
	}
	return true
}

// match reports whether a valid topic filter matches a topic. A wildcard in the
// first level matches no topic that starts with $ (MQTT 3.1.1 section 4.7.2).
// Unlike in MQTT, a/# does not match a (mqtt, section AWS IoT differences from
// MQTT specifications).
func match(filter, topic string) bool {
	if strings.HasPrefix(topic, "$") && !strings.HasPrefix(filter, "$") {
		return false
	}
	for {
		want, restOfFilter, moreFilter := strings.Cut(filter, "/")
		if want == "#" {
			return true
		}
		level, restOfTopic, moreTopic := strings.Cut(topic, "/")
		switch {
		case want != "+" && want != level:
			return false
		case !moreTopic:
			return !moreFilter
		case !moreFilter:
			return false
		}
		filter, topic = restOfFilter, restOfTopic
	}
}
