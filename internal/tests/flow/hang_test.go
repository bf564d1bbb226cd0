package flow_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov"
	"github.com/fleetprov/fleetprov/internal/tests/provtest"
)

// step is the default of WithStepTimeout, and moment is what a call that hangs takes
// longer.
const (
	step   = 30 * time.Second
	moment = time.Second
)

// frozenStore hangs in one of its calls, and watches no context there: what it was
// asked for is done when it thaws.
type frozenStore struct {
	*provtest.LockedStore
	thaw func()
}

// newFrozenStore returns a store that hangs in the nth call, from 1, of op on name. It
// thaws at the end of the test at the latest.
func newFrozenStore(t *testing.T, op, name string, nth int32) *frozenStore {
	thawed := make(chan struct{})
	store := &frozenStore{provtest.NewLockedStore(), sync.OnceFunc(func() { close(thawed) })}
	t.Cleanup(store.thaw)
	var calls atomic.Int32
	store.Fail = func(o, n string) error {
		if o == op && n == name && calls.Add(1) == nth {
			<-thawed
		}
		return nil
	}
	return store
}

// isLocked reports whether somebody holds the lock.
func (s *frozenStore) isLocked() bool {
	ctx, cancel := context.WithTimeout(context.Background(), time.Nanosecond)
	defer cancel()
	unlock, err := s.Lock(ctx)
	if err == nil {
		unlock()
	}
	return err != nil
}

// logged returns an option that logs to what it returns.
func logged() (*lockedBuffer, fleetprov.Option) {
	log := new(lockedBuffer)
	return log, fleetprov.WithLogger(slog.New(slog.NewTextHandler(log, nil)))
}

func TestEnsureWithAStoreThatHangs(t *testing.T) {
	for name, row := range map[string]struct {
		op, file string
		nth      int32
		takes    time.Duration
		accepted bool
		refusal  string
	}{
		"at the proof":                     {op: "put", file: "pending.pem", nth: 1, takes: step, refusal: "write of pending.pem"},
		"before the registration":          {op: "put", file: "pending.pem", nth: 2, takes: step, refusal: "write of pending.pem"},
		"after the registration":           {op: "put", file: "pending.pem", nth: 3, takes: 2 * step, accepted: true, refusal: "write of pending.pem"},
		"with the credentials":             {op: "put", file: "credentials.pem", nth: 1, takes: step, accepted: true, refusal: "write of credentials.pem"},
		"when all is done but the journal": {op: "delete", file: "pending.pem", nth: 1, takes: step, accepted: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log, withLog := logged()
				server, provisioner := provtest.OnPipes(t, withLog)
				store := newFrozenStore(t, row.op, row.file, row.nth)
				start := time.Now()

				credentials, err := provisioner.Ensure(t.Context(), store, nil)

				assert.LessOrEqual(t, time.Since(start), row.takes+moment)
				var failure *fleetprov.Error
				require.ErrorAs(t, err, &failure)
				assert.Equal(t, fleetprov.OpStore, failure.Op)
				assert.ErrorContains(t, err, row.file+" has not ended")
				assert.False(t, fleetprov.Retryable(err))
				assert.Equal(t, row.accepted, credentials != nil, "what AWS has accepted is returned")
				assert.True(t, store.isLocked(), "nobody else may write yet")
				assert.Equal(t, 1, strings.Count(log.String(), "the store hangs, and stays locked"), log)

				if row.refusal != "" {
					start = time.Now()
					_, err = provisioner.Ensure(t.Context(), store, nil)
					assert.ErrorContains(t, err, "locking the store: an earlier "+row.refusal+" has not ended: the store hangs")
					assert.NotContains(t, err.Error(), "another run")
					assert.Zero(t, time.Since(start))
				}

				store.thaw()
				synctest.Wait()
				assert.False(t, store.isLocked())
				again, err := provisioner.Ensure(t.Context(), store, nil)
				require.NoError(t, err)
				assert.Len(t, server.Certificates(), 1)
				if credentials != nil {
					assert.Equal(t, credentials.CertificateID, again.CertificateID)
				}
			})
		})
	}
}

func TestRenewWithAStoreThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, provisioner := provtest.OnPipes(t)
		store := newFrozenStore(t, "put", "credentials.pem", 2)
		old, err := provisioner.Ensure(t.Context(), store, nil)
		require.NoError(t, err)
		start := time.Now()

		renewed, err := provisioner.Renew(t.Context(), store, nil)

		assert.InDelta(t, step, time.Since(start), float64(moment))
		require.ErrorContains(t, err, "writing credentials.pem has not ended")
		require.NotNil(t, renewed, "what AWS has accepted is returned")
		booted, err := provisioner.Ensure(t.Context(), store, nil)
		require.NoError(t, err, "the old can be read")
		assert.Equal(t, old.CertificateID, booted.CertificateID)
		_, err = provisioner.Renew(t.Context(), store, nil)
		assert.ErrorContains(t, err, "an earlier write of credentials.pem has not ended")

		store.thaw()
		synctest.Wait()
		again, err := provisioner.Renew(t.Context(), store, nil)
		require.NoError(t, err)
		assert.Equal(t, renewed.CertificateID, again.CertificateID)
	})
}

func TestAReadThatHangsIsInNobodysWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, provisioner := provtest.OnPipes(t)
		store := newFrozenStore(t, "get", "credentials.pem", 1)
		start := time.Now()

		_, err := provisioner.Ensure(t.Context(), store, nil)

		require.ErrorContains(t, err, "reading credentials.pem has not ended")
		assert.InDelta(t, step, time.Since(start), float64(moment))
		_, err = provisioner.Ensure(t.Context(), store, nil)
		require.NoError(t, err)
	})
}

func TestLoadCredentialsFromAStoreThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newFrozenStore(t, "get", "credentials.pem", 1)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		start := time.Now()
		_, err := fleetprov.LoadCredentials(ctx, store)
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.InDelta(t, time.Minute, time.Since(start), float64(moment))
	})
}

// The end of the caller's context leaves two seconds to what AWS has given, and no more
// if the store does not watch contexts.
func TestTheCallersContextEndsWhileTheStoreHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, provisioner := provtest.OnPipes(t)
		store := newFrozenStore(t, "put", "credentials.pem", 1)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		start := time.Now()

		credentials, err := provisioner.Ensure(ctx, store, nil)

		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.NotNil(t, credentials)
		assert.InDelta(t, 7*time.Second, time.Since(start), float64(moment))
		assert.True(t, store.isLocked())
	})
}

// lockStore is a store with a lock of the test's making.
type lockStore struct {
	*provtest.MemStore
	lock func(context.Context) (func() error, error)
}

func (s *lockStore) Lock(ctx context.Context) (func() error, error) { return s.lock(ctx) }

func TestFailuresOfTheLock(t *testing.T) {
	waits := func(ctx context.Context) (func() error, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	for name, row := range map[string]struct {
		lock      func(context.Context) (func() error, error)
		want, not string
	}{
		"somebody holds it":       {waits, "context deadline exceeded; another run may hold it", "hangs"},
		"the disk is read-only":   {func(context.Context) (func() error, error) { return nil, syscall.EROFS }, syscall.EROFS.Error(), "another run"},
		"it has a timeout of its": {func(context.Context) (func() error, error) { return nil, errors.New("no lock server") }, "no lock server", "another run"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, provisioner := provtest.OnPipes(t, noDial(t))
				store := &lockStore{provtest.NewMemStore(), row.lock}
				for _, run := range []func(context.Context, fleetprov.Store, map[string]string) (*fleetprov.Credentials, error){provisioner.Ensure, provisioner.Renew} {
					ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
					defer cancel()
					_, err := run(ctx, store, nil)
					assert.ErrorContains(t, err, "locking the store: "+row.want)
					assert.NotContains(t, err.Error(), row.not)
				}
			})
		})
	}
}

func TestALockThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, withLog := logged()
		_, provisioner := provtest.OnPipes(t, noDial(t), withLog)
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		thawed, free := make(chan struct{}), make(chan struct{})
		store := &lockStore{provtest.NewMemStore(), func(context.Context) (func() error, error) {
			<-thawed
			return func() error { close(free); return nil }, nil
		}}
		start := time.Now()

		_, err := provisioner.Ensure(ctx, store, nil)

		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.ErrorContains(t, err, "has not ended: context deadline exceeded; the store hangs, or another run may hold it")
		assert.InDelta(t, time.Hour, time.Since(start), float64(moment))
		assert.Equal(t, 60, strings.Count(log.String(), waitsForTheLock), "it is not silent meanwhile")
		close(thawed)
		provtest.Wait(t, free) // a lock that comes too late is given up
	})
}

const waitsForTheLock = "waiting for the lock of the store; another run may hold it, or the store hangs"

// Another run may need long, and is waited for as long as the caller likes.
func TestAWaitForTheLockIsNotSilent(t *testing.T) {
	for name, background := range map[string]context.Context{"with an end": nil, "without an end": context.Background()} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx := background
				if ctx == nil {
					ctx = t.Context()
				}
				log, withLog := logged()
				_, provisioner := provtest.OnPipes(t, withLog)
				store := provtest.NewLockedStore()
				unlock, err := store.Lock(ctx)
				require.NoError(t, err)
				time.AfterFunc(time.Minute-moment, func() { assert.NotContains(t, log.String(), waitsForTheLock) })
				time.AfterFunc(150*time.Second, func() { assert.NoError(t, unlock()) })

				_, err = provisioner.Ensure(ctx, store, nil)

				require.NoError(t, err)
				assert.Equal(t, 2, strings.Count(log.String(), waitsForTheLock), log)
				assert.Contains(t, log.String(), "waited=2m0s")
			})
		})
	}
}

func TestAnUnlockThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, withLog := logged()
		_, provisioner := provtest.OnPipes(t, withLog)
		thawed := make(chan struct{})
		defer close(thawed)
		store := &lockStore{provtest.NewMemStore(), func(context.Context) (func() error, error) {
			return func() error { <-thawed; return nil }, nil
		}}
		start := time.Now()
		credentials, err := provisioner.Ensure(t.Context(), store, nil)
		require.NoError(t, err)
		assert.NotNil(t, credentials)
		assert.InDelta(t, step, time.Since(start), float64(moment))
		assert.Contains(t, log.String(), "unlocking the store has not ended")
	})
}

// listStore is a store that cannot be compared with another.
type listStore struct {
	*frozenStore
	_ []int
}

func TestAStoreThatCannotBeComparedHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, provisioner := provtest.OnPipes(t)
		store := newFrozenStore(t, "put", "pending.pem", 3)
		credentials, err := provisioner.Ensure(t.Context(), listStore{frozenStore: store}, nil)
		require.ErrorContains(t, err, "an earlier write of pending.pem has not ended")
		assert.NotNil(t, credentials)
		assert.True(t, store.isLocked())
		store.thaw()
		synctest.Wait()
		assert.False(t, store.isLocked())
	})
}
