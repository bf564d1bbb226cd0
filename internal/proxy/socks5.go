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

// openSOCKS5 turns conn into a tunnel to address with SOCKS5 (RFC 1928). User and
// password are sent as RFC 1929 says.
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
	// Unlike DialContext, Dial returns conn without a wrapper and starts no goroutine.
	// When the context ends, the caller closes conn, which ends it.
	_, err = dialer.Dial("tcp", address)
	if err == nil {
		return nil
	}
	if watched.err != nil {
		return fmt.Errorf("waiting for the answer of SOCKS5: %w", watched.err)
	}
	// Our own error names the addresses already.
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

// refusal returns the reply with which the proxy refused, or false if err is of another
// kind. x/net distinguishes them only by their text.
func refusal(err error) (reply string, refused bool) {
	text := err.Error()
	if text == noMethod || text == loginFailed {
		return text, true
	}
	return strings.CutPrefix(text, "unknown error ")
}

// openedConn is a dialer that returns a connection that is already open.
type openedConn struct{ conn net.Conn }

func (o openedConn) Dial(string, string) (net.Conn, error) { return o.conn, nil }

func (o openedConn) DialContext(context.Context, string, string) (net.Conn, error) {
	return o.conn, nil
}
