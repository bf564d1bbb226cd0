package crash_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov"
	"github.com/fleetprov/fleetprov/internal/tests/provtest"
)

var (
	_ fleetprov.Store  = fleetprov.DirStore("")
	_ fleetprov.Locker = fleetprov.DirStore("")
)

// newStore returns a store whose directory is not made yet.
func newStore(t testing.TB) fleetprov.DirStore {
	t.Helper()
	return fleetprov.DirStore(filepath.Join(t.TempDir(), "store"))
}

// storeCalls are all that can be done with a store and a name.
func storeCalls(ctx context.Context, store fleetprov.DirStore, name string) map[string]error {
	_, get := store.Get(ctx, name)
	return map[string]error{
		"Get":    get,
		"Put":    store.Put(ctx, name, []byte("new")),
		"Delete": store.Delete(ctx, name),
	}
}

// storeHas requires that name holds want.
func storeHas(t testing.TB, store fleetprov.Store, name, want string) {
	t.Helper()
	data, err := store.Get(context.Background(), name)
	require.NoError(t, err)
	require.Equal(t, want, string(data))
}

func TestDirStoreKeepsWhatIsPut(t *testing.T) {
	store, ctx := newStore(t), provtest.Context(t)

	_, err := store.Get(ctx, "credentials.pem")
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.NoError(t, store.Delete(ctx, "credentials.pem"))
	require.NoDirExists(t, string(store), "asking makes nothing")

	for _, content := range []string{"one", "a longer one", "", "\x00\xff\r\n"} {
		require.NoError(t, store.Put(ctx, "credentials.pem", []byte(content)))
		require.NoError(t, store.Put(ctx, "pending.pem", []byte("another")))
		storeHas(t, store, "credentials.pem", content)
		storeHas(t, store+"/", "credentials.pem", content)
	}

	require.NoError(t, store.Delete(ctx, "credentials.pem"))
	_, err = store.Get(ctx, "credentials.pem")
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.NoError(t, store.Delete(ctx, "credentials.pem"))
	storeHas(t, store, "pending.pem", "another")
}

func TestDirStoreDoesNotMakeTheDirectoryAboveItsOwn(t *testing.T) {
	mount := filepath.Join(t.TempDir(), "data")
	store := fleetprov.DirStore(filepath.Join(mount, "store"))
	_, lock := store.Lock(provtest.Context(t))
	for call, err := range map[string]error{
		"Put":  store.Put(provtest.Context(t), "credentials.pem", nil),
		"Lock": lock,
	} {
		assert.ErrorIs(t, err, fs.ErrNotExist, call)
		assert.ErrorContains(t, err, "is its file system mounted?", call)
	}
	assert.NoDirExists(t, mount)
}

func TestDirStoreInTheWorkingDirectory(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, store := range []fleetprov.DirStore{"store", "./other/", "."} {
		require.NoError(t, store.Put(provtest.Context(t), "credentials.pem", []byte("here")), store)
		storeHas(t, store, "credentials.pem", "here")
	}
}

func TestDirStoreRefusesNames(t *testing.T) {
	for what, name := range map[string]string{
		"no name":                 "",
		"the directory":           ".",
		"the directory above":     "..",
		"a name above":            "../credentials.pem",
		"a name below":            "below/credentials.pem",
		"a name below, backslash": `below\credentials.pem`,
		"an absolute name":        "/credentials.pem",
		"a trailing slash":        "credentials.pem/",
		"a name on a drive":       "c:credentials.pem",
		"a hidden name":           ".credentials.pem",
		"the lock":                ".lock",
		"the temporary":           ".new",
		"a zero byte":             "credentials\x00.pem",
	} {
		store := newStore(t)
		for call, err := range storeCalls(provtest.Context(t), store, name) {
			assert.ErrorIs(t, err, fs.ErrInvalid, "%s: %s", call, what)
		}
		assert.NoDirExists(t, string(store), what)
	}
}

func TestDirStoreNeedsAPath(t *testing.T) {
	t.Chdir(t.TempDir())
	calls := storeCalls(provtest.Context(t), "", "credentials.pem")
	_, calls["Lock"] = fleetprov.DirStore("").Lock(provtest.Context(t))
	for call, err := range calls {
		assert.ErrorIs(t, err, fs.ErrInvalid, call)
	}
	assert.NoFileExists(t, "credentials.pem")
}

func TestDirStoreLooksAtTheContextFirst(t *testing.T) {
	store := newStore(t)
	require.NoError(t, store.Put(provtest.Context(t), "credentials.pem", []byte("old")))
	ctx, cancel := context.WithCancel(provtest.Context(t))
	cancel()

	calls := storeCalls(ctx, store, "credentials.pem")
	_, calls["Lock"] = store.Lock(ctx)
	for call, err := range calls {
		assert.ErrorIs(t, err, context.Canceled, call)
	}
	storeHas(t, store, "credentials.pem", "old")
}

func TestDirStoreBoundsAFile(t *testing.T) {
	const limit = 1 << 20
	store := newStore(t)
	path := filepath.Join(string(store), "credentials.pem")
	require.NoError(t, store.Put(provtest.Context(t), "credentials.pem", make([]byte, limit)))
	data, err := store.Get(provtest.Context(t), "credentials.pem")
	require.NoError(t, err)
	require.Len(t, data, limit)

	require.ErrorIs(t, store.Put(provtest.Context(t), "credentials.pem", make([]byte, limit+1)), fs.ErrInvalid)
	// A file with a hole, of a size no memory has. A 32-bit system does not even open a
	// larger one.
	require.NoError(t, os.Truncate(path, min(1<<40, math.MaxInt)))
	_, err = store.Get(provtest.Context(t), "credentials.pem")
	require.ErrorIs(t, err, fs.ErrInvalid)
	assert.ErrorContains(t, err, path)
}

func TestDirStoreRefusesWhatIsNotAFile(t *testing.T) {
	target := filepath.Join(t.TempDir(), "target")
	require.NoError(t, os.WriteFile(target, []byte("elsewhere"), 0o600))
	for what, place := range map[string]func(path string) error{
		"a link to a file":          func(path string) error { return os.Symlink(target, path) },
		"a link to a file within":   func(path string) error { return os.Symlink("pending.pem", path) },
		"a link to nothing":         func(path string) error { return os.Symlink("missing", path) },
		"a link to itself":          func(path string) error { return os.Symlink("credentials.pem", path) },
		"a directory":               func(path string) error { return os.Mkdir(path, 0o700) },
		"a directory with contents": func(path string) error { return os.MkdirAll(filepath.Join(path, "below"), 0o700) },
	} {
		store := newStore(t)
		require.NoError(t, store.Put(provtest.Context(t), "pending.pem", []byte("within")))
		path := filepath.Join(string(store), "credentials.pem")
		if err := place(path); err != nil {
			t.Logf("%s cannot be made here: %v", what, err)
			continue
		}
		before, err := os.Lstat(path)
		require.NoError(t, err)

		for call, err := range storeCalls(provtest.Context(t), store, "credentials.pem") {
			assert.ErrorIs(t, err, fs.ErrInvalid, "%s: %s", call, what)
			assert.ErrorContains(t, err, path, "%s: %s", call, what)
		}
		after, err := os.Lstat(path)
		require.NoError(t, err, what)
		assert.Equal(t, before.Mode(), after.Mode(), what)
		storeHas(t, store, "pending.pem", "within")
	}
	content, err := os.ReadFile(target)
	require.NoError(t, err)
	assert.Equal(t, "elsewhere", string(content))
}

func TestDirStoreErrorsTellNothingOfTheContent(t *testing.T) {
	store := newStore(t)
	require.NoError(t, os.MkdirAll(filepath.Join(string(store), "credentials.pem"), 0o700))
	secret := bytes.Repeat([]byte("secret"), 1<<18)
	for _, data := range [][]byte{secret, secret[:6]} {
		err := store.Put(provtest.Context(t), "credentials.pem", data)
		require.Error(t, err)
		assert.NotContains(t, fmt.Sprintf("%+v", err), "secret")
	}
}

func TestDirStoreIsReadWholeWhileItIsWritten(t *testing.T) {
	store, ctx := newStore(t), provtest.Context(t)
	content := func(i int) []byte { return bytes.Repeat([]byte{byte(i)}, 1+i*5000) }
	require.NoError(t, store.Put(ctx, "credentials.pem", content(0)))

	var writers sync.WaitGroup
	for writer := range 3 {
		writers.Go(func() {
			for i := range 5 {
				assert.NoError(t, store.Put(ctx, "credentials.pem", content(5*writer+i)))
			}
		})
	}
	done := make(chan struct{})
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for written := false; !written; {
				select {
				case <-done:
					written = true
				default:
				}
				data, err := store.Get(ctx, "credentials.pem")
				if !assert.NoError(t, err) || !assert.NotEmpty(t, data) || !assert.Equal(t, content(int(data[0])), data, "torn") {
					return
				}
			}
		})
	}
	writers.Wait()
	close(done)
	readers.Wait()
	storeHoldsOnly(t, store, "credentials.pem")
}

// storeHoldsOnly requires that there is nothing in the directory but these files
// and the locks.
func storeHoldsOnly(t testing.TB, store fleetprov.DirStore, names ...string) {
	t.Helper()
	entries, err := os.ReadDir(string(store))
	require.NoError(t, err)
	var found []string
	for _, entry := range entries {
		if name := entry.Name(); name != ".lock" && name != ".write-lock" {
			found = append(found, name)
		}
	}
	require.ElementsMatch(t, names, found)
}

func TestDirStoreLockKeepsGoroutinesApart(t *testing.T) {
	store := newStore(t)
	const goroutines = 4
	holders := 0
	var group sync.WaitGroup
	for range goroutines {
		group.Go(func() {
			unlock, err := store.Lock(provtest.Context(t))
			if !assert.NoError(t, err) {
				return
			}
			holders++
			assert.NoError(t, store.Put(provtest.Context(t), "credentials.pem", nil), "the holder can write")
			assert.NoError(t, unlock())
		})
	}
	group.Wait()
	assert.Equal(t, goroutines, holders)
}

func TestDirStoreLockEndsWaitingWithTheContext(t *testing.T) {
	store := newStore(t)
	synctest.Test(t, func(t *testing.T) {
		unlock, err := store.Lock(t.Context())
		require.NoError(t, err)
		start := time.Now()
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Hour+time.Millisecond, func() { cancel(errors.New("enough")) })

		_, err = store.Lock(ctx)

		assert.ErrorIs(t, err, context.Canceled)
		assert.Equal(t, time.Hour+time.Millisecond, time.Since(start))
		require.NoError(t, unlock())
		again, err := store.Lock(t.Context())
		require.NoError(t, err, "the one who gave up holds nothing")
		require.NoError(t, again())
	})
}
