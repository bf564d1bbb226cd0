package fleetprovtest

import (
	"bytes"
	"crypto/x509"
	"slices"
	"time"
)

// Request is a request that the server has received, whether it was granted or not.
type Request struct {
	Op       Op
	ClientID string
	Topic    string   // of a provisioning operation
	Filters  []string // of Subscribe
	Payload  []byte   // of a provisioning operation, as sent
	Time     time.Time
}

// Certificate is a certificate that the server has issued.
type Certificate struct {
	ID          string // hex of the SHA-256 of the DER form
	Status      string // [StatusPendingActivation], [StatusActive], [StatusInactive] or [StatusRevoked]
	ThingName   string // "" until registered
	Certificate *x509.Certificate
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

// Requests returns the requests that the server has received, in order: each
// well-formed CONNECT, each SUBSCRIBE, and each provisioning operation. They are the
// last MaxRequests of them, if that is set.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	requests := slices.Clone(s.requests)
	for i, r := range requests {
		requests[i].Filters = slices.Clone(r.Filters)
		requests[i].Payload = bytes.Clone(r.Payload)
	}
	return requests
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

// Things returns the things in the order of their first registration.
func (s *Server) Things() []Thing {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.registry.expire(s.now())
	var things []Thing
	for _, t := range s.registry.things {
		things = append(things, t.clone())
	}
	return things
}

func (s *Server) record(r Request) {
	r.Time = s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = append(s.requests, r)
	if s.MaxRequests > 0 && len(s.requests) > s.MaxRequests {
		s.requests = s.requests[len(s.requests)-s.MaxRequests:]
	}
}
