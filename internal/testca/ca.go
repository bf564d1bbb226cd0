// Package testca is a throw-away certificate authority for tests and test servers. Its
// keys are ECDSA keys on P-256, unless the caller brings its own. It cannot revoke a
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
	"time"
)

// farFuture is the default NotAfter: the date that AWS IoT puts into the certificates
// it issues.
var farFuture = time.Date(2049, time.December, 31, 23, 59, 59, 0, time.UTC)

// leeway is how far in the past the default NotBefore lies.
const leeway = time.Hour

// CA is a self-signed root that issues leaf certificates directly. It is safe
// for concurrent use. The zero value is not usable; use [New].
type CA struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// New makes a root certificate with the given common name and a new key. It
// panics if that fails, which takes a broken random source or a programming error.
func New(commonName string) *CA {
	key := newKey()
	template := &x509.Certificate{
		SerialNumber:          newSerialNumber(),
		Subject:               pkix.Name{CommonName: commonName},
		NotBefore:             time.Now().Add(-leeway),
		NotAfter:              farFuture,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	certificate, err := sign(template, template, key.Public(), key)
	if err != nil {
		panic(fmt.Sprintf("testca: make root certificate: %v", err))
	}
	return &CA{certificate: certificate, key: key}
}

// Certificate returns the root certificate.
func (ca *CA) Certificate() *x509.Certificate { return ca.certificate }

// Pool returns a new pool that holds the root certificate alone.
func (ca *CA) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(ca.certificate)
	return pool
}

// MarshalPEM returns the root certificate and its private key, for [Parse].
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
	key, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !ok {
		return nil, errors.New("testca: the key is not an ECDSA key")
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
	var serial [16]byte
	rand.Read(serial[:])
	// RFC 5280 section 4.1.2.2 wants a positive number of at most 20 octets.
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
