package broker

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestMatch(t *testing.T) {
	// The examples of MQTT 3.1.1 section 4.7 and of AWS IoT's differences from
	// it, and some more.
	for _, test := range []struct {
		filter, topic string
		want          bool
	}{
		{"sensor/#", "sensor/", true},
		{"sensor/#", "sensor/temperature", true},
		{"sensor/#", "sensor/temperature/room1", true},
		{"sensor/#", "sensor", false},
		{"sport/tennis/player1/#", "sport/tennis/player1", false},
		{"sport/tennis/player1/#", "sport/tennis/player1/ranking", true},
		{"sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true},
		{"sport/tennis/player1/#", "sport/tennis/player2", false},
		{"sport/#", "sport", false},
		{"#", "sport", true},
		{"#", "/", true},
		{"sport/tennis/+", "sport/tennis/player1", true},
		{"sport/tennis/+", "sport/tennis/player1/ranking", false},
		{"sport/+", "sport", false},
		{"sport/+", "sport/", true},
		{"+/+", "/finance", true},
		{"/+", "/finance", true},
		{"+", "/finance", false},
		{"#", "$SYS/uptime", false},
		{"+/monitor/Clients", "$SYS/monitor/Clients", false},
		{"$SYS/#", "$SYS/uptime", true},
		{"$SYS/monitor/+", "$SYS/monitor/Clients", true},
		{"accounts", "Accounts", false},
		{"a", "a/", false},
		{"a/", "a", false},
		{"a/b", "a", false},
		{"a/+/c", "a/b/c", true},
		{"a/+/c", "a//c", true},
		{"a/+/#", "a", false},
		{"a/+/#", "a/b", false},
		{"a/+/#", "a/b/c", true},
	} {
		assert.Equal(t, test.want, match(test.filter, test.topic), "%s and %s", test.filter, test.topic)
	}
}

func TestValidFilter(t *testing.T) {
	for filter, want := range map[string]bool{
		"#": true, "+": true, "+/tennis/#": true, "sport/+/player1": true, "/": true, "a//b": true,
		"sport/tennis#": false, "sport/tennis/#/ranking": false, "sport+": false, "##": false, "+a/b": false,
		"": false, "a\x00b": false, "\xff": false,
	} {
		assert.Equal(t, want, validFilter(filter), "%q", filter)
	}
}

func FuzzMatch(f *testing.F) {
	f.Add("a/+/#", "a/b/c")
	f.Add("$SYS/#", "$SYS/uptime")
	f.Add("a//b", "a//b")
	f.Fuzz(func(t *testing.T, filter, topic string) {
		if !validFilter(filter) || topic == "" || strings.ContainsAny(topic, "+#") {
			return
		}
		require.Equal(t, matchLevels(strings.Split(filter, "/"), strings.Split(topic, "/")) &&
			(topic[0] != '$' || filter[0] == '$'), match(filter, topic))
	})
}

// matchLevels does what match does, in another way.
func matchLevels(filter, topic []string) bool {
	switch {
	case len(filter) > 0 && filter[0] == "#":
		return len(topic) > 0
	case len(filter) == 0 || len(topic) == 0:
		return len(filter) == len(topic)
	default:
		return (filter[0] == "+" || filter[0] == topic[0]) && matchLevels(filter[1:], topic[1:])
	}
}
