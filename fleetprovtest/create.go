package fleetprovtest

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"time"

	"github.com/fleetprov/fleetprov/internal/testca"
)

// certificateName is the common name in every certificate that AWS IoT issues.
const certificateName = "AWS IoT Certificate"

// createdKeys is the answer to CreateKeysAndCertificate.
type createdKeys struct {
	CertificateID             string `json:"certificateId"`
	CertificatePEM            string `json:"certificatePem"`
	PrivateKey                string `json:"privateKey"`
	CertificateOwnershipToken string `json:"certificateOwnershipToken"`
}

func (s *Server) createKeysAndCertificate(f format, payload []byte) (any, *Rejection) {
	if len(payload) > 0 { // empty by the documentation, {} by the SDKs
		if _, err := f.parse(payload); err != nil {
			return nil, badRequest("InvalidRequest", "The request payload could not be parsed.")
		}
	}
	key := s.keys.take()
	if key == nil {
		return nil, &Rejection{StatusCode: 500, Code: "InternalFailure", Message: "The server is closing."}
	}
	c, err := s.issue(key.Public())
	if err != nil {
		return nil, badRequest("InvalidRequest", err.Error())
	}
	return createdKeys{
		CertificateID:  c.id,
		CertificatePEM: certificatePEM(c.certificate),
		PrivateKey: string(pem.EncodeToMemory(&pem.Block{
			Type:  "RSA PRIVATE KEY",
			Bytes: x509.MarshalPKCS1PrivateKey(key),
		})),
		CertificateOwnershipToken: c.token,
	}, nil
}

// issue makes a certificate that waits for its registration.
func (s *Server) issue(public crypto.PublicKey) (*issued, error) {
	certificate, err := s.deviceCA.Issue(certificateName, testca.Validity{
		NotBefore: time.Now().Add(-2 * time.Minute),
	}, public)
	if err != nil {
		return nil, err
	}
	c := &issued{
		id:          certificateID(certificate),
		certificate: certificate,
		token:       rand.Text() + rand.Text(),
		issuedAt:    s.now(),
		status:      StatusPendingActivation,
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.registry.add(c)
	s.keepLocked(c.record())
	return c, nil
}

func certificatePEM(certificate *x509.Certificate) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw}))
}

func badRequest(code, message string) *Rejection {
	return &Rejection{StatusCode: 400, Code: code, Message: message}
}
