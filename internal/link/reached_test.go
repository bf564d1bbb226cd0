package link_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov/internal/iotendpoint"
	"github.com/fleetprov/fleetprov/internal/link"
	"github.com/fleetprov/fleetprov/internal/testca"
)

func TestHowFarAnAttemptCame(t *testing.T) {
	ca := testca.New("a root")
	shake := func(conn net.Conn, certificate tls.Certificate, version uint16) {
		server := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: version})
		if server.Handshake() == nil {
			_, _ = server.Read(make([]byte, 1024)) // CONNECT
		}
	}
	trusted := ca.Server(testca.Validity{}, "localhost")
	for _, test := range []struct {
		what    string
		serve   func(*net.TCPConn)
		silent  bool
		reached bool
	}{
		{"nobody answers the handshake", func(conn *net.TCPConn) { _, _ = io.Copy(io.Discard, conn) }, true, false},
		{"the answer is not TLS", func(conn *net.TCPConn) {
			_, _ = conn.Write([]byte("HTTP/1.1 302 Found\r\n\r\n"))
			_, _ = io.Copy(io.Discard, conn)
		}, false, false},
		{"it is another server", func(conn *net.TCPConn) {
			shake(conn, testca.New("another root").Server(testca.Validity{}, "localhost"), tls.VersionTLS12)
		}, false, false},
		{"the connection is closed in the handshake", func(conn *net.TCPConn) { _, _ = conn.Read(make([]byte, 16<<10)) }, false, true},
		{"the connection is reset in the handshake", func(conn *net.TCPConn) {
			_, _ = conn.Read(make([]byte, 1))
			_ = conn.SetLinger(0)
		}, false, true},
		{"the handshake ends in an alert", func(conn *net.TCPConn) { shake(conn, trusted, tls.VersionTLS13) }, false, true},
		{"the connection is closed after CONNECT", func(conn *net.TCPConn) { shake(conn, trusted, tls.VersionTLS12) }, false, true},
	} {
		t.Run(test.what, func(t *testing.T) {
			listener, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
			require.NoError(t, err)
			defer listener.Close()
			served := make(chan struct{})
			go func() {
				defer close(served)
				if conn, err := listener.AcceptTCP(); err == nil {
					_ = conn.SetDeadline(time.Now().Add(time.Minute))
					test.serve(conn)
					conn.Close()
				}
			}()
			patience := time.Minute
			if test.silent {
				patience = 100 * time.Millisecond
			}
			err = open(t, ca, patience, func(ctx context.Context, network, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, network, listener.Addr().String())
			})
			assert.Equal(t, test.reached, link.Reached(err), "%v", err)
			<-served
		})
	}
	t.Run("nothing is connected", func(t *testing.T) {
		err := open(t, ca, time.Minute, func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("the modem is off") })
		assert.False(t, link.Reached(err))
	})
	t.Run("a session is opened", func(t *testing.T) { assert.True(t, link.Reached(nil)) })
}

// open opens a session that cannot be opened, with a client that knows TLS 1.2 only.
func open(t *testing.T, ca *testca.CA, patience time.Duration, dial func(ctx context.Context, network, address string) (net.Conn, error)) error {
	endpoint, err := iotendpoint.Parse("localhost")
	require.NoError(t, err)
	l := &link.Link{
		Endpoint: endpoint,
		TLS:      &tls.Config{MinVersion: tls.VersionTLS12, MaxVersion: tls.VersionTLS12},
		Roots:    ca.Pool(),
		Dial:     dial,
		Proxy:    func(string) (*url.URL, error) { return nil, nil },
	}
	certificate := ca.Client("device", testca.Validity{})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, err = l.Open(ctx, &certificate, "device")
	require.Error(t, err)
	return err
}
