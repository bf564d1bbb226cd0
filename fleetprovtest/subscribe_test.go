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
			// Otherwise an answer would not show that nothing was granted.
			setup: func(s *fleetprovtest.Server) { s.RequireSubscription = true },
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
				assert.Equal(d, 3*time.Second, time.Since(start), "the lag is over")
			},
		},
		{
			name: "an answer may come before a delayed SUBACK",
			fact: "mqtt: the order of messages and acknowledgements is not guaranteed",
			steps: func(d *desk) {
				c := d.claim("device-1")
				d.server.Inject(fleetprovtest.OpSubscribe, fleetprovtest.Fault{Delay: time.Second})
				start := time.Now()
				c.sendSubscribe(1, 1, csrTopic+"/rejected")
				c.publish(csrTopic, badCSR)
				c.message()
				assert.Zero(d, time.Since(start))
				expect[*packets.SubackPacket](c)
				assert.Equal(d, time.Second, time.Since(start))
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
			name:  "with RequireSubscription an operation of a client that has not subscribed takes effect without an answer",
			fact:  "fleet-provision-api: a client subscribes to the response topics before it publishes, or might not get the response",
			setup: func(s *fleetprovtest.Server) { s.RequireSubscription = true },
			steps: func(d *desk) {
				c := d.claim("device-1")
				c.createFromCSRUnheard()
				c.silent(time.Minute)
				assert.Len(d, d.server.Certificates(), 1)
			},
		},
		{
			name: "a client that has not subscribed is answered",
			fact: "observed: AWS IoT Greengrass nucleus lite provisions without a SUBSCRIBE",
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

// createFromCSRUnheard is createFromCSR by a client that may not receive the answer.
func (c *client) createFromCSRUnheard() {
	c.t.Helper()
	c.publish(csrTopic, csrPayload(c.t, csr(c.t, ecKey(c.t, elliptic.P256()), nil)))
}
