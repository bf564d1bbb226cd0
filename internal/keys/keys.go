// Package keys checks and compares the private keys of devices, and makes them while
// something else is going on.
package keys

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
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
	default:
		return fmt.Errorf("the private key's public half is a %T: %s", public, accepted)
	}
	return nil
}

// Same reports whether two public keys are the same.
func Same(a, b crypto.PublicKey) bool {
	key, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && key.Equal(b)
}

// IsNil reports whether key is nil, or a nil pointer in an interface, which would
// panic when asked for its public half.
func IsNil(key crypto.Signer) bool {
	value := reflect.ValueOf(key)
	return key == nil || value.Kind() == reflect.Pointer && value.IsNil()
}
