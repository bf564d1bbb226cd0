package fleetprov

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"time"

	"github.com/fleetprov/fleetprov/internal/exchange"
	"github.com/fleetprov/fleetprov/internal/mqttsession"
	"github.com/fleetprov/fleetprov/internal/tlsdial"
)

// dialError is a connection that was not opened.
type dialError struct{ err error }

func (e *dialError) Error() string { return e.err.Error() }
func (e *dialError) Unwrap() error { return e.err }

// diagnoseDial names what kept a connection from being opened. What the network
// and a proxy say is left as it is.
func diagnoseDial(err error, now time.Time) error {
	var handshake *tlsdial.HandshakeError
	if !errors.As(err, &handshake) {
		return err
	}
	var (
		invalid   x509.CertificateInvalidError
		authority x509.UnknownAuthorityError
		host      x509.HostnameError
		plain     tls.RecordHeaderError
	)
	switch {
	case errors.As(err, &invalid) && now.Before(invalid.Cert.NotBefore):
		return notYetValid("the server's certificate", invalid.Cert, now, err)
	case errors.As(err, &authority):
		return fmt.Errorf("%w; the server's certificate does not chain to a trusted root: check the endpoint (aws iot describe-endpoint --endpoint-type iot:Data-ATS), or give the roots of a custom domain with WithRootCAs", err)
	case errors.As(err, &host):
		return fmt.Errorf("%w; check the endpoint", err)
	case errors.As(err, &invalid):
		return fmt.Errorf("%w; check the device's clock and the endpoint", err)
	case errors.As(err, &plain):
		return fmt.Errorf("%w; check the endpoint and its port, and that the network asks for no login", err)
	case isClaimAlert(err):
		return refusedCertificate(err)
	case isTLSRefusal(err):
		return err
	default:
		return fmt.Errorf("%w: %w; check the endpoint and its port, and that nothing on the way filters TLS", ErrConnectionLost, err)
	}
}

func refusedCertificate(err error) error {
	return fmt.Errorf("%w: the server refused the certificate: check that it is registered and active in the account and region of the endpoint: %w", ErrNotAuthorized, err)
}

// claimAlerts are the TLS alerts about the certificate a client presented.
var claimAlerts = []tls.AlertError{
	42,  // bad_certificate
	43,  // unsupported_certificate
	44,  // certificate_revoked
	45,  // certificate_expired
	46,  // certificate_unknown
	48,  // unknown_ca
	49,  // access_denied
	51,  // decrypt_error
	116, // certificate_required
}

const alertInternalError = tls.AlertError(80)

// remoteAlert returns the text of the alert the server sent, or "". The type
// crypto/tls gives it is not exported, so that only the text can be compared.
func remoteAlert(err error) string {
	var alert *net.OpError
	if errors.As(err, &alert) && alert.Op == "remote error" {
		return alert.Err.Error()
	}
	return ""
}

func isClaimAlert(err error) bool {
	text := remoteAlert(err)
	return slices.ContainsFunc(claimAlerts, func(alert tls.AlertError) bool { return alert.Error() == text })
}

// isTLSRefusal reports whether one of the two sides found the other's TLS
// unacceptable, which time does not change.
func isTLSRefusal(err error) bool {
	var (
		verification *tls.CertificateVerificationError
		alert        *net.OpError
	)
	return errors.As(err, &verification) ||
		errors.As(err, &alert) && (alert.Op == "local error" || alert.Op == "remote error") && alert.Err.Error() != alertInternalError.Error()
}

// diagnoseSession names what ended a step on an open connection. hint says what
// explains a connection that is closed without a word.
func diagnoseSession(err error, hint string) error {
	var (
		connack   *mqttsession.ConnackError
		suback    *mqttsession.SubackError
		rejection *exchange.Rejection
	)
	switch {
	case errors.As(err, &rejection):
		rejected := &RejectedError{rejection.StatusCode, rejection.Code, rejection.Message}
		if errors.Is(err, ErrBadResponse) {
			return fmt.Errorf("%w (%w)", rejected, ErrBadResponse)
		}
		return rejected
	case errors.Is(err, ErrBadResponse):
		return err
	case errors.Is(err, mqttsession.ErrProtocol):
		return fmt.Errorf("%w: %w", ErrBadResponse, err)
	case errors.As(err, &connack):
		if connack.Code == mqttsession.ConnackNotAuthorized || connack.Code == mqttsession.ConnackNotAuthorizedAWS {
			return fmt.Errorf("%w: %w; %s", ErrNotAuthorized, err, hint)
		}
		return err
	case errors.As(err, &suback):
		return fmt.Errorf("%w: %w; %s", ErrNotAuthorized, err, hint)
	case isClaimAlert(err):
		// With TLS 1.3 the verdict on the client's certificate comes after the
		// client has ended its handshake.
		return refusedCertificate(err)
	default:
		return fmt.Errorf("%w: %w; %s", ErrConnectionLost, err, hint)
	}
}

// timeoutError is the end of a step's own time.
type timeoutError struct {
	after time.Duration
	hint  string
}

func (e *timeoutError) Error() string {
	return fmt.Sprintf("no answer within %v; %s", e.after, e.hint)
}

func (*timeoutError) Is(target error) bool { return target == os.ErrDeadlineExceeded }
func (*timeoutError) Timeout() bool        { return true }
func (*timeoutError) Temporary() bool      { return true }

// foreignContext is the end of a context that is not the caller's: one of a
// dialer's own. It is a timeout, and hides the context errors, which mean that
// the caller's context ended.
type foreignContext struct{ err error }

func (e *foreignContext) Error() string      { return e.err.Error() }
func (e *foreignContext) As(target any) bool { return errors.As(e.err, target) }
func (e *foreignContext) Is(target error) bool {
	switch target {
	case os.ErrDeadlineExceeded:
		return true
	case context.Canceled, context.DeadlineExceeded:
		return false
	default:
		return errors.Is(e.err, target)
	}
}
