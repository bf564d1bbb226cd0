package proxy

import (
	"errors"
	"io"
	"net"
)

// watchedConn remembers why reading or writing it failed. The parsers on top of it do
// not distinguish a lost connection from a malformed answer.
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
