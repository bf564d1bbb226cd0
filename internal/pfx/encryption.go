package pfx

import (
	"golang.org/x/crypto/cryptobyte"
	tag "golang.org/x/crypto/cryptobyte/asn1"
)

// checkEncryption accepts the algorithms that go-pkcs12 decrypts, and adds their
// iterations to those of the file.
func (c *container) checkEncryption(algorithm cryptobyte.String) error {
	id, parameters, ok := readAlgorithm(algorithm)
	if !ok {
		return damaged("encryption parameters")
	}
	switch id {
	case pbeWithSHAAnd3KeyTripleDES, pbeWithSHAAnd128BitRC2, pbeWithSHAAnd40BitRC2:
		if !parameters.SkipASN1(tag.OCTET_STRING) {
			return damaged("encryption parameters")
		}
		iterations, err := readIterations(&parameters)
		c.iterations += iterations
		return err
	case pbes2:
		var kdf, scheme cryptobyte.String
		if !parameters.ReadASN1(&kdf, tag.SEQUENCE) || !parameters.ReadASN1(&scheme, tag.SEQUENCE) {
			return damaged("encryption parameters")
		}
		derivation, err := readKeyDerivation("the encryption", kdf)
		if err != nil {
			return err
		}
		c.iterations += derivation.iterations
		switch derivation.prf {
		case hmacWithSHA1, hmacWithSHA256, hmacWithSHA512:
		default:
			return unsupported("the encryption", derivation.prf)
		}
		cipher, _, ok := readAlgorithm(scheme)
		if !ok {
			return damaged("encryption parameters")
		}
		switch cipher {
		case aes128CBC, aes192CBC, aes256CBC:
			return nil
		}
		return unsupported("the encryption", cipher)
	}
	return unsupported("the encryption", id)
}
