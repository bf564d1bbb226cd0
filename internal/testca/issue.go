package testca

import (
	"crypto"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"net"
	"time"
)

// Validity is the time in which a certificate is valid. A zero NotBefore means
// an hour ago, a zero NotAfter the end of the year 2049.
type Validity struct {
	NotBefore, NotAfter time.Time
}

// Server issues a certificate for a TLS server at hosts, which are host names
// or IP addresses, with a new P-256 key. It panics if that fails, as [New] does.
func (ca *CA) Server(validity Validity, hosts ...string) tls.Certificate {
	return ca.ServerWithKey(newKey(), validity, hosts...)
}

// ServerWithKey is [CA.Server] with a key that the caller brings.
func (ca *CA) ServerWithKey(key crypto.Signer, validity Validity, hosts ...string) tls.Certificate {
	template := leafTemplate("", validity)
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	ca.addAddresses(template)
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	if len(hosts) > 0 {
		template.Subject.CommonName = hosts[0]
	}
	return ca.issueFor(key, template)
}

// Client issues a certificate for a TLS client, with a new P-256 key. It panics
// if that fails, as [New] does.
func (ca *CA) Client(commonName string, validity Validity) tls.Certificate {
	return ca.issueFor(newKey(), leafTemplate(commonName, validity))
}

// Issue issues a certificate for a TLS client whose public key is public. It fails for
// types of keys that [x509.CreateCertificate] does not know.
func (ca *CA) Issue(commonName string, validity Validity, public crypto.PublicKey) (*x509.Certificate, error) {
	return ca.issue(leafTemplate(commonName, validity), public)
}

func (ca *CA) issueFor(key crypto.Signer, template *x509.Certificate) tls.Certificate {
	leaf, err := ca.issue(template, key.Public())
	if err != nil {
		panic(fmt.Sprintf("testca: issue certificate: %v", err))
	}
	return tls.Certificate{Certificate: append([][]byte{leaf.Raw}, ca.chain...), PrivateKey: key, Leaf: leaf}
}

// issue adds the identifier of the key, which [x509.CreateCertificate] gives to
// authorities only, and AWS IoT to all (RFC 7093 section 2).
func (ca *CA) issue(template *x509.Certificate, public crypto.PublicKey) (*x509.Certificate, error) {
	encoded, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return nil, err
	}
	digest := sha256.Sum256(encoded)
	template.SubjectKeyId = digest[:20]
	return sign(template, ca.certificate, public, ca.key)
}

// leafTemplate sets no extended key usage, as in the device certificates of AWS IoT,
// which may be used for anything.
func leafTemplate(commonName string, validity Validity) *x509.Certificate {
	if validity.NotBefore.IsZero() {
		validity.NotBefore = time.Now().Add(-leeway)
	}
	if validity.NotAfter.IsZero() {
		validity.NotAfter = farFuture
	}
	return &x509.Certificate{
		SerialNumber:          newSerialNumber(),
		Subject:               pkix.Name{CommonName: commonName},
		NotBefore:             validity.NotBefore,
		NotAfter:              validity.NotAfter,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
	}
}
