package broker

import (
	"io"
	"testing"

	"github.com/eclipse/paho.mqtt.golang/packets"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestAnnouncedLengthIsRefusedBeforeMemoryIsTaken(t *testing.T) {
	for _, test := range []struct {
		header []byte
		want   error // reading on would give an io.EOF
	}{
		{[]byte{0x30, 0xff, 0xff, 0xff, 0x7f}, errTooLarge}, // 256 MB
		{[]byte{0x30, 0xfd, 0x8f, 0x09}, errTooLarge},       // 149505 bytes in all
		{[]byte{0x30, 0x80, 0x80, 0x80, 0x80, 0x01}, errMalformed},
	} {
		_, err := read(test.header)
		assert.ErrorIs(t, err, test.want, "%x", test.header)
	}
	_, err := read([]byte{0x30, 0xfc, 0x8f, 0x09})
	assert.ErrorIs(t, err, io.EOF, "the longest packet is read")
}

func TestLengthMayBePadded(t *testing.T) {
	p, err := read([]byte{0xc0, 0x80, 0x00})
	require.NoError(t, err)
	assert.IsType(t, &packets.PingreqPacket{}, p)
}
