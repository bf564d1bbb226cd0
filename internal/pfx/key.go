package pfx

import (
	"bytes"
	"cmp"
	"crypto"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	tag "golang.org/x/crypto/cryptobyte/asn1"
)

const (
	keyRSA     = "1.2.840.113549.1.1.1"
	keyEC      = "1.2.840.10045.2.1"
	keyEd25519 = "1.3.101.112"
)

// keyNames has the kinds of keys that files are met with and that TLS or Go
// does not take.
var keyNames = map[string]string{
	"1.2.840.113549.1.1.10": "an RSA-PSS key",
	"1.2.840.113549.1.3.1":  "a Diffie-Hellman key",
	"1.2.840.10040.4.1":     "a DSA key",
	"1.3.101.110":           "an X25519 key",
	"1.3.101.111":           "an X448 key",
	"1.3.101.113":           "an Ed448 key",
	"1.2.156.10197.1.301":   "an SM2 key",
}

// curveNames has the curves that OpenSSL and others make keys on and Go does not.
var curveNames = map[string]string{
	"1.3.132.0.10":          "secp256k1",
	"1.2.840.10045.3.1.1":   "P-192",
	"1.3.36.3.3.2.8.1.1.7":  "brainpoolP256r1",
	"1.3.36.3.3.2.8.1.1.11": "brainpoolP384r1",
	"1.3.36.3.3.2.8.1.1.13": "brainpoolP512r1",
	"1.2.156.10197.1.301":   "SM2",
}

// parseKey parses a private key (PKCS#8).
func parseKey(der []byte) (crypto.Signer, error) {
	key, err := x509.ParsePKCS8PrivateKey(der)
	if signer, ok := key.(crypto.Signer); ok && err == nil {
		return signer, nil
	}
	fault, ok := keyFault(der, err)
	if !ok {
		return nil, damaged("private key")
	}
	return nil, fmt.Errorf("the fault is in the private key itself, %s: make a new key, RSA or on the curve P-256, and have a certificate issued for it", fault)
}

// keyFault says why Go does not take a private key. It is not ok if the key is
// none at all.
func keyFault(der cryptobyte.String, parseErr error) (fault string, ok bool) {
	var info, algorithm cryptobyte.String
	if !der.ReadASN1(&info, tag.SEQUENCE) || !info.SkipASN1(tag.INTEGER) || !info.ReadASN1(&algorithm, tag.SEQUENCE) {
		return "", false
	}
	id, parameters, ok := readAlgorithm(algorithm)
	switch {
	case !ok:
		return "", false
	case id == keyRSA:
		return "an RSA key that is not valid" + plain(parseErr), true
	case id == keyEC:
		return "an EC key " + curveFault(parameters), true
	case id == keyEd25519:
		return "an Ed25519 key that is not valid", true
	case keyNames[id] != "":
		return keyNames[id] + ", which is not supported", true
	}
	return "of a kind that is not supported, " + id, true
}

// curveFault says it of an EC key, whose parameters are its curve.
func curveFault(parameters cryptobyte.String) string {
	var curve asn1.ObjectIdentifier
	if parameters.PeekASN1Tag(tag.SEQUENCE) {
		return "with its curve spelled out instead of named"
	}
	if !parameters.ReadASN1ObjectIdentifier(&curve) {
		return "without a curve"
	}
	switch id := curve.String(); id {
	case "1.3.132.0.33", "1.2.840.10045.3.1.7", "1.3.132.0.34", "1.3.132.0.35": // P-224, 256, 384, 521
		return "that is not valid"
	default:
		return "on a curve that is not supported, " + cmp.Or(curveNames[id], id)
	}
}

// plain is what crypto/x509 says, as far as it makes sense to someone who does
// not write Go.
func plain(err error) string {
	if err == nil {
		return ""
	}
	text := err.Error()
	text = strings.TrimSpace(text[strings.LastIndex(text, ":")+1:])
	if text == "" || strings.ContainsAny(text, "{}&%*") {
		return ""
	}
	return " (" + text + ")"
}

// isOf reports whether an encoded certificate that cannot be parsed as a whole is
// of the public key (SubjectPublicKeyInfo). RFC 5280 section 4.1.
func isOf(public []byte, certificate cryptobyte.String) bool {
	var outer, body, key cryptobyte.String
	ok := certificate.ReadASN1(&outer, tag.SEQUENCE) && outer.ReadASN1(&body, tag.SEQUENCE) &&
		body.SkipOptionalASN1(explicit0) && // version
		body.SkipASN1(tag.INTEGER) && // serial number
		body.SkipASN1(tag.SEQUENCE) && // signature
		body.SkipASN1(tag.SEQUENCE) && // issuer
		body.SkipASN1(tag.SEQUENCE) && // validity
		body.SkipASN1(tag.SEQUENCE) && // subject
		body.ReadASN1Element(&key, tag.SEQUENCE)
	return ok && bytes.Equal(key, public)
}

// reason says why Go does not parse a certificate.
func reason(der []byte) string {
	_, err := x509.ParseCertificate(der)
	return plain(err)
}

// errNotApproved is for programs that run in FIPS 140 mode.
func errNotApproved() error {
	return errors.New("the file uses cryptography that FIPS 140 does not approve, and this program is in FIPS 140 mode: give it certificate and key as PEM instead")
}
