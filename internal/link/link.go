// Package link opens MQTT sessions with an endpoint: it dials, through a proxy or
// not, runs the TLS handshake, and sends CONNECT.
package link

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/url"

	"github.com/fleetprov/fleetprov/internal/iotendpoint"
	"github.com/fleetprov/fleetprov/internal/mqttsession"
	"github.com/fleetprov/fleetprov/internal/proxy"
	"github.com/fleetprov/fleetprov/internal/tlsdial"
)

// Link is the way to one endpoint. Its fields do not change once it is in use, and
// any number of sessions may be opened at once.
type Link struct {
	Endpoint iotendpoint.Endpoint
	TLS      *tls.Config // what else the caller wants of TLS, or nil
	Roots    *x509.CertPool
	Dial     tlsdial.DialFunc

	// Proxy returns the proxy for an address, or nil for none.
	Proxy func(address string) (*url.URL, error)
}

// DialError is a connection that was not opened.
type DialError struct {
	Err      error
	Endpoint iotendpoint.Endpoint
	Chain    [][]byte // DER: the certificate to present, and those that go with it

	TLS      *tls.Config // what the caller wants of TLS, or nil
	Proxied  bool        // whether the way to the endpoint is through a proxy
	KeyErr   error       // why the certificate's key did not sign, or nil
	Unsuited error       // why the server takes no signature of that key, or nil
}

func (e *DialError) Error() string { return e.Err.Error() }

// Unwrap returns what the network, the proxy or TLS said.
func (e *DialError) Unwrap() error { return e.Err }

// Reached reports whether [Link.Open], which returned err, came as far as the endpoint:
// a session was opened or refused, or the other side took a connection and closed it
// or sent an alert. It did not come as far if nothing was connected, if nobody answered
// the handshake, if the answer was not TLS, or if it was not the endpoint's certificate.
func Reached(err error) bool {
	var (
		dial      *DialError
		handshake *tlsdial.HandshakeError
		operation *net.OpError
	)
	switch {
	case !errors.As(err, &dial):
		return true
	case !errors.As(err, &handshake):
		return false
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return true
	default:
		return errors.As(err, &operation) && operation.Op != "local error" && !operation.Timeout()
	}
}

// Open dials, shakes hands and sends CONNECT. Nothing may follow CONNECT before
// its CONNACK (AWS developer guide, "mqtt"). Until CONNECT is sent, a failure is a
// [*DialError].
func (l *Link) Open(ctx context.Context, certificate *tls.Certificate, clientID string, topics ...string) (*mqttsession.Session, error) {
	presented := present(certificate)
	config := l.Endpoint.TLSConfig(l.TLS, l.Roots, presented.certificate)
	config.GetClientCertificate = presented.get
	conn, err := tlsdial.Dial(ctx, l.dial, l.Endpoint.String(), config)
	if err != nil {
		through, _ := l.Proxy(l.Endpoint.String())
		failed := &DialError{Err: err, Endpoint: l.Endpoint, Chain: certificate.Certificate, TLS: l.TLS, Proxied: through != nil}
		// Otherwise a key may still be signing, for a handshake that was left behind.
		if handshake := new(tlsdial.HandshakeError); errors.As(err, &handshake) {
			failed.KeyErr, failed.Unsuited = presented.keyErr, presented.unsuited
		}
		return nil, failed
	}
	return mqttsession.Open(ctx, conn, clientID, topics...)
}

func (l *Link) dial(ctx context.Context, network, address string) (net.Conn, error) {
	through, err := l.Proxy(address)
	switch {
	case err != nil:
		return nil, err
	case through == nil:
		return l.Dial(ctx, network, address)
	default:
		return proxy.Dial(ctx, l.Dial, through, address, nil)
	}
}
