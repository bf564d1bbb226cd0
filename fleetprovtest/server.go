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
// [Server.Certificates] and [Server.Things] return what it has received, issued and
// registered.
//
// # Policies, templates, hook
//
// What a certificate may do is decided by AWS IoT policy documents:
// [Server.ClaimPolicy] and [Server.DevicePolicy]. A few fields of [Server] describe
// a simple template; [Server.AddTemplate] takes a template body as AWS does.
// [Server.Hook] is the pre-provisioning hook. [Server.ControlPlane] serves the AWS APIs by
// which an operator sets all of this up. [Server.Advance] moves the clock by
// which certificates and tokens expire.
//
// # What AWS is like
//
// The server follows the AWS pages fleet-provision-api, provision-wo-cert,
// provision-template, mqtt and protocols, and where devices in the field were seen to meet
// something else, that. The zero value of each field is what AWS IoT was seen to do. Where
// that is not known, it is what is quick and lenient: a certificate works as soon as it is
// registered ([Server.ActivationLag]), and a token can be used again
// ([Server.SingleUseTokens]). A device that is to be ready for either is tested with both.
//
// # Limits
//
// What is different from AWS IoT, the likeliest to matter first:
//
//   - Likely: everything is instant. On AWS, activation and deactivation, new policies and
//     new templates can take minutes, and a round trip takes tens of milliseconds; see
//     ActivationLag, [Server.DeactivationLag], [Server.SubscriptionLag] and [Fault].
//   - Likely: nothing is throttled unless [Server.Quotas] or [Server.ClientQuotas] say so,
//     and a fleet that is switched on at once meets quotas ([AWSQuotas]).
//   - Likely for a device that does more than provision: there are no retained messages,
//     wills, persistent sessions or shared subscriptions, and a message that was not
//     acknowledged is not repeated. There are no shadows, jobs or other services behind
//     $aws: a message to them is acknowledged if the policy allows it, and nothing
//     answers.
//   - Possible: a connection keeps the policies it began with, a policy's resources are
//     compared without their region and account, and a policy with a condition operator
//     other than Bool and those for strings and addresses is refused, as is one with a
//     variable that has no value here, unless its statement is about another service.
//   - Possible: answers keep the order of the requests unless there is a Fault, a
//     [Server.Hook], a [Server.SignCSR] or a SubscriptionLag.
//   - Possible: CONNACK is sent at once, so a client that does not wait for it is noticed
//     only if its next packet has arrived by then. With a Fault that delays the CONNACK it
//     is always noticed.
//   - Unlikely: the words in rejections are the server's own, and so are the status for a
//     SignCSR that fails, and how an expired certificate is refused: like any other.
//   - Unlikely: thing types, groups and billing groups need not exist.
//   - Unlikely: the server has a certificate with an RSA key only, and AWS IoT also has one
//     on P-256, for clients that ask for it. The claim's key is one on P-256, where AWS's
//     own are RSA.
//   - Unlikely: MQTT over WebSocket is missing, and the Receive Maximum of an MQTT 5 client
//     is ignored.
package fleetprovtest

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/fleetprov/fleetprov/internal/broker"
	"github.com/fleetprov/fleetprov/internal/controlplane"
	"github.com/fleetprov/fleetprov/internal/iotpolicy"
	"github.com/fleetprov/fleetprov/internal/iotregistry"
	"github.com/fleetprov/fleetprov/internal/iotservice"
	"github.com/fleetprov/fleetprov/internal/statefile"
)

// Server is an AWS IoT provisioning endpoint on the loopback interface. Its
// fields may be changed between [NewUnstartedServer] and [Server.Start] only;
// its methods are safe for concurrent use.
type Server struct {
	// Listener accepts the raw connections, below TLS. It listens on a free
	// port of 127.0.0.1. It may be replaced, and then the caller closes the
	// original. With a [PipeListener] the server runs inside a testing/synctest
	// bubble, if it was made there.
	Listener net.Listener

	// TLS is the optional TLS configuration. Start keeps the fields that are
	// set and fills in the rest, such as a certificate for ServerNames;
	// session tickets are always off. GetConfigForClient, if set, replaces the
	// server's checks of SNI and ALPN. ClientCAs, if set, is only sent to clients as
	// a hint, and no chain is verified then unless ClientAuth asks for it.
	TLS *tls.Config

	// ServerNames are the host names of the endpoint. The server's certificate is
	// for them, and a client that asks for another name is refused (server name
	// indication, SNI; transport-security). With nil the certificate is for
	// localhost, and a client may ask for any name. A client that asks for none
	// is refused either way.
	ServerNames []string

	// RequireALPN refuses clients that do not offer the protocol
	// "x-amzn-mqtt-ca", as port 443 does (protocols). On that port they are
	// refused even if RequireALPN is false.
	RequireALPN bool

	// Template is the name of the provisioning template that the next two
	// fields describe. "" means "test-template". That template names the thing
	// after the parameter ThingName, else SerialNumber, else "thing-" and the
	// first 16 digits of the certificate id, activates the certificate, and
	// attaches DevicePolicy to it. [Server.AddTemplate] adds other templates.
	Template string

	// Parameters are the names of the parameters that the template requires.
	Parameters []string

	// DeviceConfiguration is the deviceConfiguration in the answer to
	// RegisterThing. With nil the answer has none.
	DeviceConfiguration map[string]string

	// ClaimPolicy is the AWS IoT policy document of the claim certificate. ""
	// means one that allows, under any client id, to create certificates by
	// either operation and to register with the server's templates, and nothing
	// else (provision-wo-cert).
	ClaimPolicy string

	// DevicePolicy is the AWS IoT policy document of registered certificates.
	// It also takes the place of each policy that a template names but that was
	// not added with [Server.AddPolicy]. "" means one that allows everything.
	// The policies of a fleet mostly pin the client id to the thing:
	// "client/${iot:Connection.Thing.ThingName}".
	DevicePolicy string

	// Refusal is how a client is refused whose certificate cannot connect, or whose
	// client id the policy does not allow. The zero value is RefuseByClosing.
	Refusal Refusal

	// RefuseWithSUBACK answers a filter that the policy does not allow with
	// the return code 0x80. Otherwise the connection is closed without a word,
	// as AWS IoT mostly does.
	RefuseWithSUBACK bool

	// RequireSubscription keeps the answers to provisioning requests from clients that
	// have not subscribed to them. AWS documents that they might not get them
	// (fleet-provision-api), and has been observed to send them all the same: AWS IoT
	// Greengrass Lite relies on it.
	RequireSubscription bool

	// SubscriptionLag is the time from a SUBSCRIBE until the connection is sent
	// messages (mqtt). Messages for it wait until then, and are then sent in any
	// order. 0 means that they are sent at once.
	SubscriptionLag time.Duration

	// ActivationLag is the time from an accepted RegisterThing until a client can
	// connect with the certificate, by the server's clock (see [Server.Advance]). Until
	// then it is refused, although its status is ACTIVE. AWS does not say whether there
	// is such a time; 0 means that there is none.
	ActivationLag time.Duration

	// DeactivationLag is how long the connections of a certificate last that was
	// deactivated, revoked or deleted, by the server's clock (see [Server.Advance]),
	// unless it is active again by then. On AWS they end within a few minutes
	// (API_UpdateCertificate). 0 means that they end at once. New ones are refused
	// without a lag.
	DeactivationLag time.Duration

	// SingleUseTokens refuses an ownership token that has registered its certificate,
	// with status 400. Otherwise a token can be used again until it expires, by a device
	// that did not get the answer. AWS does not say which it is.
	SingleUseTokens bool

	// CertificateValidity is how long issued certificates are valid, from the time of
	// the server's clock. 0 means until 2049-12-31T23:59:59Z, as on AWS.
	CertificateValidity time.Duration

	// SignCSR is a certificate provider, as an account may have one
	// (provisioning-cert-provider): it issues the certificates of
	// CreateCertificateFromCsr with an authority of its owner's, and CertificateValidity
	// does not apply to them. It returns the certificate in PEM form, followed by the
	// rest of the chain if the device is to get that, too. It is called from several
	// goroutines at once. If it fails, panics, or returns something else or a certificate
	// that was issued already, the request is rejected with status 500. nil means that
	// there is no provider.
	SignCSR func(*x509.CertificateRequest) ([]byte, error)

	// Hook is the pre-provisioning hook. It is called for every RegisterThing
	// whose token is good, repeated ones included and before its parameters
	// are checked, from several goroutines at once. A call that panics, or
	// has not returned after five seconds, counts as a refusal
	// (provision-wo-cert). nil
	// allows everything.
	Hook func(HookRequest) HookResponse

	// Quotas throttle operations for the account, all clients together, and
	// ClientQuotas for each client id. An operation without a quota is not
	// throttled. A throttled request takes no [Fault] from the queue.
	// [AWSQuotas] returns those of a new AWS account.
	Quotas, ClientQuotas map[Op]Quota

	// Logger gets a record for each connection, each request, and the end of
	// each connection, with the reasons that AWS IoT does not tell. It gets no
	// secrets. With nil nothing is logged.
	Logger *slog.Logger

	// MaxRequests is how many requests are kept for [Server.Requests]; the oldest
	// ones are dropped. 0 means that all are kept.
	MaxRequests int

	// The parts of the server. Each guards itself. What is nil before Start is made
	// there, from the fields above, and does not change afterwards.
	authority *authority            // replaced by KeepState only
	clock     *clock                // moved by Advance
	registry  *iotregistry.Registry // what the account knows
	state     *statefile.File       // where the state is kept; nil: nowhere
	faults    *faultQueues
	requests  *requestLog
	sessions  *sessions
	service   *iotservice.Service // performs operations; nil before Start
	front     *mqttFront          // answers MQTT clients; nil before Start
	control   *controlplane.Plane // what operators reach, with the roles and functions
	broker    broker.Server

	serving sync.WaitGroup // the goroutine that accepts connections
	closing sync.Once
}

// NewServer starts and returns a new [Server] with the default template. The
// caller calls [Server.Close] when finished.
func NewServer() *Server {
	s := NewUnstartedServer()
	s.Start()
	return s
}

// NewUnstartedServer returns a new [Server] that listens but does not answer
// before [Server.Start] is called. It panics if there is no free port.
func NewUnstartedServer() *Server {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic("fleetprovtest: listen on a local port: " + err.Error())
	}
	clock := new(clock)
	registry := iotregistry.New(clock.now)
	s := &Server{
		Listener: listener,
		clock:    clock,
		registry: registry,
		faults:   new(faultQueues),
		requests: &requestLog{now: clock.now},
		sessions: &sessions{now: clock.now, status: registry.Status},
		control:  controlplane.New(),
	}
	s.setAuthority(newAuthority())
	return s
}

func (s *Server) setAuthority(a *authority) {
	s.authority = a
	s.registry.SetClaim(iotregistry.CertificateID(a.claim.Leaf))
}

// Start starts a server from [NewUnstartedServer]. It panics if ClaimPolicy or
// DevicePolicy is not a policy document, and if the server was started before.
func (s *Server) Start() {
	if s.front != nil {
		panic("fleetprovtest: server already started")
	}
	s.setPolicies()
	s.registry.AddFallbackTemplate(cmp.Or(s.Template, defaultTemplateName), simpleTemplate{
		required:            s.Parameters,
		deviceConfiguration: s.DeviceConfiguration,
	})
	s.requests.limit(s.MaxRequests)
	s.registry.SetRules(iotregistry.Rules{ActivationLag: s.ActivationLag, SingleUseTokens: s.SingleUseTokens})
	s.service = iotservice.New(s.registry, iotservice.Settings{
		CA:       s.authority.deviceCA,
		Now:      s.clock.now,
		Validity: s.CertificateValidity,
		Hook:     s.hook(),
		Provider: s.SignCSR,
		Account:  s.control,
	})
	s.control.Serve(s.account())
	s.front = s.newFront()
	s.TLS = s.doorman().config(s.TLS)
	s.broker.Handler, s.broker.Closed, s.broker.TLS = s.front, s.front.closed, s.TLS
	s.serving.Go(func() { s.broker.Serve(s.Listener) })
}

func (s *Server) setPolicies() {
	device := mustParsePolicy("DevicePolicy", cmp.Or(s.DevicePolicy, defaultDevicePolicy))
	var claim *iotpolicy.Document
	if s.ClaimPolicy != "" {
		claim = mustParsePolicy("ClaimPolicy", s.ClaimPolicy)
	}
	s.registry.SetPolicies(claim, device)
}

// hook returns Hook as the service calls it, or nil.
func (s *Server) hook() iotservice.Hook {
	if s.Hook == nil {
		return nil
	}
	return func(request iotservice.HookRequest) iotservice.HookResponse {
		return iotservice.HookResponse(s.Hook(HookRequest(request)))
	}
}

// account is what the control plane works on.
func (s *Server) account() controlplane.Account {
	return controlplane.Account{
		Registry: s.registry,
		Service:  s.service,
		Endpoint: s.Endpoint(),
		Now:      s.clock.now,
		Logger:   s.logger(),
		Updated:  s.review,
	}
}

// review ends the connections with a certificate that is not active any more, after
// DeactivationLag.
func (s *Server) review(id string) { s.sessions.review(strings.ToLower(id), s.DeactivationLag) }

func (s *Server) newFront() *mqttFront {
	return &mqttFront{
		registry: s.registry,
		service:  s.service,
		gate:     s.gate(),
		sessions: s.sessions,
		throttle: newThrottle(s.Quotas, s.ClientQuotas, s.clock.now),
		faults:   s.faults,
		requests: s.requests,
		log:      eventLog{s.logger()},
		settings: mqttSettings{
			refusal:             s.Refusal,
			refuseWithSUBACK:    s.RefuseWithSUBACK,
			requireSubscription: s.RequireSubscription,
			subscriptionLag:     s.SubscriptionLag,
			hasSignCSR:          s.SignCSR != nil,
		},
	}
}

func (s *Server) gate() gate { return gate{s.registry, s.clock.now} }

func (s *Server) doorman() *doorman {
	addr, ok := s.Listener.Addr().(*net.TCPAddr)
	return &doorman{
		authority:   s.authority,
		names:       s.ServerNames,
		requireALPN: s.RequireALPN || ok && addr.Port == 443,
		gate:        s.gate(),
		refusal:     s.Refusal,
		ownCA:       s.SignCSR != nil,
	}
}

func (s *Server) logger() *slog.Logger {
	if s.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return s.Logger
}

// Close closes the listener and every connection, ends every goroutine of the
// server and waits for them, calls of Hook and SignCSR included. It must not be called
// from either.
func (s *Server) Close() {
	s.closing.Do(func() {
		s.Listener.Close()
		if s.service != nil {
			s.service.Stop()
		}
		s.control.Close()
		s.broker.Close()
		if s.front != nil {
			s.front.wait()
			s.service.Wait()
		}
		s.serving.Wait()
		if s.state != nil {
			s.state.Close()
		}
	})
}

// Endpoint returns the address to connect to: "localhost:" and the port of
// Listener, or "localhost:8883" if Listener does not listen on TCP. It does not
// depend on ServerNames; the caller arranges how a client finds those hosts.
func (s *Server) Endpoint() string {
	port := 8883
	if addr, ok := s.Listener.Addr().(*net.TCPAddr); ok {
		port = addr.Port
	}
	return net.JoinHostPort("localhost", strconv.Itoa(port))
}
