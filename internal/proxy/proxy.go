// Package proxy opens connections through HTTP CONNECT and SOCKS5 proxies.
//
// [Dial] goes through a proxy; [FromEnvironment] returns the one that the environment
// names. No error of this package holds a proxy's user or
// password; each names the proxy by host and port.
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
// which must be one that [Check] accepts. The proxy itself is reached by dial, at
// port 80 (http), 443 (https) or 1080 (socks5, socks5h) if u names none.
//
// An http proxy is asked with CONNECT; an https proxy likewise, inside TLS. tlsConfig
// is for that TLS only, nil means the system's roots; it is cloned, and ServerName
// and NextProtos are overwritten. A user and password go out as Basic authentication,
// which an http or SOCKS5 proxy receives in clear text. The proxy resolves the host of
// address, with socks5 as with socks5h, since a device behind a proxy often cannot.
//
// Dial returns when ctx ends, with its error; afterwards ctx has no effect on the
// connection, which has no deadline set. A proxy that refuses gives a [*RefusedError],
// one that speaks another protocol [ErrBadAnswer], one that ends the connection
// without an answer [io.ErrUnexpectedEOF]; errors of the network and of TLS survive
// [errors.As].
func Dial(ctx context.Context, dial tlsdial.DialFunc, u *url.URL, address string, tlsConfig *tls.Config) (net.Conn, error) {
	if err := Check(u); err != nil {
		return nil, err
	}
	conn, err := dial(ctx, "tcp", hostPort(u))
	if err != nil {
		return nil, fmt.Errorf("proxy %s: %w", hostPort(u), err)
	}

	// Closing is the one thing that ends a Read, a Write and a TLS handshake alike
	// and leaves no deadline to clear.
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

// open makes conn, a fresh connection to the proxy u, a tunnel to address.
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

// configFor returns base, or the system's roots if it is nil, for TLS with the proxy u.
func configFor(u *url.URL, base *tls.Config) *tls.Config {
	config := &tls.Config{}
	if base != nil {
		config = base.Clone()
	}
	config.ServerName = u.Hostname()
	config.NextProtos = nil // CONNECT is written as HTTP/1.1
	return config
}
