package fleetprovtest_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov/fleetprovtest"
	"github.com/fleetprov/fleetprov/internal/testca"
)

// refusal sends a CONNECT after the handshake, as clients do, and returns the error by
// which the client learns that it was refused.
func refusal(t *testing.T, raw net.Conn, config *tls.Config) error {
	t.Helper()
	c, err := handshake(t, raw, config)
	if err != nil {
		return err
	}
	c.sendConnect("device-1")
	_, err = packets.ReadPacket(c.conn)
	return err
}

// inHandshake starts a server that refuses certificates there.
func inHandshake() *fleetprovtest.Server {
	server := fleetprovtest.NewUnstartedServer()
	server.Refusal = fleetprovtest.RefuseInHandshake
	server.Start()
	return server
}

func TestClientCertificatesAreRefusedInTheHandshake(t *testing.T) {
	server := inHandshake()
	defer closeServer(t, server)

	claim := connectClaim(t, server)
	claim.subscribe(flowFilters...)
	keys := claim.createKeys()
	pending := keys.certificate(t)

	stranger := testca.New("stranger")
	now := time.Now()
	for _, test := range []struct {
		name           string
		certificate    tls.Certificate
		alert, alert12 string // by TLS 1.3, by 1.2
	}{
		{"of another authority", stranger.Client("claim", testca.Validity{}),
			"tls: unknown certificate authority", "tls: unknown certificate authority"},
		{"expired", stranger.Client("claim", testca.Validity{NotBefore: now.Add(-2 * time.Hour), NotAfter: now.Add(-time.Hour)}),
			"tls: expired certificate", "tls: expired certificate"},
		{"none", tls.Certificate{}, "tls: certificate required", "tls: handshake failure"},
		{"issued but not registered", pending, "tls: bad certificate", "tls: bad certificate"},
	} {
		t.Run(test.name, func(t *testing.T) {
			for version, alert := range map[uint16]string{tls.VersionTLS13: test.alert, tls.VersionTLS12: test.alert12} {
				config := clientConfig(server, test.certificate)
				config.MaxVersion = version
				raw, err := net.DialTimeout("tcp", server.Listener.Addr().String(), patience)
				require.NoError(t, err)
				err = refusal(t, raw, config)
				var refused *net.OpError
				require.ErrorAs(t, err, &refused)
				assert.Equal(t, "remote error", refused.Op)
				assert.EqualError(t, refused.Err, alert, "%s", tls.VersionName(version))
			}
		})
	}
	assert.Len(t, server.Requests(), 3, "the refused clients have sent no request")
}

func TestRefusalReachesAClientThatIsStillSending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, listener := onPipesUnstarted(t)
		server.Refusal = fleetprovtest.RefuseInHandshake
		server.Start()
		defer closeServer(t, server)
		stranger := testca.New("stranger").Client("claim", testca.Validity{})
		err := refusal(t, connectPipe(t, listener), clientConfig(server, stranger))
		assert.ErrorContains(t, err, "unknown certificate authority")
	})
}

func TestClientCAsDoNotDecideWhoIsAccepted(t *testing.T) {
	server := fleetprovtest.NewUnstartedServer()
	server.TLS = &tls.Config{ClientCAs: testca.New("hint").Pool()}
	server.Refusal = fleetprovtest.RefuseInHandshake // where ClientCAs could decide
	server.Start()
	defer closeServer(t, server)

	connectClaim(t, server)

	stranger := clientConfig(server, testca.New("stranger").Client("claim", testca.Validity{}))
	raw, err := net.DialTimeout("tcp", server.Listener.Addr().String(), patience)
	require.NoError(t, err)
	assert.ErrorContains(t, refusal(t, raw, stranger), "tls: bad certificate")
}

func TestConnectNeedsACertificateWhereTheHandshakeDoesNot(t *testing.T) {
	server := fleetprovtest.NewUnstartedServer()
	server.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	server.Start()
	defer closeServer(t, server)
	c, err := dial(t, server, clientConfig(server, tls.Certificate{}))
	require.NoError(t, err)
	c.sendConnect("device-1")
	c.closed()
	connectClaim(t, server)
}

func TestTLSFieldsAreKept(t *testing.T) {
	ca := testca.New("another root")
	server := fleetprovtest.NewUnstartedServer()
	server.TLS = &tls.Config{
		MaxVersion:   tls.VersionTLS12,
		Certificates: []tls.Certificate{ca.Server(testca.Validity{}, "localhost")},
	}
	server.Start()
	defer closeServer(t, server)

	_, err := dial(t, server, clientConfig(server, server.ClaimCertificate()))
	assert.True(t, errors.As(err, new(x509.UnknownAuthorityError)), "%v", err)

	config := clientConfig(server, server.ClaimCertificate())
	config.RootCAs = ca.Pool()
	c, err := dial(t, server, config)
	require.NoError(t, err)
	assert.Equal(t, uint16(tls.VersionTLS12), c.conn.ConnectionState().Version)
}

func TestTLSBelow12IsRefused(t *testing.T) {
	server := fleetprovtest.NewServer()
	defer closeServer(t, server)
	config := clientConfig(server, server.ClaimCertificate())
	config.MinVersion, config.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	_, err := dial(t, server, config)
	assert.ErrorContains(t, err, "protocol version not supported")
}

func TestSessionsAreNotResumed(t *testing.T) {
	server := fleetprovtest.NewServer()
	defer closeServer(t, server)
	config := clientConfig(server, server.ClaimCertificate())
	config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	for range 2 {
		c, err := dial(t, server, config)
		require.NoError(t, err)
		c.connect("device-1")
		assert.False(t, c.conn.ConnectionState().DidResume)
	}
}

func TestServerNameAndProtocol(t *testing.T) {
	const (
		sni  = "transport-security: a client sends the endpoint's host name (SNI), or the connection fails"
		alpn = "protocols: on port 443 a client with a certificate offers x-amzn-mqtt-ca (ALPN), on port 8883 it need not"
	)
	named := func(s *fleetprovtest.Server) {
		s.ServerNames = []string{"a1b2c3-ats.iot.eu-central-1.amazonaws.com", "iot.example.com"}
	}
	// hello completes a handshake that asks for a name and offers protocols, and
	// connects, unless the server refuses.
	hello := func(name, fact string, setup func(*fleetprovtest.Server), serverName string, protocols []string, accepted bool) behaviour {
		return behaviour{name: name, fact: fact, setup: setup, steps: func(d *desk) {
			config := clientConfig(d.server, d.server.ClaimCertificate())
			config.ServerName, config.NextProtos = serverName, protocols
			config.InsecureSkipVerify = !accepted // it is the server that refuses
			c, err := handshake(d.T, connectPipe(d.T, d.listener), config)
			if !accepted {
				require.Error(d, err)
				assert.Empty(d, d.server.Requests())
				return
			}
			require.NoError(d, err)
			c.connect("device-1")
			if protocols != nil {
				assert.Equal(d, "x-amzn-mqtt-ca", c.conn.ConnectionState().NegotiatedProtocol)
			}
		}}
	}
	walk(t, []behaviour{
		hello("a client that names the endpoint is served", sni, named, "iot.example.com", nil, true),
		hello("a client that names the endpoint in another way is served", sni, named, "a1b2c3-ats.iot.eu-central-1.amazonaws.com", nil, true),
		hello("a client that names the endpoint in other case is served", sni+"; RFC 6066 section 3: the case of letters in it means nothing", named, "IoT.Example.COM", nil, true),
		hello("a client that names another host is refused", sni, named, "localhost", nil, false),
		hello("a client that names no host is refused", sni, named, "", nil, false),
		hello("a client that names no host is refused without names, too", sni, nil, "", nil, false),
		hello("a client that takes an address for a name sends none, and is refused", sni, nil, "127.0.0.1", nil, false),
		hello("a client need not offer a protocol", alpn, nil, "localhost", nil, true),
		hello("a client that offers the protocol for MQTT gets it", alpn, nil, "localhost", []string{"http/1.1", "x-amzn-mqtt-ca"}, true),
		hello("a client that offers only another protocol is refused", alpn, nil, "localhost", []string{"mqtt"}, false),
		hello("a client that offers no protocol is refused where it is required", alpn,
			func(s *fleetprovtest.Server) { s.RequireALPN = true }, "localhost", nil, false),
		hello("a client that offers the protocol is served where it is required", alpn,
			func(s *fleetprovtest.Server) { s.RequireALPN = true }, "localhost", []string{"x-amzn-mqtt-ca"}, true),
		hello("a client that offers no protocol is refused on port 443", alpn, onPort(443), "localhost", nil, false),
		hello("a client that offers the protocol is served on port 443", alpn, onPort(443), "localhost", []string{"x-amzn-mqtt-ca"}, true),
		hello("a client that offers no protocol is served on port 8883", alpn, onPort(8883), "localhost", nil, true),
	})
}

// onPort makes a server believe that it listens on a port of TCP.
func onPort(port int) func(*fleetprovtest.Server) {
	return func(s *fleetprovtest.Server) { s.Listener = portListener{s.Listener, port} }
}

type portListener struct {
	net.Listener
	port int
}

func (l portListener) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: l.port} }
