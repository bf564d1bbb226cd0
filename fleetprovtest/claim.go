package fleetprovtest

import (
	"crypto/tls"
	"crypto/x509"
)

// RootCAs returns a pool with the root certificate that the server's own
// certificate chains to.
func (s *Server) RootCAs() *x509.CertPool { return s.authority.serverCA.Pool() }

// RootCertificate returns the root certificate that the server's own certificate
// chains to.
func (s *Server) RootCertificate() *x509.Certificate { return s.authority.serverCA.Certificate() }

// ClaimCertificate returns the claim certificate with its private key, an ECDSA
// key on P-256. It chains to another root than the server's certificate.
func (s *Server) ClaimCertificate() tls.Certificate { return s.authority.claim }

// ClaimPFX returns the claim as a PFX (PKCS#12) file with the given password. It
// holds the private key, the claim certificate, and the server's root
// certificate, as a file from a factory holds Amazon's.
func (s *Server) ClaimPFX(password string) []byte { return s.authority.claimPFX(password) }
