package pfx

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/des"

	"golang.org/x/crypto/cryptobyte"
	tag "golang.org/x/crypto/cryptobyte/asn1"
)

// encryption is how a key or a safe is encrypted.
type encryption struct {
	derivation keyDerivation
	newCipher  func(key []byte) (cipher.Block, error)
	keyLength  int
	ivLength   int
	iv         []byte // nil if it is derived too
}

// pbeCiphers are those of RFC 7292 appendix C, with a key and an IV derived as
// in appendix B.
var pbeCiphers = map[string]encryption{
	pbeWithSHAAnd3KeyTripleDES: {newCipher: des.NewTripleDESCipher, keyLength: 24, ivLength: des.BlockSize},
	pbeWithSHAAnd128BitRC2:     {newCipher: newRC2, keyLength: 16, ivLength: rc2BlockSize},
	pbeWithSHAAnd40BitRC2:      {newCipher: newRC2, keyLength: 5, ivLength: rc2BlockSize},
}

var pbes2Ciphers = map[string]encryption{
	aes128CBC: {newCipher: aes.NewCipher, keyLength: 16, ivLength: aes.BlockSize},
	aes192CBC: {newCipher: aes.NewCipher, keyLength: 24, ivLength: aes.BlockSize},
	aes256CBC: {newCipher: aes.NewCipher, keyLength: 32, ivLength: aes.BlockSize},
}

// readEncryption reads the content of an AlgorithmIdentifier. An algorithm that
// is not supported is no error, but in uses: the remedy depends on all of them.
func (c *container) readEncryption(algorithm cryptobyte.String) (e encryption, err error) {
	errDamaged := damaged("encryption parameters")
	id, parameters, ok := readAlgorithm(algorithm)
	if !ok {
		return e, errDamaged
	}
	if id == pbes2 {
		return c.readPBES2(parameters)
	}
	e, ok = pbeCiphers[id]
	c.uses = append(c.uses, use{forEncryption, id, ok})
	if !ok {
		return e, nil
	}
	var salt cryptobyte.String
	if parameters, ok = readSequence(parameters); !ok || !parameters.ReadASN1(&salt, tag.OCTET_STRING) {
		return e, errDamaged
	}
	iterations, err := readIterations(&parameters)
	e.derivation = keyDerivation{digest: digests[hmacWithSHA1], salt: salt, iterations: iterations}
	return e, err
}

// readPBES2 reads PBES2-params (RFC 8018 appendix A.4).
func (c *container) readPBES2(parameters cryptobyte.String) (e encryption, err error) {
	errDamaged := damaged("encryption parameters")
	var kdf, scheme cryptobyte.String
	parameters, ok := readSequence(parameters)
	if !ok || !parameters.ReadASN1(&kdf, tag.SEQUENCE) || !parameters.ReadASN1(&scheme, tag.SEQUENCE) {
		return e, errDamaged
	}
	derivation, _, err := c.readPBKDF2(forEncryption, kdf)
	if err != nil {
		return e, err
	}
	id, parameters, ok := readAlgorithm(scheme)
	if !ok {
		return e, errDamaged
	}
	e, ok = pbes2Ciphers[id]
	c.uses = append(c.uses, use{forEncryption, id, ok})
	if !ok {
		return e, nil
	}
	e.derivation = derivation
	var iv cryptobyte.String
	if !parameters.ReadASN1(&iv, tag.OCTET_STRING) || len(iv) != e.ivLength {
		return e, errDamaged
	}
	e.iv = iv
	return e, nil
}

// cost is the number of hashes that decrypting takes.
func (e encryption) cost() int64 {
	if e.iv != nil {
		return e.derivation.cost(e.keyLength)
	}
	return e.derivation.cost(e.keyLength, e.ivLength)
}

// decrypt returns the plaintext as DER. It is not ok if the secret is wrong: the
// padding and the outer structure show that, if no MAC did.
func (e encryption) decrypt(ciphertext, secret []byte) (der []byte, ok bool, err error) {
	key, err := e.derivation.derive(forKey, secret, e.keyLength)
	if err != nil {
		return nil, false, err
	}
	iv := e.iv
	if iv == nil {
		if iv, err = e.derivation.derive(forIV, secret, e.ivLength); err != nil {
			return nil, false, err
		}
	}
	block, err := e.newCipher(key)
	if err != nil {
		return nil, false, errNotApproved()
	}
	if len(ciphertext) == 0 || len(ciphertext)%e.ivLength != 0 {
		return nil, false, nil
	}
	plaintext := make([]byte, len(ciphertext))
	cipher.NewCBCDecrypter(block, iv).CryptBlocks(plaintext, ciphertext)
	padding := int(plaintext[len(plaintext)-1])
	if padding == 0 || padding > e.ivLength {
		return nil, false, nil
	}
	content := plaintext[:len(plaintext)-padding]
	if !bytes.Equal(plaintext[len(content):], bytes.Repeat([]byte{byte(padding)}, padding)) || len(content) == 0 || content[0] != sequence {
		return nil, false, nil
	}
	der, ok = toDER(content)
	return der, ok, nil
}
