package flow_test

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"maps"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov"
	"github.com/fleetprov/fleetprov/fleetprovtest"
	"github.com/fleetprov/fleetprov/internal/tests/provtest"
)

var errBusy = errors.New("TPM_RC_RETRY")

// onKeyring makes a Provisioner whose keys are in a keyring, inside a bubble.
func onKeyring(t *testing.T, opts ...fleetprov.Option) (*fleetprovtest.Server, *fleetprov.Provisioner, *provtest.Keyring) {
	t.Helper()
	keyring := provtest.NewKeyring()
	server, provisioner := provtest.OnPipes(t, append([]fleetprov.Option{fleetprov.WithKeyring(keyring), fleetprov.WithLogger(nil)}, opts...)...)
	return server, provisioner, keyring
}

func TestLabelsOfAKeyringTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, provisioner, keyring := onKeyring(t)
		store := provtest.NewMemStore()
		first, err := provisioner.Ensure(t.Context(), store, nil)
		require.NoError(t, err)
		assert.Equal(t, "fleetprov-1", first.KeyLabel)
		assert.Nil(t, first.PrivateKeyPEM())
		assert.NotContains(t, string(store.Files["credentials.pem"]), "PRIVATE KEY")
		assert.Equal(t, fleetprovtest.OpCreateCertificateFromCSR, server.Requests()[2].Op)

		for _, label := range []string{"fleetprov-2", "fleetprov-1", "fleetprov-2"} {
			// What is replaced keeps its key until the next renewal.
			keyring.Fail = func(op, generated string) error {
				if op == "generate" {
					assert.Equal(t, label, generated)
					if previous, err := fleetprov.ParseCredentials(store.Files["previous.pem"]); err == nil {
						assert.NotEqual(t, label, previous.KeyLabel, "it goes before its key does")
					}
				}
				return nil
			}
			renewed, err := provisioner.Renew(t.Context(), store, nil)
			require.NoError(t, err)
			assert.Equal(t, label, renewed.KeyLabel)
			for _, name := range []string{"credentials.pem", "previous.pem"} {
				c, err := fleetprov.ParseCredentials(store.Files[name])
				require.NoError(t, err)
				assert.NoError(t, c.UseKeyring(t.Context(), keyring), name)
			}
		}
		assert.Equal(t, []string{"fleetprov-1", "fleetprov-2"}, keyring.Labels())
	})
}

// withoutKey returns what fails for credentials that have no key, or another one.
func withoutKey(c *fleetprov.Credentials) map[string]error {
	_, certificate := c.TLSCertificate()
	_, config := c.TLSConfig()
	_, identity := c.Identity()
	_, file := c.MarshalPEM()
	_, pfx := c.EncodePFX("p4ssword")
	return map[string]error{"TLSCertificate": certificate, "TLSConfig": config, "Identity": identity, "MarshalPEM": file, "EncodePFX": pfx}
}

func TestUseKeyring(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, provisioner, keyring := onKeyring(t)
		store := provtest.NewMemStore()
		_, err := provisioner.Ensure(t.Context(), store, nil)
		require.NoError(t, err)
		c, err := fleetprov.LoadCredentials(t.Context(), store)
		require.NoError(t, err)
		for name, err := range withoutKey(c) {
			assert.ErrorIs(t, err, fleetprov.ErrKeyMissing, name)
			assert.ErrorContains(t, err, "give it with UseKeyring or SetPrivateKey", name)
			assert.False(t, fleetprov.Retryable(err), name)
		}

		keyring.Fail = func(string, string) error { return errBusy }
		err = c.UseKeyring(t.Context(), keyring)
		assert.ErrorIs(t, err, errBusy)
		assert.ErrorContains(t, err, "fleetprov: asking the keyring for fleetprov-1: ")
		assert.NotErrorIs(t, err, fleetprov.ErrKeyMissing)
		assert.True(t, fleetprov.Retryable(err))

		keyring.Fail = nil
		require.NoError(t, c.UseKeyring(t.Context(), keyring))
		config, err := c.TLSConfig()
		require.NoError(t, err)
		assert.Len(t, config.Certificates, 1)

		other, err := provisioner.Renew(t.Context(), store, nil)
		require.NoError(t, err)
		mixed := *c
		mixed.CertificatePEM = other.CertificatePEM
		for name, err := range withoutKey(&mixed) {
			assert.ErrorIs(t, err, fleetprov.ErrKeyMismatch, name)
			assert.False(t, fleetprov.Retryable(err), name)
		}

		keyring.Put("fleetprov-1", provtest.NewHardwareKey(t))
		err = c.UseKeyring(t.Context(), keyring)
		assert.ErrorIs(t, err, fleetprov.ErrKeyMismatch)
		assert.False(t, fleetprov.Retryable(err))
		keyring.Remove("fleetprov-1")
		err = c.UseKeyring(t.Context(), keyring)
		assert.ErrorIs(t, err, fleetprov.ErrKeyMissing)
		assert.False(t, fleetprov.Retryable(err))
		assert.ErrorContains(t, c.UseKeyring(t.Context(), nil), "the keyring is nil")
		c.KeyLabel = ""
		assert.ErrorIs(t, c.UseKeyring(t.Context(), keyring), fleetprov.ErrKeyMissing)
	})
}

// keyringFuncs is a keyring that a test makes up.
type keyringFuncs struct {
	generate, key func(ctx context.Context, label string) (crypto.Signer, error)
}

func (k *keyringFuncs) Generate(ctx context.Context, label string) (crypto.Signer, error) {
	return k.generate(ctx, label)
}

func (k *keyringFuncs) Key(ctx context.Context, label string) (crypto.Signer, error) {
	return k.key(ctx, label)
}

func TestProvisionRefusesAKeyring(t *testing.T) {
	provisioner := provtest.NewProvisioner(t, provtest.NewServer(t), fleetprov.WithKeyring(provtest.NewKeyring()), noDial(t))
	_, err := provisioner.Provision(provtest.Context(t), nil)
	assertOp(t, fleetprovtest.Op(fleetprov.OpPrepare), err)
	assert.ErrorContains(t, err, "call Ensure")
}

// A key that is gone, or another one, is no damage.
func TestStoredCredentialsWithoutTheirKey(t *testing.T) {
	for name, test := range map[string]struct {
		lose func(*provtest.Keyring)
		want error
	}{
		"gone":    {func(k *provtest.Keyring) { k.Remove("fleetprov-1") }, fleetprov.ErrKeyMissing},
		"another": {func(k *provtest.Keyring) { k.Put("fleetprov-1", &provtest.HardwareKey{Signer: rsaKey(2048)}) }, fleetprov.ErrKeyMismatch},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server, provisioner, keyring := onKeyring(t)
				store := provtest.NewMemStore()
				_, err := provisioner.Ensure(t.Context(), store, nil)
				require.NoError(t, err)
				before := maps.Clone(store.Files)
				test.lose(keyring)
				labels := keyring.Labels()
				_, err = provisioner.Ensure(t.Context(), store, nil)
				assert.ErrorIs(t, err, test.want)
				assert.False(t, fleetprov.Retryable(err))
				assert.Equal(t, before, store.Files)
				assert.Equal(t, labels, keyring.Labels())
				assert.Len(t, server.Certificates(), 1)
			})
		})
	}
}

func rsaKey(bits int) *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		panic(err)
	}
	return key
}

// A token that does not answer sets nothing aside. Run waits for it.
func TestAKeyringThatDoesNotAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		keyring := provtest.NewKeyring()
		m := newManager(t)
		m.Options[1] = fleetprov.WithKeyring(keyring)
		_, err := m.Credentials(t.Context())
		require.NoError(t, err)
		before := maps.Clone(m.store.Files)
		var away atomic.Bool
		away.Store(true)
		keyring.Fail = func(string, string) error {
			if away.Load() {
				return errBusy
			}
			return nil
		}
		_, err = m.Credentials(t.Context())
		assert.ErrorIs(t, err, errBusy)
		assertOp(t, fleetprovtest.Op(fleetprov.OpPrepare), err)
		assert.NotErrorIs(t, err, fleetprov.ErrKeyMissing)
		assert.True(t, fleetprov.Retryable(err))
		r := m.start(t, sitting)
		after(time.Hour)
		assert.Empty(t, r.sessions())
		assert.Equal(t, before, m.store.Files)
		away.Store(false)
		after(2 * time.Minute)
		require.Len(t, r.sessions(), 1)
		r.stop(t)
		assert.Len(t, m.server.Certificates(), 1)
	})
}

// A key in a keyring that cannot be made at once is made again.
func TestAKeyringThatFailsToGenerate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, provisioner, keyring := onKeyring(t)
		failures := []string{"generate", "replace", "generated"}
		keyring.Fail = func(op, _ string) error {
			if len(failures) > 0 && op == failures[0] {
				failures = failures[1:]
				return errBusy
			}
			return nil
		}
		c, err := provisioner.Ensure(t.Context(), provtest.NewMemStore(), nil)
		require.NoError(t, err)
		assert.Empty(t, failures)
		assert.Equal(t, "fleetprov-1", c.KeyLabel)
		assert.Equal(t, []string{"fleetprov-1"}, keyring.Labels())
		assert.Len(t, server.Certificates(), 1)
	})
}

func TestKeysThatAKeyringMustNotMake(t *testing.T) {
	weak := rsaKey(1024)
	for name, test := range map[string]struct {
		key  crypto.Signer
		says string
	}{
		"too short": {weak, "2048"},
		"none":      {nil, "it returned neither a key nor an error"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				keyring := &keyringFuncs{generate: func(context.Context, string) (crypto.Signer, error) { return test.key, nil }}
				_, provisioner := provtest.OnPipes(t, fleetprov.WithKeyring(keyring), provtest.OneAttempt)
				_, err := provisioner.Ensure(t.Context(), provtest.NewMemStore(), nil)
				assert.ErrorContains(t, err, test.says)
			})
		})
	}
}

// Where the credentials cannot be read, nobody knows which key they need.
func TestCredentialsThatCannotBeReadAndAKeyring(t *testing.T) {
	for name, test := range map[string]struct {
		have []string
		take string
	}{
		"no key at all":  {nil, "fleetprov-1"},
		"the first key":  {[]string{"fleetprov-1"}, "fleetprov-2"},
		"the second key": {[]string{"fleetprov-2"}, "fleetprov-1"},
		"both":           {[]string{"fleetprov-1", "fleetprov-2"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server, provisioner, keyring := onKeyring(t)
				before := map[string]crypto.Signer{}
				for _, label := range test.have {
					key := provtest.NewHardwareKey(t)
					keyring.Put(label, key)
					before[label] = key
				}
				store := provtest.NewMemStore()
				store.Files["credentials.pem"] = []byte("damaged")
				c, err := provisioner.Ensure(t.Context(), store, nil)
				for label, key := range before {
					now, err := keyring.Key(t.Context(), label)
					require.NoError(t, err)
					assert.Equal(t, key, now, "it is not touched")
				}
				if test.take == "" {
					assertOp(t, fleetprovtest.Op(fleetprov.OpPrepare), err)
					assert.ErrorContains(t, err, "both fleetprov-1 and fleetprov-2 have a key")
					assert.ErrorContains(t, err, "delete the one that is not, or both")
					assert.Empty(t, server.Certificates())
					return
				}
				require.NoError(t, err)
				assert.Equal(t, test.take, c.KeyLabel)
			})
		})
	}
}

// A first boot that was cut off goes on under the label that its journal names.
func TestTheLabelOfAJournal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, provisioner, keyring := onKeyring(t, provtest.OneAttempt)
		keyring.Put("fleetprov-1", provtest.NewHardwareKey(t))
		store := provtest.NewMemStore()
		store.Files["credentials.pem"] = []byte("damaged")
		keyring.Fail = func(op, _ string) error {
			if op == "generated" {
				return errBusy
			}
			return nil
		}
		_, err := provisioner.Ensure(t.Context(), store, nil)
		require.ErrorIs(t, err, errBusy)
		require.Equal(t, []string{"fleetprov-1", "fleetprov-2"}, keyring.Labels())
		keyring.Fail = nil
		c, err := provisioner.Ensure(t.Context(), store, nil)
		require.NoError(t, err, "the second label is its own")
		assert.Equal(t, "fleetprov-2", c.KeyLabel)
	})
}

// Whatever a journal says, the key of the stored credentials is not made anew.
func TestAKeyInUseIsNeverMadeAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, provisioner, keyring := onKeyring(t)
		store := provtest.NewMemStore()
		first, err := provisioner.Ensure(t.Context(), store, nil)
		require.NoError(t, err)
		store.Files["pending.pem"] = provtest.PEM("FLEETPROV JOURNAL", []byte(`{"version":1,"phase":"probe","template":"test-template","keyLabel":"fleetprov-1"}`))
		renewed, err := provisioner.Renew(t.Context(), store, nil)
		require.NoError(t, err)
		assert.Equal(t, "fleetprov-2", renewed.KeyLabel)
		assert.NoError(t, first.UseKeyring(t.Context(), keyring))
	})
}

// The key of a run that has ended must not come later than that of the next run.
func TestAKeyThatIsStillBeingMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		keyring := provtest.NewKeyring()
		released := make(chan struct{})
		var generating atomic.Int32
		slow := &keyringFuncs{key: keyring.Key, generate: func(_ context.Context, label string) (crypto.Signer, error) {
			defer generating.Add(-1)
			assert.EqualValues(t, 1, generating.Add(1), "one at a time")
			<-released
			return keyring.Generate(t.Context(), label)
		}}
		server, provisioner := provtest.OnPipes(t, fleetprov.WithKeyring(slow), provtest.OneAttempt, fleetprov.WithLogger(nil))
		store := provtest.NewMemStore()
		began := time.Now()
		for range 2 {
			_, err := provisioner.Ensure(t.Context(), store, nil)
			require.Error(t, err)
			assert.True(t, fleetprov.Retryable(err))
		}
		assert.Less(t, time.Since(began), 61*time.Second)
		_, err := provisioner.Ensure(t.Context(), store, nil)
		assert.ErrorContains(t, err, "the keyring hangs: it has not ended making a key yet")

		close(released)
		after(time.Second)
		assert.Zero(t, generating.Load())
		c, err := provisioner.Ensure(t.Context(), store, nil)
		require.NoError(t, err)
		assert.Equal(t, "fleetprov-1", c.KeyLabel)
		require.NoError(t, c.UseKeyring(t.Context(), keyring))
		assert.Len(t, server.Certificates(), 1)
	})
}

// A renewal that stored its credentials, but could not write in its journal that they are
// accepted, is over.
func TestARenewalWhoseJournalLagsBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, provisioner, keyring := onKeyring(t)
		store := provtest.NewMemStore()
		_, err := provisioner.Ensure(t.Context(), store, nil)
		require.NoError(t, err)
		writes := 0
		store.Fail = func(op, name string) error {
			if name == "pending.pem" && op != "get" {
				if writes++; writes > 2 { // the probe, and the certificate
					return errBusy
				}
			}
			return nil
		}
		renewed, _ := provisioner.Renew(t.Context(), store, nil)
		require.NotNil(t, renewed)
		require.Contains(t, store.Names(), "pending.pem")
		store.Fail = nil
		stored, err := fleetprov.LoadCredentials(t.Context(), store)
		require.NoError(t, err)
		require.Equal(t, renewed.CertificateID, stored.CertificateID)

		again, err := provisioner.Renew(t.Context(), store, nil)
		require.NoError(t, err)
		require.NoError(t, again.UseKeyring(t.Context(), keyring))
		if again.CertificateID == renewed.CertificateID {
			assert.Equal(t, renewed.ThingName, again.ThingName)
			return
		}
		assert.NotEqual(t, renewed.KeyLabel, again.KeyLabel)
		assert.True(t, slices.Contains(keyring.Labels(), renewed.KeyLabel))
	})
}
