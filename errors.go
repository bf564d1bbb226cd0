package fleetprov

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/fleetprov/fleetprov/internal/diagnosis"
	"github.com/fleetprov/fleetprov/internal/exchange"
	"github.com/fleetprov/fleetprov/internal/mqttsession"
	"github.com/fleetprov/fleetprov/internal/pfx"
	"github.com/fleetprov/fleetprov/internal/proxy"
)

// Op is a step of provisioning.
type Op string

// The steps, in the order they are taken. AWS's operations are spelled as AWS
// spells them.
const (
	OpPrepare                  Op = "Prepare" // before any network traffic
	OpConnect                  Op = "Connect" // dial, TLS handshake, CONNECT, CONNACK
	OpSubscribe                Op = "Subscribe"
	OpCreateKeysAndCertificate Op = "CreateKeysAndCertificate"
	OpCreateCertificateFromCSR Op = "CreateCertificateFromCsr"
	OpRegisterThing            Op = "RegisterThing"
	OpVerify                   Op = "Verify" // connecting with the new certificate
	OpStore                    Op = "Store"
)

// Error is every failure of [Provisioner.Provision], [Provisioner.Ensure] and
// [Provisioner.Renew]. It says which step failed;
// what it wraps says why, and can be asked for with [errors.Is] and [errors.As].
type Error struct {
	Op            Op
	CertificateID string // of the certificate AWS had issued by then, or empty
	Attempts      int    // how often provisioning was tried; 0 if it failed before
	Err           error
}

// Error is one line: the step, what happened, and what to do next.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "fleetprov: %s: %v", e.Op, e.Err)
	if e.Attempts > 1 {
		fmt.Fprintf(&b, " (after %d attempts)", e.Attempts)
	}
	if e.CertificateID != "" {
		fmt.Fprintf(&b, " (certificate %s)", e.CertificateID)
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// RejectedError is an operation that AWS IoT answered on its rejected topic. The
// fields hold AWS's words as they came; any of them may be missing. AWS
// publishes no complete list of codes: look at StatusCode first (AWS developer
// guide, "fleet-provision-api").
type RejectedError struct {
	StatusCode int
	Code       string // errorCode
	Message    string // errorMessage
}

// newRejectedError gives AWS's words their public form. An answer that is not in the
// documented form stays [ErrBadResponse].
func newRejectedError(rejection *exchange.Rejection, err error) error {
	rejected := &RejectedError{rejection.StatusCode, rejection.Code, rejection.Message}
	if errors.Is(err, ErrBadResponse) {
		return fmt.Errorf("%w (%w)", rejected, ErrBadResponse)
	}
	return rejected
}

// maxQuoted bounds how much of AWS's words goes into an error text, in bytes.
const maxQuoted = 512

// Error quotes AWS's words, cut at 512 bytes each.
func (e *RejectedError) Error() string {
	var b strings.Builder
	b.WriteString("AWS IoT rejected the request")
	if e.StatusCode != 0 {
		fmt.Fprintf(&b, " with status %d", e.StatusCode)
	}
	if e.Code != "" {
		fmt.Fprintf(&b, ", code %s", quoted(e.Code))
	}
	if e.Message != "" {
		fmt.Fprintf(&b, ": %s", quoted(e.Message))
	}
	return b.String()
}

func quoted(words string) string {
	if len(words) > maxQuoted {
		return fmt.Sprintf("%q…", words[:maxQuoted])
	}
	return fmt.Sprintf("%q", words)
}

// The errors a caller branches on. Test for them with [errors.Is].
var (
	// ErrIncorrectPassword is a PFX file that its password does not open. A
	// damaged file can look the same.
	ErrIncorrectPassword = pfx.ErrIncorrectPassword

	// ErrNotAuthorized is AWS IoT refusing the certificate in the TLS
	// handshake, or the connection or a subscription under the certificate's
	// policy. A refused operation is a [*RejectedError].
	ErrNotAuthorized = diagnosis.ErrNotAuthorized

	// ErrConnectionLost is a connection that was closed or broke. AWS IoT also
	// closes the connection, without a word, when the certificate's policy
	// forbids what was asked.
	ErrConnectionLost = diagnosis.ErrConnectionLost

	// ErrBadResponse is an answer that is not what AWS IoT documents.
	ErrBadResponse = exchange.ErrBadResponse

	// ErrClock is a certificate that is not valid yet: the device's clock is
	// behind. It passes when the clock is set.
	ErrClock = diagnosis.ErrClock
)

// Retryable reports whether another attempt could succeed where err failed,
// with nothing changed but time: a network failure, a lost connection, a step's
// timeout, a wrong clock, a throttled request (429) or a failure inside AWS
// (5xx). It is false for everything else, for nil, and for the end of the
// caller's own context, which only the caller can lift.
func Retryable(err error) bool {
	var (
		rejected *RejectedError
		refused  *mqttsession.ConnackError
		invalid  x509.CertificateInvalidError
		refusal  *proxy.RefusedError
		network  *net.OpError
		lookup   *net.DNSError
		failure  *Error
		expired  *diagnosis.ExpiredError
	)
	switch {
	case err == nil, errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), errors.As(err, &expired):
		return false
	case errors.As(err, &failure) && failure.Op == OpStore:
		return false // a write has been repeated by then
	case errors.As(err, &rejected):
		return rejected.retryable()
	case errors.Is(err, ErrClock):
		return true
	case errors.Is(err, ErrNotAuthorized), errors.Is(err, ErrBadResponse), errors.Is(err, ErrIncorrectPassword), errors.As(err, &invalid):
		return false
	case errors.As(err, &refused):
		return refused.Code == mqttsession.ConnackServerUnavailable
	case errors.Is(err, ErrConnectionLost), errors.Is(err, os.ErrDeadlineExceeded):
		return true
	case errors.As(err, &refusal):
		return refusal.Retryable()
	case diagnosis.IsTLSRefusal(err), errors.Is(err, proxy.ErrBadAnswer), errors.Is(err, proxy.ErrEnvironment):
		return false
	case errors.As(err, &network), errors.As(err, &lookup):
		return true
	default:
		// Only the dialer knows what its own errors mean: a modem that is off now may
		// be on later.
		return errors.As(err, &failure) && failure.Op == OpConnect
	}
}

// retryable looks at the code only where there is no status.
func (e *RejectedError) retryable() bool {
	switch {
	case e.StatusCode == 429 || e.StatusCode >= 500:
		return true
	case e.StatusCode != 0:
		return false
	}
	return e.is("Throttled", "Throttling", "ThrottlingException", "TooManyRequests", "TooManyRequestsException",
		"InternalError", "InternalFailure", "InternalFailureException", "InternalServerException",
		"ServiceUnavailable", "ServiceUnavailableException")
}

// tokenLifetime is how long an ownership token is good (AWS developer guide,
// "fleet-provision-api").
const tokenLifetime = time.Hour

// tokenRefused reports whether a registration failed because its ownership token, of
// that age, is no longer good. The age is a hint only, since clocks jump: a token is
// tried whatever its age.
func tokenRefused(err error, age time.Duration) bool {
	var rejected *RejectedError
	if !errors.As(err, &rejected) {
		return false
	}
	return rejected.is("InvalidCertificateOwnershipToken") ||
		rejected.StatusCode == http.StatusBadRequest && (age > tokenLifetime || age < 0)
}

// is compares codes as AWS spells them, which it does in more than one way.
func (e *RejectedError) is(codes ...string) bool {
	plain := strings.ReplaceAll(e.Code, "_", "")
	return slices.ContainsFunc(codes, func(code string) bool { return strings.EqualFold(plain, code) })
}

// join joins two errors on one line.
func join(a, b error) error {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	return fmt.Errorf("%w; %w", a, b)
}
