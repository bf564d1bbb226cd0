package fleetprovtest_test

import (
	"crypto/elliptic"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
	"github.com/stretchr/testify/assert"

	"github.com/fleetprov/fleetprov/fleetprovtest"
)

func TestConnect(t *testing.T) {
	clientID := func(name, fact, id string, accepted bool) behaviour {
		return behaviour{name: name, fact: fact, steps: func(d *desk) {
			c := d.handshake(d.server.ClaimCertificate())
			c.sendConnect(id)
			if accepted {
				c.reads("20 02 00 00")
				c.ping()
			} else {
				c.closedAfter(0)
			}
		}}
	}
	keepAlive := func(name string, seconds uint16, silence time.Duration) behaviour {
		return behaviour{
			name: name,
			fact: "mqtt: the keep-alive is 30 to 1200 seconds, less becomes 30, more or 0 becomes 1200, and after 1.5 times of it in silence the connection is closed",
			steps: func(d *desk) {
				c := d.handshake(d.server.ClaimCertificate())
				p := connectPacket("device-1")
				p.Keepalive = seconds
				c.send(p)
				c.reads("20 02 00 00")
				d.pass(silence - time.Second)
				c.ping()
				c.closedAfter(silence)
			},
		}
	}
	walk(t, []behaviour{
		{
			name: "a CONNECT is answered with a CONNACK",
			fact: "mqtt: AWS IoT speaks MQTT 3.1.1 (its section 3.2)",
			steps: func(d *desk) {
				c := d.handshake(d.server.ClaimCertificate())
				c.writes("10 14 00 04 4d 51 54 54 04 02 00 3c 00 08 64 65 76 69 63 65 2d 31") // MQTT, 4, clean, 60 s, device-1
				c.reads("20 02 00 00")
				c.writes("c0 00")
				c.reads("d0 00")
			},
		},
		{
			name: "MQTT 3.1 is refused with return code 1",
			fact: "mqtt: AWS IoT speaks MQTT 3.1.1 and MQTT 5 (MQTT 3.1.1 section 3.1.2.2 has the answer)",
			steps: func(d *desk) {
				c := d.handshake(d.server.ClaimCertificate())
				c.writes("10 16 00 06 4d 51 49 73 64 70 03 02 00 3c 00 08 64 65 76 69 63 65 2d 31")
				c.reads("20 02 00 01")
				c.closedAfter(0)
			},
		},
		clientID("a client id of 128 bytes is accepted", "AWS IoT Core quotas: a client id has up to 128 bytes", strings.Repeat("a", 128), true),
		clientID("a client id of 129 bytes closes the connection", "AWS IoT Core quotas: a client id has up to 128 bytes", strings.Repeat("a", 129), false),
		clientID("an empty client id closes the connection", "AWS IoT Core quotas: a client id is needed, policies are about it", "", false),
		clientID("a client id that begins with $ closes the connection", "AWS IoT Core quotas: a client id does not start with $", "$device", false),
		clientID("a $ later in a client id is accepted", "AWS IoT Core quotas: a client id does not start with $", "device$", true),
		{
			name: "a packet behind CONNECT that has not waited for the CONNACK closes the connection",
			fact: "mqtt: a client waits for the CONNACK before it sends anything else",
			steps: func(d *desk) {
				for _, early := range []string{"c0 00", "82 06 00 01 00 01 61 01", "30 03 00 01 61", "e0 00"} {
					c := d.handshake(d.server.ClaimCertificate())
					c.writes("10 14 00 04 4d 51 54 54 04 02 00 3c 00 08 64 65 76 69 63 65 2d 31" + early)
					c.closedAfter(0)
				}
				assert.Empty(d, d.server.Requests(), "nothing of it has happened")
			},
		},
		{
			name: "a packet sent while the CONNACK is on its way closes the connection",
			fact: "mqtt: a client waits for the CONNACK before it sends anything else",
			steps: func(d *desk) {
				d.server.Inject(fleetprovtest.OpConnect, fleetprovtest.Fault{Delay: time.Second})
				c := d.handshake(d.server.ClaimCertificate())
				c.sendConnect("device-1")
				c.silent(time.Second / 2)
				c.sendSubscribe(1, 1, flowFilters...)
				c.closedAfter(0)
			},
		},
		{
			name: "a second CONNECT closes the connection",
			fact: "mqtt: AWS IoT speaks MQTT 3.1.1 (its section 3.1)",
			steps: func(d *desk) {
				c := d.claim("device-1")
				c.sendConnect("device-1")
				c.closedAfter(0)
			},
		},
		{
			name: "a first packet that is no CONNECT closes the connection",
			fact: "mqtt: AWS IoT speaks MQTT 3.1.1 (its section 3.1)",
			steps: func(d *desk) {
				c := d.handshake(d.server.ClaimCertificate())
				c.writes("c0 00")
				c.closedAfter(0)
			},
		},
		{
			name: "a client that does not get as far as CONNECT is not waited for",
			fact: "mqtt: AWS IoT closes connections that do not send CONNECT; the 30 seconds are the endpoint's own",
			steps: func(d *desk) {
				d.handshake(d.server.ClaimCertificate()).closedAfter(30 * time.Second)
			},
		},
		{
			name: "a second connection with the same client id drops the first",
			fact: "mqtt: a client id is connected once in an account and region, and the newer connection stays",
			steps: func(d *desk) {
				first, other := d.claim("device-1"), d.claim("device-2")
				second := d.claim("device-1")
				first.closedAfter(0)
				second.ping()
				other.ping()
			},
		},
		{
			name: "a connection with another certificate drops one with the same client id, too",
			fact: "mqtt: a client id is connected once in an account and region, whatever the certificate",
			steps: func(d *desk) {
				_, certificate := d.enrol("test-template", `{"ThingName":"device-1"}`)
				first := d.claim("device-1")
				d.connect(certificate, "device-1").ping()
				first.closedAfter(0)
			},
		},
		{
			name: "DISCONNECT closes the connection",
			fact: "mqtt: AWS IoT speaks MQTT 3.1.1 (its section 3.14)",
			steps: func(d *desk) {
				c := d.claim("device-1")
				c.writes("e0 00")
				c.closedAfter(0)
			},
		},
		keepAlive("a client is silent for one and a half times its keep-alive", 60, 90*time.Second),
		keepAlive("a keep-alive of 10 seconds becomes 30", 10, 45*time.Second),
		keepAlive("a keep-alive of 0 becomes 1200 seconds", 0, 30*time.Minute),
		keepAlive("a keep-alive of 2000 seconds becomes 1200", 2000, 30*time.Minute),
	})
}

func TestSubscribe(t *testing.T) {
	tooMany := "AWS IoT Core quotas: a SUBSCRIBE has up to 8 filters"
	tooDeep := "AWS IoT Core quotas: a topic or filter has up to 7 slashes and 256 bytes"
	filter := func(name, fact, filter string, accepted bool) behaviour {
		return behaviour{name: name, fact: fact, setup: claimPolicy(connects, subscribes), steps: func(d *desk) {
			c := d.claim("device-1")
			c.sendSubscribe(3, 1, filter)
			if accepted {
				c.reads("90 03 00 03 01")
			} else {
				c.closedAfter(0)
			}
		}}
	}
	walk(t, []behaviour{
		{
			name:  "eight filters are granted, each at the QoS it asks for",
			fact:  tooMany,
			setup: claimPolicy(connects, subscribes),
			steps: func(d *desk) {
				c := d.claim("device-1")
				c.writes("82 22 00 07 00 01 61 00 00 01 62 01 00 01 63 00 00 01 64 01 00 01 65 00 00 01 66 01 00 01 67 00 00 01 68 01")
				c.reads("90 0a 00 07 00 01 00 01 00 01 00 01")
			},
		},
		{
			name:  "nine filters close the connection",
			fact:  tooMany,
			setup: claimPolicy(connects, subscribes),
			steps: func(d *desk) {
				c := d.claim("device-1")
				c.sendSubscribe(1, 1, "a", "b", "c", "d", "e", "f", "g", "h", "i")
				c.closedAfter(0)
			},
		},
		{
			name:  "the 51st subscription closes the connection",
			fact:  "AWS IoT Core quotas: a connection has up to 50 subscriptions",
			setup: claimPolicy(connects, subscribes),
			steps: func(d *desk) {
				c := d.claim("device-1")
				for i := range 50 {
					c.subscribe(fmt.Sprintf("filter-%d", i))
				}
				c.subscribe("filter-0", "filter-49") // no new ones
				c.writes("a2 0c 00 09 00 08 66 69 6c 74 65 72 2d 30")
				c.reads("b0 02 00 09")
				c.subscribe("in its place")
				c.sendSubscribe(1, 1, "one more")
				c.closedAfter(0)
			},
		},
		filter("a filter of 256 bytes is granted", tooDeep, strings.Repeat("a", 256), true),
		filter("a filter of 257 bytes closes the connection", tooDeep, strings.Repeat("a", 257), false),
		filter("a filter with seven slashes is granted", tooDeep, "a/b/c/d/e/f/g/#", true),
		filter("a filter with eight slashes closes the connection", tooDeep, "a/b/c/d/e/f/g/h/#", false),
		filter("a filter for another server's topics closes the connection", "mqtt: topics that begin with $ are reserved", "$SYS/#", false),
		{
			name: "a subscription at QoS 2 is never acknowledged",
			fact: "mqtt: AWS IoT does not support QoS 2, and gives no answer to it",
			steps: func(d *desk) {
				c := d.claim("device-1")
				c.sendSubscribe(1, 2, flowFilters...)
				c.silent(time.Minute)
				c.createFromCSRUnheard()
				c.ping()
			},
		},
		{
			name:  "messages begin to be delivered a while after the SUBACK",
			fact:  "mqtt: after a SUBACK it can take a moment until messages are delivered",
			setup: func(s *fleetprovtest.Server) { s.SubscriptionLag = 3 * time.Second },
			steps: func(d *desk) {
				c := d.claim("device-1")
				start := time.Now()
				c.subscribe(csrTopic + "/rejected")
				c.publish(csrTopic, badCSR)
				assert.Zero(d, time.Since(start))
				c.message()
				assert.Equal(d, 3*time.Second, time.Since(start))
				c.request(csrTopic, badCSR)
				assert.Equal(d, 3*time.Second, time.Since(start), "it is over then")
			},
		},
		{
			name: "an answer goes to nobody but the client that asked",
			fact: "fleet-provision-api: the response comes to the client that published the request",
			steps: func(d *desk) {
				asking, listening := d.claim("asking"), d.claim("listening")
				listening.subscribe(csrTopic+"/accepted", csrTopic+"/rejected")
				asking.createFromCSR()
				listening.silent(patience)
			},
		},
		{
			name: "an answer comes with the QoS that was granted",
			fact: "mqtt: AWS IoT speaks MQTT 3.1.1 (its section 3.8.4)",
			steps: func(d *desk) {
				c := d.claim("device-1")
				c.sendSubscribe(1, 0, csrTopic+"/rejected")
				c.reads("90 03 00 01 00")
				assert.Equal(d, byte(0), c.request(csrTopic, badCSR).Qos)
			},
		},
		{
			name: "a client that has not subscribed gets no answer to what takes effect",
			fact: "fleet-provision-api: a client subscribes to the response topics before it publishes, or might not get the response",
			steps: func(d *desk) {
				c := d.claim("device-1")
				c.createFromCSRUnheard()
				c.silent(time.Minute)
				assert.Len(d, d.server.Certificates(), 1)
			},
		},
		{
			name:  "a server set so answers a client that has not subscribed",
			fact:  "observed: AWS IoT Greengrass nucleus lite provisions without a SUBSCRIBE",
			setup: func(s *fleetprovtest.Server) { s.AnswerUnsubscribed = true },
			steps: func(d *desk) {
				c, other := d.claim("device-1"), d.claim("device-2")
				c.createFromCSRUnheard()
				answer := c.message()
				assert.Equal(d, csrTopic+"/accepted", answer.TopicName)
				assert.Equal(d, byte(1), answer.Qos)
				token := decode[created](d.T, answer.Payload).CertificateOwnershipToken
				registered := c.request(registerTopic, `{"certificateOwnershipToken":"`+token+`","parameters":{"ThingName":"a"}}`)
				assert.Equal(d, registerTopic+"/accepted", registered.TopicName)
				c.silent(patience)
				other.silent(patience)
			},
		},
	})
}

// createFromCSRUnheard is createFromCSR by a client that may not hear the answer.
func (c *client) createFromCSRUnheard() {
	c.t.Helper()
	c.publish(csrTopic, csrPayload(c.t, csr(c.t, ecKey(c.t, elliptic.P256()), nil)))
}

func TestPublish(t *testing.T) {
	tooDeep := "AWS IoT Core quotas: a topic has up to 7 slashes and 256 bytes"
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
			name: "a payload of a byte more closes the connection",
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
			name: "bytes that are no packet close the connection",
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
