package iotservice

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"time"

	"github.com/fleetprov/fleetprov/internal/iotregistry"
	"github.com/fleetprov/fleetprov/internal/testca"
)

// claimLifetime is how long a claim for a trusted user lives (API_CreateProvisioningClaim).
const claimLifetime = 5 * time.Minute

// Issued is a certificate with the key that was made for it.
type Issued struct {
	ID                          string
	Certificate                 *x509.Certificate
	CertificatePEM              string
	PublicKeyPEM, PrivateKeyPEM string // "" if the key is the operator's own
}

// MakeKeys does for an operator what CreateKeysAndCertificate does for a device: the
// certificate waits for no registration, and has a status from the beginning.
func (s *Service) MakeKeys(status string) (Issued, error) {
	return s.make(testca.Validity{NotBefore: time.Now().Add(-clockSkew)}, func(certificate *x509.Certificate) error {
		_, err := s.registry.Add(certificate, status)
		return err
	})
}

// MakeClaim makes a claim of five minutes, counted from now, for a template
// (CreateProvisioningClaim).
func (s *Service) MakeClaim(template string, now time.Time) (Issued, error) {
	validity := testca.Validity{NotBefore: time.Now().Add(-clockSkew), NotAfter: now.Add(claimLifetime)}
	return s.make(validity, func(certificate *x509.Certificate) error {
		return s.registry.AddTemporaryClaim(certificate, template, certificate.NotAfter)
	})
}

func (s *Service) make(validity testca.Validity, add func(*x509.Certificate) error) (Issued, error) {
	key := s.keys.take()
	if key == nil {
		return Issued{}, errors.New("the server is closing")
	}
	certificate, err := s.settings.CA.Issue(CertificateName, validity, key.Public())
	if err != nil {
		return Issued{}, err
	}
	if err := add(certificate); err != nil {
		return Issued{}, err
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return Issued{}, err
	}
	return Issued{
		ID:             iotregistry.CertificateID(certificate),
		Certificate:    certificate,
		CertificatePEM: CertificatePEM(certificate),
		PublicKeyPEM:   string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})),
		PrivateKeyPEM:  KeyPEM(key),
	}, nil
}

// CertifyCSR does for an operator what CreateCertificateFromCsr does for a device. The
// error says what is wrong with the request.
func (s *Service) CertifyCSR(csr, status string) (Issued, error) {
	request, err := parseCSR(csr)
	if err != nil {
		return Issued{}, err
	}
	return s.certify(request.PublicKey, status)
}

func (s *Service) certify(public crypto.PublicKey, status string) (Issued, error) {
	certificate, err := s.settings.CA.Issue(CertificateName, testca.Validity{NotBefore: time.Now().Add(-clockSkew)}, public)
	if err != nil {
		return Issued{}, err
	}
	if _, err := s.registry.Add(certificate, status); err != nil {
		return Issued{}, err
	}
	return Issued{ID: iotregistry.CertificateID(certificate), Certificate: certificate, CertificatePEM: CertificatePEM(certificate)}, nil
}
