// Package keys checks and compares the private keys of devices, and makes them while
// something else is going on.
package keys

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"fmt"
	"reflect"
)

// A key in hardware that cannot be used. The root documents them.
var (
	ErrMissing  = errors.New("the private key is not there")
	ErrMismatch = errors.New("it is another private key")
)

// Generate makes a P-256 key.
func Generate() (crypto.Signer, error) {
	return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
}

// Check accepts the keys that AWS IoT signs certificates for (AWS IoT API reference,
// CreateCertificateFromCsr).
func Check(key crypto.Signer) error {
	const accepted = "AWS IoT takes RSA of at least 2048 bits, P-256, P-384 and P-521"
	if IsNil(key) {
		return errors.New("the private key is nil")
	}
	if IsNil(key.Public()) {
		return fmt.Errorf("the private key has no public half: %s", accepted)
	}
	switch public := key.Public().(type) {
	case *rsa.PublicKey:
		if bits := public.N.BitLen(); bits < 2048 {
			return fmt.Errorf("the private key is RSA of %d bits: %s", bits, accepted)
		}
	case *ecdsa.PublicKey:
		switch public.Curve {
		case elliptic.P256(), elliptic.P384(), elliptic.P521():
		default:
			return fmt.Errorf("the private key is on the curve %s: %s", public.Curve.Params().Name, accepted)
		}
	case ed25519.PublicKey:
		return fmt.Errorf("the private key is Ed25519: %s", accepted)
	default:
		return fmt.Errorf("the private key is of another kind: %s", accepted)
	}
	return nil
}

// TryPSS makes an RSA key sign as it must in TLS 1.3 (RFC 8446, section 4.2.3): with
// RSA-PSS, SHA-256 and a salt as long as the hash. A token that is old may make
// PKCS #1 signatures only, which is enough for a certificate signing request. Other
// keys are not tried.
func TryPSS(key crypto.Signer) error {
	public, ok := key.Public().(*rsa.PublicKey)
	if !ok {
		return nil
	}
	const needs = "TLS 1.3 needs RSA-PSS signatures with SHA-256 and a salt of 32 bytes"
	digest := sha256.Sum256([]byte("fleetprov tries an RSA key"))
	opts := &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256}
	signature, err := key.Sign(rand.Reader, digest[:], opts)
	if err != nil {
		return fmt.Errorf("%s, and the key says: %w", needs, err)
	}
	if err := rsa.VerifyPSS(public, crypto.SHA256, digest[:], signature, opts); err != nil {
		return fmt.Errorf("%s, and the key makes other ones: %w", needs, err)
	}
	return nil
}

// Same reports whether two public keys are the same.
func Same(a, b crypto.PublicKey) bool {
	key, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && key.Equal(b)
}

// IsNil reports whether a private key or the public half of one is nil, or a nil pointer
// in an interface, which would panic when asked for anything.
func IsNil(key any) bool {
	value := reflect.ValueOf(key)
	return key == nil || value.Kind() == reflect.Pointer && value.IsNil()
}
