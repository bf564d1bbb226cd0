package broker_test

import (
	"io"
	"net"
	"sync"
	"testing"
)

// FuzzServe sends arbitrary bytes behind a CONNECT. The server must survive
// them and come to an end.
func FuzzServe(f *testing.F) {
	f.Add([]byte{0x82, 6, 0, 1, 0, 1, '#', 1, 0x32, 7, 0, 1, 'a', 0, 1, '{', '}', 0x40, 2, 0, 1})
	f.Add([]byte{0x30, 0xff, 0xff, 0xff, 0x7f})
	f.Add([]byte{0xa2, 5, 0, 1, 0, 1, 'a', 0xc0, 0, 0xe0, 0})
	f.Add([]byte{0x10, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		near, far := net.Pipe()
		server := serve(t, &permissive{}, nil, newPipeListener(far))
		c := newClient(t, near)
		c.connect("device")
		var reading sync.WaitGroup
		reading.Go(func() { io.Copy(io.Discard, near) })
		near.Write(data) // fails if the server has had enough
		near.Close()
		reading.Wait()
		server.Close()
	})
}
