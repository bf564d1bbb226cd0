package pfx

import (
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"

	"software.sslmate.com/src/go-pkcs12"
)

// authenticate checks the MAC. It returns the password in the encoding that the
// MAC was made with.
func (c *container) authenticate(password string) (bmp []byte, err error) {
	bmp, err = bmpString(password)
	if err != nil {
		return nil, err
	}
	if c.mac == nil {
		if password != "" {
			return nil, fmt.Errorf("the file has no MAC, so that no password protects its certificates: open it with the empty password, or re-export it with OpenSSL: %s", exportCommands(""))
		}
		return bmp, nil
	}
	encodings := [][]byte{bmp}
	if password == "" {
		encodings = append(encodings, nil) // some programs leave the terminating zero out, but of this password only
	}
	for _, encoding := range encodings {
		ok, err := c.mac.matches(c.authenticated, password, encoding)
		if err != nil || ok {
			return encoding, err
		}
	}
	return nil, fmt.Errorf("%w, or the file is damaged: its MAC does not match", ErrIncorrectPassword)
}

// open decrypts the key and all certificates.
//
// go-pkcs12 takes no more than two safes, so it is given one encrypted safe at a
// time. The key stands in front: go-pkcs12 refuses a second one before it
// decrypts it, and that one's iteration count, which only shows once the safe is
// decrypted, is never used.
func (c *container) open(password string, bmp []byte) (crypto.Signer, []*x509.Certificate, error) {
	if len(c.keys) == 0 {
		return nil, nil, errors.New("the file has no private key, or hides it among encrypted certificates: export the certificate together with its key")
	}
	safes := c.encrypted
	if len(safes) == 0 {
		if len(c.certificates) == 0 {
			return nil, nil, errors.New("the file has a private key but no certificate")
		}
		safes = []encryptedSafe{{}}
	}
	var signer crypto.Signer
	var certificates []*x509.Certificate
	bags := append(c.keys, c.certificates...)
	for _, safe := range safes {
		file, err := seal(bmp, bags, safe)
		if err != nil {
			return nil, nil, err
		}
		key, first, rest, err := pkcs12.DecodeChain(file, password)
		if err != nil {
			return nil, nil, c.explain(err)
		}
		certificates = append(append(certificates, first), rest...)
		if len(certificates) > maxCertificates {
			return nil, nil, fmt.Errorf("the file has more than %d certificates", maxCertificates)
		}
		if signer != nil {
			continue
		}
		var ok bool
		if signer, ok = key.(crypto.Signer); !ok {
			return nil, nil, fmt.Errorf("the private key, a %T, cannot sign", key)
		}
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			return nil, nil, err
		}
		bags = []bag{{oidKeyBag, der}} // decrypted already
	}
	return signer, certificates, nil
}

// explain says what it means that go-pkcs12 fails.
func (c *container) explain(err error) error {
	if c.iterations == 0 { // no MAC and no encryption
		return fmt.Errorf("the file is damaged: %w", err)
	}
	if c.mac == nil {
		return fmt.Errorf("%w, or the file is damaged: %w", ErrIncorrectPassword, err)
	}
	return fmt.Errorf("the password is right, but what it protects cannot be read (%w): re-export the file with OpenSSL: %s", err, exportCommands(""))
}
