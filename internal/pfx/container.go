package pfx

import (
	"encoding/asn1"
	"errors"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
	tag "golang.org/x/crypto/cryptobyte/asn1"
)

// Object identifiers of RFC 7292 (PKCS#12) and RFC 2315 (PKCS#7).
var (
	oidData          = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1}
	oidSignedData    = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}
	oidEnvelopedData = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 3}
	oidEncryptedData = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 6}

	oidKeyBag         = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 12, 10, 1, 1}
	oidShroudedKeyBag = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 12, 10, 1, 2}
	oidCertBag        = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 12, 10, 1, 3}
)

// explicit0 is the tag [0] EXPLICIT, and of a constructed [0] IMPLICIT.
var explicit0 = tag.Tag(0).ContextSpecific().Constructed()

// container is a PKCS#12 file (PFX, RFC 7292 section 4) as far as it can be read
// without the password. All of its keys can be derived within the limits.
type container struct {
	mac           *mac   // nil if the file has none
	authenticated []byte // what the MAC is of
	keys          []bag  // of the safes that are not encrypted as a whole
	certificates  []bag
	encrypted     []encryptedSafe
	iterations    int // of everything in the file
}

// bag is a SafeBag without its attributes, which say nothing that key and
// certificates do not.
type bag struct {
	id    asn1.ObjectIdentifier
	value []byte
}

// encryptedSafe is the EncryptedContentInfo of a SafeContents.
type encryptedSafe struct {
	algorithm  []byte // the AlgorithmIdentifier
	ciphertext []byte
}

// damaged says which part of the file is not what RFC 7292 says it is.
func damaged(part string) error {
	return fmt.Errorf("the file is damaged: its %s cannot be read", part)
}

func readContainer(der []byte) (*container, error) {
	var (
		c       container
		input   = cryptobyte.String(der)
		pfx     cryptobyte.String
		version int
	)
	if !input.ReadASN1(&pfx, tag.SEQUENCE) {
		return nil, damaged("outer structure")
	}
	if pfx.PeekASN1Tag(tag.SEQUENCE) {
		return nil, notPKCS12("what may be a certificate in DER")
	}
	if !pfx.ReadASN1Integer(&version) {
		return nil, damaged("outer structure")
	}
	if version == 0 || version == 1 { // of PKCS#1, PKCS#8 and SEC 1
		return nil, notPKCS12("what may be a private key in DER")
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
	if !pfx.Empty() {
		mac, err := readMAC(&pfx)
		if err != nil {
			return nil, err
		}
		c.mac = mac
		c.iterations += mac.iterations
	}
	if err := c.readSafes(authenticated); err != nil {
		return nil, err
	}
	if c.iterations > maxTotalIterations {
		return nil, fmt.Errorf("the file asks for %d iterations in all, more than %d", c.iterations, maxTotalIterations)
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

// readPlainSafe reads the SafeContents of a safe that is not encrypted as a
// whole. The key in it usually is.
func (c *container) readPlainSafe(content cryptobyte.String) error {
	var ber cryptobyte.String
	if !content.ReadASN1(&ber, tag.OCTET_STRING) {
		return damaged("unencrypted safe")
	}
	der, ok := toDER(ber)
	input := cryptobyte.String(der)
	var bags cryptobyte.String
	if !ok || !input.ReadASN1(&bags, tag.SEQUENCE) {
		return damaged("unencrypted safe")
	}
	for !bags.Empty() {
		var (
			s, value cryptobyte.String
			id       asn1.ObjectIdentifier
		)
		if !bags.ReadASN1(&s, tag.SEQUENCE) || !s.ReadASN1ObjectIdentifier(&id) || !s.ReadASN1(&value, explicit0) {
			return damaged("unencrypted safe")
		}
		switch {
		case id.Equal(oidCertBag):
			c.certificates = append(c.certificates, bag{id, value})
		case id.Equal(oidKeyBag), id.Equal(oidShroudedKeyBag):
			c.keys = append(c.keys, bag{id, value})
			if len(c.keys) > 1 {
				return errors.New("the file has more than one private key: export the one to use, with its certificate")
			}
			if len(value) > maxKey {
				return fmt.Errorf("the private key has %d bytes, more than %d", len(value), maxKey)
			}
			if id.Equal(oidShroudedKeyBag) {
				if err := c.checkShroudedKey(value); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// checkShroudedKey looks at how a key (EncryptedPrivateKeyInfo, RFC 5958
// section 3) is encrypted.
func (c *container) checkShroudedKey(value cryptobyte.String) error {
	var info, algorithm cryptobyte.String
	if !value.ReadASN1(&info, tag.SEQUENCE) || !info.ReadASN1(&algorithm, tag.SEQUENCE) {
		return damaged("encrypted key")
	}
	return c.checkEncryption(algorithm)
}

// readEncryptedSafe reads an EncryptedData (RFC 2315 section 13).
func (c *container) readEncryptedSafe(content cryptobyte.String) error {
	var (
		data, info, algorithm, ciphertext cryptobyte.String
		version                           int
		id                                asn1.ObjectIdentifier
		whole                             bool
		safe                              encryptedSafe
	)
	if !content.ReadASN1(&data, tag.SEQUENCE) || !data.ReadASN1Integer(&version) || !data.ReadASN1(&info, tag.SEQUENCE) ||
		!info.ReadASN1ObjectIdentifier(&id) || !info.ReadASN1Element(&algorithm, tag.SEQUENCE) {
		return damaged("encrypted safe")
	}
	safe.algorithm = algorithm
	if !info.ReadOptionalASN1(&ciphertext, &whole, tag.Tag(0).ContextSpecific()) {
		return damaged("encrypted safe")
	}
	safe.ciphertext = ciphertext
	if !whole { // in pieces, as NSS writes it: toDER cannot tell this from a [0] EXPLICIT
		var pieces, piece cryptobyte.String
		if !info.ReadASN1(&pieces, explicit0) {
			return damaged("encrypted safe")
		}
		for !pieces.Empty() {
			if !pieces.ReadASN1(&piece, tag.OCTET_STRING) {
				return damaged("encrypted safe")
			}
			safe.ciphertext = append(safe.ciphertext, piece...)
		}
	}
	c.encrypted = append(c.encrypted, safe)
	if !algorithm.ReadASN1(&algorithm, tag.SEQUENCE) {
		return damaged("encrypted safe")
	}
	return c.checkEncryption(algorithm)
}
