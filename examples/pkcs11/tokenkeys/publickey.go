package tokenkeys

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/asn1"
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"

	"github.com/miekg/pkcs11"
)

// The curves, as DER of their object identifiers (RFC 5480, section 2.1.1.1).
var (
	p256 = []byte{0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07}
	p384 = []byte{0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22}
)

// publicKey reads the public half of a key pair.
func (s *session) publicKey(object pkcs11.ObjectHandle) (crypto.PublicKey, error) {
	value, err := s.attribute(object, pkcs11.CKA_KEY_TYPE)
	if err != nil {
		return nil, err
	}
	switch kind := ulong(value); kind {
	case pkcs11.CKK_EC:
		return s.ecdsaKey(object)
	case pkcs11.CKK_RSA:
		return s.rsaKey(object)
	default:
		return nil, fmt.Errorf("it is neither RSA nor on an elliptic curve, but of the type %#x", kind)
	}
}

// ulong reads a CK_ULONG, which is as long as C's unsigned long.
func ulong(value []byte) uint64 {
	switch len(value) {
	case 4:
		return uint64(binary.NativeEndian.Uint32(value))
	case 8:
		return binary.NativeEndian.Uint64(value)
	default:
		return 1<<64 - 1 // no value that this package knows
	}
}

func (s *session) ecdsaKey(object pkcs11.ObjectHandle) (*ecdsa.PublicKey, error) {
	params, err := s.attribute(object, pkcs11.CKA_EC_PARAMS)
	if err != nil {
		return nil, err
	}
	point, err := s.attribute(object, pkcs11.CKA_EC_POINT)
	if err != nil {
		return nil, err
	}
	return parseECDSA(params, point)
}

// parseECDSA reads a curve and a point on it, which is in an OCTET STRING.
func parseECDSA(params, point []byte) (*ecdsa.PublicKey, error) {
	var curve elliptic.Curve
	switch {
	case bytes.Equal(params, p256):
		curve = elliptic.P256()
	case bytes.Equal(params, p384):
		curve = elliptic.P384()
	default:
		return nil, fmt.Errorf("it is on neither P-256 nor P-384, but on %x", params)
	}
	var uncompressed []byte
	if rest, err := asn1.Unmarshal(point, &uncompressed); err != nil || len(rest) > 0 {
		return nil, errors.New("its point is not an OCTET STRING")
	}
	return ecdsa.ParseUncompressedPublicKey(curve, uncompressed)
}

func (s *session) rsaKey(object pkcs11.ObjectHandle) (*rsa.PublicKey, error) {
	modulus, err := s.attribute(object, pkcs11.CKA_MODULUS)
	if err != nil {
		return nil, err
	}
	exponent, err := s.attribute(object, pkcs11.CKA_PUBLIC_EXPONENT)
	if err != nil {
		return nil, err
	}
	e := new(big.Int).SetBytes(exponent)
	if e.BitLen() > 31 {
		return nil, errors.New("its public exponent is larger than Go's crypto/rsa takes")
	}
	return &rsa.PublicKey{N: new(big.Int).SetBytes(modulus), E: int(e.Int64())}, nil
}
