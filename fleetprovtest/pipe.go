package fleetprovtest

import (
	"context"
	"net"
	"sync"
)

// PipeListener is a listener without a network: both ends of a connection are those of a
// [net.Pipe]. With it a server and its clients run inside a testing/synctest bubble, where
// time is virtual:
//
//	synctest.Test(t, func(t *testing.T) {
//		server := fleetprovtest.NewUnstartedServer()
//		server.Listener.Close()
//		pipes := fleetprovtest.NewPipeListener()
//		server.Listener = pipes
//		server.Start()
//		defer server.Close()
//		// Have the device dial with pipes.Dial, such as by fleetprov.WithDialer.
//	})
//
// Its methods are safe for concurrent use.
type PipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once // closes closed
}

// NewPipeListener returns a [PipeListener], which accepts until it is closed. A bubble
// makes its own.
func NewPipeListener() *PipeListener {
	return &PipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
}

// Dial opens a connection, whatever the network and the address, and returns when it is
// accepted. It fails with [net.ErrClosed] once the listener is closed, and with ctx's error
// when ctx ends.
func (l *PipeListener) Dial(ctx context.Context, network, address string) (net.Conn, error) {
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

// Accept implements [net.Listener].
func (l *PipeListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close implements [net.Listener]. Connections that are open stay so.
func (l *PipeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// Addr implements [net.Listener]. No network can reach the address.
func (l *PipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "pipe"} }
