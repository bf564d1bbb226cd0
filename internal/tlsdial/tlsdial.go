// Package tlsdial opens TLS connections, and returns when the context ends whatever the
// dialer or the key do.
package tlsdial

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
)

// DialFunc opens a connection, as [net.Dialer.DialContext] does.
type DialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// HandshakeError is what kept TLS from being agreed on a connection that was
// open.
type HandshakeError struct {
	Err error

	// Local is a handshake that ended by a decision of this side: no reading or
	// writing failed, and the server sent no alert. crypto/tls often says so in a
	// plain error. Time does not change it.
	Local bool

	// Unsent is one that ended before anything was sent, which the configuration is
	// to blame for.
	Unsent bool
}

func (e *HandshakeError) Error() string { return "TLS handshake: " + e.Err.Error() }

// Unwrap returns the error as crypto/tls made it.
func (e *HandshakeError) Unwrap() error { return e.Err }

// Dial opens a connection to address with dial and runs the TLS handshake of
// config over it, which fails with a [*HandshakeError]. When ctx ends, the error
// is that of ctx.
func Dial(ctx context.Context, dial DialFunc, address string, config *tls.Config) (*tls.Conn, error) {
	raw, err := bound(dial)(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	watched := &watchedConn{Conn: raw}
	conn := tls.Client(watched, config)
	// A client key in hardware signs during the handshake, and may be slow or hang.
	shaken := make(chan error, 1)
	go func() { shaken <- conn.HandshakeContext(ctx) }()
	select {
	case err = <-shaken:
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		raw.Close()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, watched.explain(err)
	}
	return conn, nil
}

// bound returns a dial that ends with its context even if the given one ignores it: a
// modem driver that knows no contexts must not hang a device. A connection that it
// returns later is closed. A nil connection without an error is an error.
func bound(dial DialFunc) DialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		type result struct {
			conn net.Conn
			err  error
		}
		results := make(chan result)
		go func() {
			conn, err := dial(ctx, network, address)
			if conn == nil && err == nil {
				err = fmt.Errorf("the dialer returned neither a connection nor an error for %s", address)
			}
			select {
			case results <- result{conn, err}:
			case <-ctx.Done():
				if err == nil {
					conn.Close()
				}
			}
		}()
		select {
		case r := <-results:
			return r.conn, r.err
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
