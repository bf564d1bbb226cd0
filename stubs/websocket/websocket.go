// Package websocket stands in for github.com/gorilla/websocket in a firmware that
// speaks MQTT over TLS only. paho.mqtt.golang imports gorilla/websocket for URLs of
// the schemes ws and wss, so that every program with paho links it. This package has
// what paho v1.5.1 calls, and refuses to connect.
//
// A replace directive in the go.mod of the firmware puts it there; docs/figures.md has
// the command, and how much smaller the firmware is.
package websocket

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"
)

// BinaryMessage is the kind of message that MQTT travels in.
const BinaryMessage = 2

// ErrStub is what everything here fails with.
var ErrStub = errors.New("websocket: go.mod replaces github.com/gorilla/websocket by a stub that cannot connect: connect with TLS (ssl://), or remove the replace directive")

// Dialer has the settings that paho fills in. None has an effect.
type Dialer struct {
	Proxy             func(*http.Request) (*url.URL, error)
	HandshakeTimeout  time.Duration
	TLSClientConfig   *tls.Config
	ReadBufferSize    int
	WriteBufferSize   int
	Subprotocols      []string
	EnableCompression bool
}

// Dial fails with [ErrStub].
func (*Dialer) Dial(string, http.Header) (*Conn, *http.Response, error) { return nil, nil, ErrStub }

// Conn is never made.
type Conn struct{}

// NextReader fails with [ErrStub].
func (*Conn) NextReader() (messageType int, r io.Reader, err error) { return 0, nil, ErrStub }

// WriteMessage fails with [ErrStub].
func (*Conn) WriteMessage(messageType int, data []byte) error { return ErrStub }

// SetReadDeadline fails with [ErrStub].
func (*Conn) SetReadDeadline(time.Time) error { return ErrStub }

// SetWriteDeadline fails with [ErrStub].
func (*Conn) SetWriteDeadline(time.Time) error { return ErrStub }

// Close does nothing.
func (*Conn) Close() error { return nil }

// LocalAddr returns an address that is none.
func (*Conn) LocalAddr() net.Addr { return &net.TCPAddr{} }

// RemoteAddr returns an address that is none.
func (*Conn) RemoteAddr() net.Addr { return &net.TCPAddr{} }
