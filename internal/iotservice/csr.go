package iotservice

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
)

// maxCSR is how many characters a certificate signing request may have
// (API_CreateCertificateFromCsr).
const maxCSR = 4096

// parseCSR accepts what AWS IoT signs: requests for RSA keys of at least 2048 bits and
// for keys on P-256, P-384 and P-521, unless they are signed with SHA-1.
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
