package iotregistry

import (
	"crypto/x509"
	"time"
)

// Change is one change of a registry, in the form in which it can be kept as JSON. Of
// several for one certificate or thing the last counts.
type Change struct {
	ClaimStatus        string             `json:"claimStatus,omitempty"`
	Certificate        *CertificateChange `json:"certificate,omitempty"`
	DeletedCertificate string             `json:"deletedCertificate,omitempty"`
	Thing              *Thing             `json:"thing,omitempty"`
	DeletedThing       string             `json:"deletedThing,omitempty"`
	Policy             *PolicyChange      `json:"policy,omitempty"`
}

// CertificateChange is the new state of a certificate.
type CertificateChange struct {
	DER        []byte
	Token      string
	IssuedAt   time.Time
	Status     string
	ThingName  string
	Registered bool
	Policies   []string

	ConnectsFrom   time.Time `json:",omitzero"`
	ExclusiveThing bool      `json:",omitempty"`
}

// PolicyChange is a policy whose document came in a template.
type PolicyChange struct{ Name, Document string }

func newCertificateChange(c *Certificate) *CertificateChange {
	return &CertificateChange{
		DER:        c.X509.Raw,
		Token:      c.Token,
		IssuedAt:   c.IssuedAt,
		Status:     c.Status,
		ThingName:  c.ThingName,
		Registered: c.Registered,
		Policies:   c.Policies,

		ConnectsFrom:   c.ConnectsFrom,
		ExclusiveThing: c.ExclusiveThing,
	}
}

func (c *CertificateChange) certificate() (*Certificate, error) {
	certificate, err := x509.ParseCertificate(c.DER)
	if err != nil {
		return nil, err
	}
	return &Certificate{
		ID:         CertificateID(certificate),
		X509:       certificate,
		Token:      c.Token,
		IssuedAt:   c.IssuedAt,
		Status:     c.Status,
		ThingName:  c.ThingName,
		Registered: c.Registered,
		Policies:   c.Policies,

		ConnectsFrom:   c.ConnectsFrom,
		ExclusiveThing: c.ExclusiveThing,
	}, nil
}
