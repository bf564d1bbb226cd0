package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"

	netproxy "golang.org/x/net/proxy"
)

// openSOCKS5 makes conn a tunnel to address with SOCKS5 (RFC 1928), which has a user
// and password sent as in RFC 1929.
func openSOCKS5(conn net.Conn, u *url.URL, address string) error {
	var auth *netproxy.Auth
	if u.User != nil {
		password, _ := u.User.Password()
		auth = &netproxy.Auth{User: u.User.Username(), Password: password}
	}
	watched := &watchedConn{Conn: conn}
	dialer, err := netproxy.SOCKS5("tcp", hostPort(u), auth, openedConn{watched})
	if err != nil {
		return err
	}
	// Dial hands out conn as it is, without the wrapper that DialContext puts around
	// it, and starts no goroutine. ctx ends it by closing conn.
	_, err = dialer.Dial("tcp", address)
	if err == nil {
		return nil
	}
	if watched.err != nil {
		return fmt.Errorf("waiting for the answer of SOCKS5: %w", watched.err)
	}
	// The operation's addresses are those of our own error.
	var operation *net.OpError
	if errors.As(err, &operation) {
		err = operation.Err
	}
	reply, refused := refusal(err)
	if !refused {
		return fmt.Errorf("%w: SOCKS5: %w", ErrBadAnswer, err)
	}
	return &RefusedError{Address: address, Status: reply, CredentialsGiven: auth != nil}
}

// refusal returns the reply by which the proxy said no, and false if err is of
// another kind. x/net tells them apart by their text alone.
func refusal(err error) (reply string, refused bool) {
	text := err.Error()
	if text == noMethod || text == loginFailed {
		return text, true
	}
	return strings.CutPrefix(text, "unknown error ")
}

// openedConn is a dialer that has dialled.
type openedConn struct{ conn net.Conn }

func (o openedConn) Dial(string, string) (net.Conn, error) { return o.conn, nil }

func (o openedConn) DialContext(context.Context, string, string) (net.Conn, error) {
	return o.conn, nil
}
