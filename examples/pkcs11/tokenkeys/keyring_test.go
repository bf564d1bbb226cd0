package tokenkeys_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov/examples/pkcs11/internal/softhsm"
	"github.com/fleetprov/fleetprov/examples/pkcs11/tokenkeys"
)

const first, second = "fleetprov-1", "fleetprov-2"

// bounded ends with the test, or after a minute: a test that goes wrong fails then.
func bounded(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// newToken makes the token of this test, and its keyring.
func newToken(t *testing.T, algorithm tokenkeys.Algorithm) (*softhsm.Token, *tokenkeys.Keyring) {
	t.Helper()
	token := softhsm.New(t)
	token.Use(t)
	return token, tokenkeys.New(softhsm.Module, softhsm.Label, softhsm.PIN, algorithm)
}

// generate makes a key.
func generate(t *testing.T, k *tokenkeys.Keyring, label string) crypto.Signer {
	t.Helper()
	key, err := k.Generate(bounded(t), label)
	require.NoError(t, err)
	return key
}

// requireKey requires that the key of that label has this public half.
func requireKey(t *testing.T, k *tokenkeys.Keyring, label string, public crypto.PublicKey) {
	t.Helper()
	key, err := k.Key(bounded(t), label)
	require.NoError(t, err)
	require.Equal(t, public, key.Public())
	requireSigns(t, key)
}

// requireSigns requires a good signature.
func requireSigns(t *testing.T, key crypto.Signer) {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, new(x509.CertificateRequest), key)
	require.NoError(t, err)
	request, err := x509.ParseCertificateRequest(der)
	require.NoError(t, err)
	require.NoError(t, request.CheckSignature())
}

// halves counts the private and the public halves in the token.
func halves(t *testing.T, token *softhsm.Token) (private, public int) {
	t.Helper()
	objects := token.Tool(t, "--list-objects")
	return strings.Count(objects, "Private Key Object"), strings.Count(objects, "Public Key Object")
}

func TestKeys(t *testing.T) {
	for name, algorithm := range map[string]tokenkeys.Algorithm{"P-256": tokenkeys.P256, "RSA-2048": tokenkeys.RSA2048} {
		t.Run(name, func(t *testing.T) {
			token, keyring := newToken(t, algorithm)
			one := generate(t, keyring, first)
			requireSigns(t, one)
			two := generate(t, keyring, second)
			assert.NotEqual(t, one.Public(), two.Public())

			other := tokenkeys.New(softhsm.Module, softhsm.Label, softhsm.PIN, 1-algorithm)
			requireKey(t, other, first, one.Public())
			requireKey(t, other, second, two.Public())

			three := generate(t, keyring, first)
			assert.NotEqual(t, one.Public(), three.Public())
			requireKey(t, keyring, first, three.Public())
			requireKey(t, keyring, second, two.Public())
			_, err := one.Sign(rand.Reader, make([]byte, 32), crypto.SHA256)
			assert.Error(t, err, "it is gone, and the new one is not taken for it")
			private, public := halves(t, token)
			assert.Equal(t, []int{2, 2}, []int{private, public})
			objects := token.Tool(t, "--list-objects", "--type", "privkey")
			assert.Equal(t, 2, strings.Count(objects, "sensitive, always sensitive, never extractable"), objects)
		})
	}
}

func TestSignatures(t *testing.T) {
	_, ecKeyring := newToken(t, tokenkeys.P256)
	rsaKeyring := tokenkeys.New(softhsm.Module, softhsm.Label, softhsm.PIN, tokenkeys.RSA2048)
	message := []byte("a message")
	digest256, digest384, digest512 := sha256.Sum256(message), sha512.Sum384(message), sha512.Sum512(message)
	digests := map[crypto.Hash][]byte{crypto.SHA256: digest256[:], crypto.SHA384: digest384[:], crypto.SHA512: digest512[:]}

	ecKey, rsaKey := generate(t, ecKeyring, first), generate(t, rsaKeyring, second)
	for hash, digest := range digests {
		t.Run(hash.String(), func(t *testing.T) {
			signature, err := ecKey.Sign(rand.Reader, digest, hash)
			require.NoError(t, err)
			assert.True(t, ecdsa.VerifyASN1(ecKey.Public().(*ecdsa.PublicKey), digest, signature))

			signature, err = rsaKey.Sign(rand.Reader, digest, hash)
			require.NoError(t, err)
			assert.NoError(t, rsa.VerifyPKCS1v15(rsaKey.Public().(*rsa.PublicKey), hash, digest, signature))

			// TLS 1.3 wants a salt as long as the hash (RFC 8446, section 4.2.3).
			for _, salt := range []int{rsa.PSSSaltLengthEqualsHash, rsa.PSSSaltLengthAuto, hash.Size()} {
				signature, err = rsaKey.Sign(rand.Reader, digest, &rsa.PSSOptions{SaltLength: salt, Hash: hash})
				require.NoError(t, err)
				opts := &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: hash}
				assert.NoError(t, rsa.VerifyPSS(rsaKey.Public().(*rsa.PublicKey), hash, digest, signature, opts))
			}
		})
	}
	_, err := ecKey.Sign(rand.Reader, digest256[:20], crypto.SHA1)
	assert.ErrorContains(t, err, "SHA-1")
	_, err = rsaKey.Sign(rand.Reader, digest256[:31], crypto.SHA256)
	assert.ErrorContains(t, err, "31 bytes")
}

// A power failure may leave one half of a pair, which is no key.
func TestHalfAKey(t *testing.T) {
	for _, kind := range []string{"privkey", "pubkey"} {
		t.Run("without "+kind, func(t *testing.T) {
			token, keyring := newToken(t, tokenkeys.P256)
			_, err := keyring.Key(bounded(t), first)
			require.ErrorIs(t, err, fs.ErrNotExist)
			generate(t, keyring, first)
			two := generate(t, keyring, second)

			token.Tool(t, "--delete-object", "--type", kind, "--label", first)
			_, err = keyring.Key(bounded(t), first)
			require.ErrorIs(t, err, fs.ErrNotExist)
			requireKey(t, keyring, second, two.Public())

			one := generate(t, keyring, first)
			requireKey(t, keyring, first, one.Public())
			private, public := halves(t, token)
			assert.Equal(t, []int{2, 2}, []int{private, public})
		})
	}
}

func TestTwoKeysUnderOneLabel(t *testing.T) {
	token, keyring := newToken(t, tokenkeys.P256)
	for _, id := range []string{"01", "02"} {
		token.Tool(t, "--keypairgen", "--key-type", "EC:prime256v1", "--label", first, "--id", id)
	}
	_, err := keyring.Key(bounded(t), first)
	require.ErrorContains(t, err, "there are 2 keys of that label")
	assert.NotErrorIs(t, err, fs.ErrNotExist)
	one := generate(t, keyring, first)
	requireKey(t, keyring, first, one.Public())
	private, public := halves(t, token)
	assert.Equal(t, []int{1, 1}, []int{private, public})
}

// What another program has made is found, too.
func TestKeysOfOthers(t *testing.T) {
	token, keyring := newToken(t, tokenkeys.P256)
	for _, kind := range []string{"EC:prime256v1", "EC:secp384r1", "rsa:3072"} {
		token.Tool(t, "--keypairgen", "--key-type", kind, "--label", kind, "--id", "0"+fmt.Sprint(len(kind)%10))
		key, err := keyring.Key(bounded(t), kind)
		require.NoError(t, err)
		requireSigns(t, key)
	}
	token.Tool(t, "--keypairgen", "--key-type", "EC:secp521r1", "--label", "another", "--id", "77")
	_, err := keyring.Key(bounded(t), "another")
	require.ErrorContains(t, err, "neither P-256 nor P-384")
	assert.NotErrorIs(t, err, fs.ErrNotExist)
}

// What may pass is no key that is gone: the library would give the device up.
func TestATokenThatIsNotThere(t *testing.T) {
	_, keyring := newToken(t, tokenkeys.P256)
	one := generate(t, keyring, first)
	for name, test := range map[string]struct{ module, label, says string }{
		"no module":     {filepath.Join(t.TempDir(), "module.so"), softhsm.Label, "cannot be loaded"},
		"another label": {softhsm.Module, "another", `has 0 tokens with the label "another"`},
	} {
		t.Run(name, func(t *testing.T) {
			other := tokenkeys.New(test.module, test.label, softhsm.PIN, tokenkeys.P256)
			_, err := other.Key(bounded(t), first)
			require.ErrorContains(t, err, test.says)
			assert.NotErrorIs(t, err, fs.ErrNotExist)
			_, err = other.Generate(bounded(t), first)
			require.ErrorContains(t, err, test.says)
		})
	}
	requireKey(t, keyring, first, one.Public())
}

// The library asks again and again, and a token locks itself.
func TestAPINThatIsRefusedIsNotTriedAgain(t *testing.T) {
	const wrong = "wr0ng-p1n"
	token, keyring := newToken(t, tokenkeys.P256)
	one := generate(t, keyring, first)
	other := tokenkeys.New(softhsm.Module, softhsm.Label, wrong, tokenkeys.P256)
	_, err := other.Key(bounded(t), first)
	require.ErrorContains(t, err, "CKR_PIN_INCORRECT")
	assert.NotErrorIs(t, err, fs.ErrNotExist)
	assert.NotContains(t, err.Error(), wrong)

	token.Tool(t, "--change-pin", "--new-pin", wrong) // so that it would be taken now
	_, err = other.Key(bounded(t), first)
	require.ErrorContains(t, err, "is not tried again")
	assert.NotErrorIs(t, err, fs.ErrNotExist)
	assert.NotContains(t, fmt.Sprintf("%v %+v %#v", other, other, other), wrong)

	requireKey(t, tokenkeys.New(softhsm.Module, softhsm.Label, wrong, tokenkeys.P256), first, one.Public())
}

func TestAModuleThatHangs(t *testing.T) {
	token, keyring := newToken(t, tokenkeys.P256)
	one := generate(t, keyring, first)

	// SoftHSM waits for whoever writes its configuration.
	pipe := filepath.Join(t.TempDir(), "pipe")
	require.NoError(t, syscall.Mkfifo(pipe, 0o600))
	require.NoError(t, os.Setenv("SOFTHSM2_CONF", pipe))
	for _, says := range []string{"has not answered", "is still busy"} {
		ctx, cancel := context.WithTimeout(bounded(t), 50*time.Millisecond)
		_, err := keyring.Key(ctx, first)
		cancel()
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorContains(t, err, says)
		assert.NotErrorIs(t, err, fs.ErrNotExist)
	}

	configuration, err := os.ReadFile(token.Configuration)
	require.NoError(t, err)
	require.NoError(t, os.Setenv("SOFTHSM2_CONF", token.Configuration))
	writer, err := os.OpenFile(pipe, os.O_WRONLY|syscall.O_NONBLOCK, 0) // fails if nobody reads
	require.NoError(t, err)
	_, err = writer.Write(configuration)
	require.NoError(t, err)
	require.NoError(t, writer.Close())
	requireKey(t, keyring, first, one.Public())
}

func TestManyAtOnce(t *testing.T) {
	_, keyring := newToken(t, tokenkeys.P256)
	keys := []crypto.Signer{generate(t, keyring, first), generate(t, keyring, second)}
	var group sync.WaitGroup
	for i := range 20 {
		group.Go(func() {
			digest := sha256.Sum256([]byte{byte(i)})
			key := keys[i%2]
			signature, err := key.Sign(rand.Reader, digest[:], crypto.SHA256)
			assert.NoError(t, err)
			assert.True(t, ecdsa.VerifyASN1(key.Public().(*ecdsa.PublicKey), digest[:], signature))
		})
	}
	group.Wait()
}
