// Package tokenkeys keeps the private keys of a device in a PKCS #11 token: an HSM, a
// smart card, a USB token, or a secure element or TPM with a module for it. It needs
// cgo, since a module is a shared library.
package tokenkeys

import (
	"context"
	"crypto"
	"fmt"
)

// Algorithm is what kind of keys a [Keyring] makes. It finds the others, too.
type Algorithm int

const (
	P256    Algorithm = iota // ECDSA on P-256
	RSA2048                  // RSA of 2048 bits
)

// Keyring is a [fleetprov.Keyring] in a token. Its methods are safe for concurrent use,
// and take turns.
type Keyring struct {
	token     *token
	algorithm Algorithm
}

// New returns the keyring of the token of that label, through the module at a path. The
// PIN is that of the user. New does no I/O.
//
// A token locks itself after a few wrong PINs. So a PIN that was refused is not tried
// again, and the last try that the token tells of is left to a person.
func New(module, label, pin string, algorithm Algorithm) *Keyring {
	return &Keyring{token: newToken(module, label, pin), algorithm: algorithm}
}

// Generate implements [fleetprov.Keyring]. What is there under label goes first, so that
// a power failure can leave nothing, or half a key pair, which counts as nothing.
func (k *Keyring) Generate(ctx context.Context, label string) (crypto.Signer, error) {
	key, err := use(ctx, k.token, func(s *session) (*signer, error) {
		if err := s.destroy(label); err != nil {
			return nil, err
		}
		return s.generate(label, k.algorithm)
	})
	if err != nil {
		return nil, fmt.Errorf("making the key %s: %w", label, err)
	}
	key.token = k.token
	return key, nil
}

// Key implements [fleetprov.Keyring].
func (k *Keyring) Key(ctx context.Context, label string) (crypto.Signer, error) {
	key, err := use(ctx, k.token, func(s *session) (*signer, error) { return s.key(label) })
	if err != nil {
		return nil, fmt.Errorf("finding the key %s: %w", label, err)
	}
	key.token = k.token
	return key, nil
}
