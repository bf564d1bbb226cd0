package fleetprovtest_test

import (
	"strings"
	"testing"

	"github.com/eclipse/paho.mqtt.golang/packets"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov/fleetprovtest"
)

func TestClientIDs(t *testing.T) {
	server := fleetprovtest.NewServer()
	defer server.Close()
	for _, test := range []struct {
		name     string
		clientID string
		accepted bool
	}{
		{"one byte is enough", "a", true},
		{"128 bytes are the most", strings.Repeat("a", 128), true},
		{"129 bytes are too many", strings.Repeat("a", 129), false},
		{"none is not enough", "", false},
		{"a dollar sign is reserved", "$device", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, err := dial(t, server, clientConfig(server, server.ClaimCertificate()))
			require.NoError(t, err)
			if test.accepted {
				c.connect(test.clientID)
				return
			}
			c.sendConnect(test.clientID)
			c.closed()
		})
	}
}

func TestSecondConnectionDropsTheFirst(t *testing.T) {
	server := fleetprovtest.NewServer()
	defer server.Close()
	first := connectAs(t, server, server.ClaimCertificate(), "device-1")
	other := connectAs(t, server, server.ClaimCertificate(), "device-2")
	second := connectAs(t, server, server.ClaimCertificate(), "device-1")
	first.closed()
	second.ping()
	other.ping()
}

func TestClaimMaySubscribeToAnswersOnly(t *testing.T) {
	server := fleetprovtest.NewServer()
	defer server.Close()
	for _, test := range []struct {
		name    string
		filters []string
		allowed bool
	}{
		{"the answers of the flow", flowFilters, true},
		{"the answers in CBOR", []string{
			"$aws/certificates/create/cbor/accepted",
			"$aws/certificates/create/cbor/rejected",
			"$aws/certificates/create-from-csr/cbor/accepted",
			"$aws/certificates/create-from-csr/cbor/rejected",
			"$aws/provisioning-templates/test-template/provision/cbor/accepted",
			"$aws/provisioning-templates/test-template/provision/cbor/rejected",
			"$aws/certificates/create-from-csr/json/accepted",
			"$aws/certificates/create-from-csr/json/rejected",
		}, true},
		{"another template", []string{"$aws/provisioning-templates/other/provision/json/accepted"}, true},
		{"an ordinary topic", []string{"telemetry"}, false},
		{"an ordinary topic among answers", append([]string{"telemetry"}, flowFilters...), false},
		{"everything", []string{"#"}, false},
		{"a wildcard over answers", []string{"$aws/certificates/create/json/+"}, false},
		{"requests", []string{"$aws/certificates/create/json"}, false},
		{"a format that does not exist", []string{"$aws/certificates/create/xml/accepted"}, false},
		{"an answer that does not exist", []string{"$aws/certificates/create/json/maybe"}, false},
		{"another reserved topic", []string{"$aws/things/device-1/shadow/get/accepted"}, false},
		{"a template name that cannot be", []string{"$aws/provisioning-templates/" + strings.Repeat("a", 37) + "/provision/json/accepted"}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := connectClaim(t, server)
			c.sendSubscribe(1, 1, test.filters...)
			if test.allowed {
				assert.Len(t, expect[*packets.SubackPacket](c).ReturnCodes, len(test.filters))
				c.ping()
			} else {
				c.closed()
			}
		})
	}
}

func TestClaimMayPublishRequestsOnly(t *testing.T) {
	server := fleetprovtest.NewServer()
	defer server.Close()
	for _, topic := range []string{
		"telemetry",
		"$aws/certificates/create/json/accepted",
		"$aws/certificates/create/xml",
		"$aws/certificates/create",
		"$aws/provisioning-templates/test-template/provision",
		"$aws/provisioning-templates//provision/json",
		"$aws/things/device-1/shadow/update",
	} {
		t.Run(topic, func(t *testing.T) {
			c := connectClaim(t, server)
			c.subscribe(flowFilters...)
			c.sendPublish(2, topic, "{}")
			c.closed()
		})
	}
	assert.Empty(t, server.Certificates())
}

func TestRulesOfTheConnection(t *testing.T) {
	server := fleetprovtest.NewServer()
	defer server.Close()
	publish := func(change func(*packets.PublishPacket)) packets.ControlPacket {
		p := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
		p.TopicName = createTopic
		change(p)
		return p
	}
	for _, test := range []struct {
		name   string
		act    func(*client)
		expect func(*client)
	}{
		{"nine filters are too many", func(c *client) {
			c.sendSubscribe(1, 1, append(flowFilters, append(flowFilters, flowFilters[0])...)...)
		}, (*client).closed},
		{"a subscription at QoS 2 is met with silence", func(c *client) {
			c.sendSubscribe(1, 2, flowFilters...)
		}, (*client).ping},
		{"a message at QoS 2 is met with silence", func(c *client) {
			c.send(publish(func(p *packets.PublishPacket) { p.Qos, p.MessageID = 2, 1 }))
		}, (*client).ping},
		{"a retained request ends the connection", func(c *client) {
			c.send(publish(func(p *packets.PublishPacket) { p.Retain = true }))
		}, (*client).closed},
		{"a payload over 128 KB ends the connection", func(c *client) {
			// The server need not read it all.
			publish(func(p *packets.PublishPacket) { p.Payload = make([]byte, 128<<10+1) }).Write(c.conn)
		}, (*client).closed},
		{"a payload of 128 KB does not", func(c *client) {
			c.send(publish(func(p *packets.PublishPacket) { p.Payload = make([]byte, 128<<10) }))
		}, func(c *client) {
			c.message() // it is refused for being no JSON
			c.ping()
		}},
		{"a second CONNECT ends the connection", func(c *client) { c.sendConnect("again") }, (*client).closed},
		{"DISCONNECT ends the connection", func(c *client) {
			c.send(packets.NewControlPacket(packets.Disconnect))
		}, (*client).closed},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := connectClaim(t, server)
			c.subscribe(createTopic + "/rejected") // not to what an operation that succeeds answers
			before := len(server.Certificates())
			test.act(c)
			test.expect(c)
			assert.Len(t, server.Certificates(), before)
		})
	}
}

func TestNothingMayBeSentBeforeTheCONNACK(t *testing.T) {
	server := fleetprovtest.NewServer()
	defer server.Close()
	server.Inject(fleetprovtest.OpConnect, fleetprovtest.Fault{Delay: patience})
	c, err := dial(t, server, clientConfig(server, server.ClaimCertificate()))
	require.NoError(t, err)
	c.sendConnect("device-1")
	c.sendSubscribe(1, 1, flowFilters...)
	c.closed()
}

func TestAnswersGoToTheConnectionThatAskedIfItListens(t *testing.T) {
	server := fleetprovtest.NewServer()
	defer server.Close()
	asking := connectAs(t, server, server.ClaimCertificate(), "asking")
	asking.subscribe(flowFilters...)
	listening := connectAs(t, server, server.ClaimCertificate(), "listening")
	listening.subscribe(flowFilters...)
	deaf := connectAs(t, server, server.ClaimCertificate(), "deaf")

	asking.createKeys()
	listening.ping()

	deaf.publish(createTopic, "")
	deaf.ping()
	assert.Len(t, server.Certificates(), 2, "what is not listened to takes effect")

	deaf.sendSubscribe(1, 0, createTopic+"/accepted")
	assert.Equal(t, []byte{0}, expect[*packets.SubackPacket](deaf).ReturnCodes)
	deaf.publish(createTopic, "")
	assert.Equal(t, byte(0), deaf.message().Qos, "an answer comes with the QoS that was granted")
}
