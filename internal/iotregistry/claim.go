package iotregistry

import (
	"crypto/x509"
	"time"

	"github.com/fleetprov/fleetprov/internal/iotpolicy"
)

// claims are the certificates that devices provision themselves with and that are not
// among the certificates. The Registry's mutex guards them.
type claims struct {
	id, status string // of the one that the account has from the beginning
	temporary  map[string]temporaryClaim
}

// temporaryClaim is a claim for a device that is being installed (provision-wo-cert,
// "provisioning by trusted user").
type temporaryClaim struct {
	template string // the only one that it can be used for
	expires  time.Time
}

func newClaims() claims {
	return claims{status: Active, temporary: make(map[string]temporaryClaim)}
}

// status returns the status of a claim, or "".
func (s *claims) statusOf(id string) string {
	if id == s.id {
		return s.status
	}
	if _, exists := s.temporary[id]; exists {
		return Active
	}
	return ""
}

func (s *claims) expire(now time.Time) {
	for id, claim := range s.temporary {
		if !now.Before(claim.expires) {
			delete(s.temporary, id)
		}
	}
}

// SetClaim makes the certificate with that id the claim that the account has from the
// beginning. Its status stays as it is.
func (r *Registry) SetClaim(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.claims.id = id
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

// claimPoliciesLocked returns the policies of a claim. A temporary one is bound to its
// template.
func (r *Registry) claimPoliciesLocked(id string) []*iotpolicy.Document {
	if claim, temporary := r.claims.temporary[id]; temporary {
		if t, exists := r.templates.byName[claim.template]; exists {
			return []*iotpolicy.Document{t.claim}
		}
		return nil
	}
	if r.policies.claim != nil {
		return []*iotpolicy.Document{r.policies.claim}
	}
	var all []*iotpolicy.Document
	for _, t := range r.templates.byName {
		all = append(all, t.claim)
	}
	return all
}
