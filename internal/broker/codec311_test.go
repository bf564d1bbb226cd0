package broker

import (
	"bufio"
	"bytes"
	"testing"

	"github.com/eclipse/paho.mqtt.golang/packets"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func read(data []byte) (packets.ControlPacket, error) {
	f, err := readFrame(bufio.NewReader(bytes.NewReader(data)))
	if err != nil {
		return nil, err
	}
	return codec311{}.decode(f)
}

func TestLargestPayload(t *testing.T) {
	for extra, accepted := range []bool{true, false} {
		p := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
		p.TopicName, p.Payload = "a", make([]byte, maxPayload+extra)
		var frame bytes.Buffer
		require.NoError(t, p.Write(&frame))
		got, err := read(frame.Bytes())
		assert.Equal(t, accepted, err == nil)
		if accepted {
			assert.Equal(t, p, got)
		}
	}
}

func FuzzDecode311(f *testing.F) {
	connect := packets.NewControlPacket(packets.Connect).(*packets.ConnectPacket)
	connect.ProtocolName, connect.ProtocolVersion, connect.ClientIdentifier = "MQTT", 4, "device"
	connect.UsernameFlag, connect.Username = true, "?SDK=Go"
	var frame bytes.Buffer
	require.NoError(f, connect.Write(&frame))
	f.Add(frame.Bytes())
	f.Add([]byte{0x32, 7, 0, 1, 'a', 0, 1, '{', '}'})
	f.Add([]byte{0x82, 10, 0, 1, 0, 1, 'a', 0, 0, 1, '#', 1})
	f.Add([]byte{0xa2, 5, 0, 1, 0, 1, 'a'})
	f.Add([]byte{0x40, 2, 0, 1})
	f.Add([]byte{0xc0, 0})
	f.Add([]byte{0x30, 0xff, 0xff, 0xff, 0x7f})
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := read(data)
		if err != nil {
			require.Nil(t, p)
			return
		}
		var again bytes.Buffer
		require.NoError(t, p.Write(&again))
		// The length apart, which may be padded, it is what was read.
		require.Equal(t, data[0], again.Bytes()[0])
		require.True(t, bytes.Contains(data, again.Bytes()[again.Len()-remainingLength(p):]))
	})
}

func remainingLength(p packets.ControlPacket) int {
	var frame bytes.Buffer
	p.Write(&frame)
	body := frame.Bytes()[1:]
	for i, b := range body {
		if b < 0x80 {
			return len(body) - i - 1
		}
	}
	return 0
}
