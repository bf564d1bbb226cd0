package diagnosis

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/fleetprov/fleetprov/internal/tlsdial"
)

// dial says what kept a connection from being opened. What the network and a proxy
// say is left as it is.
func dial(hints Hints, err error, now time.Time) error {
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
		return refusedCertificate(hints, err)
	case IsTLSRefusal(err):
		return err
	default:
		return fmt.Errorf("%w: %w; check the endpoint and its port, and that nothing on the way filters TLS", ErrConnectionLost, err)
	}
}

func refusedCertificate(hints Hints, err error) error {
	return fmt.Errorf("%w: the server refused the certificate: %s: %w", ErrNotAuthorized, hints.Refused(), err)
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

// remoteAlert returns the text of the alert the server sent, or "". crypto/tls does
// not export the type it gives it, so only the text can be compared.
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

// IsTLSRefusal reports whether one of the two sides found the other's TLS
// unacceptable, which time does not change.
func IsTLSRefusal(err error) bool {
	var (
		verification *tls.CertificateVerificationError
		alert        *net.OpError
	)
	return errors.As(err, &verification) ||
		errors.As(err, &alert) && (alert.Op == "local error" || alert.Op == "remote error") && alert.Err.Error() != alertInternalError.Error()
}
