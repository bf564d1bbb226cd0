package diagnosis

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"

	"github.com/fleetprov/fleetprov/internal/amazonroots"
	"github.com/fleetprov/fleetprov/internal/link"
)

// untrusted is a server whose certificate chains to no trusted root. Which root it is
// tells what is wrong.
func untrusted(unopen *link.DialError) error {
	var verification *tls.CertificateVerificationError
	if !errors.As(unopen.Err, &verification) || len(verification.UnverifiedCertificates) == 0 {
		return fmt.Errorf("%w; check the endpoint, or give the roots of a custom domain with WithRootCAs", unopen.Err)
	}
	path := pathOf(verification.UnverifiedCertificates)
	top := path[len(path)-1]
	root, host := top.Issuer.String(), unopen.Endpoint.Host
	if amazon := amazonRootOf(path); amazon != nil {
		return fmt.Errorf("%w; the server's certificate chains to the root %q, which is Amazon's: add it to the roots of WithRootCAs or WithTLSConfig, which replace the built-in ones, or do without them",
			unopen.Err, amazon.Subject.String())
	}
	switch {
	case unopen.Endpoint.IsLegacy():
		return fmt.Errorf("%w; the server's certificate chains to the root %.128q, which is not Amazon's, and %s is an old endpoint whose authority is not trusted any more: %s prints the one to use",
			unopen.Err, root, host, describe)
	case unopen.Endpoint.IsAWS():
		return fmt.Errorf("%w; the server's certificate chains to the root %.128q, which is not Amazon's: something on the way inspects TLS, and cannot pass the device's certificate on: have %s exempted from inspection (with its root in WithRootCAs, only CONNECT would fail instead)",
			unopen.Err, root, host)
	case holdsIssuer(unopen.Chain, top):
		return fmt.Errorf("%w; the server's certificate chains to the root %.128q, which is in the device's own certificate chain: what is there goes to the server, and is not trusted for servers: give the root with WithRootCAs too, or to NewIdentity as a root",
			unopen.Err, root)
	default:
		return fmt.Errorf("%w; the server's certificate chains to the root %.128q, which is not trusted: check the endpoint (%s), or give the roots of a custom domain with WithRootCAs",
			unopen.Err, root, describe)
	}
}

// maxPath is more certificates than any chain of a server has.
const maxPath = 10

// pathOf returns the way from the first of certificates, the server's own, up to the
// last that is there. Servers may send them in any order, and others among them.
func pathOf(certificates []*x509.Certificate) []*x509.Certificate {
	path := certificates[:1:1]
	for last := path[0]; len(path) < maxPath && !bytes.Equal(last.RawSubject, last.RawIssuer); {
		next := slices.IndexFunc(certificates, func(c *x509.Certificate) bool { return issued(c, last) })
		if next < 0 {
			break
		}
		last = certificates[next]
		path = append(path, last)
	}
	return path
}

// amazonRootOf returns the root of Amazon that issued one of path, or nil. That need
// not be the last: AWS IoT also sends its roots as others have signed them.
func amazonRootOf(path []*x509.Certificate) *x509.Certificate {
	for _, root := range amazonroots.Certificates() {
		if slices.ContainsFunc(path, func(c *x509.Certificate) bool { return issued(root, c) }) {
			return root
		}
	}
	return nil
}

// holdsIssuer reports whether the issuer of top is among those of chain, in DER, that
// go with the device's certificate.
func holdsIssuer(chain [][]byte, top *x509.Certificate) bool {
	return slices.ContainsFunc(chain[1:], func(der []byte) bool {
		c, err := x509.ParseCertificate(der)
		return err == nil && issued(c, top)
	})
}

func issued(parent, child *x509.Certificate) bool {
	return bytes.Equal(parent.RawSubject, child.RawIssuer) &&
		parent.CheckSignature(child.SignatureAlgorithm, child.RawTBSCertificate, child.Signature) == nil
}
