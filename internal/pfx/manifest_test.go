package pfx

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// testFile is a line of the manifest of testdata.
type testFile struct {
	File     string
	Password string
	Expect   string
}

func (f testFile) read(t testing.TB) []byte {
	data, err := os.ReadFile(filepath.Join("testdata", f.File))
	require.NoError(t, err)
	return data
}

func testFiles(t testing.TB) []testFile {
	data, err := os.ReadFile("testdata/manifest.json")
	require.NoError(t, err)
	var files []testFile
	require.NoError(t, json.Unmarshal(data, &files))
	require.NotEmpty(t, files)
	return files
}

// checkBundle checks what is true of every bundle.
func checkBundle(t testing.TB, b *Bundle) {
	require.NotNil(t, b)
	require.NotNil(t, b.Key)
	require.NotNil(t, b.Leaf)
	assert.True(t, b.Key.Public().(interface{ Equal(crypto.PublicKey) bool }).Equal(b.Leaf.PublicKey), "the leaf is not of the key")
	child := b.Leaf
	for _, issuer := range b.Chain {
		assert.NoError(t, issuer.CheckSignature(child.SignatureAlgorithm, child.RawTBSCertificate, child.Signature), "the chain does not follow")
		child = issuer
	}
	for _, root := range b.Roots {
		assert.NoError(t, root.CheckSignature(root.SignatureAlgorithm, root.RawTBSCertificate, root.Signature), "the root is not self-signed")
		for _, c := range append([]*x509.Certificate{b.Leaf}, b.Chain...) {
			assert.False(t, c.Equal(root), "the root is in the chain")
		}
	}
}

// checkError checks what is true of every failure.
func checkError(t testing.TB, b *Bundle, err error) {
	require.Error(t, err)
	assert.Nil(t, b, "a bundle came with an error")
	assert.NotContains(t, err.Error(), "\n", "the message has several lines")
	for _, word := range []string{"asn1:", "asn1.", "x509", "crypto/", "pkcs12:", "cryptobyte", "%!", "0xc0", "map[", "*rsa", "*ecdsa", "tls.", "runtime error", "<nil>", "{", "&{"} {
		assert.NotContains(t, err.Error(), word, "the message is in Go")
	}
}

func names(certificates []*x509.Certificate) []string {
	list := []string{}
	for _, c := range certificates {
		name := c.Subject.CommonName
		if name == "" {
			name = strings.Join(c.Subject.OrganizationalUnit, " ")
		}
		list = append(list, name)
	}
	return list
}

func TestFilesOfOtherPrograms(t *testing.T) {
	const amazon = "Amazon Root CA 1"
	tests := map[string]struct {
		chain, roots []string
		err          string // where the file is refused
	}{
		"aes128-192.p12":                {},
		"big-100certs.p12":              {roots: []string{amazon}}, // a hundred times
		"chain-intermediate-rootca.p12": {chain: []string{"Private Intermediate"}, roots: []string{amazon}},
		"forge-3des.p12":                {roots: []string{amazon}},
		"forge-swapped.p12":             {roots: []string{amazon}},
		"gnutls-aes256-p256.p12":        {roots: []string{amazon}},
		"gnutls-default.p12":            {roots: []string{amazon}},
		"gopkcs12-modern2023.p12":       {roots: []string{amazon}},
		"gopkcs12-swapped-order.p12":    {roots: []string{amazon}},
		"java17-chain.p12":              {chain: []string{"Private Intermediate", "Amazon Web Services"}},
		"java17-keyentry.p12":           {},
		"java17-legacy.p12":             {},
		"key-ed25519.p12":               {roots: []string{amazon}},
		"key-p256.p12":                  {roots: []string{amazon}},
		"key-p384.p12":                  {roots: []string{amazon}},
		"mac-sha512.p12":                {},
		"noiter.p12":                    {},
		"nss-pk12util-legacy.p12":       {},
		"nss-pk12util.p12":              {},
		"openssl-legacy-3des.p12":       {roots: []string{amazon}},
		"openssl-legacy-rc2-3des.p12":   {roots: []string{amazon}},
		"openssl3-certpbe-none.p12":     {roots: []string{amazon}},
		"openssl3-default-rootca.p12":   {roots: []string{amazon}},
		"openssl3-emptypass.p12":        {roots: []string{amazon}},
		"openssl3-nomac-emptypass.p12":  {},
		"pem-armored.p12":               {roots: []string{amazon}},
		"trailing-garbage.p12":          {roots: []string{amazon}},
		"trailing-newline.p12":          {roots: []string{amazon}},
		"unicode-bmp.p12":               {},

		"extra-negserial-root.p12":      {roots: []string{amazon}},
		"extra-brainpool-root.p12":      {roots: []string{amazon}},
		"extra-explicit-ec-root.p12":    {roots: []string{amazon}},
		"pkijs-one-safe.p12":            {chain: []string{"Test Claim CA"}},
		"single-encrypted-safe.p12":     {roots: []string{amazon}},
		"nested-safecontents-certs.p12": {roots: []string{amazon}},
		"mono-null.p12":                 {chain: []string{"Test Claim CA"}},
		"openssl10-utf8-bytes.p12":      {chain: []string{"Test Claim CA"}},

		"bitflip-middle.p12":      {err: "incorrect password, or the file is damaged"},
		"camellia256.p12":         {err: "Camellia-256, which is not supported: re-export the file with OpenSSL 3: openssl pkcs12 "},
		"empty.p12":               {err: "the file is empty"},
		"key-without-cert.p12":    {err: "a private key but no certificate"},
		"mac-iter-0.p12":          {err: "iteration count that is not between 1 and 10000000"},
		"mac-iter-2147483647.p12": {err: "iteration count that is not between 1 and 10000000"},
		"mac-iter-neg.p12":        {err: "iteration count that is not between 1 and 10000000"},
		"mismatched-key-cert.p12": {err: "none of the file's certificates (1) belongs to its private key"},
		"pbes2-3des.p12":          {err: "3DES under PBES2, which is not supported: re-export the file with OpenSSL 3: openssl pkcs12 "},
		"truncated-half.p12":      {err: "damaged or cut short"},
		"sun-keypass-differs.p12": {err: "the password is that of the file, but its private key has another: make the file again, with one password for all of it"},
		"rsa-d-plus-phi.p12":      {err: "the fault is in the private key itself, an RSA key that is not valid"},
		"aes-gcm.p12":             {err: "the encryption uses AES-256-GCM, which is not supported: export it again from the program that made it"},
		"p7b.p12":                 {err: "certificates without a private key (PKCS#7, .p7b), not PKCS#12"},
		"encp8.p12":               {err: "an encrypted private key in DER (PKCS#8), not PKCS#12"},
		"jceks.p12":               {err: "a Java keystore (JCEKS), not PKCS#12: convert it: keytool -importkeystore "},
		"slow-legacy-nomac.p12":   {err: "the iteration counts of the file are too high together"},
	}
	for _, f := range testFiles(t) {
		t.Run(f.File, func(t *testing.T) {
			t.Parallel()
			want, ok := tests[f.File]
			require.True(t, ok, "the table has no such file")
			data, start := f.read(t), time.Now()
			b, err := Parse(data, f.Password)
			if want.err != "" {
				assert.Less(t, time.Since(start), time.Second)
				assert.Contains(t, f.Expect, "error")
				checkError(t, b, err)
				assert.ErrorContains(t, err, want.err)
				return
			}
			assert.Contains(t, f.Expect, "ok")
			require.NoError(t, err)
			checkBundle(t, b)
			assert.Equal(t, "AWS IoT Certificate", b.Leaf.Subject.CommonName)
			assert.Equal(t, append([]string{}, want.chain...), names(b.Chain))
			assert.Equal(t, append([]string{}, want.roots...), names(b.Roots))
		})
	}
}

func TestWrongPasswordIsToldFromDamage(t *testing.T) {
	for _, f := range testFiles(t) {
		if f.Expect == "error" {
			continue
		}
		t.Run(f.File, func(t *testing.T) {
			data := f.read(t)
			const password = "Tr0ub4dor&3"
			b, err := Parse(data, password)
			checkError(t, b, err)
			assert.NotContains(t, err.Error(), password)
			assert.ErrorIs(t, err, ErrIncorrectPassword)

			if bytes.HasPrefix(data, []byte("-----")) {
				return
			}
			b, err = Parse(data[:len(data)*2/3], f.Password)
			checkError(t, b, err)
			assert.NotErrorIs(t, err, ErrIncorrectPassword)
			assert.ErrorContains(t, err, "damaged")
		})
	}
}
