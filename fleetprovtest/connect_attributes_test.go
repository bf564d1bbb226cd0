package fleetprovtest_test

import (
	"testing"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

func TestPolicyOfConnectAttributes(t *testing.T) {
	walk(t, []behaviour{
		{
			name:  "a will may be allowed where a persistent session is not",
			fact:  "connect-policy: iot:ConnectAttributes has LastWill and PersistentConnect",
			setup: claimPolicy(`{"Effect":"Allow","Action":"iot:Connect","Resource":"*","Condition":{"ForAllValues:StringEquals":{"iot:ConnectAttributes":["LastWill"]}}}`),
			steps: func(d *desk) {
				d.connectWith("will", func(p *packets.ConnectPacket) {
					p.WillFlag, p.WillTopic, p.WillMessage = true, "gone", []byte("bye")
				}).reads("20 02 00 00")
				d.connectWith("persistent", func(p *packets.ConnectPacket) { p.CleanSession = false }).closedAfter(0)
				d.claim("neither").ping()
			},
		},
	})
}

// connectWith sends the CONNECT of a claim with something changed.
func (d *desk) connectWith(clientID string, change func(*packets.ConnectPacket)) *client {
	d.Helper()
	c := d.handshake(d.server.ClaimCertificate())
	p := connectPacket(clientID)
	change(p)
	c.send(p)
	return c
}
