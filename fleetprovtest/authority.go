package fleetprovtest

import (
	"crypto/tls"
	"crypto/x509"

	"software.sslmate.com/src/go-pkcs12"

	"github.com/fleetprov/fleetprov/internal/testca"
)

// authority is what the server proves itself and its clients with.
type authority struct {
	serverCA *testca.CA // of the server's certificate
	deviceCA *testca.CA // of the claim and of the certificates issued
	claim    tls.Certificate
}

func newAuthority() authority {
	a := authority{
		serverCA: testca.New("fleetprovtest server root"),
		deviceCA: testca.New("fleetprovtest device root"),
	}
	a.claim = a.deviceCA.Client(certificateName, testca.Validity{})
	return a
}

// RootCAs returns a pool with the root certificate that the server's own
// certificate chains to.
func (s *Server) RootCAs() *x509.CertPool { return s.serverCA.Pool() }

// RootCertificate returns the root certificate that the server's own certificate
// chains to.
func (s *Server) RootCertificate() *x509.Certificate { return s.serverCA.Certificate() }

// ClaimCertificate returns the claim certificate with its private key, an ECDSA
// key on P-256. The root that issued it is not the one of the server.
func (s *Server) ClaimCertificate() tls.Certificate { return s.claim }

// ClaimPFX returns the claim as a PFX (PKCS#12) file with the given password. It
// holds the private key, the claim certificate, and the server's root
// certificate, as the file of a factory holds Amazon's.
func (s *Server) ClaimPFX(password string) []byte {
	roots := []*x509.Certificate{s.serverCA.Certificate()}
	pfx, err := pkcs12.Modern2023.Encode(s.claim.PrivateKey, s.claim.Leaf, roots, password)
	if err != nil {
		panic("fleetprovtest: encode the claim: " + err.Error())
	}
	return pfx
}
