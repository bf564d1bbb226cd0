package pfx

import (
	"crypto/x509"
	"errors"
	"unicode/utf8"

	"software.sslmate.com/src/go-pkcs12"
)

// Encode returns a PFX file with key, its certificate leaf and the certificates
// others, encrypted with AES-256 as OpenSSL 3 does. The password has to be UTF-8
// without characters above U+FFFF: programs differ in what they make of others.
func Encode(key any, leaf *x509.Certificate, others []*x509.Certificate, password string) ([]byte, error) {
	if !utf8.ValidString(password) {
		return nil, errors.New("the password is not UTF-8, so that no other program could open the file with it")
	}
	for _, r := range password {
		if r > 0xffff {
			return nil, errors.New("the password has a character above U+FFFF, such as an emoji, which some programs do not take")
		}
	}
	return pkcs12.Modern2023.Encode(key, leaf, others, password)
}
