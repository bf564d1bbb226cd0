package iotservice

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
)

// Provider is a certificate provider: it signs a request with an authority of its owner's,
// and returns the certificate in PEM form, followed by others if it likes
// (provisioning-cert-provider). It is called from several goroutines at once.
type Provider func(*x509.CertificateRequest) ([]byte, error)

// call turns a panic into an error, as of a Lambda function.
func (p Provider) call(request *x509.CertificateRequest) (text []byte, err error) {
	defer func() {
		if reason := recover(); reason != nil {
			err = fmt.Errorf("it panicked: %v", reason)
		}
	}()
	return p(request)
}

// firstCertificate returns the first of the certificates in PEM form, of which every one
// must be readable.
func firstCertificate(text []byte) (first *x509.Certificate, err error) {
	for {
		block, rest := pem.Decode(text)
		switch {
		case block == nil && first != nil && len(bytes.TrimSpace(rest)) == 0:
			return first, nil
		case block == nil || block.Type != "CERTIFICATE":
			return nil, errors.New("it did not return certificates in PEM form and nothing else")
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("it returned a certificate that cannot be read: %w", err)
		}
		if first == nil {
			first = certificate
		}
		text = rest
	}
}

func samePublicKey(certificate *x509.Certificate, request *x509.CertificateRequest) bool {
	return bytes.Equal(certificate.RawSubjectPublicKeyInfo, request.RawSubjectPublicKeyInfo)
}
