package flow_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov"
	"github.com/fleetprov/fleetprov/fleetprovtest"
	"github.com/fleetprov/fleetprov/internal/testca"
	"github.com/fleetprov/fleetprov/internal/tests/provtest"
)

// The ways an attempt can fail on an open connection. Each row
// injects one fault; the error must name the step and be of the documented kind,
// in time, without a goroutine left or a secret told.
func TestFailuresOfTheExchange(t *testing.T) {
	const (
		connect   = fleetprovtest.OpConnect
		subscribe = fleetprovtest.OpSubscribe
		create    = fleetprovtest.OpCreateKeysAndCertificate
		register  = fleetprovtest.OpRegisterThing
	)
	type row struct {
		name  string
		op    fleetprovtest.Op
		fault fleetprovtest.Fault

		is        error // what errors.Is finds
		status    int   // of the *RejectedError, if it is one
		retryable bool
		says      string
		accepted  bool // AWS has accepted: there must be Credentials
	}
	var rows []row

	for _, code := range []int{1, 2, 4, 0x80} {
		rows = append(rows, row{name: fmt.Sprintf("CONNACK %d", code), op: connect,
			fault: fleetprovtest.Fault{Reject: &fleetprovtest.Rejection{StatusCode: code}}, says: fmt.Sprintf("return code %d", code)})
	}
	for _, code := range []int{5, 7} {
		rows = append(rows, row{name: fmt.Sprintf("CONNACK %d", code), op: connect,
			fault: fleetprovtest.Fault{Reject: &fleetprovtest.Rejection{StatusCode: code}}, is: fleetprov.ErrNotAuthorized, says: "iot:Connect on client/"})
	}
	rows = append(rows,
		row{name: "CONNACK 3", op: connect, fault: fleetprovtest.Fault{Reject: &fleetprovtest.Rejection{StatusCode: 3}}, retryable: true, says: "server unavailable"},
		row{name: "SUBACK 0x80", op: subscribe, fault: fleetprovtest.Fault{Reject: &fleetprovtest.Rejection{}}, is: fleetprov.ErrNotAuthorized, says: "iot:Subscribe on topicfilter/$aws/certificates/create/*"},
		row{name: "SUBACK with too many codes", op: subscribe, fault: fleetprovtest.Fault{Response: []byte{0x90, 8, 0, 1, 1, 1, 1, 1, 1, 1}}, is: fleetprov.ErrBadResponse, says: "6 return codes for 4 topic filters"},
		row{name: "SUBACK with too few codes", op: subscribe, fault: fleetprovtest.Fault{Response: []byte{0x90, 3, 0, 1, 1}}, is: fleetprov.ErrBadResponse},
	)

	closed := map[fleetprovtest.Op]string{
		connect:   "iot:Connect on client/",
		subscribe: "iot:Subscribe on topicfilter/$aws/certificates/create/* and topicfilter/$aws/provisioning-templates/test-template/provision/*",
		create:    "iot:Publish on topic/$aws/certificates/create/*",
		register:  "iot:Publish on topic/$aws/provisioning-templates/test-template/provision/*",
	}
	for op, hint := range closed {
		half := []byte{0x30, 0x20, 0x00}
		if op == connect {
			half = []byte{0x20, 0x02, 0x00}
		}
		rows = append(rows,
			row{name: "connection closed after " + string(op), op: op, fault: fleetprovtest.Fault{Disconnect: true}, is: fleetprov.ErrConnectionLost, retryable: true, says: hint},
			row{name: "256 MB announced after " + string(op), op: op, fault: fleetprovtest.Fault{Raw: []byte{0x30, 0xff, 0xff, 0xff, 0x7f}}, is: fleetprov.ErrBadResponse},
			row{name: "noise after " + string(op), op: op, fault: fleetprovtest.Fault{Raw: []byte("HTTP/1.1 400 Bad Request\r\n\r\n")}, is: fleetprov.ErrBadResponse},
			row{name: "half a packet after " + string(op), op: op, fault: fleetprovtest.Fault{Raw: half, Disconnect: true}, is: fleetprov.ErrConnectionLost, retryable: true},
		)
	}

	says := map[fleetprovtest.Op]map[int]string{
		create:   {400: "check the request", 403: "allows iot:Publish on topic/", 404: "check the request", 409: "documents no conflict", 429: "try again later", 500: "try again later"},
		register: {400: "check the parameters", 401: "check that it is active", 403: "longer than five seconds", 409: "OverrideSettings", 404: `the template "test-template" exists`, 429: "try again later", 500: "try again later"},
	}
	for op, hints := range says {
		for status, hint := range hints {
			rows = append(rows, row{name: fmt.Sprintf("%s rejected with %d", op, status), op: op,
				fault:  fleetprovtest.Fault{Reject: &fleetprovtest.Rejection{StatusCode: status, Code: "SomeCode", Message: "AWS's own words %s%n"}},
				status: status, retryable: status == 429 || status == 500, says: hint})
		}
		reject := &fleetprovtest.Rejection{}
		rows = append(rows,
			row{name: string(op) + " rejected without a field", op: op, fault: fleetprovtest.Fault{Reject: reject}, status: -1},
			row{name: string(op) + " rejected with a throttling code and no status", op: op, fault: fleetprovtest.Fault{Reject: &fleetprovtest.Rejection{Code: "THROTTLING_EXCEPTION"}}, status: -1, retryable: true},
			row{name: string(op) + " rejected in no JSON", op: op, fault: fleetprovtest.Fault{Reject: reject, Response: []byte("go away")}, status: -1, is: fleetprov.ErrBadResponse, says: "go away"},
			row{name: string(op) + " rejected with nothing", op: op, fault: fleetprovtest.Fault{Reject: reject, Response: []byte{}}, status: -1, is: fleetprov.ErrBadResponse},
			row{name: string(op) + " rejected with a status that is a text", op: op, fault: fleetprovtest.Fault{Reject: reject, Response: []byte(`{"statusCode":"429","errorCode":"c"}`)}, status: -1, is: fleetprov.ErrBadResponse},
		)
		for what, payload := range map[string]string{
			"empty":           "",
			"truncated":       `{"certificateId":"abc`,
			"of wrong types":  `{"certificateId":5,"certificatePem":[],"privateKey":{},"thingName":7,"deviceConfiguration":[]}`,
			"not JSON":        "OK",
			"200 kB":          `{"certificateId":"` + strings.Repeat("x", 200_000) + `"}`,
			"of a wrong key":  wrongKey(t),
			"an empty object": "{}",
		} {
			r := row{name: string(op) + " accepted but " + what, op: op, fault: fleetprovtest.Fault{Response: []byte(payload)}, is: fleetprov.ErrBadResponse}
			r.accepted = op == register && what != "200 kB"
			if op == register && (what == "an empty object" || what == "of a wrong key") {
				continue // an accepted registration may say anything or nothing
			}
			rows = append(rows, r)
		}
	}

	for i, row := range rows {
		// After an answer to RegisterThing that cannot be read the certificate may be
		// active, so it is registered once more.
		if row.op == register && row.is == fleetprov.ErrBadResponse {
			rows[i].retryable = true
		}
	}
	rows = append(rows,
		row{name: "the connection closed after CONNECT, in order", op: connect, fault: fleetprovtest.Fault{Disconnect: true}, is: fleetprov.ErrClosedOnConnect, retryable: true, says: "is not active or has no policy"},
		row{name: "RegisterThing rejected with 400 and a throttling code", op: register, status: 400, retryable: true, says: "quota",
			fault: fleetprovtest.Fault{Reject: &fleetprovtest.Rejection{StatusCode: 400, Code: "ThrottlingException"}}},
		row{name: "RegisterThing rejected with 409 and a passing conflict", op: register, status: 409, retryable: true, says: "another change",
			fault: fleetprovtest.Fault{Reject: &fleetprovtest.Rejection{StatusCode: 409, Code: "ConflictingResourceUpdateException"}}},
	)

	// Sending a request ahead of the SUBACK changes neither the step that fails nor
	// what is said of it.
	for mode, opts := range map[string][]fleetprov.Option{"step by step": nil, "pipelined": {fleetprov.WithPipelining()}} {
		t.Run(mode, func(t *testing.T) {
			server := provtest.NewServer(t)
			log := new(lockedBuffer)
			provisioner := provtest.NewProvisioner(t, server, append(opts, provtest.OneAttempt,
				fleetprov.WithLogger(slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))))...)
			for _, row := range rows {
				t.Run(row.name, func(t *testing.T) {
					server.Inject(row.op, row.fault)
					credentials, err := provisioner.Provision(provtest.Context(t), map[string]string{"SerialNumber": "s3cret-parameter"})

					var failure *fleetprov.Error
					require.ErrorAs(t, err, &failure)
					assert.Equal(t, fleetprov.Op(row.op), failure.Op)
					assert.Equal(t, 1, failure.Attempts)
					assert.Equal(t, row.op == register, failure.CertificateID != "", "the certificate issued by then is named")
					if row.is != nil {
						assert.ErrorIs(t, err, row.is)
					}
					if row.status != 0 {
						var rejected *fleetprov.RejectedError
						require.ErrorAs(t, err, &rejected)
						assert.Equal(t, max(row.status, 0), rejected.StatusCode)
					}
					assert.Equal(t, row.retryable, fleetprov.Retryable(err), "%v", err)
					assert.Contains(t, err.Error(), row.says)
					assert.NotContains(t, err.Error(), "\n")
					assert.Equal(t, row.accepted, credentials != nil)
					assertNoSecret(t, err.Error())
				})
			}
			provtest.NoGoroutineLeft(t)
			assertNoSecret(t, log.String())
		})
	}
}

// assertNoSecret looks for what must never be told. Keys and tokens are not
// known beforehand, but each has a form of its own.
func assertNoSecret(t *testing.T, text string) {
	t.Helper()
	for _, secret := range []string{"PRIVATE KEY", "s3cret-parameter", provtest.Password, "wnershipToken\\\":", "certificateOwnershipToken\":"} {
		assert.NotContains(t, text, secret)
	}
}

// wrongKey is an accepted answer whose key belongs to another certificate.
func wrongKey(t *testing.T) string {
	t.Helper()
	server := provtest.NewServer(t)
	one, err := provtest.NewProvisioner(t, server).Provision(t.Context(), map[string]string{"SerialNumber": "1"})
	require.NoError(t, err)
	other, err := provtest.NewProvisioner(t, server).Provision(t.Context(), map[string]string{"SerialNumber": "2"})
	require.NoError(t, err)
	return fmt.Sprintf(`{"certificateId":%q,"certificatePem":%q,"privateKey":%q,"certificateOwnershipToken":"t"}`,
		one.CertificateID, one.CertificatePEM, other.PrivateKeyPEM())
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

var ops = []fleetprovtest.Op{
	fleetprovtest.OpConnect, fleetprovtest.OpSubscribe,
	fleetprovtest.OpCreateKeysAndCertificate, fleetprovtest.OpRegisterThing,
}

// A step's own timeout is os.ErrDeadlineExceeded; the context errors are the
// caller's. Virtual time makes both exact.
func TestAStepThatIsNotAnswered(t *testing.T) {
	receive := map[fleetprovtest.Op]string{
		fleetprovtest.OpCreateKeysAndCertificate: "iot:Receive on topic/$aws/certificates/create/*",
		fleetprovtest.OpRegisterThing:            "iot:Receive on topic/$aws/provisioning-templates/test-template/provision/*",
	}
	for _, op := range ops {
		t.Run(string(op)+" ends with the step", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server, provisioner := provtest.OnPipes(t, provtest.OneAttempt, fleetprov.WithStepTimeout(7*time.Second))
				server.Inject(op, fleetprovtest.Fault{Drop: true})
				began := time.Now()
				_, err := provisioner.Provision(t.Context(), nil)
				assertOp(t, op, err)
				assert.ErrorIs(t, err, os.ErrDeadlineExceeded)
				assert.NotErrorIs(t, err, context.DeadlineExceeded)
				assert.True(t, fleetprov.Retryable(err))
				assert.Contains(t, err.Error(), receive[op])
				assert.Equal(t, 7*time.Second, time.Since(began))
			})
		})
		t.Run(string(op)+" ends with the caller's deadline", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server, provisioner := provtest.OnPipes(t, provtest.OneAttempt)
				server.Inject(op, fleetprovtest.Fault{Drop: true})
				ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
				defer cancel()
				began := time.Now()
				_, err := provisioner.Provision(ctx, nil)
				assertOp(t, op, err)
				assert.ErrorIs(t, err, context.DeadlineExceeded)
				assert.NotErrorIs(t, err, os.ErrDeadlineExceeded)
				assert.False(t, fleetprov.Retryable(err))
				assert.Equal(t, 3*time.Second, time.Since(began))
			})
		})
		t.Run(string(op)+" is cancelled", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server, provisioner := provtest.OnPipes(t, provtest.OneAttempt)
				server.Inject(op, fleetprovtest.Fault{Drop: true})
				ctx, cancel := context.WithCancelCause(t.Context())
				reason := errors.New("the operator pulled the plug")
				time.AfterFunc(2*time.Second, func() { cancel(reason) })
				began := time.Now()
				_, err := provisioner.Provision(ctx, nil)
				assertOp(t, op, err)
				assert.ErrorIs(t, err, context.Canceled)
				assert.ErrorIs(t, err, reason)
				assert.Equal(t, 2*time.Second, time.Since(began))
			})
		})
	}
}

func assertOp(t *testing.T, op fleetprovtest.Op, err error) {
	t.Helper()
	var failure *fleetprov.Error
	require.ErrorAs(t, err, &failure)
	assert.Equal(t, fleetprov.Op(op), failure.Op)
}

func TestAContextThatHasEndedIsNotWorthADial(t *testing.T) {
	server := provtest.NewServer(t)
	provisioner := provtest.NewProvisioner(t, server, noDial(t))
	ctx, cancel := context.WithCancel(provtest.Context(t))
	cancel()
	_, err := provisioner.Provision(ctx, nil)
	assert.ErrorIs(t, err, context.Canceled)
}

// noDial fails the test if the network is used.
func noDial(t *testing.T) fleetprov.Option {
	return fleetprov.WithDialer(func(context.Context, string, string) (net.Conn, error) {
		t.Error("the network was used")
		return nil, errors.New("no network")
	})
}

func TestNetworksThatDoNotConnect(t *testing.T) {
	server := provtest.NewServer(t)
	never := make(chan struct{})
	t.Cleanup(func() { close(never) })

	for name, test := range map[string]struct {
		dial      func(ctx context.Context, network, address string) (net.Conn, error)
		is        error
		retryable bool
	}{
		"TCP refused": {func(ctx context.Context, network, _ string) (net.Conn, error) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			l.Close()
			return new(net.Dialer).DialContext(ctx, network, l.Addr().String())
		}, syscall.ECONNREFUSED, true},
		"no route": {func(context.Context, string, string) (net.Conn, error) {
			return nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ENETUNREACH)}
		}, syscall.ENETUNREACH, true},
		"no such host": {func(context.Context, string, string) (net.Conn, error) {
			return nil, &net.DNSError{Err: "no such host", Name: "x", IsNotFound: true}
		}, nil, true},
		"a modem that is off": {func(context.Context, string, string) (net.Conn, error) {
			return nil, io.ErrNoProgress
		}, io.ErrNoProgress, true},
		"a dialer that knows no contexts": {func(context.Context, string, string) (net.Conn, error) {
			<-never
			return nil, nil
		}, os.ErrDeadlineExceeded, true},
		"a dialer with a deadline of its own": {func(context.Context, string, string) (net.Conn, error) {
			ctx, cancel := context.WithTimeout(context.Background(), time.Nanosecond)
			defer cancel()
			<-ctx.Done()
			return nil, ctx.Err()
		}, os.ErrDeadlineExceeded, true},
		"a dialer that returns nothing": {func(context.Context, string, string) (net.Conn, error) {
			return nil, nil
		}, nil, true},
		"a black hole behind TCP": {func(ctx context.Context, _, _ string) (net.Conn, error) {
			near, far := net.Pipe()
			t.Cleanup(func() { far.Close() })
			return near, nil
		}, os.ErrDeadlineExceeded, true},
		"closed in the TLS handshake": {func(ctx context.Context, _, _ string) (net.Conn, error) {
			near, far := net.Pipe()
			go func() { _, _ = far.Read(make([]byte, 1)); far.Close() }()
			return near, nil
		}, fleetprov.ErrConnectionLost, true},
	} {
		t.Run(name, func(t *testing.T) {
			provisioner := provtest.NewProvisioner(t, server, provtest.OneAttempt, fleetprov.WithDialer(test.dial), fleetprov.WithStepTimeout(200*time.Millisecond))
			_, err := provisioner.Provision(provtest.Context(t), nil)
			assertOp(t, fleetprovtest.OpConnect, err)
			if test.is != nil {
				assert.ErrorIs(t, err, test.is)
			}
			assert.NotErrorIs(t, err, context.DeadlineExceeded, "the caller's context has not ended")
			assert.Equal(t, test.retryable, fleetprov.Retryable(err))
		})
	}
}

func TestServerCertificatesThatAreNotBelieved(t *testing.T) {
	ca, stranger := testca.New("a root"), testca.New("another root")
	now := time.Now()
	for name, test := range map[string]struct {
		certificate tls.Certificate
		is          error
		as          any
		retryable   bool
		says        string
	}{
		"from an unknown CA": {stranger.Server(testca.Validity{}, "localhost"), nil, new(x509.UnknownAuthorityError), false, "WithRootCAs"},
		"for another name":   {ca.Server(testca.Validity{}, "example.com"), nil, new(x509.HostnameError), false, "check the endpoint"},
		"expired": {ca.Server(testca.Validity{NotBefore: now.Add(-48 * time.Hour), NotAfter: now.Add(-24 * time.Hour)}, "localhost"),
			fleetprov.ErrClock, new(x509.CertificateInvalidError), true, "the clock is ahead, or the certificate really has expired"},
		"not yet valid": {ca.Server(testca.Validity{NotBefore: now.Add(24 * time.Hour), NotAfter: now.Add(48 * time.Hour)}, "localhost"),
			fleetprov.ErrClock, new(x509.CertificateInvalidError), true, "set the clock"},
	} {
		t.Run(name, func(t *testing.T) {
			server := fleetprovtest.NewUnstartedServer()
			server.TLS = &tls.Config{Certificates: []tls.Certificate{test.certificate}}
			server.Start()
			defer server.Close()
			provisioner := provtest.NewProvisioner(t, server, provtest.OneAttempt, fleetprov.WithRootCAs(ca.Pool()))
			_, err := provisioner.Provision(provtest.Context(t), nil)
			assertOp(t, fleetprovtest.OpConnect, err)
			if test.is != nil {
				assert.ErrorIs(t, err, test.is)
			}
			assert.ErrorAs(t, err, test.as)
			assert.Equal(t, test.retryable, fleetprov.Retryable(err))
			assert.Contains(t, err.Error(), test.says)
		})
	}
}

func TestClaimsThatTheServerRefuses(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for name, claim := range map[string]tls.Certificate{
			"of another authority":          testca.New("a stranger").Client("claim", testca.Validity{}),
			"that the server has not heard": fleetprovtest.NewUnstartedServer().ClaimCertificate(),
		} {
			t.Run(tls.VersionName(version)+" "+name, func(t *testing.T) {
				server := fleetprovtest.NewUnstartedServer()
				server.TLS = &tls.Config{MaxVersion: version}
				server.Refusal = fleetprovtest.RefuseInHandshake // with an alert, which may overtake the client
				server.Start()
				defer server.Close()
				identity, err := fleetprov.NewIdentity(claim)
				require.NoError(t, err)
				provisioner, err := fleetprov.New(server.Endpoint(), provtest.Template, identity, fleetprov.WithRootCAs(server.RootCAs()), provtest.OneAttempt)
				require.NoError(t, err)
				for range 20 {
					_, err = provisioner.Provision(provtest.Context(t), nil)
					assertOp(t, fleetprovtest.OpConnect, err)
					assert.ErrorIs(t, err, fleetprov.ErrNotAuthorized)
					assert.False(t, fleetprov.Retryable(err))
					assert.Contains(t, err.Error(), "registered and active")
				}
			})
		}
	}
}

// What AWS IoT says in words is final. A close without a word has many causes, of which some
// pass, such as a claim that an operator activates tomorrow.
func TestFacesOfARefusal(t *testing.T) {
	denied := `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"iot:Connect","Resource":"arn:aws:iot:us-east-1:123456789012:client/another"}}`
	for refusal, face := range map[fleetprovtest.Refusal]struct {
		is    error
		final bool
	}{
		fleetprovtest.RefuseByClosing:   {fleetprov.ErrClosedOnConnect, false},
		fleetprovtest.RefuseByConnack:   {fleetprov.ErrNotAuthorized, true},
		fleetprovtest.RefuseInHandshake: {fleetprov.ErrNotAuthorized, true},
	} {
		for name, cause := range map[string]struct {
			policy      string
			deactivated bool
		}{
			"an inactive claim":                          {"", true},
			"a client id that the policy does not allow": {denied, false},
		} {
			t.Run(fmt.Sprint(name, " ", refusal), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					server, listener := provtest.NewPipeServer(t, func(s *fleetprovtest.Server) {
						s.Refusal, s.ClaimPolicy = refusal, cause.policy
					})
					if cause.deactivated {
						id := sha256.Sum256(server.ClaimCertificate().Leaf.Raw)
						require.NoError(t, server.UpdateCertificate(hex.EncodeToString(id[:]), fleetprovtest.StatusInactive))
					}
					want := face
					if refusal == fleetprovtest.RefuseInHandshake && !cause.deactivated {
						want.is, want.final = fleetprov.ErrClosedOnConnect, false // the handshake knows no client id
					}
					_, err := provtest.NewProvisioner(t, server, provtest.OneAttempt, fleetprov.WithDialer(listener.Dial)).Provision(t.Context(), nil)
					assertOp(t, fleetprovtest.OpConnect, err)
					assert.ErrorIs(t, err, want.is)
					assert.Equal(t, !want.final, fleetprov.Retryable(err))
					assert.Equal(t, !want.final, errors.Is(err, fleetprov.ErrConnectionLost))
					assert.Equal(t, want.final, errors.Is(err, fleetprov.ErrNotAuthorized))
				})
			})
		}
	}
}
