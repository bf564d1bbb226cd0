package iotregistry

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"slices"
	"strings"
	"time"
)

// The statuses of a certificate, spelled as AWS spells them. A client can connect
// only with a certificate that is active.
const (
	PendingActivation = "PENDING_ACTIVATION"
	Active            = "ACTIVE"
	Inactive          = "INACTIVE"
	Revoked           = "REVOKED"
)

// tokenLifetime is how long a certificate waits for its registration
// (provision-wo-cert).
const tokenLifetime = time.Hour

// Certificate is a certificate that was issued in the account.
type Certificate struct {
	ID         string // see [CertificateID]
	X509       *x509.Certificate
	Token      string // proves ownership to RegisterThing; "" once it has expired
	IssuedAt   time.Time
	Status     string
	ThingName  string   // "" until registered, or if the template has no thing
	Registered bool     // by RegisterThing
	Policies   []string // names of the policies that are attached

	// ConnectsFrom is when the first connection is let through, if that is later than the
	// status allows. Zero: no later.
	ConnectsFrom time.Time

	// ExclusiveThing means that the certificate can be attached to no other thing, so
	// that its connections are those of this thing whatever their client ids are
	// (exclusive-thing).
	ExclusiveThing bool
}

// CertificateID returns AWS IoT's id of a certificate: the SHA-256 of its DER form, in
// hexadecimal.
func CertificateID(certificate *x509.Certificate) string {
	sum := sha256.Sum256(certificate.Raw)
	return hex.EncodeToString(sum[:])
}

func (c *Certificate) clone() Certificate {
	copied := *c
	copied.Policies = slices.Clone(c.Policies)
	return copied
}

// certificates are the certificates of a Registry, whose mutex guards them.
type certificates struct {
	inOrder []*Certificate // of issue
	byID    map[string]*Certificate
	tokens  []*Certificate // those with a token, the oldest first
	byToken map[string]*Certificate
}

func newCertificates() certificates {
	return certificates{byID: make(map[string]*Certificate), byToken: make(map[string]*Certificate)}
}

func (s *certificates) add(c *Certificate) {
	s.inOrder = append(s.inOrder, c)
	s.byID[c.ID] = c
	if c.Token != "" {
		s.tokens = append(s.tokens, c)
		s.byToken[c.Token] = c
	}
}

// put is add for a certificate that may be there already.
func (s *certificates) put(c *Certificate) {
	old := s.byID[c.ID]
	if old == nil {
		s.add(c)
		return
	}
	delete(s.byToken, old.Token)
	*old = *c
	if c.Token != "" {
		s.byToken[c.Token] = old
	}
}

func (s *certificates) get(id string) (*Certificate, error) {
	if c := s.byID[strings.ToLower(id)]; c != nil {
		return c, nil
	}
	return nil, refuse(resourceNotFound, "The certificate given in the request does not exist (certificate id: %s)", id)
}

func (s *certificates) delete(c *Certificate) {
	isIt := func(other *Certificate) bool { return other == c }
	delete(s.byID, c.ID)
	delete(s.byToken, c.Token)
	s.inOrder = slices.DeleteFunc(s.inOrder, isIt)
	s.tokens = slices.DeleteFunc(s.tokens, isIt)
}

// expire ends the tokens that have reached their age. It deletes those of their
// certificates that still wait for activation, and returns them.
func (s *certificates) expire(now time.Time) []*Certificate {
	expired := 0
	for expired < len(s.tokens) && now.Sub(s.tokens[expired].IssuedAt) >= tokenLifetime {
		expired++
	}
	if expired == 0 {
		return nil
	}
	var unused []*Certificate
	for _, c := range s.tokens[:expired] {
		delete(s.byToken, c.Token)
		c.Token = ""
		if c.Status == PendingActivation {
			delete(s.byID, c.ID)
			unused = append(unused, c)
		}
	}
	clear(s.tokens[:expired]) // lets the certificates go
	s.tokens = s.tokens[expired:]
	if len(unused) > 0 {
		s.inOrder = slices.DeleteFunc(s.inOrder, func(c *Certificate) bool { return s.byID[c.ID] != c })
	}
	return unused
}
