// Package testca is a throw-away certificate authority for tests and test servers. Its
// keys are ECDSA keys on P-256, unless the caller brings others. It cannot revoke a
// certificate.
//
// Times come from [time.Now], so certificates made inside a
// [testing/synctest] bubble are valid in that bubble.
package testca

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"
)

// farFuture is the default NotAfter: the date that AWS IoT puts into the certificates
// it issues.
var farFuture = time.Date(2049, time.December, 31, 23, 59, 59, 0, time.UTC)

// farPast is when authorities become valid. The time of a testing/synctest bubble begins in
// the year 2000.
var farPast = time.Date(1999, time.January, 1, 0, 0, 0, 0, time.UTC)

// leeway is how far in the past the default NotBefore lies.
const leeway = time.Hour

// CA issues certificates. It is safe for concurrent use. The zero value is not usable;
// use [New] or [NewRoot].
type CA struct {
	certificate *x509.Certificate
	key         crypto.Signer
	chain       [][]byte // its certificate and those above it, without the root; nil for a root
	host        string   // where its certificates say that more is to be found; "": they do not
}

// New makes a self-signed root with the given common name and a new key. It
// panics if that fails, which takes a broken random source or a programming error.
func New(commonName string) *CA { return NewRoot(pkix.Name{CommonName: commonName}, newKey()) }

// NewRoot makes a self-signed root with a name and a key that the caller chooses. It
// panics as [New] does.
func NewRoot(subject pkix.Name, key crypto.Signer) *CA {
	template := authorityTemplate(subject)
	certificate, err := sign(template, template, key.Public(), key)
	if err != nil {
		panic(fmt.Sprintf("testca: make root certificate: %v", err))
	}
	return &CA{certificate: certificate, key: key}
}

// Intermediate makes an authority whose certificate is issued by ca. The servers that it
// issues certificates for send its certificate, too. It panics as [New] does.
func (ca *CA) Intermediate(subject pkix.Name, key crypto.Signer) *CA {
	template := authorityTemplate(subject)
	ca.addAddresses(template)
	certificate, err := sign(template, ca.certificate, key.Public(), ca.key)
	if err != nil {
		panic(fmt.Sprintf("testca: make intermediate certificate: %v", err))
	}
	return &CA{certificate: certificate, key: key, chain: append([][]byte{certificate.Raw}, ca.chain...), host: ca.host}
}

// CrossSigned returns an authority like ca, whose root has a certificate by above, too: the
// servers that it issues certificates for send that one last. Clients that trust above then
// trust them. It panics as [New] does.
func (ca *CA) CrossSigned(root, above *CA) *CA {
	template := authorityTemplate(root.certificate.Subject)
	above.addAddresses(template)
	certificate, err := sign(template, above.certificate, root.certificate.PublicKey, above.key)
	if err != nil {
		panic(fmt.Sprintf("testca: make cross-certificate: %v", err))
	}
	signed := *ca
	signed.chain = append(slices.Clip(ca.chain), certificate.Raw)
	return &signed
}

// Public returns an authority like ca, whose certificates for servers and for further
// authorities look like those of a public one: they say where on host its revocation list
// and its own certificate are, whether or not there is such a host.
func (ca *CA) Public(host string) *CA {
	public := *ca
	public.host = host
	return &public
}

func (ca *CA) addAddresses(template *x509.Certificate) {
	if ca.host == "" {
		return
	}
	template.CRLDistributionPoints = []string{"http://crl." + ca.host + "/authority.crl"}
	template.OCSPServer = []string{"http://ocsp." + ca.host}
	template.IssuingCertificateURL = []string{"http://crt." + ca.host + "/authority.cer"}
	template.Policies = []x509.OID{domainValidated}
}

// domainValidated is the policy of a certificate whose owner has proved no more than to
// own the domain (CA/Browser Forum).
var domainValidated = func() x509.OID {
	oid, err := x509.OIDFromInts([]uint64{2, 23, 140, 1, 2, 1})
	if err != nil {
		panic("testca: " + err.Error())
	}
	return oid
}()

func authorityTemplate(subject pkix.Name) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber:          newSerialNumber(),
		Subject:               subject,
		NotBefore:             farPast,
		NotAfter:              farFuture,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
}

// Certificate returns the certificate of the authority itself.
func (ca *CA) Certificate() *x509.Certificate { return ca.certificate }

// Pool returns a new pool that holds the authority's certificate alone.
func (ca *CA) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(ca.certificate)
	return pool
}

// MarshalPEM returns the certificate of a root and its private key, for [Parse].
func (ca *CA) MarshalPEM() []byte {
	key, err := x509.MarshalPKCS8PrivateKey(ca.key)
	if err != nil {
		panic(fmt.Sprintf("testca: encode key: %v", err))
	}
	return append(
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.certificate.Raw}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})...)
}

// Parse reads what [CA.MarshalPEM] wrote.
func Parse(data []byte) (*CA, error) {
	pair, err := tls.X509KeyPair(data, data)
	if err != nil {
		return nil, fmt.Errorf("testca: %w", err)
	}
	key, ok := pair.PrivateKey.(crypto.Signer)
	if !ok {
		return nil, errors.New("testca: the key cannot sign")
	}
	return &CA{certificate: pair.Leaf, key: key}, nil
}

func newKey() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(fmt.Sprintf("testca: make key: %v", err))
	}
	return key
}

func newSerialNumber() *big.Int {
	// RFC 5280 section 4.1.2.2 wants a positive number of at most 20 octets, and those of
	// AWS IoT have 20.
	var serial [20]byte
	rand.Read(serial[:])
	serial[0] = serial[0]&0x7f | 0x40
	return new(big.Int).SetBytes(serial[:])
}

func sign(template, parent *x509.Certificate, public crypto.PublicKey, key crypto.Signer) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}
