package flow_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
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

// networkProxy is a proxy that leads to one server, whatever it is asked for. It
// wants the user alice and the password pr0xy-s3cret.
type networkProxy struct {
	address string // host:port it listens at
	leads   string // where its tunnels lead to

	mu    sync.Mutex
	asked []string // the addresses it was asked for
}

const (
	proxyUser     = "alice"
	proxyPassword = "pr0xy-s3cret"
)

// startProxy starts a proxy that serves each connection with serve.
func startProxy(t *testing.T, leads string, certificate *tls.Certificate, serve func(*networkProxy, net.Conn)) *networkProxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	if certificate != nil {
		listener = tls.NewListener(listener, &tls.Config{Certificates: []tls.Certificate{*certificate}})
	}
	p := &networkProxy{address: listener.Addr().String(), leads: leads}
	var serving sync.WaitGroup
	ended := make(chan struct{})
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				stop := context.AfterFunc(endOf(ended), func() { conn.Close() })
				defer stop()
				defer conn.Close()
				serve(p, conn)
			})
		}
	})
	t.Cleanup(func() {
		close(ended)
		listener.Close()
		serving.Wait()
	})
	return p
}

// endOf is a context that ends with a channel.
func endOf(ended <-chan struct{}) context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	go func() { <-ended; cancel() }()
	return ctx
}

func (p *networkProxy) url(scheme string) *url.URL {
	return &url.URL{Scheme: scheme, User: url.UserPassword(proxyUser, proxyPassword), Host: p.address}
}

func (p *networkProxy) ask(address string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = append(p.asked, address)
}

func (p *networkProxy) takeAsked() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	asked := p.asked
	p.asked = nil
	return asked
}

// tunnel carries bytes both ways until one side ends.
func (p *networkProxy) tunnel(conn net.Conn, buffered io.Reader, opened func() error) {
	far, err := net.Dial("tcp", p.leads)
	if err != nil {
		return
	}
	defer far.Close()
	if opened() != nil {
		return
	}
	go func() {
		_, _ = io.Copy(far, buffered)
		far.Close()
	}()
	_, _ = io.Copy(conn, far)
}

// serveCONNECT is a proxy of HTTP's CONNECT (RFC 9110, section 9.3.6).
func serveCONNECT(p *networkProxy, conn net.Conn) {
	r := bufio.NewReader(conn)
	request, err := http.ReadRequest(r)
	if err != nil || request.Method != http.MethodConnect {
		return
	}
	p.ask(request.Host)
	credentials := base64.StdEncoding.EncodeToString([]byte(proxyUser + ":" + proxyPassword))
	if request.Header.Get("Proxy-Authorization") != "Basic "+credentials {
		_, _ = io.WriteString(conn, "HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
		return
	}
	p.tunnel(conn, r, func() error {
		_, err := io.WriteString(conn, "HTTP/1.1 200 Connection established\r\n\r\n")
		return err
	})
}

// serveSOCKS5 is a proxy of RFC 1928 with the users of RFC 1929.
func serveSOCKS5(p *networkProxy, conn net.Conn) {
	read := func(n byte) []byte {
		b := make([]byte, n)
		if _, err := io.ReadFull(conn, b); err != nil {
			return make([]byte, n)
		}
		return b
	}
	read(read(2)[1])
	_, _ = conn.Write([]byte{5, 2})
	user := string(read(read(2)[1]))
	password := string(read(read(1)[0]))
	if user != proxyUser || password != proxyPassword {
		_, _ = conn.Write([]byte{1, 1})
		return
	}
	_, _ = conn.Write([]byte{1, 0})
	if request := read(4); request[3] != 3 { // a name
		return
	}
	host := string(read(read(1)[0]))
	port := binary.BigEndian.Uint16(read(2))
	p.ask(net.JoinHostPort(host, strconv.Itoa(int(port))))
	p.tunnel(conn, conn, func() error {
		_, err := conn.Write([]byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0})
		return err
	})
}

// cleanEnvironment takes away the proxies of the machine that runs the test.
func cleanEnvironment(t *testing.T) {
	t.Helper()
	for _, name := range []string{"HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "HTTP_PROXY", "http_proxy", "NO_PROXY", "no_proxy"} {
		t.Setenv(name, "")
	}
}

// Nothing on this machine resolves the endpoint's name: the proxy does.
func TestProvisionThroughAProxy(t *testing.T) {
	cleanEnvironment(t)
	server, states, trusted := newAWSServer(t)
	for scheme, serve := range map[string]func(*networkProxy, net.Conn){
		"http": serveCONNECT, "socks5": serveSOCKS5, "socks5h": serveSOCKS5,
	} {
		t.Run(scheme, func(t *testing.T) {
			proxy := startProxy(t, server.Endpoint(), nil, serve)
			provisioner, err := fleetprov.New(awsHost+":443", provtest.Template, provtest.Claim(t, server), trusted,
				fleetprov.WithProxy(proxy.url(scheme)), fleetprov.WithVerification())
			require.NoError(t, err)
			credentials, err := provisioner.Provision(provtest.Context(t), nil)
			require.NoError(t, err)
			assert.Equal(t, []string{awsHost + ":443", awsHost + ":443"}, proxy.takeAsked(), "to provision, and to verify")
			assert.Equal(t, awsHost+":443", credentials.Endpoint)
			state := states.last(t)
			assert.Equal(t, awsHost, state.ServerName)
			assert.Equal(t, "x-amzn-mqtt-ca", state.NegotiatedProtocol)
		})
	}
}

// The system's roots are read once in a process, so that this test runs in one
// of its own, where they are the proxy's.
func TestProvisionThroughAProxyOverTLS(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("SSL_CERT_FILE is not looked at on " + runtime.GOOS)
	}
	if !provtest.RunAlone(t) {
		return
	}
	cleanEnvironment(t)
	ca := testca.New("the company's root")
	roots := filepath.Join(t.TempDir(), "roots.pem")
	require.NoError(t, os.WriteFile(roots, provtest.PEM("CERTIFICATE", ca.Certificate().Raw), 0o600))
	t.Setenv("SSL_CERT_FILE", roots)
	t.Setenv("SSL_CERT_DIR", t.TempDir())

	server, states, trusted := newAWSServer(t)
	certificate := ca.Server(testca.Validity{}, "127.0.0.1")
	proxy := startProxy(t, server.Endpoint(), &certificate, serveCONNECT)
	provisioner, err := fleetprov.New(awsHost+":443", provtest.Template, provtest.Claim(t, server), trusted, fleetprov.WithProxy(proxy.url("https")))
	require.NoError(t, err)
	_, err = provisioner.Provision(provtest.Context(t), nil)
	require.NoError(t, err)
	assert.Equal(t, []string{awsHost + ":443"}, proxy.takeAsked())
	assert.Equal(t, awsHost, states.last(t).ServerName)
}

// The roots of the endpoint say nothing about a proxy.
func TestProxyOverTLSHasToProveItself(t *testing.T) {
	cleanEnvironment(t)
	server, _, _ := newAWSServer(t)
	ca := testca.New("a root")
	certificate := ca.Server(testca.Validity{}, "127.0.0.1")
	proxy := startProxy(t, server.Endpoint(), &certificate, serveCONNECT)
	provisioner, err := fleetprov.New(awsHost, provtest.Template, provtest.Claim(t, server), provtest.OneAttempt,
		fleetprov.WithRootCAs(ca.Pool()), fleetprov.WithProxy(proxy.url("https")))
	require.NoError(t, err)
	_, err = provisioner.Provision(provtest.Context(t), nil)
	assertOp(t, fleetprovtest.OpConnect, err)
	assert.ErrorAs(t, err, new(x509.UnknownAuthorityError))
	assert.ErrorContains(t, err, "proxy "+proxy.address)
	assert.NotContains(t, err.Error(), "WithRootCAs", "it is not the endpoint that is not trusted")
	assert.False(t, fleetprov.Retryable(err))
	assert.Empty(t, proxy.takeAsked())
}

func TestEnvironmentNamesTheProxy(t *testing.T) {
	server, _, trusted := newAWSServer(t)
	connect := startProxy(t, server.Endpoint(), nil, serveCONNECT)
	socks := startProxy(t, server.Endpoint(), nil, serveSOCKS5)
	for name, test := range map[string]struct {
		variables map[string]string
		used      *networkProxy
	}{
		"HTTPS_PROXY":                  {map[string]string{"HTTPS_PROXY": connect.url("http").String()}, connect},
		"https_proxy":                  {map[string]string{"https_proxy": connect.url("http").String()}, connect},
		"ALL_PROXY":                    {map[string]string{"ALL_PROXY": socks.url("socks5").String()}, socks},
		"HTTPS_PROXY before ALL_PROXY": {map[string]string{"HTTPS_PROXY": connect.url("http").String(), "ALL_PROXY": socks.url("socks5").String()}, connect},
		"a NO_PROXY for others":        {map[string]string{"HTTPS_PROXY": connect.url("http").String(), "NO_PROXY": "example.com,.internal"}, connect},
	} {
		t.Run(name, func(t *testing.T) {
			cleanEnvironment(t)
			for name, value := range test.variables {
				t.Setenv(name, value)
			}
			provisioner, err := fleetprov.New(awsHost, provtest.Template, provtest.Claim(t, server), trusted)
			require.NoError(t, err)
			_, err = provisioner.Provision(provtest.Context(t), nil)
			require.NoError(t, err)
			assert.Equal(t, []string{awsHost + ":8883"}, test.used.takeAsked())
			assert.Empty(t, append(connect.takeAsked(), socks.takeAsked()...), "the other one is left alone")
		})
	}
}

// Unlike localhost, the unspecified address is no exception from the proxies of
// the environment, and Go dials the local system for it.
func TestEnvironmentIsIgnoredWhereItIsToBe(t *testing.T) {
	const unspecified = "0.0.0.0"
	ca := testca.New("a root")
	server := fleetprovtest.NewUnstartedServer()
	server.TLS = &tls.Config{
		Certificates: []tls.Certificate{ca.Server(testca.Validity{}, unspecified)},
		// An address is no server name, and AWS IoT wants one.
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return nil, nil },
	}
	server.Start()
	defer server.Close()
	endpoint := strings.Replace(server.Endpoint(), "localhost", unspecified, 1)
	proxy := startProxy(t, server.Endpoint(), nil, serveCONNECT)
	tests := map[string]struct {
		variables map[string]string
		opts      []fleetprov.Option
		through   bool
	}{
		"nothing said":                  {nil, nil, true},
		"WithProxy(nil)":                {nil, []fleetprov.Option{fleetprov.WithProxy(nil)}, false},
		"a dialer":                      {nil, []fleetprov.Option{dialTo(server)}, false},
		"NO_PROXY":                      {map[string]string{"NO_PROXY": unspecified}, nil, false},
		"NO_PROXY for all":              {map[string]string{"NO_PROXY": "*"}, nil, false},
		"HTTP_PROXY, as it is for HTTP": {map[string]string{"HTTPS_PROXY": "", "HTTP_PROXY": proxy.url("http").String()}, nil, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			cleanEnvironment(t)
			t.Setenv("HTTPS_PROXY", proxy.url("http").String())
			for name, value := range test.variables {
				t.Setenv(name, value)
			}
			provisioner, err := fleetprov.New(endpoint, provtest.Template, provtest.Claim(t, server), append(test.opts, fleetprov.WithRootCAs(ca.Pool()), provtest.OneAttempt)...)
			require.NoError(t, err)
			_, err = provisioner.Provision(provtest.Context(t), nil)
			require.NoError(t, err)
			assert.Equal(t, test.through, len(proxy.takeAsked()) == 1)
		})
	}
}

func TestWithProxyGoesBeforeTheEnvironment(t *testing.T) {
	server, _, trusted := newAWSServer(t)
	proxy := startProxy(t, server.Endpoint(), nil, serveCONNECT)
	another := startProxy(t, server.Endpoint(), nil, serveCONNECT)
	cleanEnvironment(t)
	t.Setenv("HTTPS_PROXY", another.url("http").String())
	t.Setenv("NO_PROXY", "*")
	provisioner, err := fleetprov.New(awsHost, provtest.Template, provtest.Claim(t, server), trusted, fleetprov.WithProxy(proxy.url("http")))
	require.NoError(t, err)
	_, err = provisioner.Provision(provtest.Context(t), nil)
	require.NoError(t, err)
	assert.Len(t, proxy.takeAsked(), 1)
	assert.Empty(t, another.takeAsked())
}

func TestDialerDialsTheProxy(t *testing.T) {
	server, _, trusted := newAWSServer(t)
	proxy := startProxy(t, server.Endpoint(), nil, serveCONNECT)
	another := startProxy(t, server.Endpoint(), nil, serveCONNECT)
	cleanEnvironment(t)
	t.Setenv("HTTPS_PROXY", another.url("http").String())
	var dialled []string
	dialer := fleetprov.WithDialer(func(ctx context.Context, network, address string) (net.Conn, error) {
		dialled = append(dialled, network+" "+address)
		return new(net.Dialer).DialContext(ctx, network, proxy.address)
	})
	u := proxy.url("http")
	u.Host = "proxy.example:3128"
	for _, opts := range [][]fleetprov.Option{
		{dialer, fleetprov.WithProxy(u)},
		{fleetprov.WithProxy(u), dialer},
	} {
		provisioner, err := fleetprov.New(awsHost+":443", provtest.Template, provtest.Claim(t, server), append(opts, trusted)...)
		require.NoError(t, err)
		_, err = provisioner.Provision(provtest.Context(t), nil)
		require.NoError(t, err)
		assert.Equal(t, []string{"tcp proxy.example:3128"}, dialled)
		assert.Equal(t, []string{awsHost + ":443"}, proxy.takeAsked())
		dialled = nil
	}
	assert.Empty(t, another.takeAsked())
}

func TestProxiesThatOpenNoTunnel(t *testing.T) {
	cleanEnvironment(t)
	claim := provtest.Claim(t, provtest.NewServer(t))
	answering := func(answer string) func(*networkProxy, net.Conn) {
		return func(_ *networkProxy, conn net.Conn) {
			if _, err := conn.Read(make([]byte, 4096)); err != nil || answer == "" {
				return
			}
			_, _ = io.WriteString(conn, answer)
			_, _ = io.Copy(io.Discard, conn) // until the client has had enough
		}
	}
	const echo = "HTTP/1.1 407 " + proxyUser + ":" + proxyPassword + "\r\n\r\n"
	for name, test := range map[string]struct {
		scheme    string
		serve     func(*networkProxy, net.Conn)
		is        error
		retryable bool
		says      string
	}{
		"407": {"http", answering("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"), nil, false,
			"407 \"Proxy Authentication Required\" (with the user and password of the proxy URL)"},
		"407 that repeats what it was told": {"http", answering(echo), nil, false, "407"},
		"403":                               {"http", answering("HTTP/1.1 403 Filtered\r\n\r\n"), nil, false, "many proxies lead to port 443 only"},
		"408":                               {"http", answering("HTTP/1.1 408 Request Timeout\r\n\r\n"), nil, true, "408"},
		"429":                               {"http", answering("HTTP/1.1 429 Too Many Requests\r\n\r\n"), nil, true, "429"},
		"501":                               {"http", answering("HTTP/1.1 501 Not Implemented\r\n\r\n"), nil, false, "501"},
		"505":                               {"http", answering("HTTP/1.1 505 HTTP Version Not Supported\r\n\r\n"), nil, false, "505"},
		"502":                               {"http", answering("HTTP/1.1 502 Bad Gateway\r\n\r\n"), nil, true, "502"},
		"503":                               {"http", answering("HTTP/1.1 503 Service Unavailable\r\n\r\n"), nil, true, "503"},
		"garbage":                           {"http", answering("SSH-2.0-OpenSSH_9.2\r\n\r\n"), nil, false, "not HTTP"},
		"nothing":                           {"http", answering(""), io.ErrUnexpectedEOF, true, "CONNECT"},
		"silence":                           {"http", func(_ *networkProxy, conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }, os.ErrDeadlineExceeded, true, "no answer within"},
		"a web page behind the tunnel":      {"http", answering("HTTP/1.1 200 OK\r\n\r\n<html>"), nil, true, "the network asks for no login"},
		"SOCKS5, a wrong user":              {"socks5", answering("\x05\x02\x01\x01"), nil, false, "authentication failed"},
		"SOCKS5, not allowed":               {"socks5", answering("\x05\x02\x01\x00\x05\x02\x00\x01\x00\x00\x00\x00\x00\x00"), nil, false, "ruleset"},
		"SOCKS5, host unreachable":          {"socks5", answering("\x05\x02\x01\x00\x05\x04\x00\x01\x00\x00\x00\x00\x00\x00"), nil, true, "unreachable"},
		"SOCKS5, garbage":                   {"socks5", answering("HTTP/1.1 400 Bad Request\r\n\r\n"), nil, false, ""},
		"SOCKS5, nothing":                   {"socks5", answering(""), nil, true, ""},
	} {
		t.Run(name, func(t *testing.T) {
			proxy := startProxy(t, "", nil, test.serve)
			var log lockedBuffer
			var reported []string
			opts := []fleetprov.Option{provtest.OneAttempt, fleetprov.WithProxy(proxy.url(test.scheme)),
				fleetprov.WithStepTimeout(time.Second),
				fleetprov.WithLogger(slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))),
				fleetprov.WithProgress(func(_ context.Context, p fleetprov.Progress) { reported = append(reported, fmt.Sprintf("%+v", p)) })}
			provisioner, err := fleetprov.New(awsHost, provtest.Template, claim, opts...)
			require.NoError(t, err)
			_, err = provisioner.Provision(provtest.Context(t), nil)
			assertOp(t, fleetprovtest.OpConnect, err)
			if test.is != nil {
				assert.ErrorIs(t, err, test.is)
			}
			assert.Equal(t, test.retryable, fleetprov.Retryable(err), "%v", err)
			assert.ErrorContains(t, err, test.says)
			assert.NotErrorIs(t, err, context.DeadlineExceeded)

			told := []string{err.Error(), fmt.Sprintf("%+v %#v", err, err), log.String(), strings.Join(reported, "\n")}
			for _, verb := range redactionVerbs {
				told = append(told, fmt.Sprintf(verb, provisioner), fmt.Sprintf(verb, *provisioner), fmt.Sprintf(verb, opts), fmt.Sprintf(verb, opts[1]))
			}
			var text bytes.Buffer
			slog.New(slog.NewJSONHandler(&text, nil)).Info("", "provisioner", provisioner, "error", err)
			assertNoProxyPassword(t, append(told, text.String())...)
		})
	}
	provtest.NoGoroutineLeft(t)
}

func assertNoProxyPassword(t *testing.T, texts ...string) {
	t.Helper()
	for _, text := range texts {
		for _, secret := range []string{proxyPassword, base64.StdEncoding.EncodeToString([]byte(proxyUser + ":" + proxyPassword)),
			fmt.Sprintf("%x", proxyPassword), fmt.Sprintf("%X", proxyPassword)} {
			assert.NotContains(t, text, secret)
		}
	}
}

func TestPasswordOfAProxyIsNotToldInSuccess(t *testing.T) {
	cleanEnvironment(t)
	server, _, trusted := newAWSServer(t)
	proxy := startProxy(t, server.Endpoint(), nil, serveCONNECT)
	var log lockedBuffer
	logger := slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	provisioner, err := fleetprov.New(awsHost, provtest.Template, provtest.Claim(t, server), trusted,
		fleetprov.WithProxy(proxy.url("http")), fleetprov.WithLogger(logger))
	require.NoError(t, err)
	_, err = provisioner.Provision(provtest.Context(t), nil)
	require.NoError(t, err)
	assert.NotEmpty(t, log.String())
	assertNoProxyPassword(t, log.String())
}

func TestProxyURLsThatAreRefused(t *testing.T) {
	cleanEnvironment(t)
	claim := provtest.Claim(t, provtest.NewServer(t))
	for raw, says := range map[string]string{
		"ftp://alice:pr0xy-s3cret@proxy.example":             "scheme is not http, https, socks5 or socks5h",
		"//alice:pr0xy-s3cret@proxy.example":                 "scheme",
		"http://alice:pr0xy-s3cret@":                         "no host",
		"http://alice:pr0xy-s3cret@proxy.example:0":          "port 0",
		"http://alice:pr0xy-s3cret@proxy.example/proxy.pac":  "path",
		"http://alice:pr0xy-s3cret@proxy.example?x=1":        "query",
		"socks5://:pr0xy-s3cret@proxy.example":               "user is empty",
		"http://alice%3Abob:pr0xy-s3cret@proxy.example:3128": "colon",
	} {
		t.Run(raw, func(t *testing.T) {
			u, err := url.Parse(raw)
			require.NoError(t, err)
			provisioner, err := fleetprov.New(awsHost, provtest.Template, claim, fleetprov.WithProxy(u))
			assert.Nil(t, provisioner)
			require.ErrorContains(t, err, says)
			assertNoProxyPassword(t, err.Error())

			// What New cannot know, because the environment may change, is
			// found before anything is dialled.
			t.Setenv("HTTPS_PROXY", raw)
			provisioner, err = fleetprov.New(awsHost, provtest.Template, claim, provtest.OneAttempt)
			require.NoError(t, err)
			_, err = provisioner.Provision(provtest.Context(t), nil)
			assertOp(t, fleetprovtest.OpConnect, err)
			require.ErrorContains(t, err, "HTTPS_PROXY")
			assert.False(t, fleetprov.Retryable(err), "the environment of a process does not change by itself")
			assertNoProxyPassword(t, err.Error())
		})
	}
}
