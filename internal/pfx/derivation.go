package pfx

import (
	"bytes"
	pbkdf "crypto/pbkdf2"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"hash"
	"math/big"

	"golang.org/x/crypto/cryptobyte"
	tag "golang.org/x/crypto/cryptobyte/asn1"
)

// digest is a hash function. Its cost is that of one call, where SHA-1 and
// SHA-256 have 1: SHA-512 takes twice their time and more.
type digest struct {
	new  func() hash.Hash
	cost int
}

// digests are the hash functions by their own name and by that of their HMAC.
var digests = map[string]digest{
	"1.3.14.3.2.26":          {sha1.New, 1},
	"2.16.840.1.101.3.4.2.4": {sha256.New224, 1},
	"2.16.840.1.101.3.4.2.1": {sha256.New, 1},
	"2.16.840.1.101.3.4.2.2": {sha512.New384, 2},
	"2.16.840.1.101.3.4.2.3": {sha512.New, 2},
	"2.16.840.1.101.3.4.2.5": {sha512.New512_224, 2},
	"2.16.840.1.101.3.4.2.6": {sha512.New512_256, 2},
	hmacWithSHA1:             {sha1.New, 1},
	hmacWithSHA224:           {sha256.New224, 1},
	hmacWithSHA256:           {sha256.New, 1},
	hmacWithSHA384:           {sha512.New384, 2},
	hmacWithSHA512:           {sha512.New, 2},
	hmacWithSHA512_224:       {sha512.New512_224, 2},
	hmacWithSHA512_256:       {sha512.New512_256, 2},
}

// keyDerivation makes keys of passwords.
type keyDerivation struct {
	pbkdf2     bool // RFC 8018 section 5.2, and RFC 7292 appendix B.2 if not
	digest     digest
	salt       []byte
	iterations int
}

// What a key of RFC 7292 is for.
const (
	forKey  = 1
	forIV   = 2
	forHMAC = 3
)

// cost is the number of hashes that keys of the given lengths take. 32 bits are
// not enough for what a file may ask for.
func (d keyDerivation) cost(lengths ...int) int64 {
	n := 0
	for _, length := range lengths {
		size := d.digest.new().Size()
		n += (length + size - 1) / size
	}
	if d.pbkdf2 {
		n *= 2 // an HMAC is two hashes
	}
	return int64(n) * int64(d.iterations) * int64(d.digest.cost)
}

// secret is what the password is for this derivation.
func (d keyDerivation) secret(p passphrase) []byte {
	if d.pbkdf2 {
		return p.bytes
	}
	return p.utf16
}

func (d keyDerivation) derive(purpose byte, secret []byte, length int) ([]byte, error) {
	if !d.pbkdf2 {
		return deriveKey(d, purpose, secret, length), nil
	}
	key, err := pbkdf.Key(d.digest.new, string(secret), d.salt, d.iterations, length)
	if err != nil {
		return nil, errNotApproved() // it has no other reason
	}
	return key, nil
}

// deriveKey is RFC 7292 appendix B.2, whose names it uses.
func deriveKey(d keyDerivation, id byte, secret []byte, length int) []byte {
	h := d.digest.new()
	v := h.BlockSize()
	diversifier := bytes.Repeat([]byte{id}, v)
	input := append(fill(d.salt, v), fill(secret, v)...)
	var key []byte
	for {
		h.Reset()
		h.Write(diversifier)
		h.Write(input)
		a := h.Sum(nil)
		for range d.iterations - 1 {
			h.Reset()
			h.Write(a)
			a = h.Sum(a[:0])
		}
		if key = append(key, a...); len(key) >= length {
			return key[:length]
		}
		b := new(big.Int).SetBytes(fill(a, v)[:v])
		b.Add(b, big.NewInt(1))
		for i := 0; i < len(input); i += v {
			block := new(big.Int).SetBytes(input[i : i+v])
			sum := block.Add(block, b).FillBytes(make([]byte, v+1))
			copy(input[i:], sum[1:])
		}
	}
}

// fill repeats s up to the next multiple of size. Nothing stays nothing.
func fill(s []byte, size int) []byte {
	if len(s) == 0 {
		return nil
	}
	length := (len(s) + size - 1) / size * size
	return bytes.Repeat(s, length/len(s)+1)[:length]
}

// readPBKDF2 reads the content of the AlgorithmIdentifier of a key derivation
// function, which must be PBKDF2 (RFC 8018 appendix A.2). The length is 0 if the
// cipher says it. An algorithm that is not supported is no error, but in uses.
func (c *container) readPBKDF2(purpose string, algorithm cryptobyte.String) (d keyDerivation, length int, err error) {
	errDamaged := damaged("key derivation")
	id, parameters, ok := readAlgorithm(algorithm)
	if !ok {
		return d, 0, errDamaged
	}
	if id != pbkdf2 {
		c.uses = append(c.uses, use{purpose, id, false})
		return d, 0, nil
	}
	var salt, prf cryptobyte.String
	if parameters, ok = readSequence(parameters); !ok || !parameters.ReadASN1(&salt, tag.OCTET_STRING) {
		return d, 0, errDamaged
	}
	d.pbkdf2, d.salt = true, salt
	if d.iterations, err = readIterations(&parameters); err != nil {
		return d, 0, err
	}
	if parameters.PeekASN1Tag(tag.INTEGER) && !parameters.ReadASN1Integer(&length) {
		return d, 0, errDamaged
	}
	id = hmacWithSHA1
	if !parameters.Empty() {
		if !parameters.ReadASN1(&prf, tag.SEQUENCE) {
			return d, 0, errDamaged
		}
		if id, _, ok = readAlgorithm(prf); !ok {
			return d, 0, errDamaged
		}
	}
	d.digest, ok = digests[id]
	c.uses = append(c.uses, use{purpose, id, ok})
	return d, length, nil
}

// readIterations reads the number of iterations of a key derivation.
func readIterations(s *cryptobyte.String) (int, error) {
	if !s.PeekASN1Tag(tag.INTEGER) {
		return 0, damaged("key derivation")
	}
	var n int64
	if !s.ReadASN1Integer(&n) || n < 1 || n > maxIterations {
		return 0, fmt.Errorf("the file has an iteration count that is not between 1 and %d: export it again with fewer, such as 10000", maxIterations)
	}
	return int(n), nil
}

// work is what the keys of a file may cost, in hashes.
type work struct{ left int64 }

// take is asked before a key is derived.
func (w *work) take(cost int64) error {
	if cost > w.left {
		return errTooMuchWork
	}
	w.left -= cost
	return nil
}

var errTooMuchWork = errors.New("the iteration counts of the file are too high together: export it again with fewer iterations, such as 10000")
