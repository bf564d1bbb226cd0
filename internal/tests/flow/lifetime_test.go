package flow_test

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"maps"
	"net"
	"os"
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
		store.FailOn("delete", "pending.pem", syscall.EIO)
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
func expiring(t testing.TB, notAfter time.Time) []byte {
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
		server, listener := provtest.NewTimelessServer(t)
		provisioner := provtest.NewProvisioner(t, server, fleetprov.WithDialer(listener.Dial))
		store := provtest.NewMemStore()
		first, err := provisioner.Ensure(t.Context(), store, nil)
		require.NoError(t, err)
		<-time.After(60 * 365 * 24 * time.Hour)
		again, err := provisioner.Ensure(t.Context(), store, nil)
		assert.Equal(t, first, again)
		assertOp(t, fleetprovtest.Op(fleetprov.OpPrepare), err)
		assert.ErrorContains(t, err, "the claim expired")
		assert.Len(t, server.Certificates(), 1)
		loaded, err := fleetprov.LoadCredentials(t.Context(), store)
		require.NoError(t, err)
		assert.Equal(t, first.CertificateID, loaded.CertificateID)
	})
}

// expired puts credentials that have expired by the device's clock into a new store.
func expired(t *testing.T) (store *provtest.LockedStore, data []byte) {
	t.Helper()
	store, data = provtest.NewLockedStore(), expiring(t, time.Now())
	store.Files["credentials.pem"] = data
	<-time.After(time.Minute)
	return store, data
}

// The clock may be what is wrong: where no others can be had in one attempt, a device
// boots with what it has.
func TestExpiredCredentialsAreReturnedWithTheErrorOfOneAttempt(t *testing.T) {
	parameters := map[string]string{"SerialNumber": "device-1"}
	for name, test := range map[string]struct {
		op       fleetprovtest.Op
		fault    fleetprovtest.Fault
		opts     []fleetprov.Option
		is       error
		connects int
	}{
		"offline":             {opts: []fleetprov.Option{unplugged}, is: syscall.ENETUNREACH},
		"throttled":           {op: fleetprovtest.OpCreateKeysAndCertificate, fault: throttled, connects: 1},
		"the policy forbids":  {op: fleetprovtest.OpSubscribe, fault: fleetprovtest.Fault{Disconnect: true}, is: fleetprov.ErrConnectionLost, connects: 1},
		"the hook refuses":    {op: fleetprovtest.OpRegisterThing, fault: hookRefused, connects: 1},
		"an answer is lost":   {op: fleetprovtest.OpRegisterThing, fault: lost, is: fleetprov.ErrConnectionLost, connects: 1},
		"a bad set of values": {is: nil, opts: []fleetprov.Option{noDial(t)}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server, provisioner := provtest.OnPipes(t, append(test.opts, fleetprov.WithLogger(nil))...)
				store, data := expired(t)
				if test.op != "" {
					server.Inject(test.op, test.fault)
				}
				values := parameters
				if name == "a bad set of values" {
					values = map[string]string{"": "no name"}
				}
				began := time.Now()
				credentials, err := provisioner.Ensure(t.Context(), store, values)
				assert.Zero(t, time.Since(began), "there is no wait")
				require.Error(t, err)
				require.NotNil(t, credentials)
				assert.Equal(t, "of another time", credentials.CertificateID)
				_, e := credentials.TLSCertificate()
				assert.NoError(t, e)
				if test.is != nil {
					assert.ErrorIs(t, err, test.is)
				}
				if name != "a bad set of values" {
					assert.ErrorContains(t, err, "the stored credentials have expired by this clock, and no others could be had")
				}
				assert.Equal(t, test.connects, count(server, fleetprovtest.OpConnect))
				assert.Equal(t, data, store.Files["credentials.pem"])
				assert.Empty(t, setAside(store.MemStore))

				// Later they can be had.
				again, err := provtest.NewProvisioner(t, server, dialPipes(server), fleetprov.WithLogger(nil)).Ensure(t.Context(), store, parameters)
				require.NoError(t, err)
				assert.Equal(t, "of another time", again.PreviousCertificateID)
				assert.Equal(t, data, store.Files["previous.pem"])
				assert.Len(t, server.Certificates(), 1)
				assert.Empty(t, again.AbandonedCertificateIDs)
			})
		})
	}
}

// Nor does it wait for ever for a lock that another run holds.
func TestExpiredCredentialsDoNotWaitForALock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, provisioner := provtest.OnPipes(t)
		store, _ := expired(t)
		unlock, err := store.Lock(t.Context())
		require.NoError(t, err)
		began := time.Now()
		credentials, err := provisioner.Ensure(t.Context(), store, nil)
		assert.Equal(t, step, time.Since(began).Truncate(time.Second))
		assertOp(t, fleetprovtest.Op(fleetprov.OpStore), err)
		assert.ErrorIs(t, err, os.ErrDeadlineExceeded)
		assert.NotErrorIs(t, err, context.DeadlineExceeded, "that is the caller's")
		assert.ErrorContains(t, err, "another run may hold it")
		require.NotNil(t, credentials)
		assert.Equal(t, "of another time", credentials.CertificateID)

		require.NoError(t, unlock())
		credentials, err = provisioner.Ensure(t.Context(), store, nil)
		require.NoError(t, err)
		assert.Equal(t, "of another time", credentials.PreviousCertificateID)
		unlock, err = store.Lock(t.Context())
		require.NoError(t, err, "it is given up again")
		require.NoError(t, unlock())
	})
}

// What was AWS's last word before the device restarted does not keep it from its one
// attempt.
func TestExpiredCredentialsAreReplacedAtOnceAfterADayOfRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, provisioner := provtest.OnPipes(t, fleetprov.WithLogger(nil))
		store, _ := expired(t)
		store.Files["pending.pem"] = provtest.PEM("FLEETPROV JOURNAL", []byte(`{"version":1,"phase":"probe","template":"test-template","refusedSeconds":86400}`))
		began := time.Now()
		_, err := provisioner.Ensure(t.Context(), store, nil)
		require.NoError(t, err)
		assert.Zero(t, time.Since(began))
	})
}

// Credentials are not overwritten before they are kept elsewhere.
func TestExpiredCredentialsThatCannotBeKeptAreNotOverwritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, provisioner := provtest.OnPipes(t, fleetprov.WithLogger(nil))
		store, data := expired(t)
		store.Fail = failing("put", "previous.pem")
		credentials, err := provisioner.Ensure(t.Context(), store, nil)
		require.ErrorIs(t, err, syscall.EIO)
		require.NotNil(t, credentials, "AWS has accepted them")
		assert.Equal(t, data, store.Files["credentials.pem"])
		store.Fail = nil
		again, err := provisioner.Ensure(t.Context(), store, nil)
		require.NoError(t, err)
		assert.Equal(t, credentials, again, "the journal has them")
		assert.Equal(t, data, store.Files["previous.pem"])
		assert.Len(t, server.Certificates(), 1)
	})
}

// What no file holds is kept in memory, as it is for Renew.
func TestAReplacementThatCannotBeWrittenIsNotMadeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, provisioner := provtest.OnPipes(t, fleetprov.WithLogger(nil))
		store, _ := expired(t)
		writes := 0
		store.Fail = func(op, _ string) error {
			if op == "put" {
				if writes++; writes > 2 {
					return syscall.ENOSPC
				}
			}
			return nil
		}
		first, err := provisioner.Ensure(t.Context(), store, nil)
		require.ErrorIs(t, err, syscall.ENOSPC)
		for range 3 {
			again, err := provisioner.Ensure(t.Context(), store, nil)
			require.ErrorIs(t, err, syscall.ENOSPC)
			assert.Equal(t, first.CertificateID, again.CertificateID)
		}
		store.Fail = nil
		again, err := provisioner.Ensure(t.Context(), store, nil)
		require.NoError(t, err)
		assert.Equal(t, first, again)
		assert.Len(t, server.Certificates(), 1)
	})
}

// acceptedJournal is a journal of credentials that AWS has accepted.
func acceptedJournal(credentials []byte) []byte {
	return append(provtest.PEM("FLEETPROV JOURNAL", []byte(`{"version":1,"phase":"accepted","template":"test-template"}`)), credentials...)
}

// Accepted credentials that look expired are not lost when others replace them, and are
// what a device boots with when none can be had.
func TestAnExpiredRegistrationInTheJournalIsKept(t *testing.T) {
	for _, verification := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			opts := []fleetprov.Option{fleetprov.WithLogger(nil)}
			if verification {
				opts = append(opts, fleetprov.WithVerification()) // which AWS refuses
			}
			server, provisioner := provtest.OnPipes(t, opts...)
			store := provtest.NewMemStore()
			data := expiring(t, time.Now())
			store.Files["pending.pem"] = acceptedJournal(data)
			<-time.After(time.Minute)
			for range 2 {
				credentials, err := provtest.NewProvisioner(t, server, append(opts, unplugged)...).Ensure(t.Context(), store, nil)
				require.ErrorIs(t, err, syscall.ENETUNREACH)
				require.NotNil(t, credentials)
				assert.Equal(t, "of another time", credentials.CertificateID)
				assert.Equal(t, data, store.Files["credentials.pem"])
			}
			credentials, err := provisioner.Ensure(t.Context(), store, nil)
			require.NoError(t, err)
			assert.Equal(t, issued(server), []string{credentials.CertificateID})
			assert.Equal(t, "of another time", credentials.PreviousCertificateID)
			assert.Equal(t, data, store.Files["previous.pem"])
			assert.NotContains(t, store.Names(), "pending.pem")
		})
	}
}

// A replacement that AWS had accepted when the power failed takes the place of the old
// credentials as it would have, and those are kept.
func TestAReplacementInTheJournal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, provisioner := provtest.OnPipes(t, fleetprov.WithLogger(nil))
		store, data := expired(t)
		store.Fail = failing("put", "credentials.pem")
		first, err := provisioner.Ensure(t.Context(), store, nil)
		require.ErrorIs(t, err, syscall.EIO)
		store.Fail = nil
		delete(store.Files, "previous.pem") // the power failed before that
		again, err := provtest.NewProvisioner(t, server, noDial(t)).Ensure(t.Context(), store, nil)
		require.NoError(t, err)
		assert.Equal(t, first, again)
		assert.Equal(t, data, store.Files["previous.pem"])
	})
}

// A renewal that AWS accepted, that looks expired, and that AWS does not let in is given
// up, and named. One that could not be tried is not.
func TestAnExpiredRenewalInTheJournal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, provisioner := provtest.OnPipes(t, fleetprov.WithLogger(nil))
		store := provtest.NewMemStore()
		old, err := provisioner.Ensure(t.Context(), store, renewalParameters)
		require.NoError(t, err)
		journal := acceptedJournal(expiring(t, time.Now()))
		store.Files["pending.pem"] = journal
		<-time.After(time.Minute)

		broken := fleetprov.WithDialer(func(context.Context, string, string) (net.Conn, error) {
			client, server := net.Pipe()
			return client, server.Close()
		})
		for _, test := range []struct {
			dialer fleetprov.Option
			is     error
		}{
			{unplugged, syscall.ENETUNREACH},
			{broken, fleetprov.ErrConnectionLost},
		} {
			credentials, err := provtest.NewProvisioner(t, server, test.dialer, fleetprov.WithStepTimeout(5*time.Second), provtest.OneAttempt).Renew(t.Context(), store, renewalParameters)
			require.ErrorIs(t, err, test.is)
			require.NotNil(t, credentials)
			assertOp(t, fleetprovtest.Op(fleetprov.OpVerify), err)
			assert.ErrorContains(t, err, "(certificate of another time)")
			assert.Equal(t, "of another time", credentials.CertificateID)
			assert.Equal(t, journal, store.Files["pending.pem"])
		}

		renewed, err := provisioner.Renew(t.Context(), store, renewalParameters)
		require.NoError(t, err)
		assert.Equal(t, issued(server)[1], renewed.CertificateID)
		assert.Equal(t, old.CertificateID, renewed.PreviousCertificateID)
		assert.Equal(t, []string{"of another time"}, renewed.AbandonedCertificateIDs)
		assert.Equal(t, [][]byte{journal}, setAside(store))
	})
}

// A certificate that AWS gives, and that has expired by this clock, is the clock's
// fault, however often it is tried.
func TestANewCertificateThatLooksExpired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		certificate := testca.New("a device authority").Client("device", testca.Validity{NotAfter: time.Now().Add(-time.Minute)})
		key, err := x509.MarshalPKCS8PrivateKey(certificate.PrivateKey)
		require.NoError(t, err)
		answer, err := json.Marshal(map[string]string{
			"certificateId":             strings.Repeat("ab", 32),
			"certificatePem":            string(provtest.PEM("CERTIFICATE", certificate.Certificate[0])),
			"privateKey":                string(provtest.PEM("PRIVATE KEY", key)),
			"certificateOwnershipToken": "a token",
		})
		require.NoError(t, err)
		server, provisioner := provtest.OnPipes(t, fleetprov.WithMaxAttempts(3), fleetprov.WithLogger(nil))
		server.Inject(fleetprovtest.OpCreateKeysAndCertificate, fleetprovtest.Fault{Response: answer})
		store := provtest.NewMemStore()
		_, err = provisioner.Ensure(t.Context(), store, nil)
		assertOp(t, fleetprovtest.OpCreateKeysAndCertificate, err)
		assert.ErrorIs(t, err, fleetprov.ErrClock)
		assert.True(t, fleetprov.Retryable(err))
		assert.ErrorContains(t, err, "the new certificate is valid until 1999-12-31T23:59:00Z: set the clock")
		assert.Equal(t, 3, count(server, fleetprovtest.OpConnect))
		assert.Zero(t, count(server, fleetprovtest.OpRegisterThing), "it is not made active")
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
