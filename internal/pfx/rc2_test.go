package pfx

import (
	"encoding/hex"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Those of the vectors of RFC 2268 section 5 whose effective key length is that
// of the key.
func TestRC2(t *testing.T) {
	tests := []struct{ key, plaintext, ciphertext string }{
		{"ffffffffffffffff", "ffffffffffffffff", "278b27e42e2f0d49"},
		{"3000000000000000", "1000000000000001", "30649edf9be7d2c2"},
		{"88bca90e90875a7f0f79c384627bafb2", "0000000000000000", "2269552ab0f85ca6"},
	}
	for _, test := range tests {
		key, err := hex.DecodeString(test.key)
		require.NoError(t, err)
		block, err := hex.DecodeString(test.ciphertext)
		require.NoError(t, err)
		c, err := newRC2(key)
		require.NoError(t, err)
		c.Decrypt(block, block)
		assert.Equal(t, test.plaintext, hex.EncodeToString(block))
	}
	for _, size := range []int{0, 129} {
		_, err := newRC2(make([]byte, size))
		assert.Error(t, err)
	}
}
