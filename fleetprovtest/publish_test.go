package fleetprovtest_test

import (
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
	"github.com/stretchr/testify/assert"

	"github.com/fleetprov/fleetprov/fleetprovtest"
)

func TestPublish(t *testing.T) {
	tooDeep := "AWS IoT Core quotas: a topic has up to 7 slashes and 256 bytes"
	rule := "AWS IoT Core quotas: the first three segments of a Basic Ingest topic, $aws/rules/rule-name/, do not count"
	unknown := "reserved-topics: topics that begin with $ are AWS's, and of these only the ones on the page take messages"
	topic := func(name, fact, topic string, accepted bool) behaviour {
		return behaviour{name: name, fact: fact, setup: claimPolicy(connects, publishes), steps: func(d *desk) {
			c := d.claim("device-1")
			c.sendPublish(5, topic, "{}")
			if accepted {
				c.reads("40 02 00 05")
				c.ping()
			} else {
				c.closedAfter(0)
			}
			assert.Empty(d, d.server.Certificates())
		}}
	}
	changed := func(change func(*packets.PublishPacket)) *packets.PublishPacket {
		p := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
		p.TopicName = csrTopic
		change(p)
		return p
	}
	walk(t, []behaviour{
		{
			name: "a message at QoS 0 is not acknowledged",
			fact: "mqtt: AWS IoT speaks MQTT 3.1.1 (its section 4.3.1)",
			steps: func(d *desk) {
				c := d.claim("device-1")
				c.subscribe(csrTopic + "/rejected")
				c.send(changed(func(p *packets.PublishPacket) { p.Payload = []byte(badCSR) }))
				rejects(d.T, c.message(), 400, "InvalidCertificateSigningRequest")
			},
		},
		{
			name: "a message at QoS 2 is never acknowledged and has no effect",
			fact: "mqtt: AWS IoT does not support QoS 2, and gives no answer to it",
			steps: func(d *desk) {
				c := d.claim("device-1")
				c.subscribe(csrTopic+"/accepted", csrTopic+"/rejected")
				c.send(changed(func(p *packets.PublishPacket) { p.Qos, p.MessageID = 2, 1 }))
				c.silent(time.Minute)
				c.ping()
			},
		},
		{
			name: "RETAIN on a reserved topic closes the connection",
			fact: "mqtt: a retained message on a topic that begins with $ is not allowed",
			steps: func(d *desk) {
				c := d.claim("device-1")
				c.subscribe(csrTopic + "/rejected")
				c.send(changed(func(p *packets.PublishPacket) { p.Retain = true }))
				c.closedAfter(0)
			},
		},
		{
			name: "a payload of 128 KB is accepted",
			fact: "AWS IoT Core quotas: a payload has up to 128 KB",
			steps: func(d *desk) {
				c := d.claim("device-1")
				c.subscribe(csrTopic + "/rejected")
				c.send(changed(func(p *packets.PublishPacket) { p.Payload = make([]byte, 128<<10) }))
				rejects(d.T, c.message(), 400, "InvalidRequest")
			},
		},
		{
			name: "a payload of 128 KB and one byte closes the connection",
			fact: "AWS IoT Core quotas: a payload has up to 128 KB",
			steps: func(d *desk) {
				c := d.claim("device-1")
				c.subscribe(csrTopic + "/rejected")
				c.wait(patience)
				changed(func(p *packets.PublishPacket) { p.Payload = make([]byte, 128<<10+1) }).Write(c.conn) // not all of which need be read
				c.closed()
			},
		},
		topic("a topic of 256 bytes is accepted", tooDeep, strings.Repeat("a", 256), true),
		topic("a topic of 257 bytes closes the connection", tooDeep, strings.Repeat("a", 257), false),
		topic("a topic with seven slashes is accepted", tooDeep, "a/b/c/d/e/f/g/h", true),
		topic("a topic with eight slashes closes the connection", tooDeep, "a/b/c/d/e/f/g/h/i", false),
		topic("a topic of a rule with seven slashes behind the rule is accepted", rule, "$aws/rules/archive/a/b/c/d/e/f/g/h", true),
		topic("a topic of a rule with eight slashes behind the rule closes the connection", rule, "$aws/rules/archive/a/b/c/d/e/f/g/h/i", false),
		topic("a topic of a rule with 256 bytes behind the rule is accepted", rule, "$aws/rules/archive/"+strings.Repeat("a", 256), true),
		topic("a topic of a rule with 257 bytes behind the rule closes the connection", rule, "$aws/rules/archive/"+strings.Repeat("a", 257), false),
		topic("a topic that is not quite that of a rule closes the connection", rule, "$aws/things/archive/a/b/c/d/e/f/g/h", false),
		topic("a reserved topic of another service is acknowledged if the policy allows it", "reserved-topics: shadows have their topics there",
			"$aws/things/device-1/shadow/update", true),
		topic("a topic of another server closes the connection", unknown, "$SYS/uptime", false),
		topic("a topic for answers closes the connection", unknown, "$aws/certificates/create/json/accepted", false),
		topic("a format that does not exist closes the connection", unknown, "$aws/certificates/create/xml", false),
		topic("a request without a format closes the connection", unknown, "$aws/certificates/create", false),
		topic("a registration without a format closes the connection", unknown, "$aws/provisioning-templates/test-template/provision", false),
		topic("a registration without a template closes the connection", unknown, "$aws/provisioning-templates//provision/json", false),
		{
			name: "a message may come again under a new packet id without DUP",
			fact: "mqtt: a message that was not acknowledged is sent again with another packet id, and the DUP flag is not set",
			steps: func(d *desk) {
				d.server.Inject(fleetprovtest.OpCreateCertificateFromCSR, fleetprovtest.Fault{Duplicate: true})
				c := d.claim("device-1")
				c.subscribe(csrTopic + "/rejected")
				c.publish(csrTopic, badCSR)
				first, second := c.message(), c.message()
				assert.Equal(d, first.Payload, second.Payload)
				assert.Equal(d, first.TopicName, second.TopicName)
				assert.NotEqual(d, first.MessageID, second.MessageID)
				assert.False(d, second.Dup)
				c.silent(patience)
			},
		},
		{
			name: "bytes that are not a packet close the connection",
			fact: "mqtt: AWS IoT speaks MQTT 3.1.1 (its section 4.8)",
			steps: func(d *desk) {
				for _, octets := range []string{"00 00", "f0 00", "32 02 00 01", "82 00", "30 ff ff ff ff 7f"} {
					c := d.claim("device-1")
					c.writes(octets)
					c.closedAfter(0)
				}
			},
		},
	})
}
