package broker

import (
	"bufio"
	"bytes"
	"testing"

	packets5 "github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.mqtt.golang/packets"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func decode5(data []byte) (packets.ControlPacket, error) {
	f, err := readFrame(bufio.NewReader(bytes.NewReader(data)))
	if err != nil {
		return nil, err
	}
	return (&codec5{}).decode(f)
}

func TestDecode5Connect(t *testing.T) {
	var b bytes.Buffer
	(&packets5.Connect{
		ProtocolName: "MQTT", ProtocolVersion: 5, CleanStart: true, KeepAlive: 60, ClientID: "device",
		WillFlag: true, WillQOS: 1, WillRetain: true, WillTopic: "gone", WillMessage: []byte("{}"),
		WillProperties: &packets5.Properties{ContentType: "application/json"},
		UsernameFlag:   true, Username: "?SDK=Go", PasswordFlag: true, Password: []byte("secret"),
	}).WriteTo(&b)

	want := packets.NewControlPacket(packets.Connect).(*packets.ConnectPacket)
	want.ProtocolName, want.ProtocolVersion, want.CleanSession, want.Keepalive = "MQTT", 5, true, 60
	want.ClientIdentifier = "device"
	want.WillFlag, want.WillQos, want.WillRetain, want.WillTopic, want.WillMessage = true, 1, true, "gone", []byte("{}")
	want.UsernameFlag, want.Username, want.PasswordFlag, want.Password = true, "?SDK=Go", true, []byte("secret")
	got, err := decode5(b.Bytes())
	require.NoError(t, err)
	assert.Equal(t, want, got)
}

func TestEncode5(t *testing.T) {
	suback := packets.NewControlPacket(packets.Suback).(*packets.SubackPacket)
	suback.MessageID, suback.ReturnCodes = 9, []byte{0, 1, 0x80, 0x97}
	publish := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
	publish.TopicName, publish.Qos, publish.MessageID, publish.Payload = "a", 1, 7, []byte("{}")
	for _, test := range []struct {
		packet packets.ControlPacket
		want   []byte
	}{
		{suback, []byte{0x90, 7, 0, 9, 0, 0, 1, 0x87, 0x97}},
		{publish, []byte{0x32, 8, 0, 1, 'a', 0, 7, 0, '{', '}'}},
	} {
		assert.Equal(t, test.want, (&codec5{}).encode(test.packet))
	}
}

// FuzzDecode5 also compares with the paho decoder, which accepts more.
func FuzzDecode5(f *testing.F) {
	for _, p := range []packets5.Packet{
		&packets5.Connect{ProtocolName: "MQTT", ProtocolVersion: 5, ClientID: "device", UsernameFlag: true, Username: "?SDK=Go"},
		&packets5.Publish{Topic: "a", QoS: 1, PacketID: 1, Payload: []byte("{}"), Properties: &packets5.Properties{
			ContentType: "application/json", User: []packets5.User{{Key: "k", Value: "v"}},
		}},
		&packets5.Subscribe{PacketID: 1, Subscriptions: []packets5.SubOptions{{Topic: "a", QoS: 1, NoLocal: true}}},
		&packets5.Unsubscribe{PacketID: 1, Topics: []string{"a", "b"}},
		&packets5.Puback{PacketID: 1, ReasonCode: 0x10},
		&packets5.Pingreq{},
		&packets5.Disconnect{ReasonCode: 4},
	} {
		var b bytes.Buffer
		p.WriteTo(&b)
		f.Add(b.Bytes())
	}
	f.Add([]byte{0xe0, 0})
	f.Add([]byte{0x40, 2, 0, 1})
	f.Add([]byte{0x30, 8, 0, 1, 'a', 0xff, 0xff, 0xff, 0xff, 0x7f})
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := decode5(data)
		if err != nil {
			require.Nil(t, p)
			return
		}
		switch p := p.(type) {
		case *message:
			require.True(t, validTopic(p.TopicName))
			require.Less(t, p.Qos, byte(2))
			require.True(t, bytes.Contains(data, p.Payload))
		case *subscribe:
			require.Len(t, p.Qoss, len(p.Topics))
			require.NotEmpty(t, p.Topics)
		case *packets.UnsubscribePacket:
			require.NotEmpty(t, p.Topics)
		}
		if data[0]>>4 != packets5.DISCONNECT { // which that decoder wants to be longer
			_, err = packets5.ReadPacket(bytes.NewReader(data))
			require.NoError(t, err)
		}
	})
}
