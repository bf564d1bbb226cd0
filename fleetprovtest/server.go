// Package fleetprovtest provides an AWS IoT provisioning endpoint for tests,
// the way net/http/httptest provides HTTP servers. A device under test connects
// to it over TCP, mutual TLS and MQTT, provisions itself, and connects again
// with what it was given; no AWS account is involved.
//
//	server := fleetprovtest.NewServer()
//	defer server.Close()
//	// Point the device at server.Endpoint(), with server.ClaimPFX("password")
//	// or server.ClaimCertificate() as its claim.
//
// [Server.Inject] makes the endpoint misbehave; [Server.Requests],
// [Server.Certificates] and [Server.Things] tell what it has seen and done.
//
// # Limits
//
// What it answers follows the AWS pages fleet-provision-api, provision-wo-cert,
// mqtt and protocols. AWS IoT does more:
//
//   - It speaks MQTT 3.1.1 only, over TLS; there is no MQTT 5, no WebSocket, and
//     ALPN and SNI are accepted as they come.
//   - A template is a name, a list of required parameters and a device
//     configuration. It has no default values, resources, policies or groups.
//     The thing is named after the parameter ThingName, else SerialNumber, else
//     "thing-" and the first 16 digits of the certificate id.
//   - There are no policies. The claim certificate may use the topics of the
//     three operations, each spelled out and without wildcards; a certificate
//     that RegisterThing has activated may use those and every topic that does
//     not start with $.
//   - Nothing is throttled unless [Server.Quotas] says so, nothing lags, and
//     answers keep their order unless a [Fault] says otherwise.
//   - A certificate whose ownership token has expired stays on the list, and no
//     certificate is ever deactivated or revoked.
//   - There are no retained messages, wills, persistent sessions, shadows, jobs,
//     or messages sent again for want of a PUBACK.
//   - The pre-provisioning hook is not cut off after five seconds.
package fleetprovtest

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"strconv"
	"sync"

	"software.sslmate.com/src/go-pkcs12"

	"github.com/fleetprov/fleetprov/internal/broker"
	"github.com/fleetprov/fleetprov/internal/testca"
)

// Server is an AWS IoT provisioning endpoint on the loopback interface. Its
// fields may be changed between [NewUnstartedServer] and [Server.Start] only;
// its methods are safe for concurrent use.
type Server struct {
	// Listener accepts the raw connections, below TLS. It listens on a free
	// port of 127.0.0.1 and may be replaced; the one replaced is then the
	// caller's to close. With a listener on top of net.Pipe the server runs
	// inside a testing/synctest bubble, if it was made there.
	Listener net.Listener

	// TLS is the optional TLS configuration. Start keeps the fields that are
	// set and fills in the rest, such as a certificate for localhost,
	// 127.0.0.1 and ::1; session tickets are always off. ClientCAs, if set,
	// is only the hint that clients are sent: which certificates are accepted
	// does not depend on it.
	TLS *tls.Config

	// Template is the name of the provisioning template. "" means
	// "test-template".
	Template string

	// Parameters are the names of the parameters that the template requires.
	Parameters []string

	// DeviceConfiguration is what RegisterThing answers under that name. With
	// nil the answer has none.
	DeviceConfiguration map[string]string

	// Hook is the pre-provisioning hook. It is called for every RegisterThing
	// whose token is good, repeated ones included and before its parameters
	// are checked, concurrently for different connections. With nil everything
	// is allowed.
	Hook func(HookRequest) HookResponse

	// Quotas throttle operations. One that has none is not throttled. A
	// request that is throttled takes no [Fault] from the queue.
	Quotas map[Op]Quota

	serverCA *testca.CA // of the server's certificate
	deviceCA *testca.CA // of the claim and of the certificates issued
	claim    tls.Certificate
	keys     *keyPool
	broker   broker.Server

	serving sync.WaitGroup
	closing sync.Once

	mu           sync.Mutex // guards what follows
	faults       map[Op][]Fault
	spent        map[Op]spending // of Quotas
	requests     []Request
	certificates []*issued
	things       []*Thing
}

// NewServer starts and returns a new [Server] with the default template. The
// caller calls [Server.Close] when finished.
func NewServer() *Server {
	s := NewUnstartedServer()
	s.Start()
	return s
}

// NewUnstartedServer returns a new [Server] that listens but does not answer
// before [Server.Start] is called. It panics if no port is to be had.
func NewUnstartedServer() *Server {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic("fleetprovtest: listen on a local port: " + err.Error())
	}
	s := &Server{
		Listener: listener,
		serverCA: testca.New("fleetprovtest server root"),
		deviceCA: testca.New("fleetprovtest device root"),
		keys:     newKeyPool(),
		faults:   make(map[Op][]Fault),
		spent:    make(map[Op]spending),
	}
	s.claim = s.deviceCA.Client(certificateName, testca.Validity{})
	s.broker.Handler = (*handler)(s)
	return s
}

// Start starts a server from [NewUnstartedServer].
func (s *Server) Start() {
	if s.broker.TLS != nil {
		panic("fleetprovtest: server already started")
	}
	s.TLS = s.tlsConfig()
	s.broker.TLS = s.TLS
	s.serving.Go(func() { s.broker.Serve(s.Listener) })
}

// Close closes the listener and every connection, ends every goroutine of the
// server and waits for them. It is not to be called from Hook.
func (s *Server) Close() {
	s.closing.Do(func() {
		s.Listener.Close()
		s.keys.close()
		s.broker.Close()
		s.keys.wait()
		s.serving.Wait()
	})
}

// Endpoint returns the address to connect to: "localhost:" and the port of
// Listener, or "localhost:8883" if Listener does not listen on TCP.
func (s *Server) Endpoint() string {
	port := 8883
	if addr, ok := s.Listener.Addr().(*net.TCPAddr); ok {
		port = addr.Port
	}
	return net.JoinHostPort("localhost", strconv.Itoa(port))
}

// RootCAs returns a pool with the root certificate that the server's own
// certificate chains to.
func (s *Server) RootCAs() *x509.CertPool { return s.serverCA.Pool() }

// ClaimCertificate returns the claim certificate with its private key, an ECDSA
// key on P-256. The root that issued it is not the one of the server.
func (s *Server) ClaimCertificate() tls.Certificate { return s.claim }

// ClaimPFX returns the claim as a PFX (PKCS#12) file with the given password. It
// holds the private key, the claim certificate, and the server's root
// certificate, as the file of a factory holds Amazon's.
func (s *Server) ClaimPFX(password string) []byte {
	roots := []*x509.Certificate{s.serverCA.Certificate()}
	pfx, err := pkcs12.Modern2023.Encode(s.claim.PrivateKey, s.claim.Leaf, roots, password)
	if err != nil {
		panic("fleetprovtest: encode the claim: " + err.Error())
	}
	return pfx
}

// template returns the name of the template.
func (s *Server) template() string {
	if s.Template == "" {
		return "test-template"
	}
	return s.Template
}
