package fleetprovtest

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"maps"
	"slices"
	"time"
)

const (
	statusPending = "PENDING_ACTIVATION"
	statusActive  = "ACTIVE"
)

// Request is one that the server has received, whatever became of it.
type Request struct {
	Op       Op
	ClientID string
	Topic    string   // of a provisioning operation
	Filters  []string // of Subscribe
	Payload  []byte   // of a provisioning operation, as sent
	Time     time.Time
}

// Certificate is one that the server has issued.
type Certificate struct {
	ID          string // hex of the SHA-256 of the DER form
	Status      string // "PENDING_ACTIVATION" or "ACTIVE"
	ThingName   string // "" until registered
	Certificate *x509.Certificate
}

// Thing is a device that was registered.
type Thing struct {
	Name           string
	Parameters     map[string]string // of the last registration, the hook's overrides included
	CertificateIDs []string          // in order of registration
}

// issued is a certificate with what RegisterThing needs to know of it.
type issued struct {
	certificate *x509.Certificate
	token       string
	issuedAt    time.Time
	thingName   string // "" until registered
}

func (c *issued) id() string { return certificateID(c.certificate) }

func (c *issued) status() string {
	if c.thingName == "" {
		return statusPending
	}
	return statusActive
}

func certificateID(certificate *x509.Certificate) string {
	sum := sha256.Sum256(certificate.Raw)
	return hex.EncodeToString(sum[:])
}

// Requests returns what the server has received, in order: connections with a
// well-formed CONNECT, subscriptions, and provisioning operations.
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

// Certificates returns the certificates issued, in that order. The claim is not
// among them.
func (s *Server) Certificates() []Certificate {
	s.mu.Lock()
	defer s.mu.Unlock()
	var certificates []Certificate
	for _, c := range s.certificates {
		certificates = append(certificates, Certificate{
			ID:          c.id(),
			Status:      c.status(),
			ThingName:   c.thingName,
			Certificate: c.certificate,
		})
	}
	return certificates
}

// Things returns the things registered, in order of their first registration.
func (s *Server) Things() []Thing {
	s.mu.Lock()
	defer s.mu.Unlock()
	var things []Thing
	for _, t := range s.things {
		things = append(things, Thing{
			Name:           t.Name,
			Parameters:     maps.Clone(t.Parameters),
			CertificateIDs: slices.Clone(t.CertificateIDs),
		})
	}
	return things
}

func (s *Server) record(r Request) {
	r.Time = time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = append(s.requests, r)
}
