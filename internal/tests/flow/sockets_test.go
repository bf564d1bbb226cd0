package flow_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/url"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov"
	"github.com/fleetprov/fleetprov/fleetprovtest"
	"github.com/fleetprov/fleetprov/internal/testca"
	"github.com/fleetprov/fleetprov/internal/tests/provtest"
)

// sockets remembers the connections that it dials.
type sockets struct {
	mu    sync.Mutex
	conns []*net.TCPConn
	then  func() // is called after each dial, if it is not nil
}

func (s *sockets) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns = append(s.conns, conn.(*net.TCPConn))
	if s.then != nil {
		s.then()
	}
	return conn, nil
}

// open is how many of the connections have their descriptor still.
func (s *sockets) open(t *testing.T) (n int) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	require.NotEmpty(t, s.conns, "nothing was dialled")
	for _, conn := range s.conns {
		raw, err := conn.SyscallConn()
		if err == nil {
			err = raw.Control(func(uintptr) { n++ })
		}
		if err != nil {
			require.ErrorIs(t, err, net.ErrClosed)
		}
	}
	return n
}

// stubborn is a server that never closes a connection while the test runs, so that it
// is the client's to do.
func stubborn(t *testing.T, serve func(net.Conn)) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var conns []net.Conn
	accepting := make(chan struct{})
	var serving sync.WaitGroup
	go func() {
		defer close(accepting)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			conns = append(conns, conn)
			serving.Go(func() { serve(conn) })
		}
	}()
	t.Cleanup(func() {
		listener.Close()
		provtest.Wait(t, accepting)
		for _, conn := range conns {
			conn.Close()
		}
		serving.Wait()
	})
	return listener.Addr().String()
}

// A device that tries again for days must not run out of descriptors.
func TestSocketsAreClosedWhenAnAttemptFails(t *testing.T) {
	ca := testca.New("a root")
	config := &tls.Config{Certificates: []tls.Certificate{ca.Server(testca.Validity{}, "127.0.0.1")}, ClientAuth: tls.RequestClientCert}
	stranger := &tls.Config{Certificates: []tls.Certificate{testca.New("another").Server(testca.Validity{}, "127.0.0.1")}}
	silent := func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }
	says := func(words string) func(net.Conn) {
		return func(conn net.Conn) {
			_, _ = io.WriteString(conn, words)
			silent(conn)
		}
	}
	// over serves inside TLS. It does not close the connection, as tls.Conn would when
	// its handshake fails.
	over := func(config *tls.Config, serve func(net.Conn)) func(net.Conn) {
		return func(conn net.Conn) {
			inside := tls.Server(unclosed{conn}, config)
			if inside.Handshake() == nil {
				serve(inside)
			}
			silent(conn)
		}
	}
	for name, test := range map[string]struct {
		serve   func(net.Conn)
		is      error
		tunnel  bool // whether the server is the proxy
		cancels bool // whether the caller ends the attempt
	}{
		"a CONNACK that never comes":                {serve: over(config, silent), is: os.ErrDeadlineExceeded},
		"a CONNACK that the caller does not await":  {serve: over(config, silent), is: context.Canceled, cancels: true},
		"a CONNACK that refuses":                    {serve: over(config, says("\x20\x02\x00\x05")), is: fleetprov.ErrNotAuthorized},
		"an answer that is no CONNACK":              {serve: over(config, says("HTTP/1.1 400 Bad Request\r\n\r\n")), is: fleetprov.ErrBadResponse},
		"a SUBACK that never comes":                 {serve: over(config, says("\x20\x02\x00\x00")), is: os.ErrDeadlineExceeded},
		"a handshake with a stranger":               {serve: over(stranger, silent)},
		"a handshake without TLS":                   {serve: says("HTTP/1.1 400 Bad Request\r\n\r\n")},
		"a handshake that never ends":               {serve: silent, is: os.ErrDeadlineExceeded},
		"a handshake that the caller does not wait": {serve: silent, is: context.Canceled, cancels: true},
		"a proxy that refuses":                      {serve: says("HTTP/1.1 403 Forbidden\r\n\r\n"), tunnel: true},
		"a proxy that never answers":                {serve: silent, is: os.ErrDeadlineExceeded, tunnel: true},
		"a tunnel in which no handshake ends":       {serve: says("HTTP/1.1 200 OK\r\n\r\n"), is: os.ErrDeadlineExceeded, tunnel: true},
	} {
		t.Run(name, func(t *testing.T) {
			address := stubborn(t, test.serve)
			var dialled sockets
			opts := []fleetprov.Option{fleetprov.WithDialer(dialled.dial), fleetprov.WithRootCAs(ca.Pool()),
				fleetprov.WithMaxAttempts(2), fleetprov.WithBackoff(time.Millisecond, time.Millisecond)}
			if test.is == os.ErrDeadlineExceeded {
				opts = append(opts, fleetprov.WithStepTimeout(300*time.Millisecond))
			}
			endpoint := address
			if test.tunnel {
				endpoint = "endpoint.example"
				opts = append(opts, fleetprov.WithProxy(&url.URL{Scheme: "http", Host: address}))
			}
			ctx, cancel := context.WithCancel(provtest.Context(t))
			defer cancel()
			if test.cancels {
				dialled.then = func() { time.AfterFunc(300*time.Millisecond, cancel) }
			}
			claim, err := fleetprov.NewIdentity(ca.Client("claim", testca.Validity{}))
			require.NoError(t, err)
			provisioner, err := fleetprov.New(endpoint, provtest.Template, claim, opts...)
			require.NoError(t, err)
			_, err = provisioner.Provision(ctx, nil)
			var failure *fleetprov.Error
			require.ErrorAs(t, err, &failure)
			if test.is != nil {
				assert.ErrorIs(t, err, test.is)
			}
			// Closing may go on for a moment after Provision has returned.
			assert.Eventually(t, func() bool { return dialled.open(t) == 0 }, 10*time.Second, 5*time.Millisecond, "%v", err)
		})
	}
}

// The sockets of a run that succeeds are closed, too.
func TestSocketsAreClosedAfterSuccess(t *testing.T) {
	server := provtest.NewServer(t)
	var dialled sockets
	_, err := provtest.NewProvisioner(t, server, fleetprov.WithDialer(dialled.dial), fleetprov.WithVerification()).Provision(provtest.Context(t), nil)
	require.NoError(t, err)
	assert.Equal(t, 2, count(server, fleetprovtest.OpConnect))
	assert.Eventually(t, func() bool { return dialled.open(t) == 0 }, 10*time.Second, 5*time.Millisecond)
}

// unclosed is a connection that its user cannot close.
type unclosed struct{ net.Conn }

func (unclosed) Close() error { return errors.ErrUnsupported }
