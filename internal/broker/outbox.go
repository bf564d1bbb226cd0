package broker

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

const (
	// maxBacklog bounds how much a client that does not read can make the
	// server keep: 8 MiB, or 64 of the largest messages, besides what is being written.
	maxBacklog = 8 << 20
	// lingering bounds how long a connection that the server has ended is kept
	// so that the client can read the last bytes.
	lingering = time.Second
)

var errBacklog = errors.New("broker: the client does not read")

// outbox is a net.Conn whose Write never blocks. It lies below TLS, for two
// reasons: a client that is slow to read holds up nobody else, and an alert in
// a handshake can be sent to a client that is itself still sending.
type outbox struct {
	net.Conn

	mu      sync.Mutex
	pending []byte
	closing bool

	wake    chan struct{} // holds a token while there is something to do
	drained chan struct{} // closed once flush has ended
}

func newOutbox(conn net.Conn) *outbox {
	return &outbox{Conn: conn, wake: make(chan struct{}, 1), drained: make(chan struct{})}
}

func (o *outbox) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.closing:
		return 0, net.ErrClosed
	case len(o.pending)+len(b) > maxBacklog:
		o.Conn.Close()
		return 0, errBacklog
	}
	o.pending = append(o.pending, b...)
	o.signal()
	return len(b), nil
}

// SetWriteDeadline does nothing: no Write blocks, and the deadlines that
// tls.Conn sets around its last alert would cut off what is still pending.
func (o *outbox) SetWriteDeadline(time.Time) error { return nil }

// Close ends writing, not the connection: flush sends what is pending first.
func (o *outbox) Close() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closing = true
	o.Conn.SetWriteDeadline(time.Now().Add(lingering))
	o.signal()
	return nil
}

func (o *outbox) signal() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// flush sends what is written until Close, and then ends the stream of the server. It
// closes the whole connection if the stream cannot be ended by itself.
func (o *outbox) flush() {
	defer close(o.drained)
	for range o.wake {
		o.mu.Lock()
		pending, closing := o.pending, o.closing
		o.pending = nil
		o.mu.Unlock()
		if _, err := o.Conn.Write(pending); err != nil {
			o.Conn.Close()
			// From now on every Write fails.
			o.Close()
			return
		}
		if closing {
			break
		}
	}
	if half, ok := o.Conn.(interface{ CloseWrite() error }); ok {
		half.CloseWrite()
	} else {
		o.Conn.Close()
	}
}

// finish closes the connection once the client has had time to read what it
// was sent. Meanwhile it reads, because TCP throws away what the client has not read
// yet if a socket is closed with unread input.
func (o *outbox) finish() {
	o.Conn.SetReadDeadline(time.Now().Add(lingering))
	io.Copy(io.Discard, o.Conn)
	<-o.drained
	o.Conn.Close()
}
