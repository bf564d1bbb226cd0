package tokenkeys

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/asn1"
	"testing"

	"github.com/stretchr/testify/require"
)

func FuzzParseECDSA(f *testing.F) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(f, err)
	uncompressed, err := key.PublicKey.Bytes()
	require.NoError(f, err)
	point, err := asn1.Marshal(uncompressed)
	require.NoError(f, err)
	f.Add(p256, point)
	f.Add(p384, point)
	f.Add(p256, uncompressed)
	f.Fuzz(func(t *testing.T, params, point []byte) {
		key, err := parseECDSA(params, point)
		if err != nil {
			require.Nil(t, key)
			return
		}
		_, err = key.ECDH() // which takes points on the curve only
		require.NoError(t, err)
	})
}

func FuzzEncodeECDSA(f *testing.F) {
	f.Add(make([]byte, 64))
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, signature []byte) {
		der, err := encodeECDSA(signature)
		if err != nil {
			require.Nil(t, der)
			return
		}
		var numbers []asn1.RawValue
		rest, err := asn1.Unmarshal(der, &numbers)
		require.NoError(t, err)
		require.Empty(t, rest)
		require.Len(t, numbers, 2)
	})
}
