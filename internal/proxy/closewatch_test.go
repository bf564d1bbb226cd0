package proxy

import (
	"net"
	"sync"
)

// closeWatch closes a channel when it is closed itself.
type closeWatch struct {
	net.Conn
	closed chan struct{}
	once   sync.Once
}

func (c *closeWatch) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}
