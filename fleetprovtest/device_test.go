package fleetprovtest_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/fleetprov/fleetprov/fleetprovtest"
)

// provisionDevice provisions a device and connects as it.
func provisionDevice(t *testing.T, server *fleetprovtest.Server, name string) *client {
	t.Helper()
	_, certificate := connectAs(t, server, server.ClaimCertificate(), "claim-"+name).provision(`{"ThingName":"` + name + `"}`)
	return connectAs(t, server, certificate, name)
}

func TestDevicesTalkToEachOther(t *testing.T) {
	server := fleetprovtest.NewServer()
	defer server.Close()
	sender := provisionDevice(t, server, "sender")
	exact := provisionDevice(t, server, "exact")
	exact.subscribe("site/1/temperature")
	wild := provisionDevice(t, server, "wild")
	wild.subscribe("site/+/temperature", "site/#")
	other := provisionDevice(t, server, "other")
	other.subscribe("site/2/#")

	sender.publish("site/1/temperature", "21")
	for _, receiver := range []*client{exact, wild} {
		p := receiver.message()
		assert.Equal(t, "site/1/temperature", p.TopicName)
		assert.Equal(t, "21", string(p.Payload))
		assert.Equal(t, byte(1), p.Qos)
		receiver.ping() // delivered once, whatever the number of filters
	}
	other.ping()
}

func TestDeviceIsKeptFromReservedTopics(t *testing.T) {
	server := fleetprovtest.NewServer()
	defer server.Close()
	_, certificate := connectClaim(t, server).provision(`{}`)
	for name, act := range map[string]func(*client){
		"subscribe to a reserved topic": func(c *client) { c.sendSubscribe(1, 1, "$SYS/#") },
		"publish to a reserved topic":   func(c *client) { c.sendPublish(2, "$SYS/uptime", "") },
		"publish to a long topic":       func(c *client) { c.sendPublish(2, strings.Repeat("a", 257), "") },
		"publish eight levels deep":     func(c *client) { c.sendPublish(2, "a/b/c/d/e/f/g/h/i", "") },
	} {
		t.Run(name, func(t *testing.T) {
			c := connectAs(t, server, certificate, "device-1")
			act(c)
			c.closed()
		})
	}
}

func TestDeviceRotatesItsCertificate(t *testing.T) {
	server := fleetprovtest.NewServer()
	defer server.Close()
	first, certificate := connectClaim(t, server).provision(`{"SerialNumber":"SN-1"}`)
	second, _ := connectAs(t, server, certificate, "SN-1").provision(`{"SerialNumber":"SN-1","Round":"2"}`)

	assert.Equal(t, []fleetprovtest.Thing{{
		Name:           "SN-1",
		Parameters:     map[string]string{"SerialNumber": "SN-1", "Round": "2"},
		CertificateIDs: []string{first.CertificateID, second.CertificateID},
	}}, server.Things())
}
