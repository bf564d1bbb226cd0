package broker_test

import (
	"io"
	"sync"
	"testing"

	"github.com/fleetprov/fleetprov/fleetprovtest"
)

// FuzzServe sends arbitrary bytes after a CONNECT of MQTT 3.1.1 or MQTT 5, or instead of
// one. The server must neither crash nor hang.
func FuzzServe(f *testing.F) {
	const level311, level5, none = 4, 5, 0
	f.Add(byte(level311), []byte{0x82, 6, 0, 1, 0, 1, '#', 1, 0x32, 7, 0, 1, 'a', 0, 1, '{', '}', 0x40, 2, 0, 1})
	f.Add(byte(level311), []byte{0x30, 0xff, 0xff, 0xff, 0x7f})
	f.Add(byte(level311), []byte{0xa2, 5, 0, 1, 0, 1, 'a', 0xc0, 0, 0xe0, 0})
	f.Add(byte(level311), []byte{0x10, 0})
	f.Add(byte(level5), []byte{0x82, 7, 0, 1, 0, 0, 1, '#', 0x09, 0x33, 8, 0, 1, 'a', 0, 1, 0, '{', '}', 0x40, 2, 0, 1})
	f.Add(byte(level5), []byte{0x30, 7, 0, 1, 'a', 3, 0x23, 0, 1, 0x30, 6, 0, 0, 3, 0x23, 0, 1})
	f.Add(byte(level5), []byte{0x30, 20, 0, 1, 'a', 16, 1, 1, 3, 0, 1, 'c', 8, 0, 1, 'r', 0x26, 0, 1, 'k', 0, 0})
	f.Add(byte(level5), []byte{0xa2, 6, 0, 1, 0, 0, 1, '#', 0xe0, 2, 0, 0})
	f.Add(byte(none), connect5)
	f.Add(byte(none), []byte("\x10\x14\x00\x04MQTT\x05\xc6\x00\x3c\x00\x00\x01d\x00\x00\x01w\x00\x00\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, level byte, data []byte) {
		listener := fleetprovtest.NewPipeListener()
		server := serve(t, &permissive{}, nil, listener)
		near := connectPipe(t, listener)
		c := newClient(t, near)
		switch level {
		case level311:
			c.connect("device")
		case level5:
			c.write(connect5)
			c.reads(connack5)
		}
		var reading sync.WaitGroup
		reading.Go(func() { io.Copy(io.Discard, near) })
		near.Write(data) // fails once the server has closed the connection
		near.Close()
		reading.Wait() // has the deadline of near
		within(t, "the end of the server", server.Close)
	})
}
