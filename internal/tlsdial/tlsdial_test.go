package tlsdial_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov/internal/testca"
	"github.com/fleetprov/fleetprov/internal/tlsdial"
)

// closing tells when it is closed.
type closing struct {
	net.Conn
	closed chan struct{}
}

func (c *closing) Close() error {
	close(c.closed)
	return c.Conn.Close()
}

func TestADialerThatKnowsNoContextsIsLeftBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer far.Close()
		late := &closing{near, make(chan struct{})}
		dial := func(context.Context, string, string) (net.Conn, error) {
			<-time.After(time.Minute)
			return late, nil
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		conn, err := tlsdial.Dial(ctx, dial, "localhost:1", &tls.Config{})
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Nil(t, conn)
		assert.Equal(t, time.Second, time.Since(began))
		<-late.closed
		assert.Equal(t, time.Minute, time.Since(began), "what it comes back with is closed")
	})
}

func TestNeitherConnectionNorError(t *testing.T) {
	_, err := tlsdial.Dial(t.Context(), func(context.Context, string, string) (net.Conn, error) { return nil, nil }, "localhost:1", &tls.Config{})
	assert.ErrorContains(t, err, "localhost:1")
}

func TestDialErrorsComeAsTheyAre(t *testing.T) {
	off := errors.New("the modem is off")
	_, err := tlsdial.Dial(t.Context(), func(context.Context, string, string) (net.Conn, error) { return nil, off }, "localhost:1", &tls.Config{})
	assert.Equal(t, off, err)
}

func TestHandshake(t *testing.T) {
	ca := testca.New("a root")
	for name, test := range map[string]struct {
		roots    *x509.CertPool
		serve    func(net.Conn)
		patience time.Duration
		ends     func(*testing.T, *tls.Conn, error)
	}{
		"that succeeds": {ca.Pool(), serveTLS(ca), time.Minute, func(t *testing.T, conn *tls.Conn, err error) {
			require.NoError(t, err)
			conn.NetConn().Close()
		}},
		"with a server that is not trusted": {testca.New("another root").Pool(), serveTLS(ca), time.Minute, func(t *testing.T, _ *tls.Conn, err error) {
			var handshake *tlsdial.HandshakeError
			require.ErrorAs(t, err, &handshake)
			var unknown x509.UnknownAuthorityError
			assert.ErrorAs(t, err, &unknown)
		}},
		"with a server that hangs up": {ca.Pool(), func(net.Conn) {}, time.Minute, func(t *testing.T, _ *tls.Conn, err error) {
			var handshake *tlsdial.HandshakeError
			assert.ErrorAs(t, err, &handshake)
		}},
		"with a server that is silent": {ca.Pool(), func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }, 50 * time.Millisecond, func(t *testing.T, _ *tls.Conn, err error) {
			assert.Equal(t, context.DeadlineExceeded, err)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			address := serveOnce(t, test.serve)
			ctx, cancel := context.WithTimeout(t.Context(), test.patience)
			defer cancel()
			config := &tls.Config{ServerName: "localhost", RootCAs: test.roots}
			conn, err := tlsdial.Dial(ctx, new(net.Dialer).DialContext, address, config)
			test.ends(t, conn, err)
		})
	}
}

// serveOnce serves one connection, and returns where.
func serveOnce(t *testing.T, serve func(net.Conn)) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { listener.Close() })
	go func() {
		if conn, err := listener.Accept(); err == nil {
			serve(conn)
			conn.Close()
		}
	}()
	return listener.Addr().String()
}

func serveTLS(ca *testca.CA) func(net.Conn) {
	certificate := ca.Server(testca.Validity{}, "localhost")
	return func(conn net.Conn) {
		_ = tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{certificate}}).Handshake()
	}
}

func TestWhoEndedAHandshake(t *testing.T) {
	ca := testca.New("a root")
	certificate := ca.Server(testca.Validity{}, "localhost")
	refuse := func(*tls.ClientHelloInfo) (*tls.Config, error) { return nil, errors.New("not today") }
	for name, test := range map[string]struct {
		config        *tls.Config
		serve         func(net.Conn)
		local, unsent bool
	}{
		"this side, which does not trust the server": {&tls.Config{RootCAs: testca.New("another root").Pool()}, serveTLS(ca), true, false},
		"this side, before it sent anything":         {&tls.Config{RootCAs: ca.Pool(), NextProtos: []string{""}}, serveTLS(ca), true, true},
		"the server, with an alert": {&tls.Config{RootCAs: ca.Pool()}, func(conn net.Conn) {
			_ = tls.Server(conn, &tls.Config{GetConfigForClient: refuse}).Handshake()
		}, false, false},
		"the server, with an alert that no protocol is left": {&tls.Config{RootCAs: ca.Pool(), NextProtos: []string{"a"}}, func(conn net.Conn) {
			_ = tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{certificate}, NextProtos: []string{"b"}}).Handshake()
		}, false, false},
		"the server, without a word": {&tls.Config{RootCAs: ca.Pool()}, func(conn net.Conn) { _, _ = conn.Read(make([]byte, 1<<10)) }, false, false},
		"a server that speaks no TLS": {&tls.Config{RootCAs: ca.Pool()}, func(conn net.Conn) {
			_, _ = conn.Read(make([]byte, 4<<10))
			_, _ = io.WriteString(conn, "HTTP/1.1 302 Found\r\n\r\n")
		}, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			address := serveOnce(t, test.serve)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			test.config.ServerName = "localhost"
			_, err := tlsdial.Dial(ctx, new(net.Dialer).DialContext, address, test.config)
			var handshake *tlsdial.HandshakeError
			require.ErrorAs(t, err, &handshake)
			assert.Equal(t, test.local, handshake.Local, "%v", err)
			assert.Equal(t, test.unsent, handshake.Unsent, "%v", err)
		})
	}
}
