package keys_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"io"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov/internal/keys"
)

// signer signs with what it is given.
type signer struct {
	crypto.Signer
	sign func(digest []byte, opts crypto.SignerOpts) ([]byte, error)
}

func (s signer) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return s.sign(digest, opts)
}

func TestTryPSS(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	p256, err := keys.Generate()
	require.NoError(t, err)
	mechanism := errors.New("CKR_MECHANISM_INVALID")
	refuses := func([]byte, crypto.SignerOpts) ([]byte, error) { return nil, mechanism }

	assert.NoError(t, keys.TryPSS(key))
	assert.NoError(t, keys.TryPSS(signer{p256, refuses}), "only RSA keys are tried")

	err = keys.TryPSS(signer{key, refuses})
	assert.ErrorIs(t, err, mechanism)
	assert.ErrorContains(t, err, "TLS 1.3 needs RSA-PSS signatures")

	err = keys.TryPSS(signer{key, func(digest []byte, opts crypto.SignerOpts) ([]byte, error) {
		pss, ok := opts.(*rsa.PSSOptions)
		require.True(t, ok)
		assert.Equal(t, rsa.PSSSaltLengthEqualsHash, pss.SaltLength)
		return rsa.SignPKCS1v15(rand.Reader, key, opts.HashFunc(), digest)
	}})
	assert.ErrorIs(t, err, rsa.ErrVerification, "a token that does not look at the options")
	assert.ErrorContains(t, err, "TLS 1.3 needs RSA-PSS signatures")
}
