package fleetprovtest_test

import (
	"strings"
	"testing"
	"time"

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
		{
			name: "a CONNECT with an invalid client id takes no fault and does not count against the quota",
			fact: "AWS IoT Core quotas: a client id does not start with $ and has 1 to 128 bytes; that it takes nothing is the endpoint's own",
			setup: func(s *fleetprovtest.Server) {
				s.Quotas = map[fleetprovtest.Op]fleetprovtest.Quota{fleetprovtest.OpConnect: {Burst: 2}}
			},
			steps: func(d *desk) {
				d.server.Inject(fleetprovtest.OpConnect, fleetprovtest.Fault{Reject: &fleetprovtest.Rejection{StatusCode: 3}})
				for _, id := range []string{"$device", "", strings.Repeat("a", 129)} {
					c := d.handshake(d.server.ClaimCertificate())
					c.sendConnect(id)
					c.closedAfter(0)
				}
				c := d.handshake(d.server.ClaimCertificate())
				c.sendConnect("device-1")
				c.reads("20 02 00 03")
				d.claim("device-1").ping()
			},
		},
		clientID("a $ later in a client id is accepted", "AWS IoT Core quotas: a client id does not start with $", "device$", true),
		{
			name: "a packet sent after CONNECT without waiting for the CONNACK closes the connection",
			fact: "mqtt: a client waits for the CONNACK before it sends anything else",
			steps: func(d *desk) {
				for _, early := range []string{"c0 00", "82 06 00 01 00 01 61 01", "30 03 00 01 61", "e0 00"} {
					c := d.handshake(d.server.ClaimCertificate())
					c.writes("10 14 00 04 4d 51 54 54 04 02 00 3c 00 08 64 65 76 69 63 65 2d 31" + early)
					c.closedAfter(0)
				}
				assert.Empty(d, d.server.Requests(), "the CONNECT has had no effect")
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
			name: "a first packet that is not CONNECT closes the connection",
			fact: "mqtt: AWS IoT speaks MQTT 3.1.1 (its section 3.1)",
			steps: func(d *desk) {
				c := d.handshake(d.server.ClaimCertificate())
				c.writes("c0 00")
				c.closedAfter(0)
			},
		},
		{
			name: "a client that never sends CONNECT is closed",
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
