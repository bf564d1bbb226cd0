package pfx

import (
	"encoding/asn1"
	"fmt"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	tag "golang.org/x/crypto/cryptobyte/asn1"
)

// Object identifiers of algorithms: RFC 7292 appendix C, RFC 8018 appendix B,
// RFC 9579.
const (
	pbeWithSHAAnd3KeyTripleDES = "1.2.840.113549.1.12.1.3"
	pbeWithSHAAnd128BitRC2     = "1.2.840.113549.1.12.1.5"
	pbeWithSHAAnd40BitRC2      = "1.2.840.113549.1.12.1.6"
	pbmac1                     = "1.2.840.113549.1.5.14"
	pbes2                      = "1.2.840.113549.1.5.13"
	pbkdf2                     = "1.2.840.113549.1.5.12"
	aes128CBC                  = "2.16.840.1.101.3.4.1.2"
	aes192CBC                  = "2.16.840.1.101.3.4.1.22"
	aes256CBC                  = "2.16.840.1.101.3.4.1.42"
	hmacWithSHA1               = "1.2.840.113549.2.7"
	hmacWithSHA224             = "1.2.840.113549.2.8"
	hmacWithSHA256             = "1.2.840.113549.2.9"
	hmacWithSHA384             = "1.2.840.113549.2.10"
	hmacWithSHA512             = "1.2.840.113549.2.11"
)

// readAlgorithm reads the content of an AlgorithmIdentifier. The parameters are
// empty if they are not a SEQUENCE.
func readAlgorithm(algorithm cryptobyte.String) (id string, parameters cryptobyte.String, ok bool) {
	var oid asn1.ObjectIdentifier
	if !algorithm.ReadASN1ObjectIdentifier(&oid) {
		return "", nil, false
	}
	algorithm.ReadASN1(&parameters, tag.SEQUENCE)
	return oid.String(), parameters, true
}

// algorithmNames has the algorithms that files are met with and go-pkcs12 does
// not decrypt.
var algorithmNames = map[string]string{
	"1.2.840.113549.1.12.1.1":   "128-bit RC4",
	"1.2.840.113549.1.12.1.2":   "40-bit RC4",
	"1.2.840.113549.1.12.1.4":   "two-key 3DES",
	"1.2.840.113549.3.7":        "3DES under PBES2",
	"1.2.392.200011.61.1.1.1.2": "Camellia-128",
	"1.2.392.200011.61.1.1.1.3": "Camellia-192",
	"1.2.392.200011.61.1.1.1.4": "Camellia-256",
	"1.3.6.1.4.1.11591.4.11":    "scrypt",
	hmacWithSHA224:              "PBKDF2 with HMAC-SHA-224",
	hmacWithSHA384:              "PBKDF2 with HMAC-SHA-384",
}

// unsupported names an algorithm and the way out of it.
func unsupported(purpose, algorithm string) error {
	name, ok := algorithmNames[algorithm]
	if !ok {
		name = "algorithm " + algorithm
	}
	legacy := ""
	if strings.HasPrefix(algorithm, "1.2.840.113549.1.12.1.") {
		legacy = "-legacy " // an option that LibreSSL and OpenSSL before 3.0 do not have
	}
	return fmt.Errorf("%s uses %s, which is not supported: re-export the file with OpenSSL: %s", purpose, name, exportCommands(legacy))
}

// exportCommands take key and certificates out of a file and make a new one,
// with AES-256 if it is OpenSSL 3 that runs them.
func exportCommands(options string) string {
	return "openssl pkcs12 " + options + "-in claim.pfx -nodes -out claim.pem" +
		" && openssl pkcs12 -export -in claim.pem -out claim-new.pfx" +
		" && rm claim.pem"
}
