package fleetprovtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
)

// maxCSR is the number of characters a certificate signing request may have.
const maxCSR = 4096

// createdFromCSR is the answer to CreateCertificateFromCsr.
type createdFromCSR struct {
	CertificateID             string `json:"certificateId"`
	CertificatePEM            string `json:"certificatePem"`
	CertificateOwnershipToken string `json:"certificateOwnershipToken"`
}

func (s *Server) createCertificateFromCSR(f format, payload []byte) (any, *Rejection) {
	members, err := f.parse(payload)
	if err != nil {
		return nil, badRequest("InvalidRequest", "The request payload could not be parsed.")
	}
	text, err := f.optionalString(members, "certificateSigningRequest")
	if err != nil {
		return nil, badRequest("InvalidRequest", err.Error())
	}
	request, err := parseCSR(text)
	if err != nil {
		return nil, badRequest("InvalidCertificateSigningRequest", err.Error())
	}
	c, err := s.issue(request.PublicKey)
	if err != nil {
		return nil, badRequest("InvalidCertificateSigningRequest", err.Error())
	}
	return createdFromCSR{
		CertificateID:             c.id,
		CertificatePEM:            certificatePEM(c.certificate),
		CertificateOwnershipToken: c.token,
	}, nil
}

// parseCSR accepts what AWS IoT signs: RSA keys of 2048 bits and more, P-256,
// P-384 and P-521, and no signature made with SHA-1.
func parseCSR(text string) (*x509.CertificateRequest, error) {
	if len(text) > maxCSR {
		return nil, errors.New("the certificate signing request is longer than 4096 characters")
	}
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, errors.New("the certificate signing request is not PEM")
	}
	request, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return nil, errors.New("the certificate signing request could not be parsed")
	}
	switch request.SignatureAlgorithm {
	case x509.SHA1WithRSA, x509.ECDSAWithSHA1:
		return nil, errors.New("the certificate signing request is signed with SHA-1")
	}
	if err := request.CheckSignature(); err != nil {
		return nil, errors.New("the signature of the certificate signing request is wrong")
	}
	switch key := request.PublicKey.(type) {
	case *rsa.PublicKey:
		if key.N.BitLen() >= 2048 {
			return request, nil
		}
	case *ecdsa.PublicKey:
		switch key.Curve {
		case elliptic.P256(), elliptic.P384(), elliptic.P521():
			return request, nil
		}
	}
	return nil, errors.New("the key of the certificate signing request is not supported")
}
