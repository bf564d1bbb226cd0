package pfx

import (
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
)

// check looks at everything that is encrypted and shows, and refuses what cannot
// be decrypted or takes too long, before any key is derived.
func (c *container) check() error {
	parts := c.parts()
	if err := c.prepare(parts...); err != nil {
		return err
	}
	if c.cost(parts) > c.work.left {
		return errTooMuchWork
	}
	return nil
}

// parts are what is encrypted.
func (c *container) parts() (parts []*sealed) {
	for i := range c.encrypted {
		parts = append(parts, &c.encrypted[i])
	}
	if c.key != nil && c.key.algorithm != nil {
		parts = append(parts, c.key)
	}
	return parts
}

// cost is the number of hashes that the MAC and the parts take.
func (c *container) cost(parts []*sealed) int64 {
	cost := int64(0)
	if c.mac != nil {
		cost = c.mac.derivation.cost(c.mac.keyLength)
	}
	for _, part := range parts {
		cost += part.encryption.cost()
	}
	return cost
}

// prepare reads how the parts are encrypted.
func (c *container) prepare(parts ...*sealed) error {
	for _, part := range parts {
		var err error
		if part.encryption, err = c.readEncryption(part.algorithm); err != nil {
			return err
		}
	}
	for _, u := range c.uses {
		if !u.supported {
			return c.unsupported(u)
		}
	}
	return nil
}

// open decrypts everything.
func (c *container) open() (*Bundle, error) {
	if err := c.decryptSafes(); err != nil {
		return nil, err
	}
	key, err := c.privateKey()
	if err != nil {
		return nil, err
	}
	return c.bundle(key)
}

// decrypt tries the forms of the password one after the other. It is not ok if
// none is right.
func (c *container) decrypt(part *sealed) (der []byte, ok bool, err error) {
	for i, p := range c.passphrases {
		if err := c.work.take(part.encryption.cost()); err != nil {
			return nil, false, err
		}
		secret := part.encryption.derivation.secret(p)
		if der, ok, err = part.encryption.decrypt(part.content, secret); err != nil {
			return nil, false, err
		}
		if ok {
			c.prefer(i)
			return der, true, nil
		}
	}
	return nil, false, nil
}

// onePassword is the way out of a file with several passwords: neither OpenSSL
// nor keytool converts one.
const onePassword = ": make the file again, with one password for all of it"

// decryptSafes reads what the encrypted safes hold.
func (c *container) decryptSafes() error {
	for i := range c.encrypted {
		der, ok, err := c.decrypt(&c.encrypted[i])
		if err != nil {
			return err
		}
		if !ok && c.mac == nil {
			return c.notDecrypted()
		}
		if !ok {
			return errors.New("the password is that of the file, but its certificates have another" + onePassword)
		}
		if err := c.readBags(der, "encrypted safe"); err != nil {
			return err
		}
	}
	return nil
}

// notDecrypted is for files without a MAC.
func (c *container) notDecrypted() error {
	return fmt.Errorf("%w, or the file is damaged: it has no MAC to tell one from the other%s", ErrIncorrectPassword, c.doubt())
}

func (c *container) privateKey() (crypto.Signer, error) {
	if c.key == nil {
		return nil, errors.New("the file has no private key: export the certificate together with its key")
	}
	if len(c.certificates) == 0 {
		return nil, errors.New("the file has a private key but no certificate: export the key together with its certificate")
	}
	if c.key.algorithm == nil {
		return parseKey(c.key.content)
	}
	if c.key.encryption.newCipher == nil { // it was in an encrypted safe
		if err := c.prepare(c.key); err != nil {
			return nil, err
		}
	}
	der, ok, err := c.decrypt(c.key)
	if err != nil {
		return nil, err
	}
	if !ok && c.mac == nil {
		return nil, c.notDecrypted()
	}
	if !ok {
		return nil, errors.New("the password is that of the file, but its private key has another" + onePassword)
	}
	return parseKey(der)
}

// bundle parses the certificates. One that Go does not parse can only be the
// leaf that the device needs, or one that it does not: a handshake has no use
// for it.
func (c *container) bundle(key crypto.Signer) (*Bundle, error) {
	var certificates []*x509.Certificate
	var unread [][]byte
	for _, der := range c.certificates {
		certificate, err := x509.ParseCertificate(der)
		if err != nil {
			unread = append(unread, der)
			continue
		}
		certificates = append(certificates, certificate)
	}
	b, err := newBundle(key, certificates)
	if err == nil || len(unread) == 0 {
		return b, err
	}
	public, marshalErr := x509.MarshalPKIXPublicKey(key.Public())
	if marshalErr != nil {
		return nil, err
	}
	for _, der := range unread {
		if isOf(public, der) {
			return nil, fmt.Errorf("the certificate of the private key is not valid%s: have another issued for it", reason(der))
		}
	}
	if len(certificates) == 0 {
		return nil, fmt.Errorf("none of the file's certificates (%d) can be read: export the key together with its own certificate", len(unread))
	}
	return nil, fmt.Errorf("%w (%d more cannot be read)", err, len(unread))
}
