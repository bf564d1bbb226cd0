package iotregistry

import (
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Issue adds a certificate that waits for its registration with token. It fails if it is
// there already.
func (r *Registry) Issue(certificate *x509.Certificate, token string) (Certificate, error) {
	return r.add(&Certificate{X509: certificate, Token: token, Status: PendingActivation})
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
	return r.claims.statusOf(id)
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
	if id == r.claims.id {
		r.claims.status = status
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
	r.things.detach(c.ID)
}

// Add adds a certificate that waits for no registration. It fails if it is there already.
func (r *Registry) Add(certificate *x509.Certificate, status string) (Certificate, error) {
	return r.add(&Certificate{X509: certificate, Status: status})
}

// add completes a certificate that is issued now.
func (r *Registry) add(c *Certificate) (Certificate, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c.ID, c.IssuedAt = CertificateID(c.X509), r.now()
	if r.statusLocked(c.ID) != "" {
		return Certificate{}, refuse(resourceAlreadyExists, "The certificate is already registered (certificate id: %s)", c.ID)
	}
	r.certificates.add(c)
	r.keep(Change{Certificate: newCertificateChange(c)})
	return c.clone(), nil
}

// Certificate returns the certificate with an id, which may be in upper case. Claims are
// not among the certificates.
func (r *Registry) Certificate(id string) (Certificate, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.expireLocked()
	c, err := r.certificates.get(id)
	if err != nil {
		return Certificate{}, err
	}
	return c.clone(), nil
}

// DeleteUnused deletes a certificate that is not active and to which nothing is attached.
// With force, policies may be attached to it (API_DeleteCertificate).
func (r *Registry) DeleteUnused(id string, force bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.expireLocked()
	c, err := r.certificates.get(id)
	switch {
	case err != nil:
		return err
	case c.Status == Active:
		return refuse(certificateState, "Certificate must be deactivated (not ACTIVE) before deletion. Id: %s", c.ID)
	case len(r.things.of(c.ID)) > 0:
		return refuse(deleteConflict, "Things must be detached before deletion (certificate id: %s)", c.ID)
	case len(c.Policies) > 0 && !force:
		return refuse(deleteConflict, "Certificate policies must be detached before deletion (certificate id: %s)", c.ID)
	}
	r.deleteLocked(c)
	r.keep(Change{DeletedCertificate: c.ID})
	return nil
}

// AddTemporaryClaim adds a claim that can be used for one template until it expires. The
// registry forgets it then, and does not keep it as a [Change].
func (r *Registry) AddTemporaryClaim(certificate *x509.Certificate, template string, expires time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, exists := r.templates.byName[template]; !exists {
		return noSuchTemplate(template)
	}
	r.claims.temporary[CertificateID(certificate)] = temporaryClaim{template, expires}
	return nil
}

func noSuchCertificate(id string) error { return fmt.Errorf("there is no certificate %s", id) }
