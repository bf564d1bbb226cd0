package flow_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"io/fs"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov"
	"github.com/fleetprov/fleetprov/fleetprovtest"
	"github.com/fleetprov/fleetprov/internal/tests/provtest"
)

// readOnly fails the test when a store is written to or locked.
type readOnly struct {
	*provtest.MemStore
	t *testing.T
}

func (s readOnly) Put(context.Context, string, []byte) error {
	s.t.Error("the store was written to")
	return nil
}

func (s readOnly) Delete(context.Context, string) error {
	s.t.Error("the store was written to")
	return nil
}

func (s readOnly) Lock(context.Context) (func() error, error) {
	s.t.Error("the store was locked")
	return func() error { return nil }, nil
}

func TestEnsureReturnsWhatIsStoredAtOnce(t *testing.T) {
	server := provtest.NewServer(t)
	store := provtest.NewMemStore()
	first, err := provtest.NewProvisioner(t, server).Ensure(provtest.Context(t), store, map[string]string{"SerialNumber": "1"})
	require.NoError(t, err)
	assert.Equal(t, []string{"credentials.pem"}, store.Names(), "the journal is gone")

	again, err := provtest.NewProvisioner(t, server, noDial(t)).Ensure(provtest.Context(t), readOnly{store, t}, nil)
	require.NoError(t, err)
	assert.Equal(t, first, again)

	loaded, err := fleetprov.LoadCredentials(provtest.Context(t), readOnly{store, t})
	require.NoError(t, err)
	assert.Equal(t, first, loaded)
}

func TestLoadCredentialsWithoutAny(t *testing.T) {
	_, err := fleetprov.LoadCredentials(provtest.Context(t), provtest.NewMemStore())
	assert.ErrorIs(t, err, fs.ErrNotExist)
	_, err = fleetprov.LoadCredentials(provtest.Context(t), nil)
	assert.Error(t, err)
}

func TestEnsureKeepsDamageAside(t *testing.T) {
	server := provtest.NewServer(t)
	store := provtest.NewMemStore()
	_, err := provtest.NewProvisioner(t, server).Ensure(provtest.Context(t), store, nil)
	require.NoError(t, err)
	damaged := store.Files["credentials.pem"][:1000]
	store.Files["credentials.pem"] = damaged
	store.Files["pending.pem"] = []byte("no journal")

	credentials, err := provtest.NewProvisioner(t, server).Ensure(provtest.Context(t), store, nil)
	require.NoError(t, err)
	loaded, err := fleetprov.LoadCredentials(provtest.Context(t), store)
	require.NoError(t, err)
	assert.Equal(t, credentials, loaded)
	var aside [][]byte
	for name, data := range store.Files {
		if strings.HasPrefix(name, "damaged-") {
			aside = append(aside, data)
		}
	}
	assert.ElementsMatch(t, [][]byte{damaged, []byte("no journal")}, aside)
}

func TestAnErrorOfTheStoreIsNoDamage(t *testing.T) {
	for _, broken := range []string{"credentials.pem", "pending.pem"} {
		t.Run(broken, func(t *testing.T) {
			store := provtest.NewMemStore()
			store.FailOn("get", broken, syscall.EIO)
			_, err := provtest.NewProvisioner(t, provtest.NewServer(t), noDial(t)).Ensure(provtest.Context(t), store, nil)
			assert.ErrorIs(t, err, syscall.EIO)
			var failure *fleetprov.Error
			require.ErrorAs(t, err, &failure)
			assert.Equal(t, fleetprov.OpStore, failure.Op)
			assert.Contains(t, err.Error(), broken)
			assert.Empty(t, store.Names())
		})
	}
}

// A store that cannot be written to shows before AWS makes anything.
func TestTheStoreIsProvedBeforeAWSMintsAnything(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.ENOSPC, syscall.EROFS, syscall.EACCES} {
		t.Run(errno.Error(), func(t *testing.T) {
			store := provtest.NewMemStore()
			store.Fail = func(op, _ string) error {
				if op == "put" {
					return &fs.PathError{Op: "write", Path: "/data", Err: errno}
				}
				return nil
			}
			_, err := provtest.NewProvisioner(t, provtest.NewServer(t), noDial(t)).Ensure(provtest.Context(t), store, nil)
			assert.ErrorIs(t, err, errno)
			assert.False(t, fleetprov.Retryable(err))
			assert.Contains(t, err.Error(), "free space")
		})
	}
}

// The disk fills up at each write in turn, after the proof.
func TestAStoreThatFailsAtEachWrite(t *testing.T) {
	for write, test := range []struct {
		name     string
		accepted bool
	}{
		{"the proof", false}, {"the journal of Create", false}, {"the journal of Register", true}, {"the credentials", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server, provisioner := provtest.OnPipes(t, fleetprov.WithGeneratedKey())
				store := provtest.NewMemStore()
				writes := 0
				full := func(op, name string) error {
					if op != "put" {
						return nil
					}
					if writes++; writes > write {
						return syscall.ENOSPC
					}
					return nil
				}
				store.Fail = full
				credentials, err := provisioner.Ensure(t.Context(), store, map[string]string{"SerialNumber": "1"})
				assert.ErrorIs(t, err, syscall.ENOSPC)
				assert.Equal(t, test.accepted, credentials != nil, "what AWS accepted is returned")

				store.Fail = nil
				again, err := provisioner.Ensure(t.Context(), store, map[string]string{"SerialNumber": "1"})
				require.NoError(t, err)
				active := 0
				for _, certificate := range server.Certificates() {
					if certificate.Status == "ACTIVE" {
						active++
					}
				}
				assert.Equal(t, 1, active)
				if credentials != nil {
					assert.Equal(t, credentials, again)
				}
			})
		})
	}
}

// A flash that is busy for a moment does not cost the certificate.
func TestAWriteThatFailsForAMomentIsRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, provisioner := provtest.OnPipes(t)
		store := provtest.NewMemStore()
		var recovers time.Time // it fails right after the proof
		store.Fail = func(op, name string) error {
			if op != "put" {
				return nil
			}
			if bytes.Contains(store.Files["pending.pem"], []byte("FILLER")) && recovers.IsZero() {
				recovers = time.Now().Add(5 * time.Second)
			}
			if time.Now().Before(recovers) {
				return syscall.EIO
			}
			return nil
		}
		_, err := provisioner.Ensure(t.Context(), store, nil)
		require.NoError(t, err)
		assert.Len(t, server.Certificates(), 1)
	})
}

func TestConcurrentEnsuresMakeOneThing(t *testing.T) {
	server := provtest.NewServer(t)
	store := provtest.NewLockedStore()
	var ids sync.Map
	var runs sync.WaitGroup
	for range 8 {
		runs.Go(func() {
			credentials, err := provtest.NewProvisioner(t, server, fleetprov.WithGeneratedKey()).Ensure(provtest.Context(t), store, nil)
			if assert.NoError(t, err) {
				ids.Store(credentials.CertificateID, true)
			}
		})
	}
	runs.Wait()
	assert.Len(t, server.Certificates(), 1)
	ids.Range(func(id, _ any) bool { return assert.Equal(t, server.Certificates()[0].ID, id) })
}

func TestWaitingForTheLockEndsWithTheContext(t *testing.T) {
	store := provtest.NewLockedStore()
	unlock, err := store.Lock(provtest.Context(t))
	require.NoError(t, err)
	defer unlock()
	provisioner := provtest.NewProvisioner(t, provtest.NewServer(t), noDial(t))
	ctx, cancel := context.WithTimeout(provtest.Context(t), 100*time.Millisecond)
	defer cancel()
	_, err = provisioner.Ensure(ctx, store, nil)
	assert.ErrorIs(t, err, context.DeadlineExceeded)
	var failure *fleetprov.Error
	require.ErrorAs(t, err, &failure)
	assert.Equal(t, fleetprov.OpStore, failure.Op)
}

// interrupted leaves the journal of a registration that was not answered.
func interrupted(t *testing.T, server *fleetprovtest.Server, provisioner *fleetprov.Provisioner, store fleetprov.Store) {
	t.Helper()
	server.Inject(fleetprovtest.OpRegisterThing, fleetprovtest.Fault{Disconnect: true, Reject: &fleetprovtest.Rejection{}})
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err := provisioner.Ensure(ctx, store, nil)
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

func TestEnsureGoesOnWithTheCertificateItHas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, provisioner := provtest.OnPipes(t)
		store := provtest.NewMemStore()
		interrupted(t, server, provisioner, store)
		credentials, err := provisioner.Ensure(t.Context(), store, nil)
		require.NoError(t, err)
		require.Len(t, server.Certificates(), 1)
		assert.Equal(t, server.Certificates()[0].ID, credentials.CertificateID)
		assert.NotEmpty(t, credentials.PrivateKeyPEM())
		assert.Equal(t, server.Endpoint(), credentials.Endpoint)
		assert.Len(t, credentials.Roots, 1)
	})
}

func TestAJournalOlderThanItsTokenStartsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, provisioner := provtest.OnPipes(t)
		store := provtest.NewMemStore()
		interrupted(t, server, provisioner, store)
		<-time.After(2 * time.Hour)
		credentials, err := provisioner.Ensure(t.Context(), store, nil)
		require.NoError(t, err)
		assert.Equal(t, 2, count(server, fleetprovtest.OpCreateKeysAndCertificate))
		require.Len(t, server.Certificates(), 1, "AWS deletes the first")
		assert.Equal(t, server.Certificates()[0].ID, credentials.CertificateID)
	})
}

// Once the hour is over, AWS may refuse the token in words that are not known.
func TestAJournalOlderThanAnHourStartsOverAfterAny400(t *testing.T) {
	refusal := fleetprovtest.Fault{Reject: &fleetprovtest.Rejection{StatusCode: 400, Code: "SomethingElse"}}
	synctest.Test(t, func(t *testing.T) {
		server, provisioner := provtest.OnPipes(t)
		store := provtest.NewMemStore()
		interrupted(t, server, provisioner, store)
		server.Inject(fleetprovtest.OpRegisterThing, refusal)
		_, err := provisioner.Ensure(t.Context(), store, nil)
		var rejected *fleetprov.RejectedError
		require.ErrorAs(t, err, &rejected, "a token that is young is not at fault")
		assert.Len(t, server.Certificates(), 1)

		<-time.After(61 * time.Minute)
		server.Inject(fleetprovtest.OpRegisterThing, refusal)
		_, err = provisioner.Ensure(t.Context(), store, nil)
		require.NoError(t, err)
		assert.Equal(t, 2, count(server, fleetprovtest.OpCreateKeysAndCertificate))
	})
}

// Flash memory wears out: what is on it already is not written again.
func TestTheJournalIsWrittenOncePerPhase(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, provisioner := provtest.OnPipes(t)
		for range 2 {
			server.Inject(fleetprovtest.OpRegisterThing, throttled)
		}
		store := provtest.NewMemStore()
		var writes []string
		store.Fail = func(op, name string) error {
			if op == "put" {
				writes = append(writes, name)
			}
			return nil
		}
		_, err := provisioner.Ensure(t.Context(), store, nil)
		require.NoError(t, err)
		assert.Equal(t, []string{"pending.pem", "pending.pem", "pending.pem", "pending.pem", "credentials.pem"}, writes,
			"the proof, created, once how long AWS has refused, accepted, and the credentials")
	})
}

// A watchdog that restarts the device every minute, or sooner, does not make it try at
// each start: the store holds how long AWS IoT has refused it.
func TestADeviceThatRestartsAgainAndAgainWaitsAllTheSame(t *testing.T) {
	for _, life := range []time.Duration{20 * time.Second, 30 * time.Second, 45 * time.Second, time.Minute} {
		t.Run(life.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server, listener := provtest.NewPipeServer(t)
				for range 1000 {
					server.Inject(fleetprovtest.OpCreateKeysAndCertificate, throttled)
				}
				store := provtest.NewMemStore()
				writes := 0
				store.Fail = func(op, name string) error {
					if op == "put" {
						writes++
					}
					return nil
				}
				connections := func() int { return count(server, fleetprovtest.OpConnect) }
				const hours = 3
				perHour := int(time.Hour / life)
				var earlier int
				for boot := range hours * perHour {
					if boot == (hours-1)*perHour {
						earlier = connections()
					}
					ctx, cancel := context.WithCancel(t.Context())
					time.AfterFunc(life, cancel)
					restarted := provtest.NewProvisioner(t, server, fleetprov.WithDialer(listener.Dial), fleetprov.WithLogger(nil))
					_, err := restarted.Ensure(ctx, store, nil)
					require.Error(t, err)
					<-ctx.Done()
				}
				t.Logf("%d connections in the last hour, %d before", connections()-earlier, earlier)
				assert.Less(t, connections()-earlier, 50)
				assert.LessOrEqual(t, writes, 2*hours*perHour, "one proof a run, and at most one more")
			})
		})
	}
}

// The clock may have jumped back since: any 400 starts over then.
func TestAJournalFromTheFutureStartsOver(t *testing.T) {
	store := provtest.NewMemStore()
	synctest.Test(t, func(t *testing.T) {
		<-time.After(10 * time.Minute)
		server, provisioner := provtest.OnPipes(t)
		interrupted(t, server, provisioner, store)
	})
	synctest.Test(t, func(t *testing.T) {
		server, provisioner := provtest.OnPipes(t)
		server.Inject(fleetprovtest.OpRegisterThing, fleetprovtest.Fault{Reject: &fleetprovtest.Rejection{StatusCode: 400, Code: "SomethingElse"}})
		_, err := provisioner.Ensure(t.Context(), store, nil)
		require.NoError(t, err)
		assert.Len(t, server.Things(), 1)
	})
}

func TestAJournalOfAnotherEndpointIsNotUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, provisioner := provtest.OnPipes(t)
		store := provtest.NewMemStore()
		interrupted(t, server, provisioner, store)
		another, err := fleetprov.New("localhost:8884", provtest.Template, provtest.Claim(t, server), fleetprov.WithDialer(server.Listener.(*fleetprovtest.PipeListener).Dial))
		require.NoError(t, err)
		_, err = another.Ensure(t.Context(), store, nil)
		require.NoError(t, err)
		assert.Len(t, server.Certificates(), 2)
		assert.Condition(t, func() bool {
			for _, name := range store.Names() {
				if strings.HasPrefix(name, "damaged-") {
					return true
				}
			}
			return false
		}, "it is kept aside")
	})
}

// The caller gives up in the very moment AWS accepts: the identity is kept.
func TestAnEndingContextDoesNotLoseTheIdentity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		server, provisioner := provtest.OnPipes(t, fleetprov.WithProgress(func(_ context.Context, p fleetprov.Progress) {
			if p.Op == fleetprov.OpRegisterThing && p.Done {
				cancel()
			}
		}))
		store := provtest.NewMemStore()
		credentials, err := provisioner.Ensure(ctx, store, nil)
		require.NotNil(t, credentials)
		require.NoError(t, err)
		loaded, err := fleetprov.LoadCredentials(t.Context(), store)
		require.NoError(t, err)
		assert.Equal(t, server.Certificates()[0].ID, loaded.CertificateID)
	})
}

func TestEnsureWithAKeyInHardware(t *testing.T) {
	server := provtest.NewServer(t)
	store := provtest.NewMemStore()
	key := provtest.NewHardwareKey(t)
	first, err := provtest.NewProvisioner(t, server, fleetprov.WithPrivateKey(key)).Ensure(provtest.Context(t), store, nil)
	require.NoError(t, err)
	assert.Nil(t, first.PrivateKeyPEM())
	assert.NotContains(t, string(store.Files["credentials.pem"]), "PRIVATE KEY")

	again, err := provtest.NewProvisioner(t, server, noDial(t), fleetprov.WithPrivateKey(key)).Ensure(provtest.Context(t), readOnly{store, t}, nil)
	require.NoError(t, err)
	_, err = again.TLSCertificate()
	require.NoError(t, err)

	for name, opts := range map[string][]fleetprov.Option{
		"missing": nil,
		"another": {fleetprov.WithPrivateKey(provtest.NewHardwareKey(t))},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := provtest.NewProvisioner(t, server, append(opts, noDial(t))...).Ensure(provtest.Context(t), readOnly{store, t}, nil)
			assert.ErrorContains(t, err, "WithPrivateKey")
		})
	}
}

func TestRenewNeedsSomethingToRenew(t *testing.T) {
	_, err := provtest.NewProvisioner(t, provtest.NewServer(t), noDial(t)).Renew(provtest.Context(t), provtest.NewMemStore(), nil)
	assert.ErrorIs(t, err, fs.ErrNotExist)
	store := provtest.NewMemStore()
	store.Files["credentials.pem"] = []byte("damaged")
	_, err = provtest.NewProvisioner(t, provtest.NewServer(t), noDial(t)).Renew(provtest.Context(t), store, nil)
	assert.ErrorContains(t, err, "credentials to renew")
}

// The identity to renew with may be the device's own, which connects under the
// thing name.
func TestRenewWithTheDevicesOwnIdentity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, provisioner := provtest.OnPipes(t)
		store := provtest.NewMemStore()
		parameters := map[string]string{"SerialNumber": "device-1"}
		old, err := provisioner.Ensure(t.Context(), store, parameters)
		require.NoError(t, err)
		identity, err := old.Identity()
		require.NoError(t, err)
		seen := len(server.Requests())

		renewer, err := fleetprov.New(server.Endpoint(), provtest.Template, identity, fleetprov.WithDialer(server.Listener.(*fleetprovtest.PipeListener).Dial))
		require.NoError(t, err)
		renewed, err := renewer.Renew(t.Context(), store, parameters)
		require.NoError(t, err)
		assert.NotEqual(t, old.CertificateID, renewed.CertificateID)
		assert.Equal(t, old.CertificateID, renewed.PreviousCertificateID)
		assert.ElementsMatch(t, []string{"credentials.pem", "previous.pem"}, store.Names())
		loaded, err := fleetprov.LoadCredentials(t.Context(), store)
		require.NoError(t, err)
		assert.Equal(t, renewed, loaded)
		previous, err := fleetprov.ParseCredentials(store.Files["previous.pem"])
		require.NoError(t, err)
		assert.Equal(t, old, previous)

		var connects []time.Time
		for _, request := range server.Requests()[seen:] {
			assert.Equal(t, "device-1", request.ClientID)
			if request.Op == fleetprovtest.OpConnect {
				connects = append(connects, request.Time)
			}
		}
		require.Len(t, connects, 2, "one to renew, one to prove it")
		assert.GreaterOrEqual(t, connects[1].Sub(connects[0]), 10*time.Second)
	})
}

// New credentials that do not work never replace old ones that do, and are tried
// again rather than made again.
func TestRenewKeepsTheOldUntilTheNewWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, provisioner := provtest.OnPipes(t)
		store := provtest.NewMemStore()
		old, err := provisioner.Ensure(t.Context(), store, nil)
		require.NoError(t, err)
		server.Inject(fleetprovtest.OpConnect, fleetprovtest.Fault{}) // the claim connects
		for range 3 {                                                 // after 0, 10 and 20 of the 30 seconds of a step
			server.Inject(fleetprovtest.OpConnect, fleetprovtest.Fault{Reject: &fleetprovtest.Rejection{StatusCode: 7}})
		}
		renewed, err := provisioner.Renew(t.Context(), store, nil)
		assert.ErrorIs(t, err, fleetprov.ErrNotAuthorized)
		var failure *fleetprov.Error
		require.ErrorAs(t, err, &failure)
		assert.Equal(t, fleetprov.OpVerify, failure.Op)
		require.NotNil(t, renewed)
		loaded, err := fleetprov.LoadCredentials(t.Context(), store)
		require.NoError(t, err)
		assert.Equal(t, old, loaded)

		// An Ensure in between leaves the renewal alone.
		ensured, err := provisioner.Ensure(t.Context(), readOnly{store, t}, nil)
		require.NoError(t, err)
		assert.Equal(t, old, ensured)

		again, err := provisioner.Renew(t.Context(), store, nil)
		require.NoError(t, err)
		assert.Equal(t, renewed, again)
		assert.Len(t, server.Certificates(), 2)
	})
}

// What was never verified is not forgotten: the claim may be needed still.
func TestEnsureDoesNotForgetAVerificationThatFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, provisioner := provtest.OnPipes(t, fleetprov.WithVerification())
		store := provtest.NewMemStore()
		refuse := func() {
			for range 3 {
				server.Inject(fleetprovtest.OpConnect, fleetprovtest.Fault{Reject: &fleetprovtest.Rejection{StatusCode: 7}})
			}
		}
		server.Inject(fleetprovtest.OpConnect, fleetprovtest.Fault{}) // the claim connects
		refuse()
		first, err := provisioner.Ensure(t.Context(), store, nil)
		assert.ErrorIs(t, err, fleetprov.ErrNotAuthorized)
		require.NotNil(t, first)

		refuse()
		again, err := provisioner.Ensure(t.Context(), store, nil)
		assert.ErrorIs(t, err, fleetprov.ErrNotAuthorized)
		assert.Equal(t, first, again)

		again, err = provisioner.Ensure(t.Context(), store, nil)
		require.NoError(t, err)
		assert.Equal(t, first, again)
		assert.Equal(t, []string{"credentials.pem"}, store.Names())
		_, err = provisioner.Ensure(t.Context(), readOnly{store, t}, nil)
		require.NoError(t, err)
		assert.Len(t, server.Certificates(), 1)
	})
}

// Credentials that are stored are for the device to boot with, come what may.
func TestEnsureReturnsStoredCredentialsThatItCannotVerify(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, provisioner := provtest.OnPipes(t, fleetprov.WithVerification())
		store := provtest.NewLockedStore()
		server.Inject(fleetprovtest.OpConnect, fleetprovtest.Fault{}) // the claim connects
		for range 3 {
			server.Inject(fleetprovtest.OpConnect, fleetprovtest.Fault{Reject: &fleetprovtest.Rejection{StatusCode: 7}})
		}
		first, err := provisioner.Ensure(t.Context(), store, nil)
		require.ErrorIs(t, err, fleetprov.ErrNotAuthorized)

		again, err := provisioner.Ensure(t.Context(), store, map[string]string{"": "no name"})
		assert.Error(t, err)
		assert.Equal(t, first, again)

		unlock, err := store.Lock(t.Context())
		require.NoError(t, err)
		defer unlock()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		again, err = provisioner.Ensure(ctx, store, nil)
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, first, again)
	})
}

// What AWS accepted for an Ensure is not thrown away by a Renew.
func TestRenewTakesAnAcceptedRegistrationThatWasNotStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, provisioner := provtest.OnPipes(t)
		store := provtest.NewMemStore()
		first, err := provisioner.Ensure(t.Context(), store, nil)
		require.NoError(t, err)
		readable := store.Files["credentials.pem"]
		store.Files["credentials.pem"] = []byte("damaged for a while")
		store.FailOn("put", "credentials.pem", syscall.ENOSPC)
		second, err := provisioner.Ensure(t.Context(), store, nil)
		require.ErrorIs(t, err, syscall.ENOSPC)
		store.Fail = nil
		store.Files["credentials.pem"] = readable

		renewed, err := provisioner.Renew(t.Context(), store, nil)
		require.NoError(t, err)
		assert.Equal(t, second.CertificateID, renewed.CertificateID)
		assert.Equal(t, first.CertificateID, renewed.PreviousCertificateID)
		assert.Len(t, server.Certificates(), 2)
	})
}

// A renewal that AWS accepted is an identity, and better than none.
func TestEnsureTakesAnAcceptedRenewalWhenItHasNothingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, provisioner := provtest.OnPipes(t)
		store := provtest.NewMemStore()
		_, err := provisioner.Ensure(t.Context(), store, nil)
		require.NoError(t, err)
		store.FailOn("put", "credentials.pem", syscall.ENOSPC)
		renewed, err := provisioner.Renew(t.Context(), store, nil)
		require.ErrorIs(t, err, syscall.ENOSPC)
		store.Fail = nil
		store.Files["credentials.pem"] = []byte("damaged")

		ensured, err := provisioner.Ensure(t.Context(), store, nil)
		require.NoError(t, err)
		assert.Equal(t, renewed, ensured)
		assert.Len(t, server.Certificates(), 2)
	})
}

// A disk that hangs is no reason to ask AWS again.
func TestAStoreThatHangsIsNotRetriedThroughAWS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, provisioner := provtest.OnPipes(t)
		store := hangingStore{provtest.NewMemStore(), 1}
		_, err := provisioner.Ensure(t.Context(), &store, nil)
		var failure *fleetprov.Error
		require.ErrorAs(t, err, &failure)
		assert.Equal(t, fleetprov.OpStore, failure.Op)
		assert.False(t, fleetprov.Retryable(err))
		assert.ErrorContains(t, err, "check the store")
		assert.Equal(t, 1, count(server, fleetprovtest.OpConnect))
		assert.Zero(t, count(server, fleetprovtest.OpRegisterThing))
	})
}

// hangingStore takes some writes, and hangs in those after.
type hangingStore struct {
	*provtest.MemStore
	takes int
}

func (s *hangingStore) Put(ctx context.Context, name string, data []byte) error {
	if s.takes--; s.takes < 0 {
		<-ctx.Done()
		return ctx.Err()
	}
	return s.MemStore.Put(ctx, name, data)
}

func TestAJournalOfAnotherTemplateIsNotUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, provisioner := provtest.OnPipes(t)
		require.NoError(t, server.AddTemplate("other-template", `{"Resources":{"certificate":{"Type":"AWS::IoT::Certificate",
			"Properties":{"CertificateId":{"Ref":"AWS::IoT::Certificate::Id"},"Status":"Active"}}}}`))
		store := provtest.NewMemStore()
		interrupted(t, server, provisioner, store)
		other, err := fleetprov.New(server.Endpoint(), "other-template", provtest.Claim(t, server), provtest.OneAttempt, fleetprov.WithDialer(server.Listener.(*fleetprovtest.PipeListener).Dial))
		require.NoError(t, err)
		_, err = other.Ensure(t.Context(), store, nil)
		require.NoError(t, err)
		assert.Len(t, server.Certificates(), 2, "a certificate of its own")
	})
}

func TestStoreErrorsAndLogsHoldNoSecret(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := new(lockedBuffer)
		server, provisioner := provtest.OnPipes(t, fleetprov.WithLogger(slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))))
		store := provtest.NewMemStore()
		interrupted(t, server, provisioner, store)
		store.Files["pending.pem"] = store.Files["pending.pem"][:len(store.Files["pending.pem"])-100]
		_, err := provisioner.Ensure(t.Context(), store, map[string]string{"SerialNumber": "s3cret-parameter"})
		require.NoError(t, err)
		assertNoSecret(t, log.String())
	})
}

func TestEnsureRefusesNothingness(t *testing.T) {
	var p fleetprov.Provisioner
	_, err := p.Ensure(provtest.Context(t), provtest.NewMemStore(), nil)
	assert.Error(t, err)
	_, err = p.Renew(provtest.Context(t), provtest.NewMemStore(), nil)
	assert.Error(t, err)
	_, err = provtest.NewProvisioner(t, provtest.NewServer(t)).Ensure(provtest.Context(t), nil, nil)
	assert.ErrorContains(t, err, "store is nil")
}

// FuzzStoredFiles lets the store hold anything. Nothing of it may be believed that
// is not sound, and nothing may panic.
func FuzzStoredFiles(f *testing.F) {
	server := provtest.NewServer(f)
	store := provtest.NewMemStore()
	provisioner, err := fleetprov.New(server.Endpoint(), provtest.Template, provtest.Claim(f, server), fleetprov.WithGeneratedKey())
	require.NoError(f, err)
	_, err = provisioner.Ensure(f.Context(), store, nil)
	require.NoError(f, err)
	sound := store.Files["credentials.pem"]
	journal := func(words string) []byte { return provtest.PEM("FLEETPROV JOURNAL", []byte(words)) }
	f.Add(sound, []byte{})
	f.Add([]byte{}, append(journal(`{"version":1,"phase":"accepted","template":"test-template"}`), sound...))
	f.Add(sound[:len(sound)-100], append(journal(`{"version":1,"phase":"created","template":"test-template","ownershipToken":"t","refused":true}`), sound...))
	f.Add([]byte{}, journal(`{"version":1,"phase":"probe","template":"test-template","abandonedCertificateIds":["a"],"refusedSeconds":86400}`))
	f.Add(expiring(f, time.Now().Add(-time.Minute)), append(journal(`{"version":1,"phase":"accepted","renewal":true,"template":"test-template"}`), sound...))
	f.Add(expiring(f, time.Now().Add(-time.Minute)), append(journal(`{"version":1,"phase":"accepted","template":"test-template"}`), expiring(f, time.Now().Add(-time.Hour))...))
	offline, err := fleetprov.New(server.Endpoint(), provtest.Template, provtest.Claim(f, server), fleetprov.WithMaxAttempts(1), fleetprov.WithVerification(),
		fleetprov.WithBackoff(time.Millisecond, time.Millisecond), fleetprov.WithStepTimeout(10*time.Millisecond), fleetprov.WithLogger(nil), unplugged)
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, credentials, pending []byte) {
		for _, run := range []func(context.Context, fleetprov.Store, map[string]string) (*fleetprov.Credentials, error){offline.Ensure, offline.Renew} {
			store := provtest.NewMemStore()
			store.Files["credentials.pem"] = credentials
			store.Files["pending.pem"] = pending
			c, err := run(t.Context(), store, nil)
			if c == nil {
				assert.Error(t, err)
			} else {
				_, err = c.TLSCertificate()
				assert.NoError(t, err)
			}
			kept := false
			for _, data := range store.Files {
				kept = kept || bytes.Equal(data, credentials)
			}
			assert.True(t, kept, "nothing is lost of what was stored")
		}
	})
}

// AWS takes 128 KB of control characters as CBOR, and they take six times as much in a
// file of credentials.
func TestConfigurationTooLargeToBeStoredIsLeftOut(t *testing.T) {
	text := strings.Repeat("<", 127<<10)
	answer := append([]byte("\xa2\x69thingName\x68device-1\x73deviceConfiguration\xa1\x61k\x7a"), binary.BigEndian.AppendUint32(nil, uint32(len(text)))...)
	server := provtest.NewServer(t)
	server.Inject(fleetprovtest.OpRegisterThing, fleetprovtest.Fault{Response: append(answer, text...)})
	store := fleetprov.DirStore(filepath.Join(t.TempDir(), "identity"))
	credentials, err := provtest.NewProvisioner(t, server, fleetprov.WithCBOR()).Ensure(provtest.Context(t), store, nil)
	assertOp(t, fleetprovtest.OpRegisterThing, err)
	assert.ErrorIs(t, err, fleetprov.ErrBadResponse)
	assert.ErrorContains(t, err, "deviceConfiguration")
	require.NotNil(t, credentials, "AWS has accepted them")
	assert.Equal(t, "device-1", credentials.ThingName)
	assert.Nil(t, credentials.DeviceConfiguration)

	again, err := provtest.NewProvisioner(t, server, noDial(t)).Ensure(provtest.Context(t), store, nil)
	require.NoError(t, err)
	assert.Equal(t, credentials.CertificateID, again.CertificateID)
}
