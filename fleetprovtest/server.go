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
// # Policies, templates, hook
//
// What a certificate may do is what its AWS IoT policy documents say:
// [Server.ClaimPolicy] and [Server.DevicePolicy]. A template is the few fields of
// [Server], or one of AWS's template bodies, see [Server.AddTemplate].
// [Server.Hook] is the pre-provisioning hook. [Server.Advance] moves the clock by
// which certificates and tokens expire.
//
// # Limits
//
// What it answers follows the AWS pages fleet-provision-api, provision-wo-cert,
// provision-template, mqtt and protocols. AWS IoT does more:
//
//   - It speaks MQTT 3.1.1 and MQTT 5 over TLS; there is no WebSocket.
//   - There are no retained messages, wills, persistent sessions, shared
//     subscriptions, or messages sent again for want of a PUBACK. Shadows, jobs and
//     the other services behind $aws are not there: what the policy allows is
//     acknowledged, and nothing answers.
//   - Of a policy's resources, the region and the account are not compared. Its
//     conditions are Bool and those for strings; a document with others is an error.
//     A policy counts from the moment the client connects.
//   - Thing types, groups and billing groups need not exist before.
//   - Nothing is throttled unless [Server.Quotas] and [Server.ClientQuotas] say so,
//     and answers keep their order unless a [Fault] or [Server.SubscriptionLag] says
//     otherwise. The Receive Maximum of MQTT 5 is not kept to.
//   - CONNACK comes at once, so that a client that does not wait for it is noticed
//     only if it is as quick. With a [Fault] that delays the CONNACK it always is.
package fleetprovtest

import (
	"crypto/tls"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fleetprov/fleetprov/internal/broker"
	"github.com/fleetprov/fleetprov/internal/iotpolicy"
	"github.com/fleetprov/fleetprov/internal/iottemplate"
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
	// set and fills in the rest, such as a certificate for ServerNames;
	// session tickets are always off. GetConfigForClient, if set, is what
	// decides about SNI and ALPN. ClientCAs, if set,
	// is only the hint that clients are sent: which certificates are accepted
	// does not depend on it.
	TLS *tls.Config

	// ServerNames are the host names of the endpoint. The server's certificate is
	// for them, and a client that asks for another is refused (server name
	// indication, SNI; transport-security). With nil the certificate is for
	// localhost, and any name will do. A client that asks for none is refused
	// either way.
	ServerNames []string

	// RequireALPN refuses clients that do not offer the protocol
	// "x-amzn-mqtt-ca", as port 443 does (protocols). On that port it need not
	// be set.
	RequireALPN bool

	// Template is the name of the provisioning template that the next two
	// fields describe. "" means "test-template". Others are added with
	// [Server.AddTemplate]. It names the thing after the parameter ThingName,
	// else SerialNumber, else "thing-" and the first 16 digits of the
	// certificate id, activates its certificate, and attaches DevicePolicy.
	Template string

	// Parameters are the names of the parameters that the template requires.
	Parameters []string

	// DeviceConfiguration is what RegisterThing answers under that name. With
	// nil the answer has none.
	DeviceConfiguration map[string]string

	// ClaimPolicy is the AWS IoT policy document of the claim certificate. ""
	// means one that allows no more than provisioning with the templates there
	// are, with keys of either origin, under any client id (provision-wo-cert).
	ClaimPolicy string

	// DevicePolicy is the AWS IoT policy document of registered certificates,
	// and stands for each policy that a template names and that
	// [Server.AddPolicy] has not added. "" means one that allows everything.
	// The policies of a fleet mostly pin the client id to the thing:
	// "client/${iot:Connection.Thing.ThingName}".
	DevicePolicy string

	// RefuseWithSUBACK answers a filter that the policy does not allow with
	// the return code 0x80. Otherwise the connection is closed without a word,
	// as AWS IoT mostly does.
	RefuseWithSUBACK bool

	// AnswerUnsubscribed sends the answers to provisioning requests to clients
	// that have not subscribed to them, too, as AWS IoT was seen to do.
	AnswerUnsubscribed bool

	// SubscriptionLag is how long after a SUBSCRIBE messages begin to be
	// delivered to the connection. Those that come earlier wait for it (mqtt),
	// and come in any order then.
	SubscriptionLag time.Duration

	// Hook is the pre-provisioning hook. It is called for every RegisterThing
	// whose token is good, repeated ones included and before its parameters
	// are checked, concurrently for different connections. One that panics, or
	// has not returned after five seconds, refuses (provision-wo-cert). With
	// nil everything is allowed.
	Hook func(HookRequest) HookResponse

	// Quotas throttle operations for the account, all clients together, and
	// ClientQuotas for each client id. An operation that has none is not
	// throttled. A request that is throttled takes no [Fault] from the queue.
	// [AWSQuotas] are those of a new AWS account.
	Quotas, ClientQuotas map[Op]Quota

	// Logger gets a record for each connection, its end, and each request,
	// which says what AWS IoT keeps to itself: why. No secret is in it. With
	// nil nothing is logged.
	Logger *slog.Logger

	// MaxRequests bounds what [Server.Requests] returns to the last ones. 0
	// means that all are kept.
	MaxRequests int

	authority
	keys   *keyPool
	broker broker.Server
	ahead  atomic.Int64 // of the time, in nanoseconds

	serving sync.WaitGroup
	hooks   sync.WaitGroup
	closing sync.Once

	mu        sync.Mutex // guards what follows
	sessions  map[*broker.Conn]*session
	faults    map[Op][]Fault
	spent     map[spender]spending
	requests  []Request
	registry  registry
	policies  policies
	templates map[string]*iottemplate.Template
	state     *stateFile // nil: nothing is kept
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
		Listener:  listener,
		authority: newAuthority(),
		keys:      newKeyPool(),
		sessions:  make(map[*broker.Conn]*session),
		faults:    make(map[Op][]Fault),
		spent:     make(map[spender]spending),
		registry:  newRegistry(),
		templates: make(map[string]*iottemplate.Template),
		policies: policies{
			named:  make(map[string]*iotpolicy.Document),
			inline: make(map[string]string),
		},
	}
	s.broker.Handler = (*handler)(s)
	s.broker.Closed = s.closed
	return s
}

// Start starts a server from [NewUnstartedServer]. It panics if ClaimPolicy or
// DevicePolicy is not a policy document.
func (s *Server) Start() {
	if s.broker.TLS != nil {
		panic("fleetprovtest: server already started")
	}
	s.attachPolicies()
	s.TLS = s.tlsConfig()
	s.broker.TLS = s.TLS
	s.serving.Go(func() { s.broker.Serve(s.Listener) })
}

// Close closes the listener and every connection, ends every goroutine of the
// server and waits for them, calls of Hook included. It is not to be called from
// Hook.
func (s *Server) Close() {
	s.closing.Do(func() {
		s.Listener.Close()
		s.keys.close()
		s.broker.Close()
		s.keys.wait()
		s.hooks.Wait()
		s.serving.Wait()
		s.closeState()
	})
}

// Endpoint returns the address to connect to: "localhost:" and the port of
// Listener, or "localhost:8883" if Listener does not listen on TCP. That ServerNames
// has other hosts does not change it: it is for the client to know where they are.
func (s *Server) Endpoint() string {
	port := 8883
	if addr, ok := s.Listener.Addr().(*net.TCPAddr); ok {
		port = addr.Port
	}
	return net.JoinHostPort("localhost", strconv.Itoa(port))
}
