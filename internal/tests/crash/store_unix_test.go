//go:build unix

package crash_test

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov"
	"github.com/fleetprov/fleetprov/internal/tests/provtest"
)

const storeNobody = 65534

// inOwnProcess runs the test that calls it once more in a process of its own,
// where it may change what belongs to the process, and returns a directory there
// that is nobody's if the user is root. For the caller the test is over, which an
// empty directory says.
func inOwnProcess(t *testing.T, attributes *syscall.SysProcAttr) (directory string) {
	t.Helper()
	const own = "FLEETPROV_TEST_OWN_PROCESS"
	if directory := os.Getenv(own); directory != "" {
		return directory
	}
	t.Parallel()
	made, err := os.MkdirTemp("/tmp", "fleetprov-store-") // nobody cannot reach that of the test
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, os.RemoveAll(made)) })
	if os.Geteuid() == 0 {
		require.NoError(t, os.Chown(made, storeNobody, storeNobody))
	}
	process := provtest.Process(provtest.Context(t), t.Name(), own+"="+made)
	process.Args = append(process.Args, "-test.v", "-test.parallel=16") // they wait rather than work
	process.SysProcAttr = attributes
	output, err := process.CombinedOutput()
	if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) {
		t.Skipf("no such process can be started here: %v", err)
	}
	if strings.Contains(string(output), "--- SKIP") {
		t.Skipf("%s", output)
	}
	require.NoError(t, err, "%s", output)
	return ""
}

// becomeNobody gives up root's rights, before which no permission counts.
func becomeNobody(t *testing.T) {
	t.Helper()
	if os.Geteuid() == 0 {
		require.NoError(t, syscall.Setgroups(nil))
		require.NoError(t, syscall.Setgid(storeNobody))
		require.NoError(t, syscall.Setuid(storeNobody))
	}
}

func TestDirStoreRefusesADirectoryThatOthersCanWrite(t *testing.T) {
	for _, row := range []struct {
		is     string
		mode   fs.FileMode
		owner  int
		reason string // empty: it is accepted
	}{
		{is: "private", mode: 0o700},
		{is: "readable by others", mode: 0o755},
		{is: "set-group-id", mode: 0o700 | fs.ModeSetgid},
		{is: "writable by its group", mode: 0o770, reason: "chmod 700"},
		{is: "writable by all others", mode: 0o702, reason: "chmod 700"},
		{is: "like /tmp", mode: 0o777 | fs.ModeSticky, reason: "chmod 700"},
		{is: "somebody else's", mode: 0o700, owner: 12345, reason: "belongs to user 12345"},
	} {
		t.Run(row.is, func(t *testing.T) {
			store := newStore(t)
			require.NoError(t, store.Put(provtest.Context(t), "credentials.pem", []byte("old")))
			require.NoError(t, os.Chmod(string(store), row.mode))
			if row.owner != 0 {
				if os.Geteuid() != 0 {
					t.Skip("only root gives a directory away")
				}
				require.NoError(t, os.Chown(string(store), row.owner, -1))
			}

			calls := storeCalls(provtest.Context(t), store, "credentials.pem")
			unlock, err := store.Lock(provtest.Context(t))
			calls["Lock"] = err
			for call, err := range calls {
				if row.reason == "" {
					assert.NoError(t, err, call)
					continue
				}
				assert.ErrorIs(t, err, fs.ErrPermission, call)
				assert.ErrorContains(t, err, row.reason, call)
				assert.ErrorContains(t, err, string(store), call)
			}
			if err == nil {
				require.NoError(t, unlock())
			}
		})
	}
}

func TestDirStoreMayBeBehindALink(t *testing.T) {
	store := newStore(t)
	require.NoError(t, store.Put(provtest.Context(t), "credentials.pem", []byte("data")))
	link := filepath.Join(t.TempDir(), "link")
	require.NoError(t, os.Symlink(string(store), link))

	storeHas(t, fleetprov.DirStore(link), "credentials.pem", "data")

	require.NoError(t, os.Chmod(string(store), 0o777))
	_, err := fleetprov.DirStore(link).Get(provtest.Context(t), "credentials.pem")
	require.ErrorIs(t, err, fs.ErrPermission, "what counts is the directory itself")
}

func TestDirStoreIsNotHeldUpByAPipe(t *testing.T) {
	store := newStore(t)
	require.NoError(t, os.Mkdir(string(store), 0o700))
	for _, name := range []string{"credentials.pem", ".lock", ".write-lock"} {
		require.NoError(t, syscall.Mkfifo(filepath.Join(string(store), name), 0o600))
	}
	calls := storeCalls(provtest.Context(t), store, "credentials.pem")
	_, calls["Lock"] = store.Lock(provtest.Context(t))
	calls["Put of another name"] = store.Put(provtest.Context(t), "pending.pem", nil)
	for call, err := range calls {
		assert.ErrorIs(t, err, fs.ErrInvalid, call)
	}
}

func TestDirStoreIsPrivateFromBirth(t *testing.T) {
	parent := inOwnProcess(t, nil)
	if parent == "" {
		return
	}
	becomeNobody(t)
	syscall.Umask(0)
	var seen fs.FileMode
	look := func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == parent {
			return nil // renamed or removed meanwhile
		}
		if info, err := entry.Info(); err == nil {
			seen |= info.Mode().Perm()
		}
		return nil
	}
	done := make(chan struct{})
	var watcher sync.WaitGroup
	watcher.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				filepath.WalkDir(parent, look)
			}
		}
	})
	for i := range 100 {
		store := fleetprov.DirStore(filepath.Join(parent, strconv.Itoa(i)))
		unlock, err := store.Lock(provtest.Context(t))
		require.NoError(t, err)
		require.NoError(t, store.Put(provtest.Context(t), "credentials.pem", []byte("secret")))
		require.NoError(t, unlock())
		for _, name := range []string{"credentials.pem", ".lock", ".write-lock"} {
			info, err := os.Stat(filepath.Join(string(store), name))
			require.NoError(t, err)
			require.Equal(t, fs.FileMode(0o600), info.Mode().Perm(), name)
		}
	}
	close(done)
	watcher.Wait()
	assert.NotZero(t, seen, "something was seen")
	assert.Zero(t, seen&0o077, "nothing was ever open to others")
}

func TestDirStoreWorksUnderAnyUmask(t *testing.T) {
	directory := inOwnProcess(t, nil)
	if directory == "" {
		return
	}
	becomeNobody(t)
	for umask, name := range map[int]string{0o777: "all", 0: "nothing", 0o077: "others"} {
		syscall.Umask(umask)
		store := fleetprov.DirStore(filepath.Join(directory, name))
		for _, content := range []string{"one", "two"} {
			unlock, err := store.Lock(provtest.Context(t))
			require.NoError(t, err, "umask %o", umask)
			require.NoError(t, store.Put(provtest.Context(t), "credentials.pem", []byte(content)), "umask %o", umask)
			storeHas(t, store, "credentials.pem", content)
			require.NoError(t, unlock())
		}
		for path, want := range map[string]fs.FileMode{"": 0o700, "credentials.pem": 0o600, ".lock": 0o600, ".write-lock": 0o600} {
			info, err := os.Stat(filepath.Join(string(store), path))
			require.NoError(t, err)
			assert.Equal(t, want, info.Mode().Perm(), "umask %o: %q", umask, path)
		}
	}
}

func TestDirStoreWithoutTheRightToWrite(t *testing.T) {
	directory := inOwnProcess(t, nil)
	if directory == "" {
		return
	}
	becomeNobody(t)
	store := fleetprov.DirStore(filepath.Join(directory, "store"))
	require.NoError(t, store.Put(provtest.Context(t), "credentials.pem", []byte("old")))
	require.NoError(t, os.Chmod(string(store), 0o500))

	for call, err := range map[string]error{
		"Put":    store.Put(provtest.Context(t), "credentials.pem", []byte("new")),
		"Delete": store.Delete(provtest.Context(t), "credentials.pem"),
	} {
		assert.ErrorIs(t, err, fs.ErrPermission, call)
		assert.ErrorIs(t, err, syscall.EACCES, call)
		assert.ErrorContains(t, err, string(store), call)
	}
	_, err := store.Lock(provtest.Context(t))
	assert.ErrorIs(t, err, fs.ErrPermission)
	storeHas(t, store, "credentials.pem", "old")

	require.NoError(t, os.Chmod(string(store), 0))
	t.Cleanup(func() { os.Chmod(string(store), 0o700) }) // or it cannot be removed
	_, err = store.Get(provtest.Context(t), "credentials.pem")
	assert.ErrorIs(t, err, fs.ErrPermission)
	assert.NotErrorIs(t, err, fs.ErrNotExist, "a device that cannot look must not think that it is new")
}

// A volume of Kubernetes with an fsGroup is root's, and the group may write.
func TestDirStoreOnAVolumeThatTheGroupCanWrite(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	directory := inOwnProcess(t, nil)
	if directory == "" {
		return
	}
	volume := filepath.Join(directory, "volume")
	require.NoError(t, os.Mkdir(volume, 0o700))
	require.NoError(t, os.Chown(volume, 0, storeNobody))
	require.NoError(t, os.Chmod(volume, 0o775|fs.ModeSetgid))
	becomeNobody(t)

	err := fleetprov.DirStore(volume).Put(provtest.Context(t), "credentials.pem", []byte("data"))

	require.ErrorIs(t, err, fs.ErrPermission)
	advised := filepath.Join(volume, "fleetprov")
	assert.ErrorContains(t, err, "use a directory below it, such as "+advised)
	assert.NotContains(t, err.Error(), "chmod", "who does not own it cannot")
	store := fleetprov.DirStore(advised)
	require.NoError(t, store.Put(provtest.Context(t), "credentials.pem", []byte("data")), "the advice works")
	storeHas(t, store, "credentials.pem", "data")
}

func TestDirStoreUsesADirectoryOfRoot(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	directory := inOwnProcess(t, nil)
	if directory == "" {
		return
	}
	store := filepath.Join(directory, "store")
	require.NoError(t, os.Mkdir(store, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(store, "credentials.pem"), []byte("from the factory"), 0o644))
	becomeNobody(t)

	storeHas(t, fleetprov.DirStore(store), "credentials.pem", "from the factory")
}
