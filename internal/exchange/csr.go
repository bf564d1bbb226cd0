package exchange

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"

	"github.com/fleetprov/fleetprov/internal/keys"
)

// maxCSR is the longest request that AWS IoT accepts, in characters of PEM (AWS IoT API
// reference, CreateCertificateFromCsr).
const maxCSR = 4096

// NewCSR returns a certificate signing request for key, as PEM. AWS IoT looks only at
// the key; the name is the one that it gives to certificates whose keys it makes.
func NewCSR(key crypto.Signer) ([]byte, error) {
	template := &x509.CertificateRequest{Subject: pkix.Name{CommonName: "AWS IoT Certificate"}}
	der, err := x509.CreateCertificateRequest(rand.Reader, template, key)
	if err != nil {
		return nil, fmt.Errorf("signing the certificate signing request: %w", err)
	}
	csr := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
	if len(csr) > maxCSR {
		return nil, fmt.Errorf("the certificate signing request has %d characters and AWS IoT accepts at most %d: use a smaller key", len(csr), maxCSR)
	}
	return csr, nil
}

// NewCSRRequest returns the payload that asks for a certificate for key. The certificate
// signing request in it is signed by key.
func (f Format) NewCSRRequest(key crypto.Signer) ([]byte, error) {
	csr, err := NewCSR(key)
	if err != nil {
		return nil, err
	}
	return f.CSRRequest(csr)
}

// CSRRequest returns the payload that asks for a certificate for the key that signed csr.
func (f Format) CSRRequest(csr []byte) ([]byte, error) {
	return f.Marshal(map[string]any{"certificateSigningRequest": string(csr)})
}

// CreateCertificateFromCSR sends a request made by [Format.CSRRequest], and checks that
// the certificate is for the key whose public half is public.
func (c *Client) CreateCertificateFromCSR(ctx context.Context, topic string, request []byte, public crypto.PublicKey) (*Issued, error) {
	answer, err := c.create(ctx, topic, request)
	if err != nil {
		return nil, err
	}
	leaf, chain, err := parseChain(answer.PEM)
	if err != nil {
		return nil, err
	}
	issued, err := answer.issued(leaf, chain)
	if err != nil {
		return nil, err
	}
	if !keys.Same(issued.Leaf.PublicKey, public) {
		return nil, badResponse("the certificate is not for the key in the certificate signing request")
	}
	return issued, nil
}
