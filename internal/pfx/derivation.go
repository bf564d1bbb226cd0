package pfx

import (
	"fmt"

	"golang.org/x/crypto/cryptobyte"
	tag "golang.org/x/crypto/cryptobyte/asn1"
)

// keyDerivation is the parameters of PBKDF2 (RFC 8018 appendix A.2).
type keyDerivation struct {
	salt       []byte
	iterations int
	keyLength  int    // in bytes; 0 if the cipher says it
	prf        string // the pseudorandom function
}

// readKeyDerivation reads the content of the AlgorithmIdentifier of a key
// derivation function, which must be PBKDF2.
func readKeyDerivation(purpose string, algorithm cryptobyte.String) (d keyDerivation, err error) {
	id, parameters, ok := readAlgorithm(algorithm)
	if !ok {
		return d, damaged("key derivation")
	}
	if id != pbkdf2 {
		return d, unsupported(purpose, id)
	}
	var salt, prf cryptobyte.String
	if !parameters.ReadASN1(&salt, tag.OCTET_STRING) {
		return d, damaged("key derivation")
	}
	d.salt = salt
	if d.iterations, err = readIterations(&parameters); err != nil {
		return d, err
	}
	if parameters.PeekASN1Tag(tag.INTEGER) && !parameters.ReadASN1Integer(&d.keyLength) {
		return d, damaged("key derivation")
	}
	if d.prf = hmacWithSHA1; parameters.Empty() {
		return d, nil
	}
	if !parameters.ReadASN1(&prf, tag.SEQUENCE) {
		return d, damaged("key derivation")
	}
	if d.prf, _, ok = readAlgorithm(prf); !ok {
		return d, damaged("key derivation")
	}
	return d, nil
}

// readIterations reads the number of iterations of a key derivation.
func readIterations(s *cryptobyte.String) (int, error) {
	if !s.PeekASN1Tag(tag.INTEGER) {
		return 0, damaged("key derivation")
	}
	var n int64
	if !s.ReadASN1Integer(&n) || n < 1 || n > maxIterations {
		return 0, fmt.Errorf("the file has an iteration count that is not between 1 and %d", maxIterations)
	}
	return int(n), nil
}
