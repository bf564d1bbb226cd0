package tpmkeys_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport/linuxudstpm"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov"
	"github.com/fleetprov/fleetprov/examples/tpm/internal/swtpm"
	"github.com/fleetprov/fleetprov/examples/tpm/tpmkeys"
)

const first, second = "fleetprov-1", "fleetprov-2"

// bounded ends with the test, or after a minute: a test that goes wrong fails then.
func bounded(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// generate makes a key.
func generate(t *testing.T, k *tpmkeys.Keyring, label string) crypto.Signer {
	t.Helper()
	key, err := k.Generate(bounded(t), label)
	require.NoError(t, err)
	return key
}

// requireKey requires that the key of that label has this public half.
func requireKey(t *testing.T, k *tpmkeys.Keyring, label string, public crypto.PublicKey) {
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

func TestKeys(t *testing.T) {
	for name, algorithm := range map[string]tpmkeys.Algorithm{"P-256": tpmkeys.P256, "RSA-2048": tpmkeys.RSA2048} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			chip, disk := swtpm.New(t), fleetprov.DirStore(t.TempDir())
			keyring := tpmkeys.New(chip.Path, disk, algorithm)
			one := generate(t, keyring, first)
			requireSigns(t, one)
			two := generate(t, keyring, second)
			assert.NotEqual(t, one.Public(), two.Public())

			chip.CutPower(t)
			requireKey(t, keyring, first, one.Public())
			other := tpmkeys.New(chip.Path, disk, 1-algorithm)
			requireKey(t, other, second, two.Public())

			three := generate(t, keyring, first)
			assert.NotEqual(t, one.Public(), three.Public())
			requireKey(t, keyring, first, three.Public())
			requireKey(t, keyring, second, two.Public())
			files, err := filepath.Glob(filepath.Join(string(disk), "[^.]*"))
			require.NoError(t, err)
			assert.Equal(t, []string{filepath.Join(string(disk), "fleetprov-1.tpm"), filepath.Join(string(disk), "fleetprov-2.tpm")}, files)
			assertNothingIsLoaded(t, chip)
		})
	}
}

// assertNothingIsLoaded looks whether keys were left in the TPM, which has room for
// three.
func assertNothingIsLoaded(t *testing.T, chip *swtpm.TPM) {
	t.Helper()
	connection, err := linuxudstpm.Open(chip.Path)
	require.NoError(t, err)
	defer connection.Close()
	answer, err := tpm2.GetCapability{
		Capability:    tpm2.TPMCapHandles,
		Property:      uint32(tpm2.TPMHTTransient) << 24,
		PropertyCount: 10,
	}.Execute(connection)
	require.NoError(t, err)
	handles, err := answer.CapabilityData.Data.Handles()
	require.NoError(t, err)
	assert.Empty(t, handles.Handle)
}

func TestSignatures(t *testing.T) {
	chip, disk := swtpm.New(t), fleetprov.DirStore(t.TempDir())
	message := []byte("a message")
	digest256, digest384, digest512 := sha256.Sum256(message), sha512.Sum384(message), sha512.Sum512(message)
	digests := map[crypto.Hash][]byte{crypto.SHA256: digest256[:], crypto.SHA384: digest384[:], crypto.SHA512: digest512[:]}

	ecKey := generate(t, tpmkeys.New(chip.Path, disk, tpmkeys.P256), first)
	rsaKey := generate(t, tpmkeys.New(chip.Path, disk, tpmkeys.RSA2048), second)
	for hash, digest := range digests {
		t.Run(hash.String(), func(t *testing.T) {
			signature, err := ecKey.Sign(rand.Reader, digest, hash)
			require.NoError(t, err)
			assert.True(t, ecdsa.VerifyASN1(ecKey.Public().(*ecdsa.PublicKey), digest, signature))

			signature, err = rsaKey.Sign(rand.Reader, digest, hash)
			require.NoError(t, err)
			assert.NoError(t, rsa.VerifyPKCS1v15(rsaKey.Public().(*rsa.PublicKey), hash, digest, signature))

			// TLS 1.3 wants a salt as long as the hash (RFC 8446, section 4.2.3).
			opts := &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: hash}
			signature, err = rsaKey.Sign(rand.Reader, digest, opts)
			require.NoError(t, err)
			assert.NoError(t, rsa.VerifyPSS(rsaKey.Public().(*rsa.PublicKey), hash, digest, signature, opts))
		})
	}
	_, err := ecKey.Sign(rand.Reader, digest256[:20], crypto.SHA1)
	assert.ErrorContains(t, err, "SHA-1")
	_, err = rsaKey.Sign(rand.Reader, digest256[:], &rsa.PSSOptions{SaltLength: 20, Hash: crypto.SHA256})
	assert.ErrorContains(t, err, "salt")
	_, err = ecKey.Sign(rand.Reader, digest256[:31], crypto.SHA256)
	assert.Error(t, err)
	requireSigns(t, ecKey)
}

func TestAKeyThatIsNotThere(t *testing.T) {
	chip, directory := swtpm.New(t), t.TempDir()
	keyring := tpmkeys.New(chip.Path, fleetprov.DirStore(directory), tpmkeys.P256)
	_, err := keyring.Key(bounded(t), first)
	require.ErrorIs(t, err, fs.ErrNotExist)
	one := generate(t, keyring, first)

	file := filepath.Join(directory, "fleetprov-1.tpm")
	whole, err := os.ReadFile(file)
	require.NoError(t, err)
	for name, data := range map[string][]byte{
		"empty":       nil,
		"no PEM":      []byte("a key"),
		"another PEM": []byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"),
		"no key":      []byte("-----BEGIN TSS2 PRIVATE KEY-----\nMAA=\n-----END TSS2 PRIVATE KEY-----\n"),
	} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, os.WriteFile(file, data, 0o600))
			_, err := keyring.Key(bounded(t), first)
			require.ErrorIs(t, err, fs.ErrNotExist)
			assert.ErrorContains(t, err, "fleetprov-1.tpm is damaged")
		})
	}
	require.NoError(t, os.WriteFile(file, whole, 0o600))
	requireKey(t, keyring, first, one.Public())

	t.Run("another TPM", func(t *testing.T) {
		other := tpmkeys.New(swtpm.New(t).Path, fleetprov.DirStore(directory), tpmkeys.P256)
		_, err := other.Key(bounded(t), first)
		require.ErrorIs(t, err, fs.ErrNotExist)
		assert.ErrorContains(t, err, "another TPM has made it")
	})
	t.Run("cleared", func(t *testing.T) {
		connection, err := linuxudstpm.Open(chip.Path)
		require.NoError(t, err)
		_, err = tpm2.Clear{AuthHandle: tpm2.AuthHandle{Handle: tpm2.TPMRHLockout, Auth: tpm2.PasswordAuth(nil)}}.Execute(connection)
		require.NoError(t, err)
		_, err = keyring.Key(bounded(t), first)
		require.ErrorIs(t, err, fs.ErrNotExist)
		generate(t, keyring, first)
	})
}

// What may pass is no key that is gone: the library would give the device up.
func TestATPMThatIsNotThere(t *testing.T) {
	disk := fleetprov.DirStore(t.TempDir())
	chip := swtpm.New(t)
	one := generate(t, tpmkeys.New(chip.Path, disk, tpmkeys.P256), first)
	for name, path := range map[string]string{
		"no file":  filepath.Join(t.TempDir(), "tpmrm0"),
		"no TPM":   filepath.Join(string(disk), "fleetprov-1.tpm"),
		"a folder": string(disk),
	} {
		t.Run(name, func(t *testing.T) {
			keyring := tpmkeys.New(path, disk, tpmkeys.P256)
			_, err := keyring.Key(bounded(t), first)
			require.ErrorContains(t, err, "opening the TPM")
			assert.NotErrorIs(t, err, fs.ErrNotExist)
			_, err = keyring.Generate(bounded(t), first)
			require.ErrorContains(t, err, "opening the TPM")
			assert.NotErrorIs(t, err, fs.ErrNotExist)
		})
	}
	requireKey(t, tpmkeys.New(chip.Path, disk, tpmkeys.P256), first, one.Public())
}

func TestATPMThatHangs(t *testing.T) {
	chip, disk := swtpm.New(t), fleetprov.DirStore(t.TempDir())
	keyring := tpmkeys.New(chip.Path, disk, tpmkeys.P256)
	one := generate(t, keyring, first)
	wake := chip.Hang(t)

	long, end := context.WithCancel(bounded(t))
	asked := make(chan error, 1)
	go func() {
		_, err := keyring.Key(long, first)
		asked <- err
	}()
	for _, ask := range []func(context.Context, string) (crypto.Signer, error){keyring.Key, keyring.Generate} {
		ctx, cancel := context.WithTimeout(bounded(t), 20*time.Millisecond)
		_, err := ask(ctx, first)
		cancel()
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.NotErrorIs(t, err, fs.ErrNotExist)
	}
	end()
	select {
	case err := <-asked:
		require.ErrorIs(t, err, context.Canceled)
		assert.NotErrorIs(t, err, fs.ErrNotExist)
	case <-bounded(t).Done():
		require.Fail(t, "the call goes on though its context has ended")
	}
	require.Eventually(t, func() bool {
		ctx, cancel := context.WithTimeout(bounded(t), 20*time.Millisecond)
		defer cancel()
		_, err := keyring.Key(ctx, first)
		return err != nil && !strings.Contains(err.Error(), "still busy")
	}, time.Minute, time.Millisecond, "what was left behind goes on")
	wake()
	chip.CutPower(t) // it may have loaded keys that nobody waits for any more
	requireKey(t, keyring, first, one.Public())
}

// full is a disk that takes nothing more.
type full struct{ fleetprov.DirStore }

var errFull = errors.New("no space left on device")

func (full) Put(context.Context, string, []byte) error { return errFull }

func TestAKeyThatCannotBeStored(t *testing.T) {
	chip, disk := swtpm.New(t), fleetprov.DirStore(t.TempDir())
	one := generate(t, tpmkeys.New(chip.Path, disk, tpmkeys.P256), first)
	keyring := tpmkeys.New(chip.Path, full{disk}, tpmkeys.P256)
	_, err := keyring.Generate(bounded(t), first)
	require.ErrorIs(t, err, errFull)
	requireKey(t, keyring, first, one.Public())
}
