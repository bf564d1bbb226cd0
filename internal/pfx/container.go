package pfx

import (
	"encoding/asn1"
	"errors"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
	tag "golang.org/x/crypto/cryptobyte/asn1"
)

// Object identifiers of RFC 7292 (PKCS#12), RFC 2315 (PKCS#7) and RFC 2985.
var (
	oidData          = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1}
	oidSignedData    = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}
	oidEnvelopedData = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 3}
	oidEncryptedData = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 6}

	oidKeyBag          = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 12, 10, 1, 1}
	oidShroudedKeyBag  = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 12, 10, 1, 2}
	oidCertBag         = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 12, 10, 1, 3}
	oidSafeContentsBag = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 12, 10, 1, 6}

	oidX509Certificate = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 22, 1}
)

// explicit0 is the tag [0] EXPLICIT, and of a constructed [0] IMPLICIT.
var explicit0 = tag.Tag(0).ContextSpecific().Constructed()

// container is a PKCS#12 file (PFX, RFC 7292 section 4). readContainer fills it
// with what can be read without the password; decryptSafes adds what was in
// encrypted safes. Only [parse] holds one.
type container struct {
	mac           *mac   // nil if the file has none
	authenticated []byte // what the MAC is of
	encrypted     []sealed
	key           *sealed  // nil if there is none, or none so far
	certificates  [][]byte // in DER, or what is in place of it

	armored     bool         // in PEM
	uses        []use        // every algorithm that is met, in the order of the file
	passphrases []passphrase // the forms of the password, the likeliest first
	work        work
}

// sealed is a private key or the SafeContents of a safe, encrypted unless the
// algorithm is nil.
type sealed struct {
	algorithm  []byte // the content of the AlgorithmIdentifier
	content    []byte
	encryption encryption // what check makes of algorithm
}

// damaged says which part of the file is not what RFC 7292 says it is.
func damaged(part string) error {
	return fmt.Errorf("the file is damaged: its %s cannot be read", part)
}

func readContainer(der []byte) (*container, error) {
	if err := checkFormat(der); err != nil {
		return nil, err
	}
	var (
		c       container
		input   = cryptobyte.String(der)
		pfx     cryptobyte.String
		version int
	)
	if !input.ReadASN1(&pfx, tag.SEQUENCE) || !pfx.ReadASN1Integer(&version) {
		return nil, damaged("outer structure")
	}
	if version != 3 {
		return nil, fmt.Errorf("the file is PKCS#12 of version %d, where 3 is the only one in use, or damaged", version)
	}
	id, content, ok := readContentInfo(&pfx)
	if !ok {
		return nil, damaged("outer structure")
	}
	if id.Equal(oidSignedData) {
		return nil, errors.New("the file is protected by a signature, which is not supported: export it with a password")
	}
	var authenticated cryptobyte.String
	if !id.Equal(oidData) || !content.ReadASN1(&authenticated, tag.OCTET_STRING) {
		return nil, damaged("outer structure")
	}
	c.authenticated = authenticated
	if err := c.readSafes(authenticated); err != nil {
		return nil, err
	}
	if !pfx.Empty() {
		mac, err := c.readMAC(&pfx)
		if err != nil {
			return nil, err
		}
		c.mac = mac
	}
	return &c, nil
}

func readContentInfo(s *cryptobyte.String) (id asn1.ObjectIdentifier, content cryptobyte.String, ok bool) {
	var info cryptobyte.String
	ok = s.ReadASN1(&info, tag.SEQUENCE) && info.ReadASN1ObjectIdentifier(&id) && info.ReadASN1(&content, explicit0)
	return id, content, ok
}

// readSafes reads an AuthenticatedSafe.
func (c *container) readSafes(ber []byte) error {
	der, ok := toDER(ber)
	input := cryptobyte.String(der)
	var safes cryptobyte.String
	if !ok || !input.ReadASN1(&safes, tag.SEQUENCE) {
		return damaged("list of safes")
	}
	for n := 0; !safes.Empty(); n++ {
		if n == maxSafes {
			return fmt.Errorf("the file has more than %d safes", maxSafes)
		}
		id, content, ok := readContentInfo(&safes)
		if !ok {
			return damaged("list of safes")
		}
		var err error
		switch {
		case id.Equal(oidData):
			err = c.readPlainSafe(content)
		case id.Equal(oidEncryptedData):
			err = c.readEncryptedSafe(content)
		case id.Equal(oidEnvelopedData):
			err = errors.New("the file is encrypted for a public key, which is not supported: export it with a password")
		default:
			err = damaged("list of safes")
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// readPlainSafe reads a safe that is not encrypted as a whole. The key in it
// usually is.
func (c *container) readPlainSafe(content cryptobyte.String) error {
	var ber cryptobyte.String
	if !content.ReadASN1(&ber, tag.OCTET_STRING) {
		return damaged("unencrypted safe")
	}
	return c.readSafeContents(ber, "unencrypted safe")
}

// readSafeContents reads a SafeContents. The name is that of the safe for errors.
func (c *container) readSafeContents(ber []byte, name string) error {
	der, ok := toDER(ber)
	if !ok {
		return damaged(name)
	}
	return c.readBags(der, name)
}

// readBags reads a SafeContents in DER. toDER has limited how deep they nest.
func (c *container) readBags(der cryptobyte.String, name string) error {
	var bags cryptobyte.String
	if !der.ReadASN1(&bags, tag.SEQUENCE) {
		return damaged(name)
	}
	for !bags.Empty() {
		var (
			bag, value cryptobyte.String
			id         asn1.ObjectIdentifier
		)
		if !bags.ReadASN1(&bag, tag.SEQUENCE) || !bag.ReadASN1ObjectIdentifier(&id) || !bag.ReadASN1(&value, explicit0) {
			return damaged(name)
		}
		var err error
		switch {
		case id.Equal(oidCertBag):
			err = c.addCertificate(value)
		case id.Equal(oidKeyBag):
			err = c.addKey(sealed{content: value})
		case id.Equal(oidShroudedKeyBag):
			err = c.addShroudedKey(value)
		case id.Equal(oidSafeContentsBag):
			err = c.readBags(value, name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// addCertificate takes a CertBag. Of another kind than X.509 there is only SDSI,
// which nothing uses.
func (c *container) addCertificate(value cryptobyte.String) error {
	var (
		bag, content, certificate cryptobyte.String
		id                        asn1.ObjectIdentifier
	)
	if !value.ReadASN1(&bag, tag.SEQUENCE) || !bag.ReadASN1ObjectIdentifier(&id) || !bag.ReadASN1(&content, explicit0) {
		return damaged("certificate")
	}
	if !id.Equal(oidX509Certificate) {
		return nil
	}
	if !content.ReadASN1(&certificate, tag.OCTET_STRING) {
		return damaged("certificate")
	}
	if len(c.certificates) == maxCertificates {
		return fmt.Errorf("the file has more than %d certificates", maxCertificates)
	}
	c.certificates = append(c.certificates, certificate)
	return nil
}

func (c *container) addKey(key sealed) error {
	if c.key != nil {
		return errors.New("the file has more than one private key: export the one to use, with its certificate")
	}
	if len(key.content) > maxKey {
		return fmt.Errorf("the private key has %d bytes, more than %d", len(key.content), maxKey)
	}
	c.key = &key
	return nil
}

// addShroudedKey takes an EncryptedPrivateKeyInfo (RFC 5958 section 3).
func (c *container) addShroudedKey(value cryptobyte.String) error {
	var info, algorithm, content cryptobyte.String
	if !value.ReadASN1(&info, tag.SEQUENCE) || !info.ReadASN1(&algorithm, tag.SEQUENCE) || !info.ReadASN1(&content, tag.OCTET_STRING) {
		return damaged("encrypted key")
	}
	return c.addKey(sealed{algorithm: algorithm, content: content})
}

// readEncryptedSafe reads an EncryptedData (RFC 2315 section 13).
func (c *container) readEncryptedSafe(content cryptobyte.String) error {
	var (
		data, info, algorithm, ciphertext cryptobyte.String
		version                           int
		id                                asn1.ObjectIdentifier
		whole                             bool
	)
	if !content.ReadASN1(&data, tag.SEQUENCE) || !data.ReadASN1Integer(&version) || !data.ReadASN1(&info, tag.SEQUENCE) ||
		!info.ReadASN1ObjectIdentifier(&id) || !info.ReadASN1(&algorithm, tag.SEQUENCE) ||
		!info.ReadOptionalASN1(&ciphertext, &whole, tag.Tag(0).ContextSpecific()) {
		return damaged("encrypted safe")
	}
	safe := sealed{algorithm: algorithm, content: ciphertext}
	if !whole { // in pieces, as NSS writes it: toDER cannot tell this from a [0] EXPLICIT
		var pieces, piece cryptobyte.String
		if !info.ReadASN1(&pieces, explicit0) {
			return damaged("encrypted safe")
		}
		for !pieces.Empty() {
			if !pieces.ReadASN1(&piece, tag.OCTET_STRING) {
				return damaged("encrypted safe")
			}
			safe.content = append(safe.content, piece...)
		}
	}
	c.encrypted = append(c.encrypted, safe)
	return nil
}
