package proxy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http/httptest"
	"net/url"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov/internal/tlsdial"
)

const (
	endpointHost = "xxxxxxxx-ats.iot.eu-west-1.amazonaws.com"
	endpoint     = endpointHost + ":443"
)

// What a good proxy of each kind is asked, with the user alice and the password
// s3cret, and what it answers.
var (
	connectTurns = []turn{{
		"CONNECT xxxxxxxx-ats.iot.eu-west-1.amazonaws.com:443 HTTP/1.1\r\n" +
			"Host: xxxxxxxx-ats.iot.eu-west-1.amazonaws.com:443\r\n" +
			"User-Agent: Go-http-client/1.1\r\n" +
			"Proxy-Authorization: Basic YWxpY2U6czNjcmV0\r\n\r\n",
		"HTTP/1.1 200 Connection established\r\n\r\n",
	}}
	socks5Turns = []turn{
		{"\x05\x02\x00\x02", "\x05\x02"},
		{"\x01\x05alice\x06s3cret", "\x01\x00"},
		{
			"\x05\x01\x00\x03\x28xxxxxxxx-ats.iot.eu-west-1.amazonaws.com\x01\xbb",
			"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00",
		},
	}
)

// A turn is what a client is expected to write, and the answer to it.
type turn struct{ expect, answer string }

// play is the proxy's side of turns. It reports whether the client took all of them.
func play(t *testing.T, conn net.Conn, turns []turn) bool {
	for _, turn := range turns {
		received := make([]byte, len(turn.expect))
		if _, err := io.ReadFull(conn, received); err != nil {
			return false
		}
		if !assert.Equal(t, turn.expect, string(received)) {
			return false
		}
		if _, err := io.WriteString(conn, turn.answer); err != nil {
			return false
		}
	}
	return true
}

// served is a dialer of a proxy that serves one connection with serve, then closes it.
func served(serve func(net.Conn)) tlsdial.DialFunc {
	return func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		go func() {
			defer server.Close()
			serve(server)
		}()
		return client, nil
	}
}

// silent reads until the client closes the connection.
func silent(conn net.Conn) { io.Copy(io.Discard, conn) }

func mustParse(t *testing.T, raw string) *url.URL {
	t.Helper()
	u, err := url.Parse(raw)
	require.NoError(t, err)
	return u
}

func assertNoCredentials(t *testing.T, err error) {
	t.Helper()
	for _, secret := range []string{"alice", "s3cret", "YWxpY2U6czNjcmV0"} {
		assert.NotContains(t, err.Error(), secret)
	}
}

// testCertificate is valid for example.com; its own root is in the returned pool.
func testCertificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	server := httptest.NewTLSServer(nil)
	defer server.Close()
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	return server.TLS.Certificates[0], roots
}

var schemes = []struct {
	scheme string
	turns  []turn
}{
	{"http", connectTurns},
	{"https", connectTurns},
	{"socks5", socks5Turns},
	{"socks5h", socks5Turns},
}

func TestATunnelOutlivesItsContext(t *testing.T) {
	certificate, roots := testCertificate(t)
	for _, tt := range schemes {
		t.Run(tt.scheme, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				dial := served(func(conn net.Conn) {
					if tt.scheme == "https" {
						tlsConn := tls.Server(conn, &tls.Config{
							Certificates: []tls.Certificate{certificate},
							NextProtos:   []string{"http/1.1"},
						})
						defer tlsConn.Close()
						conn = tlsConn
					}
					if play(t, conn, tt.turns) {
						io.Copy(conn, conn)
					}
				})
				conn, err := Dial(ctx, dial, mustParse(t, tt.scheme+"://alice:s3cret@example.com"), endpoint, &tls.Config{
					RootCAs:    roots,
					ServerName: endpointHost,
					NextProtos: []string{"x-amzn-mqtt-ca"},
				})
				require.NoError(t, err)
				defer conn.Close()

				<-time.After(2 * time.Minute)
				require.Error(t, ctx.Err())
				assertEchoes(t, conn)
			})
		})
	}
}

func assertEchoes(t *testing.T, conn net.Conn) {
	t.Helper()
	_, err := io.WriteString(conn, "ping")
	require.NoError(t, err)
	received := make([]byte, 4)
	_, err = io.ReadFull(conn, received)
	require.NoError(t, err)
	assert.Equal(t, "ping", string(received))
}

func TestBytesBehindTheAnswerReachTheCaller(t *testing.T) {
	for _, tt := range schemes {
		if tt.scheme == "https" {
			continue
		}
		t.Run(tt.scheme, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				turns := append([]turn(nil), tt.turns...)
				turns[len(turns)-1].answer += "\r\nfirst bytes"
				dial := served(func(conn net.Conn) { play(t, conn, turns) })
				conn, err := Dial(t.Context(), dial, mustParse(t, tt.scheme+"://alice:s3cret@example.com"), endpoint, nil)
				require.NoError(t, err)
				defer conn.Close()
				received, err := io.ReadAll(conn)
				require.NoError(t, err)
				assert.Equal(t, "\r\nfirst bytes", string(received))
			})
		})
	}
}

func TestDialEndsWithItsContext(t *testing.T) {
	answer := func(text string) func(*testing.T, net.Conn) {
		return func(t *testing.T, conn net.Conn) {
			go silent(conn)
			io.WriteString(conn, text)
			<-t.Context().Done()
		}
	}
	tests := []struct {
		name, scheme string
		serve        func(*testing.T, net.Conn)
	}{
		{"while a CONNECT proxy does not read", "http", func(t *testing.T, _ net.Conn) { <-t.Context().Done() }},
		{"while a CONNECT proxy does not answer", "http", answer("")},
		{"in the middle of the answer's first line", "http", answer("HTTP/1.1 200 Conn")},
		{"in the middle of the answer's header", "http", answer("HTTP/1.1 200 OK\r\nVia: ")},
		{"while an https proxy does not read", "https", func(t *testing.T, _ net.Conn) { <-t.Context().Done() }},
		{"while an https proxy does not answer", "https", answer("")},
		{"in the middle of the TLS handshake", "https", answer("\x16\x03\x03")},
		{"while a SOCKS5 proxy does not read", "socks5", func(t *testing.T, _ net.Conn) { <-t.Context().Done() }},
		{"while a SOCKS5 proxy does not answer", "socks5", answer("")},
		{"in the middle of the SOCKS5 method", "socks5", answer("\x05")},
		{"while SOCKS5 checks the user", "socks5", answer("\x05\x02")},
		{"in the middle of the SOCKS5 reply", "socks5", answer("\x05\x00\x05\x00\x00\x01\x7f")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Run("cancelled", func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					ctx, cancel := context.WithCancel(t.Context())
					closed, dial := watchClose(t, tt.serve)
					done := make(chan error)
					go func() {
						conn, err := Dial(ctx, dial, mustParse(t, tt.scheme+"://alice:s3cret@example.com"), endpoint, nil)
						assert.Nil(t, conn)
						done <- err
					}()
					synctest.Wait()
					start := time.Now()
					cancel()
					err := <-done
					assert.ErrorIs(t, err, context.Canceled)
					assert.Zero(t, time.Since(start))
					assertNoCredentials(t, err)
					<-closed
				})
			})
			t.Run("deadline", func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					ctx, cancel := context.WithTimeout(t.Context(), 7*time.Second)
					defer cancel()
					closed, dial := watchClose(t, tt.serve)
					start := time.Now()
					conn, err := Dial(ctx, dial, mustParse(t, tt.scheme+"://alice:s3cret@example.com"), endpoint, nil)
					assert.Nil(t, conn)
					assert.ErrorIs(t, err, context.DeadlineExceeded)
					assert.Equal(t, 7*time.Second, time.Since(start))
					<-closed
				})
			})
		})
	}
}

// watchClose is a dialer of a proxy that runs serve, and a channel that is closed
// when the client closes its connection.
func watchClose(t *testing.T, serve func(*testing.T, net.Conn)) (<-chan struct{}, tlsdial.DialFunc) {
	closed := make(chan struct{})
	dial := served(func(conn net.Conn) { serve(t, conn) })
	return closed, func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		return &closeWatch{Conn: conn, closed: closed}, err
	}
}

func TestDialOfAnEndedContextClosesWhatItGot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		closed, dial := watchClose(t, func(_ *testing.T, conn net.Conn) { silent(conn) })
		conn, err := Dial(ctx, dial, mustParse(t, "http://example.com"), endpoint, nil)
		assert.Nil(t, conn)
		assert.ErrorIs(t, err, context.Canceled)
		<-closed
	})
}

func TestDialReachesTheProxyAtItsPort(t *testing.T) {
	for raw, want := range map[string]string{
		"http://alice:s3cret@proxy.example":    "proxy.example:80",
		"https://alice:s3cret@proxy.example/":  "proxy.example:443",
		"socks5://alice:s3cret@proxy.example":  "proxy.example:1080",
		"socks5h://alice:s3cret@proxy.example": "proxy.example:1080",
		"http://alice:s3cret@192.0.2.1:3128":   "192.0.2.1:3128",
		"http://alice:s3cret@[2001:db8::1]":    "[2001:db8::1]:80",
	} {
		t.Run(want, func(t *testing.T) {
			var network, address string
			conn, err := Dial(t.Context(), func(_ context.Context, n, a string) (net.Conn, error) {
				network, address = n, a
				return nil, &net.OpError{Op: "dial", Net: n, Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
			}, mustParse(t, raw), endpoint, nil)
			assert.Nil(t, conn)
			assert.Equal(t, "tcp", network)
			assert.Equal(t, want, address)
			assert.ErrorIs(t, err, syscall.ECONNREFUSED)
			var operation *net.OpError
			assert.ErrorAs(t, err, &operation)
			assert.ErrorContains(t, err, "proxy "+want)
			assertNoCredentials(t, err)
		})
	}
}

func TestDialRefusesAURLThatIsNoProxys(t *testing.T) {
	conn, err := Dial(t.Context(), func(context.Context, string, string) (net.Conn, error) {
		return nil, errors.New("dialled")
	}, mustParse(t, "ftp://proxy.example"), endpoint, nil)
	assert.Nil(t, conn)
	assert.ErrorContains(t, err, "scheme")
}

func TestAnHTTPSProxyHasToProveItself(t *testing.T) {
	certificate, roots := testCertificate(t)
	tests := []struct {
		name, host string
		config     *tls.Config
		want       func(error) bool
	}{
		{"to the system's roots if none are given", "example.com", nil, func(err error) bool {
			var unknown x509.UnknownAuthorityError
			return errors.As(err, &unknown)
		}},
		{"by its own name", "proxy.invalid", &tls.Config{RootCAs: roots}, func(err error) bool {
			var name x509.HostnameError
			return errors.As(err, &name)
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dial := served(func(conn net.Conn) {
					tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{certificate}}).Handshake()
				})
				conn, err := Dial(t.Context(), dial, mustParse(t, "https://alice:s3cret@"+tt.host), endpoint, tt.config)
				assert.Nil(t, conn)
				assert.True(t, tt.want(err), "%v", err)
				assert.ErrorContains(t, err, "proxy "+tt.host+":443: TLS:")
				assertNoCredentials(t, err)
			})
		})
	}
}

func TestDialLeavesTheTLSConfigAlone(t *testing.T) {
	config := &tls.Config{ServerName: "other.example", NextProtos: []string{"h2"}}
	_, err := Dial(t.Context(), served(func(net.Conn) {}), mustParse(t, "https://proxy.example"), endpoint, config)
	require.Error(t, err)
	assert.Equal(t, "other.example", config.ServerName)
	assert.Equal(t, []string{"h2"}, config.NextProtos)
}

// FuzzDial sends any bytes in place of a proxy's answer.
func FuzzDial(f *testing.F) {
	f.Add("http", []byte("HTTP/1.1 200 OK\r\n\r\nfirst bytes"))
	f.Add("http", []byte("HTTP/1.1 407 alice:s3cret\r\nProxy-Authenticate: Basic\r\n\r\n"))
	f.Add("http", []byte("SSH-2.0-OpenSSH_9.2\r\n"))
	f.Add("socks5", []byte("\x05\x02\x01\x00\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00first bytes"))
	f.Add("socks5", []byte("\x05\x00\x05\x05\x00\x01\x00\x00\x00\x00\x00\x00"))
	f.Add("socks5", []byte("\x05\x00\x05\x00\x00\x03\xff"))
	f.Fuzz(func(t *testing.T, scheme string, answer []byte) {
		if scheme != "http" && scheme != "socks5" {
			t.Skip()
		}
		dial := served(func(conn net.Conn) {
			go silent(conn)
			conn.Write(answer)
		})
		conn, err := Dial(t.Context(), dial, mustParse(t, scheme+"://alice:s3cret@proxy.example"), endpoint, nil)
		if err != nil {
			assert.Nil(t, conn)
			assertNoCredentials(t, err)
			return
		}
		defer conn.Close()
		rest, err := io.ReadAll(conn)
		require.NoError(t, err)
		require.LessOrEqual(t, len(rest), len(answer))
		assert.Equal(t, string(answer[len(answer)-len(rest):]), string(rest))
	})
}
