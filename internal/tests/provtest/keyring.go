package provtest

import (
	"cmp"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"sync"
)

// Keyring is a Keyring in memory, whose keys outlive a run as those of a chip do.
type Keyring struct {
	mu   sync.Mutex
	keys map[string]*HardwareKey

	// Fail, if set, is asked before each operation, "key" or "generate", and within
	// Generate: at "replace" the old key is gone, and at "generated" the new one is there.
	Fail func(op, label string) error
}

func NewKeyring() *Keyring { return &Keyring{keys: map[string]*HardwareKey{}} }

func (k *Keyring) failure(op, label string) error {
	if k.Fail == nil {
		return nil
	}
	return k.Fail(op, label)
}

// Key returns the key under label.
func (k *Keyring) Key(ctx context.Context, label string) (crypto.Signer, error) {
	if err := cmp.Or(ctx.Err(), k.failure("key", label)); err != nil {
		return nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	key, ok := k.keys[label]
	if !ok {
		return nil, fmt.Errorf("%s: %w", label, fs.ErrNotExist)
	}
	return key, nil
}

// Generate makes a key of the curve P-256.
func (k *Keyring) Generate(ctx context.Context, label string) (crypto.Signer, error) {
	if err := cmp.Or(ctx.Err(), k.failure("generate", label)); err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	k.Remove(label)
	if err := k.failure("replace", label); err != nil {
		return nil, err
	}
	k.Put(label, &HardwareKey{key})
	if err := k.failure("generated", label); err != nil {
		return nil, err
	}
	return k.Key(ctx, label)
}

// Put puts a key under label.
func (k *Keyring) Put(label string, key *HardwareKey) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.keys[label] = key
}

// Remove removes the key under label.
func (k *Keyring) Remove(label string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.keys, label)
}

// Labels returns the labels that have a key.
func (k *Keyring) Labels() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Sorted(maps.Keys(k.keys))
}
