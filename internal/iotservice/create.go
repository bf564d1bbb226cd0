package iotservice

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"

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
// (CreateCertificateFromCsr). It returns the certificate as the device gets it, too, which
// with a [Provider] may be a chain. How AWS IoT answers when a provider fails is not
// documented.
func (s *Service) CreateFromCSR(csr string) (issued iotregistry.Certificate, text string, rejection *Rejection) {
	request, err := parseCSR(csr)
	if err != nil {
		return iotregistry.Certificate{}, "", badRequest("InvalidCertificateSigningRequest", err.Error())
	}
	if provider := s.settings.Provider; provider != nil {
		issued, text, err := s.issueWith(provider, request)
		if err != nil {
			return iotregistry.Certificate{}, "", &Rejection{
				StatusCode: 500,
				Code:       "InternalFailure",
				Message:    "The certificate provider failed.",
				Cause:      fmt.Errorf("the certificate provider: %w", err),
			}
		}
		return issued, text, nil
	}
	issued, err = s.issue(request.PublicKey)
	if err != nil {
		return iotregistry.Certificate{}, "", badRequest("InvalidCertificateSigningRequest", err.Error())
	}
	return issued, CertificatePEM(issued.X509), nil
}

// issueWith has the provider issue a certificate that waits for its registration, and
// returns what the provider has returned, too.
func (s *Service) issueWith(provider Provider, request *x509.CertificateRequest) (iotregistry.Certificate, string, error) {
	text, err := provider.call(request)
	if err != nil {
		return iotregistry.Certificate{}, "", err
	}
	certificate, err := firstCertificate(text)
	if err != nil {
		return iotregistry.Certificate{}, "", err
	}
	if !samePublicKey(certificate, request) {
		return iotregistry.Certificate{}, "", errors.New("it returned a certificate for another key")
	}
	issued, err := s.registry.Issue(certificate, newToken())
	return issued, string(text), err
}

// CertificatePEM returns a certificate in PEM form.
func CertificatePEM(certificate *x509.Certificate) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw}))
}

// KeyPEM returns a key in the PEM form of PKCS #1, which AWS IoT sends.
func KeyPEM(key *rsa.PrivateKey) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}))
}
