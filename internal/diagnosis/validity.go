package diagnosis

import (
	"crypto/x509"
	"fmt"
	"time"
)

// Validity says what keeps a claim from being used now. A clock before the claim's
// beginning is wrong ([ErrClock]); a claim past its end is [Expired]. It may be the
// device's own certificate, with which it renews that.
func Validity(claim *x509.Certificate, now time.Time, own bool) error {
	switch {
	case now.Before(claim.NotBefore):
		return notYetValid(whose(own), claim, now, x509.CertificateInvalidError{Cert: claim, Reason: x509.Expired})
	case now.After(claim.NotAfter):
		return Expired(claim, own)
	default:
		return nil
	}
}

func whose(own bool) string {
	if own {
		return "the device's certificate"
	}
	return "the claim"
}

// NewCertificate says what is wrong with the time when a certificate that AWS issued a
// moment ago has expired: the clock is ahead ([ErrClock]).
func NewCertificate(leaf *x509.Certificate, now time.Time) error {
	if !now.After(leaf.NotAfter) {
		return nil
	}
	return fmt.Errorf("%w: it is %s and the new certificate is valid until %s: set the clock, or let the account issue certificates that live longer: %w", ErrClock,
		now.UTC().Format(time.RFC3339), leaf.NotAfter.UTC().Format(time.RFC3339), x509.CertificateInvalidError{Cert: leaf, Reason: x509.Expired})
}

// Expired is the end of the claim, which is final. A claim issued to a trusted user
// lives for five minutes, and may end in the middle of a run (AWS developer guide,
// "provision-wo-cert").
func Expired(claim *x509.Certificate, own bool) error {
	return ended(claim, own, "expired on %s")
}

// Ends is [Expired] for a claim whose end is yet to come, but before the next attempt.
func Ends(claim *x509.Certificate, own bool) error {
	return ended(claim, own, "ends on %s")
}

func ended(claim *x509.Certificate, own bool, when string) error {
	advice := "the device needs a new one"
	if own {
		advice = "check the clock, or provision the device anew with a claim"
	}
	when = fmt.Sprintf(when, claim.NotAfter.UTC().Format(time.RFC3339))
	return &ExpiredError{fmt.Errorf("%s %s: %s: %w", whose(own), when, advice,
		x509.CertificateInvalidError{Cert: claim, Reason: x509.Expired})}
}

// ExpiredError is the end of the claim.
type ExpiredError struct{ Err error }

func (e *ExpiredError) Error() string { return e.Err.Error() }

// Unwrap returns what crypto/x509 would say.
func (e *ExpiredError) Unwrap() error { return e.Err }

// notYetValid is about a certificate that becomes valid in the future, which means
// that the clock is in the past.
func notYetValid(whose string, certificate *x509.Certificate, now time.Time, err error) error {
	return fmt.Errorf("%w: it is %s and %s is valid from %s: set the clock: %w", ErrClock,
		now.UTC().Format(time.RFC3339), whose, certificate.NotBefore.UTC().Format(time.RFC3339), err)
}
