package filelock_test

import (
	"context"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov/internal/filelock"
)

func TestOnlyOneHolds(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	const goroutines = 8
	holders := 0 // what the race detector watches
	var group sync.WaitGroup
	for range goroutines {
		group.Go(func() {
			unlock, err := filelock.Lock(t.Context(), path)
			if !assert.NoError(t, err) {
				return
			}
			holders++
			assert.NoError(t, unlock())
		})
	}
	group.Wait()
	assert.Equal(t, goroutines, holders)
}

func TestWaitingEndsWithTheContext(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	synctest.Test(t, func(t *testing.T) {
		unlock, err := filelock.Lock(t.Context(), path)
		require.NoError(t, err)
		start := time.Now()

		ctx, cancel := context.WithTimeout(t.Context(), time.Hour+time.Millisecond)
		defer cancel()
		_, err = filelock.Lock(ctx, path)

		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.ErrorContains(t, err, path)
		assert.Equal(t, time.Hour+time.Millisecond, time.Since(start), "not a moment later")
		require.NoError(t, unlock())
	}) // which fails if a goroutine is left
}

func TestTheNextGetsItWhenItIsGivenUp(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	synctest.Test(t, func(t *testing.T) {
		unlock, err := filelock.Lock(t.Context(), path)
		require.NoError(t, err)
		start := time.Now()
		time.AfterFunc(time.Minute+time.Millisecond, func() { assert.NoError(t, unlock()) })

		next, err := filelock.Lock(t.Context(), path)

		require.NoError(t, err)
		assert.InDelta(t, time.Minute, time.Since(start), float64(time.Second))
		require.NoError(t, next())
	})
}

func TestUnlockingTwiceDoesNotTakeItFromTheNext(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	first, err := filelock.Lock(t.Context(), path)
	require.NoError(t, err)
	require.NoError(t, first())
	second, err := filelock.Lock(t.Context(), path)
	require.NoError(t, err)

	require.NoError(t, first())

	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := filelock.Lock(ctx, path)
		assert.ErrorIs(t, err, context.DeadlineExceeded, "the second still holds it")
	})
	require.NoError(t, second())
}

func TestADirectoryThatIsMissingIsAnError(t *testing.T) {
	_, err := filelock.Lock(t.Context(), filepath.Join(t.TempDir(), "missing", "lock"))
	assert.Error(t, err)
}

func TestALockIsKeptThoughItsUnlockIsDropped(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	_, err := filelock.Lock(t.Context(), path)
	require.NoError(t, err)

	collectGarbage(t)
	collectGarbage(t)

	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := filelock.Lock(ctx, path)
		assert.ErrorIs(t, err, context.DeadlineExceeded, "the lock has not ended")
	})
}

// collectGarbage returns when something that became garbage after the call began has
// been collected, and its finalizer has run.
func collectGarbage(t *testing.T) {
	t.Helper()
	collected := make(chan struct{})
	runtime.SetFinalizer(&[]byte{1}, func(*[]byte) { close(collected) })
	runtime.GC()
	select {
	case <-collected:
	case <-time.After(time.Minute):
		require.Fail(t, "nothing has been collected")
	}
}
