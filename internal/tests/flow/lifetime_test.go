package flow_test

import (
	"context"
	"crypto"
	"encoding/json"
	"encoding/pem"
	"maps"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov"
	"github.com/fleetprov/fleetprov/fleetprovtest"
	"github.com/fleetprov/fleetprov/internal/testca"
	"github.com/fleetprov/fleetprov/internal/tests/provtest"
)

// setAside returns what a store keeps of what could not be used.
func setAside(store *provtest.MemStore) (data [][]byte) {
	for _, name := range slices.Sorted(maps.Keys(store.Files)) {
		if strings.HasPrefix(name, "damaged-") {
			data = append(data, store.Files[name])
		}
	}
	return data
}

// The power fails when the new credentials are stored and the journal is still there.
func TestARenewalThatWasDoneButForItsJournal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, provisioner := provtest.OnPipes(t)
		store := provtest.NewMemStore()
		old, err := provisioner.Ensure(t.Context(), store, nil)
		require.NoError(t, err)
		store.Fail = func(op, name string) error {
			if op == "delete" && name == "pending.pem" {
				return syscall.EIO
			}
			return nil
		}
		renewed, err := provisioner.Renew(t.Context(), store, nil)
		require.ErrorIs(t, err, syscall.EIO)
		require.ElementsMatch(t, []string{"credentials.pem", "previous.pem", "pending.pem"}, store.Names())
		connections := count(server, fleetprovtest.OpConnect)

		store.Fail = nil
		again, err := provisioner.Renew(t.Context(), store, nil)
		require.NoError(t, err)
		assert.Equal(t, renewed, again)
		assert.Equal(t, old.CertificateID, again.PreviousCertificateID, "whoever deactivates it must not lock the device out")
		assert.ElementsMatch(t, []string{"credentials.pem", "previous.pem"}, store.Names())
		loaded, err := fleetprov.LoadCredentials(t.Context(), store)
		require.NoError(t, err)
		assert.Equal(t, renewed, loaded)
		previous, err := fleetprov.ParseCredentials(store.Files["previous.pem"])
		require.NoError(t, err)
		assert.Equal(t, old, previous, "the new ones have not taken the place of the old")
		assert.Equal(t, connections, count(server, fleetprovtest.OpConnect), "AWS has no part in it")

		third, err := provisioner.Renew(t.Context(), store, nil)
		require.NoError(t, err)
		assert.NotEqual(t, renewed.CertificateID, third.CertificateID, "the next one is a renewal of its own")
		assert.Equal(t, renewed.CertificateID, third.PreviousCertificateID)
	})
}

func TestRenewWaitsForTheLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, provisioner := provtest.OnPipes(t)
		store := provtest.NewLockedStore()
		old, err := provisioner.Ensure(t.Context(), store, nil)
		require.NoError(t, err)
		seen := len(server.Requests())

		unlock, err := store.Lock(t.Context())
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err = provisioner.Renew(ctx, store, nil)
		assertOp(t, fleetprovtest.Op(fleetprov.OpStore), err)
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.ErrorContains(t, err, "another run may hold it")
		assert.Len(t, server.Requests(), seen)

		time.AfterFunc(time.Hour, func() { _ = unlock() })
		began := time.Now()
		renewed, err := provisioner.Renew(t.Context(), store, nil)
		require.NoError(t, err)
		assert.Equal(t, time.Hour, time.Since(began).Truncate(time.Minute))
		assert.Equal(t, old.CertificateID, renewed.PreviousCertificateID)

		unlock, err = store.Lock(t.Context())
		require.NoError(t, err, "and it has given the lock up")
		require.NoError(t, unlock())
	})
}

// The end of the caller's context leaves two seconds to all writes of what AWS gave
// together: the caller waits for them.
func TestAStoreThatHangsAfterTheContextHasEnded(t *testing.T) {
	for name, takes := range map[string]int{
		"at the journal":     2, // the proof, and the journal of the certificate
		"at the credentials": 3,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				var ended time.Time
				server, provisioner := provtest.OnPipes(t, fleetprov.WithProgress(func(_ context.Context, p fleetprov.Progress) {
					if p.Op == fleetprov.OpRegisterThing && p.Done {
						cancel()
						ended = time.Now()
					}
				}))
				store := &hangingStore{provtest.NewMemStore(), takes}
				credentials, err := provisioner.Ensure(ctx, store, nil)
				assert.Equal(t, 2*time.Second, time.Since(ended))
				assertOp(t, fleetprovtest.Op(fleetprov.OpStore), err)
				assert.ErrorIs(t, err, context.Canceled)
				require.NotNil(t, credentials, "AWS has accepted them")
				assert.Equal(t, server.Certificates()[0].ID, credentials.CertificateID)

				again, err := provisioner.Ensure(t.Context(), store.MemStore, nil)
				require.NoError(t, err)
				assert.Equal(t, credentials.CertificateID, again.CertificateID, "the journal has it")
				assert.Len(t, server.Certificates(), 1)
			})
		})
	}
}

// expiring returns the file of credentials that are good until notAfter.
func expiring(t *testing.T, notAfter time.Time) []byte {
	t.Helper()
	certificate := testca.New("a device authority").Client("device", testca.Validity{NotAfter: notAfter})
	credentials := &fleetprov.Credentials{ThingName: "device-1", CertificateID: "of another time",
		CertificatePEM: provtest.PEM("CERTIFICATE", certificate.Certificate[0]), Endpoint: "localhost:8883"}
	require.NoError(t, credentials.SetPrivateKey(certificate.PrivateKey.(crypto.Signer)))
	data, err := credentials.MarshalPEM()
	require.NoError(t, err)
	return data
}

func TestExpiredCredentialsAreReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, provisioner := provtest.OnPipes(t)
		store := provtest.NewMemStore()
		expired := expiring(t, time.Now().Add(time.Hour))
		store.Files["credentials.pem"] = expired
		<-time.After(time.Hour)
		credentials, err := provisioner.Ensure(t.Context(), store, nil)
		require.NoError(t, err)
		assert.Equal(t, "of another time", credentials.CertificateID, "they are good for this second still")
		assert.Empty(t, server.Certificates())

		<-time.After(time.Second)
		credentials, err = provisioner.Ensure(t.Context(), store, map[string]string{"SerialNumber": "device-1"})
		require.NoError(t, err)
		require.Len(t, server.Certificates(), 1)
		assert.Equal(t, server.Certificates()[0].ID, credentials.CertificateID)
		loaded, err := fleetprov.LoadCredentials(t.Context(), store)
		require.NoError(t, err)
		assert.Equal(t, credentials, loaded)
		assert.Empty(t, setAside(store), "time alone is no damage")
		assert.Equal(t, expired, store.Files["previous.pem"], "they may be good, if the clock is wrong")
		assert.Equal(t, "of another time", credentials.PreviousCertificateID)
	})
}

// Without a claim that is good, expired credentials stay where they are.
func TestExpiredCredentialsThatNothingCanReplace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, provisioner := provtest.OnPipes(t)
		store := provtest.NewMemStore()
		first, err := provisioner.Ensure(t.Context(), store, nil)
		require.NoError(t, err)
		<-time.After(60 * 365 * 24 * time.Hour)
		_, err = provisioner.Ensure(t.Context(), store, nil)
		assertOp(t, fleetprovtest.Op(fleetprov.OpPrepare), err)
		assert.ErrorContains(t, err, "the claim expired")
		assert.Len(t, server.Certificates(), 1)
		loaded, err := fleetprov.LoadCredentials(t.Context(), store)
		require.NoError(t, err)
		assert.Equal(t, first.CertificateID, loaded.CertificateID)
	})
}

// An accepted registration in the journal may have expired as well.
func TestAnExpiredRegistrationInTheJournalIsNotUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, provisioner := provtest.OnPipes(t)
		store := provtest.NewMemStore()
		journal := provtest.PEM("FLEETPROV JOURNAL", []byte(`{"version":1,"phase":"accepted","template":"test-template"}`))
		store.Files["pending.pem"] = append(journal, expiring(t, time.Now().Add(time.Hour))...)
		<-time.After(2 * time.Hour)
		credentials, err := provisioner.Ensure(t.Context(), store, nil)
		require.NoError(t, err)
		require.Len(t, server.Certificates(), 1)
		assert.Equal(t, server.Certificates()[0].ID, credentials.CertificateID)
	})
}

// A journal that another program wrote, or that is for another purpose, says nothing
// that Ensure can believe.
func TestJournalsThatEnsureDoesNotUse(t *testing.T) {
	for name, test := range map[string]struct {
		field string
		value any
	}{
		"of a newer version":                {"version", 2},
		"of no version":                     {"version", nil},
		"in a phase that is not known":      {"phase", "registered"},
		"in no phase":                       {"phase", nil},
		"of a renewal that is not accepted": {"renewal", true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server, provisioner := provtest.OnPipes(t)
				store := provtest.NewMemStore()
				interrupted(t, server, provisioner, store)
				journal := doctored(t, store.Files["pending.pem"], test.field, test.value)
				store.Files["pending.pem"] = journal
				credentials, err := provisioner.Ensure(t.Context(), store, nil)
				require.NoError(t, err)
				certificates := server.Certificates()
				require.Len(t, certificates, 2, "a certificate of its own")
				assert.Equal(t, certificates[1].ID, credentials.CertificateID)
				assert.Equal(t, fleetprovtest.StatusPendingActivation, certificates[0].Status)
				assert.Equal(t, [][]byte{journal}, setAside(store))
			})
		})
	}
}

// A journal that is written again with the same words is one that Ensure goes on from:
// what TestJournalsThatEnsureDoesNotUse changes is what counts.
func TestADoctoredJournalIsUsedIfItSaysTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, provisioner := provtest.OnPipes(t)
		store := provtest.NewMemStore()
		interrupted(t, server, provisioner, store)
		store.Files["pending.pem"] = doctored(t, store.Files["pending.pem"], "version", 1)
		_, err := provisioner.Ensure(t.Context(), store, nil)
		require.NoError(t, err)
		assert.Len(t, server.Certificates(), 1)
	})
}

// The last copy of what may be an identity is not overwritten.
func TestDamageThatCannotBeSetAside(t *testing.T) {
	for _, name := range []string{"credentials.pem", "pending.pem"} {
		t.Run(name, func(t *testing.T) {
			store := provtest.NewMemStore()
			store.Files[name] = []byte("damaged")
			store.Fail = func(op, name string) error {
				if op == "put" && strings.HasPrefix(name, "damaged-") {
					return syscall.ENOSPC
				}
				return nil
			}
			credentials, err := provtest.NewProvisioner(t, provtest.NewServer(t), noDial(t), provtest.OneAttempt).Ensure(provtest.Context(t), store, nil)
			assert.Nil(t, credentials)
			assertOp(t, fleetprovtest.Op(fleetprov.OpStore), err)
			assert.ErrorIs(t, err, syscall.ENOSPC)
			assert.ErrorContains(t, err, "writing damaged-")
			assert.Equal(t, map[string][]byte{name: []byte("damaged")}, store.Files)
		})
	}
}

// doctored changes a field of the JSON that a journal begins with.
func doctored(t *testing.T, file []byte, field string, value any) []byte {
	t.Helper()
	block, rest := pem.Decode(file)
	require.NotNil(t, block)
	var fields map[string]any
	require.NoError(t, json.Unmarshal(block.Bytes, &fields))
	fields[field] = value
	text, err := json.Marshal(fields)
	require.NoError(t, err)
	return append(provtest.PEM(block.Type, text), rest...)
}
