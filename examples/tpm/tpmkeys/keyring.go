// Package tpmkeys keeps the private keys of a device in a TPM 2.0.
//
// A key is made in the TPM, below its storage root key, and never leaves it in clear:
// what is stored beside the device's credentials is the key as the TPM has encrypted it
// for itself. So the TPM's own small memory is left alone, and putting a file in the
// place of another replaces a key whole.
package tpmkeys

import (
	"context"
	"crypto"
	"fmt"
	"io/fs"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"github.com/fleetprov/fleetprov"
)

// Algorithm is what kind of keys a [Keyring] makes. It finds the others, too.
type Algorithm int

const (
	P256    Algorithm = iota // ECDSA on P-256
	RSA2048                  // RSA of 2048 bits, which signs by RSA-PSS or PKCS #1
)

// Keyring is a [fleetprov.Keyring] in a TPM. Its methods are safe for concurrent use,
// and take turns.
type Keyring struct {
	tpm       *tpm
	store     fleetprov.Store
	algorithm Algorithm
}

// New returns the keyring of a TPM. The path is that of a device file, or of the Unix
// socket of an emulator. On Linux it should be /dev/tpmrm0: behind that, the kernel
// frees what a program that was killed has left in the TPM; behind /dev/tpm0 nobody
// does. The keys go to store, where label has the file label.tpm. New does no I/O.
func New(path string, store fleetprov.Store, algorithm Algorithm) *Keyring {
	return &Keyring{tpm: newTPM(path), store: store, algorithm: algorithm}
}

// Generate implements [fleetprov.Keyring]. The key replaces the one of that label when
// it is stored, in one step.
func (k *Keyring) Generate(ctx context.Context, label string) (crypto.Signer, error) {
	file, err := use(ctx, k.tpm, func(t transport.TPM) (*keyFile, error) { return create(t, k.algorithm) })
	if err != nil {
		return nil, fmt.Errorf("making the key %s: %w", label, err)
	}
	signer, err := k.signer(file)
	if err != nil {
		return nil, fmt.Errorf("making the key %s: %w", label, err)
	}
	if err := k.store.Put(ctx, fileName(label), file.encode()); err != nil {
		return nil, fmt.Errorf("storing the key %s: %w", label, err)
	}
	return signer, nil
}

// Key implements [fleetprov.Keyring]. A key that this TPM does not take, because
// another one has made it or because this one was cleared since, is not there; nor is
// one whose file is damaged.
func (k *Keyring) Key(ctx context.Context, label string) (crypto.Signer, error) {
	data, err := k.store.Get(ctx, fileName(label))
	if err != nil {
		return nil, fmt.Errorf("reading the key %s: %w", label, err)
	}
	file, err := decode(data)
	if err != nil {
		return nil, fmt.Errorf("%s is damaged (%w): %w", fileName(label), err, fs.ErrNotExist)
	}
	_, err = use(ctx, k.tpm, func(t transport.TPM) (struct{}, error) {
		return struct{}{}, withKey(t, file, func(tpm2.NamedHandle) error { return nil })
	})
	if err != nil {
		return nil, fmt.Errorf("loading the key %s: %w", label, err)
	}
	signer, err := k.signer(file)
	if err != nil {
		return nil, fmt.Errorf("%s is damaged (%w): %w", fileName(label), err, fs.ErrNotExist)
	}
	return signer, nil
}

func fileName(label string) string { return label + ".tpm" }

func (k *Keyring) signer(file *keyFile) (*signer, error) {
	public, err := file.public()
	if err != nil {
		return nil, err
	}
	return &signer{tpm: k.tpm, file: file, public: public}, nil
}
