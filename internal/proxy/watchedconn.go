package proxy

import (
	"errors"
	"io"
	"net"
)

// watchedConn remembers why it could not be read or written. The parsers on top of it
// report a lost connection and a malformed answer in the same breath.
type watchedConn struct {
	net.Conn
	err error
}

func (c *watchedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	return n, c.watch(err)
}

func (c *watchedConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	return n, c.watch(err)
}

func (c *watchedConn) watch(err error) error {
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		c.err = err
	}
	return err
}
