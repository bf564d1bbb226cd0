package fleetprovtest_test

import (
	"errors"
	"io"
	"testing"

	"github.com/eclipse/paho.mqtt.golang/packets"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov/fleetprovtest"
)

func TestFaultsOfConnect(t *testing.T) {
	for _, test := range []struct {
		name   string
		fault  fleetprovtest.Fault
		expect func(*client)
	}{
		{"rejected with a return code", fleetprovtest.Fault{Reject: &fleetprovtest.Rejection{StatusCode: 7}}, func(c *client) {
			assert.Equal(c.t, byte(7), expect[*packets.ConnackPacket](c).ReturnCode)
			c.closed()
		}},
		{"rejected without one", fleetprovtest.Fault{Reject: &fleetprovtest.Rejection{}}, func(c *client) {
			assert.Equal(c.t, byte(5), expect[*packets.ConnackPacket](c).ReturnCode)
			c.closed()
		}},
		{"rejected by closing", fleetprovtest.Fault{Reject: &fleetprovtest.Rejection{}, Disconnect: true}, (*client).closed},
		{"closed", fleetprovtest.Fault{Disconnect: true}, (*client).closed},
		{"answered with another packet", fleetprovtest.Fault{Response: []byte{0x20, 2, 1, 0}}, func(c *client) {
			assert.True(c.t, expect[*packets.ConnackPacket](c).SessionPresent)
			c.ping()
		}},
		{"answered with raw bytes and closed", fleetprovtest.Fault{Raw: []byte("HTTP"), Disconnect: true}, func(c *client) {
			all, err := io.ReadAll(c.conn)
			assert.NoError(c.t, err)
			assert.Equal(c.t, "HTTP", string(all))
		}},
		{"answered twice", fleetprovtest.Fault{Duplicate: true}, func(c *client) {
			expect[*packets.ConnackPacket](c)
			expect[*packets.ConnackPacket](c)
			c.ping()
		}},
		{"not answered", fleetprovtest.Fault{Drop: true}, (*client).ping},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := fleetprovtest.NewServer()
			defer closeServer(t, server)
			server.Inject(fleetprovtest.OpConnect, test.fault)
			c, err := dial(t, server, clientConfig(server, server.ClaimCertificate()))
			require.NoError(t, err)
			c.sendConnect("device-1")
			test.expect(c)
			connectAs(t, server, server.ClaimCertificate(), "device-2") // only one request takes a fault
		})
	}
}

func TestFaultsOfSubscribe(t *testing.T) {
	suback := func(codes ...byte) func(*client) {
		return func(c *client) {
			c.t.Helper()
			ack := expect[*packets.SubackPacket](c)
			assert.Equal(c.t, uint16(9), ack.MessageID)
			assert.Equal(c.t, codes, ack.ReturnCodes)
		}
	}
	for _, test := range []struct {
		name    string
		fault   fleetprovtest.Fault
		expect  func(*client)
		granted bool
	}{
		{"rejected", fleetprovtest.Fault{Reject: &fleetprovtest.Rejection{}}, suback(0x80, 0x80, 0x80, 0x80), false},
		{"rejected with a return code", fleetprovtest.Fault{Reject: &fleetprovtest.Rejection{StatusCode: 0x87}}, suback(0x87, 0x87, 0x87, 0x87), false},
		{"answered with too many codes", fleetprovtest.Fault{Response: []byte{0x90, 7, 0, 9, 1, 1, 1, 1, 1}}, suback(1, 1, 1, 1, 1), true},
		{"answered with a broken packet", fleetprovtest.Fault{Raw: []byte{0x90, 0}}, func(c *client) {
			frame := make([]byte, 2)
			_, err := io.ReadFull(c.conn, frame)
			require.NoError(c.t, err)
			assert.Equal(c.t, []byte{0x90, 0}, frame)
		}, true},
		{"answered twice", fleetprovtest.Fault{Duplicate: true}, func(c *client) {
			suback(1, 1, 1, 1)(c)
			suback(1, 1, 1, 1)(c)
		}, true},
		{"not answered", fleetprovtest.Fault{Drop: true}, (*client).ping, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := fleetprovtest.NewUnstartedServer()
			server.RequireSubscription = true // so that an answer shows what was granted
			server.Start()
			defer closeServer(t, server)
			server.Inject(fleetprovtest.OpSubscribe, test.fault)
			c := connectClaim(t, server)
			c.sendSubscribe(9, 1, flowFilters...)
			test.expect(c)
			c.publish(createTopic, "not JSON")
			if test.granted {
				assert.Equal(t, createTopic+"/rejected", c.message().TopicName)
			}
			c.ping()
		})
	}

	t.Run("closed", func(t *testing.T) {
		server := fleetprovtest.NewServer()
		defer closeServer(t, server)
		server.Inject(fleetprovtest.OpSubscribe, fleetprovtest.Fault{Disconnect: true})
		c := connectClaim(t, server)
		c.sendSubscribe(9, 1, flowFilters...)
		c.closed()
	})
}

func TestFaultsOfOperations(t *testing.T) {
	throttled := &fleetprovtest.Rejection{StatusCode: 429, Code: "Throttled", Message: "Slow down."}
	answer := func(suffix, payload string) func(*client) {
		return func(c *client) {
			c.t.Helper()
			p := c.message()
			assert.Equal(c.t, registerTopic+suffix, p.TopicName)
			assert.Equal(c.t, payload, string(p.Payload))
			c.ping()
		}
	}
	for _, test := range []struct {
		name   string
		fault  fleetprovtest.Fault
		expect func(*client)
		effect bool
	}{
		{"rejected", fleetprovtest.Fault{Reject: throttled},
			answer("/rejected", `{"statusCode":429,"errorCode":"Throttled","errorMessage":"Slow down."}`), false},
		{"rejected with nothing to say", fleetprovtest.Fault{Reject: &fleetprovtest.Rejection{}},
			answer("/rejected", `{}`), false},
		{"rejected with another payload", fleetprovtest.Fault{Reject: throttled, Response: []byte("<html>")},
			answer("/rejected", `<html>`), false},
		{"rejected by closing", fleetprovtest.Fault{Reject: throttled, Disconnect: true}, (*client).closed, false},
		{"accepted with another payload", fleetprovtest.Fault{Response: []byte("")}, answer("/accepted", ""), false},
		{"not answered", fleetprovtest.Fault{Drop: true}, (*client).ping, true},
		{"closed", fleetprovtest.Fault{Disconnect: true}, (*client).closed, true},
		{"answered with 256 MB announced", fleetprovtest.Fault{Raw: []byte{0x30, 0xff, 0xff, 0xff, 0x7f}}, func(c *client) {
			header := make([]byte, 5)
			_, err := io.ReadFull(c.conn, header)
			require.NoError(c.t, err)
			assert.Equal(c.t, []byte{0x30, 0xff, 0xff, 0xff, 0x7f}, header)
			c.ping()
		}, true},
		{"answered with half a packet and closed", fleetprovtest.Fault{Raw: []byte{0x30, 9, 0}, Disconnect: true}, func(c *client) {
			_, err := packets.ReadPacket(c.conn)
			assert.True(c.t, errors.Is(err, io.ErrUnexpectedEOF), "%v", err)
		}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := fleetprovtest.NewServer()
			defer closeServer(t, server)
			server.Inject(fleetprovtest.OpRegisterThing, test.fault)
			c := connectClaim(t, server)
			c.subscribe(flowFilters...)
			keys := c.createKeys()
			c.publish(registerTopic, `{"certificateOwnershipToken":"`+keys.CertificateOwnershipToken+`"}`)
			test.expect(c)
			if test.effect {
				assert.Len(t, server.Things(), 1)
			} else {
				assert.Empty(t, server.Things())
			}
		})
	}
}

func TestFaultsQueueForEachOperation(t *testing.T) {
	server := fleetprovtest.NewServer()
	defer closeServer(t, server)
	for _, status := range []int{500, 429} {
		server.Inject(fleetprovtest.OpCreateCertificateFromCSR, fleetprovtest.Fault{Reject: &fleetprovtest.Rejection{StatusCode: status}})
	}
	c := connectClaim(t, server)
	c.subscribe(csrTopic+"/accepted", csrTopic+"/rejected", createTopic+"/accepted")
	assert.JSONEq(t, `{"statusCode":500}`, string(c.request(csrTopic, "{}").Payload))
	assert.Equal(t, createTopic+"/accepted", c.request(createTopic, "").TopicName)
	assert.JSONEq(t, `{"statusCode":429}`, string(c.request(csrTopic, "{}").Payload))
	assert.Contains(t, string(c.request(csrTopic, "{}").Payload), `"statusCode":400`)
}
