package pfx

import (
	"encoding/asn1"
	"fmt"
	"slices"

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
	scrypt                     = "1.3.6.1.4.1.11591.4.11"
	aes128CBC                  = "2.16.840.1.101.3.4.1.2"
	aes192CBC                  = "2.16.840.1.101.3.4.1.22"
	aes256CBC                  = "2.16.840.1.101.3.4.1.42"
	hmacWithSHA1               = "1.2.840.113549.2.7"
	hmacWithSHA224             = "1.2.840.113549.2.8"
	hmacWithSHA256             = "1.2.840.113549.2.9"
	hmacWithSHA384             = "1.2.840.113549.2.10"
	hmacWithSHA512             = "1.2.840.113549.2.11"
	hmacWithSHA512_224         = "1.2.840.113549.2.12"
	hmacWithSHA512_256         = "1.2.840.113549.2.13"
)

// readAlgorithm reads the content of an AlgorithmIdentifier.
func readAlgorithm(algorithm cryptobyte.String) (id string, parameters cryptobyte.String, ok bool) {
	var oid asn1.ObjectIdentifier
	if !algorithm.ReadASN1ObjectIdentifier(&oid) {
		return "", nil, false
	}
	return oid.String(), algorithm, true
}

// readSequence reads parameters that are one SEQUENCE, as nearly all are.
func readSequence(parameters cryptobyte.String) (content cryptobyte.String, ok bool) {
	ok = parameters.ReadASN1(&content, tag.SEQUENCE)
	return content, ok
}

// use is an algorithm and what a file uses it for. It is supported if this
// package has it in the part that it plays in the file: a hash is no cipher.
type use struct {
	purpose, id string
	supported   bool
}

const (
	forMAC        = "MAC"
	forEncryption = "encryption"
)

// openSSL is what it takes to open a file in which an algorithm is met.
type openSSL int

const (
	noOpenSSL     openSSL = iota // or none that is known
	anyOpenSSL                   // in the default provider of OpenSSL 3
	legacyOpenSSL                // in the legacy provider of OpenSSL 3
)

// algorithmNames has the algorithms that files are met with and that this
// package does not have.
var algorithmNames = map[string]struct {
	name    string
	openSSL openSSL
}{
	"1.2.840.113549.1.5.1":      {"MD2 and DES", noOpenSSL},
	"1.2.840.113549.1.5.3":      {"MD5 and DES", legacyOpenSSL},
	"1.2.840.113549.1.5.4":      {"MD2 and RC2", noOpenSSL},
	"1.2.840.113549.1.5.6":      {"MD5 and RC2", legacyOpenSSL},
	"1.2.840.113549.1.5.10":     {"SHA-1 and DES", legacyOpenSSL},
	"1.2.840.113549.1.5.11":     {"SHA-1 and RC2", legacyOpenSSL},
	"1.2.840.113549.1.12.1.1":   {"128-bit RC4", legacyOpenSSL},
	"1.2.840.113549.1.12.1.2":   {"40-bit RC4", legacyOpenSSL},
	"1.2.840.113549.1.12.1.4":   {"two-key 3DES", anyOpenSSL},
	"1.3.14.3.2.7":              {"DES under PBES2", legacyOpenSSL},
	"1.2.840.113549.3.2":        {"RC2 under PBES2", legacyOpenSSL},
	"1.2.840.113549.3.7":        {"3DES under PBES2", anyOpenSSL},
	"1.2.392.200011.61.1.1.1.2": {"Camellia-128", anyOpenSSL},
	"1.2.392.200011.61.1.1.1.3": {"Camellia-192", anyOpenSSL},
	"1.2.392.200011.61.1.1.1.4": {"Camellia-256", anyOpenSSL},
	"1.2.410.200046.1.1.2":      {"ARIA-128", anyOpenSSL},
	"1.2.410.200046.1.1.7":      {"ARIA-192", anyOpenSSL},
	"1.2.410.200046.1.1.12":     {"ARIA-256", anyOpenSSL},
	"1.2.410.200004.1.4":        {"SEED", legacyOpenSSL},
	"1.3.6.1.4.1.3029.1.2":      {"Blowfish", legacyOpenSSL},
	"1.2.840.113533.7.66.10":    {"CAST5", legacyOpenSSL},
	"1.2.156.10197.1.104.2":     {"SM4", anyOpenSSL},
	"2.16.840.1.101.3.4.1.6":    {"AES-128-GCM", noOpenSSL},
	"2.16.840.1.101.3.4.1.26":   {"AES-192-GCM", noOpenSSL},
	"2.16.840.1.101.3.4.1.46":   {"AES-256-GCM", noOpenSSL},
	"2.16.840.1.101.3.4.1.7":    {"AES-128-CCM", noOpenSSL},
	"2.16.840.1.101.3.4.1.27":   {"AES-192-CCM", noOpenSSL},
	"2.16.840.1.101.3.4.1.47":   {"AES-256-CCM", noOpenSSL},
	scrypt:                      {"scrypt", anyOpenSSL},
	"1.2.840.113549.2.5":        {"MD5", anyOpenSSL},
	"1.2.840.113549.2.6":        {"PBKDF2 with HMAC-MD5", anyOpenSSL},
	"2.16.840.1.101.3.4.2.7":    {"SHA3-224", anyOpenSSL},
	"2.16.840.1.101.3.4.2.8":    {"SHA3-256", anyOpenSSL},
	"2.16.840.1.101.3.4.2.9":    {"SHA3-384", anyOpenSSL},
	"2.16.840.1.101.3.4.2.10":   {"SHA3-512", anyOpenSSL},
	"1.3.36.3.2.1":              {"RIPEMD-160", anyOpenSSL},
	"1.2.156.10197.1.401":       {"SM3", anyOpenSSL},
}

// openSSL says what opens a file with that use. OpenSSL has the legacy provider
// for RC2.
func (u use) openSSL() openSSL {
	switch {
	case u.id == pbeWithSHAAnd128BitRC2, u.id == pbeWithSHAAnd40BitRC2:
		return legacyOpenSSL
	case u.supported:
		return anyOpenSSL
	}
	return algorithmNames[u.id].openSSL
}

// unsupported names an algorithm and the way out of it.
func (c *container) unsupported(u use) error {
	name := algorithmNames[u.id].name
	if name == "" {
		name = "algorithm " + u.id
	}
	advice := c.reexport()
	if slices.ContainsFunc(c.uses, func(u use) bool { return u.openSSL() == noOpenSSL }) {
		advice = "export it again from the program that made it, encrypted with AES-256-CBC"
	}
	return fmt.Errorf("the %s uses %s, which is not supported: %s", u.purpose, name, advice)
}
