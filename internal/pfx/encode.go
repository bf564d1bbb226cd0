package pfx

import (
	"crypto/x509"

	"software.sslmate.com/src/go-pkcs12"
)

// Encode returns a PFX file with key, its certificate leaf and the certificates
// others, encrypted with AES-256 as OpenSSL 3 does.
func Encode(key any, leaf *x509.Certificate, others []*x509.Certificate, password string) ([]byte, error) {
	return pkcs12.Modern2023.Encode(key, leaf, others, password)
}
