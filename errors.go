package fleetprov

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/fleetprov/fleetprov/internal/diagnosis"
	"github.com/fleetprov/fleetprov/internal/exchange"
	"github.com/fleetprov/fleetprov/internal/keys"
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
// [Provisioner.Renew], and of a [Manager], but for settings that [New] refuses and the
// end of the context of [Manager.Run]. It says which step failed;
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

	// shown is what Error quotes in place of the fields, if they hold the value of a
	// parameter.
	shown *RejectedError
}

// newRejectedError gives AWS's words their public form. An answer that is not in the
// documented form stays [ErrBadResponse].
func newRejectedError(rejection *exchange.Rejection, err error, parameters map[string]string) error {
	rejected := &RejectedError{StatusCode: rejection.StatusCode, Code: rejection.Code, Message: rejection.Message}
	masks := masksOf(parameters)
	shown := &RejectedError{StatusCode: rejected.StatusCode, Code: masks.Replace(rejected.Code), Message: masks.Replace(rejected.Message)}
	if *shown != *rejected {
		rejected.shown = shown
	}
	if errors.Is(err, ErrBadResponse) {
		return fmt.Errorf("%w (%w)", rejected, ErrBadResponse)
	}
	return rejected
}

// isRefused reports whether AWS has said in its own words that it did not do what it
// was asked. A failure inside AWS does not say so.
func isRefused(err error) bool {
	rejected := new(RejectedError)
	return errors.As(err, &rejected) && !errors.Is(err, ErrBadResponse) && !rejected.rejection().Internal()
}

// isRefusedByServer reports whether a connection failed because the server did not want
// it. AWS IoT closes it without a word where a certificate is unknown or not active. A
// connection that broke in another way says nothing of the certificate.
func isRefusedByServer(err error) bool {
	return errors.Is(err, ErrNotAuthorized) || errors.Is(err, ErrClosedOnConnect)
}

// minMasked is how long a parameter's value is that is masked, in bytes. A shorter one
// would take too much out of AWS's words.
const minMasked = 4

// masksOf puts the names of parameters, in angle brackets, in the place of their
// values.
func masksOf(parameters map[string]string) *strings.Replacer {
	names := slices.Collect(maps.Keys(parameters))
	// Of two values that begin alike the longer one is looked for first.
	slices.SortFunc(names, func(a, b string) int { return len(parameters[b]) - len(parameters[a]) })
	var pairs []string
	for _, name := range names {
		if value := parameters[name]; len(value) >= minMasked {
			for _, form := range formsOf(value) {
				pairs = append(pairs, form, "<"+name+">")
			}
		}
	}
	return strings.NewReplacer(pairs...)
}

// formsOf returns a value as it is, and as JSON may quote it: with escapes only where
// they must be, for HTML too, and for all that is not ASCII too.
func formsOf(value string) []string {
	quote := func(escapeHTML bool) string {
		var text strings.Builder
		encoder := json.NewEncoder(&text)
		encoder.SetEscapeHTML(escapeHTML)
		_ = encoder.Encode(value) // a string has no other way
		return text.String()[len(`"`) : text.Len()-len("\"\n")]
	}
	var ascii strings.Builder
	for _, unit := range utf16.Encode([]rune(quote(false))) {
		if unit < utf8.RuneSelf {
			ascii.WriteByte(byte(unit))
		} else {
			fmt.Fprintf(&ascii, `\u%04x`, unit)
		}
	}
	return []string{value, quote(false), quote(true), ascii.String()}
}

func (e *RejectedError) rejection() *exchange.Rejection {
	return &exchange.Rejection{StatusCode: e.StatusCode, Code: e.Code, Message: e.Message}
}

// retryable looks at the code before the status: AWS's model gives throttling 400.
func (e *RejectedError) retryable() bool {
	r := e.rejection()
	return r.Throttled() || r.Conflicting() || r.Internal()
}

// maxQuoted bounds how much of AWS's words goes into an error text, in bytes.
const maxQuoted = 512

// Error quotes AWS's words, cut at 512 bytes each. The value of a parameter of four
// bytes or more is replaced by its name in angle brackets.
func (e *RejectedError) Error() string {
	if e.shown != nil {
		return e.shown.Error()
	}
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

	// ErrClosedOnConnect is a connection that the server closed, in order, between
	// CONNECT and its answer. It is ErrConnectionLost too, and is tried again. AWS IoT
	// was seen to do so with a certificate that is unknown, inactive or without a
	// policy, and with a client id that the policy does not allow; where it says the
	// same in TLS or in CONNACK, it is ErrNotAuthorized. When too many devices connect at
	// once, it is likely to close connections so, too.
	ErrClosedOnConnect = diagnosis.ErrClosedOnConnect

	// ErrBadResponse is an answer that is not what AWS IoT documents.
	ErrBadResponse = exchange.ErrBadResponse

	// ErrClock is a certificate that is not valid yet, or one of the server's or a
	// new one that has expired already: the device's clock is wrong. It passes when
	// the clock is set.
	ErrClock = diagnosis.ErrClock

	// ErrKeyMissing is a private key in hardware that is not there. ErrKeyMismatch is
	// one that is not the key of the certificate it is wanted for.
	ErrKeyMissing  = keys.ErrMissing
	ErrKeyMismatch = keys.ErrMismatch

	// ErrRenewalDue is the cause for which the context of a session of [Manager.Run]
	// ends when the device's certificate is to be renewed:
	// errors.Is(context.Cause(ctx), ErrRenewalDue).
	ErrRenewalDue = errors.New("the device's certificate is to be renewed")
)

// Retryable reports whether another attempt could succeed where err failed, with nothing
// changed but time. It is true for a network failure, a lost connection, a step's
// timeout, a wrong clock, CONNACK 3 (server unavailable), a throttled request, another
// change of the same thing that is under way, a failure inside AWS (5xx), an answer to
// RegisterThing that cannot be read, a proxy that is overloaded or cannot reach the
// endpoint, a [Keyring] that did not answer, and what a dialer says that this package
// does not know. It is false for everything else, for nil, and for the end of the
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
		token    *keys.TokenError
	)
	switch {
	case err == nil, errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), errors.As(err, &expired):
		return false
	case errors.As(err, &token):
		return true
	case errors.As(err, &failure) && failure.Op == OpStore:
		return false // a write has been repeated by then
	case errors.As(err, &rejected):
		return rejected.retryable() || errors.Is(err, ErrBadResponse) && mayBeRegistered(failure)
	case errors.Is(err, ErrClock):
		return true
	case errors.Is(err, ErrBadResponse):
		return mayBeRegistered(failure)
	case errors.Is(err, ErrNotAuthorized), errors.Is(err, ErrIncorrectPassword), errors.As(err, &invalid):
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

// mayBeRegistered reports whether a step failed after which the certificate may be
// active, so that it is registered again rather than given up.
func mayBeRegistered(failure *Error) bool { return failure != nil && failure.Op == OpRegisterThing }

// isKeyGone reports whether a private key in hardware is missing or another one, which a
// keyring that does not answer is not.
func isKeyGone(err error) bool {
	return errors.Is(err, ErrKeyMissing) || errors.Is(err, ErrKeyMismatch)
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
	return rejected.rejection().TokenRefused() ||
		rejected.StatusCode == http.StatusBadRequest && (age > tokenLifetime || age < 0)
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
