package fleetprovtest

import (
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"time"

	"github.com/fleetprov/fleetprov/internal/testca"
)

// stateRecord is a line of the file. Of several for one certificate or thing the
// last counts.
type stateRecord struct {
	Authority          *authorityRecord   `json:"authority,omitempty"`
	Ahead              time.Duration      `json:"ahead,omitempty"` // by how much Advance has moved the clock
	ClaimStatus        string             `json:"claimStatus,omitempty"`
	Certificate        *certificateRecord `json:"certificate,omitempty"`
	DeletedCertificate string             `json:"deletedCertificate,omitempty"`
	Thing              *Thing             `json:"thing,omitempty"`
	Policy             *policyRecord      `json:"policy,omitempty"`
}

type authorityRecord struct {
	ServerCA, DeviceCA         string // PEM
	ClaimCertificate, ClaimKey []byte // DER
}

type certificateRecord struct {
	DER        []byte
	Token      string
	IssuedAt   time.Time
	Status     string
	ThingName  string
	Registered bool
	Policies   []string
}

type policyRecord struct{ Name, Document string }

// record returns what is kept of a certificate.
func (c *issued) record() stateRecord {
	return stateRecord{Certificate: &certificateRecord{
		DER:        c.certificate.Raw,
		Token:      c.token,
		IssuedAt:   c.issuedAt,
		Status:     c.status,
		ThingName:  c.thingName,
		Registered: c.registered,
		Policies:   c.policies,
	}}
}

func (s *Server) replayLocked(r stateRecord) error {
	if r.Authority != nil {
		if err := s.authority.restore(r.Authority); err != nil {
			return err
		}
	}
	if r.Ahead != 0 {
		s.ahead.Store(int64(r.Ahead))
	}
	if r.ClaimStatus != "" {
		s.registry.claimStatus = r.ClaimStatus
	}
	if r.Policy != nil {
		if err := s.policies.add(r.Policy.Name, r.Policy.Document); err != nil {
			return err
		}
		s.policies.inline[r.Policy.Name] = r.Policy.Document
	}
	if r.Thing != nil {
		s.registry.put(r.Thing)
	}
	if r.Certificate != nil {
		c, err := r.Certificate.issued()
		if err != nil {
			return err
		}
		s.registry.restore(c)
	}
	if c := s.registry.byID[r.DeletedCertificate]; c != nil {
		s.registry.delete(c)
	}
	return nil
}

func (r *certificateRecord) issued() (*issued, error) {
	certificate, err := x509.ParseCertificate(r.DER)
	if err != nil {
		return nil, err
	}
	return &issued{
		id:          certificateID(certificate),
		certificate: certificate,
		token:       r.Token,
		issuedAt:    r.IssuedAt,
		status:      r.Status,
		thingName:   r.ThingName,
		registered:  r.Registered,
		policies:    r.Policies,
	}, nil
}

func (a *authority) record() *authorityRecord {
	key, err := x509.MarshalPKCS8PrivateKey(a.claim.PrivateKey)
	if err != nil {
		panic("fleetprovtest: encode the claim's key: " + err.Error())
	}
	return &authorityRecord{
		ServerCA:         string(a.serverCA.MarshalPEM()),
		DeviceCA:         string(a.deviceCA.MarshalPEM()),
		ClaimCertificate: a.claim.Leaf.Raw,
		ClaimKey:         key,
	}
}

func (a *authority) restore(r *authorityRecord) error {
	serverCA, err := testca.Parse([]byte(r.ServerCA))
	if err != nil {
		return err
	}
	deviceCA, err := testca.Parse([]byte(r.DeviceCA))
	if err != nil {
		return err
	}
	leaf, err := x509.ParseCertificate(r.ClaimCertificate)
	if err != nil {
		return err
	}
	key, err := x509.ParsePKCS8PrivateKey(r.ClaimKey)
	if err != nil {
		return errors.New("the key of the claim cannot be read") // says nothing of the key
	}
	ecKey, ok := key.(*ecdsa.PrivateKey)
	if !ok || !ecKey.PublicKey.Equal(leaf.PublicKey) {
		return errors.New("the key is not that of the claim")
	}
	*a = authority{serverCA, deviceCA, tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf}}
	return nil
}
