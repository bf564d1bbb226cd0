package pfx

import (
	"crypto/x509"
	"math/big"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestPasswordAboveTheBasicMultilingualPlaneIsRefused(t *testing.T) {
	key := newKey(t)
	const password = "correct \U0001F40E battery staple"
	b, err := Parse(file(t, "secret", encryptedSafe{}, keyBag(t, key)), password)
	checkError(t, b, err)
	assert.ErrorContains(t, err, "above U+FFFF")
	assert.NotContains(t, err.Error(), "battery")
	assert.NotErrorIs(t, err, ErrIncorrectPassword)
}

// Some programs make the empty password a BMPString of no bytes, others one of
// two zeros, and each encrypts with what it makes the MAC with.
func TestEmptyPasswordInBothEncodings(t *testing.T) {
	key := newKey(t)
	leaf := issue(t, nil, "device", key)
	for name, bmp := range map[string][]byte{"two zeros": {0, 0}, "no bytes": nil} {
		t.Run(name, func(t *testing.T) {
			data, err := seal(bmp, []bag{keyBag(t, key), certificateBag(leaf)}, encryptedSafe{})
			require.NoError(t, err)
			b, err := Parse(data, "")
			require.NoError(t, err)
			checkBundle(t, b)

			b, err = Parse(data, "secret")
			checkError(t, b, err)
			assert.ErrorIs(t, err, ErrIncorrectPassword)
		})
	}
}

// Who can write the file could otherwise take the MAC away, and put roots of
// their own in, without knowing the password.
func TestPasswordAuthenticatesTheFile(t *testing.T) {
	key := newKey(t)
	sealed := file(t, "secret", encryptedSafe{}, keyBag(t, key), certificateBag(issue(t, nil, "device", key)))
	c, err := readContainer(sealed)
	require.NoError(t, err)
	stripped := fileWithMAC(c.authenticated, nil)

	b, err := Parse(stripped, "secret")
	checkError(t, b, err)
	assert.ErrorContains(t, err, "no MAC")

	b, err = Parse(stripped, "")
	require.NoError(t, err)
	checkBundle(t, b)
}

func TestFailureToDecryptIsExplained(t *testing.T) {
	key := newKey(t)
	leaf := certificateBag(issue(t, nil, "device", key))
	der, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	otherPassword := shroudedKey(pbes2Algorithm(t, big.NewInt(1), hmacWithSHA256, aes256CBC), encrypt(t, der, "other", 1))
	withoutMAC := func(bags ...bag) []byte {
		c, err := readContainer(file(t, "", encryptedSafe{}, bags...))
		require.NoError(t, err)
		return fileWithMAC(c.authenticated, nil)
	}
	tests := map[string]struct {
		data     []byte
		password string
		err      string
		is       bool
	}{
		"the key has another password than the MAC":  {file(t, "secret", encryptedSafe{}, leaf, otherPassword), "secret", "the password is right, but what it protects cannot be read", false},
		"the key has a password and there is no MAC": {withoutMAC(leaf, otherPassword), "", "incorrect password, or the file is damaged", true},
		"nothing has a password, key damaged":        {withoutMAC(leaf, bag{oidKeyBag, []byte{0x30, 0}}), "", "the file is damaged", false},
		"a certificate that is none":                 {file(t, "secret", encryptedSafe{}, keyBag(t, key), certificateBag(&x509.Certificate{Raw: []byte{0x30, 0}})), "secret", "the password is right, but what it protects cannot be read", false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b, err := Parse(test.data, test.password)
			checkError(t, b, err)
			assert.ErrorContains(t, err, test.err)
			if test.is {
				assert.ErrorIs(t, err, ErrIncorrectPassword)
			} else {
				assert.NotErrorIs(t, err, ErrIncorrectPassword)
			}
		})
	}
}

func TestCertificateWithoutKey(t *testing.T) {
	leaf := certificateBag(issue(t, nil, "device", newKey(t)))
	for name, data := range map[string][]byte{
		"encrypted":     file(t, "secret", encryptedBags(t, "secret", leaf)),
		"not encrypted": file(t, "secret", encryptedSafe{}, leaf),
	} {
		b, err := Parse(data, "secret")
		checkError(t, b, err)
		assert.ErrorContains(t, err, "no private key", name)
	}
}
