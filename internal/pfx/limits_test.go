package pfx

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	pbkdf "crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"math/big"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/cryptobyte"
	tag "golang.org/x/crypto/cryptobyte/asn1"
)

// countedFiles are files with an iteration count, each somewhere else. Nothing
// in them is encrypted or authenticated: to get that far is a failure that takes
// hours.
func countedFiles(t testing.TB) map[string]func(iterations *big.Int) []byte {
	sha256Algorithm := algorithm(t, "2.16.840.1.101.3.4.2.1", nil)
	digest := make([]byte, sha256.Size)
	content := build(func(b *cryptobyte.Builder) { b.AddASN1(tag.SEQUENCE, func(*cryptobyte.Builder) {}) })
	leaf := certificateBag(issue(t, nil, "device", newKey(t)))
	return map[string]func(*big.Int) []byte{
		"in the MAC": func(n *big.Int) []byte {
			return fileWithMAC(content, macData(sha256Algorithm, digest, n))
		},
		"in a MAC of type PBMAC1": func(n *big.Int) []byte {
			return fileWithMAC(content, macData(algorithm(t, pbmac1, func(b *cryptobyte.Builder) {
				b.AddASN1(tag.SEQUENCE, func(b *cryptobyte.Builder) {
					pbkdf2Algorithm(t, n, 32, hmacWithSHA256)(b)
					algorithm(t, hmacWithSHA256, nil)(b)
				})
			}), digest, big.NewInt(1)))
		},
		"of the key, PBES2": func(n *big.Int) []byte {
			return file(t, "secret", encryptedSafe{}, leaf, shroudedKey(pbes2Algorithm(t, n, hmacWithSHA256, aes256CBC), digest))
		},
		"of the key, 3DES": func(n *big.Int) []byte {
			return file(t, "secret", encryptedSafe{}, leaf, shroudedKey(pbeAlgorithm(t, pbeWithSHAAnd3KeyTripleDES, n), digest))
		},
		"of the key, 128-bit RC2": func(n *big.Int) []byte {
			return file(t, "secret", encryptedSafe{}, leaf, shroudedKey(pbeAlgorithm(t, pbeWithSHAAnd128BitRC2, n), digest))
		},
		"of the certificates, PBES2": func(n *big.Int) []byte {
			return file(t, "secret", encryptedSafe{build(pbes2Algorithm(t, n, hmacWithSHA256, aes256CBC)), digest}, keyBag(t, newKey(t)))
		},
		"of the certificates, 40-bit RC2": func(n *big.Int) []byte {
			return file(t, "secret", encryptedSafe{build(pbeAlgorithm(t, pbeWithSHAAnd40BitRC2, n)), digest}, keyBag(t, newKey(t)))
		},
	}
}

func TestIterationCountIsBounded(t *testing.T) {
	counts := map[string]*big.Int{
		"0":          big.NewInt(0),
		"-1":         big.NewInt(-1),
		"10,000,001": big.NewInt(10_000_001),
		"2^31-1":     big.NewInt(1<<31 - 1),
		"2^32+1":     big.NewInt(1<<32 + 1),
		"2^63-1":     big.NewInt(1<<63 - 1),
		"2^64+1":     new(big.Int).Add(new(big.Int).Lsh(big.NewInt(1), 64), big.NewInt(1)),
	}
	for where, make := range countedFiles(t) {
		t.Run(where, func(t *testing.T) {
			for name, n := range counts {
				b, err := Parse(make(n), "secret")
				checkError(t, b, err)
				assert.ErrorContains(t, err, "iteration count that is not between 1 and 10000000", name)
			}
			for _, n := range []int64{1, 600_000, 10_000_000} {
				der, _, err := unwrap(make(big.NewInt(n)))
				require.NoError(t, err)
				c, err := readContainer(der)
				require.NoError(t, err)
				require.NoError(t, c.prepare(c.parts()...), "%d iterations", n)
				assert.GreaterOrEqual(t, c.cost(c.parts()), n)
			}
		})
	}
}

// The count is not the work: it is made once for a key and once for an IV, once
// for each hash that a key is longer than, and twice for an HMAC.
func TestWorkIsBounded(t *testing.T) {
	tests := map[string]struct {
		algorithm func(n *big.Int) cryptobyte.BuilderContinuation
		hashes    int // of one iteration
	}{
		"3DES":        {func(n *big.Int) cryptobyte.BuilderContinuation { return pbeAlgorithm(t, pbeWithSHAAnd3KeyTripleDES, n) }, 3},
		"128-bit RC2": {func(n *big.Int) cryptobyte.BuilderContinuation { return pbeAlgorithm(t, pbeWithSHAAnd128BitRC2, n) }, 2},
		"AES-256, PBKDF2 with SHA-256": {func(n *big.Int) cryptobyte.BuilderContinuation {
			return pbes2Algorithm(t, n, hmacWithSHA256, aes256CBC)
		}, 2},
		"AES-256, PBKDF2 with SHA-1": {func(n *big.Int) cryptobyte.BuilderContinuation { return pbes2Algorithm(t, n, hmacWithSHA1, aes256CBC) }, 4},
		"AES-128, PBKDF2 with SHA-512": {func(n *big.Int) cryptobyte.BuilderContinuation {
			return pbes2Algorithm(t, n, hmacWithSHA512, aes128CBC)
		}, 4},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			make := func(n int) []byte {
				algorithm := test.algorithm(big.NewInt(int64(n)))
				visible := file(t, "", encryptedSafe{build(algorithm), []byte("16 bytes of text")})
				c, err := readContainer(visible)
				require.NoError(t, err)
				return fileWithMAC(c.authenticated, nil)
			}
			most := maxWork / test.hashes
			c, err := readContainer(make(most))
			require.NoError(t, err)
			c.work.left = maxWork
			require.NoError(t, c.check())

			start := time.Now()
			b, err := Parse(make(most+1), "")
			checkError(t, b, err)
			assert.ErrorIs(t, err, errTooMuchWork)
			assert.Less(t, time.Since(start), time.Second, "it was refused after the work, not before")
		})
	}
}

func TestWorkIsBoundedTogether(t *testing.T) {
	n := big.NewInt(1_000_000)
	certificates := encryptedSafe{build(pbes2Algorithm(t, n, hmacWithSHA256, aes256CBC)), make([]byte, 16)}
	content := func(safes int) []byte {
		return build(func(b *cryptobyte.Builder) {
			b.AddASN1(tag.SEQUENCE, func(b *cryptobyte.Builder) {
				for range safes {
					addContentInfo(b, oidEncryptedData, func(b *cryptobyte.Builder) { certificates.add(b) })
				}
			})
		})
	}
	c := container{work: work{maxWork}}
	require.NoError(t, c.readSafes(content(6)))
	require.NoError(t, c.check())
	b, err := Parse(fileWithMAC(content(6), macData(algorithm(t, "1.3.14.3.2.26", nil), nil, nil)), "")
	checkError(t, b, err)
	assert.ErrorIs(t, err, errTooMuchWork)
}

// The empty password has two forms, and no file may cost twice for that.
func TestWorkIsBoundedForAllFormsOfAPassword(t *testing.T) {
	safe := encryptedSafe{build(pbeAlgorithm(t, pbeWithSHAAnd3KeyTripleDES, big.NewInt(100))), make([]byte, 16)}
	c, err := readContainer(file(t, "", safe))
	require.NoError(t, err)
	data := fileWithMAC(c.authenticated, nil)
	for limit, want := range map[int64]error{299: errTooMuchWork, 300: errTooMuchWork, 599: errTooMuchWork, 600: ErrIncorrectPassword} {
		b, err := parse(data, "", limit)
		checkError(t, b, err)
		assert.ErrorIs(t, err, want, "%d", limit)
	}
}

func TestMillionIterationsAreFine(t *testing.T) {
	t.Parallel()
	const iterations = 1_000_000
	key := newKey(t)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	data := file(t, "secret", encryptedSafe{},
		certificateBag(issue(t, nil, "device", key)),
		shroudedKey(pbes2Algorithm(t, big.NewInt(iterations), hmacWithSHA256, aes256CBC), encrypt(t, der, "secret", iterations)))
	b, err := Parse(data, "secret")
	require.NoError(t, err)
	checkBundle(t, b)
}

// What an encrypted safe holds shows only when that is decrypted.
func TestKeyInAnEncryptedSafe(t *testing.T) {
	key := newKey(t)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	leaf := certificateBag(issue(t, nil, "device", key))
	shrouded := func(n int64, prf, cipher string) bag {
		return shroudedKey(pbes2Algorithm(t, big.NewInt(n), prf, cipher), encrypt(t, der, "secret", int(min(n, 2))))
	}
	bomb := shrouded(1<<40, hmacWithSHA256, aes256CBC)
	tests := map[string]struct {
		visible, hidden []bag
		err             string
	}{
		"bare":                            {nil, []bag{leaf, keyBag(t, key)}, ""},
		"encrypted once more":             {nil, []bag{shrouded(2, hmacWithSHA256, aes256CBC), leaf}, ""},
		"with the certificate outside":    {[]bag{leaf}, []bag{shrouded(2, hmacWithSHA256, aes256CBC)}, ""},
		"in a nested SafeContents":        {nil, []bag{nested(leaf, nested(shrouded(2, hmacWithSHA256, aes256CBC)))}, ""},
		"with another password":           {nil, []bag{leaf, shroudedKey(pbes2Algorithm(t, big.NewInt(1), hmacWithSHA256, aes256CBC), encrypt(t, der, "other", 1))}, "its private key has another"},
		"with a cipher that is not known": {nil, []bag{leaf, shrouded(2, hmacWithSHA256, "1.2.3.4")}, "the encryption uses algorithm 1.2.3.4"},
		"a second one":                    {[]bag{keyBag(t, key), leaf}, []bag{bomb}, "more than one private key"},
		"with too high a count":           {[]bag{leaf}, []bag{bomb}, "iteration count that is not between 1 and 10000000"},
		"with too much work":              {[]bag{leaf}, []bag{shrouded(9_999_999, hmacWithSHA512, aes256CBC)}, errTooMuchWork.Error()},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b, err := Parse(file(t, "secret", encryptedBags(t, "secret", test.hidden...), test.visible...), "secret")
			if test.err == "" {
				require.NoError(t, err)
				checkBundle(t, b)
				return
			}
			checkError(t, b, err)
			assert.ErrorContains(t, err, test.err)
		})
	}
}

func TestSizeIsBounded(t *testing.T) {
	key := newKey(t)
	leaf := certificateBag(issue(t, nil, "device", key))
	repeat := func(n int, b bag) []bag { return append(repeated(n, b), keyBag(t, key)) }
	safes := func(n int) []byte {
		return fileWithMAC(build(func(b *cryptobyte.Builder) {
			b.AddASN1(tag.SEQUENCE, func(b *cryptobyte.Builder) {
				for range n {
					addContentInfo(b, oidData, func(b *cryptobyte.Builder) {
						b.AddASN1(tag.OCTET_STRING, func(b *cryptobyte.Builder) { addBags(b, nil) })
					})
				}
			})
		}), nil)
	}
	tests := map[string]struct {
		data []byte
		err  string
	}{
		"a file of 257 KiB":             {bytes.Repeat([]byte{0x30, 0x82}, 257<<9), "263168 bytes, more than the 262144"},
		"257 certificates":              {file(t, "secret", encryptedSafe{}, repeat(257, leaf)...), "more than 256 certificates"},
		"257 certificates, encrypted":   {file(t, "secret", encryptedBags(t, "secret", repeated(257, leaf)...), keyBag(t, key)), "more than 256 certificates"},
		"65 safes":                      {safes(65), "more than 64 safes"},
		"a private key of 17 KiB":       {file(t, "secret", encryptedSafe{}, leaf, bag{oidKeyBag, build(func(b *cryptobyte.Builder) { b.AddASN1OctetString(make([]byte, 17<<10)) })}), "more than 16384"},
		"two private keys":              {file(t, "secret", encryptedSafe{}, leaf, keyBag(t, key), keyBag(t, newKey(t))), "more than one private key"},
		"elements nested a 1000 levels": {bytes.Repeat([]byte{0x30, 0x80}, 1000), "damaged"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b, err := Parse(test.data, "secret")
			checkError(t, b, err)
			assert.ErrorContains(t, err, test.err)
		})
	}

	b, err := Parse(file(t, "secret", encryptedSafe{}, repeat(256, leaf)...), "secret")
	require.NoError(t, err)
	checkBundle(t, b)
}

func repeated(n int, b bag) []bag {
	bags := make([]bag, n)
	for i := range bags {
		bags[i] = b
	}
	return bags
}

// A file whose certificates all have one name makes every one a candidate for
// the issuer of every other.
func TestSignatureChecksAreBounded(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	var others []*x509.Certificate
	for range maxCertificates - 1 {
		others = append(others, newAuthority(t, nil, "device").Certificate)
	}
	b, err := newBundle(key, append(others, issue(t, nil, "device", key)))
	checkError(t, b, err)
	assert.ErrorContains(t, err, "too many certificates of the same name")

	distinct := []*x509.Certificate{issue(t, nil, "device", key)}
	for i := range maxCertificates - 1 {
		distinct = append(distinct, newAuthority(t, nil, string(rune('A'+i))).Certificate)
	}
	b, err = newBundle(key, distinct)
	require.NoError(t, err)
	assert.Len(t, b.Roots, maxCertificates-1)
}

func TestMACKeyLengthIsBounded(t *testing.T) {
	content := build(func(b *cryptobyte.Builder) { b.AddASN1(tag.SEQUENCE, func(*cryptobyte.Builder) {}) })
	parse := func(keyLength int64) error {
		key, err := pbkdf.Key(sha256.New, "secret", testSalt, 1, int(max(1, min(keyLength, 100))))
		require.NoError(t, err)
		h := hmac.New(sha256.New, key)
		h.Write(content)
		_, err = Parse(fileWithMAC(content, macData(algorithm(t, pbmac1, func(b *cryptobyte.Builder) {
			b.AddASN1(tag.SEQUENCE, func(b *cryptobyte.Builder) {
				pbkdf2Algorithm(t, big.NewInt(1), keyLength, hmacWithSHA256)(b)
				algorithm(t, hmacWithSHA256, nil)(b)
			})
		}), h.Sum(nil), nil)), "secret")
		return err
	}
	for _, keyLength := range []int64{0, 1, 19, 65, 1 << 30} {
		assert.ErrorContains(t, parse(keyLength), "MAC key", "%d bytes", keyLength)
	}
	for _, keyLength := range []int64{20, 32, 64} {
		assert.ErrorContains(t, parse(keyLength), "no private key", "%d bytes", keyLength)
	}
}
