package diagnosis

import (
	"context"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/fleetprov/fleetprov/internal/link"
	"github.com/fleetprov/fleetprov/internal/tlsdial"
)

// describe is the command that prints the endpoint of an account.
const describe = "aws iot describe-endpoint --endpoint-type iot:Data-ATS"

// dial says what kept a connection from being opened. What else the network and a
// proxy say is left as it is.
func dial(hints Hints, unopen *link.DialError, now time.Time) error {
	var (
		err       = unopen.Err
		handshake *tlsdial.HandshakeError
		lookup    *net.DNSError
	)
	switch {
	case errors.As(err, &handshake):
		return shake(hints, unopen, handshake, now)
	case errors.As(err, &lookup) && lookup.IsNotFound && sameHost(lookup.Name, unopen.Endpoint.Host): // and not a proxy
		return fmt.Errorf("%w; check the endpoint: %s prints it", err, describe)
	case errors.Is(err, errConnectionRefused) && unopen.Proxied:
		return fmt.Errorf("%w; check the proxy's host and port", err)
	case errors.Is(err, errConnectionRefused):
		return fmt.Errorf("%w; check the endpoint's host and port (AWS IoT has 8883 and 443), and that no firewall refuses them", err)
	default:
		return err
	}
}

func sameHost(a, b string) bool {
	return strings.EqualFold(strings.TrimSuffix(a, "."), strings.TrimSuffix(b, "."))
}

// shake says what kept TLS from being agreed on.
func shake(hints Hints, unopen *link.DialError, handshake *tlsdial.HandshakeError, now time.Time) error {
	var (
		err       = unopen.Err
		invalid   x509.CertificateInvalidError
		authority x509.UnknownAuthorityError
		host      x509.HostnameError
		plain     tls.RecordHeaderError
	)
	switch {
	case handshake.Local && unopen.KeyErr != nil:
		return unsigned(unopen)
	case handshake.Local && unopen.Unsuited != nil:
		return fmt.Errorf("%w; the server takes no signature that the certificate's key, %s, can make: the device needs a certificate for another key (AWS IoT takes RSA of at least 2048 bits, P-256, P-384 and P-521)",
			err, keyOf(unopen.Chain))
	case handshake.Local && handshake.Unsent && unopen.TLS != nil:
		return fmt.Errorf("%w; the TLS configuration of WithTLSConfig cannot be used: check its CurvePreferences, NextProtos and versions", err)
	case errors.As(err, &invalid) && now.Before(invalid.Cert.NotBefore):
		return notYetValid("the server's certificate", invalid.Cert, now, err)
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return expiredServer(unopen, invalid.Cert, now)
	case errors.As(err, &authority):
		return untrusted(unopen)
	case errors.As(err, &host), errors.As(err, &invalid):
		return fmt.Errorf("%w; check the endpoint", err)
	case errors.As(err, &plain):
		return fmt.Errorf("%w; check the endpoint and its port, and that the network asks for no login", err)
	case isClaimAlert(err):
		return refusedCertificate(hints, err)
	case handshake.Local:
		return fmt.Errorf("%w; another attempt ends in the same way: check the endpoint and its port, and what changes TLS on the way", err)
	case IsTLSRefusal(err):
		return refusedTLS(unopen)
	default:
		return fmt.Errorf("%w: %w; check the endpoint and its port, and that nothing on the way filters TLS", ErrConnectionLost, err)
	}
}

// unsigned is a handshake that the certificate's key did not sign. Crypto/tls gives
// the words of the key without the error.
func unsigned(unopen *link.DialError) error {
	said := unopen.KeyErr
	if errors.Is(said, context.Canceled) || errors.Is(said, context.DeadlineExceeded) {
		said = &foreignContext{said}
	}
	key, hint := keyOf(unopen.Chain), ""
	if strings.HasPrefix(key, "RSA") {
		hint = "; TLS 1.3 needs RSA-PSS signatures, and TLS 1.2 uses them too"
	}
	return &tlsdial.HandshakeError{Local: true, Err: fmt.Errorf("the certificate's private key, %s, did not sign: %w%s", key, said, hint)}
}

// keyOf names the kind of a certificate's key.
func keyOf(chain [][]byte) string {
	leaf, err := x509.ParseCertificate(chain[0])
	if err != nil {
		return "which nobody can read"
	}
	switch public := leaf.PublicKey.(type) {
	case *rsa.PublicKey:
		return fmt.Sprintf("RSA of %d bits", public.N.BitLen())
	case *ecdsa.PublicKey:
		return "ECDSA on " + public.Curve.Params().Name
	default:
		return leaf.PublicKeyAlgorithm.String()
	}
}

// expiredServer is a certificate of the server that is past its end. Crypto/x509 looks
// at the time before the name: under the right name it is mostly the device's clock.
func expiredServer(unopen *link.DialError, expired *x509.Certificate, now time.Time) error {
	var verification *tls.CertificateVerificationError
	if !errors.As(unopen.Err, &verification) || len(verification.UnverifiedCertificates) == 0 {
		return fmt.Errorf("%w; check the device's clock and the endpoint", unopen.Err)
	}
	leaf := verification.UnverifiedCertificates[0]
	if leaf.VerifyHostname(unopen.Endpoint.Host) != nil {
		return fmt.Errorf("%w; nor is the certificate for %s: check the endpoint, and the device's clock", unopen.Err, unopen.Endpoint.Host)
	}
	whose := "the server's certificate"
	if !expired.Equal(leaf) {
		whose = "a certificate that the server's chains to"
	}
	return fmt.Errorf("%w: it is %s and %s was valid until %s: the clock is ahead, or the certificate really has expired: %w", ErrClock,
		now.UTC().Format(time.RFC3339), whose, expired.NotAfter.UTC().Format(time.RFC3339), unopen.Err)
}

func refusedCertificate(hints Hints, err error) error {
	return fmt.Errorf("%w: the server refused the certificate: %s: %w", ErrNotAuthorized, hints.Refused(), err)
}

// refusedTLS is an alert of the server that is not about the device's certificate: it
// takes nothing of what this side offers.
func refusedTLS(unopen *link.DialError) error {
	err := unopen.Err
	alert := remoteAlert(err)
	if fields := refusedFields(unopen, alert); fields != nil {
		return fmt.Errorf("%w; the server takes nothing that the TLS configuration of WithTLSConfig allows: check its %s", err, strings.Join(fields, " and "))
	}
	switch alert {
	case alertNoProtocol.Error():
		return fmt.Errorf("%w; the server takes no MQTT there (ALPN): check the endpoint and its port (AWS IoT has 8883 and 443)", err)
	case alertUnknownName.Error():
		return fmt.Errorf("%w; the server does not know the name %s (SNI): check the endpoint", err, unopen.Endpoint.Host)
	default:
		return fmt.Errorf("%w; check the endpoint and its port, and what changes TLS on the way", err)
	}
}

// refusedFields are the fields of the caller's TLS configuration that an alert may be
// about, of those that are in use.
func refusedFields(unopen *link.DialError, alert string) (fields []string) {
	c := unopen.TLS
	if c == nil {
		return nil
	}
	inUse := func(name string, set bool, alerts ...tls.AlertError) {
		if set && slices.ContainsFunc(alerts, func(a tls.AlertError) bool { return a.Error() == alert }) {
			fields = append(fields, name)
		}
	}
	inUse("CurvePreferences", c.CurvePreferences != nil, alertHandshakeFailure)
	inUse("CipherSuites", c.CipherSuites != nil, alertHandshakeFailure)
	inUse("MinVersion", c.MinVersion != 0, alertProtocolVersion)
	inUse("MaxVersion", c.MaxVersion != 0, alertHandshakeFailure, alertProtocolVersion)
	inUse("NextProtos", c.NextProtos != nil && !unopen.Endpoint.HasALPN(), alertNoProtocol)
	return fields
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

// Other alerts.
const (
	alertHandshakeFailure = tls.AlertError(40)
	alertProtocolVersion  = tls.AlertError(70)
	alertInternalError    = tls.AlertError(80)
	alertUnknownName      = tls.AlertError(112)
	alertNoProtocol       = tls.AlertError(120)
)

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
		handshake    *tlsdial.HandshakeError
		alert        *net.OpError
	)
	return errors.As(err, &verification) ||
		errors.As(err, &handshake) && handshake.Local ||
		errors.As(err, &alert) && (alert.Op == "local error" || alert.Op == "remote error") && alert.Err.Error() != alertInternalError.Error()
}
