// Package proxy opens connections through HTTP CONNECT and SOCKS5 proxies.
//
// [Dial] connects through a proxy; [FromEnvironment] returns the one that the environment
// names. No error of this package contains a proxy's user or password.
package proxy

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/url"

	"github.com/fleetprov/fleetprov/internal/tlsdial"
)

// Dial returns a connection to address, a host:port, that runs through the proxy u,
// which must be one that [Check] accepts. It reaches the proxy itself with dial, at port
// 80 (http), 443 (https) or 1080 (socks5, socks5h) if u names none.
//
// An http proxy is sent CONNECT; so is an https proxy, inside TLS. tlsConfig is for that
// TLS only; nil means the system's roots. It is cloned, and ServerName and NextProtos are
// overwritten. User and password are sent as HTTP Basic or SOCKS5 authentication; unless
// the proxy is https, they travel in clear text. The proxy resolves the host of address,
// with socks5 as well as socks5h, since a device behind a proxy often cannot.
//
// When ctx ends, Dial returns its error. Once Dial has returned, ctx has no effect on the
// connection, which has no deadline set. The error is a [*RefusedError] if the proxy
// refuses, and wraps [ErrBadAnswer] if it speaks another protocol and
// [io.ErrUnexpectedEOF] if it closes the connection without an answer. Errors of the
// network and of TLS can be found with [errors.As].
func Dial(ctx context.Context, dial tlsdial.DialFunc, u *url.URL, address string, tlsConfig *tls.Config) (net.Conn, error) {
	if err := Check(u); err != nil {
		return nil, err
	}
	conn, err := dial(ctx, "tcp", hostPort(u))
	if err != nil {
		return nil, fmt.Errorf("proxy %s: %w", hostPort(u), err)
	}

	// Closing ends a Read, a Write and a TLS handshake alike, and leaves no deadline to
	// clear.
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	tunnel, err := open(ctx, conn, u, address, tlsConfig)
	if !stop() {
		err = ctx.Err()
	}
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("proxy %s: %w", hostPort(u), err)
	}
	return tunnel, nil
}

// open turns conn, a new connection to the proxy u, into a tunnel to address.
func open(ctx context.Context, conn net.Conn, u *url.URL, address string, tlsConfig *tls.Config) (net.Conn, error) {
	switch u.Scheme {
	case "socks5", "socks5h":
		return conn, openSOCKS5(conn, u, address)
	case "https":
		tlsConn := tls.Client(conn, configFor(u, tlsConfig))
		if err := tlsConn.HandshakeContext(ctx); err != nil {
			return nil, fmt.Errorf("TLS: %w", err)
		}
		return tlsConn, openCONNECT(tlsConn, u, address)
	default:
		return conn, openCONNECT(conn, u, address)
	}
}

// configFor returns the configuration for TLS with the proxy u. If base is nil, it trusts
// the system's roots.
func configFor(u *url.URL, base *tls.Config) *tls.Config {
	config := &tls.Config{}
	if base != nil {
		config = base.Clone()
	}
	config.ServerName = u.Hostname()
	config.NextProtos = nil // CONNECT is written as HTTP/1.1
	return config
}
