package tlsdial

import (
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"sync/atomic"
)

// watchedConn remembers what kept it from being read or written, which tells a
// handshake that the network ended from one that this side ended.
type watchedConn struct {
	net.Conn
	sent     atomic.Bool
	readErr  atomic.Pointer[string] // the text of the last error
	writeErr atomic.Pointer[string]
}

func (c *watchedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	remember(&c.readErr, err)
	return n, err
}

func (c *watchedConn) Write(p []byte) (int, error) {
	c.sent.Store(true)
	n, err := c.Conn.Write(p)
	remember(&c.writeErr, err)
	return n, err
}

func remember(where *atomic.Pointer[string], err error) {
	if err != nil {
		text := err.Error()
		where.Store(&text)
	}
}

// explain returns the failure of a handshake over c, which ended with err.
func (c *watchedConn) explain(err error) *HandshakeError {
	var plain tls.RecordHeaderError // what answers does not speak TLS
	network := c.ended(err) || isRemote(err) || errors.As(err, &plain)
	return &HandshakeError{Err: err, Local: !network, Unsent: !c.sent.Load()}
}

// ended reports whether err is that of a Read or a Write. The last alert may fail to
// be sent after this side has decided, so that a failure alone says nothing; and
// crypto/tls may wrap an error, or make an unexpected EOF of one, so that the texts
// are compared.
func (c *watchedConn) ended(err error) bool {
	for _, failed := range []*string{c.readErr.Load(), c.writeErr.Load()} {
		if failed != nil && strings.Contains(err.Error(), *failed) {
			return true
		}
	}
	return false
}

// isRemote reports whether err is an alert that the server sent.
func isRemote(err error) bool {
	var alert *net.OpError
	return errors.As(err, &alert) && alert.Op == "remote error"
}
