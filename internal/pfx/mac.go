package pfx

import (
	"bytes"
	"crypto/hmac"
	pbkdf "crypto/pbkdf2"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"hash"

	"golang.org/x/crypto/cryptobyte"
	tag "golang.org/x/crypto/cryptobyte/asn1"
)

// digests are the hash functions by their own name and by that of their HMAC.
var digests = map[string]func() hash.Hash{
	"1.3.14.3.2.26":          sha1.New,
	"2.16.840.1.101.3.4.2.4": sha256.New224,
	"2.16.840.1.101.3.4.2.1": sha256.New,
	"2.16.840.1.101.3.4.2.2": sha512.New384,
	"2.16.840.1.101.3.4.2.3": sha512.New,
	hmacWithSHA1:             sha1.New,
	hmacWithSHA224:           sha256.New224,
	hmacWithSHA256:           sha256.New,
	hmacWithSHA384:           sha512.New384,
	hmacWithSHA512:           sha512.New,
}

// mac is the MacData of a file (RFC 7292 section 4): what proves the password
// and that the file is whole.
type mac struct {
	digest     []byte
	hash       func() hash.Hash
	salt       []byte
	iterations int

	// Of PBMAC1 only, which derives its key with PBKDF2 (RFC 9579). For the key
	// derivation of RFC 7292, prf is nil.
	prf       func() hash.Hash
	keyLength int
}

func readMAC(s *cryptobyte.String) (*mac, error) {
	var data, digestInfo, algorithm, digest, salt cryptobyte.String
	if !s.ReadASN1(&data, tag.SEQUENCE) || !data.ReadASN1(&digestInfo, tag.SEQUENCE) ||
		!digestInfo.ReadASN1(&algorithm, tag.SEQUENCE) || !digestInfo.ReadASN1(&digest, tag.OCTET_STRING) ||
		!data.ReadASN1(&salt, tag.OCTET_STRING) {
		return nil, damaged("MAC")
	}
	id, parameters, ok := readAlgorithm(algorithm)
	if !ok {
		return nil, damaged("MAC")
	}
	if id == pbmac1 {
		return readPBMAC1(digest, parameters)
	}
	m := &mac{digest: digest, hash: digests[id], salt: salt, iterations: 1}
	if m.hash == nil {
		return nil, unsupported("the MAC", id)
	}
	if data.Empty() {
		return m, nil
	}
	var err error
	if m.iterations, err = readIterations(&data); err != nil {
		return nil, err
	}
	return m, nil
}

func readPBMAC1(digest []byte, parameters cryptobyte.String) (*mac, error) {
	var kdf, scheme cryptobyte.String
	if !parameters.ReadASN1(&kdf, tag.SEQUENCE) || !parameters.ReadASN1(&scheme, tag.SEQUENCE) {
		return nil, damaged("MAC")
	}
	derivation, err := readKeyDerivation("the MAC", kdf)
	if err != nil {
		return nil, err
	}
	id, _, ok := readAlgorithm(scheme)
	if !ok {
		return nil, damaged("MAC")
	}
	m := &mac{
		digest:     digest,
		hash:       digests[id],
		salt:       derivation.salt,
		iterations: derivation.iterations,
		prf:        digests[derivation.prf],
		keyLength:  derivation.keyLength,
	}
	if m.hash == nil {
		return nil, unsupported("the MAC", id)
	}
	if m.prf == nil {
		return nil, unsupported("the MAC", derivation.prf)
	}
	// RFC 9579 section 5 and 8: a key of a few bytes can be hit by a wrong
	// password, and one longer than the hash has no use.
	if m.keyLength < 20 || m.keyLength > 64 {
		return nil, errors.New("the MAC key is not between 20 and 64 bytes long")
	}
	return m, nil
}

// matches reports whether the MAC is that of message under the password, which
// is given as it is and as a BMPString.
func (m *mac) matches(message []byte, password string, bmp []byte) (bool, error) {
	key := macKey(m.hash, bmp, m.salt, m.iterations)
	if m.prf != nil {
		var err error
		if key, err = pbkdf.Key(m.prf, password, m.salt, m.iterations, m.keyLength); err != nil {
			return false, fmt.Errorf("the key of the MAC cannot be derived: %w", err)
		}
	}
	h := hmac.New(m.hash, key)
	h.Write(message)
	return hmac.Equal(h.Sum(nil), m.digest), nil
}

// macKey derives a key as RFC 7292 appendix B.2 has it for a MAC. The key is as
// long as the hash, so that one round of step 6 is all there is.
func macKey(newHash func() hash.Hash, bmp, salt []byte, iterations int) []byte {
	const idMAC = 3
	h := newHash()
	h.Write(bytes.Repeat([]byte{idMAC}, h.BlockSize()))
	h.Write(fill(salt, h.BlockSize()))
	h.Write(fill(bmp, h.BlockSize()))
	key := h.Sum(nil)
	for range iterations - 1 {
		h.Reset()
		h.Write(key)
		key = h.Sum(key[:0])
	}
	return key
}

// fill repeats s up to the next multiple of size. Nothing stays nothing.
func fill(s []byte, size int) []byte {
	if len(s) == 0 {
		return nil
	}
	length := (len(s) + size - 1) / size * size
	return bytes.Repeat(s, length/len(s)+1)[:length]
}
