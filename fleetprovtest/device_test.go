package fleetprovtest_test

import (
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

func TestDevicesSendMessagesToEachOther(t *testing.T) {
	server := fleetprovtest.NewServer()
	defer closeServer(t, server)
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
