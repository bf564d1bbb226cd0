package fleetprov

import (
	"crypto/x509"
	"fmt"
	"time"
)

// checkValidity tells a clock that is behind from a claim that is too old.
func (p *Provisioner) checkValidity() error {
	now, leaf := p.now(), p.claim.leaf
	switch {
	case now.Before(leaf.NotBefore):
		return notYetValid("the claim", leaf, now, x509.CertificateInvalidError{Cert: leaf, Reason: x509.Expired})
	case now.After(leaf.NotAfter):
		return p.expired()
	default:
		return nil
	}
}

// expired is the end of the claim, which is final. A claim issued to a trusted
// user lives for five minutes, and may end in the middle of a run (AWS developer
// guide, "provision-wo-cert").
func (p *Provisioner) expired() error {
	leaf := p.claim.leaf
	return &expiredError{fmt.Errorf("the claim expired on %s: the device needs a new one: %w", leaf.NotAfter.UTC().Format(time.RFC3339),
		x509.CertificateInvalidError{Cert: leaf, Reason: x509.Expired})}
}

// now is the time certificates are judged by.
func (p *Provisioner) now() time.Time {
	if p.tlsConfig != nil && p.tlsConfig.Time != nil {
		return p.tlsConfig.Time()
	}
	return time.Now()
}

// expiredError is the end of the claim.
type expiredError struct{ err error }

func (e *expiredError) Error() string { return e.err.Error() }
func (e *expiredError) Unwrap() error { return e.err }

// notYetValid is a certificate from the future, which is a clock in the past.
func notYetValid(whose string, certificate *x509.Certificate, now time.Time, err error) error {
	return fmt.Errorf("%w: it is %s and %s is valid from %s: set the clock: %w", ErrClock,
		now.UTC().Format(time.RFC3339), whose, certificate.NotBefore.UTC().Format(time.RFC3339), err)
}
