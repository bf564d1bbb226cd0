package pfx

import (
	"bytes"
	"math/big"
	"os"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/cryptobyte"
	tag "golang.org/x/crypto/cryptobyte/asn1"
)

// noiter.p12 has one iteration everywhere, so that it can be opened some
// thousand times.
func TestTruncatedAnywhereIsDamaged(t *testing.T) {
	data, err := os.ReadFile("testdata/noiter.p12")
	require.NoError(t, err)
	for n := 1; n < len(data); n++ {
		b, err := Parse(data[:n], "secret")
		checkError(t, b, err)
		require.ErrorContains(t, err, "damaged", "%d bytes", n)
		require.NotErrorIs(t, err, ErrIncorrectPassword, "%d bytes", n)
	}
}

func TestOneChangedByteNeverChangesTheIdentity(t *testing.T) {
	data, err := os.ReadFile("testdata/noiter.p12")
	require.NoError(t, err)
	whole, err := Parse(data, "secret")
	require.NoError(t, err)
	opened := 0
	for i := range data {
		damaged := bytes.Clone(data)
		damaged[i] ^= 1 << (i % 8)
		b, err := Parse(damaged, "secret")
		if err != nil {
			checkError(t, b, err)
			continue
		}
		opened++
		checkBundle(t, b)
		require.True(t, whole.Leaf.Equal(b.Leaf), "byte %d", i)
		require.Equal(t, whole.Key, b.Key, "byte %d", i)
	}
	assert.Less(t, opened, 5, "few bytes have no meaning")
}

// Where a parser counts elements before it reads them, two bytes of a file cost
// it a hundred and more.
func TestMemoryIsBounded(t *testing.T) {
	key := newKey(t)
	leaf := certificateBag(issue(t, nil, "device", key))
	many := func(element string) []byte { return bytes.Repeat([]byte(element), (maxFile-2000)/len(element)) }
	encrypted := func(bags []byte) []byte {
		sequence := build(func(b *cryptobyte.Builder) { b.AddASN1(tag.SEQUENCE, func(b *cryptobyte.Builder) { b.AddBytes(bags) }) })
		return file(t, "secret", encryptedSafe{
			algorithm:  build(pbes2Algorithm(t, big.NewInt(1), hmacWithSHA256, aes256CBC)),
			ciphertext: encrypt(t, sequence, "secret", 1),
		}, keyBag(t, key), leaf)
	}
	const emptyBag = "\x30\x09\x06\x01\x2a\xa0\x04\x05\x00\x05\x00"
	tests := map[string][]byte{
		"elements":                 append([]byte{0x30, 0x80, 2, 1, 3}, many("\x30\x00")...),
		"lines of PEM":             many("-----BEGIN PKCS12-----\n"),
		"bags":                     file(t, "secret", encryptedSafe{}, keyBag(t, key), leaf, bag{oidCertBag, many("\x04\x00")}),
		"encrypted elements":       encrypted(many("\x30\x00")),
		"encrypted bags":           encrypted(many(emptyBag)),
		"an encrypted bag, broken": encrypted(append(many(emptyBag), 0x30)),
	}
	for name, data := range tests {
		t.Run(name, func(t *testing.T) {
			require.LessOrEqual(t, len(data), maxFile)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, _ = Parse(data, "secret")
			runtime.ReadMemStats(&after)
			assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(16<<20), "bytes allocated")
		})
	}
}
