package fleetprovtest

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"

	"github.com/fleetprov/fleetprov/internal/testca"
)

// tlsConfig completes the configuration that the caller may have set
// (transport-security: TLS 1.2 or 1.3, mutual).
func (s *Server) tlsConfig() *tls.Config {
	config := &tls.Config{}
	if s.TLS != nil {
		config = s.TLS.Clone()
	}
	if config.MinVersion == 0 {
		config.MinVersion = tls.VersionTLS12
	}
	if config.Certificates == nil && config.GetCertificate == nil && config.GetConfigForClient == nil {
		certificate := s.serverCA.Server(testca.Validity{}, "localhost", "127.0.0.1", "::1")
		config.Certificates = []tls.Certificate{certificate}
	}
	if config.ClientAuth == tls.NoClientCert {
		if config.ClientCAs == nil {
			// The chain is verified only for the sake of the alerts:
			// unknown_ca and certificate_expired in place of bad_certificate.
			config.ClientCAs = s.deviceCA.Pool()
			config.ClientAuth = tls.RequireAndVerifyClientCert
		} else {
			config.ClientAuth = tls.RequireAnyClientCert
		}
	}
	config.SessionTicketsDisabled = true
	verify := config.VerifyConnection
	config.VerifyConnection = func(state tls.ConnectionState) error {
		if len(state.PeerCertificates) > 0 && !s.knows(state.PeerCertificates[0]) {
			return errors.New("fleetprovtest: the certificate is not known or not active")
		}
		if verify != nil {
			return verify(state)
		}
		return nil
	}
	return config
}

// knows reports whether a client may connect with a certificate.
func (s *Server) knows(certificate *x509.Certificate) bool {
	return s.isClaim(certificate) || s.isActive(certificate)
}

func (s *Server) isClaim(certificate *x509.Certificate) bool {
	return bytes.Equal(certificate.Raw, s.claim.Leaf.Raw)
}

func (s *Server) isActive(certificate *x509.Certificate) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.certificates {
		if bytes.Equal(c.certificate.Raw, certificate.Raw) {
			return c.status() == statusActive
		}
	}
	return false
}
