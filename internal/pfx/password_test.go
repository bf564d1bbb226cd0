package pfx

import (
	"crypto/x509"
	"math/big"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Standards and programs differ in what bytes a password is.
func TestPasswordInTheFormsThatProgramsUse(t *testing.T) {
	key := newKey(t)
	leaf := issue(t, nil, "device", key)
	const utf8Password, latin1Password = "p\u00e4ss", "p\xe4ss"
	utf16Of := func(units ...byte) (bmp []byte) {
		for _, unit := range units {
			bmp = append(bmp, 0, unit)
		}
		return append(bmp, 0, 0)
	}
	correct := utf16Of('p', 0xe4, 's', 's')
	tests := map[string]struct {
		password, pbkdf2 string
		bmp              []byte
	}{
		"as the standards say":                 {utf8Password, utf8Password, correct},
		"OpenSSL 1.0 in a UTF-8 terminal":      {utf8Password, utf8Password, utf16Of('p', 0xc3, 0xa4, 's', 's')},
		"OpenSSL 3 in a Latin-1 terminal":      {utf8Password, latin1Password, correct},
		"and the password from that terminal":  {latin1Password, latin1Password, correct},
		"characters that take 32 bits, UTF-16": {"\U0001F511", "\U0001F511", []byte{0xd8, 0x3d, 0xdd, 0x11, 0, 0}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			data, err := seal(test.bmp, []bag{keyBag(t, key)}, encryptedBags(t, test.pbkdf2, certificateBag(leaf)))
			require.NoError(t, err)
			b, err := Parse(data, test.password)
			require.NoError(t, err)
			checkBundle(t, b)

			for _, wrong := range []string{test.password + "x", test.password + "\xff", "", "\xff"} {
				b, err = Parse(data, wrong)
				checkError(t, b, err)
				assert.ErrorIs(t, err, ErrIncorrectPassword)
				assert.Equal(t, !utf8.ValidString(wrong), strings.Contains(err.Error(), "not UTF-8"))
			}
		})
	}
}

func TestEncodeRefusesPasswordsThatProgramsReadDifferently(t *testing.T) {
	key := newKey(t)
	leaf := issue(t, nil, "device", key)
	for password, text := range map[string]string{
		"p\xe4ss":            "the password is not UTF-8",
		"secret\xff":         "the password is not UTF-8",
		"correct \U0001F40E": "a character above U+FFFF",
	} {
		data, err := Encode(key, leaf, nil, password)
		assert.ErrorContains(t, err, text)
		assert.Nil(t, data)
		assert.NotContains(t, err.Error(), password)
	}
	for _, password := range []string{"", "secret", "p\u00e4ss\u20ac"} {
		data, err := Encode(key, leaf, nil, password)
		require.NoError(t, err)
		b, err := Parse(data, password)
		require.NoError(t, err)
		checkBundle(t, b)
	}
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
	leaf := certificateBag(issue(t, nil, "device", key))
	stripped := func(data []byte) []byte {
		c, err := readContainer(data)
		require.NoError(t, err)
		return fileWithMAC(c.authenticated, nil)
	}
	plain := stripped(file(t, "secret", encryptedSafe{}, keyBag(t, key), leaf))
	encrypted := stripped(file(t, "secret", encryptedBags(t, "secret", leaf), keyBag(t, key)))

	b, err := Parse(plain, "secret")
	checkError(t, b, err)
	assert.ErrorContains(t, err, "no MAC, so that no password protects its certificates: open it with the empty password, or re-export")
	b, err = Parse(plain, "")
	require.NoError(t, err)
	checkBundle(t, b)

	b, err = Parse(encrypted, "secret")
	checkError(t, b, err)
	assert.ErrorContains(t, err, "no MAC, so that no password protects its certificates: re-export")
	assert.NotErrorIs(t, err, ErrIncorrectPassword)
	for _, wrong := range []string{"", "secrets"} {
		b, err = Parse(encrypted, wrong)
		checkError(t, b, err)
		assert.ErrorIs(t, err, ErrIncorrectPassword)
	}
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
		"the key has another password than the MAC":  {file(t, "secret", encryptedSafe{}, leaf, otherPassword), "secret", "the password is that of the file, but its private key has another", false},
		"the certificates have another":              {file(t, "secret", encryptedBags(t, "other", leaf), keyBag(t, key)), "secret", "the password is that of the file, but its certificates have another", false},
		"the key has a password and there is no MAC": {withoutMAC(leaf, otherPassword), "", "incorrect password, or the file is damaged", true},
		"nothing has a password, key damaged":        {withoutMAC(leaf, bag{oidKeyBag, []byte{0x30, 0}}), "", "the file is damaged", false},
		"a certificate that is none":                 {file(t, "secret", encryptedSafe{}, keyBag(t, key), certificateBag(&x509.Certificate{Raw: []byte{0x30, 0}})), "secret", "none of the file's certificates (1) can be read", false},
		"a certificate in pieces":                    {file(t, "secret", encryptedSafe{}, keyBag(t, key), bag{oidCertBag, []byte{0x30, 0}}), "secret", "the file is damaged: its certificate cannot be read", false},
		"the key is not one":                         {file(t, "secret", encryptedSafe{}, leaf, bag{oidKeyBag, []byte{0x30, 0}}), "secret", "the file is damaged: its private key cannot be read", false},
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
