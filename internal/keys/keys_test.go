package keys_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"io"
	"math/big"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov/internal/keys"
)

// hardware is a key that shows nothing but its public half.
type hardware struct{ public crypto.PublicKey }

func (h hardware) Public() crypto.PublicKey { return h.public }
func (hardware) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	panic("nobody has asked for a signature")
}

// rsaOf has the public half of an RSA key of so many bits.
func rsaOf(bits uint) hardware {
	return hardware{&rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), bits-1), E: 65537}}
}

func ecdsaOn(t *testing.T, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	require.NoError(t, err)
	return key
}

// The rule is AWS's (AWS IoT API reference, CreateCertificateFromCsr).
func TestCheck(t *testing.T) {
	_, edwards, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	for name, test := range map[string]struct {
		key  crypto.Signer
		says string
	}{
		"RSA of 2048 bits":           {rsaOf(2048), ""},
		"RSA of 8192 bits":           {rsaOf(8192), ""},
		"RSA of 2047 bits":           {rsaOf(2047), "RSA of 2047 bits"},
		"RSA of 1024 bits":           {rsaOf(1024), "RSA of 1024 bits"},
		"P-256":                      {ecdsaOn(t, elliptic.P256()), ""},
		"P-384":                      {ecdsaOn(t, elliptic.P384()), ""},
		"P-521":                      {ecdsaOn(t, elliptic.P521()), ""},
		"P-224":                      {ecdsaOn(t, elliptic.P224()), "on the curve P-224"},
		"P-256 in hardware":          {hardware{ecdsaOn(t, elliptic.P256()).Public()}, ""},
		"Ed25519":                    {edwards, "is Ed25519: AWS IoT takes"},
		"a public half that is none": {hardware{"a secret"}, "is of another kind"},
		"no public half":             {hardware{nil}, "has no public half"},
		"a public half that is nil":  {hardware{(*rsa.PublicKey)(nil)}, "has no public half"},
		"nil":                        {nil, "the private key is nil"},
		"a nil pointer":              {(*ecdsa.PrivateKey)(nil), "the private key is nil"},
	} {
		t.Run(name, func(t *testing.T) {
			err := keys.Check(test.key)
			if test.says == "" {
				assert.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, test.says)
			assert.NotContains(t, err.Error(), "a secret")
		})
	}
}

func TestGenerate(t *testing.T) {
	one, err := keys.Generate()
	require.NoError(t, err)
	require.NoError(t, keys.Check(one))
	assert.Equal(t, elliptic.P256(), one.Public().(*ecdsa.PublicKey).Curve)
	another, err := keys.Generate()
	require.NoError(t, err)
	assert.False(t, keys.Same(one.Public(), another.Public()))
}

func TestSame(t *testing.T) {
	key, another := ecdsaOn(t, elliptic.P256()), ecdsaOn(t, elliptic.P256())
	copied := key.PublicKey
	edwards, _, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	for name, test := range map[string]struct {
		a, b crypto.PublicKey
		same bool
	}{
		"the same":           {key.Public(), &copied, true},
		"another":            {key.Public(), another.Public(), false},
		"of another curve":   {key.Public(), ecdsaOn(t, elliptic.P384()).Public(), false},
		"of another kind":    {key.Public(), rsaOf(2048).public, false},
		"Ed25519":            {edwards, edwards, true},
		"something and nil":  {key.Public(), nil, false},
		"nil and something":  {nil, key.Public(), false},
		"nil and nil":        {nil, nil, false},
		"no keys, but equal": {"a", "a", false},
	} {
		t.Run(name, func(t *testing.T) { assert.Equal(t, test.same, keys.Same(test.a, test.b)) })
	}
}

func TestIsNil(t *testing.T) {
	assert.True(t, keys.IsNil(nil))
	assert.True(t, keys.IsNil((*rsa.PrivateKey)(nil)))
	assert.False(t, keys.IsNil(hardware{}))
	assert.False(t, keys.IsNil(&hardware{}))
}
