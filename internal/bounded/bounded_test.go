package bounded_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov/internal/bounded"
)

// courtesy is what the package gives a call after the end of its context.
const courtesy = 100 * time.Millisecond

var errEnough = errors.New("enough")

// within returns a context that ends after a minute, with errEnough.
func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeoutCause(t.Context(), time.Minute, errEnough)
	t.Cleanup(cancel)
	return ctx
}

// hanging returns a write that hangs until release is called.
func hanging() (write func(context.Context) error, release func()) {
	released := make(chan struct{})
	return func(context.Context) error { <-released; return nil }, sync.OnceFunc(func() { close(released) })
}

func nothing(context.Context) error { return nil }

func TestACallThatReturnsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, ctx := range []context.Context{within(t), context.Background()} {
			value, err := bounded.Read(ctx, "reading a", func(context.Context) ([]byte, error) { return []byte("a"), nil })
			require.NoError(t, err)
			assert.Equal(t, "a", string(value))
			_, err = bounded.Read(ctx, "reading a", func(context.Context) ([]byte, error) { return nil, fs.ErrNotExist })
			assert.Equal(t, fs.ErrNotExist, err, "the error is the call's own")
			assert.Equal(t, errEnough, bounded.Write(ctx, t, "a", func(context.Context) error { return errEnough }))
		}
	})
}

func TestACallThatHangsIsLeftBehind(t *testing.T) {
	for doing, call := range map[string]func(context.Context, func(context.Context) error) error{
		"reading a": func(ctx context.Context, hang func(context.Context) error) error {
			_, err := bounded.Read(ctx, "reading a", func(ctx context.Context) ([]byte, error) { return nil, hang(ctx) })
			return err
		},
		"calling a": func(ctx context.Context, hang func(context.Context) error) error {
			return bounded.Call(ctx, "calling a", hang)
		},
		"writing a": func(ctx context.Context, hang func(context.Context) error) error {
			return bounded.Write(ctx, "key", "a", hang)
		},
		"deleting a": func(ctx context.Context, hang func(context.Context) error) error {
			return bounded.Delete(ctx, "key", "a", hang)
		},
		"locking a": func(ctx context.Context, hang func(context.Context) error) error {
			_, err := bounded.Lock(ctx, "key", "locking a", func(ctx context.Context) (func() error, error) {
				return func() error { return nil }, hang(ctx)
			})
			return err
		},
	} {
		t.Run(doing, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				hang, release := hanging()
				defer release() // or the bubble does not end
				start := time.Now()

				err := call(within(t), hang)

				assert.Equal(t, time.Minute+courtesy, time.Since(start))
				assert.ErrorIs(t, err, context.DeadlineExceeded)
				assert.ErrorIs(t, err, errEnough)
				assert.EqualError(t, err, doing+" has not ended: enough")
				assert.True(t, bounded.IsHang(err))
			})
		})
	}
}

func TestAStepHasAnEndOfItsOwn(t *testing.T) {
	for name, row := range map[string]struct {
		ctx   context.Context
		takes time.Duration
		says  string
		is    error
	}{
		"by default":          {context.Background(), 30 * time.Second, "making a has not ended within 30s: the store hangs: i/o timeout", os.ErrDeadlineExceeded},
		"as the run has it":   {bounded.WithStep(context.Background(), time.Second), time.Second, "making a has not ended within 1s: the store hangs: i/o timeout", os.ErrDeadlineExceeded},
		"later than its call": {bounded.WithStep(context.Background(), time.Hour), time.Minute, "making a has not ended: enough", context.DeadlineExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx := row.ctx
				if row.is == context.DeadlineExceeded {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeoutCause(ctx, time.Minute, errEnough)
					defer cancel()
				}
				hang, release := hanging()
				defer release()
				start := time.Now()

				_, err := bounded.Step(ctx, "making a", func(ctx context.Context) (string, error) { return "a", hang(ctx) })

				assert.Equal(t, row.takes+courtesy, time.Since(start))
				assert.EqualError(t, err, row.says)
				assert.ErrorIs(t, err, row.is)
				assert.Equal(t, row.is == context.DeadlineExceeded, errors.Is(err, context.DeadlineExceeded), "that is the caller's")
			})
		})
	}
	made, err := bounded.Step(t.Context(), "making a", func(context.Context) (string, error) { return "a", fs.ErrExist })
	assert.Equal(t, "a", made)
	assert.Equal(t, fs.ErrExist, err)
}

func TestACallThatWatchesItsContextIsNotLeftBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		err := bounded.Write(within(t), t, "a", func(ctx context.Context) error {
			<-ctx.Done()
			time.Sleep(courtesy - time.Nanosecond)
			return fs.ErrClosed
		})
		assert.Equal(t, fs.ErrClosed, err)
		assert.Equal(t, time.Minute+courtesy-time.Nanosecond, time.Since(start))
		assert.NoError(t, bounded.Write(t.Context(), t, "a", nothing))
	})
}

func TestNothingIsBegunWhenTheContextHasEnded(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errEnough)
	err := bounded.Write(ctx, t, "a", func(context.Context) error { panic("called") })
	assert.ErrorIs(t, err, context.Canceled)
	assert.ErrorIs(t, err, errEnough)
	assert.False(t, bounded.IsHang(err))
}

func TestAWriteThatWasLeftBehindKeepsOthersOut(t *testing.T) {
	for refusal, begin := range map[string]func(context.Context, any, string, func(context.Context) error) error{
		"an earlier write of a has not ended: the store hangs":    bounded.Write,
		"an earlier deletion of a has not ended: the store hangs": bounded.Delete,
	} {
		synctest.Test(t, func(t *testing.T) {
			hang, release := hanging()
			defer release()
			require.Error(t, begin(within(t), "key", "a", hang))
			start := time.Now()

			for range 2 {
				called := func(context.Context) error { panic("called") }
				assert.EqualError(t, bounded.Write(t.Context(), "key", "b", called), refusal)
				assert.EqualError(t, bounded.Delete(t.Context(), "key", "b", called), refusal)
				_, err := bounded.Lock(t.Context(), "key", "locking", func(context.Context) (func() error, error) { panic("called") })
				assert.EqualError(t, err, refusal)
			}
			assert.NoError(t, bounded.Write(t.Context(), "another key", "a", nothing))
			_, err := bounded.Read(t.Context(), "reading a", func(context.Context) ([]byte, error) { return nil, nil })
			assert.NoError(t, err)
			assert.Zero(t, time.Since(start), "all of them at once")

			what, ended := bounded.Overdue("key")
			require.NotNil(t, ended)
			assert.Contains(t, refusal, what)
			release()
			<-ended
			assert.NoError(t, bounded.Write(t.Context(), "key", "b", nothing))
			_, ended = bounded.Overdue("key")
			assert.Nil(t, ended)
		})
	}
}

func TestAReadThatWasLeftBehindKeepsNobodyOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang, release := hanging()
		defer release()
		store := bounded.New(&testStore{get: hang})
		_, err := store.Get(within(t), "a")
		require.EqualError(t, err, "reading a has not ended: enough")
		assert.NoError(t, store.Put(t.Context(), "a", nil))
		_, ended := store.Overdue()
		assert.Nil(t, ended)
	})
}

func TestSeveralWritesThatWereLeftBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, releaseFirst := hanging()
		second, releaseSecond := hanging()
		ctx := within(t)
		var group sync.WaitGroup
		group.Go(func() { assert.Error(t, bounded.Write(ctx, "key", "a", first)) })
		group.Go(func() { assert.Error(t, bounded.Write(ctx, "key", "b", second)) })
		group.Wait()
		releaseFirst()
		synctest.Wait()
		assert.ErrorContains(t, bounded.Write(t.Context(), "key", "c", nothing), "write of b")
		releaseSecond()
		synctest.Wait()
		assert.NoError(t, bounded.Write(t.Context(), "key", "c", nothing))
	})
}

// A store may keep its data in another one, and return when that gives up.
func TestAWriteWithinAnotherCountsForBoth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang, release := hanging()
		defer release()
		start := time.Now()
		err := bounded.Write(within(t), "outer", "a", func(ctx context.Context) error {
			return bounded.Write(ctx, "inner", "sealed a", hang)
		})
		assert.EqualError(t, err, "writing sealed a has not ended: enough", "the one that hangs is named")
		assert.Less(t, time.Since(start), time.Minute+courtesy)
		for _, key := range []string{"outer", "inner"} {
			assert.ErrorContains(t, bounded.Write(t.Context(), key, "b", nothing), "write of sealed a", key)
		}
		release()
		synctest.Wait()
		for _, key := range []string{"outer", "inner"} {
			assert.NoError(t, bounded.Write(t.Context(), key, "b", nothing), key)
		}
	})
}

func TestALockThatComesTooLateIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang, release := hanging()
		defer release()
		held := false
		_, err := bounded.Lock(within(t), t, "locking", func(ctx context.Context) (func() error, error) {
			err := hang(ctx)
			held = true
			return func() error { held = false; return nil }, err
		})
		require.EqualError(t, err, "locking has not ended: enough")
		release()
		synctest.Wait()
		assert.False(t, held)
	})
}

func TestALockThatFailsTooLateIsNotGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang, release := hanging()
		_, err := bounded.Lock(within(t), t, "locking", func(ctx context.Context) (func() error, error) {
			return nil, errors.Join(hang(ctx), errEnough)
		})
		require.Error(t, err)
		release()
		synctest.Wait() // a nil unlock would panic
	})
}

func TestACallThatEndsItsGoroutine(t *testing.T) {
	err := bounded.Write(within(t), t, "a", func(context.Context) error { runtime.Goexit(); return nil })
	assert.ErrorContains(t, err, "instead of returning")
}

// testStore is a store in memory whose calls may hang.
type testStore struct {
	get, put, remove func(context.Context) error
	data             []byte
}

func called(ctx context.Context, call func(context.Context) error) error {
	if call == nil {
		return nil
	}
	return call(ctx)
}

func (s *testStore) Get(ctx context.Context, _ string) ([]byte, error) {
	return s.data, called(ctx, s.get)
}

func (s *testStore) Put(ctx context.Context, _ string, data []byte) error {
	err := called(ctx, s.put)
	s.data = data
	return err
}

func (s *testStore) Delete(ctx context.Context, _ string) error { return called(ctx, s.remove) }

// listStore is a store that cannot be compared, nor be a key.
type listStore struct {
	*testStore
	_ []int
}

func TestStoresThatAreEqualKnowOfEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang, release := hanging()
		defer release()
		store := &testStore{put: hang}
		require.EqualError(t, bounded.New(store).Put(within(t), "a", nil), "writing a has not ended: enough")

		again := bounded.New(store)
		assert.ErrorContains(t, again.Put(t.Context(), "b", nil), "an earlier write of a")
		assert.ErrorContains(t, again.Delete(t.Context(), "b"), "an earlier write of a")
		what, ended := again.Overdue()
		assert.Equal(t, "write of a", what)
		assert.NotNil(t, ended)
		assert.NoError(t, bounded.New(new(testStore)).Put(t.Context(), "b", nil), "another store")
	})
}

func TestAStoreThatCannotBeComparedIsKnownToItsCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang, release := hanging()
		defer release()
		store := bounded.New(listStore{testStore: &testStore{remove: hang}})
		require.EqualError(t, store.Delete(within(t), "a"), "deleting a has not ended: enough")

		assert.ErrorContains(t, store.Put(t.Context(), "b", nil), "an earlier deletion of a")
		assert.NoError(t, bounded.New(listStore{testStore: new(testStore)}).Put(t.Context(), "b", nil))
	})
}

func TestWhatIsPutMayBeChangedAfterwards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang, release := hanging()
		store := &testStore{put: hang}
		data := []byte("new")
		require.Error(t, bounded.New(store).Put(within(t), "a", data))
		copy(data, bytes.Repeat([]byte("x"), len(data)))
		release()
		synctest.Wait()
		assert.Equal(t, "new", string(store.data))
	})
}
