package flow_test

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync/atomic"
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

// count is how often server has seen op.
func count(server *fleetprovtest.Server, op fleetprovtest.Op) int {
	n := 0
	for _, request := range server.Requests() {
		if request.Op == op {
			n++
		}
	}
	return n
}

var throttled = fleetprovtest.Fault{Reject: &fleetprovtest.Rejection{StatusCode: 429, Code: "TooManyRequests", Message: "Rate exceeded"}}

// What can pass is tried again, with the certificate the device already has.
func TestEveryFaultAtEveryStepPasses(t *testing.T) {
	for faultName, fault := range map[string]fleetprovtest.Fault{
		"answer lost":     {Drop: true},
		"connection lost": {Disconnect: true},
		"lost before it":  {Disconnect: true, Reject: &fleetprovtest.Rejection{}},
		"half a packet":   {Raw: []byte{0x30}, Disconnect: true},
		"answer late":     {Delay: time.Minute},
		"answer twice":    {Duplicate: true},
		"throttled":       throttled,
		"failure inside":  {Reject: &fleetprovtest.Rejection{StatusCode: 500, Code: "InternalError"}},
		"slow":            {Delay: 10 * time.Second},
	} {
		for _, op := range ops {
			if fault.Reject != nil && fault.Reject.StatusCode != 0 && (op == fleetprovtest.OpConnect || op == fleetprovtest.OpSubscribe) {
				continue // these answer with a code of MQTT, which is final
			}
			for _, times := range []int{1, 5} {
				t.Run(string(op)+" "+faultName, func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						server, provisioner := provtest.OnPipes(t)
						for range times {
							server.Inject(op, fault)
						}
						credentials, err := provisioner.Provision(t.Context(), map[string]string{"SerialNumber": "1"})
						require.NoError(t, err)
						assert.Len(t, server.Things(), 1)
						active := 0
						for _, certificate := range server.Certificates() {
							if certificate.Status == "ACTIVE" {
								active++
								assert.Equal(t, certificate.ID, credentials.CertificateID)
							}
						}
						assert.Equal(t, 1, active)
						if op == fleetprovtest.OpRegisterThing {
							assert.Equal(t, 1, count(server, fleetprovtest.OpCreateKeysAndCertificate), "only RegisterThing is repeated")
						}
					})
				})
			}
		}
	}
}

func TestWhatCannotPassReturnsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, provisioner := provtest.OnPipes(t)
		server.Inject(fleetprovtest.OpRegisterThing, fleetprovtest.Fault{Reject: &fleetprovtest.Rejection{StatusCode: 403, Code: "AccessDenied"}})
		began := time.Now()
		_, err := provisioner.Provision(t.Context(), nil)
		var rejected *fleetprov.RejectedError
		require.ErrorAs(t, err, &rejected)
		assert.Zero(t, time.Since(began))
	})
}

func TestRetryIfDecides(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, provisioner := provtest.OnPipes(t, fleetprov.WithRetryIf(func(err error) bool {
			var rejected *fleetprov.RejectedError
			return errors.As(err, &rejected) && rejected.StatusCode == 403
		}))
		for range 3 {
			server.Inject(fleetprovtest.OpRegisterThing, fleetprovtest.Fault{Reject: &fleetprovtest.Rejection{StatusCode: 403}})
		}
		_, err := provisioner.Provision(t.Context(), nil)
		require.NoError(t, err, "a hook that changes its mind")

		server.Inject(fleetprovtest.OpConnect, fleetprovtest.Fault{Disconnect: true})
		_, err = provisioner.Provision(t.Context(), nil)
		assert.ErrorIs(t, err, fleetprov.ErrConnectionLost)
	})
}

func TestMaxAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, provisioner := provtest.OnPipes(t, fleetprov.WithMaxAttempts(3), fleetprov.WithBackoff(time.Second, time.Second))
		for range 10 {
			server.Inject(fleetprovtest.OpRegisterThing, throttled)
		}
		began := time.Now()
		_, err := provisioner.Provision(t.Context(), nil)
		var failure *fleetprov.Error
		require.ErrorAs(t, err, &failure)
		assert.Equal(t, 3, failure.Attempts)
		assert.Equal(t, fleetprov.OpRegisterThing, failure.Op)
		assert.Equal(t, server.Certificates()[0].ID, failure.CertificateID)
		assert.Contains(t, err.Error(), "after 3 attempts")
		assert.Equal(t, 3, count(server, fleetprovtest.OpRegisterThing))
		assert.Equal(t, 2*time.Second, time.Since(began))
	})
}

func TestTheFirstRepeatIsQuick(t *testing.T) {
	for range 20 {
		synctest.Test(t, func(t *testing.T) {
			server, provisioner := provtest.OnPipes(t)
			server.Inject(fleetprovtest.OpCreateKeysAndCertificate, fleetprovtest.Fault{Disconnect: true})
			began := time.Now()
			_, err := provisioner.Provision(t.Context(), nil)
			require.NoError(t, err)
			assert.Less(t, time.Since(began), 10*time.Second)
			assert.Positive(t, time.Since(began))
		})
	}
}

func TestTheLongestWaitIn12Hours(t *testing.T) {
	refused := fleetprovtest.Fault{Disconnect: true}
	for _, test := range []struct {
		what    string
		refused fleetprovtest.Op
		opts    []fleetprov.Option
		from    time.Duration
		to      time.Duration
	}{
		{"goes on growing without a certificate", fleetprovtest.OpCreateCertificateFromCSR, nil, 20 * time.Minute, 4 * time.Hour},
		{"goes on growing when connections are refused", fleetprovtest.OpConnect, nil, 20 * time.Minute, 4 * time.Hour},
		{"is a part of the token's life with a certificate", fleetprovtest.OpRegisterThing, nil, 5 * time.Minute, 15 * time.Minute},
		{"is the maximum, if there is one", fleetprovtest.OpConnect, []fleetprov.Option{fleetprov.WithBackoff(2*time.Second, time.Minute)}, 20 * time.Second, time.Minute},
	} {
		t.Run(test.what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var longest time.Duration
				progress := func(_ context.Context, p fleetprov.Progress) { longest = max(longest, p.Wait) }
				server, provisioner := provtest.OnPipes(t, append(test.opts, fleetprov.WithGeneratedKey(), fleetprov.WithProgress(progress))...)
				for range 10_000 {
					server.Inject(test.refused, refused)
				}
				ctx, cancel := context.WithTimeout(t.Context(), 12*time.Hour)
				defer cancel()
				_, err := provisioner.Provision(ctx, nil)
				assert.ErrorIs(t, err, context.DeadlineExceeded)
				assert.ErrorIs(t, err, fleetprov.ErrConnectionLost)
				assert.GreaterOrEqual(t, longest, test.from)
				assert.LessOrEqual(t, longest, test.to)
			})
		})
	}
}

func TestADeadlineBeforeTheNextAttemptEndsTheRunNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, provisioner := provtest.OnPipes(t, fleetprov.WithBackoff(time.Minute, time.Minute))
		server.Inject(fleetprovtest.OpRegisterThing, throttled)
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		began := time.Now()
		_, err := provisioner.Provision(ctx, nil)
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		var rejected *fleetprov.RejectedError
		require.ErrorAs(t, err, &rejected)
		assert.Equal(t, 429, rejected.StatusCode)
		assertOp(t, fleetprovtest.OpRegisterThing, err)
		assert.Zero(t, time.Since(began))
	})
}

// A claim issued to a trusted user lives for five minutes.
func TestAClaimThatEndsBeforeTheNextAttemptEndsTheRunNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		claim, err := fleetprov.NewIdentity(testca.New("a root").Client("claim", testca.Validity{NotAfter: time.Now().Add(5 * time.Minute)}))
		require.NoError(t, err)
		off := &fleetprov.RejectedError{StatusCode: 429} // stands for anything that can pass
		provisioner, err := fleetprov.New("localhost", provtest.Template, claim, fleetprov.WithBackoff(10*time.Minute, 10*time.Minute),
			fleetprov.WithDialer(func(context.Context, string, string) (net.Conn, error) { return nil, off }))
		require.NoError(t, err)
		began := time.Now()
		_, err = provisioner.Provision(t.Context(), nil)
		var expired x509.CertificateInvalidError
		assert.ErrorAs(t, err, &expired)
		assert.ErrorContains(t, err, "the claim ends on 2000-01-01T00:05:00Z: the device needs a new one")
		assert.ErrorIs(t, err, off)
		assert.NotErrorIs(t, err, context.DeadlineExceeded)
		assert.False(t, fleetprov.Retryable(err))
		assert.Zero(t, time.Since(began))
	})
}

// A claim's key in a token that hangs does not hold up the caller.
func TestAClaimWhoseKeyHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, listener := provtest.NewPipeServer(t)
		certificate := server.ClaimCertificate()
		free := make(chan struct{})
		certificate.PrivateKey = hangingKey{certificate.PrivateKey.(crypto.Signer), free}
		claim, err := fleetprov.NewIdentity(certificate)
		require.NoError(t, err)
		provisioner, err := fleetprov.New(server.Endpoint(), provtest.Template, claim, fleetprov.WithRootCAs(server.RootCAs()), fleetprov.WithDialer(listener.Dial), provtest.OneAttempt)
		require.NoError(t, err)
		began := time.Now()
		_, err = provisioner.Provision(t.Context(), nil)
		assert.ErrorIs(t, err, os.ErrDeadlineExceeded)
		assert.Equal(t, 30*time.Second, time.Since(began))
		close(free)
	})
}

type hangingKey struct {
	crypto.Signer
	free chan struct{}
}

func (k hangingKey) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	<-k.free
	return k.Signer.Sign(random, digest, opts)
}

// A key that takes longer than a step is asked once, and its answer used.
func TestADeviceKeyThatIsSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key := &slowKey{HardwareKey: provtest.NewHardwareKey(t), takes: 45 * time.Second}
		_, provisioner := provtest.OnPipes(t, fleetprov.WithPrivateKey(key))
		_, err := provisioner.Provision(t.Context(), nil)
		require.NoError(t, err)
		assert.Equal(t, int32(1), key.signed.Load())
	})
}

type slowKey struct {
	*provtest.HardwareKey
	takes  time.Duration
	signed atomic.Int32
}

func (k *slowKey) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	k.signed.Add(1)
	<-time.After(k.takes)
	return k.HardwareKey.Sign(random, digest, opts)
}

// A connection of a modem may have no address.
func TestAConnectionWithoutAnAddress(t *testing.T) {
	server := provtest.NewServer(t)
	provisioner := provtest.NewProvisioner(t, server, fleetprov.WithDialer(func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		return unaddressed{conn}, err
	}))
	_, err := provisioner.Provision(provtest.Context(t), nil)
	assert.NoError(t, err)
}

type unaddressed struct{ net.Conn }

func (unaddressed) RemoteAddr() net.Addr { return nil }
func (unaddressed) LocalAddr() net.Addr  { return nil }

// The reason is not lost when the end comes in the middle of a later attempt.
func TestAContextThatEndsInAnAttemptTellsWhyTheOneBeforeFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, provisioner := provtest.OnPipes(t, fleetprov.WithBackoff(time.Second, time.Second))
		server.Inject(fleetprovtest.OpRegisterThing, throttled)
		server.Inject(fleetprovtest.OpRegisterThing, fleetprovtest.Fault{Drop: true})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		_, err := provisioner.Provision(ctx, nil)
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		var rejected *fleetprov.RejectedError
		require.ErrorAs(t, err, &rejected)
		assert.Equal(t, 429, rejected.StatusCode)
	})
}

func TestCancellingAWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, provisioner := provtest.OnPipes(t, fleetprov.WithBackoff(time.Hour, time.Hour))
		server.Inject(fleetprovtest.OpConnect, fleetprovtest.Fault{Disconnect: true})
		ctx, cancel := context.WithCancelCause(t.Context())
		reason := errors.New("the operator's reason")
		time.AfterFunc(time.Minute, func() { cancel(reason) })
		began := time.Now()
		_, err := provisioner.Provision(ctx, nil)
		assert.ErrorIs(t, err, context.Canceled)
		assert.ErrorIs(t, err, reason)
		assert.ErrorIs(t, err, fleetprov.ErrConnectionLost)
		assert.Equal(t, time.Minute, time.Since(began))
	})
}

// The token that was issued an hour ago is tried all the same, and only when AWS
// refuses it does the device ask for another certificate.
func TestATokenThatIsRefusedStartsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, provisioner := provtest.OnPipes(t, fleetprov.WithBackoff(61*time.Minute, 61*time.Minute))
		server.Inject(fleetprovtest.OpRegisterThing, throttled)
		credentials, err := provisioner.Provision(t.Context(), nil)
		require.NoError(t, err)
		assert.Equal(t, 2, count(server, fleetprovtest.OpCreateKeysAndCertificate))
		certificates := server.Certificates()
		require.Len(t, certificates, 1, "AWS deletes the first")
		assert.Equal(t, certificates[0].ID, credentials.CertificateID)
		assert.Equal(t, 3, count(server, fleetprovtest.OpConnect), "on a connection where no repeat of the refusal can come")
	})
}

func TestAFreshTokenThatIsRefusedStartsOverOnce(t *testing.T) {
	refused := fleetprovtest.Fault{Reject: &fleetprovtest.Rejection{StatusCode: 400, Code: "InvalidCertificateOwnershipToken"}}
	for refusals, certificates := range map[int]int{1: 2, 2: 2} {
		synctest.Test(t, func(t *testing.T) {
			server, provisioner := provtest.OnPipes(t)
			for range refusals {
				server.Inject(fleetprovtest.OpRegisterThing, refused)
			}
			credentials, err := provisioner.Provision(t.Context(), nil)
			assert.Len(t, server.Certificates(), certificates)
			if refusals == 1 {
				require.NoError(t, err)
				assert.Empty(t, credentials.AbandonedCertificateIDs, "AWS has said that it did not register the first")
				return
			}
			require.Error(t, err, "a token that is never good is not asked for again and again")
			assert.ErrorContains(t, err, "ownership token is not good any more")
		})
	}
}

func TestConnectionsUnderOneClientIDAreTenSecondsApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, provisioner := provtest.OnPipes(t, fleetprov.WithClientID("device-1"), fleetprov.WithBackoff(time.Millisecond, time.Millisecond))
		for range 3 {
			server.Inject(fleetprovtest.OpConnect, fleetprovtest.Fault{Disconnect: true})
		}
		_, err := provisioner.Provision(t.Context(), nil)
		require.NoError(t, err)
		var last time.Time
		for _, request := range server.Requests() {
			if request.Op != fleetprovtest.OpConnect {
				continue
			}
			if !last.IsZero() {
				assert.GreaterOrEqual(t, request.Time.Sub(last), 10*time.Second)
			}
			last = request.Time
		}
	})
}

func TestProgressTellsTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var waits []fleetprov.Progress
		server, provisioner := provtest.OnPipes(t, fleetprov.WithBackoff(time.Second, time.Second),
			fleetprov.WithProgress(func(_ context.Context, p fleetprov.Progress) {
				if p.Wait > 0 {
					waits = append(waits, p)
				}
			}))
		server.Inject(fleetprovtest.OpCreateKeysAndCertificate, throttled)
		_, err := provisioner.Provision(t.Context(), nil)
		require.NoError(t, err)
		require.Len(t, waits, 1)
		assert.Equal(t, fleetprov.OpCreateKeysAndCertificate, waits[0].Op)
		assert.Equal(t, 1, waits[0].Attempt)
		assert.Equal(t, time.Second, waits[0].Wait)
		assert.Error(t, waits[0].Err)
	})
}

func TestTheLogTellsTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log lockedBuffer
		server, provisioner := provtest.OnPipes(t, fleetprov.WithBackoff(time.Second, time.Second),
			fleetprov.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
		server.Inject(fleetprovtest.OpCreateKeysAndCertificate, throttled)
		_, err := provisioner.Provision(t.Context(), nil)
		require.NoError(t, err)
		var told []string
		for line := range strings.Lines(log.String()) {
			if strings.Contains(line, `msg="will try again"`) {
				told = append(told, line)
			}
		}
		require.Len(t, told, 1)
		for _, says := range []string{"level=INFO", "op=CreateKeysAndCertificate", "attempt=1", "wait=1s", "Rate exceeded"} {
			assert.Contains(t, told[0], says)
		}
	})
}

// A service that is down is not hammered on, and a device does not give up.
func TestAServiceThatIsDownForAnHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := time.Now().Add(time.Hour)
		attempts := 0
		var lastHalf int
		server := fleetprovtest.NewUnstartedServer()
		server.Listener.Close()
		listener := fleetprovtest.NewPipeListener()
		server.Listener = listener
		server.Start()
		t.Cleanup(server.Close)
		provisioner := provtest.NewProvisioner(t, server, fleetprov.WithDialer(func(ctx context.Context, network, address string) (net.Conn, error) {
			if time.Now().Before(up) {
				attempts++
				if time.Until(up) < 30*time.Minute {
					lastHalf++
				}
				return nil, errors.New("no network")
			}
			return listener.Dial(ctx, network, address)
		}))
		_, err := provisioner.Provision(t.Context(), nil)
		require.NoError(t, err)
		assert.LessOrEqual(t, lastHalf, 30, "at most one attempt a minute")
		assert.Less(t, time.Since(up), 5*time.Minute)
	})
}
