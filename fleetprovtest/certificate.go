package fleetprovtest

import (
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
)

// The statuses of a certificate, spelled as AWS spells them. A client can connect
// only with a certificate that is active.
const (
	StatusPendingActivation = "PENDING_ACTIVATION"
	StatusActive            = "ACTIVE"
	StatusInactive          = "INACTIVE"
	StatusRevoked           = "REVOKED"
)

// Certificate is a certificate that the server has issued.
type Certificate struct {
	ID          string // hex of the SHA-256 of the DER form
	Status      string // [StatusPendingActivation], [StatusActive], [StatusInactive] or [StatusRevoked]
	ThingName   string // "" until registered
	Certificate *x509.Certificate
}

// Certificates returns the certificates in the order in which they were issued,
// without those that have disappeared with their token or were deleted. The claim is
// not among them.
func (s *Server) Certificates() []Certificate {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.registry.expire(s.now())
	var certificates []Certificate
	for _, c := range s.registry.certificates {
		certificates = append(certificates, Certificate{
			ID:          c.id,
			Status:      c.status,
			ThingName:   c.thingName,
			Certificate: c.certificate,
		})
	}
	return certificates
}

// UpdateCertificate gives a certificate, which may be the claim, a new status:
// [StatusActive], [StatusInactive] or [StatusRevoked]. The last two end the
// connections made with it. It fails if there is no such certificate or status.
func (s *Server) UpdateCertificate(id, status string) error {
	id = strings.ToLower(id)
	if !slices.Contains([]string{StatusActive, StatusInactive, StatusRevoked}, status) {
		return fmt.Errorf("fleetprovtest: the status of a certificate cannot be set to %q, only to ACTIVE, INACTIVE or REVOKED", status)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.registry.expire(s.now())
	if c := s.registry.byID[id]; c != nil {
		c.status = status
		s.keepLocked(c.record())
	} else if id == certificateID(s.claim.Leaf) {
		s.registry.claimStatus = status
		s.keepLocked(stateRecord{ClaimStatus: status})
	} else {
		return fmt.Errorf("fleetprovtest: there is no certificate %s", id)
	}
	if status != StatusActive {
		s.dropLocked(id, "its certificate has become "+status)
	}
	return nil
}

// DeleteCertificate deletes a certificate that the server has issued, and ends the
// connections made with it. It fails if there is none; the claim cannot be deleted.
func (s *Server) DeleteCertificate(id string) error {
	id = strings.ToLower(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.registry.expire(s.now())
	c := s.registry.byID[id]
	if c == nil {
		return fmt.Errorf("fleetprovtest: there is no certificate %s", id)
	}
	s.registry.delete(c)
	s.keepLocked(stateRecord{DeletedCertificate: id})
	s.dropLocked(id, "its certificate was deleted")
	return nil
}

// statusLocked returns "" for a certificate that is not known.
func (s *Server) statusLocked(id string) string {
	s.registry.expire(s.now())
	if c := s.registry.byID[id]; c != nil {
		return c.status
	}
	if id == certificateID(s.claim.Leaf) {
		return s.registry.claimStatus
	}
	return ""
}
