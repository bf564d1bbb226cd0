package iotservice

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"

	"github.com/fleetprov/fleetprov/internal/iotregistry"
)

// CreateKeys makes a key and issues a certificate for it (CreateKeysAndCertificate). The
// key is not kept.
func (s *Service) CreateKeys() (iotregistry.Certificate, *rsa.PrivateKey, *Rejection) {
	key := s.keys.take()
	if key == nil {
		return iotregistry.Certificate{}, nil, &Rejection{StatusCode: 500, Code: "InternalFailure", Message: "The server is closing."}
	}
	certificate, err := s.issue(key.Public())
	if err != nil {
		return iotregistry.Certificate{}, nil, badRequest("InvalidRequest", err.Error())
	}
	return certificate, key, nil
}

// CreateFromCSR issues a certificate for a certificate signing request in PEM form
// (CreateCertificateFromCsr).
func (s *Service) CreateFromCSR(csr string) (iotregistry.Certificate, *Rejection) {
	request, err := parseCSR(csr)
	if err != nil {
		return iotregistry.Certificate{}, badRequest("InvalidCertificateSigningRequest", err.Error())
	}
	certificate, err := s.issue(request.PublicKey)
	if err != nil {
		return iotregistry.Certificate{}, badRequest("InvalidCertificateSigningRequest", err.Error())
	}
	return certificate, nil
}

// CertificatePEM returns a certificate in PEM form.
func CertificatePEM(certificate *x509.Certificate) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw}))
}

// KeyPEM returns a key in the PEM form of PKCS #1, which AWS IoT sends.
func KeyPEM(key *rsa.PrivateKey) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}))
}
