package fleetprovtest_test

import (
	"crypto/elliptic"
	"testing"
	"time"

	packets5 "github.com/eclipse/paho.golang/packets"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov/fleetprovtest"
)

// client5 is a client that speaks MQTT 5.
type client5 struct{ *client }

// connect5 is CONNECT of MQTT 5 with a clean start, a keep-alive of 60 seconds and
// the client id device-1.
const connect5 = "10 15 00 04 4d 51 54 54 05 02 00 3c 00 00 08 64 65 76 69 63 65 2d 31"

func (d *desk) claim5() client5 {
	d.Helper()
	c := client5{d.handshake(d.server.ClaimCertificate())}
	c.writes(connect5)
	require.Zero(d, expect5[*packets5.Connack](c).ReasonCode)
	return c
}

func (c client5) send(p packets5.Packet) {
	c.t.Helper()
	c.wait(patience)
	_, err := p.WriteTo(c.conn)
	require.NoError(c.t, err)
}

func (c client5) sendSubscribe(filters ...string) {
	c.t.Helper()
	p := &packets5.Subscribe{PacketID: 1}
	for _, filter := range filters {
		p.Subscriptions = append(p.Subscriptions, packets5.SubOptions{Topic: filter, QoS: 1})
	}
	c.send(p)
}

func (c client5) sendPublish(topic, payload string) {
	c.t.Helper()
	c.send(&packets5.Publish{QoS: 1, PacketID: 2, Topic: topic, Payload: []byte(payload)})
}

func expect5[P packets5.Packet](c client5) P {
	c.t.Helper()
	c.wait(patience)
	p, err := packets5.ReadPacket(c.conn)
	require.NoError(c.t, err)
	require.IsType(c.t, *new(P), p.Content)
	return p.Content.(P)
}

// disconnects requires a DISCONNECT with a reason code, and the end.
func (c client5) disconnects(code byte) {
	c.t.Helper()
	assert.Equal(c.t, code, expect5[*packets5.Disconnect](c).ReasonCode, "%#x", code)
	c.closedAfter(0)
}

func TestMQTT5(t *testing.T) {
	const reasons = "mqtt: a client of MQTT 5 is told a reason code in CONNACK, SUBACK or DISCONNECT"
	disconnects := func(name string, code byte, setup func(*fleetprovtest.Server), act func(d *desk, c client5)) behaviour {
		return behaviour{name: name, fact: reasons, setup: setup, steps: func(d *desk) {
			c := d.claim5()
			act(d, c)
			c.disconnects(code)
		}}
	}
	walk(t, []behaviour{
		{
			name: "a device provisions itself over MQTT 5",
			fact: "mqtt: AWS IoT speaks MQTT 5; fleet-provision-api: the topics are the same",
			steps: func(d *desk) {
				c := d.claim5()
				key := ecKey(d.T, elliptic.P256())
				c.sendSubscribe(csrTopic+"/accepted", csrTopic+"/rejected", registerTopic+"/accepted", registerTopic+"/rejected")
				assert.Equal(d, []byte{1, 1, 1, 1}, expect5[*packets5.Suback](c).Reasons)
				c.sendPublish(csrTopic, csrPayload(d.T, csr(d.T, key, nil)))
				assert.Equal(d, uint16(2), expect5[*packets5.Puback](c).PacketID)
				answer := expect5[*packets5.Publish](c)
				assert.Equal(d, csrTopic+"/accepted", answer.Topic)
				issued := decode[created](d.T, answer.Payload)
				c.sendPublish(registerTopic, `{"certificateOwnershipToken":"`+issued.CertificateOwnershipToken+`","parameters":{"ThingName":"a"}}`)
				expect5[*packets5.Puback](c)
				answer = expect5[*packets5.Publish](c)
				assert.Equal(d, registerTopic+"/accepted", answer.Topic)
				assert.JSONEq(d, `{"thingName":"a"}`, string(answer.Payload))
				d.connect(pairWith(d.T, issued, key), "a").ping()
			},
		},
		{
			name:  "a denied connect is answered with reason code 0x87",
			fact:  reasons,
			setup: claimPolicy(publishes),
			steps: func(d *desk) {
				c := d.handshake(d.server.ClaimCertificate())
				c.writes(connect5)
				c.reads("20 03 00 87 00")
				c.closedAfter(0)
			},
		},
		{
			name: "an invalid client id is answered with reason code 0x85",
			fact: reasons,
			steps: func(d *desk) {
				c := d.handshake(d.server.ClaimCertificate())
				c.writes("10 0f 00 04 4d 51 54 54 05 02 00 3c 00 00 02 24 31")
				c.reads("20 03 00 85 00")
				c.closedAfter(0)
			},
		},
		disconnects("a denied publish ends with 0x87", 0x87, nil, func(_ *desk, c client5) { c.sendPublish("telemetry", "") }),
		disconnects("a denied subscribe ends with 0x87", 0x87, nil, func(_ *desk, c client5) { c.sendSubscribe("telemetry") }),
		{
			name:  "a denied subscribe is answered 0x87 by a server set so",
			fact:  reasons,
			setup: func(s *fleetprovtest.Server) { s.RefuseWithSUBACK = true },
			steps: func(d *desk) {
				c := d.claim5()
				c.sendSubscribe("telemetry", csrTopic+"/accepted")
				c.reads("90 05 00 01 00 87 01")
			},
		},
		disconnects("a takeover ends the older connection with 0x8e", 0x8e, nil, func(d *desk, _ client5) { d.claim("device-1") }),
		disconnects("a topic that is too deep ends with 0x90", 0x90, nil, func(_ *desk, c client5) { c.sendPublish("a/b/c/d/e/f/g/h/i", "") }),
		disconnects("a filter that is too deep ends with 0x8f", 0x8f, nil, func(_ *desk, c client5) { c.sendSubscribe("a/b/c/d/e/f/g/h/i") }),
		disconnects("nine filters end with 0x97", 0x97, nil, func(_ *desk, c client5) {
			c.sendSubscribe("a", "b", "c", "d", "e", "f", "g", "h", "i")
		}),
		disconnects("QoS 2 ends with 0x9b", 0x9b, nil, func(_ *desk, c client5) {
			c.send(&packets5.Publish{QoS: 2, PacketID: 2, Topic: csrTopic})
		}),
		disconnects("a certificate that is deactivated ends with 0x98", 0x98, nil, func(d *desk, _ client5) {
			require.NoError(d, d.server.UpdateCertificate(sha256Hex(d.server.ClaimCertificate().Leaf.Raw), "INACTIVE"))
		}),
		{
			name: "a silent client is told 0x8d",
			fact: reasons,
			steps: func(d *desk) {
				c := d.claim5()
				d.pass(90 * time.Second)
				c.disconnects(0x8d)
			},
		},
	})
}
