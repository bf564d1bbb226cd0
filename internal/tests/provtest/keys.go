package provtest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/pem"
	"io"
	"testing"

	"github.com/stretchr/testify/require"
)

// HardwareKey signs with Signer, and shows nothing else but its public half, as a TPM
// does.
type HardwareKey struct{ Signer crypto.Signer }

// NewHardwareKey makes a key of the curve P-256.
func NewHardwareKey(t testing.TB) *HardwareKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return &HardwareKey{key}
}

// Public returns the public half.
func (k HardwareKey) Public() crypto.PublicKey { return k.Signer.Public() }

// Sign signs a digest.
func (k HardwareKey) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return k.Signer.Sign(random, digest, opts)
}

// PEM encodes one block.
func PEM(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// PEMBlocks decodes all blocks of a file.
func PEMBlocks(data []byte) []*pem.Block {
	var blocks []*pem.Block
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		blocks = append(blocks, block)
	}
	return blocks
}
