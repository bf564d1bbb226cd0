package link_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov/fleetprovtest"
	"github.com/fleetprov/fleetprov/internal/iotendpoint"
	"github.com/fleetprov/fleetprov/internal/link"
	"github.com/fleetprov/fleetprov/internal/mqttsession"
	"github.com/fleetprov/fleetprov/internal/proxy"
	"github.com/fleetprov/fleetprov/internal/testca"
	"github.com/fleetprov/fleetprov/internal/tlsdial"
	"github.com/fleetprov/fleetprov/internal/turn"
)

const address = "iot.example.com:8883"

// server answers each CONNECT with the next of its return codes, or 0 when there is
// none left.
type server struct {
	tls  *tls.Config
	mu   sync.Mutex
	code []byte
	seen []connected
}

// connected is a CONNECT that a server has seen.
type connected struct {
	at       time.Time
	clientID string
	state    tls.ConnectionState
}

func (s *server) serve(conn net.Conn) {
	defer conn.Close()
	inside := tls.Server(conn, s.tls)
	packet, err := packets.ReadPacket(inside)
	if err != nil {
		return
	}
	connect, ok := packet.(*packets.ConnectPacket)
	if !ok {
		return
	}
	_, _ = inside.Write([]byte{0x20, 2, 0, s.next(connected{time.Now(), connect.ClientIdentifier, inside.ConnectionState()})})
	_, _ = io.Copy(io.Discard, inside)
}

func (s *server) next(c connected) (code byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen = append(s.seen, c)
	if len(s.code) > 0 {
		code, s.code = s.code[0], s.code[1:]
	}
	return code
}

func (s *server) connects() []connected {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen
}

// newLink returns a link inside a bubble to a server that ends with the test, and a
// certificate for it.
func newLink(t *testing.T, codes ...byte) (*link.Link, *server, *tls.Certificate) {
	t.Helper()
	listener := fleetprovtest.NewPipeListener()
	return linkTo(t, listener, listener.Dial, codes...)
}

// newTCPLink is newLink outside of a bubble. On a pipe, two ends that both write wait for
// each other, as they do when one sends an alert in the middle of a handshake.
func newTCPLink(t *testing.T, codes ...byte) (*link.Link, *server, *tls.Certificate) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	return linkTo(t, listener, func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, listener.Addr().String())
	}, codes...)
}

func linkTo(t *testing.T, listener net.Listener, dial tlsdial.DialFunc, codes ...byte) (*link.Link, *server, *tls.Certificate) {
	t.Helper()
	ca := testca.New("a root")
	s := &server{code: codes, tls: &tls.Config{Certificates: []tls.Certificate{ca.Server(testca.Validity{}, "iot.example.com")}, ClientAuth: tls.RequireAnyClientCert}}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go s.serve(conn)
		}
	}()
	endpoint, err := iotendpoint.Parse("iot.example.com")
	require.NoError(t, err)
	certificate := ca.Client("claim", testca.Validity{})
	return &link.Link{Endpoint: endpoint, Roots: ca.Pool(), Dial: dial, Proxy: direct}, s, &certificate
}

func direct(string) (*url.URL, error) { return nil, nil }

// closed waits until a session has said goodbye.
func closed(session *mqttsession.Session) {
	session.Close()
	<-session.Closed()
}

func TestOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, s, certificate := newLink(t)
		var asked []string
		dial := l.Dial
		l.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			asked = append(asked, network+" "+address)
			return dial(ctx, network, address)
		}
		session, err := l.Open(t.Context(), certificate, "gateway-7")
		require.NoError(t, err)
		closed(session)
		assert.Equal(t, []string{"tcp " + address}, asked)
		require.Len(t, s.connects(), 1)
		assert.Equal(t, "gateway-7", s.connects()[0].clientID)
		state := s.connects()[0].state
		assert.Equal(t, "iot.example.com", state.ServerName)
		assert.Equal(t, certificate.Certificate[0], state.PeerCertificates[0].Raw)
	})
}

// Until CONNECT is sent, a failure is a DialError: no server counts the connection.
func TestConnectionsThatAreNotOpened(t *testing.T) {
	refused := &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	badProxy := errors.New("HTTPS_PROXY is no URL")
	for name, test := range map[string]struct {
		change func(*link.Link)
		dial   bool // whether the failure is a DialError
		as     any
		is     error
	}{
		"no connection": {func(l *link.Link) {
			l.Dial = func(context.Context, string, string) (net.Conn, error) { return nil, refused }
		}, true, new(*net.OpError), refused},
		"a stranger":         {func(l *link.Link) { l.Roots = testca.New("another").Pool() }, true, new(*tlsdial.HandshakeError), nil},
		"another host":       {func(l *link.Link) { l.Endpoint.Host = "iot.example.org" }, true, new(*tlsdial.HandshakeError), nil},
		"no proxy to be had": {func(l *link.Link) { l.Proxy = func(string) (*url.URL, error) { return nil, badProxy } }, true, new(*link.DialError), badProxy},
		"a CONNACK":          {func(*link.Link) {}, false, new(*mqttsession.ConnackError), nil},
	} {
		t.Run(name, func(t *testing.T) {
			l, _, certificate := newTCPLink(t, mqttsession.ConnackNotAuthorized)
			test.change(l)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			session, err := l.Open(ctx, certificate, "gateway-7")
			assert.Nil(t, session)
			var dial *link.DialError
			require.Equal(t, test.dial, errors.As(err, &dial), "%v", err)
			assert.ErrorAs(t, err, test.as)
			if test.is != nil {
				assert.ErrorIs(t, err, test.is)
			}
			if test.dial {
				assert.Equal(t, dial.Err.Error(), err.Error(), "the error of the network is told as it is")
			}
		})
	}
}

func TestOpenEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, _, certificate := newLink(t)
		l.Dial = func(context.Context, string, string) (net.Conn, error) {
			near, far := net.Pipe()
			t.Cleanup(func() { far.Close() })
			return near, nil // nobody shakes hands
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		_, err := l.Open(ctx, certificate, "gateway-7")
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, time.Second, time.Since(began))
	})
}

// The proxy is dialled, and asked for the endpoint; TLS runs through it end to end.
func TestOpenThroughAProxy(t *testing.T) {
	for name, status := range map[string]string{"that opens a tunnel": "200 OK", "that refuses": "403 Forbidden"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l, s, certificate := newLink(t)
				dialled := make(chan string, 1)
				asked := make(chan string, 1)
				l.Dial = func(_ context.Context, _, address string) (net.Conn, error) {
					dialled <- address
					near, far := net.Pipe()
					go func() {
						request, err := http.ReadRequest(bufio.NewReader(far))
						if err != nil {
							return
						}
						asked <- request.Host
						_, _ = io.WriteString(far, "HTTP/1.1 "+status+"\r\n\r\n")
						s.serve(far)
					}()
					t.Cleanup(func() { far.Close() })
					return near, nil
				}
				l.Proxy = func(of string) (*url.URL, error) {
					assert.Equal(t, address, of)
					return &url.URL{Scheme: "http", Host: "proxy.example:3128"}, nil
				}
				session, err := l.Open(t.Context(), certificate, "gateway-7")
				assert.Equal(t, "proxy.example:3128", <-dialled)
				assert.Equal(t, address, <-asked)
				if status == "200 OK" {
					require.NoError(t, err)
					closed(session)
					assert.Equal(t, "iot.example.com", s.connects()[0].state.ServerName)
					return
				}
				var dial *link.DialError
				assert.ErrorAs(t, err, &dial)
				var refused *proxy.RefusedError
				assert.ErrorAs(t, err, &refused)
			})
		})
	}
}

// openActivated opens a connection as a run does whose turn it is, within a step.
func openActivated(t *testing.T, l *link.Link, certificate *tls.Certificate, clientID string, within time.Duration, cause error) error {
	t.Helper()
	taken, err := turn.New("gateway-7").Take(t.Context())
	require.NoError(t, err)
	defer taken.Give()
	require.NoError(t, taken.Wait(t.Context(), clientID))
	ctx, cancel := context.WithTimeoutCause(t.Context(), within, cause)
	defer cancel()
	session, err := l.OpenActivated(ctx, certificate, clientID, taken)
	if err == nil {
		closed(session)
	}
	return err
}

// stepOver is the end of a step's own time.
var stepOver = os.ErrDeadlineExceeded

// The policy of a certificate that was activated just now may take effect later. Each
// refused CONNECT was a connection under the client id.
func TestOpenActivatedTriesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const no = mqttsession.ConnackNotAuthorized
		l, s, certificate := newLink(t, no, no)
		began := time.Now()
		require.NoError(t, openActivated(t, l, certificate, "gateway-7", 30*time.Second, stepOver))
		var after []time.Duration
		for _, c := range s.connects() {
			after = append(after, c.at.Sub(began))
		}
		assert.Equal(t, []time.Duration{0, 10 * time.Second, 20 * time.Second}, after)
	})
}

// A handshake that was refused was no connection yet: it is tried again sooner.
func TestOpenActivatedTriesAHandshakeSooner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, s, certificate := newLink(t)
		dial, began := l.Dial, time.Now()
		var after []time.Duration
		l.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			after = append(after, time.Since(began))
			if len(after) < 5 {
				return nil, syscall.ECONNREFUSED
			}
			return dial(ctx, network, address)
		}
		require.NoError(t, openActivated(t, l, certificate, "gateway-7", 30*time.Second, stepOver))
		assert.Equal(t, []time.Duration{0, time.Second, 3 * time.Second, 7 * time.Second, 15 * time.Second}, after)
		assert.Len(t, s.connects(), 1)
	})
}

// When there is no time for another, what is told is why the last was refused, unless
// the caller has given up.
func TestOpenActivatedEndsWithItsContext(t *testing.T) {
	const no = mqttsession.ConnackNotAuthorized
	for name, test := range map[string]struct {
		cause error
		is    error
		not   error
	}{
		"with the step":          {stepOver, nil, context.DeadlineExceeded},
		"with the caller's time": {nil, context.DeadlineExceeded, os.ErrDeadlineExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l, s, certificate := newLink(t, no, no, no, no)
				began := time.Now()
				err := openActivated(t, l, certificate, "gateway-7", 25*time.Second, test.cause)
				assert.Equal(t, 25*time.Second, time.Since(began), "the activation may be told to another connection in the meantime")
				var refused *mqttsession.ConnackError
				assert.ErrorAs(t, err, &refused)
				assert.NotErrorIs(t, err, test.not)
				if test.is != nil {
					assert.ErrorIs(t, err, test.is)
				}
				assert.Len(t, s.connects(), 3)
			})
		})
	}
}

// The turn has to know of the connections that were tried.
func TestOpenActivatedTellsItsTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, _, certificate := newLink(t, mqttsession.ConnackNotAuthorized)
		taken, err := turn.New("gateway-7").Take(t.Context())
		require.NoError(t, err)
		require.NoError(t, taken.Wait(t.Context(), "gateway-7"))
		session, err := l.OpenActivated(t.Context(), certificate, "gateway-7", taken)
		require.NoError(t, err)
		closed(session)
		opened := time.Now()
		require.NoError(t, taken.Wait(t.Context(), "gateway-7"))
		assert.Equal(t, 10*time.Second, time.Since(opened).Truncate(time.Second))
	})
}
