package diagnosis_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov/internal/diagnosis"
	"github.com/fleetprov/fleetprov/internal/exchange"
	"github.com/fleetprov/fleetprov/internal/keys"
	"github.com/fleetprov/fleetprov/internal/link"
	"github.com/fleetprov/fleetprov/internal/mqttsession"
	"github.com/fleetprov/fleetprov/internal/tlsdial"
)

const (
	createTopics   = "$aws/certificates/create/*"
	registerTopics = "$aws/provisioning-templates/fleet-template/provision/*"
)

// step is a step, with the advice that it gives and the words that are another's.
type step struct {
	hints                  diagnosis.Hints
	closed, silent         string
	refused                string         // what it says of a certificate that the server refused
	rejected               string         // what it says of a status that nothing else is said of
	statuses               map[int]string // what it says of them
	never                  []string
	hasSession, hasAnswers bool
}

// badAnswer is what the step says of an answer that AWS IoT does not document.
func (s step) badAnswer() string {
	says := "check the endpoint and its port, and report it with the log if they are right"
	switch s.hints.(type) {
	case *diagnosis.Create:
		return says + "; no certificate is active yet"
	case *diagnosis.Register:
		return says + "; the certificate is active if AWS IoT has accepted it"
	default:
		return says
	}
}

const registered = "check that it is registered and active in the account and region of the endpoint"

var steps = map[string]step{
	"connect": {
		hints: &diagnosis.Connect{Client: diagnosis.Client{ID: "gateway-7", Fixed: true}},
		closed: "AWS IoT mostly closes a connection here when the certificate is not registered in the account and region of the endpoint, is not active or has no policy, " +
			"when its policy does not allow iot:Connect on client/gateway-7, or when too many devices connect at once; a connection also ends when another one comes under the same client id, gateway-7: give each device one of its own",
		refused:    "check that it is registered and active in the account and region of the endpoint, and that its policy allows iot:Connect on client/gateway-7",
		silent:     "check the network, the endpoint and its port",
		hasSession: true,
		never:      []string{"iot:Subscribe", "iot:Publish", "iot:Receive", "emplate", "WithPipelining", "ownership token", "quota", "hook", "free space", "the store"},
	},
	"verify": {
		hints: &diagnosis.Verify{Client: diagnosis.Client{ID: "pump-7", Device: true}},
		closed: "AWS IoT mostly closes a connection here when the certificate is not active yet, when the template sets its Status to INACTIVE, " +
			"or when the device's policy does not allow iot:Connect on client/pump-7; a connection also ends when another one comes under the same client id, pump-7, which is that of the device's own session: close that first",
		silent:     "check the network, the endpoint and its port",
		refused:    "check that the template sets the certificate's Status to ACTIVE, and gives it a policy that allows iot:Connect on client/pump-7",
		hasSession: true,
		never:      []string{"iot:Subscribe", "iot:Publish", "iot:Receive", "WithClientID", "WithPipelining", "ownership token", "quota", "hook", "free space", "the store", "AWS::IoT::Thing"},
	},
	"verify without a thing": {
		hints:      &diagnosis.Verify{Client: diagnosis.Client{ID: "fleetprov-1"}, NoThing: true},
		closed:     "the template has no AWS::IoT::Thing",
		silent:     "check the network, the endpoint and its port",
		refused:    "the template has no AWS::IoT::Thing",
		hasSession: true,
		never:      []string{"iot:Subscribe", "iot:Publish", "iot:Receive", "the same client id", "WithPipelining", "ownership token", "quota", "hook", "free space", "the store"},
	},
	"subscribe": {
		hints:      &diagnosis.Subscribe{Create: createTopics, Register: registerTopics},
		closed:     "iot:Subscribe on topicfilter/" + createTopics + " and topicfilter/" + registerTopics + ", and that the template has this name",
		silent:     "check the network",
		refused:    registered,
		hasSession: true,
		never:      []string{"iot:Connect", "iot:Publish", "iot:Receive", "client id", "WithPipelining", "ownership token", "quota", "hook", "free space", "the store"},
	},
	"subscribe, with the request behind it": {
		hints:      &diagnosis.Subscribe{Create: createTopics, Register: registerTopics, Pipelined: true},
		closed:     "iot:Subscribe on topicfilter/" + createTopics + " and topicfilter/" + registerTopics + ", and iot:Publish on topic/" + createTopics,
		silent:     "check the network",
		refused:    registered,
		hasSession: true,
		never:      []string{"iot:Connect", "iot:Receive", "client id", "ownership token", "quota", "hook", "free space", "the store"},
	},
	"create": {
		hints:    &diagnosis.Create{Topics: createTopics},
		closed:   "iot:Publish on topic/" + createTopics,
		silent:   "iot:Receive on topic/" + createTopics,
		rejected: "check the request and the account's limits",
		statuses: map[int]string{
			403: "check that the certificate's policy allows iot:Publish on topic/" + createTopics,
			409: "AWS IoT documents no conflict here: report it with the log",
		},
		refused:    registered,
		hasSession: true, hasAnswers: true,
		never: []string{"iot:Connect", "iot:Subscribe", "client id", "emplate", "WithPipelining", "ownership token", "hook", "free space", "the store"},
	},
	"create, behind SUBSCRIBE": {
		hints:    &diagnosis.Create{Topics: createTopics, Pipelined: true},
		closed:   "iot:Publish on topic/" + createTopics,
		silent:   "iot:Receive on topic/" + createTopics + ", or do without WithPipelining",
		rejected: "check the request and the account's limits",
		statuses: map[int]string{
			403: "check that the certificate's policy allows iot:Publish on topic/" + createTopics,
			409: "AWS IoT documents no conflict here: report it with the log",
		},
		refused:    registered,
		hasSession: true, hasAnswers: true,
		never: []string{"iot:Connect", "iot:Subscribe", "client id", "emplate", "ownership token", "hook", "free space", "the store"},
	},
	"register": {
		hints:    &diagnosis.Register{Topics: registerTopics, Template: "fleet-template"},
		closed:   "iot:Publish on topic/" + registerTopics + "; a throttled request may be closed too",
		silent:   "iot:Receive on topic/" + registerTopics,
		rejected: `check the parameters against those the template "fleet-template" declares; an ownership token lives for one hour`,
		statuses: map[int]string{
			403: "the pre-provisioning hook or the provisioning role of the template refused the device",
			404: `check that the template "fleet-template" exists in the account and region`,
			409: "set OverrideSettings in the template",
		},
		refused:    registered,
		hasSession: true, hasAnswers: true,
		never: []string{"iot:Connect", "iot:Subscribe", "client id", "certificates/create", "account's limits", "WithPipelining", "free space", "the store"},
	},
	"store": {
		hints:  &diagnosis.Store{Doing: "writing pending.pem"},
		closed: "check the store",
		silent: "check the store: writing pending.pem has not ended",
		never:  []string{"iot:", "policy", "client id", "emplate", "WithPipelining", "ownership token", "quota", "hook", "network", "endpoint"},
	},
}

// sentinels are the errors that a caller branches on.
var sentinels = []error{diagnosis.ErrNotAuthorized, diagnosis.ErrConnectionLost, diagnosis.ErrClosedOnConnect, diagnosis.ErrClock, exchange.ErrBadResponse}

// assertIs finds want among the sentinels of err, and no other.
func assertIs(t *testing.T, err error, want ...error) {
	t.Helper()
	for _, sentinel := range sentinels {
		expected := false
		for _, w := range want {
			expected = expected || w == sentinel
		}
		assert.Equal(t, expected, errors.Is(err, sentinel), "%v: %v", sentinel, err)
	}
}

// alert is what crypto/tls makes of an alert that the server sent.
func alert(code uint8) error { return &net.OpError{Op: "remote error", Err: tls.AlertError(code)} }

func explain(hints diagnosis.Hints, err error) error {
	return diagnosis.Explain(context.Background(), hints, err, time.Now())
}

// Failures of an open connection, in each step that has one.
func TestFailuresOfASession(t *testing.T) {
	for stepName, step := range steps {
		if !step.hasSession {
			continue
		}
		lost, inOrder := "AWS IoT closes a connection without a word when the policy forbids an action: check that the certificate's policy allows "+step.closed, []error{diagnosis.ErrConnectionLost}
		if strings.HasPrefix(stepName, "connect") || strings.HasPrefix(stepName, "verify") {
			lost, inOrder = step.closed, []error{diagnosis.ErrConnectionLost, diagnosis.ErrClosedOnConnect}
		}
		for name, test := range map[string]struct {
			err  error
			is   []error
			says string
		}{
			"closed":                      {io.EOF, inOrder, lost},
			"reset":                       {&net.OpError{Op: "read", Err: syscall.ECONNRESET}, []error{diagnosis.ErrConnectionLost}, lost},
			"cut short":                   {io.ErrUnexpectedEOF, []error{diagnosis.ErrConnectionLost}, lost},
			"refused by CONNACK 5":        {&mqttsession.ConnackError{Code: 5}, []error{diagnosis.ErrNotAuthorized}, step.refused},
			"refused by CONNACK 7":        {&mqttsession.ConnackError{Code: 7}, []error{diagnosis.ErrNotAuthorized}, step.refused},
			"not served":                  {&mqttsession.ConnackError{Code: 3}, nil, "return code 3 (server unavailable)"},
			"a wrong version":             {&mqttsession.ConnackError{Code: 1}, nil, "return code 1"},
			"refused by SUBACK":           {&mqttsession.SubackError{Filter: "a/b", Code: 0x80}, []error{diagnosis.ErrNotAuthorized}, step.closed},
			"a broken protocol":           {fmt.Errorf("%w: half a packet", mqttsession.ErrProtocol), []error{exchange.ErrBadResponse}, "half a packet; " + step.badAnswer()},
			"a bad answer":                {fmt.Errorf("%w: no privateKey", exchange.ErrBadResponse), []error{exchange.ErrBadResponse}, "no privateKey; " + step.badAnswer()},
			"a claim that is not known":   {alert(46), []error{diagnosis.ErrNotAuthorized}, step.refused},
			"a claim of another CA":       {alert(48), []error{diagnosis.ErrNotAuthorized}, "the server refused the certificate"},
			"no claim":                    {alert(116), []error{diagnosis.ErrNotAuthorized}, "the server refused the certificate"},
			"a server that fails":         {alert(80), []error{diagnosis.ErrConnectionLost}, lost},
			"an alert of our own":         {&net.OpError{Op: "local error", Err: tls.AlertError(42)}, []error{diagnosis.ErrConnectionLost}, lost},
			"a key that does not sign":    {&keys.Error{Err: errors.New("the TPM is locked")}, nil, "the device's private key: the TPM is locked"},
			"an error that nobody knows":  {errors.New("of another kind"), []error{diagnosis.ErrConnectionLost}, "of another kind"},
			"a context that is foreign":   {context.DeadlineExceeded, nil, "context deadline exceeded"},
			"a context that is foreign 2": {context.Canceled, nil, "context canceled"},
		} {
			t.Run(stepName+", "+name, func(t *testing.T) {
				err := explain(step.hints, test.err)
				assertIs(t, err, test.is...)
				assert.ErrorContains(t, err, test.says)
				assert.ErrorContains(t, err, test.err.Error(), "nothing is kept back")
				if errors.Is(test.err, context.Canceled) || errors.Is(test.err, context.DeadlineExceeded) {
					assert.NotErrorIs(t, err, test.err, "the caller's context has not ended")
					assert.ErrorIs(t, err, os.ErrDeadlineExceeded)
				} else {
					assert.ErrorIs(t, err, test.err)
				}
				assertOwnWords(t, step, err.Error())
			})
		}
	}
}

func assertOwnWords(t *testing.T, step step, text string) {
	t.Helper()
	for _, words := range step.never {
		assert.NotContains(t, text, words, "that is the advice of another step")
	}
	assert.NotContains(t, text, "\n")
}

// No hint of one step is another's, whatever has failed.
func TestHintsAreTheStepsOwn(t *testing.T) {
	for name, step := range steps {
		t.Run(name, func(t *testing.T) {
			assert.Contains(t, step.hints.Closed(), step.closed)
			assert.Contains(t, step.hints.Silent(), step.silent)
			assertOwnWords(t, step, step.hints.Closed())
			assertOwnWords(t, step, step.hints.Silent())
			assertOwnWords(t, step, step.hints.Refused())
			for status := range 700 {
				says := step.hints.Rejected(&exchange.Rejection{StatusCode: status})
				assertOwnWords(t, step, says)
				switch {
				case !step.hasAnswers:
					assert.Equal(t, "AWS IoT documents no such answer", says)
				case step.statuses[status] != "":
					assert.Contains(t, says, step.statuses[status])
				case status == 401:
					assert.Contains(t, says, "check that it is active, and what its policy allows")
				case status == 429:
					assert.Contains(t, says, "quota is used up for the moment: try again later")
				case status >= 500:
					assert.Contains(t, says, "AWS failed inside: try again later")
				default:
					assert.Equal(t, step.rejected, says)
				}
			}
		})
	}
}

// A step ends with its own time, the caller's context, or the claim.
func TestEndsOfAStep(t *testing.T) {
	reason := errors.New("the operator pulled the plug")
	expired := diagnosis.Expired(&x509.Certificate{NotAfter: time.Unix(0, 0)}, false)
	for stepName, step := range steps {
		for name, test := range map[string]struct {
			begin func() (context.Context, context.CancelFunc)
			is    []error
			not   []error
			says  string
		}{
			"its time is up": {func() (context.Context, context.CancelFunc) {
				return context.WithTimeoutCause(context.Background(), 0, &diagnosis.TimeoutError{After: 30 * time.Second, Hints: step.hints})
			}, []error{os.ErrDeadlineExceeded}, []error{context.DeadlineExceeded, context.Canceled}, "no answer within 30s; " + step.hints.Silent()},
			"the caller cancels": {func() (context.Context, context.CancelFunc) {
				ctx, cancel := context.WithCancelCause(context.Background())
				cancel(reason)
				return ctx, func() {}
			}, []error{context.Canceled, reason}, []error{os.ErrDeadlineExceeded}, "the operator pulled the plug"},
			"the caller cancels without a reason": {func() (context.Context, context.CancelFunc) {
				ctx, cancel := context.WithCancel(context.Background())
				cancel()
				return ctx, cancel
			}, []error{context.Canceled}, []error{os.ErrDeadlineExceeded, context.DeadlineExceeded}, "context canceled"},
			"the caller's deadline": {func() (context.Context, context.CancelFunc) {
				return context.WithTimeout(context.Background(), 0)
			}, []error{context.DeadlineExceeded}, []error{os.ErrDeadlineExceeded, context.Canceled}, "context deadline exceeded"},
			"the claim's end": {func() (context.Context, context.CancelFunc) {
				return context.WithTimeoutCause(context.Background(), 0, expired)
			}, []error{expired}, []error{os.ErrDeadlineExceeded, context.DeadlineExceeded}, "the claim expired on 1970-01-01T00:00:00Z: the device needs a new one"},
		} {
			ctx, cancel := test.begin()
			defer cancel()
			for told, failure := range map[string]error{
				"as its error":    ctx.Err(),
				"as its cause":    context.Cause(ctx),
				"by the dialler":  &link.DialError{Err: fmt.Errorf("dial: %w", ctx.Err())},
				"in other words ": fmt.Errorf("gave up: %w", ctx.Err()),
			} {
				t.Run(stepName+", "+name+", "+told, func(t *testing.T) {
					err := diagnosis.Explain(ctx, step.hints, failure, time.Now())
					for _, is := range test.is {
						assert.ErrorIs(t, err, is)
					}
					for _, not := range test.not {
						assert.NotErrorIs(t, err, not)
					}
					assert.ErrorContains(t, err, test.says)
					assertIs(t, err)
					assertOwnWords(t, step, err.Error())
				})
			}
		}
	}
}

// TimeoutError is a net.Error, since callers of other libraries look for one.
func TestTimeoutError(t *testing.T) {
	var err net.Error = &diagnosis.TimeoutError{After: time.Second, Hints: &diagnosis.Connect{}}
	assert.True(t, err.Timeout())
}

// A key that hangs is not a silent server: the network has no part in it.
func TestAKeyThatHangs(t *testing.T) {
	for name, step := range steps {
		if !step.hasSession {
			continue
		}
		t.Run(name, func(t *testing.T) {
			timeout := &diagnosis.TimeoutError{After: 30 * time.Second, Hints: step.hints}
			ctx, cancel := context.WithTimeoutCause(t.Context(), 0, timeout)
			defer cancel()
			err := diagnosis.Explain(ctx, step.hints, &keys.Error{Err: context.Cause(ctx)}, time.Now())
			assert.EqualError(t, err, "the device's private key: it has not signed within 30s: "+os.ErrDeadlineExceeded.Error())
			assert.ErrorIs(t, err, os.ErrDeadlineExceeded)
			var failure *keys.Error
			assert.ErrorAs(t, err, &failure)
			assertIs(t, err)
		})
	}
}

// A store's failure is the store's, though it may be behind a network itself.
func TestFailuresOfTheStore(t *testing.T) {
	for name, failure := range map[string]error{
		"a full disk":           &os.PathError{Op: "write", Path: "/data/.new", Err: syscall.ENOSPC},
		"a connection":          io.EOF,
		"a handshake":           &tlsdial.HandshakeError{Err: io.EOF},
		"a server's alert":      alert(46),
		"a CONNACK":             &mqttsession.ConnackError{Code: 5},
		"a protocol":            mqttsession.ErrProtocol,
		"a dialler":             &link.DialError{Err: syscall.ECONNREFUSED},
		"an error of no family": errors.New("of another kind"),
	} {
		t.Run(name, func(t *testing.T) {
			err := explain(steps["store"].hints, failure)
			assert.EqualError(t, err, "writing pending.pem: "+failure.Error()+"; check the free space, the permissions and the mount of the store")
			assert.ErrorIs(t, err, failure)
			assertIs(t, err)
		})
	}
}

func TestAConnectionThatIsNotOpened(t *testing.T) {
	now := time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)
	later := &x509.Certificate{NotBefore: now.Add(time.Hour), NotAfter: now.Add(2 * time.Hour)}
	earlier := &x509.Certificate{NotBefore: now.Add(-2 * time.Hour), NotAfter: now.Add(-time.Hour)}
	shake := func(err error) error { return &tlsdial.HandshakeError{Err: err} }
	verify := func(err error) error { return shake(&tls.CertificateVerificationError{Err: err}) }
	for name, test := range map[string]struct {
		err     error
		is      []error
		refusal bool
		says    string
	}{
		"refused":          {&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, nil, false, "connection refused; check the endpoint's host and port"},
		"no such host":     {&net.DNSError{Err: "no such host", Name: "x", IsNotFound: true}, nil, false, "no such host"},
		"lost":             {shake(io.EOF), []error{diagnosis.ErrConnectionLost}, false, "check the endpoint and its port, and that nothing on the way filters TLS"},
		"of a stranger":    {verify(x509.UnknownAuthorityError{}), nil, true, "; check the endpoint, or give the roots of a custom domain with WithRootCAs"},
		"of another host":  {verify(x509.HostnameError{Certificate: later, Host: "x"}), nil, true, "; check the endpoint"},
		"not valid yet":    {verify(x509.CertificateInvalidError{Cert: later, Reason: x509.Expired}), []error{diagnosis.ErrClock}, true, "it is 2026-03-01T12:00:00Z and the server's certificate is valid from 2026-03-01T13:00:00Z: set the clock"},
		"expired":          {verify(x509.CertificateInvalidError{Cert: earlier, Reason: x509.Expired}), nil, true, "check the device's clock and the endpoint"},
		"no TLS":           {shake(tls.RecordHeaderError{Msg: "first record does not look like a TLS handshake"}), nil, false, "check the endpoint and its port, and that the network asks for no login"},
		"of an old TLS":    {shake(alert(70)), nil, true, "protocol version not supported; check the endpoint and its port, and what changes TLS on the way"},
		"of another name":  {shake(alert(112)), nil, true, "unrecognized name; the server does not know the name iot.example.com (SNI): check the endpoint"},
		"of no MQTT":       {shake(alert(120)), nil, true, "the server takes no MQTT there (ALPN): check the endpoint and its port"},
		"our own alert":    {shake(&net.OpError{Op: "local error", Err: tls.AlertError(40)}), nil, true, "handshake failure"},
		"a server's fault": {shake(alert(80)), []error{diagnosis.ErrConnectionLost}, false, "internal error"},
	} {
		t.Run(name, func(t *testing.T) {
			unopen := &link.DialError{Err: test.err}
			unopen.Endpoint.Host = "iot.example.com"
			err := diagnosis.Explain(t.Context(), steps["connect"].hints, unopen, now)
			assertIs(t, err, test.is...)
			assert.ErrorContains(t, err, test.says)
			assert.ErrorIs(t, err, test.err)
			assert.Equal(t, test.refusal, diagnosis.IsTLSRefusal(err))
			assertOwnWords(t, steps["connect"], err.Error())
		})
	}
	for _, code := range []uint8{42, 43, 44, 45, 46, 48, 49, 51, 116} {
		t.Run(tls.AlertError(code).Error(), func(t *testing.T) {
			err := explain(steps["connect"].hints, &link.DialError{Err: shake(alert(code))})
			assertIs(t, err, diagnosis.ErrNotAuthorized)
			assert.ErrorContains(t, err, "check that it is registered and active")
			assert.True(t, diagnosis.IsTLSRefusal(err))
		})
	}
}

func TestValidity(t *testing.T) {
	begin := time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)
	end := begin.Add(5 * time.Minute)
	claim := &x509.Certificate{NotBefore: begin, NotAfter: end}
	assert.NoError(t, diagnosis.Validity(claim, begin, false))
	assert.NoError(t, diagnosis.Validity(claim, end, false))

	early := diagnosis.Validity(claim, begin.Add(-time.Second), false)
	assertIs(t, early, diagnosis.ErrClock)
	assert.ErrorContains(t, early, "it is 2026-03-01T11:59:59Z and the claim is valid from 2026-03-01T12:00:00Z: set the clock")

	late := diagnosis.Validity(claim, end.Add(time.Second), false)
	assertIs(t, late)
	var expired *diagnosis.ExpiredError
	require.ErrorAs(t, late, &expired)
	assert.ErrorContains(t, late, "the claim expired on 2026-03-01T12:05:00Z: the device needs a new one")
	for _, err := range []error{early, late} {
		var invalid x509.CertificateInvalidError
		require.ErrorAs(t, err, &invalid)
		assert.Same(t, claim, invalid.Cert)
	}
}
