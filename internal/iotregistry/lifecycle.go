package iotregistry

import (
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
)

// Issue adds a certificate that waits for its registration with token.
func (r *Registry) Issue(certificate *x509.Certificate, token string) Certificate {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := &Certificate{
		ID:       CertificateID(certificate),
		X509:     certificate,
		Token:    token,
		IssuedAt: r.now(),
		Status:   PendingActivation,
	}
	r.certificates.add(c)
	r.keep(Change{Certificate: newCertificateChange(c)})
	return *c
}

// Redeem returns the certificate that a token belongs to. A token is good for its whole
// lifetime, so that a device whose answer was lost can ask again, unless the [Rules] say
// otherwise.
func (r *Registry) Redeem(token string) (Certificate, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.expireLocked()
	c := r.certificates.byToken[token]
	if c == nil || r.spentLocked(c) {
		return Certificate{}, ErrToken
	}
	return c.clone(), nil
}

// Status returns the status of a certificate, which may be the claim. It is "" for one
// that is not known.
func (r *Registry) Status(id string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.statusLocked(id)
}

func (r *Registry) statusLocked(id string) string {
	r.expireLocked()
	if c := r.certificates.byID[id]; c != nil {
		return c.Status
	}
	if id == r.claim.id {
		return r.claim.status
	}
	return ""
}

// SetStatus gives a certificate, which may be the claim, a status other than
// [PendingActivation]. The id may be in upper case.
func (r *Registry) SetStatus(id, status string) error {
	id = strings.ToLower(id)
	if !slices.Contains([]string{Active, Inactive, Revoked}, status) {
		return fmt.Errorf("the status of a certificate cannot be set to %q, only to ACTIVE, INACTIVE or REVOKED", status)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.expireLocked()
	if c := r.certificates.byID[id]; c != nil {
		c.Status = status
		r.keep(Change{Certificate: newCertificateChange(c)})
		return nil
	}
	if id == r.claim.id {
		r.claim.status = status
		r.keep(Change{ClaimStatus: status})
		return nil
	}
	return noSuchCertificate(id)
}

// Delete deletes a certificate and detaches it from its thing. The id may be in upper
// case. The claim cannot be deleted.
func (r *Registry) Delete(id string) error {
	id = strings.ToLower(id)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.expireLocked()
	c := r.certificates.byID[id]
	if c == nil {
		return noSuchCertificate(id)
	}
	r.deleteLocked(c)
	r.keep(Change{DeletedCertificate: id})
	return nil
}

func (r *Registry) deleteLocked(c *Certificate) {
	r.certificates.delete(c)
	r.things.detach(c.ThingName, c.ID)
}

func noSuchCertificate(id string) error { return fmt.Errorf("there is no certificate %s", id) }
