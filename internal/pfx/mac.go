package pfx

import (
	"bytes"
	"crypto/hmac"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/crypto/cryptobyte"
	tag "golang.org/x/crypto/cryptobyte/asn1"
)

// mac is the MacData of a file (RFC 7292 section 4): what proves the password
// and that the file is whole.
type mac struct {
	value      []byte
	digest     digest
	derivation keyDerivation // PBKDF2 if it is PBMAC1 (RFC 9579)
	keyLength  int
}

// readMAC reads a MacData. An algorithm that is not supported is no error, but
// in uses.
func (c *container) readMAC(s *cryptobyte.String) (*mac, error) {
	var data, digestInfo, algorithm, value, salt cryptobyte.String
	if !s.ReadASN1(&data, tag.SEQUENCE) || !data.ReadASN1(&digestInfo, tag.SEQUENCE) ||
		!digestInfo.ReadASN1(&algorithm, tag.SEQUENCE) || !digestInfo.ReadASN1(&value, tag.OCTET_STRING) ||
		!data.ReadASN1(&salt, tag.OCTET_STRING) {
		return nil, damaged("MAC")
	}
	id, parameters, ok := readAlgorithm(algorithm)
	if !ok {
		return nil, damaged("MAC")
	}
	if id == pbmac1 {
		return c.readPBMAC1(value, parameters)
	}
	d, ok := digests[id]
	c.uses = append(c.uses, use{forMAC, id, ok})
	m := &mac{value: value, digest: d, derivation: keyDerivation{digest: d, salt: salt, iterations: 1}}
	if ok {
		m.keyLength = d.new().Size()
	}
	if data.Empty() {
		return m, nil
	}
	var err error
	if m.derivation.iterations, err = readIterations(&data); err != nil {
		return nil, err
	}
	return m, nil
}

func (c *container) readPBMAC1(value []byte, parameters cryptobyte.String) (*mac, error) {
	var kdf, scheme cryptobyte.String
	parameters, ok := readSequence(parameters)
	if !ok || !parameters.ReadASN1(&kdf, tag.SEQUENCE) || !parameters.ReadASN1(&scheme, tag.SEQUENCE) {
		return nil, damaged("MAC")
	}
	derivation, keyLength, err := c.readPBKDF2(forMAC, kdf)
	if err != nil {
		return nil, err
	}
	id, _, ok := readAlgorithm(scheme)
	if !ok {
		return nil, damaged("MAC")
	}
	d, ok := digests[id]
	c.uses = append(c.uses, use{forMAC, id, ok})
	// RFC 9579 section 5 and 8: a key of a few bytes can be hit by a wrong
	// password, and one longer than the hash has no use.
	if derivation.digest.new != nil && (keyLength < 20 || keyLength > 64) {
		return nil, errors.New("the MAC key is not between 20 and 64 bytes long")
	}
	return &mac{value, d, derivation, keyLength}, nil
}

// authenticate checks the MAC, and puts the form of the password that it was
// made with in front.
func (c *container) authenticate() error {
	var tried [][]byte
	for i, p := range c.passphrases {
		secret := c.mac.derivation.secret(p)
		if slices.ContainsFunc(tried, func(s []byte) bool { return bytes.Equal(s, secret) }) {
			continue
		}
		tried = append(tried, secret)
		if err := c.work.take(c.mac.derivation.cost(c.mac.keyLength)); err != nil {
			return err
		}
		key, err := c.mac.derivation.derive(forHMAC, secret, c.mac.keyLength)
		if err != nil {
			return err
		}
		h := hmac.New(c.mac.digest.new, key)
		h.Write(c.authenticated)
		if hmac.Equal(h.Sum(nil), c.mac.value) {
			c.prefer(i)
			return nil
		}
	}
	return fmt.Errorf("%w, or the file is damaged: its MAC does not match%s", ErrIncorrectPassword, c.doubt())
}

// prefer puts the form of the password that has been right in front.
func (c *container) prefer(i int) {
	p := c.passphrases[i]
	c.passphrases = slices.Insert(slices.Delete(c.passphrases, i, i+1), 0, p)
}
