// Package broker is a small MQTT server that leaves every decision to its
// [Handler], and so can be made to misbehave. It speaks MQTT 3.1.1 and MQTT 5;
// the handler sees the packets of MQTT 3.1.1 in either case.
//
// It frames and checks packets, keeps client ids unique, remembers
// subscriptions and delivers messages by them. It has no retained messages, no
// wills, no sessions that outlive their connection, no QoS 2 and no shared
// subscriptions. It does not repeat a message that was not acknowledged, and
// ignores the Receive Maximum of an MQTT 5 client.
package broker

import (
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

// Handler answers the packets that need a decision. Its methods are called
// from the goroutine that reads the connection, one at a time for each
// connection, and concurrently for different ones.
type Handler interface {
	// Connect is called with the connection's first packet. It calls
	// [Conn.Accept] and sends a CONNACK, or closes the connection; it may do
	// so later, see [Conn.After]. Whatever the client sends before Accept
	// closes the connection. The packet's ProtocolVersion is 4 or 5.
	Connect(*Conn, *packets.ConnectPacket)
	// Subscribe calls [Conn.Grant] for the filters it grants and sends a
	// SUBACK.
	Subscribe(*Conn, *packets.SubscribePacket)
	// Publish calls [Conn.Acknowledge] and does with the message what it
	// likes, such as [Conn.Relay] to others.
	Publish(*Conn, *packets.PublishPacket)
}

// Server serves MQTT on the connections of a listener. Its fields must not be
// changed after Serve is called.
type Server struct {
	// Handler decides. It is required.
	Handler Handler
	// TLS is the configuration of the TLS layer. If it is nil, there is no TLS.
	TLS *tls.Config
	// Closed, if set, is called when a connection is over, even if
	// Handler.Connect was never called for it. What was sent before may still
	// be under way. The reason is nil if the client has sent a DISCONNECT or
	// the server has closed the connection without one.
	Closed func(c *Conn, reason error)

	mu       sync.Mutex
	closed   bool
	listener net.Listener
	conns    map[*Conn]struct{}
	clients  map[string]*Conn // by client id, accepted ones only

	running sync.WaitGroup
}

// Serve accepts connections until [Server.Close]. It takes over listener and
// returns once accepting has ended.
func (s *Server) Serve(listener net.Listener) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		listener.Close()
		return
	}
	s.listener = listener
	s.conns = make(map[*Conn]struct{})
	s.clients = make(map[string]*Conn)
	s.running.Add(1)
	s.mu.Unlock()
	defer s.running.Done()

	for {
		raw, err := listener.Accept()
		if temporary(err) {
			time.Sleep(acceptPause)
			continue
		}
		if err != nil {
			return
		}
		c := s.add(raw)
		if c == nil {
			raw.Close()
			return
		}
		s.running.Go(c.serve)
	}
}

// acceptPause is how long Serve waits after a temporary error before it accepts again.
const acceptPause = 50 * time.Millisecond

// temporary reports whether accepting may succeed later although it has failed now: too
// many files are open, or the client is already gone.
func temporary(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.ECONNABORTED)
}

// Close ends the listener, every connection and every goroutine of the server,
// and waits for them.
func (s *Server) Close() {
	s.mu.Lock()
	s.closed = true
	if s.listener != nil {
		s.listener.Close()
	}
	for c := range s.conns {
		c.abort()
	}
	s.mu.Unlock()
	s.running.Wait()
}

// add returns nil once the server is closed.
func (s *Server) add(raw net.Conn) *Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	c := newConn(s, raw)
	s.conns[c] = struct{}{}
	return c
}

// remove forgets a connection that is over.
func (s *Server) remove(c *Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	if s.clients[c.clientID] == c {
		delete(s.clients, c.clientID)
	}
}

// takeOver makes c the one connection with its client id (MQTT 3.1.1, MQTT-3.1.4-2).
func (s *Server) takeOver(c *Conn) {
	s.mu.Lock()
	previous := s.clients[c.clientID]
	s.clients[c.clientID] = c
	s.mu.Unlock()
	if previous != nil && previous != c {
		previous.Fail(errTakenOver)
	}
}
