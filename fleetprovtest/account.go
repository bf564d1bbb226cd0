package fleetprovtest

import (
	"crypto/x509"
	"fmt"
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
// without those that were deleted or have disappeared with their token. The claim is
// not among them.
func (s *Server) Certificates() []Certificate {
	var certificates []Certificate
	for _, c := range s.registry.Certificates() {
		certificates = append(certificates, Certificate{
			ID:          c.ID,
			Status:      c.Status,
			ThingName:   c.ThingName,
			Certificate: c.X509,
		})
	}
	return certificates
}

// UpdateCertificate gives a certificate, which may be the claim, a new status:
// [StatusActive], [StatusInactive] or [StatusRevoked]. With the last two no client can
// connect any more, and the connections made with it end after DeactivationLag. It fails
// if there is no such certificate or status.
func (s *Server) UpdateCertificate(id, status string) error {
	if err := s.registry.SetStatus(id, status); err != nil {
		return fmt.Errorf("fleetprovtest: %w", err)
	}
	s.review(id)
	return nil
}

// DeleteCertificate deletes a certificate that the server has issued. The connections made
// with it end after DeactivationLag. It fails if there is no such certificate; the claim
// cannot be deleted.
func (s *Server) DeleteCertificate(id string) error {
	if err := s.registry.Delete(id); err != nil {
		return fmt.Errorf("fleetprovtest: %w", err)
	}
	s.review(id)
	return nil
}

// Thing is a device that was registered.
type Thing struct {
	Name           string
	Parameters     map[string]string // of the last registration, the hook's overrides included
	CertificateIDs []string          // in order of registration

	// From the template's thing resource.
	Attributes   map[string]string
	Type         string
	Groups       []string
	BillingGroup string
}

// Things returns the things in the order of their first registration.
func (s *Server) Things() []Thing {
	var things []Thing
	for _, t := range s.registry.Things() {
		things = append(things, Thing(t))
	}
	return things
}

// AddPolicy adds a policy that templates may name, or replaces the one with that
// name. It fails if document is not an AWS IoT policy document. It may be called at
// any time; clients that are connected keep the policies they have.
func (s *Server) AddPolicy(name, document string) error {
	if err := s.registry.AddPolicy(name, document); err != nil {
		return fmt.Errorf("fleetprovtest: %w", err)
	}
	return nil
}

// AddTemplate adds a provisioning template with a body as AWS IoT takes it, or
// replaces the one with that name (provision-template). The name is 1 to 36
// letters, digits, hyphens and underscores. It fails if AWS would refuse the name or
// the body. It may be called at any time.
//
// A policy that the body names should have been added with [Server.AddPolicy]; if it
// was not, [Server.DevicePolicy] takes its place.
func (s *Server) AddTemplate(name, body string) error {
	if err := s.registry.AddTemplate(name, body); err != nil {
		return fmt.Errorf("fleetprovtest: %w", err)
	}
	return nil
}
