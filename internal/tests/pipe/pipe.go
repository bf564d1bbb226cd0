// Package pipe connects the two ends of a test without a network, so that both run in
// a testing/synctest bubble, where time is virtual. Only tests import it. It imports
// nothing of this module, so that the tests inside any package can.
package pipe

import (
	"context"
	"net"
	"sync"
	"testing"
)

// Listener accepts the connections that its Dial and Connect open.
type Listener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

// Listen returns a Listener, which accepts until it is closed.
func Listen() *Listener {
	return &Listener{conns: make(chan net.Conn), closed: make(chan struct{})}
}

// Dial opens a connection, whatever the address, and returns when it is accepted. It is
// a dialer as fleetprov.WithDialer wants it.
func (l *Listener) Dial(ctx context.Context, _, _ string) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case l.conns <- far:
		return near, nil
	case <-l.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Connect opens a connection as Dial does, or fails the test.
func (l *Listener) Connect(t testing.TB) net.Conn {
	t.Helper()
	conn, err := l.Dial(t.Context(), "", "")
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// Accept waits for a connection, as a net.Listener does.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close ends Accept and Dial. It leaves alone the connections that are open.
func (l *Listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// Addr is no address that a network could reach.
func (l *Listener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "pipe"} }
