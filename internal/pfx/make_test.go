package pfx

import (
	"bytes"
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ed25519"
	pbkdf "crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/cryptobyte"
	tag "golang.org/x/crypto/cryptobyte/asn1"
)

// oid is the reverse of [asn1.ObjectIdentifier.String].
func oid(t testing.TB, dotted string) (id asn1.ObjectIdentifier) {
	for number := range strings.SplitSeq(dotted, ".") {
		n, err := strconv.Atoi(number)
		require.NoError(t, err)
		id = append(id, n)
	}
	return id
}

// algorithm makes an AlgorithmIdentifier.
func algorithm(t testing.TB, id string, parameters cryptobyte.BuilderContinuation) cryptobyte.BuilderContinuation {
	return func(b *cryptobyte.Builder) {
		b.AddASN1(tag.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1ObjectIdentifier(oid(t, id))
			if parameters != nil {
				parameters(b)
			}
		})
	}
}

var testSalt = []byte("eight by")

// pbkdf2Algorithm makes a PBKDF2 derivation. The iterations may be any INTEGER.
func pbkdf2Algorithm(t testing.TB, iterations *big.Int, keyLength int64, prf string) cryptobyte.BuilderContinuation {
	return algorithm(t, pbkdf2, func(b *cryptobyte.Builder) {
		b.AddASN1(tag.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1OctetString(testSalt)
			b.AddASN1BigInt(iterations)
			if keyLength != 0 {
				b.AddASN1Int64(keyLength)
			}
			algorithm(t, prf, nil)(b)
		})
	})
}

// pbes2Algorithm makes an encryption with PBES2 and an IV of zeros.
func pbes2Algorithm(t testing.TB, iterations *big.Int, prf, cipher string) cryptobyte.BuilderContinuation {
	return algorithm(t, pbes2, func(b *cryptobyte.Builder) {
		b.AddASN1(tag.SEQUENCE, func(b *cryptobyte.Builder) {
			pbkdf2Algorithm(t, iterations, 0, prf)(b)
			algorithm(t, cipher, func(b *cryptobyte.Builder) { b.AddASN1OctetString(make([]byte, aes.BlockSize)) })(b)
		})
	})
}

// pbeAlgorithm makes an encryption of RFC 7292 appendix C.
func pbeAlgorithm(t testing.TB, id string, iterations *big.Int) cryptobyte.BuilderContinuation {
	return algorithm(t, id, func(b *cryptobyte.Builder) {
		b.AddASN1(tag.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1OctetString(testSalt)
			b.AddASN1BigInt(iterations)
		})
	})
}

// encrypt encrypts as pbes2Algorithm says with HMAC-SHA-256 and AES-256.
func encrypt(t testing.TB, plaintext []byte, password string, iterations int) []byte {
	key, err := pbkdf.Key(sha256.New, password, testSalt, iterations, 32)
	require.NoError(t, err)
	block, err := aes.NewCipher(key)
	require.NoError(t, err)
	padding := aes.BlockSize - len(plaintext)%aes.BlockSize
	out := append(bytes.Clone(plaintext), bytes.Repeat([]byte{byte(padding)}, padding)...)
	cipher.NewCBCEncrypter(block, make([]byte, aes.BlockSize)).CryptBlocks(out, out)
	return out
}

func build(add cryptobyte.BuilderContinuation) []byte {
	var b cryptobyte.Builder
	add(&b)
	return b.BytesOrPanic()
}

func encryptedBags(t testing.TB, password string, bags ...bag) encryptedSafe {
	plaintext := build(func(b *cryptobyte.Builder) { addBags(b, bags) })
	return encryptedSafe{
		algorithm:  build(pbes2Algorithm(t, big.NewInt(1), hmacWithSHA256, aes256CBC)),
		ciphertext: encrypt(t, plaintext, password, 1),
	}
}

func shroudedKey(algorithm cryptobyte.BuilderContinuation, ciphertext []byte) bag {
	return bag{oidShroudedKeyBag, build(func(b *cryptobyte.Builder) {
		b.AddASN1(tag.SEQUENCE, func(b *cryptobyte.Builder) {
			algorithm(b)
			b.AddASN1OctetString(ciphertext)
		})
	})}
}

func keyBag(t testing.TB, key crypto.PrivateKey) bag {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	return bag{oidKeyBag, der}
}

func certificateBag(certificate *x509.Certificate) bag {
	return bag{oidCertBag, build(func(b *cryptobyte.Builder) {
		b.AddASN1(tag.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1ObjectIdentifier(asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 22, 1}) // x509Certificate
			b.AddASN1(explicit0, func(b *cryptobyte.Builder) { b.AddASN1OctetString(certificate.Raw) })
		})
	})}
}

// nested makes a bag that holds a SafeContents.
func nested(bags ...bag) bag {
	return bag{oidSafeContentsBag, build(func(b *cryptobyte.Builder) { addBags(b, bags) })}
}

// file makes a PKCS#12 file with a MAC and one or two safes.
func file(t testing.TB, password string, encrypted encryptedSafe, bags ...bag) []byte {
	data, err := seal(passphrases(password)[0].utf16, bags, encrypted)
	require.NoError(t, err)
	return data
}

// fileWithMAC makes a PKCS#12 file with the given AuthenticatedSafe and MacData,
// which may be nil.
func fileWithMAC(authenticated []byte, mac cryptobyte.BuilderContinuation) []byte {
	return fileOfContent(oidData, func(b *cryptobyte.Builder) { b.AddASN1OctetString(authenticated) }, mac)
}

// fileOfContent makes a PKCS#12 file of which not even the content is usual.
func fileOfContent(id asn1.ObjectIdentifier, content, mac cryptobyte.BuilderContinuation) []byte {
	return build(func(b *cryptobyte.Builder) {
		b.AddASN1(tag.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1Int64(3)
			addContentInfo(b, id, content)
			if mac != nil {
				mac(b)
			}
		})
	})
}

// macData makes a MacData. Nil iterations are left out, which means 1.
func macData(algorithm cryptobyte.BuilderContinuation, digest []byte, iterations *big.Int) cryptobyte.BuilderContinuation {
	return func(b *cryptobyte.Builder) {
		b.AddASN1(tag.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1(tag.SEQUENCE, func(b *cryptobyte.Builder) {
				algorithm(b)
				b.AddASN1OctetString(digest)
			})
			b.AddASN1OctetString(testSalt)
			if iterations != nil {
				b.AddASN1BigInt(iterations)
			}
		})
	}
}

// authority is a certificate and the key to issue others with.
type authority struct {
	*x509.Certificate
	key crypto.Signer
}

func newKey(t testing.TB) crypto.Signer {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	return key
}

// issue issues a certificate for key, or signs it with key itself if there is
// no issuer.
func issue(t testing.TB, issuer *authority, name string, key crypto.Signer, change ...func(*x509.Certificate)) *x509.Certificate {
	serialNumber, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber:          serialNumber,
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC),
		NotAfter:              time.Date(2049, 12, 31, 0, 0, 0, 0, time.UTC),
		BasicConstraintsValid: true,
	}
	for _, c := range change {
		c(template)
	}
	parent, signer := template, key
	if issuer != nil {
		parent, signer = issuer.Certificate, issuer.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	require.NoError(t, err)
	certificate, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return certificate
}

func ca(c *x509.Certificate) { c.IsCA = true }

func newAuthority(t testing.TB, issuer *authority, name string) *authority {
	key := newKey(t)
	return &authority{issue(t, issuer, name, key, ca), key}
}
