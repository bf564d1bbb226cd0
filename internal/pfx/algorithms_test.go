package pfx

import (
	"crypto/x509"
	"math/big"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/cryptobyte"
	tag "golang.org/x/crypto/cryptobyte/asn1"
	"software.sslmate.com/src/go-pkcs12"
)

func TestEveryEncoderIsUnderstood(t *testing.T) {
	key := newKey(t)
	issuer, server := newAuthority(t, nil, "device root"), newAuthority(t, nil, "server root")
	leaf := issue(t, issuer, "device", key)
	encoders := map[string]*pkcs12.Encoder{
		"40-bit RC2, SHA-1":        pkcs12.LegacyRC2,
		"3DES, SHA-1":              pkcs12.LegacyDES,
		"AES-256, SHA-256":         pkcs12.Modern2023,
		"AES-256, PBMAC1":          pkcs12.Modern2026,
		"no encryption and no MAC": pkcs12.Passwordless,
	}
	for name, encoder := range encoders {
		for _, password := range []string{"", "secret", "pässwörd€", "with a\x00zero", "a password that is longer than the block of any hash function that a file may use, be it SHA-1 or SHA-512, and then some"} {
			if encoder == pkcs12.Passwordless && password != "" {
				continue
			}
			t.Run(name+", password "+password, func(t *testing.T) {
				data, err := encoder.Encode(key, leaf, []*x509.Certificate{server.Certificate, issuer.Certificate}, password)
				require.NoError(t, err)
				b, err := Parse(data, password)
				require.NoError(t, err)
				checkBundle(t, b)
				assert.Equal(t, key, b.Key)
				assert.Equal(t, []string{"device root"}, names(b.Chain))
				assert.Equal(t, []string{"server root"}, names(b.Roots))
				if encoder != pkcs12.Passwordless {
					b, err = Parse(data, password+"x")
					checkError(t, b, err)
					assert.ErrorIs(t, err, ErrIncorrectPassword)
				}
			})
		}
	}
}

func TestUnsupportedAlgorithmsAreNamed(t *testing.T) {
	once := big.NewInt(1)
	cipher := func(id string) []byte {
		return file(t, "secret", encryptedSafe{}, shroudedKey(pbes2Algorithm(t, once, hmacWithSHA256, id), nil))
	}
	mac := func(algorithm cryptobyte.BuilderContinuation) []byte {
		return fileWithMAC(build(func(b *cryptobyte.Builder) { b.AddASN1(tag.SEQUENCE, func(*cryptobyte.Builder) {}) }), macData(algorithm, nil, nil))
	}
	pbmac := func(prf, hmac string) []byte {
		return mac(algorithm(t, pbmac1, func(b *cryptobyte.Builder) {
			b.AddASN1(tag.SEQUENCE, func(b *cryptobyte.Builder) {
				pbkdf2Algorithm(t, once, 32, prf)(b)
				algorithm(t, hmac, nil)(b)
			})
		}))
	}
	const (
		export = ": re-export the file with OpenSSL 3: openssl pkcs12 "
		again  = ": export it again from the program that made it"
	)
	tests := map[string]struct {
		data []byte
		err  string
	}{
		"Camellia":          {cipher("1.2.392.200011.61.1.1.1.2"), "the encryption uses Camellia-128, which is not supported" + export + "-in "},
		"3DES with PBES2":   {cipher("1.2.840.113549.3.7"), "the encryption uses 3DES under PBES2, which is not supported" + export + "-in "},
		"an unknown cipher": {cipher("1.2.3.4"), "the encryption uses algorithm 1.2.3.4, which is not supported" + again},
		"AES-GCM":           {cipher("2.16.840.1.101.3.4.1.46"), "the encryption uses AES-256-GCM, which is not supported" + again},
		"Camellia and RC2":  {file(t, "", encryptedSafe{build(pbeAlgorithm(t, pbeWithSHAAnd40BitRC2, once)), nil}, shroudedKey(pbes2Algorithm(t, once, hmacWithSHA256, "1.2.392.200011.61.1.1.1.2"), nil)), "Camellia-128, which is not supported" + export + "-legacy -in "},
		"Camellia and GCM":  {file(t, "", encryptedSafe{build(pbes2Algorithm(t, once, hmacWithSHA256, "1.2.392.200011.61.1.1.1.2")), nil}, shroudedKey(pbes2Algorithm(t, once, hmacWithSHA256, "2.16.840.1.101.3.4.1.46"), nil)), "Camellia-128, which is not supported" + again},
		"HMAC-MD5":          {file(t, "", encryptedSafe{}, shroudedKey(pbes2Algorithm(t, once, "1.2.840.113549.2.6", aes256CBC), nil)), "PBKDF2 with HMAC-MD5, which is not supported" + export + "-in "},
		"RC4":               {file(t, "", encryptedSafe{}, shroudedKey(pbeAlgorithm(t, "1.2.840.113549.1.12.1.1", once), nil)), "128-bit RC4, which is not supported" + export + "-legacy -in "},
		"RC4, certificates": {file(t, "", encryptedSafe{build(pbeAlgorithm(t, "1.2.840.113549.1.12.1.2", once)), nil}), "40-bit RC4, which is not supported" + export + "-legacy -in "},
		"two-key 3DES":      {file(t, "", encryptedSafe{}, shroudedKey(pbeAlgorithm(t, "1.2.840.113549.1.12.1.4", once), nil)), "two-key 3DES, which is not supported" + export + "-in "},
		"scrypt":            {file(t, "", encryptedSafe{}, shroudedKey(scryptAlgorithm(t), nil)), "scrypt, which is not supported" + export},
		"a MAC with MD5":    {mac(algorithm(t, "1.2.840.113549.2.5", nil)), "the MAC uses MD5, which is not supported" + export},
		"PBMAC1, odd PRF":   {pbmac("1.2.3.4", hmacWithSHA256), "the MAC uses algorithm 1.2.3.4, which is not supported" + again},
		"PBMAC1, odd HMAC":  {pbmac(hmacWithSHA256, "1.2.3.5"), "the MAC uses algorithm 1.2.3.5, which is not supported" + again},
		"a hash for cipher": {cipher(hmacWithSHA256), "the encryption uses algorithm 1.2.840.113549.2.9, which is not supported" + again},
		"PBES2 in itself": {file(t, "", encryptedSafe{}, shroudedKey(algorithm(t, pbes2, func(b *cryptobyte.Builder) {
			b.AddASN1(tag.SEQUENCE, func(b *cryptobyte.Builder) {
				algorithm(t, pbes2, nil)(b)
				algorithm(t, aes256CBC, func(b *cryptobyte.Builder) { b.AddASN1OctetString(make([]byte, 16)) })(b)
			})
		}), nil)), "the encryption uses algorithm 1.2.840.113549.1.5.13, which is not supported" + again},
		"PBMAC1 in itself": {pbmac(hmacWithSHA256, pbmac1), "the MAC uses algorithm 1.2.840.113549.1.5.14, which is not supported" + again},
		"AES for a MAC":    {mac(algorithm(t, aes256CBC, nil)), "the MAC uses algorithm 2.16.840.1.101.3.4.1.42, which is not supported" + again},
		"a signature":      {fileOfContent(oidSignedData, func(*cryptobyte.Builder) {}, nil), "protected by a signature, which is not supported"},
		"a recipient's key": {fileWithMAC(build(func(b *cryptobyte.Builder) {
			b.AddASN1(tag.SEQUENCE, func(b *cryptobyte.Builder) { addContentInfo(b, oidEnvelopedData, func(*cryptobyte.Builder) {}) })
		}), nil), "encrypted for a public key, which is not supported"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b, err := Parse(test.data, "secret")
			checkError(t, b, err)
			assert.ErrorContains(t, err, test.err)
			if strings.HasSuffix(test.err, again) {
				assert.NotContains(t, err.Error(), "OpenSSL")
			}
			assert.NotErrorIs(t, err, ErrIncorrectPassword)
		})
	}
}

func scryptAlgorithm(t testing.TB) cryptobyte.BuilderContinuation {
	return algorithm(t, pbes2, func(b *cryptobyte.Builder) {
		b.AddASN1(tag.SEQUENCE, func(b *cryptobyte.Builder) {
			algorithm(t, "1.3.6.1.4.1.11591.4.11", nil)(b)
			algorithm(t, aes256CBC, func(b *cryptobyte.Builder) { b.AddASN1OctetString(make([]byte, 16)) })(b)
		})
	})
}
